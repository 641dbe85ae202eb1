"""Fragments: pieces of a job as arrays, repeated and joined with numpy.

A fragment is written once, task by task, with `FragmentBuilder`; a model of 36 equal layers and 22 equal steps repeats
its arrays. Its last `num_anchors` tasks are its *anchors*: what the next fragment may wait for. Inside a fragment the
index of a predecessor counts from its own first task, so -1 is the last anchor of the fragment before it, whichever
that is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.errors import EngineError
from simulator.program.program import NONE, Floats, Ints, Occupancies, Tasks

_INT_COLUMNS = ("unit", "route", "size_bytes", "master", "operation", "cause")


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


def join(jobs: Sequence[Sequence[Part]], priorities: Sequence[int]) -> tuple[Tasks, Ints, Occupancies]:
    """All parts of all jobs one after the other.

    Args:
        jobs: the parts of each job in order.
        priorities: the priority of the tasks of each job.
    Returns:
        The tasks, the job offsets (shape: jobs + 1) and the occupancies.
    Raises:
        EngineError: when a fragment reaches before the beginning of its job.
    """
    parts = [part for job in jobs for part in job]
    lengths = np.array([len(part.fragment) * part.repeats for part in parts], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    part_counts = np.array([len(job) for job in jobs])
    job_offsets = starts[np.concatenate([[0], np.cumsum(part_counts)])]

    def column(name: str) -> Ints:
        return np.concatenate([np.tile(getattr(part.fragment, name), part.repeats) for part in parts])

    predecessors = np.concatenate(
        [_shifted(part.fragment.predecessors, part, start) for part, start in zip(parts, starts, strict=False)]
    )
    counts = column("predecessor_counts")
    waiting = np.repeat(np.arange(len(counts)), counts)
    first_of_job = np.repeat(job_offsets[:-1], np.diff(job_offsets))
    if np.any(predecessors < first_of_job[waiting]) or np.any(predecessors >= waiting):
        raise EngineError("a fragment waits for a task outside what comes before it in its job")
    tasks = Tasks(
        **{name: column(name) for name in _INT_COLUMNS},
        work_cycles=column("work_cycles").astype(np.float64),
        rate_cap_bytes_per_s=column("rate_cap_bytes_per_s").astype(np.float64),
        priority=np.repeat(np.array(priorities, dtype=np.int64), np.diff(job_offsets)),
        predecessor_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        predecessors=predecessors,
        layer=np.concatenate([_layers(part) for part in parts]),
        step=np.repeat(np.array([part.step for part in parts], dtype=np.int64), lengths),
    )
    occupancies = Occupancies(
        memory=column("memory"),
        size_bytes=column("held_bytes"),
        first_task=np.concatenate(
            [_shifted(part.fragment.first_task, part, start) for part, start in zip(parts, starts, strict=False)]
        ),
        last_task=np.concatenate(
            [_shifted(part.fragment.last_task, part, start) for part, start in zip(parts, starts, strict=False)]
        ),
        label=(),
    )
    return tasks, job_offsets.astype(np.int64), occupancies


def _shifted(relative: Ints, part: Part, start: int) -> Ints:
    """Relative task indices of every repetition, made absolute."""
    bases = start + len(part.fragment) * np.arange(part.repeats, dtype=np.int64)
    return (bases[:, None] + relative[None, :]).ravel()


def _layers(part: Part) -> Ints:
    layers = np.arange(part.repeats) if part.is_layer else np.full(part.repeats, NONE)
    return np.repeat(layers.astype(np.int64), len(part.fragment))
