"""Latency of a release, and what each phase contributes to it.

Where the time inside a phase went is in `metrics.attribution`; statistics over many releases are in `metrics.streams`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.errors import SpecError
from simulator.program.program import NONE, Ints, Program
from simulator.timeline.timeline import ReleaseStatus, Timeline


class PhaseBound(Protocol):
    """The lower bound of one phase, as `engine.bound` computes it."""

    @property
    def phase(self) -> int: ...  # noqa: D102
    @property
    def ticks(self) -> int: ...  # noqa: D102
    @property
    def bound_by(self) -> str: ...  # noqa: D102


class JobBound(Protocol):
    """The lower bound of a job and its phases, as `engine.bound.lower_bound` returns it."""

    @property
    def ticks(self) -> int: ...  # noqa: D102
    @property
    def bound_by(self) -> str: ...  # noqa: D102
    @property
    def phases(self) -> tuple[PhaseBound, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class PhaseLatency:
    """One phase of one release."""

    phase: int
    """Index into `labels.phases`."""
    name: str
    start_tick: int
    """The last end of any task of an earlier phase, or the admission of the release."""
    end_tick: int
    """The last end of any task of this or an earlier phase; for the last phase the end of the release."""
    tokens: int
    flop: int
    channel_bytes: tuple[int, ...]
    """Bytes that the tasks of the phase move over each channel, wherever in time they do it."""
    lower_bound_ticks: int | None
    bound_by: str | None

    @property
    def latency_ticks(self) -> int:
        """The time by which this phase makes the release longer; 0 if earlier phases hide it."""
        return self.end_tick - self.start_tick


@dataclass(frozen=True)
class ReleaseLatency:
    """One completed release. Its latency is its wait plus the latencies of its phases, to the tick."""

    release: int
    stream: str
    job: int
    release_tick: int
    start_tick: int
    """When its job was admitted."""
    end_tick: int
    lower_bound_ticks: int | None
    bound_by: str | None
    phases: tuple[PhaseLatency, ...]
    """In the order of `labels.phases`; empty if no task of the job has a phase."""

    @property
    def wait_ticks(self) -> int:
        """The time from release to admission."""
        return self.start_tick - self.release_tick

    @property
    def latency_ticks(self) -> int:
        """The time from release to completion."""
        return self.end_tick - self.release_tick


def release_latency(timeline: Timeline, release: int, bound: JobBound | None = None) -> ReleaseLatency:
    """The latency of a completed release and of its phases.

    Args:
        timeline: the run.
        release: an index into `program.streams.release_tick`.
        bound: the lower bound of its job; without it the bounds are None.
    Raises:
        SpecError: when the release has not completed.
    """
    rows = rows_of_release(timeline, release)
    program = timeline.program
    streams = program.streams
    return ReleaseLatency(
        release=release,
        stream=streams.names[int(streams.release_stream[release])],
        job=int(streams.release_job[release]),
        release_tick=int(streams.release_tick[release]),
        start_tick=int(timeline.release_start_tick[release]),
        end_tick=int(timeline.release_end_tick[release]),
        lower_bound_ticks=None if bound is None else bound.ticks,
        bound_by=None if bound is None else bound.bound_by,
        phases=_phases(timeline, release, rows, bound),
    )


def rows_of_release(timeline: Timeline, release: int) -> Ints:
    """The rows of a completed release, one per task of its job and in the order of the tasks.

    Raises:
        SpecError: when the release has not completed.
    """
    status = ReleaseStatus(int(timeline.release_status[release]))
    if status != ReleaseStatus.COMPLETED:
        became = status.name.lower().replace("_", " ")
        raise SpecError(f"release {release}: must be completed to have a latency, got {became}")
    rows = np.flatnonzero(timeline.release == release)
    return rows[np.argsort(timeline.task[rows])]


def _phases(timeline: Timeline, release: int, rows: Ints, bound: JobBound | None) -> tuple[PhaseLatency, ...]:
    program = timeline.program
    labels = program.labels
    task = timeline.task[rows]
    operation = program.tasks.operation[task]
    has_phase = operation != NONE
    if not np.any(has_phase):
        return ()
    phase = labels.operation_phase[operation[has_phase]]
    end = np.full(len(labels.phases), timeline.release_start_tick[release])
    np.maximum.at(end, phase, timeline.end_tick[rows][has_phase])
    present = np.unique(phase).tolist()
    borders = [int(timeline.release_start_tick[release]), *np.maximum.accumulate(end[present]).tolist()]
    borders[-1] = int(timeline.release_end_tick[release])
    flop = np.zeros(len(labels.phases), dtype=np.int64)
    operations = np.unique(operation[has_phase])
    np.add.at(flop, labels.operation_phase[operations], labels.operation_flop[operations])
    moved = _channel_bytes(program, task[has_phase], phase, len(labels.phases))
    bounds = {} if bound is None else {part.phase: part for part in bound.phases}
    return tuple(
        PhaseLatency(
            phase=index,
            name=labels.phases[index],
            start_tick=borders[position],
            end_tick=borders[position + 1],
            tokens=int(labels.phase_tokens[index]) if len(labels.phase_tokens) else 0,
            flop=int(flop[index]),
            channel_bytes=tuple(moved[index].tolist()),
            lower_bound_ticks=bounds[index].ticks if index in bounds else None,
            bound_by=bounds[index].bound_by if index in bounds else None,
        )
        for position, index in enumerate(present)
    )


def _channel_bytes(program: Program, task: Ints, phase: Ints, num_phases: int) -> Ints:
    """Bytes that tasks move over each channel, by their phase (shape: phases, channels)."""
    resources, route = program.resources, program.tasks.route[task]
    size_bytes = np.zeros((num_phases, resources.num_routes), dtype=np.int64)
    moves = route != NONE
    np.add.at(size_bytes, (phase[moves], route[moves]), program.tasks.size_bytes[task][moves])
    over = np.zeros((num_phases, len(resources.channel_names)), dtype=np.int64)
    crossing = np.repeat(np.arange(resources.num_routes), np.diff(resources.route_offsets))
    np.add.at(over.T, resources.route_channels, size_bytes.T[crossing])
    return over
