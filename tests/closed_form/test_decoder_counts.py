"""Exact parameters of today's language models, and bytes, FLOP and caches of layers of every kind, by hand.

The published totals are those that model hubs state for the released weights. They count every matrix, bias, gain and
sink, so a total that is met to the last unit says that each field counts what it should.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pytest

from simulator import load_workload
from simulator.catalog import load_chip, load_runtime
from simulator.errors import SpecError
from simulator.graph import (
    Attention,
    Block,
    CacheWrite,
    DeltaRule,
    ExpertMatMul,
    MatMul,
    Operator,
    ShortConvolution,
    build_graph,
)
from simulator.graph.decoder import cached_elements, decoder_blocks, kv_elements_per_token
from simulator.lowering import Demand, Platform, lower
from simulator.lowering.capacity import dram_needs
from simulator.lowering.experts import reserved_expert_bytes
from simulator.lowering.kernel import kernel_work
from simulator.lowering.kernel_work import KernelWork
from simulator.lowering.quantise import Quantise, with_quantisation
from simulator.precision import precision
from simulator.simulation.setup import configure
from simulator.workload import Decoder
from tests.property.test_lowering_laws import ONCE


def decoder(**sizes: Any) -> Decoder:
    return Decoder.model_validate({"source": "test", "status": "assumed", "ffn": "swiglu", **sizes})


def plain(sizes: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """(layers, width, heads, KV heads, head width, inner width, vocabulary) and all else."""
    names = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn_width", "vocabulary")
    return {**dict(zip(names, sizes, strict=True)), "tied_head": False, **more}


LATENT = {"kv_rank": 512, "nope_dim": 128, "rope_dim": 64, "value_dim": 128}
NEXT = {"key_heads": 16, "value_heads": 32, "key_dim": 128, "value_dim": 128, "convolution": 4, "state_format": "fp32",
        "chunk": 64, "source": "test", "status": "assumed"}  # fmt: skip
SANDWICH = {"tied_head": True, "ffn": "geglu", "output_norms": True}
MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "qwen2.5-0.5b": (494_032_768, plain((24, 896, 14, 2, 64, 4864, 151936), tied_head=True, qkv_bias=True)),
    "qwen2.5-1.5b": (1_543_714_304, plain((28, 1536, 12, 2, 128, 8960, 151936), tied_head=True, qkv_bias=True)),
    "qwen2.5-3b": (3_085_938_688, plain((36, 2048, 16, 2, 128, 11008, 151936), tied_head=True, qkv_bias=True)),
    "qwen2.5-7b": (7_615_616_512, plain((28, 3584, 28, 4, 128, 18944, 152064), qkv_bias=True)),
    "qwen3-0.6b": (596_049_920, plain((28, 1024, 16, 8, 128, 3072, 151936), tied_head=True, head_norm=True)),
    "qwen3-1.7b": (1_720_574_976, plain((28, 2048, 16, 8, 128, 6144, 151936), tied_head=True, head_norm=True)),
    "qwen3-4b": (4_022_468_096, plain((36, 2560, 32, 8, 128, 9728, 151936), tied_head=True, head_norm=True)),
    "qwen3-8b": (8_190_735_360, plain((36, 4096, 32, 8, 128, 12288, 151936), head_norm=True)),
    "llama-3.2-1b": (1_235_814_400, plain((16, 2048, 32, 8, 64, 8192, 128256), tied_head=True)),
    "llama-3.2-3b": (3_212_749_824, plain((28, 3072, 24, 8, 128, 8192, 128256), tied_head=True)),
    "mistral-7b": (7_241_732_096, plain((32, 4096, 32, 8, 128, 14336, 32000), attention_window=4096)),
    "phi-3-mini": (3_821_079_552, plain((32, 3072, 32, 32, 96, 8192, 32064))),
    "gemma-2-2b": (
        2_614_341_888,
        plain((26, 2304, 8, 4, 256, 9216, 256000), **SANDWICH, pattern=["window", "full"], attention_window=4096),
    ),
    "gemma-3-1b": (
        999_885_952,
        plain((26, 1152, 4, 1, 256, 6912, 262144), **SANDWICH, head_norm=True, attention_window=512,
              pattern=["window"] * 5 + ["full"]),
    ),
    "starcoder2-3b": (
        3_030_371_328,
        plain((30, 3072, 24, 2, 128, 12288, 49152), tied_head=True, norm="layer", ffn="gelu", qkv_bias=True,
              o_bias=True, ffn_bias=True, attention_window=4096),
    ),
    "mixtral-8x7b": (46_702_792_704, plain((32, 4096, 32, 8, 128, 14336, 32000), experts=8, top_k=2)),
    "olmoe-1b-7b": (
        6_919_161_856,
        plain((16, 2048, 16, 16, 128, 1024, 50304), experts=64, top_k=8, head_norm=True, head_norm_width="all heads"),
    ),
    "qwen3-30b-a3b": (
        30_532_122_624, plain((48, 2048, 32, 4, 128, 768, 151936), experts=128, top_k=8, head_norm=True)
    ),
    "qwen1.5-moe-a2.7b": (
        14_315_784_192,
        plain((24, 2048, 16, 16, 128, 1408, 151936), experts=60, top_k=4, qkv_bias=True, shared_experts=1,
              shared_width=5632, shared_gate=True),
    ),
    "deepseek-v2-lite": (
        15_706_484_224,
        plain((27, 2048, 16, 16, 192, 1408, 102400), latent=LATENT, experts=64, top_k=6, shared_experts=2,
              dense_layers=1, dense_width=10944),
    ),
    "deepseek-v2": (
        235_741_434_880,
        plain((60, 5120, 128, 128, 192, 1536, 102400), latent={**LATENT, "query_rank": 1536}, experts=160, top_k=6,
              shared_experts=2, dense_layers=1, dense_width=12288),
    ),
    "gpt-oss-20b": (
        20_914_757_184,
        plain((24, 2880, 64, 8, 64, 2880, 201088), experts=32, top_k=4, qkv_bias=True, o_bias=True, ffn_bias=True,
              attention_sinks=True, pattern=["window", "full"], attention_window=128),
    ),
    "qwen3-next-80b-a3b": (
        79_674_391_296,
        plain((48, 2048, 16, 2, 256, 512, 151936), experts=512, top_k=10, shared_experts=1, shared_gate=True,
              head_norm=True, output_gate=True, rope_dim=64, linear=NEXT, pattern=["linear"] * 3 + ["full"]),
    ),
}  # fmt: skip


def parameters(blocks: tuple[Block, ...]) -> int:
    return sum(int(block.repeats * block.graph.parameters) for block in blocks)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("rows", "num_steps"), [(5, 0), (1, 2)], ids=["prefill", "decode"])
def test_parameters_are_exactly_the_published_ones_in_both_phases(name: str, rows: int, num_steps: int) -> None:
    published, sizes = MODELS[name]
    assert parameters(decoder_blocks(decoder(**sizes), rows=rows, prompt=9, num_steps=num_steps)) == published


@pytest.mark.parametrize(
    "name", ["deepseek-v2-lite", "gpt-oss-20b", "qwen3-next-80b-a3b", "qwen1.5-moe-a2.7b", "mixtral-8x7b"]
)
def test_the_catalogue_has_these_sizes(name: str) -> None:
    published, sizes = MODELS[name]
    workload = load_workload(name)
    assert workload.decoder is not None
    assert workload.parameters_published == published == build_graph(workload).parameters
    left_out = {"source", "status", "note", "routing", "parameters_published"}
    theirs, ours = (each.model_dump(exclude=left_out) for each in (workload.decoder, decoder(**sizes)))
    for each in (theirs, ours):
        each["linear"] = each["linear"] and {field: each["linear"][field] for field in NEXT if field in SIZES_OF_NEXT}
    assert theirs == ours


SIZES_OF_NEXT = NEXT.keys() - {"source", "status"}


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("deepseek-v2-lite", 27 * (512 + 64) * 2),  # 31,104: a latent vector and a rotated key per layer
        ("gpt-oss-20b", 24 * 2 * 8 * 64 * 2),  # 49,152: half of them until a window of 128 is full
        ("qwen3-next-80b-a3b", 12 * 2 * 2 * 256 * 2),  # 24,576: every fourth layer
        ("mixtral-8x7b", 32 * 2 * 8 * 128 * 2),
        ("qwen1.5-moe-a2.7b", 24 * 2 * 16 * 128 * 2),
    ],
)
def test_a_token_adds_its_published_bytes_to_the_cache(name: str, bytes_per_token: int) -> None:
    sizes = decoder(**MODELS[name][1])
    assert 2 * kv_elements_per_token(sizes) == bytes_per_token
    blocks = decoder_blocks(sizes, rows=1, prompt=9, num_steps=1)
    writes = [
        block.repeats * each.cache_elements
        for block in blocks
        for each in block.graph.operators
        if isinstance(each, CacheWrite)
    ]
    assert 2 * sum(writes) == bytes_per_token


def test_layers_with_a_window_keep_it_and_the_others_all_tokens() -> None:
    sizes = decoder(**MODELS["gpt-oss-20b"][1])
    for tokens, in_window in ((100, 100), (128, 128), (1000, 128)):
        assert cached_elements(sizes, tokens) == 12 * 2 * 8 * 64 * (tokens + in_window)
    gemma = decoder(**MODELS["gemma-3-1b"][1])  # 26 layers: the 6th, 12th, 18th and 24th see everything
    assert cached_elements(gemma, 2000) == 2 * 256 * (4 * 2000 + 22 * 512)


def test_equal_neighbours_are_one_block_and_equal_layers_one_graph() -> None:
    lite = decoder_blocks(decoder(**MODELS["deepseek-v2-lite"][1]), rows=4, prompt=0, num_steps=0)
    assert [(block.repeats, block.first_layer) for block in lite] == [(1, None), (1, 0), (26, 1), (1, None)]
    qwen = decoder_blocks(decoder(**MODELS["qwen3-next-80b-a3b"][1]), rows=4, prompt=0, num_steps=0)
    layers = qwen[1:-1]
    assert [(block.repeats, block.first_layer) for block in layers][:4] == [(3, 0), (1, 3), (3, 4), (1, 7)]
    assert len({block.graph for block in layers}) == 2
    assert sum(block.repeats for block in layers) == 48


# work ----------------------------------------------------------------------------------------------------------------


def operators(name: str, *, rows: int = 1, prompt: int = 0, num_steps: int = 0, layer: int = 0) -> dict[str, Operator]:
    """The operators of one layer by name."""
    blocks = decoder_blocks(decoder(**MODELS[name][1]), rows=rows, prompt=prompt, num_steps=num_steps)
    block = next(
        block for block in blocks[1:-1]
        if block.first_layer is not None and block.first_layer <= layer < block.first_layer + block.repeats
    )  # fmt: skip
    return {operator.name: operator for operator in block.graph.operators}


def work(operator: Operator, body: str = "fp16") -> KernelWork:
    return kernel_work([operator], platform=Platform(load_chip("hypo-decode"), load_runtime("ideal")),
                       body=precision(body))  # fmt: skip


def test_latent_attention_is_expanded_in_a_prefill() -> None:
    """16 heads, 7 rows, 28 pairs: scores over 128 + 64, values of 128, made of 512 by one matrix."""
    layer = operators("deepseek-v2-lite", rows=7)
    attention, made = layer["attention"], layer["kv_b"]
    assert attention.flop == 28 * 16 * 2 * (192 + 128)
    assert made.flop == 2 * 7 * 512 * 16 * (128 + 128)
    assert attention.output_elements == 7 * 16 * 128
    assert layer["kv_a"].output_elements == 7 * (512 + 64)
    assert work(layer["cache_write"]).cache_write_bytes == 7 * (512 + 64) * 2
    assert work(attention).cache_read_bytes == 0


def test_latent_attention_is_absorbed_in_decode() -> None:
    """After 100 tokens: scores over 512 + 64, values of 512, and two matrices per head on either side."""
    layer = operators("deepseek-v2-lite", prompt=100, num_steps=2)
    attention = layer["attention"]
    assert list(np.asarray(attention.flop)) == [101 * 16 * 2 * (576 + 512), 102 * 16 * 2 * (576 + 512)]
    assert list(np.asarray(work(attention).cache_read_bytes)) == [101 * 576 * 2, 102 * 576 * 2]  # values are in keys
    assert list(np.asarray(work(layer["cache_write"]).cache_write_bytes)) == [576 * 2] * 2
    for name in ("queries_to_latent", "values_from_latent"):
        assert layer[name].flop == 2 * 16 * 128 * 512
        assert work(layer[name]).weight_bytes == 16 * 128 * 512 * 2
    assert layer["queries_to_latent"].output_elements == layer["values_from_latent"].input_elements == 16 * 512


def test_both_forms_of_latent_attention_hold_the_same_weights() -> None:
    prefill, decode = operators("deepseek-v2", rows=3), operators("deepseek-v2", prompt=3, num_steps=1)
    assert prefill["kv_b"].parameters == 512 * 128 * 256
    assert decode["queries_to_latent"].parameters + decode["values_from_latent"].parameters == 512 * 128 * 256
    assert (prefill["q_a"].parameters, prefill["q"].parameters) == (5120 * 1536, 1536 * 128 * 192)


def test_scales_of_a_matrix_per_head_are_counted_per_head() -> None:
    """w4a16: 4 bits and a scale of 2 bytes per 128 inputs; [128, 512] and [512, 128] per head have as many."""
    layer = operators("deepseek-v2-lite", prompt=3, num_steps=1)
    assert work(layer["queries_to_latent"], "w4a16").weight_bytes == 16 * (128 * 512 // 2 + 512 * 2)
    assert work(layer["values_from_latent"], "w4a16").weight_bytes == 16 * (128 * 512 // 2 + 128 * 4 * 2)


def test_a_layer_with_a_window_reads_and_writes_no_more_than_the_window() -> None:
    near, far = (operators("gpt-oss-20b", prompt=500, num_steps=1, layer=layer) for layer in (0, 1))
    assert work(near["window_attention"]).cache_read_bytes == 128 * 2 * 8 * 64 * 2
    assert work(far["attention"]).cache_read_bytes == 501 * 2 * 8 * 64 * 2
    near, far = (operators("gpt-oss-20b", rows=500, layer=layer) for layer in (0, 1))
    pairs = 128 * 129 // 2 + (500 - 128) * 128  # a row sees 128 keys at most
    assert near["window_attention"].flop == pairs * 64 * 4 * 64
    assert far["attention"].flop == 500 * 501 // 2 * 64 * 4 * 64
    assert work(near["cache_write"]).cache_write_bytes == 128 * 2 * 8 * 64 * 2
    assert work(far["cache_write"]).cache_write_bytes == 500 * 2 * 8 * 64 * 2


def test_biases_and_sinks_are_counted_where_they_are() -> None:
    layer = operators("gpt-oss-20b", rows=3)
    assert layer["q"].parameters == 2880 * 4096 + 4096
    assert layer["o"].parameters == 4096 * 2880 + 2880
    assert layer["router"].parameters == 2880 * 32 + 32
    assert layer["gate"].parameters == layer["up"].parameters == 32 * (2880 * 2880 + 2880)
    assert layer["window_attention"].parameters == 64
    # nobody's router is known, so a prefill of 3 rows reaches 32 (1 - (28/32)^3) = 10.56, about 11 experts
    assert work(layer["down"]).late_bytes == 11 * (2880 * 2880 + 2880) * 2


def test_an_ffn_without_a_gate_has_two_matrices() -> None:
    layer = operators("starcoder2-3b", rows=3)
    assert "gate" not in layer
    assert (layer["up"].flop, layer["down"].flop) == (2 * 3 * 3072 * 12288, 2 * 3 * 3072 * 12288)
    assert layer["activation"].input_elements == 3 * 12288
    assert layer["norm_1"].parameters == 2 * 3072
    squared = decoder(**{**MODELS["starcoder2-3b"][1], "ffn": "relu2"})
    (found,) = (each for each in decoder_blocks(squared, rows=3, prompt=0, num_steps=0)[1].graph.operators
                if each.name == "activation")  # fmt: skip
    assert getattr(found, "kind", None) == "squared_relu"


def test_a_dense_layer_before_the_experts_has_a_width_of_its_own() -> None:
    first, second = (operators("deepseek-v2-lite", rows=2, layer=layer) for layer in (0, 1))
    assert isinstance(first["up"], MatMul)
    assert first["up"].parameters == 2048 * 10944
    assert "router" not in first
    assert second["up"].parameters == 64 * 2048 * 1408
    assert second["shared_up"].parameters == 2048 * 2 * 1408


def test_a_shared_expert_may_have_a_gate_and_a_width() -> None:
    layer = operators("qwen1.5-moe-a2.7b", rows=2)
    assert layer["shared_up"].parameters == 2048 * 5632
    assert layer["shared_weight"].parameters == 2048
    assert layer["combine"].input_elements == 2 * 2048 * (4 + 1)


def test_only_a_part_of_a_head_may_be_rotated_and_queries_may_bring_a_gate() -> None:
    layer = operators("qwen3-next-80b-a3b", rows=2, layer=3)
    assert layer["rope"].input_elements == 2 * (16 + 2) * 64
    assert layer["q"].parameters == 2048 * 2 * 16 * 256
    assert layer["output_gate"].input_elements == 2 * 2 * 16 * 256


def test_products_per_head_take_as_long_as_as_many_experts_of_one_row() -> None:
    """16 matrices [128, 512], each times a row of its own, on a chip with wide tiles and on one with narrow ones."""
    grouped = operators("deepseek-v2-lite", prompt=9, num_steps=1)["queries_to_latent"]
    experts = ExpertMatMul("e", (), rows=1, inputs=128, outputs=512, experts=16, top_k=16, touched=16, gathers=False)
    for chip, body in (("thor-t5000", "nvfp4"), ("hypo-decode", "w4a16"), ("hypo-decode", "fp16")):
        platform = Platform(load_chip(chip), load_runtime("ideal"))
        one, other = (kernel_work([each], platform=platform, body=precision(body)) for each in (grouped, experts))
        for cycles in ("matrix_cycles", "vector_cycles", "conversion_cycles"):
            assert getattr(one, cycles) == getattr(other, cycles)
        assert one.matrix_cycles + one.vector_cycles > 0


def test_all_rows_of_all_heads_are_quantised_before_their_products() -> None:
    chip, runtime = load_chip("thor-t5000"), load_runtime("tensorrt-edge-llm")
    platform = Platform(chip, runtime.with_values({"kernels.nvfp4.quantises": "before_each"}))
    blocks = decoder_blocks(decoder(**MODELS["deepseek-v2-lite"][1]), rows=1, prompt=9, num_steps=1)
    graph = with_quantisation(blocks[1].graph, platform, precision("nvfp4"))
    added = {each.name: each.output_elements for each in graph.operators if isinstance(each, Quantise)}
    assert added["quantise_queries_to_latent"] == 16 * 128
    assert added["quantise_values_from_latent"] == 16 * 512


def test_experts_that_are_fetched_early_take_the_room_of_one_layer_however_many_blocks_there_are() -> None:
    """gpt-oss-20b: three matrices [2880, 2880] in NVFP4 (9/16 B) and their biases, 4 experts of each layer ahead."""
    platform = Platform(load_chip("hypo-moe"), load_runtime("tensorrt-edge-llm"))
    workload = configure(load_workload("gpt-oss-20b"), precision="nvfp4", prompt_tokens=8, decode_tokens=1)
    expert_bytes = 3 * (2880 * 2880 * 9 // 16 + 2880 * 2)
    reserved = reserved_expert_bytes(build_graph(workload).phases, platform, has_trace=False)
    assert reserved == (platform.layers_ahead + 1) * 4 * expert_bytes


def test_each_layer_reads_the_experts_that_the_trace_says_and_the_dense_one_none() -> None:
    """DeepSeek-V2-Lite, 40 tokens: what layer n loads for its last matrices is told by row n - 1 of the trace."""
    workload = configure(load_workload("deepseek-v2-lite"), precision="fp16", prompt_tokens=40, decode_tokens=1)
    graph = build_graph(workload)
    assert graph.trace is not None
    assert graph.trace.num_layers == 26
    program = lower([Demand(graph)], Platform(load_chip("h200"), load_runtime("ideal")), ONCE)
    tasks, labels = program.tasks, program.labels
    is_down = tasks.operation == labels.operations.index("prefill.down")
    loaded = [int(tasks.size_bytes[is_down & (tasks.layer == layer)].sum()) for layer in range(27)]
    touched = [len(np.unique(graph.trace.picks[layer, :40])) for layer in range(26)]
    assert len(set(touched)) > 2  # else any layer could stand for another
    assert loaded == [10944 * 2048 * 2, *(count * 1408 * 2048 * 2 for count in touched)]


# linear attention ----------------------------------------------------------------------------------------------------


def test_a_decoded_token_reads_and_writes_every_state_once() -> None:
    """32 states of [128, 128] in FP32, and 3 tokens of 2 * 16 * 128 + 32 * 128 channels in 16 bits."""
    layer = operators("qwen3-next-80b-a3b", prompt=1000, num_steps=3)
    rule, convolution = work(layer["delta_rule"]), work(layer["convolution"])
    assert rule.cache_read_bytes == rule.cache_write_bytes == 32 * 128 * 128 * 4 == 2 * 2**20
    assert convolution.cache_read_bytes == convolution.cache_write_bytes == 3 * 8192 * 2
    assert layer["delta_rule"].flop == 2 * 3 * 32 * 128 * 128  # correction, outer product, result
    assert layer["convolution"].flop == 2 * 8192 * 4


def test_a_prompt_writes_its_states_and_reads_none() -> None:
    layer = operators("qwen3-next-80b-a3b", rows=100)
    rule, convolution = work(layer["delta_rule"]), work(layer["convolution"])
    assert (rule.cache_read_bytes, rule.cache_write_bytes) == (0, 32 * 128 * 128 * 4)
    assert (convolution.cache_read_bytes, convolution.cache_write_bytes) == (0, 3 * 8192 * 2)


def products_of_chunk(rows: int, key: int, value: int) -> int:
    """Product by product: squares of K, of Q and K, W, U, result within; state to W, to the result, and update."""
    squares = [(rows, rows, key), (rows, rows, key), (rows, rows, key), (rows, rows, value), (rows, rows, value)]
    of_state = [(rows, key, value)] * 3
    inverse = comb(rows, 3)  # row i of a unit lower triangle: one product for each j < k < i
    return sum(a * b * c for a, b, c in squares + of_state) + inverse


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 200])
def test_flop_of_the_chunked_delta_rule_are_those_of_its_products(rows: int) -> None:
    layer = operators("qwen3-next-80b-a3b", rows=rows)
    whole, rest = divmod(rows, 64)
    by_hand = whole * products_of_chunk(64, 128, 128) + (products_of_chunk(rest, 128, 128) if rest else 0)
    assert layer["delta_rule"].flop == 2 * 32 * by_hand


def test_the_chunked_form_computes_what_the_recurrence_does() -> None:
    """The products that are counted, carried out: three chunks of four against a token after the other."""
    rng = np.random.default_rng(0)
    rows, key, value, chunk = 12, 5, 3, 4
    q, k, v = rng.normal(size=(rows, key)), rng.normal(size=(rows, key)), rng.normal(size=(rows, value))
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    a, b = rng.uniform(0.5, 1, rows), rng.uniform(0, 1, rows)
    state, expected = np.zeros((key, value)), []
    for t in range(rows):
        state = a[t] * state
        state = state + b[t] * np.outer(k[t], v[t] - state.T @ k[t])
        expected.append(state.T @ q[t])
    state, found = np.zeros((key, value)), []
    for first in range(0, rows, chunk):
        part = slice(first, first + chunk)
        decay = np.cumprod(a[part])
        ratio = np.tril(decay[:, None] / decay[None, :])
        strict = np.tril(b[part, None] * ratio * (k[part] @ k[part].T), -1)
        inverse = np.linalg.inv(np.eye(chunk) + strict)
        w = inverse @ (b[part, None] * decay[:, None] * k[part])
        u = inverse @ (b[part, None] * v[part]) - w @ state
        found.append((decay[:, None] * q[part]) @ state + (ratio * (q[part] @ k[part].T)) @ u)
        state = decay[-1] * state + (k[part] * (decay[-1] / decay)[:, None]).T @ u
    assert np.concatenate(found) == pytest.approx(np.array(expected))


def test_states_do_not_grow_with_the_context_and_take_room_in_the_dram() -> None:
    """36 layers of 2 MiB and 48 kB; at 24,576 bytes per token the cache is as large after 3,144 tokens."""
    of_state = 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)
    platform = Platform(load_chip("h200"), load_runtime("ideal"))
    for prompt in (10, 1000):
        workload = configure(load_workload("qwen3-next-80b-a3b"), precision="bf16", prompt_tokens=prompt,
                             decode_tokens=1)  # fmt: skip
        needs = {need.name.split(maxsplit=1)[1]: need.size_bytes for need in
                 dram_needs([Demand(build_graph(workload))], platform)}  # fmt: skip
        assert needs["states"] == of_state
        assert needs["kv cache"] == 24_576 * (prompt + 1)


def test_single_tokens_work_on_the_lanes_and_chunks_on_the_matrix_path() -> None:
    platform = Platform(load_chip("thor-t5000"), load_runtime("ideal"))
    lanes = platform.chip.cluster.vector.lanes.value * platform.chip.cluster.count.value
    one, many = (operators("qwen3-next-80b-a3b", rows=rows, prompt=4, num_steps=steps)["delta_rule"]
                 for rows, steps in ((1, 1), (640, 0)))  # fmt: skip
    single, chunks = (kernel_work([each], platform=platform, body=precision("bf16")) for each in (one, many))
    assert single.matrix_cycles == 0
    assert single.vector_cycles == pytest.approx((3 + 1) * 32 * 128 * 128 / lanes)  # products, and the decay
    assert chunks.vector_cycles == pytest.approx(10 * 32 * 128 * 128 / lanes)  # ten chunks decay their states
    assert chunks.dtype in {"fp16", "bf16"}
    assert chunks.matrix_cycles > 0


# refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gpt-oss-20b", {"attention_window": None}, 'pattern: a layer "window" needs attention_window'),
        ("qwen3-next-80b-a3b", {"linear": None}, 'pattern: a layer "linear" needs linear'),
        ("gpt-oss-20b", {"pattern": ["full"]}, 'attention_window: needs a layer "window" in pattern, got full'),
        ("deepseek-v2-lite", {"head_dim": 128}, r"head_dim: must be nope_dim \+ rope_dim \(192\) of latent, got 128"),
        ("deepseek-v2-lite", {"kv_heads": 8}, r"kv_heads: must be heads \(16\) with latent attention, got 8"),
        ("deepseek-v2-lite", {"head_norm": True}, "latent: must not be given beside head_norm"),
        ("deepseek-v2-lite", {"dense_layers": 27}, r"dense_layers: must be less than layers \(27\), got 27"),
        ("deepseek-v2-lite", {"dense_width": None}, "dense_layers and dense_width: must be given together"),
        ("mistral-7b", {"dense_layers": 1, "dense_width": 8}, "dense_layers: must be 0 without experts"),
        ("mistral-7b", {"head_norm_width": "all heads"}, "head_norm_width: must not be given without head_norm"),
        ("mistral-7b", {"rope_dim": 129}, r"rope_dim: must be at most head_dim \(128\), got 129"),
        ("mixtral-8x7b", {"shared_gate": True}, "shared_width and shared_gate: must not be given without shared"),
        ("qwen3-next-80b-a3b", {"linear": {**NEXT, "key_heads": 5}}, r"key_heads: must divide value_heads \(32\)"),
        (
            "deepseek-v2-lite",
            {"routing": {"skew": [0.1] * 27, "keep": [0.1], "source": "test", "status": "assumed"}},
            r"routing.skew: must have one value, or one per layer \(26\), got 27",
        ),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoder(**{**MODELS[name][1], **changes})


def test_an_action_expert_reads_keys_and_values_of_layers_that_are_alike() -> None:
    workload = load_workload("pi0.5")
    with pytest.raises(SpecError, match="action: must read keys and values of layers that are alike"):
        workload.with_values({"decoder.pattern": ["window", "full"], "decoder.attention_window": 512})


def test_these_models_use_every_operator_of_layers() -> None:
    """So that the counts above leave none out."""
    used = {
        type(operator)
        for _, sizes in MODELS.values()
        for block in decoder_blocks(decoder(**sizes), rows=2, prompt=0, num_steps=0)
        for operator in block.graph.operators
    }
    assert used >= {Attention, CacheWrite, DeltaRule, MatMul, ShortConvolution}
