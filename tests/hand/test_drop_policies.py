"""A periodic stream on one busy server, release by release, for every drop policy.

The expected values follow from integer arithmetic on the period P and the service time C, both in ticks:

    drop if busy   the server is free C after a start; the next release that starts is the first at or after that tick
    latest         the server never idles if C > P: start k is at k C, of the newest release strictly before it (one at
                   that very tick comes after the completion and waits for the next)
    FIFO           release n ends at (n + 1) C if C >= P
"""

import numpy as np
import pytest

from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.program import NONE, DropPolicy, ProgramBuilder
from simulator.program.builder import period_ticks
from simulator.timeline import ReleaseStatus, Timeline

MS = 10**9

ENGINE: Engine = ReferenceEngine()


@pytest.fixture(autouse=True, params=[ReferenceEngine(), CompiledEngine()], ids=lambda engine: engine.name)
def _each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of this file holds for every engine."""
    monkeypatch.setitem(globals(), "ENGINE", request.param)


def stream(
    period: int, service_ms: int, releases: int, policy: DropPolicy, *, queue_depth: int = NONE, in_flight: int = 1
) -> Timeline:
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.compute("npu", work_cycles=service_ms * 10**6)
    builder.stream(
        "camera", period_ticks=period, releases=releases, policy=policy, queue_depth=queue_depth, in_flight=in_flight
    )
    return ENGINE.run(builder.build())


def latencies(timeline: Timeline) -> dict[int, int]:
    """Ticks from release to completion of every release that completed."""
    done = np.flatnonzero(timeline.release_status == ReleaseStatus.COMPLETED)
    latency = timeline.release_end_tick - timeline.program.streams.release_tick
    assert set(timeline.release_status.tolist()) <= {ReleaseStatus.COMPLETED, ReleaseStatus.DROPPED}
    return dict(zip(done.tolist(), latency[done].tolist(), strict=True))


def test_36_hz_at_40_ms_drop_if_busy_completes_every_other_frame_in_40_ms() -> None:
    # One period, 27.78 ms, is shorter than 40 ms and two are longer: 18 of 36 frames.
    timeline = stream(period_ticks(36), 40, 36, DropPolicy.DROP_IF_BUSY)
    assert latencies(timeline) == dict.fromkeys(range(0, 36, 2), 40 * MS)


def test_36_hz_at_40_ms_keeping_the_latest_completes_25_frames_per_second() -> None:
    period, service, seconds = period_ticks(36), 40 * MS, 10
    timeline = stream(period, 40, 36 * seconds, DropPolicy.LATEST)
    # Start k takes the newest release before k C: number ceil(k C / P) - 1. The last release has number 359.
    expected, start = {0: service}, 1
    while (release := -(-start * service // period) - 1) < 36 * seconds - 1:
        expected[release] = (start + 1) * service - release * period
        start += 1
    expected[36 * seconds - 1] = (start + 1) * service - (36 * seconds - 1) * period
    found = latencies(timeline)
    assert found == expected

    # The published figures: 25 frames/s, 30.6 % dropped, mean 54.43, median 54.44, max 67.78 ms, always busy.
    assert len(found) == 25 * seconds + 1  # the last frame starts when the ten seconds are over
    assert round(1 - 25 / 36, 3) == 0.306
    assert np.mean(list(found.values())) / MS == pytest.approx(54.43, abs=0.05)
    assert np.median(list(found.values())) / MS == pytest.approx(54.44, abs=0.01)
    assert max(found.values()) / MS == pytest.approx(67.78, abs=0.01)
    assert np.array_equal(timeline.start_tick, np.arange(len(timeline)) * service)


def test_36_hz_at_40_ms_fifo_falls_behind_by_12_ms_per_frame() -> None:
    period = period_ticks(36)
    found = latencies(stream(period, 40, 360, DropPolicy.FIFO))
    assert found == {number: (number + 1) * 40 * MS - number * period for number in range(360)}
    assert found[359] / MS == pytest.approx(4427.8, abs=0.05)


def test_10_hz_at_120_ms_drop_if_busy_completes_5_per_second() -> None:
    assert latencies(stream(100 * MS, 120, 10, DropPolicy.DROP_IF_BUSY)) == dict.fromkeys(range(0, 10, 2), 120 * MS)


def test_10_hz_at_120_ms_latest_has_a_mean_of_180_and_a_maximum_of_220_ms() -> None:
    # Starts at 0, 120, 240 ... take releases 0, 1, 2, 3, 4, 5 (at 600 ms release 6 comes after the completion), 7 ...
    found = latencies(stream(100 * MS, 120, 60, DropPolicy.LATEST))
    steady = [140, 160, 180, 200, 220]
    assert list(found.values()) == [latency * MS for latency in [120, *(steady * 10)]]
    assert [number for number in range(60) if number not in found] == list(range(6, 60, 6))
    assert (np.mean(steady), max(steady), 1000 / 120) == (180, 220, pytest.approx(8.33, abs=0.01))


def test_10_hz_at_120_ms_fifo_grows_by_20_ms_per_frame() -> None:
    assert latencies(stream(100 * MS, 120, 20, DropPolicy.FIFO)) == {n: (120 + 20 * n) * MS for n in range(20)}


@pytest.mark.parametrize("policy", DropPolicy)
def test_30_hz_at_20_ms_never_drops_and_takes_20_ms(policy: DropPolicy) -> None:
    assert latencies(stream(period_ticks(30), 20, 30, policy)) == dict.fromkeys(range(30), 20 * MS)


@pytest.mark.parametrize("policy", DropPolicy)
def test_a_service_of_exactly_one_period_never_drops(policy: DropPolicy) -> None:
    assert latencies(stream(20 * MS, 20, 50, policy)) == dict.fromkeys(range(50), 20 * MS)


def test_one_tick_less_than_the_service_loses_every_other_frame() -> None:
    found = latencies(stream(20 * MS - 1, 20, 10, DropPolicy.DROP_IF_BUSY))
    assert list(found) == [0, 2, 4, 6, 8]


def test_a_queue_of_depth_two_drops_what_finds_two_waiting() -> None:
    # C = 250 ms, P = 100 ms. 1 and 2 wait; 3 would be the third at 300, but 1 starts at 250, so 3 waits; 4 is dropped
    # at 400; 2 starts at 500 just before 5 is released, which waits beside 3; 6 and 7 are dropped; 3 starts at 750 and
    # 5 at 1000.
    found = latencies(stream(100 * MS, 250, 8, DropPolicy.FIFO, queue_depth=2))
    ends = {0: 250, 1: 500, 2: 750, 3: 1000, 5: 1250}
    assert found == {number: (end - 100 * number) * MS for number, end in ends.items()}


def test_a_queue_of_depth_zero_is_drop_if_busy() -> None:
    found = latencies(stream(100 * MS, 250, 8, DropPolicy.FIFO, queue_depth=0))
    assert (
        found == latencies(stream(100 * MS, 250, 8, DropPolicy.DROP_IF_BUSY)) == {0: 250 * MS, 3: 250 * MS, 6: 250 * MS}
    )


def test_two_jobs_in_flight_queue_at_the_unit_instead() -> None:
    # C = 150 ms, P = 100 ms, two in flight. 0: 0-150, 1: 150-300, 2 (released at 200 as 0 is gone): 300-450; 3 finds
    # room at 300, when 1 has ended: 450-600; 4 is dropped at 400; 5 finds room at 500: 600-750.
    timeline = stream(100 * MS, 150, 6, DropPolicy.DROP_IF_BUSY, in_flight=2)
    ends = {0: 150, 1: 300, 2: 450, 3: 600, 5: 750}
    assert latencies(timeline) == {number: (end - 100 * number) * MS for number, end in ends.items()}


def test_a_dropped_release_never_starts() -> None:
    timeline = stream(100 * MS, 120, 10, DropPolicy.LATEST)
    dropped = np.flatnonzero(timeline.release_status == ReleaseStatus.DROPPED)
    assert dropped.tolist() == [6]
    assert timeline.release_start_tick[6] == timeline.release_end_tick[6] == NONE
    assert 6 not in timeline.release


def test_releases_that_wait_are_marked_as_waiting_when_the_run_is_cut_off() -> None:
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.compute("npu", work_cycles=10**9)
    builder.stream("camera", period_ticks=100 * MS, releases=4)
    timeline = ENGINE.run(builder.build(), until_tick=250 * MS)
    assert timeline.release_status.tolist() == [
        ReleaseStatus.IN_FLIGHT,
        ReleaseStatus.WAITING,
        ReleaseStatus.WAITING,
        ReleaseStatus.PENDING,
    ]
