"""What changes while the compiled engine runs, as arrays that its compiled functions share.

An *active record* is a task between the moment at which it is ready and its end, one row of `active`. It is in exactly
one place: a chain (ready, instant), the queue of its unit, the calendar, or the list of flows. So the arrays of
records need room for as many tasks as are in flight, but only what is used at one time is ever touched.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from simulator.engine.kernel.tables import Tables
from simulator.program import NONE, Program
from simulator.program.columns import Floats, Ints
from simulator.timeline import ReleaseStatus

NEVER: Final = 2**63 - 1

ROW, TEMPLATE, INSTANCE, RELEASE, KEY, SINCE, CHILD, NEXT = range(8)
"""Columns of `State.active`. ROW: of the record; KEY: the priority of a task in a queue, the end tick of one that runs;
SINCE: when the rate of a flow last changed; CHILD and NEXT: the queue or chain that it is in."""
STATUS, START, END, FIRST_ROW, SHIFT, NUM_LEFT, LOWEST, NUM_RELEASE_COLUMNS = range(8)
"""Columns of `State.release`. FIRST_ROW: NONE if it was not admitted; SHIFT: task minus row; LOWEST: no instance before
this one has tasks that have not ended."""
NUM_FREE, CONTENDED, IS_CONTENDED = range(3)
"""Columns of `Resources.unit`. CONTENDED: a list of units that may have something to start, NUM_CONTENDED long."""
IN_FLIGHT, FIRST_WAITING, END_WAITING = range(3)
"""Columns of `Resources.stream`. FIRST_WAITING and END_WAITING count from the first release of the stream."""
IS_ON, BACKGROUND_SINCE = range(2)
"""Columns of `Resources.background`. IS_ON: a list of the flows that are on, ascending and NUM_BACKGROUND long."""
BACKGROUND_RATE, BACKGROUND_MOVED = range(2)
"""Columns of `Resources.background_moving`."""
FLOW_KIND, STATE, IS_STOPPING = range(3)
"""Columns of `Scratch.flows`."""
FLOOR, STOP = range(2)
"""Columns of `Scratch.levels`."""
LIMIT, ROOM, SUM_OF_WEIGHTS = range(3)
"""Columns of `Scratch.rows`."""
LEFT, RATE = range(2)
"""Columns of `State.moving` and `Resources.budget_moving`. LEFT: bytes, or ticks * hertz of a compute task."""
BUDGET_SINCE, BEGIN, DUE, IS_EXHAUSTED = range(4)
"""Columns of `Resources.budget`. BEGIN: of the next period; DUE: when it begins or the budget is used up, or NEVER."""

(NOW, NUM_OPEN, NUM_ENDED, FREE, FRESH, READY, INSTANTS, NUM_FLOWS, NUM_BACKGROUND, FLOW_END, NEXT_RELEASE, NEXT_CHANGE,
 NUM_WAITING, NUM_IN_FLIGHT, TASKS_IN_FLIGHT, ROWS_USED, RATES_USED, IS_STALE, HAS_SHARED, SHARING, NUM_CONTENDED,
 CHECKPOINT, TOUCHED, HAS_SNAPSHOT, SNAPSHOT, NUM_REPLAYED, ROWS_NEEDED, RECORDS_NEEDED, RATES_NEEDED, ALL_ROWS,
 MOST_IN_FLIGHT, BUDGET_DUE, NUM_NUMBERS) = range(33)  # fmt: skip
"""Places in `State.number`. FREE, READY and INSTANTS head chains of records; FRESH counts records that were never used;
IS_STALE: the rates must be shared out anew; SHARING: the remembered sharing that holds now; CHECKPOINT: the instance
whose last task ended at this tick; TOUCHED: the last instance of which anything changed since the checkpoint before;
SNAPSHOT: which of the two snapshots was taken then, if HAS_SNAPSHOT; ALL_ROWS: the tasks of all releases;
MOST_IN_FLIGHT: jobs that may run at once, NEVER for any number; BUDGET_DUE: the first tick at which a budget is due."""

NUM_SHARINGS: Final = 1024
"""Sharings remembered, a power of 2. One more place is for sharings of too many flows."""
MOST_FLOWS: Final = 16
"""Flows of a remembered sharing: two words of one byte per kind."""
MOST_KINDS: Final = 254

MOST_ACTIVE: Final = 128
MOST_SNAPSHOT_ROWS: Final = 16384
"""A snapshot with more active records, or more rows in its window, is not taken."""


class Rows(NamedTuple):
    """One row per task of every release that was admitted, in order of admission."""

    ready: Ints
    start: Ints
    end: Ints
    missing: Any
    """Predecessors that have not ended, int32."""


class Rates(NamedTuple):
    """The rate rows of the Timeline."""

    tick: Ints
    channel: Ints
    granted: Floats
    asked: Floats


class Resources(NamedTuple):
    """Units, channels, streams and background flows."""

    clock_hz: Floats
    unit: Ints
    """Shape: units, columns."""
    queue: Ints
    """The queue of each unit, and at the end the calendar: roots of heaps of active records."""
    capacity: Floats
    stream: Ints
    """Shape: streams, columns."""
    waiting: Ints
    """Releases that wait; each stream has the places of its own releases."""
    background: Ints
    """Shape: background flows, columns."""
    background_moving: Floats
    """Shape: background flows, columns."""
    budget: Ints
    """Shape: budgets, columns."""
    budget_moving: Floats
    """Shape: budgets, columns."""


class Sharings(NamedTuple):
    """Sharings seen before, by the kinds of their flows."""

    keys: Ints
    rates: Floats
    """`MOST_FLOWS` for each sharing; the last, which is not remembered, may have more."""
    totals: Floats
    """Granted and asked of every channel (shape: sharings, 2, channels)."""
    recorded: Floats
    """The totals that the last rate rows wrote (shape: 2, channels)."""


class Scratch(NamedTuple):
    """Room for `simulator.engine.kernel.shares` to work in."""

    flows: Ints
    levels: Floats
    rows: Floats


class Snapshots(NamedTuple):
    """Two snapshots in turn, see `simulator.engine.kernel.snapshots`, and room for `simulator.engine.kernel.replay`."""

    head: Ints
    """Shape: snapshots, columns."""
    record: Ints
    """The active records now, by row."""
    records: Ints
    """Shape: snapshots, active records, columns."""
    moving: Floats
    """The same for `State.moving`."""
    background: Floats
    """Rate and bytes moved (shape: snapshots, background flows, 2)."""
    background_since: Ints
    recorded: Floats
    missing: Any
    """`Rows.missing` from LOW to HIGH before a jump, int32."""
    status: Any
    """What has happened to each of these rows, int8."""


class State(NamedTuple):
    """All that changes."""

    number: Ints
    rows: Rows
    active: Ints
    moving: Floats
    flows: Ints
    """Transfers in progress by (task, release); the first NUM_FLOWS count."""
    rates: Rates
    release: Ints
    """Shape: releases, columns."""
    resources: Resources
    sharings: Sharings
    scratch: Scratch


NUM_HEAD, NUM_RECORD_COLUMNS = 9, 6


def initial_state(program: Program, tables: Tables, *, num_rows: int, num_records: int, num_rates: int) -> State:
    """The state before anything has happened, with room for so many rows."""
    resources, streams, background = program.resources, program.streams, program.background
    units, channels, num_streams = len(resources.unit_names), len(resources.channel_names), len(streams)
    releases = len(streams.release_tick)
    number = np.zeros(NUM_NUMBERS, dtype=np.int64)
    number[[NOW, FREE, READY, INSTANTS, CHECKPOINT, TOUCHED]] = NONE
    number[[FLOW_END, BUDGET_DUE]] = NEVER
    number[NUM_OPEN] = releases
    number[ALL_ROWS] = np.sum(np.diff(program.job_offsets)[streams.release_job])
    number[MOST_IN_FLIGHT] = NEVER if np.any(streams.in_flight == NONE) else np.sum(streams.in_flight)
    number[SHARING] = NUM_SHARINGS
    zeros = np.zeros(len(resources.budget_master), dtype=np.int64)
    release = np.full((releases, NUM_RELEASE_COLUMNS), NONE, dtype=np.int64)
    release[:, STATUS] = ReleaseStatus.PENDING
    unit = np.zeros((units, 3), dtype=np.int64)
    unit[:, NUM_FREE] = resources.unit_slots
    return State(
        number=number,
        rows=Rows(np.empty(num_rows, dtype=np.int64), np.empty(num_rows, dtype=np.int64),
                  np.empty(num_rows, dtype=np.int64), np.empty(num_rows, dtype=np.int32)),
        active=np.empty((num_records, 8), dtype=np.int64),
        moving=np.empty((num_records, 2)),
        flows=np.empty(num_records, dtype=np.int64),
        rates=Rates(np.empty(num_rates, dtype=np.int64), np.empty(num_rates, dtype=np.int64), np.empty(num_rates),
                    np.empty(num_rates)),
        release=release,
        resources=Resources(
            clock_hz=resources.unit_clock_hz.astype(np.float64),
            unit=unit,
            queue=np.full(units + 1, NONE, dtype=np.int64),
            capacity=resources.channel_bytes_per_s.astype(np.float64),
            stream=np.zeros((num_streams, 3), dtype=np.int64),
            waiting=np.empty(releases, dtype=np.int64),
            background=np.zeros((len(background), 2), dtype=np.int64),
            background_moving=np.zeros((len(background), 2)),
            budget=np.stack([zeros, resources.budget_period_ticks, zeros + NEVER, zeros], axis=1),
            budget_moving=np.stack([resources.budget_bytes, np.zeros(len(zeros))], axis=1),
        ),
        sharings=Sharings(
            keys=np.full((NUM_SHARINGS, 2), NONE, dtype=np.int64),
            rates=np.empty(NUM_SHARINGS * MOST_FLOWS + num_records + len(background)),
            totals=np.zeros((NUM_SHARINGS + 1, 2, channels)),
            recorded=np.zeros((2, channels)),
        ),
        scratch=_scratch(num_records + len(background), len(tables.network.row)),
    )  # fmt: skip


def no_snapshots(program: Program, tables: Tables) -> Snapshots:
    """Room for two snapshots."""
    rows = min(MOST_SNAPSHOT_ROWS, 4 * int(tables.longest_job[0]))
    return Snapshots(
        head=np.zeros((2, NUM_HEAD), dtype=np.int64),
        record=np.empty(MOST_ACTIVE, dtype=np.int64),
        records=np.empty((2, MOST_ACTIVE, NUM_RECORD_COLUMNS), dtype=np.int64),
        moving=np.empty((2, MOST_ACTIVE, 2)),
        missing=np.empty(rows, dtype=np.int32),
        background=np.empty((2, len(program.background), 2)),
        background_since=np.empty((2, len(program.background)), dtype=np.int64),
        recorded=np.empty((2, 2, len(program.resources.channel_names))),
        status=np.empty(rows, dtype=np.int8),
    )


def with_room(state: State) -> State:
    """The same state with arrays at least as large as the run asked for, and at least doubled."""
    number = state.number
    rows, rates = state.rows, state.rates
    if number[ROWS_NEEDED] > len(rows.ready):
        rows = Rows(*(_longer(column, number[ROWS_NEEDED]) for column in rows))
    if number[RATES_NEEDED] > len(rates.tick):
        rates = Rates(*(_longer(column, number[RATES_NEEDED]) for column in rates))
    state = state._replace(rows=rows, rates=rates)
    if number[RECORDS_NEEDED] > len(state.active):
        longer = {name: _longer(getattr(state, name), number[RECORDS_NEEDED]) for name in ("active", "moving", "flows")}
        num_flows = len(longer["flows"]) + len(state.resources.background)
        sharings = state.sharings._replace(rates=_longer(state.sharings.rates, NUM_SHARINGS * MOST_FLOWS + num_flows))
        state = state._replace(**longer, sharings=sharings, scratch=_scratch(num_flows, len(state.scratch.rows)))
    return state


def _scratch(num_flows: int, num_rows: int) -> Scratch:
    return Scratch(np.empty((num_flows, 3), dtype=np.int64), np.empty((num_flows, 2)), np.empty((num_rows, 3)))


def _longer(column: Any, needed: int) -> Any:
    longer = np.empty((max(int(needed), 2 * len(column)), *column.shape[1:]), dtype=column.dtype)
    longer[: len(column)] = column
    return longer
