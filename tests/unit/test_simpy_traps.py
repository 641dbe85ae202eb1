"""Each trap of SimPy is shown in plain SimPy first, and then the engine is shown to be out of its reach."""

import simpy

from simulator.engine.reference import ReferenceEngine
from simulator.program import NONE, DropPolicy, ProgramBuilder
from simulator.timeline import ReleaseStatus, Timeline

NS = 1000


def run(builder: ProgramBuilder, until_tick: int | None = None) -> Timeline:
    return ReferenceEngine().run(builder.build(), until_tick=until_tick)


# same time, same priority: creation order decides ------------------------------------------------------------------


def arrivals_in_plain_simpy(names: list[str]) -> list[str]:
    env = simpy.Environment()
    order = []

    def arrive(name: str) -> object:
        yield env.timeout(1)
        order.append(name)

    for name in names:
        env.process(arrive(name))
    env.run()
    return order


def test_simpy_serves_equal_times_in_the_order_of_creation() -> None:
    assert arrivals_in_plain_simpy(["a", "b"]) == ["a", "b"]
    assert arrivals_in_plain_simpy(["b", "a"]) == ["b", "a"]


def test_the_engine_serves_equal_times_by_priority_in_any_order_of_creation() -> None:
    # Two streams release at the same tick; the job with priority 0 goes first, whichever stream is defined first.
    def first_served(jobs: list[int]) -> int:
        builder = ProgramBuilder()
        builder.unit("npu", clock_hz=1e9)
        for priority in (1, 0):
            builder.job()
            builder.compute("npu", work_cycles=10, priority=priority)
        for job in jobs:
            builder.stream(f"stream of job {job}", job=job)
        timeline = run(builder)
        return int(timeline.task[timeline.start_tick.argmin()])

    assert first_served([0, 1]) == first_served([1, 0]) == 1


# run(until=T) ------------------------------------------------------------------------------------------------------


def test_simpy_does_not_run_what_happens_at_until_unless_it_has_an_urgent_priority() -> None:
    env = simpy.Environment()
    log = []

    def tick() -> object:
        while True:
            yield env.timeout(1)
            log.append(env.now)

    env.process(tick())
    env.run(until=3)
    assert log == [1, 2]
    # The stop is itself an event of priority 0: one that was scheduled earlier at the same priority slips through.
    env = simpy.Environment()
    urgent = simpy.Event(env)
    urgent._ok, urgent._value = True, None
    urgent.callbacks.append(lambda event: log.append("slipped through"))
    env.schedule(urgent, priority=simpy.events.URGENT, delay=3)
    env.run(until=3)
    assert log == [1, 2, "slipped through"]


def test_the_engine_runs_a_half_open_window() -> None:
    # A task per ns: in [0, 3 ns) two have ended and the third has started.
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.compute("npu", work_cycles=1)
    builder.stream("tick", period_ticks=NS, releases=5)
    timeline = run(builder, until_tick=3 * NS)
    assert timeline.end_tick.tolist() == [1 * NS, 2 * NS, NONE]
    assert (timeline.release_status == ReleaseStatus.PENDING).tolist() == [False, False, False, True, True]


# interrupt against timeout -----------------------------------------------------------------------------------------


def race_in_plain_simpy(order: list[str]) -> str:
    env = simpy.Environment()
    outcome = []
    created: dict[str, simpy.Process] = {}

    def worker() -> object:
        try:
            yield env.timeout(5)
            outcome.append("done")
        except simpy.Interrupt:
            outcome.append("interrupted")

    def stopper() -> object:
        yield env.timeout(5)
        if created["worker"].is_alive:
            created["worker"].interrupt()

    for name in order:
        created[name] = env.process(worker() if name == "worker" else stopper())
    env.run()
    return outcome[0]


def test_in_simpy_a_race_of_interrupt_and_timeout_depends_on_who_was_created_first() -> None:
    assert race_in_plain_simpy(["worker", "stopper"]) == "done"
    assert race_in_plain_simpy(["stopper", "worker"]) == "interrupted"


def test_in_the_engine_completion_wins_against_a_change_at_the_same_tick() -> None:
    # The clock and the channel fail exactly when the tasks end: both have ended. One tick earlier, neither has.
    def ends(change_tick: int) -> list[int]:
        builder = ProgramBuilder()
        builder.unit("npu", clock_hz=1e9)
        builder.channel("dram", bytes_per_s=1e9)
        builder.compute("npu", work_cycles=5)
        builder.transfer(["dram"], size_bytes=5)
        builder.change(change_tick, unit="npu", value=0.0)
        builder.change(change_tick, channel="dram", value=0.0)
        return run(builder, until_tick=10 * NS).end_tick.tolist()

    assert ends(5 * NS) == [5 * NS, 5 * NS]
    assert ends(5 * NS - 1) == [NONE, NONE]


# requests that are given up ----------------------------------------------------------------------------------------


def test_in_simpy_a_request_given_up_but_not_cancelled_takes_the_resource_for_ever() -> None:
    env = simpy.Environment()
    server = simpy.Resource(env)

    def hold() -> object:
        with server.request() as request:
            yield request
            yield env.timeout(10)

    def give_up() -> object:
        request = server.request()
        yield request | env.timeout(1)

    env.process(hold())
    env.process(give_up())
    env.run(until=100)
    assert server.count == 1  # nobody works, yet the resource is taken


def test_in_the_engine_a_dropped_release_leaves_nothing_behind() -> None:
    # Releases 1 and 2 are dropped while release 0 runs; the unit is free for release 3 at once.
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.compute("npu", work_cycles=25)
    builder.stream("camera", period_ticks=10 * NS, releases=4, policy=DropPolicy.DROP_IF_BUSY)
    timeline = run(builder)
    assert timeline.release.tolist() == [0, 3]
    assert timeline.start_tick.tolist() == timeline.ready_tick.tolist() == [0, 30 * NS]


# floating-point time -----------------------------------------------------------------------------------------------


def test_in_simpy_three_steps_of_a_tenth_miss_the_tie_with_three_tenths() -> None:
    env = simpy.Environment()
    times = []

    def steps() -> object:
        for _ in range(3):
            yield env.timeout(0.1)
        times.append(env.now)

    def once() -> object:
        yield env.timeout(0.3)
        times.append(env.now)

    env.process(steps())
    env.process(once())
    env.run()
    assert times[0] != times[1]


def test_in_the_engine_three_tasks_of_a_tenth_meet_the_release_at_three_tenths() -> None:
    # 100 ms at 1 GHz three times, against a release at 300 ms that is dropped if the stream is still busy.
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    task = builder.compute("npu", work_cycles=0.1 * 1e9)
    for _ in range(2):
        task = builder.compute("npu", work_cycles=0.1 * 1e9, after=[task])
    builder.stream("camera", period_ticks=300 * 10**9, releases=2, policy=DropPolicy.DROP_IF_BUSY)
    timeline = run(builder)
    assert timeline.end_tick[2] == 300 * 10**9
    assert timeline.release_status.tolist() == [ReleaseStatus.COMPLETED] * 2
