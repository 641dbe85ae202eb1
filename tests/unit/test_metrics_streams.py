"""Outcomes of streams: the known answers of the drop policies, misses, and percentiles."""

import numpy as np
import pytest

from simulator.engine.reference import ReferenceEngine
from simulator.metrics.streams import StreamOutcome, percentile, stream_outcomes
from simulator.metrics.utilization import unit_use
from simulator.program import NONE, DropPolicy, ProgramBuilder
from simulator.timeline import ReleaseStatus, Timeline

MS = 10**9
PERIOD = 27_777_777_778  # 36 Hz, rounded up to a tick


def camera(policy: DropPolicy, *, deadline_ms: int = 100) -> Timeline:
    """360 frames at 36 Hz that take 40 ms each on one unit, run up to and including 10 s."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.compute("npu", work_cycles=40e6)
    builder.stream("camera", period_ticks=PERIOD, releases=360, policy=policy, deadline_ticks=deadline_ms * MS)
    return ReferenceEngine().run(builder.build(), until_tick=10_000 * MS + 1)


def test_drop_if_busy_completes_every_other_frame_of_a_camera_that_is_too_fast():
    # A frame is busy for 40 ms, the next comes after 27.8 ms and is dropped, the one after at 55.6 ms finds it idle.
    (outcome,) = stream_outcomes(camera(DropPolicy.DROP_IF_BUSY))
    assert (outcome.released, outcome.completed, outcome.dropped, outcome.in_flight) == (360, 180, 180, 0)
    assert (outcome.max_ticks, outcome.mean_ticks, outcome.jitter_ticks) == (40 * MS, 40 * MS, 0)
    assert outcome.p90.ticks == 40 * MS
    assert (outcome.misses, outcome.longest_run_of_misses, outcome.misses_after_a_miss_fraction) == (0, 1, 0.0)


def test_latest_keeps_the_unit_busy_and_drops_three_frames_in_ten():
    # Service k starts at 40 k ms with the newest frame released before that (a frame released at that very tick would
    # come after the completion), so its latency is 40 ms plus the age of that frame.
    starts = [40 * MS * k for k in range(250)]
    latencies = sorted(40 * MS + start - PERIOD * max(0, -(-start // PERIOD) - 1) for start in starts)
    timeline = camera(DropPolicy.LATEST)
    (outcome,) = stream_outcomes(timeline)
    assert (outcome.released, outcome.completed, outcome.dropped, outcome.in_flight) == (360, 250, 109, 1)
    assert outcome.p50.ticks == latencies[124]
    assert outcome.p90.ticks == latencies[224]
    assert outcome.p99.reason == "needs 1000 samples, has 250"
    assert (outcome.max_ticks, outcome.jitter_ticks) == (latencies[-1], latencies[-1] - 40 * MS)
    assert outcome.mean_ticks == pytest.approx(sum(latencies) / 250, rel=1e-12)
    # Worked out elsewhere: 25 frames/s, median 54.44 and largest latency 67.78 ms; in the long run the mean is 54.44 ms
    # too, but the first frame of all starts at once and is a period faster than its like.
    assert (outcome.mean_ticks + PERIOD / 250) / MS == pytest.approx(54.44, abs=0.005)
    assert outcome.p50.ticks / MS == pytest.approx(54.44, abs=0.005)
    assert outcome.max_ticks / MS == pytest.approx(67.78, abs=0.005)
    assert unit_use(timeline, 0, 10_000 * MS)[0].utilization == 1.0


def test_fifo_makes_every_frame_later_than_the_one_before():
    # Frame n ends at 40 (n + 1) ms: its latency grows by 12.222 ms a frame, passes 100 ms at n = 5 and stays above.
    # By 10 s 250 frames are done and one runs. Of the other 109, those that are 100 ms old have missed already: frames
    # released before 9.9 s, up to n = 356, as 356 x 27.778 = 9888.9 ms.
    (outcome,) = stream_outcomes(camera(DropPolicy.FIFO))
    assert (outcome.completed, outcome.dropped, outcome.in_flight, outcome.waiting) == (250, 0, 1, 109)
    assert outcome.max_ticks == 250 * 40 * MS - 249 * PERIOD
    assert (outcome.misses, outcome.longest_run_of_misses) == (352, 352)
    assert outcome.misses_after_a_miss_fraction == 351 / 352


def run_of(statuses: str, latencies: list[int], *, deadline_ticks: int = 10, horizon_tick: int = 1000) -> StreamOutcome:
    """The outcome of releases 100 ticks apart: c completed with its latency, d dropped, f in flight, w waiting,
    p pending."""
    letters = {"c": ReleaseStatus.COMPLETED, "d": ReleaseStatus.DROPPED, "f": ReleaseStatus.IN_FLIGHT,
               "w": ReleaseStatus.WAITING, "p": ReleaseStatus.PENDING}  # fmt: skip
    builder = ProgramBuilder()
    builder.milestone()
    builder.stream("s", period_ticks=100, releases=len(statuses), deadline_ticks=deadline_ticks)
    nothing, no_rate = np.array([], dtype=np.int64), np.array([], dtype=np.float64)
    left = iter(latencies)
    ends = [100 * n + next(left) if letter == "c" else NONE for n, letter in enumerate(statuses)]
    (outcome,) = stream_outcomes(Timeline(
        program=builder.build(), engine="hand", horizon_tick=horizon_tick, task=nothing, release=nothing,
        ready_tick=nothing, start_tick=nothing, end_tick=nothing, served_bytes=no_rate,
        release_status=np.array([letters[letter] for letter in statuses], dtype=np.int64),
        release_start_tick=nothing, release_end_tick=np.array(ends, dtype=np.int64),
        rate_tick=nothing, rate_channel=nothing, rate_granted_bytes_per_s=no_rate, rate_asked_bytes_per_s=no_rate,
        background_bytes=no_rate))  # fmt: skip
    return outcome


def test_a_release_that_ends_exactly_at_its_deadline_has_not_missed_it():
    outcome = run_of("cccc", [10, 11, 9, 10])
    assert (outcome.misses, outcome.longest_run_of_misses) == (1, 1)


def test_a_drop_is_no_miss_but_lengthens_a_run_of_misses():
    # On time, late, dropped, late, on time, late.
    outcome = run_of("ccdccc", [1, 11, 11, 1, 11])
    assert (outcome.misses, outcome.dropped, outcome.longest_run_of_misses) == (3, 1, 3)
    # After a late or dropped release (1, 2, 3) came: dropped, late, on time; nothing came after the last.
    assert outcome.misses_after_a_miss_fraction == 2 / 3


def test_without_a_deadline_only_drops_are_bad():
    outcome = run_of("cddc", [999, 999], deadline_ticks=NONE)
    assert (outcome.deadline_ticks, outcome.misses, outcome.longest_run_of_misses) == (None, 0, 2)


def test_a_release_that_is_not_done_when_its_deadline_passes_has_missed_it():
    # Deadlines at 10, 110, 210, 310 and 410; the run ends at 211: the first three have passed.
    outcome = run_of("fwffp", [], horizon_tick=211)
    assert (outcome.released, outcome.in_flight, outcome.waiting, outcome.misses) == (4, 3, 1, 3)
    assert run_of("f", [], horizon_tick=10).misses == 0


def test_a_stream_of_which_nothing_completed_has_no_latency():
    outcome = run_of("dp", [])
    assert (outcome.released, outcome.completed) == (1, 0)
    assert (outcome.max_ticks, outcome.mean_ticks, outcome.jitter_ticks) == (None, None, None)
    assert outcome.p50.reason == "needs 20 samples, has 0"


def test_a_stream_without_releases_has_an_outcome():
    outcome = run_of("", [])
    assert (outcome.released, outcome.longest_run_of_misses, outcome.misses_after_a_miss_fraction) == (0, 0, None)


@pytest.mark.parametrize(
    ("permille", "num_samples", "rank"),
    [(500, 20, 10), (500, 21, 11), (900, 100, 90), (900, 101, 91), (990, 1000, 990), (999, 10_000, 9_990)],
)
def test_a_percentile_is_the_sample_at_its_nearest_rank(permille, num_samples, rank):
    samples = np.random.default_rng(1).permutation(np.arange(1, num_samples + 1))
    assert percentile(samples, permille).ticks == rank


@pytest.mark.parametrize(("permille", "needed"), [(500, 20), (900, 100), (990, 1000), (999, 10_000)])
def test_a_percentile_needs_ten_samples_beyond_it(permille, needed):
    few = percentile(np.ones(needed - 1, dtype=np.int64), permille)
    assert (few.ticks, few.reason) == (None, f"needs {needed} samples, has {needed - 1}")
