"""The tracks of the frames of a run: when they ran, their deadlines, drops and phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from simulator.metrics.latency import ReleaseLatency, release_latency
from simulator.program.program import NONE, Ints
from simulator.report.track import Column, SliceTrack, lane_name, lanes, nanoseconds
from simulator.timeline.timeline import ReleaseStatus, Timeline
from simulator.units import TICKS_PER_SECOND

_TICKS_PER_MILLISECOND: Final = TICKS_PER_SECOND // 10**3


def frame_tracks(timeline: Timeline) -> Iterator[SliceTrack]:
    """The tracks of every stream, in the order of the Program."""
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
        track_name = lane_name(name, index)
        arguments: dict[str, Column] = {
            "status": [ReleaseStatus(int(timeline.release_status[frames[row]])).name.lower() for row in mine],
            "latency_ms": ((end - start)[mine] / _TICKS_PER_MILLISECOND).tolist(),
        }
        if has_deadline:
            arguments["deadline_ms"] = [deadline_ticks / _TICKS_PER_MILLISECOND] * len(mine)
        labels = [f"{name} #{number[row]}{' missed' if is_missed[row] else ''}" for row in mine]
        yield SliceTrack("frames", track_name, "frame", nanoseconds(start[mine]), nanoseconds(end[mine]),
                         labels, arguments)  # fmt: skip
        yield _phases(timeline, track_name, frames[mine])

    if has_deadline:
        shown = np.flatnonzero(start + deadline_ticks <= timeline.horizon_tick)
        labels = [f"deadline {'missed' if is_missed[row] else 'met'} #{number[row]}" for row in shown]
        yield _instants(f"{name} deadlines", "deadline", start[shown] + deadline_ticks, labels)
    dropped = np.flatnonzero(status == ReleaseStatus.DROPPED)
    labels = [f"{name} #{row} dropped" for row in dropped]
    yield _instants(f"{name} drops", "drop", streams.release_tick[releases[dropped]], labels)


def _instants(name: str, category: str, tick: Ints, labels: Sequence[str]) -> SliceTrack:
    return SliceTrack("frames", name, category, nanoseconds(tick), nanoseconds(tick), labels)


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
    return SliceTrack("phases", name, "phase", nanoseconds(np.array(start, dtype=np.int64)),
                      nanoseconds(np.array(end, dtype=np.int64)), labels, columns)  # fmt: skip


def _phase_rows(frame: ReleaseLatency, channels: tuple[str, ...]) -> Iterator[tuple[int, int, str, dict[str, int]]]:
    def arguments(tokens: int, flop: int, channel_bytes: Sequence[int]) -> dict[str, int]:
        moved = {f"{name}_bytes": count for name, count in zip(channels, channel_bytes, strict=True)}
        return {"tokens": tokens, "flop": flop, **moved}

    if frame.wait_ticks:
        yield frame.release_tick, frame.start_tick, "waiting", arguments(0, 0, [0] * len(channels))
    for phase in frame.phases:
        yield phase.start_tick, phase.end_tick, phase.name, arguments(phase.tokens, phase.flop, phase.channel_bytes)
