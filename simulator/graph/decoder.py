"""A decoder as graphs: embedding, a layer with a dense or a sparse FFN, final norm and head.

Sizes may be arrays: contexts with one value per step, all others with one per point of a design space.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np

from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.layer import Edges, LayerSizes, gated_ffn, norm, self_attention
from simulator.graph.operator import Attention, Elementwise, Embedding, ExpertMatMul, MatMul, Operator
from simulator.terms import Fusion
from simulator.variants import Ints, Size, smallest, whole
from simulator.workload.transformer import Decoder


class DecoderSizes(LayerSizes, Protocol):
    """The sizes of a decoder: a `Decoder`, or one whose sizes are arrays with one value per point of a space.

    All points of an array have the same operators: experts or none, shared experts or none, a window or none.
    """

    @property
    def vocabulary(self) -> Size: ...  # noqa: D102
    @property
    def experts(self) -> Size: ...  # noqa: D102
    @property
    def top_k(self) -> Size: ...  # noqa: D102
    @property
    def shared_experts(self) -> Size: ...  # noqa: D102
    @property
    def attention_window(self) -> Size | None: ...  # noqa: D102
    @property
    def is_sparse(self) -> bool: ...  # noqa: D102
    @property
    def tied_head(self) -> bool: ...  # noqa: D102
    @property
    def has_head(self) -> bool: ...  # noqa: D102
    @property
    def qkv_bias(self) -> bool: ...  # noqa: D102


def kv_elements_per_token(decoder: Decoder) -> int:
    """Elements of the KV cache that one token adds: keys and values of every layer."""
    return 2 * decoder.layers * decoder.kv_heads * decoder.head_dim


def cache_elements(sizes: DecoderSizes, layers: Size, tokens: int) -> Size:
    """Elements of the KV cache after so many tokens; a sliding window keeps the newest of them."""
    return 2 * layers * sizes.kv_heads * sizes.head_dim * seen_tokens(sizes, tokens)


_ROUNDING_GUARD = 1e-9
"""So that a half is a half, whichever way a power was computed."""


@lru_cache(maxsize=256)
def decoder_blocks(decoder: Decoder, *, rows: int, prompt: int, num_steps: int) -> tuple[Block, ...]:
    """A prefill of all rows (`num_steps` 0), or decoded tokens after a prompt, one per step."""
    contexts = prompt + np.arange(1, num_steps + 1) if num_steps else None
    embedding, layer, output = decoder_graphs(decoder, rows=rows, contexts=contexts)
    return Block(embedding, 1), Block(layer, decoder.layers), Block(output, 1)


def decoder_graphs(
    sizes: DecoderSizes, *, rows: int, contexts: Ints | None
) -> tuple[OperatorGraph, OperatorGraph, OperatorGraph]:
    """What comes before the layers, a layer, and what comes after them: the final norm and the head of the last row.

    Args:
        sizes: the decoder.
        rows: tokens that go through together.
        contexts: tokens in the cache, per step, once the new one is written: its key is read with the others. None
            for a prefill, whose rows attend causally to each other.
    """
    embedding = Embedding("embedding", (), rows=rows, width=sizes.hidden, vocabulary=sizes.vocabulary)
    final: list[Operator] = [norm("final_norm", 1, sizes.hidden)]
    edges: list[tuple[str, str]] = []
    if sizes.has_head:
        final.append(
            MatMul(
                "head", (), rows=1, inputs=sizes.hidden, outputs=sizes.vocabulary, role="head",
                shares_weights=sizes.tied_head,
            )
        )  # fmt: skip
        edges.append(("final_norm", "head"))
    return (
        OperatorGraph("embedding", [embedding], []),
        _decoder_layer(sizes, rows, contexts),
        OperatorGraph("output", final, edges),
    )


def _decoder_layer(sizes: DecoderSizes, rows: int, contexts: Ints | None) -> OperatorGraph:
    attention = Attention(
        "attention", (), queries=rows, cached_keys=0 if contexts is None else seen_tokens(sizes, contexts),
        own_keys=rows if contexts is None else 0, heads=sizes.heads, kv_heads=sizes.kv_heads, head_dim=sizes.head_dim,
        is_causal=contexts is None, window=sizes.attention_window,
    )  # fmt: skip
    operators, edges = self_attention(
        sizes, rows, attention, has_bias=sizes.qkv_bias, cached_rows=seen_tokens(sizes, rows)
    )
    ffn, ffn_edges = _expert_ffn(sizes, rows) if sizes.is_sparse else gated_ffn(sizes, rows)
    return OperatorGraph("layer", [*operators, *ffn], [*edges, *ffn_edges])


def seen_tokens(sizes: DecoderSizes, tokens: Size) -> Size:
    """How many of these tokens the next one sees."""
    return tokens if sizes.attention_window is None else smallest(tokens, sizes.attention_window)


def touched_experts(experts: Size, top_k: Size, rows: int) -> Size:
    """Distinct experts that the rows reach, if each picks `top_k` of them and no expert is preferred.

    Formula:  E (1 - (1 - k/E)^n), the expected number, rounded to a whole one (a half up)
    Source:   [codesign] section 4.3.4 (prefill touches more experts); the expectation of uniform routing
    Valid:    real routers have favourites, so they touch fewer
    """
    expected = experts * (1 - (1 - top_k / experts) ** rows)
    return whole(expected + 0.5 + _ROUNDING_GUARD)


def _expert_ffn(sizes: DecoderSizes, rows: int) -> tuple[list[Operator], Edges]:
    """Router, routed experts, shared experts, and the weighted sum of their results."""
    hidden, width, top_k = sizes.hidden, sizes.ffn_width, sizes.top_k
    touched = touched_experts(sizes.experts, top_k, rows)

    def expert(name: str, fusions: tuple[Fusion, ...], inputs: Size, outputs: Size, *, gathers: bool) -> ExpertMatMul:
        return ExpertMatMul(
            name, fusions, rows=rows, inputs=inputs, outputs=outputs, experts=sizes.experts, top_k=top_k,
            touched=touched, gathers=gathers,
        )  # fmt: skip

    operators: list[Operator] = [
        norm("norm_2", rows, hidden, fusions=("norm_residual",)),
        MatMul("router", (), rows=rows, inputs=hidden, outputs=sizes.experts),
        Elementwise("routing", (), kind="routing", rows=rows, width=sizes.experts),
        expert("gate", ("gate_up",), hidden, width, gathers=True),
        expert("up", ("gate_up", "gate_activation"), hidden, width, gathers=True),
        Elementwise(
            "activation", ("gate_activation",), kind="gated_activation", rows=rows * top_k, width=width, operands=2
        ),
        expert("down", (), width, hidden, gathers=False),
    ]
    edges = [("add_1", "norm_2"), ("norm_2", "router"), ("router", "routing"), ("norm_2", "gate"), ("norm_2", "up"),
             ("routing", "gate"), ("routing", "up"), ("gate", "activation"), ("up", "activation"),
             ("activation", "down"), ("down", "combine"), ("routing", "combine")]  # fmt: skip
    operands = top_k
    if np.any(sizes.shared_experts):
        operators += _shared_experts(rows, hidden, sizes.shared_experts * width)
        edges += [("norm_2", "shared_gate"), ("norm_2", "shared_up"), ("shared_gate", "shared_activation"),
                  ("shared_up", "shared_activation"), ("shared_activation", "shared_down"),
                  ("shared_down", "combine")]  # fmt: skip
        operands = top_k + 1
    operators += [
        Elementwise("combine", (), kind="combine", rows=rows, width=hidden, operands=operands),
        Elementwise("add_2", (), kind="add", rows=rows, width=hidden, operands=2),
    ]
    return operators, [*edges, ("combine", "add_2"), ("add_1", "add_2")]


def _shared_experts(rows: int, hidden: Size, width: Size) -> list[Operator]:
    return [
        MatMul("shared_gate", ("gate_up",), rows=rows, inputs=hidden, outputs=width),
        MatMul("shared_up", ("gate_up", "gate_activation"), rows=rows, inputs=hidden, outputs=width),
        Elementwise(
            "shared_activation", ("gate_activation",), kind="gated_activation", rows=rows, width=width, operands=2
        ),
        MatMul("shared_down", (), rows=rows, inputs=width, outputs=hidden),
    ]
