"""How busy units and channels were, on runs small enough to follow by hand."""

import pytest

from simulator.engine.reference import ReferenceEngine
from simulator.metrics.utilization import channel_use, unit_use
from simulator.program import ProgramBuilder
from simulator.timeline import Timeline


def busy_run(until_tick: int | None = None) -> Timeline:
    """Two slots with tasks of 4 and 10 ns from 0; a load of 6 B, alone on 1 GB/s for 2 ns and then beside a camera.

    The camera asks for 0.25 GB/s from 2 ns to 6 ns, which leaves 0.75 for the load: 2 B by 2 ns, 5 B by 6 ns, and the
    last at 7 ns.
    """
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=2)
    builder.unit("dsp", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    builder.channel("noc", bytes_per_s=1e9)
    builder.compute("npu", work_cycles=4)
    builder.compute("npu", work_cycles=10)
    builder.transfer(["dram"], size_bytes=6)
    builder.background("camera", ["dram"], bytes_per_s=0.25e9, start_tick=2_000, stop_tick=6_000)
    return ReferenceEngine().run(builder.build(), until_tick=until_tick)


def test_a_unit_is_busy_for_its_tasks_over_its_slots():
    npu, dsp = unit_use(busy_run())
    assert (npu.name, npu.slots, npu.busy_s, npu.utilization) == ("npu", 2, 14e-9, 0.7)
    assert (dsp.name, dsp.busy_s, dsp.utilization) == ("dsp", 0.0, 0.0)


def test_a_window_counts_only_what_lies_within_it():
    # From 3 to 5 ns: 1 ns of the first task and 2 ns of the second, of 2 x 2 ns.
    npu, _ = unit_use(busy_run(), 3_000, 5_000)
    assert (npu.busy_s, npu.utilization) == (3e-9, 0.75)
    npu, _ = unit_use(busy_run(), 6_000, 8_000)  # after the first task
    assert (npu.busy_s, npu.utilization) == (2e-9, 0.5)


def test_a_task_that_the_end_cut_off_is_busy_up_to_it():
    npu, _ = unit_use(busy_run(until_tick=8_000))
    assert (npu.busy_s, npu.utilization) == (12e-9, 0.75)


def test_an_empty_window_has_no_utilization():
    assert unit_use(busy_run(), 5_000, 5_000)[0].utilization == 0.0
    dram, _ = channel_use(busy_run(), 5_000, 5_000)
    assert (dram.moved_bytes, dram.utilization, dram.average_bytes_per_s, dram.peak_bytes_per_s) == (0, 0, 0, 0)


def test_a_channel_carries_tasks_and_background():
    dram, noc = channel_use(busy_run())
    assert (dram.name, dram.moved_bytes) == ("dram", 7.0)  # 6 B of the load, 4 ns x 0.25 GB/s of the camera
    assert dram.utilization == pytest.approx(0.7)
    assert dram.average_bytes_per_s == pytest.approx(0.7e9)
    assert dram.peak_bytes_per_s == pytest.approx(1e9)
    assert (noc.moved_bytes, noc.utilization, noc.peak_bytes_per_s) == (0.0, 0.0, 0.0)


def test_a_window_of_a_channel_counts_the_rates_within_it():
    # From 6 to 10 ns: the last byte of the load in 1 ns, then nothing.
    dram, _ = channel_use(busy_run(), 6_000, 10_000)
    assert dram.moved_bytes == pytest.approx(1.0)
    assert dram.utilization == pytest.approx(0.25)
    assert channel_use(busy_run(), 7_000, 10_000)[0].peak_bytes_per_s == 0.0


def test_bytes_of_a_whole_run_are_exact_however_ends_are_rounded():
    # 1 B at 0.3 GB/s ends at 3333.33 ticks, rounded up to 3334: the rate alone would give 1.0002 B.
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=0.3e9)
    builder.transfer(["dram"], size_bytes=1)
    timeline = ReferenceEngine().run(builder.build())
    assert channel_use(timeline)[0].moved_bytes == 1.0
    assert channel_use(timeline, 1, 3_334)[0].moved_bytes == pytest.approx(3_333 * 0.3e-3, rel=1e-9)


def test_utilization_follows_the_capacity():
    # 10 B: 5 ns at 1 GB/s and 10 ns at the halved capacity, always fully used.
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=1e9)
    builder.transfer(["dram"], size_bytes=10)
    builder.change(5_000, channel="dram", value=0.5e9)
    (dram,) = channel_use(ReferenceEngine().run(builder.build()))
    assert dram.utilization == pytest.approx(1.0)
    assert dram.average_bytes_per_s == pytest.approx(10 / 15e-9)
