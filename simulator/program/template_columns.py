"""Columns with one row per template task: how long it takes alone, its phase, how often a job has it.

A Program of 300 thousand tasks has some ten thousand template tasks, and whoever walks instances needs no more.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.compiled import compiled_in_place
from simulator.program.capacity import highest_bytes_per_s, highest_clock_hz, maximum_share
from simulator.program.columns import NONE, Floats, Ints
from simulator.program.program import Program
from simulator.units import ROUNDING_GUARD_TICKS, TICKS_PER_SECOND


def sole_ticks_of_templates(program: Program) -> Ints:
    """The fewest ticks that every template task can take: alone, at the highest clock or capacity ever.

    Budgets do not count. The rounding is that of `simulator.units`. Each clock change may round the remaining work once
    more, so a unit with n changes gets n further roundings of grace.
    """
    templates, changes, resources = program.folded_tasks.templates, program.changes, program.resources
    num_changes = np.bincount(changes.unit[changes.unit != NONE], minlength=len(resources.unit_names))
    guard_ticks = (ROUNDING_GUARD_TICKS * (1 + num_changes)).astype(np.float64)
    most = maximum_share(program) * highest_bytes_per_s(program)
    along: Floats = most[:, resources.route_channels] / resources.route_usage
    narrowest: Floats = (
        np.minimum.reduceat(along, resources.route_offsets[:-1], axis=1) if resources.num_routes else along
    )
    ticks = np.zeros(len(templates.unit), dtype=np.int64)
    _write_ticks(
        (templates.unit, templates.work_cycles),
        (templates.route, templates.master, templates.size_bytes, templates.rate_cap_bytes_per_s),
        (highest_clock_hz(program), guard_ticks, narrowest),
        ticks,
    )
    return ticks


def phase_of_templates(program: Program) -> Ints:
    """The phase of every template task, NONE if it has none."""
    operation = program.folded_tasks.templates.operation
    if len(program.labels.operations) == 0:
        return operation
    return np.where(operation == NONE, NONE, program.labels.operation_phase[operation])


def times_of_templates(program: Program, job: int) -> Ints:
    """How many tasks of a job each template task stands for."""
    templates, instances = program.folded_tasks.templates, program.folded_tasks.instances
    fragment = instances.fragment[instances.job_offsets[job] : instances.job_offsets[job + 1]]
    return np.repeat(np.bincount(fragment, minlength=templates.num_fragments), templates.lengths)


@compiled_in_place
def _write_ticks(
    computes: tuple[Ints, Floats],
    transfers: tuple[Ints, Ints, Ints, Floats],
    resources: tuple[Floats, Floats, Floats],
    ticks: Ints,
) -> None:
    unit, work_cycles = computes
    route, master, size_bytes, rate_cap_bytes_per_s = transfers
    clock_hz, guard_ticks, narrowest_bytes_per_s = resources
    for task in range(len(ticks)):
        duration_ticks = 0.0
        if unit[task] != NONE:
            duration_ticks = work_cycles[task] * TICKS_PER_SECOND / clock_hz[unit[task]] - guard_ticks[unit[task]]
        elif size_bytes[task] > 0:
            rate = min(rate_cap_bytes_per_s[task], narrowest_bytes_per_s[master[task], route[task]])
            duration_ticks = size_bytes[task] / rate * TICKS_PER_SECOND - ROUNDING_GUARD_TICKS
        ticks[task] = max(math.ceil(duration_ticks), 0)
