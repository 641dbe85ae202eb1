"""Folded tasks: every distinct fragment once, and the list of its instances.

A model of 36 equal layers and 128 equal steps is a few fragments that repeat thousands of times. An engine reads this
form. Whoever wants one number per task asks for a column by the name that it has in `Tasks`, and it is expanded then.

A task number counts through all instances in order. Inside a fragment the index of a predecessor counts from the first
task of its own instance; -1 is the last task of the instance before it in the same job, whichever fragment that is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from simulator.program.columns import NONE, Floats, Ints, offsets_of, ranges, successors_of
from simulator.program.occupancies import Occupancies


@dataclass(frozen=True, eq=False)
class Templates:
    """The distinct fragments end to end: one row per template task, for the meaning of columns see `Tasks`."""

    unit: Ints
    work_cycles: Floats
    route: Ints
    size_bytes: Ints
    master: Ints
    rate_cap_bytes_per_s: Floats
    priority: Ints
    operation: Ints
    cause: Ints
    predecessor_offsets: Ints
    """CSR, shape template tasks + 1."""
    predecessors: Ints
    """Relative to the first task of their own fragment; negative reaches into the instance before, at most to its
    first task."""
    fragment_offsets: Ints
    """Fragment f owns the template tasks `fragment_offsets[f]` to `fragment_offsets[f + 1] - 1`, at least one."""
    held_offsets: Ints
    """CSR, shape fragments + 1: the spaces that the tasks of each fragment hold."""
    memory: Ints
    held_bytes: Ints
    first_task: Ints
    """Relative to the first task of the fragment, and inside it."""
    last_task: Ints

    @property
    def num_fragments(self) -> int:
        """How many distinct fragments there are."""
        return len(self.fragment_offsets) - 1

    @cached_property
    def lengths(self) -> Ints:
        """Tasks of each fragment (shape: fragments)."""
        return np.diff(self.fragment_offsets)


@dataclass(frozen=True, eq=False)
class Instances:
    """The fragments of all jobs in order (shape: instances)."""

    fragment: Ints
    layer: Ints
    """Which repetition of a layer, for labels only; NONE if none."""
    step: Ints
    """Which step of a phase, for labels only; NONE if none."""
    job_offsets: Ints
    """CSR: job j owns the instances `job_offsets[j]` to `job_offsets[j + 1] - 1`."""

    def __len__(self) -> int:
        return len(self.fragment)


def _of_task(name: str) -> cached_property[Any]:
    """A column with one row per task, taken from the templates."""

    def expand(tasks: FoldedTasks) -> Any:
        return getattr(tasks.templates, name)[tasks.template_task]

    return cached_property(expand)


def _of_instance(name: str) -> cached_property[Ints]:
    """A column with one row per task, taken from the instances."""

    def expand(tasks: FoldedTasks) -> Ints:
        column: Ints = getattr(tasks.instances, name)
        return np.repeat(column, tasks.lengths)

    return cached_property(expand)


@dataclass(frozen=True, eq=False)
class FoldedTasks:
    """Tasks as templates and instances, with all columns of `Tasks`, each expanded when first asked for."""

    templates: Templates
    instances: Instances

    unit = _of_task("unit")
    work_cycles = _of_task("work_cycles")
    route = _of_task("route")
    size_bytes = _of_task("size_bytes")
    master = _of_task("master")
    rate_cap_bytes_per_s = _of_task("rate_cap_bytes_per_s")
    priority = _of_task("priority")
    operation = _of_task("operation")
    cause = _of_task("cause")
    layer = _of_instance("layer")
    step = _of_instance("step")

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def lengths(self) -> Ints:
        """Tasks of each instance (shape: instances)."""
        return self.templates.lengths[self.instances.fragment]

    @cached_property
    def starts(self) -> Ints:
        """The first task of each instance, and at the end the number of tasks (shape: instances + 1)."""
        return offsets_of(self.lengths)

    @property
    def job_offsets(self) -> Ints:
        """The first task of each job, and at the end the number of tasks (shape: jobs + 1)."""
        return self.starts[self.instances.job_offsets]

    @property
    def template_task(self) -> Ints:
        """The template task of every task (shape: tasks)."""
        return ranges(self.templates.fragment_offsets[self.instances.fragment], self.lengths)

    @cached_property
    def predecessor_offsets(self) -> Ints:
        """CSR, shape number of tasks + 1."""
        counts = np.diff(self.templates.predecessor_offsets)[self.template_task]
        return offsets_of(counts)

    @cached_property
    def predecessors(self) -> Ints:
        """Task numbers, in the same job as the task that waits."""
        templates = self.templates
        borders = templates.predecessor_offsets[templates.fragment_offsets]
        counts = np.diff(borders)[self.instances.fragment]
        relative = templates.predecessors[ranges(borders[self.instances.fragment], counts)]
        return relative + np.repeat(self.starts[:-1], counts)

    @cached_property
    def successors(self) -> tuple[Ints, Ints]:
        """The edges turned round: CSR offsets and task numbers, each list ascending."""
        return successors_of(self.predecessor_offsets, self.predecessors)


@dataclass(frozen=True, eq=False)
class FoldedOccupancies:
    """Space held by the tasks of instances, with all columns of `Occupancies`, expanded when first asked for."""

    tasks: FoldedTasks
    others: Occupancies = field(default_factory=Occupancies)
    """Space that is held longer than an instance."""
    label: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return int(np.sum(self._counts)) + len(self.others)

    @cached_property
    def memory(self) -> Ints:
        """The memory that holds each space."""
        return np.concatenate([self.tasks.templates.memory[self._rows], self.others.memory])

    @cached_property
    def size_bytes(self) -> Ints:
        """How much space."""
        return np.concatenate([self.tasks.templates.held_bytes[self._rows], self.others.size_bytes])

    @cached_property
    def first_task(self) -> Ints:
        """The task with whose start it is taken."""
        return np.concatenate([self.tasks.templates.first_task[self._rows] + self._starts, self.others.first_task])

    @cached_property
    def last_task(self) -> Ints:
        """The task with whose end it is freed."""
        return np.concatenate([self.tasks.templates.last_task[self._rows] + self._starts, self.others.last_task])

    @property
    def _counts(self) -> Ints:
        return np.diff(self.tasks.templates.held_offsets)[self.tasks.instances.fragment]

    @property
    def _rows(self) -> Ints:
        return ranges(self.tasks.templates.held_offsets[self.tasks.instances.fragment], self._counts)

    @property
    def _starts(self) -> Ints:
        return np.repeat(self.tasks.starts[:-1], self._counts)


def one_fragment_per_job(columns: dict[str, Any], job_offsets: Ints) -> FoldedTasks:
    """The trivial folding of flat tasks: every job is an instance of a fragment of its own.

    Args:
        columns: the columns of `Tasks` by name. `layer` and `step` differ from task to task and are left out.
        job_offsets: the first task of each job, and at the end the number of tasks.
    """
    jobs = len(job_offsets) - 1
    edges_of_job = np.diff(columns["predecessor_offsets"][job_offsets])
    nothing = np.zeros(0, dtype=np.int64)
    unlabelled = np.full(jobs, NONE, dtype=np.int64)
    return FoldedTasks(
        Templates(
            **{name: column for name, column in columns.items() if name not in ("predecessors", "layer", "step")},
            predecessors=columns["predecessors"] - np.repeat(job_offsets[:-1], edges_of_job),
            fragment_offsets=job_offsets,
            held_offsets=np.zeros(jobs + 1, dtype=np.int64),
            memory=nothing,
            held_bytes=nothing,
            first_task=nothing,
            last_task=nothing,
        ),
        Instances(np.arange(jobs), unlabelled, unlabelled, np.arange(jobs + 1)),
    )
