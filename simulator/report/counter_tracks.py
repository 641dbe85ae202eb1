"""The counters of a trace: power, rates of channels, occupancy of memories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from simulator.ppa.power import STATIC, Meter
from simulator.program.program import Floats, Ints
from simulator.report.timeline_bins import bin_edges
from simulator.report.track import CounterTrack, nanoseconds
from simulator.timeline.occupancy import occupancy_steps
from simulator.timeline.timeline import Timeline

POWER_SLICES: Final = 2000
"""Most slices of time of a power track."""


def counter_tracks(timeline: Timeline, meter: Meter | None) -> Iterator[CounterTrack]:
    """The counters of a run, in the order in which a viewer shows them; no power without what measures it."""
    yield from _channels(timeline)
    yield from _memories(timeline)
    yield from _power(timeline, meter)


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
    return CounterTrack(group, name, unit, nanoseconds(tick[is_change]), values[is_change])
