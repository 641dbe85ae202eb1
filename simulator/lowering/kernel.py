"""Kernels: operators that a runtime computes together, with their bytes and cycles on a platform.

`group_operators` decides what is one kernel; `kernel_work` counts what a kernel moves and computes. Turning that into
tasks is `simulator.lowering.emit`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from simulator.graph import (
    Attention,
    CacheWrite,
    Convolution,
    DeltaRule,
    Elementwise,
    Embedding,
    ExpertMatMul,
    MatMul,
    Operator,
    OperatorGraph,
    Product,
    Resample,
    ShortConvolution,
)
from simulator.lowering.experts import ExpertTraffic, expert_loads, expert_matrix_bytes
from simulator.lowering.kernel_work import NOTHING_KEPT, Kept, KernelWork
from simulator.lowering.operator_cycles import (
    attention_cycles,
    cache_quantise_cycles,
    convolution_cycles,
    delta_rule_cycles,
    elementwise_cycles,
    expert_cycles,
    gather_cycles,
    matmul_cycles,
    product_cycles,
    resample_cycles,
    routing_unit_cycles,
    short_convolution_cycles,
)
from simulator.lowering.platform import Platform
from simulator.precision import DTYPE_BITS, Precision
from simulator.terms import Fusion
from simulator.variants import Amount, Size, choose, largest, same, smallest, whole


def group_operators(graph: OperatorGraph, fusions: tuple[Fusion, ...]) -> list[list[Operator]]:
    """Neighbours in the order of the graph that share a fusion of the runtime become one kernel.

    An epilogue works on what the kernel has made, and a product begins a kernel of its own.
    """
    groups: list[list[Operator]] = []
    last: set[str] = set()  # names in the last group: to look for operators themselves takes long in long groups
    for operator in graph.operators:
        shared = set(fusions).intersection(operator.fusions)
        if "epilogue" in shared:
            follows = bool(groups) and not isinstance(operator, MatMul | Convolution)
            follows = follows and any(before.name in last for before in graph.predecessors(operator.name))
            shared = shared if follows else shared - {"epilogue"}
        if groups and shared.intersection(groups[-1][-1].fusions):
            groups[-1].append(operator)
            last.add(operator.name)
        else:
            groups.append([operator])
            last = {operator.name}
    return groups


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
    total: dict[str, Any] = dict.fromkeys(_SUMS, 0)
    dtype = ""
    for operator in _merged(operators):
        work = _operator_work(operator, platform, body, kept, experts)
        dtype = work.pop("dtype", dtype)
        for name, amount in work.items():
            total[name] = total[name] + amount
    return KernelWork(
        name="+".join(operator.name for operator in operators),
        flop=sum(operator.flop for operator in operators),
        spilled_input_bytes=spilled_input_bytes,
        spilled_output_bytes=spilled_output_bytes,
        dtype=dtype,
        has_router=any(isinstance(operator, Elementwise) and operator.kind == "routing" for operator in operators),
        **total,
    )


_SUMS: Final = (
    "weight_bytes", "late_bytes", "expert_bytes", "early_bytes", "cache_read_bytes", "cache_write_bytes", "sram_bytes",
    "sram_written_bytes", "unmoved_bytes", "conversion_cycles", "matrix_cycles", "vector_cycles", "routing_cycles",
)  # fmt: skip
"""Fields of `KernelWork` that are sums over its operators."""


def _operator_work(
    operator: Operator, platform: Platform, body: Precision, kept: Kept, experts: ExpertTraffic | None
) -> dict[str, Any]:
    """What one operator adds to the fields of its kernel, and the `dtype` of its matrices if it has some."""
    match operator:
        case MatMul():
            work = _matmul_work(operator, platform, platform.matrix_precision(operator, body), kept)
        case ExpertMatMul():
            work = _expert_work(operator, platform, body, experts)
        case Convolution():
            work = _convolution_work(operator, platform, body, kept)
        case Product():
            dtype = platform.attention_multiplied_in(body)
            work = {"dtype": dtype, **_cycles(product_cycles(operator, body, platform))}
        case Attention():
            work = _attention_work(operator, platform, body, kept)
        case CacheWrite():
            work = _cache_write_work(operator, platform, body, kept)
        case DeltaRule():
            work = _delta_rule_work(operator, platform, body)
        case ShortConvolution():
            work = {
                **_state_traffic(operator, body),
                "vector_cycles": short_convolution_cycles(operator, body, platform),
            }
        case Embedding():
            work = {"late_bytes": operator.output_elements * body.activation_bytes}
        case Resample():
            work = {"vector_cycles": resample_cycles(operator, body, platform)}
        case Elementwise():
            work = _elementwise_work(operator, platform, body)
    return work


def _matmul_work(operator: MatMul, platform: Platform, used: Precision, kept: Kept) -> dict[str, Any]:
    cycles = _cycles(matmul_cycles(operator, used, platform))
    return {**_weights(matrix_bytes(operator, used), kept), "dtype": platform.multiplied_in(used), **cycles}


def _convolution_work(operator: Convolution, platform: Platform, used: Precision, kept: Kept) -> dict[str, Any]:
    cycles = _cycles(convolution_cycles(operator, used, platform))
    return {**_weights(matrix_bytes(operator, used), kept), "dtype": platform.multiplied_in(used), **cycles}


def _weights(size_bytes: Size, kept: Kept) -> dict[str, Size]:
    """Where the weights of an operator come from."""
    pinned = whole(kept.weight_share * size_bytes)
    far = whole(kept.far_weights * pinned)
    return {"weight_bytes": size_bytes - pinned, "sram_bytes": far, "unmoved_bytes": pinned - far}


def _expert_work(
    operator: ExpertMatMul, platform: Platform, body: Precision, experts: ExpertTraffic | None
) -> dict[str, Any]:
    loads = expert_loads(operator, expert_matrix_bytes(operator, body), experts, platform)
    touched = operator if experts is None else replace(operator, touched=experts.touched)
    return {
        "late_bytes": loads.late, "expert_bytes": loads.late, "early_bytes": loads.early, "sram_bytes": loads.near,
        "unmoved_bytes": loads.unmoved, "routing_cycles": gather_cycles(operator, body, platform),
        "dtype": platform.multiplied_in(body),
        **_cycles(expert_cycles(touched, body, platform)),
    }  # fmt: skip


def _attention_work(operator: Attention, platform: Platform, body: Precision, kept: Kept) -> dict[str, Any]:
    seen_in_store = _seen_in_store(operator.cached_keys, operator.window, kept)
    held = platform.cache_bytes(seen_in_store * operator.key_elements)
    far = whole(kept.far_kv * held)
    return {
        "cache_read_bytes": platform.cache_bytes(operator.cache_elements) - held, "sram_bytes": far,
        "unmoved_bytes": held - far, "dtype": platform.attention_multiplied_in(body),
        **_cycles(attention_cycles(operator, body, platform)),
    }  # fmt: skip


def _cache_write_work(operator: CacheWrite, platform: Platform, body: Precision, kept: Kept) -> dict[str, Any]:
    """The newest tokens go to the store; those that no longer fit leave for DRAM while they may still be seen.

    A token passes the port of the store or goes to DRAM. Where a new one displaces an old one, the write of the old one
    to DRAM stands for both: they are side by side, and a port is rarely the slower.
    """
    in_store = _seen_in_store(operator.context, operator.window, kept)
    leaving = smallest(operator.context - in_store, operator.tokens)
    entering = smallest(in_store, operator.tokens - leaving)
    leaving_bytes = platform.cache_bytes(leaving * operator.token_elements)
    far = whole(kept.far_kv * platform.cache_bytes(entering * operator.token_elements))
    return {
        "cache_write_bytes": leaving_bytes,
        "sram_written_bytes": far,
        "unmoved_bytes": platform.cache_bytes(operator.cache_elements) - leaving_bytes - far,
        "vector_cycles": cache_quantise_cycles(operator, body, platform),
    }


def _delta_rule_work(operator: DeltaRule, platform: Platform, body: Precision) -> dict[str, Any]:
    work = {**_state_traffic(operator, body), **_cycles(delta_rule_cycles(operator, body, platform))}
    return work if operator.chunk is None else {**work, "dtype": platform.attention_multiplied_in(body)}


def _state_traffic(operator: DeltaRule | ShortConvolution, body: Precision) -> dict[str, Any]:
    """A state is written once by what goes through together, and read before if there were tokens before."""
    size_bytes = state_bytes(operator, body)
    had_tokens = operator.chunk is None if isinstance(operator, DeltaRule) else operator.has_state
    return {"cache_read_bytes": size_bytes if had_tokens else 0, "cache_write_bytes": size_bytes}


def state_bytes(operator: DeltaRule | ShortConvolution, body: Precision) -> Size:
    """Bytes of a state: in its own format, or that of the activations that a convolution sees again."""
    if isinstance(operator, DeltaRule):
        return operator.state_elements * DTYPE_BITS[operator.state_format] // 8
    return operator.state_elements * body.activation_bytes


def _elementwise_work(operator: Elementwise, platform: Platform, body: Precision) -> dict[str, Any]:
    if platform.chip.routing is not None and operator.kind in {"routing", "combine"}:
        return {"routing_cycles": routing_unit_cycles(operator, body, platform.chip.routing)}
    return {"vector_cycles": elementwise_cycles(operator, body, platform)}


def _cycles(cycles: tuple[Amount, Amount, Amount]) -> dict[str, Amount]:
    return dict(zip(("matrix_cycles", "vector_cycles", "conversion_cycles"), cycles, strict=True))


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
    is_whole = same(one.groups, 1) and same(other.groups, 1)
    return is_whole and same(one.rows, other.rows) and same(one.inputs, other.inputs)


def matrix_bytes(operator: MatMul | Convolution, used: Precision) -> Size:
    """Bytes of a matrix and its bias, which stays in the activations' format; of the matrices of all groups."""
    if isinstance(operator, Convolution):
        rows = operator.groups * operator.outputs
        return used.matrix_bytes(rows, operator.inputs) + operator.biases * used.activation_bytes
    bias = operator.outputs * used.activation_bytes if operator.has_bias else 0
    return operator.groups * (used.matrix_bytes(operator.outputs, operator.inputs) + bias)
