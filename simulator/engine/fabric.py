"""The fabric: all channels, the flows on them now, and the record of their rates. Knows ticks, but no events.

An engine tells the fabric which flows begin and end; `share` gives every flow its rate anew and returns those whose
rate changed, so that the engine can move their ends, and tells the budgets. The rates themselves come from `sharing`.
"""

from __future__ import annotations

from bisect import insort
from typing import Final

import numpy as np

from simulator.engine.budgets import Budget, budgets_of
from simulator.engine.sharing import Flow, Share, fair_rates, lone_rate
from simulator.program import Program
from simulator.program.program import Floats, Ints
from simulator.units import TICKS_PER_SECOND

_MOST_REMEMBERED: Final = 20_000
"""Sharings kept at most; a Program has few kinds of flow, so nearly every sharing was seen before."""


class ActiveFlow:
    """A flow on the fabric: a transfer in progress or a background flow."""

    __slots__ = ("key", "kind", "left_bytes", "moved_bytes", "owner", "rate_bytes_per_s", "since_tick")

    def __init__(self, key: tuple[int, int], kind: int, size_bytes: float, now: int, owner: object = None) -> None:
        self.key = key
        """The place among the flows: (task index, release)."""
        self.kind = kind
        """Route, master and cap in one number, see `Fabric.kind_of_task`."""
        self.owner = owner
        """What the engine wants back when the rate changes; None for a background flow."""
        self.left_bytes = size_bytes
        self.moved_bytes = 0.0
        self.rate_bytes_per_s = 0.0
        self.since_tick = now

    def settle(self, now: int) -> None:
        """Accounts for what has moved since the rate last changed."""
        moved_bytes = self.rate_bytes_per_s * (now - self.since_tick) / TICKS_PER_SECOND
        self.left_bytes = max(0.0, self.left_bytes - moved_bytes)
        self.moved_bytes += moved_bytes
        self.since_tick = now


def _key(flow: ActiveFlow) -> tuple[int, int]:
    return flow.key


class Fabric:
    """Channels with their present capacities, and the flows on them in the order the contract demands."""

    def __init__(self, program: Program) -> None:
        resources, tasks, background = program.resources, program.tasks, program.background
        self.capacity_bytes_per_s: list[float] = resources.channel_bytes_per_s.tolist()
        shares = (resources.share_master, resources.share_channel, resources.share_minimum, resources.share_maximum,
                  resources.share_is_soft)  # fmt: skip
        self._shares = [Share(*row) for row in zip(*(column.tolist() for column in shares), strict=True)]
        kinds: dict[tuple[int, int, float], int] = {}
        transfers = zip(tasks.route.tolist(), tasks.master.tolist(), tasks.rate_cap_bytes_per_s.tolist(), strict=True)
        self.kind_of_task = [kinds.setdefault(kind, len(kinds)) for kind in transfers]
        endless = zip(
            background.route.tolist(), background.master.tolist(), background.bytes_per_s.tolist(), strict=True
        )
        background_kinds = [kinds.setdefault(kind, len(kinds)) for kind in endless]
        weights = resources.master_weight.tolist()
        self._flow_of_kind = [
            Flow(resources.route(route), master, weights[master], cap, resources.usage(route)) if route >= 0 else None
            for route, master, cap in kinds
        ]
        self.budgets = budgets_of(program)
        self.transfers: list[ActiveFlow] = []
        self.background = [ActiveFlow((index, 0), kind, np.inf, 0) for index, kind in enumerate(background_kinds)]
        self._active_background: list[ActiveFlow] = []
        self._sharings: dict[tuple[int, ...], tuple[list[float], int]] = {}
        self._states: list[tuple[list[float], list[float]]] = []
        self._state_ticks: list[int] = []
        self._state_ids: list[int] = []

    def begin(self, flow: ActiveFlow) -> None:
        """Puts a transfer on its channels; it moves once `share` has given it a rate."""
        insort(self.transfers, flow, key=_key)

    def end(self, flow: ActiveFlow) -> None:
        """Takes a transfer off its channels."""
        self.transfers.remove(flow)

    def begin_background(self, index: int) -> None:
        """Starts a background flow."""
        insort(self._active_background, self.background[index], key=_key)

    def end_background(self, index: int, now: int) -> None:
        """Stops a background flow."""
        flow = self.background[index]
        flow.settle(now)
        flow.rate_bytes_per_s = 0.0
        self._active_background.remove(flow)

    def set_capacity(self, channel: int, bytes_per_s: float) -> None:
        """Gives a channel another capacity; the flows notice at the next `share`."""
        self.capacity_bytes_per_s[channel] = bytes_per_s
        self._sharings.clear()

    def turn(self, budget: Budget, now: int) -> bool:
        """Lets a budget do what is due; returns whether the rates must be shared out anew."""
        has_turned = budget.turn(now)
        if has_turned:
            self._sharings.clear()
        return has_turned

    def share(self, now: int) -> list[ActiveFlow]:
        """Shares the channels out anew; returns the transfers whose rate changed, settled up to now."""
        flows = self.transfers + self._active_background
        kinds = tuple([flow.kind for flow in flows])
        sharing = self._sharings.get(kinds)
        if sharing is None:
            sharing = self._solve(kinds)
        rates, state = sharing
        if self._state_ticks and self._state_ticks[-1] == now:
            self._state_ids[-1] = state
        else:
            self._state_ticks.append(now)
            self._state_ids.append(state)
        changed = []
        for flow, rate in zip(flows, rates, strict=True):
            if rate != flow.rate_bytes_per_s:
                flow.settle(now)
                flow.rate_bytes_per_s = rate
                changed.append(flow)
        for budget in self.budgets:
            budget.set_rate(self._taken_of(budget, flows), now)
        return [flow for flow in changed if flow.owner is not None]

    def background_bytes(self, horizon_tick: int) -> Floats:
        """What each background flow has moved by the end of the run, in bytes."""
        for flow in self._active_background:
            flow.settle(horizon_tick)
        return np.array([flow.moved_bytes for flow in self.background], dtype=np.float64)

    def bottleneck(self, flow: ActiveFlow) -> int:
        """The channel on the route of a flow that has the least to spare."""
        granted = self._states[self._state_ids[-1]][0]
        capacity = self.capacity_bytes_per_s
        return min(self._flow(flow.kind).route, key=lambda channel: capacity[channel] - granted[channel])

    def rate_rows(self) -> tuple[Ints, Ints, Floats, Floats]:
        """Tick, channel, granted and asked bytes/s of every change, as `Timeline` wants them."""
        channels = len(self.capacity_bytes_per_s)
        states = np.array(self._states, dtype=np.float64).reshape(len(self._states), 2, channels)
        before_and_after = np.zeros((len(self._state_ids) + 1, 2, channels))
        before_and_after[1:] = states[np.array(self._state_ids, dtype=np.int64)]
        moved = np.any(before_and_after[1:] != before_and_after[:-1], axis=1)
        row, channel = np.nonzero(moved)
        ticks = np.array(self._state_ticks, dtype=np.int64)
        after = before_and_after[1:]
        return ticks[row], channel.astype(np.int64), after[row, 0, channel], after[row, 1, channel]

    def _flow(self, kind: int) -> Flow:
        flow = self._flow_of_kind[kind]
        assert flow is not None  # only transfers and background flows are put on the fabric
        return flow

    def _taken_of(self, budget: Budget, flows: list[ActiveFlow]) -> float:
        """What the flows of a budget take of its channel."""
        bytes_per_s = 0.0
        for active in flows:
            flow = self._flow(active.kind)
            if flow.master == budget.master and budget.channel in flow.route:
                bytes_per_s += active.rate_bytes_per_s * flow.usage_of(budget.channel)
        return bytes_per_s

    def _solve(self, kinds: tuple[int, ...]) -> tuple[list[float], int]:
        flows = [self._flow(kind) for kind in kinds]
        exhausted = [(budget.master, budget.channel) for budget in self.budgets if budget.is_exhausted]
        rates = fair_rates(flows, self.capacity_bytes_per_s, self._shares, exhausted)
        granted = [0.0] * len(self.capacity_bytes_per_s)
        asked = granted.copy()
        for flow, rate in zip(flows, rates, strict=True):
            alone = lone_rate(flow, self.capacity_bytes_per_s)
            for channel in flow.route:
                granted[channel] += rate * flow.usage_of(channel)
                asked[channel] += alone * flow.usage_of(channel)
        if len(self._sharings) >= _MOST_REMEMBERED:
            self._sharings.clear()
        self._sharings[kinds] = rates, len(self._states)
        self._states.append((granted, asked))
        return self._sharings[kinds]
