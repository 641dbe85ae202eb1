"""The lower bound of small Programs, each term worked out by hand."""

import math

import numpy as np
import pytest

from simulator.engine.bound import PhaseBound, lower_bound
from simulator.program import ProgramBuilder


def machine(*, slots: int = 1) -> ProgramBuilder:
    """A unit of 1 GHz (1 cycle is 1000 ticks) and a channel of 1 GB/s (1 B is 1000 ticks)."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=slots)
    builder.channel("dram", bytes_per_s=1e9)
    return builder


def test_one_computation_takes_its_cycles():
    builder = machine()
    builder.compute("npu", work_cycles=7)
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (7_000, "npu")


def test_one_transfer_takes_its_bytes_over_the_narrowest_channel():
    builder = machine()
    builder.channel("noc", bytes_per_s=3e8)
    builder.transfer(["dram", "noc"], size_bytes=1)
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (3_334, "noc")  # 1e12 / 3e8 = 3333.3, rounded up


def test_one_transfer_goes_no_faster_than_its_own_cap():
    builder = machine()
    builder.transfer(["dram"], size_bytes=4, rate_cap_bytes_per_s=5e8)
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (8_000, "chain")


def test_a_byte_of_usage_two_takes_twice_the_time():
    builder = machine()
    builder.transfer(["dram"], size_bytes=4, usage=[2.0])
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (8_000, "dram")


def test_a_soft_maximum_bounds_nobody_who_is_alone():
    for is_soft, ticks in ((True, 8_000), (False, 16_000)):
        builder = machine()
        builder.master("npu")
        builder.share("npu", "dram", maximum=0.5, is_soft=is_soft)
        builder.transfer(["dram"], size_bytes=8, master="npu")
        assert lower_bound(builder.build(), 0).ticks == ticks


def test_a_budget_takes_its_periods():
    # 20 times 2 MB: 18 whole periods of 10 ms, between a first and a last of which 2 ms are enough for 2 MB at 1 GB/s.
    # Each of the 18 may give a tick of flow more, so a tick each is missing, and the grace of roundings.
    builder = machine()
    builder.master("cpu")
    builder.budget("cpu", "dram", size_bytes=2e6, period_ticks=10**10)
    for _ in range(5):
        builder.transfer(["dram"], size_bytes=8 * 10**6, master="cpu")
    bound = lower_bound(builder.build(), 0)
    exact_ticks = 18 * 10**10 + 4 * 10**9
    assert exact_ticks - 19 <= bound.ticks <= exact_ticks
    assert bound.bound_by == "dram"


def test_a_budget_beyond_the_channel_bounds_nobody():
    # 2 MB in 1 ms are more than 1 GB/s.
    builder = machine()
    builder.master("cpu")
    builder.budget("cpu", "dram", size_bytes=2e6, period_ticks=10**9)
    builder.transfer(["dram"], size_bytes=8 * 10**6, master="cpu")
    assert lower_bound(builder.build(), 0).ticks == 8 * 10**9


def test_a_job_of_milestones_takes_no_time():
    builder = machine()
    builder.milestone(after=[builder.milestone()])
    assert lower_bound(builder.build(), 0).ticks == 0


def test_a_chain_takes_the_sum_of_its_tasks():
    # 5 ns of load and 7 ns of compute in a row; no resource has more than 7 ns of work.
    builder = machine()
    load = builder.transfer(["dram"], size_bytes=5)
    builder.compute("npu", work_cycles=7, after=[load])
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (12_000, "chain")


def test_the_longest_chain_needs_no_index_order():
    # Task 1 waits for task 2, which waits for task 0: 1 + 4 + 2 ns; task 3 waits for task 0: 1 + 3 ns.
    builder = machine(slots=4)
    builder.compute("npu", work_cycles=1)
    builder.compute("npu", work_cycles=2, after=[2])
    builder.compute("npu", work_cycles=4, after=[0])
    builder.compute("npu", work_cycles=3, after=[0])
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (7_000, "chain")


def test_a_unit_works_off_its_tasks_over_its_slots():
    # 3 x 5001 ticks on 2 slots: 7501.5, so 7502 whole ticks; no task is longer than 5001.
    builder = machine(slots=2)
    for _ in range(3):
        builder.compute("npu", work_cycles=5.001)
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (7_502, "npu")


def test_a_channel_moves_the_bytes_of_all_routes_and_masters_that_cross_it():
    # dram: 6 + 4 B; noc at 2 GB/s: 4 B.
    builder = machine()
    builder.master("cpu")
    builder.channel("noc", bytes_per_s=2e9)
    builder.transfer(["dram"], size_bytes=6)
    builder.transfer(["noc", "dram"], size_bytes=4, master="cpu")
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (10_000, "dram")


def test_a_master_gets_no_more_than_its_maximum_share():
    # The cpu's 3 B at a quarter of 1 GB/s take 12 ns; all 7 B together only 7 ns; each cpu transfer 4 or 8 ns.
    builder = machine()
    builder.master("cpu")
    builder.share("cpu", "dram", maximum=0.25)
    builder.transfer(["dram"], size_bytes=1, master="cpu")
    builder.transfer(["dram"], size_bytes=2, master="cpu")
    builder.transfer(["dram"], size_bytes=4)
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (12_000, "dram")


def test_transfers_in_a_row_are_bound_by_their_channel_though_rounding_makes_the_chain_longer():
    # 3 x 3333.3 ticks, each rounded up to 3334, where the channel needs 10 000.
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=3e8)
    load = builder.transfer(["dram"], size_bytes=1)
    load = builder.transfer(["dram"], size_bytes=1, after=[load])
    builder.transfer(["dram"], size_bytes=1, after=[load])
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (10_002, "dram")


def test_each_flow_of_a_channel_may_end_a_hundredth_of_a_tick_early():
    # 300 x 1.01 ticks: an engine may round each down to 1 tick, so 300 is certain and the exact sum of 303 is not.
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=1e14)  # 1 B is 0.01 ticks
    for _ in range(300):
        builder.transfer(["dram"], size_bytes=101)
    assert lower_bound(builder.build(), 0).ticks == 300


def test_a_bound_counts_only_its_own_job():
    builder = machine()
    builder.job()
    builder.compute("npu", work_cycles=3)
    builder.job()
    builder.compute("npu", work_cycles=5)
    builder.transfer(["dram"], size_bytes=9)
    program = builder.build()
    assert [lower_bound(program, job).ticks for job in (0, 1)] == [3_000, 9_000]


@pytest.mark.parametrize(("tick", "expected"), [(0, 10_000), (1, 5_000)])
def test_a_bound_takes_the_highest_clock_and_capacity_that_ever_hold(tick, expected):
    # Halved from the first tick on, the original 1 GHz and 1 GB/s never hold; halved later, they do.
    for kind in ("npu", "dram"):
        builder = machine()
        if kind == "npu":
            builder.compute("npu", work_cycles=5)
            builder.change(tick, unit="npu", value=0.5e9)
        else:
            builder.transfer(["dram"], size_bytes=5)
            builder.change(tick, channel="dram", value=0.5e9)
        assert lower_bound(builder.build(), 0).ticks == expected


def test_each_clock_change_may_round_the_work_once_more():
    # 1000.015 ticks of work. Undisturbed, 1001; a change rounds the rest again, by a hundredth of a tick more: 1000.
    cycles = 1.000015
    assert math.ceil(cycles * 1000 - 0.01) == 1001
    for num_changes, expected in ((0, 1001), (1, 1000)):
        builder = machine()
        builder.compute("npu", work_cycles=cycles)
        for tick in range(num_changes):
            builder.change(500 + tick, unit="npu", value=1e9)
        assert lower_bound(builder.build(), 0).ticks == expected


def two_phases(*, loads_wait: bool) -> ProgramBuilder:
    """Compute 4 ns; then, behind a milestone, 6 ns of loads (which may not wait for it) beside 1 ns of compute."""
    builder = machine()
    builder.phase("prefill")
    prefill = builder.compute("npu", work_cycles=4)
    builder.phase("decode")
    barrier = builder.milestone(after=[prefill])
    for _ in range(2):
        builder.transfer(["dram"], size_bytes=3, after=[barrier] if loads_wait else [])
    builder.compute("npu", work_cycles=1, after=[barrier])
    return builder


def test_phases_behind_barriers_add_up():
    bound = lower_bound(two_phases(loads_wait=True).build(), 0)
    assert bound.phases == (PhaseBound(0, 4_000, "npu"), PhaseBound(1, 6_000, "dram"))
    assert (bound.ticks, bound.bound_by) == (10_000, "dram")


def test_a_prefetch_across_a_barrier_counts_for_the_job_but_not_for_its_phase():
    bound = lower_bound(two_phases(loads_wait=False).build(), 0)
    assert bound.phases == (PhaseBound(0, 4_000, "npu"), PhaseBound(1, 1_000, "npu"))
    assert (bound.ticks, bound.bound_by) == (6_000, "dram")


def test_a_phase_that_waits_for_only_a_part_of_the_one_before_has_no_bound():
    # The second phase waits for one of two tasks: it may be hidden behind the other.
    builder = machine(slots=2)
    builder.phase("prefill")
    short = builder.compute("npu", work_cycles=1)
    builder.compute("npu", work_cycles=9)
    builder.phase("decode")
    builder.compute("npu", work_cycles=2, after=[short])
    bound = lower_bound(builder.build(), 0)
    assert [phase.ticks for phase in bound.phases] == [9_000, 0]
    assert bound.ticks == 9_000


def test_a_phase_need_not_wait_for_milestones_that_nothing_uses():
    # Two marks at the end of prefill, one behind the other, on which nothing else depends.
    builder = machine()
    builder.phase("prefill")
    prefill = builder.compute("npu", work_cycles=4)
    builder.milestone(after=[builder.milestone(after=[prefill])])
    builder.phase("decode")
    builder.compute("npu", work_cycles=1, after=[prefill])
    assert [phase.ticks for phase in lower_bound(builder.build(), 0).phases] == [4_000, 1_000]


def test_a_phase_must_wait_for_a_milestone_of_an_earlier_phase_that_waits_for_something_later():
    # The milestone ends with the decode task before it, so prefill may last into decode and hide all of it.
    builder = machine()
    builder.phase("prefill")
    builder.compute("npu", work_cycles=4)
    builder.milestone(after=[2])
    builder.phase("decode")
    builder.compute("npu", work_cycles=1, after=[0])
    assert [phase.ticks for phase in lower_bound(builder.build(), 0).phases] == [4_000, 0]


def test_a_phase_waits_for_phases_further_back_through_tasks_without_a_phase():
    builder = machine()
    first = builder.compute("npu", work_cycles=1)  # before the first phase: belongs to none
    builder.phase("vision")
    vision = builder.compute("npu", work_cycles=2, after=[first])
    builder.phase("action")
    builder.compute("npu", work_cycles=3, after=[vision])
    bound = lower_bound(builder.build(), 0)
    assert [phase.ticks for phase in bound.phases] == [2_000, 3_000]
    assert bound.ticks == 6_000


def test_a_phase_need_not_wait_for_tasks_without_a_phase():
    builder = machine()
    builder.unit("dsp", clock_hz=1e9)
    builder.compute("dsp", work_cycles=1)
    builder.phase("vision")
    builder.compute("npu", work_cycles=2)
    assert lower_bound(builder.build(), 0).phases == (PhaseBound(0, 2_000, "npu"),)


@pytest.mark.parametrize(("is_chain", "second"), [(True, 1_000), (False, 0)])
def test_a_phase_with_very_many_loose_ends_is_no_barrier(is_chain, second):
    # A chain of 2100 tasks has one loose end; 2100 tasks side by side are more than are followed up.
    builder = machine()
    builder.phase("vision")
    before: list[int] = []
    for _ in range(2100):
        before.append(builder.compute("npu", work_cycles=1, after=before[-1:] if is_chain else []))
    builder.phase("action")
    builder.compute("npu", work_cycles=1, after=before)
    bound = lower_bound(builder.build(), 0)
    assert bound.phases[1].ticks == second
    assert bound.ticks == 2_101_000


def test_milestones_join_any_number_of_loose_ends_into_one():
    builder = machine(slots=3000)
    builder.phase("vision")
    joined = [builder.compute("npu", work_cycles=1) for _ in range(2100)]
    for _ in range(3):
        joined = [builder.milestone(after=joined)]
    builder.phase("action")
    builder.compute("npu", work_cycles=1, after=joined)
    assert [phase.ticks for phase in lower_bound(builder.build(), 0).phases] == [1_000, 1_000]


def test_a_job_without_phases_has_no_phase_bounds():
    builder = machine()
    builder.compute("npu", work_cycles=1)
    assert lower_bound(builder.build(), 0).phases == ()


def test_a_channel_that_stands_still_for_ever_does_not_divide_by_zero():
    builder = machine()
    builder.transfer(["dram"], size_bytes=1)
    builder.change(0, channel="dram", value=0.0)
    assert np.isfinite(lower_bound(builder.build(), 0).ticks)


def test_a_chain_that_is_mostly_one_resource_is_named_after_it():
    """4 ns of load and 9 ns of compute in a row: 13 ns, of which the unit needs 9, more than two thirds."""
    builder = machine()
    builder.compute("npu", work_cycles=9, after=[builder.transfer(["dram"], size_bytes=4)])
    bound = lower_bound(builder.build(), 0)
    assert (bound.ticks, bound.bound_by) == (13_000, "npu")
