"""The front of a study from a sampler, for spaces that are too large for the exact search.

What a sampler does is in `simulator.exploration.samplers`; here it meets the space, the runner and the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.exploration.exact import Exploration, Floats, Indices, Ledger, Progress, SimulateBatch
from simulator.exploration.pareto import NONE
from simulator.exploration.samplers import Method, sample
from simulator.exploration.space import Column, Space
from simulator.study import Study
from simulator.study.domain import Value, exact_ratio


class Places:
    """Finds the row of a space from the values that its dimensions have in the study."""

    def __init__(self, study: Study, space: Space) -> None:
        axes = study.axes()
        self._values = {name: axes[name] for name in space.dimensions}
        codes = np.zeros(len(space), dtype=np.int64)
        for name, values in self._values.items():
            codes = codes * len(values) + _places(name, values, space.columns[name])
        self._codes = codes  # ascending, because rows are in the order of the dimensions

    @property
    def dimensions(self) -> Mapping[str, Sequence[Value]]:
        """The values of each dimension as the study has them."""
        return self._values

    def row(self, point: Mapping[str, Any]) -> int:
        """The row of a point, or NONE if a rule excludes it."""
        code = 0
        for name, values in self._values.items():
            code = code * len(values) + values.index(point[name])
        place = int(np.searchsorted(self._codes, code))
        return place if place < len(self._codes) and self._codes[place] == code else NONE


def sampled_search(
    places: Places,
    bounds: Mapping[str, Floats],
    objectives: Sequence[str],
    simulate_batch: SimulateBatch,
    *,
    limits: Mapping[str, float],
    method: Method,
    budget: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Exploration, list[str]]:
    """The front among the points that a sampler chooses, and warnings; a point that it does not choose stays open.

    What a bound already rules out is not offered to the sampler. If that is every point, there is nothing to choose.

    Args:
        places: the rows of the space.
        bounds: as for `exact_search`, like the next three.
        objectives: keys of the quantities to make small.
        simulate_batch: simulates some points.
        limits: the most of a quantity, by key.
        method: the sampler.
        budget: points to simulate at most.
        seed: of everything random.
        progress: called after every batch; what is left is the rest of the budget.
    Raises:
        MissingExtraError: when the extra `search` is not installed.
        SpecError: when the budget is too small, or the sampler finds no point.
    """
    ledger = Ledger(bounds, objectives, limits)
    can_be_simulated = ledger.is_open()
    if not can_be_simulated.any():
        return ledger.finished(), []

    def allowed(point: Mapping[str, Any]) -> bool:
        row = places.row(point)
        return row != NONE and bool(can_be_simulated[row])

    def evaluate_batch(points: Sequence[Mapping[str, Any]]) -> list[list[float] | None]:
        rows = np.array([places.row(point) for point in points], dtype=np.int64)
        ledger.take_in(rows, simulate_batch(rows))
        if progress is not None:
            num_simulated, num_discarded, _ = ledger.counts()
            progress(num_simulated, num_discarded, budget - num_simulated, budget - num_simulated)
        return ledger.vectors_within_limits(rows)

    if progress is not None:
        progress(0, 0, budget, budget)
    chosen = sample(
        places.dimensions, allowed, evaluate_batch,
        method=method, num_objectives=len(objectives), budget=budget, seed=seed,
    )  # fmt: skip
    num_left = int(np.count_nonzero(ledger.is_open()))
    warnings = []
    if chosen.is_exhausted and num_left:
        warnings.append(
            f"the sampler {method} gave up after {len(chosen.points):,} of {budget:,} points: "
            f"{num_left:,} more could be simulated, but it found none of them"
        )
    return ledger.finished(), warnings


def _places(name: str, values: Sequence[Value], column: Column) -> Indices:
    """For each row the place of its value among those of the study."""
    places = np.full(len(column), list(values).index("heads") if "heads" in values else NONE, dtype=np.int64)
    for place, value in enumerate(values):
        if value != "heads":
            places[column == _in_column(name, value)] = place
    return places


def _in_column(name: str, value: Value) -> Any:
    """A value of the study as a column of the space has it."""
    if name == "ffn_ratio":
        return float(exact_ratio(value))
    return np.inf if value is None else value
