"""Cycles of one operator on a platform: which formula of `lowering.cost` it takes, in which format and on which path.

Bytes are in `lowering.kernel`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.chip import MatrixPath, RoutingUnit
from simulator.graph import (
    Attention,
    CacheWrite,
    Convolution,
    DeltaRule,
    Elementwise,
    ExpertMatMul,
    MatMul,
    Product,
    Resample,
    ShortConvolution,
)
from simulator.lowering import cost
from simulator.lowering.platform import Platform
from simulator.lowering.quantise import is_quantised_before
from simulator.precision import DTYPE_BITS, Precision
from simulator.runtime import Kernel
from simulator.variants import Amount, Size, choose, largest, smallest


def matmul_cycles(operator: MatMul, used: Precision, platform: Platform) -> tuple[Amount, Amount, Amount]:
    """(matrix, vector, conversion) cycles: on the matrix path, or on the lanes where those are quicker."""
    shape = (operator.rows, operator.inputs, operator.outputs)
    is_quantised = is_quantised_before(operator, used, platform)
    return _multiplication_cycles(shape, operator.groups, used, platform, is_quantised=is_quantised)


def expert_cycles(operator: ExpertMatMul, used: Precision, platform: Platform) -> tuple[Amount, Amount, Amount]:
    """The same for the experts that are touched, each with an equal part of the routed rows."""
    rows = -(-operator.rows * operator.top_k // operator.touched)
    return _multiplication_cycles((rows, operator.inputs, operator.outputs), operator.touched, used, platform)


def convolution_cycles(operator: Convolution, used: Precision, platform: Platform) -> tuple[Amount, Amount, Amount]:
    """The same for a convolution, whose windows are formed while the map is read and cost nothing more."""
    shape = (operator.rows, operator.inputs, operator.outputs)
    return _multiplication_cycles(shape, operator.groups, used, platform, read_elements=operator.read_elements)


def product_cycles(operator: Product, body: Precision, platform: Platform) -> tuple[Amount, Amount, Amount]:
    """The same for products of activations, which are multiplied as in attention; the lanes take those of few rows."""
    cluster, kernel = platform.chip.cluster, platform.runtime.full_attention
    path = cluster.path(kernel.path)
    on_matrix = cost.matrix_cycles(
        operator.rows, operator.inputs, operator.outputs, cluster=cluster, path=path,
        dtype=platform.attention_dtype(path, platform.kernel(body.name)), matrices=operator.batch,
        achieved_fraction=kernel.achieved_fraction.value, tile_rows=1,
    )  # fmt: skip
    on_lanes = cost.vector_matrix_cycles(operator.batch * operator.rows, operator.inputs, operator.outputs, cluster)
    is_on_matrix = on_matrix <= on_lanes
    return choose(is_on_matrix, on_matrix, 0.0), choose(is_on_matrix, 0.0, on_lanes), 0.0


def _multiplication_cycles(
    shape: tuple[Size, Size, Size], matrices: Size, used: Precision, platform: Platform, *, is_quantised: bool = False,
    read_elements: Size | None = None,
) -> tuple[Amount, Amount, Amount]:  # fmt: skip
    """(matrix, vector, conversion) cycles of so many products of one shape.

    On the matrix path weights are converted to the multiplied format, activations quantised to it and integer results
    scaled, unless the path does so by itself. The lanes multiply 16-bit numbers, to which they convert all others.
    """
    kernel, cluster = platform.kernel(used.name), platform.chip.cluster
    rows, inputs, outputs = shape
    path = cluster.path(kernel.path)
    dtype = platform.dtype(path, kernel.dtype)
    tile_rows, columns = _kernel_tile(kernel, path, rows, outputs)
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
        read = matrices * rows * inputs if read_elements is None else read_elements
        before = before + (0.0 if is_quantised else cost.quantise_cycles(read, cluster))
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


def _kernel_tile(kernel: Kernel, path: MatrixPath, rows: Size, outputs: Size) -> tuple[Size, Size]:
    """Rows and columns of the tile with which a kernel makes so many; never less than the native tile."""
    tile_rows: Size = round(kernel.tile_rows.value)
    if kernel.least_tile_rows is not None:
        tile_rows = smallest(tile_rows, largest(round(kernel.least_tile_rows.value), _power_of_two(rows)))
    return largest(tile_rows, round(path.tile_m.value)), largest(
        _tile_columns(kernel, outputs), round(path.tile_n.value)
    )


def _tile_columns(kernel: Kernel, outputs: Size) -> Size:
    """Columns of the tile that pads so many outputs least.

    Formula:  q that makes ceil(n/q) q least, of q, q/2, q/4 .. down to the narrowest; the widest of equals
    Source:   definition; an engine is built by timing its kernels on the shapes at hand
    """
    columns: Size = 1 if kernel.tile_columns is None else round(kernel.tile_columns.value)
    if kernel.least_tile_columns is None:
        return columns
    narrower = round(largest(columns, 1)) // 2
    while narrower >= round(kernel.least_tile_columns.value):
        pads_less = -(-outputs // narrower) * narrower < -(-outputs // columns) * columns
        columns = choose(pads_less, narrower, columns)
        narrower //= 2
    return columns


def _power_of_two(rows: Size) -> Size:
    """The least power of two that is not below a number of rows."""
    if isinstance(rows, np.ndarray):
        powers: Size = 2 ** np.ceil(np.log2(rows)).astype(np.int64)
        return powers
    return 1 << (rows - 1).bit_length()


def attention_cycles(
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


def delta_rule_cycles(
    operator: DeltaRule, body: Precision, platform: Platform
) -> tuple[Amount, Amount, Amount]:  # fmt: skip
    """(matrix, vector, conversion) cycles: chunks on the path of attention, single tokens on the lanes."""
    cluster, used = platform.chip.cluster, platform.runtime.causal_attention
    decay: Any = cost.vector_cycles(operator.decays, 0, 0, cluster)
    if operator.chunk is None:
        return 0.0, decay + cost.delta_rule_vector_cycles(operator, cluster), 0.0
    path = cluster.path(used.path)
    on_matrix = cost.delta_rule_matrix_cycles(
        operator, cluster=cluster, path=path, dtype=platform.attention_dtype(path, platform.kernel(body.name)),
        achieved_fraction=used.achieved_fraction.value,
    )  # fmt: skip
    on_lanes = cost.delta_rule_vector_cycles(operator, cluster)
    is_quicker_on_lanes = on_lanes < on_matrix
    return choose(is_quicker_on_lanes, 0.0, on_matrix), decay + choose(is_quicker_on_lanes, on_lanes, 0.0), 0.0


def short_convolution_cycles(operator: ShortConvolution, body: Precision, platform: Platform) -> Amount:
    """Cycles of a short convolution and the SiLU behind it on the vector engine."""
    elements = operator.rows * operator.channels
    return cost.vector_cycles(
        (operator.width + cost.LANE_OPERATIONS["gated_activation"]) * elements,
        cost.SPECIAL_FUNCTIONS["gated_activation"] * elements,
        (operator.input_elements + operator.output_elements) * body.activation_bytes,
        platform.chip.cluster,
    )


def cache_quantise_cycles(operator: CacheWrite, body: Precision, platform: Platform) -> Amount:
    """Vector work on new keys and values before they go to a cache of a narrower format."""
    path = platform.chip.cluster.path(platform.runtime.causal_attention.path)
    if not _is_narrow_cache(body, path, platform):
        return 0.0
    return cost.quantise_cycles(operator.cache_elements, platform.chip.cluster)


def _is_narrow_cache(body: Precision, path: MatrixPath, platform: Platform) -> bool:
    """Whether software converts between the cache's format and that of activations."""
    kept = platform.kv_precision
    return kept.weight_bits < 8 * body.activation_bytes and kept.weights not in path.converts_in_path


def gather_cycles(operator: ExpertMatMul, body: Precision, platform: Platform) -> Amount:
    """Cycles in which the routing unit hands rows to experts; a chip without one loads rows by address, for nothing."""
    unit = platform.chip.routing
    if unit is None or not operator.gathers:
        return 0.0
    cycles: Amount = operator.rows * operator.top_k * operator.inputs * body.activation_bytes / unit.gather.value
    return cycles


def routing_unit_cycles(operator: Elementwise, body: Precision, unit: RoutingUnit) -> Amount:
    """Cycles in which the routing unit picks experts, or weighs and adds what they return."""
    if operator.kind == "routing":
        return operator.rows * operator.width / unit.scores_per_cycle.value
    cycles: Amount = operator.input_elements * body.activation_bytes / unit.scatter.value
    return cycles


def resample_cycles(operator: Resample, body: Precision, platform: Platform) -> Amount:
    """Cycles of pooling, interpolation or sampling: every tap is read, multiplied and added.

    Formula:  t = max(taps * results / (lanes S), bytes of all taps and results / (port S))
    Source:   definition; neighbours of one result lie in rows that the local SRAM delivers at the rate of its port
    """
    reads = operator.taps * operator.output_elements
    moved_bytes = (reads + operator.output_elements) * body.activation_bytes
    return cost.vector_cycles(reads, 0, moved_bytes, platform.chip.cluster)


def elementwise_cycles(operator: Elementwise, body: Precision, platform: Platform) -> Amount:
    """Cycles of an elementwise operator on the vector engine."""
    elements = operator.rows * operator.width
    lane_operations = cost.LANE_OPERATIONS[operator.kind] * elements
    return cost.vector_cycles(
        lane_operations * operator.operands if operator.kind == "combine" else lane_operations,
        cost.SPECIAL_FUNCTIONS[operator.kind] * elements,
        (operator.input_elements + operator.output_elements) * body.activation_bytes,
        platform.chip.cluster,
    )
