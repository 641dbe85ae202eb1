"""Jobs of the compiled engine: releases that start, wait or are dropped, and complete."""

from __future__ import annotations

from typing import Final

from simulator.compiled import called_in_place, inlined_in_place
from simulator.engine.kernel import state as place
from simulator.engine.kernel.state import (
    END,
    END_WAITING,
    FIRST_ROW,
    FIRST_WAITING,
    IN_FLIGHT,
    INSTANCE,
    LOWEST,
    NEXT,
    NUM_LEFT,
    RELEASE,
    ROW,
    SHIFT,
    START,
    STATUS,
    TEMPLATE,
    State,
)
from simulator.engine.kernel.tables import (
    END_INSTANCE,
    END_ROOT,
    END_TEMPLATE,
    FIRST_INSTANCE,
    FIRST_RELEASE,
    FIRST_ROOT,
    FIRST_TASK_OF_JOB,
    FIRST_TEMPLATE,
    FRAGMENT,
    MOST_IN_FLIGHT,
    MOST_WAITING,
    NUM_TASKS,
    POLICY,
    RELEASE_JOB,
    RELEASE_STREAM,
    Tables,
)
from simulator.program import DropPolicy
from simulator.timeline import ReleaseStatus

_LATEST: Final = int(DropPolicy.LATEST)
_FIFO: Final = int(DropPolicy.FIFO)
_WAITING: Final = int(ReleaseStatus.WAITING)
_RUNNING: Final = int(ReleaseStatus.IN_FLIGHT)
_COMPLETED: Final = int(ReleaseStatus.COMPLETED)
_DROPPED: Final = int(ReleaseStatus.DROPPED)


@inlined_in_place
def make_ready(state: State, row: int, template: int, instance: int, release: int) -> None:
    """Puts a new active record into the ready chain."""
    number, active = state.number, state.active
    record = number[place.FREE]
    if record >= 0:
        number[place.FREE] = active[record, NEXT]
    else:
        record = number[place.FRESH]
        number[place.FRESH] += 1
    active[record, ROW], active[record, TEMPLATE] = row, template
    active[record, INSTANCE], active[record, RELEASE] = instance, release
    active[record, NEXT] = number[place.READY]
    number[place.READY] = record


@called_in_place
def start_job(tables: Tables, state: State, release: int) -> None:
    """Gives a job its rows and makes its tasks without predecessors ready."""
    number, missing = state.number, state.rows.missing
    job, row = tables.release[release, RELEASE_JOB], number[place.ROWS_USED]
    count = tables.job[job, NUM_TASKS]
    state.release[release, STATUS] = _RUNNING
    state.release[release, START] = number[place.NOW]
    state.release[release, FIRST_ROW] = row
    state.release[release, SHIFT] = tables.job[job, FIRST_TASK_OF_JOB] - row
    state.release[release, NUM_LEFT] = count
    state.release[release, LOWEST] = tables.job[job, FIRST_INSTANCE]
    number[place.ROWS_USED] += count
    number[place.TASKS_IN_FLIGHT] += count
    number[place.NUM_IN_FLIGHT] += 1
    number[place.HAS_SNAPSHOT] = 0
    state.resources.stream[tables.release[release, RELEASE_STREAM], IN_FLIGHT] += 1
    for instance in range(tables.job[job, FIRST_INSTANCE], tables.job[job, END_INSTANCE]):
        fragment = tables.instance[instance, FRAGMENT]
        first, end = tables.fragment[fragment, FIRST_TEMPLATE], tables.fragment[fragment, END_TEMPLATE]
        for template in range(first, end):
            missing[row + template - first] = tables.num_missing[template]
        for root in range(tables.fragment[fragment, FIRST_ROOT], tables.fragment[fragment, END_ROOT]):
            template = tables.roots[root]
            make_ready(state, row + template - first, template, instance, release)
        row += end - first


@called_in_place
def complete_job(tables: Tables, state: State, release: int) -> None:
    """Completes a job and starts the one that has waited longest for its place."""
    number, resources, stream = state.number, state.resources, tables.release[release, RELEASE_STREAM]
    state.release[release, STATUS] = _COMPLETED
    state.release[release, END] = number[place.NOW]
    number[place.NUM_OPEN] -= 1
    number[place.NUM_IN_FLIGHT] -= 1
    number[place.TASKS_IN_FLIGHT] -= tables.job[tables.release[release, RELEASE_JOB], NUM_TASKS]
    resources.stream[stream, IN_FLIGHT] -= 1
    if resources.stream[stream, FIRST_WAITING] < resources.stream[stream, END_WAITING]:
        # No later step of this round touches a job before step 3, so the place that step 3 would give is given now.
        first = tables.stream[stream, FIRST_RELEASE] + resources.stream[stream, FIRST_WAITING]
        resources.stream[stream, FIRST_WAITING] += 1
        number[place.NUM_WAITING] -= 1
        start_job(tables, state, resources.waiting[first])


@called_in_place
def release_job(tables: Tables, state: State, release: int) -> None:
    """Starts a release, lets it wait or drops it."""
    number, resources = state.number, state.resources
    stream = tables.release[release, RELEASE_STREAM]
    if resources.stream[stream, IN_FLIGHT] < tables.stream[stream, MOST_IN_FLIGHT]:
        start_job(tables, state, release)
        return
    policy, first = tables.stream[stream, POLICY], tables.stream[stream, FIRST_RELEASE]
    waiting = resources.stream[stream, END_WAITING] - resources.stream[stream, FIRST_WAITING]
    state.release[release, STATUS] = _WAITING
    if policy == _LATEST and waiting > 0:
        last = first + resources.stream[stream, END_WAITING] - 1
        state.release[resources.waiting[last], STATUS] = _DROPPED
        number[place.NUM_OPEN] -= 1
        resources.waiting[last] = release
    elif policy == _LATEST or (policy == _FIFO and waiting < tables.stream[stream, MOST_WAITING]):
        resources.waiting[first + resources.stream[stream, END_WAITING]] = release
        resources.stream[stream, END_WAITING] += 1
        number[place.NUM_WAITING] += 1
    else:
        state.release[release, STATUS] = _DROPPED
        number[place.NUM_OPEN] -= 1
