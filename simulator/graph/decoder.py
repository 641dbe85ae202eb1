"""A decoder as graphs: embedding, one graph per kind of layer, final norm and head.

Sizes may be arrays: contexts with one value per step, all others with one per point of a design space. What a layer is
made of is in `layer`, `experts`, `latent` and `linear_attention`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import numpy as np

from simulator.graph.experts import ExpertSizes, expert_ffn
from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.latent import latent_attention
from simulator.graph.layer import PLAIN, Edges, LayerSizes, LayerStyle, ffn, gated_ffn, norm, self_attention
from simulator.graph.linear_attention import linear_attention
from simulator.graph.operator import Attention, Embedding, MatMul, Operator
from simulator.variants import Ints, Size, smallest
from simulator.workload.decoder import Decoder, LayerKind


class DecoderSizes(LayerSizes, Protocol):
    """The sizes of a plain decoder: a `Decoder`, or one whose sizes are arrays with one value per point of a space.

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


Sees = Literal["cache", "earlier", "all"]
"""Which of each other's keys tokens see that go through together; see `Pass`."""


class Run(NamedTuple):
    """Neighbouring layers that are equal."""

    first_layer: int
    repeats: int
    kind: LayerKind
    is_sparse: bool


def runs_of(decoder: Decoder) -> Iterator[Run]:
    """The layers of a decoder in order, equal neighbours together."""
    each = [(kind, decoder.is_sparse and layer >= decoder.dense_layers) for layer, kind in enumerate(decoder.kinds)]
    first = 0
    for (kind, is_sparse), equal in itertools.groupby(each):
        repeats = len(list(equal))
        yield Run(first, repeats, kind, is_sparse)
        first += repeats


# caches and states -----------------------------------------------------------------------------------------------


def kv_elements_per_token(decoder: Decoder) -> int:
    """Elements that a new token writes to the KV cache, in all layers that have one."""
    return _token_elements(decoder) * sum(kind != "linear" for kind in decoder.kinds)


def cached_elements(decoder: Decoder, tokens: int) -> int:
    """Elements of the KV cache after so many tokens; a layer with a window keeps the newest of them."""
    kept = {"full": tokens, "window": int(seen_tokens(decoder, tokens)), "linear": 0}
    return _token_elements(decoder) * sum(kept[kind] for kind in decoder.kinds)


def _token_elements(decoder: Decoder) -> int:
    """Elements of one token in one layer."""
    if decoder.latent is not None:
        return decoder.latent.kv_rank + decoder.latent.rope_dim
    return 2 * decoder.kv_heads * decoder.head_dim


def cache_elements(sizes: DecoderSizes, layers: Size, tokens: int) -> Size:
    """Elements of the KV cache of a plain decoder after so many tokens."""
    return 2 * layers * sizes.kv_heads * sizes.head_dim * seen_tokens(sizes, tokens)


def seen_tokens(sizes: DecoderSizes, tokens: Size) -> Size:
    """How many of these tokens the next one sees in a layer with a window, or in any layer if there is none."""
    return _seen(sizes.attention_window, tokens)


def _seen(window: Size | None, tokens: Size) -> Size:
    return tokens if window is None else smallest(tokens, window)


# graphs ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def decoder_blocks(decoder: Decoder, *, rows: int, prompt: int, num_steps: int) -> tuple[Block, ...]:
    """A prefill of all rows (`num_steps` 0), or decoded tokens after a prompt, one per step."""
    return pass_blocks(decoder, Pass(rows, prompt + np.arange(1, num_steps + 1) if num_steps else None))


class Pass(NamedTuple):
    """Tokens that go through a decoder together, once or in several steps."""

    rows: int
    """How many."""
    contexts: Ints | None
    """Tokens in the cache that they read, per step; None for none."""
    sees: Sees = "cache"
    """Which of each other's keys they see: a single token finds its own in the cache, with the others; several see the
    earlier ones and their own, or all. Without a context they see the earlier ones."""
    num_results: int = 1
    """Rows that go through the head: the last ones."""


def pass_blocks(decoder: Decoder, what: Pass) -> tuple[Block, ...]:
    """A pass through the decoder. Every run of equal layers is a block; runs of the same kind have the same graph."""
    style = style_of(decoder)
    graphs: dict[tuple[LayerKind, bool], OperatorGraph] = {}
    blocks = [Block(_embedding(decoder, what.rows), 1)]
    for run in runs_of(decoder):
        key = run.kind, run.is_sparse
        if key not in graphs:
            graphs[key] = _layer(decoder, run, what, style)
        blocks.append(Block(graphs[key], run.repeats, run.first_layer))
    return *blocks, Block(_output(decoder, style, what.num_results), 1)


def decoder_graphs(
    sizes: DecoderSizes, *, rows: int, contexts: Ints | None
) -> tuple[OperatorGraph, OperatorGraph, OperatorGraph]:
    """What comes before the layers, a layer, and what comes after them: the final norm and the head of the last row.

    Args:
        sizes: a decoder whose layers are plain and alike.
        rows: tokens that go through together.
        contexts: tokens in the cache, per step, once the new one is written: its key is read with the others. None
            for a prefill, whose rows attend causally to each other.
    """
    mixed, mixed_edges = _attention(sizes, sizes.attention_window, Pass(rows, contexts), PLAIN)
    if sizes.is_sparse:
        experts = ExpertSizes(
            sizes.hidden, sizes.ffn_width, sizes.experts, sizes.top_k, sizes.shared_experts * sizes.ffn_width
        )
        others, other_edges = expert_ffn(experts, rows)
    else:
        others, other_edges = gated_ffn(sizes, rows)
    layer = OperatorGraph("layer", [*mixed, *others], [*mixed_edges, *other_edges])
    return _embedding(sizes, rows), layer, _output(sizes, PLAIN)


def style_of(decoder: Decoder) -> LayerStyle:
    """What the layers of a decoder are beside their sizes."""
    return LayerStyle(
        norm_gains=2 if decoder.norm == "layer" else 1,
        has_output_norms=decoder.output_norms,
        o_bias=decoder.o_bias,
        shares_head_gains=decoder.head_norm_width == "head",
        rope_dim=decoder.rope_dim,
        has_output_gate=decoder.output_gate,
        has_gate=decoder.ffn in {"swiglu", "geglu"},
        activation="squared_relu" if decoder.ffn == "relu2" else "activation",
        ffn_bias=decoder.ffn_bias,
    )


def _embedding(sizes: DecoderSizes, rows: int) -> OperatorGraph:
    table = Embedding("embedding", (), rows=rows, width=sizes.hidden, vocabulary=sizes.vocabulary)
    return OperatorGraph("embedding", [table], [])


def _output(sizes: DecoderSizes, style: LayerStyle, rows: int = 1) -> OperatorGraph:
    final: list[Operator] = [norm("final_norm", rows, sizes.hidden, style=style)]
    if not sizes.has_head:
        return OperatorGraph("output", final, [])
    head = MatMul(
        "head",
        (),
        rows=rows,
        inputs=sizes.hidden,
        outputs=sizes.vocabulary,
        role="head",
        shares_weights=sizes.tied_head,
    )
    return OperatorGraph("output", [*final, head], [("final_norm", "head")])


def _layer(decoder: Decoder, run: Run, what: Pass, style: LayerStyle) -> OperatorGraph:
    """A layer of a run."""
    rows, contexts = what.rows, what.contexts
    if run.kind == "linear":
        assert decoder.linear is not None  # Decoder refuses linear layers without their sizes
        mixed, edges = linear_attention(decoder.linear, decoder.hidden, rows, style, is_prefill=contexts is None)
    elif decoder.latent is not None:
        mixed, edges = latent_attention(decoder.latent, decoder.hidden, decoder.heads, rows, style, contexts=contexts)
    else:
        window = decoder.attention_window if run.kind == "window" else None
        name = "window_attention" if run.kind == "window" and len(set(decoder.kinds)) > 1 else "attention"
        mixed, edges = _attention(
            decoder, window, what, style, name=name, sinks=decoder.heads if decoder.attention_sinks else 0
        )
    others, other_edges = _ffn(decoder, run, rows, style)
    return OperatorGraph("layer", [*mixed, *others], [*edges, *other_edges])


def _attention(
    sizes: DecoderSizes, window: Size | None, what: Pass, style: LayerStyle, *, name: str = "attention",
    sinks: Size = 0,
) -> tuple[list[Operator], Edges]:  # fmt: skip
    """Attention to keys and values per head, with what is before and behind it in a layer."""
    rows, contexts, sees, _ = what
    reads_own = contexts is not None and sees == "cache"
    before: Size = 0 if contexts is None else contexts
    if window is not None:
        before = smallest(before, window if reads_own else window - 1)
    attention = Attention(
        name, (), queries=rows, cached_keys=before, own_keys=0 if reads_own else rows, heads=sizes.heads,
        kv_heads=sizes.kv_heads, head_dim=sizes.head_dim, is_causal=not reads_own and sees != "all",
        window=None if sees == "all" else window, sinks=sinks,
    )  # fmt: skip
    return self_attention(
        sizes, rows, attention, has_bias=sizes.qkv_bias, cached_rows=_seen(window, rows), style=style
    )  # fmt: skip


def _ffn(decoder: Decoder, run: Run, rows: int, style: LayerStyle) -> tuple[list[Operator], Edges]:
    if run.is_sparse:
        shared_width = decoder.ffn_width if decoder.shared_width is None else decoder.shared_width
        experts = ExpertSizes(
            decoder.hidden, decoder.ffn_width, decoder.experts, decoder.top_k, decoder.shared_experts * shared_width,
            has_shared_gate=decoder.shared_gate,
        )  # fmt: skip
        return expert_ffn(experts, rows, style=style)
    width = decoder.ffn_width if decoder.dense_width is None else decoder.dense_width
    return ffn(decoder.hidden, width, rows, style=style)
