"""The longest chain of those tasks of a job that wait for given others, read off the folded tasks.

Whatever ticks enter an instance, a fragment adds to them in the same way, so it is walked once for all of its
instances, and once more whenever the tasks before it had waited for other ones than the last time.

Formula:  end(task) = max over the tasks w of the window (end(w) + gain of the task from w), or its gain from nothing
          window    = the last tasks of the instance before, as many as edges reach back

What the bound makes of chains is in `simulator.engine.bound`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.compiled import called_in_place, compiled_in_place
from simulator.engine.fragment_graph import INSTANCE, TASK, FragmentGraph
from simulator.program import NONE
from simulator.program.columns import Ints

Bools = npt.NDArray[np.bool_]

WORD_BITS: Final = 63
"""Bits of a signed word that are no sign."""

NEVER: Final = -(2**62)
"""The gain of a task from one that it does not wait for, in ticks."""


class _Known(NamedTuple):
    """What is known of each fragment from its last walk. Columns: the tasks of the window, then nothing."""

    is_walked: Any
    entry: Ints
    """What its window had waited for, as bits (shape: fragments, words, window)."""
    exit: Ints
    """The same of its own last tasks, the very last first."""
    is_counted: Any
    """Which of its tasks were counted (shape: template tasks)."""
    gain_ticks: Ints
    """Of its last tasks (shape: fragments, window, columns)."""
    chain_ticks: Ints
    """The largest gain of any of its tasks (shape: fragments, columns)."""
    repeats: Ints
    """How many instances were like the one walked, itself included."""


class _Walk(NamedTuple):
    """Where a walk is, and the instance at hand."""

    waited: Ints
    """What the window has waited for, as bits (shape: words, window)."""
    ticks: Ints
    """When each task of the window ended, and 0 for nothing (shape: columns)."""
    next_ticks: Ints
    """The same after the instance."""
    task_waited: Ints
    """What each task of the instance has waited for, itself included (shape: words, tasks)."""
    gain_ticks: Ints
    """Of each task of the instance from one column (shape: tasks)."""
    bit: Ints
    """Which loose end a task of the instance is, NONE for most."""
    all_waited: Ints
    """All loose ends, as bits (shape: words)."""


def longest_chain(graph: FragmentGraph, fragments: Ints, is_inside: Bools, loose_ends: Ints, times: Ints) -> int:
    """The longest chain of tasks that wait, directly or not, for all loose ends, in ticks.

    Args:
        graph: the template tasks.
        fragments: the fragment of each instance of the job.
        is_inside: which template tasks may be counted (shape: template tasks).
        loose_ends: the tasks to wait for, in the order of instances (shape: loose ends, columns).
        times: for how many instances each template task was counted is added here (shape: template tasks).
    """
    count, window, words = len(graph.reach), graph.window, -(-len(loose_ends) // WORD_BITS)
    bits = np.arange(len(loose_ends))
    all_waited = np.zeros(words, dtype=np.int64)
    np.bitwise_or.at(all_waited, bits // WORD_BITS, 1 << (bits % WORD_BITS))
    known = _Known(
        is_walked=np.zeros(count, dtype=np.bool_),
        entry=np.zeros((count, words, window), dtype=np.int64),
        exit=np.zeros((count, words, window), dtype=np.int64),
        is_counted=np.zeros(len(graph.order), dtype=np.bool_),
        gain_ticks=np.full((count, window, window + 1), NEVER),
        chain_ticks=np.full((count, window + 1), NEVER),
        repeats=np.zeros(count, dtype=np.int64),
    )
    walk = _Walk(
        waited=np.zeros((words, window), dtype=np.int64),
        ticks=np.zeros(window + 1, dtype=np.int64),
        next_ticks=np.zeros(window + 1, dtype=np.int64),
        task_waited=np.zeros((words, graph.longest), dtype=np.int64),
        gain_ticks=np.zeros(graph.longest, dtype=np.int64),
        bit=np.full(graph.longest, NONE),
        all_waited=all_waited,
    )
    has_inside = np.logical_or.reduceat(is_inside, graph.offsets[:-1])[fragments]
    first = int(loose_ends[0, INSTANCE]) if len(loose_ends) else 0
    stop = len(fragments) - int(np.argmax(has_inside[::-1]))
    return _walk_on(graph, known, walk, fragments[:stop], first, is_inside, loose_ends, times)


@compiled_in_place
def _walk_on(  # noqa: PLR0917
    graph: FragmentGraph, known: _Known, walk: _Walk, fragments: Ints, first: int, is_inside: Any, loose_ends: Ints,
    times: Ints,
) -> int:  # fmt: skip
    """Walks all instances from the first on; returns the longest chain in ticks."""
    longest_ticks, loose = 0, 0
    for instance in range(first, len(fragments)):
        fragment, first_loose = fragments[instance], loose
        while loose < len(loose_ends) and loose_ends[loose, INSTANCE] == instance:
            walk.bit[loose_ends[loose, TASK] - graph.offsets[fragment]] = loose
            loose += 1
        if loose > first_loose or not _is_known(known, walk, fragment):
            _add_repeats(graph, known, fragment, times)
            _walk_fragment(graph, known, walk, fragment, is_inside)
            known.is_walked[fragment] = loose == first_loose
        known.repeats[fragment] += 1
        longest_ticks = max(longest_ticks, _leave(known, walk, fragment))
    for fragment in range(len(known.repeats)):
        _add_repeats(graph, known, fragment, times)
    return longest_ticks


@called_in_place
def _is_known(known: _Known, walk: _Walk, fragment: int) -> bool:
    """Whether the last walk of the fragment had the same window."""
    for word in range(walk.waited.shape[0]):
        for place in range(walk.waited.shape[1]):
            if known.entry[fragment, word, place] != walk.waited[word, place]:
                return False
    is_walked: bool = known.is_walked[fragment]
    return is_walked


@called_in_place
def _add_repeats(graph: FragmentGraph, known: _Known, fragment: int, times: Ints) -> None:
    """Counts the instances that were like the last one walked."""
    if known.repeats[fragment] > 0:
        for task in range(graph.offsets[fragment], graph.offsets[fragment + 1]):
            times[task] += known.repeats[fragment] * known.is_counted[task]
        known.repeats[fragment] = 0


@called_in_place
def _walk_fragment(graph: FragmentGraph, known: _Known, walk: _Walk, fragment: int, is_inside: Any) -> None:
    """Walks the tasks of a fragment and remembers what it makes of its window."""
    start, stop = graph.offsets[fragment], graph.offsets[fragment + 1]
    last = min(stop - start, graph.window)
    for task in range(start, stop):
        known.is_counted[task] = is_inside[task]
    for word in range(len(walk.all_waited)):
        _wait(graph, known, walk, start, stop, word)
        for place in range(graph.window):
            known.entry[fragment, word, place] = walk.waited[word, place]
        for place in range(last):
            known.exit[fragment, word, place] = walk.task_waited[word, stop - start - 1 - place]
    for local in range(stop - start):
        walk.bit[local] = NONE
    for column in range(graph.window + 1):
        if column < graph.reach[fragment] or column == graph.window:
            known.chain_ticks[fragment, column] = _gain(graph, known, walk, start, stop, column)
            for place in range(last):
                known.gain_ticks[fragment, place, column] = walk.gain_ticks[stop - start - 1 - place]


@called_in_place
def _wait(graph: FragmentGraph, known: _Known, walk: _Walk, start: int, stop: int, word: int) -> None:  # noqa: PLR0917
    """Joins what the predecessors of each task waited for, one word of it; only who waited for all is counted."""
    for position in range(start, stop):
        task = graph.order[position]
        joined = 0
        for edge in range(graph.predecessor_offsets[task], graph.predecessor_offsets[task + 1]):
            before = graph.predecessors[edge]
            joined |= walk.task_waited[word, before] if before >= 0 else walk.waited[word, -before - 1]
        known.is_counted[task] &= joined == walk.all_waited[word]
        if walk.bit[task - start] // WORD_BITS == word:
            joined |= 1 << (walk.bit[task - start] % WORD_BITS)
        walk.task_waited[word, task - start] = joined


@called_in_place
def _gain(graph: FragmentGraph, known: _Known, walk: _Walk, start: int, stop: int, column: int) -> int:  # noqa: PLR0917
    """The gains of all tasks of a fragment from one column of the window; returns the largest."""
    from_nothing = 0 if column == graph.window else NEVER
    largest_ticks = NEVER
    for position in range(start, stop):
        task = graph.order[position]
        gain = from_nothing
        for edge in range(graph.predecessor_offsets[task], graph.predecessor_offsets[task + 1]):
            before = graph.predecessors[edge]
            if before >= 0:
                gain = max(gain, walk.gain_ticks[before])
            elif -before - 1 == column:
                gain = max(gain, 0)
        if known.is_counted[task]:
            gain += graph.sole_ticks[task]
        walk.gain_ticks[task - start] = gain
        largest_ticks = max(largest_ticks, gain)
    return largest_ticks


@called_in_place
def _leave(known: _Known, walk: _Walk, fragment: int) -> int:
    """Puts the last tasks of an instance into the window; returns its longest chain in ticks."""
    window, longest_ticks = len(walk.ticks) - 1, 0
    for column in range(window + 1):
        longest_ticks = max(longest_ticks, walk.ticks[column] + known.chain_ticks[fragment, column])
    for place in range(window):
        end_tick = 0
        for column in range(window + 1):
            end_tick = max(end_tick, walk.ticks[column] + known.gain_ticks[fragment, place, column])
        walk.next_ticks[place] = end_tick
    for place in range(window):
        walk.ticks[place] = walk.next_ticks[place]
        for word in range(walk.waited.shape[0]):
            walk.waited[word, place] = known.exit[fragment, word, place]
    return longest_ticks
