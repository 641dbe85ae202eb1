"""The parts of a latency: what every tick on the critical path of a frame went to, in the words of a chip designer.

What a part is called is in `metrics.parts`. Ticks are whole and sum exactly to the latency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from simulator.engine.interface import Engine
from simulator.metrics.critical_path import critical_path
from simulator.metrics.parts import MASTERS_PART, RELEASES_PART, named_ticks, parts_of_tasks
from simulator.program import NONE, Background, Program, Streams
from simulator.program.capacity import sole_transfer_ticks
from simulator.program.program import Ints
from simulator.program.template_columns import sole_ticks_of_templates
from simulator.timeline import Timeline


@dataclass(frozen=True)
class PathItem:
    """An operation on the critical path, all its layers and steps together."""

    phase: str
    operation: str
    """"" for the wait of a release, and for tasks without an operation."""
    num_tasks: int
    """How many of its tasks are on the path."""
    part_ticks: Mapping[str, int]
    """Where its part of the path went, largest first."""

    @property
    def ticks(self) -> int:
        """The length of its part of the path."""
        return sum(self.part_ticks.values())


@dataclass(frozen=True)
class LatencyParts:
    """The ticks of a latency by part and by operation; both sum exactly to it."""

    latency_ticks: int
    part_ticks: Mapping[str, int]
    """Largest first."""
    items: tuple[PathItem, ...]
    """Longest first."""
    phase_part_ticks: Mapping[str, Mapping[str, int]]
    """The parts by the phase of the operations, in the order of the phases, and under "" what has no phase."""


class _Path(NamedTuple):
    """The tasks on a critical path, and the ticks of each by what it did (shape: tasks on the path)."""

    task: Ints
    queue_ticks: Ints
    own_ticks: Ints
    """A transfer's: what it would take alone."""
    contention_ticks: Ints


def latency_parts(timeline: Timeline, release: int, engine: Engine) -> LatencyParts:
    """The parts of the latency of a completed release.

    Contention is the fault of other masters as far as it goes away, phase by phase, when the release runs alone; the
    rest is its own transfers in each other's way and counts under the narrowest channel.

    Args:
        timeline: the run.
        release: an index into `program.streams.release_tick`.
        engine: runs the release alone, where others were there.
    Raises:
        SpecError: when the release has not completed.
    """
    program, path = timeline.program, _path(timeline, release)
    tasks = program.tasks
    operation = tasks.operation[path.task]
    phase = _phase(program, operation)
    names, own, channel = parts_of_tasks(program, tasks.cause[path.task], tasks.unit[path.task], tasks.route[path.task])
    others_ticks = np.zeros(len(path.task), dtype=np.int64)
    if path.contention_ticks.any() and _has_others(timeline, release):
        others_ticks = _gone_alone(path.contention_ticks, phase, _contention_alone(timeline, release, engine))
    ticks = np.zeros((len(program.labels.operations) + 1, len(names)), dtype=np.int64)  # the last row: no operation
    np.add.at(ticks, (operation, own), path.own_ticks)
    np.add.at(ticks, (operation, channel), path.contention_ticks - others_ticks)
    np.add.at(ticks[:, MASTERS_PART], operation, others_ticks)
    np.add.at(ticks[:, RELEASES_PART], operation, path.queue_ticks)
    released, admitted = int(program.streams.release_tick[release]), int(timeline.release_start_tick[release])
    ticks[NONE, RELEASES_PART] += admitted - released
    counts = np.zeros(len(ticks), dtype=np.int64)
    np.add.at(counts, operation[path.queue_ticks + path.own_ticks + path.contention_ticks > 0], 1)
    return LatencyParts(
        latency_ticks=int(timeline.release_end_tick[release]) - released,
        part_ticks=named_ticks(names, ticks.sum(axis=0)),
        items=_items(program, names, ticks, counts),
        phase_part_ticks=_by_phase(program, names, ticks),
    )


def _path(timeline: Timeline, release: int) -> _Path:
    path, program = critical_path(timeline, release), timeline.program
    task, start, end = timeline.task[path.rows], timeline.start_tick[path.rows], timeline.end_tick[path.rows]
    is_transfer = program.tasks.route[task] != NONE
    alone = end - start
    if len(program.changes):
        alone[is_transfer] = [
            sole_transfer_ticks(program, *pair)
            for pair in zip(task[is_transfer].tolist(), start[is_transfer].tolist(), strict=True)
        ]
    else:
        sole_ticks = sole_ticks_of_templates(program)[program.folded_tasks.template_task[task]]
        alone[is_transfer] = sole_ticks[is_transfer]
    own = np.minimum(alone, end - start)
    return _Path(task, start - path.begin_tick, own, end - start - own)


def _phase(program: Program, operation: Ints) -> Ints:
    """The phase of each operation, NONE where there is none."""
    return np.append(program.labels.operation_phase, NONE)[operation]


def _has_others(timeline: Timeline, release: int) -> bool:
    """Whether background flows or another release were there while a release ran."""
    start, end = timeline.release_start_tick, timeline.release_end_tick
    overlaps = (start != NONE) & (start < end[release]) & ((end == NONE) | (end > start[release]))
    return len(timeline.program.background) > 0 or int(overlaps.sum()) > 1


def _contention_alone(timeline: Timeline, release: int, engine: Engine) -> dict[int, int]:
    """The ticks of contention on the path of each phase when a release runs alone, from the tick of its admission."""
    program, streams = timeline.program, timeline.program.streams
    only = Streams(
        names=(streams.names[int(streams.release_stream[release])],),
        release_offsets=np.array([0, 1], dtype=np.int64),
        release_tick=timeline.release_start_tick[release : release + 1],
        release_job=streams.release_job[release : release + 1],
        policy=np.zeros(1, dtype=np.int64),
        queue_depth=np.full(1, NONE, dtype=np.int64),
        in_flight=np.full(1, NONE, dtype=np.int64),
        deadline_ticks=np.full(1, NONE, dtype=np.int64),
    )
    alone = replace(program, streams=only, background=Background())
    path = _path(engine.run(alone), 0)
    phase = _phase(program, program.tasks.operation[path.task])
    return {int(value): int(path.contention_ticks[phase == value].sum()) for value in np.unique(phase)}


def _gone_alone(contention_ticks: Ints, phase: Ints, alone_ticks: Mapping[int, int]) -> Ints:
    """The part of each task's contention that others cause: what is more than alone, spread evenly over a phase."""
    others = np.zeros(len(contention_ticks), dtype=np.int64)
    for value in np.unique(phase).tolist():
        mine = phase == value
        total = int(contention_ticks[mine].sum())
        excess = max(total - alone_ticks.get(value, 0), 0)
        if excess:
            # Python integers: the product of two times of a second is more than 64 bits hold
            upto = np.cumsum(contention_ticks[mine]).astype(object) * excess // total
            others[mine] = np.diff(upto.astype(np.int64), prepend=0)
    return others


def _items(program: Program, names: tuple[str, ...], ticks: Ints, counts: Ints) -> tuple[PathItem, ...]:
    labels = program.labels
    items = []
    for row in np.flatnonzero(ticks.sum(axis=1)).tolist():
        has_operation = row < len(labels.operations)
        phase = labels.phases[int(labels.operation_phase[row])] if has_operation else ""
        operation = labels.operations[row] if has_operation else ""
        items.append(PathItem(phase, operation, int(counts[row]), named_ticks(names, ticks[row])))
    return tuple(sorted(items, key=lambda item: -item.ticks))


def _by_phase(program: Program, names: tuple[str, ...], ticks: Ints) -> dict[str, dict[str, int]]:
    by_phase = np.zeros((len(program.labels.phases) + 1, len(names)), dtype=np.int64)  # the last row: no phase
    np.add.at(by_phase, np.append(program.labels.operation_phase, NONE), ticks)
    phases = zip((*program.labels.phases, ""), by_phase, strict=True)
    return {phase: named_ticks(names, row) for phase, row in phases if row.any()}
