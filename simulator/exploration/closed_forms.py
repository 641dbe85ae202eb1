"""Closed forms of latency and memory of a transformer layer, and budgets in their units.

The roofline of [codesign]: batch 1, attention and FFN only, prefill limited by compute and decode by bandwidth, no
launch, no embedding, no norm, no attention score, only activated experts in prefill. It explains and checks a search;
the search itself uses `lowering`. All is in base units: seconds, bytes, flop.

Sizes are real numbers here: a caller rounds. `gqa` is the number of query heads per KV head, so the KV width is
hidden / gqa. What is optimal under these forms is in `simulator.exploration.theorems`.
"""

from __future__ import annotations

from dataclasses import dataclass


def flop_coefficient(gqa: float, ffn_ratio: float) -> float:
    """Flop of one layer for one token, in units of hidden^2.

    Formula:  xi_F = 4 + 4 / gqa + 6 * ffn_ratio = 2 * xi_Wdec
    Source:   [codesign] appendix E
    """
    return 4 + 4 / gqa + 6 * ffn_ratio


def active_coefficient(gqa: float, ffn_ratio: float) -> float:
    """Weights of one layer that a decoded token reads, in units of hidden^2.

    Formula:  xi_Wdec = 2 + 2 / gqa + 3 * ffn_ratio
    Source:   [codesign] appendix E
    """
    return 2 + 2 / gqa + 3 * ffn_ratio


def stored_coefficient(gqa: float, ffn_ratio: float, activation_rate: float) -> float:
    """Weights of one layer that are stored, in units of hidden^2; for a rate of 1 those that are read.

    Formula:  xi_Wall = 2 + 2 / gqa + 3 * ffn_ratio / activation_rate
    Source:   [codesign] appendix E
    """
    return 2 + 2 / gqa + 3 * ffn_ratio / activation_rate


def kv_correction(
    *, mean_context_tokens: float, gqa: float, hidden: float, weight_bytes: float, kv_bytes: float
) -> float:
    """KV cache that a decoded token reads beside each layer, in units of hidden^2 weights.

    Formula:  delta = 2 * mean_context_tokens * kv_bytes / (gqa * hidden * weight_bytes)
    Source:   [codesign] theorem 5.3

    Args:
        mean_context_tokens: tokens in the cache, averaged over the decoded tokens.
        gqa: query heads per KV head.
        hidden: hidden width.
        weight_bytes: bytes of one weight.
        kv_bytes: bytes of one element of the cache.
    """
    return 2 * mean_context_tokens * kv_bytes / (gqa * hidden * weight_bytes)


def mean_context_tokens(prompt_tokens: float, decode_tokens: float) -> float:
    """Tokens in the cache, averaged over the decoded tokens: the first of them sees the prompt and itself.

    Formula:  mean = prompt_tokens + (decode_tokens + 1) / 2
    Source:   [codesign] appendix E
    """
    return prompt_tokens + (decode_tokens + 1) / 2


@dataclass(frozen=True)
class LayerCost:
    """What one layer takes of a budget.

    Formula:  cost = fixed + per_ffn_ratio * ffn_ratio + per_kv_share / gqa
    """

    fixed: float
    per_ffn_ratio: float
    per_kv_share: float

    def of(self, *, gqa: float, ffn_ratio: float) -> float:
        """The cost of a layer, in the unit of the budget."""
        return self.fixed + self.per_ffn_ratio * ffn_ratio + self.per_kv_share / gqa


def prefill_cost(hidden: float) -> LayerCost:
    """Flop of one layer for one token.

    Formula:  cost = hidden^2 * xi_F
    Source:   [codesign] equation 12 and appendix I
    """
    square = hidden**2
    return LayerCost(4 * square, 6 * square, 4 * square)


def decode_cost(hidden: float, *, mean_context_tokens: float, weight_bytes: float, kv_bytes: float) -> LayerCost:
    """Bytes that one layer reads for one token: its activated weights and its KV cache.

    Formula:  Gamma = hidden^2 * weight_bytes * (xi_Wdec + delta)
    Source:   [codesign] section 5.4 and appendix F
    """
    square_bytes = hidden**2 * weight_bytes
    cache_bytes = 2 * mean_context_tokens * hidden * kv_bytes
    return LayerCost(2 * square_bytes, 3 * square_bytes, 2 * square_bytes + cache_bytes)


def memory_cost(hidden: float, *, activation_rate: float, weight_bytes: float) -> LayerCost:
    """Bytes of weights that one layer stores; the KV cache is not counted.

    Formula:  cost = hidden^2 * weight_bytes * xi_Wall
    Source:   [codesign] appendix G
    """
    square_bytes = hidden**2 * weight_bytes
    return LayerCost(2 * square_bytes, 3 * square_bytes / activation_rate, 2 * square_bytes)


def prefill_budget_flop(prefill_s: float, *, flop_per_s: float, prompt_tokens: float) -> float:
    """Flop per token that fit into a prefill.

    Formula:  F_p = prefill_s * flop_per_s / prompt_tokens
    Source:   [codesign] section 5.5.2
    """
    return prefill_s * flop_per_s / prompt_tokens


def decode_budget_bytes(decode_s: float, *, bytes_per_s: float, decode_tokens: float) -> float:
    """Bytes per token that fit into the decoding of all tokens.

    Formula:  M_d = decode_s * bytes_per_s / decode_tokens
    Source:   [codesign] section 5.5.2
    """
    return decode_s * bytes_per_s / decode_tokens


def prefill_s(layers: float, cost: LayerCost, *, gqa: float, ffn_ratio: float, prompt_tokens: float,
              flop_per_s: float) -> float:  # fmt: skip
    """Seconds of a prefill that compute limits; `cost` is of `prefill_cost`.

    Formula:  t = layers * prompt_tokens * hidden^2 * xi_F / flop_per_s
    Source:   [codesign] appendix E
    Valid:    the scores of attention left out
    """
    return layers * prompt_tokens * cost.of(gqa=gqa, ffn_ratio=ffn_ratio) / flop_per_s


def decode_s(layers: float, cost: LayerCost, *, gqa: float, ffn_ratio: float, decode_tokens: float,
             bytes_per_s: float) -> float:  # fmt: skip
    """Seconds of the decoding of all tokens that bandwidth limits; `cost` is of `decode_cost`.

    With the context of one token as the mean context and one decoded token it is the time of that token.

    Formula:  t = layers * decode_tokens * Gamma / bytes_per_s
    Source:   [codesign] appendix E
    """
    return layers * decode_tokens * cost.of(gqa=gqa, ffn_ratio=ffn_ratio) / bytes_per_s
