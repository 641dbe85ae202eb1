"""Parts of a layer that decoders and action experts share: attention with its projections, and the FFN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from simulator.graph.operator import Attention, CacheWrite, Elementwise, MatMul, Operator
from simulator.terms import Fusion
from simulator.variants import Size, smallest

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


@dataclass(frozen=True)
class LayerStyle:
    """What layers are beside their sizes; the fields are those of `workload.Decoder`."""

    norm_gains: int = 1
    """Learned numbers per element of a norm: a gain, and the bias of a layer norm; 0 if they come from elsewhere."""
    has_output_norms: bool = False
    o_bias: bool = False
    shares_head_gains: bool = True
    """Whether a head norm runs over each head by itself, with the gains of one head."""
    rope_dim: Size | None = None
    has_output_gate: bool = False
    has_gate: bool = True
    """Whether the FFN has a gate, and so three matrices."""
    activation: Literal["activation", "squared_relu"] = "activation"
    """That of an FFN without a gate."""
    ffn_bias: bool = False


PLAIN: Final = LayerStyle()
"""Layers of RMS norms and gated FFNs, without biases behind attention."""
ADAPTIVE: Final = LayerStyle(norm_gains=0)
"""The same with norms that a matrix tells their scale and shift."""


def self_attention(
    sizes: LayerSizes, rows: int, attention: Attention, *, has_bias: bool, cached_rows: Size, style: LayerStyle = PLAIN
) -> tuple[list[Operator], Edges]:  # fmt: skip
    """Norm, projections, head norm, rope, cache write, attention, output projection and the residual addition."""
    query_width, kv_width = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    made_by_q = 2 * query_width if style.has_output_gate else query_width
    operators: list[Operator] = [norm("norm_1", rows, sizes.hidden, style=style)]
    for name, width in (("q", made_by_q), ("k", kv_width), ("v", kv_width)):
        operators.append(MatMul(name, ("qkv",), rows=rows, inputs=sizes.hidden, outputs=width, has_bias=has_bias))
    edges = [("norm_1", "q"), ("norm_1", "k"), ("norm_1", "v"), ("v", attention.name)]
    before_rope = ["q", "k"]
    if sizes.head_norm:
        gains = 2 * sizes.head_dim if style.shares_head_gains else query_width + kv_width
        operators.append(
            Elementwise(
                "head_norm", ("head_norm_rope_cache",), kind="head_norm", rows=rows, width=query_width + kv_width,
                gains=gains,
            )
        )  # fmt: skip
        edges += [("q", "head_norm"), ("k", "head_norm")]
        before_rope = ["head_norm"]
    before_attention = before_rope
    rotated_dim = sizes.head_dim if style.rope_dim is None else style.rope_dim
    if np.any(rotated_dim):
        rotated = (sizes.heads + sizes.kv_heads) * rotated_dim
        operators.append(Elementwise("rope", ("head_norm_rope_cache",), kind="rope", rows=rows, width=rotated))
        edges += [(name, "rope") for name in before_rope]
        # a part that is not rotated goes past the rope
        before_attention = ["rope"] if style.rope_dim is None else [*before_rope, "rope"]
    edges += [(name, attention.name) for name in before_attention]
    if np.any(cached_rows):
        operators.append(cache_write(attention, cached_rows))
        edges += [(name, "cache_write") for name in (*before_attention, "v")] + [("cache_write", attention.name)]
    operators.append(attention)
    result = attention.name
    if style.has_output_gate:
        operators.append(
            Elementwise("output_gate", (), kind="gated_activation", rows=rows, width=query_width, operands=2)
        )  # fmt: skip
        edges += [(attention.name, "output_gate"), ("q", "output_gate")]
        result = "output_gate"
    ending, ending_edges = after_attention(result, sizes.hidden, rows, query_width, style)
    return [*operators, *ending], [*edges, *ending_edges]


def _context(attention: Attention, cached_rows: Size) -> Size:
    """Tokens in the cache once the new ones are there: a decoded token finds its own among those that it reads."""
    if not np.any(attention.own_keys):
        return attention.cached_keys
    tokens = attention.cached_keys + cached_rows
    return tokens if attention.window is None else smallest(tokens, attention.window)


def cache_write(attention: Attention, cached_rows: Size) -> CacheWrite:
    """So many new rows go to the cache that attention reads."""
    return CacheWrite(
        "cache_write", ("head_norm_rope_cache",), tokens=cached_rows, kv_heads=attention.kv_heads,
        head_dim=attention.head_dim, context=_context(attention, cached_rows), window=attention.window,
        value_dim=attention.value_dim, values_in_keys=attention.values_in_keys,
    )  # fmt: skip


def after_attention(
    result: str, hidden: Size, rows: int, width: Size, style: LayerStyle
) -> tuple[list[Operator], Edges]:  # fmt: skip
    """The output projection of a result of some width, a norm behind it if there is one, and the residual addition."""
    operators: list[Operator] = [MatMul("o", (), rows=rows, inputs=width, outputs=hidden, has_bias=style.o_bias)]
    edges = [(result, "o")]
    last = "o"
    if style.has_output_norms:
        operators.append(norm("attention_norm", rows, hidden, style=style))
        edges.append(("o", "attention_norm"))
        last = "attention_norm"
    operators.append(Elementwise("add_1", ("norm_residual",), kind="add", rows=rows, width=hidden, operands=2))
    return operators, [*edges, (last, "add_1")]


def ffn(hidden: Size, width: Size, rows: int, *, style: LayerStyle = PLAIN) -> tuple[list[Operator], Edges]:
    """Norm, one or two matrices, activation (and product), a last matrix and the residual addition."""
    operators: list[Operator] = [norm("norm_2", rows, hidden, fusions=("norm_residual",), style=style)]
    edges = [("add_1", "norm_2")]
    matrices, matrix_edges = ffn_matrices(hidden, width, rows, style)
    ending, ending_edges = after_ffn("down", hidden, rows, style)
    return [*operators, *matrices, *ending], [*edges, *matrix_edges, *ending_edges]


def gated_ffn(sizes: LayerSizes, rows: int, *, style: LayerStyle = PLAIN) -> tuple[list[Operator], Edges]:
    """The same in the sizes of a layer."""
    return ffn(sizes.hidden, sizes.ffn_width, rows, style=style)


def ffn_matrices(
    hidden: Size, width: Size, rows: int, style: LayerStyle, *, prefix: str = ""
) -> tuple[list[Operator], Edges]:
    """The matrices of an FFN and its activation, behind the second norm; names begin with a prefix."""
    up, gate, activation, down = (prefix + name for name in ("up", "gate", "activation", "down"))
    bias = style.ffn_bias
    fusions: tuple[Fusion, ...] = ("gate_up", "gate_activation") if style.has_gate else ("gate_activation",)
    operators: list[Operator] = [
        MatMul(up, fusions, rows=rows, inputs=hidden, outputs=width, has_bias=bias),
        Elementwise(
            activation, ("gate_activation",), kind="gated_activation" if style.has_gate else style.activation,
            rows=rows, width=width, operands=2 if style.has_gate else 1,
        ),
        MatMul(down, (), rows=rows, inputs=width, outputs=hidden, has_bias=bias),
    ]  # fmt: skip
    edges = [("norm_2", up), (up, activation), (activation, down)]
    if style.has_gate:
        operators.insert(0, MatMul(gate, ("gate_up",), rows=rows, inputs=hidden, outputs=width, has_bias=bias))
        edges += [("norm_2", gate), (gate, activation)]
    return operators, edges


def after_ffn(result: str, hidden: Size, rows: int, style: LayerStyle) -> tuple[list[Operator], Edges]:
    """A norm behind the FFN if there is one, and the residual addition."""
    operators: list[Operator] = []
    edges: Edges = []
    if style.has_output_norms:
        operators.append(norm("ffn_norm", rows, hidden, style=style))
        edges.append((result, "ffn_norm"))
        result = "ffn_norm"
    operators.append(Elementwise("add_2", (), kind="add", rows=rows, width=hidden, operands=2))
    return operators, [*edges, (result, "add_2"), ("add_1", "add_2")]


def norm(
    name: str, rows: int, width: Size, *, fusions: tuple[Fusion, ...] = (), gains: Size | None = None,
    style: LayerStyle = PLAIN,
) -> Elementwise:  # fmt: skip
    """A norm over the width, with the gains of its style unless said otherwise."""
    return Elementwise(
        name, fusions, kind="norm", rows=rows, width=width, gains=style.norm_gains * width if gains is None else gains
    )  # fmt: skip
