"""ProgramBuilder: writes a Program by hand, one task at a time.

For worked examples, tests and users' own experiments. Lowering does not use it: a model has hundreds of thousands
of tasks, and `simulator.lowering.emit` writes them as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simulator.program.program import (
    NONE,
    Background,
    CapacityChanges,
    DropPolicy,
    Labels,
    Occupancies,
    Program,
    Resources,
    Streams,
    Tasks,
)
from simulator.units import seconds_to_ticks


class ProgramBuilder:
    """Collects resources, tasks, jobs and streams by name; `build` checks and freezes them.

    Tasks belong to the job begun last. A Program without streams gets one, which releases every job once at 0.

    >>> builder = ProgramBuilder()
    >>> builder.unit("npu", clock_hz=1e9)
    >>> load = builder.milestone()
    >>> multiply = builder.compute("npu", work_cycles=1000, after=[load])
    >>> len(builder.build().tasks)
    2
    """

    def __init__(self) -> None:
        self._units: dict[str, tuple[float, int]] = {}
        self._channels: dict[str, float] = {}
        self._masters: dict[str, float] = {}
        self._shares: list[tuple[str, str, float, float, bool]] = []
        self._budgets: list[tuple[str, str, float, int]] = []
        self._routes: dict[tuple[tuple[str, ...], tuple[float, ...]], int] = {}
        self._memories: dict[str, int] = {}
        self._rows: list[tuple[int, float, int, int, int, float, int, int]] = []
        self._after: list[list[int]] = []
        self._job_starts: list[int] = []
        self._streams: list[tuple[str, list[int], list[int], DropPolicy, int, int, int]] = []
        self._background: list[tuple[str, int, str, float, int, int]] = []
        self._changes: list[tuple[int, str | None, str | None, float]] = []
        self._occupancies: list[tuple[str, int, int, int, str]] = []
        self._phases: list[str] = []

    # resources -------------------------------------------------------------------------------------------------

    def unit(self, name: str, *, clock_hz: float, slots: int = 1) -> None:
        """Adds a unit that serves `slots` tasks at a time."""
        self._units[name] = (clock_hz, slots)

    def channel(self, name: str, *, bytes_per_s: float) -> None:
        """Adds a channel."""
        self._channels[name] = bytes_per_s

    def master(self, name: str, *, weight: float = 1.0) -> None:
        """Adds a master; one named `"default"` is added if transfers name none."""
        self._masters[name] = weight

    def share(
        self, master: str, channel: str, *, minimum: float = 0.0, maximum: float = 1.0, is_soft: bool = False
    ) -> None:
        """Guarantees and bounds what a master gets of a channel, as fractions of its capacity."""
        self._shares.append((master, channel, minimum, maximum, is_soft))

    def budget(self, master: str, channel: str, *, size_bytes: float, period_ticks: int) -> None:
        """Bounds what a master takes of a channel in each period."""
        self._budgets.append((master, channel, size_bytes, period_ticks))

    def memory(self, name: str, *, size_bytes: int) -> None:
        """Adds a memory, for occupancies."""
        self._memories[name] = size_bytes

    def background(
        self, name: str, channels: Sequence[str], *, bytes_per_s: float, master: str = "default",
        start_tick: int = 0, stop_tick: int = NONE, usage: Sequence[float] = (),
    ) -> None:  # fmt: skip
        """Adds an endless flow that asks for `bytes_per_s`."""
        route = self._route(channels, usage)
        self._background.append((name, route, self._master(master), bytes_per_s, start_tick, stop_tick))

    def change(self, tick: int, *, unit: str | None = None, channel: str | None = None, value: float) -> None:
        """Changes a unit's clock (Hz) or a channel's capacity (bytes/s) at a tick."""
        self._changes.append((tick, unit, channel, value))

    # tasks -----------------------------------------------------------------------------------------------------

    def phase(self, name: str) -> None:
        """Begins a phase: tasks added from now on belong to it."""
        self._phases.append(name)

    def job(self) -> int:
        """Begins a new job and returns its index. Without a call all tasks are in job 0."""
        if not self._job_starts and self._rows:
            self._job_starts.append(0)
        self._job_starts.append(len(self._rows))
        return len(self._job_starts) - 1

    def compute(self, unit: str, *, work_cycles: float, after: Sequence[int] = (), priority: int = 0) -> int:
        """Adds a compute task and returns its index."""
        return self._task((self._index(self._units, unit), work_cycles, NONE, 0, NONE, math.inf, priority), after)

    def transfer(
        self, channels: Sequence[str], *, size_bytes: int, after: Sequence[int] = (), master: str = "default",
        rate_cap_bytes_per_s: float = math.inf, priority: int = 0, usage: Sequence[float] = (),
    ) -> int:  # fmt: skip
        """Adds a transfer over every channel named, a byte of which takes `usage` of it; returns its index."""
        row = (NONE, 0.0, self._route(channels, usage), size_bytes, self._index(self._masters, self._master(master)),
               rate_cap_bytes_per_s, priority)  # fmt: skip
        return self._task(row, after)

    def milestone(self, *, after: Sequence[int] = ()) -> int:
        """Adds a task that takes no time and returns its index."""
        return self._task((NONE, 0.0, NONE, 0, NONE, math.inf, 0), after)

    def occupy(self, memory: str, size_bytes: int, *, first_task: int = NONE, last_task: int = NONE,
               label: str = "") -> None:  # fmt: skip
        """Records that space is held from the start of one task to the end of another."""
        self._occupancies.append((memory, size_bytes, first_task, last_task, label))

    # streams ---------------------------------------------------------------------------------------------------

    def stream(
        self, name: str, *, job: int = 0, period_ticks: int = 0, releases: int = 1, offset_ticks: int = 0,
        policy: DropPolicy = DropPolicy.FIFO, queue_depth: int = NONE, in_flight: int = 1,
        deadline_ticks: int = NONE,
    ) -> None:  # fmt: skip
        """Adds a periodic stream: release n happens at `offset_ticks + n * period_ticks`."""
        ticks = [offset_ticks + number * period_ticks for number in range(releases)]
        self.stream_at(name, ticks, [job] * releases, policy=policy, queue_depth=queue_depth,
                       in_flight=in_flight, deadline_ticks=deadline_ticks)  # fmt: skip

    def stream_at(
        self, name: str, ticks: Sequence[int], jobs: Sequence[int], *, policy: DropPolicy = DropPolicy.FIFO,
        queue_depth: int = NONE, in_flight: int = 1, deadline_ticks: int = NONE,
    ) -> None:  # fmt: skip
        """Adds a stream with a list of release times, each with the job it runs."""
        self._streams.append((name, list(ticks), list(jobs), policy, queue_depth, in_flight, deadline_ticks))

    # build -----------------------------------------------------------------------------------------------------

    def build(self) -> Program:
        """The Program.

        Raises:
            SpecError: when a rule of `Program` is broken.
        """
        starts = self._job_starts or [0]
        if not self._streams:
            self.stream_at("once", [0] * len(starts), list(range(len(starts))), in_flight=NONE)
        return Program(
            resources=self._resources(),
            tasks=self._tasks(),
            job_offsets=np.asarray([*starts, len(self._rows)], dtype=np.int64),
            streams=self._frozen_streams(),
            background=self._frozen_background(),
            changes=self._frozen_changes(),
            occupancies=self._frozen_occupancies(),
            labels=self._labels(),
        )

    def _resources(self) -> Resources:
        masters, channels = list(self._masters), list(self._channels)
        routes = list(self._routes)
        return Resources(
            unit_names=tuple(self._units),
            unit_clock_hz=np.array([clock for clock, _ in self._units.values()], dtype=np.float64),
            unit_slots=np.array([slots for _, slots in self._units.values()], dtype=np.int64),
            channel_names=tuple(channels),
            channel_bytes_per_s=np.array(list(self._channels.values()), dtype=np.float64),
            master_names=tuple(masters),
            master_weight=np.array(list(self._masters.values()), dtype=np.float64),
            share_master=np.array([masters.index(row[0]) for row in self._shares], dtype=np.int64),
            share_channel=np.array([channels.index(row[1]) for row in self._shares], dtype=np.int64),
            share_minimum=np.array([row[2] for row in self._shares], dtype=np.float64),
            share_maximum=np.array([row[3] for row in self._shares], dtype=np.float64),
            share_is_soft=np.array([row[4] for row in self._shares], dtype=np.bool_),
            budget_master=np.array([masters.index(row[0]) for row in self._budgets], dtype=np.int64),
            budget_channel=np.array([channels.index(row[1]) for row in self._budgets], dtype=np.int64),
            budget_bytes=np.array([row[2] for row in self._budgets], dtype=np.float64),
            budget_period_ticks=np.array([row[3] for row in self._budgets], dtype=np.int64),
            route_offsets=np.cumsum([0, *(len(names) for names, _ in routes)], dtype=np.int64),
            route_channels=np.array([channels.index(name) for names, _ in routes for name in names], dtype=np.int64),
            route_usage=np.array([each for _, usage in routes for each in usage], dtype=np.float64),
            memory_names=tuple(self._memories),
            memory_bytes=np.array(list(self._memories.values()), dtype=np.int64),
        )

    def _tasks(self) -> Tasks:
        columns = list(zip(*self._rows, strict=True)) or [()] * 8
        nothing = np.full(len(self._rows), NONE, dtype=np.int64)
        return Tasks(
            unit=np.array(columns[0], dtype=np.int64),
            work_cycles=np.array(columns[1], dtype=np.float64),
            route=np.array(columns[2], dtype=np.int64),
            size_bytes=np.array(columns[3], dtype=np.int64),
            master=np.array(columns[4], dtype=np.int64),
            rate_cap_bytes_per_s=np.array(columns[5], dtype=np.float64),
            priority=np.array(columns[6], dtype=np.int64),
            predecessor_offsets=np.cumsum([0, *(len(after) for after in self._after)], dtype=np.int64),
            predecessors=np.array([task for after in self._after for task in after], dtype=np.int64),
            operation=np.array(columns[7], dtype=np.int64),
            cause=nothing,
            layer=nothing,
            step=nothing,
        )

    def _frozen_streams(self) -> Streams:
        return Streams(
            names=tuple(row[0] for row in self._streams),
            release_offsets=np.cumsum([0, *(len(row[1]) for row in self._streams)], dtype=np.int64),
            release_tick=np.array([tick for row in self._streams for tick in row[1]], dtype=np.int64),
            release_job=np.array([job for row in self._streams for job in row[2]], dtype=np.int64),
            policy=np.array([row[3] for row in self._streams], dtype=np.int64),
            queue_depth=np.array([row[4] for row in self._streams], dtype=np.int64),
            in_flight=np.array([row[5] for row in self._streams], dtype=np.int64),
            deadline_ticks=np.array([row[6] for row in self._streams], dtype=np.int64),
        )

    def _frozen_background(self) -> Background:
        rows = self._background
        return Background(
            names=tuple(row[0] for row in rows),
            route=np.array([row[1] for row in rows], dtype=np.int64),
            master=np.array([list(self._masters).index(row[2]) for row in rows], dtype=np.int64),
            bytes_per_s=np.array([row[3] for row in rows], dtype=np.float64),
            start_tick=np.array([row[4] for row in rows], dtype=np.int64),
            stop_tick=np.array([row[5] for row in rows], dtype=np.int64),
        )

    def _frozen_changes(self) -> CapacityChanges:
        rows = sorted(self._changes, key=lambda row: row[0])
        units, channels = list(self._units), list(self._channels)
        return CapacityChanges(
            tick=np.array([row[0] for row in rows], dtype=np.int64),
            unit=np.array([NONE if row[1] is None else units.index(row[1]) for row in rows], dtype=np.int64),
            channel=np.array([NONE if row[2] is None else channels.index(row[2]) for row in rows], dtype=np.int64),
            value=np.array([row[3] for row in rows], dtype=np.float64),
        )

    def _frozen_occupancies(self) -> Occupancies:
        memories, rows = list(self._memories), self._occupancies
        return Occupancies(
            memory=np.array([memories.index(row[0]) for row in rows], dtype=np.int64),
            size_bytes=np.array([row[1] for row in rows], dtype=np.int64),
            first_task=np.array([row[2] for row in rows], dtype=np.int64),
            last_task=np.array([row[3] for row in rows], dtype=np.int64),
            label=tuple(row[4] for row in rows),
        )

    def _labels(self) -> Labels:
        count = len(self._phases)
        return Labels(
            phases=tuple(self._phases),
            operations=tuple(self._phases),
            operation_phase=np.arange(count, dtype=np.int64),
            operation_flop=np.zeros(count, dtype=np.int64),
            phase_tokens=np.zeros(count, dtype=np.int64),
        )

    def _task(self, row: tuple[int, float, int, int, int, float, int], after: Sequence[int]) -> int:
        self._rows.append((*row, len(self._phases) - 1))
        self._after.append(list(after))
        return len(self._rows) - 1

    def _route(self, channels: Sequence[str], usage: Sequence[float]) -> int:
        for name in channels:
            self._index(self._channels, name)
        route = (tuple(channels), tuple(usage) or (1.0,) * len(channels))
        return self._routes.setdefault(route, len(self._routes))

    def _master(self, name: str) -> str:
        if name == "default":
            self._masters.setdefault(name, 1.0)
        self._index(self._masters, name)
        return name

    @staticmethod
    def _index(table: dict[str, float] | dict[str, tuple[float, int]], name: str) -> int:
        return list(table).index(name)


def period_ticks(rate_hz: float) -> int:
    """The period of a rate in ticks, rounded up once.

    >>> period_ticks(10.0)
    100000000000
    """
    return seconds_to_ticks(1.0 / rate_hz)
