"""A network as blocks: each described operator with its shapes becomes a typed one, or nothing if it costs nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.maps import Convolution, Product, Resample
from simulator.graph.operator import Attention, CacheWrite, Elementwise, ElementwiseKind, Embedding, MatMul, Operator
from simulator.terms import Fusion
from simulator.workload import network_operators as described
from simulator.workload.network import INPUT, Network, Placed, rows_of, width_of

EPILOGUE: Final[tuple[Fusion, ...]] = ("epilogue",)
"""What the kernel of a product may do to its results before it writes them."""

_KIND: Final[dict[str, ElementwiseKind]] = {
    "gelu": "activation", "tanh": "activation", "log": "exp", "sqrt": "exp", "erf": "exp", "sin": "exp", "cos": "exp",
    "clip": "relu", "leaky_relu": "relu", "abs": "relu",
}  # fmt: skip
"""Of functions that have not the name of their kind.

GELU and the hyperbolic tangent are a special function with a few operations around it, others one with one operation,
or one operation.
"""

_GAINS: Final = {"none": 0, "scale": 1, "scale and shift": 2}


def network_blocks(network: Network) -> tuple[Block, ...]:
    """All blocks of a network, with the shapes that follow from its inputs, their repetitions counted through.

    Its inputs come from DRAM, each where it is first read, and its result goes there.
    """
    blocks: list[Block] = []
    unread = {name: math.prod(shape) for name, shape in network.inputs.items()}
    before = next(iter(network.inputs)) if len(network.inputs) == 1 else None
    last = len(network.blocks) - 1
    number = 0
    for place, (block, placed) in enumerate(zip(network.blocks, network.placed, strict=True)):
        reads = block.reads or before
        names = {name: {name} for name in unread} | {INPUT: {reads} if reads in unread else set()}
        graph = _block_graph(block.name, placed)
        fetched = _fetched(placed, graph, names, unread)
        variants = [graph] * block.repeats
        variants[0] = _with_io(graph, fetched, None)
        if place == last:
            variants[-1] = _with_io(variants[-1], {}, math.prod(network.output))
        for alike, group in itertools.groupby(variants):
            repeats = len(list(group))
            blocks.append(Block(alike, repeats, number))
            number += repeats
        before = block.name
    return tuple(blocks)


def _fetched(
    block: Sequence[Placed], graph: OperatorGraph, names: dict[str, set[str]], unread: dict[str, int]
) -> dict[str, int]:
    """Elements that operators of a block read of network inputs which nothing has read before; those are then read."""
    fetched: dict[str, int] = {}
    computed = {operator.name for operator in graph.operators}
    for placed in block:
        read = {name for source in placed.sources for name in names.get(source, ())} & unread.keys()
        if placed.operator.name not in computed:
            names[placed.operator.name] = read  # a view of an input is the input
        elif read:
            fetched[placed.operator.name] = sum(unread.pop(name) for name in read)
    return fetched


def _with_io(graph: OperatorGraph, fetched: dict[str, int], delivered: int | None) -> OperatorGraph:
    """The graph with what its operators fetch from DRAM, and what its last one leaves there."""
    if not fetched and delivered is None:
        return graph
    operators = [replace(each, fetched_elements=fetched.get(each.name, each.fetched_elements))
                 for each in graph.operators]  # fmt: skip
    if delivered is not None:
        operators[-1] = replace(operators[-1], delivered_elements=delivered)
    return OperatorGraph(graph.name, operators, graph.dag.edges)


def _block_graph(name: str, block: Sequence[Placed]) -> OperatorGraph:
    """The operators of a block. What another block made comes from outside of the graph, and so has no edge."""
    operators: list[Operator] = []
    edges: list[tuple[str, str]] = []
    makers: dict[str, tuple[str, ...]] = {}
    for placed in block:
        before = tuple(dict.fromkeys(maker for source in placed.sources for maker in makers.get(source, ())))
        operator = _operator(placed)
        if operator is None:
            makers[placed.operator.name] = before
            continue
        operators.append(operator)
        edges += [(maker, operator.name) for maker in before]
        makers[placed.operator.name] = (operator.name,)
    if not operators:  # nothing but views: a block must do something
        last = block[-1]
        operators = [_elementwise(last, "copy")]
    return OperatorGraph(name, operators, edges)


def _operator(placed: Placed) -> Operator | None:  # noqa: PLR0911, PLR0912 - one per member of the union
    """The typed operator; None for one that moves and computes nothing."""
    match placed.operator:
        case described.Conv():
            return _convolution(placed, placed.operator)
        case described.Linear(name=name, width=width, bias=bias, shares_weights=shared):
            (shape,) = placed.inputs
            return MatMul(
                name, EPILOGUE, rows=rows_of(shape), inputs=shape[-1], outputs=width, has_bias=bias,
                shares_weights=shared,
            )  # fmt: skip
        case described.Product(name=name):
            batch, rows, depth = placed.inputs[0]
            return Product(name, (), batch=batch, rows=rows, inputs=depth, outputs=placed.output[-1])
        case described.Attend():
            return _attention(placed, placed.operator)
        case described.Pool(taps=taps) | described.Resize(taps=taps):
            return _resample(placed, taps)
        case described.Cache(name=name, kv_heads=kv_heads, cached=cached):
            rows, width = placed.output[1:]
            return CacheWrite(
                name, (), tokens=rows, kv_heads=kv_heads, head_dim=width // kv_heads, context=cached + rows
            )  # fmt: skip
        case described.Mean() | described.Reduce():
            return _resample(placed, math.prod(placed.inputs[0]) // math.prod(placed.output))
        case described.Sample(points=points, taps=taps, heads=heads):
            return _resample(placed, points * taps, how_elements=3 * heads * points * rows_of(placed.output))
        case described.Norm(gains=gains):
            return _elementwise(placed, "norm", gains=_GAINS[gains] * width_of(placed.output))
        case described.Activation(function=function):
            return _elementwise(placed, _KIND.get(function) or function)  # type: ignore[arg-type]
        case described.Gate():
            return _elementwise(placed, "gated_activation", operands=2)
        case described.Rope():
            return _elementwise(placed, "rope")
        case described.Arithmetic(op=kind):
            return _elementwise(placed, kind, operands=len(placed.inputs))
        case described.Lookup(name=name, vocabulary=vocabulary, width=width):
            return Embedding(name, (), rows=math.prod(placed.inputs[0]), width=width, vocabulary=vocabulary)
        case described.Concat() | described.Select() | described.Copy() | described.View(copies=True):
            return _elementwise(placed, "copy")
        case described.Learned(name=name):
            rows, width = rows_of(placed.output), width_of(placed.output)
            return Embedding(name, (), rows=rows, width=width, vocabulary=rows)
        case described.View():
            return None
    raise AssertionError(f"no operator for {placed.operator.op}")  # a new member of the union


def _convolution(placed: Placed, conv: described.Conv) -> Convolution:
    """A convolution as the product that it is.

    Formula:  [positions made, channels * taps] times [channels * taps, channels made], for each group;
              transposed: [positions read, channels] times [channels, channels made * taps], and overlaps are added
    Source:   definition, as [dumoulin2016] draws it
    """
    (shape,) = placed.inputs
    inputs, outputs = shape[1] // conv.groups, conv.channels // conv.groups
    return Convolution(
        conv.name, EPILOGUE, rows=rows_of(shape if conv.transposed else placed.output),
        inputs=inputs if conv.transposed else inputs * conv.taps,
        outputs=outputs * conv.taps if conv.transposed else outputs, groups=conv.groups,
        read_elements=math.prod(shape), written_elements=math.prod(placed.output),
        biases=conv.channels if conv.bias else 0, shares_weights=conv.shares_weights,
    )  # fmt: skip


def _attention(placed: Placed, attend: described.Attend) -> Attention:
    sequences, queries, width = placed.output
    keys, cached, is_causal = placed.inputs[1][1] if len(placed.inputs) == 3 else queries, attend.cached, attend.causal
    if queries == keys == 1 and cached:  # a decoded token is in the cache when it is read, as in a decoder
        keys, cached, is_causal = 0, cached + 1, False
    return Attention(
        attend.name, (), queries=queries, cached_keys=cached, own_keys=keys, heads=attend.heads,
        kv_heads=attend.kv_heads or attend.heads, head_dim=width // attend.heads, is_causal=is_causal, batch=sequences,
    )  # fmt: skip


def _resample(placed: Placed, taps: int, how_elements: int = 0) -> Resample:
    """What is sampled counts once; places and weights are two coordinates and a factor for each sample."""
    sources = placed.inputs[1:] if how_elements else placed.inputs
    return Resample(
        placed.operator.name, (), rows=rows_of(placed.output), width=width_of(placed.output), taps=taps,
        read_elements=how_elements + sum(math.prod(shape) for shape in sources),
    )  # fmt: skip


def _elementwise(placed: Placed, kind: ElementwiseKind, *, operands: int = 1, gains: int = 0) -> Elementwise:
    fusions = () if kind in {"norm", "copy", "softmax"} else EPILOGUE
    return Elementwise(
        placed.operator.name, fusions, kind=kind, rows=rows_of(placed.output), width=width_of(placed.output),
        operands=operands, gains=gains,
    )  # fmt: skip
