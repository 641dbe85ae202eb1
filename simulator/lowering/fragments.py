"""Fragments: template tasks end to end, what stands between the blocks of a job, and all as templates of a Program.

The fragments of blocks are written by `lowering.emit`. The last tasks of a fragment are its anchors, for which the next
one may wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from simulator.lowering.block import HOST
from simulator.lowering.platform import Platform
from simulator.program import Templates
from simulator.program.columns import offsets_of
from simulator.program.program import NONE, Floats, Ints

EXIT, HOST_DONE, LAST_LOAD = -1, -2, -3
"""Anchors: the last tasks of every fragment. Before them, one anchor per buffer."""
NUM_FIXED_ANCHORS = 3


@dataclass(frozen=True, eq=False)
class Fragments:
    """Tasks of some fragments end to end. Predecessors as in `Templates`."""

    unit: Ints
    """As numbered by `Platform`."""
    work_cycles: Floats
    route: Ints
    """As numbered by `Platform`."""
    size_bytes: Ints
    operation: Ints
    cause: Ints
    predecessor_counts: Ints
    predecessors: Ints
    lengths: Ints
    """Tasks of each fragment."""
    held_counts: Ints
    """Spaces that each fragment holds."""
    memory: Ints
    held_bytes: Ints
    first_task: Ints
    last_task: Ints


@dataclass(frozen=True, eq=False)
class Group:
    """Fragments that run in one place, and the priority of their tasks."""

    fragments: Fragments
    platform: Platform
    priority: int = 0


def num_prediction_anchors(platform: Platform) -> int:
    """Anchors for experts that are fetched early: as many routers as layers ahead, and the last fetch."""
    return platform.layers_ahead + 1 if platform.layers_ahead else 0


def step_start(platform: Platform, *, is_first: bool, replays_graph: bool, operation: int, is_phase: bool) -> Fragments:
    """The beginning of a step: the host has seen the last result; with a graph it enqueues all kernels at once.

    A phase begins only when everything of the phase before has ended, so nothing is prefetched across phases.
    """
    num_buffers = platform.runtime.weight_buffers
    anchors = [LAST_LOAD - num_buffers + index for index in range(num_buffers)] + [LAST_LOAD]
    before = [] if is_first else [EXIT, HOST_DONE]
    if is_phase and not is_first:
        before += [LAST_LOAD, *anchors[:-1]]
    enqueue_cycles = platform.runtime.enqueue.value if replays_graph else 0.0
    length = 1 + num_prediction_anchors(platform) + num_buffers + NUM_FIXED_ANCHORS
    carried = [0] * len(anchors) if is_first or is_phase else anchors
    predicted = [0] * num_prediction_anchors(platform)  # a token's first layers are predicted when it begins
    empty = np.zeros(0, dtype=np.int64)
    unit, work_cycles = np.full(length, NONE, dtype=np.int64), np.zeros(length)
    cause, counts = np.full(length, NONE, dtype=np.int64), np.ones(length, dtype=np.int64)
    counts[0] = len(before)
    if enqueue_cycles > 0:
        unit[0], work_cycles[0], cause[0] = platform.HOST_UNIT, enqueue_cycles, HOST
    return Fragments(
        unit=unit,
        work_cycles=work_cycles,
        route=np.full(length, NONE, dtype=np.int64),
        size_bytes=np.zeros(length, dtype=np.int64),
        operation=np.full(length, operation, dtype=np.int64),
        cause=cause,
        predecessor_counts=counts,
        predecessors=np.array([*before, *predicted, *carried, 0, 0], dtype=np.int64),
        lengths=np.array([length], dtype=np.int64),
        held_counts=np.zeros(1, dtype=np.int64),
        memory=empty,
        held_bytes=empty,
        first_task=empty,
        last_task=empty,
    )


class PassageTask(NamedTuple):
    """A task of the chain between two phases: work of a unit or bytes on a route, and what it is called."""

    unit: int
    work_cycles: float
    route: int
    size_bytes: int
    cause: int


def passage(platform: Platform, chain: Sequence[PassageTask], *, operation: int, is_first: bool) -> Fragments:
    """What has to happen between two phases, one after the other: it begins when everything before has ended.

    Args:
        platform: where it happens.
        chain: its tasks in order.
        operation: the row of `Labels` of its tasks.
        is_first: whether nothing comes before it in its job.
    """
    num_buffers = platform.runtime.weight_buffers
    drained = [] if is_first else [EXIT, HOST_DONE, LAST_LOAD, *range(LAST_LOAD - num_buffers, LAST_LOAD)]
    num_anchors = num_buffers + NUM_FIXED_ANCHORS
    milestone = PassageTask(NONE, 0.0, NONE, 0, NONE)
    tasks = [milestone, *chain, *[milestone] * num_anchors]
    columns = [np.array(column) for column in zip(*tasks, strict=True)]
    counts = np.ones(len(tasks), dtype=np.int64)
    counts[0] = len(drained)
    empty = np.zeros(0, dtype=np.int64)
    return Fragments(
        unit=columns[0],
        work_cycles=columns[1].astype(np.float64),
        route=columns[2],
        size_bytes=columns[3],
        operation=np.full(len(tasks), operation, dtype=np.int64),
        cause=columns[4],
        predecessor_counts=counts,
        predecessors=np.array([*drained, *range(len(chain)), *[len(chain)] * num_anchors], dtype=np.int64),
        lengths=np.array([len(tasks)], dtype=np.int64),
        held_counts=np.zeros(1, dtype=np.int64),
        memory=empty,
        held_bytes=empty,
        first_task=empty,
        last_task=empty,
    )


def templates_of(groups: Sequence[Group]) -> Templates:
    """All fragments of a Program, end to end."""

    def column(name: str) -> Any:
        return np.concatenate([getattr(group.fragments, name) for group in groups])

    def per_task(values: Sequence[Any]) -> Any:
        return np.repeat(np.array(values), [len(group.fragments.unit) for group in groups])

    def of_program(name: str) -> Any:
        """Numbers of the place as those of the Program; NONE, the last of them, stays."""
        return np.concatenate(
            [np.append(getattr(group.platform.site, name), NONE)[getattr(group.fragments, name)] for group in groups]
        )

    route = of_program("route")
    is_transfer = route != NONE
    rate_cap_bytes_per_s = per_task([group.platform.rate_cap_bytes_per_s for group in groups])
    return Templates(
        unit=of_program("unit"),
        work_cycles=column("work_cycles")
        * np.where(
            (column("unit") < Platform.HOST_UNIT) | (column("unit") == Platform.ROUTING_UNIT),
            per_task([group.platform.cycle_scale for group in groups]),
            1.0,
        ),
        route=route,
        size_bytes=column("size_bytes"),
        master=np.where(is_transfer, per_task([group.platform.accelerator_master for group in groups]), NONE),
        rate_cap_bytes_per_s=np.where(
            is_transfer & (column("route") != Platform.SRAM_ROUTE), rate_cap_bytes_per_s, np.inf
        ),
        priority=per_task([group.priority for group in groups]),
        operation=column("operation"),
        cause=column("cause"),
        predecessor_offsets=offsets_of(column("predecessor_counts")),
        predecessors=column("predecessors"),
        fragment_offsets=offsets_of(column("lengths")),
        held_offsets=offsets_of(column("held_counts")),
        memory=of_program("memory"),
        held_bytes=column("held_bytes"),
        first_task=column("first_task"),
        last_task=column("last_task"),
    )
