"""Where the latency of a release went, on runs small enough to follow by hand."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.engine.reference import ReferenceEngine
from simulator.errors import EngineError, SpecError
from simulator.metrics.attribution import attribute, critical_path
from simulator.program import NONE, ProgramBuilder


def machine() -> ProgramBuilder:
    """A unit of 1 GHz (1 cycle is 1000 ticks) and a channel of 1 GB/s (1 B is 1000 ticks)."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    return builder


def two_streams() -> ProgramBuilder:
    """A frame (load 10 B, compute 4 ns) beside another job (load 5 B, compute 20 ns), both released at 0.

    Both loads get half of the channel until the other's ends at 10 ns; the frame's last 5 B take 5 ns more. The
    other computes from 10 to 30 ns, so the frame's compute, ready at 15 ns, runs from 30 to 34 ns.
    """
    builder = machine()
    builder.job()
    load = builder.transfer(["dram"], size_bytes=10)
    builder.compute("npu", work_cycles=4, after=[load])
    builder.job()
    load = builder.transfer(["dram"], size_bytes=5)
    builder.compute("npu", work_cycles=20, after=[load])
    return builder


def test_a_frame_is_slowed_by_contention_and_queueing():
    attribution = attribute(ReferenceEngine().run(two_streams().build()), 0)
    assert attribution.latency_ticks == 34_000
    assert attribution.cause_ticks == {"queue": 15_000, "dram": 10_000, "contention": 5_000, "npu": 4_000}
    assert list(attribution.cause_ticks) == ["queue", "dram", "contention", "npu"]  # largest first


def test_tasks_with_a_cause_count_under_it_and_equal_names_add_up():
    program = two_streams().build()
    labels = replace(program.labels, causes=("weights", "queue"))
    tasks = replace(program.tasks, cause=np.array([0, 1, NONE, NONE]))
    attribution = attribute(ReferenceEngine().run(replace(program, labels=labels, tasks=tasks)), 0)
    assert attribution.cause_ticks == {"queue": 19_000, "weights": 10_000, "contention": 5_000}


def test_a_transfer_without_a_cause_counts_under_its_narrowest_channel():
    builder = machine()
    builder.channel("noc", bytes_per_s=0.5e9)
    builder.transfer(["dram", "noc"], size_bytes=3)
    assert attribute(ReferenceEngine().run(builder.build()), 0).cause_ticks == {"noc": 6_000}


def test_a_transfer_belongs_to_the_channel_that_gives_it_the_fewest_bytes_and_to_no_die():
    # The first crosses a DRAM of 2 GB/s, of which a byte takes 4: 0.5 GB/s, less than the NoC's 1 GB/s. The second
    # takes 1 of it, so the NoC is narrower. 3 B are 6 ns, then 3 ns.
    builder = ProgramBuilder()
    builder.channel("die1.dram", bytes_per_s=2e9)
    builder.channel("die1.noc", bytes_per_s=1e9)
    first = builder.transfer(["die1.noc", "die1.dram"], size_bytes=3, usage=(1.0, 4.0))
    builder.transfer(["die1.noc", "die1.dram"], size_bytes=3, after=[first])
    program = builder.build()
    timeline = ReferenceEngine().run(program)
    assert attribute(timeline, 0).cause_ticks == {"die1.dram": 6_000, "die1.noc": 3_000}
    assert attribute(timeline, 0).part_ticks == {"DRAM": 6_000, "NoC": 3_000}


def test_by_part_a_slowed_load_is_the_channels_and_a_queue_is_that_of_other_releases():
    attribution = attribute(ReferenceEngine().run(two_streams().build()), 0)
    assert attribution.part_ticks == {"waiting for other releases": 15_000, "DRAM": 15_000, "npu": 4_000}


def test_time_before_admission_is_wait():
    # Two releases, 5 ns apart, of a job of 10 ns: the second waits for 5 ns.
    builder = machine()
    builder.compute("npu", work_cycles=10)
    builder.stream("frames", period_ticks=5_000, releases=2)
    assert attribute(ReferenceEngine().run(builder.build()), 1).cause_ticks == {"npu": 10_000, "wait": 5_000}


def test_a_slower_channel_is_not_contention():
    # Halved after 5 of 10 B: 5 + 10 ns, all of them the transfer's own.
    builder = machine()
    builder.transfer(["dram"], size_bytes=10)
    builder.change(5_000, channel="dram", value=0.5e9)
    assert attribute(ReferenceEngine().run(builder.build()), 0).cause_ticks == {"dram": 15_000}


def test_contention_on_a_slower_channel_is_what_the_transfer_alone_would_not_need():
    # Two loads of 10 B at half of 1 GB/s move 5 B in 10 ns, and at a quarter of it the rest in 20 ns; alone 10 ns.
    builder = machine()
    builder.transfer(["dram"], size_bytes=10)
    builder.transfer(["dram"], size_bytes=10)
    builder.change(10_000, channel="dram", value=0.5e9)
    attribution = attribute(ReferenceEngine().run(builder.build()), 0)
    assert attribution.cause_ticks == {"contention": 20_000, "dram": 10_000}


def test_the_path_goes_through_the_predecessor_that_ended_last_and_of_equals_the_last():
    # Task 3 waits for 0 (5 ns), 1 and 2 (7 ns each); task 4 ends before it.
    builder = machine()
    builder.unit("dsp", clock_hz=1e9, slots=4)
    before = [builder.compute("dsp", work_cycles=cycles) for cycles in (5, 7, 7)]
    builder.compute("npu", work_cycles=2, after=before)
    builder.compute("dsp", work_cycles=8)
    timeline = ReferenceEngine().run(builder.build())
    assert timeline.task[critical_path(timeline, 0).rows].tolist() == [2, 3]


def test_a_path_goes_through_milestones():
    builder = machine()
    first = builder.compute("npu", work_cycles=1)
    barrier = builder.milestone(after=[first])
    builder.compute("npu", work_cycles=1, after=[builder.milestone(after=[barrier])])
    timeline = ReferenceEngine().run(builder.build())
    assert timeline.task[critical_path(timeline, 0).rows].tolist() == [0, 1, 2, 3]
    assert attribute(timeline, 0).cause_ticks == {"npu": 2_000}


def test_the_causes_of_each_phase_sum_to_its_latency():
    # Prefill computes 4 ns beside a decode load that ends at 6 ns; decode computes 1 ns. The path is load, compute:
    # the first 4 ns of the load are in the time of prefill.
    builder = machine()
    builder.phase("prefill")
    prefill = builder.compute("npu", work_cycles=4)
    builder.phase("decode")
    load = builder.transfer(["dram"], size_bytes=6)
    builder.compute("npu", work_cycles=1, after=[prefill, load])
    attribution = attribute(ReferenceEngine().run(builder.build()), 0)
    assert attribution.cause_ticks == {"dram": 6_000, "npu": 1_000}
    assert attribution.phase_cause_ticks == {"prefill": {"dram": 4_000}, "decode": {"dram": 2_000, "npu": 1_000}}


def test_a_release_in_flight_has_no_path():
    timeline = ReferenceEngine().run(two_streams().build(), until_tick=33_000)
    with pytest.raises(SpecError, match="release 0: must be completed to have a latency, got in flight"):
        critical_path(timeline, 0)


def test_a_task_that_nothing_released_is_a_bug():
    timeline = ReferenceEngine().run(two_streams().build())
    ready = np.where(timeline.task == 1, 14_999, timeline.ready_tick)
    with pytest.raises(EngineError, match="task 1 was ready at 14999, when no predecessor ended"):
        critical_path(replace(timeline, ready_tick=ready), 0)


def test_a_unit_held_by_the_release_itself_is_the_cause_and_not_a_queue():
    """Tasks 0 and 1 are ready at 0 on one slot: 1 starts when 0 ends, so the path is 0 then 1 and nothing queues."""
    builder = machine()
    builder.compute("npu", work_cycles=3)
    builder.compute("npu", work_cycles=4)
    timeline = ReferenceEngine().run(builder.build())
    assert timeline.task[critical_path(timeline, 0).rows].tolist() == [0, 1]
    assert attribute(timeline, 0).cause_ticks == {"npu": 7000}


def test_a_unit_held_by_another_release_is_a_queue():
    """Two jobs of one task on one slot: the second waits 3 ns for the first and works 4 ns."""
    builder = machine()
    builder.job()
    builder.compute("npu", work_cycles=3)
    builder.job()
    builder.compute("npu", work_cycles=4)
    timeline = ReferenceEngine().run(builder.build())
    assert attribute(timeline, 1).cause_ticks == {"npu": 4000, "queue": 3000}
