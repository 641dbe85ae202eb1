"""Conversion, quantisation and tiles of kernels: what they cost, by hand, and which kernels they add."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.chip import Chip
from simulator.graph import CacheWrite, Elementwise, MatMul, OperatorGraph
from simulator.graph.operator import Attention
from simulator.lowering import Platform
from simulator.lowering.block import lower_block
from simulator.lowering.kernel import kernel_work
from simulator.lowering.kernel_work import KernelWork
from simulator.lowering.quantise import with_quantisation
from simulator.precision import precision
from simulator.runtime import Runtime

ROWS, INPUTS, OUTPUTS = 40, 32, 64


def number(value: object) -> dict[str, object]:
    return {"value": value, "source": "test", "status": "assumed"}


def platform(
    *, converts_in_path: tuple[str, ...] = (), kv: str = "fp16", clusters: int = 1, lanes: float = 2, **kernel: Any
) -> Platform:  # fmt: skip
    """Clusters of 2 lanes and 4 FP16 or 8 INT8 MAC per cycle on tiles of 4 x 8 x 4; every kernel is the one given."""
    path = {"macs_per_cycle": {"fp16": number(4), "int8": number(8)}, "converts_in_path": converts_in_path,
            "tile_m": number(4), "tile_n": number(8), "tile_k": number(4)}  # fmt: skip
    cluster = {"count": number(clusters), "clock": number("1 GHz"), "matrix": {"native": path},
               "sram": {"capacity": number("1 MB")},
               "vector": {"lanes": number(lanes), "special_per_cycle": number(2)}}  # fmt: skip
    chip = {
        "name": "small", "title": "Small", "process": "paper", "usual_runtime": "own", "accelerator": "npu",
        "clusters": {"npu": cluster}, "masters": {"npu": {}}, "host": {"clock": number("1 GHz")},
        "dram": {"type": "test", "width_bits": number(8), "rate": number("1000 MT/s"), "capacity": number("1 GB"),
                 "sustained_fraction": number(1)},
    }  # fmt: skip
    every = {"path": "native", "achieved_fraction": number(1), "tile_rows": number(16), **kernel}
    dtypes = {"fp16": "fp16", "w8a8": "int8", "w4a16": "fp16", "w4a8": "int8"}
    attention = {"path": "native", "achieved_fraction": number(1)}
    runtime = {
        "name": "own", "title": "Own", "launch": number("0 cycles"), "enqueue": number("0 cycles"),
        "graph_phases": (), "prefetches_weights": False, "weight_buffers": 2, "fusions": ("qkv",),
        "kernels": {name: {**every, "dtype": dtype} for name, dtype in dtypes.items()},
        "causal_attention": attention, "full_attention": attention, "head_precision": "body", "kv_precision": kv,
    }  # fmt: skip
    return Platform(Chip.model_validate(chip), Runtime.model_validate(runtime))


def product(body: str, on: Platform, rows: int = ROWS) -> KernelWork:
    operator = MatMul("m", (), rows=rows, inputs=INPUTS, outputs=OUTPUTS)
    return kernel_work([operator], platform=on, body=precision(body))


# conversion ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("often", "times"), [("per_load", 1), ("per_row_tile", 3)])
def test_weights_are_converted_once_or_for_every_tile_of_rows(often: str, times: int) -> None:
    # 40 rows are 3 tiles of 16; one operation per weight on 2 lanes
    assert product("w4a16", platform(converts_weights=often)).conversion_cycles == times * INPUTS * OUTPUTS / 2


def test_eight_bit_products_quantise_what_they_read_and_scale_what_they_write() -> None:
    # three operations per activation before, two per integer result after, on 2 lanes
    work = product("w8a8", platform())
    assert (work.conversion_cycles, work.vector_cycles) == (3 * ROWS * INPUTS / 2, 2 * ROWS * OUTPUTS / 2)


def test_a_path_that_converts_by_itself_leaves_the_lanes_nothing_to_do() -> None:
    work = product("w8a8", platform(converts_in_path=("int8",)))
    assert (work.conversion_cycles, work.vector_cycles) == (0, 0)
    # 40 rows pad to 48: 48 * 64 * 32 MAC at 8 per cycle
    assert work.matrix_cycles == product("w8a8", platform()).matrix_cycles == 48 * OUTPUTS * INPUTS / 8


def test_four_bit_weights_beside_eight_bit_activations_pay_for_both() -> None:
    work = product("w4a8", platform())
    assert work.conversion_cycles == (INPUTS * OUTPUTS + 3 * ROWS * INPUTS) / 2


def test_sixteen_bits_need_no_conversion() -> None:
    work = product("fp16", platform())
    assert (work.conversion_cycles, work.vector_cycles) == (0, 0)


def test_the_lanes_convert_all_that_is_narrower_than_16_bits() -> None:
    # one row: conversion and product take an operation each per weight, the padded tile 16 * 32 * 64 / 8 = 4,096 cycles
    work = product("w8a8", platform(), rows=1)
    assert (work.matrix_cycles, work.vector_cycles, work.conversion_cycles) == (0, 1024, 1024)


def test_a_narrower_cache_is_converted_when_read_and_quantised_when_written() -> None:
    attention = Attention("a", (), queries=8, cached_keys=100, own_keys=0, heads=2, kv_heads=2, head_dim=16,
                          is_causal=False)  # fmt: skip
    write = CacheWrite("w", (), tokens=5, kv_heads=2, head_dim=16, context=5)

    def works(on: Platform) -> tuple[KernelWork, KernelWork]:
        read, written = (kernel_work([each], platform=on, body=precision("fp16")) for each in (attention, write))
        return read, written

    wide, narrow, in_path = works(platform()), works(platform(kv="int8")), works(
        platform(kv="int8", converts_in_path=("int8",))
    )  # fmt: skip
    read, written = 2 * 2 * 16 * 100, 2 * 2 * 16 * 5
    assert [work.conversion_cycles for work, _ in (wide, narrow, in_path)] == [0, read / 2, 0]
    assert [work.vector_cycles for _, work in (wide, narrow, in_path)] == [0, 3 * written / 2, 0]
    # a byte each, and two for every 128 elements, of which 320 are three groups
    assert (narrow[0].cache_read_bytes, narrow[1].cache_write_bytes) == (read + 2 * 50, written + 2 * 3)


# tiles ---------------------------------------------------------------------------------------------------------------


def test_few_rows_take_a_smaller_tile_where_there_is_one() -> None:
    # 5 rows fit into a tile of 8, 2 into the native 4, 40 into tiles of 16
    small = platform(least_tile_rows=number(1), lanes=0.25)
    padded = {rows: product("fp16", small, rows).matrix_cycles * 4 / (INPUTS * OUTPUTS) for rows in (2, 5, 40)}
    assert padded == {2: 4, 5: 8, 40: 48}
    assert product("fp16", platform(lanes=0.25), 5).matrix_cycles * 4 / (INPUTS * OUTPUTS) == 16


def test_tiles_of_a_kernel_leave_clusters_idle_unless_it_splits_the_depth() -> None:
    # 16 rows and 64 columns in tiles of 16 x 32 are 2 tiles for 4 clusters. A tile of depth 32 takes 16 * 32 * 32 / 4
    # cycles; with the depth in two parts half of that. Every tile costs 10 cycles besides.
    wide = {"tile_columns": number(32), "tile_cost": number("10 cycles"), "clusters": 4, "lanes": 0.25}
    assert product("fp16", platform(**wide, splits_depth=False), 16).matrix_cycles == 4096 + 10
    assert product("fp16", platform(**wide), 16).matrix_cycles == 2048 + 10
    # 80 rows are 10 tiles, three waves
    assert product("fp16", platform(**wide), 80).matrix_cycles == 3 * (4096 + 10)


# kernels of their own ------------------------------------------------------------------------------------------------


def layer(rows: int = ROWS) -> OperatorGraph:
    """A norm that three matrices read, and one matrix after them."""
    operators = [Elementwise("norm", (), kind="norm", rows=rows, width=INPUTS)]
    operators += [MatMul(name, ("qkv",), rows=rows, inputs=INPUTS, outputs=8) for name in "qkv"]  # type: ignore[misc]
    operators += [MatMul("o", (), rows=rows, inputs=8, outputs=INPUTS)]  # type: ignore[list-item]
    return OperatorGraph("layer", operators, [("norm", "q"), ("norm", "k"), ("norm", "v"), ("v", "o")])


def names(graph: OperatorGraph) -> list[str]:
    return [operator.name for operator in graph.operators]


def quantised(body: str = "w8a8", rows: int = ROWS, **choices: Any) -> OperatorGraph:
    return with_quantisation(layer(rows), platform(**choices), precision(body))


def test_what_three_matrices_read_is_quantised_once_before_the_first() -> None:
    graph = quantised(quantises="before")
    assert names(graph) == ["norm", "quantise_q", "q", "k", "v", "quantise_o", "o"]
    assert [each.name for each in graph.predecessors("k")] == ["quantise_q"]
    assert [each.name for each in graph.predecessors("quantise_q")] == ["norm"]


def test_a_runtime_may_quantise_anew_for_every_matrix() -> None:
    added = [name for name in names(quantised(quantises="before_each")) if name.startswith("quantise")]
    assert added == ["quantise_q", "quantise_k", "quantise_v", "quantise_o"]


@pytest.mark.parametrize(
    "choices",
    [
        {"quantises": "inside"},
        {"quantises": "before", "body": "fp16"},
        {"quantises": "before", "body": "w4a16"},
        {"quantises": "before", "converts_in_path": ("int8",)},
        {"quantises": "before", "rows": 1},
    ],
)
def test_no_kernel_is_added_where_nothing_is_quantised_before(choices: dict[str, Any]) -> None:
    assert names(quantised(**choices)) == names(layer())


def test_llama_cpp_quantises_a_single_row_too() -> None:
    assert len(names(quantised(quantises="before_each", rows=1))) == len(names(layer())) + 4


def test_a_kernel_that_quantises_hands_on_narrower_activations_and_takes_the_work_from_the_product() -> None:
    body, on = precision("w8a8"), platform(quantises="before")
    block = lower_block(layer(), on, body)
    work = {each.name: each for each in block.works}
    assert list(work) == ["norm", "quantise_q", "q+k+v", "quantise_o", "o"]
    assert work["quantise_q"].vector_cycles == 3 * ROWS * INPUTS / 2
    assert (work["q+k+v"].conversion_cycles, work["q+k+v"].weight_bytes) == (0, 24 * INPUTS)
    sizes = {(tensor.producer, tensor.consumers): tensor.size_bytes for tensor in block.tensors}
    assert sizes[0, (1,)] == 2 * ROWS * INPUTS
    assert sizes[1, (2,)] == ROWS * INPUTS
