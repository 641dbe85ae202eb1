"""Pareto fronts: which vectors no other dominates, and what dominates the rest. All quantities are made small.

Vector a dominates vector b if it is at most b in every quantity and below b in one. Equal vectors do not dominate each
other, so a front holds all of them. Everything here is exact: floats are compared as they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NONE: Final = -1
"""Stands for no index."""

_BLOCK: Final = 512
"""Rows compared with each other at once."""
_COMPARISONS: Final = 4_000_000
"""Comparisons at once, so that their truth values stay small in memory."""


def non_dominated(vectors: Floats) -> npt.NDArray[np.bool_]:
    """Which vectors no other one dominates.

    Args:
        vectors: one row per vector; infinities are numbers like others, NaN is not allowed.

    >>> non_dominated(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 2.0], [2.0, 2.0]])).tolist()
    [True, True, False, True]
    """
    vectors = _checked(vectors)
    if len(vectors) == 0 or vectors.shape[1] == 2:
        return np.equal(dominators(vectors, vectors), NONE)
    # Whatever dominates a vector comes before it in lexicographic order, so one pass is enough; and as domination is
    # transitive, it is enough to compare with the front so far.
    order = np.lexsort(vectors.T[::-1])
    front = np.empty((0, vectors.shape[1]))
    kept = np.zeros(len(vectors), dtype=bool)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        block = block[_first_dominators(vectors[block], front) == NONE]
        block = block[_first_dominators(vectors[block], vectors[block]) == NONE]
        kept[block] = True
        front = np.concatenate([front, np.unique(vectors[block], axis=0)])
    return kept


def dominators(vectors: Floats, by: Floats) -> npt.NDArray[np.int64]:
    """For each vector the index of one of `by` that dominates it, or NONE.

    Args:
        vectors: one row per vector.
        by: the vectors that may dominate, with the same quantities.

    >>> dominators(np.array([[1.0, 1.0], [5.0, 3.0]]), np.array([[1.0, 1.0], [4.0, 3.0]])).tolist()
    [-1, 0]
    """
    vectors, by = _checked(vectors), _checked(by)
    if len(by) == 0 or len(vectors) == 0:
        return np.full(len(vectors), NONE, dtype=np.int64)
    if vectors.shape[1] == 2:
        return _dominators_of_pairs(vectors, by)
    # what is dominated is dominated by the front of `by`, too; the rest need not be compared
    front = np.flatnonzero(non_dominated(by)) if len(by) > _BLOCK else np.arange(len(by))
    found = _first_dominators(vectors, by[front])
    return np.where(found == NONE, NONE, front[found])


def _dominators_of_pairs(vectors: Floats, by: Floats) -> npt.NDArray[np.int64]:
    """Two quantities: of all `by` that are no larger in the first, only the smallest in the second can matter."""
    order = np.lexsort((by[:, 1], by[:, 0]))
    first, second = by[order, 0], by[order, 1]
    # place of the smallest second so far; of equal ones the earliest, whose first is smallest
    is_smaller = np.ones(len(by), dtype=bool)
    is_smaller[1:] = second[1:] < np.minimum.accumulate(second)[:-1]
    best = np.maximum.accumulate(np.where(is_smaller, np.arange(len(by)), 0))
    count = np.searchsorted(first, vectors[:, 0], side="right")
    place = best[np.maximum(count - 1, 0)]
    is_below = (second[place] < vectors[:, 1]) | ((second[place] == vectors[:, 1]) & (first[place] < vectors[:, 0]))
    return np.where((count > 0) & is_below, order[place], NONE).astype(np.int64)


def _first_dominators(vectors: Floats, by: Floats) -> npt.NDArray[np.int64]:
    """Any number of quantities: compares all with all, in chunks."""
    found = np.full(len(vectors), NONE, dtype=np.int64)
    if len(by) == 0:
        return found
    rows = max(1, _COMPARISONS // len(by))
    for start in range(0, len(vectors), rows):
        chunk = vectors[start : start + rows]
        is_at_most = np.ones((len(chunk), len(by)), dtype=bool)
        is_below = np.zeros((len(chunk), len(by)), dtype=bool)
        for quantity in range(vectors.shape[1]):
            ours, theirs = chunk[:, quantity, None], by[None, :, quantity]
            is_at_most &= theirs <= ours
            is_below |= theirs < ours
        dominates = is_at_most & is_below
        where = dominates.argmax(axis=1)
        found[start : start + rows] = np.where(dominates[np.arange(len(chunk)), where], where, NONE)
    return found


def _checked(vectors: Floats) -> Floats:
    if vectors.ndim != 2 or np.isnan(vectors).any():
        raise ValueError("vectors must be rows of numbers that are not NaN")
    return vectors
