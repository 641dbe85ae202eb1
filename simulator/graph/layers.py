"""The layer table of a workload: one row per operator of a phase, with exact counts."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.graph.graph import Block, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.graph.operator import (
    Attention,
    CacheWrite,
    Convolution,
    Elementwise,
    Embedding,
    ExpertMatMul,
    MatMul,
    Operator,
    Product,
    Resample,
)
from simulator.graph.recurrence import DeltaRule, ShortConvolution
from simulator.precision import precision
from simulator.variants import Size, same


@dataclass(frozen=True)
class LayerRow:
    """One operator of a phase."""

    phase: str
    name: str
    shape: str
    """Its sizes in words."""
    repeats: int
    """How often one step runs it: layers."""
    steps: int
    """How many steps the phase has."""
    parameters: int
    """Of all repetitions together."""
    weight_bytes: int
    """Of all repetitions together, in the precision of the phase; a tied head is read, too."""
    flop: int
    """Of all repetitions and all steps."""


def layer_rows(graph: WorkloadGraph) -> list[LayerRow]:
    """All operators of all phases, in order."""
    return [row for phase in graph.phases for row in _phase_rows(phase)]


def weight_bytes(graph: WorkloadGraph) -> int:
    """Bytes of all components that a phase runs, each counted once, in the precision of its phase.

    A bound for how much memory they take: scales are counted per group of one long row.
    """
    precisions = {phase.component: phase.precision for phase in reversed(graph.phases)}
    return sum(
        int(precision(name).matrix_bytes(1, graph.component_parameters[part])) for part, name in precisions.items()
    )


def _phase_rows(phase: PhaseGraph) -> list[LayerRow]:
    """Blocks with the same graph have one row for each of its operators."""
    alike: dict[OperatorGraph, list[Block]] = {}
    for block in phase.blocks:
        alike.setdefault(block.graph, []).append(block)
    rows = []
    for graph, blocks in alike.items():
        repeats, copies = (sum(int(count) for count in counts) for counts in zip(
            *((block.repeats, block.copies) for block in blocks), strict=True
        ))  # fmt: skip
        rows += [
            LayerRow(
                phase=phase.name,
                name=operator.name,
                shape=_shape(operator),
                repeats=repeats,
                steps=1 if blocks[0].only_last else phase.num_steps,
                parameters=int(operator.parameters) * copies,
                weight_bytes=_weight_bytes(operator, phase.precision) * copies,
                flop=phase.over_steps(operator.flop, blocks[0]) * repeats,
            )
            for operator in graph.operators
        ]
    return rows


def _weight_bytes(operator: Operator, precision_name: str) -> int:
    used = precision(precision_name)
    if isinstance(operator, MatMul):
        return int(operator.groups * used.matrix_bytes(operator.outputs, operator.inputs))
    if isinstance(operator, Convolution):
        return int(used.matrix_bytes(operator.groups * operator.outputs, operator.inputs))
    if isinstance(operator, ExpertMatMul):
        return int(operator.experts * used.matrix_bytes(operator.outputs, operator.inputs))
    return 0


def _first(count: Size) -> int:
    """A count in the first step."""
    return count if isinstance(count, int) else int(count[0])


def _shape(operator: Operator) -> str:  # noqa: PLR0911 - one per member of the union
    if isinstance(operator, MatMul):
        groups = "" if same(operator.groups, 1) else f"{operator.groups} x "
        return f"{groups}[{operator.rows}, {operator.inputs}] x [{operator.inputs}, {operator.outputs}]"
    if isinstance(operator, ExpertMatMul):
        return (
            f"{operator.top_k} of {operator.experts} x ([{operator.rows}, {operator.inputs}] x "
            f"[{operator.inputs}, {operator.outputs}])"
        )
    if isinstance(operator, Convolution):
        groups = f"{operator.groups} x " if operator.groups > 1 else ""
        return f"{groups}[{operator.rows}, {operator.inputs}] x [{operator.inputs}, {operator.outputs}], windows"
    if isinstance(operator, Product):
        return f"{operator.batch} x ([{operator.rows}, {operator.inputs}] x [{operator.inputs}, {operator.outputs}])"
    if isinstance(operator, Resample):
        return f"{operator.taps} taps for each of [{operator.rows}, {operator.width}]"
    if isinstance(operator, Attention):
        keys = _first(operator.cached_keys + operator.own_keys)
        batch = f"{operator.batch} x " if operator.batch > 1 else ""
        words = "causal" if operator.is_causal else "full"
        if operator.is_causal and operator.window is not None:
            words = f"{operator.window} at most, causal"
        widths = operator.head_dim if operator.value_dim is None else f"{operator.head_dim} and {operator.value_dim}"
        return (
            f"{batch}{operator.queries} rows, {keys} keys, {operator.heads}/{operator.kv_heads} heads of {widths}, "
            f"{words}"
        )
    if isinstance(operator, Elementwise):
        return f"{operator.kind} of [{operator.rows}, {operator.width}]"
    if isinstance(operator, Embedding):
        return f"{operator.rows} rows of [{operator.vocabulary}, {operator.width}]"
    return _state_shape(operator)


def _state_shape(operator: CacheWrite | ShortConvolution | DeltaRule) -> str:
    if isinstance(operator, CacheWrite):
        what = "latent vectors" if operator.values_in_keys else "keys and values"
        return f"{operator.tokens} tokens, {operator.kv_heads} heads of {operator.head_dim}, {what}"
    if isinstance(operator, ShortConvolution):
        return f"{operator.rows} rows of {operator.channels} channels, {operator.width} tokens"
    form = "one by one" if operator.chunk is None else f"in chunks of {operator.chunk}"
    return f"{operator.rows} rows {form}, {operator.value_heads} states of [{operator.key_dim}, {operator.value_dim}]"
