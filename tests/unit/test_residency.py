"""Which activations stay on the chip: tensors, lives and fractions by hand, and conservation on whole models."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import load_chip, load_runtime, load_workload
from simulator.graph import Elementwise, MatMul, OperatorGraph, build_graph
from simulator.lowering import Demand, Platform, lower
from simulator.lowering.block import lower_block
from simulator.lowering.kernel import group_operators
from simulator.lowering.residency import OUTSIDE, Activation, activations_of, depth_first_bytes, resident_bytes
from simulator.precision import precision
from simulator.program import NONE, Streams
from simulator.simulation.setup import configure


def block(*, fused: bool = False) -> tuple[OperatorGraph, list[Activation]]:
    """norm (2 x 4) feeds gate and up (2 x 6), the activation joins them, down and the residual make the output."""
    graph = OperatorGraph(
        "toy",
        [
            Elementwise("norm", (), kind="norm", rows=2, width=4),
            MatMul("gate", ("gate_up",), rows=2, inputs=4, outputs=6),
            MatMul("up", ("gate_up", "gate_activation"), rows=2, inputs=4, outputs=6),
            Elementwise("activation", ("gate_activation",), kind="gated_activation", rows=2, width=6, operands=2),
            MatMul("down", (), rows=2, inputs=6, outputs=4),
            Elementwise("add", (), kind="add", rows=2, width=4, operands=2),
        ],
        [("norm", "gate"), ("norm", "up"), ("gate", "activation"), ("up", "activation"), ("activation", "down"),
         ("down", "add")],
    )  # fmt: skip
    kernels = group_operators(graph, ("gate_up", "gate_activation") if fused else ())
    return graph, activations_of(graph, kernels, element_bytes=2)


def test_every_tensor_between_kernels_is_counted_once_with_all_its_readers() -> None:
    _, tensors = block()
    assert tensors == [
        Activation(16, 0, (1, 2), is_block_output=False),  # norm, 2 x 4 of two bytes, read by gate and up
        Activation(24, 1, (3,), is_block_output=False),
        Activation(24, 2, (3,), is_block_output=False),
        Activation(24, 3, (4,), is_block_output=False),
        Activation(16, 4, (5,), is_block_output=False),
        Activation(16, 5, (), is_block_output=True),
        Activation(16, OUTSIDE, (0, 5), is_block_output=False),  # the rows that come in, also the residual
    ]


def test_a_fused_kernel_reads_a_common_input_once_and_keeps_what_is_inside() -> None:
    _, tensors = block(fused=True)
    assert tensors == [
        Activation(16, 0, (1,), is_block_output=False),
        Activation(24, 1, (2,), is_block_output=False),
        Activation(16, 2, (3,), is_block_output=False),
        Activation(16, 3, (), is_block_output=True),
        Activation(16, OUTSIDE, (0, 3), is_block_output=False),
    ]


def test_everything_stays_where_there_is_room() -> None:
    _, tensors = block()
    assert resident_bytes(tensors, 6, 1000) == [16, 24, 24, 24, 16, 16, 16]


def test_tensors_that_live_together_keep_equal_fractions() -> None:
    # live during kernels 0 to 5: 32 = norm + in, 56, 80 = norm + gate + up + in, 88 = gate + up + act + in, 56, 48.
    # In a room of 44: act, gate and up live during 88, half stays; norm during 80, 44/80; down during 56, 44/56; what
    # comes in lives through all, half stays, and what goes out is its like.
    _, tensors = block()
    assert resident_bytes(tensors, 6, 44) == [int(16 * 44 / 80), 12, 12, 12, int(16 * 44 / 56), 8, 8]


def test_depth_first_the_borders_come_first_and_pieces_take_what_they_leave() -> None:
    # The borders are the tensor that comes in (all kernels) and the one that goes out (kernel 5): 16, and 32 at the
    # end, fit into 40. What is left is 24 during kernels 0 to 4, and 8 during 5. Live inside: norm 16 (kernels 0 to 2),
    # gate 24 (1 to 3), up 24 (2, 3), activation 24 (3, 4), down 16 (4, 5): 16, 40, 64, 72, 40, 16 in kernels 0 to 5.
    _, tensors = block()
    inside = [16 * 24 / 64, 24 * 24 / 72, 24 * 24 / 72, 24 * 24 / 72, 16 * 8 / 16]
    assert depth_first_bytes(tensors, 6, 40) == [*map(int, inside), 16, 16]


def test_depth_first_what_passes_inside_a_block_never_goes_to_dram_if_its_weights_stay() -> None:
    """Three products of 512 x 512 in FP16 have 1.5 MiB of weights; 64 k rows of 512 between them are 64 MiB each."""

    def dram_bytes(room_mib: int, *, depth_first: bool) -> tuple[int, int]:
        operators = [MatMul(name, (), rows=65_536, inputs=512, outputs=512) for name in ("one", "two", "three")]
        graph = OperatorGraph("block", operators, [("one", "two"), ("two", "three")])
        chip = load_chip("hypo-decode").with_values({"sram": {}})
        split = {"activations": 0.5, "streams": 0.5}
        sram = f"clusters.{chip.accelerator}.sram"
        clusters = round(chip.cluster.count.value)
        chip = chip.with_values({f"{sram}.capacity": f"{room_mib * 2 / clusters} MiB", f"{sram}.split": split})
        runtime = load_runtime("ideal").with_values({"depth_first": depth_first})
        works = lower_block(graph, Platform(chip, runtime), precision("fp16")).works
        return sum(int(work.loaded_bytes) for work in works), sum(int(work.stored_bytes) for work in works)

    mib, weights = 2**20, 3 * 512 * 512 * 2
    # 64 MiB come in and 64 go out; in a room of 8 - 1.5 MiB these two share it while the one kernel that is both the
    # first and the last is none, so each alone keeps 6.5 of its 64
    stays = 6.5 / 64
    loaded, stored = dram_bytes(8, depth_first=True)
    assert loaded == pytest.approx(weights + 64 * mib * (1 - stays), rel=1e-3)
    assert stored == pytest.approx(64 * mib * (1 - stays), rel=1e-3)
    # kernel by kernel the two tensors inside go out and come back as well
    kernel_by_kernel = dram_bytes(8, depth_first=False)
    assert kernel_by_kernel[1] > 2.5 * stored
    # in a room of 1 MiB the weights do not stay, so there are no pieces
    assert dram_bytes(1, depth_first=True) == dram_bytes(1, depth_first=False)


def test_without_room_nothing_stays() -> None:
    _, tensors = block()
    assert resident_bytes(tensors, 6, 0) == [0] * 7


@pytest.mark.parametrize("fusions", [(), ("qkv", "gate_up", "gate_activation", "norm_residual")])
def test_what_readers_load_was_stored(fusions: tuple[str, ...]) -> None:
    """In a layer of Qwen3-4B with 2,048 rows every spilled byte that is read was written, by this layer or the last."""
    chip = load_chip("thor-t5000")
    runtime = load_runtime("tensorrt-edge-llm").with_values({"fusions": fusions})
    workload = configure(load_workload("qwen3-4b"), precision="nvfp4", prompt_tokens=2048, decode_tokens=1)
    platform = Platform(chip, runtime)
    layer = build_graph(workload).phases[0].blocks[1].graph
    kernels = group_operators(layer, runtime.fusions)
    tensors = activations_of(layer, kernels, element_bytes=2)
    kept = resident_bytes(tensors, len(kernels), sum(room for _, room in platform.activation_room))
    spilled = {tensor: tensor.size_bytes - size for tensor, size in zip(tensors, kept, strict=True)}
    (coming,) = [tensor for tensor in tensors if tensor.producer == OUTSIDE]
    (going,) = [tensor for tensor in tensors if tensor.is_block_output]
    assert spilled[coming] == spilled[going] > 0
    stored = sum(size for tensor, size in spilled.items() if tensor.producer != OUTSIDE)
    loaded_once = sum(size for tensor, size in spilled.items() if tensor.consumers)
    assert stored == loaded_once


def test_a_fusion_never_adds_traffic() -> None:
    moved = []
    for fusions in ((), ("qkv",), ("qkv", "gate_up"), ("qkv", "gate_up", "gate_activation")):
        runtime = load_runtime("ideal").with_values({"fusions": fusions})
        workload = configure(load_workload("qwen3-4b"), precision="nvfp4", prompt_tokens=3000, decode_tokens=1)
        once = np.array([0])
        streams = Streams(("once",), np.array([0, 1]), once, once, np.array([2]), np.array([NONE]), np.array([1]),
                          np.array([NONE]))  # fmt: skip
        program = lower([Demand(build_graph(workload))], Platform(load_chip("thor-t5000"), runtime), streams)
        moved.append(int(program.tasks.size_bytes.sum()))
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < moved[0]
