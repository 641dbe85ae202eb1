"""Space: the points of a study as columns, one row per model, and what each rule excludes.

Nothing here loops over points: the rules work on the open mesh of the dimensions, and only the rows that are left are
written out. What a study may say is in `simulator.study`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.errors import SpecError
from simulator.study import Rule, Study
from simulator.study.domain import Value, exact_ratio
from simulator.study.spec import RULE_NAMES

Column = npt.NDArray[Any]
"""One value per point."""

MOST_COMBINATIONS: Final = 20_000_000
"""Of all dimensions: more fill the memory."""

_AS_MANY_AS_HEADS: Final = 0
"""Stands for the word "heads" among the numbers of KV heads."""


@dataclass(frozen=True)
class Space:
    """The models of a study that keep all rules; a row is a point, and its number is its index."""

    dimensions: tuple[str, ...]
    """The sizes that vary. Rows are in their order, the last one running fastest."""
    columns: Mapping[str, Column]
    """Arrays of equal length: all sizes, whether they vary or not, precision, and what follows from them.

    Counts are int64; ffn_ratio, activation_rate and attention_window (infinite for all tokens) are float64.
    """
    excluded: Mapping[str, int]
    """How many of all combinations each rule excludes, by its text; some are excluded by several."""
    num_combinations: int
    """Combinations of the dimensions before any rule."""

    @classmethod
    def of(cls, study: Study) -> Space:
        """The space of a study.

        Raises:
            SpecError: when no point is left, or there are too many.
        """
        if study.num_combinations > MOST_COMBINATIONS:
            raise SpecError(
                f"study {study.name}: must have at most {MOST_COMBINATIONS:,} combinations, "
                f"got {study.num_combinations:,}",
                hint="give the dimensions fewer values",
            )
        axes = study.axes()
        mesh = _mesh(axes)
        rules = _built_in_rules(axes, mesh)
        _derive(mesh)
        rules |= _rules_of(study, mesh)
        shape = tuple(len(values) for values in axes.values())
        allowed = np.ones(shape, dtype=bool)
        for holds in rules.values():
            allowed &= holds
        if not allowed.any():
            raise _empty(study, rules)
        rows = np.nonzero(allowed)
        return cls(
            dimensions=study.dimensions,
            columns={name: _taken(values, rows) for name, values in mesh.items()},
            excluded={text: count for text, holds in rules.items() if (count := _num_excluded(holds, shape))},
            num_combinations=study.num_combinations,
        )

    def __len__(self) -> int:
        return len(self.columns["layers"])

    def point(self, index: int) -> dict[str, Any]:
        """A row as plain Python values; None for a window that holds all tokens."""
        return {name: _plain(name, column[index].item()) for name, column in self.columns.items()}

    def values(self, name: str) -> list[Any]:
        """A column as plain Python values, one per point."""
        return [_plain(name, value) for value in self.columns[name].tolist()]

    def coordinates(self, index: int) -> dict[str, Any]:
        """The sizes that vary, of one point."""
        point = self.point(index)
        return {name: point[name] for name in self.dimensions}

    def described(self, index: int) -> str:
        """One point for people."""
        return ", ".join(f"{name} {_shown(value)}" for name, value in self.coordinates(index).items())


def _mesh(axes: Mapping[str, tuple[Value, ...]]) -> dict[str, Column]:
    """An array per axis that varies along its own direction only, so that arithmetic broadcasts to what it needs."""
    mesh = {}
    for position, (name, values) in enumerate(axes.items()):
        shape = [1] * len(axes)
        shape[position] = len(values)
        mesh[name] = _column_of(name, values).reshape(shape)
    return mesh


def _column_of(name: str, values: Sequence[Value]) -> Column:
    if name == "precision":
        return np.array(values, dtype=np.str_)
    if name == "ffn_ratio":
        return np.array([float(exact_ratio(value)) for value in values])
    if name == "attention_window":
        return np.array([np.inf if value is None else value for value in values], dtype=np.float64)
    numbers = [_AS_MANY_AS_HEADS if value == "heads" else value for value in values]
    return np.array(numbers, dtype=np.int64)


def _built_in_rules(axes: Mapping[str, tuple[Value, ...]], mesh: dict[str, Column]) -> dict[str, Column]:
    """The rules that every model keeps, as truth values; completes the mesh with heads, head_dim and ffn_width."""
    rules: dict[str, Column] = {}
    hidden = mesh["hidden"]
    if "heads" not in mesh:
        mesh["heads"] = hidden // mesh["head_dim"]
        rules["head_dim divides hidden"] = hidden % mesh["head_dim"] == 0
    elif "head_dim" not in mesh:
        mesh["head_dim"] = hidden // mesh["heads"]
        rules["heads divides hidden"] = hidden % mesh["heads"] == 0
    listed = np.array([value for value in axes["kv_heads"] if value != "heads"], dtype=np.int64)
    is_word = mesh["kv_heads"] == _AS_MANY_AS_HEADS
    mesh["kv_heads"] = np.where(is_word, mesh["heads"], mesh["kv_heads"])
    # a head wider than the model leaves no heads at all, which is the fault of the rule above
    rules["kv_heads divides heads"] = mesh["heads"] % np.maximum(mesh["kv_heads"], 1) == 0
    rules['kv_heads "heads" is none of the numbers listed'] = ~(is_word & np.isin(mesh["heads"], listed))

    position = list(axes).index("ffn_ratio")
    ratios = [exact_ratio(value) for value in axes["ffn_ratio"]]
    shape = [1] * len(axes)
    shape[position] = len(ratios)
    above = np.array([ratio.numerator for ratio in ratios], dtype=np.int64).reshape(shape) * hidden
    below = np.array([ratio.denominator for ratio in ratios], dtype=np.int64).reshape(shape) * mesh["top_k"]
    mesh["ffn_width"] = above // below
    rules["ffn_width is whole"] = above % below == 0
    rules["top_k <= experts"] = mesh["top_k"] <= mesh["experts"]
    rules["experts = 1 needs shared_experts = 0"] = (mesh["experts"] > 1) | (mesh["shared_experts"] == 0)
    return rules


def _derive(mesh: dict[str, Column]) -> None:
    mesh["kv_width"] = mesh["head_dim"] * mesh["kv_heads"]
    mesh["activation_rate"] = mesh["top_k"] / mesh["experts"]


def _rules_of(study: Study, mesh: Mapping[str, Column]) -> dict[str, Column]:
    """The rules of the study, as truth values."""
    numbers = {name: mesh[name].astype(np.float64) for name in RULE_NAMES}
    # a window that holds all tokens is infinite, its remainder no number
    with np.errstate(over="ignore", invalid="ignore"):
        return {text: np.asarray(Rule.parsed(text, RULE_NAMES).holds(numbers)) for text in study.rules}


def _taken(values: Column, rows: tuple[npt.NDArray[np.intp], ...]) -> Column:
    """The values of a mesh array in some rows of the full product."""
    zero = np.zeros(1, dtype=np.intp)
    places = tuple(row if length > 1 else zero for row, length in zip(rows, values.shape, strict=True))
    column = np.broadcast_to(values[places], rows[0].shape).copy()
    column.flags.writeable = False
    return column


def _num_excluded(holds: Column, shape: tuple[int, ...]) -> int:
    """How many elements of the full product a rule excludes; it is an array over the directions that it looks at."""
    return int(np.count_nonzero(~holds)) * (int(np.prod(shape)) // holds.size)


def _empty(study: Study, rules: Mapping[str, Column]) -> SpecError:
    """The error of a space without points: what each rule excludes, and which two leave nothing."""
    total = study.num_combinations
    shape = tuple(len(values) for values in study.axes().values())
    counts = {text: count for text, holds in rules.items() if (count := _num_excluded(holds, shape))}
    parts = [f'"{text}" excludes {"all" if count == total else f"{count:,}"}' for text, count in counts.items()]
    message = f"study {study.name}: must have a point left of its {total:,} combinations; {', '.join(parts)}"
    if total in counts.values():
        return SpecError(message, hint="change that rule, or give the sizes that it names other values")
    for first, second in combinations(counts, 2):
        if not (rules[first] & rules[second]).any():
            message += f'; "{first}" and "{second}" leave none together'
            break
    return SpecError(message, hint="change one of these rules, or give the sizes that they name other values")


def _plain(name: str, value: Any) -> Any:
    """A value as a study has it: windows are whole numbers, kept as floats only because some are infinite."""
    if name == "attention_window":
        return None if value == np.inf else int(value)
    return value


def _shown(value: object) -> str:
    return "all" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
