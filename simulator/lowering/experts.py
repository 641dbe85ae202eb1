"""Experts: where the weights of those that a kernel touches come from.

    cached    they were used before and are still on the chip: no bytes from DRAM
    named     a predictor names them some layers before; fetched early, whether or not they are used then
    late      all others, read from DRAM when the router has picked them

Which experts tokens pick, and which a cache holds, is counted by `simulator.routing`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from simulator.errors import Infeasible
from simulator.graph import ExpertMatMul, PhaseGraph
from simulator.lowering.platform import Platform
from simulator.precision import Precision, precision
from simulator.program.columns import offsets_of
from simulator.routing import RouterTrace, cache_counts
from simulator.units import format_quantity
from simulator.variants import Ints, Size, largest, smallest, whole


@dataclass(frozen=True, eq=False)
class ExpertTraffic:
    """What the layers of a phase ask for in every step. Layers and steps that ask for the same are of one kind."""

    touched: Ints
    """Different experts (shape: kinds, 1)."""
    cached: Ints
    """Those of them that are on the chip (shape: kinds, 1)."""
    kind: Ints
    """Shape: layers, steps."""


class ExpertCounts(NamedTuple):
    """Experts that a kernel touches: of one layer and step, or of each kind of them."""

    touched: Size
    """Different ones."""
    cached: Size
    """Those of them that are on the chip."""
    named: Size
    """Those of the others that a predictor names; 0 without one."""
    hit_rate: float
    """The share of the named ones that is used indeed; 0 without a predictor."""


class ExpertLoads(NamedTuple):
    """Bytes of one matrix of the experts that a kernel touches."""

    late: Size
    """From DRAM, once the router has picked."""
    early: Size
    """From DRAM, by the predictor."""
    near: Size
    """From a shared SRAM level: cached, or fetched there early."""
    unmoved: Size
    """The same without a port that limits."""


def expert_traffic(
    phases: Sequence[PhaseGraph], platforms: Sequence[Platform], trace: RouterTrace | None
) -> list[ExpertTraffic | None]:
    """The traffic of every phase; None where no router trace tells more than the operators do.

    Phases follow each other in the trace. In the cache, too, as far as they have the same precision, mode and die.

    Args:
        phases: of one frame.
        platforms: where each of them runs.
        trace: which experts its tokens pick.
    Raises:
        Infeasible: when there is less room than the predictor needs.
    """
    for platform in platforms:
        _landing_slots([phase for phase, at in zip(phases, platforms, strict=True) if at.die == platform.die], platform)
    traffic: list[ExpertTraffic | None] = [None] * len(phases)
    if trace is None:
        return traffic
    decoding = [number for number, phase in enumerate(phases) if phase.component == "decoder"]
    token = 0
    for _, group in itertools.groupby(
        decoding, lambda number: (phases[number].precision, platforms[number].mode, platforms[number].die)
    ):
        numbers = list(group)
        alike = [phases[number] for number in numbers]
        lengths = [phase.tokens // phase.num_steps for phase in alike for _ in range(phase.num_steps)]
        counted = _counted(trace, token + offsets_of(np.array(lengths)), alike, platforms[numbers[0]])
        step = 0
        for number, phase in zip(numbers, alike, strict=True):
            traffic[number] = _in_kinds(counted[:, :, step : step + phase.num_steps])
            step += phase.num_steps
        token += sum(lengths)
    return traffic


def expert_counts(operator: ExpertMatMul, traffic: ExpertTraffic | None, platform: Platform) -> ExpertCounts:
    """How many experts a kernel touches, finds on the chip, and has named by a predictor.

    Formula:  named = min(touched - cached, top_k)

    Args:
        operator: the matrices of all experts.
        traffic: what is touched and cached; None if the operator says what is touched, and nothing is cached.
        platform: chip and runtime.
    """
    touched = operator.touched if traffic is None else traffic.touched
    cached: Size = 0 if traffic is None else traffic.cached
    unit = platform.chip.routing
    if unit is None or unit.prefetch is None:
        return ExpertCounts(touched, cached, 0, 0.0)
    return ExpertCounts(touched, cached, smallest(touched - cached, operator.top_k), unit.prefetch.hit_rate.value)


def expert_loads(
    operator: ExpertMatMul, matrix_bytes: Size, traffic: ExpertTraffic | None, platform: Platform
) -> ExpertLoads:
    """Where one matrix of the touched experts comes from.

    Formula:  early = named * bytes of a matrix;  late = (touched - cached) * bytes - floor(hit rate * early)
    Status:   assumed: of every layer exactly the hit rate is predicted, so only the mean is right; a prefill, which
              touches more than a token picks, has no more predicted than a token

    Args:
        operator: the matrices of all experts.
        matrix_bytes: of one expert.
        traffic: as in `expert_counts`.
        platform: chip and runtime.
    """
    count = expert_counts(operator, traffic, platform)
    early = count.named * matrix_bytes
    right = whole(count.hit_rate * early)
    there = count.cached * matrix_bytes + right
    near = whole(platform.far_share("experts") * there)
    return ExpertLoads((count.touched - count.cached) * matrix_bytes - right, early, near, there - near)


def expert_matrix_bytes(operator: ExpertMatMul, used: Precision) -> Size:
    """Bytes of one matrix of one expert and its bias, which stays in the activations' format."""
    bias = operator.outputs * used.activation_bytes if operator.has_bias else 0
    return used.matrix_bytes(operator.outputs, operator.inputs) + bias


def reserved_expert_bytes(phases: Sequence[PhaseGraph], platform: Platform, *, has_trace: bool) -> int:
    """Bytes on the chip for experts that are fetched early and, if a trace tells which come back, for those kept."""
    slots = _landing_slots(phases, platform) + (_cache_slots(phases, platform) if has_trace else 0)
    return slots * int(_expert_bytes(phases))


def pinned_expert_bytes(phases: Sequence[PhaseGraph], platform: Platform, trace: RouterTrace | None) -> int:
    """Bytes of the experts that a static cache holds from the beginning."""
    unit = platform.chip.routing
    if trace is None or unit is None or unit.cache != "static":
        return 0
    return min(_cache_slots(phases, platform), trace.num_layers * trace.experts) * int(_expert_bytes(phases))


def lacks_landing_room(phases: Sequence[PhaseGraph], platform: Platform) -> Any:
    """Whether the predictor needs more room than there is, for one model or every kind of a family."""
    return _landing(phases, platform) * _expert_bytes(phases) > _room_bytes(platform)


def _counted(trace: RouterTrace, step_offsets: Ints, phases: Sequence[PhaseGraph], platform: Platform) -> Ints:
    """Touched and cached experts (shape: 2, layers, steps)."""
    unit = platform.chip.routing
    policy = None if unit is None else unit.cache
    counts = cache_counts(trace, step_offsets, _cache_slots(phases, platform), policy or "static")
    return np.stack([counts.touched, counts.hits])


def _in_kinds(counted: Ints) -> ExpertTraffic:
    kinds, kind = np.unique(counted.reshape(2, -1), axis=1, return_inverse=True)
    return ExpertTraffic(kinds[0][:, None], kinds[1][:, None], kind.reshape(counted.shape[1:]))


def _cache_slots(phases: Sequence[PhaseGraph], platform: Platform) -> int:
    """Experts that the cache holds beside those that are fetched early."""
    unit, expert_bytes = platform.chip.routing, int(_expert_bytes(phases))
    landing = _landing_slots(phases, platform)
    if unit is None or unit.cache is None or not expert_bytes:
        return 0
    return _room_bytes(platform) // expert_bytes - landing


def _landing_slots(phases: Sequence[PhaseGraph], platform: Platform) -> int:
    """The landing experts of one model.

    Raises:
        Infeasible: when there is less room than they need.
    """
    slots, room = int(_landing(phases, platform)), _room_bytes(platform)
    needed = slots * int(_expert_bytes(phases))
    if needed > room:
        raise Infeasible(
            f"chip {platform.chip.name}: does not have room for the experts that it fetches early: needs "
            f"{format_quantity(needed, 'B')} ({slots} experts), has {format_quantity(room, 'B')}, "
            f"short by {format_quantity(needed - room, 'B')}",
            demand=needed, bound=room, unit="B",
            hint="a larger share of SRAM (split.experts), fewer layers ahead, or a precision with fewer bits",
        )  # fmt: skip
    return slots


def _landing(phases: Sequence[PhaseGraph], platform: Platform) -> Size:
    """Experts for which the predictor needs room: those of the layers that it is ahead, and of the layer at work."""
    unit = platform.chip.routing
    if unit is None or unit.prefetch is None:
        return 0
    top_k: Size = largest(0, *(matrices[0].top_k for _, matrices in _expert_matrices(phases)))
    return (round(unit.prefetch.layers_ahead.value) + 1) * top_k


def _room_bytes(platform: Platform) -> int:
    return sum(size_bytes for _, size_bytes in platform.kept_room("experts"))


def _expert_bytes(phases: Sequence[PhaseGraph]) -> Any:
    """Bytes of one expert of a layer, with all its matrices, in the phase where it has most."""
    most: Size = 0
    for phase, matrices in _expert_matrices(phases):
        of_expert: Size = 0
        for matrix in matrices:
            of_expert = of_expert + expert_matrix_bytes(matrix, precision(phase.precision))
        most = largest(most, of_expert)
    return most


def _expert_matrices(phases: Sequence[PhaseGraph]) -> Iterator[tuple[PhaseGraph, list[ExpertMatMul]]]:
    """The matrices of an expert in every block that has some, with its phase."""
    for phase in phases:
        for block in phase.blocks:
            matrices = [each for each in block.graph.operators if isinstance(each, ExpertMatMul)]
            if matrices:
                yield phase, matrices
