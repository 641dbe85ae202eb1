"""A vision tower as blocks: patch embedding, layers, and what makes tokens of patches (resampler, mergers)."""

from __future__ import annotations

import itertools
from functools import lru_cache

from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.layer import Edges, norm
from simulator.graph.operator import Attention, Elementwise, MatMul, Operator
from simulator.terms import Fusion
from simulator.workload.transformer import JoinedTower, Resampler, VisionTower

Layers = VisionTower | JoinedTower


@lru_cache(maxsize=64)
def vision_blocks(
    tower: VisionTower, *, images: int, patches: int, kept_tokens: int | None = None
) -> tuple[Block, ...]:  # fmt: skip
    """All images through the tower; attention stays within one image, or within one window of it.

    Of the tokens only some may be kept, which are copied; what picks them is left out.
    """
    rows = images * patches
    blocks = _layer_blocks(tower, images, patches)
    if tower.joined is not None:
        blocks += _layer_blocks(tower.joined, images, patches)
    if tower.resampler is not None:
        layer = _resampler_layer(tower, tower.resampler, images, patches)
        blocks.append(Block(layer, tower.resampler.layers))
        rows = tower.resampler.rows(images)
    if tower.output_width:
        extra_norm = tower.extra_merger_norm or tower.merger_norm
        alike = tower.extra_mergers if extra_norm == tower.merger_norm else 0
        blocks.append(Block(_merger(tower, rows, tower.merger_norm), 1 + alike))
        if tower.extra_mergers > alike:
            blocks.append(Block(_merger(tower, rows, extra_norm), tower.extra_mergers))
    if kept_tokens is not None:
        kept = Elementwise("keep", (), kind="add", rows=kept_tokens, width=tower.output_width or tower.width)
        blocks.append(Block(OperatorGraph("pruning", [kept], []), 1))
    return tuple(blocks)


def learned_rows(tower: VisionTower) -> int:
    """Parameters that no operator owns: position embeddings, class and register tokens, queries of a resampler."""
    towers: tuple[Layers, ...] = (tower,) if tower.joined is None else (tower, tower.joined)
    rows = sum((each.position_embeddings + each.extra_tokens) * each.width for each in towers)
    return rows + (0 if tower.resampler is None else tower.resampler.queries * tower.width)


def _layer_blocks(tower: Layers, images: int, patches: int) -> list[Block]:
    """Patch embedding, layers and final norm; layers that are alike are together, which changes no count."""
    embedding = MatMul(
        "patches", (), rows=images * patches, inputs=tower.patch_elements, outputs=tower.width,
        has_bias=tower.has_patch_bias,
    )  # fmt: skip
    seen = patches + tower.extra_tokens
    blocks = [Block(OperatorGraph("patch_embedding", [embedding], []), 1)]
    full = tower.layers if tower.attention_window is None else len(tower.full_attention_layers)
    for count, window in ((tower.layers - full, tower.attention_window), (full, None)):
        if count:
            attention = Attention(
                "attention", (), queries=seen, cached_keys=0, own_keys=seen, heads=tower.heads,
                kv_heads=tower.heads, head_dim=tower.width // tower.heads, is_causal=False, batch=images,
                window=window,
            )  # fmt: skip
            blocks.append(Block(_vision_layer(tower, images * seen, attention), count))
    has_norm_in_merger = isinstance(tower, VisionTower) and tower.merger_width and tower.merger_norm == "patch"
    if tower.has_final_norm and not has_norm_in_merger:
        final = norm("final_norm", images * seen, tower.width, gains=_gains(tower, tower.width))
        blocks.append(Block(OperatorGraph("final_norm", [final], []), 1))
    return blocks


def _gains(tower: Layers, width: int) -> int:
    """What a norm has learned: a gain per element, and in a layer norm a bias."""
    return width if tower.norm == "rms" else 2 * width


def _vision_layer(tower: Layers, rows: int, attention: Attention) -> OperatorGraph:
    width, bias = tower.width, tower.has_bias
    scales = width if tower.has_layer_scale else 0
    operators: list[Operator] = [
        norm("norm_1", rows, width, gains=_gains(tower, width)),
        MatMul("qkv", (), rows=rows, inputs=width, outputs=3 * width, has_bias=bias),
    ]
    if tower.has_rope:
        operators.append(Elementwise("rope", (), kind="rope", rows=rows, width=2 * width))
    operators += [
        attention,
        MatMul("o", (), rows=rows, inputs=width, outputs=width, has_bias=bias),
        Elementwise("add_1", ("norm_residual",), kind="add", rows=rows, width=width, operands=2, gains=scales),
        norm("norm_2", rows, width, fusions=("norm_residual",), gains=_gains(tower, width)),
    ]
    edges: Edges = list(itertools.pairwise(operator.name for operator in operators))
    if tower.has_rope:
        edges.append(("qkv", "attention"))  # the values
    ffn, ffn_edges = _ffn(tower, rows)
    add = Elementwise("add_2", (), kind="add", rows=rows, width=width, operands=2, gains=scales)
    return OperatorGraph("layer", [*operators, *ffn, add], [*edges, *ffn_edges, ("down", "add_2"), ("add_1", "add_2")])


def _ffn(tower: Layers, rows: int) -> tuple[list[Operator], Edges]:
    """Two matrices, or three of a gated FFN, after `norm_2`."""
    width, inner, bias = tower.width, tower.ffn_width, tower.has_bias
    if tower.ffn == "gelu":
        operators: list[Operator] = [
            MatMul("up", ("gate_activation",), rows=rows, inputs=width, outputs=inner, has_bias=bias),
            Elementwise("activation", ("gate_activation",), kind="activation", rows=rows, width=inner),
        ]
        edges = [("norm_2", "up"), ("up", "activation")]
    else:
        operators = [
            MatMul("gate", ("gate_up",), rows=rows, inputs=width, outputs=inner, has_bias=bias),
            MatMul("up", ("gate_up", "gate_activation"), rows=rows, inputs=width, outputs=inner, has_bias=bias),
            Elementwise(
                "activation", ("gate_activation",), kind="gated_activation", rows=rows, width=inner, operands=2
            ),
        ]
        edges = [("norm_2", "gate"), ("norm_2", "up"), ("gate", "activation"), ("up", "activation")]
    operators.append(MatMul("down", (), rows=rows, inputs=inner, outputs=width, has_bias=bias))
    return operators, [*edges, ("activation", "down")]


def _resampler_layer(tower: VisionTower, resampler: Resampler, images: int, patches: int) -> OperatorGraph:
    """Queries attend to the patches; then a norm, two matrices and the residual."""
    width, bias, inner = tower.width, tower.has_bias, resampler.ffn_width
    sets, keys, rows = resampler.sets(images), images * patches, resampler.rows(images)
    operators: list[Operator] = [
        MatMul("query", (), rows=rows, inputs=width, outputs=width, has_bias=bias),
        MatMul("key", ("qkv",), rows=keys, inputs=width, outputs=width, has_bias=bias),
        MatMul("value", ("qkv",), rows=keys, inputs=width, outputs=width, has_bias=bias),
        Attention(
            "pooling", (), queries=resampler.queries, cached_keys=0, own_keys=keys // sets, heads=resampler.heads,
            kv_heads=resampler.heads, head_dim=width // resampler.heads, is_causal=False, batch=sets,
        ),
        MatMul("pooled", (), rows=rows, inputs=width, outputs=width, has_bias=bias),
        norm("pooled_norm", rows, width, gains=_gains(tower, width)),
        MatMul("pooled_up", ("gate_activation",), rows=rows, inputs=width, outputs=inner, has_bias=bias),
        Elementwise("pooled_activation", ("gate_activation",), kind="activation", rows=rows, width=inner),
        MatMul("pooled_down", (), rows=rows, inputs=inner, outputs=width, has_bias=bias),
        Elementwise("pooled_add", (), kind="add", rows=rows, width=width, operands=2),
    ]  # fmt: skip
    names = [operator.name for operator in operators]
    edges = [("query", "pooling"), ("key", "pooling"), ("value", "pooling"), *itertools.pairwise(names[3:])]
    return OperatorGraph("resampler", operators, [*edges, ("pooled", "pooled_add")])


def _merger(tower: VisionTower, rows: int, norm_of: str) -> OperatorGraph:
    """Neighbouring patches, joined with those of a second tower, become one token in the decoder's width."""
    width = tower.width + (0 if tower.joined is None else tower.joined.width)
    tokens, inputs, outputs = rows // tower.merge, tower.merge * width, tower.output_width
    bias = tower.has_merger_bias
    if not tower.merger_width:
        projection = MatMul("projection", (), rows=tokens, inputs=inputs, outputs=outputs, has_bias=bias)
        return OperatorGraph("merger", [projection], [])
    operators: list[Operator] = []
    if norm_of == "patch":
        operators.append(norm("merge_norm", rows, width, gains=_gains(tower, width)))
    elif norm_of == "token":
        operators.append(norm("merge_norm", tokens, inputs, gains=_gains(tower, inputs)))
    widths = [inputs, tower.merger_width, *[outputs] * (tower.merger_layers - 1)]
    for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        is_last = number == tower.merger_layers
        fusions: tuple[Fusion, ...] = () if is_last else ("gate_activation",)
        operators.append(MatMul(f"merge_{number}", fusions, rows=tokens, inputs=before, outputs=after, has_bias=bias))
        if not is_last:
            name = "merge_activation" if number == 1 else f"merge_activation_{number}"
            operators.append(Elementwise(name, ("gate_activation",), kind="activation", rows=tokens, width=after))
    return OperatorGraph("merger", operators, itertools.pairwise(operator.name for operator in operators))
