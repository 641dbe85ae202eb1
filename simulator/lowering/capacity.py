"""What has to be in the DRAM: weights of every component, each as the runtime keeps it, and KV caches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simulator.errors import Infeasible
from simulator.graph import Embedding, ExpertMatMul, MatMul, Operator
from simulator.lowering.demand import Demand
from simulator.lowering.kernel import matrix_bytes
from simulator.lowering.platform import Platform
from simulator.precision import Precision, precision
from simulator.terms import COMPONENT_OF_PHASE
from simulator.units import format_quantity
from simulator.variants import Size


def dram_needs(demands: Sequence[Demand], platform: Platform) -> list[tuple[str, int]]:
    """What has to be in the DRAM at the same time, in bytes: weights of every component and KV caches."""
    needs: list[tuple[str, int]] = []
    for demand in demands:
        components: dict[str, int] = {}
        for phase in demand.graph.phases:
            component = COMPONENT_OF_PHASE[phase.name]
            stored_bytes = int(stored_weight_bytes(phase.operators(), precision(phase.precision), platform))
            components[component] = max(components.get(component, 0), stored_bytes)
        needs += [(f"{demand.graph.name} {name} weights", size_bytes) for name, size_bytes in components.items()]
        if demand.graph.kv_elements:
            cache_bytes = int(platform.cache_bytes(demand.graph.kv_elements)) * demand.in_flight
            needs.append((f"{demand.graph.name} kv cache", cache_bytes))
    return needs


def check_capacity(demands: Sequence[Demand], platform: Platform) -> None:
    """Refuses what does not fit.

    Raises:
        Infeasible: when weights and KV caches of all jobs together are more than the DRAM holds.
    """
    capacity, needs = platform.chip.dram.usable_bytes, dram_needs(demands, platform)
    total = sum(size_bytes for _, size_bytes in needs)
    if total > capacity:
        listing = ", ".join(f"{name} {format_quantity(size_bytes, 'B')}" for name, size_bytes in needs)
        raise Infeasible(
            f"chip {platform.chip.name}: does not fit its DRAM: needs {format_quantity(total, 'B')} ({listing}), "
            f"has {format_quantity(capacity, 'B')}, short by {format_quantity(total - capacity, 'B')}",
            demand=total, bound=capacity, unit="B",
            hint="a precision with fewer bits, a shorter prompt, or more DRAM (dram.capacity)",
        )  # fmt: skip


def stored_weight_bytes(operators: Iterable[tuple[Operator, Size]], body: Precision, platform: Platform) -> Size:
    """Bytes of all weights that some operators use, each as the runtime keeps it, times its repetitions.

    A tied head is the embedding table if both are kept in the same format, and a copy of its own otherwise.
    """
    total: Size = 0
    for operator, repeats in operators:
        if isinstance(operator, MatMul):
            used = platform.matrix_precision(operator.role, body)
            is_the_table = operator.shares_weights and used.weight_bits == 8 * body.activation_bytes
            if not is_the_table:
                total = total + repeats * matrix_bytes(operator, used)
        elif isinstance(operator, ExpertMatMul):
            total = total + repeats * operator.experts * body.matrix_bytes(operator.outputs, operator.inputs)
        elif isinstance(operator, Embedding):
            total = total + operator.parameters * body.activation_bytes
    return total
