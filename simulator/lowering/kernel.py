"""Kernels: operators that a runtime computes together, with their bytes and cycles on a platform.

`group_operators` decides what is one kernel; `kernel_work` counts what a kernel moves and computes. Turning that into
tasks is `simulator.lowering.emit`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from simulator.chip import MatrixPath, RoutingUnit
from simulator.graph import (
    Attention,
    CacheWrite,
    Elementwise,
    Embedding,
    ExpertMatMul,
    MatMul,
    Operator,
    OperatorGraph,
)
from simulator.lowering import cost
from simulator.lowering.experts import ExpertTraffic, expert_loads
from simulator.lowering.platform import Platform
from simulator.lowering.quantise import is_quantised_before
from simulator.precision import DTYPE_BITS, Precision
from simulator.runtime import Kernel
from simulator.terms import Fusion
from simulator.variants import Amount, Size, choose, largest, same, smallest, whole


@dataclass(frozen=True)
class KernelWork:
    """What one kernel moves and computes. Numbers may be arrays with one value per variant."""

    name: str
    flop: Size
    weight_bytes: Size
    """Weights read from DRAM."""
    late_bytes: Size
    """Rows of a table and matrices of experts read from DRAM; which ones is known only when the kernel starts."""
    cache_read_bytes: Size
    """KV cache read from DRAM."""
    cache_write_bytes: Size
    """KV cache written to DRAM."""
    spilled_input_bytes: Size
    """Activations read from DRAM because they did not fit on the chip."""
    spilled_output_bytes: Size
    """Activations written to DRAM because they do not fit on the chip."""
    conversion_cycles: Amount
    """Vector work on weights, activations and cached keys and values before they can be multiplied."""
    matrix_cycles: Amount
    """Work of the matrix engine."""
    vector_cycles: Amount
    """Other vector work: softmax, norms, activations; also multiplications that run better there."""
    routing_cycles: Amount = 0.0
    """Work of the routing unit."""
    sram_bytes: Size = 0
    """Weights, KV cache and experts read from a shared SRAM level through its port."""
    unmoved_bytes: Size = 0
    """Weights and KV cache that stay on the chip and are read or written there without a port that limits."""
    dtype: str = ""
    """What its matrices are multiplied in; empty without matrix work."""
    expert_bytes: Size = 0
    """How many of the late bytes are matrices of experts."""
    early_bytes: Size = 0
    """Matrices of experts that are fetched from DRAM some layers before."""
    has_router: bool = False
    """Whether experts are picked when it has ended."""

    @property
    def loaded_bytes(self) -> Size:
        """Bytes from DRAM that pass through the streaming buffers."""
        return self.weight_bytes + self.late_bytes + self.cache_read_bytes + self.spilled_input_bytes

    @property
    def stored_bytes(self) -> Size:
        """Bytes that leave for DRAM."""
        return self.cache_write_bytes + self.spilled_output_bytes


def group_operators(graph: OperatorGraph, fusions: tuple[Fusion, ...]) -> list[list[Operator]]:
    """Neighbours in the order of the graph that share a fusion of the runtime become one kernel."""
    groups: list[list[Operator]] = []
    for operator in graph.operators:
        shared = set(fusions).intersection(operator.fusions)
        if groups and shared.intersection(groups[-1][-1].fusions):
            groups[-1].append(operator)
        else:
            groups.append([operator])
    return groups


@dataclass(frozen=True, eq=False)
class Kept:
    """How much of a model stays on the chip. Numbers, or arrays with one value per kind of model (shape: kinds, 1)."""

    kv_tokens: Size = 0
    """Newest tokens of which every layer keeps keys and values."""
    kv_sinks: int = 0
    """Of them the first of all, which stay for ever."""
    kv_token_bytes: Size = 0
    """Keys and values of one token in all layers."""
    far_kv: float = 0.0
    """Share of the kept KV that lies in a shared level, behind its port; the rest is beside the multipliers."""
    weight_share: Amount = 0.0
    """Share of every matrix that is pinned."""
    weight_bytes: Size = 0
    """All of the matrices that are pinned in part."""
    far_weights: float = 0.0
    """Share of the pinned weights that lies in a shared level."""


NOTHING_KEPT: Final = Kept()


def kernel_work(
    operators: list[Operator], *, platform: Platform, body: Precision, kept: Kept = NOTHING_KEPT,
    experts: ExpertTraffic | None = None, spilled_input_bytes: Size = 0, spilled_output_bytes: Size = 0,
) -> KernelWork:  # fmt: skip
    """The bytes and cycles of one kernel.

    Args:
        operators: one group of `group_operators`.
        platform: chip and runtime.
        body: precision of the matrices.
        kept: what stays on the chip from step to step.
        experts: which experts are touched and which of them stay, where a router trace tells.
        spilled_input_bytes: activations that it reads from DRAM.
        spilled_output_bytes: activations that it writes to DRAM.
    Raises:
        SpecError: when the platform cannot run the precision.
    """
    conversion: Any = 0.0
    matrix: Any = 0.0
    vector: Any = 0.0
    weights: Any = 0
    late: Any = 0
    cache_read: Any = 0
    cache_write: Any = 0
    from_sram: Any = 0
    unmoved: Any = 0
    late_experts: Any = 0
    early: Any = 0
    routing: Any = 0.0
    dtype = ""
    for operator in _merged(operators):
        if isinstance(operator, MatMul):
            used = platform.matrix_precision(operator.role, body)
            size_bytes = matrix_bytes(operator, used)
            pinned = whole(kept.weight_share * size_bytes)
            far = whole(kept.far_weights * pinned)
            weights, from_sram, unmoved = weights + size_bytes - pinned, from_sram + far, unmoved + pinned - far
            dtype = platform.multiplied_in(used)
            on_matrix, on_vector, converting = _matmul_cycles(operator, used, platform)
            matrix, vector, conversion = matrix + on_matrix, vector + on_vector, conversion + converting
        elif isinstance(operator, ExpertMatMul):
            matrix_of_one = body.matrix_bytes(operator.outputs, operator.inputs)
            loads = expert_loads(operator, matrix_of_one, experts, platform)
            late_experts, early, from_sram = late_experts + loads.late, early + loads.early, from_sram + loads.near
            routing = routing + _gather_cycles(operator, body, platform)
            dtype = platform.multiplied_in(body)
            touched = operator if experts is None else replace(operator, touched=experts.touched)
            on_matrix, on_vector, converting = _expert_cycles(touched, body, platform)
            matrix, vector, conversion = matrix + on_matrix, vector + on_vector, conversion + converting
        elif isinstance(operator, Attention):
            seen_tokens = _seen_in_store(operator.cached_keys, operator.window, kept)
            held = platform.cache_bytes(seen_tokens * operator.key_elements)
            cache_read = cache_read + platform.cache_bytes(operator.cache_elements) - held
            far = whole(kept.far_kv * held)
            from_sram, unmoved = from_sram + far, unmoved + held - far
            dtype = platform.attention_multiplied_in(body)
            on_matrix, on_vector, converting = _attention_cycles(operator, body, platform)
            matrix, vector, conversion = matrix + on_matrix, vector + on_vector, conversion + converting
        elif isinstance(operator, Elementwise):
            if platform.chip.routing is not None and operator.kind in {"routing", "combine"}:
                routing = routing + _routing_unit_cycles(operator, body, platform.chip.routing)
            else:
                vector = vector + _elementwise_cycles(operator, body, platform)
        elif isinstance(operator, Embedding):
            late = late + operator.output_elements * body.activation_bytes
        elif isinstance(operator, CacheWrite):
            # The newest tokens stay; those that no longer fit leave for DRAM while they may still be seen.
            beyond = operator.context - _seen_in_store(operator.context, operator.window, kept)
            leaving_bytes = platform.cache_bytes(smallest(beyond, operator.tokens) * operator.token_elements)
            cache_write = cache_write + leaving_bytes
            unmoved = unmoved + platform.cache_bytes(operator.cache_elements) - leaving_bytes
            vector = vector + _cache_quantise_cycles(operator, body, platform)
    return KernelWork(
        name="+".join(operator.name for operator in operators),
        flop=sum(operator.flop for operator in operators),
        weight_bytes=weights,
        late_bytes=late + late_experts,
        cache_read_bytes=cache_read,
        cache_write_bytes=cache_write,
        spilled_input_bytes=spilled_input_bytes,
        spilled_output_bytes=spilled_output_bytes,
        conversion_cycles=conversion,
        matrix_cycles=matrix,
        vector_cycles=vector,
        routing_cycles=routing,
        sram_bytes=from_sram,
        unmoved_bytes=unmoved,
        dtype=dtype,
        expert_bytes=late_experts,
        early_bytes=early,
        has_router=any(isinstance(operator, Elementwise) and operator.kind == "routing" for operator in operators),
    )


def _seen_in_store(seen_tokens: Size, window: Size | None, kept: Kept) -> Size:
    """How many of the tokens that attention sees are in the KV store.

    A sliding window that is full has passed the sinks: they take room and are not seen.
    """
    in_store: Size = smallest(seen_tokens, kept.kv_tokens)
    if window is None or kept.kv_sinks == 0:
        return in_store
    newest = smallest(seen_tokens, largest(kept.kv_tokens - kept.kv_sinks, 0))
    seen_in_store: Size = choose(seen_tokens < window, in_store, newest)
    return seen_in_store


def _merged(operators: list[Operator]) -> list[Operator]:
    """Matrices of one kernel that read the same rows are one wider matrix, which fills tiles better.

    Of experts only the two first matrices are ever in one kernel.
    """
    merged: list[Operator] = []
    for operator in operators:
        last = merged[-1] if merged else None
        if isinstance(last, MatMul) and isinstance(operator, MatMul) and _read_the_same(last, operator):  # noqa: SIM114
            merged[-1] = replace(last, outputs=last.outputs + operator.outputs)
        elif isinstance(last, ExpertMatMul) and isinstance(operator, ExpertMatMul):  # each typed alone
            merged[-1] = replace(last, outputs=last.outputs + operator.outputs)
        else:
            merged.append(operator)
    return merged


def _read_the_same(one: MatMul, other: MatMul) -> bool:
    return same(one.rows, other.rows) and same(one.inputs, other.inputs)


def matrix_bytes(operator: MatMul, used: Precision) -> Size:
    """Bytes of a matrix and its bias, which stays in the activations' format."""
    bias = operator.outputs * used.activation_bytes if operator.has_bias else 0
    return used.matrix_bytes(operator.outputs, operator.inputs) + bias


def _matmul_cycles(operator: MatMul, used: Precision, platform: Platform) -> tuple[Amount, Amount, Amount]:
    """(matrix, vector, conversion) cycles: on the matrix path, or on the lanes where those are quicker."""
    shape = (operator.rows, operator.inputs, operator.outputs)
    is_quantised = is_quantised_before(operator, used, platform)
    return _multiplication_cycles(shape, 1, used, platform, is_quantised=is_quantised)


def _expert_cycles(operator: ExpertMatMul, used: Precision, platform: Platform) -> tuple[Amount, Amount, Amount]:
    """The same for the experts that are touched, each with an equal part of the routed rows."""
    rows = -(-operator.rows * operator.top_k // operator.touched)
    return _multiplication_cycles((rows, operator.inputs, operator.outputs), operator.touched, used, platform)


def _multiplication_cycles(
    shape: tuple[Size, Size, Size], matrices: Size, used: Precision, platform: Platform, *, is_quantised: bool = False
) -> tuple[Amount, Amount, Amount]:
    """(matrix, vector, conversion) cycles of so many products of one shape.

    On the matrix path weights are converted to the multiplied format, activations quantised to it and integer results
    scaled, unless the path does so by itself. The lanes multiply 16-bit numbers, to which they convert all others.
    """
    kernel, cluster = platform.kernel(used.name), platform.chip.cluster
    rows, inputs, outputs = shape
    path = cluster.path(kernel.path)
    dtype = platform.dtype(path, kernel.dtype)
    tile_rows, columns = _kernel_tile(kernel, path, rows)
    on_matrix = cost.matrix_cycles(
        *shape, cluster=cluster, path=path, dtype=dtype, achieved_fraction=kernel.achieved_fraction.value,
        tile_rows=tile_rows, tile_columns=columns, splits_depth=kernel.splits_depth, matrices=matrices,
        tile_cost_cycles=0.0 if kernel.tile_cost is None else kernel.tile_cost.value,
    )  # fmt: skip
    weights = matrices * inputs * outputs
    before: Any = 0.0
    after: Any = 0.0
    if used.weight_bits != DTYPE_BITS[dtype] and used.weights not in path.converts_in_path:
        num_conversions = -(-rows // tile_rows) if kernel.converts_weights == "per_row_tile" else 1
        before = before + cost.conversion_cycles(weights * num_conversions, cluster)
    if platform.quantises(used):
        before = before + (0.0 if is_quantised else cost.quantise_cycles(matrices * rows * inputs, cluster))
        if dtype in {"int8", "int4"}:
            after = after + cost.dequantise_cycles(matrices * rows * outputs, cluster)
    on_lanes = cost.vector_matrix_cycles(matrices * rows, inputs, outputs, cluster)
    is_16_bit = used.weight_bits == 8 * used.activation_bytes
    before_lanes = 0.0 if is_16_bit else cost.conversion_cycles(weights, cluster)
    is_quicker_on_lanes = before_lanes + on_lanes < largest(on_matrix, before + after)
    return (
        choose(is_quicker_on_lanes, 0.0, on_matrix),
        choose(is_quicker_on_lanes, on_lanes, after),
        choose(is_quicker_on_lanes, before_lanes, before),
    )


def _kernel_tile(kernel: Kernel, path: MatrixPath, rows: Size) -> tuple[Size, int]:
    """Rows and columns of the tile with which a kernel multiplies so many rows; never less than the native tile."""
    tile_rows: Size = round(kernel.tile_rows.value)
    if kernel.least_tile_rows is not None:
        tile_rows = smallest(tile_rows, largest(round(kernel.least_tile_rows.value), _power_of_two(rows)))
    columns = 1 if kernel.tile_columns is None else round(kernel.tile_columns.value)
    return largest(tile_rows, round(path.tile_m.value)), max(columns, round(path.tile_n.value))


def _power_of_two(rows: Size) -> Size:
    """The least power of two that is not below a number of rows."""
    if isinstance(rows, np.ndarray):
        powers: Size = 2 ** np.ceil(np.log2(rows)).astype(np.int64)
        return powers
    return 1 << (rows - 1).bit_length()


def _attention_cycles(
    operator: Attention, body: Precision, platform: Platform
) -> tuple[Amount, Amount, Amount]:  # fmt: skip
    """(matrix, vector, conversion) cycles; a cache of a narrower format is converted to that of attention."""
    cluster = platform.chip.cluster
    used = platform.runtime.causal_attention if operator.is_causal else platform.runtime.full_attention
    if isinstance(operator.queries, int) and operator.queries == 1:
        used = platform.runtime.causal_attention  # the decode kernel is the causal one with a single row
    path = cluster.path(used.path)
    on_matrix = cost.attention_matrix_cycles(
        operator, cluster=cluster, path=path, dtype=platform.attention_dtype(path, platform.kernel(body.name)),
        achieved_fraction=used.achieved_fraction.value,
    )  # fmt: skip
    softmax = cost.softmax_cycles(operator, cluster)
    on_lanes = cost.attention_vector_macs_cycles(operator, cluster)
    is_quicker_on_lanes = on_lanes < on_matrix
    conversion: Amount = 0.0
    if _is_narrow_cache(body, path, platform):
        conversion = cost.conversion_cycles(operator.cache_elements, cluster)
    return (
        choose(is_quicker_on_lanes, 0.0, on_matrix),
        softmax + choose(is_quicker_on_lanes, on_lanes, 0.0),
        conversion,
    )


def _cache_quantise_cycles(operator: CacheWrite, body: Precision, platform: Platform) -> Amount:
    """Vector work on new keys and values before they go to a cache of a narrower format."""
    path = platform.chip.cluster.path(platform.runtime.causal_attention.path)
    if not _is_narrow_cache(body, path, platform):
        return 0.0
    return cost.quantise_cycles(operator.cache_elements, platform.chip.cluster)


def _is_narrow_cache(body: Precision, path: MatrixPath, platform: Platform) -> bool:
    """Whether software converts between the cache's format and that of activations."""
    kept = platform.kv_precision
    return kept.weight_bits < 8 * body.activation_bytes and kept.weights not in path.converts_in_path


def _gather_cycles(operator: ExpertMatMul, body: Precision, platform: Platform) -> Amount:
    """Cycles in which the routing unit hands rows to experts; a chip without one loads rows by address, for nothing."""
    unit = platform.chip.routing
    if unit is None or not operator.gathers:
        return 0.0
    cycles: Amount = operator.rows * operator.top_k * operator.inputs * body.activation_bytes / unit.gather.value
    return cycles


def _routing_unit_cycles(operator: Elementwise, body: Precision, unit: RoutingUnit) -> Amount:
    """Cycles in which the routing unit picks experts, or weighs and adds what they return."""
    if operator.kind == "routing":
        return operator.rows * operator.width / unit.scores_per_cycle.value
    cycles: Amount = operator.input_elements * body.activation_bytes / unit.scatter.value
    return cycles


def _elementwise_cycles(operator: Elementwise, body: Precision, platform: Platform) -> Amount:
    elements = operator.rows * operator.width
    lane_operations = cost.LANE_OPERATIONS[operator.kind] * elements
    return cost.vector_cycles(
        lane_operations * operator.operands if operator.kind == "combine" else lane_operations,
        cost.SPECIAL_FUNCTIONS[operator.kind] * elements,
        (operator.input_elements + operator.output_elements) * body.activation_bytes,
        platform.chip.cluster,
    )
