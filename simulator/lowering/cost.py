"""Cost formulas: cycles of matrix, attention and vector work. One formula, one function, with its source.

All results are in cycles of the clusters' clock with all clusters of the accelerator working together. Bytes are in
`simulator.lowering.kernel`; time is the engine's business. Sizes may be arrays with one value per variant; then so are
the results.
"""

from __future__ import annotations

from simulator.chip import Cluster, MatrixPath
from simulator.graph.operator import Attention, ElementwiseKind
from simulator.graph.recurrence import DeltaRule
from simulator.precision import Dtype
from simulator.variants import Amount, Size, choose, largest, smallest

LANE_OPERATIONS: dict[ElementwiseKind, int] = {
    "norm": 4,  # square, accumulate, scale, gain
    "head_norm": 4,
    "rope": 3,  # two products and a sum per element
    "gated_activation": 3,  # denominator, quotient, product with the other half
    "activation": 5,  # the tanh form of GELU around its special function
    "squared_relu": 2,  # maximum and square
    "add": 1,
    "routing": 6,  # softmax, and two passes of maximum for the experts that are picked
    "combine": 1,  # per operand
    "quantise": 3,  # largest magnitude, product with the scale, rounding
    "multiply": 1,
    "divide": 1,  # product with the reciprocal
    "relu": 1,
    "sigmoid": 1,  # sum under the reciprocal
    "silu": 2,  # sigmoid, product
    "exp": 1,  # product with log2 e
    "softmax": 4,  # as in attention: scale, running maximum, difference, running sum
    "copy": 0,  # bytes only
}
"""Simple vector operations per element: the arithmetic of the definition, one multiply-add each."""

SPECIAL_FUNCTIONS: dict[ElementwiseKind, int] = {
    "norm": 0,  # one reciprocal root per row, not per element
    "head_norm": 0,
    "rope": 0,  # sines come from a table
    "gated_activation": 2,  # exponential and reciprocal
    "activation": 1,
    "squared_relu": 0,
    "add": 0,
    "routing": 1,
    "combine": 0,
    "quantise": 0,  # one reciprocal per row or group, not per element
    "multiply": 0,
    "divide": 1,
    "relu": 0,
    "sigmoid": 2,  # exponential and reciprocal
    "silu": 2,
    "exp": 1,
    "softmax": 1,
    "copy": 0,
}
"""Special functions per element."""

SOFTMAX_LANE_OPERATIONS = 4
"""Per score: scale, running maximum, difference, running sum."""


def matrix_cycles(
    rows: Size, inputs: Size, outputs: Size, *, cluster: Cluster, path: MatrixPath, dtype: Dtype,
    achieved_fraction: float, tile_rows: Size, tile_columns: Size = 1, tile_cost_cycles: float = 0.0,
    splits_depth: bool = True, matrices: Size = 1,
) -> Amount:  # fmt: skip
    """Amount of y[rows, outputs] = x[rows, inputs] · W on a matrix path, for so many independent matrices.

    Output tiles of p x q are dealt to S clusters in waves; with fewer tiles than clusters the depth is split, if the
    kernel can, so that every cluster has a share.

    Formula:  tiles = matrices ceil(m/p) ceil(n/q);  t = (p q k' / (e M) + c) * ceil(tiles/S)      tiles >= S
              t = p q ceil(k'/(tk s)) tk / (e M) + c, s = S // tiles                      tiles <  S
              with k' = k rounded up to the tile depth tk, M = MAC/cycle of a cluster, e = achieved fraction,
              c = cycles of a tile beside its products
    Source:   [roadline-op-fit] section 3.1 (tiles, waves and their fixed cost), [roadline-e2e-fit] section 3.1 (rows
              padded to the kernel tile, one fraction per path)
    Valid:    the achieved fraction stands for everything inside a tile (operand feed, issue)

    Returns:
        Amount; all clusters work together.
    """
    tile_m = largest(tile_rows, round(path.tile_m.value))
    tile_n, tile_k = largest(tile_columns, round(path.tile_n.value)), round(path.tile_k.value)
    clusters = round(cluster.count.value)
    rate = path.macs_per_cycle[dtype].value * achieved_fraction
    tiles = matrices * -(-rows // tile_m) * -(-outputs // tile_n)
    depth_tiles = -(-inputs // tile_k)
    in_waves = (tile_m * tile_n * depth_tiles * tile_k / rate + tile_cost_cycles) * -(-tiles // clusters)
    parts = largest(clusters // tiles, 1) if splits_depth else 1
    in_depth = tile_m * tile_n * -(-depth_tiles // parts) * tile_k / rate + tile_cost_cycles
    cycles: Amount = choose(tiles >= clusters, in_waves, in_depth)
    return cycles


def vector_matrix_cycles(rows: Size, inputs: Size, outputs: Size, cluster: Cluster) -> Amount:
    """Amount of a matrix multiplication on the vector lanes, one MAC per lane and cycle.

    A single row has no reuse that a matrix tile could use, so a kernel for one row may as well run here.

    Formula:  t = m n k / (lanes S)
    Source:   [roadline-op-fit] section 3.1 (tiles below 64 rows), definition of a lane
    """
    return rows * inputs * outputs / (cluster.vector.lanes.value * cluster.count.value)


def vector_cycles(
    lane_operations: Amount, special_functions: Amount, operand_bytes: Amount, cluster: Cluster
) -> Amount:
    """Amount of elementwise work: simple operations, special functions and operand traffic run side by side.

    Formula:  t = max(operations / (lanes S), specials / (special rate S), bytes / (port S))
    Source:   [roadline-op-fit] section 3.5 (rates of traffic and of elements), section 5 (a maximum, not a sum)
    """
    clusters = cluster.count.value
    port = cluster.sram.port
    cycles: Amount = largest(
        lane_operations / (cluster.vector.lanes.value * clusters),
        special_functions / (cluster.vector.special_per_cycle.value * clusters),
        0.0 if port is None else operand_bytes / (port.value * clusters),
    )
    return cycles


def conversion_cycles(elements: Amount, cluster: Cluster) -> Amount:
    """Amount to convert stored elements (weights, keys and values) to the format in which they are multiplied.

    Formula:  t = elements / (lanes S)
    Source:   [roadline-e2e-fit] section 2: unpacking four bits limits decode on no board
    Status:   assumed, one operation per element (range 0.5 to 2)
    """
    return vector_cycles(elements, 0, 0, cluster)


def quantise_cycles(elements: Amount, cluster: Cluster) -> Amount:
    """Amount to quantise 16-bit elements (activations, new keys and values) to a narrower format.

    Formula:  t = 3 elements / (lanes S): largest magnitude of the group, product with the scale, rounding
    Source:   definition of dynamic quantisation, one operation each
    """
    return vector_cycles(LANE_OPERATIONS["quantise"] * elements, 0, 0, cluster)


def dequantise_cycles(elements: Amount, cluster: Cluster) -> Amount:
    """Amount to turn integer accumulators into 16-bit results.

    Formula:  t = 2 elements / (lanes S): to a float, product with the scales of row and column
    Source:   definition of scaled integer products, one operation each; floating-point accumulators need neither
    """
    return vector_cycles(2 * elements, 0, 0, cluster)


def attention_matrix_cycles(
    attention: Attention, *, cluster: Cluster, path: MatrixPath, dtype: Dtype, achieved_fraction: float
) -> Amount:
    """Amount of scores and values on a matrix path.

    The query heads of one KV head share its keys, so their rows fill a tile together; what is missing to a full tile
    is padded.

    Formula:  t = pairs H (d + v) / (e M S) * ceil(rows/p) p / rows,  rows = queries * heads / kv_heads, and v the
              width of a value, which is that of a key (d) unless keys are latent
    Source:   [roadline-e2e-fit] section 3.2 and 4.2 (fractions of the warp-level path), [roadline-op-fit] section 3.3
    """
    rows = attention.queries * attention.heads // attention.kv_heads
    tile_m = round(path.tile_m.value)
    padding = -(-rows // tile_m) * tile_m / rows
    macs = attention.flop / 2 * padding
    return macs / (path.macs_per_cycle[dtype].value * achieved_fraction * cluster.count.value)


def attention_vector_macs_cycles(attention: Attention, cluster: Cluster) -> Amount:
    """Amount of scores and values on the vector lanes.

    Formula:  t = pairs H (d + v) / (lanes S)
    Source:   definition of a lane; used where a tile would be mostly padding
    """
    return attention.flop / 2 / (cluster.vector.lanes.value * cluster.count.value)


def softmax_cycles(attention: Attention, cluster: Cluster) -> Amount:
    """Amount of the softmax: one exponential per pair and head, on scores that stay in registers.

    Source:   [roadline-op-fit] section 5 (kept as a bound beside the matrix work; not visible in the measured rows)
    """
    scores = attention.pairs * attention.heads
    return vector_cycles(SOFTMAX_LANE_OPERATIONS * scores, scores, 0, cluster)


def delta_rule_matrix_cycles(
    operator: DeltaRule, *, cluster: Cluster, path: MatrixPath, dtype: Dtype, achieved_fraction: float
) -> Amount:
    """Amount of the gated delta rule in chunks on a matrix path; the rows of a chunk are padded to full tiles.

    Formula:  t = MAC / (e M S) * ceil(C/p) p / C, with the MAC of `DeltaRule.macs` in chunks of C rows
    Source:   as `attention_matrix_cycles`
    Status:   assumed: as large a fraction of the peak as attention, and heads enough that chunks, which follow each
              other, leave no cluster idle
    """
    assert operator.chunk is not None  # a token after the other has no rows for a tile
    chunk = smallest(operator.chunk, operator.rows)
    tile_m = round(path.tile_m.value)
    padding = -(-chunk // tile_m) * tile_m / chunk
    rate = path.macs_per_cycle[dtype].value * achieved_fraction * cluster.count.value
    cycles: Amount = operator.macs * padding / rate
    return cycles


def delta_rule_vector_cycles(operator: DeltaRule, cluster: Cluster) -> Amount:
    """Amount of its products on the vector lanes: a single token is an outer product and products of one row.

    Formula:  t = MAC / (lanes S)
    Source:   definition of a lane
    """
    return operator.macs / (cluster.vector.lanes.value * cluster.count.value)
