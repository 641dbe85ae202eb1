"""Program: a checked, frozen DAG of tasks as flat arrays, with the table of resources it runs on.

A Program is numbers only. It knows no chip and no model, so an engine needs nothing else and random Programs can
drive every engine. Its parts:

    Resources        units (clock, slots), channels (capacity), masters (weight, shares), routes, memories
    Tasks            struct of arrays: what each task holds, how much, and which tasks it waits for
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
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.errors import SpecError

NONE: Final = -1
"""The index that stands for "no unit", "no route", "no deadline", "no limit"."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def _ints(values: Sequence[int] | npt.NDArray[Any] = ()) -> Ints:
    return np.asarray(values, dtype=np.int64)


def _floats(values: Sequence[float] | npt.NDArray[Any] = ()) -> Floats:
    return np.asarray(values, dtype=np.float64)


class DropPolicy(enum.IntEnum):
    """What a stream does with a release that finds it busy (`in_flight` jobs of it are running)."""

    DROP_IF_BUSY = 0
    """The new release is dropped."""
    LATEST = 1
    """The new release waits; if one waits already, that older one is dropped."""
    FIFO = 2
    """Releases wait in order; a release that finds `queue_depth` of them waiting is dropped."""


@dataclass(frozen=True, eq=False)
class Resources:
    """Everything that tasks compete for.

    A share row says that all flows of one master on one channel together get at most `share_maximum` and, while
    they ask for it, at least `share_minimum`, both as a fraction (0 to 1) of the channel's present capacity.
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
    route_offsets: Ints = field(default_factory=lambda: _ints([0]))
    """CSR: route r crosses the channels `route_channels[route_offsets[r]:route_offsets[r + 1]]`."""
    route_channels: Ints = field(default_factory=_ints)
    memory_names: tuple[str, ...] = ()
    memory_bytes: Ints = field(default_factory=_ints)

    @property
    def num_routes(self) -> int:
        """How many routes there are."""
        return len(self.route_offsets) - 1

    def route(self, index: int) -> tuple[int, ...]:
        """The channel indices of one route."""
        start, stop = self.route_offsets[index], self.route_offsets[index + 1]
        return tuple(int(channel) for channel in self.route_channels[start:stop])


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
        count = len(self)
        order = np.argsort(self.predecessors, kind="stable")
        waiting = np.repeat(np.arange(count), np.diff(self.predecessor_offsets))[order]
        offsets = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.predecessors, minlength=count), out=offsets[1:])
        return offsets, waiting.astype(np.int64)


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
class Occupancies:
    """Space held in memories: `size_bytes` of `memory` from the start of one task to the end of another.

    Both tasks are in the same job. `first_task` NONE means from the beginning of the run and `last_task` NONE to
    its end (resident weights). Engines do not read this; `metrics` turns it into occupancy over time.
    """

    memory: Ints = field(default_factory=_ints)
    size_bytes: Ints = field(default_factory=_ints)
    first_task: Ints = field(default_factory=_ints)
    last_task: Ints = field(default_factory=_ints)
    label: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.memory)


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


@dataclass(frozen=True, eq=False)
class Program:
    """A checked Program. `__post_init__` refuses what no engine could run; see the module for the parts."""

    resources: Resources
    tasks: Tasks
    job_offsets: Ints
    """Job j owns the tasks `job_offsets[j]` to `job_offsets[j + 1] - 1`."""
    streams: Streams
    background: Background = field(default_factory=Background)
    changes: CapacityChanges = field(default_factory=CapacityChanges)
    occupancies: Occupancies = field(default_factory=Occupancies)
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        _check_resources(self.resources)
        _check_tasks(self)
        _check_streams(self)
        _check_rest(self)

    @property
    def num_jobs(self) -> int:
        """How many jobs (task ranges) there are."""
        return len(self.job_offsets) - 1

    def job_tasks(self, job: int) -> range:
        """The task indices of one job."""
        return range(int(self.job_offsets[job]), int(self.job_offsets[job + 1]))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every number and name: equal Programs have equal fingerprints in every process."""
        digest = hashlib.sha256()
        for part in (self.resources, self.tasks, self.streams, self.background, self.changes,
                     self.occupancies, self.labels):  # fmt: skip
            for column in fields(part):
                value = getattr(part, column.name)
                digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
        digest.update(self.job_offsets.tobytes())
        return digest.hexdigest()


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise SpecError(f"program: {message}")


def _in_range(index: Ints, count: int, *, allow_none: bool = False) -> bool:
    lowest = NONE if allow_none else 0
    return bool(np.all((index >= lowest) & (index < count)))


def _check_resources(resources: Resources) -> None:
    units, channels, masters = (
        len(resources.unit_names),
        len(resources.channel_names),
        len(resources.master_names),
    )
    _require(len(resources.unit_clock_hz) == len(resources.unit_slots) == units, "unit columns differ in length")
    _require(len(resources.channel_bytes_per_s) == channels, "channel columns differ in length")
    _require(len(resources.master_weight) == masters, "master columns differ in length")
    _require(len(resources.memory_bytes) == len(resources.memory_names), "memory columns differ in length")
    for names in (resources.unit_names, resources.channel_names, resources.master_names):
        _require(len(set(names)) == len(names), f"resource names must be unique, got {names}")
    _require(np.all(np.isfinite(resources.unit_clock_hz)) and np.all(resources.unit_clock_hz > 0),
             "unit clocks must be above 0 Hz")  # fmt: skip
    _require(np.all(resources.unit_slots > 0), "units need at least one slot")
    _require(np.all(np.isfinite(resources.channel_bytes_per_s)) and np.all(resources.channel_bytes_per_s > 0),
             "channel capacities must be above 0 B/s")  # fmt: skip
    _require(np.all(np.isfinite(resources.master_weight)) and np.all(resources.master_weight > 0),
             "master weights must be above 0")  # fmt: skip
    _require(_in_range(resources.share_master, masters), "a share names an unknown master")
    _require(_in_range(resources.share_channel, channels), "a share names an unknown channel")
    pairs = list(zip(resources.share_master.tolist(), resources.share_channel.tolist(), strict=True))
    _require(len(set(pairs)) == len(pairs), "a master has two shares of one channel")
    minimum, maximum = resources.share_minimum, resources.share_maximum
    _require(np.all((minimum >= 0) & (minimum <= maximum) & (maximum > 0) & (maximum <= 1)),
             "shares need 0 <= minimum <= maximum <= 1 and maximum above 0")  # fmt: skip
    guaranteed = np.bincount(resources.share_channel, weights=minimum, minlength=channels)
    _require(np.all(guaranteed <= 1 + 1e-12), "the minimum shares of a channel sum to more than 1")
    _require(np.all(np.diff(resources.route_offsets) > 0), "a route needs at least one channel")
    _require(_in_range(resources.route_channels, channels), "a route names an unknown channel")
    for index in range(resources.num_routes):
        route = resources.route(index)
        _require(len(set(route)) == len(route), "a route crosses a channel twice")


def _check_tasks(program: Program) -> None:
    tasks, resources = program.tasks, program.resources
    count = len(tasks)
    for column in fields(tasks):
        expected = {"predecessor_offsets": count + 1, "predecessors": len(tasks.predecessors)}.get(column.name, count)
        _require(len(getattr(tasks, column.name)) == expected, f"task column {column.name} has the wrong length")
    offsets = program.job_offsets
    _require(len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == count and np.all(np.diff(offsets) > 0),
             "every job needs at least one task")  # fmt: skip
    _require(_in_range(tasks.unit, len(resources.unit_names), allow_none=True), "a task names an unknown unit")
    _require(_in_range(tasks.route, resources.num_routes, allow_none=True), "a task names an unknown route")
    is_transfer = tasks.route != NONE
    _require(not np.any((tasks.unit != NONE) & is_transfer), "a task is both a compute task and a transfer")
    _require(_in_range(tasks.master[is_transfer], len(resources.master_names)), "a transfer names an unknown master")
    _require(np.all(tasks.size_bytes[~is_transfer] == 0), "a task that is no transfer has a size")
    _require(np.all(tasks.work_cycles[tasks.unit == NONE] == 0), "a task without a unit has work")
    _require(np.all(np.isfinite(tasks.work_cycles)) and np.all(tasks.work_cycles >= 0),
             "work must be finite and not negative")  # fmt: skip
    _require(np.all(tasks.size_bytes >= 0), "sizes must not be negative")
    _require(not np.any(np.isnan(tasks.rate_cap_bytes_per_s)) and np.all(tasks.rate_cap_bytes_per_s > 0),
             "rate caps must be above 0 B/s")  # fmt: skip
    starts = tasks.predecessor_offsets
    _require(starts[0] == 0 and starts[-1] == len(tasks.predecessors) and np.all(np.diff(starts) >= 0),
             "predecessor offsets are not a CSR index")  # fmt: skip
    _require(_in_range(tasks.predecessors, count), "a task waits for an unknown task")
    job_of = np.repeat(np.arange(program.num_jobs), np.diff(offsets))
    waiting = np.repeat(np.arange(count), np.diff(starts))
    _require(np.all(job_of[waiting] == job_of[tasks.predecessors]), "an edge leaves its job")
    if np.any(tasks.predecessors >= waiting):  # in index order there can be no cycle; else count it out
        _check_acyclic(tasks)


def _check_acyclic(tasks: Tasks) -> None:
    offsets, successors = tasks.successors
    missing = np.diff(tasks.predecessor_offsets).copy()
    ready = list(np.flatnonzero(missing == 0))
    done = 0
    while ready:
        task = ready.pop()
        done += 1
        for successor in successors[offsets[task] : offsets[task + 1]]:
            missing[successor] -= 1
            if missing[successor] == 0:
                ready.append(successor)
    stuck = np.flatnonzero(missing > 0)
    _require(done == len(tasks), f"the tasks form a cycle through task {stuck[0] if len(stuck) else '?'}")


def _check_streams(program: Program) -> None:
    streams = program.streams
    for column in (streams.policy, streams.queue_depth, streams.in_flight, streams.deadline_ticks):
        _require(len(column) == len(streams), "stream columns differ in length")
    _require(len(streams.release_offsets) == len(streams) + 1, "stream release offsets have the wrong length")
    _require(len(streams.release_tick) == len(streams.release_job) == streams.release_offsets[-1],
             "release columns differ in length")  # fmt: skip
    _require(_in_range(streams.release_job, program.num_jobs), "a release names an unknown job")
    _require(np.all(streams.release_tick >= 0), "releases must not be before time 0")
    for start, stop in zip(streams.release_offsets[:-1], streams.release_offsets[1:], strict=True):
        _require(np.all(np.diff(streams.release_tick[start:stop]) >= 0), "the releases of a stream are not in order")
    _require(np.all((streams.in_flight == NONE) | (streams.in_flight > 0)), "in_flight must be at least 1")
    _require(np.all(streams.queue_depth >= NONE), "queue_depth must not be negative")
    _require(np.all((streams.deadline_ticks == NONE) | (streams.deadline_ticks > 0)), "deadlines must be above 0")


def _check_rest(program: Program) -> None:
    resources, background, changes = program.resources, program.background, program.changes
    _require(_in_range(background.route, resources.num_routes), "a background flow names an unknown route")
    _require(_in_range(background.master, len(resources.master_names)), "a background flow names an unknown master")
    _require(np.all(np.isfinite(background.bytes_per_s)) and np.all(background.bytes_per_s > 0),
             "background rates must be above 0 B/s")  # fmt: skip
    _require(np.all(background.start_tick >= 0), "a background flow starts before time 0")
    _require(np.all((background.stop_tick == NONE) | (background.stop_tick >= background.start_tick)),
             "a background flow stops before it starts")  # fmt: skip
    _require(np.all(np.diff(changes.tick) >= 0) and np.all(changes.tick >= 0), "capacity changes are not in time order")
    _require(np.all((changes.unit == NONE) != (changes.channel == NONE)),
             "a capacity change names a unit or a channel, not both")  # fmt: skip
    _require(_in_range(changes.unit, len(resources.unit_names), allow_none=True), "a change names an unknown unit")
    _require(_in_range(changes.channel, len(resources.channel_names), allow_none=True),
             "a change names an unknown channel")  # fmt: skip
    _require(np.all(np.isfinite(changes.value)) and np.all(changes.value >= 0), "a capacity must be 0 or above")
    occupancies, count = program.occupancies, len(program.tasks)
    _require(_in_range(occupancies.memory, len(resources.memory_names)), "an occupancy names an unknown memory")
    _require(_in_range(occupancies.first_task, count, allow_none=True), "an occupancy names an unknown task")
    _require(_in_range(occupancies.last_task, count, allow_none=True), "an occupancy names an unknown task")
    labels = program.labels
    _require(_in_range(program.tasks.operation, len(labels.operations), allow_none=True), "unknown operation")
    _require(_in_range(program.tasks.cause, len(labels.causes), allow_none=True), "unknown cause")
    _require(_in_range(labels.operation_phase, len(labels.phases)), "an operation names an unknown phase")
