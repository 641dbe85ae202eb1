"""A unit can be a SimPy process of the user's; progress is reported while a run goes on."""

import pytest
import simpy

from simulator.engine.reference import ReferenceEngine, ServedTask
from simulator.errors import Infeasible, SpecError
from simulator.program import NONE, ProgramBuilder
from simulator.units import cycles_to_ticks

NS = 1000


def three_tasks(slots: int = 1) -> ProgramBuilder:
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=slots)
    builder.unit("host", clock_hz=1e9)
    for priority in (2, 1, 0):
        builder.compute("npu", work_cycles=10, priority=priority)
    return builder


def test_the_process_says_how_long_and_the_engine_keeps_queue_and_slots() -> None:
    def with_warm_up(env: simpy.Environment, task: ServedTask) -> object:
        yield env.timeout(2 * NS)
        yield env.timeout(cycles_to_ticks(task.work_cycles, task.clock_hz))

    timeline = ReferenceEngine(unit_processes={"npu": with_warm_up}).run(three_tasks().build())
    assert timeline.end_tick.tolist() == [36 * NS, 24 * NS, 12 * NS]  # tasks 0, 1, 2: the lowest priority goes first


def test_a_process_like_the_built_in_unit_gives_the_same_timeline() -> None:
    def plain(env: simpy.Environment, task: ServedTask) -> object:
        yield env.timeout(cycles_to_ticks(task.work_cycles, task.clock_hz))

    builder = three_tasks(slots=2)
    builder.compute("npu", work_cycles=0, after=[1])
    builder.compute("host", work_cycles=5, after=[3])
    program = builder.build()
    own = ReferenceEngine(unit_processes={"npu": plain, "host": plain}).run(program)
    assert own.equals(ReferenceEngine().run(program))


def test_a_process_that_takes_no_time_ends_in_the_next_round_like_any_task() -> None:
    # The task on the npu and the milestone both end in round 2 at tick 0. So their successors meet at the host, where
    # priority 0 goes first, although the process was over before the round was.
    def no_time(env: simpy.Environment, task: ServedTask) -> object:
        yield env.timeout(0)

    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.unit("host", clock_hz=1e9)
    served = builder.compute("npu", work_cycles=0)
    gate = builder.milestone()
    builder.compute("host", work_cycles=10, after=[served], priority=5)
    builder.compute("host", work_cycles=10, after=[gate], priority=0)
    program = builder.build()
    timeline = ReferenceEngine(unit_processes={"npu": no_time}).run(program)
    assert timeline.start_tick.tolist() == [0, 0, 10 * NS, 0]
    assert timeline.equals(ReferenceEngine().run(program))


def test_processes_may_share_something_of_their_own() -> None:
    # Both units need the one bus for their whole task, so they take turns.
    buses: dict[simpy.Environment, simpy.Resource] = {}

    def over_the_bus(env: simpy.Environment, task: ServedTask) -> object:
        bus = buses.setdefault(env, simpy.Resource(env))
        with bus.request() as request:
            yield request
            yield env.timeout(cycles_to_ticks(task.work_cycles, task.clock_hz))

    builder = ProgramBuilder()
    for name in ("npu", "dsp"):
        builder.unit(name, clock_hz=1e9)
        builder.compute(name, work_cycles=10)
    timeline = ReferenceEngine(unit_processes={"npu": over_the_bus, "dsp": over_the_bus}).run(builder.build())
    assert timeline.end_tick.tolist() == [10 * NS, 20 * NS]


def test_a_process_that_never_ends_a_task_is_named() -> None:
    def for_ever(env: simpy.Environment, task: ServedTask) -> object:
        yield simpy.Event(env)

    engine = ReferenceEngine(unit_processes={"npu": for_ever})
    with pytest.raises(Infeasible, match='task 2 can never end: unit "npu" has a process that never ends it'):
        engine.run(three_tasks().build())
    assert engine.run(three_tasks().build(), until_tick=NS).end_tick.tolist() == [NONE]


def test_a_process_must_wait_whole_ticks() -> None:
    def half(env: simpy.Environment, task: ServedTask) -> object:
        yield env.timeout(0.5)

    with pytest.raises(SpecError, match='the process of unit "npu" must wait whole ticks'):
        ReferenceEngine(unit_processes={"npu": half}).run(three_tasks().build())


def test_a_process_for_an_unknown_unit_is_refused_with_the_nearest_name() -> None:
    def nothing(env: simpy.Environment, task: ServedTask) -> object:
        yield env.timeout(0)

    with pytest.raises(SpecError, match='no unit "npo"') as caught:
        ReferenceEngine(unit_processes={"npo": nothing}).run(three_tasks().build())
    assert caught.value.hint == 'did you mean "npu"?'


def test_a_negative_until_tick_is_refused() -> None:
    with pytest.raises(SpecError, match="until_tick must be 0 or above, got -1"):
        ReferenceEngine().run(three_tasks().build(), until_tick=-1)


def test_progress_counts_ticks_and_tasks() -> None:
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.compute("npu", work_cycles=1)
    builder.stream("tick", period_ticks=NS, releases=45_000)
    calls: list[tuple[int, int]] = []
    ReferenceEngine().run(builder.build(), progress=lambda ticks, tasks: calls.append((ticks, tasks)))
    assert calls == [(20_000 * NS, 20_000), (40_000 * NS, 40_000)]
