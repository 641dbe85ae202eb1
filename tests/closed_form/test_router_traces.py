"""Router traces: closed forms for uniform routing, and the published statistics of OLMoE [olmoe-trace]."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.routing import (
    RouterFit,
    RouterTrace,
    cache_counts,
    mean_distinct,
    mean_hit_rate,
    preset_fit,
    reuse_of_previous,
    synthetic_trace,
)
from simulator.terms import CachePolicy

TOKENS = 16_384
"""A share of 8 * 16,384 picks is known to about 0.002, so that 0.02 is far beyond chance."""
UNRELATED = 64
"""Tokens so far apart share nothing that was kept: 0.364^64 is nothing."""


def trace_of(fit: RouterFit, *, layers: int = 4, experts: int = 64, top_k: int = 8, seed: int = 0) -> RouterTrace:
    return synthetic_trace(fit, layers=layers, experts=experts, top_k=top_k, tokens=TOKENS, seed=seed, name="a model")


@pytest.fixture(scope="module")
def olmoe() -> RouterTrace:
    return trace_of(preset_fit("olmoe"), layers=16)


def every_token(trace: RouterTrace) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Decoding: every token is a step."""
    return np.arange(trace.num_tokens + 1)


# uniform routing: closed forms ---------------------------------------------------------------------------------------

UNIFORM = RouterFit((0.0,), (0.0,))


@pytest.mark.parametrize(("experts", "top_k"), [(64, 8), (128, 8), (16, 1), (8, 2)])
def test_a_uniform_router_reuses_top_k_of_all_experts_by_chance(experts: int, top_k: int) -> None:
    trace = trace_of(UNIFORM, experts=experts, top_k=top_k)
    assert reuse_of_previous(trace) == pytest.approx(np.full(4, top_k / experts), abs=0.01)


@pytest.mark.parametrize("num_tokens", [1, 2, 4, 16])
def test_tokens_of_a_uniform_router_reach_the_expected_number_of_experts(num_tokens: int) -> None:
    expected = 64 * (1 - (1 - 8 / 64) ** num_tokens)
    assert mean_distinct(trace_of(UNIFORM), num_tokens) == pytest.approx(np.full(4, expected), rel=0.01)


def test_a_router_that_keeps_every_expert_never_changes_its_choice() -> None:
    trace = trace_of(RouterFit((0.7,), (1.0,)))
    assert (trace.picks == trace.picks[:, :1]).all()
    assert mean_distinct(trace, 100) == pytest.approx(np.full(4, 8.0))


def test_without_keeping_reuse_is_the_sum_of_squared_popularities() -> None:
    """With one pick, two independent tokens agree with probability sum p^2, p ~ rank^-s."""
    popularity = np.arange(1, 17) ** -1.2
    popularity /= popularity.sum()
    trace = trace_of(RouterFit((1.2,), (0.0,)), experts=16, top_k=1)
    assert reuse_of_previous(trace) == pytest.approx(np.full(4, (popularity**2).sum()), abs=0.015)


@pytest.mark.parametrize(("policy", "top_k"), [("static", 8), ("static", 1), ("lru-per-layer", 1)])
def test_a_cache_of_equally_popular_experts_serves_its_share_of_them(policy: CachePolicy, top_k: int) -> None:
    """A quarter of all slots serves a quarter. By last use that holds for one pick; several push each other out.

    Pinned are the experts that chance has favoured: each is counted 256 times or 2,048 times, give or take the root.
    """
    trace = trace_of(UNIFORM, top_k=top_k)
    counts = cache_counts(trace, every_token(trace), 64, policy)
    assert mean_hit_rate(counts) == pytest.approx(0.25, abs=0.025)


# OLMoE: 16 layers, 64 experts, 8 picked ------------------------------------------------------------------------------

REUSE = [0.250, 0.280, 0.367, 0.371, 0.440, 0.455, 0.466, 0.438, 0.378, 0.340, 0.313, 0.365, 0.359, 0.389]
"""Published for the first 14 layers."""


def test_reuse_of_the_previous_token_is_the_published_one_in_every_layer(olmoe: RouterTrace) -> None:
    assert reuse_of_previous(olmoe)[:14] == pytest.approx(np.array(REUSE), abs=0.02)


def test_popularity_alone_explains_only_half_of_the_reuse(olmoe: RouterTrace) -> None:
    """Unrelated tokens share 0.201 of their experts by the fit's own statistics, neighbours 0.37."""
    members = np.stack([olmoe.picks[:, :-UNRELATED], olmoe.picks[:, UNRELATED:]])
    shared = (members[0][..., :, None] == members[1][..., None, :]).any(axis=-1).mean()
    assert shared == pytest.approx(0.201, abs=0.01)


@pytest.mark.parametrize(
    ("num_tokens", "published", "tolerance"), [(1, 8.0, 0.0), (2, 14.635, 0.02), (4, 24.785, 0.03)]
)
def test_unrelated_tokens_reach_about_the_published_number_of_experts(
    olmoe: RouterTrace, num_tokens: int, published: float, tolerance: float
) -> None:
    """A few percent below: the Zipf law makes the most popular experts more popular than they are.

    Neighbouring tokens reach fewer (13.0 and 21.1), so the published figures must be of unrelated ones.
    """
    found = mean_distinct(olmoe, num_tokens, UNRELATED).mean()
    assert published * (1 - tolerance) <= found <= published


def test_the_most_popular_expert_has_the_published_multiple_of_the_mean_load(olmoe: RouterTrace) -> None:
    load = olmoe.popularity.max(axis=1) / olmoe.popularity.mean(axis=1)
    assert load.min() == pytest.approx(3.2, rel=0.1)
    assert load.max() == pytest.approx(5.8, rel=0.1)


def test_a_cache_by_last_use_below_the_other_layers_of_a_token_never_hits(olmoe: RouterTrace) -> None:
    """Published 0.0 at 2 % and 5 % of 1,024 slots. Between two uses of an expert 15 layers use 8 each: 120."""
    for slots in (20, 51, 120):
        assert cache_counts(olmoe, every_token(olmoe), slots, "lru").hits.sum() == 0
    assert cache_counts(olmoe, every_token(olmoe), 121, "lru").hits.sum() > 0


@pytest.mark.parametrize(("slots", "published"), [(20, 0.062), (51, 0.135)])
def test_pinning_the_most_popular_experts_hits_about_as_often_as_published(
    olmoe: RouterTrace, slots: int, published: float
) -> None:
    """2 % and 5 % of the slots. Up to 0.05 above, because the Zipf law overrates the most popular experts."""
    hit_rate = mean_hit_rate(cache_counts(olmoe, every_token(olmoe), slots, "static"))
    assert published <= hit_rate <= published + 0.05


def test_twice_the_footprint_of_a_token_serves_nearly_half(olmoe: RouterTrace) -> None:
    """A toy model with as many experts picked of as many hits 0.474 with twice and 0.614 with three times as much."""
    for slots, published in ((256, 0.474), (384, 0.614)):
        hit_rate = mean_hit_rate(cache_counts(olmoe, every_token(olmoe), slots, "lru"))
        assert hit_rate == pytest.approx(published, abs=0.05)
