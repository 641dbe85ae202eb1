"""Synthetic router traces from two numbers per layer: how uneven its experts' popularity is, and how sticky its choice.

    popularity    p(expert) ~ rank^-skew, with ranks drawn at random for every layer
    first token   top_k experts without replacement, with weights p
    next token    keeps each expert of the token before with probability `keep`; the rest is drawn like the first

Drawing without replacement is done by keeping the largest of log p + Gumbel noise. Layers are drawn independently:
that neighbouring layers of a real router agree is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from simulator.compiled import compiled_in_place
from simulator.errors import SpecError
from simulator.routing.trace import Picks, RouterTrace
from simulator.terms import RouterPreset

MOST_TOKENS: Final = 262_144
"""Tokens of a synthetic trace: beyond any context, and a few hundred megabytes."""
LEAST_TOKENS: Final = 1024
"""A trace has at least so many tokens, so that popularity can be counted for a short run, too."""

_TOKENS_AT_ONCE = 2048


@dataclass(frozen=True)
class RouterFit:
    """The two parameters of a router, one value for all layers or one per layer."""

    skew: tuple[float, ...]
    """Zipf exponent of popularity: 0 is uniform."""
    keep: tuple[float, ...]
    """Probability with which a token keeps an expert of the token before."""

    def of_layer(self, layer: int, layers: int) -> tuple[float, float]:
        """Skew and keep of a layer; a fit of another depth is stretched to the depth of the model."""
        return self.skew[layer * len(self.skew) // layers], self.keep[layer * len(self.keep) // layers]


_OLMOE_LAYERS = 16


def _all_layers(values: list[float]) -> tuple[float, ...]:
    """The values of the layers that were published, and the last of them for those that were not."""
    return tuple(values + values[-1:] * (_OLMOE_LAYERS - len(values)))


_PRESETS: Final[dict[RouterPreset, RouterFit]] = {
    "balanced": RouterFit((0.45,), (0.12,)),
    "typical": RouterFit((0.65,), (0.25,)),
    "skewed": RouterFit((0.85,), (0.33,)),
    "domain-locked": RouterFit((1.0,), (0.45,)),
    "olmoe": RouterFit(
        _all_layers([0.517, 0.452, 0.611, 0.591, 0.779, 0.648, 0.840, 0.723, 0.657, 0.618, 0.541, 0.712, 0.622, 0.764,
                     0.787]),
        _all_layers([0.116, 0.163, 0.252, 0.261, 0.314, 0.364, 0.329, 0.318, 0.255, 0.214, 0.194, 0.217, 0.235,
                     0.237]),
    ),
}  # fmt: skip
"""Source: [olmoe-trace] for the Zipf exponents, [roadline-moe-fit] for the rest; `domain-locked` is a judgement."""


def preset_fit(name: RouterPreset) -> RouterFit:
    """The parameters of a preset."""
    return _PRESETS[name]


@lru_cache(maxsize=8)
def synthetic_trace(
    fit: RouterFit, *, layers: int, experts: int, top_k: int, tokens: int, seed: int, name: str
) -> RouterTrace:
    """A trace drawn from the parameters of a router.

    The first tokens do not depend on how many follow, and no layer on how many others there are.

    Args:
        fit: the parameters.
        layers: layers of the model.
        experts: experts of a layer.
        top_k: experts that a token picks.
        tokens: tokens wanted; the trace has at least `LEAST_TOKENS`.
        seed: of the scenario.
        name: of the workload, so that two workloads of a scenario draw differently.
    Raises:
        SpecError: when more than `MOST_TOKENS` tokens are wanted.
    """
    if tokens > MOST_TOKENS:
        raise SpecError(
            f"routing: a synthetic trace must have at most {MOST_TOKENS:,} tokens, got {tokens:,}",
            hint="leave the routing uniform, or make the prompt shorter",
        )
    picks = np.empty((layers, max(tokens, LEAST_TOKENS), top_k), dtype=np.int32)
    for layer, sequence in enumerate(np.random.SeedSequence([seed, *name.encode()]).spawn(layers)):
        skew, keep = fit.of_layer(layer, layers)
        _draw_layer(picks[layer], experts, skew, keep, [np.random.default_rng(child) for child in sequence.spawn(3)])
    picks.flags.writeable = False
    return RouterTrace(picks, experts)


def _draw_layer(picks: Picks, experts: int, skew: float, keep: float, streams: list[np.random.Generator]) -> None:
    """Fills the picks of a layer (shape: tokens, top_k). Streams: for ranks, for choices, and for what is kept."""
    ranks, choices, kept = streams
    log_popularity = -skew * np.log(1 + ranks.permutation(experts))
    for first in range(0, len(picks), _TOKENS_AT_ONCE):
        last = min(first + _TOKENS_AT_ONCE, len(picks))
        scores = log_popularity + choices.gumbel(size=(last - first, experts))
        _pick(scores, kept.random((last - first, picks.shape[1])) < keep, first, picks)


@compiled_in_place
def _pick(scores: Any, is_kept: Any, first: int, picks: Any) -> None:
    """The picks of some tokens: what is kept of the token before, then the highest scores; scores are used up."""
    num_experts, top_k = scores.shape[1], picks.shape[1]
    for row in range(scores.shape[0]):
        token, count = first + row, 0
        if token > 0:
            for place in range(top_k):
                if is_kept[row, place]:
                    picks[token, count] = picks[token - 1, place]
                    scores[row, picks[token, count]] = -np.inf
                    count += 1
        while count < top_k:
            best = 0
            for expert in range(1, num_experts):
                if scores[row, expert] > scores[row, best]:
                    best = expert
            picks[token, count] = best
            scores[row, best] = -np.inf
            count += 1
