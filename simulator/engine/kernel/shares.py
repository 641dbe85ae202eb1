"""The arithmetic of `simulator.engine.sharing`, number for number, on arrays."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.compiled import called_in_place, inlined_in_place
from simulator.engine.kernel.state import (
    FLOOR,
    FLOW_KIND,
    IS_EXHAUSTED,
    IS_STOPPING,
    LIMIT,
    ROOM,
    STATE,
    STOP,
    SUM_OF_WEIGHTS,
    Scratch,
)
from simulator.engine.kernel.tables import BUDGET_ROW, CAP_BYTES_PER_S, ROW_CHANNEL, ROW_MASTER, WEIGHT, Network
from simulator.program.columns import Floats, Ints

_GROWS: Final = 0
_SITS: Final = 1
_STOPPED: Final = 2


@called_in_place
def solve(  # noqa: PLR0917
    network: Network, capacity: Floats, budgets: Ints, scratch: Scratch, count: int, rates: Floats, totals: Floats
) -> None:
    """Writes the rate of every flow, and what each channel grants and is asked for (shape: 2, channels).

    Args:
        network: kinds and rows.
        capacity: bytes/s of every channel now.
        budgets: which are used up.
        scratch: the kinds of the flows, and room to work.
        count: how many flows there are.
        rates: the result.
        totals: the other result.
    """
    flows, floors = scratch.flows, scratch.levels
    num_rows, num_bounds, num_hard_bounds = len(network.row), network.num_bounds[0], network.num_hard_bounds[0]
    _write_limits(network, capacity, budgets, scratch)
    for flow in range(count):
        floors[flow, FLOOR] = 0.0
        flows[flow, STATE] = _GROWS if network.has_guarantee[flows[flow, FLOW_KIND]] else _STOPPED
    if num_rows > num_bounds:
        _fill(network, scratch, num_rows, count, rates)
    for flow in range(count):
        floors[flow, FLOOR] = rates[flow] if num_rows > num_bounds else 0.0
        flows[flow, STATE] = _SITS if floors[flow, FLOOR] > 0.0 else _GROWS
    _fill(network, scratch, num_bounds, count, rates)
    if num_bounds > num_hard_bounds:
        for flow in range(count):
            floors[flow, FLOOR] = rates[flow]
            flows[flow, STATE] = _SITS if rates[flow] > 0.0 else _GROWS
            if not network.has_soft_bound[flows[flow, FLOW_KIND]]:
                flows[flow, STATE] = _STOPPED
        _fill(network, scratch, num_hard_bounds, count, rates)
    _add_up(network, capacity, scratch, count, rates, totals)


@inlined_in_place
def _write_limits(network: Network, capacity: Floats, budgets: Ints, scratch: Scratch) -> None:
    """The limit of every row now."""
    rows = scratch.rows
    for row in range(len(network.row)):
        rows[row, LIMIT] = network.row_fraction[row]
        if rows[row, LIMIT] != np.inf:
            rows[row, LIMIT] *= capacity[network.row[row, ROW_CHANNEL]]
    for budget in range(len(budgets)):
        if budgets[budget, IS_EXHAUSTED]:
            rows[network.budget[budget, BUDGET_ROW], LIMIT] = 0.0


@inlined_in_place
def _add_up(network: Network, capacity: Floats, scratch: Scratch, count: int, rates: Floats, totals: Floats) -> None:  # noqa: PLR0917
    """What each channel grants and is asked for."""
    for channel in range(len(capacity)):
        totals[0, channel] = totals[1, channel] = 0.0
    for flow in range(count):
        kind = scratch.flows[flow, FLOW_KIND]
        alone = network.kind[kind, CAP_BYTES_PER_S]
        for channel in range(len(capacity)):
            if network.crosses[kind, channel]:
                alone = min(alone, capacity[channel] / network.usage[kind, channel])
        for channel in range(len(capacity)):
            if network.crosses[kind, channel]:
                totals[0, channel] += rates[flow] * network.usage[kind, channel]
                totals[1, channel] += alone * network.usage[kind, channel]


@called_in_place
def _fill(network: Network, scratch: Scratch, num_rows: int, count: int, rates: Floats) -> None:
    """Progressive filling from the floors; `states` says who grows, sits or has stopped, and is used up."""
    flows, rows = scratch.flows, scratch.rows
    for flow in range(count):
        rates[flow] = scratch.levels[flow, FLOOR]
    while True:
        level = _level(network, scratch, num_rows, count, rates)
        if level == np.inf:
            return
        for row in range(num_rows):
            if rows[row, SUM_OF_WEIGHTS] > 0.0 and rows[row, ROOM] / rows[row, SUM_OF_WEIGHTS] == level:
                _stop_row(network, scratch, row, count, rates)
        for flow in range(count):
            if flows[flow, IS_STOPPING]:
                rates[flow], flows[flow, STATE] = scratch.levels[flow, STOP], _STOPPED
            elif _own_level(network, scratch, flow) == level:
                if flows[flow, STATE] == _GROWS:
                    rates[flow], flows[flow, STATE] = network.kind[flows[flow, FLOW_KIND], CAP_BYTES_PER_S], _STOPPED
                else:
                    flows[flow, STATE] = _GROWS


@inlined_in_place
def _level(network: Network, scratch: Scratch, num_rows: int, count: int, rates: Floats) -> float:
    """The level of the next step, after summing every row."""
    level, flows, rows = np.inf, scratch.flows, scratch.rows
    for row in range(num_rows):
        fixed = weight = 0.0
        channel = network.row[row, ROW_CHANNEL]
        for flow in range(count):
            kind = flows[flow, FLOW_KIND]
            if _is_member(network, row, kind):
                if flows[flow, STATE] == _GROWS:
                    weight += network.kind[kind, WEIGHT] * network.usage[kind, channel]
                else:
                    fixed += rates[flow] * network.usage[kind, channel]
        room = rows[row, LIMIT] - fixed
        rows[row, ROOM], rows[row, SUM_OF_WEIGHTS] = room if room > 0.0 else 0.0, weight
        if weight > 0.0:
            level = min(level, rows[row, ROOM] / weight)
    for flow in range(count):
        level = min(level, _own_level(network, scratch, flow))
        flows[flow, IS_STOPPING] = 0
    return level


@inlined_in_place
def _stop_row(network: Network, scratch: Scratch, row: int, count: int, rates: Floats) -> None:
    """Notes at which rates the flows of a full row stop."""
    flows, rows, stops = scratch.flows, scratch.rows, scratch.levels
    for flow in range(count):
        kind, state = flows[flow, FLOW_KIND], flows[flow, STATE]
        if state == _STOPPED or not _is_member(network, row, kind):
            continue
        if state == _GROWS:
            most = stops[flow, STOP] if flows[flow, IS_STOPPING] else network.kind[kind, CAP_BYTES_PER_S]
            stops[flow, STOP] = min(rows[row, ROOM] * network.kind[kind, WEIGHT] / rows[row, SUM_OF_WEIGHTS], most)
        else:
            stops[flow, STOP] = rates[flow]
        flows[flow, IS_STOPPING] = 1


@inlined_in_place
def _is_member(network: Network, row: int, kind: int) -> bool:
    """Whether the flows of a kind count in a row."""
    if not network.crosses[kind, network.row[row, ROW_CHANNEL]]:
        return False
    return bool(network.row[row, ROW_MASTER] < 0 or network.row[row, ROW_MASTER] == network.master[kind])


@inlined_in_place
def _own_level(network: Network, scratch: Scratch, flow: int) -> float:
    """The level at which a flow changes its state by itself: at its cap if it grows, at its floor if it sits."""
    kind, state = scratch.flows[flow, FLOW_KIND], scratch.flows[flow, STATE]
    if state == _STOPPED:
        return np.inf
    rate = network.kind[kind, CAP_BYTES_PER_S] if state == _GROWS else scratch.levels[flow, FLOOR]
    return float(rate / network.kind[kind, WEIGHT])
