"""Scores of attention as tensors between kernels, where a runtime has no kernel that keeps them to itself."""

from __future__ import annotations

from typing import Final

from simulator.graph import Attention, Elementwise, Operator, OperatorGraph, Product
from simulator.lowering.platform import Platform
from simulator.precision import Precision

SCORES: Final = "_scores"
WEIGHTS: Final = "_weights"
"""What the names of the first two of three kernels end in; the last keeps that of the attention."""


def with_scores(graph: OperatorGraph, platform: Platform, body: Precision) -> OperatorGraph:
    """The graph with each attention of a network as a product, a softmax and a product; the same graph if fused.

    Attention that is causal or reads a cache keeps its kernel: no runtime of language models is without one.
    """
    if body.name not in platform.runtime.full_attention.writes_scores:
        return graph
    split = {each.name: _three(each) for each in graph.operators if isinstance(each, Attention) and _is_plain(each)}
    if not split:
        return graph
    operators = [part for each in graph.operators for part in split.get(each.name, (each,))]
    edges: list[tuple[str, str]] = [
        (before, split[after][0].name if after in split else after) for before, after in graph.dag.edges
    ]
    for name, (scores, weights, _) in split.items():
        edges += [(scores.name, weights.name), (weights.name, name)]
        edges += [(before.name, name) for before in graph.predecessors(name)]  # the values
    return OperatorGraph(graph.name, operators, edges)


def _is_plain(attention: Attention) -> bool:
    return not attention.is_causal and isinstance(attention.cached_keys, int) and attention.cached_keys == 0


def _three(attention: Attention) -> tuple[Operator, Operator, Operator]:
    """The query heads of one head of keys are rows of one product."""
    matrices = attention.batch * attention.kv_heads
    rows, keys = attention.queries * attention.heads // attention.kv_heads, attention.own_keys
    width = attention.head_dim
    return (
        Product(attention.name + SCORES, (), batch=matrices, rows=rows, inputs=width, outputs=keys),
        Elementwise(attention.name + WEIGHTS, (), kind="softmax", rows=matrices * rows, width=keys),
        Product(attention.name, (), batch=matrices, rows=rows, inputs=keys, outputs=width),
    )
