"""What a latency or a memory budget makes of the loss law: the sizes of least loss.

The budgets are those of the roofline in `simulator.exploration.closed_forms`. Every optimum is for a given hidden
width, since a budget alone does not bound the width, and for real numbers: a caller rounds.

Where the paper disagrees with an optimisation of its own law, the functions give the optimum and their docstrings say
so: equation 11 (`shared_limit_activation_rate`), the test of regimes and the asymmetry of phases (`regime`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final, Literal

from scipy.optimize import brentq

from simulator.errors import SpecError
from simulator.exploration.closed_forms import LayerCost, active_coefficient
from simulator.exploration.law import LossLaw

Regime = Literal["latency", "both", "memory"]
"""Which budget decides: the latency alone, the latency and the memory at once, or the memory alone."""

_WIDEST: Final = 46.0
"""Natural logarithm of the largest ratio that is looked at: 1e20, and 1e-20 at the other end."""


def optimal_layers(cost: LayerCost, budget: float, *, gqa: float, ffn_ratio: float) -> float:
    """The depth that uses a budget up: more layers never raise the loss.

    At fixed ffn_ratio and gqa it falls with hidden^-2 for prefill and memory; for decode only without a KV cache.

    Formula:  l* = budget / cost:  F_p / (xi_F hidden^2),  M_d / Gamma,  M / (xi_Wall hidden^2 weight_bytes)
    Source:   [codesign] equation 12 and table 4
    """
    return budget / cost.of(gqa=gqa, ffn_ratio=ffn_ratio)


def optimal_ffn_ratio(
    law: LossLaw, cost: LayerCost, budget: float, *, hidden: float, activation_rate: float, gqa: float
) -> float:
    """The activated FFN expansion of least loss when the depth uses the budget up; the rest is fixed.

    The equation is implicit, as `cost` contains r, and has one solution: its left side grows with r, its right side
    falls or grows more slowly. The paper prints it with cost = xi_F hidden^2; for decode and memory the same
    derivation puts the cost of a unit of r, 3 hidden^2 weight_bytes (/ activation_rate), where prefill has 6 hidden^2.

    Formula:  r^(a_r + 1) = a_r D budget^a_l / (a_l k_l hidden^b2 cost^(a_l - 1) per_ffn_ratio),
              D = k_rho rate^a_rho hidden^(b2 - b1) + k_d
    Source:   [codesign] equation 13, and our derivation

    Raises:
        SpecError: when the law has no term in which depth, or none in which the FFN ratio, lowers the loss.
    """
    _require_slope(law, "layers", law.depth_scale * law.depth_exponent)
    ffn_gain = law.ffn_exponent * _ffn_scale(law, hidden, activation_rate)
    _require_slope(law, "ffn_ratio", ffn_gain)

    def excess(log_ratio: float) -> float:
        ratio = math.exp(log_ratio)
        gain = math.log(ffn_gain) - (law.ffn_exponent + 1) * log_ratio
        return _log_depth_loss(law, cost.of(gqa=gqa, ffn_ratio=ratio), budget) + math.log(cost.per_ffn_ratio) - gain

    return _root(excess, "ffn_ratio")


def optimal_gqa(law: LossLaw, cost: LayerCost, budget: float, *, hidden: float, ffn_ratio: float) -> float:
    """The query heads per KV head of least loss when the depth uses the budget up; the rest is fixed.

    Implicit as r* is, with one solution. A value below 1, or above the number of heads, means the end of the range.

    Formula:  gqa^(a_m + 1) = a_l k_l cost^(a_l - 1) per_kv_share hidden^a_m / (a_m k_m budget^a_l)
              with per_kv_share = 4 hidden^2 (prefill), 2 (hidden^2 weight_bytes + mean_context_tokens hidden kv_bytes)
              (decode), 2 hidden^2 weight_bytes (memory)
    Source:   [codesign] equation 13, and our derivation

    Raises:
        SpecError: when the law has no term in which depth, or none in which the KV width, lowers the loss.
    """
    _require_slope(law, "layers", law.depth_scale * law.depth_exponent)
    _require_slope(law, "kv_width", law.kv_scale * law.kv_exponent)

    def excess(log_gqa: float) -> float:
        gqa = math.exp(log_gqa)
        harm = math.log(law.kv_exponent * law.kv_scale) + (law.kv_exponent + 1) * log_gqa
        harm -= law.kv_exponent * math.log(hidden)
        gain = _log_depth_loss(law, cost.of(gqa=gqa, ffn_ratio=ffn_ratio), budget) + math.log(cost.per_kv_share)
        return harm - gain

    return _root(excess, "gqa")


def latency_activation_rate(allowed: Collection[float]) -> float:
    """The activation rate of least loss when only latency counts: the lowest, as latency does not depend on it.

    Source:   [codesign] theorem 5.1
    """
    return min(allowed)


def memory_activation_rate(law: LossLaw, *, hidden: float) -> float:
    """The activation rate of least loss when only memory counts, at most 1.

    It holds at a fixed size of the stored FFN (ffn_ratio / activation_rate), hence also when the FFN ratio is optimal
    itself. At a fixed FFN ratio that is not optimal the best rate is another.

    Formula:  rho* = [a_r k_d / ((a_rho - a_r) k_rho)]^(1 / a_rho) * hidden^((b1 - b2) / a_rho)
    Source:   [codesign] theorem 5.2 (equation 9)

    Raises:
        SpecError: when the law has no sparsity term, or a_rho <= a_r: then more of the FFN is always worth activating.
    """
    _require_slope(law, "activation_rate", law.sparsity_scale * law.sparsity_exponent)
    if law.sparsity_exponent <= law.ffn_exponent:
        raise SpecError(
            f"law {law.name}: the rate of theorem 5.2 needs sparsity_exponent above ffn_exponent, "
            f"got {law.sparsity_exponent:g} and {law.ffn_exponent:g}",
            hint="with such a law the best rate under a memory budget is 1",
        )
    a_rho, a_r = law.sparsity_exponent, law.ffn_exponent
    scale = a_r * law.capacity_scale / ((a_rho - a_r) * law.sparsity_scale)
    exponent = (law.sparsity_width_exponent - law.capacity_width_exponent) / a_rho
    return float(min(1.0, scale ** (1 / a_rho) * hidden**exponent))


def prefill_share(budget_flop: float, memory_bytes: float, *, weight_bytes: float) -> float:
    """Activated weights that the prefill has time for, over weights that the memory has room for.

    Formula:  share = eta_p weight_bytes / 2,  eta_p = F_p / M   (2 flop per weight and token)
    Source:   [codesign] theorem 5.3a, rearranged
    """
    return budget_flop / memory_bytes * weight_bytes / 2


def decode_share(
    budget_bytes: float, memory_bytes: float, *, gqa: float, ffn_ratio: float, kv_correction: float
) -> float:
    """Activated weights that the decoding has time for, over weights that the memory has room for.

    Formula:  share = eta xi_Wdec / (xi_Wdec + delta),  eta = M_d / M
    Source:   our derivation from the two constraints of [codesign] theorem 5.3b
    """
    weights = active_coefficient(gqa, ffn_ratio)
    return budget_bytes / memory_bytes * weights / (weights + kv_correction)


def shared_limit_activation_rate(share: float, *, gqa: float, ffn_ratio: float) -> float:
    """The activation rate at which a latency and the memory budget allow the same depth.

    It is the best rate where both bind, theorem 5.3: with `prefill_share` exactly equation 10. Equation 11, for decode,
    is not: it solves eta xi^2 - xi_Wdec xi - delta = 0, but the two constraints of the paper, l (xi_Wdec + delta)
    hidden^2 b_w = M_d and l xi_Wall hidden^2 b_w = M, are met where eta xi = xi_Wdec + delta, without a square. With
    its rate the design misses one of the budgets; both agree only without a KV cache.

    Formula:  rho* = 3 r / (xi_Wdec / share - alpha),  alpha = 2 + 2 / gqa
    Source:   [codesign] theorem 5.3, equation 11 corrected

    Args:
        share: of `prefill_share` or `decode_share`.
        gqa: query heads per KV head.
        ffn_ratio: activated FFN expansion.
    Raises:
        SpecError: when the share is not between 0 and 1 (in the paper: eta_p b_w < 2): at 1 even a dense model uses up
            the memory first.
    """
    if not 0 < share < 1:
        raise SpecError(
            f"theorem 5.3: the share must be above 0 and below 1, got {share:g}",
            hint="from 1 on the memory decides alone: theorem 5.2",
        )
    return 3 * ffn_ratio / (active_coefficient(gqa, ffn_ratio) / share - (2 + 2 / gqa))


def regime(share: float, *, gqa: float, ffn_ratio: float, lowest_rate: float, memory_rate: float) -> Regime:
    """Which budget decides at a given shape, and so which theorem holds.

    As the latency does not depend on the activation rate, lowering it costs only memory: a small share means that
    memory is left over (latency decides, rho = lowest_rate), a share near or above 1 that the memory is full. The paper
    (section 5.5.2) has it the other way round: it calls ratios eta and eta_p much below 1 memory-constrained and much
    above 1 latency-constrained. It also compares eta_p, in flop per byte, with 1, where eta_p b_w / 2 is a pure number.

    Nor do the factors 6 and 3 of its table 4 make prefill want a smaller FFN than decode: xi_F = 2 xi_Wdec, so they
    cancel in the budget. Without a KV cache the two phases have the same optimum at the same share; with one, decode
    wants the larger gqa.

    Formula:  rate of the shared limit < lowest_rate: latency;  > memory_rate, or share >= 1: memory;  else both
    Source:   our derivation from the constraints of [codesign]

    Args:
        share: of `prefill_share` or `decode_share`.
        gqa: query heads per KV head.
        ffn_ratio: activated FFN expansion.
        lowest_rate: lowest activation rate allowed.
        memory_rate: of `memory_activation_rate`.
    """
    if share >= 1:
        return "memory"
    rate = shared_limit_activation_rate(share, gqa=gqa, ffn_ratio=ffn_ratio)
    if rate < lowest_rate:
        return "latency"
    return "memory" if rate > memory_rate else "both"


def _ffn_scale(law: LossLaw, hidden: float, activation_rate: float) -> float:
    """The sum of the sparsity and the capacity term at an FFN ratio of 1, nats: D / hidden^b2."""
    sparsity = law.sparsity_scale * activation_rate**law.sparsity_exponent / hidden**law.sparsity_width_exponent
    return float(sparsity + law.capacity_scale / hidden**law.capacity_width_exponent)


def _log_depth_loss(law: LossLaw, cost: float, budget: float) -> float:
    """Logarithm of the loss that a unit more of layer cost brings, as it leaves room for fewer layers."""
    scale = math.log(law.depth_scale * law.depth_exponent)
    return scale + (law.depth_exponent - 1) * math.log(cost) - law.depth_exponent * math.log(budget)


def _require_slope(law: LossLaw, column: str, slope: float) -> None:
    if slope <= 0:
        raise SpecError(f"law {law.name}: has no optimum here, because its loss does not depend on {column}")


def _root(excess: Callable[[float], float], what: str) -> float:
    """The positive number at whose logarithm a rising function is zero."""
    if excess(-_WIDEST) > 0 or excess(_WIDEST) < 0:
        raise SpecError(f"{what}: has no optimum between 1e-20 and 1e20 with this budget")
    return math.exp(float(brentq(excess, -_WIDEST, _WIDEST, xtol=1e-13)))
