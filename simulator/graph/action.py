"""An action expert as blocks: input projection, layers that read what the backbone made, output projection."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache

from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.layer import Edges, LayerStyle, gated_ffn, norm, self_attention
from simulator.graph.operator import Attention, Elementwise, MatMul, Operator
from simulator.workload.transformer import ActionExpert


@lru_cache(maxsize=64)
def action_blocks(expert: ActionExpert, *, tokens: int, samples: int, cached_keys: int) -> tuple[Block, ...]:
    """One integration step: input projection, layers, output projection.

    Args:
        expert: the expert.
        tokens: of one sample.
        samples: computed as one batch.
        cached_keys: tokens that the backbone has seen.
    """
    rows = tokens * samples
    layers = [
        Block(_layer(expert, kind, tokens=tokens, samples=samples, context=cached_keys), _count(expert, kind))
        for kind in dict.fromkeys(expert.attention[: expert.layers])
    ]  # layers that are alike are together, which changes no count
    return Block(_action_input(expert, rows), 1), *layers, Block(_action_output(expert, rows), 1)


def _count(expert: ActionExpert, kind: str) -> int:
    """Layers of a kind, if kinds take turns."""
    return sum(expert.attention[layer % len(expert.attention)] == kind for layer in range(expert.layers))


def _layer(expert: ActionExpert, kind: str, *, tokens: int, samples: int, context: int) -> OperatorGraph:
    rows = tokens * samples
    style = _style(expert)
    if kind == "cross":
        operators, edges = _cross_attention(expert, rows, context, style)
    else:
        attention = Attention(
            "attention", (), queries=tokens, cached_keys=context if kind == "joint" else 0, own_keys=tokens,
            heads=expert.heads, kv_heads=expert.kv_heads, head_dim=expert.head_dim, is_causal=False, batch=samples,
        )  # fmt: skip
        operators, edges = self_attention(expert, rows, attention, has_bias=False, cached_rows=0, style=style)
    ffn, ffn_edges = gated_ffn(expert, rows, style=style)
    operators, edges = [*operators, *ffn], [*edges, *ffn_edges]
    if expert.has_bias:
        operators = [replace(each, has_bias=True) if isinstance(each, MatMul) else each for each in operators]
    if expert.adaptive_norm:
        for name in ("norm_2", "norm_1") if expert.adaptive_ffn_norm else ("norm_1",):
            operators, edges = _with_modulation(name, operators, edges, expert)
    return OperatorGraph("layer", operators, edges)


def _style(expert: ActionExpert) -> LayerStyle:
    """What the layers of an expert are beside their sizes."""
    return LayerStyle(
        norm_gains=0 if expert.adaptive_norm else 1,  # else scale and shift come from a matrix
        rope_dim=None if expert.has_rope else 0,
        has_gate=expert.ffn != "gelu",
    )


def _cross_attention(
    expert: ActionExpert, rows: int, context: int, style: LayerStyle
) -> tuple[list[Operator], Edges]:  # fmt: skip
    """Norm, queries of the action tokens, keys and values of the context, attention and the residual addition.

    All samples attend to the same context, so their rows are those of one sequence.
    """
    hidden, query_width, kv_width = expert.hidden, expert.heads * expert.head_dim, expert.kv_heads * expert.head_dim
    keys, read = max(context, 1), expert.context_width
    assert read is not None  # an expert refuses cross attention without it
    operators: list[Operator] = [
        norm("norm_1", rows, hidden, style=style),
        MatMul("q", (), rows=rows, inputs=hidden, outputs=query_width),
        MatMul("context_k", ("qkv",), rows=keys, inputs=read, outputs=kv_width),
        MatMul("context_v", ("qkv",), rows=keys, inputs=read, outputs=kv_width),
        Attention(
            "attention", (), queries=rows, cached_keys=0, own_keys=keys, heads=expert.heads,
            kv_heads=expert.kv_heads, head_dim=expert.head_dim, is_causal=False,
        ),
        MatMul("o", (), rows=rows, inputs=query_width, outputs=hidden),
        Elementwise("add_1", ("norm_residual",), kind="add", rows=rows, width=hidden, operands=2),
    ]  # fmt: skip
    edges = [("norm_1", "q"), ("q", "attention"), ("context_k", "attention"), ("context_v", "attention"),
             ("attention", "o"), ("o", "add_1")]  # fmt: skip
    if expert.head_norm:
        normed = Elementwise("head_norm", (), kind="head_norm", rows=rows, width=query_width, gains=expert.head_dim)
        of_keys = Elementwise("key_norm", (), kind="head_norm", rows=keys, width=kv_width, gains=expert.head_dim)
        operators[4:4] = [normed, of_keys]
        edges += [("q", "head_norm"), ("head_norm", "attention"), ("context_k", "key_norm"), ("key_norm", "attention")]
        edges = [edge for edge in edges if edge not in {("q", "attention"), ("context_k", "attention")}]
    return operators, edges


def _with_modulation(
    norm: str, operators: list[Operator], edges: Edges, expert: ActionExpert
) -> tuple[list[Operator], Edges]:  # fmt: skip
    """Puts first the matrix that makes scale, shift and gate of a norm from the time embedding (one row)."""
    outputs = expert.modulation * expert.hidden
    modulation = MatMul(f"modulation_{norm}", (), rows=1, inputs=expert.hidden, outputs=outputs, has_bias=True)
    return [modulation, *operators], [(modulation.name, norm), *edges]


def _action_input(expert: ActionExpert, rows: int) -> OperatorGraph:
    """Matrices that take the features of a token, and those of the time, to the width of the layers."""
    chains = [("input", rows, [expert.input_width, *([expert.input_hidden] if expert.input_hidden else [])])]
    if expert.time_width:
        chains.insert(0, ("time", 1, [expert.time_width, expert.hidden]))
    operators: list[Operator] = []
    edges: Edges = []
    for name, height, widths in chains:
        of_chain: list[Operator] = [
            MatMul(name if len(widths) == 1 else f"{name}_{number}", (), rows=height, inputs=before, outputs=after,
                   has_bias=True)
            for number, (before, after) in enumerate(itertools.pairwise([*widths, expert.hidden]), start=1)
        ]  # fmt: skip
        edges += itertools.pairwise(operator.name for operator in of_chain)
        operators += of_chain
    return OperatorGraph("input", operators, edges)


def _action_output(expert: ActionExpert, rows: int) -> OperatorGraph:
    operators: list[Operator] = [
        norm("final_norm", rows, expert.hidden, gains=0 if expert.adaptive_norm else expert.hidden),
        MatMul("output", (), rows=rows, inputs=expert.hidden, outputs=expert.action_width, has_bias=True),
    ]
    edges = [("final_norm", "output")]
    if expert.adaptive_norm:
        operators, edges = _with_modulation("final_norm", operators, edges, expert)
    return OperatorGraph("output", operators, edges)
