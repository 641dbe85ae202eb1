"""What has to be in the DRAM: weights of every component, each as the runtime keeps it, and KV caches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from simulator.errors import Infeasible
from simulator.graph import (
    Attention,
    CacheWrite,
    Convolution,
    DeltaRule,
    Embedding,
    ExpertMatMul,
    MatMul,
    Operator,
    PhaseGraph,
    ShortConvolution,
)
from simulator.lowering.demand import Demand
from simulator.lowering.experts import expert_matrix_bytes
from simulator.lowering.kernel import matrix_bytes, state_bytes
from simulator.lowering.platform import Platform
from simulator.precision import Precision, precision
from simulator.units import format_quantity
from simulator.variants import Size


class Need(NamedTuple):
    """Something that has to be in the DRAM of a die."""

    die: int
    name: str
    size_bytes: int


def dram_needs(demands: Sequence[Demand], platform: Platform) -> list[Need]:
    """What has to be in the DRAM of each die at the same time: weights of every component, KV caches and states.

    A die has the weights of the phases that run there, and the whole KV cache if one of them writes or reads it.
    """
    needs: list[Need] = []
    for demand in demands:
        if demand.is_alternative:
            continue
        components: dict[tuple[int, str], int] = {}
        cache_dies: set[int] = set()
        states: dict[int, int] = {}
        for phase in demand.graph.phases:
            die, component = demand.platforms.get(phase.name, platform).die, phase.component
            stored_bytes = int(stored_weight_bytes(phase.operators(), precision(phase.precision), platform))
            components[die, component] = max(components.get((die, component), 0), stored_bytes)
            if has_cache(phase):
                cache_dies.add(die)
            states[die] = max(states.get(die, 0), phase_state_bytes(phase))
        needs += [
            Need(die, f"{demand.graph.name} {name} weights", size_bytes)
            for (die, name), size_bytes in components.items()
        ]
        if demand.graph.kv_elements:
            cache_bytes = int(platform.cache_bytes(demand.graph.kv_elements)) * demand.in_flight
            needs += [Need(die, f"{demand.graph.name} kv cache", cache_bytes) for die in sorted(cache_dies)]
        needs += [
            Need(die, f"{demand.graph.name} states", size_bytes * demand.in_flight)
            for die, size_bytes in sorted(states.items())
            if size_bytes
        ]
    return needs


def phase_state_bytes(phase: PhaseGraph) -> int:
    """Bytes of the states of all layers that a phase carries from token to token."""
    body = precision(phase.precision)
    return sum(
        repeats * int(state_bytes(operator, body))
        for operator, repeats in phase.operators()
        if isinstance(operator, DeltaRule | ShortConvolution)
    )


def reads_cache(operator: Operator) -> bool:
    """Whether an operator attends to the KV cache."""
    return isinstance(operator, Attention) and bool(np.any(operator.cached_keys))


def has_cache(phase: PhaseGraph) -> bool:
    """Whether a phase writes or reads the KV cache."""
    return any(isinstance(operator, CacheWrite) or reads_cache(operator) for operator, _ in phase.operators())


def check_capacity(demands: Sequence[Demand], platform: Platform) -> None:
    """Refuses what does not fit.

    Raises:
        Infeasible: when weights and KV caches of all jobs together are more than the DRAM of a die holds.
    """
    capacity, needs = platform.chip.dram.usable_bytes, dram_needs(demands, platform)
    for die in sorted({need.die for need in needs}):
        here = [need for need in needs if need.die == die]
        total = sum(need.size_bytes for need in here)
        if total <= capacity:
            continue
        listing = ", ".join(f"{need.name} {format_quantity(need.size_bytes, 'B')}" for need in here)
        where = "its DRAM" if platform.chip.dies is None else f"the DRAM of die {die}"
        raise Infeasible(
            f"chip {platform.chip.name}: does not fit {where}: needs {format_quantity(total, 'B')} ({listing}), "
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
            used = platform.matrix_precision(operator, body)
            is_the_table = operator.shares_weights and used.weight_bits == 8 * body.activation_bytes
            if not is_the_table:
                total = total + repeats * matrix_bytes(operator, used)
        elif isinstance(operator, Convolution):
            total = total + repeats * matrix_bytes(operator, body)
        elif isinstance(operator, ExpertMatMul):
            total = total + repeats * operator.experts * expert_matrix_bytes(operator, body)
        elif isinstance(operator, Embedding):
            total = total + repeats * operator.parameters * body.activation_bytes
    return total
