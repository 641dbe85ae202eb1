"""Modes: which configuration of the accelerator each phase runs in, and what changing it moves.

operations per byte of a phase ─► rule with hysteresis ─► mode    or an order that the chip gives
stage before, stage after  ─► drain, store, reconfigure, load      the switch, as a chain of tasks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.chip import Chip, IntensityRule
from simulator.errors import SpecError
from simulator.graph import PhaseGraph, WorkloadGraph
from simulator.lowering.block import LINK, SWITCH, lower_block
from simulator.lowering.capacity import has_cache, phase_state_bytes, reads_cache
from simulator.lowering.experts import ExpertTraffic, expert_traffic, pinned_expert_bytes
from simulator.lowering.fragments import PassageTask
from simulator.lowering.kept import cache_bytes, cache_layers, context_tokens, filled_bytes, kept_of, pinned_bytes
from simulator.lowering.kernel_work import Kept
from simulator.lowering.platform import Platform
from simulator.precision import precision
from simulator.program.program import NONE
from simulator.terms import PhaseKind, PhaseName


@dataclass(frozen=True, eq=False)
class Stage:
    """A phase, where it runs and in which mode, and what stays on the chip meanwhile."""

    phase: PhaseGraph
    platform: Platform
    kept: Kept
    experts: ExpertTraffic | None = None
    """Which experts it touches and finds, where a router trace tells."""
    pinned_expert_bytes: int = 0
    """Experts that are there from the beginning."""


def modes_of(phases: Sequence[PhaseGraph], platform: Platform) -> dict[PhaseName, str]:
    """The mode of every phase; empty on a chip without modes.

    Raises:
        SpecError: when the platform cannot run a precision, or an order names none of the phases.
    """
    reconfiguration = platform.chip.reconfiguration
    if reconfiguration is None:
        return {}
    if reconfiguration.rule is None:
        modes = by_order(platform.chip, [phase.kind for phase in phases])
    else:
        modes = by_rule(reconfiguration.rule, [flop_per_byte(phase, platform) for phase in phases])
    return dict(zip((phase.name for phase in phases), modes, strict=True))


def by_order(chip: Chip, phases: Sequence[PhaseKind]) -> Sequence[str]:
    """The modes of phases that follow each other, by their kinds, on a chip that has an order.

    A phase that the order does not name has the mode of the one before; those before the first named one have its mode.

    Raises:
        SpecError: when the order names none of them.
    """
    order = (chip.reconfiguration and chip.reconfiguration.order) or {}
    named = [phase for phase in phases if phase in order]
    if not named:
        raise SpecError(
            f"chip {chip.name}: reconfiguration.order: must name a phase of the workload ({', '.join(phases)}), "
            f"got {', '.join(order)}"
        )
    modes = [order[named[0]]]
    for phase in phases:
        modes.append(order.get(phase, modes[-1]))
    return modes[1:]


def by_rule(rule: IntensityRule, flop_per_byte: Sequence[float]) -> Sequence[str]:
    """The modes of phases that follow each other, by their operations per byte.

    Formula:  to `above` if x >= t (1 + h), to `below` if x < t (1 - h), else as before; h is 0 for the first
    Source:   [duplex] threshold on operations per byte, [nexus] hysteresis
    """
    modes: list[str] = []
    for intensity in flop_per_byte:
        band = rule.hysteresis if modes else 0.0
        if intensity >= rule.flop_per_byte * (1 + band):
            modes.append(rule.above)
        elif intensity < rule.flop_per_byte * (1 - band):
            modes.append(rule.below)
        else:
            modes.append(modes[-1])
    return modes


def flop_per_byte(phase: PhaseGraph, platform: Platform) -> float:
    """Matrix operations per byte of DRAM traffic of a phase, on a chip that keeps nothing and predicts nothing.

    Raises:
        SpecError: when the platform cannot run a precision.
    """
    if (unit := platform.chip.routing) is not None:  # a better predictor or cache is no reason for another mode
        plain = unit.model_copy(update={"prefetch": None, "cache": None})
        platform = replace(platform, chip=platform.chip.model_copy(update={"routing": plain}))
    moved_bytes = 0
    for block in phase.blocks:
        for work in lower_block(block.graph, platform, precision(phase.precision)).works:
            moved_bytes += int(block.repeats) * phase.over_steps(work.loaded_bytes + work.stored_bytes, block)
    return phase.flop / max(moved_bytes, 1)


Passage = tuple[Platform, list[PassageTask]]
"""A chain of tasks between two phases, and where it happens."""


def passages_of(stages: Sequence[Stage]) -> list[list[Passage]]:
    """What has to happen before every stage of a frame: the mode changes, results come from another die.

    A frame finds every die in the mode in which the frame before has left it, with an empty KV cache. What comes over
    the link lies where the new mode keeps it.
    """
    contexts = [int(tokens[-1]) for tokens in context_tokens([stage.phase for stage in stages])]
    last_on_die = {stage.platform.die: stage for stage in stages}
    tokens_on_die = dict.fromkeys(last_on_die, 0)
    passages: list[list[Passage]] = []
    for number, stage in enumerate(stages):
        before, die = stages[number - 1], stage.platform.die
        chains = []
        if last_on_die[die].platform.mode != stage.platform.mode:
            chains.append((stage.platform, _switch(last_on_die[die], stage, tokens_on_die[die])))
        if number > 0 and before.platform.die != die:
            chains.append((before.platform, [_handover(before, stage, contexts[number - 1])]))
        last_on_die[die] = stage
        if has_cache(stage.phase):
            tokens_on_die[die] = contexts[number]
        passages.append([(platform, chain) for platform, chain in chains if chain])
    return passages


def _handover(before: Stage, after: Stage, tokens: int) -> PassageTask:
    """The message that one die sends another: the last results of a phase, and the KV cache if the next needs it.

    Formula:  work of the link = bytes + latency * bandwidth, at bandwidth bytes per second
    Source:   definition; one message at a time, in order, as [drive-c2c] describes the DMA of a dual Orin
    """
    link = before.platform.chip.die_link
    assert link is not None  # stages are on several dies
    last = before.phase.blocks[-1].graph.operators[-1]
    size_bytes = int(np.max(last.output_elements)) * precision(before.phase.precision).activation_bytes
    if any(reads_cache(operator) for operator, _ in after.phase.operators()):
        size_bytes += int(cache_bytes(tokens, cache_layers([before.phase, after.phase], before.platform)))
    size_bytes += min(phase_state_bytes(before.phase), phase_state_bytes(after.phase))
    return PassageTask(before.platform.LINK_UNIT, size_bytes + link.latency_bytes, NONE, 0, LINK)


def _switch(before: Stage, after: Stage, tokens: int) -> list[PassageTask]:
    """From one mode to another, once everything has drained, with so many tokens in the KV cache.

    What no longer fits the new shares of the SRAM leaves for DRAM first; what the new mode keeps besides is loaded.
    """
    platform = after.platform
    more_kv = int(filled_bytes(tokens, after.kept)) - int(filled_bytes(tokens, before.kept))
    more_weights = max(pinned_bytes(after.kept) - pinned_bytes(before.kept), 0)
    more_weights += max(after.pinned_expert_bytes - before.pinned_expert_bytes, 0)
    latency_cycles = platform.switch_s * float(platform.resources.unit_clock_hz[platform.site.unit[platform.MODE_UNIT]])
    chain = [
        PassageTask(NONE, 0.0, platform.STORE_ROUTE, max(-more_kv, 0), SWITCH),
        PassageTask(platform.MODE_UNIT, latency_cycles, NONE, 0, SWITCH),
        PassageTask(NONE, 0.0, platform.LOAD_ROUTE, max(more_kv, 0) + more_weights, SWITCH),
    ]
    return [task for task in chain if task.work_cycles > 0 or task.size_bytes > 0]


def stages_of(graph: WorkloadGraph, platform: Platform, where: Mapping[PhaseName, Platform]) -> list[Stage]:
    """The stages of a frame.

    Args:
        graph: its phases, and which experts their tokens pick.
        platform: where phases run that are not named in `where`.
        where: the place of a phase, by its name.
    """
    phases, platforms = graph.phases, []
    modes = modes_of(phases, where.get(phases[0].name, platform))
    for phase in phases:
        at = where.get(phase.name, platform)
        platforms.append(at.in_mode(modes[phase.name]) if phase.name in modes else at)
    experts = expert_traffic(phases, platforms, graph.trace)
    stages = []
    for phase, at, traffic in zip(phases, platforms, experts, strict=True):
        here = [other for other, place in zip(phases, platforms, strict=True) if place.die == at.die]
        pinned = pinned_expert_bytes(here, at, graph.trace)
        stages.append(Stage(phase, at, kept_of(phases, at, here=here), traffic, pinned))
    return stages


def check_one_stream(platform: Platform) -> None:
    """Refuses modes where several frames may run at the same time: one would change the other's mode.

    Raises:
        SpecError: when there are several tenants.
    """
    if platform.chip.reconfiguration is not None and platform.tenants > 1:
        raise SpecError(
            f"chip {platform.chip.name}: must run one frame at a time to change its mode, got {platform.tenants}",
            hint="one stream with in_flight 1, or partitions, or a chip without reconfiguration",
        )
