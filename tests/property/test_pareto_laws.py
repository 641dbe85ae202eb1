"""Pareto fronts agree with their definition, with ties and infinities, for two to five quantities."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.exploration.pareto import NONE, Floats, dominators, non_dominated


def dominates(first: Floats, second: Floats) -> bool:
    """The definition, word by word."""
    return all(a <= b for a, b in zip(first, second, strict=True)) and any(
        a < b for a, b in zip(first, second, strict=True)
    )


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Two sets of vectors of the same length, with few values, so that many are equal."""
    length = draw(st.integers(1, 5))
    number = st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf, -0.0])
    vectors = st.lists(st.lists(number, min_size=length, max_size=length), max_size=12)
    first, second = (np.array(draw(vectors)).reshape(-1, length) for _ in range(2))
    return first, second


@given(two_sets())
def test_the_front_is_what_no_vector_dominates(sets: tuple[Floats, Floats]) -> None:
    vectors = sets[0]
    expected = [not any(dominates(other, vector) for other in vectors) for vector in vectors]
    assert non_dominated(vectors).tolist() == expected


@given(two_sets())
def test_a_dominator_is_named_exactly_where_there_is_one_and_does_dominate(sets: tuple[Floats, Floats]) -> None:
    vectors, by = sets
    found = dominators(vectors, by)
    for vector, index in zip(vectors, found.tolist(), strict=True):
        if index == NONE:
            assert not any(dominates(other, vector) for other in by)
        else:
            assert dominates(by[index], vector)


@given(two_sets(), st.randoms(use_true_random=False))
def test_the_order_of_the_vectors_changes_nothing(sets: tuple[Floats, Floats], random: Random) -> None:
    vectors = sets[0]
    order = list(range(len(vectors)))
    random.shuffle(order)
    assert non_dominated(vectors[order]).tolist() == non_dominated(vectors)[order].tolist()


@pytest.mark.parametrize("length", [2, 3, 4])
def test_sets_larger_than_a_block_agree_with_the_definition(length: int) -> None:
    random = np.random.default_rng(length)
    vectors = random.integers(0, [2] + [60] * (length - 1), (1500, length)).astype(float)
    by = random.integers(0, 30, (1200, length)).astype(float)

    def all_pairs(these: Floats) -> np.ndarray:
        at_most = (by_of[None] <= these[:, None]).all(axis=2)
        return np.asarray(at_most & (by_of[None] < these[:, None]).any(axis=2))

    by_of = vectors
    assert (non_dominated(vectors) == ~all_pairs(vectors).any(axis=1)).all()
    by_of = by
    found, expected = dominators(vectors, by), all_pairs(vectors)
    assert ((found != NONE) == expected.any(axis=1)).all()
    where = np.flatnonzero(found != NONE)
    assert expected[where, found[where]].all()


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not NaN"):
        non_dominated(np.array([[1.0, np.nan]]))
