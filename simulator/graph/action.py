"""An action expert as blocks: input projection, layers that read the backbone's cache, output projection."""

from __future__ import annotations

from functools import lru_cache

from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.layer import ADAPTIVE, PLAIN, Edges, gated_ffn, norm, self_attention
from simulator.graph.operator import Attention, MatMul, Operator
from simulator.workload.transformer import ActionExpert


@lru_cache(maxsize=64)
def action_blocks(expert: ActionExpert, *, tokens: int, samples: int, cached_keys: int) -> tuple[Block, ...]:
    """One integration step: input projection, layers that read the backbone's cache, output projection."""
    rows = tokens * samples
    attention = Attention(
        "attention", (), queries=tokens, cached_keys=cached_keys, own_keys=tokens, heads=expert.heads,
        kv_heads=expert.kv_heads, head_dim=expert.head_dim, is_causal=False, batch=samples,
    )  # fmt: skip
    style = ADAPTIVE if expert.adaptive_norm else PLAIN  # else scale and shift come from a matrix
    operators, edges = self_attention(expert, rows, attention, has_bias=False, cached_rows=0, style=style)
    ffn, ffn_edges = gated_ffn(expert, rows, style=style)
    operators, edges = [*operators, *ffn], [*edges, *ffn_edges]
    if expert.adaptive_norm:
        for norm in ("norm_2", "norm_1"):
            operators, edges = _with_modulation(norm, operators, edges, expert.hidden)
    layer = OperatorGraph("layer", operators, edges)
    return Block(_action_input(expert, rows), 1), Block(layer, expert.layers), Block(_action_output(expert, rows), 1)


def _with_modulation(norm: str, operators: list[Operator], edges: Edges, hidden: int) -> tuple[list[Operator], Edges]:
    """Puts first the matrix that makes scale, shift and gate of a norm from the time embedding (one row)."""
    modulation = MatMul(f"modulation_{norm}", (), rows=1, inputs=hidden, outputs=3 * hidden, has_bias=True)
    return [modulation, *operators], [(modulation.name, norm), *edges]


def _action_input(expert: ActionExpert, rows: int) -> OperatorGraph:
    if not expert.input_hidden:
        matrix = MatMul("input", (), rows=rows, inputs=expert.input_width, outputs=expert.hidden, has_bias=True)
        return OperatorGraph("input", [matrix], [])
    first = MatMul("input_1", (), rows=rows, inputs=expert.input_width, outputs=expert.input_hidden, has_bias=True)
    second = MatMul("input_2", (), rows=rows, inputs=expert.input_hidden, outputs=expert.hidden, has_bias=True)
    return OperatorGraph("input", [first, second], [("input_1", "input_2")])


def _action_output(expert: ActionExpert, rows: int) -> OperatorGraph:
    operators: list[Operator] = [
        norm("final_norm", rows, expert.hidden, gains=0 if expert.adaptive_norm else expert.hidden),
        MatMul("output", (), rows=rows, inputs=expert.hidden, outputs=expert.action_width, has_bias=True),
    ]
    edges = [("final_norm", "output")]
    if expert.adaptive_norm:
        operators, edges = _with_modulation("final_norm", operators, edges, expert.hidden)
    return OperatorGraph("output", operators, edges)
