"""How busy units and channels are, over a whole run or a window of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.compiled import compiled_in_place
from simulator.program.capacity import channel_steps
from simulator.program.program import NONE, Ints
from simulator.timeline.job_rows import FoldedJobs, JobRows, folded_jobs
from simulator.timeline.timeline import Timeline
from simulator.timeline.traffic import channel_bytes, granted_steps, taken_bytes
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
    """Over the whole run the exact sum of what tasks and background moved; over a part what they took of capacity."""
    utilization: float
    """Bytes times usage over what the capacity in force would have allowed; 0 if it allowed nothing."""
    average_bytes_per_s: float
    peak_bytes_per_s: float
    """The most that was taken of the capacity for at least a tick."""


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
    program, rows = timeline.program, JobRows.of(timeline)
    busy = np.zeros(len(program.resources.unit_names), dtype=np.int64)
    held = (rows.column(timeline.start_tick, missing=stop_tick), rows.column(timeline.end_tick))
    window = (start_tick, stop_tick, timeline.horizon_tick)
    _add_busy(folded_jobs(program), program.folded_tasks.templates.unit, rows.job, rows.first_row, held, window, busy)
    return busy


@compiled_in_place
def _add_busy(  # noqa: PLR0917
    jobs: FoldedJobs, unit: Ints, job: Ints, first_row: Ints, held: tuple[Ints, Ints], window: tuple[int, int, int],
    busy_ticks: Ints,
) -> None:  # fmt: skip
    """Adds the time that each job row held its unit within a window."""
    start_tick, end_tick = held
    window_start_tick, window_stop_tick, horizon_tick = window
    for run in range(len(job)):
        first, stop = jobs.instance_offsets[job[run]], jobs.instance_offsets[job[run] + 1]
        for instance in range(first, stop):
            template_start = jobs.template_starts[instance]
            to_row = first_row[run] + jobs.starts[instance] - jobs.starts[first] - template_start
            for template in range(template_start, template_start + jobs.starts[instance + 1] - jobs.starts[instance]):
                if unit[template] != NONE:
                    start, end = start_tick[template + to_row], end_tick[template + to_row]
                    end = horizon_tick if end == NONE else end
                    ticks = min(end, window_stop_tick) - max(start, window_start_tick)
                    busy_ticks[unit[template]] += max(ticks, 0)


def channel_use(timeline: Timeline, start_tick: int = 0, stop_tick: int | None = None) -> tuple[ChannelUse, ...]:
    """The use of every channel in [start, stop), by default the whole run."""
    stop = timeline.horizon_tick if stop_tick is None else stop_tick
    is_whole = start_tick == 0 and stop == timeline.horizon_tick
    served, taken = (channel_bytes(timeline), taken_bytes(timeline)) if is_whole else (None, None)
    uses = []
    for channel, name in enumerate(timeline.program.resources.channel_names):
        granted = granted_steps(timeline, channel)
        granted_bytes = granted.integral(start_tick, stop) / TICKS_PER_SECOND
        moved_bytes = granted_bytes if served is None else float(served[channel])
        used_bytes = granted_bytes if taken is None else float(taken[channel])
        allowed = channel_steps(timeline.program, channel).integral(start_tick, stop) / TICKS_PER_SECOND
        uses.append(
            ChannelUse(
                name=name,
                moved_bytes=moved_bytes,
                utilization=used_bytes / allowed if allowed > 0 else 0.0,
                average_bytes_per_s=moved_bytes * TICKS_PER_SECOND / (stop - start_tick) if stop > start_tick else 0.0,
                peak_bytes_per_s=granted.peak(start_tick, stop),
            )
        )
    return tuple(uses)
