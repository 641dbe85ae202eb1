"""The jump over periods that repeat exactly.

While one job is alone, the engine's state at a tick decides all that follows until the next release or change. A model
of many equal layers reaches a state that equals the one of a layer before, moved by one instance and by T ticks. From
then on every layer does the same T ticks later, so it is copied instead of run.

A *checkpoint* is the end of a tick at which the last task of an instance ended, if two equal fragments follow it. If
the snapshots (`simulator.engine.kernel.snapshots`) of two checkpoints in a row are equal, the next k periods are the
same as the one between them, as long as nothing happens from outside and they touch only instances of that fragment.
Every edge ends in its own instance or in the one before it, so a period that touched instances up to HIGH has looked at
HIGH + 1 at most.

A row is written when something happens to it, with the tick at which it happens. So after the jump a row has the values
of the row one instance before plus T, in those columns that were not yet written before the jump and are by its end.
"""

from __future__ import annotations

from simulator.compiled import called_in_place, inlined_in_place
from simulator.engine.interface import LAST_TICK
from simulator.engine.kernel import state as place
from simulator.engine.kernel.snapshots import (
    FLOW,
    NUM_PLACES,
    QUEUE,
    R_PLACE,
    R_ROW,
    S_ACTIVE,
    S_ENDED,
    S_HIGH,
    S_INSTANCE,
    S_LENGTH,
    S_LOW,
    S_RATES,
    S_RELEASE,
    S_TICK,
    are_equal,
    keep_background,
    take_snapshot,
)
from simulator.engine.kernel.state import (
    BACKGROUND_MOVED,
    BACKGROUND_SINCE,
    BUDGET_SINCE,
    INSTANCE,
    IS_ON,
    KEY,
    LOWEST,
    NEVER,
    NUM_LEFT,
    ROW,
    SHIFT,
    SINCE,
    Snapshots,
    State,
)
from simulator.engine.kernel.tables import (
    CHANGE_TICK,
    FIRST_TASK,
    RELEASE_IN_ORDER,
    RELEASE_TICK,
    RUN_LAST,
    Tables,
)

_PENDING, _WAITING, _RUNNING, _ENDED = range(4)
"""What has happened to a row, in this order."""


@called_in_place
def replay(tables: Tables, state: State, snapshots: Snapshots, until_tick: int) -> int:
    """Jumps over as many periods as repeat; returns their number, or -1 if the rate rows need more room."""
    number, head = state.number, snapshots.head
    before, after = number[place.SNAPSHOT], 1 - number[place.SNAPSHOT]
    is_taken = number[place.NUM_IN_FLIGHT] == 1 and take_snapshot(tables, state, snapshots, after)
    periods = 0
    is_repeated = is_taken and number[place.HAS_SNAPSHOT] and are_equal(state, snapshots, before, after)
    if is_repeated and _budgets_are_steady(state, head[before, S_TICK]):
        periods = _num_periods(tables, state, snapshots, before, after, until_tick)
        rows = periods * (head[after, S_RATES] - head[before, S_RATES])
        if number[place.RATES_USED] + rows > len(state.rates.tick):
            number[place.RATES_NEEDED] = number[place.RATES_USED] + rows
            return -1
        if periods > 0:
            _copy_rows(tables, state, snapshots, before, after, periods)
            _copy_rates(state, snapshots, before, after, periods)
            _move_state(state, snapshots, before, after, periods)
    number[place.SNAPSHOT] = after
    number[place.HAS_SNAPSHOT] = is_taken
    number[place.TOUCHED] = -1
    return periods


@inlined_in_place
def _budgets_are_steady(state: State, since_tick: int) -> bool:
    """Whether no budget has changed its rate or begun a period since a tick: then it goes on until one is due."""
    for budget in range(len(state.resources.budget)):
        if state.resources.budget[budget, BUDGET_SINCE] > since_tick:
            return False
    return True


@called_in_place
def _num_periods(tables: Tables, state: State, snapshots: Snapshots, before: int, after: int, until_tick: int) -> int:  # noqa: PLR0917
    """How many more periods are the same as the last."""
    number, head = state.number, snapshots.head
    now, ticks = head[after, S_TICK], head[after, S_TICK] - head[before, S_TICK]
    limit = LAST_TICK
    if until_tick >= 0:
        limit = min(limit, until_tick)
    if number[place.NEXT_RELEASE] < len(tables.release):
        limit = min(limit, tables.release[tables.release[number[place.NEXT_RELEASE], RELEASE_IN_ORDER], RELEASE_TICK])
    if number[place.NEXT_CHANGE] < len(tables.change):
        limit = min(limit, tables.change[number[place.NEXT_CHANGE], CHANGE_TICK])
    limit = min(limit, number[place.BUDGET_DUE])
    run_last = tables.instance[head[after, S_INSTANCE], RUN_LAST]
    return int(max(0, min((limit - 1 - now) // ticks, run_last - head[after, S_HIGH] - 1)))


@called_in_place
def _copy_rows(tables: Tables, state: State, snapshots: Snapshots, before: int, after: int, periods: int) -> None:  # noqa: PLR0917
    """Writes the rows of all instances that the periods touch."""
    head, status, rows = snapshots.head, snapshots.status, state.rows
    ready, start, end, missing = rows.ready, rows.start, rows.end, rows.missing
    low, high, length = head[after, S_LOW], head[after, S_HIGH], head[after, S_LENGTH]
    ticks = head[after, S_TICK] - head[before, S_TICK]
    row = tables.instance[low, FIRST_TASK] - state.release[head[after, S_RELEASE], SHIFT]
    _keep_window(state, snapshots, after, row)
    for instance in range(low, high + periods + 1):
        if high < instance < low + periods:
            for place_in_row in range(row, row + length):
                if missing[place_in_row] > 0:
                    ready[place_in_row] = ready[place_in_row - length] + ticks
                    start[place_in_row] = start[place_in_row - length] + ticks
                    end[place_in_row] = end[place_in_row - length] + ticks
                    missing[place_in_row] = 0
            row += length
            continue
        in_window = (instance - low) * length
        moved = (instance - periods - low) * length
        for local in range(length):
            was = status[in_window + local] if instance <= high else (_PENDING if missing[row] > 0 else _ENDED)
            becomes = _ENDED if instance < low + periods else status[moved + local]
            if was < _WAITING <= becomes:
                ready[row] = ready[row - length] + ticks
            if was < _RUNNING <= becomes:
                start[row] = start[row - length] + ticks
            if was < _ENDED <= becomes:
                end[row] = end[row - length] + ticks
            missing[row] = 0 if instance < low + periods else snapshots.missing[moved + local]
            row += 1


@inlined_in_place
def _keep_window(state: State, snapshots: Snapshots, after: int, first_row: int) -> None:
    """Notes what has happened to each row from LOW to HIGH up to now, and what it waits for."""
    head, status, missing = snapshots.head, snapshots.status, snapshots.missing
    length = head[after, S_LENGTH]
    before_instance = (head[after, S_INSTANCE] - head[after, S_LOW]) * length
    for row in range((head[after, S_HIGH] + 1 - head[after, S_LOW]) * length):
        missing[row] = state.rows.missing[first_row + row]
        status[row] = _PENDING if missing[row] > 0 else _ENDED
    for index in range(head[after, S_ACTIVE]):
        waits = snapshots.records[after, index, R_PLACE] == QUEUE
        status[before_instance + snapshots.records[after, index, R_ROW]] = _WAITING if waits else _RUNNING


@called_in_place
def _copy_rates(state: State, snapshots: Snapshots, before: int, after: int, periods: int) -> None:
    """Writes the rate rows of the last period again and again."""
    number, rates, head = state.number, state.rates, snapshots.head
    ticks, row = head[after, S_TICK] - head[before, S_TICK], head[after, S_RATES]
    count = row - head[before, S_RATES]
    for _ in range(periods * count):
        rates.tick[row], rates.channel[row] = rates.tick[row - count] + ticks, rates.channel[row - count]
        rates.granted[row], rates.asked[row] = rates.granted[row - count], rates.asked[row - count]
        row += 1
    number[place.RATES_USED] = row


@called_in_place
def _move_state(state: State, snapshots: Snapshots, before: int, after: int, periods: int) -> None:
    """Moves everything that the snapshot says by so many instances and periods, and the snapshot itself."""
    number, active, resources = state.number, state.active, state.resources
    head = snapshots.head
    period_ticks, release = head[after, S_TICK] - head[before, S_TICK], head[after, S_RELEASE]
    ticks, tasks = periods * period_ticks, periods * head[after, S_LENGTH]
    for index in range(head[after, S_ACTIVE]):
        record, where = snapshots.record[index] // NUM_PLACES, snapshots.record[index] % NUM_PLACES
        active[record, ROW] += tasks
        active[record, INSTANCE] += periods
        if where != QUEUE and active[record, KEY] != NEVER:
            active[record, KEY] += ticks
        if where == FLOW:
            active[record, SINCE] += ticks
    for position in range(number[place.NUM_BACKGROUND]):
        index = resources.background[position, IS_ON]
        if snapshots.background_since[before, index] != snapshots.background_since[after, index]:
            moved = snapshots.background[after, index, 1] - snapshots.background[before, index, 1]
            resources.background_moving[index, BACKGROUND_MOVED] += periods * moved
            resources.background[index, BACKGROUND_SINCE] += ticks
    if number[place.FLOW_END] != NEVER:
        number[place.FLOW_END] += ticks
    number[place.NOW] += ticks
    # Fewer than the tasks of the instances, if some of their tasks, such as those of a host, have ended long before.
    num_ended = periods * (head[after, S_ENDED] - head[before, S_ENDED])
    number[place.NUM_ENDED] += num_ended
    number[place.NUM_REPLAYED] += num_ended
    state.release[release, NUM_LEFT] -= num_ended
    state.release[release, LOWEST] += periods
    for column in (S_INSTANCE, S_LOW, S_HIGH):
        head[after, column] += periods
    head[after, S_TICK] += ticks
    head[after, S_RATES], head[after, S_ENDED] = number[place.RATES_USED], number[place.NUM_ENDED]
    keep_background(state, snapshots, after)
