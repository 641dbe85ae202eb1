"""Program: a checked, frozen DAG of tasks as flat arrays, with the table of resources it runs on.

A Program is numbers only. It knows no chip and no model, so an engine needs nothing else and random Programs can
drive every engine. Its parts:

    Resources        units (clock, slots), channels (capacity), masters (weight, shares, budgets), routes, memories
    Tasks            struct of arrays: what each task holds, how much, and which tasks it waits for; or FoldedTasks,
                     which keep what repeats once
    jobs             contiguous ranges of tasks; edges never leave a job
    Streams          when a job is released, and what happens if the stream is still busy
    Background       endless flows of other masters on the channels (cameras, CPU)
    CapacityChanges  clocks and capacities that change at a given time
    Occupancies      which task takes and which frees space in a memory: read by metrics, never by an engine
    Labels           names that reports print: read by metrics and report, never by an engine

Three kinds of task, told apart by two columns:

    unit >= 0                  compute: holds one slot of a unit for `work` cycles of its clock
    route >= 0                 transfer: moves `size` bytes over every channel of a route for a master
    unit = route = NONE        milestone: takes no time and no resource; joins and forks edges

The semantics of running a Program are written in `simulator.engine.interface`.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.program.checks import check_program
from simulator.program.columns import NONE, Bools, Floats, Ints, successors_of
from simulator.program.folded import FoldedOccupancies, FoldedTasks, one_fragment_per_job
from simulator.program.occupancies import Occupancies

__all__ = ["NONE", "Background", "CapacityChanges", "DropPolicy", "Floats", "Ints", "Labels", "Occupancies", "Program",
           "Resources", "Streams", "Tasks", "role_of"]  # fmt: skip


def _ints(values: Sequence[int] | npt.NDArray[Any] = ()) -> Ints:
    return np.asarray(values, dtype=np.int64)


def _floats(values: Sequence[float] | npt.NDArray[Any] = ()) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _bools(values: Sequence[bool] | npt.NDArray[Any] = ()) -> Bools:
    return np.asarray(values, dtype=np.bool_)


class DropPolicy(enum.IntEnum):
    """What a stream does with a release that finds it busy (`in_flight` jobs of it are running)."""

    DROP_IF_BUSY = 0
    """The new release is dropped."""
    LATEST = 1
    """The new release waits; if one waits already, that older one is dropped."""
    FIFO = 2
    """Releases wait in order; a release that finds `queue_depth` of them waiting is dropped."""


def role_of(name: str) -> str:
    """What a unit or a channel is, wherever it is: `dram` for `die1.dram`."""
    return name.rpartition(".")[2]


@dataclass(frozen=True, eq=False)
class Resources:
    """Everything that tasks compete for.

    A share row says that all flows of one master on one channel together get at most `share_maximum` and, while
    they ask for it, at least `share_minimum`, both as a fraction (0 to 1) of the channel's present capacity. A budget
    row says that they take at most `budget_bytes` of it in each period, however much it has.

    Source: [mpam] for shares, [memguard] for budgets.
    """

    unit_names: tuple[str, ...] = ()
    unit_clock_hz: Floats = field(default_factory=_floats)
    unit_slots: Ints = field(default_factory=_ints)
    channel_names: tuple[str, ...] = ()
    channel_bytes_per_s: Floats = field(default_factory=_floats)
    master_names: tuple[str, ...] = ()
    master_weight: Floats = field(default_factory=_floats)
    share_master: Ints = field(default_factory=_ints)
    share_channel: Ints = field(default_factory=_ints)
    share_minimum: Floats = field(default_factory=_floats)
    share_maximum: Floats = field(default_factory=_floats)
    share_is_soft: Bools = field(default_factory=_bools)
    """Whether the maximum binds only as long as others can use what it leaves (MBW_MAX with HARDLIM 0). Empty: none."""
    budget_master: Ints = field(default_factory=_ints)
    budget_channel: Ints = field(default_factory=_ints)
    budget_bytes: Floats = field(default_factory=_floats)
    """What the flows of the master may take of the channel, bytes times usage, in each period."""
    budget_period_ticks: Ints = field(default_factory=_ints)
    """Periods begin at multiples of this."""
    route_offsets: Ints = field(default_factory=lambda: _ints([0]))
    """CSR: route r crosses the channels `route_channels[route_offsets[r]:route_offsets[r + 1]]`."""
    route_channels: Ints = field(default_factory=_ints)
    route_usage: Floats = field(default_factory=_floats)
    """Capacity that one byte of a route takes of each of its channels, parallel to `route_channels`.

    Empty for 1 each. Above 1 for accesses that use a channel badly, such as scattered reads of DRAM.
    """
    memory_names: tuple[str, ...] = ()
    memory_bytes: Ints = field(default_factory=_ints)

    def __post_init__(self) -> None:
        if len(self.share_is_soft) == 0:
            object.__setattr__(self, "share_is_soft", np.zeros(len(self.share_master), dtype=np.bool_))
        if len(self.route_usage) == 0:
            object.__setattr__(self, "route_usage", np.ones(len(self.route_channels)))

    @property
    def num_routes(self) -> int:
        """How many routes there are."""
        return len(self.route_offsets) - 1

    def route(self, index: int) -> tuple[int, ...]:
        """The channel indices of one route."""
        start, stop = self.route_offsets[index], self.route_offsets[index + 1]
        return tuple(int(channel) for channel in self.route_channels[start:stop])

    def usage(self, index: int) -> tuple[float, ...]:
        """What one byte of a route takes of each of its channels."""
        start, stop = self.route_offsets[index], self.route_offsets[index + 1]
        return tuple(float(usage) for usage in self.route_usage[start:stop])


@dataclass(frozen=True, eq=False)
class Tasks:
    """All tasks, one array per column (shape: number of tasks), and their predecessors in CSR form."""

    unit: Ints
    """Unit that a compute task holds, else NONE."""
    work_cycles: Floats
    """Cycles of that unit's clock; 0 for other kinds."""
    route: Ints
    """Route that a transfer crosses, else NONE."""
    size_bytes: Ints
    """Bytes that a transfer moves; 0 for other kinds."""
    master: Ints
    """Master on whose behalf a transfer moves them, else NONE."""
    rate_cap_bytes_per_s: Floats
    """The most a transfer can move per second by itself; infinity if only the channels limit it."""
    priority: Ints
    """A unit serves lower numbers first."""
    predecessor_offsets: Ints
    """CSR, shape number of tasks + 1."""
    predecessors: Ints
    """Task indices, in the same job as the task that waits."""
    operation: Ints
    """Row of `Labels` that the task belongs to, or NONE."""
    cause: Ints
    """Index into `Labels.causes`: what the time of this task is called in an attribution, or NONE."""
    layer: Ints
    """Which repetition of a layer, for labels only; NONE if none."""
    step: Ints
    """Which step of a phase (decoded token, diffusion step), for labels only; NONE if none."""

    def __len__(self) -> int:
        return len(self.unit)

    @cached_property
    def successors(self) -> tuple[Ints, Ints]:
        """The edges turned round: CSR offsets and task indices, each list ascending."""
        return successors_of(self.predecessor_offsets, self.predecessors)


@dataclass(frozen=True, eq=False)
class Streams:
    """Streams of releases. Release r of stream s happens at `release_tick[r]` and runs job `release_job[r]`."""

    names: tuple[str, ...] = ()
    release_offsets: Ints = field(default_factory=lambda: _ints([0]))
    """CSR: the releases of stream s, in time order."""
    release_tick: Ints = field(default_factory=_ints)
    release_job: Ints = field(default_factory=_ints)
    policy: Ints = field(default_factory=_ints)
    """A `DropPolicy`."""
    queue_depth: Ints = field(default_factory=_ints)
    """For FIFO: how many releases may wait; NONE for no limit. Not read for the other policies."""
    in_flight: Ints = field(default_factory=_ints)
    """How many jobs of the stream may run at once; NONE for no limit."""
    deadline_ticks: Ints = field(default_factory=_ints)
    """Latency allowed from release to completion, NONE if there is no deadline. For metrics only."""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def release_stream(self) -> Ints:
        """The stream of every release (shape: number of releases)."""
        return np.repeat(np.arange(len(self)), np.diff(self.release_offsets))


@dataclass(frozen=True, eq=False)
class Background:
    """Endless flows: from `start_tick` to `stop_tick` (NONE: for ever) a master asks for `bytes_per_s` on a route."""

    names: tuple[str, ...] = ()
    route: Ints = field(default_factory=_ints)
    master: Ints = field(default_factory=_ints)
    bytes_per_s: Floats = field(default_factory=_floats)
    start_tick: Ints = field(default_factory=_ints)
    stop_tick: Ints = field(default_factory=_ints)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class CapacityChanges:
    """From `tick` on, a unit has another clock (Hz) or a channel another capacity (bytes/s). Sorted by tick.

    Of two changes of one resource at one tick the later row wins. Zero is allowed: the resource stands still.
    """

    tick: Ints = field(default_factory=_ints)
    unit: Ints = field(default_factory=_ints)
    """Unit whose clock changes, else NONE."""
    channel: Ints = field(default_factory=_ints)
    """Channel whose capacity changes, else NONE."""
    value: Floats = field(default_factory=_floats)

    def __len__(self) -> int:
        return len(self.tick)


@dataclass(frozen=True, eq=False)
class Labels:
    """What reports call things: phases, operations (rows that tasks point to) and causes of time."""

    phases: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    operation_phase: Ints = field(default_factory=_ints)
    operation_flop: Ints = field(default_factory=_ints)
    """Floating-point operations of all the tasks of this operation in one job, exact (1 MAC = 2 flop)."""
    causes: tuple[str, ...] = ()
    phase_tokens: Ints = field(default_factory=_ints)
    """Tokens that a phase handles in one job."""
    operation_dtypes: tuple[str, ...] = ()
    """What the matrices of each operation are multiplied in, empty for none; empty altogether if nobody said."""
    operation_kept_bytes: Ints = field(default_factory=_ints)
    """Bytes that stay on the chip and that all the tasks of this operation read or write there in one job, without a
    transfer; empty altogether if nobody said."""
    operation_modes: tuple[str, ...] = ()
    """The mode in which each operation runs, empty on a chip without modes; empty altogether if nobody said."""


@dataclass(frozen=True, eq=False)
class Program:
    """A checked Program. `__post_init__` refuses what no engine could run; see the module for the parts."""

    resources: Resources
    tasks: Tasks | FoldedTasks
    job_offsets: Ints
    """Job j owns the tasks `job_offsets[j]` to `job_offsets[j + 1] - 1`."""
    streams: Streams
    background: Background = field(default_factory=Background)
    changes: CapacityChanges = field(default_factory=CapacityChanges)
    occupancies: Occupancies | FoldedOccupancies = field(default_factory=Occupancies)
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        check_program(self)

    @property
    def num_jobs(self) -> int:
        """How many jobs (task ranges) there are."""
        return len(self.job_offsets) - 1

    def job_tasks(self, job: int) -> range:
        """The task indices of one job."""
        return range(int(self.job_offsets[job]), int(self.job_offsets[job + 1]))

    @cached_property
    def folded_tasks(self) -> FoldedTasks:
        """The tasks as templates and instances; flat tasks become one fragment per job."""
        if isinstance(self.tasks, FoldedTasks):
            return self.tasks
        columns = {column.name: getattr(self.tasks, column.name) for column in fields(self.tasks)}
        return one_fragment_per_job(columns, self.job_offsets)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every number and name: equal Programs have equal fingerprints in every process.

        Programs with the same tasks in different foldings differ.
        """
        digest = hashlib.sha256()
        for part in (self.resources, self.tasks, self.streams, self.background, self.changes,
                     self.occupancies, self.labels, self.job_offsets):  # fmt: skip
            _add(digest, part)
        return digest.hexdigest()


def _add(digest: hashlib._Hash, value: object) -> None:
    """Adds every array and value of a part of a Program to a hash."""
    if isinstance(value, np.ndarray):
        digest.update(value.tobytes())
    elif is_dataclass(value):
        for column in fields(value):
            _add(digest, getattr(value, column.name))
    else:
        digest.update(repr(value).encode())
