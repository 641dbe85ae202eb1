"""Lowering: what a Program moves and computes, checked against closed forms of the model and the chip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import simulator
from simulator import Infeasible, SpecError, load_chip, load_runtime, load_workload
from simulator.graph import build_graph
from simulator.lowering import Demand, Platform, lower
from simulator.program import NONE, Program, Streams
from simulator.simulation.setup import configure
from simulator.timeline.invariants import check_all

ONCE = Streams(
    names=("once",), release_offsets=np.array([0, 1]), release_tick=np.array([0]), release_job=np.array([0]),
    policy=np.array([2]), queue_depth=np.array([NONE]), in_flight=np.array([1]), deadline_ticks=np.array([NONE]),
)  # fmt: skip


def program(workload: str, chip: str, runtime: str, precision: str, *, prompt: int, decode: int | None) -> Program:
    configured = configure(load_workload(workload), precision=precision, prompt_tokens=prompt, decode_tokens=decode)
    platform = Platform(load_chip(chip), load_runtime(runtime))
    return lower([Demand(build_graph(configured))], platform, ONCE)


def bytes_of_phase(lowered: Program, phase: str) -> int:
    index = lowered.labels.phases.index(phase)
    operation = lowered.tasks.operation
    rows = (operation != NONE) & (lowered.labels.operation_phase[np.maximum(operation, 0)] == index)
    return int(lowered.tasks.size_bytes[rows].sum())


def test_a_decoded_token_moves_weights_head_cache_and_one_embedding_row() -> None:
    """Qwen3-0.6B in W4A16: 4-bit body with a two-byte scale per 128, 16-bit head, 16-bit keys and values."""
    lowered = program("qwen3-0.6b", "orin-agx-64gb", "tensorrt-edge-llm", "w4a16", prompt=100, decode=1)
    layers, width, query_width, kv_width, inner, vocabulary = 28, 1024, 2048, 1024, 3072, 151936
    body = layers * (2 * width * query_width + 2 * width * kv_width + 3 * width * inner)
    weights = body // 2 + body // 128 * 2
    head, embedding = 2 * vocabulary * width, 2 * width
    cache_read, cache_written = layers * 2 * kv_width * 2 * 101, layers * 2 * kv_width * 2
    assert bytes_of_phase(lowered, "decode") == weights + head + embedding + cache_read + cache_written


def test_flop_of_the_labels_are_those_of_the_graph() -> None:
    workload = load_workload("alpamayo-1.5-10b")
    platform = Platform(load_chip("thor-t5000"), load_runtime("tensorrt-edge-llm"))
    graph = build_graph(workload)
    lowered = lower([Demand(graph)], platform, ONCE)
    for index, phase in enumerate(graph.phases):
        of_phase = lowered.labels.operation_phase == index
        assert int(lowered.labels.operation_flop[of_phase].sum()) == phase.flop


def test_without_launch_costs_and_with_prefetch_decode_runs_at_the_sustained_bandwidth() -> None:
    """The ideal runtime has no fixed costs, so a token takes its bytes over the DRAM rate, and a pipeline's ends."""
    lowered = program("qwen3-4b", "thor-t5000", "ideal", "nvfp4", prompt=256, decode=4)
    result = simulator.run("thor-t5000", "qwen3-4b", runtime="ideal", precision="nvfp4", prompt_tokens=256,
                           decode_tokens=4)  # fmt: skip
    decode = result.phase("decode")
    assert decode is not None
    floor_s = bytes_of_phase(lowered, "decode") / load_chip("thor-t5000").dram.sustained_bytes_per_s
    assert floor_s <= decode.latency_ticks / 1e12 <= 1.02 * floor_s


def test_streaming_buffers_never_hold_more_than_their_half_of_the_local_sram() -> None:
    result = simulator.run("thor-t5000", "qwen3-0.6b", precision="nvfp4", prompt_tokens=256, decode_tokens=2)
    check_all(result.timeline)
    local = next(memory for memory in result.memories if memory.name == "gpu.sram")
    assert 0 < local.peak_bytes <= local.size_bytes


def test_a_longer_context_adds_only_its_cache_bytes() -> None:
    short = program("qwen3-0.6b", "thor-t5000", "tensorrt-edge-llm", "nvfp4", prompt=100, decode=1)
    longer = program("qwen3-0.6b", "thor-t5000", "tensorrt-edge-llm", "nvfp4", prompt=1100, decode=1)
    per_key = 28 * 2 * 8 * 128 * 2
    assert bytes_of_phase(longer, "decode") - bytes_of_phase(short, "decode") == 1000 * per_key


@pytest.mark.parametrize("fusion", ["qkv", "gate_up", "norm_residual", "gate_activation", "head_norm_rope_cache"])
def test_a_fusion_saves_launches_and_keeps_flop_and_weight_bytes(fusion: str) -> None:
    """All five fusions of a Qwen3 layer together: 16 operators become 7 kernels. Each saves what its group has."""
    saved = {"qkv": 2, "gate_up": 1, "norm_residual": 1, "gate_activation": 1, "head_norm_rope_cache": 2}
    plain, fused = (
        run_with_fusions(()),
        run_with_fusions((fusion,)),
    )
    assert launches(plain) - launches(fused) == 28 * saved[fusion]
    assert int(plain.labels.operation_flop.sum()) == int(fused.labels.operation_flop.sum())
    assert bytes_of_phase(plain, "decode") == bytes_of_phase(fused, "decode")


def run_with_fusions(fusions: tuple[str, ...]) -> Program:
    runtime = load_runtime("tensorrt-edge-llm").with_values({"fusions": list(fusions)})
    workload = configure(load_workload("qwen3-0.6b"), precision="nvfp4", prompt_tokens=8, decode_tokens=1)
    return lower([Demand(build_graph(workload))], Platform(load_chip("thor-t5000"), runtime), ONCE)


def launches(lowered: Program) -> int:
    decode = lowered.labels.phases.index("decode")
    operation = np.maximum(lowered.tasks.operation, 0)
    in_decode = lowered.labels.operation_phase[operation] == decode
    return int(np.sum((lowered.tasks.unit == Platform.LAUNCH) & in_decode))


def test_a_layer_has_the_kernels_and_the_fixed_time_of_the_fit() -> None:
    """[roadline-e2e-fit] gives 13 x 6.4 thousand cycles per layer; 11 kernels are launched, each with a drain of 0.4.

    Three more kernels are the embedding, the final norm and the head.
    """
    lowered = program("qwen3-4b", "thor-t5000", "tensorrt-edge-llm", "nvfp4", prompt=8, decode=1)
    assert launches(lowered) == 36 * 11 + 3
    launch_cycles = load_runtime("tensorrt-edge-llm").launch.value
    assert 11 * (launch_cycles + 400) == pytest.approx(13 * 6400, rel=0.01)


def test_a_graph_is_enqueued_once_per_step_and_eager_kernels_once_each() -> None:
    lowered = program("qwen3-0.6b", "thor-t5000", "tensorrt-edge-llm", "nvfp4", prompt=8, decode=5)
    operation = np.maximum(lowered.tasks.operation, 0)
    host = lowered.tasks.unit == Platform.HOST_UNIT
    # of the 15 kernels of a layer 4 quantise: before the projections, o, gate and up, and down
    for phase, expected in (("prefill", 28 * 15 + 3), ("decode", 5)):
        index = lowered.labels.phases.index(phase)
        assert int(np.sum(host & (lowered.labels.operation_phase[operation] == index))) == expected


def latency(overrides: Mapping[str, Any], **options: Any) -> float:
    return simulator.run("thor-t5000", "qwen3-0.6b", precision="nvfp4", prompt_tokens=64, decode_tokens=2,
                         overrides=overrides, **options).latency_s  # fmt: skip


def test_more_dram_bandwidth_never_makes_a_single_model_slower() -> None:
    latencies = [latency({"dram.rate": f"{rate} MT/s"}) for rate in (4266, 6400, 8533, 9600, 20000)]
    assert latencies == sorted(latencies, reverse=True)
    assert latencies[0] > 1.2 * latencies[2]  # the law is not kept by ignoring the bandwidth


def test_scaling_every_rate_by_two_halves_the_latency() -> None:
    doubled = {"dram.rate": "17066 MT/s", "clusters.gpu.clock": "3.15 GHz", "host.clock": "5.2 GHz"}
    slow, fast = latency({}, runtime="ideal"), latency(doubled, runtime="ideal")
    assert fast == pytest.approx(slow / 2, rel=1e-6)  # one rounding of a picosecond per task


def test_a_model_larger_than_the_dram_says_by_how_much() -> None:
    # 6,738,415,616 weights of two bytes and 640 tokens of 0.5 MiB are 13.8 GB
    with pytest.raises(Infeasible, match=r"does not fit its DRAM: needs 13\.8 GB .* has 8\.59 GB, short by 5\.22 GB"):
        simulator.run("orin-agx-64gb", "llama2-7b", precision="bf16", prompt_tokens=512, decode_tokens=128,
                      overrides={"dram.capacity": "8 GiB"})  # fmt: skip


def test_a_precision_that_the_matrix_engine_lacks_is_refused_with_what_it_has() -> None:
    with pytest.raises(SpecError, match="chip tesla-hw3 must multiply bf16 or a 16-bit format"):
        simulator.run("tesla-hw3", "qwen2.5-0.5b", runtime="ideal")


def test_a_precision_without_a_kernel_names_those_that_the_runtime_has() -> None:
    with pytest.raises(SpecError, match='runtime dataflow must have a kernel for it, got "nvfp4"'):
        simulator.run("mach-m100", "qwen3-0.6b", precision="nvfp4")


def test_int4_weights_on_a_path_without_int4_are_converted_on_the_vector_engine() -> None:
    result = simulator.run("orin-agx-64gb", "qwen3-0.6b", precision="w4a16", prompt_tokens=64, decode_tokens=1)
    causes = result.program.labels.causes
    conversion = result.program.tasks.cause == causes.index("conversion")
    assert np.all(result.program.tasks.unit[conversion] == Platform.VECTOR)
    converted = float(result.program.tasks.work_cycles[conversion].sum())
    # every body weight of prefill and decode once, 128 lanes on 16 clusters
    assert converted == pytest.approx(2 * 440_401_920 / (128 * 16), rel=1e-9)


@pytest.mark.parametrize(("precision", "body_bits"), [("bf16", 16), ("nvfp4", 4.5)])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_dram_holds_body_table_and_a_cache_per_frame(precision: str, body_bits: float, in_flight: int) -> None:
    """Qwen3-0.6B: the tied head is the embedding table, in 16 bits; each frame in flight has a cache of its own."""
    workload = configure(load_workload("qwen3-0.6b"), precision=precision, prompt_tokens=8, decode_tokens=1)
    chip = load_chip("thor-t5000").with_values({"dram.capacity": "1 MB"})
    demand = Demand(build_graph(workload), in_flight=in_flight)
    with pytest.raises(Infeasible) as error:
        lower([demand], Platform(chip, load_runtime("tensorrt-edge-llm")), ONCE)
    body, table, cache = 440_401_920 * body_bits / 8, 151936 * 1024 * 2, 9 * 28 * 2 * 8 * 128 * 2
    assert error.value.demand == body + table + in_flight * cache


@pytest.mark.parametrize("runtime", ["tensorrt-edge-llm", "ideal"])
def test_every_task_is_waited_for_until_the_anchors_at_the_end(runtime: str) -> None:
    """A piece of a kernel that nothing waits for could end after its kernel; so only the last anchors are loose."""
    lowered = program("pi0.5", "thor-t5000", runtime, "bf16", prompt=8, decode=None)
    offsets, _ = lowered.tasks.successors
    loose = np.flatnonzero(np.diff(offsets) == 0)
    num_anchors = load_runtime(runtime).weight_buffers + 3
    assert loose.tolist() == list(range(len(lowered.tasks) - num_anchors, len(lowered.tasks)))
