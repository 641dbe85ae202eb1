"""How full each memory got."""

from __future__ import annotations

from dataclasses import dataclass

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
    resources, horizon = timeline.program.resources, timeline.horizon_tick
    return tuple(
        MemoryUse(
            name=name,
            size_bytes=size_bytes,
            peak_bytes=int(steps.peak(0, horizon)),
            average_bytes=steps.integral(0, horizon) / horizon if horizon else 0.0,
        )
        for name, size_bytes, steps in zip(
            resources.memory_names, resources.memory_bytes.tolist(), occupancy_steps(timeline), strict=True
        )
    )
