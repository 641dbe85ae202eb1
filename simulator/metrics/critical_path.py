"""The critical path of a release: the tasks that made it as long as it was.

The path is walked backwards from the last task that ended. If that started when another task of the release left its
unit, the walk goes on there: the unit was the reason. Otherwise it queued behind other releases from its ready tick to
its start, and at its ready tick a predecessor ended, where the walk goes on. So each part begins when the one before
ends. What the time of the parts is called is in `metrics.attribution`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from simulator.compiled import called_in_place, compiled_in_place, inlined_in_place
from simulator.errors import EngineError
from simulator.metrics.latency import rows_of_release
from simulator.program.columns import offsets_of
from simulator.program.program import NONE, Ints
from simulator.program.template_columns import times_of_templates
from simulator.timeline.timeline import Timeline


@dataclass(frozen=True, eq=False)
class CriticalPath:
    """The tasks on the path, first to last."""

    rows: Ints
    """Rows of the timeline."""
    begin_tick: Ints
    """Where each task's part of the path begins: its ready tick, or its start if it took over the slot of the task
    before it on the path."""


class JobTasks(NamedTuple):
    """The tasks of a job, folded."""

    instance_starts: Ints
    """The first task of each instance, counted from that of the job, and at the end the number of tasks."""
    template_starts: Ints
    """The first template task of each instance."""
    unit: Ints
    """Per template task."""
    predecessor_offsets: Ints
    predecessors: Ints
    """As in `Templates`."""


class Ran(NamedTuple):
    """When the tasks of a completed release ran (shape: tasks of the job)."""

    ready_tick: Ints
    start_tick: Ints
    end_tick: Ints


class Leaving(NamedTuple):
    """The tasks of each unit by the tick at which they left it, and of equals by number."""

    offsets: Ints
    """CSR: unit to tasks."""
    tasks: Ints
    end_tick: Ints


class Walk(NamedTuple):
    """What a walk along the critical path reads."""

    job: JobTasks
    ran: Ran
    leaving: Leaving


FREE: Final = -1
BROKEN: Final = -2
"""In place of the task before another: that waits for nothing; nothing that it waits for ended when it was ready."""


def critical_path(timeline: Timeline, release: int) -> CriticalPath:
    """The critical path of a completed release.

    Of several predecessors that end at the ready tick of a task, the one with the highest index is on the path; of
    several tasks that left its unit when it started, too.

    Raises:
        SpecError: when the release has not completed.
        EngineError: when a task became ready at a tick at which no predecessor ended.
    """
    walk, first_row = walk_of(timeline, release), timeline.rows_of(release).start
    path = np.empty(len(walk.ran.end_tick), dtype=np.int64)
    place, before = _walk_back(walk, path)
    rows = first_row + path[place:]
    check_begin(timeline, int(rows[0]), before)
    return CriticalPath(rows, np.concatenate([timeline.ready_tick[rows[:1]], timeline.end_tick[rows[:-1]]]))


def walk_of(timeline: Timeline, release: int) -> Walk:
    """What a walk along the critical path of a release reads.

    Raises:
        SpecError: when the release has not completed.
    """
    rows, program = rows_of_release(timeline, release), timeline.program
    folded, index = program.folded_tasks, int(program.streams.release_job[release])
    first, stop = folded.instances.job_offsets[index : index + 2].tolist()
    fragment, templates = folded.instances.fragment[first:stop], folded.templates
    job = JobTasks(
        instance_starts=folded.starts[first : stop + 1] - folded.starts[first],
        template_starts=templates.fragment_offsets[fragment],
        unit=templates.unit,
        predecessor_offsets=templates.predecessor_offsets,
        predecessors=templates.predecessors,
    )
    ran = Ran(timeline.ready_tick[rows], timeline.start_tick[rows], timeline.end_tick[rows])
    times = times_of_templates(program, index)
    is_compute = templates.unit != NONE
    per_unit = np.zeros(len(program.resources.unit_names), dtype=np.int64)
    np.add.at(per_unit, templates.unit[is_compute], times[is_compute])
    return Walk(job, ran, _leaving(job, ran, offsets_of(per_unit)))


def check_begin(timeline: Timeline, row: int, before: int) -> None:
    """Checks that a walk ended at a task that is free to begin.

    Raises:
        EngineError: when it did not.
    """
    if before == BROKEN:
        raise EngineError(
            f"task {timeline.task[row]} was ready at {timeline.ready_tick[row]}, when no predecessor ended"
        )


def _leaving(job: JobTasks, ran: Ran, offsets: Ints) -> Leaving:
    tasks, end_tick = np.empty(offsets[-1], dtype=np.int64), np.empty(offsets[-1], dtype=np.int64)
    _write_leaving(job, ran.end_tick, offsets[:-1].copy(), tasks, end_tick)
    for start, stop in itertools.pairwise(offsets.tolist()):
        ends = end_tick[start:stop]
        if np.any(ends[1:] < ends[:-1]):
            order = np.argsort(ends, kind="stable")
            tasks[start:stop], end_tick[start:stop] = tasks[start:stop][order], ends[order]
    return Leaving(offsets, tasks, end_tick)


@compiled_in_place
def _write_leaving(job: JobTasks, end_tick: Ints, place: Ints, tasks: Ints, left_tick: Ints) -> None:
    """Writes the compute tasks in their order, those of each unit from its place on."""
    starts, template_starts, unit = job.instance_starts, job.template_starts, job.unit
    for instance in range(len(template_starts)):
        to_task = starts[instance] - template_starts[instance]
        for template in range(template_starts[instance], starts[instance + 1] - to_task):
            if unit[template] != NONE:
                tasks[place[unit[template]]] = template + to_task
                left_tick[place[unit[template]]] = end_tick[template + to_task]
                place[unit[template]] += 1


@compiled_in_place
def _walk_back(walk: Walk, path: Ints) -> tuple[int, int]:
    """Writes the path to the end of `path`; returns where it begins there, and `FREE` or `BROKEN`."""
    job, ran, leaving = walk
    starts, end_tick = job.instance_starts, ran.end_tick
    task, instance = last_task(end_tick), len(starts) - 2
    for place in range(len(path) - 1, -1, -1):
        path[place] = task
        instance = instance_of(starts, instance, task)
        task = task_before(job, ran, leaving, task, instance)
        if task < 0:
            return place, task
    return 0, BROKEN  # round in a circle


@called_in_place
def last_task(end_tick: Ints) -> int:
    """The task that ended last, of equals the highest."""
    last = len(end_tick) - 1
    for task in range(len(end_tick) - 2, -1, -1):
        if end_tick[task] > end_tick[last]:
            last = task
    return last


@inlined_in_place
def instance_of(starts: Ints, instance: int, task: int) -> int:
    """The instance of a task, looked for from a near one."""
    while starts[instance] > task:
        instance -= 1
    while starts[instance + 1] <= task:
        instance += 1
    return instance


@inlined_in_place
def task_before(job: JobTasks, ran: Ran, leaving: Leaving, task: int, instance: int) -> int:
    """The task before one on a critical path, `FREE` or `BROKEN`."""
    start, tick = job.instance_starts[instance], ran.ready_tick[task]
    template = job.template_starts[instance] + task - start
    if ran.start_tick[task] > tick and job.unit[template] != NONE:
        holder = _holder(leaving, ran.start_tick, job.unit[template], ran.start_tick[task])
        if holder != NONE:
            return holder
    first, stop = job.predecessor_offsets[template], job.predecessor_offsets[template + 1]
    if stop == first + 1:  # most tasks: the walk need not wait for the comparison to know where it goes on
        only = start + job.predecessors[first]
        return only if ran.end_tick[only] == tick else BROKEN
    before = FREE if first == stop else BROKEN
    for edge in range(first, stop):
        other = start + job.predecessors[edge]
        if ran.end_tick[other] == tick:
            before = max(before, other)
    return before


@called_in_place
def _holder(leaving: Leaving, start_tick: Ints, unit: int, tick: int) -> int:
    """The last task that left a unit at a tick after it had worked there, NONE if none did."""
    first, stop = leaving.offsets[unit], leaving.offsets[unit + 1]
    while first < stop:  # afterwards all before `first` left at the tick or before it
        middle = (first + stop) // 2
        if leaving.end_tick[middle] <= tick:
            first = middle + 1
        else:
            stop = middle
    for place in range(first - 1, leaving.offsets[unit] - 1, -1):
        if leaving.end_tick[place] < tick:
            break
        if start_tick[leaving.tasks[place]] < tick:
            task: int = leaving.tasks[place]
            return task
    return NONE
