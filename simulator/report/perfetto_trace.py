"""Traces as Perfetto protobuf: smaller and faster to load than JSON, for runs of many tasks.

Which tracks there are is in `report.trace_tracks`. The protobuf classes come from the package `perfetto`. A slice is
two packets (begin, end) that are alike for a whole track except for time, name and arguments; so each track has one
pair of packets that is filled in and serialised again and again, four times as fast as making new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import IO, Any, Final, cast

from simulator.errors import MissingExtraError
from simulator.ppa.power import Meter
from simulator.report.files import new_file
from simulator.report.trace_tracks import trace_tracks
from simulator.report.track import GROUPS, Column, CounterTrack, SliceTrack, Tracks, group_number
from simulator.timeline.timeline import Timeline

_SEQUENCE: Final = 1
"""All packets belong to one sequence, so a name is written once and then meant by its number."""


def write_perfetto(timeline: Timeline, path: str | os.PathLike[str], *, title: str, meter: Meter | None = None) -> None:
    """Writes a run as a Perfetto trace.

    Raises:
        MissingExtraError: when the extra `trace` is not installed.
        OutputError: when the file cannot be written; then there is no file.
    """
    protos = _protos()
    tracks = trace_tracks(timeline, title=title, meter=meter)
    with new_file(path) as file:
        _PerfettoFile(file, protos, tracks).write()


def _protos() -> ModuleType:
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2  # noqa: PLC0415 (an optional package)
    except ModuleNotFoundError:
        raise MissingExtraError("perfetto", "trace") from None
    return perfetto_trace_pb2  # type: ignore[no-any-return]


class _PerfettoFile:
    """One trace on its way into a file."""

    def __init__(self, file: IO[bytes], protos: ModuleType, tracks: Tracks) -> None:
        self._file = file
        self._protos = protos
        self._tracks = tracks
        slices = tracks.slices
        self._labels = _numbered(label for track in slices for label in track.labels)
        self._categories = _numbered(track.category for track in slices)
        self._keys = _numbered(key for track in slices for key in track.arguments)
        self._texts = _numbered(
            text for track in slices for column in track.arguments.values() for text in _texts(column)
        )

    def write(self) -> None:
        """Writes names, groups and then track after track; the viewer sorts by time, and keeps ties in this order."""
        self._write_names()
        for group, title in self._tracks.groups:
            self._write(self._described(group, title))
        first = len(GROUPS) + 1
        for number, track in enumerate(self._tracks.slices, start=first):
            self._write(self._described(number, track.name, parent=group_number(track.group)))
            self._write_slices(track, number)
        for number, counter in enumerate(self._tracks.counters, start=first + len(self._tracks.slices)):
            trace = self._described(number, counter.name, parent=group_number(counter.group))
            trace.packet[0].track_descriptor.counter.unit_name = counter.unit
            self._write(trace)
            self._write_counter(counter, number)

    def _write(self, trace: Any) -> None:
        self._file.write(trace.SerializeToString())

    def _packet(self, trace: Any) -> Any:
        return trace.packet.add(trusted_packet_sequence_id=_SEQUENCE)

    def _write_names(self) -> None:
        trace = self._protos.Trace()
        packet = self._packet(trace)
        packet.sequence_flags = self._protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        names = packet.interned_data
        for entries, numbers in (
            (names.event_names, self._labels),
            (names.event_categories, self._categories),
            (names.debug_annotation_names, self._keys),
        ):
            for name, number in numbers.items():
                entries.add(iid=number, name=name)
        for text, number in self._texts.items():
            names.debug_annotation_string_values.add(iid=number, str=text.encode())
        self._write(trace)

    def _described(self, number: int, name: str, *, parent: int | None = None) -> Any:
        """A trace with the description of a group or, if it has a parent, of a track. Rows are in order of number."""
        trace = self._protos.Trace()
        description = self._packet(trace).track_descriptor
        description.uuid = number
        description.name = name
        description.sibling_order_rank = number
        if parent is None:
            description.child_ordering = self._protos.TrackDescriptor.EXPLICIT
        else:
            description.parent_uuid = parent
        return trace

    def _write_slices(self, track: SliceTrack, number: int) -> None:
        kinds = self._protos.TrackEvent
        pair, instant = self._protos.Trace(), self._protos.Trace()
        begin, at = self._event(pair, track, number), self._event(instant, track, number)
        end = self._packet(pair)
        begin.track_event.type, at.track_event.type = kinds.TYPE_SLICE_BEGIN, kinds.TYPE_INSTANT
        end.track_event.type, end.track_event.track_uuid = kinds.TYPE_SLICE_END, number
        lasting = pair, begin, list(begin.track_event.debug_annotations)
        momentary = instant, at, list(at.track_event.debug_annotations)
        labels, columns = self._labels, [self._annotations(column) for column in track.arguments.values()]
        fields = [name for name, _ in columns]
        rows = zip(*(values for _, values in columns), strict=True) if columns else ((),) * len(track)
        for start_ns, end_ns, label, values in zip(
            track.start_ns.tolist(), track.end_ns.tolist(), track.labels, rows, strict=True
        ):
            trace, packet, annotations = lasting if end_ns > start_ns else momentary
            packet.timestamp, end.timestamp = start_ns, end_ns
            packet.track_event.name_iid = labels[label]
            for annotation, name, value in zip(annotations, fields, values, strict=True):
                setattr(annotation, name, value)
            self._write(trace)

    def _event(self, trace: Any, track: SliceTrack, number: int) -> Any:
        """A new packet for the slices of a track, without kind, time, name and values of arguments."""
        packet = self._packet(trace)
        packet.sequence_flags = self._protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        packet.track_event.track_uuid = number
        packet.track_event.category_iids.append(self._categories[track.category])
        for key in track.arguments:
            packet.track_event.debug_annotations.add(name_iid=self._keys[key])
        return packet

    def _annotations(self, column: Column) -> tuple[str, Sequence[int] | Sequence[float]]:
        """The field of an annotation that keeps values of this type, and the values; text becomes a number."""
        texts = _texts(column)
        if texts:
            return "string_value_iid", [self._texts[text] for text in texts]
        if len(column) and isinstance(column[0], int):
            return "int_value", cast(Sequence[int], column)
        return "double_value", cast(Sequence[float], column)

    def _write_counter(self, counter: CounterTrack, number: int) -> None:
        trace = self._protos.Trace()
        packet = self._packet(trace)
        event = packet.track_event
        event.type, event.track_uuid = self._protos.TrackEvent.TYPE_COUNTER, number
        for at_ns, value in zip(counter.at_ns.tolist(), counter.values.tolist(), strict=True):
            packet.timestamp = at_ns
            event.double_counter_value = value
            self._write(trace)


def _texts(column: Column) -> Sequence[str]:
    """A column if it holds text, else nothing."""
    return cast(Sequence[str], column) if len(column) and isinstance(column[0], str) else ()


def _numbered(texts: Iterable[str]) -> dict[str, int]:
    """A number from 1 for every distinct text, in the order of first appearance."""
    return {text: number for number, text in enumerate(dict.fromkeys(texts), start=1)}
