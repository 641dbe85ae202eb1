"""From graphs to a Program: the public steps of this package.

graph ─► tables of kernels (one per block) ─► fragments and segments (one per phase) ─► Program
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.graph import PhaseGraph
from simulator.lowering.block import CAUSES
from simulator.lowering.capacity import check_capacity
from simulator.lowering.demand import Demand, Family
from simulator.lowering.kept import held_kv_bytes, kept_of, spread
from simulator.lowering.kernel import Kept
from simulator.lowering.phase import FragmentList, Operations, PhaseLowering, Segments
from simulator.lowering.platform import Platform
from simulator.program import FoldedOccupancies, FoldedTasks
from simulator.program.columns import offsets_of
from simulator.program.occupancies import Occupancies
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
    jobs = [
        _Jobs(demand.graph.phases, np.zeros(1, dtype=np.int64), kept_of(demand.graph.phases, platform), demand.priority)
        for demand in demands
    ]
    return _program(jobs, platform, streams, background or Background())


def lower_family(family: Family, platform: Platform) -> Program:
    """The Program in which the models of a family run one after the other, each alone on the chip.

    Whether a model fits the DRAM is not checked. Labels have the flop of no model.

    Raises:
        Infeasible: when the local SRAM holds no buffers.
        SpecError: when the platform cannot run a precision.
    """
    streams = one_after_another(len(family.kind))
    kept = kept_of(family.phases, platform, family.kind)
    return _program([_Jobs(family.phases, family.kind, kept, is_family=True)], platform, streams, Background())


def one_after_another(num_jobs: int) -> Streams:
    """Every job once, from 0 on, each when the one before has completed."""
    jobs = np.arange(num_jobs)
    return Streams(
        names=("jobs",), release_offsets=np.array([0, num_jobs]), release_tick=np.zeros(num_jobs, dtype=np.int64),
        release_job=jobs, policy=np.array([int(DropPolicy.FIFO)]), queue_depth=np.array([NONE]),
        in_flight=np.array([1]), deadline_ticks=np.array([NONE]),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Jobs:
    """One job, or several alike."""

    phases: Sequence[PhaseGraph]
    kind: Ints
    """Of every job."""
    kept: Kept
    priority: int = 0
    is_family: bool = False
    """Whether the jobs are models of a family, whose repetitions are arrays."""


def _program(jobs: Sequence[_Jobs], platform: Platform, streams: Streams, background: Background) -> Program:
    operations, fragments = Operations(), FragmentList()
    phases: list[str] = []
    tokens: list[int] = []
    for alike in jobs:
        segments: list[Segments] = []
        for number, phase in enumerate(alike.phases):
            phases.append(phase.name)
            tokens.append(phase.tokens)
            lowering = PhaseLowering(phase, len(phases) - 1, platform, operations, alike.kept)
            segments.append(lowering.segments(fragments, alike.kind, priority=alike.priority, is_first=number == 0))
        fragments.jobs.append(segments)
    tasks = fragments.tasks(platform)
    return Program(
        resources=platform.resources,
        tasks=tasks,
        job_offsets=tasks.job_offsets,
        streams=streams,
        background=background,
        occupancies=FoldedOccupancies(tasks, _lasting_spaces(tasks, jobs, fragments.jobs, platform)),
        labels=Labels(
            phases=tuple(phases),
            operations=tuple(operations.names),
            operation_phase=np.array(operations.phase, dtype=np.int64),
            operation_flop=np.array(operations.flop, dtype=np.int64),
            operation_dtypes=tuple(operations.dtypes),
            causes=CAUSES,
            phase_tokens=np.array(tokens, dtype=np.int64),
        ),
    )


def _lasting_spaces(
    tasks: FoldedTasks, jobs: Sequence[_Jobs], segments: Sequence[Sequence[Segments]], platform: Platform
) -> Occupancies:
    """What stays on the chip from step to step: pinned weights all the time, the KV cache as it fills."""
    rows: list[tuple[int, int, int, int]] = []
    for number, (job, phases) in enumerate(zip(jobs, segments, strict=True)):
        if job.is_family:  # its models run one after the other, and nobody asks what they hold
            continue
        pinned_bytes = int(job.kept.weight_share * job.kept.weight_bytes)
        rows += [(memory, size_bytes, NONE, NONE) for memory, size_bytes in spread(pinned_bytes, "weights", platform)]
        instance, held_bytes = int(tasks.instances.job_offsets[number]), np.zeros(1, dtype=np.int64)
        for phase, of_phase in zip(job.phases, phases, strict=True):
            held_bytes = held_kv_bytes(phase, job.kept, held_bytes[-1])
            step_starts = instance + offsets_of(of_phase.repeats.reshape(phase.num_steps, -1).sum(axis=1))
            for step, size_bytes in enumerate(held_bytes.tolist()):
                first, last = tasks.starts[step_starts[step]], tasks.starts[step_starts[step + 1]] - 1
                rows += [(memory, part, int(first), int(last)) for memory, part in spread(size_bytes, "kv", platform)]
            instance = int(step_starts[-1])
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Occupancies(columns[0], columns[1], columns[2], columns[3])
