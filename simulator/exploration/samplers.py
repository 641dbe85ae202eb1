"""Samplers for spaces that are too large for the exact search: Optuna's NSGA-II and TPE, and a score for their fronts.

A sampler draws a batch of points, all are simulated, and it learns from all of them in the order in which they were
drawn. So its way depends on the seed and on nothing else, not on how many processes simulate. A run that was
interrupted is resumed by going the same way once more: the runner answers what was simulated from its store, and the
sampler arrives where it was (unless a simulation that had broken off succeeds now). Optuna keeps nothing on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from simulator.errors import MissingExtraError, SpecError
from simulator.exploration.outcome import Point

if TYPE_CHECKING:
    import optuna

Method = Literal["nsga2", "tpe"]
Allowed = Callable[[Point], bool]
"""Whether a combination of values may be simulated."""
EvaluateBatch = Callable[[Sequence[Point]], Sequence[Sequence[float] | None]]
"""The objectives of points, all to be minimised, in their order; None where a point is infeasible."""

_MOST_REFUSALS: Final = 1000
"""So many draws in a row that may not be simulated: the sampler finds no further point."""
_MOST_BARREN_BATCHES: Final = 5
"""So many batches in a row without a point that was not simulated before: the same."""
_REFERENCE_FACTOR: Final = 1.1
"""The reference point lies so much beyond the worst of the exact front, so that the ends of the front count too."""


@dataclass(frozen=True)
class Sample:
    """The points that a sampler had simulated, each once, in the order in which they were drawn."""

    points: tuple[dict[str, Any], ...]
    vectors: tuple[tuple[float, ...] | None, ...]
    """The objectives of each point; None where it is infeasible."""
    is_exhausted: bool
    """Whether the sampler stopped before its budget was spent, because it found no further point."""


@dataclass(frozen=True)
class _Draw:
    trial: optuna.Trial
    key: tuple[int, ...]
    point: dict[str, Any]


def sample(
    dimensions: Mapping[str, Sequence[Any]],
    allowed: Allowed,
    evaluate_batch: EvaluateBatch,
    *,
    method: Method = "nsga2",
    num_objectives: int,
    budget: int,
    seed: int,
    population_size: int = 50,
) -> Sample:
    """Draws points, and simulates those that are allowed and new, until the budget is spent.

    Args:
        dimensions: the values of each dimension; a dimension of numbers only is taken as ordered.
        allowed: which points may be simulated; it is asked for every draw, so it should cost nothing.
        evaluate_batch: simulates.
        method: NSGA-II, or the tree-structured Parzen estimator.
        num_objectives: length of a vector of objectives.
        budget: points to simulate at most.
        seed: of everything random.
        population_size: points of a batch; for NSGA-II also those of a generation.
    Raises:
        MissingExtraError: when the extra `search` is not installed.
        SpecError: when budget or population are too small, or no point that may be simulated is found.
    """
    if budget < 1:
        raise SpecError(f"budget: must be at least 1 point, got {budget}")
    if population_size < 2:
        raise SpecError(f"population: must be at least 2 points, got {population_size}")
    optuna = _optuna()
    with _quiet(optuna):
        sampler = _sampler(optuna, method, seed, population_size)
        walk = _Walk(optuna, dimensions, allowed, sampler, num_objectives)
        return walk.until(budget, population_size, evaluate_batch)


class _Walk:
    """One sampler on its way through a space."""

    def __init__(
        self,
        optuna: ModuleType,
        dimensions: Mapping[str, Sequence[Any]],
        allowed: Allowed,
        sampler: optuna.samplers.BaseSampler,
        num_objectives: int,
    ) -> None:
        self._failed = optuna.trial.TrialState.FAIL
        self._values = {name: _sorted_if_numbers(values) for name, values in dimensions.items()}
        self._distributions = {name: _distribution(optuna, values) for name, values in self._values.items()}
        self._allowed = allowed
        self._num_objectives = num_objectives
        self._study = optuna.create_study(
            study_name="search", sampler=sampler, directions=["minimize"] * num_objectives
        )
        self._vectors: dict[tuple[int, ...], tuple[float, ...] | None] = {}
        self._points: list[dict[str, Any]] = []

    def until(self, budget: int, batch_size: int, evaluate_batch: EvaluateBatch) -> Sample:
        """Goes on until the budget is spent or no further point is found."""
        num_barren_batches = 0
        while len(self._points) < budget and num_barren_batches < _MOST_BARREN_BATCHES:
            draws = list(self._batch(batch_size))
            new = {draw.key: draw.point for draw in draws if draw.key not in self._vectors}
            chosen = dict(list(new.items())[: budget - len(self._points)])
            num_barren_batches = 0 if chosen else num_barren_batches + 1
            if chosen:
                self._take_in(chosen, evaluate_batch(list(chosen.values())))
            for draw in draws:
                if draw.key in self._vectors:  # else the budget ended within this batch
                    self._tell(draw)
            if len(draws) < batch_size:
                break
        if not self._points:
            raise SpecError(
                f"sampler: {_MOST_REFUSALS} combinations in a row break a rule, exceed a limit or do not fit",
                hint="loosen the rules or the limits",
            )
        vectors = tuple(self._vectors.values())
        return Sample(tuple(self._points), vectors, is_exhausted=len(self._points) < budget)

    def _batch(self, size: int) -> Iterator[_Draw]:
        """Draws that are allowed; fewer than asked for if too many in a row are not."""
        num_drawn = num_refusals = 0
        while num_drawn < size and num_refusals < _MOST_REFUSALS:
            trial = self._study.ask(self._distributions)
            key = tuple(trial.params[name] for name in self._values)
            point = {name: values[place] for (name, values), place in zip(self._values.items(), key, strict=True)}
            if self._allowed(point):
                num_drawn, num_refusals = num_drawn + 1, 0
                yield _Draw(trial, key, point)
            else:
                num_refusals += 1
                self._study.tell(trial, state=self._failed)

    def _take_in(
        self, points: Mapping[tuple[int, ...], dict[str, Any]], vectors: Sequence[Sequence[float] | None]
    ) -> None:
        for (key, point), vector in zip(points.items(), vectors, strict=True):
            self._points.append(point)
            self._vectors[key] = None if vector is None else tuple(map(float, vector))

    def _tell(self, draw: _Draw) -> None:
        """An infeasible point breaks a constraint; its objectives are then not looked at."""
        vector = self._vectors[draw.key]
        draw.trial.set_constraint("infeasible", 0.0 if vector is not None else 1.0)
        self._study.tell(draw.trial, [0.0] * self._num_objectives if vector is None else vector)


def hypervolume_share(vectors: ArrayLike, exact_front: ArrayLike) -> float:
    """Share of the volume dominated by the exact front that is dominated by sampled points too, 0 to 1.

    The volume ends at a reference point: in each objective 1.1 times the worst value of the exact front. What is
    beyond it counts nothing.

    Valid:    all objectives positive.

    Args:
        vectors: one row per feasible point, one column per objective; dominated rows add nothing. May be empty.
        exact_front: the same of the exact front.
    Raises:
        MissingExtraError: when the extra `search` is not installed.
    """
    try:
        import moocore  # noqa: PLC0415 (an optional package)
    except ModuleNotFoundError:
        raise MissingExtraError("moocore", "search") from None
    exact = np.asarray(exact_front, dtype=np.float64)
    reference = _REFERENCE_FACTOR * exact.max(axis=0)
    ones = np.ones_like(reference)
    sampled = np.asarray(vectors, dtype=np.float64).reshape(-1, reference.size)
    # In units of the reference, so that bytes and seconds weigh the same in the sums.
    return float(moocore.hypervolume(sampled / reference, ref=ones) / moocore.hypervolume(exact / reference, ref=ones))


def _optuna() -> ModuleType:
    try:
        import optuna  # noqa: PLC0415 (an optional package)
    except ModuleNotFoundError:
        raise MissingExtraError("optuna", "search") from None
    return optuna


def _sampler(optuna: ModuleType, method: Method, seed: int, population_size: int) -> optuna.samplers.BaseSampler:
    if method == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=population_size, seed=seed)  # type: ignore[no-any-return]
    # Joint densities: with one density per dimension it draws the same points again and again.
    return optuna.samplers.TPESampler(multivariate=True, seed=seed)  # type: ignore[no-any-return]


def _distribution(optuna: ModuleType, values: Sequence[Any]) -> optuna.distributions.BaseDistribution:
    """Places in the list of values: of numbers as ordered, of anything else without an order."""
    if _are_numbers(values):
        return optuna.distributions.IntDistribution(0, len(values) - 1)  # type: ignore[no-any-return]
    return optuna.distributions.CategoricalDistribution(range(len(values)))  # type: ignore[no-any-return]


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, Real) for value in values)


def _sorted_if_numbers(values: Sequence[Any]) -> list[Any]:
    return sorted(values) if _are_numbers(values) else list(values)


@contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Keeps Optuna's log of every trial away; its warnings still go to stderr."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
