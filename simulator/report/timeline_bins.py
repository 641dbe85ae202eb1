"""A run cut into equal slices of time: what pictures show of hundreds of thousands of tasks. Exact, and only numpy."""

from __future__ import annotations

import numpy as np

from simulator.program.capacity import Steps
from simulator.program.program import NONE, Floats, Ints
from simulator.timeline.timeline import Timeline


def bin_edges(start_tick: int, stop_tick: int, num_bins: int) -> Ints:
    """The edges of at most `num_bins` slices of [start, stop), none of them empty (shape: slices + 1)."""
    span = max(stop_tick - start_tick, 1)
    count = min(num_bins, span)
    return start_tick + np.arange(count + 1) * span // count


def busy_fraction(timeline: Timeline, edges: Ints) -> Floats:
    """The share of its slots that each unit has busy in each slice (shape: units, slices).

    Formula: busy(t) = sum over tasks begun by t of (t - start) - sum over tasks ended by t of (t - end)
    """
    resources = timeline.program.resources
    unit = timeline.program.tasks.unit[timeline.task]
    end = np.where(timeline.end_tick == NONE, timeline.horizon_tick, timeline.end_tick)
    fractions = np.zeros((len(resources.unit_names), len(edges) - 1))
    for index, slots in enumerate(resources.unit_slots.tolist()):
        mine = unit == index
        busy = _ticks_since(timeline.start_tick[mine], edges) - _ticks_since(end[mine], edges)
        fractions[index] = np.diff(busy) / (slots * np.diff(edges))
    return fractions


def _ticks_since(tick: Ints, edges: Ints) -> Ints:
    """The sum of (edge - tick) over the ticks before each edge."""
    ordered = np.sort(tick)
    count = np.searchsorted(ordered, edges)
    total = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(ordered)])
    elapsed: Ints = count * edges - total[count]
    return elapsed


def mean_value(steps: Steps, edges: Ints) -> Floats:
    """The average of a step function in each slice (shape: slices)."""
    area = np.concatenate([np.zeros(1), np.cumsum(steps.value[:-1] * np.diff(steps.tick))])
    last = np.searchsorted(steps.tick, edges, side="right") - 1
    return np.diff(area[last] + steps.value[last] * (edges - steps.tick[last])) / np.diff(edges)


def max_value(steps: Steps, edges: Ints) -> Floats:
    """The largest value that a step function has in each slice (shape: slices)."""
    inside = (steps.tick > edges[0]) & (steps.tick < edges[-1])
    tick, value = steps.tick[inside], steps.value[inside]
    largest = steps.at(edges[:-1]).astype(np.float64)
    np.maximum.at(largest, np.searchsorted(edges, tick, side="right") - 1, value)
    return largest
