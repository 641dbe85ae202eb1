"""The engine as a queueing system, against the formulas of queueing theory.

Arrivals of rate 3/s, mean service 0.25 s, so the load is 0.75, unless a test says otherwise. W is the time in the
system, Wq the wait. Sources: Kleinrock, Queueing Systems I (M/M/1, M/G/1 and priorities: Pollaczek-Khinchine and
Cobham) and II (processor sharing: W = S / (1 - load), whatever the law of the service times).

The means are over ten runs of 20 000 customers after 2000 of warm-up, with fixed seeds. The tolerances, 2 % for
deterministic and 4 % for exponential service, are about the 95 % intervals of such means; they are wider where the
runs are shorter or a class of customers is small. Whatever can be checked without statistics is checked exactly:
every wait against Lindley's recursion, and Little's law as an identity.
"""

import numpy as np
import pytest

from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.program import NONE, ProgramBuilder
from simulator.timeline import Timeline

SECOND = 10**12
ARRIVALS_PER_S, SERVICE_S = 3.0, 0.25
CUSTOMERS, WARM_UP, SEEDS = 20_000, 2000, range(10)

ENGINE: Engine = ReferenceEngine()


@pytest.fixture(autouse=True, params=[ReferenceEngine(), CompiledEngine()], ids=lambda engine: engine.name)
def _each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of this file holds for every engine."""
    monkeypatch.setitem(globals(), "ENGINE", request.param)


def arrivals(rng: np.random.Generator, customers: int = CUSTOMERS, per_s: float = ARRIVALS_PER_S) -> np.ndarray:
    """Poisson arrivals in ticks."""
    return np.cumsum(rng.exponential(1 / per_s, customers) * SECOND).astype(np.int64)


def exponential_us(rng: np.random.Generator, customers: int = CUSTOMERS, mean_s: float = SERVICE_S) -> np.ndarray:
    """Exponential services in whole microseconds (one cycle of a 1 MHz unit, one byte of a 1 MB/s channel)."""
    return np.maximum(1, np.rint(rng.exponential(mean_s, customers) * 1e6)).astype(np.int64)


def queue(ticks: np.ndarray, services_us: np.ndarray, priorities: np.ndarray | None = None, slots: int = 1) -> Timeline:
    """One unit; customer n arrives at `ticks[n]` and needs `services_us[n]`; the rows come in the order of arrival."""
    builder = ProgramBuilder()
    builder.unit("server", clock_hz=1e6, slots=slots)
    kinds: dict[tuple[int, int], int] = {}
    classes = np.zeros(len(ticks), dtype=np.int64) if priorities is None else priorities
    jobs = []
    for service_us, priority in zip(services_us.tolist(), classes.tolist(), strict=True):
        if (service_us, priority) not in kinds:
            kinds[service_us, priority] = builder.job()
            builder.compute("server", work_cycles=service_us, priority=priority)
        jobs.append(kinds[service_us, priority])
    builder.stream_at("customers", ticks.tolist(), jobs, in_flight=NONE)
    return ENGINE.run(builder.build())


def channel(ticks: np.ndarray, sizes_bytes: np.ndarray) -> Timeline:
    """One channel of 1 MB/s that all customers share equally."""
    builder = ProgramBuilder()
    builder.channel("link", bytes_per_s=1e6)
    kinds: dict[int, int] = {}
    jobs = []
    for size_bytes in sizes_bytes.tolist():
        if size_bytes not in kinds:
            kinds[size_bytes] = builder.job()
            builder.transfer(["link"], size_bytes=size_bytes)
        jobs.append(kinds[size_bytes])
    builder.stream_at("customers", ticks.tolist(), jobs, in_flight=NONE)
    return ENGINE.run(builder.build())


def waits_s(timeline: Timeline) -> np.ndarray:
    """Wait of every customer, in the order of arrival."""
    order = np.argsort(timeline.release)
    return (timeline.start_tick - timeline.ready_tick)[order] / SECOND


def sojourns_s(timeline: Timeline) -> np.ndarray:
    """Time in the system of every customer, in the order of arrival."""
    return (timeline.release_end_tick - timeline.program.streams.release_tick) / SECOND


def lindley_waits(ticks: np.ndarray, services: np.ndarray) -> list[int]:
    """Waits of a first-come-first-served queue: w(n + 1) = max(0, w(n) + s(n) - gap)."""
    waits, wait = [0], 0
    for service, gap in zip(services.tolist(), np.diff(ticks).tolist(), strict=False):
        wait = max(0, wait + service - gap)
        waits.append(wait)
    return waits


def test_a_queue_with_deterministic_service_waits_as_m_d_1() -> None:
    # Wq = load * S / (2 (1 - load)) = 0.375 s, W = 0.625 s.
    services = np.full(CUSTOMERS, 250_000)
    means = []
    for seed in SEEDS:
        timeline = queue(arrivals(np.random.default_rng(seed)), services)
        means.append(sojourns_s(timeline)[WARM_UP:].mean())
    assert np.mean(means) == pytest.approx(0.625, rel=0.02)


def test_a_queue_with_exponential_service_waits_as_m_m_1() -> None:
    # W = 1 / (mu - lambda) = 1 / (4 - 3) = 1 s, exponentially distributed: median ln 2, 99 % below ln 100.
    sojourns = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        sojourns.append(sojourns_s(queue(arrivals(rng), exponential_us(rng)))[WARM_UP:])
    assert np.mean(sojourns) == pytest.approx(1.0, rel=0.04)
    assert np.median(sojourns) == pytest.approx(np.log(2), rel=0.04)
    assert np.quantile(sojourns, 0.99) == pytest.approx(np.log(100), rel=0.08)


def test_every_wait_is_that_of_lindleys_recursion() -> None:
    rng = np.random.default_rng(1)
    ticks, services_us = arrivals(rng, 5000), exponential_us(rng, 5000)
    timeline = queue(ticks, services_us)
    order = np.argsort(timeline.release)
    waits = (timeline.start_tick - timeline.ready_tick)[order]
    assert waits.tolist() == lindley_waits(ticks, services_us * 10**6)


def test_two_slots_wait_as_m_m_2() -> None:
    # lambda = 6, mu = 4: Erlang C says 9/14 of the customers wait, and Wq = (9/14) / (2 * 4 - 6) = 0.3214 s.
    waits = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        ticks = arrivals(rng, 10_000, per_s=6.0)
        waits.append(waits_s(queue(ticks, exponential_us(rng, 10_000), slots=2))[1000:])
    assert np.mean(waits) == pytest.approx(0.321429, rel=0.06)
    assert np.mean(np.concatenate(waits) > 0) == pytest.approx(9 / 14, rel=0.03)


@pytest.mark.parametrize(("law", "high_s", "low_s"), [("deterministic", 0.15, 0.60), ("exponential", 0.30, 1.20)])
def test_priorities_without_preemption_wait_as_cobham_says(law: str, high_s: float, low_s: float) -> None:
    # Two classes of 1.5/s each: Wq_high = R / (1 - 0.375), Wq_low = R / ((1 - 0.375) (1 - 0.75)) with the mean
    # residual service R = lambda E[S^2] / 2: 0.09375 s if deterministic, 0.1875 s if exponential.
    high, low = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        ticks, classes = arrivals(rng), rng.integers(0, 2, CUSTOMERS)
        services = np.full(CUSTOMERS, 250_000) if law == "deterministic" else exponential_us(rng)
        waits = waits_s(queue(ticks, services, classes))
        high.append(waits[WARM_UP:][classes[WARM_UP:] == 0].mean())
        low.append(waits[WARM_UP:][classes[WARM_UP:] == 1].mean())
    assert np.mean(high) == pytest.approx(high_s, rel=0.04)
    assert np.mean(low) == pytest.approx(low_s, rel=0.06)


@pytest.mark.parametrize("law", ["deterministic", "exponential"])
def test_flows_on_one_channel_share_it_as_one_processor_whatever_the_sizes(law: str) -> None:
    # M/G/1 with processor sharing: W = 0.25 / (1 - 0.75) = 1 s for any law of the sizes.
    customers, warm_up = 6000, 500
    sojourns = []
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        sizes = np.full(customers, 250_000) if law == "deterministic" else exponential_us(rng, customers)
        sojourns.append(sojourns_s(channel(arrivals(rng, customers), sizes))[warm_up:].mean())
    assert np.mean(sojourns) == pytest.approx(1.0, rel=0.05)


def test_regular_arrivals_that_are_served_in_time_never_wait() -> None:
    # D/D/1 at load 1: service and period are both 250 ms.
    ticks = np.arange(1000, dtype=np.int64) * (SECOND // 4)
    timeline = queue(ticks, np.full(1000, 250_000))
    assert np.array_equal(timeline.start_tick, ticks)
    assert np.all(sojourns_s(timeline) == 0.25)


def test_littles_law_is_an_identity() -> None:
    # The run starts and ends empty, so the area under the number in the system is the sum of the times in it, exactly.
    # The number in the system is read from what the channel is asked for: each customer asks for the whole channel.
    rng = np.random.default_rng(7)
    timeline = channel(arrivals(rng, 2000), exponential_us(rng, 2000))
    number_in_system = timeline.rate_asked_bytes_per_s / 1e6
    assert number_in_system[-1] == 0
    lasted = np.diff(timeline.rate_tick)
    area = int(np.sum(number_in_system[:-1].astype(np.int64) * lasted))
    assert area == int(np.sum(timeline.release_end_tick - timeline.program.streams.release_tick))


def test_the_channel_is_never_idle_while_there_is_work() -> None:
    # Processor sharing conserves work: the link ends its busy periods when first-come-first-served would.
    rng = np.random.default_rng(3)
    ticks, sizes = arrivals(rng, 2000), exponential_us(rng, 2000)
    timeline = channel(ticks, sizes)
    idle_from = timeline.rate_tick[timeline.rate_granted_bytes_per_s == 0]
    waits = lindley_waits(ticks, sizes * 10**6)
    ends = [tick + wait + size * 10**6 for tick, wait, size in zip(ticks.tolist(), waits, sizes.tolist(), strict=True)]
    expected = [end for end, following in zip(ends, [*ticks.tolist()[1:], None], strict=True)
                if following is None or following > end]  # fmt: skip
    # Each customer's end is rounded up to the tick, which may delay the end of a busy period by a tick per customer.
    assert len(idle_from) == len(expected)
    assert np.all(np.abs(idle_from - np.array(expected)) <= 100)
