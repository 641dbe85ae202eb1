"""Hypothesis strategies for random Programs that every engine can run to the end.

Numbers are round in base 2 and 10 (capacities in whole 2^n GB/s, weights 1, 2 and 4, shares in quarters), so that most
rates are exact, ties are frequent, and a counterexample can be followed by hand. Two promises keep every
Program feasible: a resource that is set to 0 is set to something else later, and guarantees leave room. A run of
a few microseconds spans several periods of a budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from simulator.program import NONE, DropPolicy, Program, ProgramBuilder

CLOCKS_HZ = (1e9, 2e9, 5e8)
CAPACITIES_BYTES_PER_S = (1e9, 2e9, 4e9, 8e9)
USAGES = (1.0, 1.0, 1.0, 2.0, 0.5, 1.25)
CAPS_BYTES_PER_S = (math.inf, math.inf, 5e8, 1e9, 3e9)
NS = 1000
"""Ticks in a nanosecond."""


@dataclass(frozen=True)
class Plan:
    """A Program as plain calls of `ProgramBuilder`, so that a test can change or reorder it before it is built."""

    units: list[tuple[str, dict[str, Any]]]
    channels: list[tuple[str, dict[str, Any]]]
    masters: list[tuple[str, dict[str, Any]]]
    shares: list[tuple[str, str, dict[str, Any]]]
    jobs: list[list[tuple[str, dict[str, Any]]]]
    """Per job its tasks: kind and arguments; `after` counts within the job."""
    streams: list[tuple[str, dict[str, Any]]]
    background: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    changes: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    budgets: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def build(self) -> Program:
        builder = ProgramBuilder()
        for name, arguments in self.units:
            builder.unit(name, **arguments)
        for name, arguments in self.channels:
            builder.channel(name, **arguments)
        for name, arguments in self.masters:
            builder.master(name, **arguments)
        for master, channel, arguments in self.shares:
            builder.share(master, channel, **arguments)
        for master, channel, arguments in self.budgets:
            builder.budget(master, channel, **arguments)
        count = 0
        for tasks in self.jobs:
            builder.job()
            first = count
            for kind, arguments in tasks:
                after = [first + index for index in arguments["after"]]
                getattr(builder, kind)(**{**arguments, "after": after})
                count += 1
        for name, arguments in self.streams:
            builder.stream_at(name, **arguments)
        for name, arguments in self.background:
            builder.background(name, **arguments)
        for tick, arguments in self.changes:
            builder.change(tick, **arguments)
        return builder.build()


def _some(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True)


@st.composite
def _shares(draw: st.DrawFn, masters: list[str], channels: list[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """A master has its minimum on every channel or on none: one on a fast channel alone may fill a slow one."""
    rows = []
    for master in masters:
        minimum = draw(st.sampled_from([0.0, 0.0, 0.25]))
        for channel in channels:
            maximum = draw(st.sampled_from([1.0, 1.0, 0.5, 0.75]))
            if minimum > 0 or maximum < 1:
                is_soft = draw(st.booleans())
                rows.append((master, channel, {"minimum": minimum, "maximum": maximum, "is_soft": is_soft}))
    return rows


@st.composite
def _budgets(draw: st.DrawFn, masters: list[str], channels: list[str]) -> list[tuple[str, str, dict[str, Any]]]:
    pairs = [(master, channel) for master in masters for channel in channels]
    return [
        (master, channel, {"size_bytes": draw(st.sampled_from([100.0, 250.0, 777.0, 2000.0])),
                           "period_ticks": draw(st.sampled_from([250, 400, 1000])) * NS})
        for master, channel in draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True))
    ]  # fmt: skip


@st.composite
def _path(draw: st.DrawFn, channels: list[str]) -> dict[str, Any]:
    """Some channels, with what a byte takes of each."""
    names = draw(_some(channels))
    return {"channels": names, "usage": [draw(st.sampled_from(USAGES)) for _ in names]}


@st.composite
def _job(
    draw: st.DrawFn, units: list[str], channels: list[str], masters: list[str], max_tasks: int
) -> list[tuple[str, dict[str, Any]]]:
    tasks: list[tuple[str, dict[str, Any]]] = []
    for index in range(draw(st.integers(1, max_tasks))):
        after = draw(st.lists(st.integers(0, index - 1), max_size=3, unique=True)) if index else []
        kind = draw(st.sampled_from(["compute", "compute", "transfer", "transfer", "milestone"]))
        arguments: dict[str, Any] = {"after": after}
        if kind == "compute":
            work_cycles = draw(st.sampled_from([0, 1, 2, 3, 10, 64, 100, 1000]))
            arguments |= {"unit": draw(st.sampled_from(units)), "work_cycles": float(work_cycles)}
            arguments["priority"] = draw(st.integers(0, 2))
        elif kind == "transfer":
            arguments |= draw(_path(channels)) | {"size_bytes": draw(st.sampled_from([0, 1, 64, 100, 4096]))}
            arguments["master"] = draw(st.sampled_from(masters))
            arguments["rate_cap_bytes_per_s"] = draw(st.sampled_from(CAPS_BYTES_PER_S))
        tasks.append((kind, arguments))
    return tasks


@st.composite
def _stream(draw: st.DrawFn, num_jobs: int) -> dict[str, Any]:
    ticks = sorted(draw(st.lists(st.integers(0, 12).map(lambda n: n * 250 * NS), max_size=5)))
    return {
        "ticks": ticks,
        "jobs": [draw(st.integers(0, num_jobs - 1)) for _ in ticks],
        "policy": draw(st.sampled_from(list(DropPolicy))),
        "queue_depth": draw(st.sampled_from([NONE, 0, 1, 2])),
        "in_flight": draw(st.sampled_from([NONE, 1, 1, 2])),
    }


@st.composite
def _background(draw: st.DrawFn, channels: list[str], masters: list[str]) -> dict[str, Any]:
    start_tick = draw(st.integers(0, 4)) * 500 * NS
    stop_tick = draw(st.one_of(st.just(NONE), st.integers(0, 4).map(lambda n: start_tick + n * 500 * NS)))
    return {
        **draw(_path(channels)),
        "bytes_per_s": draw(st.sampled_from([5e8, 1e9, 1.6e10])),
        "master": draw(st.sampled_from(masters)),
        "start_tick": start_tick,
        "stop_tick": stop_tick,
    }


@st.composite
def _changes(draw: st.DrawFn, units: list[str], channels: list[str]) -> list[tuple[int, dict[str, Any]]]:
    changes = []
    for _ in range(draw(st.integers(0, 3))):
        tick = draw(st.integers(0, 12)) * 250 * NS
        if draw(st.booleans()):
            target: dict[str, Any] = {"unit": draw(st.sampled_from(units))}
            value = draw(st.sampled_from([*CLOCKS_HZ, 0.0]))
        else:
            target = {"channel": draw(st.sampled_from(channels))}
            value = draw(st.sampled_from([*CAPACITIES_BYTES_PER_S, 0.0]))
        changes.append((tick, {**target, "value": value}))
        if value == 0:  # and back, or the Program could stall
            changes.append((12 * 250 * NS + draw(st.integers(0, 4)) * 250 * NS, {**target, "value": 1e9}))
    return sorted(changes, key=lambda change: change[0])


@st.composite
def plans(
    draw: st.DrawFn, *, max_tasks: int = 6, has_shares: bool = True, has_changes: bool = True,
    has_background: bool = True, has_budgets: bool = True,
) -> Plan:  # fmt: skip
    """Plans with up to 3 of everything and up to `max_tasks` tasks per job."""
    units = [f"unit{n}" for n in range(draw(st.integers(1, 3)))]
    channels = [f"channel{n}" for n in range(draw(st.integers(1, 3)))]
    masters = [f"master{n}" for n in range(draw(st.integers(1, 3)))]
    jobs = draw(st.lists(_job(units, channels, masters, max_tasks), min_size=1, max_size=3))
    return Plan(
        units=[
            (name, {"clock_hz": draw(st.sampled_from(CLOCKS_HZ)), "slots": draw(st.sampled_from([1, 1, 2]))})
            for name in units
        ],
        channels=[(name, {"bytes_per_s": draw(st.sampled_from(CAPACITIES_BYTES_PER_S))}) for name in channels],
        masters=[(name, {"weight": draw(st.sampled_from([1.0, 2.0, 4.0]))}) for name in masters],
        shares=draw(_shares(masters, channels)) if has_shares else [],
        budgets=draw(_budgets(masters, channels)) if has_budgets else [],
        jobs=jobs,
        streams=[(f"stream{n}", draw(_stream(len(jobs)))) for n in range(draw(st.integers(1, 3)))],
        background=[
            (f"background{n}", draw(_background(channels, masters)))
            for n in range(draw(st.integers(0, 2)) if has_background else 0)
        ],
        changes=draw(_changes(units, channels)) if has_changes else [],
    )


def programs(**options: Any) -> st.SearchStrategy[Program]:
    """Random Programs; the options are those of `plans`."""
    return plans(**options).map(Plan.build)
