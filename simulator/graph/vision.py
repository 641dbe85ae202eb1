"""A vision tower as blocks: patch embedding, layers, and mergers into the decoder's width."""

from __future__ import annotations

import itertools
from functools import lru_cache

from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.layer import norm
from simulator.graph.operator import Attention, Elementwise, MatMul, Operator
from simulator.workload.transformer import VisionTower


@lru_cache(maxsize=64)
def vision_blocks(tower: VisionTower, *, images: int, patches: int) -> tuple[Block, ...]:
    """All images through the tower; attention stays within one image."""
    rows = images * patches
    head_dim = tower.width // tower.heads
    patch = OperatorGraph(
        "patch_embedding",
        [MatMul("patches", (), rows=rows, inputs=tower.patch_elements, outputs=tower.width, has_bias=tower.has_bias)],
        [],
    )
    attention = Attention(
        "attention", (), queries=patches, cached_keys=0, own_keys=patches, heads=tower.heads, kv_heads=tower.heads,
        head_dim=head_dim, is_causal=False, batch=images,
    )  # fmt: skip
    layer = _vision_layer(tower, rows, attention)
    blocks = [Block(patch, 1), Block(layer, tower.layers), Block(_merger(tower, rows), 1 + tower.extra_mergers)]
    if tower.has_final_norm and not tower.merger_width:
        # a tower with a single output projection normalises all its rows once; a merger has a norm of its own
        final = OperatorGraph("final_norm", [norm("final_norm", rows, tower.width, gains=2 * tower.width)], [])
        blocks.insert(2, Block(final, 1))
    return tuple(blocks)


def _vision_layer(tower: VisionTower, rows: int, attention: Attention) -> OperatorGraph:
    width, bias = tower.width, tower.has_bias
    operators: list[Operator] = [
        norm("norm_1", rows, width, gains=2 * width),
        MatMul("qkv", (), rows=rows, inputs=width, outputs=3 * width, has_bias=bias),
        attention,
        MatMul("o", (), rows=rows, inputs=width, outputs=width, has_bias=bias),
        Elementwise("add_1", ("norm_residual",), kind="add", rows=rows, width=width, operands=2),
        norm("norm_2", rows, width, fusions=("norm_residual",), gains=2 * width),
        MatMul("up", ("gate_activation",), rows=rows, inputs=width, outputs=tower.ffn_width, has_bias=bias),
        Elementwise("activation", ("gate_activation",), kind="activation", rows=rows, width=tower.ffn_width),
        MatMul("down", (), rows=rows, inputs=tower.ffn_width, outputs=width, has_bias=bias),
        Elementwise("add_2", (), kind="add", rows=rows, width=width, operands=2),
    ]
    names = [operator.name for operator in operators]
    return OperatorGraph("layer", operators, [*itertools.pairwise(names), ("add_1", "add_2")])


def _merger(tower: VisionTower, rows: int) -> OperatorGraph:
    """Neighbouring patches become one token in the decoder's width."""
    tokens, inputs = rows // tower.merge, tower.merge * tower.width
    if not tower.merger_width:
        projection = MatMul(
            "projection", (), rows=tokens, inputs=inputs, outputs=tower.output_width, has_bias=tower.has_bias
        )
        return OperatorGraph("merger", [projection], [])
    operators: list[Operator] = [
        norm("merge_norm", rows, tower.width, gains=2 * tower.width),
        MatMul("merge_1", ("gate_activation",), rows=tokens, inputs=inputs, outputs=tower.merger_width,
               has_bias=tower.has_bias),
        Elementwise("merge_activation", ("gate_activation",), kind="activation", rows=tokens, width=tower.merger_width),
        MatMul("merge_2", (), rows=tokens, inputs=tower.merger_width, outputs=tower.output_width,
               has_bias=tower.has_bias),
    ]  # fmt: skip
    names = [operator.name for operator in operators]
    return OperatorGraph("merger", operators, itertools.pairwise(names))
