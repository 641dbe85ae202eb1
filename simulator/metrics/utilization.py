"""How busy units and channels are, over a whole run or a window of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.program.capacity import channel_steps
from simulator.program.program import NONE, Ints
from simulator.timeline.timeline import Timeline
from simulator.timeline.traffic import channel_bytes, granted_steps
from simulator.units import TICKS_PER_SECOND


@dataclass(frozen=True)
class UnitUse:
    """How busy one unit was in a window."""

    name: str
    slots: int
    busy_s: float
    """Seconds of work, added over the slots."""
    utilization: float
    """Busy time over slots times the length of the window; 0 for an empty window."""


@dataclass(frozen=True)
class ChannelUse:
    """What one channel carried in a window, background included."""

    name: str
    moved_bytes: float
    """Over the whole run the exact sum of what tasks and background moved; over a part the integral of the rates."""
    utilization: float
    """Moved bytes over what the capacity in force would have allowed; 0 if it allowed nothing."""
    average_bytes_per_s: float
    peak_bytes_per_s: float
    """The highest rate granted for at least a tick."""


def unit_use(timeline: Timeline, start_tick: int = 0, stop_tick: int | None = None) -> tuple[UnitUse, ...]:
    """The use of every unit in [start, stop), by default the whole run."""
    resources, stop = timeline.program.resources, timeline.horizon_tick if stop_tick is None else stop_tick
    busy = busy_ticks(timeline, start_tick, stop)
    span = max(stop - start_tick, 0)
    return tuple(
        UnitUse(
            name=name,
            slots=slots,
            busy_s=ticks / TICKS_PER_SECOND,
            utilization=ticks / (slots * span) if span else 0.0,
        )
        for name, slots, ticks in zip(
            resources.unit_names, resources.unit_slots.tolist(), busy.tolist(), strict=True
        )
    )  # fmt: skip


def busy_ticks(timeline: Timeline, start_tick: int, stop_tick: int) -> Ints:
    """The ticks of work on every unit in [start, stop), added over its slots (shape: units)."""
    unit = timeline.program.tasks.unit[timeline.task]
    end = np.where(timeline.end_tick == NONE, timeline.horizon_tick, timeline.end_tick)
    held = np.minimum(end, stop_tick) - np.maximum(timeline.start_tick, start_tick)
    counts = (unit != NONE) & (held > 0)
    busy = np.zeros(len(timeline.program.resources.unit_names), dtype=np.int64)
    np.add.at(busy, unit[counts], held[counts])
    return busy


def channel_use(timeline: Timeline, start_tick: int = 0, stop_tick: int | None = None) -> tuple[ChannelUse, ...]:
    """The use of every channel in [start, stop), by default the whole run."""
    stop = timeline.horizon_tick if stop_tick is None else stop_tick
    is_whole = start_tick == 0 and stop == timeline.horizon_tick
    served = channel_bytes(timeline) if is_whole else None
    uses = []
    for channel, name in enumerate(timeline.program.resources.channel_names):
        granted = granted_steps(timeline, channel)
        integral = granted.integral(start_tick, stop) / TICKS_PER_SECOND
        moved_bytes = integral if served is None else float(served[channel])
        allowed = channel_steps(timeline.program, channel).integral(start_tick, stop) / TICKS_PER_SECOND
        uses.append(
            ChannelUse(
                name=name,
                moved_bytes=moved_bytes,
                utilization=moved_bytes / allowed if allowed > 0 else 0.0,
                average_bytes_per_s=moved_bytes * TICKS_PER_SECOND / (stop - start_tick) if stop > start_tick else 0.0,
                peak_bytes_per_s=granted.peak(start_tick, stop),
            )
        )
    return tuple(uses)
