"""Kernels: operators that a runtime computes together, with their bytes and cycles on a platform.

`group_operators` decides what is one kernel; `kernel_work` counts what a kernel moves and computes. Turning that into
tasks is `simulator.lowering.emit`.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.graph import Attention, CacheWrite, Elementwise, Embedding, MatMul, Operator, OperatorGraph
from simulator.lowering import cost
from simulator.lowering.platform import Platform
from simulator.precision import DTYPE_BITS, Precision
from simulator.terms import Fusion


@dataclass(frozen=True)
class KernelWork:
    """What one kernel moves and computes."""

    name: str
    flop: int
    weight_bytes: int
    """Weights read from DRAM."""
    row_bytes: int
    """Rows of a table read from DRAM; which rows is known only when the kernel starts."""
    cache_read_bytes: int
    """KV cache read from DRAM."""
    cache_write_bytes: int
    """KV cache written to DRAM."""
    spilled_input_bytes: int
    """Activations read from DRAM because they did not fit on the chip."""
    spilled_output_bytes: int
    """Activations written to DRAM because they do not fit on the chip."""
    conversion_cycles: float
    """Vector work on weights before they can be multiplied."""
    matrix_cycles: float
    """Work of the matrix engine."""
    vector_cycles: float
    """Other vector work: softmax, norms, activations; also multiplications that run better there."""

    @property
    def loaded_bytes(self) -> int:
        """Bytes that pass through the streaming buffers."""
        return self.weight_bytes + self.row_bytes + self.cache_read_bytes + self.spilled_input_bytes

    @property
    def stored_bytes(self) -> int:
        """Bytes that leave for DRAM."""
        return self.cache_write_bytes + self.spilled_output_bytes

    @property
    def is_known_early(self) -> bool:
        """Whether all that it loads can be named before it starts: weights can, results of other kernels cannot."""
        return self.loaded_bytes == self.weight_bytes


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


def kernel_work(
    operators: list[Operator], *, platform: Platform, body: Precision, spilled_input_bytes: int = 0,
    spilled_output_bytes: int = 0,
) -> KernelWork:  # fmt: skip
    """The bytes and cycles of one kernel.

    Args:
        operators: one group of `group_operators`.
        platform: chip and runtime.
        body: precision of the matrices.
        spilled_input_bytes: activations that it reads from DRAM.
        spilled_output_bytes: activations that it writes to DRAM.
    Raises:
        SpecError: when the platform cannot run the precision.
    """
    conversion = matrix = vector = 0.0
    weights = rows = cache_read = cache_write = 0
    for operator in _merged(operators):
        if isinstance(operator, MatMul):
            used = platform.head_precision(body) if operator.role == "head" else body
            weights += matrix_bytes(operator, used)
            on_matrix, on_vector, converting = _matmul_cycles(operator, used, platform)
            matrix, vector, conversion = matrix + on_matrix, vector + on_vector, conversion + converting
        elif isinstance(operator, Attention):
            cache_read += operator.cache_elements * platform.kv_bytes
            on_matrix, on_vector = _attention_cycles(operator, body, platform)
            matrix, vector = matrix + on_matrix, vector + on_vector
        elif isinstance(operator, Elementwise):
            vector += _elementwise_cycles(operator, body, platform)
        elif isinstance(operator, Embedding):
            rows += operator.output_elements * body.activation_bytes
        elif isinstance(operator, CacheWrite):
            cache_write += operator.cache_elements * platform.kv_bytes
    return KernelWork(
        name="+".join(operator.name for operator in operators),
        flop=sum(operator.flop for operator in operators),
        weight_bytes=weights,
        row_bytes=rows,
        cache_read_bytes=cache_read,
        cache_write_bytes=cache_write,
        spilled_input_bytes=spilled_input_bytes,
        spilled_output_bytes=spilled_output_bytes,
        conversion_cycles=conversion,
        matrix_cycles=matrix,
        vector_cycles=vector,
    )


def _merged(operators: list[Operator]) -> list[Operator]:
    """Matrices of one kernel that read the same rows are one wider matrix, which fills tiles better."""
    merged: list[Operator] = []
    for operator in operators:
        last = merged[-1] if merged else None
        if (
            isinstance(operator, MatMul)
            and isinstance(last, MatMul)
            and (operator.rows, operator.inputs) == (last.rows, last.inputs)
        ):
            merged[-1] = MatMul(
                f"{last.name}+{operator.name}", (), rows=last.rows, inputs=last.inputs,
                outputs=last.outputs + operator.outputs, role=last.role, has_bias=last.has_bias,
            )  # fmt: skip
        else:
            merged.append(operator)
    return merged


def matrix_bytes(operator: MatMul, used: Precision) -> int:
    """Bytes of a matrix and its bias, which stays in the activations' format."""
    bias = operator.outputs * used.activation_bytes if operator.has_bias else 0
    return used.matrix_bytes(operator.outputs, operator.inputs) + bias


def _matmul_cycles(operator: MatMul, used: Precision, platform: Platform) -> tuple[float, float, float]:
    """(matrix, vector, conversion) cycles: on the matrix path, or on the lanes where those are quicker."""
    kernel, cluster = platform.kernel(used.name), platform.chip.cluster
    path = cluster.path(kernel.path)
    dtype = platform.dtype(path, kernel.dtype)
    shape = (operator.rows, operator.inputs, operator.outputs)
    needs_conversion = used.weight_bits != DTYPE_BITS[dtype]
    conversion = cost.conversion_cycles(operator.inputs, operator.outputs, cluster) if needs_conversion else 0.0
    on_matrix = cost.matrix_cycles(
        *shape, cluster=cluster, path=path, dtype=dtype, achieved_fraction=kernel.achieved_fraction.value,
        tile_rows=round(kernel.tile_rows.value),
    )  # fmt: skip
    on_lanes = cost.vector_matrix_cycles(*shape, cluster)
    if on_lanes < on_matrix:
        return 0.0, on_lanes, conversion
    return on_matrix, 0.0, conversion


def _attention_cycles(operator: Attention, body: Precision, platform: Platform) -> tuple[float, float]:
    """(matrix, vector) cycles."""
    cluster = platform.chip.cluster
    used = platform.runtime.causal_attention if operator.is_causal else platform.runtime.full_attention
    if operator.queries == 1:
        used = platform.runtime.causal_attention  # the decode kernel is the causal one with a single row
    path = cluster.path(used.path)
    on_matrix = cost.attention_matrix_cycles(
        operator, cluster=cluster, path=path, dtype=platform.attention_dtype(path, platform.kernel(body.name)),
        achieved_fraction=used.achieved_fraction.value,
    )  # fmt: skip
    softmax = cost.softmax_cycles(operator, cluster)
    on_lanes = cost.attention_vector_macs_cycles(operator, cluster)
    return (0.0, softmax + on_lanes) if on_lanes < on_matrix else (on_matrix, softmax)


def _elementwise_cycles(operator: Elementwise, body: Precision, platform: Platform) -> float:
    elements = operator.rows * operator.width
    return cost.vector_cycles(
        cost.LANE_OPERATIONS[operator.kind] * elements,
        cost.SPECIAL_FUNCTIONS[operator.kind] * elements,
        (operator.input_elements + operator.output_elements) * body.activation_bytes,
        platform.chip.cluster,
    )
