"""Sizes that are one number, or an array with one value per variant, and arithmetic on them.

Variants are the steps of a phase, which differ in their context, or the points of a design space.
A model that runs has plain numbers nearly everywhere, and Python is much quicker with them than numpy is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Size = int | Ints
"""A count: one number, or an array with one value per variant."""

Amount = float | Floats | Size
"""A quantity: one number, or an array with one value per variant."""


def largest(first: Any, *others: Any) -> Any:
    """The largest of several values, variant by variant."""
    for other in others:
        if isinstance(first, np.ndarray) or isinstance(other, np.ndarray):
            first = np.maximum(first, other)
        else:
            first = max(first, other)
    return first


def smallest(first: Any, second: Any) -> Any:
    """The smaller of two values, variant by variant."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.minimum(first, second)
    return min(first, second)


def choose(condition: Any, if_true: Any, if_false: Any) -> Any:
    """One of two values, variant by variant."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, if_true, if_false)
    return if_true if condition else if_false


def same(first: Size, second: Size) -> bool:
    """Whether two sizes are equal in every variant."""
    return first is second or bool(np.array_equal(first, second))


def whole(value: Any) -> Size:
    """Without what comes after the point."""
    if isinstance(value, np.ndarray):
        floored: Ints = np.floor(value).astype(np.int64)
        return floored
    return int(value)
