"""Step functions of time, and what a task takes alone."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.program import Program, ProgramBuilder
from simulator.program.capacity import Steps, channel_steps, clock_steps, sole_transfer_ticks
from simulator.program.template_columns import sole_ticks_of_templates

STEPS = Steps.of(np.array([10, 20, 20, 30]), np.array([1.0, 9.0, 4.0, 0.0]), initial=2.0)


def test_of_several_values_at_one_tick_the_last_counts():
    assert STEPS.tick.tolist() == [0, 10, 20, 30]
    assert STEPS.value.tolist() == [2.0, 1.0, 4.0, 0.0]


def test_a_value_at_tick_zero_replaces_the_initial_one():
    assert Steps.of(np.array([0]), np.array([5.0]), initial=2.0).value.tolist() == [5.0]


def test_a_step_holds_from_its_tick_on():
    assert STEPS.at(np.array([0, 9, 10, 29, 30, 99])).tolist() == [2.0, 2.0, 1.0, 4.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("start", "stop", "area"),
    [(0, 40, 70.0), (5, 15, 15.0), (12, 14, 2.0), (25, 99, 20.0), (35, 40, 0.0), (7, 7, 0.0)],
)
def test_the_integral_is_the_area_within_the_window(start, stop, area):
    # Whole: 2 x 10 + 1 x 10 + 4 x 10. From 5 to 15: 2 x 5 + 1 x 5.
    assert STEPS.integral(start, stop) == area


@pytest.mark.parametrize(("start", "stop", "peak"), [(0, 40, 4.0), (0, 20, 2.0), (10, 20, 1.0), (7, 7, 0.0)])
def test_the_peak_is_the_highest_value_held_within_the_window(start, stop, peak):
    assert STEPS.peak(start, stop) == peak


def transfer_of_10_bytes(*changes: tuple[int, float]) -> Program:
    """10 B over two channels of 1 and 4 GB/s, the narrow one with changes of its capacity."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    builder.channel("noc", bytes_per_s=4e9)
    builder.transfer(["dram", "noc"], size_bytes=10)
    for tick, bytes_per_s in changes:
        builder.change(tick, channel="dram", value=bytes_per_s)
    return builder.build()


def test_changes_belong_to_their_resource():
    program = transfer_of_10_bytes((5_000, 0.5e9))
    assert channel_steps(program, 0).value.tolist() == [1e9, 0.5e9]
    assert channel_steps(program, 1).value.tolist() == [4e9]
    assert clock_steps(program, 0).value.tolist() == [1e9]


@pytest.mark.parametrize(
    ("changes", "start_tick", "ticks"),
    [
        ((), 7, 10_000),
        (((5_000, 0.5e9),), 0, 15_000),  # 5 B at 1 GB/s, 5 B at half of it
        (((5_000, 0.5e9),), 5_000, 20_000),
        (((5_000, 0.0), (8_000, 1e9)), 0, 13_000),  # stands still for 3 ns
        (((5_000, 9e9),), 0, 6_250),  # the last 5 B at the 4 GB/s of the other channel
        (((10_000, 0.0),), 0, 10_000),  # the last byte moves just before it stands still
    ],
)
def test_a_transfer_alone_follows_the_changes_of_its_channels(changes, start_tick, ticks):
    assert sole_transfer_ticks(transfer_of_10_bytes(*changes), 0, start_tick) == ticks


def test_a_rounding_error_does_not_push_the_last_byte_behind_a_standstill():
    # 7 B take 163 333.3 ticks at 3/70 GB/s, so 36 B take 840 000; in two steps floating point makes it a hair less.
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=3e8 / 7)
    builder.transfer(["dram"], size_bytes=36)
    builder.change(7_001, channel="dram", value=3e8 / 7)
    builder.change(840_000, channel="dram", value=0.0)
    assert sole_transfer_ticks(builder.build(), 0, 0) == 840_000


def test_a_transfer_alone_goes_no_faster_than_its_own_cap():
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=1e9)
    builder.transfer(["dram"], size_bytes=10, rate_cap_bytes_per_s=0.5e9)
    assert sole_transfer_ticks(builder.build(), 0, 0) == 20_000


def test_a_transfer_of_nothing_takes_no_time_alone():
    program = transfer_of_10_bytes((5, 2e9))
    empty = replace(program, tasks=replace(program.tasks, size_bytes=np.array([0])))
    assert sole_transfer_ticks(empty, 0, 0) == 0
    assert sole_ticks_of_templates(empty).tolist() == [0]


def test_a_maximum_share_slows_a_transfer_alone_too():
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=1e9)
    builder.master("cpu")
    builder.share("cpu", "dram", maximum=0.25)
    builder.transfer(["dram"], size_bytes=2, master="cpu")
    program = builder.build()
    assert sole_ticks_of_templates(program).tolist() == [8_000]
    assert sole_transfer_ticks(program, 0, 0) == 8_000
