"""Sensitivity: the latency with each number a fifth smaller and larger, and at the ends of the ranges of guesses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.explanation.levers import Change, Lever, Variants

STEP: Final = 0.2
"""By how much of itself a number is changed."""


@dataclass(frozen=True)
class Sensitivity:
    """A lever at a lower and at a higher value."""

    lever: Lever
    low: Change
    high: Change
    base_ticks: int
    """The latency with the value as it is."""
    rounding_ticks: int
    """Differences up to this come from rounding."""

    @property
    def swing_ticks(self) -> int:
        """The larger of the two differences that it makes; one that cannot run makes none."""
        return max(abs(_ticks(change, self.base_ticks) - self.base_ticks) for change in (self.low, self.high))

    @property
    def cannot_run(self) -> bool:
        """Whether one of the two makes a run impossible."""
        return None in {self.low.latency_ticks, self.high.latency_ticks}

    @property
    def has_effect(self) -> bool:
        """Whether it changes the latency by more than rounding does, or makes a run impossible."""
        return self.swing_ticks > self.rounding_ticks or self.cannot_run

    @property
    def is_fixed(self) -> bool:
        """Whether no other value near it was allowed; a zero, of which any fraction is zero, is not meant."""
        present = self.lever.value
        return present != 0 and self.low.value == self.high.value == present

    @property
    def better(self) -> Change:
        """The end with the lower latency."""
        return min((self.low, self.high), key=lambda change: _ticks(change, self.base_ticks))

    @property
    def better_ticks(self) -> int:
        """The lower latency; that of the setup if none can run."""
        return _ticks(self.better, self.base_ticks)

    @property
    def saved_ticks(self) -> int:
        """What the better end saves; negative if both ends cost time."""
        return self.base_ticks - self.better_ticks

    @property
    def gain_fraction(self) -> float:
        """The fraction of the latency that a step of 20 % saves; 0 if it saves nothing.

        A number that had to change by more counts with the same elasticity: with latency ratio r for a value ratio v,
        a value ratio w has the latency ratio r ** (log w / log v). One that could only change by less is not
        extrapolated. A number that went to zero has no ratio: a fifth of it counts as a fifth of what all of it saves.
        """
        change, present, ticks = self.better, self.lever.value, self.better_ticks
        if ticks >= self.base_ticks or present == 0:
            return 0.0
        if change.value == 0:
            return STEP * (1 - ticks / self.base_ticks)
        wanted = 1 + math.copysign(STEP, change.value - present)
        elasticity = min(1.0, math.log(wanted) / math.log(change.value / present))
        return 1 - math.pow(ticks / self.base_ticks, elasticity)


def tornado(levers: Sequence[Lever], variants: Variants, on_lever: Callable[[], None]) -> list[Sensitivity]:
    """Every lever a fifth smaller and larger, largest gain per fifth first, of equal gains the largest swing."""
    found = []
    for lever in levers:
        low, high = (variants.change(lever, factor * lever.value) for factor in (1 - STEP, 1 + STEP))
        found.append(_sensitivity(lever, low, high, variants))
        on_lever()
    return sorted(found, key=lambda item: (-item.gain_fraction, -item.swing_ticks))


def over_ranges(levers: Sequence[Lever], variants: Variants, on_lever: Callable[[], None]) -> list[Sensitivity]:
    """Every lever whose note gives a range, at the ends of it, the largest swing first; only those with an effect."""
    found = []
    for lever in levers:
        if lever.noted_ends is not None:
            low, high = (variants.change_to(lever, end) for end in lever.noted_ends)
            found.append(_sensitivity(lever, low, high, variants))
            on_lever()
    return [item for item in _by_swing(found) if item.has_effect]


def _sensitivity(lever: Lever, low: Change, high: Change, variants: Variants) -> Sensitivity:
    return Sensitivity(lever, low, high, variants.base_ticks, variants.rounding_ticks)


def _by_swing(found: Iterable[Sensitivity]) -> list[Sensitivity]:
    return sorted(found, key=lambda item: -item.swing_ticks)


def _ticks(change: Change, base_ticks: int) -> int:
    """The latency of a change; that of the setup where it cannot run."""
    return base_ticks if change.latency_ticks is None else change.latency_ticks
