"""Laws that every Timeline obeys, whichever engine wrote it. A broken law is a bug in an engine or in lowering.

Each check raises EngineError with the numbers at the first place where its law is broken. `check_all` does them all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.errors import EngineError
from simulator.program.capacity import Steps, channel_steps
from simulator.program.program import NONE, Floats, Ints, Resources
from simulator.timeline.occupancy import occupancy_steps
from simulator.timeline.row_index import RowIndex
from simulator.timeline.timeline import ReleaseStatus, Timeline
from simulator.timeline.traffic import granted_steps, over_channels, taken_bytes
from simulator.units import TICKS_PER_SECOND

Bools = npt.NDArray[np.bool_]

RATE_TOLERANCE: Final = 1e-9
"""Relative error allowed to sums of floating-point rates and bytes."""


def check_all(timeline: Timeline) -> int:
    """Checks every law of this module and returns how many there are."""
    laws = (check_causality, check_conservation, check_capacity, check_budgets, check_units, check_occupancy)
    for law in laws:
        law(timeline)
    return len(laws)


def check_causality(timeline: Timeline) -> None:
    """A task is ready exactly when its job is admitted and its predecessors have ended; then it starts, then it ends.

    Formula:  horizon >= end >= start >= ready = max(admission of the release, ends of all predecessors)

    Raises:
        EngineError: when a row breaks it, or a task started before a predecessor had.
    """
    ended = timeline.end_tick != NONE
    _law(~ended | (timeline.end_tick >= timeline.start_tick), timeline, "must not end before it starts")
    _law(timeline.end_tick <= timeline.horizon_tick, timeline, f"must end by the horizon {timeline.horizon_tick}")
    _law(timeline.start_tick >= timeline.ready_tick, timeline, "must not start before it is ready")
    row, predecessor_row = _edges(timeline)
    has_begun = np.ones(len(timeline), dtype=np.bool_)
    has_begun[row[predecessor_row == NONE]] = False
    _law(has_begun, timeline, "must not start before its predecessors have")
    predecessor_end = timeline.end_tick[predecessor_row]
    has_begun[row[predecessor_end == NONE]] = False
    _law(has_begun, timeline, "must not start while a predecessor runs")
    earliest = timeline.release_start_tick[timeline.release].copy()
    _law(earliest != NONE, timeline, "must not run for a release that was not admitted")
    np.maximum.at(earliest, row, predecessor_end)
    _law(timeline.ready_tick == earliest, timeline, "must be ready when its last predecessor ends or its job starts")
    status, release_tick = timeline.release_status, timeline.program.streams.release_tick
    is_admitted = timeline.release_start_tick != NONE
    _release_law(~is_admitted | (timeline.release_start_tick >= release_tick), "must not start before its time")
    is_pending = status == ReleaseStatus.PENDING
    _release_law(~is_pending | (release_tick >= timeline.horizon_tick), "cannot be pending: its time came")


def check_conservation(timeline: Timeline) -> None:
    """Nothing is lost or made: neither tasks and releases nor bytes.

    Every completed release ran each task of its job once; those in flight ran none twice; the others ran none. A
    transfer that ended served all its bytes, one that did not at most these: so bytes requested are bytes served plus
    bytes outstanding, for every channel and master. What a channel granted over time is what was served, within one
    tick of flow per transfer (an end is rounded up to a tick).

    Raises:
        EngineError: when a count or a sum is off.
    """
    _check_releases(timeline)
    _check_served(timeline)
    _check_granted(timeline)


def check_capacity(timeline: Timeline) -> None:
    """No channel ever grants more than the capacity that it has at that tick.

    Raises:
        EngineError: when a channel grants more than its capacity by more than `RATE_TOLERANCE`.
    """
    for channel, name in enumerate(timeline.program.resources.channel_names):
        capacity, granted = channel_steps(timeline.program, channel), granted_steps(timeline, channel)
        tick = np.union1d(capacity.tick, granted.tick)
        tick = tick[tick <= timeline.horizon_tick]
        allowed, rate = capacity.at(tick), granted.at(tick)
        for place in np.flatnonzero(rate > allowed * (1 + RATE_TOLERANCE))[:1].tolist():
            raise EngineError(
                f"channel {name} grants {rate[place]} B/s at tick {tick[place]} and has {allowed[place]} B/s"
            )


def check_budgets(timeline: Timeline) -> None:
    """No master takes more of a channel than its budget and one tick of flow in each period.

    The Timeline does not say when a transfer moved how much, so what is held are all flows of the master in the whole
    run, and each transfer in the periods from its start to its end.

    Raises:
        EngineError: when more was taken.
    """
    program, resources = timeline.program, timeline.program.resources
    tasks, background, horizon = program.tasks, program.background, timeline.horizon_tick
    route, master = tasks.route[timeline.task], tasks.master[timeline.task]
    end = np.where(timeline.end_tick == NONE, horizon, timeline.end_tick)
    for row, (owner, channel, period_ticks) in enumerate(
        zip(resources.budget_master.tolist(), resources.budget_channel.tolist(),
            resources.budget_period_ticks.tolist(), strict=True)
    ):  # fmt: skip
        usage = _usage(resources, channel)
        mine = master == owner
        taken = timeline.served_bytes * usage[route] * mine
        behind = timeline.background_bytes * usage[background.route] * (background.master == owner)
        tick_bytes = float(channel_steps(program, channel).value.max()) / TICKS_PER_SECOND
        given_bytes = (float(resources.budget_bytes[row]) + tick_bytes) * (1 + RATE_TOLERANCE)
        periods = -(-end // period_ticks) - timeline.start_tick // period_ticks
        # An end is rounded by at most a tick, within which a transfer is counted with all its bytes.
        allowed = np.maximum(periods, 1) * given_bytes + tick_bytes
        _law(taken <= allowed, timeline, f"must not take more than {given_bytes} B per period")
        total, most = float(taken.sum() + behind.sum()), -(-horizon // period_ticks) * given_bytes
        if total > most + tick_bytes * (1 + np.count_nonzero(mine)):
            name = f"{resources.master_names[owner]} of channel {resources.channel_names[channel]}"
            raise EngineError(f"master {name}: took {total} B, its budget allows {most} B up to tick {horizon}")


def _usage(resources: Resources, channel: int) -> Floats:
    """What a byte of each route takes of a channel, 0 if it does not cross it; and at the end 0 for no route."""
    crossing = np.repeat(np.arange(resources.num_routes), np.diff(resources.route_offsets))
    here = resources.route_channels == channel
    usage = np.zeros(resources.num_routes + 1)
    usage[crossing[here]] = resources.route_usage[here]
    return usage


def check_units(timeline: Timeline) -> None:
    """No unit serves more tasks at a time than it has slots, and busy plus idle is slots times horizon.

    Raises:
        EngineError: when a unit serves more.
    """
    resources, horizon = timeline.program.resources, timeline.horizon_tick
    unit = timeline.program.tasks.unit[timeline.task]
    end = np.where(timeline.end_tick == NONE, horizon, timeline.end_tick)
    for index, (name, slots) in enumerate(zip(resources.unit_names, resources.unit_slots.tolist(), strict=True)):
        mine = unit == index
        served = _running(timeline.start_tick[mine], end[mine])
        for place in np.flatnonzero(served.value > slots)[:1].tolist():
            raise EngineError(
                f"unit {name} serves {served.value[place]:.0f} tasks at tick {served.tick[place]} and has {slots} slots"
            )
        busy_ticks = int(np.sum(end[mine] - timeline.start_tick[mine]))
        idle_ticks = Steps(served.tick, slots - served.value).integral(0, horizon)
        if busy_ticks + idle_ticks != slots * horizon:
            raise EngineError(
                f"unit {name}: busy {busy_ticks} and idle {idle_ticks:.0f} ticks are not {slots} x {horizon}"
            )


def check_occupancy(timeline: Timeline) -> None:
    """No memory ever holds more bytes than it has, or fewer than none.

    Raises:
        EngineError: when one does.
    """
    resources = timeline.program.resources
    for name, size_bytes, steps in zip(
        resources.memory_names, resources.memory_bytes.tolist(), occupancy_steps(timeline), strict=True
    ):
        for place in np.flatnonzero((steps.value > size_bytes) | (steps.value < 0))[:1].tolist():
            raise EngineError(
                f"memory {name} holds {steps.value[place]:.0f} B at tick {steps.tick[place]} and has {size_bytes} B"
            )


def _check_releases(timeline: Timeline) -> None:
    program, status = timeline.program, timeline.release_status
    num_releases = len(program.streams.release_tick)
    if len(status) != num_releases or np.any((status < 0) | (status > max(ReleaseStatus))):
        raise EngineError(f"{len(status)} releases have a status, {num_releases} were to be released")
    job = program.streams.release_job
    first, last = program.job_offsets[job], program.job_offsets[job + 1]
    _law((timeline.task >= first[timeline.release]) & (timeline.task < last[timeline.release]), timeline,
         "must belong to the job of its release")  # fmt: skip
    index = RowIndex.of(timeline)
    is_repeated = np.zeros(len(timeline), dtype=np.bool_)
    is_repeated[index.rows[1:]] = index.keys[1:] == index.keys[:-1]
    _law(~is_repeated, timeline, "must not run twice for a release")

    ended = timeline.end_tick != NONE
    num_ended = np.bincount(timeline.release[ended], minlength=num_releases)
    num_started = np.bincount(timeline.release, minlength=num_releases)
    last_end = np.full(num_releases, NONE, dtype=np.int64)
    np.maximum.at(last_end, timeline.release[ended], timeline.end_tick[ended])
    has_start, has_end = timeline.release_start_tick != NONE, timeline.release_end_tick != NONE
    is_completed, is_running = status == ReleaseStatus.COMPLETED, status == ReleaseStatus.IN_FLIGHT
    _release_law(has_start == (is_completed | is_running), "must be admitted exactly if it completed or runs")
    _release_law(has_end == is_completed, "must have an end exactly if it completed")
    _release_law(~is_completed | (num_ended == last - first), "completed, but not all tasks of its job have ended")
    _release_law(~is_completed | (timeline.release_end_tick == last_end), "must end when its last task ends")
    _release_law(~is_running | (num_ended < last - first), "runs, but all tasks of its job have ended")
    _release_law(has_start | (num_started == 0), "was never admitted, but a task of its job started")
    is_sorted = np.append(True, index.rows[1:] > index.rows[:-1])[: len(timeline)]
    _law(is_sorted, timeline, "must come in the order (release, task)")


def _check_served(timeline: Timeline) -> None:
    size_bytes = timeline.program.tasks.size_bytes[timeline.task].astype(np.float64)
    slack_bytes = RATE_TOLERANCE * size_bytes
    has_ended = timeline.end_tick != NONE
    served = timeline.served_bytes
    _law((served >= 0) & (served <= size_bytes + slack_bytes), timeline, "must serve between 0 and all of its bytes")
    _law(~has_ended | (served >= size_bytes - slack_bytes), timeline, "ended, so it must have served all its bytes")


def _check_granted(timeline: Timeline) -> None:
    program = timeline.program
    used_bytes = taken_bytes(timeline)
    moves = program.tasks.route[timeline.task] != NONE
    of_tasks = np.bincount(program.tasks.route[timeline.task][moves], minlength=program.resources.num_routes)
    num_flows = over_channels(program, of_tasks.astype(np.float64))
    for channel, name in enumerate(program.resources.channel_names):
        granted_bytes = granted_steps(timeline, channel).integral(0, timeline.horizon_tick) / TICKS_PER_SECOND
        tick_bytes = float(channel_steps(program, channel).value.max()) / TICKS_PER_SECOND
        slack_bytes = RATE_TOLERANCE * granted_bytes + num_flows[channel] * tick_bytes
        if abs(granted_bytes - used_bytes[channel]) > slack_bytes:
            raise EngineError(
                f"channel {name} granted {granted_bytes} B over time and {used_bytes[channel]} B were moved"
            )


def _edges(timeline: Timeline) -> tuple[Ints, Ints]:
    """Every predecessor of every row: the row that waits, and the row waited for (NONE if it has not started)."""
    tasks = timeline.program.tasks
    start = tasks.predecessor_offsets[timeline.task]
    count = tasks.predecessor_offsets[timeline.task + 1] - start
    row = np.repeat(np.arange(len(timeline)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    predecessor = tasks.predecessors[np.repeat(start, count) + within]
    return row, RowIndex.of(timeline).find(predecessor, timeline.release[row])


def _running(start: Ints, end: Ints) -> Steps:
    """How many intervals hold at each tick; an interval without length holds at none."""
    tick, where = np.unique(np.concatenate([start, end]), return_inverse=True)
    change = np.zeros(len(tick))
    np.add.at(change, where, np.repeat([1.0, -1.0], len(start)))
    return Steps.of(tick, np.cumsum(change), initial=0.0)


def _law(holds: Bools, timeline: Timeline, rule: str) -> None:
    for row in np.flatnonzero(~holds)[:1].tolist():
        raise EngineError(
            f"task {timeline.task[row]} of release {timeline.release[row]} {rule}: ready {timeline.ready_tick[row]}, "
            f"start {timeline.start_tick[row]}, end {timeline.end_tick[row]}, served {timeline.served_bytes[row]} B"
        )


def _release_law(holds: Bools, rule: str) -> None:
    for release in np.flatnonzero(~holds)[:1].tolist():
        raise EngineError(f"release {release} {rule}")
