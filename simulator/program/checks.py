"""What `Program` refuses: whatever no engine could run.

The checks read templates and instances, so their cost does not grow with the number of repetitions.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.errors import SpecError
from simulator.program.columns import NONE, Ints, successors_of
from simulator.program.folded import FoldedOccupancies, FoldedTasks, Instances, Templates

if TYPE_CHECKING:
    from simulator.program.program import Program, Resources, Tasks

_LONGEST_PERIOD_TICKS: Final = 10**17


def check_program(program: Program) -> None:
    """Checks every rule of a Program.

    Raises:
        SpecError: when one is broken.
    """
    _check_resources(program.resources)
    if not isinstance(program.tasks, FoldedTasks):
        _check_flat(program.tasks, program.job_offsets)
    folded = program.folded_tasks
    _check_shapes(folded.templates, folded.instances)
    _require(np.array_equal(folded.job_offsets, program.job_offsets), "the jobs are not those of the instances")
    _require(np.all(np.diff(program.job_offsets) > 0), "every job needs at least one task")
    _check_tasks(folded.templates, program.resources)
    _check_edges(folded)
    _check_streams(program)
    _check_rest(program)


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise SpecError(f"program: {message}")


def _in_range(index: Ints, count: int, *, allow_none: bool = False) -> bool:
    lowest = NONE if allow_none else 0
    return bool(np.all((index >= lowest) & (index < count)))


def _check_resources(resources: Resources) -> None:
    units, channels, masters = (
        len(resources.unit_names),
        len(resources.channel_names),
        len(resources.master_names),
    )
    _require(len(resources.unit_clock_hz) == len(resources.unit_slots) == units, "unit columns differ in length")
    _require(len(resources.channel_bytes_per_s) == channels, "channel columns differ in length")
    _require(len(resources.master_weight) == masters, "master columns differ in length")
    _require(len(resources.memory_bytes) == len(resources.memory_names), "memory columns differ in length")
    for names in (resources.unit_names, resources.channel_names, resources.master_names):
        _require(len(set(names)) == len(names), f"resource names must be unique, got {names}")
    _require(np.all(np.isfinite(resources.unit_clock_hz)) and np.all(resources.unit_clock_hz > 0),
             "unit clocks must be above 0 Hz")  # fmt: skip
    _require(np.all(resources.unit_slots > 0), "units need at least one slot")
    _require(np.all(np.isfinite(resources.channel_bytes_per_s)) and np.all(resources.channel_bytes_per_s > 0),
             "channel capacities must be above 0 B/s")  # fmt: skip
    _require(np.all(np.isfinite(resources.master_weight)) and np.all(resources.master_weight > 0),
             "master weights must be above 0")  # fmt: skip
    _check_shares(resources)
    _check_budgets(resources)
    _check_routes(resources)


def _check_shares(resources: Resources) -> None:
    channels = len(resources.channel_names)
    minimum, maximum, count = resources.share_minimum, resources.share_maximum, len(resources.share_master)
    columns = (resources.share_channel, minimum, maximum, resources.share_is_soft)
    _require(all(len(column) == count for column in columns), "share columns differ in length")
    _require(_in_range(resources.share_master, len(resources.master_names)), "a share names an unknown master")
    _require(_in_range(resources.share_channel, channels), "a share names an unknown channel")
    pairs = set(zip(resources.share_master.tolist(), resources.share_channel.tolist(), strict=True))
    _require(len(pairs) == count, "a master has two shares of one channel")
    _require(np.all((minimum >= 0) & (minimum <= maximum) & (maximum > 0) & (maximum <= 1)),
             "shares need 0 <= minimum <= maximum <= 1 and maximum above 0")  # fmt: skip
    guaranteed = np.bincount(resources.share_channel, weights=minimum, minlength=channels)
    _require(np.all(guaranteed <= 1 + 1e-12), "the minimum shares of a channel sum to more than 1")


def _check_budgets(resources: Resources) -> None:
    count, period_ticks = len(resources.budget_master), resources.budget_period_ticks
    columns = (resources.budget_channel, resources.budget_bytes, period_ticks)
    _require(all(len(column) == count for column in columns), "budget columns differ in length")
    _require(_in_range(resources.budget_master, len(resources.master_names)), "a budget names an unknown master")
    _require(_in_range(resources.budget_channel, len(resources.channel_names)), "a budget names an unknown channel")
    _require(np.all(np.isfinite(resources.budget_bytes)) and np.all(resources.budget_bytes >= 1),
             "budgets must be at least 1 B")  # fmt: skip
    _require(np.all((period_ticks > 0) & (period_ticks <= _LONGEST_PERIOD_TICKS)),
             "budget periods must be at least 1 tick and at most 10^5 s")  # fmt: skip
    pairs = set(zip(resources.budget_master.tolist(), resources.budget_channel.tolist(), strict=True))
    _require(len(pairs) == count, "a master has two budgets of one channel")


def _check_routes(resources: Resources) -> None:
    _require(np.all(np.diff(resources.route_offsets) > 0), "a route needs at least one channel")
    _require(_in_range(resources.route_channels, len(resources.channel_names)), "a route names an unknown channel")
    _require(len(resources.route_usage) == len(resources.route_channels), "route columns differ in length")
    _require(np.all(np.isfinite(resources.route_usage)) and np.all(resources.route_usage > 0),
             "the usage of a channel must be above 0")  # fmt: skip
    for index in range(resources.num_routes):
        route = resources.route(index)
        _require(len(set(route)) == len(route), "a route crosses a channel twice")


def _check_flat(tasks: Tasks, job_offsets: Ints) -> None:
    """The shape of flat tasks: what must hold before they can be folded."""
    count = len(tasks)
    for column in fields(tasks):
        expected = {"predecessor_offsets": count + 1, "predecessors": len(tasks.predecessors)}.get(column.name, count)
        _require(len(getattr(tasks, column.name)) == expected, f"task column {column.name} has the wrong length")
    _check_csr(tasks.predecessor_offsets, len(tasks.predecessors), "predecessor")
    _require(_in_range(tasks.predecessors, count), "a task waits for an unknown task")
    _check_csr(job_offsets, count, "job")


def _check_csr(offsets: Ints, count: int, name: str) -> None:
    is_index = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == count and np.all(np.diff(offsets) >= 0)
    _require(is_index, f"{name} offsets are not a CSR index")


def _check_shapes(templates: Templates, instances: Instances) -> None:
    count, held = len(templates.unit), len(templates.memory)
    for name in (
        "work_cycles",
        "route",
        "size_bytes",
        "master",
        "rate_cap_bytes_per_s",
        "priority",
        "operation",
        "cause",
    ):
        _require(len(getattr(templates, name)) == count, f"task column {name} has the wrong length")
    for name in ("held_bytes", "first_task", "last_task"):
        _require(len(getattr(templates, name)) == held, f"column {name} has the wrong length")
    _require(len(templates.predecessor_offsets) == count + 1, "task column predecessor_offsets has the wrong length")
    _require(len(templates.held_offsets) == templates.num_fragments + 1, "held offsets have the wrong length")
    _check_csr(templates.predecessor_offsets, len(templates.predecessors), "predecessor")
    _check_csr(templates.fragment_offsets, count, "fragment")
    _check_csr(templates.held_offsets, held, "held")
    _require(np.all(templates.lengths > 0), "a fragment needs at least one task")
    _require(_in_range(instances.fragment, templates.num_fragments), "an instance names an unknown fragment")
    _require(len(instances.layer) == len(instances.step) == len(instances), "instance columns differ in length")
    _check_csr(instances.job_offsets, len(instances), "job")
    length = np.repeat(templates.lengths, np.diff(templates.held_offsets))
    within = np.all((templates.first_task >= 0) & (templates.first_task < length)
                    & (templates.last_task >= 0) & (templates.last_task < length))  # fmt: skip
    _require(within, "space is held by a task outside its fragment")


def _check_tasks(templates: Templates, resources: Resources) -> None:
    _require(_in_range(templates.unit, len(resources.unit_names), allow_none=True), "a task names an unknown unit")
    _require(_in_range(templates.route, resources.num_routes, allow_none=True), "a task names an unknown route")
    is_transfer = templates.route != NONE
    _require(not np.any((templates.unit != NONE) & is_transfer), "a task is both a compute task and a transfer")
    _require(_in_range(templates.master[is_transfer], len(resources.master_names)),
             "a transfer names an unknown master")  # fmt: skip
    _require(np.all(templates.size_bytes[~is_transfer] == 0), "a task that is no transfer has a size")
    _require(np.all(templates.work_cycles[templates.unit == NONE] == 0), "a task without a unit has work")
    _require(np.all(np.isfinite(templates.work_cycles)) and np.all(templates.work_cycles >= 0),
             "work must be finite and not negative")  # fmt: skip
    _require(np.all(templates.size_bytes >= 0), "sizes must not be negative")
    _require(not np.any(np.isnan(templates.rate_cap_bytes_per_s)) and np.all(templates.rate_cap_bytes_per_s > 0),
             "rate caps must be above 0 B/s")  # fmt: skip


def _check_edges(folded: FoldedTasks) -> None:
    """Every edge ends in its own instance or in the one before it in the same job, and there is no cycle."""
    templates, instances = folded.templates, folded.instances
    waiting = np.repeat(np.arange(len(templates.unit)), np.diff(templates.predecessor_offsets))
    fragment = np.repeat(np.arange(templates.num_fragments), templates.lengths)[waiting]
    _require(np.all(templates.predecessors < templates.lengths[fragment]), "an edge leaves its job")
    reach = np.zeros(templates.num_fragments, dtype=np.int64)
    np.minimum.at(reach, fragment, templates.predecessors)
    before = np.concatenate([np.zeros(1, dtype=np.int64), folded.lengths[:-1]])
    before[instances.job_offsets[:-1]] = 0
    _require(np.all(-reach[instances.fragment] <= before), "an edge leaves its job")
    if np.any(templates.predecessors >= waiting - templates.fragment_offsets[fragment]):
        _check_acyclic(templates, fragment)  # in index order there can be no cycle; else count it out


def _check_acyclic(templates: Templates, fragment: Ints) -> None:
    """No cycle inside a fragment; edges from the instance before cannot close one."""
    count = len(templates.unit)
    is_inside = templates.predecessors >= 0
    edges_before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(is_inside)])
    inner_offsets = edges_before[templates.predecessor_offsets]
    inner = (templates.predecessors + templates.fragment_offsets[fragment])[is_inside]
    offsets, successors = successors_of(inner_offsets, inner)
    missing = np.diff(inner_offsets)
    ready = list(np.flatnonzero(missing == 0))
    done = 0
    while ready:
        task = ready.pop()
        done += 1
        for successor in successors[offsets[task] : offsets[task + 1]]:
            missing[successor] -= 1
            if missing[successor] == 0:
                ready.append(successor)
    stuck = np.flatnonzero(missing > 0)
    _require(done == count, f"the tasks form a cycle through task {stuck[0] if len(stuck) else '?'}")


def _check_streams(program: Program) -> None:
    streams = program.streams
    for column in (streams.policy, streams.queue_depth, streams.in_flight, streams.deadline_ticks):
        _require(len(column) == len(streams), "stream columns differ in length")
    _require(len(streams.release_offsets) == len(streams) + 1, "stream release offsets have the wrong length")
    _require(len(streams.release_tick) == len(streams.release_job) == streams.release_offsets[-1],
             "release columns differ in length")  # fmt: skip
    _require(_in_range(streams.release_job, program.num_jobs), "a release names an unknown job")
    _require(np.all(streams.release_tick >= 0), "releases must not be before time 0")
    for start, stop in zip(streams.release_offsets[:-1], streams.release_offsets[1:], strict=True):
        _require(np.all(np.diff(streams.release_tick[start:stop]) >= 0), "the releases of a stream are not in order")
    _require(np.all((streams.in_flight == NONE) | (streams.in_flight > 0)), "in_flight must be at least 1")
    _require(np.all(streams.queue_depth >= NONE), "queue_depth must not be negative")
    _require(np.all((streams.deadline_ticks == NONE) | (streams.deadline_ticks > 0)), "deadlines must be above 0")


def _check_rest(program: Program) -> None:
    resources, background, changes = program.resources, program.background, program.changes
    _require(_in_range(background.route, resources.num_routes), "a background flow names an unknown route")
    _require(_in_range(background.master, len(resources.master_names)), "a background flow names an unknown master")
    _require(np.all(np.isfinite(background.bytes_per_s)) and np.all(background.bytes_per_s > 0),
             "background rates must be above 0 B/s")  # fmt: skip
    _require(np.all(background.start_tick >= 0), "a background flow starts before time 0")
    _require(np.all((background.stop_tick == NONE) | (background.stop_tick >= background.start_tick)),
             "a background flow stops before it starts")  # fmt: skip
    _require(np.all(np.diff(changes.tick) >= 0) and np.all(changes.tick >= 0), "capacity changes are not in time order")
    _require(np.all((changes.unit == NONE) != (changes.channel == NONE)),
             "a capacity change names a unit or a channel, not both")  # fmt: skip
    _require(_in_range(changes.unit, len(resources.unit_names), allow_none=True), "a change names an unknown unit")
    _require(_in_range(changes.channel, len(resources.channel_names), allow_none=True),
             "a change names an unknown channel")  # fmt: skip
    _require(np.all(np.isfinite(changes.value)) and np.all(changes.value >= 0), "a capacity must be 0 or above")
    occupancies, labels = program.occupancies, program.labels
    templates, count = program.folded_tasks.templates, len(program.tasks)
    if isinstance(occupancies, FoldedOccupancies):
        _require(_in_range(templates.memory, len(resources.memory_names)), "an occupancy names an unknown memory")
        occupancies = occupancies.others
    _require(_in_range(occupancies.memory, len(resources.memory_names)), "an occupancy names an unknown memory")
    _require(_in_range(occupancies.first_task, count, allow_none=True), "an occupancy names an unknown task")
    _require(_in_range(occupancies.last_task, count, allow_none=True), "an occupancy names an unknown task")
    _require(_in_range(templates.operation, len(labels.operations), allow_none=True), "unknown operation")
    _require(_in_range(templates.cause, len(labels.causes), allow_none=True), "unknown cause")
    _require(_in_range(labels.operation_phase, len(labels.phases)), "an operation names an unknown phase")
