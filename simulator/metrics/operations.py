"""Operations of one release: time, flop and bytes of each row of the Program's labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.metrics.latency import rows_of_release
from simulator.program import NONE
from simulator.timeline import Timeline


@dataclass(frozen=True)
class OperationUse:
    """One operation, all its layers and steps together."""

    name: str
    phase: str
    instances: int
    """How often it ran: layers times steps."""
    busy_ticks: int
    """Sum over its instances of the time from the first start to the last end."""
    flop: int
    channel_bytes: tuple[int, ...]
    """Bytes over each channel."""


def operation_use(timeline: Timeline, release: int) -> tuple[OperationUse, ...]:
    """Every operation that took time for a release, in the order of the labels; milestones do not count.

    With prefetch, the time of an operation begins with its first load, so neighbours may overlap.
    """
    program = timeline.program
    present = rows_of_release(timeline, release)
    rows, task = np.arange(present.start, present.stop), timeline.task[present]
    is_milestone = (program.tasks.unit[task] == NONE) & (program.tasks.route[task] == NONE)
    counts = (program.tasks.operation[task] != NONE) & ~is_milestone
    rows, task = rows[counts], task[counts]
    keys = np.stack([program.tasks.operation[task], program.tasks.layer[task], program.tasks.step[task]])
    instances, index = np.unique(keys, axis=1, return_inverse=True)
    index = index.ravel()
    count = instances.shape[1]
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.zeros(count, dtype=np.int64)
    np.minimum.at(first, index, timeline.start_tick[rows])
    np.maximum.at(last, index, timeline.end_tick[rows])
    labels, resources = program.labels, program.resources
    size = len(labels.operations)
    busy = np.zeros(size, dtype=np.int64)
    np.add.at(busy, instances[0], last - first)
    repeats = np.bincount(instances[0], minlength=size)
    moved = np.zeros((size, len(resources.channel_names)), dtype=np.int64)
    for route in range(resources.num_routes):
        on_route = program.tasks.route[task] == route
        for channel in resources.route(route):
            np.add.at(
                moved[:, channel], program.tasks.operation[task[on_route]], program.tasks.size_bytes[task[on_route]]
            )
    return tuple(
        OperationUse(
            name=labels.operations[row],
            phase=labels.phases[int(labels.operation_phase[row])],
            instances=int(repeats[row]),
            busy_ticks=int(busy[row]),
            flop=int(labels.operation_flop[row]),
            channel_bytes=tuple(int(value) for value in moved[row]),
        )
        for row in np.flatnonzero(repeats)
    )
