"""From graphs to a Program: the public steps of this package.

graph ─► tables of kernels (one per block) ─► fragments and segments (one per phase) ─► Program
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.chip import Lasting
from simulator.errors import SpecError
from simulator.lowering.block import CAUSES
from simulator.lowering.capacity import check_capacity
from simulator.lowering.demand import Demand, Family
from simulator.lowering.experts import reserved_expert_bytes
from simulator.lowering.kept import context_tokens, filled_bytes, kept_of, pinned_bytes, spread
from simulator.lowering.modes import Stage, check_one_stream, passages_of, stages_of
from simulator.lowering.phase import FragmentList, Operations, PhaseLowering, Segments
from simulator.lowering.platform import Platform
from simulator.program import FoldedOccupancies, FoldedTasks
from simulator.program.columns import offsets_of
from simulator.program.occupancies import Occupancies
from simulator.program.program import NONE, Background, DropPolicy, Ints, Labels, Program, Streams
from simulator.units import TICKS_PER_SECOND, format_quantity

MOST_PERIODS = 10**8
"""Periods of a budget that a run may take: each takes the engine about a microsecond."""


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
        SpecError: when the platform cannot run a precision, or a budget is so small that the run takes `MOST_PERIODS`.
    """
    check_capacity(demands, platform)
    for each in {id(at): at for demand in demands for at in (*demand.platforms.values(), platform)}.values():
        check_one_stream(each)
    jobs = []
    for demand in demands:
        stages = stages_of(demand.graph, platform, demand.platforms)
        jobs.append(_Jobs(stages, np.zeros(1, dtype=np.int64), demand.priority, is_alternative=demand.is_alternative))
    program = _program(jobs, platform, streams, background or Background())
    _check_budgets(program, platform)
    return program


def lower_family(family: Family, platform: Platform) -> Program:
    """The Program in which the models of a family run one after the other, each alone on the chip.

    Whether a model fits the DRAM is not checked. Labels have the flop of no model.

    Raises:
        Infeasible: when the local SRAM holds no buffers.
        SpecError: when the platform cannot run a precision.
    """
    streams = one_after_another(len(family.kind))
    kept = kept_of(family.phases, platform, family.kind)
    stages = [Stage(phase, platform, kept) for phase in family.phases]
    return _program([_Jobs(stages, family.kind, is_family=True)], platform, streams, Background())


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

    stages: Sequence[Stage]
    kind: Ints
    """Of every job."""
    priority: int = 0
    is_family: bool = False
    """Whether the jobs are models of a family, whose repetitions are arrays."""
    is_alternative: bool = False
    """Whether it runs instead of the job before it."""


def _program(jobs: Sequence[_Jobs], platform: Platform, streams: Streams, background: Background) -> Program:
    operations, fragments = Operations(), FragmentList()
    phases: list[str] = []
    tokens: list[int] = []
    for alike in jobs:
        passages = [] if alike.is_family else passages_of(alike.stages)
        segments: list[Segments] = []
        for number, stage in enumerate(alike.stages):
            phases.append(stage.phase.name)
            tokens.append(stage.phase.tokens)
            lowering = PhaseLowering(
                stage.phase, len(phases) - 1, stage.platform, operations, stage.kept, experts=stage.experts
            )
            is_first = number == 0
            for at, chain in passages[number] if passages else ():
                segments.append(lowering.passage(fragments, at, chain, priority=alike.priority, is_first=is_first))
                is_first = False
            segments.append(lowering.segments(fragments, alike.kind, priority=alike.priority, is_first=is_first))
        fragments.jobs.append(segments)
    tasks = fragments.tasks()
    return Program(
        resources=platform.resources,
        tasks=tasks,
        job_offsets=tasks.job_offsets,
        streams=streams,
        background=background,
        occupancies=FoldedOccupancies(tasks, _lasting_spaces(tasks, jobs, fragments.jobs)),
        labels=Labels(
            phases=tuple(phases),
            operations=tuple(operations.names),
            operation_phase=np.array(operations.phase, dtype=np.int64),
            operation_flop=np.array(operations.flop, dtype=np.int64),
            operation_dtypes=tuple(operations.dtypes),
            operation_kept_bytes=np.array(operations.kept_bytes, dtype=np.int64),
            operation_modes=tuple(operations.modes),
            causes=CAUSES,
            phase_tokens=np.array(tokens, dtype=np.int64),
        ),
    )


def _check_budgets(program: Program, platform: Platform) -> None:
    """Refuses budgets that let so little move in a period that the periods are too many to simulate."""
    resources, tasks = program.resources, program.folded_tasks
    templates, instances = tasks.templates, tasks.instances
    budgets = zip(
        resources.budget_master, resources.budget_channel, resources.budget_bytes, resources.budget_period_ticks,
        strict=True,
    )  # fmt: skip
    for master, channel, budget_bytes, period_ticks in budgets:
        if budget_bytes >= resources.channel_bytes_per_s[channel] * period_ticks / TICKS_PER_SECOND:
            continue  # it never binds, and its periods cost nothing
        usage = [dict(zip(resources.route(r), resources.usage(r), strict=True)) for r in range(resources.num_routes)]
        of_route = np.array([*(channels.get(channel, 0.0) for channels in usage), 0.0])  # the last for those with NONE
        taken_bytes = np.where(templates.master == master, templates.size_bytes * of_route[templates.route], 0.0)
        of_fragment = np.add.reduceat(taken_bytes, templates.fragment_offsets[:-1])
        of_job = np.add.reduceat(of_fragment[instances.fragment], instances.job_offsets[:-1])
        total_bytes = float(of_job[program.streams.release_job].sum())
        if total_bytes > MOST_PERIODS * budget_bytes:
            needed = format_quantity(math.ceil(total_bytes / MOST_PERIODS), "B")
            raise SpecError(
                f"chip {platform.chip.name}: masters.{resources.master_names[master]}.budget.size: must be at least "
                f"{needed} to move {format_quantity(total_bytes, 'B')} within {MOST_PERIODS:,} periods, "
                f"got {format_quantity(float(budget_bytes), 'B')}",
                hint="a larger size, and a longer period if the bandwidth is to stay the same",
            )


def _lasting_spaces(tasks: FoldedTasks, jobs: Sequence[_Jobs], segments: Sequence[Sequence[Segments]]) -> Occupancies:
    """What stays on the chip from step to step: pinned weights, experts, and the KV cache as it fills.

    Weights and experts are on a die all the time if no mode changes their share, and else while their phase runs.
    """
    rows: list[tuple[int, int, int, int]] = []
    for number, (job, of_job) in enumerate(zip(jobs, segments, strict=True)):
        if job.is_family or not any(stage.platform.keeps_something for stage in job.stages):
            continue  # the models of a family run one after the other, and nobody asks what they hold
        instance = int(tasks.instances.job_offsets[number])
        contexts = context_tokens([stage.phase for stage in job.stages])
        of_phases = iter(of_job)
        for stage, tokens in zip(job.stages, contexts, strict=True):
            on_die = [other for other in job.stages if other.platform.die == stage.platform.die]
            is_fixed = len({other.platform.mode for other in on_die}) == 1
            part = next(of_phases)
            while part.is_passage:
                instance, part = instance + 1, next(of_phases)
            begins = instance + offsets_of(part.repeats.reshape(stage.phase.num_steps, -1).sum(axis=1))
            first_task, last_task = tasks.starts[begins[:-1]].tolist(), (tasks.starts[begins[1:]] - 1).tolist()
            held = np.asarray(filled_bytes(tokens, stage.kept)).tolist()
            for spaces in zip(held, first_task, last_task, strict=True):
                rows += _spaces(*spaces, "kv", stage.platform)
            lasting: tuple[tuple[Lasting, int], ...] = (
                ("weights", pinned_bytes(stage.kept)),
                ("experts", _reserved_expert_bytes(on_die, stage.platform)),
            )
            for what, size_bytes in lasting:
                if not is_fixed:
                    rows += _spaces(size_bytes, first_task[0], last_task[-1], what, stage.platform)
                elif stage is on_die[0] and not job.is_alternative:
                    rows += _spaces(size_bytes, NONE, NONE, what, stage.platform)
            instance = int(begins[-1])
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Occupancies(columns[0], columns[1], columns[2], columns[3])


def _reserved_expert_bytes(on_die: Sequence[Stage], platform: Platform) -> int:
    has_trace = any(stage.experts for stage in on_die)
    return reserved_expert_bytes([stage.phase for stage in on_die], platform, has_trace=has_trace)


def _spaces(
    size_bytes: int, first_task: int, last_task: int, what: Lasting, platform: Platform
) -> list[tuple[int, int, int, int]]:
    """Rows of `Occupancies` for something that lies in all its rooms."""
    memory = platform.site.memory
    return [(int(memory[number]), part, first_task, last_task) for number, part in spread(size_bytes, what, platform)]
