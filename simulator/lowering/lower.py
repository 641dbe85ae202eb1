"""From graphs to a Program: the public steps of this package.

graph ─► tables of kernels (one per block) ─► fragments and segments (one per phase) ─► Program
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.graph import PhaseGraph
from simulator.lowering.block import CAUSES
from simulator.lowering.capacity import check_capacity
from simulator.lowering.demand import Demand, Family
from simulator.lowering.phase import FragmentList, Operations, PhaseLowering
from simulator.lowering.platform import Platform
from simulator.program import FoldedOccupancies
from simulator.program.program import NONE, Background, DropPolicy, Ints, Labels, Program, Streams


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
    check_capacity(demands, platform)
    jobs = [(demand.graph.phases, np.zeros(1, dtype=np.int64), demand.priority) for demand in demands]
    return _program(jobs, platform, streams, background or Background())


def lower_family(family: Family, platform: Platform) -> Program:
    """The Program in which the models of a family run one after the other, each alone on the chip.

    Whether a model fits the DRAM is not checked. Labels have the flop of no model.

    Raises:
        Infeasible: when the local SRAM holds no buffers.
        SpecError: when the platform cannot run a precision.
    """
    streams = one_after_another(len(family.kind))
    return _program([(family.phases, family.kind, 0)], platform, streams, Background())


def one_after_another(num_jobs: int) -> Streams:
    """Every job once, from 0 on, each when the one before has completed."""
    jobs = np.arange(num_jobs)
    return Streams(
        names=("jobs",), release_offsets=np.array([0, num_jobs]), release_tick=np.zeros(num_jobs, dtype=np.int64),
        release_job=jobs, policy=np.array([int(DropPolicy.FIFO)]), queue_depth=np.array([NONE]),
        in_flight=np.array([1]), deadline_ticks=np.array([NONE]),
    )  # fmt: skip


def _program(
    jobs: Sequence[tuple[Sequence[PhaseGraph], Ints, int]], platform: Platform, streams: Streams, background: Background
) -> Program:
    """The Program of jobs, each with the phases, the kinds and the priority of one job or of several alike."""
    operations, fragments = Operations(), FragmentList()
    phases: list[str] = []
    tokens: list[int] = []
    for graphs, kind, priority in jobs:
        segments = []
        for number, phase in enumerate(graphs):
            phases.append(phase.name)
            tokens.append(phase.tokens)
            lowering = PhaseLowering(phase, len(phases) - 1, platform, operations)
            segments.append(lowering.segments(fragments, kind, priority=priority, is_first=number == 0))
        fragments.jobs.append(segments)
    tasks = fragments.tasks(platform)
    return Program(
        resources=platform.resources,
        tasks=tasks,
        job_offsets=tasks.job_offsets,
        streams=streams,
        background=background,
        occupancies=FoldedOccupancies(tasks),
        labels=Labels(
            phases=tuple(phases),
            operations=tuple(operations.names),
            operation_phase=np.array(operations.phase, dtype=np.int64),
            operation_flop=np.array(operations.flop, dtype=np.int64),
            causes=CAUSES,
            phase_tokens=np.array(tokens, dtype=np.int64),
        ),
    )
