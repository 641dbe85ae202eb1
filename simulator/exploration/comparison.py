"""Comparison: the best point that is no slower than the reference, and how much better it is."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.study import Objective


@dataclass(frozen=True)
class Comparison:
    """What a front wins over a reference at the same latency."""

    objective: Objective
    """The latency in which the point is no worse than the reference."""
    index: int
    """The point of lowest loss."""
    loss_difference: float
    """Loss of the point minus that of the reference, nats."""
    perplexity_ratio: float
    """Perplexity of the point over that of the reference, by the law."""
