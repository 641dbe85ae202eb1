"""Statistics of router traces, as they are published for real models."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.routing.cache import CacheCounts
from simulator.routing.trace import RouterTrace

Floats = npt.NDArray[np.float64]


def reuse_of_previous(trace: RouterTrace) -> Floats:
    """The share of a token's experts that the token before picked, too (shape: layers)."""
    now, before = trace.picks[:, 1:], trace.picks[:, :-1]
    is_reused = (now[:, :, :, None] == before[:, :, None, :]).any(axis=3)
    share: Floats = is_reused.mean(axis=(1, 2))
    return share


def mean_distinct(trace: RouterTrace, num_tokens: int, spacing: int = 1) -> Floats:
    """Different experts that so many tokens reach together, on average (shape: layers).

    Args:
        trace: the trace.
        num_tokens: tokens of a group.
        spacing: distance of the tokens of a group: 1 for a stretch of text, more for tokens that hardly know each
            other, such as those of separate requests.
    """
    num_groups = trace.num_tokens - spacing * (num_tokens - 1)
    members = np.arange(num_groups)[:, None] + spacing * np.arange(num_tokens)
    picked = np.sort(trace.picks[:, members].reshape(trace.num_layers, num_groups, -1), axis=2)
    distinct: Floats = 1 + (picked[:, :, 1:] != picked[:, :, :-1]).sum(axis=2).mean(axis=1)
    return distinct


def mean_hit_rate(counts: CacheCounts) -> float:
    """The share of all uses of experts that a cache serves."""
    return float(counts.hits.sum() / counts.touched.sum())
