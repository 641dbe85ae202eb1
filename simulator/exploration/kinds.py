"""Kinds of layers among the points of a space: points that differ in the number of layers only share all else.

Columns are those of `Space.columns`: sizes by name, one row per point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.variants import Ints, Size

Columns = Mapping[str, npt.NDArray[Any]]
"""Sizes by name, one row per point, as `Space.columns`."""

SIZES: Final = (
    "hidden", "heads", "kv_heads", "head_dim", "ffn_width", "experts", "top_k", "shared_experts", "vocabulary",
    "attention_window",
)  # fmt: skip
"""The sizes of a layer; how many layers there are only multiplies."""

KEPT_SIZES: Final = (*SIZES, "layers")
"""The same where the chip keeps weights or KV from step to step: layers share the room, so their number matters."""

_LARGEST_TABLE: Final = 2**22
"""Whole numbers up to this are coded by a table, which is many times quicker than sorting them."""


@dataclass(frozen=True, eq=False)
class LayerSizes:
    """Sizes of decoders, one row per kind of layer; obeys `graph.DecoderSizes`."""

    hidden: Size
    heads: Size
    kv_heads: Size
    head_dim: Size
    ffn_width: Size
    experts: Size
    top_k: Size
    shared_experts: Size
    vocabulary: Size
    attention_window: Size | None
    is_sparse: bool
    tied_head: bool
    qkv_bias: bool
    head_norm: bool
    has_head: bool = True


def columns_of(points: Sequence[Mapping[str, Any]]) -> Columns:
    """Points as columns, as `Space.columns` has them."""
    columns = {name: np.array([point[name] for point in points]) for name in ("layers", *SIZES[:-1], "precision")}
    windows = [point["attention_window"] for point in points]
    columns["attention_window"] = np.array([np.inf if window is None else window for window in windows])
    return columns


def alike(columns: Columns) -> Iterator[Ints]:
    """The points in groups whose layers have the same operators and precision."""
    _, precision_code = _coded(columns["precision"])
    key = precision_code * 8 + (columns["experts"] > 1) * 4 + (columns["shared_experts"] > 0) * 2
    key += np.isinf(columns["attention_window"])
    for value in np.unique(key).tolist():
        yield np.flatnonzero(key == value)


def distinct_layers(group: Columns, told_apart: Sequence[str] = SIZES) -> tuple[Ints, Ints]:
    """The first point of every kind of layer, and the kind of every point; kinds differ in the sizes `told_apart`."""
    key = np.zeros(len(group["layers"]), dtype=np.int64)
    for name in told_apart:
        count, code = _coded(group[name])
        key = key * count + code
    count, kind_of_point = _coded(key)
    kinds = np.empty(count, dtype=np.int64)
    kinds[kind_of_point[::-1]] = np.arange(len(key))[::-1]  # of several the last one written stays: the first point
    return kinds, kind_of_point


def _coded(column: npt.NDArray[Any]) -> tuple[int, Ints]:
    """How many values a column has, and the number of the value in every row."""
    if np.all(column == column[0]):
        return 1, np.zeros(len(column), dtype=np.int64)
    if column.dtype == np.int64 and column.min() >= 0 and column.max() < _LARGEST_TABLE:
        is_there = np.zeros(int(column.max()) + 1, dtype=np.int64)
        is_there[column] = 1
        code = np.cumsum(is_there) - 1
        return int(code[-1]) + 1, code[column]
    values, codes = np.unique(column, return_inverse=True)
    return len(values), codes
