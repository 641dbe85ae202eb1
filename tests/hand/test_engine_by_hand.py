"""Small Programs whose every start and end is worked out by hand, to the picosecond."""

import pytest

from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.errors import Infeasible
from simulator.program import NONE, DropPolicy, ProgramBuilder
from simulator.timeline import ReleaseStatus, Timeline

NS, US, MS = 10**3, 10**6, 10**9  # in ticks
GB_PER_S = 1e9

ENGINE: Engine = ReferenceEngine()


@pytest.fixture(autouse=True, params=[ReferenceEngine(), CompiledEngine()], ids=lambda engine: engine.name)
def _each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of this file holds for every engine."""
    monkeypatch.setitem(globals(), "ENGINE", request.param)


def run(builder: ProgramBuilder, until_tick: int | None = None) -> Timeline:
    return ENGINE.run(builder.build(), until_tick=until_tick)


def spans(timeline: Timeline) -> dict[int, tuple[int, int]]:
    """Start and end by task, for Programs that run each task once."""
    return {
        task: (start, end)
        for task, start, end in zip(
            timeline.task.tolist(), timeline.start_tick.tolist(), timeline.end_tick.tolist(), strict=True
        )
    }


def one_unit(clock_hz: float = 1e9, slots: int = 1) -> ProgramBuilder:
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=clock_hz, slots=slots)
    return builder


def one_channel(bytes_per_s: float = 100 * GB_PER_S) -> ProgramBuilder:
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=bytes_per_s)
    return builder


# sharing in time ---------------------------------------------------------------------------------------------------


def test_the_longer_of_two_flows_gets_the_whole_channel_when_the_shorter_has_ended() -> None:
    # 100 GB/s each until the 5 GB are through at 50 ms; the other 5 of 10 GB then take 25 ms at 200 GB/s.
    builder = one_channel(200 * GB_PER_S)
    builder.transfer(["dram"], size_bytes=10 * 10**9)
    builder.transfer(["dram"], size_bytes=5 * 10**9)
    assert spans(run(builder)) == {0: (0, 75 * MS), 1: (0, 50 * MS)}


def test_max_min_demands_in_time() -> None:
    # 20, 60 and 120 of 200 GB/s: 1 GB in 50 ms, 3 GB in 50 ms, 6 GB in 50 ms.
    builder = one_channel(200 * GB_PER_S)
    for size, cap in ((1, 20), (3, 60), (6, 300)):
        builder.transfer(["dram"], size_bytes=size * 10**9, rate_cap_bytes_per_s=cap * GB_PER_S)
    assert {end for _, end in spans(run(builder)).values()} == {50 * MS}


def test_weights_in_time() -> None:
    # 50 and 150 GB/s. At 10 ms the heavy master has moved its 1.5 GB, the light one 0.5 of 2.5 GB; 2 GB take 10 ms.
    builder = one_channel(200 * GB_PER_S)
    builder.master("light", weight=1.0)
    builder.master("heavy", weight=3.0)
    builder.transfer(["dram"], size_bytes=25 * 10**8, master="light")
    builder.transfer(["dram"], size_bytes=15 * 10**8, master="heavy")
    assert spans(run(builder)) == {0: (0, 20 * MS), 1: (0, 10 * MS)}


def test_a_maximum_share_holds_although_the_channel_is_idle() -> None:
    # 0.5 * 100 GB/s: 5 GB take 100 ms.
    builder = one_channel()
    builder.master("gpu")
    builder.share("gpu", "dram", maximum=0.5)
    builder.transfer(["dram"], size_bytes=5 * 10**9, master="gpu")
    assert spans(run(builder)) == {0: (0, 100 * MS)}


def test_a_minimum_share_holds_against_a_heavier_master() -> None:
    # By weight the cpu would get 10 GB/s; the guarantee makes it 25. The npu's 7.5 GB at 75 GB/s end at 100 ms,
    # when the cpu has 5 - 2.5 GB left: 25 ms at 100 GB/s.
    builder = one_channel()
    builder.master("npu", weight=9.0)
    builder.master("cpu", weight=1.0)
    builder.share("cpu", "dram", minimum=0.25)
    builder.transfer(["dram"], size_bytes=75 * 10**8, master="npu")
    builder.transfer(["dram"], size_bytes=5 * 10**9, master="cpu")
    assert spans(run(builder)) == {0: (0, 100 * MS), 1: (0, 125 * MS)}


def test_a_background_flow_takes_its_share_from_its_start_to_its_stop() -> None:
    # 0-20 ms alone: 2 GB. 20-50 ms beside 60 GB/s asked: half each, 1.5 GB. The last 6.5 of 10 GB take 65 ms.
    builder = one_channel()
    builder.transfer(["dram"], size_bytes=10 * 10**9)
    builder.background("camera", ["dram"], bytes_per_s=60 * GB_PER_S, start_tick=20 * MS, stop_tick=50 * MS)
    timeline = run(builder)
    assert spans(timeline) == {0: (0, 115 * MS)}
    assert timeline.background_bytes.tolist() == [15 * 10**8]
    rows = zip(
        timeline.rate_tick.tolist(),
        timeline.rate_channel.tolist(),
        timeline.rate_granted_bytes_per_s.tolist(),
        timeline.rate_asked_bytes_per_s.tolist(),
        strict=True,
    )
    assert list(rows) == [
        (0, 0, 100e9, 100e9),
        (20 * MS, 0, 100e9, 160e9),
        (50 * MS, 0, 100e9, 100e9),
        (115 * MS, 0, 0.0, 0.0),
    ]


def test_a_background_flow_that_asks_for_little_gets_it_all() -> None:
    # 80 GB/s are left: 8 GB take 100 ms, in which the camera moves 2 GB.
    builder = one_channel()
    builder.transfer(["dram"], size_bytes=8 * 10**9)
    builder.background("camera", ["dram"], bytes_per_s=20 * GB_PER_S)
    timeline = run(builder)
    assert spans(timeline) == {0: (0, 100 * MS)}
    assert timeline.background_bytes.tolist() == [2 * 10**9]


def test_a_background_flow_of_no_length_changes_nothing() -> None:
    builder = one_channel()
    builder.transfer(["dram"], size_bytes=10**9)
    builder.background("blink", ["dram"], bytes_per_s=GB_PER_S, start_tick=5 * MS, stop_tick=5 * MS)
    assert spans(run(builder)) == {0: (0, 10 * MS)}


def test_a_transfer_over_two_channels_moves_at_the_rate_of_the_slower_one() -> None:
    builder = one_channel()
    builder.channel("noc", bytes_per_s=50 * GB_PER_S)
    builder.transfer(["dram", "noc"], size_bytes=10**9)
    timeline = run(builder)
    assert spans(timeline) == {0: (0, 20 * MS)}
    assert timeline.rate_granted_bytes_per_s.tolist() == [50e9, 50e9, 0.0, 0.0]


def test_the_rates_of_a_channel_are_summed_in_the_order_of_the_tasks() -> None:
    # Flows capped at 0.1, 0.2 and 0.3 B/s; the first task starts last. In task order the sum is 0.6000000000000001,
    # in the order of starting 0.6.
    builder = one_unit()
    builder.channel("dram", bytes_per_s=1.0)
    builder.transfer(["dram"], size_bytes=10, after=[3], rate_cap_bytes_per_s=0.1)
    builder.transfer(["dram"], size_bytes=10, rate_cap_bytes_per_s=0.2)
    builder.transfer(["dram"], size_bytes=10, rate_cap_bytes_per_s=0.3)
    builder.compute("npu", work_cycles=1)
    timeline = run(builder, until_tick=1001)
    assert timeline.rate_granted_bytes_per_s.tolist() == [0.2 + 0.3, 0.1 + 0.2 + 0.3]
    assert timeline.rate_granted_bytes_per_s[1] != 0.2 + 0.3 + 0.1


# one operator ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size_bytes", "work_cycles"), [(1_000_000, 3000), (1_000_000, 9000), (1_000_000, 5000)])
def test_an_operator_takes_its_launch_and_the_longer_of_load_and_compute(size_bytes: int, work_cycles: int) -> None:
    # Launch: 6400 cycles at 1.6 GHz are 4 us. Load: 1 MB at 200 GB/s is 5 us. Compute: 3, 9 and 5 us at 1 GHz.
    builder = one_unit()
    builder.unit("host", clock_hz=1.6e9)
    builder.channel("dram", bytes_per_s=200 * GB_PER_S)
    launch = builder.compute("host", work_cycles=6400)
    load = builder.transfer(["dram"], size_bytes=size_bytes, after=[launch])
    compute = builder.compute("npu", work_cycles=work_cycles, after=[launch])
    builder.milestone(after=[load, compute])
    assert run(builder).horizon_tick == 4 * US + max(5 * US, work_cycles * NS)


def test_durations_are_rounded_up_to_the_tick() -> None:
    # One cycle at 3 GHz is 333.3 ps; 1 B at 3 GB/s as well.
    builder = one_unit(3e9)
    builder.channel("dram", bytes_per_s=3 * GB_PER_S)
    builder.compute("npu", work_cycles=1)
    builder.transfer(["dram"], size_bytes=1)
    assert spans(run(builder)) == {0: (0, 334), 1: (0, 334)}


def test_double_buffering_is_an_edge() -> None:
    # Loads of 100 ns, computes of 300 ns, at most two tiles loaded ahead: load n waits for compute n - 2.
    builder = one_unit()
    builder.channel("dram", bytes_per_s=100 * GB_PER_S)
    loads: list[int] = []
    computes: list[int] = []
    for tile in range(4):
        before = [*loads[-1:], *(computes[tile - 2 : tile - 1] if tile >= 2 else [])]
        loads.append(builder.transfer(["dram"], size_bytes=10_000, after=before))
        computes.append(builder.compute("npu", work_cycles=300, after=[loads[-1]]))
    found = spans(run(builder))
    assert [found[load][0] for load in loads] == [0, 100 * NS, 400 * NS, 700 * NS]
    assert [found[compute][0] for compute in computes] == [100 * NS, 400 * NS, 700 * NS, 1000 * NS]


# capacities that change --------------------------------------------------------------------------------------------


def test_halving_the_clock_doubles_what_is_left_of_a_task() -> None:
    # 1000 cycles at 1 GHz: at 400 ns 600 ns are left, which become 1200 ns.
    builder = one_unit()
    builder.compute("npu", work_cycles=1000)
    builder.change(400 * NS, unit="npu", value=0.5e9)
    assert spans(run(builder)) == {0: (0, 1600 * NS)}


def test_a_task_stands_still_while_the_clock_is_zero() -> None:
    builder = one_unit()
    builder.compute("npu", work_cycles=1000)
    builder.change(400 * NS, unit="npu", value=0.0)
    builder.change(900 * NS, unit="npu", value=2e9)  # 600 cycles left: 300 ns
    assert spans(run(builder)) == {0: (0, 1200 * NS)}


def test_a_task_that_starts_at_clock_zero_holds_its_slot_and_waits_for_the_clock() -> None:
    builder = one_unit()
    first = builder.compute("npu", work_cycles=100)
    builder.compute("npu", work_cycles=100, after=[first])
    builder.change(50 * NS, unit="npu", value=0.0)
    builder.change(100 * NS, unit="npu", value=1e9)
    builder.change(150 * NS, unit="npu", value=0.0)  # the tick at which the first task ends: it ends before the change
    builder.change(300 * NS, unit="npu", value=0.25e9)
    assert spans(run(builder)) == {0: (0, 150 * NS), 1: (150 * NS, 700 * NS)}


def test_of_two_changes_at_one_tick_the_later_row_wins() -> None:
    builder = one_unit()
    builder.compute("npu", work_cycles=1000)
    builder.change(500 * NS, unit="npu", value=0.0)
    builder.change(500 * NS, unit="npu", value=1e9)
    assert spans(run(builder)) == {0: (0, 1000 * NS)}


def test_a_change_to_the_same_clock_moves_no_end() -> None:
    # The 10^17 - 1 ticks left at tick 1 are no double: computing the end anew would put it one tick later.
    assert 1 + int(float(10**17 - 1)) == 10**17 + 1
    builder = one_unit()
    builder.compute("npu", work_cycles=1e14)
    builder.change(1, unit="npu", value=1e9)
    assert spans(run(builder)) == {0: (0, 10**17)}


def test_a_task_that_a_change_ends_at_once_still_runs_when_the_releases_come() -> None:
    # At tick 999 one tick is left, which the new clock makes a thousandth: it ends in the next round of that tick. The
    # release at the tick is handled before that and finds the stream busy.
    builder = one_unit()
    builder.compute("npu", work_cycles=1)
    builder.change(999, unit="npu", value=1e12)
    builder.stream("camera", period_ticks=999, releases=2, policy=DropPolicy.DROP_IF_BUSY)
    timeline = run(builder)
    assert timeline.end_tick.tolist() == [999]
    assert timeline.release_status.tolist() == [ReleaseStatus.COMPLETED, ReleaseStatus.DROPPED]


def test_the_clock_of_a_unit_is_no_business_of_other_units() -> None:
    builder = one_unit()
    builder.unit("host", clock_hz=1e9)
    builder.compute("npu", work_cycles=1000)
    builder.compute("host", work_cycles=1000)
    builder.change(500 * NS, unit="npu", value=0.5e9)
    assert spans(run(builder)) == {0: (0, 1500 * NS), 1: (0, 1000 * NS)}


def test_a_channel_that_drops_to_zero_and_returns_delays_a_flow_by_the_gap() -> None:
    # 1000 B at 1 GB/s: 250 B before the gap from 250 to 750 ns, 750 B after it, at 2 GB/s.
    builder = one_channel(GB_PER_S)
    builder.transfer(["dram"], size_bytes=1000)
    builder.change(250 * NS, channel="dram", value=0.0)
    builder.change(750 * NS, channel="dram", value=2 * GB_PER_S)
    timeline = run(builder)
    assert spans(timeline) == {0: (0, 1125 * NS)}
    assert timeline.rate_granted_bytes_per_s.tolist() == [1e9, 0.0, 2e9, 0.0]
    assert timeline.rate_asked_bytes_per_s.tolist() == [1e9, 0.0, 2e9, 0.0]


def test_a_flow_that_ends_when_the_channel_fails_has_ended() -> None:
    builder = one_channel(GB_PER_S)
    builder.transfer(["dram"], size_bytes=1000)
    builder.change(1000 * NS, channel="dram", value=0.0)
    assert spans(run(builder)) == {0: (0, 1000 * NS)}


def test_changes_after_the_end_of_the_work_are_not_simulated() -> None:
    builder = one_channel(GB_PER_S)
    builder.transfer(["dram"], size_bytes=1000)
    builder.change(MS, channel="dram", value=0.0)
    builder.background("camera", ["dram"], bytes_per_s=1.0, start_tick=2 * MS)
    timeline = run(builder)
    assert timeline.horizon_tick == 1000 * NS
    assert timeline.rate_tick.tolist() == [0, 1000 * NS]
    assert timeline.background_bytes.tolist() == [0.0]


# queues ------------------------------------------------------------------------------------------------------------


def test_a_unit_never_interrupts_a_task_and_then_serves_the_smallest_priority_number() -> None:
    # At 0 only task 0 is there. While it runs, tasks 1 (priority 5) and 2 (priority 1) arrive.
    builder = one_unit()
    builder.unit("host", clock_hz=1e9)
    builder.compute("npu", work_cycles=100, priority=9)
    wait = builder.compute("host", work_cycles=10)
    builder.compute("npu", work_cycles=100, after=[wait], priority=5)
    later = builder.compute("host", work_cycles=10, after=[wait])
    builder.compute("npu", work_cycles=100, after=[later], priority=1)
    found = spans(run(builder))
    assert (found[0], found[4], found[2]) == ((0, 100 * NS), (100 * NS, 200 * NS), (200 * NS, 300 * NS))


def test_of_equal_priority_the_task_that_was_ready_first_goes_first_and_then_the_lower_index() -> None:
    # Task 3 gets ready at 10 ns, tasks 4 and 5 at 20 ns, all while task 0 has the unit until 100 ns.
    builder = one_unit()
    builder.unit("host", clock_hz=1e9)
    builder.compute("npu", work_cycles=100)
    early = builder.compute("host", work_cycles=10)
    late = builder.compute("host", work_cycles=10, after=[early])
    for after in (early, late, late):
        builder.compute("npu", work_cycles=100, after=[after])
    found = spans(run(builder))
    assert [found[task][0] for task in (3, 4, 5)] == [100 * NS, 200 * NS, 300 * NS]


def test_of_two_releases_of_one_task_the_earlier_number_goes_first() -> None:
    builder = one_unit()
    builder.compute("npu", work_cycles=100)
    builder.stream("twice", releases=2, in_flight=NONE)  # both at tick 0
    timeline = run(builder)
    assert timeline.release.tolist() == [0, 1]
    assert timeline.start_tick.tolist() == [0, 100 * NS]
    assert timeline.ready_tick.tolist() == [0, 0]


def test_two_slots_serve_two_tasks_at_a_time() -> None:
    builder = one_unit(slots=2)
    for work_cycles in (100, 300, 100, 100):
        builder.compute("npu", work_cycles=work_cycles)
    found = spans(run(builder))
    assert found == {0: (0, 100 * NS), 1: (0, 300 * NS), 2: (100 * NS, 200 * NS), 3: (200 * NS, 300 * NS)}


def test_tasks_that_end_together_let_the_queue_decide_not_the_order_of_ending() -> None:
    # Both tasks on the hosts end at 100 ns; their successors meet at the npu, where priority 0 wins.
    builder = one_unit()
    builder.unit("host a", clock_hz=1e9)
    builder.unit("host b", clock_hz=1e9)
    a = builder.compute("host a", work_cycles=100)
    b = builder.compute("host b", work_cycles=100)
    builder.compute("npu", work_cycles=100, after=[a], priority=1)
    builder.compute("npu", work_cycles=100, after=[b], priority=0)
    found = spans(run(builder))
    assert (found[3][0], found[2][0]) == (100 * NS, 200 * NS)


def test_a_task_that_gets_ready_through_milestones_comes_one_round_too_late_for_a_free_unit() -> None:
    # Round 1 at tick 0 starts the milestone and task 2 (ready at once); round 2 finds the unit taken.
    builder = one_unit()
    gate = builder.milestone()
    builder.compute("npu", work_cycles=100, after=[gate], priority=0)
    builder.compute("npu", work_cycles=100, priority=9)
    assert spans(run(builder)) == {0: (0, 0), 1: (100 * NS, 200 * NS), 2: (0, 100 * NS)}


# nothing takes no time ---------------------------------------------------------------------------------------------


def test_a_chain_of_tasks_without_duration_ends_at_the_tick_at_which_it_starts() -> None:
    builder = one_unit()
    builder.channel("dram", bytes_per_s=1.0)
    start = builder.compute("npu", work_cycles=7)
    fork = builder.milestone(after=[start])
    nothing = builder.transfer(["dram"], size_bytes=0, after=[fork])
    builder.compute("npu", work_cycles=0, after=[nothing])
    timeline = run(builder)
    assert spans(timeline) == {0: (0, 7 * NS), 1: (7 * NS,) * 2, 2: (7 * NS,) * 2, 3: (7 * NS,) * 2}
    assert len(timeline.rate_tick) == 0


def test_a_compute_task_of_zero_cycles_still_needs_a_free_slot() -> None:
    builder = one_unit()
    builder.compute("npu", work_cycles=100)
    builder.compute("npu", work_cycles=0)
    builder.compute("npu", work_cycles=100)
    assert spans(run(builder)) == {0: (0, 100 * NS), 1: (100 * NS, 100 * NS), 2: (100 * NS, 200 * NS)}


def test_zero_cycles_end_even_at_clock_zero() -> None:
    builder = one_unit()
    builder.compute("npu", work_cycles=0)
    builder.change(0, unit="npu", value=0.0)
    assert spans(run(builder)) == {0: (0, 0)}


def test_a_job_without_duration_completes_and_makes_room_at_its_own_tick() -> None:
    # The second release of the same tick waits for the first, which ends in the next round.
    builder = ProgramBuilder()
    builder.milestone()
    builder.stream("tick", releases=2)
    timeline = run(builder)
    assert timeline.release_status.tolist() == [ReleaseStatus.COMPLETED] * 2
    assert timeline.release_end_tick.tolist() == [0, 0]


# the end -----------------------------------------------------------------------------------------------------------


def frames(policy: DropPolicy = DropPolicy.FIFO) -> ProgramBuilder:
    """Frames every 100 ns; each loads for 30 ns and computes for 70."""
    builder = one_unit()
    builder.channel("dram", bytes_per_s=GB_PER_S)
    load = builder.transfer(["dram"], size_bytes=30)
    builder.compute("npu", work_cycles=70, after=[load])
    builder.stream("camera", period_ticks=100 * NS, releases=3, policy=policy)
    return builder


def test_what_happens_at_until_tick_does_not_happen() -> None:
    timeline = run(frames(), until_tick=100 * NS)
    assert timeline.horizon_tick == 100 * NS
    assert timeline.task.tolist() == [0, 1]
    assert timeline.end_tick.tolist() == [30 * NS, NONE]
    assert timeline.release_status.tolist() == [ReleaseStatus.IN_FLIGHT, ReleaseStatus.PENDING, ReleaseStatus.PENDING]
    assert timeline.release_end_tick.tolist() == [NONE] * 3


def test_one_tick_later_it_has_happened() -> None:
    timeline = run(frames(), until_tick=100 * NS + 1)
    assert timeline.end_tick.tolist() == [30 * NS, 100 * NS, NONE]
    assert timeline.release_status.tolist() == [
        ReleaseStatus.COMPLETED,
        ReleaseStatus.IN_FLIGHT,
        ReleaseStatus.PENDING,
    ]
    assert timeline.served_bytes.tolist() == [30.0, 0.0, pytest.approx(0.001)]  # 1 ps at 1 GB/s


def test_a_job_that_ends_exactly_at_a_release_makes_room_for_it() -> None:
    # Every frame takes exactly its period, so even a stream that may not wait drops nothing.
    timeline = run(frames(DropPolicy.DROP_IF_BUSY))
    assert timeline.release_status.tolist() == [ReleaseStatus.COMPLETED] * 3
    assert timeline.release_start_tick.tolist() == [0, 100 * NS, 200 * NS]
    assert timeline.horizon_tick == 300 * NS


def test_until_tick_zero_and_a_program_without_releases_do_nothing() -> None:
    builder = frames()
    builder.background("refresh", ["dram"], bytes_per_s=GB_PER_S)
    stopped = run(builder, until_tick=0)
    assert (len(stopped), stopped.horizon_tick, len(stopped.rate_tick)) == (0, 0, 0)
    idle = one_channel()
    idle.milestone()
    idle.background("refresh", ["dram"], bytes_per_s=GB_PER_S)
    idle.stream("never", releases=0)
    assert (run(idle).horizon_tick, len(run(idle).rate_tick)) == (0, 0)


def test_background_goes_on_to_until_tick_after_the_last_job() -> None:
    builder = one_channel()
    builder.transfer(["dram"], size_bytes=10**9, rate_cap_bytes_per_s=50 * GB_PER_S)  # 20 ms
    builder.background("refresh", ["dram"], bytes_per_s=100 * GB_PER_S)  # 50 GB/s beside it, 100 after it
    timeline = run(builder, until_tick=50 * MS)
    assert timeline.horizon_tick == 50 * MS
    assert timeline.background_bytes.tolist() == [10**9 + 3 * 10**9]


def test_work_that_can_never_end_names_its_resource() -> None:
    stopped = one_unit()
    stopped.compute("npu", work_cycles=10)
    stopped.change(5 * NS, unit="npu", value=0.0)
    with pytest.raises(Infeasible, match=r'task 0 can never end: unit "npu" has a clock of 0 Hz from 5e-09 s on'):
        run(stopped)

    dry = one_channel()
    dry.channel("noc", bytes_per_s=GB_PER_S)
    dry.transfer(["noc", "dram"], size_bytes=10)
    dry.change(0, channel="dram", value=0.0)
    with pytest.raises(Infeasible, match=r'task 0 can never end: channel "dram" gives it 0 B/s') as caught:
        run(dry)
    assert (caught.value.demand, caught.value.bound, caught.value.unit) == (10, 0, "B")


def test_guarantees_that_starve_a_flow_for_ever_name_the_full_channel() -> None:
    builder = one_channel()
    builder.master("safety")
    builder.share("safety", "dram", minimum=1.0)
    builder.background("lidar", ["dram"], bytes_per_s=100 * GB_PER_S, master="safety")
    builder.transfer(["dram"], size_bytes=10)
    with pytest.raises(Infeasible, match='channel "dram" gives it 0 B/s'):
        run(builder)


def test_an_end_53_days_away_counts_as_never() -> None:
    # 2^62 ticks are 4 611 686 s: as many seconds of work at 1 Hz, or bytes at 1 B/s, are within reach, one more is not.
    def slow(amount: int) -> ProgramBuilder:
        builder = ProgramBuilder()
        builder.unit("npu", clock_hz=1.0)
        builder.channel("dram", bytes_per_s=1.0)
        builder.compute("npu", work_cycles=amount)
        builder.transfer(["dram"], size_bytes=amount)
        return builder

    assert run(slow(4_611_686)).horizon_tick == 4_611_686 * 10**12
    with pytest.raises(Infeasible, match=r'task 1 can never end: channel "dram" gives it 1 B/s from 0 s on'):
        run(slow(4_611_687))


def test_until_tick_cuts_off_even_what_could_never_end() -> None:
    builder = one_unit()
    builder.compute("npu", work_cycles=10)
    builder.change(0, unit="npu", value=0.0)
    assert run(builder, until_tick=MS).end_tick.tolist() == [NONE]
