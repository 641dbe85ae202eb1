"""The FFN of a mixture of experts: router, routed experts, shared experts, and the weighted sum of their results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.graph.layer import PLAIN, Edges, LayerStyle, after_ffn, ffn_matrices, norm
from simulator.graph.operator import Elementwise, ExpertMatMul, MatMul, Operator
from simulator.terms import Fusion
from simulator.variants import Size, whole

_ROUNDING_GUARD = 1e-9
"""So that a half is a half, whichever way a power was computed."""


@dataclass(frozen=True)
class ExpertSizes:
    """The sizes of a mixture of experts."""

    hidden: Size
    width: Size
    """Inner width of an expert."""
    experts: Size
    top_k: Size
    shared_width: Size
    """Inner width of all shared experts together; 0 if there are none."""
    has_shared_gate: bool = False


def touched_experts(experts: Size, top_k: Size, rows: int) -> Size:
    """Distinct experts that the rows reach, if each picks `top_k` of them and no expert is preferred.

    Formula:  E (1 - (1 - k/E)^n), the expected number, rounded to a whole one (a half up)
    Source:   [codesign] section 4.3.4 (prefill touches more experts); the expectation of uniform routing
    Valid:    real routers have favourites, so they touch fewer
    """
    expected = experts * (1 - (1 - top_k / experts) ** rows)
    return whole(expected + 0.5 + _ROUNDING_GUARD)


def expert_ffn(sizes: ExpertSizes, rows: int, *, style: LayerStyle = PLAIN) -> tuple[list[Operator], Edges]:
    """Norm, router, experts, the weighted sum of their results and the residual addition."""
    hidden, top_k = sizes.hidden, sizes.top_k
    operators: list[Operator] = [
        norm("norm_2", rows, hidden, fusions=("norm_residual",), style=style),
        MatMul("router", (), rows=rows, inputs=hidden, outputs=sizes.experts, has_bias=style.ffn_bias),
        Elementwise("routing", (), kind="routing", rows=rows, width=sizes.experts),
    ]
    edges = [("add_1", "norm_2"), ("norm_2", "router"), ("router", "routing")]
    routed, routed_edges = _routed_experts(sizes, rows, style)
    operators, edges = [*operators, *routed], [*edges, *routed_edges]
    operands: Size = top_k
    if np.any(sizes.shared_width):
        shared, shared_edges = ffn_matrices(hidden, sizes.shared_width, rows, style, prefix="shared_")
        operators, edges = [*operators, *shared], [*edges, *shared_edges, ("shared_down", "combine")]
        operands = top_k + 1
        if sizes.has_shared_gate:
            operators.append(MatMul("shared_weight", (), rows=rows, inputs=hidden, outputs=1))
            edges += [("norm_2", "shared_weight"), ("shared_weight", "combine")]
    operators.append(Elementwise("combine", (), kind="combine", rows=rows, width=hidden, operands=operands))
    ending, ending_edges = after_ffn("combine", hidden, rows, style)
    return [*operators, *ending], [*edges, *ending_edges]


def _routed_experts(sizes: ExpertSizes, rows: int, style: LayerStyle) -> tuple[list[Operator], Edges]:
    touched = touched_experts(sizes.experts, sizes.top_k, rows)

    def expert(name: str, fusions: tuple[Fusion, ...], inputs: Size, outputs: Size, *, gathers: bool) -> ExpertMatMul:
        return ExpertMatMul(
            name, fusions, rows=rows, inputs=inputs, outputs=outputs, experts=sizes.experts, top_k=sizes.top_k,
            touched=touched, gathers=gathers, has_bias=style.ffn_bias,
        )  # fmt: skip

    operators: list[Operator] = [
        expert("up", ("gate_up", "gate_activation"), sizes.hidden, sizes.width, gathers=True),
        Elementwise(
            "activation", ("gate_activation",), kind="gated_activation" if style.has_gate else style.activation,
            rows=rows * sizes.top_k, width=sizes.width, operands=2 if style.has_gate else 1,
        ),
        expert("down", (), sizes.width, sizes.hidden, gathers=False),
    ]  # fmt: skip
    edges = [("norm_2", "up"), ("routing", "up"), ("up", "activation"), ("activation", "down"), ("down", "combine"),
             ("routing", "combine")]  # fmt: skip
    if style.has_gate:
        operators.insert(0, expert("gate", ("gate_up",), sizes.hidden, sizes.width, gathers=True))
        edges += [("norm_2", "gate"), ("routing", "gate"), ("gate", "activation")]
    return operators, edges
