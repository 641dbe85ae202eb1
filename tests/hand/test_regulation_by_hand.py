"""Budgets, soft limits, usage and interference, each worked out by hand to the picosecond."""

import math
from fractions import Fraction

import pytest

from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.errors import Infeasible
from simulator.metrics.utilization import channel_use
from simulator.program import ProgramBuilder
from simulator.timeline import Timeline
from simulator.timeline.invariants import check_all

NS, US, MS = 10**3, 10**6, 10**9  # in ticks
MB, GB = 10**6, 10**9
GB_PER_S = 1e9

EACH_ENGINE = pytest.mark.parametrize(
    "engine", [ReferenceEngine(), CompiledEngine()], ids=lambda engine: engine.name
)  # fmt: skip
pytestmark = EACH_ENGINE


def run(engine: Engine, builder: ProgramBuilder, until_tick: int | None = None) -> Timeline:
    timeline = engine.run(builder.build(), until_tick=until_tick)
    check_all(timeline)
    return timeline


def ends(timeline: Timeline) -> dict[int, int]:
    """End by task, for Programs that run each task once."""
    return dict(zip(timeline.task.tolist(), timeline.end_tick.tolist(), strict=True))


def granted(timeline: Timeline) -> list[tuple[int, float]]:
    """The rate rows of the only channel."""
    return list(zip(timeline.rate_tick.tolist(), timeline.rate_granted_bytes_per_s.tolist(), strict=True))


def dram(bytes_per_s: float, *masters: str) -> ProgramBuilder:
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=bytes_per_s)
    for master in masters:
        builder.master(master)
    return builder


# budgets: so many bytes in every period -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_regulated", [True, False])
def test_memguard(engine: Engine, is_regulated: bool) -> None:
    # 2 MB at 100 GB/s take 20 us of every millisecond; the 50th begins at 49 ms. Without a budget: 100 MB in 1 ms.
    builder = dram(100 * GB_PER_S, "cpu")
    builder.transfer(["dram"], size_bytes=100 * MB, master="cpu")
    if is_regulated:
        builder.budget("cpu", "dram", size_bytes=2 * MB, period_ticks=1 * MS)
    assert ends(run(engine, builder)) == {0: 49 * MS + 20 * US if is_regulated else 1 * MS}


def test_periods_begin_at_multiples_from_zero_on_whoever_starts_when(engine: Engine) -> None:
    # From 5.99 ms on 1 MB until the period ends, then 2 MB of the next in 20 us.
    builder = dram(100 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=2 * MB, period_ticks=1 * MS)
    builder.transfer(["dram"], size_bytes=3 * MB, master="cpu")
    builder.stream("once", offset_ticks=5990 * US)
    assert ends(run(engine, builder)) == {0: 6 * MS + 20 * US}


def test_what_is_left_of_a_period_is_lost(engine: Engine) -> None:
    # 100 B in the first microsecond, and then no more than 1000 B in each of the next two.
    builder = dram(2 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=1000, period_ticks=1 * US)
    builder.job()
    builder.transfer(["dram"], size_bytes=100, master="cpu")
    builder.job()
    builder.transfer(["dram"], size_bytes=1500, master="cpu")
    builder.stream_at("both", [0, 1 * US], [0, 1])
    assert ends(run(engine, builder)) == {0: 50 * NS, 1: 2 * US + 250 * NS}


def test_a_master_that_stands_still_leaves_the_channel_to_others(engine: Engine) -> None:
    # Half of 2 GB/s each: 500 B of the CPU take 500 ns. The NPU then has 2 GB/s up to 1 us, and 1 GB/s again. At 1.5 us
    # the CPU's 1000 B are through, the NPU has moved 500 + 1000 + 500 of 3000 B: 500 ns more.
    builder = dram(2 * GB_PER_S, "cpu", "npu")
    builder.budget("cpu", "dram", size_bytes=500, period_ticks=1 * US)
    builder.transfer(["dram"], size_bytes=1000, master="cpu")
    builder.transfer(["dram"], size_bytes=3000, master="npu")
    assert ends(run(engine, builder)) == {0: 1500 * NS, 1: 2 * US}


def test_transfers_and_background_of_a_master_share_its_budget(engine: Engine) -> None:
    # The camera of the CPU asks for 0.5 of 2 GB/s, so the transfer has 1.5: together 1000 B in 500 ns of each period,
    # of which the transfer moves 750. Its 1500 B end with the second budget, 500 ns into the second period.
    builder = dram(2 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=1000, period_ticks=1 * US)
    builder.background("camera", ["dram"], bytes_per_s=0.5 * GB_PER_S, master="cpu")
    builder.transfer(["dram"], size_bytes=1500, master="cpu")
    timeline = run(engine, builder)
    assert ends(timeline) == {0: 1500 * NS}
    assert timeline.background_bytes.tolist() == [500]
    assert granted(timeline) == [(0, 2e9), (500 * NS, 0.0), (1 * US, 2e9), (1500 * NS, 0.0)]


def test_a_budget_counts_what_is_taken_of_the_channel(engine: Engine) -> None:
    # With usage 2 a budget of 1000 B is 500 B of the transfer, at 1 of 2 GB/s: 500 ns of each of three periods.
    builder = dram(2 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=1000, period_ticks=1 * US)
    builder.transfer(["dram"], size_bytes=1500, master="cpu", usage=[2.0])
    assert ends(run(engine, builder)) == {0: 2500 * NS}


def test_a_budget_that_lasts_to_the_next_period_never_stops_a_flow(engine: Engine) -> None:
    builder = dram(1 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=1000, period_ticks=1 * US)
    builder.transfer(["dram"], size_bytes=3500, master="cpu")
    assert granted(run(engine, builder)) == [(0, 1e9), (3500 * NS, 0.0)]


def test_a_flow_that_ends_as_its_budget_is_used_up_has_ended(engine: Engine) -> None:
    # Both at 3333.3 ticks, so at 3334.
    builder = dram(3 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=10, period_ticks=1 * US)
    builder.transfer(["dram"], size_bytes=10, master="cpu")
    assert ends(run(engine, builder)) == {0: 3334}


def test_a_budget_is_used_up_at_the_next_whole_tick(engine: Engine) -> None:
    # 10 B at 3 GB/s take 3333.3 ticks. By tick 3334 10.002 B have moved; the other 9.998 B take 3332.7 ticks.
    builder = dram(3 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=10, period_ticks=1 * US)
    builder.transfer(["dram"], size_bytes=20, master="cpu")
    timeline = run(engine, builder)
    assert granted(timeline) == [(0, 3e9), (3334, 0.0), (1 * US, 3e9), (1 * US + 3333, 0.0)]


def test_a_budget_lasts_for_one_tick_at_least(engine: Engine) -> None:
    # At 1 us 0.0005 B are left: half a tick at 1 GB/s, and nothing at the 1 TB/s that the channel has from then on.
    builder = dram(1 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=1000.0005, period_ticks=2 * US)
    builder.transfer(["dram"], size_bytes=2000, master="cpu")
    builder.change(1 * US, channel="dram", value=1e12)
    assert granted(run(engine, builder, until_tick=2 * US)) == [(0, 1e9), (1 * US, 1e12), (1 * US + 1, 0.0)]


def test_a_capacity_change_and_a_period_at_one_tick_both_count(engine: Engine) -> None:
    # 500 B in the first half microsecond; from 1 us on 4 GB/s: 500 B in 125 ns.
    builder = dram(1 * GB_PER_S, "cpu")
    builder.budget("cpu", "dram", size_bytes=500, period_ticks=1 * US)
    builder.transfer(["dram"], size_bytes=1000, master="cpu")
    builder.change(1 * US, channel="dram", value=4 * GB_PER_S)
    assert ends(run(engine, builder)) == {0: 1125 * NS}


def test_of_two_budgets_on_a_route_the_tighter_one_binds_in_each_period(engine: Engine) -> None:
    # 1 GB/s. NoC: 300 B per 1 us; DRAM: 500 B per 2 us. So 300 B from 0 to 300 ns, 200 B from 1000 to 1200 ns, and the
    # other 250 B from 2000 to 2250 ns.
    builder = dram(1 * GB_PER_S, "cpu")
    builder.channel("noc", bytes_per_s=1 * GB_PER_S)
    builder.budget("cpu", "noc", size_bytes=300, period_ticks=1 * US)
    builder.budget("cpu", "dram", size_bytes=500, period_ticks=2 * US)
    builder.transfer(["dram", "noc"], size_bytes=750, master="cpu")
    timeline = run(engine, builder)
    assert ends(timeline) == {0: 2250 * NS}
    here = timeline.rate_channel == 0
    assert timeline.rate_tick[here].tolist() == [0, 300 * NS, 1000 * NS, 1200 * NS, 2000 * NS, 2250 * NS]


def test_a_run_in_which_budgets_alone_go_on_is_given_up(engine: Engine) -> None:
    # The NoC fails for ever at 250 ns, while a camera uses up the budget of its master on the DRAM in half of each
    # period. Ten periods later, at 10.25 us, the last thing that happened was the period that began at 10 us.
    builder = dram(2 * GB_PER_S, "isp", "cpu")
    builder.channel("noc", bytes_per_s=1 * GB_PER_S)
    builder.budget("isp", "dram", size_bytes=1000, period_ticks=1 * US)
    builder.background("camera", ["dram"], bytes_per_s=2 * GB_PER_S, master="isp")
    builder.transfer(["noc"], size_bytes=1000, master="cpu")
    builder.change(250 * NS, channel="noc", value=0.0)
    with pytest.raises(Infeasible, match=r'task 0 can never end: channel "noc" gives it 0 B/s from 1e-05 s on'):
        run(engine, builder)
    builder.change(100 * US, channel="noc", value=1 * GB_PER_S)  # but not, if the NoC comes back
    assert ends(run(engine, builder)) == {0: 100 * US + 750 * NS}


# soft limits: what nobody else can use --------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_soft", "end_ms"), [(False, 200), (True, 50)])
def test_a_hard_maximum_holds_on_an_idle_channel_and_a_soft_one_does_not(
    engine: Engine, is_soft: bool, end_ms: int
) -> None:
    # 5 GB at 25 of 100 GB/s, or at all 100.
    builder = dram(100 * GB_PER_S, "gpu")
    builder.share("gpu", "dram", maximum=0.25, is_soft=is_soft)
    builder.transfer(["dram"], size_bytes=5 * GB, master="gpu")
    assert ends(run(engine, builder)) == {0: end_ms * MS}


@pytest.mark.parametrize(("is_soft", "gpu_end_ms"), [(False, 240), (True, 120)])
def test_a_soft_maximum_gives_way_to_whoever_can_use_the_rest(engine: Engine, is_soft: bool, gpu_end_ms: int) -> None:
    # Up to 40 ms the NPU takes all that the GPU's 25 GB/s leave: 3 GB at 75, while the GPU moves 1 of 6 GB. Then a
    # camera asks for 60 GB/s for 50 ms. Soft: the GPU has 40, moves 2 GB, and the other 3 at 100 GB/s in 30 ms. Hard:
    # it has 25 all the time, 6 GB in 240 ms.
    builder = dram(100 * GB_PER_S, "gpu", "npu", "isp")
    builder.share("gpu", "dram", maximum=0.25, is_soft=is_soft)
    builder.transfer(["dram"], size_bytes=6 * GB, master="gpu")
    builder.transfer(["dram"], size_bytes=3 * GB, master="npu")
    builder.background("camera", ["dram"], bytes_per_s=60 * GB_PER_S, master="isp", start_tick=40 * MS,
                       stop_tick=90 * MS)  # fmt: skip
    assert ends(run(engine, builder)) == {0: gpu_end_ms * MS, 1: 40 * MS}


def test_what_soft_maxima_leave_is_shared_fairly_on_top_of_them(engine: Engine) -> None:
    # Of 100 GB/s 20 and 40 by their maxima; of the other 40 the first has 20 until both have 40, then each has half.
    builder = dram(100 * GB_PER_S, "gpu", "npu")
    builder.share("gpu", "dram", maximum=0.2, is_soft=True)
    builder.share("npu", "dram", maximum=0.4, is_soft=True)
    builder.transfer(["dram"], size_bytes=5 * GB, master="gpu")
    builder.transfer(["dram"], size_bytes=5 * GB, master="npu")
    assert ends(run(engine, builder)) == {0: 100 * MS, 1: 100 * MS}


# usage: bytes that take more of a channel than others -----------------------------------------------------------------


def test_a_transfer_of_usage_two_beside_one_of_usage_one(engine: Engine) -> None:
    # Equal rates r with r + 2 r = 60 GB/s: 20 each. 2 GB are through at 100 ms, the other 6 of 8 GB at 60 GB/s at
    # 200 ms. Both move 10 GB, and take 8 + 2 x 2 = 12 GB: all of 60 GB/s for 200 ms.
    builder = dram(60 * GB_PER_S)
    builder.transfer(["dram"], size_bytes=8 * GB)
    builder.transfer(["dram"], size_bytes=2 * GB, usage=[2.0])
    timeline = run(engine, builder)
    assert ends(timeline) == {0: 200 * MS, 1: 100 * MS}
    assert granted(timeline) == [(0, 60e9), (100 * MS, 60e9), (200 * MS, 0.0)]
    assert timeline.rate_asked_bytes_per_s.tolist() == [120e9, 60e9, 0.0]  # alone each would take all of the channel
    (use,) = channel_use(timeline)
    assert (use.moved_bytes, use.utilization, use.average_bytes_per_s) == (10 * GB, 1.0, 50e9)


def test_shares_are_fractions_of_the_capacity_in_use(engine: Engine) -> None:
    # Half of 60 GB/s is 15 GB/s of bytes with usage 2. The other master has 45 GB/s.
    builder = dram(60 * GB_PER_S, "gpu", "npu")
    builder.share("gpu", "dram", maximum=0.5)
    builder.share("npu", "dram", minimum=0.5)
    builder.transfer(["dram"], size_bytes=15 * 10**8, master="gpu", usage=[2.0])
    builder.transfer(["dram"], size_bytes=3 * GB, master="npu")
    assert ends(run(engine, builder)) == {0: 100 * MS, 1: 100 * MS}


def test_a_route_has_a_usage_of_its_own_for_each_channel(engine: Engine) -> None:
    # 60 / 1.5 = 40 GB/s on the DRAM, 50 / 1 on the NoC.
    builder = dram(60 * GB_PER_S)
    builder.channel("noc", bytes_per_s=50 * GB_PER_S)
    builder.transfer(["noc", "dram"], size_bytes=4 * GB, usage=[1.0, 1.5])
    timeline = run(engine, builder)
    assert ends(timeline) == {0: 100 * MS}
    assert [use.utilization for use in channel_use(timeline)] == [1.0, 0.8]


# interference: one master beside a rising external demand -------------------------------------------------------------


def slowdown_ticks(engine: Engine, demand: int, minimum: float = 0.0) -> int:
    """The time of 8 GB by a master that could move 80 of 100 GB/s, beside an external demand in GB/s."""
    builder = dram(100 * GB_PER_S, "npu", "external")
    builder.share("npu", "dram", minimum=minimum)
    builder.transfer(["dram"], size_bytes=8 * GB, master="npu", rate_cap_bytes_per_s=80 * GB_PER_S)
    if demand:
        builder.background("stressor", ["dram"], bytes_per_s=demand * GB_PER_S, master="external")
    return run(engine, builder).horizon_tick


def rounded_up(ticks: Fraction) -> int:
    return math.ceil(ticks)


@pytest.mark.parametrize("demand", [0, 10, 20])
def test_below_the_capacity_nobody_is_slowed_down(engine: Engine, demand: int) -> None:
    # 80 + x <= 100.
    assert slowdown_ticks(engine, demand) == 100 * MS


@pytest.mark.parametrize("demand", [25, 30, 40, 45])
def test_above_the_capacity_the_slowdown_grows_with_the_demand(engine: Engine, demand: int) -> None:
    # The stressor asks for less than half and gets it: 80 / (100 - x) times as long.
    assert slowdown_ticks(engine, demand) == rounded_up(Fraction(100 * MS * 80, 100 - demand))


@pytest.mark.parametrize("demand", [50, 80, 1000])
def test_when_the_demand_saturates_the_slowdown_is_that_of_a_fair_share(engine: Engine, demand: int) -> None:
    # Half of 100 GB/s: 1.6 times as long, whatever else is asked for.
    assert slowdown_ticks(engine, demand) == 160 * MS


@pytest.mark.parametrize(("demand", "rate"), [(20, 80), (30, 70), (40, 60), (50, 60), (1000, 60)])
def test_a_minimum_share_makes_the_slowdown_flat_earlier(engine: Engine, demand: int, rate: int) -> None:
    # 100 - x, but at least 60 GB/s.
    assert slowdown_ticks(engine, demand, minimum=0.6) == rounded_up(Fraction(100 * MS * 80, rate))


# packets and refresh --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("priority", "end_tick"), [(1, 12_525 * US), (0, 37_500 * NS)])
def test_a_small_message_behind_a_large_one_on_a_link(engine: Engine, priority: int, end_tick: int) -> None:
    # The link is a unit that works off bytes at 4 GB/s, in packets of 50 kB: 12.5 us each. 50 MB take 12.5 ms; 0.1 MB,
    # ready a tick later, 25 us: after all of that, or with priority after the one packet that cannot be interrupted.
    builder = ProgramBuilder()
    builder.unit("link", clock_hz=4e9)
    builder.job()
    for _ in range(1000):
        builder.compute("link", work_cycles=50_000, priority=1)
    builder.job()
    for _ in range(2):
        builder.compute("link", work_cycles=50_000, priority=priority)
    builder.stream_at("large", [0], [0])
    builder.stream_at("small", [1], [1])
    timeline = run(engine, builder)
    assert timeline.release_end_tick.tolist() == [12_500 * US if priority else 12_525 * US, end_tick]


def refreshed(num_refreshes: int) -> ProgramBuilder:
    """1 GB/s that stand still for the first 280 ns of every 3906 ns."""
    builder = dram(1 * GB_PER_S)
    for number in range(num_refreshes):
        builder.change(number * 3906 * NS, channel="dram", value=0.0)
        builder.change((number * 3906 + 280) * NS, channel="dram", value=1 * GB_PER_S)
    return builder


def test_refresh_of_all_banks_makes_a_long_stream_longer_by_its_fraction(engine: Engine) -> None:
    # 3626 B in each interval of 3906 ns: 3906 / 3626 = 1.0772 times as long.
    builder = refreshed(1000)
    builder.transfer(["dram"], size_bytes=1000 * 3626)
    assert ends(run(engine, builder)) == {0: 1000 * 3906 * NS}


@pytest.mark.parametrize(("offset_ns", "extra_ns"), [(3906, 280), (3905, 280), (4000, 186), (4186, 0), (3000, 0)])
def test_a_single_request_waits_for_one_refresh_at_most(engine: Engine, offset_ns: int, extra_ns: int) -> None:
    # 64 B take 64 ns; the refresh is from 3906 to 4186 ns.
    builder = refreshed(3)
    builder.transfer(["dram"], size_bytes=64)
    builder.stream("request", offset_ticks=offset_ns * NS)
    assert ends(run(engine, builder)) == {0: (offset_ns + 64 + extra_ns) * NS}
