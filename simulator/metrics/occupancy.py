"""How full each memory got."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.program.capacity import Steps
from simulator.timeline.occupancy import occupancy_steps
from simulator.timeline.timeline import Timeline


@dataclass(frozen=True)
class MemoryUse:
    """The occupancy of one memory over a run."""

    name: str
    size_bytes: int
    peak_bytes: int
    average_bytes: float
    """Over time; 0 for a run without length."""


def memory_use(timeline: Timeline) -> tuple[MemoryUse, ...]:
    """The peak and average occupancy of every memory."""
    resources = timeline.program.resources
    return tuple(
        _use(name, size_bytes, steps, timeline.horizon_tick)
        for name, size_bytes, steps in zip(
            resources.memory_names, resources.memory_bytes.tolist(), occupancy_steps(timeline), strict=True
        )
    )


def _use(name: str, size_bytes: int, steps: Steps, horizon_tick: int) -> MemoryUse:
    """The use of a memory whose steps lie within the run."""
    held_ticks, num_within = np.diff(steps.tick, append=horizon_tick), int(np.searchsorted(steps.tick, horizon_tick))
    return MemoryUse(
        name=name,
        size_bytes=size_bytes,
        peak_bytes=int(np.max(steps.value[:num_within], initial=0)),
        average_bytes=float(np.sum(steps.value * held_ticks)) / horizon_tick if horizon_tick else 0.0,
    )
