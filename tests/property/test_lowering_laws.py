"""Small random decoders on small random chips and runtimes: what lowering promises whatever the sizes are.

The closed forms count one kernel per operator (no fusions), from the shapes alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.chip import Chip
from simulator.engine.bound import lower_bound
from simulator.engine.reference import ReferenceEngine
from simulator.graph import build_graph
from simulator.lowering import Demand, Platform, lower
from simulator.metrics.latency import release_latency
from simulator.precision import precision
from simulator.program import NONE, Program, Streams
from simulator.runtime import Runtime
from simulator.timeline import Timeline
from simulator.timeline.invariants import check_all
from simulator.workload import Workload

FEW = settings(max_examples=25, deadline=None)
ONCE = Streams(
    names=("once",), release_offsets=np.array([0, 1]), release_tick=np.array([0]), release_job=np.array([0]),
    policy=np.array([2]), queue_depth=np.array([NONE]), in_flight=np.array([1]), deadline_ticks=np.array([NONE]),
)  # fmt: skip
FUSIONS = ("norm_residual", "head_norm_rope_cache", "gate_activation", "qkv", "gate_up")


def number(value: object) -> dict[str, object]:
    return {"value": value, "source": "test", "status": "assumed"}


@dataclass(frozen=True)
class Case:
    """A decoder with a prompt and decoded tokens, a chip and a runtime, as plain numbers."""

    layers: int
    hidden: int
    kv_heads: int
    group: int
    head_dim: int
    ffn_width: int
    vocabulary: int
    has_bias: bool
    has_head_norm: bool
    prompt: int
    decode: int
    clusters: int
    clock_mhz: int
    macs: int
    tile_rows: int
    lanes: int
    dram_mb_per_s: int
    sram_bytes: int
    shared_bytes: int
    launch_cycles: int
    enqueue_cycles: int
    graph_phases: tuple[str, ...]
    prefetches: bool
    buffers: int
    fusions: tuple[str, ...]
    precision: str
    splits_depth: bool
    quantises: str
    converts_weights: str

    @property
    def workload(self) -> Workload:
        heads = self.kv_heads * self.group
        return Workload.model_validate(
            {
                "name": "random", "title": "Random", "pipeline_source": "test", "pipeline_status": "assumed",
                "decoder": {
                    "layers": self.layers, "hidden": self.hidden, "heads": heads, "kv_heads": self.kv_heads,
                    "head_dim": self.head_dim, "ffn_width": self.ffn_width, "ffn": "swiglu",
                    "vocabulary": self.vocabulary, "tied_head": True, "qkv_bias": self.has_bias,
                    "head_norm": self.has_head_norm, "source": "test", "status": "assumed",
                },
                "pipeline": [
                    {"phase": "prefill", "tokens": self.prompt, "precision": self.precision},
                    {"phase": "decode", "tokens": self.decode, "precision": self.precision},
                ],
            }
        )  # fmt: skip

    @property
    def platform(self) -> Platform:
        path = {"macs_per_cycle": {"fp16": number(self.macs), "int8": number(2 * self.macs)}, "tile_m": number(4),
                "tile_n": number(8), "tile_k": number(4)}  # fmt: skip
        cluster = {
            "count": number(self.clusters), "clock": number(f"{self.clock_mhz} MHz"), "matrix": {"native": path},
            "vector": {"lanes": number(self.lanes), "special_per_cycle": number(2)},
            "sram": {"capacity": number(f"{self.sram_bytes} B"), "port": number("16 B/cycle")},
        }  # fmt: skip
        chip = {
            "name": "random", "title": "Random", "process": "paper", "usual_runtime": "random", "accelerator": "npu",
            "clusters": {"npu": cluster},
            "sram": {"l2": {"capacity": number(f"{self.shared_bytes} B")}} if self.shared_bytes else {},
            "dram": {"type": "test", "width_bits": number(8), "rate": number(f"{2 * self.dram_mb_per_s} MT/s"),
                     "capacity": number("1 GB"), "sustained_fraction": number(0.5)},
            "masters": {"npu": {}}, "host": {"clock": number("1 GHz")},
        }  # fmt: skip
        kernel = {"path": "native", "achieved_fraction": number(0.5), "tile_rows": number(self.tile_rows),
                  "quantises": self.quantises, "converts_weights": self.converts_weights,
                  "splits_depth": self.splits_depth, "least_tile_rows": number(1)}  # fmt: skip
        attention = {"path": "native", "achieved_fraction": number(0.5)}
        runtime = {
            "name": "random", "title": "Random", "launch": number(f"{self.launch_cycles} cycles"),
            "enqueue": number(f"{self.enqueue_cycles} cycles"), "graph_phases": self.graph_phases,
            "prefetches_weights": self.prefetches, "weight_buffers": self.buffers, "fusions": self.fusions,
            "kernels": {"fp16": {**kernel, "dtype": "fp16"}, "w8a8": {**kernel, "dtype": "int8"},
                        "w4a16": {**kernel, "dtype": "fp16"}},
            "causal_attention": attention, "full_attention": attention, "head_precision": "fp16",
            "kv_precision": "fp16",
        }  # fmt: skip
        return Platform(Chip.model_validate(chip), Runtime.model_validate(runtime))

    def lowered(self) -> Program:
        return lower([Demand(build_graph(self.workload))], self.platform, ONCE)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    whole = st.integers
    return Case(
        layers=draw(whole(1, 3)), hidden=draw(whole(1, 12)) * 16, kv_heads=draw(whole(1, 3)), group=draw(whole(1, 3)),
        head_dim=draw(whole(1, 4)) * 8, ffn_width=draw(whole(1, 20)) * 16, vocabulary=draw(whole(2, 400)),
        has_bias=draw(st.booleans()), has_head_norm=draw(st.booleans()), prompt=draw(whole(1, 80)),
        decode=draw(whole(1, 3)), clusters=draw(whole(1, 5)), clock_mhz=draw(st.sampled_from([500, 1000, 1900])),
        macs=draw(st.sampled_from([4, 64, 1024])), tile_rows=draw(st.sampled_from([1, 16])),
        lanes=draw(st.sampled_from([1, 16, 64])), dram_mb_per_s=draw(st.sampled_from([300, 2000, 40_000])),
        sram_bytes=draw(st.sampled_from([64, 3000, 20_000, 1_000_000])),
        shared_bytes=draw(st.sampled_from([0, 0, 5000, 10_000_000])),
        launch_cycles=draw(st.sampled_from([0, 100, 6000])), enqueue_cycles=draw(st.sampled_from([0, 300, 20_000])),
        graph_phases=draw(st.sampled_from([(), ("decode",), ("prefill", "decode")])), prefetches=draw(st.booleans()),
        buffers=draw(whole(1, 4)), fusions=draw(st.sampled_from([(), FUSIONS, FUSIONS[:2]])),
        precision=draw(st.sampled_from(["fp16", "w8a8", "w4a16"])), splits_depth=draw(st.booleans()),
        quantises=draw(st.sampled_from(["inside", "before", "before_each"])),
        converts_weights=draw(st.sampled_from(["per_load", "per_row_tile"])),
    )  # fmt: skip


def run(program: Program) -> Timeline:
    return ReferenceEngine().run(program)


def latency_ticks(case: Case) -> int:
    return run(case.lowered()).horizon_tick


def phase_of_tasks(program: Program) -> np.ndarray[Any, np.dtype[np.int64]]:
    assert np.all(program.tasks.operation != NONE)  # every task, milestones too, belongs to a phase
    return program.labels.operation_phase[program.tasks.operation]


# bytes ---------------------------------------------------------------------------------------------------------------


def step_bytes(case: Case, rows: int, cached_keys: int) -> int:
    """Weights, head, embedding rows and cache of one pass of `rows` tokens."""
    hidden, inner = case.hidden, case.ffn_width
    query, kv = case.kv_heads * case.group * case.head_dim, case.kv_heads * case.head_dim
    body = precision(case.precision)
    shapes = [(query, hidden), (kv, hidden), (kv, hidden), (hidden, query), (inner, hidden), (inner, hidden),
              (hidden, inner)]  # fmt: skip
    layer = sum(body.matrix_bytes(outputs, inputs) for outputs, inputs in shapes)
    layer += 2 * (query + 2 * kv) * case.has_bias
    layer += 2 * kv * 2 * (rows + cached_keys)  # keys and values: written by these rows, read from the cache
    return case.layers * layer + 2 * case.vocabulary * hidden + 2 * rows * hidden


@FEW
@given(cases())
def test_a_program_moves_exactly_the_bytes_of_the_closed_form(case: Case) -> None:
    """With room for all activations to the byte; with less room more, and what is more is called activations."""
    prefill = step_bytes(case, case.prompt, 0)
    decode = sum(step_bytes(case, 1, case.prompt + token) for token in range(1, case.decode + 1))
    for roomy in (True, False):
        program = (replace(case, shared_bytes=10**9) if roomy else case).lowered()
        phase = phase_of_tasks(program)
        moved = [int(program.tasks.size_bytes[phase == index].sum()) for index in (0, 1)]
        if roomy:
            assert moved == [prefill, decode]
            assert not np.any(program.tasks.cause == program.labels.causes.index("activations"))
        else:
            assert moved[0] >= prefill
            assert moved[1] >= decode


@FEW
@given(cases())
def test_a_fusion_never_changes_weights_cache_or_flop(case: Case) -> None:
    case = replace(case, shared_bytes=10**8, prompt=8)  # room for all activations
    plain, fused = (replace(case, fusions=fusions).lowered() for fusions in ((), FUSIONS))
    assert int(plain.tasks.size_bytes.sum()) == int(fused.tasks.size_bytes.sum())
    assert int(plain.labels.operation_flop.sum()) == int(fused.labels.operation_flop.sum())


# order ---------------------------------------------------------------------------------------------------------------


@FEW
@given(cases())
def test_a_phase_begins_when_everything_of_the_phase_before_has_ended(case: Case) -> None:
    program = case.lowered()
    timeline = run(program)
    phase = phase_of_tasks(program)[timeline.task]
    assert timeline.start_tick[phase == 1].min() >= timeline.end_tick[phase == 0].max()


@FEW
@given(cases(), st.integers(1, 4))
def test_every_run_obeys_every_law_and_no_memory_overflows_however_small_it_is(case: Case, tenants: int) -> None:
    assume(case.clusters * case.sram_bytes // 2 // case.buffers >= tenants)
    platform = replace(case.platform, tenants=tenants)
    check_all(run(lower([Demand(build_graph(case.workload))], platform, ONCE)))


@FEW
@given(cases())
def test_tenants_that_run_together_share_the_memories_without_overflow(case: Case) -> None:
    demands = [Demand(build_graph(case.workload)), Demand(build_graph(case.workload), priority=1)]
    both = Streams(
        names=("one", "two"), release_offsets=np.array([0, 1, 2]), release_tick=np.array([0, 1000]),
        release_job=np.array([0, 1]), policy=np.array([2, 2]), queue_depth=np.full(2, NONE),
        in_flight=np.array([1, 1]), deadline_ticks=np.full(2, NONE),
    )  # fmt: skip
    check_all(run(lower(demands, replace(case.platform, tenants=2), both)))


@FEW
@given(cases())
def test_tasks_say_which_layer_step_and_priority_they_have(case: Case) -> None:
    """Each decoded token is a step and each repetition of the layer a layer; a phase of one step has no steps."""
    demands = [Demand(build_graph(case.workload), priority=5), Demand(build_graph(case.workload), priority=2)]
    program = lower(demands, case.platform, replace(ONCE, release_job=np.array([1])))
    for job, priority in ((0, 5), (1, 2)):
        rows = slice(int(program.job_offsets[job]), int(program.job_offsets[job + 1]))
        assert set(program.tasks.priority[rows].tolist()) == {priority}
        layers, steps = (set(column[rows].tolist()) for column in (program.tasks.layer, program.tasks.step))
        assert layers == {NONE, *range(case.layers)}
        assert steps == {NONE, *(range(case.decode) if case.decode > 1 else ())}
    is_decode = np.array([name == "decode" for name in program.labels.phases])[phase_of_tasks(program)]
    assert np.all((program.tasks.step != NONE) == (is_decode & (case.decode > 1)))


# time ----------------------------------------------------------------------------------------------------------------


@FEW
@given(cases())
def test_no_run_beats_its_bound_and_every_phase_has_one(case: Case) -> None:
    program = case.lowered()
    bound = lower_bound(program, 0)
    latency = release_latency(run(program), 0, bound)
    assert 0 < bound.ticks <= latency.latency_ticks
    assert [part.phase for part in bound.phases] == [0, 1]
    for part, phase in zip(bound.phases, latency.phases, strict=True):
        assert 0 < part.ticks <= phase.latency_ticks
    # at least the bytes over the DRAM, whatever overlaps
    rate = case.dram_mb_per_s * 1e6
    assert bound.ticks >= int(program.tasks.size_bytes.sum()) / rate * 1e12 - len(program.tasks)


@FEW
@given(cases(), st.sampled_from([2, 3]))
def test_more_dram_bandwidth_never_makes_a_single_job_slower(case: Case, factor: int) -> None:
    faster = replace(case, dram_mb_per_s=case.dram_mb_per_s * factor)
    assert latency_ticks(faster) <= latency_ticks(case) + len(case.lowered().tasks)  # a tick of rounding per task


@FEW
@given(cases(), st.sampled_from([2, 3]))
def test_a_higher_clock_never_makes_a_single_job_slower(case: Case, factor: int) -> None:
    faster = replace(case, clock_mhz=case.clock_mhz * factor)
    assert latency_ticks(faster) <= latency_ticks(case) + len(case.lowered().tasks)


@FEW
@given(cases(), st.sampled_from([100, 10_000]))
def test_a_launch_cost_adds_at_most_itself_per_kernel(case: Case, cycles: int) -> None:
    free, paid = (replace(case, launch_cycles=launch) for launch in (0, cycles))
    kernels = int(np.sum(paid.lowered().tasks.unit == Platform.LAUNCH))
    assert int(np.sum(free.lowered().tasks.unit == Platform.LAUNCH)) == 0
    cost_ticks = kernels * (cycles * 10**6 // case.clock_mhz + 1)
    assert latency_ticks(free) <= latency_ticks(paid) <= latency_ticks(free) + cost_ticks + len(free.lowered().tasks)


@FEW
@given(cases())
def test_a_prefetch_costs_at_most_the_bandwidth_that_it_takes_from_stores(case: Case) -> None:
    """A load that is not urgent shares the DRAM with a store that is: at half its rate, a store takes twice as long."""
    with_prefetch, without = (replace(case, prefetches=prefetches) for prefetches in (True, False))
    program = with_prefetch.lowered()
    is_activation = program.tasks.cause == program.labels.causes.index("activations")
    cache_bytes = case.layers * 2 * case.kv_heads * case.head_dim * 2 * (case.prompt + case.decode)
    stored_bytes = int(program.tasks.size_bytes[is_activation].sum()) + cache_bytes
    slack_ticks = stored_bytes / (case.dram_mb_per_s * 1e6) * 1e12 + len(program.tasks)
    assert latency_ticks(with_prefetch) <= latency_ticks(without) + slack_ticks


@FEW
@given(cases())
def test_scaling_all_rates_by_two_halves_the_latency(case: Case) -> None:
    """The clock of the host is not doubled, so it must cost nothing; then every time is a number of cycles or bytes."""
    slow = replace(case, enqueue_cycles=0)
    fast = replace(slow, clock_mhz=2 * slow.clock_mhz, dram_mb_per_s=2 * slow.dram_mb_per_s)
    assert abs(2 * latency_ticks(fast) - latency_ticks(slow)) <= 2 * len(slow.lowered().tasks)
