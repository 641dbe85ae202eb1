"""The exact search: the Pareto front of simulated values, from as few simulations as a lower bound allows.

A point whose bound is dominated by a simulated point cannot be on the front: its own values are no smaller than its
bound. Any other point might be, so it must be simulated. The search therefore takes waves: all points whose bounds no
other open point dominates are simulated, what they dominate is discarded, and the rest is the next wave. No point of
a wave could have been spared: what would discard it would have a bound that dominates its bound.

The algorithm sees arrays only. Points are in `simulator.exploration.space`, answers in `simulator.exploration.result`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.errors import EngineError
from simulator.exploration.outcome import Outcome
from simulator.exploration.pareto import NONE, dominators, non_dominated
from simulator.study import OBJECTIVES

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
SimulateBatch = Callable[[Indices], Sequence[Outcome]]
"""Simulates some points: one outcome per index, in their order. How many run at once is its own business."""
Progress = Callable[[int, int, int, int], None]
"""Called with the numbers of points simulated, discarded, left, and of these surely to be simulated: the wave."""

BATCH_SIZE: Final = 256
"""Points simulated between two reports of progress; the result does not depend on it."""

_SIMULATED_KEYS: Final = tuple(objective.key for objective in OBJECTIVES.values() if objective.is_simulated)


class Fate(IntEnum):
    """What became of a point."""

    OPEN = 0
    """Not decided yet."""
    FRONT = 1
    """Simulated, and no other point dominates it."""
    DOMINATED = 2
    """Simulated, and another point dominates it."""
    DISCARDED = 3
    """Not simulated: a simulated point dominates its bound."""
    OVER_LIMIT = 4
    """Its bound or its simulation exceeds a limit."""
    INFEASIBLE = 5
    """It cannot run on the chip."""
    FAILED = 6
    """Its simulation broke off; nothing is known about it."""

    @property
    def word(self) -> str:
        """For people and files."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Exploration:
    """What a search found out about every point."""

    fates: npt.NDArray[np.int8]
    """A `Fate` for each point."""
    values: Mapping[str, Floats]
    """Simulated values by key of the objective; NaN where a point was not simulated."""
    dominators: Indices
    """For a discarded or dominated point the index of a simulated one that dominates it, else NONE."""
    reasons: Mapping[int, str]
    """Why a point is infeasible or has failed, by its index."""

    def indices(self, *fates: Fate) -> Indices:
        """The points of some fates, ascending."""
        return np.flatnonzero(np.isin(self.fates, fates))

    @property
    def is_simulated(self) -> npt.NDArray[np.bool_]:
        """Which points have simulated values."""
        return ~np.isnan(self.values[_SIMULATED_KEYS[0]])


def exact_search(
    bounds: Mapping[str, Floats],
    objectives: Sequence[str],
    simulate_batch: SimulateBatch,
    *,
    limits: Mapping[str, float] | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> Exploration:
    """The Pareto front of the simulated values, and why every other point is not on it.

    Args:
        bounds: by key, one value per point: lower bounds of what is simulated, to the last digit, and the value itself
            of what is not (the loss). Infinite where a point cannot run.
        objectives: keys of the quantities to make small.
        simulate_batch: simulates some points.
        limits: the most of a quantity, by key; what exceeds one is not on the front and discards nothing.
        batch_size: points handed to `simulate_batch` at once.
        progress: called at the start of each wave and after every batch.
    Raises:
        EngineError: when a simulated value is below its bound, for then nothing would follow from the bounds.
    """
    search = Ledger(bounds, objectives, limits or {})
    while len(wave := search.next_wave()):
        if progress is not None:
            progress(*search.counts(), len(wave))
        for start in range(0, len(wave), batch_size):
            batch = wave[start : start + batch_size]
            search.take_in(batch, simulate_batch(batch))
            if progress is not None:
                progress(*search.counts(), max(0, len(wave) - start - batch_size))
        search.discard(wave)
        if progress is not None:
            progress(*search.counts(), 0)
    return search.finished()


class Ledger:
    """A search on its way: what is known of every point, and what may be concluded from it."""

    def __init__(self, bounds: Mapping[str, Floats], objectives: Sequence[str], limits: Mapping[str, float]) -> None:
        self._bounds = bounds
        self._objectives = objectives
        self._limits = limits
        num_points = len(next(iter(bounds.values())))
        if any(np.isnan(column).any() for column in bounds.values()):
            raise EngineError("a bound is not a number")
        self._values = {
            key: np.full(num_points, np.nan) if key in _SIMULATED_KEYS else column for key, column in bounds.items()
        }
        self._fates = np.full(num_points, Fate.OPEN, dtype=np.int8)
        self._dominators = np.full(num_points, NONE, dtype=np.int64)
        self._reasons: dict[int, str] = {}
        self._num_simulated = 0
        cannot_run = np.logical_or.reduce([np.isinf(column) for column in bounds.values()])
        self._fates[self._exceed(bounds)] = Fate.OVER_LIMIT
        self._fates[cannot_run] = Fate.INFEASIBLE
        self._reasons |= dict.fromkeys(
            np.flatnonzero(cannot_run).tolist(), "it does not fit the chip: its lower bound is infinite"
        )

    def next_wave(self) -> Indices:
        """The open points whose bounds no other open point dominates."""
        open_points = np.flatnonzero(self._fates == Fate.OPEN)
        return open_points[non_dominated(self._vectors(self._bounds, open_points))]

    def take_in(self, batch: Indices, outcomes: Sequence[Outcome]) -> None:
        """Notes the outcomes of some points."""
        if len(outcomes) != len(batch):
            raise EngineError(f"{len(batch)} points were to be simulated, {len(outcomes)} outcomes came back")
        for index, outcome in zip(batch.tolist(), outcomes, strict=True):
            if outcome.values is None:
                self._fates[index] = Fate.FAILED if outcome.has_failed else Fate.INFEASIBLE
                self._reasons[index] = outcome.reason
                continue
            self._num_simulated += 1
            for key in _SIMULATED_KEYS:
                self._set(index, key, outcome.values[key])
        over = batch[self._exceed(self._values)[batch] & (self._fates[batch] == Fate.OPEN)]
        self._fates[over] = Fate.OVER_LIMIT
        self._fates[batch[self._fates[batch] == Fate.OPEN]] = Fate.DOMINATED  # the front is told apart at the end

    def discard(self, wave: Indices) -> None:
        """Closes the open points whose bounds a simulated point of a wave dominates."""
        by = wave[self._fates[wave] == Fate.DOMINATED]
        open_points = np.flatnonzero(self._fates == Fate.OPEN)
        found = dominators(self._vectors(self._bounds, open_points), self._vectors(self._values, by))
        discarded = found != NONE
        self._fates[open_points[discarded]] = Fate.DISCARDED
        self._dominators[open_points[discarded]] = by[found[discarded]]

    def is_open(self) -> npt.NDArray[np.bool_]:
        """Which points are not decided yet."""
        return np.equal(self._fates, Fate.OPEN)

    def vectors_within_limits(self, points: Indices) -> list[list[float] | None]:
        """The simulated objectives of some points; None for one that cannot run or exceeds a limit."""
        is_within = self._fates[points] == Fate.DOMINATED
        vectors = self._vectors(self._values, points).tolist()
        return [vector if keeps else None for vector, keeps in zip(vectors, is_within.tolist(), strict=True)]

    def counts(self) -> tuple[int, int, int]:
        """Points simulated, discarded and left."""
        num_discarded = int(np.count_nonzero(self._fates == Fate.DISCARDED))
        return self._num_simulated, num_discarded, int(np.count_nonzero(self._fates == Fate.OPEN))

    def finished(self) -> Exploration:
        """The result, once no point is open."""
        simulated = np.flatnonzero(self._fates == Fate.DOMINATED)
        vectors = self._vectors(self._values, simulated)
        is_front = non_dominated(vectors)
        front, rest = simulated[is_front], simulated[~is_front]
        self._fates[front] = Fate.FRONT
        self._dominators[rest] = front[dominators(vectors[~is_front], vectors[is_front])]
        return Exploration(self._fates, self._values, self._dominators, self._reasons)

    def _set(self, index: int, key: str, value: float) -> None:
        bound = self._bounds[key][index]
        if not value >= bound:
            raise EngineError(f"point {index}: the simulated {key} {value!r} is below its lower bound {bound!r}")
        self._values[key][index] = value

    def _exceed(self, quantities: Mapping[str, Floats]) -> npt.NDArray[np.bool_]:
        """Which points exceed a limit; NaN exceeds none."""
        exceeds = np.zeros(len(self._fates), dtype=bool)
        for key, limit in self._limits.items():
            exceeds |= quantities[key] > limit
        return exceeds

    def _vectors(self, quantities: Mapping[str, Floats], points: Indices) -> Floats:
        return np.stack([quantities[key][points] for key in self._objectives], axis=1)
