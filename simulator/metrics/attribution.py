"""Where the latency of a release went: its critical path, and the causes of every tick on it.

The path is walked backwards from the last task that ended. From its end to its start a task is busy with its cause. If
it started when another task of the release left its unit, the walk goes on there: the unit was the reason. Otherwise it
queued behind other releases from its ready tick to its start, and at its ready tick a predecessor ended, where the walk
goes on. So the pieces join without gap or overlap and their sum is the latency, to the tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.errors import EngineError
from simulator.metrics.latency import release_latency, rows_of_release
from simulator.program.capacity import sole_duration_ticks, sole_transfer_ticks
from simulator.program.program import NONE, Ints, Program
from simulator.timeline.timeline import Timeline

WAIT: Final = "wait"
"""The release waits for its stream to admit it."""
QUEUE: Final = "queue"
"""A task waits for a slot of its unit that another release holds."""
CONTENTION: Final = "contention"
"""A transfer takes longer than it would if it had its channels to itself: others, of this job too, share them."""


@dataclass(frozen=True)
class Attribution:
    """The ticks of a latency by cause, largest first; they sum exactly to it."""

    latency_ticks: int
    cause_ticks: Mapping[str, int]
    phase_cause_ticks: Mapping[str, Mapping[str, int]]
    """The same within each phase, by phase name: what the path did from the phase's start tick to its end tick."""


@dataclass(frozen=True, eq=False)
class _Pieces:
    """The critical path as intervals of time, each with a cause."""

    start_tick: Ints
    end_tick: Ints
    cause: Ints
    names: tuple[str, ...]

    def within(self, start_tick: int, stop_tick: int) -> dict[str, int]:
        """The ticks of each cause within [start, stop), largest first."""
        held = np.minimum(self.end_tick, stop_tick) - np.maximum(self.start_tick, start_tick)
        ticks = np.zeros(len(self.names), dtype=np.int64)
        np.add.at(ticks, self.cause, np.maximum(held, 0))
        order = np.argsort(-ticks, kind="stable").tolist()
        return {self.names[index]: int(ticks[index]) for index in order if ticks[index] > 0}


@dataclass(frozen=True, eq=False)
class CriticalPath:
    """The tasks that made a release as long as it was, first to last."""

    rows: Ints
    """Rows of the timeline."""
    begin_tick: Ints
    """Where each task's part of the path begins: its ready tick, or its start if it took over the slot of the task
    before it on the path."""


def critical_path(timeline: Timeline, release: int) -> CriticalPath:
    """The critical path of a completed release.

    Of several predecessors that end at the ready tick of a task, the one with the highest index is on the path; of
    several tasks that left its unit when it started, too.

    Raises:
        SpecError: when the release has not completed.
        EngineError: when a task became ready at a tick at which no predecessor ended.
    """
    rows, program = rows_of_release(timeline, release), timeline.program
    first = int(timeline.task[rows[0]])
    offsets = program.tasks.predecessor_offsets[first : first + len(rows) + 1]
    predecessors = (program.tasks.predecessors[offsets[0] : offsets[-1]] - first).tolist()
    offset = (offsets - offsets[0]).tolist()
    ready, start, end = (column[rows].tolist() for column in
                         (timeline.ready_tick, timeline.start_tick, timeline.end_tick))  # fmt: skip
    unit = program.tasks.unit[first : first + len(rows)].tolist()
    leaving = {
        (unit[task], end[task]): task for task in range(len(rows)) if unit[task] != NONE and start[task] < end[task]
    }
    task = int(np.flatnonzero(timeline.end_tick[rows] == timeline.release_end_tick[release])[-1])
    path, begin = [task], []
    while True:
        holder = leaving.get((unit[task], start[task])) if start[task] > ready[task] else None
        if holder is not None:
            begin.append(start[task])
            task = holder
        else:
            begin.append(ready[task])
            before = predecessors[offset[task] : offset[task + 1]]
            if not before:
                return CriticalPath(rows[path[::-1]], np.array(begin[::-1], dtype=np.int64))
            releasing = [other for other in before if end[other] == ready[task]]
            if not releasing:
                raise EngineError(f"task {first + task} was ready at {ready[task]}, when no predecessor ended")
            task = max(releasing)
        path.append(task)


def attribute(timeline: Timeline, release: int) -> Attribution:
    """The causes of the latency of a completed release.

    A transfer on the path counts under its cause for as long as it would take alone and under `CONTENTION` for the
    rest. A task without a cause counts under the name of its unit, or of the narrowest channel of its route.

    Raises:
        SpecError: when the release has not completed.
    """
    latency = release_latency(timeline, release)
    pieces = _pieces(timeline, release, critical_path(timeline, release))
    return Attribution(
        latency_ticks=latency.latency_ticks,
        cause_ticks=pieces.within(latency.release_tick, latency.end_tick),
        phase_cause_ticks={phase.name: pieces.within(phase.start_tick, phase.end_tick) for phase in latency.phases},
    )


def _pieces(timeline: Timeline, release: int, critical: CriticalPath) -> _Pieces:
    program = timeline.program
    admitted = timeline.release_start_tick[release]
    path = critical.rows
    start, end = timeline.start_tick[path], timeline.end_tick[path]
    alone = np.minimum(start + _alone_ticks(program, timeline.task[path], start, end), end)
    names = (WAIT, QUEUE, CONTENTION, *program.labels.causes,
             *program.resources.unit_names, *program.resources.channel_names)  # fmt: skip
    distinct = {name: number for number, name in reversed(list(enumerate(names)))}
    same = np.array([distinct[name] for name in names])
    return _Pieces(
        start_tick=np.concatenate([program.streams.release_tick[[release]], critical.begin_tick, start, alone]),
        end_tick=np.concatenate([[admitted], start, alone, end]),
        cause=np.concatenate([[0], np.full(len(path), 1), same[3 + _cause(program, timeline.task[path])],
                              np.full(len(path), 2)]),
        names=names,
    )  # fmt: skip


def _alone_ticks(program: Program, task: Ints, start: Ints, end: Ints) -> Ints:
    """How long each task takes with its resources to itself; a compute task always has its slot to itself."""
    is_transfer = program.tasks.route[task] != NONE
    if not len(program.changes):
        return np.where(is_transfer, sole_duration_ticks(program)[task], end - start)
    ticks = end - start
    for row in np.flatnonzero(is_transfer).tolist():
        ticks[row] = sole_transfer_ticks(program, int(task[row]), int(start[row]))
    return ticks


def _cause(program: Program, task: Ints) -> Ints:
    """What each task's time is called: an index into causes, then units, then channels."""
    tasks, resources, labels = program.tasks, program.resources, program.labels
    num_causes, num_units = len(labels.causes), len(resources.unit_names)
    narrowest = np.array(
        [min(resources.route(route), key=lambda channel: resources.channel_bytes_per_s[channel])
         for route in range(resources.num_routes)] or [0], dtype=np.int64)  # fmt: skip
    by_resource = np.where(tasks.route[task] != NONE, num_causes + num_units + narrowest[tasks.route[task]],
                           num_causes + tasks.unit[task])  # fmt: skip
    return np.where(tasks.cause[task] != NONE, tasks.cause[task], by_resource)
