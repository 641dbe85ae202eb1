"""The template tasks of a Program as a graph, in the order in which bounds walk it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simulator.compiled import compiled_in_place
from simulator.program import NONE
from simulator.program.columns import Ints, offsets_of, successors_of
from simulator.program.folded import Templates

INSTANCE, TASK, NUM_LOOSE_END_COLUMNS = range(3)
"""Columns of loose ends: the instance of the job, and the template task."""


class FragmentGraph(NamedTuple):
    """The template tasks and their edges."""

    offsets: Ints
    """CSR: fragment to template tasks."""
    order: Ints
    """The template tasks, those of a fragment together, each after those of its predecessors that are in it."""
    predecessor_offsets: Ints
    predecessors: Ints
    """As in `Templates`."""
    is_milestone: Any
    """Booleans (shape: template tasks)."""
    sole_ticks: Ints
    reach: Ints
    """How many of the last tasks of the instance before each fragment may wait for."""
    window: int
    """The largest reach."""
    longest: int
    """Tasks of the longest fragment."""


def fragment_graph(templates: Templates, sole_ticks: Ints) -> FragmentGraph:
    """The edges of template tasks that take `sole_ticks` each."""
    count = len(templates.unit)
    waiting = np.repeat(np.arange(count), np.diff(templates.predecessor_offsets))
    fragment = np.repeat(np.arange(templates.num_fragments), templates.lengths)
    outer = np.flatnonzero(templates.predecessors < 0)
    reach = np.zeros(templates.num_fragments, dtype=np.int64)
    np.maximum.at(reach, fragment[waiting[outer]], -templates.predecessors[outer])
    return FragmentGraph(
        offsets=templates.fragment_offsets,
        order=_order(templates, waiting),
        predecessor_offsets=templates.predecessor_offsets,
        predecessors=templates.predecessors,
        is_milestone=(templates.unit == NONE) & (templates.route == NONE),
        sole_ticks=sole_ticks,
        reach=reach,
        window=int(np.max(reach)),
        longest=int(np.max(templates.lengths)),
    )


def _order(templates: Templates, waiting: Ints) -> Ints:
    """The template tasks, each after its predecessors; their own order if that is such an order."""
    count = len(templates.unit)
    start = np.repeat(templates.fragment_offsets[:-1], templates.lengths)
    before = templates.predecessors + start[waiting]
    if np.all(before < waiting):
        return np.arange(count)
    is_inside = templates.predecessors >= 0
    missing = np.bincount(waiting[is_inside], minlength=count)
    offsets = offsets_of(missing)
    order = np.empty(count, dtype=np.int64)
    _write_order(templates.fragment_offsets, missing, *successors_of(offsets, before[is_inside]), order)
    return order


@compiled_in_place
def _write_order(fragments: Ints, missing: Ints, offsets: Ints, successors: Ints, order: Ints) -> None:
    """Fragment by fragment, the tasks none of whose predecessors is missing any more."""
    for fragment in range(len(fragments) - 1):
        stop = fragments[fragment]
        for task in range(fragments[fragment], fragments[fragment + 1]):
            if missing[task] == 0:
                order[stop] = task
                stop += 1
        for position in range(fragments[fragment], fragments[fragment + 1]):
            task = order[position]
            for successor in successors[offsets[task] : offsets[task + 1]]:
                missing[successor] -= 1
                if missing[successor] == 0:
                    order[stop] = successor
                    stop += 1
