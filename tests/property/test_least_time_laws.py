"""The least time of a phase: never above what an engine finds, close to it, and for many models what it is for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import load_chip, load_runtime, load_workload
from simulator.catalog import load_memory
from simulator.catalog.files import built_in_folder
from simulator.chip import Chip
from simulator.engine.reference import ReferenceEngine
from simulator.graph import PhaseGraph, WorkloadGraph, build_graph
from simulator.graph.decoder import decoder_graphs
from simulator.lowering import Demand, Platform, lower
from simulator.lowering.block import LoweredBlock, lower_block
from simulator.lowering.kernel_work import KernelWork
from simulator.lowering.least_time import BlockTime, block_time, least_phase_ticks
from simulator.metrics.latency import release_latency
from simulator.precision import precision
from simulator.simulation.setup import configure
from simulator.workload import Workload
from simulator.workload.phases import ActionPhase, VisionPhase
from tests.property.test_lowering_laws import ONCE, Case, cases
from tests.property.test_variants import Space, spaces
from tests.unit.test_emit import NS, chip, kernel, number, program, runtime

SOME = settings(max_examples=60, deadline=None)


# kernels -------------------------------------------------------------------------------------------------------------


def least_of(steps: Sequence[Sequence[KernelWork]], platform: Platform, *, replays: bool = False) -> float:
    """The least time of equal steps."""
    block = block_time(LoweredBlock(tuple(steps[0]), (), ()), platform)
    (ticks,) = least_phase_ticks([(block, 1)], len(steps), platform, replays_graph=replays)
    return float(ticks)


def found_of(steps: Sequence[Sequence[KernelWork]], platform: Platform, *, replays: bool = False) -> int:
    """What the engine finds for them."""
    return ReferenceEngine().run(program(platform, steps, replays=replays)).horizon_tick


def capped(rate_cap: str | None, sram: str = "100 kB", **changes: Any) -> Chip:
    """The chip of 1 GB/s and 1 GHz, with a port that lets a single transfer have no more than so much."""
    masters = {"cpu": {}, "npu": {} if rate_cap is None else {"rate_cap": number(rate_cap)}}
    return chip(sram=sram, masters=masters, **changes)


PORT = {"bandwidth": number("1.2 GB/s"), "sustained_fraction": number(1)}

# Bursts of 16 B in 8 ns, and 28.75 ns to turn: with a drain of 4 bursts a written byte takes 1.9 times a read one.
TURNING = {
    "type": "test", "width_bits": number(16), "rate": number("1 GT/s"), "capacity": number("1 GB"),
    "sustained_fraction": number(0.5), "drain_bursts": number(4),
    "device": load_memory("lpddr5-6400").model_copy(update={"burst_length": 8}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("work", "software", "expected"),
    [
        # each after 2 us of the host and a launch of 5 us; 100,000 bytes are four pieces of 25 us
        ({"weight_bytes": 100_000, "matrix_cycles": 40_000}, {}, 7000 + 100_000 + 10_000),
        ({"weight_bytes": 100_000, "matrix_cycles": 160_000}, {}, 7000 + 25_000 + 160_000),
        (
            {"weight_bytes": 100_000, "conversion_cycles": 100_000, "vector_cycles": 100_000},
            {},
            7000 + 25_000 + 200_000,
        ),
        # work in four pieces of 250 ns each, and what leaves after the first
        ({"vector_cycles": 1000, "spilled_output_bytes": 100_000}, {}, 7000 + 250 + 100_000),
        # the last of four pieces is stored after its work
        ({"vector_cycles": 200_000, "spilled_output_bytes": 100_000}, {}, 7000 + 200_000 + 25_000),
        # loads and stores share the DRAM, which is never idle
        ({"cache_read_bytes": 50_000, "cache_write_bytes": 50_000}, {}, 7000 + 100_000),
        # one buffer of 50,000 bytes: two pieces, loaded and worked on in turn
        ({"weight_bytes": 100_000, "matrix_cycles": 40_000}, {"buffers": 1}, 7000 + 2 * (50_000 + 20_000)),
        # three buffers: six pieces of 15 us
        ({"weight_bytes": 90_000, "matrix_cycles": 120_000}, {"buffers": 3}, 7000 + 15_000 + 120_000),
        # prefetched loads begin at once and hide the launch, unless what is loaded is known only then
        ({"weight_bytes": 100_000}, {"prefetch": True}, 100_000),
        ({"late_bytes": 100_000}, {"prefetch": True}, 7000 + 100_000),
        ({}, {}, 7000),
    ],
)
def test_the_least_time_of_a_kernel_by_hand_is_what_it_takes(
    work: dict[str, int], software: dict[str, Any], expected: int
) -> None:
    steps, platform = [[kernel(**work)]], Platform(chip(), runtime(**software))
    assert found_of(steps, platform) == expected * NS
    assert least_of(steps, platform) == pytest.approx(expected * NS, rel=1e-6)
    assert least_of(steps, platform) <= expected * NS


@pytest.mark.parametrize(
    ("enqueue", "replays", "num_steps", "expected"),
    [
        # three launches of 5 us each, on the host 20 us or 2 us before
        ("40 kcycles", False, 1, 3 * 20_000 + 5000),
        ("40 kcycles", False, 2, 2 * (3 * 20_000 + 5000)),
        ("40 kcycles", True, 1, 20_000 + 3 * 5000),
        ("40 kcycles", True, 2, 2 * (20_000 + 3 * 5000)),
        ("4 kcycles", False, 1, 2000 + 3 * 5000),
    ],
)
def test_the_least_time_of_kernels_that_wait_for_the_host_by_hand(
    enqueue: str, replays: bool, num_steps: int, expected: int
) -> None:
    steps, platform = [[kernel("a"), kernel("b"), kernel("c")]] * num_steps, Platform(chip(), runtime(enqueue=enqueue))
    assert found_of(steps, platform, replays=replays) == expected * NS
    assert least_of(steps, platform, replays=replays) == pytest.approx(expected * NS, rel=1e-6)


def test_the_host_may_be_the_limit_of_a_part_of_a_step_only() -> None:
    # enqueued at 20, 40 and 60 us; a takes 5 + 80 us from 20 us on, b and c 5 us each after it
    long, short = kernel("a", matrix_cycles=80_000), [kernel("b"), kernel("c")]
    platform = Platform(chip(), runtime(enqueue="40 kcycles"))
    for kernels, expected in (([long, *short], 20_000 + 85_000 + 10_000), ([*short, long], 60_000 + 85_000)):
        assert found_of([kernels], platform) == expected * NS
        assert least_of([kernels], platform) == pytest.approx(expected * NS, rel=1e-6)


def test_kernels_of_a_repeated_block_are_enqueued_as_if_each_were_listed() -> None:
    # six kernels: the last is enqueued at 120 us and launched in 5 us
    block, platform = [kernel("a"), kernel("b")], Platform(chip(), runtime(enqueue="40 kcycles"))
    time = block_time(LoweredBlock(tuple(block), (), ()), platform)
    (least,) = least_phase_ticks([(time, 3)], 1, platform, replays_graph=False)
    assert found_of([block * 3], platform) == 125_000 * NS
    assert float(least) == pytest.approx(125_000 * NS, rel=1e-6)


def test_loads_and_stores_that_are_capped_one_by_one_may_still_run_side_by_side() -> None:
    # half the DRAM each: four loads of 25 us, and four stores of 25 us that begin after the first load
    steps = [[kernel(cache_read_bytes=50_000, cache_write_bytes=50_000)]]
    platform = Platform(capped("0.5 GB/s"), runtime())
    assert found_of(steps, platform) == (7000 + 5 * 25_000) * NS
    assert least_of(steps, platform) <= found_of(steps, platform)


@pytest.mark.parametrize("late_bytes", [0, 2])
def test_pieces_that_load_nothing_need_no_buffer(late_bytes: int) -> None:
    """With one buffer, too, the engines work on different pieces at the same time, if there is nothing to wait for."""
    work = kernel(matrix_cycles=400_000, vector_cycles=400_000, spilled_output_bytes=200_000, late_bytes=late_bytes)
    platform = Platform(chip(), runtime(buffers=1))
    assert found_of([[work]], platform) < 800_000 * NS
    assert least_of([[work]], platform) <= found_of([[work]], platform)


def test_pieces_that_load_nothing_do_not_wait_for_the_first_load() -> None:
    # one of four pieces loads a byte for 1 ns; the others, of 0.75 ns on each engine, begin meanwhile
    work = kernel(weight_bytes=1, matrix_cycles=3, vector_cycles=3)
    platform = Platform(chip(), runtime(launch="0 cycles", enqueue="0 cycles"))
    assert found_of([[work]], platform) == 3.75 * NS
    assert least_of([[work]], platform) <= 3.75 * NS


def test_stores_that_cost_more_than_loads_are_bounded_by_hand() -> None:
    # 1 GB/s; work in four pieces of 250 ns, then 100,000 B written at 1 + 28.75 / 32 ns each
    work, platform = kernel(vector_cycles=1000, spilled_output_bytes=100_000), Platform(chip(dram=TURNING), runtime())
    expected_ns = 7000 + 250 + 100_000 * (1 + 28.75 / 32)
    assert found_of([[work]], platform) == pytest.approx(expected_ns * NS, abs=8)  # every piece ends on a tick
    assert least_of([[work]], platform) == pytest.approx(expected_ns * NS, rel=1e-6)
    # loads and stores share the channel: 50,000 B at 1 ns and 50,000 B at 1.9 ns
    work = kernel(cache_read_bytes=50_000, cache_write_bytes=50_000)
    expected_ns = 7000 + 50_000 * (2 + 28.75 / 32)
    assert found_of([[work]], platform) == pytest.approx(expected_ns * NS, abs=8)  # every piece ends on a tick
    assert least_of([[work]], platform) == pytest.approx(expected_ns * NS, rel=1e-6)


@st.composite
def kernels(draw: st.DrawFn) -> KernelWork:
    """A kernel in which anything may be nothing."""
    amount = st.sampled_from([0, 0, 3, 1000, 70_000, 400_000]) | st.integers(0, 300_000)
    load = draw(st.sampled_from(["weight_bytes", "late_bytes", "cache_read_bytes", "spilled_input_bytes"]))
    more = draw(st.sampled_from(["weight_bytes", "late_bytes"]))
    store = draw(st.sampled_from(["cache_write_bytes", "spilled_output_bytes"]))
    names = [more, load, store, "conversion_cycles", "matrix_cycles", "vector_cycles"]
    return kernel(**{name: draw(amount) for name in names})


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    """That chip with small and large buffers, with and without launch costs, prefetch and a cap."""
    hardware = capped(
        draw(st.sampled_from([None, None, "0.6 GB/s"])), draw(st.sampled_from(["100 kB", "1 kB", "20 B"])),
        **draw(st.sampled_from([{}, {"dram": TURNING}])), noc=draw(st.sampled_from([None, None, PORT])),
    )  # fmt: skip
    software = runtime(
        launch=draw(st.sampled_from(["0 cycles", "5 kcycles"])), prefetch=draw(st.booleans()),
        enqueue=draw(st.sampled_from(["0 cycles", "4 kcycles", "400 kcycles"])), buffers=draw(st.integers(1, 4)),
    )  # fmt: skip
    return Platform(hardware, software)


@settings(max_examples=300, deadline=None)
@given(st.lists(kernels(), min_size=1, max_size=3), st.integers(1, 2), platforms(), st.booleans())
def test_no_kernels_are_quicker_than_their_least_time(
    listed: list[KernelWork], num_steps: int, platform: Platform, replays: bool
) -> None:
    steps = [listed] * num_steps
    assert least_of(steps, platform, replays=replays) <= found_of(steps, platform, replays=replays)


# phases --------------------------------------------------------------------------------------------------------------


def block_times(phase: PhaseGraph, platform: Platform) -> list[tuple[BlockTime, int]]:
    """The blocks of a phase with their repetitions."""
    body = precision(phase.precision)
    return [(block_time(lower_block(block.graph, platform, body), platform), block.repeats) for block in phase.blocks]


def shares_of(graph: WorkloadGraph, platform: Platform) -> dict[str, float]:
    """The least time of every phase as a fraction of what the engine finds."""
    latency = release_latency(ReferenceEngine().run(lower([Demand(graph)], platform, ONCE)), 0)
    shares = {}
    for phase, found in zip(graph.phases, latency.phases, strict=True):
        replays = phase.kind in platform.runtime.graph_phases
        (least,) = least_phase_ticks(block_times(phase, platform), phase.num_steps, platform, replays_graph=replays)
        shares[phase.name] = float(least) / found.latency_ticks
    return shares


@st.composite
def workloads(draw: st.DrawFn, case: Case) -> Workload:
    """The decoder of a case, about half the time with experts, and with a sliding window."""
    experts = draw(st.sampled_from([1, 1, 2, 8]))
    changes = {
        "experts": experts, "top_k": draw(st.integers(1, experts)),
        "shared_experts": draw(st.integers(0, 2)) if experts > 1 else 0,
        "attention_window": draw(st.sampled_from([None, 1, 20])),
    }  # fmt: skip
    assert case.workload.decoder is not None
    return case.workload.model_copy(update={"decoder": case.workload.decoder.model_copy(update=changes)})


@SOME
@given(cases(), st.data(), st.sampled_from([None, None, "ideal", "dataflow", "tensorrt-edge-llm"]))
def test_no_phase_of_a_decoder_is_quicker_than_its_least_time(
    case: Case, data: st.DataObject, software: str | None
) -> None:
    """On its random runtime, replayed and eager, with and without prefetch, and on those of the catalogue."""
    platform = case.platform if software is None else replace(case.platform, runtime=load_runtime(software))
    shares = shares_of(build_graph(data.draw(workloads(case))), platform)
    assert list(shares) == ["prefill", "decode"]
    assert all(0 < share <= 1 for share in shares.values()), shares


@dataclass(frozen=True)
class Run:
    """A workload on one of its usual chips, with few tokens, one image and two integration steps."""

    workload: str
    chip: str
    precision: str | Mapping[str, str] | None
    prompt: int
    decode: int | None
    runtime: str = "tensorrt-edge-llm"
    tightness: float = 0.99
    """The least time is at least this fraction of what the engine finds."""

    @property
    def graph(self) -> WorkloadGraph:
        workload = load_workload(self.workload)
        phases = {phase.name for phase in workload.pipeline}
        workload = configure(
            workload, precision=self.precision, prompt_tokens=self.prompt if "prefill" in phases else None,
            decode_tokens=self.decode if "decode" in phases else None,
        )  # fmt: skip
        fewer = {VisionPhase: {"images": 1}, ActionPhase: {"steps": 2}}
        pipeline = tuple(phase.model_copy(update=fewer.get(type(phase), {})) for phase in workload.pipeline)
        graph = build_graph(workload.model_copy(update={"pipeline": pipeline}))
        return replace(graph, trace=None)  # the least time is that of the expected number of experts


RUNS = [
    Run("qwen2.5-0.5b", "orin-agx-64gb", "w4a16", 64, 2),
    Run("qwen3-0.6b", "orin-x", "fp16", 300, 2),
    Run("qwen3-1.7b", "thor-t5000", "nvfp4", 64, 2),
    Run("qwen3-4b", "orin-agx-64gb", "w4a16", 512, 1),
    Run("qwen2.5-7b", "orin-agx-64gb", "w4a16", 64, 1),
    Run("llama3.2-3b", "thor-t5000", "nvfp4", 64, 2),
    Run("olmoe-1b-7b", "thor-t5000", "nvfp4", 64, 2),
    Run("qwen3-30b-a3b", "thor-t5000", "nvfp4", 64, 1),
    Run("mixtral-8x7b", "thor-t5000", "nvfp4", 64, 1),
    Run("qwen1.5-moe-a2.7b", "thor-t5000", "nvfp4", 64, 1),
    Run("deepseek-v2-lite", "thor-t5000", "nvfp4", 64, 2),
    Run("gpt-oss-20b", "thor-t5000", "nvfp4", 300, 1),
    Run("qwen3-next-80b-a3b", "thor-t5000", "nvfp4", 100, 1),
    # experts that are fetched early may have come by the time they are wanted
    Run("olmoe-1b-7b", "hypo-moe", "nvfp4", 64, 2, tightness=0.85),
    Run("llama2-7b", "thor-u", "w4a16", 64, 1),
    Run("alpamayo-1.5-10b", "thor-t5000", None, 64, 1),
    Run("pi0.5", "thor-t5000", {"vision": "fp8", "prefill": "fp8", "action": "fp8"}, 64, None),
    Run("llama2-7b", "mach-m100", "w8a8", 64, 1, runtime="dataflow"),
    # everything that can overlap does, also across kernels, which the least time does not see
    Run("qwen3-4b", "thor-t5000", "nvfp4", 64, 2, runtime="ideal", tightness=0.9),
    Run("qwen2.5-0.5b", "tesla-hw3", "w8a8", 64, 2, runtime="ideal", tightness=0.9),
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.workload} on {run.chip}")
def test_the_catalogue_is_never_quicker_than_its_least_time_and_close_to_it(run: Run) -> None:
    shares = shares_of(run.graph, Platform(load_chip(run.chip), load_runtime(run.runtime)))
    assert all(run.tightness <= share <= 1 for share in shares.values()), shares


OTHERS = sorted({path.stem for path in built_in_folder().glob("workloads/*.yaml")} - {run.workload for run in RUNS})


@pytest.mark.parametrize("workload", OTHERS)
def test_no_other_workload_of_the_catalogue_is_quicker_than_its_least_time(workload: str) -> None:
    """On a chip that multiplies every format, with memory for all of them, and software that overlaps what it can."""
    run = Run(workload, "b200-sxm", None, 64, 1, runtime="ideal")
    shares = shares_of(run.graph, Platform(load_chip(run.chip), load_runtime(run.runtime)))
    assert all(share <= 1 for share in shares.values()), shares


# many models at once -------------------------------------------------------------------------------------------------


@SOME
@given(spaces(), cases(), st.booleans(), st.data())
def test_the_least_times_of_many_decoders_are_those_of_each(
    space: Space, case: Case, replays: bool, data: st.DataObject
) -> None:
    """Models of one kind may differ in layers; several models may be of one kind, and in any order."""
    platform, body, num_steps = case.platform, precision(case.precision), space.shape[1]
    models = data.draw(
        st.lists(st.tuples(st.integers(0, space.num_kinds - 1), st.integers(1, 30)), min_size=1, max_size=5)
    )
    kind, layers = (np.array(column) for column in zip(*models, strict=True))
    together = [block_time(lower_block(graph, platform, body), platform, space.num_kinds) for graph in space.graphs()]
    blocks = list(zip(together, (1, layers, 1), strict=True))
    least = least_phase_ticks(blocks, num_steps, platform, replays_graph=replays, kind=kind)
    for found, (own_kind, own_layers) in zip(least.tolist(), models, strict=True):
        graphs = decoder_graphs(space.sizes.at(own_kind), rows=space.rows, contexts=space.contexts)
        alone = [block_time(lower_block(graph, platform, body), platform) for graph in graphs]
        own_blocks = list(zip(alone, (1, own_layers, 1), strict=True))
        (expected,) = least_phase_ticks(own_blocks, num_steps, platform, replays_graph=replays)
        assert found == pytest.approx(float(expected), rel=1e-12)
