"""Multi-head latent attention: one latent vector and one rotated key per token, for all heads.

Source: [deepseek-v2] section 2.1. With the sizes of `workload.LatentAttention`, H heads and widths n (nope_dim),
r (rope_dim), v (value_dim), c (kv_rank):

    cache      c + r elements per token and layer
    expanded   keys [n + r] and values [v] of every head are made from the latent vectors (kv_b); then ordinary
               attention: 2 H (n + r + v) flop per pair. Prefill.
    absorbed   the part of kv_b that makes keys is multiplied into the queries, and the part that makes values into the
               result, so attention works on what the cache holds: 2 H (c + r + c) flop per pair, and no key of an old
               token is made again. Decode.

Both forms have the same parameters, and the same result.
"""

from __future__ import annotations

from simulator.graph.layer import Edges, LayerStyle, after_attention, norm
from simulator.graph.operator import Attention, CacheWrite, Elementwise, MatMul, Operator
from simulator.variants import Ints, Size
from simulator.workload.decoder import LatentAttention


def latent_attention(
    latent: LatentAttention, hidden: Size, heads: Size, rows: int, style: LayerStyle, *, contexts: Ints | None
) -> tuple[list[Operator], Edges]:
    """Norm, projections, rope, cache write, attention in the form of the phase, output projection and addition.

    Args:
        latent: its sizes.
        hidden: width of the residual stream.
        heads: heads.
        rows: tokens that go through together.
        style: norms and biases of the layer.
        contexts: tokens in the cache, per step; None for a prefill.
    """
    projections, edges = _projections(latent, hidden, heads, rows)
    token = CacheWrite(
        "cache_write", ("head_norm_rope_cache",), tokens=rows, kv_heads=1, head_dim=latent.kv_rank + latent.rope_dim,
        context=rows if contexts is None else contexts, values_in_keys=True,
    )  # fmt: skip
    operators: list[Operator] = [norm("norm_1", rows, hidden, style=style), *projections, token]
    edges += [("kv_norm", "cache_write"), ("rope", "cache_write"), ("cache_write", "attention"), ("rope", "attention")]
    if contexts is None:
        attention, attention_edges, result = _expanded(latent, heads, rows)
    else:
        attention, attention_edges, result = _absorbed(latent, heads, rows, contexts)
    ending, ending_edges = after_attention(result, hidden, rows, heads * latent.value_dim, style)
    return [*operators, *attention, *ending], [*edges, *attention_edges, *ending_edges]


def _projections(latent: LatentAttention, hidden: Size, heads: Size, rows: int) -> tuple[list[Operator], Edges]:
    """Queries of all heads (the last of them `q`), the latent vector with the shared key, their norms and rope."""
    query_width = heads * (latent.nope_dim + latent.rope_dim)
    kept = MatMul("kv_a", ("qkv",), rows=rows, inputs=hidden, outputs=latent.kv_rank + latent.rope_dim)
    operators: list[Operator]
    if latent.query_rank is None:
        operators = [MatMul("q", ("qkv",), rows=rows, inputs=hidden, outputs=query_width), kept]
        edges = [("norm_1", "q")]
    else:
        rank = latent.query_rank
        operators = [
            MatMul("q_a", ("qkv",), rows=rows, inputs=hidden, outputs=rank),
            kept,
            norm("q_norm", rows, rank),
            MatMul("q", (), rows=rows, inputs=rank, outputs=query_width),
        ]
        edges = [("norm_1", "q_a"), ("q_a", "q_norm"), ("q_norm", "q")]
    operators += [
        norm("kv_norm", rows, latent.kv_rank, fusions=("head_norm_rope_cache",)),
        Elementwise(
            "rope", ("head_norm_rope_cache",), kind="rope", rows=rows, width=(heads + 1) * latent.rope_dim
        ),
    ]  # fmt: skip
    return operators, [*edges, ("norm_1", "kv_a"), ("kv_a", "kv_norm"), ("q", "rope"), ("kv_a", "rope")]


def _expanded(latent: LatentAttention, heads: Size, rows: int) -> tuple[list[Operator], Edges, str]:
    made = heads * (latent.nope_dim + latent.value_dim)
    operators: list[Operator] = [
        MatMul("kv_b", (), rows=rows, inputs=latent.kv_rank, outputs=made),
        Attention(
            "attention", (), queries=rows, cached_keys=0, own_keys=rows, heads=heads, kv_heads=heads,
            head_dim=latent.nope_dim + latent.rope_dim, is_causal=True, value_dim=latent.value_dim,
        ),
    ]  # fmt: skip
    return operators, [("kv_norm", "kv_b"), ("kv_b", "attention"), ("q", "attention")], "attention"


def _absorbed(latent: LatentAttention, heads: Size, rows: int, contexts: Ints) -> tuple[list[Operator], Edges, str]:
    rank = latent.kv_rank
    operators: list[Operator] = [
        MatMul("queries_to_latent", (), rows=rows, inputs=latent.nope_dim, outputs=rank, groups=heads),
        Attention(
            "attention", (), queries=rows, cached_keys=contexts, own_keys=0, heads=heads, kv_heads=1,
            head_dim=rank + latent.rope_dim, is_causal=False, value_dim=rank, values_in_keys=True,
        ),
        MatMul("values_from_latent", (), rows=rows, inputs=rank, outputs=latent.value_dim, groups=heads),
    ]  # fmt: skip
    edges = [("q", "queries_to_latent"), ("queries_to_latent", "attention"), ("attention", "values_from_latent")]
    return operators, edges, "values_from_latent"
