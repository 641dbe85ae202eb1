"""Traces as Chrome JSON: readable with any text editor and by every trace viewer, no package needed.

The format is the "Trace Event Format" of Chromium: `X` is a slice, `i` an instant, `C` a counter, `M` a name; times are
microseconds. Which tracks there are is in `report.trace_tracks`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice

from simulator.ppa.power import Meter
from simulator.report.files import new_file
from simulator.report.trace_tracks import trace_tracks
from simulator.report.track import GROUPS, Column, CounterTrack, SliceTrack, group_number
from simulator.timeline.timeline import Timeline

_EVENTS_PER_WRITE = 10_000

_json = json.JSONEncoder(ensure_ascii=False).encode


def write_chrome(timeline: Timeline, path: str | os.PathLike[str], *, title: str, meter: Meter | None = None) -> None:
    """Writes a run as a Chrome JSON trace.

    Raises:
        OutputError: when the file cannot be written; then there is no file.
    """
    with new_file(path) as file:
        file.write(f'{{"displayTimeUnit":"ns","otherData":{{"title":{_json(title)}}},"traceEvents":[\n'.encode())
        events = _events(timeline, title, meter)
        file.write(next(events).encode())
        while chunk := list(islice(events, _EVENTS_PER_WRITE)):
            file.write((",\n" + ",\n".join(chunk)).encode())
        file.write(b"\n]}\n")


def _events(timeline: Timeline, title: str, meter: Meter | None) -> Iterator[str]:
    """One JSON object per event. Process and thread numbers begin at 1: viewers hide thread 0."""
    tracks = trace_tracks(timeline, title=title, meter=meter)
    for process, group_title in tracks.groups:
        yield _about(process, process, "process_name", "name", group_title)
        yield _about(process, process, "process_sort_index", "sort_index", process)
    # A thread with the number of its process would be shown as its main thread, before all others.
    for thread, track in enumerate(tracks.slices, start=len(GROUPS) + 1):
        process = group_number(track.group)
        yield _about(process, thread, "thread_name", "name", track.name)
        yield from _slices(track, process, thread)
    for counter in tracks.counters:
        yield from _counts(counter, group_number(counter.group))


def _about(process: int, thread: int, kind: str, key: str, value: str | int) -> str:
    """A metadata event: what a process or thread is called, and where a viewer that asks puts it."""
    return f'{{"ph":"M","name":"{kind}","pid":{process},"tid":{thread},"args":{{"{key}":{_json(value)}}}}}'


def _slices(track: SliceTrack, process: int, thread: int) -> Iterator[str]:
    texts = {label: _json(label) for label in track.labels}
    tail = f'"cat":{_json(track.category)},"pid":{process},"tid":{thread}'
    keys = [_json(key) for key in track.arguments]
    columns = [_encoded(column) for column in track.arguments.values()]
    rows = zip(*columns, strict=True) if columns else ((),) * len(track)
    for start, end, label, values in zip(
        track.start_ns.tolist(), track.end_ns.tolist(), track.labels, rows, strict=True
    ):
        kind = f'"X","dur":{_microseconds(end - start)}' if end > start else '"i","s":"t"'
        arguments = ",".join([f"{key}:{value}" for key, value in zip(keys, values, strict=True)])
        yield f'{{"ph":{kind},"ts":{_microseconds(start)},"name":{texts[label]},{tail},"args":{{{arguments}}}}}'


def _encoded(column: Column) -> list[str]:
    """A column as JSON. Numbers are finite, and JSON writes those as Python does."""
    if len(column) and isinstance(column[0], str):
        return list(map(_json, column))
    return list(map(repr, column))


def _counts(track: CounterTrack, process: int) -> Iterator[str]:
    name, unit = _json(track.name), _json(track.unit)
    for at, value in zip(track.at_ns.tolist(), track.values.tolist(), strict=True):
        yield f'{{"ph":"C","ts":{_microseconds(at)},"name":{name},"pid":{process},"args":{{{unit}:{value!r}}}}}'


def _microseconds(nanoseconds: int) -> str:
    """Nanoseconds as microseconds, exactly: decimal digits, not a division of floats.

    >>> _microseconds(1_002_003)
    '1002.003'
    """
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"
