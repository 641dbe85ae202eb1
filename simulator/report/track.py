"""A track of a trace, whatever the file format: a row of slices or a counter, in a group of tracks.

Times are whole nanoseconds, since viewers keep no finer ones: both ends are rounded down, so neighbours that touch in
ticks still touch and never overlap. Which tracks a run has is in `report.trace_tracks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

import numpy as np

from simulator.program.program import Floats, Ints
from simulator.units import TICKS_PER_SECOND

GROUPS: Final = ("run", "frames", "phases", "units", "transfers", "channels", "memories", "power", "milestones")
"""Groups of tracks from top to bottom."""

TICKS_PER_NANOSECOND: Final = TICKS_PER_SECOND // 10**9

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


def lane_name(name: str, lane: int) -> str:
    """What a lane of a track is called."""
    return name if lane == 0 else f"{name} ({lane + 1})"


def nanoseconds(tick: Ints) -> Ints:
    """Ticks as whole nanoseconds."""
    return tick // TICKS_PER_NANOSECOND
