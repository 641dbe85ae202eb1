"""The analytic lower bound: the fewest ticks that any engine can need for a job, without simulating it.

Reads a Program and no Timeline. It knows neither arrival nor competition: other jobs, background and waiting can only
add to it. Units with a process of the user's own are outside it: such a process may serve a task in any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.compiled import compiled_in_place
from simulator.engine.chains import longest_chain
from simulator.engine.fragment_graph import NUM_LOOSE_END_COLUMNS, FragmentGraph, fragment_graph
from simulator.engine.loose_ends import loose_ends
from simulator.program.capacity import highest_bytes_per_s, maximum_share
from simulator.program.program import NONE, Floats, Ints, Program, Resources
from simulator.program.template_columns import phase_of_templates, sole_ticks_of_templates, times_of_templates
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
                                   sum of bytes x usage on a channel / its capacity,
                                   the same sum of a master / (its hard maximum share x the capacity),
                                   the periods that the budget of a master on a channel takes for that sum
              phase p  = terms(tasks of p that wait, directly or not, for every task of the phases before p)
              job      = max(terms(all its tasks), sum of its phases)
    Source:   [williams2009], the roofline, with chains and slots added.

    Proof. All tasks of S run between two instants, so their distance is at least what a chain of them takes, since
    none is shorter than its sole duration at the highest clock or capacity that the Program ever has. A unit does
    `slots` ticks of work per tick. A channel moves at most its capacity. An engine may end a flow
    `ROUNDING_GUARD_TICKS` early, so a channel with n flows is granted n times that. For budgets see `_budget_ticks`.
    The tasks counted for phase p start after the last end of an earlier phase and end before the last end of p; these
    spans do not overlap and lie in the job, so their sum is a bound too. Milestones that nothing uses need no waiting
    for: they end with what they wait for. If phases are barriers, no task of a phase is left out; a prefetch across a
    barrier is left out of its phase, but not of the job.
    """
    instances = program.folded_tasks.instances
    fragments = instances.fragment[instances.job_offsets[job] : instances.job_offsets[job + 1]]
    sole_ticks, phase_of = sole_ticks_of_templates(program), phase_of_templates(program)
    times = times_of_templates(program, job)
    graph = fragment_graph(program.folded_tasks.templates, sole_ticks)
    present = np.flatnonzero(np.bincount(phase_of[(phase_of != NONE) & (times > 0)])).tolist()
    counted, chains = np.zeros((len(present), len(times)), dtype=np.int64), []
    for phase, times_counted in zip(present, counted, strict=True):
        chains.append(_phase_chain(graph, fragments, phase_of, phase, times_counted))
    # If every task counts in its phase, it waits for all of the phases before: their chains join to the longest.
    is_partition = np.array_equal(counted.sum(axis=0), times)
    longest_ticks = sum(chains) if is_partition else _whole_chain(graph, fragments)
    *terms, whole = _resource_terms(program, sole_ticks, np.vstack([counted, times]))
    phases = tuple(
        PhaseBound(phase, *_binding(chain_ticks, term))
        for phase, chain_ticks, term in zip(present, chains, terms, strict=True)
    )
    ticks, bound_by = _binding(longest_ticks, whole)
    sum_ticks = sum(phase.ticks for phase in phases)
    if sum_ticks > ticks:
        return Bound(sum_ticks, _largest_part(phases), phases)
    return Bound(ticks, bound_by, phases)


def _phase_chain(graph: FragmentGraph, fragments: Ints, phase_of: Ints, phase: int, times: Ints) -> int:
    """The longest chain of the tasks of a phase that wait for all earlier ones; counts these in `times`."""
    is_earlier = (phase_of < phase) & (phase_of != NONE)
    ends = loose_ends(graph, fragments, is_earlier, MAX_LOOSE_ENDS)
    if len(ends) > MAX_LOOSE_ENDS:
        return 0
    return longest_chain(graph, fragments, phase_of == phase, ends, times)


def _whole_chain(graph: FragmentGraph, fragments: Ints) -> int:
    """The longest chain of all tasks of a job."""
    everything, nothing = (
        np.ones(len(graph.order), dtype=np.bool_),
        np.zeros((0, NUM_LOOSE_END_COLUMNS), dtype=np.int64),
    )
    return longest_chain(graph, fragments, everything, nothing, np.zeros(len(graph.order), dtype=np.int64))


def _resource_terms(program: Program, sole_ticks: Ints, times: Ints) -> list[dict[str, int]]:
    """Per group of tasks, the fewest ticks that each resource needs for it.

    Args:
        program: the Program.
        sole_ticks: of each template task.
        times: how often each group has each template task (shape: groups, template tasks).
    """
    resources, unit = program.resources, program.folded_tasks.templates.unit
    terms: list[dict[str, int]] = [{} for _ in times]
    busy_ticks = _sums(unit, sole_ticks, times, len(resources.unit_names))
    ticks_per_slot = -(-busy_ticks // resources.unit_slots)
    for number, unit_index in np.argwhere(ticks_per_slot > 0).tolist():
        terms[number][resources.unit_names[unit_index]] = int(ticks_per_slot[number, unit_index])
    channel_ticks = _channel_terms(program, times)
    for number, channel in np.argwhere(channel_ticks > 0).tolist():
        terms[number][resources.channel_names[channel]] = int(channel_ticks[number, channel])
    return terms


def _channel_terms(program: Program, times: Ints) -> Ints:
    """The fewest ticks that each channel needs for each group of tasks (shape: groups, channels)."""
    resources, templates = program.resources, program.folded_tasks.templates
    num_masters, num_routes, num_channels = (
        len(resources.master_names), resources.num_routes, len(resources.channel_names)
    )  # fmt: skip
    if num_masters == 0 or num_routes == 0:
        return np.zeros((len(times), num_channels), dtype=np.int64)
    moves = templates.size_bytes > 0
    flow = np.where(moves, templates.master * num_routes + templates.route, NONE)
    shape = (len(times), num_masters, num_routes)
    total_bytes = _sums(flow, templates.size_bytes, times, num_masters * num_routes).reshape(shape).astype(np.float64)
    total_flows = _sums(flow, np.ones_like(flow), times, num_masters * num_routes).reshape(shape).astype(np.float64)
    crosses = np.zeros((num_routes, num_channels))
    crossing = np.repeat(np.arange(num_routes), np.diff(resources.route_offsets))
    crosses[crossing, resources.route_channels] = 1
    usage = np.zeros_like(crosses)
    usage[crossing, resources.route_channels] = resources.route_usage
    taken_bytes, num_flows = total_bytes @ usage, total_flows @ crosses  # whole numbers below 2^53 stay exact
    capacity = highest_bytes_per_s(program)
    most = maximum_share(program) * capacity
    of_masters = taken_bytes / most * TICKS_PER_SECOND - ROUNDING_GUARD_TICKS * num_flows
    of_all = taken_bytes.sum(axis=1) / capacity * TICKS_PER_SECOND - ROUNDING_GUARD_TICKS * num_flows.sum(axis=1)
    needed: Floats = np.maximum(np.max(of_masters, axis=1), of_all)
    for index in range(len(resources.budget_master)):
        pair = (resources.budget_master[index], resources.budget_channel[index])
        ticks = _budget_ticks(resources, index, most[pair], taken_bytes[:, *pair], num_flows[:, *pair])
        needed[:, pair[1]] = np.maximum(needed[:, pair[1]], ticks)
    return np.maximum(np.ceil(needed), 0).astype(np.int64)


def _budget_ticks(
    resources: Resources, budget: int, most_bytes_per_s: float, taken_bytes: Floats, num_flows: Floats
) -> Floats:
    """The fewest ticks in which a budget lets so much be taken, for each group of tasks.

    Formula:  (k - 2) period + (taken - (k - 2) budget) / rate,  k = ceil(taken / budget) periods at least

    Proof. No period gives more than the budget and one tick of flow. The first and the last of the k periods may be
    used in part; what the k - 2 between them cannot give takes at least its time at the highest rate. More periods
    only add to it, if the budget is less than what the channel moves in a period; else it binds nobody.
    """
    bytes_per_tick = most_bytes_per_s / TICKS_PER_SECOND
    period_ticks, budget_bytes = float(resources.budget_period_ticks[budget]), resources.budget_bytes[budget]
    given_bytes = budget_bytes + bytes_per_tick
    if given_bytes >= bytes_per_tick * period_ticks:
        return np.zeros(len(taken_bytes))
    needed_bytes = taken_bytes - ROUNDING_GUARD_TICKS * (1 + num_flows) * bytes_per_tick
    between = np.maximum(np.ceil(needed_bytes / given_bytes) - 2, 0)
    ticks: Floats = between * period_ticks + (needed_bytes - between * given_bytes) / bytes_per_tick
    return ticks


def _sums(index: Ints, amount: Ints, times: Ints, length: int) -> Ints:
    """Per group, the sums of times x amount of the template tasks with each index; NONE counts nowhere."""
    sums = np.zeros((len(times), length), dtype=np.int64)
    _add(index, amount, times, sums)
    return sums


@compiled_in_place
def _add(index: Ints, amount: Ints, times: Ints, sums: Ints) -> None:
    for group in range(len(times)):
        for task in range(len(index)):
            if index[task] != NONE:
                sums[group, index[task]] += times[group, task] * amount[task]


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
