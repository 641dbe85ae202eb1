"""A second engine, written from the text of `simulator.engine.interface` alone: exact, naive and slow.

No SimPy, no queue of events, no floating point. Time, bytes and rates are fractions; the next event is found by
looking at everything; the shares come from a different algorithm (per row, the level at which the row fills).

Rounding is the one place where an exact engine and one in double precision may rightly differ: when an exact end lies
within 1e-4 ticks of where `ceil_ticks` jumps. The oracle then raises `AmbiguousRoundingError` and the caller discards
the example.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from fractions import Fraction

from simulator.program import NONE, DropPolicy, Program
from simulator.timeline import ReleaseStatus

SECOND = 10**12
GUARD = Fraction(1, 100)


class AmbiguousRoundingError(Exception):
    """Double precision cannot decide how this end is rounded."""


def exact_ceil(ticks: Fraction) -> int:
    shifted = ticks - GUARD
    if abs(shifted - round(shifted)) < Fraction(1, 10_000):
        raise AmbiguousRoundingError
    return math.ceil(shifted)


# shares ------------------------------------------------------------------------------------------------------------


@dataclass
class Demand:
    route: tuple[int, ...]
    master: int
    weight: Fraction
    cap: Fraction | None
    floor: Fraction = Fraction(0)
    takes_part: bool = True
    usage: tuple[Fraction, ...] = ()

    def takes(self, channel: int) -> Fraction:
        """The capacity of a channel that a byte takes."""
        return dict(zip(self.route, self.usage or (Fraction(1),) * len(self.route), strict=True)).get(
            channel, Fraction(0)
        )

    def rate_at(self, level: Fraction | None) -> Fraction:
        """max(floor, level * weight), at most the cap; None stands for a level beyond everything."""
        if level is None:
            assert self.cap is not None
            return self.cap
        rate = max(self.floor, level * self.weight)
        return rate if self.cap is None else min(rate, self.cap)


def filling_level(free: list[Demand], channel: int, room: Fraction) -> Fraction | None:
    """The highest level at which the free demands still fit into the room of a row; None if they always do."""
    corners = {demand.floor / demand.weight for demand in free}
    corners |= {demand.cap / demand.weight for demand in free if demand.cap is not None}
    reached = Fraction(0)
    for corner in [*sorted(corners), None]:
        load = sum((demand.rate_at(reached) * demand.takes(channel) for demand in free), Fraction(0))
        slope = sum(
            (
                demand.weight * demand.takes(channel)
                for demand in free
                if demand.floor <= reached * demand.weight
                and (demand.cap is None or reached * demand.weight < demand.cap)
            ),
            Fraction(0),
        )
        if slope > 0:
            full = reached + (room - load) / slope
            if corner is None or full < corner:
                return max(full, reached)
        if corner is not None:
            reached = corner
    return None


def water_fill(demands: list[Demand], rows: list[Row]) -> list[Fraction]:
    rates: dict[int, Fraction] = {i: Fraction(0) for i, demand in enumerate(demands) if not demand.takes_part}
    while len(rates) < len(demands):
        levels = []
        for limit, channel, members in rows:
            free = [demands[i] for i in members if i not in rates]
            fixed = sum((rates[i] * demands[i].takes(channel) for i in members if i in rates), Fraction(0))
            levels.append(filling_level(free, channel, limit - fixed) if free else None)
        finite = [level for level in levels if level is not None]
        if not finite:
            rates |= {i: demand.rate_at(None) for i, demand in enumerate(demands) if i not in rates}
            break
        lowest = min(finite)
        for level, (_, _, members) in zip(levels, rows, strict=True):
            if level == lowest:
                rates |= {i: demands[i].rate_at(lowest) for i in members if i not in rates}
    return [rates[i] for i in range(len(demands))]


Row = tuple[Fraction, int, list[int]]
"""Limit, channel, members."""


def exact_shares(
    demands: list[Demand],
    capacity: list[Fraction],
    shares: list[tuple[int, int, Fraction, Fraction, bool]],
    stopped: Collection[tuple[int, int]] = (),
) -> list[Fraction]:
    def row(master: int, channel: int, limit: Fraction) -> Row:
        return limit, channel, [i for i, d in enumerate(demands) if d.master == master and channel in d.route]

    hard = [(limit, c, [i for i, d in enumerate(demands) if c in d.route]) for c, limit in enumerate(capacity)]
    hard += [row(*pair, Fraction(0)) for pair in stopped]
    maxima = [
        (row(master, channel, maximum * capacity[channel]), is_soft)
        for master, channel, _, maximum, is_soft in shares
        if maximum < 1
    ]
    hard += [bound for bound, is_soft in maxima if not is_soft]
    rows = hard + [bound for bound, is_soft in maxima if is_soft]
    guaranteed = {(master, channel) for master, channel, minimum, *_ in shares if minimum > 0}
    for demand in demands:
        demand.floor = Fraction(0)
        demand.takes_part = any((demand.master, channel) in guaranteed for channel in demand.route)
    minima = [
        row(master, channel, minimum * capacity[channel]) for master, channel, minimum, *_ in shares if minimum > 0
    ]
    floors = water_fill(demands, rows + minima)
    for demand, floor in zip(demands, floors, strict=True):
        demand.floor, demand.takes_part = floor, True
    for demand, rate in zip(demands, water_fill(demands, rows), strict=True):
        demand.floor = rate
    return water_fill(demands, hard)  # changes nothing unless a soft maximum alone held somebody back


# time --------------------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A task that has started, or a background flow (task NONE)."""

    task: int
    release: int
    ready: int
    start: int
    end: int | None = None
    work: Fraction = Fraction(0)
    demand: Demand | None = None
    left: Fraction = Fraction(0)
    moved: Fraction = Fraction(0)
    rate: Fraction = Fraction(0)
    since: int = 0

    def settle(self, now: int) -> None:
        moved = self.rate * (now - self.since) / SECOND
        self.left, self.moved, self.since = max(Fraction(0), self.left - moved), self.moved + moved, now


@dataclass
class Budget:
    """Bytes that a master may take of a channel per period."""

    master: int
    channel: int
    size: Fraction
    period: int
    left: Fraction = Fraction(0)
    rate: Fraction = Fraction(0)
    since: int = 0
    empty_at: int | None = None
    is_empty: bool = False

    def next_begin(self, after: int) -> int:
        return (after // self.period + 1) * self.period

    def restart(self, now: int, left: Fraction) -> None:
        """From now on, `left` bytes flow out at the present rate."""
        self.left, self.since, self.empty_at = left, now, None
        room = self.next_begin(now) - now
        if self.rate > 0 and not self.is_empty and self.left / self.rate * SECOND < room:
            self.empty_at = now + max(1, exact_ceil(self.left / self.rate * SECOND))
            if self.empty_at >= now + room:
                self.empty_at = None


@dataclass
class Outcome:
    """What the oracle says happened."""

    horizon: int = 0
    rows: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    """(start, end, task, release, ready), end NONE if cut off, sorted as in a Timeline."""
    served: list[Fraction] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    release_start: list[int] = field(default_factory=list)
    release_end: list[int] = field(default_factory=list)
    rates: dict[int, list[tuple[Fraction, Fraction]]] = field(default_factory=dict)
    """tick -> per channel (granted, asked) from that tick on."""
    background: list[Fraction] = field(default_factory=list)


class Oracle:
    """Runs one Program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        r = program.resources
        self.clock = [Fraction(hz) for hz in r.unit_clock_hz.tolist()]
        self.capacity = [Fraction(rate) for rate in r.channel_bytes_per_s.tolist()]
        columns = (r.share_master, r.share_channel, r.share_minimum, r.share_maximum, r.share_is_soft)
        self.shares = [
            (master, channel, Fraction(minimum), Fraction(maximum), is_soft)
            for master, channel, minimum, maximum, is_soft in zip(*(column.tolist() for column in columns), strict=True)
        ]
        columns = (r.budget_master, r.budget_channel, r.budget_bytes, r.budget_period_ticks)
        self.budgets = [
            Budget(master, channel, Fraction(size), period, left=Fraction(size))
            for master, channel, size, period in zip(*(column.tolist() for column in columns), strict=True)
        ]
        self.missing: dict[tuple[int, int], int] = {}
        self.ready: dict[tuple[int, int], int] = {}
        self.running: list[Running] = []
        self.background: dict[int, Running] = {}
        num_releases = len(program.streams.release_tick)
        self.out = Outcome(
            status=[ReleaseStatus.PENDING] * num_releases,
            release_start=[NONE] * num_releases,
            release_end=[NONE] * num_releases,
            background=[Fraction(0)] * len(program.background),
        )

    def run(self, until: int | None = None) -> Outcome:
        now: int | None = self.next_tick(-1)
        while now is not None and (until is None or now < until):
            if until is None and not self.is_open():
                break
            is_first = True
            while is_first or any(task.end == now for task in self.running):
                self.round(now, is_first)
                is_first = False
            self.out.horizon = now
            now = self.next_tick(now)
        if until is not None:
            self.out.horizon = until
        self.close()
        return self.out

    def is_open(self) -> bool:
        settled = {ReleaseStatus.COMPLETED, ReleaseStatus.DROPPED}
        return any(status not in settled for status in self.out.status)

    def next_tick(self, after: int) -> int | None:
        p = self.program
        ticks = [task.end for task in self.running if task.end is not None]
        ticks += p.changes.tick.tolist() + p.background.start_tick.tolist() + p.background.stop_tick.tolist()
        ticks += p.streams.release_tick.tolist()
        ticks += [budget.next_begin(after) for budget in self.budgets if after >= 0]
        ticks += [budget.empty_at for budget in self.budgets if budget.empty_at is not None]
        return min((tick for tick in ticks if tick > after), default=None)

    def round(self, now: int, is_first: bool) -> None:
        self.flows_changed = False
        self.complete(now)
        if is_first:
            self.change(now)
        self.release(now, is_first)
        self.start(now)
        if self.flows_changed:
            self.share(now)

    def complete(self, now: int) -> None:
        tasks = self.program.tasks
        for done in [task for task in self.running if task.end == now]:
            self.running.remove(done)
            self.flows_changed |= done.demand is not None
            self.out.rows.append((done.start, now, done.task, done.release, done.ready))
            self.out.served.append(Fraction(int(tasks.size_bytes[done.task])))
            del self.missing[done.release, done.task]
            for release, task in list(self.missing):
                first, last = tasks.predecessor_offsets[task], tasks.predecessor_offsets[task + 1]
                if release == done.release and done.task in tasks.predecessors[first:last]:
                    self.missing[release, task] -= 1
                    if self.missing[release, task] == 0:
                        self.ready[release, task] = now
            if not any(release == done.release for release, _ in self.missing):
                self.out.status[done.release] = ReleaseStatus.COMPLETED
                self.out.release_end[done.release] = now

    def change(self, now: int) -> None:
        for budget in self.budgets:
            if now % budget.period == 0:
                self.flows_changed |= budget.is_empty
                budget.is_empty = False
                budget.restart(now, budget.size)
            elif budget.empty_at == now:
                budget.is_empty, budget.empty_at, self.flows_changed = True, None, True
        p = self.program
        clock = list(self.clock)
        for i in range(len(p.changes)):
            if p.changes.tick[i] == now and p.changes.unit[i] != NONE:
                clock[p.changes.unit[i]] = Fraction(p.changes.value[i])
            elif p.changes.tick[i] == now:
                self.capacity[p.changes.channel[i]] = Fraction(p.changes.value[i])
                self.flows_changed = True
        for task in self.running:
            unit = p.tasks.unit[task.task]
            if unit != NONE and clock[unit] != self.clock[unit]:
                if task.end is not None:
                    task.work = (task.end - now) * self.clock[unit]
                task.end = now + exact_ceil(task.work / clock[unit]) if clock[unit] else None
        self.clock = clock
        for i in range(len(p.background)):
            start, stop = int(p.background.start_tick[i]), int(p.background.stop_tick[i])
            if start == now and stop != now:
                demand = self.demand(p.background.route[i], p.background.master[i], p.background.bytes_per_s[i])
                self.background[i] = Running(NONE, NONE, now, now, demand=demand, since=now)
                self.flows_changed = True
            elif stop == now and i in self.background:
                flow = self.background.pop(i)
                flow.settle(now)
                self.out.background[i] = flow.moved
                self.flows_changed = True

    def demand(self, route: int, master: int, cap: float) -> Demand:
        r = self.program.resources
        return Demand(
            r.route(int(route)),
            int(master),
            Fraction(r.master_weight[master]),
            None if math.isinf(cap) else Fraction(cap),
            usage=tuple(map(Fraction, r.usage(int(route)))),
        )

    def release(self, now: int, is_first: bool) -> None:
        streams, status = self.program.streams, self.out.status
        for s in range(len(streams)):
            mine = range(int(streams.release_offsets[s]), int(streams.release_offsets[s + 1]))

            def waiting(mine: range = mine) -> list[int]:
                return [i for i in mine if status[i] == ReleaseStatus.WAITING]

            def has_room(mine: range = mine, limit: int = streams.in_flight[s]) -> bool:
                return limit == NONE or sum(status[i] == ReleaseStatus.IN_FLIGHT for i in mine) < limit

            while waiting() and has_room():
                self.begin(waiting()[0], now)
            for i in mine if is_first else []:
                if streams.release_tick[i] != now:
                    continue
                if has_room():
                    self.begin(i, now)
                    continue
                policy, depth = streams.policy[s], streams.queue_depth[s]
                if policy == DropPolicy.LATEST:
                    for older in waiting():
                        status[older] = ReleaseStatus.DROPPED
                    status[i] = ReleaseStatus.WAITING
                elif policy == DropPolicy.FIFO and (depth == NONE or len(waiting()) < depth):
                    status[i] = ReleaseStatus.WAITING
                else:
                    status[i] = ReleaseStatus.DROPPED

    def begin(self, release: int, now: int) -> None:
        self.out.status[release] = ReleaseStatus.IN_FLIGHT
        self.out.release_start[release] = now
        offsets = self.program.tasks.predecessor_offsets
        for task in self.program.job_tasks(int(self.program.streams.release_job[release])):
            self.missing[release, task] = int(offsets[task + 1] - offsets[task])
            if self.missing[release, task] == 0:
                self.ready[release, task] = now

    def start(self, now: int) -> None:
        tasks = self.program.tasks
        order = sorted(self.ready, key=lambda key: (tasks.priority[key[1]], self.ready[key], key[1], key[0]))
        for release, task in order:
            unit, size = int(tasks.unit[task]), int(tasks.size_bytes[task])
            busy = sum(tasks.unit[other.task] == unit for other in self.running)
            if unit != NONE and busy >= self.program.resources.unit_slots[unit]:
                continue
            begun = Running(task, release, self.ready.pop((release, task)), now, since=now)
            self.running.append(begun)
            if unit != NONE:
                begun.work = Fraction(tasks.work_cycles[task]) * SECOND
                if begun.work == 0:
                    begun.end = now
                elif self.clock[unit]:
                    begun.end = now + exact_ceil(begun.work / self.clock[unit])
            elif size > 0:
                begun.demand = self.demand(tasks.route[task], tasks.master[task], tasks.rate_cap_bytes_per_s[task])
                begun.left = Fraction(size)
                self.flows_changed = True
            else:
                begun.end = now

    def share(self, now: int) -> None:
        flows = [task for task in self.running if task.demand is not None] + list(self.background.values())
        demands = [flow.demand for flow in flows if flow.demand is not None]
        stopped = [(budget.master, budget.channel) for budget in self.budgets if budget.is_empty]
        for flow, rate in zip(flows, exact_shares(demands, self.capacity, self.shares, stopped), strict=True):
            if rate == flow.rate:
                continue
            flow.settle(now)
            flow.rate = rate
            if flow.task != NONE:
                flow.end = now + exact_ceil(flow.left / rate * SECOND) if rate else None
        for budget in self.budgets:
            mine = [flow for flow in flows if flow.demand is not None and flow.demand.master == budget.master]
            taken = sum((flow.rate * flow.demand.takes(budget.channel) for flow in mine if flow.demand), Fraction(0))
            if taken != budget.rate:
                left = budget.left - budget.rate * (now - budget.since) / SECOND
                budget.rate = taken
                budget.restart(now, max(Fraction(0), left))
        self.out.rates[now] = []
        for channel in range(len(self.capacity)):
            here = [flow for flow in flows if flow.demand is not None and channel in flow.demand.route]
            pairs = [(flow.rate, flow.demand) for flow in here if flow.demand is not None]
            asked = sum((self.alone(demand) * demand.takes(channel) for _, demand in pairs), Fraction(0))
            granted = sum((rate * demand.takes(channel) for rate, demand in pairs), Fraction(0))
            self.out.rates[now].append((granted, asked))

    def alone(self, demand: Demand) -> Fraction:
        limits = [self.capacity[channel] / demand.takes(channel) for channel in demand.route]
        return min(limits if demand.cap is None else [*limits, demand.cap])

    def close(self) -> None:
        for task in self.running:
            task.settle(self.out.horizon)
            self.out.rows.append((task.start, NONE, task.task, task.release, task.ready))
            self.out.served.append(self.program.tasks.size_bytes[task.task] - task.left if task.demand else Fraction(0))
        for index, flow in self.background.items():
            flow.settle(self.out.horizon)
            self.out.background[index] = flow.moved
        order = sorted(range(len(self.out.rows)), key=lambda i: (self.out.rows[i][3], self.out.rows[i][2]))
        self.out.rows = [self.out.rows[i] for i in order]
        self.out.served = [self.out.served[i] for i in order]
