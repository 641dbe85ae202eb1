"""What the reference engine keeps while it runs: units, streams, jobs, tasks in progress, capacities to come.

Plain state with the few rules that concern one object alone. When things happen is decided in `reference`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from simulator.engine.fabric import ActiveFlow
from simulator.program import NONE, DropPolicy, Program


class Unit:
    """A unit with its free slots and its queue."""

    __slots__ = ("clock_hz", "free_slots", "name", "process", "running", "waiting")

    def __init__(self, name: str, clock_hz: float, slots: int, process: Any) -> None:
        self.name = name
        self.clock_hz = clock_hz
        self.free_slots = slots
        self.process = process
        """The user's own process that serves its tasks, or None."""
        self.running: list[Started] = []
        self.waiting: list[tuple[int, int, int, int, Job]] = []
        """Heap of (priority, ready tick, task, release, job)."""


class Stream:
    """A stream with the number of its jobs in flight and the releases that wait."""

    __slots__ = ("_most_in_flight", "_most_waiting", "_policy", "in_flight", "waiting")

    def __init__(self, policy: int, queue_depth: int, most_in_flight: int) -> None:
        self._policy = policy
        self._most_waiting = math.inf if queue_depth == NONE else queue_depth
        self._most_in_flight = math.inf if most_in_flight == NONE else most_in_flight
        self.in_flight = 0
        self.waiting: deque[int] = deque()

    def is_busy(self) -> bool:
        """Whether a release has to wait or is dropped."""
        return self.in_flight >= self._most_in_flight

    def turn_away(self, release: int) -> int:
        """Lets a release that finds the stream busy wait; returns the release that is dropped for it, or NONE."""
        dropped = NONE
        if self._policy == DropPolicy.LATEST:
            if self.waiting:
                dropped = self.waiting.pop()
            self.waiting.append(release)
        elif self._policy == DropPolicy.FIFO and len(self.waiting) < self._most_waiting:
            self.waiting.append(release)
        else:
            dropped = release
        return dropped


class Job:
    """A release in flight: how many predecessors each of its tasks still misses."""

    __slots__ = ("first_task", "missing", "num_left", "release")

    def __init__(self, release: int, first_task: int, missing: list[int]) -> None:
        self.release = release
        self.first_task = first_task
        self.missing = missing
        self.num_left = len(missing)


class Started:
    """A task between its start and its end."""

    __slots__ = ("end_tick", "ending", "flow", "job", "ready_tick", "start_tick", "task", "unit", "work_left")

    def __init__(self, task: int, job: Job, ready_tick: int, start_tick: int) -> None:
        self.task = task
        self.job = job
        self.ready_tick = ready_tick
        self.start_tick = start_tick
        self.unit: Unit | None = None
        self.flow: ActiveFlow | None = None
        self.ending: object = None
        """The moment at which it will end, if there is one; earlier moments of the same task are stale."""
        self.end_tick = 0
        self.work_left = 0.0
        """In ticks * hertz; up to date whenever there is no `ending`."""


class Change(NamedTuple):
    """Everything about capacities that changes at one tick."""

    tick: int
    clock_hz: dict[int, float]
    """By unit."""
    bytes_per_s: dict[int, float]
    """By channel."""
    background_starts: list[int]
    background_stops: list[int]


def capacity_changes(program: Program) -> Iterator[Change]:
    """The capacity changes and background flows of a Program, tick by tick."""
    changes, background = program.changes, program.background
    for tick in np.unique(np.concatenate([changes.tick, background.start_tick, background.stop_tick])).tolist():
        if tick == NONE:
            continue
        rows = slice(*np.searchsorted(changes.tick, (tick, tick + 1)))
        # A dict keeps the last value of each resource: the later row wins.
        clock_hz = dict(zip(changes.unit[rows].tolist(), changes.value[rows].tolist(), strict=True))
        bytes_per_s = dict(zip(changes.channel[rows].tolist(), changes.value[rows].tolist(), strict=True))
        clock_hz.pop(NONE, None)
        bytes_per_s.pop(NONE, None)
        yield Change(
            tick,
            clock_hz,
            bytes_per_s,
            np.flatnonzero(background.start_tick == tick).tolist(),
            np.flatnonzero(background.stop_tick == tick).tolist(),
        )
