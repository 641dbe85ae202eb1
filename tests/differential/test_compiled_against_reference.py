"""The compiled engine does exactly what the reference engine does, with and without replay.

Every column must be equal bit for bit. Only what a background flow has moved by the end may differ in the last digits:
a replay adds k equal periods at once.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.programs import layers
from simulator.catalog import Catalog
from simulator.engine.compiled import CompiledEngine
from simulator.engine.reference import ReferenceEngine
from simulator.errors import Infeasible, SpecError
from simulator.program import (
    NONE,
    CapacityChanges,
    DropPolicy,
    Program,
    ProgramBuilder,
    Streams,
)
from simulator.program.program import Background, Resources
from simulator.program.template import Fragment, FragmentBuilder, Part, join
from simulator.simulation.setup import resolve, single_run
from simulator.simulation.to_program import to_program
from simulator.timeline import Timeline
from tests.property.program_strategies import NS, programs

MS = 10**9
MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_same(timeline: Timeline, expected: Timeline) -> None:
    assert timeline.horizon_tick == expected.horizon_tick
    for column in fields(expected):
        mine, theirs = getattr(timeline, column.name), getattr(expected, column.name)
        if column.name == "background_bytes":
            assert mine.tolist() == pytest.approx(theirs.tolist(), rel=1e-12)
        elif isinstance(theirs, np.ndarray):
            assert mine.dtype == theirs.dtype
            assert mine.tolist() == theirs.tolist(), column.name


def check(program: Program, until_tick: int | None = None) -> int:
    """Runs all three ways; returns how many tasks were replayed."""
    expected = ReferenceEngine().run(program, until_tick=until_tick)
    replaying = CompiledEngine()
    assert_same(CompiledEngine(replays=False).run(program, until_tick=until_tick), expected)
    assert_same(replaying.run(program, until_tick=until_tick), expected)
    return replaying.num_replayed


@MANY
@given(programs(max_tasks=8))
def test_a_whole_run_is_that_of_the_reference(program: Program) -> None:
    check(program)


@MANY
@given(programs(max_tasks=8), st.integers(0, 16).map(lambda n: n * 250 * NS))
def test_a_run_cut_off_at_a_tick_is_that_of_the_reference(program: Program, until_tick: int) -> None:
    check(program, until_tick)


# layers ------------------------------------------------------------------------------------------------------------

UNITS, ROUTES, MASTERS, ANCHORS = 2, 3, 2, 3


@st.composite
def fragments(draw: st.DrawFn) -> Fragment:
    """A layer: up to ten tasks that wait for each other and for the three anchors of the layer before."""
    builder = FragmentBuilder()
    labels = {"operation": NONE, "cause": NONE}
    count = draw(st.integers(1, 10))
    for task in range(count):
        after = draw(st.lists(st.integers(-ANCHORS, task - 1), min_size=0 if task else 1, max_size=3, unique=True))
        kind = draw(st.sampled_from(["compute", "compute", "transfer", "transfer", "milestone"]))
        if kind == "compute":
            cycles = draw(st.sampled_from([0.0, 1.0, 10.0, 100.0, 333.0]))
            builder.compute(draw(st.integers(0, UNITS - 1)), cycles, after or [-1], **labels)
        elif kind == "transfer":
            size_bytes, cap = draw(st.sampled_from([0, 1, 64, 1000])), draw(st.sampled_from([np.inf, 7e8, 3e9]))
            builder.transfer(draw(st.integers(0, ROUTES - 1)), size_bytes, after or [-1],
                             master=draw(st.integers(0, MASTERS - 1)), rate_cap_bytes_per_s=cap, **labels)  # fmt: skip
        else:
            builder.milestone(after or [-1])
    for _ in range(ANCHORS):
        builder.milestone([draw(st.integers(0, count - 1))])
    return builder.build()


def first_fragment() -> Fragment:
    builder = FragmentBuilder()
    for _ in range(ANCHORS):
        builder.milestone([])
    return builder.build()


@st.composite
def layered_programs(draw: st.DrawFn) -> Program:
    """Runs of equal layers, released once or often, with background flows and changes in the midst of them."""
    distinct = draw(st.lists(fragments(), min_size=1, max_size=2))
    parts = [Part(first_fragment())]
    for _ in range(draw(st.integers(1, 3))):
        parts.append(Part(draw(st.sampled_from(distinct)), draw(st.integers(1, 12))))
    tasks, job_offsets, _ = join([parts], [0])
    ticks = np.array(sorted(draw(st.lists(st.integers(0, 20).map(lambda n: n * 700 * NS), min_size=1, max_size=3))))
    count = draw(st.integers(0, 2))
    starts = np.array([draw(st.integers(0, 3)) * 500 * NS for _ in range(count)], dtype=np.int64)
    lengths = [draw(st.sampled_from([NONE, 300 * NS, 9000 * NS])) for _ in range(count)]
    stops = np.where(np.array(lengths) == NONE, NONE, starts + np.array(lengths, dtype=np.int64))
    places = [(draw(st.integers(0, 20)), draw(st.integers(-2, 1))) for _ in range(draw(st.integers(0, 2)))]
    changes = sorted((300 * NS * place, index) for place, index in places)
    pairs = [(master, channel) for master in range(MASTERS) for channel in range(2)]
    budgets = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True))
    return Program(
        resources=Resources(
            unit_names=("a", "b"), unit_clock_hz=np.array([1e9, 1.3e9]), unit_slots=np.array([1, 2]),
            channel_names=("noc", "dram"), channel_bytes_per_s=np.array([3e9, 2e9]),
            master_names=("npu", "cpu"), master_weight=np.array([1.0, 2.0]),
            share_master=np.array([0]), share_channel=np.array([1]), share_minimum=np.array([0.25]),
            share_maximum=np.array([0.75]), share_is_soft=np.array([draw(st.booleans())]),
            route_offsets=np.array([0, 1, 2, 4]), route_channels=np.array([0, 1, 0, 1]),
            route_usage=np.array([draw(st.sampled_from([1.0, 1.0, 1.3])) for _ in range(4)]),
            budget_master=np.array([pair[0] for pair in budgets], dtype=np.int64),
            budget_channel=np.array([pair[1] for pair in budgets], dtype=np.int64),
            budget_bytes=np.array([draw(st.sampled_from([300.0, 1e4, 1e5])) for _ in budgets]),
            budget_period_ticks=np.array([draw(st.sampled_from([777, 5000, 9100])) * NS for _ in budgets],
                                         dtype=np.int64),
        ),
        tasks=tasks, job_offsets=job_offsets,
        streams=Streams(("s",), np.array([0, len(ticks)]), ticks, np.zeros(len(ticks), dtype=np.int64),
                        np.array([draw(st.sampled_from(list(DropPolicy)))]), np.array([1]),
                        np.array([draw(st.integers(1, 2))]), np.array([NONE])),
        background=Background(
            tuple(f"b{index}" for index in range(count)),
            np.array([draw(st.integers(0, ROUTES - 1)) for _ in range(count)], dtype=np.int64),
            np.array([draw(st.integers(0, MASTERS - 1)) for _ in range(count)], dtype=np.int64),
            np.array([draw(st.sampled_from([5e8, 1e9])) for _ in range(count)]), starts, stops,
        ),
        changes=CapacityChanges(
            np.array([tick for tick, _ in changes], dtype=np.int64),
            np.array([index if index >= 0 else NONE for _, index in changes], dtype=np.int64),
            np.array([NONE if index >= 0 else index + 2 for _, index in changes], dtype=np.int64),
            np.full(len(changes), 1.7e9),
        ),
    )  # fmt: skip


def once_on_two_units(parts: list[Part]) -> Program:
    tasks, job_offsets, _ = join([parts], [0])
    once = np.zeros(1, dtype=np.int64)
    return Program(
        Resources(unit_names=("host", "npu"), unit_clock_hz=np.array([1e9, 1e9]), unit_slots=np.array([1, 1])),
        tasks, job_offsets,
        Streams(("s",), np.array([0, 1]), once, once, np.array([2]), np.array([NONE]), np.array([1]), np.array([NONE])),
    )  # fmt: skip


@MANY
@given(layered_programs())
def test_layers_that_repeat_run_as_on_the_reference(program: Program) -> None:
    check(program)


@MANY
@given(layered_programs(), st.integers(1, 40).map(lambda n: n * 170 * NS))
def test_layers_cut_off_in_their_midst_run_as_on_the_reference(program: Program, until_tick: int) -> None:
    check(program, until_tick)


def test_nearly_all_of_many_equal_layers_is_replayed() -> None:
    # 200 layers: the loads are ahead of the computations by all buffers after 30, then the state repeats.
    program = layers(num_tasks=20_000)
    assert check(program) > 0.8 * len(program.tasks)


def test_a_chain_that_runs_ahead_does_not_hinder_the_replay() -> None:
    # A host needs 10 cycles per layer and the unit 100: the host is through with all layers when the unit begins the
    # tenth of 100. From then on a layer is the unit's two tasks alone, and 80 such layers at least are replayed.
    builder = FragmentBuilder()
    labels = {"operation": NONE, "cause": NONE}
    enqueued = builder.compute(0, 10.0, [-2], **labels)
    work = builder.compute(1, 100.0, [-1, enqueued], **labels)
    builder.milestone([enqueued])
    builder.milestone([work])
    assert check(once_on_two_units([Part(first_fragment()), Part(builder.build(), 100)])) > 80 * 2


def test_layers_are_replayed_from_one_begin_of_a_period_to_the_next() -> None:
    # A CPU takes 0.2 GB/s of a channel of its own, 1 MB in each period of 5 ms, about 25 layers. Whether it may take
    # 2 MB or stands still after 0.5 MB: the loads do not notice, and layers repeat from one change to the next.
    base = layers(num_tasks=20_000)
    resources = replace(base.resources, channel_names=(*base.resources.channel_names, "low power"),
                        channel_bytes_per_s=np.append(base.resources.channel_bytes_per_s, 1e9),
                        master_names=("load", "store", "cpu"), master_weight=np.array([1.0, 2.0, 1.0]),
                        route_offsets=np.array([0, 2, 3]), route_channels=np.array([0, 1, 2]), route_usage=np.ones(3),
                        budget_master=np.array([2]), budget_channel=np.array([2]), budget_bytes=np.array([2e6]),
                        budget_period_ticks=np.array([5 * MS]))  # fmt: skip
    always = np.array([NONE])
    cpu = Background(("cpu",), np.array([1]), np.array([2]), np.array([2e8]), np.array([0]), always)
    program = Program(resources, base.tasks, base.job_offsets, base.streams, cpu)
    assert check(program) > 0.5 * len(program.tasks)
    resources = replace(resources, budget_bytes=np.array([5e5]))
    assert check(replace(program, resources=resources)) > 0.4 * len(program.tasks)


def test_layers_that_alternate_are_run() -> None:
    assert check(layers(num_tasks=2000, num_distinct=2)) == 0


def test_a_replay_stops_before_a_change_and_goes_on_after_it() -> None:
    # Slower memory after half of the run: both halves are steady, and each tick of the second is longer.
    base = layers(num_tasks=20_000)
    half = ReferenceEngine().run(base).horizon_tick // 2
    changes = CapacityChanges(np.array([half]), np.array([NONE]), np.array([1]), np.array([50e9]))
    program = Program(base.resources, base.tasks, base.job_offsets, base.streams, changes=changes)
    assert check(program) > 0.7 * len(program.tasks)


# the catalogue -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Catalog().names("scenario"))
def test_the_first_milliseconds_of_a_scenario_run_as_on_the_reference(name: str) -> None:
    catalog = Catalog()
    check(to_program(resolve(catalog.load_scenario(name), catalog)), until_tick=15 * MS)


@pytest.mark.parametrize(
    ("chip", "workload"), [("orin-agx-64gb", "qwen2.5-0.5b"), ("thor-t5000", "qwen3-0.6b"), ("mach-m100", "qwen3-1.7b")]
)
def test_a_language_model_runs_as_on_the_reference_and_most_of_it_is_replayed(chip: str, workload: str) -> None:
    # 24 or 28 layers per step: the state repeats from the third layer of a step or so up to the last but one.
    catalog = Catalog()
    known, model = catalog.load_chip(chip), catalog.load_workload(workload)
    runtime = catalog.load_runtime(known.usual_runtime)
    program = to_program(single_run(known, model, runtime, prompt_tokens=16, decode_tokens=3))
    assert check(program) > 0.5 * len(program.tasks)


# everything else that an engine promises -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["unit", "channel"])
def test_a_run_that_can_never_end_is_refused_in_the_words_of_the_reference(what: str) -> None:
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    load = builder.transfer(["dram"], size_bytes=4000)
    builder.compute("npu", work_cycles=4000, after=[load] if what == "unit" else [])
    builder.change(
        2000 * NS, unit="npu" if what == "unit" else None, channel=None if what == "unit" else "dram", value=0
    )
    program = builder.build()
    with pytest.raises(Infeasible) as expected:
        ReferenceEngine().run(program)
    with pytest.raises(Infeasible) as found:
        CompiledEngine().run(program)
    assert str(found.value) == str(expected.value)
    assert (found.value.demand, found.value.unit) == (expected.value.demand, expected.value.unit)


def test_a_run_longer_than_time_can_be_counted_is_refused_in_the_words_of_the_reference() -> None:
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1.0)
    last = builder.compute("npu", work_cycles=4e6)
    builder.compute("npu", work_cycles=4e6, after=[last])
    program = builder.build()
    with pytest.raises(Infeasible) as expected:
        ReferenceEngine().run(program)
    with pytest.raises(Infeasible) as found:
        CompiledEngine().run(program)
    assert str(found.value) == str(expected.value)


def test_a_transfer_cut_off_at_the_tick_at_which_it_would_end_has_served_all_its_bytes_and_no_more() -> None:
    # 10 B at 3 GB/s end after 3333.3 ticks, so at tick 3334, when 10.002 B would have moved.
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=3e9)
    builder.transfer(["dram"], size_bytes=10)
    assert CompiledEngine().run(builder.build(), until_tick=3334).served_bytes.tolist() == [10.0]
    check(builder.build(), until_tick=3334)


def test_a_negative_end_is_refused() -> None:
    with pytest.raises(SpecError, match="until_tick must be 0 or above, got -1"):
        CompiledEngine().run(layers(num_tasks=100), until_tick=-1)


def test_more_flows_and_kinds_than_are_remembered_are_shared_alike() -> None:
    # 300 transfers, each with a cap of its own, so 300 kinds; all of them at once on one channel.
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=1e9)
    for index in range(300):
        builder.transfer(["dram"], size_bytes=100 + index, rate_cap_bytes_per_s=1e6 * (1 + index))
    check(builder.build())


def test_arrays_grow_with_the_releases_that_are_in_flight() -> None:
    # 150 releases of two tasks at once: more active tasks than twice the longest job.
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=3)
    builder.channel("dram", bytes_per_s=1e9)
    builder.compute("npu", work_cycles=10)
    builder.transfer(["dram"], size_bytes=3)
    builder.stream_at("s", [0] * 150 + [10**6 * n for n in range(1, 60)], [0] * 209, in_flight=NONE)
    check(builder.build())


def test_progress_is_told_and_grows() -> None:
    told: list[tuple[int, int]] = []
    CompiledEngine(replays=False).run(layers(num_tasks=4_500_000), progress=lambda *numbers: told.append(numbers))
    assert len(told) == 2
    assert told == sorted(told)
    assert all(tasks >= 2_000_000 * (place + 1) for place, (_, tasks) in enumerate(told))
