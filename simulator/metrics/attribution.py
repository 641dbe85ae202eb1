"""Where the latency of a release went: the causes of every tick on its critical path, and the parts of the chip.

From its start to its end a task on the path is busy with its cause, and from where its part of the path begins to its
start it queued behind other releases. The parts join without gap or overlap, so the causes sum to the latency, to the
tick. Which tasks are on the path is in `metrics.critical_path`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from simulator.compiled import compiled_in_place
from simulator.metrics.critical_path import (
    Walk,
    check_begin,
    critical_path,
    instance_of,
    last_task,
    task_before,
    walk_of,
)
from simulator.metrics.latency import ReleaseLatency, release_latency
from simulator.metrics.parts import RELEASES_PART, named_ticks, narrowest_channels, parts_of_tasks
from simulator.program.capacity import sole_transfer_ticks
from simulator.program.program import NONE, Ints, Program
from simulator.program.template_columns import sole_ticks_of_templates
from simulator.timeline.timeline import Timeline

WAIT: Final = "wait"
"""The release waits for its stream to admit it."""
QUEUE: Final = "queue"
"""A task waits for a slot of its unit that another release holds."""
CONTENTION: Final = "contention"
"""A transfer takes longer than it would if it had its channels to itself: others, of this job too, share them."""

_WAIT, _QUEUE, _CONTENTION, _NUM_OWN = range(4)
"""Where these are among all causes: before those of the labels, the units and the channels."""


@dataclass(frozen=True)
class Attribution:
    """The ticks of a latency by cause, largest first; they sum exactly to it."""

    latency_ticks: int
    cause_ticks: Mapping[str, int]
    phase_cause_ticks: Mapping[str, Mapping[str, int]]
    """The same within each phase, by phase name: what the path did from the phase's start tick to its end tick."""
    part_ticks: Mapping[str, int]
    """The ticks by part of the chip (`metrics.parts`), largest first: contention is that of the narrowest channel."""
    phase_part_ticks: Mapping[str, Mapping[str, int]]
    """The same within each phase."""


class _Causes(NamedTuple):
    """What time is called."""

    cause: Ints
    """Per template task."""
    own_part: Ints
    """Per template task, as are the next two."""
    channel_part: Ints
    is_transfer: Any
    """Booleans."""
    alone_ticks: Ints
    """How long a transfer takes alone: per template task, or per task of the job if capacities change over time."""
    is_per_task: bool


def attribute(timeline: Timeline, release: int, latency: ReleaseLatency | None = None) -> Attribution:
    """The causes of the latency of a completed release.

    A transfer on the path counts under its cause for as long as it would take alone and under `CONTENTION` for the
    rest. A task without a cause counts under the name of its unit, or of the narrowest channel of its route.
    By part, the rest counts under that channel, too.

    Args:
        timeline: the run.
        release: an index into `program.streams.release_tick`.
        latency: the latency of the release, if it is known.
    Raises:
        SpecError: when the release has not completed.
    """
    latency = latency or release_latency(timeline, release)
    program, rows = timeline.program, timeline.rows_of(release)
    names = (WAIT, QUEUE, CONTENTION, *program.labels.causes,
             *program.resources.unit_names, *program.resources.channel_names)  # fmt: skip
    distinct = {name: number for number, name in reversed(list(enumerate(names)))}
    same = np.array([distinct[name] for name in names])
    phase_ends = [phase.end_tick for phase in latency.phases] or [latency.end_tick]
    border_ticks = np.array([latency.release_tick, latency.start_tick, *phase_ends])
    templates = program.folded_tasks.templates
    parts = parts_of_tasks(program, templates.cause, templates.unit, templates.route)
    ticks = np.zeros((len(border_ticks) - 1, len(names)), dtype=np.int64)
    part_ticks = np.zeros((len(border_ticks) - 1, len(parts.names)), dtype=np.int64)
    ticks[0, _WAIT] = part_ticks[0, RELEASES_PART] = latency.wait_ticks
    causes = _Causes(
        same[_NUM_OWN + _cause(program)], parts.own, parts.channel, templates.route != NONE,
        _alone_ticks(timeline, release), len(program.changes) > 0
    )  # fmt: skip
    task, before = _add_up(walk_of(timeline, release), causes, border_ticks, ticks, part_ticks)
    check_begin(timeline, rows.start + task, before)
    return Attribution(
        latency_ticks=latency.latency_ticks,
        cause_ticks=named_ticks(names, ticks.sum(axis=0)),
        phase_cause_ticks={
            phase.name: named_ticks(names, row) for phase, row in zip(latency.phases, ticks[1:], strict=False)
        },
        part_ticks=named_ticks(parts.names, part_ticks.sum(axis=0)),
        phase_part_ticks={
            phase.name: named_ticks(parts.names, row)
            for phase, row in zip(latency.phases, part_ticks[1:], strict=False)
        },
    )


def _alone_ticks(timeline: Timeline, release: int) -> Ints:
    """How long each transfer takes alone: see `_Causes`; only those on the path are worked out one by one."""
    program = timeline.program
    if not len(program.changes):
        return sole_ticks_of_templates(program)
    first_row, rows = timeline.rows_of(release).start, critical_path(timeline, release).rows
    ticks = np.zeros(len(program.job_tasks(int(program.streams.release_job[release]))), dtype=np.int64)
    for row in rows[program.tasks.route[timeline.task[rows]] != NONE].tolist():
        ticks[row - first_row] = sole_transfer_ticks(program, int(timeline.task[row]), int(timeline.start_tick[row]))
    return ticks


def _cause(program: Program) -> Ints:
    """What each template task's time is called: an index into causes, then units, then channels."""
    templates, resources, labels = program.folded_tasks.templates, program.resources, program.labels
    num_causes, num_units = len(labels.causes), len(resources.unit_names)
    narrowest = np.append(narrowest_channels(resources), 0)  # at NONE: of no route
    by_resource = np.where(templates.route != NONE, num_causes + num_units + narrowest[templates.route],
                           num_causes + templates.unit)  # fmt: skip
    return np.where(templates.cause != NONE, templates.cause, by_resource)


@compiled_in_place
def _add_up(walk: Walk, causes: _Causes, border_ticks: Ints, ticks: Ints, part_ticks: Ints) -> tuple[int, int]:
    """Adds the time of every task on the path to its cause and its part in each window.

    The shape of `ticks` is windows, causes, and that of `part_ticks` windows, parts. Returns the first task on the
    path, and `FREE` or `BROKEN`.
    """
    job, ran, leaving = walk
    starts, template_starts = job.instance_starts, job.template_starts
    task, instance, window = last_task(ran.end_tick), len(starts) - 2, len(ticks) - 1
    while True:
        instance = instance_of(starts, instance, task)
        before = task_before(job, ran, leaving, task, instance)
        begin = ran.end_tick[before] if before >= 0 else ran.ready_tick[task]
        start, end = ran.start_tick[task], ran.end_tick[task]
        template = template_starts[instance] + task - starts[instance]
        alone = end
        if causes.is_transfer[template]:
            alone = min(end, start + causes.alone_ticks[task if causes.is_per_task else template])
        while end > begin:
            while window > 0 and border_ticks[window] >= end:
                window -= 1
            since = max(begin, border_ticks[window]) if window > 0 else begin
            queue, own = max(min(start, end) - since, 0), max(min(alone, end) - max(start, since), 0)
            contention = max(end - max(alone, since), 0)
            ticks[window, _QUEUE] += queue
            ticks[window, causes.cause[template]] += own
            ticks[window, _CONTENTION] += contention
            part_ticks[window, RELEASES_PART] += queue
            part_ticks[window, causes.own_part[template]] += own
            part_ticks[window, causes.channel_part[template]] += contention
            end = since
        if before < 0:
            return task, before
        task = before
