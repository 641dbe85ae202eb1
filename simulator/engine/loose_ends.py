"""The loose ends of a part of a job: the tasks of it that no other task of it waits for.

To wait for these is to wait for the whole part. The instances of the job are looked at backwards; one that is followed
by the same as when its fragment was looked at before, and had no loose ends then, has none.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.compiled import called_in_place, compiled_in_place
from simulator.engine.fragment_graph import INSTANCE, NUM_LOOSE_END_COLUMNS, TASK, FragmentGraph
from simulator.program import NONE
from simulator.program.columns import Ints

Bools = npt.NDArray[np.bool_]

IS_USED: Final = 1
"""A task that is not idle waits for it."""
IS_AWAITED: Final = 2
"""A task of the part waits for it."""
_UNKNOWN: Final = NONE - 1


class _Known(NamedTuple):
    """What is known of each fragment from the last time that it was looked at. A window is the last tasks."""

    before: Ints
    """The fragment of the instance before; `_UNKNOWN` if there were loose ends."""
    entry: Ints
    """What the instance after makes of its window (shape: fragments, window): `IS_USED` and `IS_AWAITED` added."""
    exit: Ints
    """What it makes of the window of the instance before."""


def loose_ends(graph: FragmentGraph, fragments: Ints, is_inside: Bools, most: int) -> Ints:
    """The tasks of a part of a job that no task of the part waits for, in the order of instances.

    A milestone that waits for nothing outside the part ends with a task of it, so it may be left out. The idle ones
    are, which only idle milestones wait for, if any; the others stay, since they join many loose ends into one.

    Args:
        graph: the template tasks.
        fragments: the fragment of each instance of the job.
        is_inside: which template tasks are in the part.
        most: when more than this many are found, no more are looked for.
    Returns:
        What `longest_chain` takes (shape: loose ends, columns).
    """
    found = np.empty((most + 1, NUM_LOOSE_END_COLUMNS), dtype=np.int64)
    if not np.any(is_inside):
        return found[:0]
    count = len(graph.reach)
    known = _Known(
        before=np.full(count, _UNKNOWN),
        entry=np.zeros((count, graph.window), dtype=np.int64),
        exit=np.zeros((count, graph.window), dtype=np.int64),
    )
    window, marks = np.zeros(graph.window, dtype=np.int64), np.zeros(graph.longest, dtype=np.int64)
    num_found = _look_back(graph, known, fragments, is_inside, window, marks, found)
    return np.ascontiguousarray(found[:num_found][::-1])


@compiled_in_place
def _look_back(  # noqa: PLR0917
    graph: FragmentGraph, known: _Known, fragments: Ints, is_inside: Any, window: Ints, marks: Ints, found: Ints
) -> int:
    """Writes the loose ends, last instance first, as many as fit; returns their number."""
    num_found = 0
    for instance in range(len(fragments) - 1, -1, -1):
        fragment, before = fragments[instance], fragments[instance - 1] if instance > 0 else NONE
        if not _is_known(known, fragment, before, window):
            for place in range(len(window)):
                known.entry[fragment, place] = window[place]
            stop = _look(graph, known, marks, (instance, fragment, before), is_inside, found, num_found)
            known.before[fragment] = before if stop == num_found else _UNKNOWN
            num_found = stop
            if num_found == len(found):
                break
        for place in range(len(window)):
            window[place] = known.exit[fragment, place]
    return num_found


@called_in_place
def _is_known(known: _Known, fragment: int, before: int, window: Ints) -> bool:
    """Whether the fragment was looked at last between the same neighbours."""
    if known.before[fragment] != before:
        return False
    for place in range(len(window)):  # noqa: SIM110  (`all` is not compiled)
        if known.entry[fragment, place] != window[place]:
            return False
    return True


@called_in_place
def _look(  # noqa: PLR0917
    graph: FragmentGraph,
    known: _Known,
    marks: Ints,
    where: tuple[int, int, int],
    is_inside: Any,
    found: Ints,
    count: int,
) -> int:
    """Writes the loose ends of an instance from row `count` on, as many as fit; returns the row after them."""
    instance, fragment, before = where
    start, stop = graph.offsets[fragment], graph.offsets[fragment + 1]
    for local in range(stop - start):
        marks[local] = 0
    for place in range(graph.window):
        known.exit[fragment, place] = 0
    for place in range(min(stop - start, graph.window)):
        marks[stop - start - 1 - place] = known.entry[fragment, place]
    for position in range(stop - 1, start - 1, -1):
        task = graph.order[position]
        mark = marks[task - start]
        is_idle = graph.is_milestone[task] and mark & IS_USED == 0
        counts = is_inside[task] and not (is_idle and _waits_inside(graph, start, before, task, is_inside))
        if counts and mark & IS_AWAITED == 0 and count < len(found):
            found[count, INSTANCE], found[count, TASK] = instance, task
            count += 1
        mark = (0 if is_idle else IS_USED) + (IS_AWAITED if counts else 0)
        for edge in range(graph.predecessor_offsets[task], graph.predecessor_offsets[task + 1]):
            awaited = graph.predecessors[edge]
            if awaited >= 0:
                marks[awaited] |= mark
            else:
                known.exit[fragment, -awaited - 1] |= mark
    return count


@called_in_place
def _waits_inside(graph: FragmentGraph, start: int, before: int, task: int, is_inside: Any) -> bool:
    """Whether a task, of the fragment from `start` on after the fragment `before`, waits only for tasks of the part."""
    for edge in range(graph.predecessor_offsets[task], graph.predecessor_offsets[task + 1]):
        awaited = graph.predecessors[edge]
        if not is_inside[start + awaited if awaited >= 0 else graph.offsets[before + 1] + awaited]:
            return False
    return True
