"""Latency of a release, and what each phase contributes to it.

Where the time inside a phase went is in `metrics.attribution`; statistics over many releases are in `metrics.streams`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from simulator.errors import EngineError, SpecError
from simulator.program.columns import ranges
from simulator.program.program import NONE, Ints, Program
from simulator.program.template_columns import phase_of_templates, times_of_templates
from simulator.timeline.timeline import ReleaseStatus, Timeline

Bools = npt.NDArray[np.bool_]


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


def slowest_frame(timeline: Timeline) -> int:
    """The completed release of the first stream with the largest latency; the first of equals.

    Raises:
        EngineError: when it completed none.
    """
    streams = timeline.program.streams
    releases = np.arange(int(streams.release_offsets[1]))
    completed = releases[timeline.release_status[releases] == ReleaseStatus.COMPLETED]
    if not len(completed):
        raise EngineError(f"stream {streams.names[0]} completed no frame")
    latency = timeline.release_end_tick[completed] - streams.release_tick[completed]
    return int(completed[np.argmax(latency)])


def rows_of_release(timeline: Timeline, release: int) -> slice:
    """The rows of a completed release, one per task of its job and in the order of the tasks.

    Raises:
        SpecError: when the release has not completed.
    """
    status = ReleaseStatus(int(timeline.release_status[release]))
    if status != ReleaseStatus.COMPLETED:
        became = status.name.lower().replace("_", " ")
        raise SpecError(f"release {release}: must be completed to have a latency, got {became}")
    return timeline.rows_of(release)


def _phases(timeline: Timeline, release: int, rows: slice, bound: JobBound | None) -> tuple[PhaseLatency, ...]:
    labels, job = timeline.program.labels, int(timeline.program.streams.release_job[release])
    times = times_of_templates(timeline.program, job)
    phase = phase_of_templates(timeline.program)
    counts = (times > 0) & (phase != NONE)
    present = np.flatnonzero(np.bincount(phase[counts], minlength=len(labels.phases))).tolist()
    if not present:
        return ()
    admitted = int(timeline.release_start_tick[release])
    end = np.maximum(_last_ends(timeline, job, rows, phase), admitted)
    borders = [admitted, *np.maximum.accumulate(end[present]).tolist()]
    borders[-1] = int(timeline.release_end_tick[release])
    flop = _flop(timeline.program, counts)
    moved = _channel_bytes(timeline.program, phase, np.where(counts, times, 0))
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


def _last_ends(timeline: Timeline, job: int, rows: slice, phase: Ints) -> Ints:
    """The last end of the tasks of each phase, NONE if there are none (shape: phases).

    Looks at stretches: neighbours of one fragment and one phase.
    """
    folded = timeline.program.folded_tasks
    offsets = folded.templates.fragment_offsets
    is_border = np.append(phase[1:] != phase[:-1], True)
    is_border[offsets[1:] - 1] = True
    stretches = np.concatenate([np.zeros(1, dtype=np.int64), np.flatnonzero(is_border) + 1])
    of_fragment = np.searchsorted(stretches, offsets)
    first, stop = folded.instances.job_offsets[job : job + 2]
    fragment = folded.instances.fragment[first:stop]
    counts = np.diff(of_fragment)[fragment]
    stretch = stretches[ranges(of_fragment[fragment], counts)]
    start = stretch + np.repeat(folded.starts[first:stop] - folded.starts[first] - offsets[fragment], counts)
    last = np.full(len(timeline.program.labels.phases) + 1, NONE, dtype=np.int64)  # at NONE: of tasks without a phase
    np.maximum.at(last, phase[stretch], np.maximum.reduceat(timeline.end_tick[rows], start))
    return last[:NONE]


def _flop(program: Program, counts: Bools) -> Ints:
    """Floating-point operations of the operations of some template tasks, by phase (shape: phases)."""
    labels = program.labels
    operations = np.flatnonzero(np.bincount(program.folded_tasks.templates.operation[counts]))
    flop = np.zeros(len(labels.phases), dtype=np.int64)
    np.add.at(flop, labels.operation_phase[operations], labels.operation_flop[operations])
    return flop


def _channel_bytes(program: Program, phase: Ints, times: Ints) -> Ints:
    """Bytes that tasks move over each channel, by their phase (shape: phases, channels).

    Args:
        program: the Program.
        phase: of each template task.
        times: how often each template task counts.
    """
    resources, templates, num_phases = program.resources, program.folded_tasks.templates, len(program.labels.phases)
    moves = np.flatnonzero((templates.route != NONE) & (times > 0))
    size_bytes = np.zeros(num_phases * resources.num_routes, dtype=np.int64)
    np.add.at(size_bytes, phase[moves] * resources.num_routes + templates.route[moves],
              templates.size_bytes[moves] * times[moves])  # fmt: skip
    over = np.zeros((num_phases, len(resources.channel_names)), dtype=np.int64)
    crossing = np.repeat(np.arange(resources.num_routes), np.diff(resources.route_offsets))
    np.add.at(over.T, resources.route_channels, size_bytes.reshape(num_phases, -1).T[crossing])
    return over
