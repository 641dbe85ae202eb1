"""Every engine does exactly what a naive, exact engine written from the contract's text does."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.engine.sharing import Flow, Share, fair_rates
from simulator.program import Program
from simulator.timeline import Timeline
from tests.differential.event_by_event_oracle import AmbiguousRoundingError, Demand, Oracle, Outcome, exact_shares
from tests.property.program_strategies import NS, programs

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

EACH_ENGINE = pytest.mark.parametrize("engine", [ReferenceEngine(), CompiledEngine()], ids=lambda engine: engine.name)


def oracle(program: Program, until_tick: int | None = None) -> Outcome:
    try:
        return Oracle(program).run(until_tick)
    except AmbiguousRoundingError:
        assume(False)
        raise


def rate_steps(timeline: Timeline, channel: int, ticks: list[int]) -> list[tuple[float, float]]:
    """The step functions of one channel, sampled."""
    here = timeline.rate_channel == channel
    rows = list(
        zip(
            timeline.rate_tick[here].tolist(),
            timeline.rate_granted_bytes_per_s[here].tolist(),
            timeline.rate_asked_bytes_per_s[here].tolist(),
            strict=True,
        )
    )
    return [next(((g, a) for t, g, a in reversed(rows) if t <= tick), (0.0, 0.0)) for tick in ticks]


def assert_same(timeline: Timeline, expected: Outcome) -> None:
    columns = (timeline.start_tick, timeline.end_tick, timeline.task, timeline.release, timeline.ready_tick)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected.rows
    assert timeline.horizon_tick == expected.horizon
    assert timeline.release_status.tolist() == expected.status
    assert timeline.release_start_tick.tolist() == expected.release_start
    assert timeline.release_end_tick.tolist() == expected.release_end
    assert timeline.served_bytes.tolist() == pytest.approx([float(b) for b in expected.served], rel=1e-9, abs=1e-6)
    moved = [float(b) for b in expected.background]
    assert timeline.background_bytes.tolist() == pytest.approx(moved, rel=1e-9, abs=1e-6)
    ticks = sorted({*expected.rates, *timeline.rate_tick.tolist()})
    for channel in range(len(timeline.program.resources.channel_names)):
        exact = [(0.0, 0.0)]
        for tick in ticks:
            here = expected.rates.get(tick)
            exact.append(exact[-1] if here is None else (float(here[channel][0]), float(here[channel][1])))
        sampled = rate_steps(timeline, channel, ticks)
        assert [granted for granted, _ in sampled] == pytest.approx([granted for granted, _ in exact[1:]], rel=1e-9)
        assert [asked for _, asked in sampled] == pytest.approx([asked for _, asked in exact[1:]], rel=1e-9)


@EACH_ENGINE
@MANY
@given(program=programs())
def test_a_whole_run_is_that_of_the_oracle(engine: Engine, program: Program) -> None:
    expected = oracle(program)
    assert_same(engine.run(program), expected)


@EACH_ENGINE
@MANY
@given(program=programs(), until_tick=st.integers(0, 16).map(lambda n: n * 250 * NS))
def test_a_run_cut_off_at_a_tick_is_that_of_the_oracle(engine: Engine, program: Program, until_tick: int) -> None:
    expected = oracle(program, until_tick)
    assert_same(engine.run(program, until_tick=until_tick), expected)


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Flow], list[float], list[Share]]:
    """Up to 6 flows of up to 3 masters on up to 4 channels, with usages, guarantees, hard and soft bounds."""
    capacity = draw(st.lists(st.integers(0, 20).map(float), min_size=1, max_size=4))
    weights = draw(st.lists(st.sampled_from([1.0, 2.0, 3.0, 0.5]), min_size=3, max_size=3))
    channels = list(range(len(capacity)))
    flows = []
    for _ in range(draw(st.integers(0, 6))):
        route = draw(st.lists(st.sampled_from(channels), min_size=1, max_size=3, unique=True))
        master = draw(st.integers(0, 2))
        cap = draw(st.sampled_from([1.0, 3.0, 7.0, float("inf")]))
        usage = draw(st.lists(st.sampled_from([1.0, 1.0, 2.0, 0.5, 1.1]), min_size=len(route), max_size=len(route)))
        flows.append(Flow(tuple(route), master, weights[master], cap, tuple(usage)))
    shares = []
    for master in range(3):
        for channel in channels:
            minimum, maximum = draw(st.sampled_from([(0.0, 1.0), (0.0, 1.0), (0.25, 1.0), (0.0, 0.5), (0.25, 0.25)]))
            shares.append(Share(master, channel, minimum, maximum, draw(st.booleans())))
    return flows, capacity, shares


@settings(max_examples=300, deadline=None)
@given(networks())
def test_shares_are_those_of_the_exact_solver(network: tuple[list[Flow], list[float], list[Share]]) -> None:
    flows, capacity, shares = network
    demands = [
        Demand(flow.route, flow.master, Fraction(flow.weight),
               None if flow.cap_bytes_per_s == float("inf") else Fraction(flow.cap_bytes_per_s),
               usage=tuple(map(Fraction, flow.usage)))
        for flow in flows
    ]  # fmt: skip
    expected = exact_shares(
        demands,
        [Fraction(rate) for rate in capacity],
        [
            (share.master, share.channel, Fraction(share.minimum), Fraction(share.maximum), share.is_soft)
            for share in shares
        ],
    )
    assert fair_rates(flows, capacity, shares) == pytest.approx([float(rate) for rate in expected], rel=1e-9, abs=1e-9)
