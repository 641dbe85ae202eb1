"""What the columns of a Program are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

NONE: Final = -1
"""The index that stands for "no unit", "no route", "no deadline", "no limit"."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def offsets_of(counts: Sequence[int] | Ints) -> Ints:
    """Where groups of so many elements begin if they stand end to end, and where the last one ends: a CSR index.

    >>> offsets_of([2, 0, 3]).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """The whole numbers of many ranges one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    stops = np.cumsum(lengths)
    total = int(stops[-1]) if len(stops) else 0
    numbers: Ints = np.arange(total, dtype=np.int64) + np.repeat(starts - (stops - lengths), lengths)
    return numbers


def successors_of(predecessor_offsets: Ints, predecessors: Ints) -> tuple[Ints, Ints]:
    """The edges of a graph in CSR form, turned round: offsets and indices, each list ascending."""
    count = len(predecessor_offsets) - 1
    order = np.argsort(predecessors, kind="stable")
    waiting = np.repeat(np.arange(count), np.diff(predecessor_offsets))[order]
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(predecessors, minlength=count), out=offsets[1:])
    return offsets, waiting.astype(np.int64)
