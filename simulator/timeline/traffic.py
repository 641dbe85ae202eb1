"""What each channel carried: the rate granted over time, and the bytes moved."""

from __future__ import annotations

import numpy as np

from simulator.program.capacity import Steps
from simulator.program.program import NONE, Floats, Ints, Program
from simulator.timeline.timeline import Timeline


def granted_steps(timeline: Timeline, channel: int) -> Steps:
    """The rate granted on a channel over time, in bytes/s."""
    mine = timeline.rate_channel == channel
    return Steps.of(timeline.rate_tick[mine], timeline.rate_granted_bytes_per_s[mine], initial=0.0)


def channel_bytes(timeline: Timeline) -> Floats:
    """The bytes that tasks and background moved over each channel in the whole run (shape: channels)."""
    program = timeline.program
    num_routes, route = program.resources.num_routes, program.tasks.route[timeline.task]
    moves = route != NONE
    by_tasks = sums(route[moves], timeline.served_bytes[moves], num_routes)
    by_background = sums(program.background.route, timeline.background_bytes, num_routes)
    return over_channels(program, by_tasks + by_background)


def over_channels(program: Program, of_routes: Floats) -> Floats:
    """Sums over the routes that cross each channel, of one number per route (shape: channels)."""
    resources = program.resources
    crossing = np.repeat(np.arange(resources.num_routes), np.diff(resources.route_offsets))
    return sums(resources.route_channels, of_routes[crossing], len(resources.channel_names))


def sums(group: Ints, values: Floats | Ints, num_groups: int) -> Floats:
    """The sum of the values of each group (shape: groups)."""
    return np.bincount(group, weights=values, minlength=num_groups).astype(np.float64)
