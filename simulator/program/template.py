"""Fragments by hand: pieces of a job, written task by task and joined into `FoldedTasks`.

For worked examples, tests and measurements of engines; lowering writes whole tables of fragments at once
(`simulator.lowering.emit`). A fragment may be repeated. Its last tasks are its *anchors*: what the next one may wait
for. Inside a fragment the index of a predecessor counts from its own first task, so -1 is the last anchor of the one
before it, whichever that is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.program.columns import NONE, Floats, Ints, offsets_of
from simulator.program.folded import FoldedOccupancies, FoldedTasks, Instances, Templates

_COLUMNS = ("unit", "work_cycles", "route", "size_bytes", "master", "rate_cap_bytes_per_s", "operation", "cause",
            "predecessors", "memory", "held_bytes", "first_task", "last_task")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Fragment:
    """Tasks with relative predecessors, and the space they hold."""

    unit: Ints
    work_cycles: Floats
    route: Ints
    size_bytes: Ints
    master: Ints
    rate_cap_bytes_per_s: Floats
    operation: Ints
    cause: Ints
    predecessor_counts: Ints
    predecessors: Ints
    """Relative to the first task of the fragment; negative reaches into the fragment before."""
    memory: Ints
    held_bytes: Ints
    first_task: Ints
    last_task: Ints

    def __len__(self) -> int:
        return len(self.unit)


@dataclass
class FragmentBuilder:
    """Collects the tasks of a fragment; `build` freezes them."""

    rows: list[tuple[int, float, int, int, int, float, int, int]] = field(default_factory=list)
    after: list[tuple[int, ...]] = field(default_factory=list)
    held: list[tuple[int, int, int, int]] = field(default_factory=list)

    def compute(self, unit: int, work_cycles: float, after: Sequence[int], *, operation: int, cause: int) -> int:
        """Adds a compute task and returns its index in the fragment."""
        return self._task((unit, work_cycles, NONE, 0, NONE, math.inf, operation, cause), after)

    def transfer(
        self, route: int, size_bytes: int, after: Sequence[int], *, master: int, rate_cap_bytes_per_s: float,
        operation: int, cause: int,
    ) -> int:  # fmt: skip
        """Adds a transfer and returns its index in the fragment."""
        return self._task((NONE, 0.0, route, size_bytes, master, rate_cap_bytes_per_s, operation, cause), after)

    def milestone(self, after: Sequence[int], *, operation: int = NONE) -> int:
        """Adds a task that takes no time and returns its index in the fragment."""
        return self._task((NONE, 0.0, NONE, 0, NONE, math.inf, operation, NONE), after)

    def hold(self, memory: int, size_bytes: int, first_task: int, last_task: int) -> None:
        """Records that space is held from the start of one task to the end of another."""
        if size_bytes:
            self.held.append((memory, size_bytes, first_task, last_task))

    def build(self) -> Fragment:
        """The fragment."""
        columns = list(zip(*self.rows, strict=True)) or [()] * 8
        held = list(zip(*self.held, strict=True)) or [()] * 4
        return Fragment(
            unit=np.array(columns[0], dtype=np.int64),
            work_cycles=np.array(columns[1], dtype=np.float64),
            route=np.array(columns[2], dtype=np.int64),
            size_bytes=np.array(columns[3], dtype=np.int64),
            master=np.array(columns[4], dtype=np.int64),
            rate_cap_bytes_per_s=np.array(columns[5], dtype=np.float64),
            operation=np.array(columns[6], dtype=np.int64),
            cause=np.array(columns[7], dtype=np.int64),
            predecessor_counts=np.array([len(after) for after in self.after], dtype=np.int64),
            predecessors=np.array([task for after in self.after for task in after], dtype=np.int64),
            memory=np.array(held[0], dtype=np.int64),
            held_bytes=np.array(held[1], dtype=np.int64),
            first_task=np.array(held[2], dtype=np.int64),
            last_task=np.array(held[3], dtype=np.int64),
        )

    def _task(self, row: tuple[int, float, int, int, int, float, int, int], after: Sequence[int]) -> int:
        self.rows.append(row)
        self.after.append(tuple(dict.fromkeys(after)))
        return len(self.rows) - 1


@dataclass(frozen=True)
class Part:
    """A fragment, how often it is repeated, and the labels of its tasks."""

    fragment: Fragment
    repeats: int = 1
    is_layer: bool = False
    """Whether each repetition is a layer, for labels."""
    step: int = NONE


def join(jobs: Sequence[Sequence[Part]], priorities: Sequence[int]) -> tuple[FoldedTasks, Ints, FoldedOccupancies]:
    """All parts of all jobs one after the other; a fragment that is used several times is kept once.

    Args:
        jobs: the parts of each job in order.
        priorities: the priority of the tasks of each job.
    Returns:
        The tasks, the job offsets (shape: jobs + 1) and the occupancies.
    """
    numbers: dict[tuple[int, int], int] = {}
    distinct: list[tuple[Fragment, int]] = []
    fragment, repeats, step, layer = [], [], [], []
    for job, priority in zip(jobs, priorities, strict=True):
        for part in job:
            number = numbers.setdefault((id(part.fragment), priority), len(numbers))
            if number == len(distinct):
                distinct.append((part.fragment, priority))
            fragment.append(number)
            repeats.append(part.repeats)
            step.append(part.step)
            layer.append(np.arange(part.repeats) if part.is_layer else np.full(part.repeats, NONE))
    instances_of_job = [sum(part.repeats for part in job) for job in jobs]
    tasks = FoldedTasks(
        _templates(distinct),
        Instances(
            fragment=np.repeat(np.array(fragment, dtype=np.int64), repeats),
            layer=np.concatenate(layer).astype(np.int64),
            step=np.repeat(np.array(step, dtype=np.int64), repeats),
            job_offsets=offsets_of(instances_of_job),
        ),
    )
    return tasks, tasks.job_offsets, FoldedOccupancies(tasks)


def _templates(distinct: Sequence[tuple[Fragment, int]]) -> Templates:
    """Fragments end to end, each with the priority of its tasks."""
    fragments = [fragment for fragment, _ in distinct]
    lengths = [len(fragment) for fragment in fragments]

    def column(name: str) -> Any:
        return np.concatenate([getattr(fragment, name) for fragment in fragments])

    return Templates(
        **{name: column(name) for name in _COLUMNS},
        priority=np.repeat(np.array([priority for _, priority in distinct], dtype=np.int64), lengths),
        predecessor_offsets=offsets_of(column("predecessor_counts")),
        fragment_offsets=offsets_of(lengths),
        held_offsets=offsets_of([len(fragment.memory) for fragment in fragments]),
    )
