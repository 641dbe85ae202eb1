"""From graphs to a Program: the one public step of this package.

    graph ─► kernels ─► fragments (one per block, step start) ─► jobs ─► Program

A block that is repeated is lowered once; its repetitions are array copies (`simulator.program.template.join`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.errors import Infeasible
from simulator.graph import Embedding, MatMul, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.lowering.emit import CAUSES, KernelEmitter, step_start
from simulator.lowering.kernel import group_operators, kernel_work, matrix_bytes
from simulator.lowering.platform import Platform
from simulator.lowering.residency import activations_of, resident_bytes
from simulator.precision import precision
from simulator.program.program import NONE, Background, Labels, Program, Streams
from simulator.program.template import Fragment, Part, join
from simulator.terms import COMPONENT_OF_PHASE
from simulator.units import format_quantity


@dataclass(frozen=True)
class Demand:
    """One job to lower: the graphs of a frame and the priority of its tasks."""

    graph: WorkloadGraph
    priority: int = 0
    in_flight: int = 1
    """Frames that may be computed at the same time, each with a KV cache of its own."""


@dataclass
class _Operations:
    """The rows of `Labels`, collected while blocks are lowered."""

    names: list[str] = field(default_factory=list)
    phase: list[int] = field(default_factory=list)
    flop: list[int] = field(default_factory=list)

    def add(self, name: str, phase: int) -> int:
        self.names.append(name)
        self.phase.append(phase)
        self.flop.append(0)
        return len(self.names) - 1


def lower(
    demands: Sequence[Demand], platform: Platform, streams: Streams, background: Background | None = None
) -> Program:
    """The Program of several jobs that share one chip.

    Args:
        demands: one job each; `streams.release_job` counts them from 0.
        platform: chip and runtime.
        streams: when each job is released.
        background: other traffic.
    Raises:
        Infeasible: when weights and KV caches of all jobs do not fit the DRAM, or the local SRAM holds no buffers.
        SpecError: when the platform cannot run a precision.
    """
    _check_capacity(demands, platform)
    operations = _Operations()
    phases: list[str] = []
    tokens: list[int] = []
    jobs = []
    for demand in demands:
        parts: list[Part] = []
        for phase in demand.graph.phases:
            phases.append(phase.name)
            tokens.append(phase.tokens)
            lowering = _PhaseLowering(phase, len(phases) - 1, platform, operations)
            parts += lowering.parts(is_first=not parts)
        jobs.append(parts)
    tasks, job_offsets, occupancies = join(jobs, [demand.priority for demand in demands])
    return Program(
        resources=platform.resources,
        tasks=tasks,
        job_offsets=job_offsets,
        streams=streams,
        background=background or Background(),
        occupancies=occupancies,
        labels=Labels(
            phases=tuple(phases),
            operations=tuple(operations.names),
            operation_phase=np.array(operations.phase, dtype=np.int64),
            operation_flop=np.array(operations.flop, dtype=np.int64),
            causes=CAUSES,
            phase_tokens=np.array(tokens, dtype=np.int64),
        ),
    )


class _PhaseLowering:
    """Lowers one phase: each block once, however often it is repeated and in however many steps."""

    def __init__(self, phase: PhaseGraph, index: int, platform: Platform, operations: _Operations) -> None:
        self._phase = phase
        self._index = index
        self._platform = platform
        self._operations = operations
        self._replays_graph = phase.name in platform.runtime.graph_phases
        self._host = operations.add(f"{phase.name}.host", index)
        """Row of what the host does, and of the milestones between fragments."""
        self._rows: dict[str, int] = {}
        self._lowered: dict[int, tuple[Fragment, list[tuple[int, int]]]] = {}

    def parts(self, *, is_first: bool) -> list[Part]:
        """The parts of the phase in order; `is_first` says that nothing comes before it in its job."""
        parts = []
        for number, step in enumerate(self._phase.steps):
            start = step_start(
                self._platform, is_first=is_first and number == 0, replays_graph=self._replays_graph,
                operation=self._host, is_phase=number == 0,
            )  # fmt: skip
            label = number if len(self._phase.steps) > 1 else NONE
            parts.append(Part(start, step=label))
            for block in step.blocks:
                fragment, flop = self._block(block.graph)
                for row, count in flop:
                    self._operations.flop[row] += count * block.repeats
                parts.append(Part(fragment, block.repeats, is_layer=block.repeats > 1, step=label))
        return parts

    def _block(self, graph: OperatorGraph) -> tuple[Fragment, list[tuple[int, int]]]:
        """The fragment of one repetition, and the flop that it adds to which rows of the operations."""
        if id(graph) not in self._lowered:
            self._lowered[id(graph)] = self._lower_block(graph)
        return self._lowered[id(graph)]

    def _lower_block(self, graph: OperatorGraph) -> tuple[Fragment, list[tuple[int, int]]]:
        platform, body = self._platform, precision(self._phase.precision)
        kernels = group_operators(graph, platform.runtime.fusions)
        tensors = activations_of(graph, kernels, body.activation_bytes)
        resident = resident_bytes(tensors, len(kernels), platform.activation_room_bytes)
        spilled = [tensor.size_bytes - kept for tensor, kept in zip(tensors, resident, strict=True)]
        emitter = KernelEmitter(platform, replays_graph=self._replays_graph, host_operation=self._host)
        flop, spans = [], []
        for index, operators in enumerate(kernels):
            work = kernel_work(
                operators, platform=platform, body=body,
                spilled_input_bytes=sum(
                    size for tensor, size in zip(tensors, spilled, strict=True) if index in tensor.consumers
                ),
                spilled_output_bytes=sum(
                    size for tensor, size in zip(tensors, spilled, strict=True) if index == tensor.producer
                ),
            )  # fmt: skip
            if work.name not in self._rows:
                self._rows[work.name] = self._operations.add(f"{self._phase.name}.{work.name}", self._index)
            spans.append(emitter.emit(work, self._rows[work.name]))
            flop.append((self._rows[work.name], work.flop))
        for tensor, kept in zip(tensors, resident, strict=True):
            life = tensor.life(len(kernels))
            emitter.hold(kept, spans[life[0]][0], spans[life[-1]][1])
        return emitter.build(), flop


def _check_capacity(demands: Sequence[Demand], platform: Platform) -> None:
    capacity = platform.chip.dram.capacity.value
    needs: list[tuple[str, int]] = []
    for demand in demands:
        components: dict[str, int] = {}
        for phase in demand.graph.phases:
            component = COMPONENT_OF_PHASE[phase.name]
            components[component] = max(components.get(component, 0), _stored_weight_bytes(phase, platform))
        needs += [(f"{demand.graph.name} {name} weights", size_bytes) for name, size_bytes in components.items()]
        if demand.graph.kv_elements:
            cache_bytes = demand.graph.kv_elements * platform.kv_bytes * demand.in_flight
            needs.append((f"{demand.graph.name} kv cache", cache_bytes))
    total = sum(size_bytes for _, size_bytes in needs)
    if total > capacity:
        listing = ", ".join(f"{name} {format_quantity(size_bytes, 'B')}" for name, size_bytes in needs)
        raise Infeasible(
            f"chip {platform.chip.name}: does not fit its DRAM: needs {format_quantity(total, 'B')} ({listing}), "
            f"has {format_quantity(capacity, 'B')}, short by {format_quantity(total - capacity, 'B')}",
            demand=total, bound=capacity, unit="B",
            hint="a precision with fewer bits, a shorter prompt, or more DRAM (dram.capacity)",
        )  # fmt: skip


def _stored_weight_bytes(phase: PhaseGraph, platform: Platform) -> int:
    """Bytes of all weights that a phase uses, each as the runtime keeps it.

    A tied head is the embedding table if both are kept in the same format, and a copy of its own otherwise.
    """
    body = precision(phase.precision)
    total = 0
    for operator, repeats in phase.operators():
        if isinstance(operator, MatMul):
            used = platform.head_precision(body) if operator.role == "head" else body
            is_the_table = operator.shares_weights and used.weight_bits == 8 * body.activation_bytes
            total += 0 if is_the_table else repeats * matrix_bytes(operator, used)
        elif isinstance(operator, Embedding):
            total += operator.parameters * body.activation_bytes
    return total
