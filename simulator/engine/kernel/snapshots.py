"""Snapshots: the state of a run in which one job is alone, relative to an instance and a tick.

Two snapshots are equal if all that decides what follows is equal bit for bit:

    active records     task, queue, end and ready ticks, bytes left, rate
    background flows   rate, and the tick since which it holds
    recorded           the totals in the last rate rows

What all other tasks wait for follows from the active records: a task has not ended exactly if it is active, or waits,
over any number of tasks, for one that is.
"""

from __future__ import annotations

from simulator.compiled import called_in_place, inlined_in_place
from simulator.engine.kernel import state as place
from simulator.engine.kernel.state import (
    BACKGROUND_MOVED,
    BACKGROUND_RATE,
    BACKGROUND_SINCE,
    CHILD,
    INSTANCE,
    IS_ON,
    KEY,
    LEFT,
    LOWEST,
    MOST_ACTIVE,
    NEVER,
    NEXT,
    RATE,
    ROW,
    SHIFT,
    SINCE,
    TEMPLATE,
    Snapshots,
    State,
)
from simulator.engine.kernel.tables import (
    END_TEMPLATE,
    FIRST_TASK,
    FIRST_TEMPLATE,
    FRAGMENT,
    RUN_FIRST,
    RUN_LAST,
    Tables,
)

S_RELEASE, S_INSTANCE, S_TICK, S_LOW, S_HIGH, S_LENGTH, S_ACTIVE, S_RATES, S_ENDED = range(9)
"""Columns of `Snapshots.head`: where and when; LOW, the first instance with a task that has not ended; HIGH, the last
with an active task or of which anything changed since the checkpoint before; tasks of the fragment; how many records
are active, how many rate rows were written and how many tasks have ended."""
R_ROW, R_TEMPLATE, R_PLACE, R_KEY, R_READY, R_SINCE = range(6)
"""Columns of `Snapshots.records`, relative to the instance and the tick."""
QUEUE, SLOT, FLOW, NUM_PLACES = range(4)
"""R_PLACE: where a record is. `Snapshots.record` holds record * NUM_PLACES + place."""


@called_in_place
def take_snapshot(tables: Tables, state: State, snapshots: Snapshots, which: int) -> bool:
    """Takes a snapshot; False if the window reaches beyond the run of equal fragments or is too large."""
    number = state.number
    head, instance = snapshots.head[which], number[place.CHECKPOINT]
    count = _collect(state, snapshots)
    if count < 0:
        return False
    release = state.active[snapshots.record[0] // NUM_PLACES, place.RELEASE]
    fragment = tables.instance[instance, FRAGMENT]
    length = tables.fragment[fragment, END_TEMPLATE] - tables.fragment[fragment, FIRST_TEMPLATE]
    low, high = tables.instance[-1, RUN_LAST], number[place.TOUCHED]
    for index in range(count):
        low = min(low, state.active[snapshots.record[index] // NUM_PLACES, INSTANCE])
        high = max(high, state.active[snapshots.record[index] // NUM_PLACES, INSTANCE])
    low = _lowest(tables, state, release, low)
    if low < tables.instance[instance, RUN_FIRST] or high + 1 > tables.instance[instance, RUN_LAST]:
        return False
    if (high + 1 - low) * length > len(snapshots.missing):
        return False
    head[S_RELEASE], head[S_INSTANCE], head[S_TICK] = release, instance, number[place.NOW]
    head[S_LOW], head[S_HIGH], head[S_LENGTH] = low, high, length
    head[S_ACTIVE], head[S_RATES], head[S_ENDED] = count, number[place.RATES_USED], number[place.NUM_ENDED]
    shift = state.release[release, SHIFT]
    _keep_records(state, snapshots, which, count, tables.instance[instance, FIRST_TASK] - shift)
    for channel in range(snapshots.recorded.shape[2]):
        for total in range(2):
            snapshots.recorded[which, total, channel] = state.sharings.recorded[total, channel]
    keep_background(state, snapshots, which)
    return True


@inlined_in_place
def _collect(state: State, snapshots: Snapshots) -> int:
    """Lists all active records with their places, by row; returns their number, or -1 if there are none or too many."""
    active, resources, found = state.active, state.resources, snapshots.record
    count = 0
    for queue in range(len(resources.queue)):
        root = resources.queue[queue]
        where = SLOT if queue == len(resources.queue) - 1 else QUEUE
        if root < 0:
            continue
        if count == MOST_ACTIVE:
            return -1
        found[count] = root * NUM_PLACES + where
        index, count = count, count + 1
        while index < count:
            child = active[found[index] // NUM_PLACES, CHILD]
            while child >= 0:
                if count == MOST_ACTIVE:
                    return -1
                found[count] = child * NUM_PLACES + where
                count += 1
                child = active[child, NEXT]
            index += 1
    if count + state.number[place.NUM_FLOWS] > MOST_ACTIVE:
        return -1
    for position in range(state.number[place.NUM_FLOWS]):
        found[count] = state.flows[position] * NUM_PLACES + FLOW
        count += 1
    for index in range(1, count):
        entry, position = found[index], index
        while position > 0 and active[found[position - 1] // NUM_PLACES, ROW] > active[entry // NUM_PLACES, ROW]:
            found[position] = found[position - 1]
            position -= 1
        found[position] = entry
    return count if count > 0 else -1


@inlined_in_place
def _lowest(tables: Tables, state: State, release: int, bound: int) -> int:
    """The first instance with a task that has not ended; at most `bound`, which has one."""
    shift, missing = state.release[release, SHIFT], state.rows.missing
    instance = state.release[release, LOWEST]
    while instance < bound:
        first, end = tables.instance[instance, FIRST_TASK] - shift, tables.instance[instance + 1, FIRST_TASK] - shift
        waits = 0
        for row in range(first, end):
            waits |= missing[row]
        if waits != 0:
            break
        instance += 1
    state.release[release, LOWEST] = instance
    return int(instance)


@inlined_in_place
def _keep_records(state: State, snapshots: Snapshots, which: int, count: int, first_row: int) -> None:
    active, now = state.active, state.number[place.NOW]
    for index in range(count):
        record, where = snapshots.record[index] // NUM_PLACES, snapshots.record[index] % NUM_PLACES
        row, end = active[record, ROW], active[record, KEY]
        kept, moving = snapshots.records[which, index], snapshots.moving[which, index]
        kept[R_ROW], kept[R_TEMPLATE], kept[R_PLACE] = row - first_row, active[record, TEMPLATE], where
        kept[R_KEY] = 0 if where == QUEUE else (NEVER if end == NEVER else end - now)
        kept[R_READY] = state.rows.ready[row] - now if where == QUEUE else 0
        kept[R_SINCE] = active[record, SINCE] - now if where == FLOW else 0
        stands = where == SLOT and end == NEVER
        moving[LEFT] = state.moving[record, LEFT] if stands or where == FLOW else 0.0
        moving[RATE] = state.moving[record, RATE] if where == FLOW else 0.0


@inlined_in_place
def keep_background(state: State, snapshots: Snapshots, which: int) -> None:
    """Notes what the background flows do and have done."""
    resources = state.resources
    for index in range(len(resources.background)):
        snapshots.background[which, index, 0] = resources.background_moving[index, BACKGROUND_RATE]
        snapshots.background[which, index, 1] = resources.background_moving[index, BACKGROUND_MOVED]
        snapshots.background_since[which, index] = resources.background[index, BACKGROUND_SINCE]


@called_in_place
def are_equal(state: State, snapshots: Snapshots, before: int, after: int) -> bool:  # noqa: PLR0911, PLR0912
    """Whether the later snapshot is the earlier one moved by one instance."""
    head = snapshots.head
    if head[before, S_RELEASE] != head[after, S_RELEASE] or head[before, S_ACTIVE] != head[after, S_ACTIVE]:
        return False
    if head[after, S_INSTANCE] - head[before, S_INSTANCE] != 1:
        return False
    for index in range(head[after, S_ACTIVE]):
        for column in range(snapshots.records.shape[2]):
            if snapshots.records[before, index, column] != snapshots.records[after, index, column]:
                return False
        for column in range(snapshots.moving.shape[2]):
            if snapshots.moving[before, index, column] != snapshots.moving[after, index, column]:
                return False
    for position in range(state.number[place.NUM_BACKGROUND]):
        index = state.resources.background[position, IS_ON]
        if snapshots.background[before, index, 0] != snapshots.background[after, index, 0]:
            return False
        passed = snapshots.background_since[after, index] - snapshots.background_since[before, index]
        if passed != 0 and passed != head[after, S_TICK] - head[before, S_TICK]:
            return False
    for channel in range(snapshots.recorded.shape[2]):
        for total in range(2):
            if snapshots.recorded[before, total, channel] != snapshots.recorded[after, total, channel]:
                return False
    return True
