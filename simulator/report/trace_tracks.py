"""The tracks of a trace, whatever the file format: what a viewer shows in which row, in which order.

Writing them down is in `report.perfetto_trace` and `report.chrome_trace`. Two rules hold for all tracks:

    every task row of the Timeline is exactly one slice of category "task", milestones included
    slices of one track never overlap: tasks that run at the same time are on different lanes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from simulator.ppa.power import Meter
from simulator.program.program import NONE, Ints
from simulator.report.counter_tracks import counter_tracks
from simulator.report.frame_tracks import frame_tracks
from simulator.report.track import Column, SliceTrack, Tracks, group_number, lane_name, lanes, nanoseconds
from simulator.timeline.timeline import Timeline
from simulator.units import TICKS_PER_SECOND


def trace_tracks(timeline: Timeline, *, title: str, meter: Meter | None = None) -> Tracks:
    """The tracks of a run.

    Args:
        timeline: the run.
        title: what the run is called in the first row.
        meter: what measures its power; without it there is no power track.
    """
    slices = [
        _run(timeline, title),
        *frame_tracks(timeline),
        *_units(timeline),
        *_transfers(timeline),
        *_milestones(timeline),
    ]
    return Tracks(
        slices=tuple(sorted((track for track in slices if len(track)), key=lambda track: group_number(track.group))),
        counters=tuple(counter_tracks(timeline, meter)),
    )


def _run(timeline: Timeline, title: str) -> SliceTrack:
    return SliceTrack(
        group="run",
        name="run",
        category="run",
        start_ns=np.zeros(1, dtype=np.int64),
        end_ns=nanoseconds(np.array([timeline.horizon_tick])),
        labels=[title],
        arguments={"engine": [timeline.engine], "tasks": [len(timeline)]},
    )


def _units(timeline: Timeline) -> Iterator[SliceTrack]:
    """A track per slot of each unit that ran."""
    program = timeline.program
    unit = program.tasks.unit[timeline.task]
    for index, name in enumerate(program.resources.unit_names):
        rows = _in_order(timeline, unit == index)
        cycles = program.tasks.work_cycles[timeline.task[rows]].tolist()
        waited = nanoseconds(timeline.start_tick[rows] - timeline.ready_tick[rows]).tolist()
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
            name=lane_name(name, index),
            category="task",
            start_ns=nanoseconds(start[mine]),
            end_ns=nanoseconds(end[mine]),
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
