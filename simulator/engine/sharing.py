"""Fair shares: how fast each flow moves when flows compete for channels. Pure functions, no time.

The mathematics. Flow f has a weight w_f (its master's), a cap c_f and a route (a set of channels, each with a usage
u_f: what one byte takes of its capacity). A *row* is a set of flows on one channel whose rates times usage together
stay within a limit. There is one row per channel (limit: its capacity), one per share of a master on a channel (limit:
maximum * capacity), and one per budget that is used up (limit: 0). Without guarantees the rates are the weighted
max-min fair ones, found by progressive filling (Bertsekas and Gallager, Data Networks, section 6.5.2): all flows grow
together at rate_f = level * w_f from level 0 on; a flow stops when it reaches its cap or when one of its rows is full.

Guarantees take two fillings. The first has only the flows whose master has a minimum above 0 on a channel of
their route, and one more row per minimum (limit: minimum * capacity); its rates are the floors. The second
has all flows with rate_f = max(floor_f, level * w_f): a flow sits at its floor until the level reaches
floor_f / w_f and grows from then on.

Soft maxima take one filling more, in which their rows are left out and the rates so far are the floors. Only flows
whose master has a soft maximum on a channel of their route take part in it: whatever holds another flow back still
does. So a soft maximum holds as long as others can use what it leaves, and nothing is left that its master could use.

The arithmetic, which a compiled engine repeats bit for bit. Before each step of a filling every row is summed from
0 over its flows in ascending order: `fixed` over rate * usage of the flows that sit or have stopped, `weight` over
weight * usage of those that grow; `room` is max(0, limit - fixed). The level of the step is the smallest of

    room / weight     of a row in which something grows
    cap / w           of a flow that grows
    floor / w         of a flow that sits

and everything that has exactly this level happens at once: the growing flows of full rows stop at the smallest
`room * w / weight` of their full rows, but at most at their cap; the sitting flows of full rows stop at their floor;
other growing flows at their cap stop at it; other sitting flows at their floor begin to grow. So the order of rows
never matters, the order of flows only through the rounding of sums, and flows that share no row, directly or through
others, never touch each other's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

_GROWS: Final = 0
_SITS: Final = 1
_STOPPED: Final = 2


class Flow(NamedTuple):
    """What the sharing needs to know of one flow."""

    route: tuple[int, ...]
    """Channel indices, each at most once, at least one."""
    master: int
    weight: float
    """Above 0."""
    cap_bytes_per_s: float
    """Above 0; infinity if the flow has no limit of its own."""
    usage: tuple[float, ...] = ()
    """What a byte takes of each channel of the route; empty for 1 each."""

    def usage_of(self, channel: int) -> float:
        """What a byte takes of one channel of the route."""
        return self.usage[self.route.index(channel)] if self.usage else 1.0


class Share(NamedTuple):
    """What a master gets of a channel: at least `minimum` if it asks, at most `maximum`, as fractions."""

    master: int
    channel: int
    minimum: float
    maximum: float
    is_soft: bool = False
    """Whether the master gets more than its maximum when nobody else can use it."""


class _Row(NamedTuple):
    limit_bytes_per_s: float
    flows: dict[int, float]
    """The usage of each flow that counts in the row, ascending."""


def fair_rates(
    flows: Sequence[Flow],
    capacity_bytes_per_s: Sequence[float],
    shares: Sequence[Share] = (),
    exhausted: Sequence[tuple[int, int]] = (),
) -> list[float]:
    """The rate of every flow in bytes/s, in the order of the flows.

    Args:
        flows: in ascending (task index, release), background flows after them by index.
        capacity_bytes_per_s: per channel; 0 stops every flow on it.
        shares: at most one per master and channel.
        exhausted: master and channel of every budget that is used up.

    >>> one_channel = [Flow((0,), 0, 1.0, demand) for demand in (20.0, 60.0, 300.0)]
    >>> fair_rates(one_channel, [200.0])
    [20.0, 60.0, 120.0]
    """
    rows = _channel_rows(flows, capacity_bytes_per_s)
    for master, channel in exhausted:
        _add_row(rows, flows, master, channel, 0.0)
    soft = [share for share in shares if share.maximum < 1 and share.is_soft]
    for share in shares:
        if share.maximum < 1 and not share.is_soft:
            _add_row(rows, flows, share.master, share.channel, share.maximum * capacity_bytes_per_s[share.channel])
    hard_rows = list(rows)
    for share in soft:
        _add_row(rows, flows, share.master, share.channel, share.maximum * capacity_bytes_per_s[share.channel])
    guarantees = [share for share in shares if share.minimum > 0]
    floors = _floors(flows, capacity_bytes_per_s, guarantees, rows) if guarantees else [0.0] * len(flows)
    rates = _fill(flows, floors, _states(floors, [True] * len(flows)), rows)
    if soft:
        rates = _fill(flows, rates, _states(rates, _concerned(flows, soft)), hard_rows)
    return rates


def lone_rate(flow: Flow, capacity_bytes_per_s: Sequence[float]) -> float:
    """What a flow would get without competition: the least of its cap and what the channels of its route could move."""
    alone = (capacity_bytes_per_s[channel] / flow.usage_of(channel) for channel in flow.route)
    return min(flow.cap_bytes_per_s, *alone)


def _channel_rows(flows: Sequence[Flow], capacity_bytes_per_s: Sequence[float]) -> list[_Row]:
    members: dict[int, dict[int, float]] = {}
    for index, flow in enumerate(flows):
        for channel in flow.route:
            members.setdefault(channel, {})[index] = flow.usage_of(channel)
    return [_Row(capacity_bytes_per_s[channel], usages) for channel, usages in members.items()]


def _add_row(rows: list[_Row], flows: Sequence[Flow], master: int, channel: int, limit_bytes_per_s: float) -> None:
    members = {
        index: flow.usage_of(channel)
        for index, flow in enumerate(flows)
        if flow.master == master and channel in flow.route
    }
    if members:
        rows.append(_Row(limit_bytes_per_s, members))


def _floors(
    flows: Sequence[Flow], capacity_bytes_per_s: Sequence[float], guarantees: Sequence[Share], rows: Sequence[_Row]
) -> list[float]:
    """The first filling: what the guarantees alone give."""
    rows = list(rows)
    for share in guarantees:
        _add_row(rows, flows, share.master, share.channel, share.minimum * capacity_bytes_per_s[share.channel])
    nothing = [0.0] * len(flows)
    return _fill(flows, nothing, _states(nothing, _concerned(flows, guarantees)), rows)


def _concerned(flows: Sequence[Flow], shares: Sequence[Share]) -> list[bool]:
    """Which flows have one of some shares on a channel of their route."""
    pairs = {(share.master, share.channel) for share in shares}
    return [any((flow.master, channel) in pairs for channel in flow.route) for flow in flows]


def _states(floors: Sequence[float], takes_part: Sequence[bool]) -> list[int]:
    """The states in which a filling begins."""
    return [
        (_SITS if floor > 0 else _GROWS) if takes else _STOPPED for floor, takes in zip(floors, takes_part, strict=True)
    ]


def _fill(flows: Sequence[Flow], floors: Sequence[float], states: list[int], rows: Sequence[_Row]) -> list[float]:
    """Progressive filling from the floors; `states` says who grows, sits or has stopped, and is used up."""
    rates = list(floors)
    while True:
        rooms = [_room(row, flows, rates, states) for row in rows]
        row_levels = [room / weight if weight > 0 else math.inf for room, weight in rooms]
        flow_levels = [_own_level(flow, floor, state) for flow, floor, state in zip(flows, floors, states, strict=True)]
        level = min([*row_levels, *flow_levels], default=math.inf)
        if level == math.inf:
            return rates
        stops: dict[int, float] = {}
        for row, row_level, (room, weight) in zip(rows, row_levels, rooms, strict=True):
            if row_level == level:
                for index in row.flows:
                    if states[index] == _GROWS:
                        rate = room * flows[index].weight / weight
                        stops[index] = min(rate, stops.get(index, flows[index].cap_bytes_per_s))
                    elif states[index] == _SITS:
                        stops[index] = rates[index]
        for index, flow_level in enumerate(flow_levels):
            if flow_level == level and index not in stops:
                if states[index] == _GROWS:
                    stops[index] = flows[index].cap_bytes_per_s
                else:
                    states[index] = _GROWS
        for index, rate in stops.items():
            rates[index] = rate
            states[index] = _STOPPED


def _room(row: _Row, flows: Sequence[Flow], rates: Sequence[float], states: Sequence[int]) -> tuple[float, float]:
    """What a row has left for the flows of it that grow, and the sum of their weights."""
    fixed = weight = 0.0
    for index, usage in row.flows.items():
        if states[index] == _GROWS:
            weight += flows[index].weight * usage
        else:
            fixed += rates[index] * usage
    return max(0.0, row.limit_bytes_per_s - fixed), weight


def _own_level(flow: Flow, floor: float, state: int) -> float:
    """The level at which a flow changes its state by itself: at its cap if it grows, at its floor if it sits."""
    if state == _STOPPED:
        return math.inf
    return (flow.cap_bytes_per_s if state == _GROWS else floor) / flow.weight
