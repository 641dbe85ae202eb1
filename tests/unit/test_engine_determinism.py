"""The order in which things are written down or created never shows in a result.

The precise law. The task index decides only between tasks that wait at one unit with equal priority and equal ready
tick, and the release number only between releases of one such task. So
- if no two tasks have the same priority, tasks and jobs may be renumbered at will;
- units, channels, masters, shares and background flows may always be reordered;
- streams may be reordered if no job belongs to two of them.
"""

import hashlib
import os
import random
import subprocess
import sys
from dataclasses import fields, replace
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import simpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.program import DropPolicy, Program, ProgramBuilder
from simulator.timeline import Timeline
from tests.property.program_strategies import Plan, plans, programs

FAIR = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Spans = dict[tuple[int, int], tuple[int, int, int]]


def run(program: Program) -> Timeline:
    return ReferenceEngine().run(program)


def spans(timeline: Timeline) -> Spans:
    """(release, task) -> (ready, start, end)."""
    rows = zip(
        timeline.release.tolist(),
        timeline.task.tolist(),
        timeline.ready_tick.tolist(),
        timeline.start_tick.tolist(),
        timeline.end_tick.tolist(),
        strict=True,
    )
    return {(release, task): (ready, start, end) for release, task, ready, start, end in rows}


# numbering of tasks ------------------------------------------------------------------------------------------------


def with_distinct_priorities(plan: Plan, rng: random.Random) -> Plan:
    priorities = list(range(sum(len(tasks) for tasks in plan.jobs)))
    rng.shuffle(priorities)
    jobs = [
        [
            (kind, {**arguments, "priority": priorities.pop()} if kind == "compute" else arguments)
            for kind, arguments in job
        ]
        for job in plan.jobs
    ]
    return replace(plan, jobs=jobs)


def renumbered(plan: Plan, rng: random.Random) -> tuple[Plan, dict[int, int]]:
    """The same plan with jobs and tasks in another order, and where each task has gone."""
    job_order = rng.sample(range(len(plan.jobs)), len(plan.jobs))
    starts = [sum(len(tasks) for tasks in plan.jobs[:job]) for job in range(len(plan.jobs))]
    jobs, moved = [], {}
    for job in job_order:
        order = rng.sample(range(len(plan.jobs[job])), len(plan.jobs[job]))
        place = {task: index for index, task in enumerate(order)}
        first = sum(len(tasks) for tasks in jobs)
        moved |= {starts[job] + task: first + place[task] for task in order}
        rows = [plan.jobs[job][task] for task in order]
        jobs.append(
            [(kind, {**arguments, "after": [place[t] for t in arguments["after"]]}) for kind, arguments in rows]
        )
    streams = [
        (name, {**arguments, "jobs": [job_order.index(job) for job in arguments["jobs"]]})
        for name, arguments in plan.streams
    ]
    return replace(plan, jobs=jobs, streams=streams), moved


@FAIR
@given(plans(), st.randoms(use_true_random=False))
def test_with_distinct_priorities_the_numbering_of_tasks_and_jobs_never_shows(plan: Plan, rng: random.Random) -> None:
    plan = with_distinct_priorities(plan, rng)
    other, moved = renumbered(plan, rng)
    expected = {(release, moved[task]): times for (release, task), times in spans(run(plan.build())).items()}
    assert spans(run(other.build())) == expected


def test_with_equal_priorities_the_numbering_is_the_tie_break() -> None:
    # Guard: the law above is not empty. Two tasks wait at one unit; the lower index goes first.
    def order(cycles: list[int]) -> list[tuple[int, int]]:
        builder = ProgramBuilder()
        builder.unit("npu", clock_hz=1e9)
        for work_cycles in cycles:
            builder.compute("npu", work_cycles=work_cycles)
        return [times[1:] for times in spans(run(builder.build())).values()]

    assert order([1, 2]) == [(0, 1000), (1000, 3000)]
    assert order([2, 1]) == [(0, 2000), (2000, 3000)]


# order of definitions ----------------------------------------------------------------------------------------------


@FAIR
@given(plans(), st.randoms(use_true_random=False))
def test_the_order_of_units_channels_masters_shares_and_background_never_shows(plan: Plan, rng: random.Random) -> None:
    other = replace(
        plan,
        **{
            name: rng.sample(getattr(plan, name), len(getattr(plan, name)))
            for name in ("units", "channels", "masters", "shares", "background")
        },
    )
    first, second = run(plan.build()), run(other.build())
    assert spans(first) == spans(second)
    assert first.release_status.tolist() == second.release_status.tolist()
    moved = dict(zip(second.program.background.names, second.background_bytes.tolist(), strict=True))
    assert first.background_bytes.tolist() == pytest.approx([moved[name] for name in first.program.background.names])


@FAIR
@given(plans(), st.randoms(use_true_random=False))
def test_the_order_of_streams_never_shows_if_each_has_its_own_jobs(plan: Plan, rng: random.Random) -> None:
    num_jobs = len(plan.jobs)
    streams = [
        (name, {**arguments, "jobs": [number * num_jobs + job for job in arguments["jobs"]]})
        for number, (name, arguments) in enumerate(plan.streams)
    ]
    plan = replace(plan, jobs=plan.jobs * len(streams), streams=streams)
    other = replace(plan, streams=rng.sample(streams, len(streams)))

    def by_name(timeline: Timeline) -> dict[tuple[str, int, int], tuple[int, int, int]]:
        names, starts = timeline.program.streams.names, timeline.program.streams.release_offsets
        owner = timeline.program.streams.release_stream
        return {
            (names[owner[release]], int(release - starts[owner[release]]), task): times
            for (release, task), times in spans(timeline).items()
        }

    assert by_name(run(plan.build())) == by_name(run(other.build()))


# order of creation -------------------------------------------------------------------------------------------------


class ShuffledEnvironment(simpy.Environment):
    """SimPy with a random order among events of equal time and priority, instead of the order of creation."""

    rng = random.Random(0)
    numbers = count()

    def schedule(self, event: simpy.Event, priority: int = simpy.events.NORMAL, delay: float = 0) -> None:
        heappush(self._queue, (self._now + delay, priority, (self.rng.random(), next(self.numbers)), event))

    def step(self) -> None:
        self._now, _, _, event = heappop(self._queue)
        callbacks, event.callbacks = event.callbacks, None
        for callback in callbacks:
            callback(event)


@FAIR
@given(programs(), st.integers(0, 2**32))
def test_a_random_order_of_simultaneous_events_never_shows(program: Program, seed: int) -> None:
    expected = run(program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShuffledEnvironment, "rng", random.Random(seed))
        patch.setattr("simulator.engine.reference.simpy.Environment", ShuffledEnvironment)
        assert digest(run(program)) == digest(expected)


def test_the_shuffled_environment_does_shuffle() -> None:
    # Guard: in plain SimPy the order of creation decides, in the shuffled one it does not.
    env, order = ShuffledEnvironment(), []
    for number in range(20):
        env.timeout(1).callbacks.append(lambda _, number=number: order.append(number))
    while env.peek() <= 1:
        env.step()
    assert sorted(order) == list(range(20)) != order


# one Program, one result -------------------------------------------------------------------------------------------


def digest(timeline: Timeline) -> str:
    """A hash of every byte of every column."""
    found = hashlib.sha256(str(timeline.horizon_tick).encode())
    for column in fields(timeline):
        value = getattr(timeline, column.name)
        if isinstance(value, np.ndarray):
            found.update(column.name.encode() + str(value.dtype).encode() + value.tobytes())
    return found.hexdigest()


def rich_program() -> Program:
    """A bit of everything, with numbers that are not round."""
    builder = ProgramBuilder()
    for name in ("npu", "dsp", "host"):
        builder.unit(name, clock_hz=1.3e9, slots=2)
    for name in ("dram", "noc", "link"):
        builder.channel(name, bytes_per_s=7e9)
    for name in ("camera", "gpu", "cpu"):
        builder.master(name, weight=1.7)
        builder.share(name, "dram", minimum=0.1, maximum=0.6)
    for number in range(40):
        unit, master = ("npu", "dsp", "host")[number % 3], ("camera", "gpu", "cpu")[number % 3]
        route, after = ["dram", "noc", "link"][number % 2 :], [number] if number else []
        load = builder.transfer(route, size_bytes=1000 + 37 * number, master=master, after=after)
        builder.compute(unit, work_cycles=100 + 13 * number, after=[load])
    builder.background("isp", ["noc", "dram"], bytes_per_s=1.1e9, master="camera", start_tick=5_000_000)
    builder.change(20_000_000, channel="dram", value=3e9)
    builder.change(30_000_000, unit="npu", value=0.7e9)
    for name, policy in zip("abc", DropPolicy, strict=True):
        builder.stream(name, period_ticks=7_000_001, releases=20, policy=policy, queue_depth=3)
    return builder.build()


def python(source: str, hash_seed: str = "0") -> str:
    """What a new process prints."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", source]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True).stdout


def test_another_process_with_another_hash_seed_gives_the_same_bytes() -> None:
    source = """
from tests.unit.test_engine_determinism import digest, rich_program, run
print(digest(run(rich_program())), end="")
"""
    here = digest(run(rich_program()))
    assert {python(source, hash_seed) for hash_seed in ("0", "1", "4242")} == {here}


@pytest.mark.parametrize("engine", [ReferenceEngine(), CompiledEngine()], ids=lambda engine: engine.name)
def test_two_runs_in_one_process_do_not_see_each_other(engine: Engine) -> None:
    program = rich_program()
    assert digest(engine.run(program)) == digest(engine.run(program)) == digest(run(program))


def test_importing_the_contract_imports_no_engine() -> None:
    source = "import sys, simulator.engine.interface; print({'simpy', 'numba'} & set(sys.modules), end='')"
    assert python(source) == "set()"
