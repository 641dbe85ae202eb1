"""The reference engine: SimPy, and the definition of what is right. Clarity before speed.

How the contract of `simulator.engine.interface` maps to SimPy, which orders its events by (time, priority, order of
creation): the time is the tick; the priority is the step of a round, with one more step that leads to the next
round; and the order of creation never decides anything, because whatever happens in one step commutes. Releases and
capacity changes are SimPy processes. Completions are plain SimPy events with a callback: a process per task would cost
five times as much.

A unit of your own is a SimPy process per task. The engine keeps the queue and the slots of the unit; the process says
how long a task holds its slot, and may wait for anything in the same environment:

    def array_with_warm_up(env, task):
        yield env.timeout(2_000)                                              # 2 ns to fill the array
        yield env.timeout(cycles_to_ticks(task.work_cycles, task.clock_hz))

    ReferenceEngine(unit_processes={"npu": array_with_warm_up}).run(program)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

import numpy as np
import simpy
from simpy.events import EventPriority

from simulator.engine.budgets import Budget
from simulator.engine.fabric import ActiveFlow, Fabric
from simulator.engine.interface import LAST_TICK, MOST_IDLE_PERIODS, Progress
from simulator.engine.record import Record
from simulator.engine.state import Job, Started, Stream, Unit, capacity_changes
from simulator.errors import EngineError, Infeasible, SpecError, nearest
from simulator.program import NONE, Program
from simulator.timeline import ReleaseStatus, Timeline
from simulator.units import TICKS_PER_SECOND, ceil_ticks, format_quantity, ticks_to_seconds

# The five steps of a round and the way to the next one, as SimPy priorities. SimPy's own priorities are 0, at which it
# begins a process, and 1 for everything else, such as the timeout that completes a task of a user's process.
_COMPLETION, _CHANGE, _RELEASE, _START, _RATE, _NEXT_ROUND = range(1, 7)

_TASKS_PER_PROGRESS: Final = 20_000


class ServedTask(NamedTuple):
    """What the process of a unit is told about the task that it serves."""

    task: int
    release: int
    work_cycles: float
    clock_hz: float
    """Clock of the unit when the task starts."""


UnitProcess = Callable[[simpy.Environment, ServedTask], Generator[simpy.Event, Any, Any]]
"""Serves one task on a unit: ends when the task has ended. Must wait whole ticks."""


class ReferenceEngine:
    """Runs Programs on SimPy. See `simulator.engine.interface` for the contract."""

    name = "reference"

    def __init__(self, *, unit_processes: Mapping[str, UnitProcess] | None = None) -> None:
        self._unit_processes = dict(unit_processes or {})

    def run(self, program: Program, *, until_tick: int | None = None, progress: Progress | None = None) -> Timeline:
        """Runs a Program, see `simulator.engine.interface.Engine.run`."""
        if until_tick is not None and until_tick < 0:
            raise SpecError(f"until_tick must be 0 or above, got {until_tick}")
        names = program.resources.unit_names
        for name in self._unit_processes:
            if name not in names:
                raise SpecError(f'unit_processes: the program has no unit "{name}"', hint=nearest(name, names))
        return _Run(program, self._unit_processes, progress).until(until_tick)


class _Moment(simpy.Event):
    """An event at a place within a tick; `subject` is what its callback works on."""

    def __init__(self, env: simpy.Environment, delay_ticks: float, priority: int, subject: Any = None) -> None:
        super().__init__(env)
        self.subject = subject
        self._ok = True
        self._value = None
        env.schedule(self, EventPriority(priority), delay_ticks)


class _Run:
    """One run of a Program: the state of all resources, and the five steps of a round."""

    def __init__(self, program: Program, unit_processes: Mapping[str, UnitProcess], progress: Progress | None) -> None:
        self._program = program
        self._progress = progress
        self._env = simpy.Environment()
        resources, tasks, streams = program.resources, program.tasks, program.streams
        self._units = [
            Unit(name, clock_hz, slots, unit_processes.get(name))
            for name, clock_hz, slots in zip(
                resources.unit_names, resources.unit_clock_hz.tolist(), resources.unit_slots.tolist(), strict=True
            )
        ]
        policies = (streams.policy.tolist(), streams.queue_depth.tolist(), streams.in_flight.tolist())
        self._streams = [Stream(*row) for row in zip(*policies, strict=True)]
        self._fabric = Fabric(program)
        self._record = Record(program)
        self._num_open = len(streams.release_tick)
        """Releases that are not yet completed or dropped."""
        self._num_ended = 0
        # Columns as lists: indexing a list is many times faster than indexing an array.
        self._unit_of: list[int] = tasks.unit.tolist()
        self._work_cycles: list[float] = tasks.work_cycles.tolist()
        self._size_bytes: list[int] = tasks.size_bytes.tolist()
        self._priority: list[int] = tasks.priority.tolist()
        self._missing: list[int] = np.diff(tasks.predecessor_offsets).tolist()
        self._successor_offsets, self._successors = (column.tolist() for column in tasks.successors)
        self._job_offsets: list[int] = program.job_offsets.tolist()
        self._roots: dict[int, list[int]] = {}
        self._release_job: list[int] = streams.release_job.tolist()
        self._release_stream: list[int] = streams.release_stream.tolist()
        # Where we are, and what the next steps of this tick have to do.
        self._tick = 0
        self._is_past_starts = False
        self._ends_next_round: list[Started] = []
        self._ready: list[tuple[int, Job]] = []
        self._contended: set[int] = set()
        self._has_starts = False
        self._has_rates = False
        self._to_come: list[simpy.Process] = []
        """What happens from outside: releases and capacity changes."""
        self._awaited_tick: dict[Budget, float] = {}

    def until(self, until_tick: int | None) -> Timeline:
        """Runs to the end, or to just before a tick, and returns the record."""
        self._to_come = [self._env.process(self._release_jobs()), self._env.process(self._change_capacities())]
        if until_tick is None:
            horizon_tick = self._run_to_the_end() if self._num_open else 0
        else:
            horizon_tick = until_tick
            while self._env.peek() < until_tick:
                self._env.step()
        self._record_cut_off(horizon_tick)
        background_bytes = self._fabric.background_bytes(horizon_tick)
        return self._record.timeline(ReferenceEngine.name, horizon_tick, self._fabric.rate_rows(), background_bytes)

    def _run_to_the_end(self) -> int:
        env = self._env
        while self._num_open:
            if env.peek() == math.inf or (self._fabric.budgets and self._stands_still(env.peek())):
                raise self._stall()
            env.step()
        while env.peek() == self._tick:
            env.step()
        return self._tick

    # the order within a tick -----------------------------------------------------------------------------------

    def _enter_tick(self) -> None:
        now: Any = self._env.now
        if self._tick != now:
            if now > LAST_TICK:
                raise Infeasible(
                    "program: takes longer than time can be counted in picoseconds",
                    demand=now / TICKS_PER_SECOND, bound=LAST_TICK / TICKS_PER_SECOND, unit="s",
                    hint="look for a rate that is many orders of magnitude too low",
                )  # fmt: skip
            self._tick = now
            self._is_past_starts = False

    def _demand_starts(self) -> None:
        if not self._has_starts:
            self._has_starts = True
            _Moment(self._env, 0, _START).callbacks.append(self._start)

    def _demand_rates(self) -> None:
        if not self._has_rates:
            self._has_rates = True
            _Moment(self._env, 0, _RATE).callbacks.append(self._share)

    def _end_after(self, started: Started, ticks: float) -> None:
        """Lets a task end so many ticks from now, or in the next round of this tick, or never."""
        started.ending = None
        if ticks >= LAST_TICK:
            return
        delay_ticks = ceil_ticks(ticks)
        if delay_ticks == 0:
            self._end_next_round(started)
            return
        started.end_tick = self._tick + delay_ticks
        moment = _Moment(self._env, delay_ticks, _COMPLETION, started)
        moment.callbacks.append(self._end_due)
        started.ending = moment

    def _end_next_round(self, started: Started) -> None:
        if not self._ends_next_round:
            _Moment(self._env, 0, _NEXT_ROUND).callbacks.append(self._begin_round)
        self._ends_next_round.append(started)

    def _begin_round(self, _: simpy.Event) -> None:
        ending, self._ends_next_round = self._ends_next_round, []
        for started in ending:
            self._end(started)

    # step 1: completions ---------------------------------------------------------------------------------------

    def _end_due(self, moment: Any) -> None:
        started: Started = moment.subject
        if started.ending is moment:
            self._enter_tick()
            self._end(started)

    def _end_served(self, _: simpy.Event, unit: Unit, started: Started) -> None:
        """Ends a task that a process served: at once, or in the next round if this tick is past its starts."""
        if not isinstance(self._env.now, int):
            raise SpecError(f'the process of unit "{unit.name}" must wait whole ticks, the time is {self._env.now}')
        self._enter_tick()
        if self._is_past_starts:
            self._end_next_round(started)
        else:
            self._end(started)

    def _end(self, started: Started) -> None:
        task, job = started.task, started.job
        if started.unit is not None:
            started.unit.free_slots += 1
            started.unit.running.remove(started)
            if started.unit.waiting:
                self._contended.add(self._unit_of[task])
                self._demand_starts()
        elif started.flow is not None:
            self._fabric.end(started.flow)
            self._demand_rates()
        self._record.add_task(started, self._tick, self._size_bytes[task])
        missing, first_task = job.missing, job.first_task
        for successor in self._successors[self._successor_offsets[task] : self._successor_offsets[task + 1]]:
            missing[successor - first_task] -= 1
            if missing[successor - first_task] == 0:
                self._make_ready(successor, job)
        job.num_left -= 1
        if job.num_left == 0:
            self._complete_job(job.release)
        self._num_ended += 1
        if self._progress is not None and self._num_ended % _TASKS_PER_PROGRESS == 0:
            self._progress(self._tick, self._num_ended)

    def _complete_job(self, release: int) -> None:
        self._record.release_status[release] = ReleaseStatus.COMPLETED
        self._record.release_end_tick[release] = self._tick
        self._num_open -= 1
        stream = self._streams[self._release_stream[release]]
        stream.in_flight -= 1
        if stream.waiting:  # step 2 touches no job, so the place that step 3 would give it can be given now
            self._start_job(stream.waiting.popleft(), stream)

    # step 2: capacity changes ----------------------------------------------------------------------------------

    def _change_capacities(self) -> Generator[simpy.Event, Any, None]:
        for change in capacity_changes(self._program):
            yield _Moment(self._env, change.tick - self._env.now, _CHANGE)
            self._enter_tick()
            for unit, clock_hz in change.clock_hz.items():
                self._set_clock(self._units[unit], clock_hz)
            for channel, bytes_per_s in change.bytes_per_s.items():
                self._fabric.set_capacity(channel, bytes_per_s)
            for index in change.background_starts:
                self._fabric.begin_background(index)
            for index in change.background_stops:
                self._fabric.end_background(index, change.tick)
            if change.bytes_per_s or change.background_starts or change.background_stops:
                self._demand_rates()

    def _set_clock(self, unit: Unit, clock_hz: float) -> None:
        if clock_hz == unit.clock_hz:
            return
        if unit.process is None:
            for started in unit.running:
                if started.ending is not None:
                    started.work_left = (started.end_tick - self._tick) * unit.clock_hz
                    started.ending = None
                if clock_hz > 0:
                    self._end_after(started, started.work_left / clock_hz)
        unit.clock_hz = clock_hz

    def _change_budget(self, moment: Any) -> None:
        budget: Budget = moment.subject
        if budget.due_tick == self._env.now:
            self._enter_tick()
            if self._fabric.turn(budget, self._tick):
                self._demand_rates()
            self._await_budget(budget)

    def _await_budget(self, budget: Budget) -> None:
        if budget.due_tick != math.inf and self._awaited_tick.get(budget) != budget.due_tick:
            self._awaited_tick[budget] = budget.due_tick
            moment = _Moment(self._env, budget.due_tick - self._tick, _CHANGE, budget)
            moment.callbacks.append(self._change_budget)

    # step 3: releases ------------------------------------------------------------------------------------------

    def _release_jobs(self) -> Generator[simpy.Event, Any, None]:
        release_tick = self._program.streams.release_tick
        order = np.argsort(release_tick, kind="stable")  # at equal ticks by stream, then by number
        reached = NONE
        for release, tick in zip(order.tolist(), release_tick[order].tolist(), strict=True):
            if tick != reached:
                yield _Moment(self._env, tick - self._env.now, _RELEASE)
                reached = tick
                self._enter_tick()
            self._release(release, self._streams[self._release_stream[release]])

    def _release(self, release: int, stream: Stream) -> None:
        if not stream.is_busy():
            self._start_job(release, stream)
            return
        self._record.release_status[release] = ReleaseStatus.WAITING
        dropped = stream.turn_away(release)
        if dropped != NONE:
            self._record.release_status[dropped] = ReleaseStatus.DROPPED
            self._num_open -= 1

    def _start_job(self, release: int, stream: Stream) -> None:
        stream.in_flight += 1
        self._record.release_status[release] = ReleaseStatus.IN_FLIGHT
        self._record.release_start_tick[release] = self._tick
        number = self._release_job[release]
        first_task, end_task = self._job_offsets[number], self._job_offsets[number + 1]
        job = Job(release, first_task, self._missing[first_task:end_task])
        if number not in self._roots:
            self._roots[number] = [first_task + place for place, count in enumerate(job.missing) if count == 0]
        for task in self._roots[number]:
            self._make_ready(task, job)

    def _make_ready(self, task: int, job: Job) -> None:
        unit = self._unit_of[task]
        if unit == NONE:
            self._ready.append((task, job))
        else:
            heappush(self._units[unit].waiting, (self._priority[task], self._tick, task, job.release, job))
            self._contended.add(unit)
        self._demand_starts()

    # step 4: starts --------------------------------------------------------------------------------------------

    def _start(self, _: simpy.Event) -> None:
        self._has_starts = False
        self._is_past_starts = True
        for task, job in self._ready:
            started = Started(task, job, self._tick, self._tick)
            if self._size_bytes[task] == 0:
                self._end_next_round(started)
            else:
                self._begin_transfer(started)
        self._ready.clear()
        for index in self._contended:
            unit = self._units[index]
            while unit.free_slots and unit.waiting:
                _priority, ready_tick, task, _release, job = heappop(unit.waiting)
                self._serve(unit, Started(task, job, ready_tick, self._tick))
        self._contended.clear()

    def _begin_transfer(self, started: Started) -> None:
        task, release = started.task, started.job.release
        kind, size_bytes = self._fabric.kind_of_task[task], self._size_bytes[task]
        started.flow = ActiveFlow((task, release), kind, size_bytes, self._tick, owner=started)
        self._fabric.begin(started.flow)
        self._demand_rates()

    def _serve(self, unit: Unit, started: Started) -> None:
        started.unit = unit
        unit.free_slots -= 1
        unit.running.append(started)
        work_cycles = self._work_cycles[started.task]
        if unit.process is not None:
            served = ServedTask(started.task, started.job.release, work_cycles, unit.clock_hz)
            process = self._env.process(unit.process(self._env, served))
            process.callbacks.append(partial(self._end_served, unit=unit, started=started))
        elif work_cycles == 0:
            self._end_next_round(started)
        else:
            started.work_left = work_cycles * TICKS_PER_SECOND
            if unit.clock_hz > 0:
                self._end_after(started, started.work_left / unit.clock_hz)

    # step 5: rates ---------------------------------------------------------------------------------------------

    def _share(self, _: simpy.Event) -> None:
        self._has_rates = False
        for flow in self._fabric.share(self._tick):
            started: Any = flow.owner
            if flow.rate_bytes_per_s > 0:
                self._end_after(started, flow.left_bytes / flow.rate_bytes_per_s * TICKS_PER_SECOND)
            else:
                started.ending = None
        for budget in self._fabric.budgets:
            self._await_budget(budget)

    # the end ---------------------------------------------------------------------------------------------------

    def _record_cut_off(self, horizon_tick: int) -> None:
        """Records the tasks that have started and not ended."""
        started: Any
        for unit in self._units:
            for started in unit.running:
                self._record.add_task(started, NONE, 0)
        for flow in self._fabric.transfers:
            flow.settle(horizon_tick)
            started = flow.owner
            self._record.add_task(started, NONE, self._size_bytes[started.task] - flow.left_bytes)

    def _stands_still(self, tick: float) -> bool:
        """Whether nothing but budgets has changed for long when this tick comes, and nothing else is to come."""
        if tick == self._tick or any(process.is_alive for process in self._to_come):
            return False
        flows: list[Any] = self._fabric.transfers
        if any(started.ending is not None or unit.process is not None
               for unit in self._units for started in unit.running):  # fmt: skip
            return False
        if any(flow.owner.ending is not None for flow in flows):
            return False
        since_tick = max((flow.since_tick for flow in flows), default=-math.inf)
        longest_ticks = max(budget.period_ticks for budget in self._fabric.budgets)
        return tick - since_tick > MOST_IDLE_PERIODS * longest_ticks

    def _stall(self) -> Infeasible | EngineError:
        """Why nothing happens any more although jobs are open."""
        when = f"from {ticks_to_seconds(self._tick):g} s on"
        for flow in self._fabric.transfers:
            name = self._program.resources.channel_names[self._fabric.bottleneck(flow)]
            rate = format_quantity(flow.rate_bytes_per_s, "B/s")
            return Infeasible(
                f'program: task {flow.key[0]} can never end: channel "{name}" gives it {rate} {when}',
                demand=flow.left_bytes, bound=0.0, unit="B",
                hint="raise the capacity of the channel, or leave room beside the guaranteed shares",
            )  # fmt: skip
        for unit in self._units:
            for started in unit.running:
                clock = f"has a clock of {format_quantity(unit.clock_hz, 'Hz')} {when}"
                why = clock if unit.process is None else "has a process that never ends it"
                return Infeasible(
                    f'program: task {started.task} can never end: unit "{unit.name}" {why}',
                    demand=self._work_cycles[started.task], bound=0.0, unit="cycles",
                    hint="let a later capacity change give the unit a clock again",
                )  # fmt: skip
        return EngineError("jobs are open, but no task is running")
