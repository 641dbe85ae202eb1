"""The exact search finds the front of the simulated values, whatever the values and the bounds below them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.errors import EngineError
from simulator.exploration.exact import Exploration, Fate, Floats, Indices, exact_search
from simulator.exploration.outcome import Outcome
from simulator.exploration.pareto import NONE

KEYS = ("prefill_s", "decode_s", "total_s", "memory_bytes")


@dataclass
class Problem:
    """A space of points with values, bounds below them, and some that cannot run."""

    values: dict[str, Floats]
    bounds: dict[str, Floats]
    cannot_run: frozenset[int]
    objectives: tuple[str, ...]
    limits: dict[str, float]

    def simulate(self, indices: Indices) -> list[Outcome]:
        """The outcomes of some points."""
        return [
            Outcome(None, "too large")
            if index in self.cannot_run
            else Outcome({key: float(self.values[key][index]) for key in KEYS})
            for index in indices.tolist()
        ]

    def search(self, batch_size: int = 4) -> Exploration:
        """The result of the search."""
        return exact_search(self.bounds, self.objectives, self.simulate, limits=self.limits, batch_size=batch_size)

    def front(self) -> set[int]:
        """The front by its definition: of the points that can run and keep the limits, what no other one dominates."""
        allowed = [
            index
            for index in range(len(self.values["loss"]))
            if index not in self.cannot_run
            and all(self.values[key][index] <= most for key, most in self.limits.items())
        ]
        vectors = {index: [self.values[key][index] for key in self.objectives] for index in allowed}
        return {index for index in allowed if not any(dominates(vectors[other], vectors[index]) for other in allowed)}


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(first, second, strict=True)) and list(first) != list(second)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Few different values, so that many points tie; bounds from exact to far below."""
    size = draw(st.integers(1, 14))

    def column(least: int, most: int) -> Floats:
        return np.array(draw(st.lists(st.integers(least, most), min_size=size, max_size=size)), dtype=np.float64)

    values = {"loss": column(1, 5), **{key: column(2, 6) for key in KEYS}}
    bounds = {"loss": values["loss"], **{key: values[key] - column(0, 2) for key in KEYS}}
    objectives = draw(st.sampled_from([("loss", "total_s"), ("loss", "decode_s", "memory_bytes"), ("total_s", "loss")]))
    limits = draw(
        st.sampled_from([{}, {}, {"total_s": 4.0}, {"memory_bytes": 4.0}, {"total_s": 5.0, "prefill_s": 4.0}])
    )
    cannot_run = frozenset(draw(st.sets(st.integers(0, size - 1), max_size=3)))
    return Problem(values, bounds, cannot_run, objectives, limits)


@given(problems())
def test_the_front_is_that_of_simulating_every_point(problem: Problem) -> None:
    assert set(problem.search().indices(Fate.FRONT).tolist()) == problem.front()


@given(problems())
def test_every_discarded_point_is_dominated_by_the_simulated_one_that_is_named(problem: Problem) -> None:
    exploration = problem.search()
    for index in exploration.indices(Fate.DISCARDED, Fate.DOMINATED).tolist():
        by = int(exploration.dominators[index])
        assert exploration.fates[by] in {Fate.FRONT, Fate.DOMINATED}
        by_values = [problem.values[key][by] for key in problem.objectives]
        known = problem.bounds if exploration.fates[index] == Fate.DISCARDED else problem.values
        assert dominates(by_values, [known[key][index] for key in problem.objectives])
        assert dominates(by_values, [problem.values[key][index] for key in problem.objectives])
    others = exploration.indices(Fate.FRONT, Fate.OVER_LIMIT, Fate.INFEASIBLE)
    assert set(exploration.dominators[others].tolist()) <= {NONE}


@given(problems())
def test_every_point_has_one_fate_and_only_what_was_simulated_has_values(problem: Problem) -> None:
    exploration = problem.search()
    simulated = exploration.is_simulated
    num_over_limit = int(np.sum((exploration.fates == Fate.OVER_LIMIT) & ~simulated))
    num_others = len(exploration.indices(Fate.DISCARDED, Fate.INFEASIBLE))
    assert int(simulated.sum()) + num_over_limit + num_others == len(simulated)
    for key in KEYS:
        assert (exploration.values[key][simulated] == problem.values[key][simulated]).all()
        assert np.isnan(exploration.values[key][~simulated]).all()
    assert set(exploration.reasons) == set(exploration.indices(Fate.INFEASIBLE).tolist())


@given(problems(), st.integers(1, 20))
def test_the_size_of_a_batch_changes_nothing(problem: Problem, batch_size: int) -> None:
    first, second = problem.search(), problem.search(batch_size)
    assert first.fates.tolist() == second.fates.tolist()
    assert first.dominators.tolist() == second.dominators.tolist()


@given(problems())
def test_no_simulation_could_have_been_spared(problem: Problem) -> None:
    """What was simulated has a bound that no simulated value dominates, so nothing else could have discarded it."""
    assume(not problem.limits)
    exploration = problem.search()
    simulated = np.flatnonzero(exploration.is_simulated).tolist()
    for index in simulated:
        bound = [problem.bounds[key][index] for key in problem.objectives]
        assert not any(dominates([problem.values[key][by] for key in problem.objectives], bound) for by in simulated)


@given(problems(), st.sampled_from(KEYS))
def test_bounds_above_the_values_are_caught_with_the_first_simulation(problem: Problem, key: str) -> None:
    problem.limits = {}
    assume(problem.search().is_simulated.any())
    problem.bounds = {**problem.bounds, key: problem.values[key] + 0.5}
    with pytest.raises(EngineError, match=f"the simulated {key} .* is below its lower bound"):
        problem.search()


def test_a_bound_that_is_too_high_by_a_hair_is_caught() -> None:
    values = {"loss": np.array([1.0]), **{key: np.array([2.0]) for key in KEYS}}
    problem = Problem(values, values | {"total_s": np.array([2.0000001])}, frozenset(), ("loss", "total_s"), {})
    with pytest.raises(EngineError, match=r"point 0: the simulated total_s 2\.0 is below its lower bound"):
        problem.search()
