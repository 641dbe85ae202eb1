"""The analytic lower bound: the fewest ticks that any engine can need for a job, without simulating it.

Reads a Program and no Timeline. It knows neither arrival nor competition: other jobs, background and waiting can only
add to it. Units with a process of the user's own are outside it: such a process may serve a task in any time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.program.capacity import highest_bytes_per_s, maximum_share, sole_duration_ticks
from simulator.program.program import NONE, Floats, Ints, Program
from simulator.units import ROUNDING_GUARD_TICKS, TICKS_PER_SECOND

Bools = npt.NDArray[np.bool_]

CHAIN: Final = "chain"
"""What binds when no resource explains most of it: the longest chain of tasks that wait for each other."""

MOSTLY_BINDING_FRACTION: Final = 2 / 3
"""A resource that needs this much of the longest chain is named instead of the chain.

Tasks that follow each other mostly on one resource are a chain, too, but what an architect can change is the resource.
"""

MAX_LOOSE_ENDS: Final = 2048
"""If more tasks than this must be waited for one by one, the bound of the next phase is 0: true, and of no use.

A phase that ends in one milestone, or in the tiles of its last operation, is far below. The limit keeps the bit sets
of a job of 200 thousand tasks below 60 MB.
"""


@dataclass(frozen=True)
class PhaseBound:
    """The lower bound of one phase of a job."""

    phase: int
    """Index into `labels.phases`."""
    ticks: int
    bound_by: str
    """A unit, a channel, or `CHAIN`."""


@dataclass(frozen=True)
class Bound:
    """The lower bound of a job and of its phases, in the order of their indices."""

    ticks: int
    bound_by: str
    """A unit, a channel, or `CHAIN`."""
    phases: tuple[PhaseBound, ...]


def lower_bound(program: Program, job: int) -> Bound:
    """The fewest ticks from the start of a job to its end, and from the end of each phase to that of the next.

    Formula:  terms(S) = max over  the longest chain of tasks of S, each at its sole duration,
                                   sum of sole durations on a unit / its slots,
                                   sum of bytes on a channel / its capacity,
                                   sum of bytes of a master on a channel / (its maximum share x the capacity)
              phase p  = terms(tasks of p that wait, directly or not, for every task of the phases before p)
              job      = max(terms(all its tasks), sum of its phases)
    Source:   [williams2009], the roofline, with chains and slots added.

    Proof. All tasks of S run between two instants, so their distance is at least what a chain of them takes, since
    none is shorter than its sole duration at the highest clock or capacity that the Program ever has. A unit does
    `slots` ticks of work per tick. A channel moves at most its capacity. An engine may end a flow
    `ROUNDING_GUARD_TICKS` early, so a channel with n flows is granted n times that. The tasks counted for phase p
    start after the last end of an earlier phase and end before the last end of p; these spans do not overlap and lie
    in the job, so their sum is a bound too. Milestones that nothing uses need no waiting for: they end with what they
    wait for. If phases are barriers, no task of a phase is left out; a prefetch across a barrier is left out of its
    phase, but not of the job.
    """
    sole_ticks = sole_duration_ticks(program)[_rows(program, job)]
    graph = _JobGraph.of(program, job, sole_ticks)
    phase_of = _phase_of_tasks(program, job)
    present = [int(phase) for phase in np.unique(phase_of) if phase != NONE]
    group = np.full(len(phase_of), NONE, dtype=np.int64)
    chains = []
    for number, phase in enumerate(present):
        counted, chain_ticks = graph.phase(phase_of == phase, (phase_of < phase) & (phase_of != NONE))
        group[counted] = number
        chains.append(chain_ticks)
    terms = _resource_terms(program, job, sole_ticks, group, len(present))
    phases = tuple(
        PhaseBound(phase, *_binding(chain_ticks, term))
        for phase, chain_ticks, term in zip(present, chains, terms, strict=True)
    )
    (whole,) = _resource_terms(program, job, sole_ticks, np.zeros_like(group), 1)
    ticks, bound_by = _binding(graph.longest_chain(), whole)
    sum_ticks = sum(phase.ticks for phase in phases)
    if sum_ticks > ticks:
        return Bound(sum_ticks, _largest_part(phases), phases)
    return Bound(ticks, bound_by, phases)


@dataclass(frozen=True, eq=False)
class _JobGraph:
    """The tasks of one job as plain lists, numbered from 0: a loop over lists is faster than over arrays."""

    sole_ticks: list[int]
    predecessors: list[list[int]]
    waiting: Ints
    """The task that waits, per edge."""
    flat: Ints
    """The task that it waits for, per edge."""
    order: Sequence[int]
    """The tasks, each after all its predecessors."""
    is_idle: Bools
    """Milestones that nothing waits for, or only idle milestones."""

    @classmethod
    def of(cls, program: Program, job: int, sole_ticks: Ints) -> _JobGraph:
        tasks = program.job_tasks(job)
        offsets = program.tasks.predecessor_offsets[tasks.start : tasks.stop + 1]
        flat = program.tasks.predecessors[offsets[0] : offsets[-1]] - tasks.start
        waiting = np.repeat(np.arange(len(tasks)), np.diff(offsets))
        entries = flat.tolist()
        predecessors = [entries[start:stop] for start, stop in itertools.pairwise((offsets - offsets[0]).tolist())]
        order = range(len(tasks)) if np.all(flat < waiting) else _topological(predecessors)
        rows = _rows(program, job)
        is_milestone = (program.tasks.unit[rows] == NONE) & (program.tasks.route[rows] == NONE)
        return cls(
            sole_ticks=sole_ticks.tolist(),
            predecessors=predecessors,
            waiting=waiting,
            flat=flat,
            order=order,
            is_idle=_idle(is_milestone, waiting, flat, predecessors, order),
        )

    def longest_chain(self) -> int:
        """The longest chain of all tasks, in ticks."""
        longest = [0] * len(self.sole_ticks)
        predecessors, sole_ticks = self.predecessors, self.sole_ticks
        for task in self.order:
            longest_before = 0
            for before in predecessors[task]:
                ticks = longest[before]
                if ticks > longest_before:  # noqa: PLR1730  (a call of max per edge takes three times as long)
                    longest_before = ticks
            longest[task] = longest_before + sole_ticks[task]
        return max(longest)

    def phase(self, is_inside: Bools, is_earlier: Bools) -> tuple[list[int], int]:
        """The tasks of a phase that wait for all tasks of earlier phases, and the longest chain of them in ticks.

        To wait for all earlier tasks is to wait for those that no earlier task waits for. Each of these is one bit,
        and every task carries the bits that it has waited for: Python's integers are bit sets of any size.
        """
        loose_ends = self._loose_ends(is_earlier)
        if len(loose_ends) > MAX_LOOSE_ENDS:
            return [], 0
        bit = {task: 1 << number for number, task in enumerate(loose_ends)}
        all_bits = (1 << len(loose_ends)) - 1
        order = self.order
        if isinstance(order, range):  # no task before the first loose end waits for it
            order = order[min(loose_ends, default=0) : int(np.flatnonzero(is_inside)[-1]) + 1]
        inside, predecessors, sole_ticks = is_inside.tolist(), self.predecessors, self.sole_ticks
        waited, longest = [0] * len(inside), [0] * len(inside)
        counted = []
        for task in order:
            bits, longest_before = 0, 0
            for before in predecessors[task]:
                bits |= waited[before]
                ticks = longest[before]
                if ticks > longest_before:  # noqa: PLR1730
                    longest_before = ticks
            if bits == all_bits and inside[task]:
                counted.append(task)
                longest_before += sole_ticks[task]
            waited[task] = bits | bit[task] if task in bit else bits
            longest[task] = longest_before
        return counted, max(longest)

    def _loose_ends(self, is_earlier: Bools) -> list[int]:
        """The tasks of a set that no task of the set waits for.

        A milestone that waits for nothing outside the set ends with a task of the set, so it may be left out. The idle
        ones are, since nobody waits for them; the others stay, since they join many loose ends into one.
        """
        waits_outside = np.zeros(len(is_earlier), dtype=np.bool_)
        waits_outside[self.waiting[~is_earlier[self.flat]]] = True
        counts = is_earlier & ~(self.is_idle & ~waits_outside)
        is_loose = counts.copy()
        is_loose[self.flat[counts[self.waiting]]] = False
        return np.flatnonzero(is_loose).tolist()


def _idle(is_milestone: Bools, waiting: Ints, flat: Ints, predecessors: list[list[int]], order: Sequence[int]) -> Bools:
    """Milestones that nothing waits for, or only such milestones."""
    idle = is_milestone.copy()
    idle[flat[~is_milestone[waiting]]] = False
    milestones, is_idle = is_milestone.tolist(), idle.tolist()
    for task in reversed(order):
        if milestones[task] and not is_idle[task]:
            for predecessor in predecessors[task]:
                is_idle[predecessor] = False
    return np.array(is_idle)


def _topological(predecessors: list[list[int]]) -> list[int]:
    """The tasks in an order in which each comes after its predecessors."""
    successors: list[list[int]] = [[] for _ in predecessors]
    for task, before in enumerate(predecessors):
        for predecessor in before:
            successors[predecessor].append(task)
    missing = [len(before) for before in predecessors]
    order = [task for task, count in enumerate(missing) if count == 0]
    for task in order:  # grows while it is read
        for successor in successors[task]:
            missing[successor] -= 1
            if missing[successor] == 0:
                order.append(successor)
    return order


def _phase_of_tasks(program: Program, job: int) -> Ints:
    """The phase of every task of a job, NONE if it has none."""
    operation = program.tasks.operation[_rows(program, job)]
    if len(program.labels.operations) == 0:
        return operation
    return np.where(operation == NONE, NONE, program.labels.operation_phase[operation])


def _resource_terms(program: Program, job: int, sole_ticks: Ints, group: Ints, num_groups: int) -> list[dict[str, int]]:
    """Per group of a job's tasks, the fewest ticks that each resource needs for it. Group NONE counts nowhere."""
    resources = program.resources
    terms: list[dict[str, int]] = [{} for _ in range(num_groups)]
    unit = program.tasks.unit[_rows(program, job)]
    computes = np.flatnonzero((unit != NONE) & (group != NONE))
    busy_ticks = np.zeros((num_groups, len(resources.unit_names)), dtype=np.int64)
    np.add.at(busy_ticks, (group[computes], unit[computes]), sole_ticks[computes])
    ticks_per_slot = -(-busy_ticks // resources.unit_slots)
    for number, unit_index in np.argwhere(ticks_per_slot > 0).tolist():
        terms[number][resources.unit_names[unit_index]] = int(ticks_per_slot[number, unit_index])
    channel_ticks = _channel_terms(program, job, group, num_groups)
    for number, channel in np.argwhere(channel_ticks > 0).tolist():
        terms[number][resources.channel_names[channel]] = int(channel_ticks[number, channel])
    return terms


def _channel_terms(program: Program, job: int, group: Ints, num_groups: int) -> Ints:
    """The fewest ticks that each channel needs for each group of a job's tasks (shape: groups, channels)."""
    resources, tasks, rows = program.resources, program.tasks, _rows(program, job)
    num_masters, num_channels = len(resources.master_names), len(resources.channel_names)
    if num_masters == 0 or resources.num_routes == 0:
        return np.zeros((num_groups, num_channels), dtype=np.int64)
    transfers = np.flatnonzero((tasks.size_bytes[rows] > 0) & (group != NONE))
    where = (group[transfers], tasks.master[rows][transfers], tasks.route[rows][transfers])
    size_bytes = np.zeros((num_groups, num_masters, resources.num_routes))
    num_flows = np.zeros_like(size_bytes)
    np.add.at(size_bytes, where, tasks.size_bytes[rows][transfers])
    np.add.at(num_flows, where, 1)
    crosses = np.zeros((resources.num_routes, num_channels))
    crosses[np.repeat(np.arange(resources.num_routes), np.diff(resources.route_offsets)), resources.route_channels] = 1
    size_bytes, num_flows = size_bytes @ crosses, num_flows @ crosses  # sums of whole numbers below 2^53: exact
    capacity = highest_bytes_per_s(program)
    of_masters = size_bytes / (maximum_share(program) * capacity) * TICKS_PER_SECOND - ROUNDING_GUARD_TICKS * num_flows
    of_all = size_bytes.sum(axis=1) / capacity * TICKS_PER_SECOND - ROUNDING_GUARD_TICKS * num_flows.sum(axis=1)
    needed: Floats = np.ceil(np.maximum(np.max(of_masters, axis=1), of_all))
    return np.maximum(needed, 0).astype(np.int64)


def _binding(chain_ticks: int, resource_ticks: Mapping[str, int]) -> tuple[int, str]:
    """The largest term and its name."""
    name = max(resource_ticks, key=resource_ticks.__getitem__, default=CHAIN)
    longest = resource_ticks.get(name, 0)
    is_chain = longest < MOSTLY_BINDING_FRACTION * chain_ticks
    return max(chain_ticks, longest), CHAIN if is_chain else name


def _largest_part(phases: Sequence[PhaseBound]) -> str:
    """What binds for most of a sum of phases."""
    ticks: dict[str, int] = {}
    for phase in phases:
        ticks[phase.bound_by] = ticks.get(phase.bound_by, 0) + phase.ticks
    return max(ticks, key=ticks.__getitem__)


def _rows(program: Program, job: int) -> slice:
    tasks = program.job_tasks(job)
    return slice(tasks.start, tasks.stop)
