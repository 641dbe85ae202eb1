"""The layer table of a workload: one row per operator of a phase, with exact counts.

Bytes here are those of formats alone; what a chip keeps, fuses or reads twice is a matter of lowering.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from simulator.graph.graph import Block, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.graph.maps import Convolution, Product, Resample
from simulator.graph.operator import Attention, CacheWrite, Elementwise, Embedding, ExpertMatMul, MatMul, Operator
from simulator.graph.recurrence import DeltaRule, ShortConvolution
from simulator.precision import precision
from simulator.variants import Size, same

KV_ELEMENT_BYTES: Final = 2
"""Keys and values in a 16-bit format: assumed, as the format is a matter of the runtime."""

OPS: Final[dict[type, str]] = {
    MatMul: "matmul", ExpertMatMul: "expert_matmul", Convolution: "convolution", Product: "product",
    Resample: "resample", Attention: "attention", Embedding: "embedding", CacheWrite: "cache_write",
    ShortConvolution: "short_convolution", DeltaRule: "delta_rule",
}  # fmt: skip
"""A word for each kind of operator; element-wise ones have their own."""


@dataclass(frozen=True)
class LayerRow:
    """One operator of a phase."""

    phase: str
    block: str
    """Its block, by a name that is unique in the phase; blocks with the same graph are one."""
    name: str
    op: str
    """What it does, in a word."""
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
    weight_read_bytes: int
    """Weights that all repetitions read in all steps; of experts, those that are expected to be picked."""
    kv_read_bytes: int
    """Keys and values read from the cache, of all repetitions and all steps, in `KV_ELEMENT_BYTES`."""
    kv_written_bytes: int
    """Keys and values written to the cache."""
    activation_bytes: int
    """Activations read and written, in the precision of the phase, as if each operator were a kernel of its own."""

    @property
    def flop_per_byte(self) -> float | None:
        """Arithmetic intensity; None without such bytes."""
        return flop_per_byte([self])


def flop_per_byte(rows: Iterable[LayerRow]) -> float | None:
    """Flop per byte of weights and KV cache that are read or written; None without such bytes."""
    rows = list(rows)
    moved = sum(row.weight_read_bytes + row.kv_read_bytes + row.kv_written_bytes for row in rows)
    return sum(row.flop for row in rows) / moved if moved else None


def layer_rows(graph: WorkloadGraph) -> list[LayerRow]:
    """All operators of all phases, in order."""
    return [row for phase in graph.phases for row in phase_rows(phase)]


def named_graphs(phase: PhaseGraph) -> dict[str, tuple[OperatorGraph, list[Block]]]:
    """The graphs of a phase, each once, with the blocks that repeat it; those of one name are numbered."""
    alike: dict[OperatorGraph, list[Block]] = {}
    for block in phase.blocks:
        alike.setdefault(block.graph, []).append(block)
    times = Counter(graph.name for graph in alike)
    seen: Counter[str] = Counter()
    named = {}
    for graph, blocks in alike.items():
        seen[graph.name] += 1
        name = f"{graph.name} ({seen[graph.name]})" if times[graph.name] > 1 else graph.name
        named[name] = (graph, blocks)
    return named


def op_of(operator: Operator) -> str:
    """What an operator does, in a word; of element-wise ones, their kind."""
    return operator.kind if isinstance(operator, Elementwise) else OPS[type(operator)]


def weight_bytes(graph: WorkloadGraph) -> int:
    """Bytes of all components that a phase runs, each counted once, in the precision of its phase.

    A bound for how much memory they take: scales are counted per group of one long row.
    """
    precisions = {phase.component: phase.precision for phase in reversed(graph.phases)}
    return sum(
        int(precision(name).matrix_bytes(1, graph.component_parameters[part])) for part, name in precisions.items()
    )


def phase_rows(phase: PhaseGraph) -> list[LayerRow]:
    """Blocks with the same graph have one row for each of its operators."""
    return [
        _row(phase, name, blocks, operator)
        for name, (graph, blocks) in named_graphs(phase).items()
        for operator in graph.operators
    ]


def _row(phase: PhaseGraph, block_name: str, blocks: list[Block], operator: Operator) -> LayerRow:
    repeats = sum(int(block.repeats) for block in blocks)
    copies = sum(int(block.copies) for block in blocks)

    def over_steps(count: Size) -> int:
        return phase.over_steps(count, blocks[0]) * repeats

    read = operator.cache_elements if isinstance(operator, Attention) else 0
    written = operator.cache_elements if isinstance(operator, CacheWrite) else 0
    activations = operator.input_elements + operator.output_elements
    return LayerRow(
        phase=phase.name,
        block=block_name,
        name=operator.name,
        op=op_of(operator),
        shape=_shape(operator),
        repeats=repeats,
        steps=1 if blocks[0].only_last else phase.num_steps,
        parameters=int(operator.parameters) * copies,
        weight_bytes=int(_weight_bytes(operator, phase.precision)) * copies,
        flop=over_steps(operator.flop),
        weight_read_bytes=over_steps(_weight_bytes(operator, phase.precision, only_touched=True)),
        kv_read_bytes=over_steps(read) * KV_ELEMENT_BYTES,
        kv_written_bytes=over_steps(written) * KV_ELEMENT_BYTES,
        activation_bytes=over_steps(activations) * precision(phase.precision).activation_bytes,
    )


def _weight_bytes(operator: Operator, precision_name: str, *, only_touched: bool = False) -> Size:
    """Bytes of the matrices of an operator: of all experts, or of those that its rows reach."""
    used = precision(precision_name)
    if isinstance(operator, MatMul):
        return operator.groups * used.matrix_bytes(operator.outputs, operator.inputs)
    if isinstance(operator, Convolution):
        return used.matrix_bytes(operator.groups * operator.outputs, operator.inputs)
    if isinstance(operator, ExpertMatMul):
        experts = operator.touched if only_touched else operator.experts
        return experts * used.matrix_bytes(operator.outputs, operator.inputs)
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
