"""Closed forms and optima of the co-design paper against sums and numerical optimisation.

No expected optimum is computed from a formula of the code: the loss of table 6 and the budgets of the paper are
written out here, and scipy looks for the minimum under them. Tolerances: 1e-4 for searches on one axis, 1e-3 where
three sizes are free, about ten times what the optimisers stop at.
"""

import math

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from simulator.errors import SpecError
from simulator.exploration import closed_forms, theorems
from simulator.exploration.law import PLAS_LAW

HIDDEN, WEIGHT_BYTES, KV_BYTES, CONTEXT = 1024.0, 2.0, 2.0, 1032.5


def loss(layers, ratio, rate, gqa, hidden=HIDDEN):
    """Table 6, term by term."""
    return (
        9.96 / layers**1.63
        + 0.031 * rate**1.09 * hidden**0.33 / ratio**0.17
        + 500 / (ratio**0.17 * hidden**0.97)
        + 0.20 / (hidden / gqa) ** 0.05
        + 2.53
    )


def prefill_flop(ratio, gqa, hidden=HIDDEN):
    """Q and O are hidden x hidden, K and V hidden x hidden/gqa, three FFN matrices; 2 flop per weight."""
    return 2 * (2 * hidden**2 + 2 * hidden**2 / gqa + 3 * ratio * hidden**2)


def decode_bytes(ratio, gqa, hidden=HIDDEN):
    """Every activated weight once, and K and V of every token in the cache."""
    weights = 2 * hidden**2 + 2 * hidden**2 / gqa + 3 * ratio * hidden**2
    return weights * WEIGHT_BYTES + 2 * CONTEXT * hidden / gqa * KV_BYTES


def stored_bytes(ratio, rate, gqa, hidden=HIDDEN):
    """As many FFN weights as are activated, over the share of experts that is."""
    return (2 * hidden**2 + 2 * hidden**2 / gqa + 3 * ratio * hidden**2 / rate) * WEIGHT_BYTES


RATE = 0.125
PHASES = {
    "prefill": (prefill_flop, closed_forms.prefill_cost(HIDDEN)),
    "decode": (
        decode_bytes,
        closed_forms.decode_cost(
            HIDDEN, mean_context_tokens=CONTEXT, weight_bytes=WEIGHT_BYTES, kv_bytes=KV_BYTES
        ),
    ),
    "memory": (
        lambda ratio, gqa: stored_bytes(ratio, RATE, gqa),
        closed_forms.memory_cost(HIDDEN, activation_rate=RATE, weight_bytes=WEIGHT_BYTES),
    ),
}  # fmt: skip
BUDGETS = {"prefill": 2.0e8, "decode": 2.2e8, "memory": 9.0e8}
"""Each is worth some 10 to 30 layers."""


def least(function, low, high):
    """Where a function of one positive number is least, searched on a logarithmic axis."""
    found = minimize_scalar(
        lambda x: function(math.exp(x)), bounds=(math.log(low), math.log(high)), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    assert math.log(low) + 0.1 < found.x < math.log(high) - 0.1, "the minimum must lie inside"
    return math.exp(found.x)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("ratio", "gqa"), [(0.5, 1), (2.67, 4), (5.43, 7)])
def test_the_cost_of_a_layer_is_the_sum_of_its_matrices(phase, ratio, gqa):
    by_hand, cost = PHASES[phase]
    assert cost.of(gqa=gqa, ffn_ratio=ratio) == pytest.approx(by_hand(ratio, gqa), rel=1e-14)


@pytest.mark.parametrize("ratio", [0.5, 2.67, 5.43])
@pytest.mark.parametrize("gqa", [1, 7, 16])
def test_coefficients_agree_where_they_must(ratio, gqa):
    """A multiplication and an addition per weight; a dense model stores what it reads."""
    active = closed_forms.active_coefficient(gqa, ratio)
    assert closed_forms.flop_coefficient(gqa, ratio) == pytest.approx(2 * active, rel=1e-14)
    assert closed_forms.stored_coefficient(gqa, ratio, 1.0) == pytest.approx(active, rel=1e-14)
    assert closed_forms.stored_coefficient(gqa, ratio, 0.5) == pytest.approx(active + 3 * ratio, rel=1e-14)


def test_decoding_all_tokens_takes_the_sum_of_the_steps():
    """Step t reads the weights and a cache of prompt + t tokens, t from 1 to the last."""
    prompt, decoded, layers, ratio, gqa, bytes_per_s = 1024, 16, 24, 4864 / 896, 7, 204.8e9
    hidden = 896.0
    weights = (2 + 2 / gqa + 3 * ratio) * hidden**2 * 2
    steps = [layers * (weights + 2 * (prompt + t) * hidden / gqa * 2) / bytes_per_s for t in range(1, decoded + 1)]
    cost = closed_forms.decode_cost(
        hidden, mean_context_tokens=closed_forms.mean_context_tokens(prompt, decoded), weight_bytes=2, kv_bytes=2
    )
    whole = closed_forms.decode_s(
        layers, cost, gqa=gqa, ffn_ratio=ratio, decode_tokens=decoded, bytes_per_s=bytes_per_s
    )  # fmt: skip
    assert whole == pytest.approx(sum(steps), rel=1e-14)


def test_a_prefill_and_its_budget_are_inverse():
    """24 layers of 2 * 14e6 flop per token, 1024 tokens, at 42.5 Tflop/s: 16.2 ms."""
    cost = closed_forms.LayerCost(28e6, 0, 0)
    seconds = closed_forms.prefill_s(24, cost, gqa=7, ffn_ratio=5, prompt_tokens=1024, flop_per_s=42.5e12)
    assert seconds == pytest.approx(0.016191, rel=1e-4)
    budget = closed_forms.prefill_budget_flop(seconds, flop_per_s=42.5e12, prompt_tokens=1024)
    assert theorems.optimal_layers(cost, budget, gqa=7, ffn_ratio=5) == pytest.approx(24, rel=1e-12)


def test_the_decode_budget_of_the_paper():
    """0.1 s at 50 GB/s for 10 tokens leaves 0.5 GB per token (section 5.5.2)."""
    assert closed_forms.decode_budget_bytes(0.1, bytes_per_s=50e9, decode_tokens=10) == pytest.approx(0.5e9)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_the_ffn_ratio_is_where_the_loss_along_the_budget_is_least(phase, factor):
    per_layer, cost = PHASES[phase]
    budget, gqa = BUDGETS[phase] * factor, 4.0
    expected = least(lambda ratio: loss(budget / per_layer(ratio, gqa), ratio, RATE, gqa), 1e-4, 1e4)
    found = theorems.optimal_ffn_ratio(PLAS_LAW, cost, budget, hidden=HIDDEN, activation_rate=RATE, gqa=gqa)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_gqa_is_where_the_loss_along_the_budget_is_least(phase, factor):
    per_layer, cost = PHASES[phase]
    budget, ratio = BUDGETS[phase] * factor, 1.5
    expected = least(lambda gqa: loss(budget / per_layer(ratio, gqa), ratio, RATE, gqa), 1e-3, 1e5)
    found = theorems.optimal_gqa(PLAS_LAW, cost, budget, hidden=HIDDEN, ffn_ratio=ratio)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_depth_uses_the_budget_up():
    """Depth alone: the loss falls with every layer, so the best depth costs the whole budget."""
    per_layer, cost = PHASES["decode"]
    depth = theorems.optimal_layers(cost, BUDGETS["decode"], gqa=4, ffn_ratio=1.5)
    assert depth * per_layer(1.5, 4) == pytest.approx(BUDGETS["decode"], rel=1e-14)
    assert loss(depth * 1.01, 1.5, RATE, 4) < loss(depth, 1.5, RATE, 4)


def test_under_a_latency_budget_the_lowest_activation_rate_is_best():
    """Theorem 5.1: the budget fixes the depth whatever the rate, and the loss falls with the rate."""
    depth = BUDGETS["decode"] / decode_bytes(1.5, 4)
    rates = [1.0, 0.25, 1 / 16, 0.125]
    best = min(rates, key=lambda rate: loss(depth, 1.5, rate, 4))
    assert theorems.latency_activation_rate(rates) == best


@pytest.mark.parametrize(("hidden", "rate"), [(768, 0.557), (1024, 0.395), (1536, 0.244), (2048, 0.173), (3072, 0.107)])
def test_theorem_5_2_in_numbers(hidden, rate):
    """By hand for 1024: [0.17 * 500 / (0.92 * 0.031)]^(1/1.09) * 1024^(-1.3/1.09) = 1540.6 * 2.566e-4 = 0.395."""
    assert theorems.memory_activation_rate(PLAS_LAW, hidden=hidden) == pytest.approx(rate, abs=0.0005)


def test_theorem_5_2_falls_with_the_power_of_width_that_the_paper_states():
    """(b1 - b2) / a_rho = -1.30 / 1.09 = -1.1927."""
    narrow, wide = (theorems.memory_activation_rate(PLAS_LAW, hidden=hidden) for hidden in (1000, 3000))
    assert math.log(wide / narrow) / math.log(3) == pytest.approx(-1.1927, abs=5e-5)


def test_theorem_5_2_never_asks_for_more_than_all_experts():
    assert theorems.memory_activation_rate(PLAS_LAW, hidden=64) == 1


@pytest.mark.parametrize("hidden", [1024.0, 2048.0])
def test_theorem_5_2_is_the_least_loss_at_fixed_memory(hidden):
    """The stored FFN (ratio / rate) and the depth stay, so the memory does; only the rate moves."""
    stored_ratio = 12.0
    expected = least(lambda rate: loss(16, stored_ratio * rate, rate, 4, hidden), 1e-3, 10)
    assert theorems.memory_activation_rate(PLAS_LAW, hidden=hidden) == pytest.approx(expected, rel=1e-4)


def best_design(limits, lowest_rate=1e-4, gqa=4.0, hidden=HIDDEN):
    """Depth, FFN ratio and rate of least loss within limits, each a function of the three that must not exceed 1.

    In logarithms loss and limits are convex (sums of exponentials of linear forms), so the minimum is the only one.
    """
    found = minimize(
        lambda x: loss(*np.exp(x), gqa, hidden),
        np.log([8.0, 1.0, 0.5]),
        constraints=[
            {"type": "ineq", "fun": lambda x, limit=limit: -math.log(limit(*np.exp(x)))} for limit in limits
        ],
        bounds=[(-5, 8), (-8, 6), (math.log(lowest_rate), 0)],
        jac="3-point",
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    assert found.success, found.message
    return np.exp(found.x)


def memory_limit(budget):
    return lambda layers, ratio, rate: layers * stored_bytes(ratio, rate, 4.0) / budget


def prefill_limit(budget):
    return lambda layers, ratio, rate: layers * prefill_flop(ratio, 4.0) / budget


def decode_limit(budget):
    return lambda layers, ratio, rate: layers * decode_bytes(ratio, 4.0) / budget


def test_theorem_5_2_and_the_ffn_ratio_are_the_joint_optimum_under_a_memory_budget():
    layers, ratio, rate = best_design([memory_limit(9e8)])
    assert theorems.memory_activation_rate(PLAS_LAW, hidden=HIDDEN) == pytest.approx(rate, rel=1e-3)
    cost = closed_forms.memory_cost(HIDDEN, activation_rate=rate, weight_bytes=WEIGHT_BYTES)
    found = theorems.optimal_ffn_ratio(PLAS_LAW, cost, 9e8, hidden=HIDDEN, activation_rate=rate, gqa=4)
    assert found == pytest.approx(ratio, rel=1e-3)
    assert theorems.optimal_layers(cost, 9e8, gqa=4, ffn_ratio=ratio) == pytest.approx(layers, rel=1e-3)


def test_theorem_5_3a_is_the_rate_of_the_best_design_when_prefill_and_memory_bind():
    prefill, memory = prefill_limit(2e8), memory_limit(4e8)
    design = best_design([prefill, memory])
    assert prefill(*design) == pytest.approx(1, rel=1e-6)
    assert memory(*design) == pytest.approx(1, rel=1e-6)
    share = theorems.prefill_share(2e8, 4e8, weight_bytes=WEIGHT_BYTES)
    _, ratio, rate = design
    assert theorems.shared_limit_activation_rate(share, gqa=4, ffn_ratio=ratio) == pytest.approx(rate, rel=1e-3)
    # equation 10 as printed: eta_p b_w = 2e8 / 4e8 * 2 = 1, alpha = 2.5
    assert 3 * ratio / (2.5 * (2 - 1) + 6 * ratio) == pytest.approx(rate, rel=1e-3)


def test_theorem_5_3b_is_the_rate_of_the_best_design_when_decode_and_memory_bind():
    decode, memory = decode_limit(2.2e8), memory_limit(4e8)
    design = best_design([decode, memory])
    assert decode(*design) == pytest.approx(1, rel=1e-6)
    assert memory(*design) == pytest.approx(1, rel=1e-6)
    _, ratio, rate = design
    assert theorems.shared_limit_activation_rate(decode_share(2.2e8, 4e8, ratio), gqa=4, ffn_ratio=ratio) == (
        pytest.approx(rate, rel=1e-3)
    )


def decode_share(budget, memory, ratio, gqa=4.0):
    correction = closed_forms.kv_correction(
        mean_context_tokens=CONTEXT, gqa=gqa, hidden=HIDDEN, weight_bytes=WEIGHT_BYTES, kv_bytes=KV_BYTES
    )
    return theorems.decode_share(budget, memory, gqa=gqa, ffn_ratio=ratio, kv_correction=correction)


def printed_decode_rate(eta, ratio, gqa, delta):
    """Equation 11 as the paper prints it."""
    weights, attention = 2 + 2 / gqa + 3 * ratio, 2 + 2 / gqa
    xi = (weights + math.sqrt(weights**2 + 4 * eta * delta)) / (2 * eta)
    return 3 * ratio / (xi - attention)


def test_equation_11_as_printed_does_not_meet_both_budgets():
    """With one KV head per head and a long context, the depths of the two budgets must agree at the shared limit."""
    eta, ratio, gqa, tokens = 0.5, 1.0, 1.0, 8192.0
    delta = 2 * tokens * KV_BYTES / (gqa * HIDDEN * WEIGHT_BYTES)  # 16, against 7 of the weights

    def depth_ratio(rate):
        """Depth that decode has time for over depth that the memory has room for."""
        weights, cache = 7 * HIDDEN**2 * WEIGHT_BYTES, 2 * tokens * HIDDEN * KV_BYTES
        return eta / (weights + cache) * stored_bytes(ratio, rate, gqa)

    share = theorems.decode_share(eta, 1.0, gqa=gqa, ffn_ratio=ratio, kv_correction=delta)
    ours = theorems.shared_limit_activation_rate(share, gqa=gqa, ffn_ratio=ratio)
    assert depth_ratio(ours) == pytest.approx(1, rel=1e-12)
    # printed: xi = 7 + sqrt(49 + 32) = 16, so half of it is 8, where 7 + 16 = 23 would be needed
    assert depth_ratio(printed_decode_rate(eta, ratio, gqa, delta)) == pytest.approx(8 / 23, rel=1e-12)
    # without a cache both are the same
    without_cache = theorems.shared_limit_activation_rate(eta, gqa=gqa, ffn_ratio=ratio)
    assert printed_decode_rate(eta, ratio, gqa, 0.0) == pytest.approx(without_cache, rel=1e-12)


@pytest.mark.parametrize(
    ("budget_bytes", "expected"),
    [(1.3e7, "latency"), (0.5e8, "latency"), (1.5e8, "both"), (2.2e8, "both"), (4e8, "memory"), (2e9, "memory")],
)  # fmt: skip
def test_the_regime_is_that_of_the_budgets_that_bind_at_the_best_design(budget_bytes, expected):
    """Rates from 1/16: a small latency budget leaves memory over, a large one does not.

    0.5e8 of 4e8 bytes is the eta of 0.125 that section 5.5.2 calls memory-constrained.
    """
    decode, memory = decode_limit(budget_bytes), memory_limit(4e8)
    design = best_design([decode, memory], lowest_rate=1 / 16)
    binding = (decode(*design) > 1 - 1e-5, memory(*design) > 1 - 1e-5)
    assert binding == {"latency": (True, False), "both": (True, True), "memory": (False, True)}[expected]
    found = theorems.regime(
        decode_share(budget_bytes, 4e8, design[1]), gqa=4, ffn_ratio=design[1], lowest_rate=1 / 16,
        memory_rate=theorems.memory_activation_rate(PLAS_LAW, hidden=HIDDEN),
    )  # fmt: skip
    assert found == expected


def test_prefill_and_decode_want_the_same_shape_at_the_same_share_unless_there_is_a_cache():
    """A budget of F flop per token is worth F / 2 * weight_bytes bytes; a cache makes KV heads dearer."""
    budget = 2e8
    without_cache = closed_forms.decode_cost(HIDDEN, mean_context_tokens=0, weight_bytes=2, kv_bytes=2)
    prefill, decode = closed_forms.prefill_cost(HIDDEN), PHASES["decode"][1]
    ratios = [
        theorems.optimal_ffn_ratio(PLAS_LAW, cost, budget, hidden=HIDDEN, activation_rate=RATE, gqa=4)
        for cost in (prefill, without_cache)
    ]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-9)
    heads = [
        theorems.optimal_gqa(PLAS_LAW, cost, budget, hidden=HIDDEN, ffn_ratio=1.5)
        for cost in (prefill, without_cache, decode)
    ]
    assert heads[0] == pytest.approx(heads[1], rel=1e-9)
    assert heads[2] > 1.5 * heads[0]


@pytest.mark.parametrize("share", [0.0, 1.0, 1.3])
def test_theorem_5_3_needs_a_share_below_one(share):
    """eta_p b_w = 2 is a share of 1."""
    with pytest.raises(SpecError, match="the share must be above 0 and below 1"):
        theorems.shared_limit_activation_rate(share, gqa=4, ffn_ratio=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"sparsity_exponent": 0.17}, "needs sparsity_exponent above ffn_exponent, got 0.17 and 0.17"),
     ({"sparsity_scale": 0.0}, "does not depend on activation_rate")],
)  # fmt: skip
def test_theorem_5_2_needs_a_law_that_punishes_activation(change, message):
    law = PLAS_LAW.model_copy(update=change)
    with pytest.raises(SpecError, match=message):
        theorems.memory_activation_rate(law, hidden=1024)


def test_optima_need_terms_to_trade():
    cost = closed_forms.prefill_cost(HIDDEN)
    for change, column in (({"depth_scale": 0.0}, "layers"), ({"ffn_exponent": 0.0}, "ffn_ratio")):
        with pytest.raises(SpecError, match=f"does not depend on {column}"):
            theorems.optimal_ffn_ratio(PLAS_LAW.model_copy(update=change), cost, 2e8, hidden=HIDDEN,
                                       activation_rate=RATE, gqa=4)  # fmt: skip
    with pytest.raises(SpecError, match="does not depend on kv_width"):
        theorems.optimal_gqa(PLAS_LAW.model_copy(update={"kv_scale": 0.0}), cost, 2e8, hidden=HIDDEN, ffn_ratio=1)
