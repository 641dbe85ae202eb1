"""The first row of the picture of a run: frames, coloured by phase, with deadlines, lateness and drops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simulator.metrics.latency import release_latency
from simulator.program.program import NONE, Ints
from simulator.report.style import COLOURS, FAINT, INK, MISSED, MUTED
from simulator.report.track import lanes
from simulator.timeline.timeline import ReleaseStatus, Timeline
from simulator.units import TICKS_PER_SECOND

_TICKS_PER_MS: Final = TICKS_PER_SECOND // 1000
_MOST_LANES: Final = 4
"""Frames of one stream that are drawn above each other; in a deeper queue the rest share the last lane."""
_HEIGHT: Final = 0.7
_LATE_HEIGHT: Final = 0.12
_DROP_HEIGHT: Final = 0.5
"""Of a bar, of the strip under it that says how late it was, and of the marks above it for releases that were dropped.
Bars are 1 apart."""
_CHARACTERS_PER_COLUMN: Final = 60
_DARK_COLOURS: Final = (0, 2, 6)
"""Indices of the colours on which white text can be read."""

Numbers = npt.NDArray[np.signedinteger[Any] | np.floating[Any]]
"""Ticks and places of bars, whole or not."""

WAITING: Final = -1
UNFINISHED: Final = -2
UNDIVIDED: Final = -3
"""Kinds of segments that are no phase: not admitted yet, cut off by the end of the run, a job without phases."""


@dataclass(frozen=True, eq=False)
class FrameRow:
    """Bars from top to bottom, segments on them (one array entry each), and marks."""

    phases: tuple[str, ...]
    """Names of phases, each once: streams may have phases of one name, which then look alike."""
    bar_names: tuple[str, ...]
    """The stream, on its first bar; empty on further bars of the same stream."""
    segment_bar: Ints
    segment_kind: Ints
    """Index into `phases`, or WAITING, UNFINISHED or UNDIVIDED."""
    segment_start: Ints
    segment_end: Ints
    deadline_bar: Ints
    deadline_tick: Ints
    late_until: Ints
    """The end of the frame if it missed this deadline, else NONE."""
    drop_bar: Ints
    drop_tick: Ints

    @property
    def num_bars(self) -> int:
        """How many bars there are."""
        return len(self.bar_names)

    @classmethod
    def of(cls, timeline: Timeline) -> FrameRow:
        """The frames of a run."""
        streams = timeline.program.streams
        phases = tuple(dict.fromkeys(timeline.program.labels.phases))
        bar_names: list[str] = []
        segments: list[tuple[int, int, int, int]] = []
        deadlines: list[tuple[int, int, int]] = []
        drops: list[tuple[int, int]] = []
        for stream, name in enumerate(streams.names):
            releases = np.arange(streams.release_offsets[stream], streams.release_offsets[stream + 1])
            status = timeline.release_status[releases]
            frames = releases[(status != ReleaseStatus.PENDING) & (status != ReleaseStatus.DROPPED)]
            start = streams.release_tick[frames]
            end = timeline.release_end_tick[frames]
            end = np.where(end == NONE, timeline.horizon_tick, end)
            lane = np.minimum(lanes(start, end), _MOST_LANES - 1)
            first_bar = len(bar_names)
            bar_names += [name, *[""] * int(lane.max(initial=0))]
            for release, bar in zip(frames.tolist(), (first_bar + lane).tolist(), strict=True):
                segments += [(bar, *segment) for segment in _segments(timeline, release, phases)]
            allowed = int(streams.deadline_ticks[stream])
            if allowed != NONE:
                due = start + allowed
                late = np.where(end > due, end, NONE)
                deadlines += zip((first_bar + lane).tolist(), due.tolist(), late.tolist(), strict=True)
            dropped = releases[status == ReleaseStatus.DROPPED]
            drops += [(first_bar, tick) for tick in streams.release_tick[dropped].tolist()]
        return cls(phases, tuple(bar_names), *_columns(segments, 4), *_columns(deadlines, 3),
                   *_columns(drops, 2))  # fmt: skip

    def draw(self, axes: Axes, start_tick: int, stop_tick: int, *, is_detail: bool) -> None:
        """Draws what lies in [start, stop); with names in the segments if `is_detail`."""
        seen = (self.segment_end >= start_tick) & (self.segment_start <= stop_tick)
        for kind in np.unique(self.segment_kind[seen]).tolist():
            mine = np.flatnonzero(seen & (self.segment_kind == kind))
            _bars(axes, self.segment_bar[mine], self.segment_start[mine], self.segment_end[mine], **_look(kind))
        if is_detail:
            self._name_segments(axes, np.flatnonzero(seen), stop_tick - start_tick)
        is_due = (self.deadline_tick >= start_tick) & (self.deadline_tick <= stop_tick)
        is_late = self.late_until != NONE
        mine = np.flatnonzero(is_late & (self.late_until >= start_tick) & (self.deadline_tick <= stop_tick))
        below = self.deadline_bar[mine] + (_HEIGHT + _LATE_HEIGHT) / 2
        _bars(axes, below, self.deadline_tick[mine], self.late_until[mine], height=_LATE_HEIGHT, facecolor=MISSED)
        for wanted, colour in ((is_due & ~is_late, INK), (is_due & is_late, MISSED)):
            bar = self.deadline_bar[wanted]
            axes.vlines(self.deadline_tick[wanted] / _TICKS_PER_MS, bar - 0.48, bar + 0.48, colors=colour, linewidth=2)
        is_seen = (self.drop_tick >= start_tick) & (self.drop_tick <= stop_tick)
        if np.any(is_seen):  # an empty line would count as a mark in the corner of the picture
            above = self.drop_bar[is_seen] - _DROP_HEIGHT
            axes.plot(self.drop_tick[is_seen] / _TICKS_PER_MS, above, linestyle="none", marker="x", color=MISSED,
                      markersize=6, markeredgewidth=2)  # fmt: skip
        axes.set_yticks(range(self.num_bars), self.bar_names)
        axes.set_ylim(self.num_bars - 0.45, -0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines[:].set_visible(False)

    def _name_segments(self, axes: Axes, segments: Ints, span_ticks: int) -> None:
        for row in segments.tolist():
            kind, start, end = int(self.segment_kind[row]), self.segment_start[row], self.segment_end[row]
            room = (end - start) / span_ticks * _CHARACTERS_PER_COLUMN
            if kind >= 0 and room >= len(self.phases[kind]) + 1:
                axes.text((start + end) / 2 / _TICKS_PER_MS, self.segment_bar[row], self.phases[kind], ha="center",
                          va="center", fontsize=10, color="white" if kind % len(COLOURS) in _DARK_COLOURS else INK,
                          clip_on=True)  # fmt: skip

    def legend(self) -> list[Artist]:
        """Handles for everything that occurs."""
        kinds = [kind for kind in np.unique(self.segment_kind).tolist() if kind >= 0]
        handles: list[Artist] = [Patch(label=self.phases[kind], **_look(kind)) for kind in kinds]
        for kind, name in ((UNDIVIDED, "frame"), (WAITING, "waiting"), (UNFINISHED, "not finished")):
            if np.any(self.segment_kind == kind):
                handles.append(Patch(label=name, **_look(kind)))
        if np.any(self.late_until == NONE):
            handles.append(_mark("deadline", marker="|", color=INK))
        if np.any(self.late_until != NONE):
            handles.append(Patch(label="late", facecolor=MISSED))
        if len(self.drop_tick):
            handles.append(_mark("dropped", marker="x", color=MISSED))
        return handles


def _segments(timeline: Timeline, release: int, names: tuple[str, ...]) -> list[tuple[int, int, int]]:
    """What a release did, as (kind, start, end)."""
    released, admitted = int(timeline.program.streams.release_tick[release]), int(timeline.release_start_tick[release])
    if admitted == NONE:
        return [(WAITING, released, timeline.horizon_tick)]
    waiting = [(WAITING, released, admitted)] if admitted > released else []
    if timeline.release_status[release] != ReleaseStatus.COMPLETED:
        return [*waiting, (UNFINISHED, admitted, timeline.horizon_tick)]
    frame = release_latency(timeline, release)
    phases = [(names.index(phase.name), phase.start_tick, phase.end_tick) for phase in frame.phases]
    return waiting + (phases or [(UNDIVIDED, admitted, frame.end_tick)])


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> list[Ints]:
    """Rows as one array per column, also if there are none."""
    return list(np.array(rows, dtype=np.int64).reshape(len(rows), width).T)


def _look(kind: int) -> dict[str, Any]:
    """The face of a segment."""
    if kind >= 0:
        return {"facecolor": COLOURS[kind % len(COLOURS)], "edgecolor": "white", "linewidth": 0.4}
    if kind == UNDIVIDED:
        return {"facecolor": MUTED, "edgecolor": "white", "linewidth": 0.4}
    return {"facecolor": FAINT if kind == UNFINISHED else "white", "edgecolor": MUTED, "linewidth": 0.8}


def _bars(
    axes: Axes, bar: Numbers, start_tick: Numbers, end_tick: Numbers, *, height: float = _HEIGHT, **look: Any
) -> None:
    """One collection of rectangles; thousands of them cost as little as one."""
    left, right = start_tick / _TICKS_PER_MS, end_tick / _TICKS_PER_MS
    low, high = bar - height / 2, bar + height / 2
    x, y = np.stack([left, right, right, left], axis=1), np.stack([low, low, high, high], axis=1)
    axes.add_collection(PolyCollection(list(np.stack([x, y], axis=2)), **look))


def _mark(label: str, *, marker: str, color: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, color=color, markersize=9, markeredgewidth=2, label=label)
