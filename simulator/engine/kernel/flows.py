"""Transfers and background flows in progress, and what they get when the channels are shared out anew."""

from __future__ import annotations

import math
from typing import Final

from simulator.compiled import called_in_place, inlined_in_place
from simulator.engine.interface import LAST_TICK
from simulator.engine.kernel import state as place
from simulator.engine.kernel.budgets import find_due_budget, set_budget_rate
from simulator.engine.kernel.queues import has_lower_number
from simulator.engine.kernel.shares import solve
from simulator.engine.kernel.state import (
    BACKGROUND_MOVED,
    BACKGROUND_RATE,
    BACKGROUND_SINCE,
    FLOW_KIND,
    IS_ON,
    KEY,
    LEFT,
    MOST_FLOWS,
    MOST_KINDS,
    NEVER,
    NEXT,
    NUM_SHARINGS,
    RATE,
    SINCE,
    TEMPLATE,
    State,
)
from simulator.engine.kernel.tables import BUDGET_ROW, KIND, ROW_CHANNEL, ROW_MASTER, Tables
from simulator.units import ROUNDING_GUARD_TICKS, TICKS_PER_SECOND

_PER_WORD: Final = 8
"""Kinds in one word of the key of a sharing."""
_MIX: Final = -7046029254386353131
"""2^64 divided by the golden ratio, odd: spreads keys over the places (Knuth, volume 3, section 6.4)."""


@inlined_in_place
def end_after(now: int, ticks: float) -> int:
    """The tick at which something ends that lasts so long from now on."""
    if ticks >= LAST_TICK:
        return NEVER
    return now + math.ceil(ticks - ROUNDING_GUARD_TICKS)


@inlined_in_place
def begin_flow(state: State, record: int, size_bytes: float) -> None:
    """Puts a transfer on its channels, in the order (task, release); it moves once `share` has given it a rate."""
    number, active, flows = state.number, state.active, state.flows
    position = number[place.NUM_FLOWS]
    while position > 0 and has_lower_number(active, state.release, record, flows[position - 1]):
        flows[position] = flows[position - 1]
        position -= 1
    flows[position] = record
    number[place.NUM_FLOWS] += 1
    number[place.IS_STALE] = 1
    active[record, KEY] = NEVER
    active[record, SINCE] = number[place.NOW]
    state.moving[record, LEFT] = size_bytes
    state.moving[record, RATE] = 0.0


@inlined_in_place
def end_flows(state: State, chain: int) -> int:
    """Takes the transfers that end now off their channels and puts them before a chain; returns the new chain."""
    number, active, flows = state.number, state.active, state.flows
    kept = 0
    for position in range(number[place.NUM_FLOWS]):
        record = flows[position]
        if active[record, KEY] <= number[place.NOW]:
            active[record, NEXT] = chain
            chain = record
        else:
            flows[kept] = record
            kept += 1
    number[place.NUM_FLOWS] = kept
    number[place.IS_STALE] = 1
    return chain


@called_in_place
def change_background(state: State, index: int, is_start: bool) -> None:
    """Starts or stops a background flow."""
    number, resources = state.number, state.resources
    background, count = resources.background, number[place.NUM_BACKGROUND]
    if is_start:
        position = count
        while position > 0 and background[position - 1, IS_ON] > index:
            background[position, IS_ON] = background[position - 1, IS_ON]
            position -= 1
        background[position, IS_ON] = index
        number[place.NUM_BACKGROUND] = count + 1
        return
    settle_background(state, index, number[place.NOW])
    resources.background_moving[index, BACKGROUND_RATE] = 0.0
    kept = 0
    for position in range(count):
        if background[position, IS_ON] != index:
            background[kept, IS_ON] = background[position, IS_ON]
            kept += 1
    number[place.NUM_BACKGROUND] = kept


@inlined_in_place
def settle_background(state: State, index: int, now: int) -> None:
    """Accounts for what a background flow has moved since its rate last changed."""
    resources = state.resources
    moving, elapsed = resources.background_moving, now - resources.background[index, BACKGROUND_SINCE]
    moving[index, BACKGROUND_MOVED] += moving[index, BACKGROUND_RATE] * elapsed / TICKS_PER_SECOND
    resources.background[index, BACKGROUND_SINCE] = now


@inlined_in_place
def settle(state: State, record: int, now: int) -> None:
    """Accounts for what a transfer has moved since its rate last changed."""
    active, moving = state.active, state.moving
    left = moving[record, LEFT] - moving[record, RATE] * (now - active[record, SINCE]) / TICKS_PER_SECOND
    moving[record, LEFT] = left if left > 0.0 else 0.0
    active[record, SINCE] = now


@inlined_in_place
def share(tables: Tables, state: State) -> None:
    """Shares the channels out anew and moves the end of every flow whose rate changed."""
    number, active, moving, resources = state.number, state.active, state.moving, state.resources
    now, count = number[place.NOW], number[place.NUM_FLOWS]
    number[place.IS_STALE] = 0
    number[place.HAS_SHARED] = 1
    rates = state.sharings.rates[_find_sharing(tables, state) * MOST_FLOWS :]
    first_end = NEVER
    for position in range(count):
        record, rate = state.flows[position], rates[position]
        if rate != moving[record, RATE]:
            settle(state, record, now)
            moving[record, RATE] = rate
            active[record, KEY] = (
                end_after(now, moving[record, LEFT] / rate * TICKS_PER_SECOND) if rate > 0.0 else NEVER
            )
        first_end = min(first_end, active[record, KEY])
    number[place.FLOW_END] = first_end
    for position in range(number[place.NUM_BACKGROUND]):
        index, rate = resources.background[position, IS_ON], rates[count + position]
        if rate != resources.background_moving[index, BACKGROUND_RATE]:
            settle_background(state, index, now)
            resources.background_moving[index, BACKGROUND_RATE] = rate


@called_in_place
def share_budgets(tables: Tables, state: State) -> None:
    """Tells every budget what its flows take of its channel from now on."""
    network, resources = tables.network, state.resources
    rates = state.sharings.rates[state.number[place.SHARING] * MOST_FLOWS :]
    count = state.number[place.NUM_FLOWS] + state.number[place.NUM_BACKGROUND]
    for budget in range(len(resources.budget)):
        row = network.budget[budget, BUDGET_ROW]
        master, channel = network.row[row, ROW_MASTER], network.row[row, ROW_CHANNEL]
        taken = 0.0
        for position in range(count):
            kind = _kind(tables, state, position)
            if network.master[kind] == master and network.crosses[kind, channel]:
                taken += rates[position] * network.usage[kind, channel]
        set_budget_rate(tables, state, budget, taken)
    find_due_budget(state)


@inlined_in_place
def _find_sharing(tables: Tables, state: State) -> int:
    """The place of the sharing of all flows, remembered or solved."""
    number, keys = state.number, state.sharings.keys
    count = number[place.NUM_FLOWS] + number[place.NUM_BACKGROUND]
    if count > MOST_FLOWS or len(tables.network.kind) > MOST_KINDS:
        number[place.SHARING] = NUM_SHARINGS
        _solve(tables, state, count)
        return NUM_SHARINGS
    first_word = second_word = 0
    for position in range(count):
        kind = _kind(tables, state, position) + 1
        if position < _PER_WORD:
            first_word = first_word << _PER_WORD | kind
        else:
            second_word = second_word << _PER_WORD | kind
    mixed = (first_word ^ second_word * _MIX) * _MIX
    sharing = (mixed >> 40) & (NUM_SHARINGS - 1)
    number[place.SHARING] = sharing
    if keys[sharing, 0] != first_word or keys[sharing, 1] != second_word:
        keys[sharing, 0], keys[sharing, 1] = first_word, second_word
        _solve(tables, state, count)
    return sharing


@inlined_in_place
def _kind(tables: Tables, state: State, position: int) -> int:
    """The kind of a flow: transfers first, then background flows."""
    count = state.number[place.NUM_FLOWS]
    if position < count:
        return int(tables.task[state.active[state.flows[position], TEMPLATE], KIND])
    return int(tables.background_kind[state.resources.background[position - count, IS_ON]])


@called_in_place
def _solve(tables: Tables, state: State, count: int) -> None:
    """Solves a sharing and writes it to its place."""
    sharing = state.number[place.SHARING]
    for position in range(count):
        state.scratch.flows[position, FLOW_KIND] = _kind(tables, state, position)
    rates, totals = state.sharings.rates[sharing * MOST_FLOWS :], state.sharings.totals[sharing]
    solve(tables.network, state.resources.capacity, state.resources.budget, state.scratch, count, rates, totals)


@called_in_place
def forget_sharings(state: State) -> None:
    """Forgets all sharings: they hold for one set of capacities only."""
    state.sharings.keys[:] = -1


@called_in_place
def write_rates(state: State) -> bool:
    """Writes the rate rows of the tick that ends; False if there is no room for them."""
    number, rates, recorded = state.number, state.rates, state.sharings.recorded
    totals = state.sharings.totals[number[place.SHARING]]
    row, channels = number[place.RATES_USED], recorded.shape[1]
    if row + channels > len(rates.tick):
        number[place.RATES_NEEDED] = row + channels
        return False
    for channel in range(channels):
        granted, asked = totals[0, channel], totals[1, channel]
        if granted != recorded[0, channel] or asked != recorded[1, channel]:
            rates.tick[row], rates.channel[row] = number[place.NOW], channel
            rates.granted[row], rates.asked[row] = granted, asked
            recorded[0, channel], recorded[1, channel] = granted, asked
            row += 1
    number[place.RATES_USED] = row
    number[place.HAS_SHARED] = 0
    return True
