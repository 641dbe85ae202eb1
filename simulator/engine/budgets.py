"""Budgets of the reference engine: what is left of each in its present period, and when that changes next.

The rules are those of `simulator.engine.interface`. A period that begins while a budget has no rate and is not used up
changes nothing but what is left, so it is no event: it is made up for when the budget next gets a rate.
"""

from __future__ import annotations

import math

from simulator.program import Program
from simulator.units import TICKS_PER_SECOND, ceil_ticks


class Budget:
    """What the flows of a master may take of a channel in each period."""

    __slots__ = ("_begin_tick", "_bytes", "_left_bytes", "_rate_bytes_per_s", "_since_tick", "channel", "due_tick",
                 "is_exhausted", "master", "period_ticks")  # fmt: skip

    def __init__(self, master: int, channel: int, size_bytes: float, period_ticks: int) -> None:
        self.master = master
        self.channel = channel
        self.period_ticks = period_ticks
        self.is_exhausted = False
        """Whether the flows stand still until the next period."""
        self.due_tick: float = math.inf
        """When it is used up or its next period begins; infinity if neither matters."""
        self._bytes = size_bytes
        self._left_bytes = size_bytes
        self._rate_bytes_per_s = 0.0
        self._since_tick = 0
        self._begin_tick = period_ticks
        """When the next period begins."""

    def turn(self, now: int) -> bool:
        """Does what is due now; returns whether the flows must stop or may go on."""
        was_exhausted = self.is_exhausted
        if now == self._begin_tick:
            self._begin_period(now)
        else:
            self.is_exhausted = True
        self._expect()
        return self.is_exhausted != was_exhausted

    def set_rate(self, bytes_per_s: float, now: int) -> None:
        """Takes another rate of all its flows, times usage."""
        if bytes_per_s == self._rate_bytes_per_s:
            return
        if now >= self._begin_tick:
            self._begin_period(now)
        else:
            taken_bytes = self._rate_bytes_per_s * (now - self._since_tick) / TICKS_PER_SECOND
            self._left_bytes = max(0.0, self._left_bytes - taken_bytes)
        self._since_tick = now
        self._rate_bytes_per_s = bytes_per_s
        self._expect()

    def _begin_period(self, now: int) -> None:
        self._left_bytes = self._bytes
        self._since_tick = now
        self._begin_tick = (now // self.period_ticks + 1) * self.period_ticks
        self.is_exhausted = False

    def _expect(self) -> None:
        """Works out what is due next."""
        self.due_tick = self._begin_tick if self.is_exhausted or self._rate_bytes_per_s > 0 else math.inf
        if not self.is_exhausted and self._rate_bytes_per_s > 0:
            ticks = ceil_ticks(self._left_bytes / self._rate_bytes_per_s * TICKS_PER_SECOND)
            self.due_tick = min(self._begin_tick, self._since_tick + max(1, ticks))


def budgets_of(program: Program) -> list[Budget]:
    """The budgets of a Program before anything has happened."""
    resources = program.resources
    columns = (resources.budget_master, resources.budget_channel, resources.budget_bytes, resources.budget_period_ticks)
    return [Budget(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
