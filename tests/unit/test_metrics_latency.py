"""Latency of a release and of its phases, on runs small enough to follow by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from simulator.engine.reference import ReferenceEngine
from simulator.errors import SpecError
from simulator.metrics.latency import release_latency
from simulator.program import NONE, DropPolicy, Labels, Program, ProgramBuilder


def machine() -> ProgramBuilder:
    """Two units of 1 GHz (1 cycle is 1000 ticks) and a channel of 1 GB/s (1 B is 1000 ticks)."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.unit("dsp", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    builder.channel("noc", bytes_per_s=4e9)
    return builder


def prefill_and_decode() -> Program:
    """Prefill computes 4 ns beside a decode load of 6 ns that waits for nothing; then decode computes 1 ns."""
    builder = machine()
    builder.phase("prefill")
    prefill = builder.compute("npu", work_cycles=4)
    builder.phase("decode")
    load = builder.transfer(["dram", "noc"], size_bytes=6)
    builder.compute("npu", work_cycles=1, after=[prefill, load])
    builder.stream_at("frames", [0, 2_000], [0, 0])
    return builder.build()


def test_a_phase_runs_from_the_end_of_the_earlier_phases_to_its_own_end():
    latency = release_latency(ReferenceEngine().run(prefill_and_decode()), 0)
    assert [(phase.name, phase.start_tick, phase.end_tick, phase.latency_ticks) for phase in latency.phases] == [
        ("prefill", 0, 4_000, 4_000),
        ("decode", 4_000, 7_000, 3_000),
    ]
    assert latency.latency_ticks == 7_000


def test_latency_is_the_wait_plus_the_phases():
    # Released at 2 ns, admitted when release 0 ends at 7 ns, then 7 ns of work.
    latency = release_latency(ReferenceEngine().run(prefill_and_decode()), 1)
    assert (latency.stream, latency.job, latency.release_tick) == ("frames", 0, 2_000)
    assert (latency.wait_ticks, latency.latency_ticks) == (5_000, 12_000)
    assert [phase.latency_ticks for phase in latency.phases] == [4_000, 3_000]


def test_a_phase_hidden_behind_an_earlier_one_has_no_latency():
    builder = machine()
    builder.phase("vision")
    builder.compute("npu", work_cycles=9)
    builder.phase("prefill")
    builder.compute("dsp", work_cycles=2)
    latency = release_latency(ReferenceEngine().run(builder.build()), 0)
    assert [(phase.start_tick, phase.end_tick) for phase in latency.phases] == [(0, 9_000), (9_000, 9_000)]


def test_what_runs_after_the_last_phase_counts_to_it():
    program = prefill_and_decode()
    no_phase_at_the_end = replace(program.tasks, operation=np.array([0, 1, NONE]))
    latency = release_latency(ReferenceEngine().run(replace(program, tasks=no_phase_at_the_end)), 0)
    assert [(phase.start_tick, phase.end_tick) for phase in latency.phases] == [(0, 4_000), (4_000, 7_000)]


def test_a_job_without_phases_has_a_latency_and_no_phases():
    builder = machine()
    builder.compute("npu", work_cycles=3)
    latency = release_latency(ReferenceEngine().run(builder.build()), 0)
    assert (latency.latency_ticks, latency.phases) == (3_000, ())


def test_phases_count_their_tokens_flop_and_bytes():
    # Two operations of decode (10 and 100 flop, two tasks each do not double them), one of a phase of another job.
    builder = machine()
    builder.phase("prefill")
    builder.transfer(["dram"], size_bytes=3)
    builder.phase("decode")
    for _ in range(2):
        builder.transfer(["dram", "noc"], size_bytes=5)
        builder.transfer(["noc"], size_bytes=2)
    program = builder.build()
    labels = Labels(phases=("prefill", "decode", "other"), operations=("a", "b", "c", "d"),
                    operation_phase=np.array([0, 1, 1, 2]), operation_flop=np.array([1, 10, 100, 1000]),
                    phase_tokens=np.array([7, 2, 9]))  # fmt: skip
    tasks = replace(program.tasks, operation=np.array([0, 1, 2, 1, 2]))
    prefill, decode = release_latency(ReferenceEngine().run(replace(program, labels=labels, tasks=tasks)), 0).phases
    assert (prefill.tokens, prefill.flop, prefill.channel_bytes) == (7, 1, (3, 0))
    assert (decode.tokens, decode.flop, decode.channel_bytes) == (2, 110, (10, 14))


@dataclass(frozen=True)
class FixedPhaseBound:
    phase: int
    ticks: int
    bound_by: str


@dataclass(frozen=True)
class FixedBound:
    ticks: int
    bound_by: str
    phases: tuple[FixedPhaseBound, ...]


def test_bounds_go_to_their_phases():
    bound = FixedBound(6_000, "dram", (FixedPhaseBound(1, 1_000, "npu"),))
    latency = release_latency(ReferenceEngine().run(prefill_and_decode()), 0, bound)
    assert (latency.lower_bound_ticks, latency.bound_by) == (6_000, "dram")
    assert [(phase.lower_bound_ticks, phase.bound_by) for phase in latency.phases] == [(None, None), (1_000, "npu")]


def test_a_release_that_was_dropped_has_no_latency():
    builder = machine()
    builder.compute("npu", work_cycles=3)
    builder.stream("frames", period_ticks=1_000, releases=2, policy=DropPolicy.DROP_IF_BUSY)
    timeline = ReferenceEngine().run(builder.build())
    with pytest.raises(SpecError, match="release 1: must be completed to have a latency, got dropped"):
        release_latency(timeline, 1)
