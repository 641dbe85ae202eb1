"""The tracks of a trace, whatever the file format: what a viewer shows in which row, in which order.

Writing them down is in `report.perfetto_trace` and `report.chrome_trace`. Three rules hold for all tracks:

    every task row of the Timeline is exactly one slice of category "task", milestones included
    slices of one track never overlap: tasks that run at the same time are on different lanes
    times are whole nanoseconds, since viewers keep no finer ones: both ends are rounded down, so neighbours that
    touch in ticks still touch and never overlap
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.metrics.latency import ReleaseLatency, release_latency
from simulator.ppa.power import STATIC, Meter
from simulator.program.program import NONE, Floats, Ints
from simulator.report.timeline_bins import bin_edges
from simulator.timeline.occupancy import occupancy_steps
from simulator.timeline.timeline import ReleaseStatus, Timeline
from simulator.units import TICKS_PER_SECOND

GROUPS: Final = ("run", "frames", "phases", "units", "transfers", "channels", "memories", "power", "milestones")
"""Groups of tracks from top to bottom."""

POWER_SLICES: Final = 2000
"""Most slices of time of a power track."""

TICKS_PER_NANOSECOND: Final = TICKS_PER_SECOND // 10**9
_TICKS_PER_MILLISECOND: Final = TICKS_PER_SECOND // 10**3

Column = Sequence[int] | Sequence[float] | Sequence[str]
"""Values of one argument, one per slice, all of one type."""


@dataclass(frozen=True, eq=False)
class SliceTrack:
    """A row of slices. One without duration (start = end) is an instant."""

    group: str
    name: str
    category: str
    """What its slices are: run, frame, deadline, drop, phase or task."""
    start_ns: Ints
    end_ns: Ints
    labels: Sequence[str]
    """The name of each slice."""
    arguments: Mapping[str, Column] = field(default_factory=dict)
    """What a viewer shows about a slice that is clicked on: a column per argument, a value per slice."""

    def __len__(self) -> int:
        return len(self.start_ns)


@dataclass(frozen=True, eq=False)
class CounterTrack:
    """A step function over time."""

    group: str
    name: str
    unit: str
    at_ns: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.at_ns)


@dataclass(frozen=True, eq=False)
class Tracks:
    """All tracks of a trace, in the order in which a viewer shows them."""

    slices: tuple[SliceTrack, ...]
    counters: tuple[CounterTrack, ...]

    @property
    def groups(self) -> tuple[tuple[int, str], ...]:
        """The number and the title of every group that has a track."""
        used = {track.group for track in self.slices} | {track.group for track in self.counters}
        return tuple((group_number(group), f"{group_number(group)} {group}") for group in GROUPS if group in used)


def group_number(group: str) -> int:
    """The place of a group, from 1. Titles begin with it, because viewers sort groups by name."""
    return GROUPS.index(group) + 1


def trace_tracks(timeline: Timeline, *, title: str, meter: Meter | None = None) -> Tracks:
    """The tracks of a run.

    Args:
        timeline: the run.
        title: what the run is called in the first row.
        meter: what measures its power; without it there is no power track.
    """
    slices = [
        _run(timeline, title),
        *_releases(timeline),
        *_units(timeline),
        *_transfers(timeline),
        *_milestones(timeline),
    ]
    return Tracks(
        slices=tuple(sorted((track for track in slices if len(track)), key=lambda track: group_number(track.group))),
        counters=(*_channels(timeline), *_memories(timeline), *_power(timeline, meter)),
    )


def lanes(start_tick: Ints, end_tick: Ints) -> Ints:
    """The lane of each interval [start, end), so that no two on one lane overlap: the lowest that is free.

    Intervals are sorted by start. As many lanes are used as intervals overlap at most.

    >>> lanes(np.array([0, 0, 5, 5]), np.array([5, 8, 8, 9])).tolist()
    [0, 1, 0, 2]
    """
    lane = np.zeros(len(start_tick), dtype=np.int64)
    if np.all(start_tick[1:] >= end_tick[:-1]):
        return lane
    taken: list[tuple[int, int]] = []  # (end, lane) of what runs
    free: list[int] = []
    used = 0
    for row, (start, end) in enumerate(zip(start_tick.tolist(), end_tick.tolist(), strict=True)):
        while taken and taken[0][0] <= start:
            heappush(free, heappop(taken)[1])
        if free:
            lane[row] = heappop(free)
        else:
            lane[row], used = used, used + 1
        heappush(taken, (end, int(lane[row])))
    return lane


def _run(timeline: Timeline, title: str) -> SliceTrack:
    return SliceTrack(
        group="run",
        name="run",
        category="run",
        start_ns=np.zeros(1, dtype=np.int64),
        end_ns=_nanoseconds(np.array([timeline.horizon_tick])),
        labels=[title],
        arguments={"engine": [timeline.engine], "tasks": [len(timeline)]},
    )


def _releases(timeline: Timeline) -> Iterator[SliceTrack]:
    streams = timeline.program.streams
    for stream in range(len(streams)):
        first, stop = streams.release_offsets[stream], streams.release_offsets[stream + 1]
        yield from _stream(timeline, stream, np.arange(first, stop))


def _stream(timeline: Timeline, stream: int, releases: Ints) -> Iterator[SliceTrack]:
    """Frames, deadlines, drops and phases of one stream."""
    streams = timeline.program.streams
    name, deadline_ticks = streams.names[stream], int(streams.deadline_ticks[stream])
    status = timeline.release_status[releases]
    is_frame = (status != ReleaseStatus.PENDING) & (status != ReleaseStatus.DROPPED)
    frames, number = releases[is_frame], np.flatnonzero(is_frame)
    start = streams.release_tick[frames]
    end = np.where(timeline.release_end_tick[frames] == NONE, timeline.horizon_tick, timeline.release_end_tick[frames])
    has_deadline = deadline_ticks != NONE
    is_missed = end > start + deadline_ticks if has_deadline else np.zeros(len(frames), dtype=np.bool_)

    lane = lanes(start, end)
    for index in range(int(lane.max(initial=-1)) + 1):
        mine = np.flatnonzero(lane == index)
        lane_name = _lane_name(name, index)
        arguments: dict[str, Column] = {
            "status": [ReleaseStatus(int(timeline.release_status[frames[row]])).name.lower() for row in mine],
            "latency_ms": ((end - start)[mine] / _TICKS_PER_MILLISECOND).tolist(),
        }
        if has_deadline:
            arguments["deadline_ms"] = [deadline_ticks / _TICKS_PER_MILLISECOND] * len(mine)
        labels = [f"{name} #{number[row]}{' missed' if is_missed[row] else ''}" for row in mine]
        yield SliceTrack("frames", lane_name, "frame", _nanoseconds(start[mine]), _nanoseconds(end[mine]),
                         labels, arguments)  # fmt: skip
        yield _phases(timeline, lane_name, frames[mine])

    if has_deadline:
        shown = np.flatnonzero(start + deadline_ticks <= timeline.horizon_tick)
        labels = [f"deadline {'missed' if is_missed[row] else 'met'} #{number[row]}" for row in shown]
        yield _instants(f"{name} deadlines", "deadline", start[shown] + deadline_ticks, labels)
    dropped = np.flatnonzero(status == ReleaseStatus.DROPPED)
    labels = [f"{name} #{row} dropped" for row in dropped]
    yield _instants(f"{name} drops", "drop", streams.release_tick[releases[dropped]], labels)


def _instants(name: str, category: str, tick: Ints, labels: Sequence[str]) -> SliceTrack:
    return SliceTrack("frames", name, category, _nanoseconds(tick), _nanoseconds(tick), labels)


def _phases(timeline: Timeline, name: str, releases: Ints) -> SliceTrack:
    """The phases of releases that follow each other, each with the wait before it; only of completed releases."""
    is_completed = timeline.release_status[releases] == ReleaseStatus.COMPLETED
    rows = [
        row
        for release in releases[is_completed].tolist()
        for row in _phase_rows(release_latency(timeline, release), timeline.program.resources.channel_names)
    ]
    start, end, labels, arguments = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = {key: [row[key] for row in arguments] for key in (arguments[0] if arguments else ())}
    return SliceTrack("phases", name, "phase", _nanoseconds(np.array(start, dtype=np.int64)),
                      _nanoseconds(np.array(end, dtype=np.int64)), labels, columns)  # fmt: skip


def _phase_rows(frame: ReleaseLatency, channels: tuple[str, ...]) -> Iterator[tuple[int, int, str, dict[str, int]]]:
    def arguments(tokens: int, flop: int, channel_bytes: Sequence[int]) -> dict[str, int]:
        moved = {f"{name}_bytes": count for name, count in zip(channels, channel_bytes, strict=True)}
        return {"tokens": tokens, "flop": flop, **moved}

    if frame.wait_ticks:
        yield frame.release_tick, frame.start_tick, "waiting", arguments(0, 0, [0] * len(channels))
    for phase in frame.phases:
        yield phase.start_tick, phase.end_tick, phase.name, arguments(phase.tokens, phase.flop, phase.channel_bytes)


def _units(timeline: Timeline) -> Iterator[SliceTrack]:
    """A track per slot of each unit that ran."""
    program = timeline.program
    unit = program.tasks.unit[timeline.task]
    for index, name in enumerate(program.resources.unit_names):
        rows = _in_order(timeline, unit == index)
        cycles = program.tasks.work_cycles[timeline.task[rows]].tolist()
        waited = _nanoseconds(timeline.start_tick[rows] - timeline.ready_tick[rows]).tolist()
        yield from _task_tracks(timeline, "units", name, rows, {"cycles": cycles, "waited_ns": waited})


def _transfers(timeline: Timeline) -> Iterator[SliceTrack]:
    """A track per transfer that a master has under way at one time on one route."""
    program = timeline.program
    tasks, resources = program.tasks, program.resources
    route, master = tasks.route[timeline.task], tasks.master[timeline.task]
    for master_index, master_name in enumerate(resources.master_names):
        for route_index in range(resources.num_routes):
            rows = _in_order(timeline, (route == route_index) & (master == master_index))
            channels = " + ".join(resources.channel_names[channel] for channel in resources.route(route_index))
            moved = timeline.served_bytes[rows]
            ticks = _end(timeline, rows) - timeline.start_tick[rows]
            gigabytes_per_s = moved / np.maximum(ticks, 1) * (TICKS_PER_SECOND / 1e9)
            arguments = {
                "bytes": np.rint(moved).astype(np.int64).tolist(),
                "GB/s": np.round(gigabytes_per_s, 3).tolist(),
            }
            yield from _task_tracks(timeline, "transfers", f"{master_name}: {channels}", rows, arguments)


def _milestones(timeline: Timeline) -> Iterator[SliceTrack]:
    tasks = timeline.program.tasks
    rows = _in_order(timeline, (tasks.unit[timeline.task] == NONE) & (tasks.route[timeline.task] == NONE))
    yield from _task_tracks(timeline, "milestones", "milestones", rows, {})


def _task_tracks(
    timeline: Timeline, group: str, name: str, rows: Ints, arguments: Mapping[str, Column]
) -> Iterator[SliceTrack]:
    """The lanes of some rows of a timeline that are in order of time."""
    start, end = timeline.start_tick[rows], _end(timeline, rows)
    labels = _task_labels(timeline, rows)
    columns = {key: np.array(values, dtype=object) for key, values in arguments.items()}
    causes = timeline.program.labels.causes
    if causes:
        texts = np.array([*causes, "none"], dtype=object)  # NONE is -1: the last
        columns["cause"] = texts[timeline.program.tasks.cause[timeline.task[rows]]]
    lane = lanes(start, end)
    for index in range(int(lane.max(initial=-1)) + 1):
        mine = lane == index
        yield SliceTrack(
            group=group,
            name=_lane_name(name, index),
            category="task",
            start_ns=_nanoseconds(start[mine]),
            end_ns=_nanoseconds(end[mine]),
            labels=labels[mine].tolist(),
            arguments={key: column[mine].tolist() for key, column in columns.items()},
        )


def _task_labels(timeline: Timeline, rows: Ints) -> npt.NDArray[np.object_]:
    """What each row is called: its operation with layer and step, or its number if it belongs to none."""
    tasks, operations = timeline.program.tasks, timeline.program.labels.operations
    task = timeline.task[rows]
    is_named = tasks.operation[task] != NONE
    keys = np.stack([tasks.operation[task], tasks.layer[task], tasks.step[task], np.where(is_named, NONE, task)])
    distinct, where = np.unique(keys, axis=1, return_inverse=True)
    texts = np.array(
        [
            (operations[operation] if operation != NONE else f"task {number}")
            + (f" · layer {layer}" if layer != NONE else "")
            + (f" · step {step}" if step != NONE else "")
            for operation, layer, step, number in distinct.T.tolist()
        ],
        dtype=object,
    )
    return texts[where.ravel()]


def _power(timeline: Timeline, meter: Meter | None) -> Iterator[CounterTrack]:
    """The power in equal slices of time, and what of it compute, memory and idle silicon take."""
    if meter is None or timeline.horizon_tick == 0:
        return
    edges = bin_edges(0, timeline.horizon_tick, POWER_SLICES)
    track = meter.power(timeline, edges)
    for name, watts in {"total": track.total_w, **track.watts}.items():
        # a counter keeps its last value, so it ends with what idle silicon takes when the run is over
        after = track.watts[STATIC][-1] if name in {"total", STATIC} else 0.0
        yield _counter("power", f"power, {name}", "W", edges, np.append(watts, after))


def _channels(timeline: Timeline) -> Iterator[CounterTrack]:
    for index, name in enumerate(timeline.program.resources.channel_names):
        mine = timeline.rate_channel == index
        if np.any(mine):
            tick = timeline.rate_tick[mine]
            granted, asked = timeline.rate_granted_bytes_per_s[mine], timeline.rate_asked_bytes_per_s[mine]
            yield _counter("channels", f"{name} granted", "GB/s", tick, granted / 1e9)
            yield _counter("channels", f"{name} asked", "GB/s", tick, asked / 1e9)


def _memories(timeline: Timeline) -> Iterator[CounterTrack]:
    names = timeline.program.resources.memory_names
    for name, steps in zip(names, occupancy_steps(timeline), strict=True):
        yield _counter("memories", f"{name} occupied", "MiB", steps.tick, steps.value / 2**20)


def _counter(group: str, name: str, unit: str, tick: Ints, values: Floats) -> CounterTrack:
    """A counter without the rows that repeat the value before them."""
    is_change = np.append(True, values[1:] != values[:-1])
    return CounterTrack(group, name, unit, _nanoseconds(tick[is_change]), values[is_change])


def _in_order(timeline: Timeline, chosen: npt.NDArray[np.bool_]) -> Ints:
    """Some rows sorted by (start, end, task, release); what was cut off is last among equals of its start."""
    rows = np.flatnonzero(chosen)
    return rows[
        np.lexsort((timeline.release[rows], timeline.task[rows], _end(timeline, rows), timeline.start_tick[rows]))
    ]


def _end(timeline: Timeline, rows: Ints) -> Ints:
    """When each row ended; the end of the run for tasks that it cut off."""
    end = timeline.end_tick[rows]
    return np.where(end == NONE, timeline.horizon_tick, end)


def _lane_name(name: str, lane: int) -> str:
    return name if lane == 0 else f"{name} ({lane + 1})"


def _nanoseconds(tick: Ints) -> Ints:
    return tick // TICKS_PER_NANOSECOND
