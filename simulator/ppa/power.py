"""Energy of a frame and of a run, and power over time: template energies meet the times at which tasks ran.

A task's energy is spread evenly over the time that it ran. The parts of the energy sum to its total, and the total is
the integral of the power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from simulator.ppa.energy import PARTS, route_energy, template_energy
from simulator.ppa.energy_model import EnergyModel
from simulator.program.columns import NONE, Floats, Ints
from simulator.program.program import Program
from simulator.program.template_columns import phase_of_templates, times_of_templates
from simulator.timeline.timeline import Timeline
from simulator.units import TICKS_PER_SECOND

STATIC: Final = "static"
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "compute": ("matrix", "vector", "conversion", "routing", "host"),
    "memory": ("dram", "noc", "sram", "link"),
}
"""Parts that a picture shows together; background traffic counts as memory, too."""


@dataclass(frozen=True)
class FrameEnergy:
    """The energy of one completed release in joules: of its own tasks, and of idle silicon over its latency.

    What other releases and background traffic take at the same time is theirs.
    """

    parts_j: Mapping[str, float]
    """By part, those without energy left out; the last is static."""
    phases_j: Mapping[str, float]
    """By phase: its tasks, and idle silicon over its latency. What is missing to the total is the wait before them."""
    latency_s: float

    @property
    def total_j(self) -> float:
        """All of it."""
        return sum(self.parts_j.values())

    @property
    def average_w(self) -> float:
        """Over the latency; 0 for a frame that takes no time."""
        return self.total_j / self.latency_s if self.latency_s else 0.0


@dataclass(frozen=True, eq=False)
class PowerTrack:
    """Average power in slices of time, exact: its integral is the energy."""

    edge_ticks: Ints
    """Shape: slices + 1."""
    watts: Mapping[str, Floats]
    """By group, the last static (shape of each: slices)."""

    @property
    def total_w(self) -> Floats:
        """Shape: slices."""
        total: Floats = np.sum(list(self.watts.values()), axis=0)
        return total

    @property
    def energy_j(self) -> float:
        """The integral of the power."""
        return float(np.sum(self.total_w * np.diff(self.edge_ticks)) / TICKS_PER_SECOND)


@dataclass(frozen=True, eq=False)
class Meter:
    """The energies of the tasks of one Program on one chip."""

    program: Program
    model: EnergyModel

    @cached_property
    def of_templates(self) -> dict[str, Floats]:
        """Joules of each template task, by part."""
        return template_energy(self.program, self.model)

    def frame(self, job: int, latency_ticks: int, phase_ticks: Mapping[int, int]) -> FrameEnergy:
        """The energy of a completed release of a job.

        Args:
            job: its job.
            latency_ticks: from its arrival to its end.
            phase_ticks: the latency of each phase, by index of the phase.
        """
        program = self.program
        times = times_of_templates(program, job).astype(np.float64)
        names, phase = program.labels.phases, phase_of_templates(program)
        parts_j = {part: float(np.sum(energy * times)) for part, energy in self.of_templates.items()}
        tasks_j = np.sum(list(self.of_templates.values()), axis=0) * times
        of_phase = np.bincount(phase[phase != NONE], tasks_j[phase != NONE], minlength=len(names))
        return FrameEnergy(
            parts_j={part: energy for part, energy in parts_j.items() if energy > 0}
            | {STATIC: self._static_j(latency_ticks)},
            phases_j={
                names[index]: float(of_phase[index]) + self._static_j(ticks) for index, ticks in phase_ticks.items()
            },
            latency_s=latency_ticks / TICKS_PER_SECOND,
        )

    def run(self, timeline: Timeline) -> dict[str, float]:
        """The energy of a whole run in joules by group: all releases, background traffic, and idle silicon."""
        energy = {group: float(np.sum(self._row_energy(timeline, group))) for group in GROUPS}
        energy["memory"] += float(np.sum(self._background_energy(timeline)))
        return energy | {STATIC: self._static_j(timeline.horizon_tick)}

    def power(self, timeline: Timeline, edge_ticks: Ints) -> PowerTrack:
        """The power of a run in slices of time.

        Args:
            timeline: the run.
            edge_ticks: where the slices meet, ascending.
        """
        end = np.where(timeline.end_tick == NONE, timeline.horizon_tick, timeline.end_tick)
        slice_s = np.diff(edge_ticks) / TICKS_PER_SECOND
        watts = {
            group: in_slices(timeline.start_tick, end, self._row_energy(timeline, group), edge_ticks) / slice_s
            for group in GROUPS
        }
        background, horizon = self.program.background, timeline.horizon_tick
        stop = np.where(background.stop_tick == NONE, horizon, np.minimum(background.stop_tick, horizon))
        begin = np.minimum(background.start_tick, stop)
        watts["memory"] += in_slices(begin, stop, self._background_energy(timeline), edge_ticks) / slice_s
        return PowerTrack(edge_ticks, watts | {STATIC: np.full(len(slice_s), self.model.static_w)})

    def _static_j(self, ticks: int) -> float:
        return self.model.static_w * ticks / TICKS_PER_SECOND

    def _row_energy(self, timeline: Timeline, group: str) -> Floats:
        """The energy of each row of the timeline, of what it did before the run ended."""
        of_templates = np.sum([self.of_templates[part] for part in GROUPS[group]], axis=0)
        energy: Floats = of_templates[self.program.folded_tasks.template_task[timeline.task]]
        cut_off = np.flatnonzero(timeline.end_tick == NONE)
        if len(cut_off):
            energy = energy.copy()
            energy[cut_off] *= _done_fraction(timeline, cut_off)
        return energy

    def _background_energy(self, timeline: Timeline) -> Floats:
        """The energy of each background flow: its bytes in the channels of its route."""
        route, j_per_byte = self.program.background.route, route_energy(self.program, self.model)
        energy: Floats = timeline.background_bytes * np.sum([j_per_byte[part] for part in PARTS], axis=0)[route]
        return energy


def in_slices(start_tick: Ints, end_tick: Ints, energy_j: Floats, edge_ticks: Ints) -> Floats:
    """The energy in each slice of time, of what is spread evenly from each start to its end (shape: slices).

    What takes no time counts in the slice in which it happens, at the last edge in the last. What lies outside the
    edges does not count.
    """
    is_seen = (end_tick >= edge_ticks[0]) & (start_tick <= edge_ticks[-1])
    start, end, j = start_tick[is_seen], end_tick[is_seen], energy_j[is_seen]
    j_per_tick = j / np.maximum(end - start, 1)
    since, until = np.maximum(start, edge_ticks[0]), np.minimum(end, edge_ticks[-1])
    inside_j = np.where(end > start, j_per_tick * (until - since), j)
    return _spread(since, until, inside_j, edge_ticks)


def _spread(start_tick: Ints, end_tick: Ints, energy_j: Floats, edge_ticks: Ints) -> Floats:
    """The same for what lies inside the edges."""
    last = len(edge_ticks) - 2
    first_slice = np.clip(np.searchsorted(edge_ticks, start_tick, side="right") - 1, 0, last)
    last_slice = np.clip(np.searchsorted(edge_ticks, end_tick, side="left") - 1, first_slice, last)
    span = np.maximum(end_tick - start_tick, 1)
    j_per_tick = energy_j / span
    is_inside = first_slice == last_slice
    in_first = np.where(is_inside, energy_j, j_per_tick * (edge_ticks[first_slice + 1] - start_tick))
    in_last = np.where(is_inside, 0.0, j_per_tick * (end_tick - edge_ticks[last_slice]))
    energy = np.bincount(first_slice, in_first, minlength=last + 1) + np.bincount(
        last_slice, in_last, minlength=last + 1
    )
    # slices that are covered from edge to edge: a task adds its rate after its first slice and takes it off at its last
    rate = np.where(is_inside, 0.0, j_per_tick)
    begins = np.bincount(first_slice + 1, rate, minlength=last + 2)[: last + 1]
    stops = np.bincount(last_slice, rate, minlength=last + 2)[: last + 1]
    covered = np.maximum(np.cumsum(begins - stops), 0.0)
    result: Floats = energy + covered * np.diff(edge_ticks)
    return result


def _done_fraction(timeline: Timeline, rows: Ints) -> Floats:
    """The part of some tasks that was done when the run ended: of bytes, or of cycles at the clock of the Program."""
    tasks, task = timeline.program.tasks, timeline.task[rows]
    clock_hz = timeline.program.resources.unit_clock_hz[tasks.unit[task]]
    elapsed_s = (timeline.horizon_tick - timeline.start_tick[rows]) / TICKS_PER_SECOND
    moved = timeline.served_bytes[rows] / np.maximum(tasks.size_bytes[task], 1)
    worked = elapsed_s * clock_hz / np.maximum(tasks.work_cycles[task], 1.0)
    return np.minimum(np.where(tasks.unit[task] != NONE, worked, moved), 1.0)
