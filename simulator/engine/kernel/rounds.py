"""The loop of the compiled engine: the rounds of `simulator.engine.interface`, step by step.

    1 completions        _collect_ended, then _end for each
    2 capacity changes   _change
    3 releases           release_job (and complete_job in step 1, for jobs that waited)
    4 starts             _start_ready, _serve
    5 rates              share

Between two ticks, when nothing is left to do at the old one, `run` writes the rate rows of the old tick, jumps over
what repeats (`simulator.engine.kernel.replay`), and returns to Python if the run is over, if arrays need more room
or if it is time to report progress. It goes on where it was when it is called again.
"""

from __future__ import annotations

from simulator.compiled import called_in_place, compiled_in_place, inlined_in_place
from simulator.engine.interface import LAST_TICK
from simulator.engine.kernel import state as place
from simulator.engine.kernel.budgets import stands_still, turn_budgets
from simulator.engine.kernel.flows import (
    begin_flow,
    change_background,
    end_after,
    end_flows,
    forget_sharings,
    share,
    share_budgets,
    write_rates,
)
from simulator.engine.kernel.jobs import complete_job, make_ready, release_job
from simulator.engine.kernel.queues import pop, push
from simulator.engine.kernel.replay import replay
from simulator.engine.kernel.state import (
    CONTENDED,
    INSTANCE,
    IS_CONTENDED,
    KEY,
    LEFT,
    NEVER,
    NEXT,
    NUM_FREE,
    NUM_LEFT,
    RELEASE,
    ROW,
    TEMPLATE,
    Snapshots,
    State,
)
from simulator.engine.kernel.tables import (
    AMOUNT,
    BACKGROUND_START,
    CAPACITY,
    CHANGE_INDEX,
    CHANGE_TICK,
    CHANGE_WHAT,
    CLOCK,
    END_SUCCESSOR,
    FIRST_OUTER,
    FIRST_SUCCESSOR,
    FIRST_TEMPLATE,
    NEXT_FRAGMENT,
    PRIORITY,
    REACH,
    RELEASE_IN_ORDER,
    RELEASE_TICK,
    RUN_LAST,
    TO_END,
    TRANSFER,
    UNIT,
    Tables,
)

FINISHED, PAUSED, NEEDS_ROOM, STALLED, TOO_LONG = range(5)
"""Why `run` returns."""


@compiled_in_place
def run(tables: Tables, state: State, snapshots: Snapshots, until_tick: int, pause_after: int, replays: bool) -> int:  # noqa: PLR0911, PLR0917
    """Runs on until one of the reasons to return.

    Args:
        tables: what to run.
        state: where the run is; changed.
        snapshots: room for `replay`.
        until_tick: stop before this tick; -1 for none.
        pause_after: return when so many tasks have ended.
        replays: whether to jump over what repeats.
    """
    number = state.number
    while True:
        tick = _next_tick(tables, state)
        is_new_tick = tick != number[place.NOW]
        if is_new_tick:
            if number[place.HAS_SHARED] and not write_rates(state):
                return NEEDS_ROOM
            if number[place.CHECKPOINT] >= 0:
                jump = replay(tables, state, snapshots, until_tick) if replays else 0
                if jump < 0:
                    return NEEDS_ROOM
                number[place.CHECKPOINT] = -1
                if jump > 0:
                    continue
            if until_tick < 0 and number[place.NUM_OPEN] == 0:
                return FINISHED
            if until_tick >= 0 and tick >= until_tick:
                return FINISHED
            if tick == NEVER or (until_tick < 0 and _is_stuck(tables, state, tick)):
                return STALLED
            if tick > LAST_TICK:
                number[place.NOW] = tick
                return TOO_LONG
            if _needs_room(tables, state, tick):
                return NEEDS_ROOM
            if number[place.NUM_ENDED] >= pause_after:
                return PAUSED
            number[place.NOW] = tick
        _round(tables, state, is_new_tick)


@inlined_in_place
def _next_tick(tables: Tables, state: State) -> int:
    """The tick of the next round."""
    number = state.number
    if number[place.INSTANTS] >= 0:
        return int(number[place.NOW])
    tick = number[place.FLOW_END]
    first = state.resources.queue[-1]
    if first >= 0:
        tick = min(tick, state.active[first, KEY])
    tick = min(tick, number[place.BUDGET_DUE])
    return int(min(tick, _next_release_tick(tables, state), _next_change_tick(tables, state)))


@inlined_in_place
def _is_stuck(tables: Tables, state: State, tick: int) -> bool:
    """Whether only budgets are to come, and they have helped nobody for long."""
    if tick != state.number[place.BUDGET_DUE]:
        return False
    if _next_release_tick(tables, state) != NEVER or _next_change_tick(tables, state) != NEVER:
        return False
    return stands_still(tables, state, tick)


@inlined_in_place
def _next_release_tick(tables: Tables, state: State) -> int:
    upcoming = state.number[place.NEXT_RELEASE]
    return (
        int(tables.release[tables.release[upcoming, RELEASE_IN_ORDER], RELEASE_TICK])
        if upcoming < len(tables.release)
        else NEVER
    )


@inlined_in_place
def _next_change_tick(tables: Tables, state: State) -> int:
    upcoming = state.number[place.NEXT_CHANGE]
    return int(tables.change[upcoming, CHANGE_TICK]) if upcoming < len(tables.change) else NEVER


@inlined_in_place
def _needs_room(tables: Tables, state: State, tick: int) -> bool:
    """Whether the jobs that may start at a tick need more room than there is; then `number` says how much."""
    number, order = state.number, tables.release
    starts, upcoming = number[place.NUM_WAITING], number[place.NEXT_RELEASE]
    while upcoming < len(order) and order[order[upcoming, RELEASE_IN_ORDER], RELEASE_TICK] == tick:
        starts, upcoming = starts + 1, upcoming + 1
    if starts == 0:
        return False
    tasks = min(starts, number[place.MOST_IN_FLIGHT]) * tables.longest_job[0]
    number[place.ROWS_NEEDED] = min(number[place.ROWS_USED] + tasks, number[place.ALL_ROWS])
    number[place.RECORDS_NEEDED] = number[place.TASKS_IN_FLIGHT] + tasks
    return bool(number[place.ROWS_NEEDED] > len(state.rows.ready) or number[place.RECORDS_NEEDED] > len(state.active))


@inlined_in_place
def _round(tables: Tables, state: State, is_first: bool) -> None:
    """One round: the five steps."""
    number, active = state.number, state.active
    record = _collect_ended(tables, state)
    while record >= 0:
        following = active[record, NEXT]
        _end(tables, state, record)
        record = following
    if is_first:
        while _next_change_tick(tables, state) == number[place.NOW]:
            _change(tables, state, number[place.NEXT_CHANGE])
            number[place.NEXT_CHANGE] += 1
        if number[place.BUDGET_DUE] == number[place.NOW]:
            number[place.HAS_SNAPSHOT] = 0
            if turn_budgets(tables, state):
                forget_sharings(state)
                number[place.IS_STALE] = 1
        while _next_release_tick(tables, state) == number[place.NOW]:
            release_job(tables, state, tables.release[number[place.NEXT_RELEASE], RELEASE_IN_ORDER])
            number[place.NEXT_RELEASE] += 1
    _start_ready(tables, state)
    resources = state.resources
    for index in range(number[place.NUM_CONTENDED]):
        unit = resources.unit[index, CONTENDED]
        resources.unit[unit, IS_CONTENDED] = 0
        while resources.unit[unit, NUM_FREE] > 0 and resources.queue[unit] >= 0:
            _serve(tables, state, unit)
    number[place.NUM_CONTENDED] = 0
    if number[place.IS_STALE]:
        share(tables, state)
        if len(state.resources.budget) > 0:
            share_budgets(tables, state)


# step 1: completions -----------------------------------------------------------------------------------------------


@inlined_in_place
def _collect_ended(tables: Tables, state: State) -> int:
    """Takes everything that ends now off its resource; returns a chain of records."""
    number, active, resources = state.number, state.active, state.resources
    chain, number[place.INSTANTS] = number[place.INSTANTS], -1
    if number[place.FLOW_END] <= number[place.NOW]:
        chain = end_flows(state, chain)
    calendar = len(resources.queue) - 1
    while resources.queue[calendar] >= 0 and active[resources.queue[calendar], KEY] <= number[place.NOW]:
        record = pop(active, state.rows.ready, state.release, resources.queue, calendar)
        unit = tables.task[active[record, TEMPLATE], UNIT]
        resources.unit[unit, NUM_FREE] += 1
        if resources.queue[unit] >= 0:
            _contend(state, unit)
        active[record, NEXT] = chain
        chain = record
    return int(chain)


@inlined_in_place
def _end(tables: Tables, state: State, record: int) -> None:
    """Ends one task: its successors lose a predecessor, and its job may complete."""
    number, active = state.number, state.active
    row, template = active[record, ROW], active[record, TEMPLATE]
    instance, release = active[record, INSTANCE], active[record, RELEASE]
    active[record, NEXT] = number[place.FREE]
    number[place.FREE] = record
    state.rows.end[row] = number[place.NOW]
    touched = instance
    for edge in range(tables.task[template, FIRST_SUCCESSOR], tables.task[template, END_SUCCESSOR]):
        distance = tables.successors[edge]
        _lose_predecessor(state, row + distance, template + distance, instance, release)
    following, to_end = tables.instance[instance, NEXT_FRAGMENT], tables.task[template, TO_END]
    if following >= 0 and to_end <= tables.fragment[following, REACH]:
        touched = instance + 1
        first_template = tables.fragment[following, FIRST_TEMPLATE]
        edges = tables.fragment[following, FIRST_OUTER] + to_end
        for edge in range(tables.outer_offsets[edges - 1], tables.outer_offsets[edges]):
            local = tables.outer_successors[edge]
            _lose_predecessor(state, row + to_end + local, first_template + local, instance + 1, release)
    number[place.TOUCHED] = max(number[place.TOUCHED], touched)
    if to_end == 1 and instance + 2 <= tables.instance[instance, RUN_LAST]:
        number[place.CHECKPOINT] = instance
    number[place.NUM_ENDED] += 1
    state.release[release, NUM_LEFT] -= 1
    if state.release[release, NUM_LEFT] == 0:
        complete_job(tables, state, release)


@inlined_in_place
def _lose_predecessor(state: State, row: int, template: int, instance: int, release: int) -> None:
    missing = state.rows.missing
    missing[row] -= 1
    if missing[row] == 0:
        make_ready(state, row, template, instance, release)


# step 2: capacity changes ------------------------------------------------------------------------------------------


@called_in_place
def _change(tables: Tables, state: State, row: int) -> None:
    """One change of a clock, a capacity or a background flow."""
    what, index = tables.change[row, CHANGE_WHAT], tables.change[row, CHANGE_INDEX]
    state.number[place.HAS_SNAPSHOT] = 0
    if what == CLOCK:
        _set_clock(tables, state, index, tables.change_value[row])
        return
    if what == CAPACITY:
        state.resources.capacity[index] = tables.change_value[row]
        forget_sharings(state)
    else:
        change_background(state, index, what == BACKGROUND_START)
    state.number[place.IS_STALE] = 1


@called_in_place
def _set_clock(tables: Tables, state: State, unit: int, clock_hz: float) -> None:
    """Moves the ends of all tasks that run on a unit."""
    active, moving, resources = state.active, state.moving, state.resources
    ready, release, calendar = state.rows.ready, state.release, len(resources.queue) - 1
    now = state.number[place.NOW]
    before = resources.clock_hz[unit]
    if clock_hz == before:
        return
    resources.clock_hz[unit] = clock_hz
    chain = -1
    while resources.queue[calendar] >= 0:
        record = pop(active, ready, release, resources.queue, calendar)
        active[record, NEXT] = chain
        chain = record
    while chain >= 0:
        record, chain = chain, active[chain, NEXT]
        if tables.task[active[record, TEMPLATE], UNIT] == unit:
            if active[record, KEY] != NEVER:
                moving[record, LEFT] = (active[record, KEY] - now) * before
            active[record, KEY] = end_after(now, moving[record, LEFT] / clock_hz) if clock_hz > 0.0 else NEVER
        push(active, ready, release, resources.queue, calendar, record)


# step 4: starts ----------------------------------------------------------------------------------------------------


@inlined_in_place
def _contend(state: State, unit: int) -> None:
    """Notes that a unit may have something to start."""
    number, resources = state.number, state.resources
    if not resources.unit[unit, IS_CONTENDED]:
        resources.unit[unit, IS_CONTENDED] = 1
        resources.unit[number[place.NUM_CONTENDED], CONTENDED] = unit
        number[place.NUM_CONTENDED] += 1


@inlined_in_place
def _start_ready(tables: Tables, state: State) -> None:
    """Starts what needs no unit, and puts the rest of the ready chain into the queues of its units."""
    number, active, rows = state.number, state.active, state.rows
    now, record = number[place.NOW], number[place.READY]
    number[place.READY] = -1
    while record >= 0:
        following = active[record, NEXT]
        row, template = active[record, ROW], active[record, TEMPLATE]
        unit = tables.task[template, UNIT]
        rows.ready[row] = now
        if unit >= 0:
            active[record, KEY] = tables.task[template, PRIORITY]
            push(active, rows.ready, state.release, state.resources.queue, unit, record)
            _contend(state, unit)
        else:
            rows.start[row] = now
            if unit == TRANSFER:
                begin_flow(state, record, tables.amount[template, AMOUNT])
            else:
                active[record, NEXT] = number[place.INSTANTS]
                number[place.INSTANTS] = record
        record = following


@inlined_in_place
def _serve(tables: Tables, state: State, unit: int) -> None:
    """Starts the first task in the queue of a unit."""
    active, resources, ready, release = state.active, state.resources, state.rows.ready, state.release
    now = state.number[place.NOW]
    record = pop(active, ready, release, resources.queue, unit)
    resources.unit[unit, NUM_FREE] -= 1
    state.rows.start[active[record, ROW]] = now
    work, clock_hz = tables.amount[active[record, TEMPLATE], AMOUNT], resources.clock_hz[unit]
    state.moving[record, LEFT] = work
    if work == 0.0:
        active[record, KEY] = now
    else:
        active[record, KEY] = end_after(now, work / clock_hz) if clock_hz > 0.0 else NEVER
    push(active, ready, release, resources.queue, len(resources.queue) - 1, record)
