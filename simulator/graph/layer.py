"""Parts of a layer that decoders and action experts share: attention with its projections, and the gated FFN."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from simulator.graph.operator import Attention, CacheWrite, Elementwise, MatMul, Operator
from simulator.terms import Fusion
from simulator.variants import Size, largest

Edges = list[tuple[str, str]]


class LayerSizes(Protocol):
    """The sizes of a layer."""

    @property
    def hidden(self) -> Size: ...  # noqa: D102
    @property
    def heads(self) -> Size: ...  # noqa: D102
    @property
    def kv_heads(self) -> Size: ...  # noqa: D102
    @property
    def head_dim(self) -> Size: ...  # noqa: D102
    @property
    def ffn_width(self) -> Size: ...  # noqa: D102
    @property
    def head_norm(self) -> bool: ...  # noqa: D102


def self_attention(
    sizes: LayerSizes, rows: int, attention: Attention, *, has_bias: bool, cached_rows: Size, has_gains: bool = True
) -> tuple[list[Operator], Edges]:
    """Norm, projections, head norm, rope, cache write, attention, output projection and the residual addition."""
    query_width, kv_width = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    rotated = query_width + kv_width
    gains = sizes.hidden if has_gains else 0
    operators: list[Operator] = [norm("norm_1", rows, sizes.hidden, gains=gains)]
    for name, width in (("q", query_width), ("k", kv_width), ("v", kv_width)):
        operators.append(MatMul(name, ("qkv",), rows=rows, inputs=sizes.hidden, outputs=width, has_bias=has_bias))
    edges = [("norm_1", "q"), ("norm_1", "k"), ("norm_1", "v"), ("v", "attention")]
    before_rope = ["q", "k"]
    if sizes.head_norm:
        operators.append(
            Elementwise(
                "head_norm", ("head_norm_rope_cache",), kind="head_norm", rows=rows, width=rotated,
                gains=2 * sizes.head_dim,
            )
        )  # fmt: skip
        edges += [("q", "head_norm"), ("k", "head_norm")]
        before_rope = ["head_norm"]
    operators.append(Elementwise("rope", ("head_norm_rope_cache",), kind="rope", rows=rows, width=rotated))
    edges += [(name, "rope") for name in before_rope] + [("rope", "attention")]
    if np.any(cached_rows):
        operators.append(
            CacheWrite(
                "cache_write",
                ("head_norm_rope_cache",),
                tokens=cached_rows,
                kv_heads=sizes.kv_heads,
                head_dim=sizes.head_dim,
                context=largest(attention.cached_keys, cached_rows),
                window=attention.window,
            )
        )
        edges += [("rope", "cache_write"), ("v", "cache_write"), ("cache_write", "attention")]
    operators += [
        attention,
        MatMul("o", (), rows=rows, inputs=query_width, outputs=sizes.hidden),
        Elementwise("add_1", ("norm_residual",), kind="add", rows=rows, width=sizes.hidden, operands=2),
    ]
    return operators, [*edges, ("attention", "o"), ("o", "add_1")]


def gated_ffn(sizes: LayerSizes, rows: int, *, has_gains: bool = True) -> tuple[list[Operator], Edges]:
    """Norm, two matrices, activation and product, third matrix and the residual addition."""
    hidden, ffn_width = sizes.hidden, sizes.ffn_width
    gains = hidden if has_gains else 0
    operators: list[Operator] = [
        norm("norm_2", rows, hidden, fusions=("norm_residual",), gains=gains),
        MatMul("gate", ("gate_up",), rows=rows, inputs=hidden, outputs=ffn_width),
        MatMul("up", ("gate_up", "gate_activation"), rows=rows, inputs=hidden, outputs=ffn_width),
        Elementwise(
            "activation", ("gate_activation",), kind="gated_activation", rows=rows, width=ffn_width, operands=2
        ),
        MatMul("down", (), rows=rows, inputs=ffn_width, outputs=hidden),
        Elementwise("add_2", (), kind="add", rows=rows, width=hidden, operands=2),
    ]
    edges = [("add_1", "norm_2"), ("norm_2", "gate"), ("norm_2", "up"), ("gate", "activation"), ("up", "activation"),
             ("activation", "down"), ("down", "add_2"), ("add_1", "add_2")]  # fmt: skip
    return operators, edges


def norm(
    name: str, rows: int, width: Size, *, fusions: tuple[Fusion, ...] = (), gains: Size | None = None
) -> Elementwise:
    """A norm over the width, with a gain per element unless said otherwise."""
    return Elementwise(
        name, fusions, kind="norm", rows=rows, width=width, gains=width if gains is None else gains
    )  # fmt: skip
