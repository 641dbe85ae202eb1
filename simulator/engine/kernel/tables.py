"""What the compiled engine reads of a Program: tables laid out for the order in which the rounds look at them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from simulator.program import NONE, Program
from simulator.program.columns import Bools, Floats, Ints, offsets_of, successors_of
from simulator.program.folded import FoldedTasks, Templates
from simulator.units import TICKS_PER_SECOND

TRANSFER: Final = -1
INSTANT: Final = -2
"""In place of a unit: a transfer that moves bytes, and a task that takes no time and no resource."""

UNIT, PRIORITY, KIND, FIRST_SUCCESSOR, END_SUCCESSOR, TO_END, NUM_TASK_COLUMNS = range(7)
"""Columns of `Tables.task`. TO_END counts from the end of the fragment: 1 is its last task."""

FIRST_TEMPLATE, END_TEMPLATE, REACH, FIRST_OUTER, FIRST_ROOT, END_ROOT, NUM_FRAGMENT_COLUMNS = range(7)
"""Columns of `Tables.fragment`. REACH: how far from its end a task of the instance before can have a successor here."""

FRAGMENT, NEXT_FRAGMENT, FIRST_TASK, RUN_FIRST, RUN_LAST, NUM_INSTANCE_COLUMNS = range(6)
"""Columns of `Tables.instance`. A run is a longest sequence of equal fragments in a job."""

FIRST_INSTANCE, END_INSTANCE, FIRST_TASK_OF_JOB, NUM_TASKS, NUM_JOB_COLUMNS = range(5)
"""Columns of `Tables.job`."""

RELEASE_TICK, RELEASE_JOB, RELEASE_STREAM, RELEASE_IN_ORDER, NUM_RELEASE_COLUMNS = range(5)
"""Columns of `Tables.release`. RELEASE_IN_ORDER: all releases by (tick, stream, number)."""

POLICY, MOST_WAITING, MOST_IN_FLIGHT, FIRST_RELEASE, NUM_STREAM_COLUMNS = range(5)
"""Columns of `Tables.stream`."""

CHANGE_TICK, CHANGE_WHAT, CHANGE_INDEX, NUM_CHANGE_COLUMNS = range(4)
"""Columns of `Tables.change`."""
CLOCK, CAPACITY, BACKGROUND_START, BACKGROUND_STOP = range(4)
"""What changes."""

AMOUNT, SIZE_BYTES = range(2)
"""Columns of `Tables.amount`. AMOUNT: ticks * hertz of a compute task, bytes of a transfer."""
WEIGHT, CAP_BYTES_PER_S = range(2)
"""Columns of `Network.kind`."""
ROW_CHANNEL, ROW_MASTER = range(2)
"""Columns of `Network.row`. ROW_MASTER: NONE for all."""
PERIOD_TICKS, BUDGET_ROW = range(2)
"""Columns of `Network.budget`. BUDGET_ROW: its row among those of the network."""

UNLIMITED: Final = 2**62


class Network(NamedTuple):
    """The kinds of flow, and the rows of `simulator.engine.sharing`."""

    kind: Floats
    """A kind is route, master and cap in one number (shape: kinds, columns)."""
    master: Ints
    """Per kind."""
    crosses: Any
    """Booleans (shape: kinds, channels)."""
    usage: Floats
    """What a byte takes of each channel that it crosses (shape: kinds, channels)."""
    has_guarantee: Any
    """Boolean per kind."""
    has_soft_bound: Any
    """Boolean per kind: whether its master has a soft maximum on a channel of its route."""
    row: Ints
    """Every channel, then hard maximum shares, budgets, soft maximum shares, minimum shares (shape: rows, columns)."""
    row_fraction: Floats
    """Limit of a row, as a fraction of the capacity of its channel; infinity for a budget, which is not used up."""
    num_hard_bounds: Ints
    """How many rows are channels, hard maximum shares or budgets (shape: 1)."""
    num_bounds: Ints
    """How many rows are no minimum shares (shape: 1)."""
    budget: Ints
    """Shape: budgets, columns."""
    budget_bytes: Floats


class Tables(NamedTuple):
    """All that a run reads."""

    task: Ints
    """Shape: template tasks, columns."""
    amount: Floats
    """Shape: template tasks, columns."""
    num_missing: Any
    """Predecessors of each template task, int32."""
    successors: Ints
    """Distances to the successors in the same instance."""
    fragment: Ints
    outer_offsets: Ints
    """CSR over (fragment, distance from the end of the instance before)."""
    outer_successors: Ints
    """Relative to the first task of the fragment."""
    roots: Ints
    """Template tasks without predecessors, fragment by fragment."""
    instance: Ints
    job: Ints
    release: Ints
    stream: Ints
    change: Ints
    """Everything that changes at a given time, by (tick, what)."""
    change_value: Floats
    background_kind: Ints
    network: Network
    longest_job: Ints
    """Tasks of the longest job (shape: 1)."""


def tables_of(program: Program) -> Tables:
    """The tables of a Program."""
    folded = program.folded_tasks
    templates = folded.templates
    kinds, kind_of_task, kind_of_background = _kinds(program, templates)
    is_compute, moves = templates.unit != NONE, templates.size_bytes > 0
    successor_offsets, successors, outer_first, reach, outer_offsets, outer_successors = _edges(templates)
    num_missing = np.diff(templates.predecessor_offsets)
    roots = np.flatnonzero(num_missing == 0)
    root_offsets = np.searchsorted(roots, templates.fragment_offsets)
    local = np.arange(len(templates.unit)) - np.repeat(templates.fragment_offsets[:-1], templates.lengths)
    streams = program.streams
    change, change_value = _changes(program)
    job_offsets, instance_offsets = program.job_offsets, folded.instances.job_offsets
    return Tables(
        task=np.stack([
            np.where(is_compute, templates.unit, np.where(moves, TRANSFER, INSTANT)), templates.priority, kind_of_task,
            successor_offsets[:-1], successor_offsets[1:], np.repeat(templates.lengths, templates.lengths) - local,
        ], axis=1),
        amount=np.stack([np.where(is_compute, templates.work_cycles * TICKS_PER_SECOND, templates.size_bytes),
                         templates.size_bytes], axis=1),
        num_missing=num_missing.astype(np.int32),
        successors=successors,
        fragment=np.stack([templates.fragment_offsets[:-1], templates.fragment_offsets[1:], reach, outer_first,
                           root_offsets[:-1], root_offsets[1:]], axis=1),
        outer_offsets=outer_offsets,
        outer_successors=outer_successors,
        roots=roots,
        instance=_instances(folded),
        job=np.stack([instance_offsets[:-1], instance_offsets[1:], job_offsets[:-1], np.diff(job_offsets)], axis=1),
        release=np.stack([streams.release_tick, streams.release_job, streams.release_stream,
                          np.argsort(streams.release_tick, kind="stable")], axis=1),
        stream=np.stack([streams.policy, np.where(streams.queue_depth == NONE, UNLIMITED, streams.queue_depth),
                         np.where(streams.in_flight == NONE, UNLIMITED, streams.in_flight),
                         streams.release_offsets[:-1]], axis=1),
        change=change,
        change_value=change_value,
        background_kind=kind_of_background,
        network=_network(program, kinds),
        longest_job=np.array([np.max(np.diff(job_offsets), initial=0)]),
    )  # fmt: skip


def _kinds(program: Program, templates: Templates) -> tuple[tuple[Ints, Ints, Floats], Ints, Ints]:
    """The distinct (route, master, cap) of all flows, and the kind of every template task and background flow."""
    moves, background = np.flatnonzero(templates.size_bytes > 0), program.background
    route = np.concatenate([templates.route[moves], background.route])
    master = np.concatenate([templates.master[moves], background.master])
    cap = np.concatenate([templates.rate_cap_bytes_per_s[moves], background.bytes_per_s])
    caps, cap_number = np.unique(cap, return_inverse=True)
    number = (route * max(len(program.resources.master_names), 1) + master) * max(len(caps), 1) + cap_number
    _, first, kind = np.unique(number, return_index=True, return_inverse=True)
    kind_of_task = np.full(len(templates.unit), NONE, dtype=np.int64)
    kind_of_task[moves] = kind[: len(moves)]
    return (route[first], master[first], cap[first]), kind_of_task, kind[len(moves) :].astype(np.int64)


def _edges(templates: Templates) -> tuple[Ints, Ints, Ints, Ints, Ints, Ints]:
    """The edges turned round, inside an instance and from one instance to the next."""
    count = len(templates.unit)
    waiting = np.repeat(np.arange(count), np.diff(templates.predecessor_offsets))
    fragment = np.repeat(np.arange(templates.num_fragments), templates.lengths)[waiting]
    first = templates.fragment_offsets[fragment]
    is_inner = templates.predecessors >= 0
    inner_counts = np.bincount(waiting[is_inner], minlength=count)
    inner_offsets = offsets_of(inner_counts)
    offsets, successors = successors_of(inner_offsets, (templates.predecessors + first)[is_inner])
    distances = successors - np.repeat(np.arange(count), np.diff(offsets))

    outer, from_end = waiting[~is_inner], -templates.predecessors[~is_inner]
    reach = np.zeros(templates.num_fragments, dtype=np.int64)
    np.maximum.at(reach, fragment[~is_inner], from_end)
    outer_first = offsets_of(reach)
    place = outer_first[fragment[~is_inner]] + from_end - 1
    order = np.argsort(place, kind="stable")
    outer_offsets = np.searchsorted(place[order], np.arange(outer_first[-1] + 1))
    return offsets, distances, outer_first[:-1], reach, outer_offsets, (outer - first[~is_inner])[order]


def _instances(folded: FoldedTasks) -> Ints:
    instances = folded.instances
    fragment, count = instances.fragment, len(instances)
    is_job_start = np.zeros(count + 1, dtype=np.bool_)
    is_job_start[instances.job_offsets] = True
    following = np.append(fragment[1:], NONE)
    following[is_job_start[1:]] = NONE
    is_run_start = is_job_start[:-1] | np.append(True, fragment[1:] != fragment[:-1])[:count]
    starts = np.append(np.flatnonzero(is_run_start), count)
    lengths = np.diff(starts)
    return np.stack([fragment, following, folded.starts[:-1], np.repeat(starts[:-1], lengths),
                     np.repeat(starts[1:] - 1, lengths)], axis=1)  # fmt: skip


def _changes(program: Program) -> tuple[Ints, Floats]:
    """Clocks, capacities, starts and stops by (tick, what); of several values at one tick only the last is kept."""
    changes, background = program.changes, program.background
    is_clock = changes.unit != NONE
    index = np.where(is_clock, changes.unit, changes.channel)
    what = np.where(is_clock, CLOCK, CAPACITY)
    resource = (changes.tick, what, index)
    order = np.lexsort(resource[::-1])  # stable: the later row of equals stays later
    is_last = np.append(np.any([np.diff(column[order]) != 0 for column in resource], axis=0), True)[: len(order)]
    kept = order[is_last]
    stops = np.flatnonzero(background.stop_tick != NONE)
    count = len(background)
    rows = np.stack([
        np.concatenate([changes.tick[kept], background.start_tick, background.stop_tick[stops]]),
        np.concatenate([what[kept], np.full(count, BACKGROUND_START), np.full(len(stops), BACKGROUND_STOP)]),
        np.concatenate([index[kept], np.arange(count), stops]),
    ], axis=1)  # fmt: skip
    value = np.concatenate([changes.value[kept], np.zeros(count + len(stops))])
    in_time = np.lexsort((rows[:, CHANGE_WHAT], rows[:, CHANGE_TICK]))
    return np.ascontiguousarray(rows[in_time]), value[in_time]


def _network(program: Program, kinds: tuple[Ints, Ints, Floats]) -> Network:
    resources = program.resources
    route, master, cap = kinds
    channels = len(resources.channel_names)
    usage = np.zeros((len(route), channels))
    for kind, number in enumerate(route.tolist()):
        usage[kind, list(resources.route(number))] = resources.usage(number)
    crosses = usage > 0
    is_bound, num_budgets = resources.share_maximum < 1, len(resources.budget_master)
    hard = np.flatnonzero(is_bound & ~resources.share_is_soft)
    soft = np.flatnonzero(is_bound & resources.share_is_soft)
    guaranteed = np.flatnonzero(resources.share_minimum > 0)

    def concerns(shares: Ints) -> Bools:
        """Which kinds have one of some shares on their route."""
        pairs = np.zeros((len(resources.master_names), channels), dtype=np.bool_)
        pairs[resources.share_master[shares], resources.share_channel[shares]] = True
        return np.asarray(np.any(pairs[master] & crosses, axis=1))

    def rows(of_channels: Ints, of_shares: Ints, of_budgets: Ints) -> Ints:
        return np.concatenate([of_channels, of_shares[hard], of_budgets, of_shares[soft], of_shares[guaranteed]])

    num_hard_bounds = channels + len(hard) + num_budgets
    return Network(
        kind=np.stack([resources.master_weight[master], cap], axis=1),
        master=master,
        crosses=crosses,
        usage=usage,
        has_guarantee=concerns(guaranteed),
        has_soft_bound=concerns(soft),
        row=np.stack([rows(np.arange(channels), resources.share_channel, resources.budget_channel),
                      rows(np.full(channels, NONE), resources.share_master, resources.budget_master)], axis=1),
        row_fraction=np.concatenate([np.ones(channels), resources.share_maximum[hard], np.full(num_budgets, np.inf),
                                     resources.share_maximum[soft], resources.share_minimum[guaranteed]]),
        num_hard_bounds=np.array([num_hard_bounds]),
        num_bounds=np.array([num_hard_bounds + len(soft)]),
        budget=np.stack([resources.budget_period_ticks, np.arange(num_budgets) + channels + len(hard)], axis=1),
        budget_bytes=resources.budget_bytes,
    )  # fmt: skip
