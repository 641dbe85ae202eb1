"""Expert caches and router traces by hand and against slow oracles, and what a user is told about a wrong trace."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import SpecError
from simulator.routing import (
    RouterFit,
    RouterTrace,
    cache_counts,
    mean_distinct,
    preset_fit,
    read_trace,
    reuse_of_previous,
    synthetic_trace,
)
from simulator.terms import CachePolicy


def trace(*layers: list[list[int]], experts: int = 8) -> RouterTrace:
    return RouterTrace(np.array(layers, dtype=np.int32), experts)


def drawn(fit: RouterFit | None = None, **changes: Any) -> RouterTrace:
    sizes = {"layers": 3, "experts": 8, "top_k": 2, "tokens": 1500, "seed": 1, "name": "words"}
    return synthetic_trace(fit or RouterFit((0.6,), (0.3,)), **{**sizes, **changes})


# caches by hand ------------------------------------------------------------------------------------------------------

TWO_LAYERS = trace([[0, 1], [0, 2], [0, 1]], [[5, 6], [6, 7], [5, 7]])
ONE_BY_ONE = np.arange(4)


@pytest.mark.parametrize(
    ("slots", "policy", "hits"),
    [
        # one queue: 0 1 5 6 | 0 2 6 7 | 0 1 5 7
        (4, "lru", [[0, 1, 1], [0, 1, 1]]),  # 0; 6, which 2 did not push out; 0; 7
        (2, "lru", [[0, 0, 0], [0, 0, 0]]),
        (6, "lru", [[0, 1, 2], [0, 1, 2]]),  # all six fit: what comes back is there
        # two slots of each layer: 0 1 | 0 2 | 0 1 and 5 6 | 6 7 | 5 7: the 5 pushes the 6 out, and the 7 stays
        (4, "lru-per-layer", [[0, 1, 1], [0, 1, 1]]),
        (3, "lru-per-layer", [[0, 0, 0], [0, 1, 0]]),  # one slot of each layer; the third is left over
        # counts: 0 three times; 1, 5, 6, 7 twice; of equals the first
        (1, "static", [[1, 1, 1], [0, 0, 0]]),
        (3, "static", [[2, 1, 2], [1, 0, 1]]),
        (0, "static", [[0, 0, 0], [0, 0, 0]]),
        (0, "lru", [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_hits_of_a_cache_by_hand(slots: int, policy: CachePolicy, hits: list[list[int]]) -> None:
    counts = cache_counts(TWO_LAYERS, ONE_BY_ONE, slots, policy)
    assert counts.hits.tolist() == hits
    assert counts.touched.tolist() == [[2, 2, 2], [2, 2, 2]]
    assert (counts.misses + counts.hits).tolist() == counts.touched.tolist()


def test_a_step_of_several_tokens_uses_each_expert_once() -> None:
    """A prefill of two tokens reaches 0, 1, 2 and 5, 6, 7; the token after it finds 0 and 1, 5 and 7."""
    counts = cache_counts(TWO_LAYERS, np.array([0, 2, 3]), 6, "lru")
    assert counts.touched.tolist() == [[3, 2], [3, 2]]
    assert counts.hits.tolist() == [[0, 2], [0, 2]]


@given(
    picks=st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).permuted(
        np.tile(np.arange(5, dtype=np.int32), (2, 9, 1)), axis=2)[:, :, :3]),
    slots=st.integers(0, 12), borders=st.sets(st.integers(1, 8)), is_per_layer=st.booleans(),
)  # fmt: skip
def test_a_cache_by_last_use_is_an_ordered_dictionary(
    picks: Any, slots: int, borders: set[int], is_per_layer: bool
) -> None:
    """The textbook form: what is used moves to the end, and what does not fit leaves at the front."""
    offsets = [0, *sorted(borders), 9]
    hits = np.zeros((2, len(offsets) - 1), dtype=np.int64)
    caches: list[OrderedDict[tuple[int, int], None]] = [OrderedDict() for _ in range(2)]
    for step, (first, last) in enumerate(itertools.pairwise(offsets)):
        for layer in range(2):
            cache, room = (caches[layer], slots // 2) if is_per_layer else (caches[0], slots)
            for expert in dict.fromkeys(picks[layer, first:last].ravel().tolist()):
                hits[layer, step] += (layer, expert) in cache
                cache[layer, expert] = None
                cache.move_to_end((layer, expert))
                if len(cache) > room:
                    cache.popitem(last=False)
    policy: CachePolicy = "lru-per-layer" if is_per_layer else "lru"
    counts = cache_counts(RouterTrace(picks, 5), np.array(offsets), slots, policy)
    assert counts.hits.tolist() == hits.tolist()


def test_a_cache_for_everything_misses_each_expert_once() -> None:
    whole = drawn()
    counts = cache_counts(whole, np.arange(1501), 3 * 8, "lru")
    assert counts.misses.sum() == sum(len(np.unique(whole.picks[layer])) for layer in range(3))


# statistics by hand --------------------------------------------------------------------------------------------------


def test_statistics_of_a_short_trace_by_hand() -> None:
    # second tokens reuse 0 and 6; third tokens 0 and 7
    assert reuse_of_previous(TWO_LAYERS).tolist() == [0.5, 0.5]
    assert mean_distinct(TWO_LAYERS, 2).tolist() == [3, 3]
    assert mean_distinct(TWO_LAYERS, 2, spacing=2).tolist() == [2, 3]  # first and third: 0 1, and 5 6 7
    assert TWO_LAYERS.popularity.tolist() == [[3, 2, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2, 2, 2]]


# drawing -------------------------------------------------------------------------------------------------------------


def test_a_longer_trace_begins_with_the_shorter_one_and_a_deeper_one_with_its_layers() -> None:
    assert (drawn(tokens=5000).picks[:, :1500] == drawn().picks).all()
    assert (drawn(layers=5).picks[:3] == drawn().picks).all()


def test_seed_and_name_draw_anew_and_the_same_ones_the_same() -> None:
    assert (drawn(tokens=1501).picks[:, :1500] == drawn().picks).all()
    for changes in ({"seed": 2}, {"name": "other"}):
        assert (drawn(**changes).picks != drawn().picks).mean() > 0.5


@given(st.integers(1, 40), st.data())
def test_no_token_picks_an_expert_twice_and_all_are_in_range(experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts))
    keep = data.draw(st.floats(0, 1))
    picks = drawn(RouterFit((1.0,), (keep,)), layers=2, experts=experts, top_k=top_k, tokens=10).picks
    assert picks.min() >= 0
    assert picks.max() < experts
    ordered = np.sort(picks, axis=2)
    assert (ordered[:, :, 1:] > ordered[:, :, :-1]).all()


def test_a_fit_of_another_depth_is_stretched() -> None:
    fit = RouterFit((0.1, 0.9), (0.2,))
    assert [fit.of_layer(layer, 4) for layer in range(4)] == [(0.1, 0.2), (0.1, 0.2), (0.9, 0.2), (0.9, 0.2)]
    assert [len(preset_fit("olmoe").skew), len(preset_fit("olmoe").keep)] == [16, 16]


def test_a_trace_of_more_tokens_than_can_be_drawn_is_refused() -> None:
    with pytest.raises(SpecError, match=r"a synthetic trace must have at most 262,144 tokens, got 262,145"):
        drawn(tokens=262_145)


# files ---------------------------------------------------------------------------------------------------------------

PICKS = np.array([[[0, 1], [2, 0], [3, 1]], [[3, 2], [1, 0], [0, 3]]], dtype=np.uint8)
MODEL = {"layers": 2, "experts": 4, "top_k": 2, "tokens": 3}


def test_a_trace_comes_back_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "trace.npy", PICKS)
    np.savez(tmp_path / "trace.npz", routing=PICKS)
    for name in ("trace.npy", "trace.npz"):
        read = read_trace(tmp_path / name, **MODEL)
        assert read.picks.tolist() == PICKS.tolist()
        assert read.experts == 4


@pytest.mark.parametrize(
    ("picks", "changes", "message"),
    [
        (PICKS, {"layers": 3}, "must have 3 layers as the model, got 2"),
        (PICKS, {"top_k": 1}, r"must have 1 experts per token as the model \(top_k\), got 2"),
        (PICKS, {"tokens": 4}, "must have at least the 4 tokens of the run, got 3"),
        (PICKS, {"experts": 3}, "must have expert numbers from 0 to 2, got 0 to 3"),
        (PICKS[0], {}, r"must have an integer array of the shape \(layers, tokens, top_k\), got uint8 of the shape"),
        (PICKS * 1.0, {}, "got float64 of the shape"),
        (PICKS * 0, {}, r"must have different experts for a token, got \[0, 0\] \(layer 0, token 0\)"),
    ],
)
def test_a_trace_that_does_not_match_the_model_is_refused_with_what_was_expected(
    tmp_path: Path, picks: Any, changes: dict[str, int], message: str
) -> None:
    path = tmp_path / "trace.npy"
    np.save(path, picks)
    with pytest.raises(SpecError, match=message) as caught:
        read_trace(path, **{**MODEL, **changes})
    assert str(path) in caught.value.message


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.npy: must be a file that exists"):
        read_trace(tmp_path / "nothing.npy", **MODEL)
    (tmp_path / "words.npy").write_text("no array")
    with pytest.raises(SpecError, match=r"words\.npy: must be a \.npy or \.npz file of numpy with an array of numbers"):
        read_trace(tmp_path / "words.npy", **MODEL)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(SpecError, match="with an array of numbers"):
        read_trace(tmp_path / "objects.npy", **MODEL)
    np.savez(tmp_path / "two.npz", a=PICKS, b=PICKS)
    with pytest.raises(SpecError, match="must have a single array, got a, b"):
        read_trace(tmp_path / "two.npz", **MODEL)
