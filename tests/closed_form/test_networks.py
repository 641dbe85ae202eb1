"""Networks: shapes, parameters, operations, bytes and time of operators that are no decoder's, by hand.

ResNet-50 is the anchor: torchvision counts 25,557,032 parameters, of which 53,120 are batch norms; folded they are
26,560 biases. It has 4,089,184,256 multiply-adds at 224 x 224.
"""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Workload, load_chip, load_runtime, load_workload, run
from simulator.graph import Attention, CacheWrite, Convolution, OperatorGraph, Resample, build_graph
from simulator.graph.network import network_blocks
from simulator.lowering.block import lower_block
from simulator.lowering.kernel import group_operators, kernel_work
from simulator.lowering.platform import Platform
from simulator.metrics.operations import operation_use
from simulator.precision import precision
from simulator.runtime import Runtime
from simulator.units import TICKS_PER_SECOND
from simulator.workload import Network

ORIN = "orin-agx-64gb"


def network(*operators: dict[str, Any], repeats: int = 1, reads: str | None = None, **inputs: list[int]) -> Network:
    """One block."""
    return Network.model_validate(
        {
            "source": "assumption", "status": "assumed",
            "inputs": {name: tuple(shape) for name, shape in inputs.items()},
            "blocks": ({"name": "block", "repeats": repeats, "reads": reads, "operators": operators},),
        }
    )  # fmt: skip


def graph_of(*operators: dict[str, Any], **inputs: list[int]) -> OperatorGraph:
    """Its graph."""
    (block,) = network_blocks(network(*operators, **inputs))
    return block.graph


# shapes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        # floor((224 + 2 * 3 - 7) / 2) + 1 = 112; padding of 3 keeps the size at a stride of 1
        ({"op": "conv", "channels": 64, "kernel": 7, "stride": 2}, (1, 64, 112, 112)),
        ({"op": "conv", "channels": 8, "kernel": 3, "padding": 0}, (1, 8, 222, 222)),
        # a window of 3 with a dilation of 2 reaches over 5: 224 + 2 - 5 + 1 = 222
        ({"op": "conv", "channels": 8, "kernel": 3, "dilation": 2, "padding": 1}, (1, 8, 222, 222)),
        # top 0, left 1, bottom 1, right 1: (224 + 1 - 3) // 2 + 1 = 112 rows, (224 + 2 - 3) // 2 + 1 = 112 columns
        ({"op": "conv", "channels": 8, "kernel": 3, "stride": 2, "padding": [0, 1, 1, 1]}, (1, 8, 112, 112)),
        ({"op": "conv", "channels": 8, "kernel": [1, 5], "stride": [2, 1]}, (1, 8, 112, 224)),
        ({"op": "conv", "channels": 8, "kernel": 2, "stride": 2, "transposed": True}, (1, 8, 448, 448)),
        ({"op": "pool", "kernel": 3, "stride": 2}, (1, 3, 112, 112)),
        ({"op": "mean"}, (1, 3, 1, 1)),
        ({"op": "resize", "height": 100, "width": 50, "taps": 4}, (1, 3, 100, 50)),
        ({"op": "view", "shape": "rows"}, (1, 224 * 224, 3)),
        ({"op": "view", "shape": [3, 224, 224]}, (3, 224, 224)),
    ],
    ids=str,
)
def test_a_map_becomes(operator: dict[str, Any], shape: tuple[int, ...]) -> None:
    operator = {key: tuple(value) if isinstance(value, list) else value for key, value in operator.items()}
    assert network({"name": "it", **operator}, image=[1, 3, 224, 224]).output == shape


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (
            {"op": "conv", "channels": 8, "kernel": 3, "groups": 2},
            r"groups: must divide the channels of what it reads \(3\)",
        ),
        (
            {"op": "conv", "channels": 8, "kernel": 9, "padding": 0, "reads": ("image",)},
            r"must make something of \[1, 3, 4, 4\]",
        ),
        ({"op": "linear", "width": 8}, r"must read rows of \(sequences, rows, width\), got \[1, 3, 4, 4\]"),
        ({"op": "attention", "heads": 2}, r"must read \(sequences, rows, width\), got \[1, 3, 4, 4\]"),
        ({"op": "view", "shape": (7, 7)}, r"must have 48 elements as \[1, 3, 4, 4\] has, got \[7, 7\]"),
        (
            {"op": "pool", "kernel": 3, "reads": ("nobody",)},
            r'must name an operator of the block before it, input, .*"nobody"',
        ),
        ({"op": "product"}, r"reads: must name 2, got 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value["op"]),
)
def test_shapes_that_do_not_go_together_are_refused_with_both(operator: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network({"name": "it", **operator}, image=[1, 3, 4, 4])


def test_one_packed_tensor_has_as_many_heads_of_keys_as_of_queries() -> None:
    with pytest.raises(ValueError, match=r"kv_heads: must be heads \(2\) in one packed tensor, got 1"):
        network({"name": "it", "op": "attention", "heads": 2, "kv_heads": 1}, packed=[1, 5, 12])


def test_a_block_that_changes_the_shape_cannot_repeat() -> None:
    with pytest.raises(ValueError, match=r"repeats: must be 1 where a block makes \[1, 5, 4, 4\] of \[1, 3, 4, 4\]"):
        network({"name": "it", "op": "conv", "channels": 5, "kernel": 3}, repeats=2, image=[1, 3, 4, 4])


# counts --------------------------------------------------------------------------------------------------------------


def test_resnet_50_has_the_published_parameters_and_operations_exactly() -> None:
    graph = build_graph(load_workload("resnet-50"))
    assert graph.parameters == 25_557_032 - 53_120 + 26_560
    assert graph.flop == 2 * 4_089_184_256


def test_a_grouped_convolution_has_a_matrix_per_group() -> None:
    # 6 images of 8 x 10, 12 channels in 3 groups of 4 to 3 groups of 5, windows of 9: 480 rows, [36, 5] three times
    grouped = {"name": "it", "op": "conv", "channels": 15, "kernel": 3, "groups": 3, "bias": True}
    (conv,) = graph_of(grouped, maps=[6, 12, 8, 10]).operators
    assert isinstance(conv, Convolution)
    assert conv.flop == 2 * 480 * 36 * 5 * 3
    assert conv.parameters == 36 * 5 * 3 + 15
    assert conv.input_elements == 6 * 12 * 80  # once, not nine times
    assert conv.output_elements == 6 * 15 * 80


def test_a_transposed_convolution_multiplies_each_position_by_its_whole_window() -> None:
    # 20 positions of 4 channels, each to 2 x 2 positions of 3 channels
    doubling = {"name": "it", "op": "conv", "channels": 3, "kernel": 2, "stride": 2, "transposed": True}
    (conv,) = graph_of(doubling, maps=[1, 4, 4, 5]).operators
    assert conv.flop == 2 * 20 * 4 * (3 * 4)
    assert conv.parameters == 4 * 3 * 4
    assert conv.output_elements == 3 * 8 * 10


def test_a_sample_reads_its_taps_and_its_source_once() -> None:
    # 7 queries, 2 heads, 5 points of 4 neighbours each, of a map of 16 channels and 6 x 6 positions
    (sample,) = graph_of(
        {"name": "it", "op": "sample", "heads": 2, "points": 5, "taps": 4, "reads": ("places", "values")},
        places=[1, 7, 30], values=[1, 16, 6, 6],
    ).operators  # fmt: skip
    assert isinstance(sample, Resample)
    assert sample.taps == 20
    assert sample.output_elements == 7 * 16
    assert sample.input_elements == 16 * 36 + 3 * 7 * 2 * 5  # two coordinates and a weight for every point


def test_attention_of_a_network_counts_scores_and_values() -> None:
    # 3 sequences of 5 queries and 11 keys, 2 heads of 4: 4 flop per pair, head and element
    (attention,) = graph_of(
        {"name": "it", "op": "attention", "heads": 2, "reads": ("queries", "keys", "keys")},
        queries=[3, 5, 8], keys=[3, 11, 8],
    ).operators  # fmt: skip
    assert attention.flop == 4 * 3 * 5 * 11 * 2 * 4


def test_products_of_activations_have_no_parameters() -> None:
    (product,) = graph_of(
        {"name": "it", "op": "product", "transposed": True, "reads": ("one", "other")}, one=[2, 5, 8], other=[2, 7, 8]
    ).operators
    assert product.flop == 2 * 2 * 5 * 8 * 7
    assert product.parameters == 0


def test_a_view_costs_nothing_and_hands_its_source_on() -> None:
    graph = graph_of(
        {"name": "conv", "op": "conv", "channels": 8, "kernel": 1}, {"name": "rows", "op": "view", "shape": "rows"},
        {"name": "matrix", "op": "linear", "width": 4}, maps=[1, 8, 3, 3],
    )  # fmt: skip
    assert [operator.name for operator in graph.operators] == ["conv", "matrix"]
    assert list(graph.dag.edges) == [("conv", "matrix")]


def test_causal_attention_counts_keys_up_to_a_query() -> None:
    # 5 rows see 1 + 2 + 3 + 4 + 5 = 15 keys, and 7 of the cache each; 4 heads of 2 share 2 heads of keys
    (attention,) = graph_of(
        {"name": "it", "op": "attention", "heads": 4, "kv_heads": 2, "causal": True, "cached": 7,
         "reads": ("queries", "keys", "keys")},
        queries=[1, 5, 8], keys=[1, 5, 4],
    ).operators  # fmt: skip
    assert attention.flop == 4 * 4 * 2 * (15 + 5 * 7)


def test_a_decoded_token_is_in_the_cache_when_it_is_read() -> None:
    write, attention = graph_of(
        {"name": "write", "op": "cache_write", "kv_heads": 2, "cached": 7, "reads": ("keys", "keys")},
        {"name": "it", "op": "attention", "heads": 4, "kv_heads": 2, "cached": 7,
         "reads": ("queries", "write", "keys")},
        queries=[1, 1, 8], keys=[1, 1, 4],
    ).operators  # fmt: skip
    assert isinstance(write, CacheWrite)
    assert (write.tokens, write.context, write.cache_elements) == (1, 8, 2 * 4)
    assert isinstance(attention, Attention)
    assert attention.flop == 4 * 4 * 2 * 8
    assert attention.cache_elements == 8 * 2 * 4  # keys and values of eight tokens, two heads of two


def test_causal_attention_needs_as_many_keys_as_queries() -> None:
    with pytest.raises(ValueError, match=r"causal: must read as many keys as queries \(5\), got 6"):
        graph_of(
            {"name": "it", "op": "attention", "heads": 2, "causal": True, "reads": ("queries", "keys", "keys")},
            queries=[1, 5, 8], keys=[1, 6, 8],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "made", "read"),
    [
        ({"op": "gate", "function": "silu", "reads": ("rows", "rows")}, 2 * 5 * 8, 2 * 2 * 5 * 8),
        ({"op": "rope"}, 2 * 5 * 8, 2 * 5 * 8),
        ({"op": "divide", "reads": ("rows", "rows")}, 2 * 5 * 8, 2 * 2 * 5 * 8),
        ({"op": "copy", "shape": (3, 8)}, 3 * 8, 3 * 8),  # what is not copied is not read
        ({"op": "reduce", "shape": (2, 8)}, 2 * 8, 2 * 5 * 8),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) else "",
)
def test_elements_made_and_read(operator: dict[str, Any], made: int, read: int) -> None:
    (each,) = graph_of({"name": "it", **operator}, rows=[2, 5, 8]).operators
    assert (each.output_elements, each.input_elements) == (made, read)
    assert each.parameters == 0


def test_an_embedding_has_its_table_and_reads_a_row_for_each_number() -> None:
    (table,) = graph_of({"name": "it", "op": "embedding", "vocabulary": 100, "width": 8}, ids=[2, 5]).operators
    assert table.parameters == 100 * 8
    assert table.output_elements == 2 * 5 * 8


def test_weights_that_are_shared_are_counted_once() -> None:
    graph = graph_of(
        {"name": "one", "op": "linear", "width": 8},
        {"name": "two", "op": "linear", "width": 8, "shares_weights": True},
        rows=[1, 5, 8],
    )  # fmt: skip
    assert graph.parameters == 8 * 8
    conv = {"op": "conv", "channels": 4, "kernel": 3, "bias": True}
    graph = graph_of({"name": "one", **conv}, {"name": "two", **conv, "shares_weights": True}, maps=[1, 4, 8, 8])
    assert graph.parameters == 4 * 4 * 9 + 4


def test_a_quotient_takes_a_product_and_a_reciprocal() -> None:
    platform = Platform(load_chip(ORIN), load_runtime("tensorrt"))

    def cycles(op: str) -> float:
        graph = graph_of({"name": "it", "op": op, "reads": ("rows", "rows")}, rows=[1, 512, 4096])
        return kernel_work(list(graph.operators), platform=platform, body=precision("fp16")).vector_cycles

    exp = graph_of({"name": "it", "op": "activation", "function": "exp"}, rows=[1, 512, 4096])
    assert cycles("divide") > cycles("multiply")
    assert cycles("divide") == kernel_work(list(exp.operators), platform=platform, body=precision("fp16")).vector_cycles


# kernels and bytes ---------------------------------------------------------------------------------------------------

RESIDUAL = (
    {"name": "one", "op": "conv", "channels": 8, "kernel": 3},
    {"name": "relu_1", "op": "activation", "function": "relu"},
    {"name": "two", "op": "conv", "channels": 8, "kernel": 3},
    {"name": "add", "op": "add", "reads": ("two", "input")},
    {"name": "relu_2", "op": "activation", "function": "relu"},
)


def kernels_of(graph: OperatorGraph, runtime: str) -> list[list[str]]:
    groups = group_operators(graph, load_runtime(runtime).fusions)
    return [[operator.name for operator in group] for group in groups]


def test_an_epilogue_belongs_to_the_product_before_it_and_a_product_begins_a_kernel() -> None:
    graph = graph_of(*RESIDUAL, maps=[1, 8, 4, 4])
    assert kernels_of(graph, "tensorrt") == [["one", "relu_1"], ["two", "add", "relu_2"]]
    assert kernels_of(graph, "pytorch-eager") == [["one"], ["relu_1"], ["two"], ["add"], ["relu_2"]]


def test_an_epilogue_works_on_nothing_but_the_results_of_its_kernel() -> None:
    graph = graph_of(
        {"name": "one", "op": "conv", "channels": 8, "kernel": 1},
        {"name": "two", "op": "conv", "channels": 8, "kernel": 1, "reads": ("input",)},
        {"name": "late", "op": "activation", "function": "relu", "reads": ("one",)},
        {"name": "add", "op": "add", "reads": ("two", "late")}, maps=[1, 8, 4, 4],
    )  # fmt: skip
    assert kernels_of(graph, "tensorrt") == [["one"], ["two"], ["late", "add"]]


def test_the_weights_of_a_convolution_are_read_once_in_their_format() -> None:
    graph = graph_of({"name": "it", "op": "conv", "channels": 64, "kernel": 3, "bias": True}, maps=[1, 32, 8, 8])
    platform = Platform(load_chip(ORIN), load_runtime("tensorrt"))
    for name, weight_bytes, bias_bytes in (("fp16", 2, 2), ("w8a8-static", 1, 1)):
        work = kernel_work(list(graph.operators), platform=platform, body=precision(name))
        assert work.weight_bytes == 32 * 9 * 64 * weight_bytes + 64 * bias_bytes


def moved_bytes(net: Network) -> int:
    yaml = {
        "name": "net", "title": "net", "pipeline_source": "assumption", "pipeline_status": "assumed",
        "pipeline": ({"phase": "network", "network": "net", "precision": "fp16"},),
        "networks": {"net": net.model_dump()},
    }  # fmt: skip
    result = run("thor-t5000", Workload.model_validate(yaml), runtime="tensorrt")
    return int(result.to_dict()["phases"][0]["dram_bytes"])


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_inputs_come_from_dram_and_results_go_there_whatever_would_fit_the_chip(size: int) -> None:
    # 64 channels of two bytes, once in and once out; at 1,024 x 1,024 that is 134 MB each, more than the chip holds
    relu = {"name": "it", "op": "activation", "function": "relu"}
    assert moved_bytes(network(relu, image=[1, 64, size, size])) == 2 * 64 * size * size * 2


def test_a_network_that_only_views_its_input_reads_and_writes_it() -> None:
    assert moved_bytes(network({"name": "it", "op": "view", "shape": "rows"}, image=[1, 64, 64, 64])) == 2 * 64**3 * 2


def test_an_input_is_read_once_however_often_it_is_used_and_whatever_it_is_called() -> None:
    # both inputs are 1,000 rows of 64 in two bytes; the block adds one of them three times, and a view is what it views
    chain = network(
        {"name": "flat", "op": "view", "reads": ("other",), "shape": (1000, 64)},
        {"name": "same", "op": "view", "shape": (1, 1000, 64)},
        {"name": "sum", "op": "add", "reads": ("input", "same")},
        repeats=3, reads="one", one=[1, 1000, 64], other=[1, 1000, 64],
    )  # fmt: skip
    assert moved_bytes(chain) == 3 * 1000 * 64 * 2  # two in, one out
    (first, middle, last) = network_blocks(chain)
    assert (first.repeats, middle.repeats, last.repeats) == (1, 1, 1)
    assert [block.graph.operators[0].fetched_elements for block in (first, middle, last)] == [2 * 64_000, 0, 0]


def test_a_sample_reads_and_adds_every_tap_on_the_vector_engine() -> None:
    # 7 queries of 16 channels, 5 points of 4 neighbours: 20 taps for each of 112 results, read in two bytes each
    (sample,) = graph_of(
        {"name": "it", "op": "sample", "heads": 2, "points": 5, "taps": 4, "reads": ("places", "values")},
        places=[1, 7, 30], values=[1, 16, 6, 6],
    ).operators  # fmt: skip
    platform = Platform(load_chip(ORIN), load_runtime("tensorrt"))
    cluster = platform.chip.cluster
    assert cluster.sram.port is not None
    lanes, port = (each.value * cluster.count.value for each in (cluster.vector.lanes, cluster.sram.port))
    work = kernel_work([sample], platform=platform, body=precision("fp16"))
    assert work.vector_cycles == pytest.approx(max(20 * 112 / lanes, (20 + 1) * 112 * 2 / port))


def test_twice_the_images_take_twice_the_time_where_arithmetic_binds() -> None:
    def seconds(images: int) -> float:
        yaml = {
            "name": "net", "title": "net", "pipeline_source": "assumption", "pipeline_status": "assumed",
            "pipeline": ({"phase": "network", "network": "net", "precision": "w8a8-static"},),
            "networks": {"net": network(
                {"name": "it", "op": "conv", "channels": 256, "kernel": 3}, maps=[images, 256, 64, 64]
            ).model_dump()},
        }  # fmt: skip
        return run(ORIN, Workload.model_validate(yaml), runtime="ideal").latency_s

    # 64 * 64 * 256 * 2304 = 2.4 G multiply-adds per image against 1 MB of maps: arithmetic binds
    assert seconds(8) / seconds(4) == pytest.approx(2, rel=0.05)


# how a runtime multiplies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "columns"),
    [
        (160, 32),  # 3 * 64 = 192 and 2 * 128 = 256 pad; 5 * 32 = 160 does not
        (192, 64),  # 3 * 64 = 192 already
        (256, 64),  # equals: the widest
        (20, 32),  # one tile of either: 64 or 32
    ],
)
def test_the_tile_that_pads_least_is_taken(channels: int, columns: int) -> None:
    platform = Platform(load_chip(ORIN), load_runtime("tensorrt"))
    (conv,) = graph_of(
        {"name": "it", "op": "conv", "channels": channels, "kernel": 1}, maps=[1, 64, 128, 128]
    ).operators
    work = kernel_work([conv], platform=platform, body=precision("fp16"))
    # 128 * 128 / 128 = 128 row tiles; each tile takes 128 * columns * 64 / (0.575 * 1024) cycles, 16 clusters at once
    tiles = 128 * -(-channels // columns)
    assert work.matrix_cycles == pytest.approx(tiles / 16 * 128 * columns * 64 / (0.575 * 1024))


ATTENDING = {"name": "it", "op": "attention", "heads": 2, "reads": ("queries", "keys", "values")}
THREE = {"queries": [3, 50, 8], "keys": [3, 110, 8], "values": [3, 110, 8]}


def test_scores_are_written_where_no_kernel_keeps_them() -> None:
    platform = Platform(load_chip(ORIN), load_runtime("tensorrt"))
    block = lower_block(graph_of(ATTENDING, **THREE), platform, precision("fp32"))
    assert [work.name for work in block.works] == ["it_scores", "it_weights", "it"]
    scores = 3 * 2 * 50 * 110 * 4
    assert sorted(tensor.size_bytes for tensor in block.tensors if tensor.producer in {0, 1}) == [scores, scores]
    (fused,) = lower_block(graph_of(ATTENDING, **THREE), platform, precision("fp16")).works
    assert sum(work.flop for work in block.works) == fused.flop == 4 * 3 * 50 * 110 * 8
    assert {work.dtype for work in block.works} == {"tf32", ""}


def test_attention_in_32_bits_moves_its_scores_four_times_where_they_do_not_fit() -> None:
    # 8 heads of 4,096 by 4,096 scores are 537 MB: the chip has 10 MB for them
    rows = {"queries": [1, 4096, 256], "keys": [1, 4096, 256], "values": [1, 4096, 256]}
    platform = Platform(load_chip(ORIN), load_runtime("tensorrt"))
    graph = graph_of({**ATTENDING, "heads": 8}, **rows)
    works = lower_block(graph, platform, precision("fp32")).works
    moved = sum(work.spilled_input_bytes + work.spilled_output_bytes for work in works)
    assert moved == pytest.approx(4 * 8 * 4096 * 4096 * 4, rel=0.04)


def test_a_runtime_says_which_precision_of_its_scores_is_unknown() -> None:
    runtime = load_runtime("tensorrt").model_dump()
    runtime["full_attention"]["writes_scores"] = ("fp64",)
    with pytest.raises(ValueError, match=r"full_attention.writes_scores\[0\]: must be one of the precisions"):
        Runtime.model_validate(runtime)


def test_32_bits_are_multiplied_as_tf32_at_half_of_the_rate() -> None:
    conv = {"name": "it", "op": "conv", "channels": 256, "kernel": 3}
    graph = graph_of(conv, maps=[1, 256, 64, 64])
    platform = Platform(load_chip(ORIN), load_runtime("tensorrt"))
    half, whole = (kernel_work(list(graph.operators), platform=platform, body=precision(p)) for p in ("fp16", "fp32"))
    assert (half.dtype, whole.dtype) == ("fp16", "tf32")
    fractions = [platform.kernel(name).achieved_fraction.value for name in ("fp16", "fp32")]
    assert whole.matrix_cycles * fractions[1] == pytest.approx(2 * half.matrix_cycles * fractions[0])
    assert whole.weight_bytes == 2 * half.weight_bytes


def test_operations_of_one_name_in_several_blocks_are_timed_each_by_itself() -> None:
    # the kernels of a serial chip follow one another, so their times add up to the frame, and none spans the others
    result = run(ORIN, "resnet-50", runtime="tensorrt")
    uses = operation_use(result.timeline, 0)
    kernels = [use for use in uses if use.flop > 0]
    assert sum(use.busy_ticks for use in kernels) / TICKS_PER_SECOND < 1.05 * result.latency_s
    (reduce,) = (use for use in uses if use.name.endswith(".reduce+relu_1"))
    assert reduce.instances == 3 + 4 + 6 + 3
