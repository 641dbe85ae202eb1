"""The compiled engine: the contract of `simulator.engine.interface` in machine code, for Programs of many tasks.

It does exactly what the reference engine does, tick by tick and bit by bit, which `tests/differential` holds it to. The
work is done by `simulator.engine.kernel`; here is what goes in and what comes out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import numpy as np

from simulator.compiled import told
from simulator.engine.interface import LAST_TICK, Progress
from simulator.engine.kernel import state as place
from simulator.engine.kernel.results import write_columns
from simulator.engine.kernel.rounds import FINISHED, NEEDS_ROOM, PAUSED, STALLED, TOO_LONG, run
from simulator.engine.kernel.state import (
    BACKGROUND_MOVED,
    CHILD,
    END,
    FIRST_ROW,
    LEFT,
    NEXT,
    RATE,
    RELEASE,
    ROW,
    SHIFT,
    START,
    STATUS,
    TEMPLATE,
    State,
    initial_state,
    no_snapshots,
    with_room,
)
from simulator.engine.kernel.tables import AMOUNT, KIND, UNIT, Tables, tables_of
from simulator.errors import EngineError, Infeasible, SpecError
from simulator.program import NONE, Program
from simulator.program.columns import Ints
from simulator.timeline import Timeline
from simulator.units import TICKS_PER_SECOND, format_quantity, ticks_to_seconds

_TASKS_PER_SLICE: Final = 2_000_000
"""After so many tasks the engine looks up: it reports progress and can be interrupted."""
_MOST_ROWS_AT_FIRST: Final = 2**25
_RATES_AT_FIRST: Final = 2
"""Rate rows per task. Room that is not used costs nothing, as long as the memory is not touched."""

COMPILES: Final = "compiling the engine, once per installation (about a minute)"


class CompiledEngine:
    """Runs Programs in machine code. See `simulator.engine.interface` for the contract.

    Args:
        replays: copy layers that repeat exactly instead of running them; the Timeline is the same.
        tell: what to do with a message, such as that the engine is being compiled; by default it goes to stderr.
    """

    name = "compiled"

    def __init__(self, *, replays: bool = True, tell: Callable[[str], None] | None = None) -> None:
        self._replays = replays
        self._tell = tell or _to_stderr
        self.num_replayed = 0
        """Tasks of the last run that were copied."""

    def run(self, program: Program, *, until_tick: int | None = None, progress: Progress | None = None) -> Timeline:
        """Runs a Program, see `simulator.engine.interface.Engine.run`."""
        if until_tick is not None and until_tick < 0:
            raise SpecError(f"until_tick must be 0 or above, got {until_tick}")
        with told(lambda: self._tell(COMPILES)):
            tables = tables_of(program)
            state = self._run(program, tables, NONE if until_tick is None else until_tick, progress)
            self.num_replayed = int(state.number[place.NUM_REPLAYED])
            horizon_tick = max(int(state.number[place.NOW]), 0) if until_tick is None else until_tick
            return _timeline(program, tables, state, horizon_tick)

    def _run(self, program: Program, tables: Tables, until_tick: int, progress: Progress | None) -> State:
        tasks = int(np.sum(np.diff(program.job_offsets)[program.streams.release_job]))
        longest = int(tables.longest_job[0])
        num_rows = min(tasks, max(longest, _MOST_ROWS_AT_FIRST))
        state = initial_state(program, tables, num_rows=num_rows, num_records=min(tasks, 2 * longest),
                              num_rates=_RATES_AT_FIRST * num_rows)  # fmt: skip
        snapshots, pause_after = no_snapshots(program, tables), _TASKS_PER_SLICE
        while True:
            reason = run(tables, state, snapshots, until_tick, pause_after, self._replays)
            if reason == FINISHED:
                return state
            if reason == NEEDS_ROOM:
                state = with_room(state)
            elif reason == STALLED:
                raise _stall(program, tables, state)
            elif reason == TOO_LONG:
                raise _too_long(state)
            elif reason == PAUSED:
                num_ended = int(state.number[place.NUM_ENDED])
                pause_after = num_ended + _TASKS_PER_SLICE
                if progress is not None:
                    progress(int(state.number[place.NOW]), num_ended)


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _timeline(program: Program, tables: Tables, state: State, horizon_tick: int) -> Timeline:
    """The Timeline in canonical order. A run without waste needs no sorting: its rows are written in that order."""
    count, rates = int(state.number[place.ROWS_USED]), int(state.number[place.RATES_USED])
    rows, first_rows = state.rows, state.release[:, FIRST_ROW]
    task, release, served = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64), np.empty(count)
    write_columns(tables, state, horizon_tick, task, release, served)
    has_started = rows.missing[:count] == 0
    chosen: Ints | slice = slice(count)
    if not np.all(has_started) or np.any(np.diff(first_rows[first_rows != NONE]) < 0):
        chosen = np.flatnonzero(has_started)
        chosen = chosen[np.argsort(release[chosen], kind="stable")]
    return Timeline(
        program=program,
        engine=CompiledEngine.name,
        horizon_tick=horizon_tick,
        task=task[chosen],
        release=release[chosen],
        ready_tick=rows.ready[chosen],
        start_tick=rows.start[chosen],
        end_tick=rows.end[chosen],
        served_bytes=served[chosen],
        release_status=state.release[:, STATUS].copy(),
        release_start_tick=state.release[:, START].copy(),
        release_end_tick=state.release[:, END].copy(),
        rate_tick=state.rates.tick[:rates],
        rate_channel=state.rates.channel[:rates],
        rate_granted_bytes_per_s=state.rates.granted[:rates],
        rate_asked_bytes_per_s=state.rates.asked[:rates],
        background_bytes=state.resources.background_moving[:, BACKGROUND_MOVED].copy(),
    )


def _too_long(state: State) -> Infeasible:
    return Infeasible(
        "program: takes longer than time can be counted in picoseconds",
        demand=int(state.number[place.NOW]) / TICKS_PER_SECOND, bound=LAST_TICK / TICKS_PER_SECOND, unit="s",
        hint="look for a rate that is many orders of magnitude too low",
    )  # fmt: skip


def _stall(program: Program, tables: Tables, state: State) -> Infeasible | EngineError:
    """Why nothing happens any more although jobs are open."""
    when = f"from {ticks_to_seconds(max(int(state.number[place.NOW]), 0)):g} s on"
    if state.number[place.NUM_FLOWS]:
        record = int(state.flows[0])
        channel = program.resources.channel_names[_bottleneck(tables, state, record)]
        rate = format_quantity(float(state.moving[record, RATE]), "B/s")
        return Infeasible(
            f'program: task {_task(state, record)} can never end: channel "{channel}" gives it {rate} {when}',
            demand=float(state.moving[record, LEFT]), bound=0.0, unit="B",
            hint="raise the capacity of the channel, or leave room beside the guaranteed shares",
        )  # fmt: skip
    running = _calendar(state)
    if not running:
        return EngineError("jobs are open, but no task is running")
    unit = tables.task[state.active[running, TEMPLATE], UNIT]
    row = state.active[running, ROW]
    first = running[np.lexsort((row, state.rows.ready[row], state.rows.start[row], unit))[0]]
    template = int(state.active[first, TEMPLATE])
    index = int(tables.task[template, UNIT])
    clock = format_quantity(float(state.resources.clock_hz[index]), "Hz")
    return Infeasible(
        f'program: task {_task(state, first)} can never end: unit "{program.resources.unit_names[index]}" '
        f"has a clock of {clock} {when}",
        demand=float(tables.amount[template, AMOUNT] / TICKS_PER_SECOND), bound=0.0, unit="cycles",
        hint="let a later capacity change give the unit a clock again",
    )  # fmt: skip


def _bottleneck(tables: Tables, state: State, record: int) -> int:
    """The channel on the route of a flow that has the least to spare."""
    kind = tables.task[state.active[record, TEMPLATE], KIND]
    spare = state.resources.capacity - state.sharings.totals[state.number[place.SHARING], 0]
    return int(np.argmin(np.where(tables.network.crosses[kind], spare, np.inf)))


def _task(state: State, record: int) -> int:
    return int(state.active[record, ROW] + state.release[state.active[record, RELEASE], SHIFT])


def _calendar(state: State) -> list[int]:
    """All records that hold a slot of a unit."""
    found = [int(root) for root in state.resources.queue[-1:] if root >= 0]
    for record in found:
        child = int(state.active[record, CHILD])
        while child >= 0:
            found.append(child)
            child = int(state.active[child, NEXT])
    return found
