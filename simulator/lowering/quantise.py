"""Quantisation as an operator: what a runtime computes in kernels of its own before it multiplies narrower formats.

Graphs of models know no precision, so lowering adds these operators. Quantisation inside of the kernel that multiplies
is in `simulator.lowering.kernel`.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.graph import Elementwise, MatMul, Operator, OperatorGraph
from simulator.lowering.platform import Platform
from simulator.precision import Precision
from simulator.variants import Size, same


@dataclass(frozen=True, kw_only=True)
class Quantise(Elementwise):
    """Activations become what a matrix engine multiplies."""

    stored: Precision
    """The format of the result."""


def is_quantised_before(operator: MatMul, used: Precision, platform: Platform) -> bool:
    """Whether a kernel of its own quantises what a matrix multiplication reads."""
    where = platform.kernel(used.name).quantises
    is_single_row = isinstance(operator.rows, int) and operator.rows == 1
    return (where == "before_each" or (where == "before" and not is_single_row)) and platform.quantises(used)


def with_quantisation(graph: OperatorGraph, platform: Platform, body: Precision) -> OperatorGraph:
    """The graph with the quantisation that the runtime computes in kernels of its own; the same graph if none.

    Each stands before the first matrix that reads its result.

    Raises:
        SpecError: when the platform cannot run the precision.
    """
    operators: list[Operator] = []
    added: dict[str, tuple[Quantise, tuple[str, ...]]] = {}
    reads: dict[str, str] = {}
    for operator in graph.operators:
        if isinstance(operator, MatMul):
            used = platform.matrix_precision(operator, body)
            if is_quantised_before(operator, used, platform):
                before = tuple(each.name for each in graph.predecessors(operator.name))
                found = _shared(operator, before, added) if platform.kernel(used.name).quantises == "before" else None
                if found is None:
                    found = f"quantise_{operator.name}"
                    added[found] = _quantise(found, operator, platform.multiplied(used)), before
                    operators.append(added[found][0])
                reads[operator.name] = found
        operators.append(operator)
    if not added:
        return graph
    edges = [(before, after) for before, after in graph.dag.edges if after not in reads]
    edges += [(before, name) for name, (_, read) in added.items() for before in read]
    edges += [(name, reader) for reader, name in reads.items()]
    return OperatorGraph(graph.name, operators, edges)


def _quantise(name: str, reader: MatMul, stored: Precision) -> Quantise:
    return Quantise(name, (), kind="quantise", rows=reader.rows, width=reader.groups * reader.inputs, stored=stored)


def _shared(
    reader: MatMul, before: tuple[str, ...], added: dict[str, tuple[Quantise, tuple[str, ...]]]
) -> str | None:  # fmt: skip
    """The quantisation of the same rows, if there is one already."""
    for name, (quantise, read) in added.items():
        if read == before and same(quantise.rows, reader.rows) and same(quantise.width, reader.groups * reader.inputs):
            return name
    return None


def stored_bytes(operator: Operator, element_bytes: int) -> Size:
    """Bytes of an operator's result between kernels."""
    elements = operator.output_elements
    return operator.stored.tensor_bytes(elements) if isinstance(operator, Quantise) else elements * element_bytes
