"""Queues of active records: pairing heaps (Fredman, Sedgewick, Sleator and Tarjan, Algorithmica 1, 1986).

A heap needs no room of its own: it links records that are in no other queue. The least record comes first, by
(KEY, ready tick, task, release): the order in which a unit serves, if KEY is the priority. In the calendar KEY is the
end tick, and the rest of the order does no harm.
"""

from __future__ import annotations

from simulator.compiled import called_in_place, inlined_in_place
from simulator.engine.kernel.state import CHILD, KEY, NEXT, RELEASE, ROW, SHIFT
from simulator.program.columns import Ints


@inlined_in_place
def is_before(active: Ints, ready: Ints, release: Ints, one: int, other: int) -> bool:
    """Whether one record comes before another."""
    if active[one, KEY] != active[other, KEY]:
        return bool(active[one, KEY] < active[other, KEY])
    if ready[active[one, ROW]] != ready[active[other, ROW]]:
        return bool(ready[active[one, ROW]] < ready[active[other, ROW]])
    return has_lower_number(active, release, one, other)


@inlined_in_place
def has_lower_number(active: Ints, release: Ints, one: int, other: int) -> bool:
    """Whether one record comes before another by (task, release)."""
    number, other_number = active[one, RELEASE], active[other, RELEASE]
    task, other_task = active[one, ROW] + release[number, SHIFT], active[other, ROW] + release[other_number, SHIFT]
    return bool(task < other_task or (task == other_task and number < other_number))


@inlined_in_place
def _joined(active: Ints, ready: Ints, release: Ints, one: int, other: int) -> int:
    """The root of the heap made of two heaps with these roots."""
    if is_before(active, ready, release, other, one):
        one, other = other, one
    active[other, NEXT] = active[one, CHILD]
    active[one, CHILD] = other
    return one


@inlined_in_place
def push(active: Ints, ready: Ints, release: Ints, queue: Ints, index: int, record: int) -> None:  # noqa: PLR0917
    """Puts a record into a queue."""
    active[record, CHILD] = -1
    root = queue[index]
    queue[index] = record if root < 0 else _joined(active, ready, release, root, record)


@inlined_in_place
def pop(active: Ints, ready: Ints, release: Ints, queue: Ints, index: int) -> int:
    """Takes the first record out of a queue that is not empty."""
    record = queue[index]
    child = active[record, CHILD]
    if child >= 0 and active[child, NEXT] >= 0:
        child = _paired(active, ready, release, child)
    queue[index] = child
    return int(record)


@called_in_place
def _paired(active: Ints, ready: Ints, release: Ints, child: int) -> int:
    """One heap of a list of heaps: joined in pairs from the first to the last, then one by one back."""
    pairs = -1
    while child >= 0:
        other = active[child, NEXT]
        following = -1
        if other >= 0:
            following = active[other, NEXT]
            child = _joined(active, ready, release, child, other)
        active[child, NEXT] = pairs
        pairs = child
        child = following
    root = pairs
    pairs = active[root, NEXT]
    while pairs >= 0:
        following = active[pairs, NEXT]
        root = _joined(active, ready, release, root, pairs)
        pairs = following
    return root
