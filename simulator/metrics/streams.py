"""What became of the releases of each stream: throughput, misses and statistics of latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.program.program import NONE, Ints
from simulator.timeline.timeline import ReleaseStatus, Timeline

Bools = npt.NDArray[np.bool_]

TAIL_SAMPLES: Final = 10
"""A percentile is reported if at least this many samples are expected beyond it.

So the median needs 20 completed releases, p90 100, p99 1000 and p99.9 10 000. With fewer, the largest sample stands
for the percentile and says more about the length of the run than about the system.
"""


@dataclass(frozen=True)
class Percentile:
    """The smallest sample that at least this share of the samples does not exceed (nearest rank)."""

    permille: int
    """500 is the median."""
    ticks: int | None
    """None if there are too few samples."""
    reason: str | None
    """Why `ticks` is None, such as "needs 1000 samples, has 12"."""


@dataclass(frozen=True)
class StreamOutcome:
    """The releases of one stream in one run. Latencies are those of completed releases, from release to end."""

    name: str
    deadline_ticks: int | None
    released: int
    """Releases whose time came before the run ended."""
    completed: int
    dropped: int
    in_flight: int
    waiting: int
    misses: int
    """Releases that completed after their deadline, or had not completed when it passed. Drops count in `dropped`."""
    longest_run_of_misses: int
    """Most releases in a row that were missed or dropped; without a deadline only drops count."""
    misses_after_a_miss_fraction: float | None
    """Of the releases that follow a missed or dropped one, the fraction that was missed or dropped too."""
    p50: Percentile
    p90: Percentile
    p99: Percentile
    max_ticks: int | None
    mean_ticks: float | None
    jitter_ticks: int | None
    """Largest less smallest latency. These three are None if nothing completed."""


def stream_outcomes(timeline: Timeline) -> tuple[StreamOutcome, ...]:
    """The outcome of every stream, in the order of `program.streams`."""
    return tuple(_outcome(timeline, stream) for stream in range(len(timeline.program.streams)))


def percentile(samples: Ints, permille: int) -> Percentile:
    """A percentile of whole numbers by nearest rank: the sample at rank ceil(permille / 1000 * n), ascending.

    >>> percentile(np.arange(1, 101), 900).ticks
    90
    >>> percentile(np.arange(1, 100), 900).reason
    'needs 100 samples, has 99'
    """
    needed = -(-TAIL_SAMPLES * 1000 // (1000 - permille))
    if len(samples) < needed:
        return Percentile(permille, None, f"needs {needed} samples, has {len(samples)}")
    rank = -(-permille * len(samples) // 1000)
    return Percentile(permille, int(np.sort(samples)[rank - 1]), None)


def _outcome(timeline: Timeline, stream: int) -> StreamOutcome:
    streams = timeline.program.streams
    releases = slice(int(streams.release_offsets[stream]), int(streams.release_offsets[stream + 1]))
    status = timeline.release_status[releases]
    count = np.bincount(status, minlength=len(ReleaseStatus)).tolist()
    is_completed = status == ReleaseStatus.COMPLETED
    latency = (timeline.release_end_tick[releases] - streams.release_tick[releases])[is_completed]
    deadline_ticks = int(streams.deadline_ticks[stream])
    is_missed = _missed(timeline, releases, deadline_ticks)
    is_bad = is_missed | (status == ReleaseStatus.DROPPED)
    num_bad_before = int(np.sum(is_bad[:-1]))
    return StreamOutcome(
        name=streams.names[stream],
        deadline_ticks=None if deadline_ticks == NONE else deadline_ticks,
        released=len(status) - count[ReleaseStatus.PENDING],
        completed=count[ReleaseStatus.COMPLETED],
        dropped=count[ReleaseStatus.DROPPED],
        in_flight=count[ReleaseStatus.IN_FLIGHT],
        waiting=count[ReleaseStatus.WAITING],
        misses=int(np.sum(is_missed)),
        longest_run_of_misses=_longest_run(is_bad),
        misses_after_a_miss_fraction=float(np.sum(is_bad[1:] & is_bad[:-1]) / num_bad_before)
        if num_bad_before
        else None,
        p50=percentile(latency, 500),
        p90=percentile(latency, 900),
        p99=percentile(latency, 990),
        max_ticks=int(latency.max()) if len(latency) else None,
        mean_ticks=float(latency.mean()) if len(latency) else None,
        jitter_ticks=int(latency.max() - latency.min()) if len(latency) else None,
    )


def _missed(timeline: Timeline, releases: slice, deadline_ticks: int) -> Bools:
    """Which releases of a stream missed its deadline; one that ends exactly at it did not."""
    status = timeline.release_status[releases]
    if deadline_ticks == NONE:
        return np.zeros(len(status), dtype=np.bool_)
    deadline = timeline.program.streams.release_tick[releases] + deadline_ticks
    is_late = (status == ReleaseStatus.COMPLETED) & (timeline.release_end_tick[releases] > deadline)
    is_unfinished = (status == ReleaseStatus.IN_FLIGHT) | (status == ReleaseStatus.WAITING)
    is_missed: Bools = is_late | (is_unfinished & (timeline.horizon_tick > deadline))
    return is_missed


def _longest_run(is_bad: Bools) -> int:
    """The most True in a row."""
    edges = np.diff(np.concatenate([[False], is_bad, [False]]).astype(np.int8))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int(lengths.max(initial=0))
