"""What each channel carried: the rate granted over time, the bytes moved, and what they took of its capacity."""

from __future__ import annotations

import numpy as np

from simulator.compiled import compiled_in_place
from simulator.program.capacity import Steps
from simulator.program.program import NONE, Floats, Ints, Program
from simulator.timeline.job_rows import FoldedJobs, JobRows, folded_jobs
from simulator.timeline.timeline import Timeline


def granted_steps(timeline: Timeline, channel: int) -> Steps:
    """What flows take of the capacity of a channel over time, in bytes/s."""
    mine = timeline.rate_channel == channel
    return Steps.of(timeline.rate_tick[mine], timeline.rate_granted_bytes_per_s[mine], initial=0.0)


def channel_bytes(timeline: Timeline) -> Floats:
    """The bytes that tasks and background moved over each channel in the whole run (shape: channels)."""
    return over_channels(timeline.program, _route_bytes(timeline))


def taken_bytes(timeline: Timeline) -> Floats:
    """What tasks and background took of each channel in the whole run: bytes times usage (shape: channels)."""
    return over_channels(timeline.program, _route_bytes(timeline), weight=timeline.program.resources.route_usage)


def _route_bytes(timeline: Timeline) -> Floats:
    """The bytes that tasks and background moved over each route in the whole run (shape: routes)."""
    program, rows = timeline.program, JobRows.of(timeline)
    by_tasks = np.zeros(program.resources.num_routes)
    _add_served(folded_jobs(program), program.folded_tasks.templates.route, rows.job, rows.first_row,
                rows.column(timeline.served_bytes, missing=0), by_tasks)  # fmt: skip
    by_background = sums(program.background.route, timeline.background_bytes, program.resources.num_routes)
    return by_tasks + by_background


@compiled_in_place
def _add_served(jobs: FoldedJobs, route: Ints, job: Ints, first_row: Ints, served: Floats, by_route: Floats) -> None:  # noqa: PLR0917
    """Adds the bytes served of all job rows to their routes, in the order of rows."""
    for run in range(len(job)):
        first, stop = jobs.instance_offsets[job[run]], jobs.instance_offsets[job[run] + 1]
        for instance in range(first, stop):
            template_start = jobs.template_starts[instance]
            to_row = first_row[run] + jobs.starts[instance] - jobs.starts[first] - template_start
            for template in range(template_start, template_start + jobs.starts[instance + 1] - jobs.starts[instance]):
                if route[template] != NONE:
                    by_route[route[template]] += served[template + to_row]


def over_channels(program: Program, of_routes: Floats, weight: Floats | None = None) -> Floats:
    """Sums over the routes that cross each channel, of one number per route (shape: channels).

    Args:
        program: the Program.
        of_routes: the numbers.
        weight: how much each crossing counts, parallel to `route_channels`; None for 1 each.
    """
    resources = program.resources
    crossing = np.repeat(np.arange(resources.num_routes), np.diff(resources.route_offsets))
    of_crossings = of_routes[crossing] if weight is None else of_routes[crossing] * weight
    return sums(resources.route_channels, of_crossings, len(resources.channel_names))


def sums(group: Ints, values: Floats | Ints, num_groups: int) -> Floats:
    """The sum of the values of each group (shape: groups)."""
    return np.bincount(group, weights=values, minlength=num_groups).astype(np.float64)
