"""The parts of a latency by name, in the words of a chip designer: which part the time of a task belongs to.

A part gathers causes and channels. What is not known here keeps its own name, so nothing is lost. How many ticks each
part has is in `metrics.attribution`, and with an engine at hand, more finely, in `explanation.parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from simulator.program.program import NONE, Ints, Program, Resources, role_of

COMPUTE: Final = "compute"
DRAM: Final = "DRAM"
NOC: Final = "NoC"
SRAM: Final = "SRAM"
VECTOR: Final = "vector"
LAUNCH: Final = "launch"
CONVERSION: Final = "conversion"
ROUTING: Final = "routing"
SWITCH: Final = "switch"
LINK: Final = "link"
OTHER_MASTERS: Final = "waiting for other masters"
"""A transfer takes longer because other masters, or other releases, use its channels."""
OTHER_RELEASES: Final = "waiting for other releases"
"""A release waits for its admission, or a task for a slot that another release holds."""

_PART_OF_CAUSE: Final = {
    "matrix": COMPUTE, "sram": SRAM, "vector": VECTOR, "conversion": CONVERSION, "launch": LAUNCH, "host": LAUNCH,
    "routing": ROUTING, "switch": SWITCH, "link": LINK, "wait": OTHER_RELEASES, "queue": OTHER_RELEASES,
}  # fmt: skip
_CAUSES_OF_CHANNELS: Final = {"weights", "kv cache", "activations", "experts"}
"""What is moved: the narrowest channel of the route is to blame."""
_PART_OF_CHANNEL: Final = {"dram": DRAM, "noc": NOC}

MASTERS_PART, RELEASES_PART = range(2)
"""The numbers of the last two among the parts of any tasks."""


class TaskParts(NamedTuple):
    """The parts of some tasks, as numbers of names."""

    names: tuple[str, ...]
    own: Ints
    """The part of what a task takes alone."""
    channel: Ints
    """The part of the narrowest channel of its route; `OTHER_MASTERS` for no route."""


def parts_of_tasks(program: Program, cause: Ints, unit: Ints, route: Ints) -> TaskParts:
    """The parts of tasks with such causes, units and routes (shape of each: tasks)."""
    narrowest = narrowest_channels(program.resources)
    num_units, num_routes = len(program.resources.unit_names) + 1, len(narrowest) + 1
    keys, index = np.unique(((cause + 1) * num_units + unit + 1) * num_routes + route + 1, return_inverse=True)
    names = {OTHER_MASTERS: MASTERS_PART, OTHER_RELEASES: RELEASES_PART}
    own, channel = [], []
    for key in keys.tolist():
        of_cause, of_unit = divmod(key // num_routes, num_units)
        of_route = key % num_routes - 1
        carrier = "" if of_route == NONE else _part_of_channel(program, int(narrowest[of_route]))
        own.append(names.setdefault(_part(program, of_cause - 1, of_unit - 1, carrier), len(names)))
        channel.append(names.setdefault(carrier or OTHER_MASTERS, len(names)))
    return TaskParts(tuple(names), np.array(own, np.int64)[index.ravel()], np.array(channel, np.int64)[index.ravel()])


def named_ticks(names: Sequence[str], ticks: Ints) -> dict[str, int]:
    """The ticks of each cause or part that has some, largest first (shape of `ticks`: names)."""
    order = np.argsort(-ticks, kind="stable").tolist()
    return {names[index]: int(ticks[index]) for index in order if ticks[index] > 0}


def narrowest_channels(resources: Resources) -> Ints:
    """The channel that holds each route back, which gives it the fewest bytes per second (shape: routes)."""
    return np.array([_narrowest(resources, route) for route in range(resources.num_routes)], dtype=np.int64)


def _narrowest(resources: Resources, route: int) -> int:
    ways = zip(resources.route(route), resources.usage(route), strict=True)
    return min((float(resources.channel_bytes_per_s[channel]) / usage, channel) for channel, usage in ways)[1]


def _part(program: Program, cause: int, unit: int, carrier: str) -> str:
    """What the time of a task is called; `carrier` is the part of its route."""
    if cause == NONE:
        return carrier or (program.resources.unit_names[unit] if unit != NONE else OTHER_RELEASES)
    name = program.labels.causes[cause]
    return carrier if carrier and name in _CAUSES_OF_CHANNELS else _PART_OF_CAUSE.get(name, name)


def _part_of_channel(program: Program, channel: int) -> str:
    name = program.resources.channel_names[channel]
    return _PART_OF_CHANNEL.get(role_of(name), name)
