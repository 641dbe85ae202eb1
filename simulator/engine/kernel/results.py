"""The end of a run: what the end cut off, and the columns that are not written while it runs."""

from __future__ import annotations

from simulator.compiled import compiled_in_place, inlined_in_place
from simulator.engine.kernel import state as place
from simulator.engine.kernel.flows import settle, settle_background
from simulator.engine.kernel.queues import pop
from simulator.engine.kernel.state import FIRST_ROW, IS_ON, LEFT, ROW, TEMPLATE, State
from simulator.engine.kernel.tables import (
    END_INSTANCE,
    END_TEMPLATE,
    FIRST_INSTANCE,
    FIRST_TASK_OF_JOB,
    FIRST_TEMPLATE,
    FRAGMENT,
    RELEASE_JOB,
    SIZE_BYTES,
    Tables,
)
from simulator.program import NONE
from simulator.program.columns import Floats, Ints


@compiled_in_place
def write_columns(tables: Tables, state: State, horizon_tick: int, task: Ints, release: Ints, served: Floats) -> None:  # noqa: PLR0917
    """Writes task, release and served bytes of every row, and marks what did not start or end.

    A row has not started if it misses predecessors afterwards; it has not ended if its end is NONE.
    """
    for number in range(len(tables.release)):
        row = state.release[number, FIRST_ROW]
        if row < 0:
            continue
        job = tables.release[number, RELEASE_JOB]
        first = tables.job[job, FIRST_TASK_OF_JOB]
        for instance in range(tables.job[job, FIRST_INSTANCE], tables.job[job, END_INSTANCE]):
            fragment = tables.instance[instance, FRAGMENT]
            for template in range(tables.fragment[fragment, FIRST_TEMPLATE], tables.fragment[fragment, END_TEMPLATE]):
                task[row] = first
                release[row] = number
                served[row] = tables.amount[template, SIZE_BYTES]
                first += 1
                row += 1
    _cut_off(tables, state, horizon_tick, served)


@inlined_in_place
def _cut_off(tables: Tables, state: State, horizon_tick: int, served: Floats) -> None:
    active, rows, queue = state.active, state.rows, state.resources.queue
    for index in range(len(queue)):
        while queue[index] >= 0:
            record = pop(active, rows.ready, state.release, queue, index)
            if index == len(queue) - 1:
                rows.end[active[record, ROW]] = NONE
            else:
                rows.missing[active[record, ROW]] = 1
    for position in range(state.number[place.NUM_FLOWS]):
        record = state.flows[position]
        settle(state, record, horizon_tick)
        rows.end[active[record, ROW]] = NONE
        served[active[record, ROW]] = tables.amount[active[record, TEMPLATE], SIZE_BYTES] - state.moving[record, LEFT]
    for position in range(state.number[place.NUM_BACKGROUND]):
        settle_background(state, state.resources.background[position, IS_ON], horizon_tick)
