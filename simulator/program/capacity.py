"""What resources can do over time, and how long a task takes when it has them to itself.

Capacities follow the CapacityChanges of a Program. Durations here assume no competitor; who gets how much when
tasks compete is the engine's concern. Read by bounds, invariants and metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.program.program import Floats, Ints, Program
from simulator.units import TICKS_PER_SECOND, ceil_ticks


@dataclass(frozen=True, eq=False)
class Steps:
    """A step function of time: from `tick[i]` on it has `value[i]`. Ticks ascend strictly; the first is 0."""

    tick: Ints
    value: Floats

    @classmethod
    def of(cls, tick: Ints, value: Floats, *, initial: float) -> Steps:
        """A step function that begins with `initial` at 0; of several values at one tick the last counts."""
        ticks = np.concatenate([np.zeros(1, dtype=np.int64), tick])
        values = np.concatenate([np.array([initial]), value])
        is_last = np.append(ticks[1:] != ticks[:-1], True)
        return cls(ticks[is_last], values[is_last])

    def at(self, tick: Ints) -> Floats:
        """The values in force at some ticks (0 or later), those that begin at the tick included."""
        return self.value[np.searchsorted(self.tick, tick, side="right") - 1]

    def integral(self, start_tick: int, stop_tick: int) -> float:
        """The sum of value times ticks over [start, stop)."""
        edges = np.clip(np.append(self.tick, stop_tick), start_tick, stop_tick)
        return float(np.sum(self.value * np.diff(edges)))

    def peak(self, start_tick: int, stop_tick: int) -> float:
        """The largest value that holds for at least a tick of [start, stop); 0 for an empty window."""
        edges = np.clip(np.append(self.tick, stop_tick), start_tick, stop_tick)
        held = self.value[np.diff(edges) > 0]
        return float(held.max()) if len(held) else 0.0


def clock_steps(program: Program, unit: int) -> Steps:
    """The clock of a unit over time, in Hz."""
    changes, initial = program.changes, float(program.resources.unit_clock_hz[unit])
    mine = changes.unit == unit
    return Steps.of(changes.tick[mine], changes.value[mine], initial=initial)


def channel_steps(program: Program, channel: int) -> Steps:
    """The capacity of a channel over time, in bytes/s."""
    changes, initial = program.changes, float(program.resources.channel_bytes_per_s[channel])
    mine = changes.channel == channel
    return Steps.of(changes.tick[mine], changes.value[mine], initial=initial)


def highest_clock_hz(program: Program) -> Floats:
    """The highest clock that each unit ever has."""
    return _highest(program.resources.unit_clock_hz, [clock_steps(program, unit).value.max()
                    for unit in range(len(program.resources.unit_names))])  # fmt: skip


def highest_bytes_per_s(program: Program) -> Floats:
    """The highest capacity that each channel ever has."""
    return _highest(program.resources.channel_bytes_per_s, [channel_steps(program, channel).value.max()
                    for channel in range(len(program.resources.channel_names))])  # fmt: skip


def _highest(initial: Floats, highest: list[float]) -> Floats:
    # A resource that stands still for ever ends no task: any bound is then true, and a division by 0 is avoided.
    values = np.array(highest, dtype=np.float64)
    return np.where(values > 0, values, initial)


def maximum_share(program: Program) -> Floats:
    """The fraction of each channel that the flows of each master can ever take (shape: masters, channels).

    A soft maximum is none: alone, the master gets the whole channel.
    """
    resources = program.resources
    share = np.ones((len(resources.master_names), len(resources.channel_names)))
    maximum = np.where(resources.share_is_soft, 1.0, resources.share_maximum)
    share[resources.share_master, resources.share_channel] = maximum
    return share


def sole_transfer_ticks(program: Program, task: int, start_tick: int) -> int:
    """The ticks that one transfer takes from `start_tick` when it is alone, following the capacity changes.

    Budgets do not count: to stand still for one is to wait.
    """
    tasks = program.tasks
    size_bytes = float(tasks.size_bytes[task])
    if size_bytes == 0:
        return 0
    channels = program.resources.route(int(tasks.route[task]))
    usages = program.resources.usage(int(tasks.route[task]))
    share = maximum_share(program)[int(tasks.master[task])]
    steps = [channel_steps(program, channel) for channel in channels]
    tick = np.unique(np.concatenate([[start_tick], *(step.tick for step in steps)]))
    tick = tick[tick >= start_tick]
    alone = np.min([step.at(tick) * share[channel] / usage
                    for step, channel, usage in zip(steps, channels, usages, strict=True)], axis=0)  # fmt: skip
    rate = np.minimum(alone, tasks.rate_cap_bytes_per_s[task])
    moved = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(tick) / TICKS_PER_SECOND)])
    # The step within which the last byte moves; a rounding error must not push it into the next, which may stand still.
    last = int(np.searchsorted(moved, size_bytes * (1 - 1e-12), side="left")) - 1
    return int(tick[last]) - start_tick + ceil_ticks((size_bytes - moved[last]) / rate[last] * TICKS_PER_SECOND)
