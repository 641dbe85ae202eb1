"""Bound and metrics, which read fragments, say what plain loops over single tasks say.

The loops here follow the definitions one task at a time, over flat columns, with Python's own numbers. Programs are
random: layers that repeat, with edges against the order of tasks, prefetches across phases, several jobs and releases,
capacities that change, runs that are cut off; and the flat ones of the strategies.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import bound as bound_module
from simulator.engine.bound import lower_bound
from simulator.engine.chains import WORD_BITS
from simulator.engine.reference import ReferenceEngine
from simulator.metrics.attribution import attribute
from simulator.metrics.critical_path import critical_path
from simulator.metrics.latency import release_latency
from simulator.metrics.occupancy import memory_use
from simulator.metrics.utilization import channel_use, unit_use
from simulator.program import NONE, CapacityChanges, DropPolicy, Labels, Program, ProgramBuilder, Resources, Streams
from simulator.program.capacity import (
    highest_bytes_per_s,
    highest_clock_hz,
    maximum_share,
    sole_transfer_ticks,
)
from simulator.program.template import Fragment, FragmentBuilder, Part, join
from simulator.program.template_columns import sole_ticks_of_templates
from simulator.timeline import ReleaseStatus, Timeline
from simulator.timeline.occupancy import occupancy_steps
from simulator.units import ROUNDING_GUARD_TICKS, TICKS_PER_SECOND
from tests.property.program_strategies import NS, programs

PHASES, CAUSES, ANCHORS = ("vision", "prefill", "decode"), ("weights", "host", "queue"), 3
MANY = settings(max_examples=150, deadline=None)


def sole_duration_ticks(program: Program) -> list[int]:
    """What every task takes alone at the highest clock or capacity ever, one task after the other."""
    tasks, resources, ticks = program.tasks, program.resources, []
    clock_hz, capacity, share = highest_clock_hz(program), highest_bytes_per_s(program), maximum_share(program)
    for task in range(len(tasks)):
        unit, size, guard, exact = int(tasks.unit[task]), int(tasks.size_bytes[task]), ROUNDING_GUARD_TICKS, 0.0
        if unit != NONE:
            guard *= 1 + int(np.sum(program.changes.unit == unit))
            exact = float(tasks.work_cycles[task]) * TICKS_PER_SECOND / float(clock_hz[unit])
        elif size > 0:
            route, most = int(tasks.route[task]), share[tasks.master[task]] * capacity
            crossed = zip(resources.route(route), resources.usage(route), strict=True)
            along = [float(most[channel]) / usage for channel, usage in crossed]
            exact = size / min(float(tasks.rate_cap_bytes_per_s[task]), *along) * TICKS_PER_SECOND
        ticks.append(max(math.ceil(exact - guard), 0))
    return ticks


@st.composite
def fragments(draw: st.DrawFn, *, is_first: bool) -> Fragment:
    """Up to eight tasks, which wait for tasks of lower rank and for the last three of the fragment before."""
    builder, count = FragmentBuilder(), draw(st.integers(ANCHORS, 8))
    rank = draw(st.permutations(range(count)))
    phases = draw(st.sampled_from([[NONE], [0], [1], [2], [NONE, 0, 1, 2]]))
    for task in range(count):
        lower = [other for other in range(count) if rank[other] < rank[task]]
        before = [] if is_first else list(range(-ANCHORS, 0))
        after = draw(st.lists(st.sampled_from(lower + before), max_size=3, unique=True)) if lower + before else []
        labels = {"operation": draw(st.sampled_from(phases)), "cause": draw(st.integers(NONE, len(CAUSES) - 1))}
        kind = draw(st.sampled_from(["compute", "compute", "transfer", "transfer", "milestone"]))
        if kind == "compute":
            builder.compute(draw(st.integers(0, 1)), draw(st.sampled_from([0.0, 1.0, 33.3, 100.0])), after, **labels)
        elif kind == "transfer":
            builder.transfer(draw(st.integers(0, 2)), draw(st.sampled_from([0, 1, 64, 1000])), after,
                             rate_cap_bytes_per_s=draw(st.sampled_from([math.inf, 7e8])),
                             master=draw(st.integers(0, 1)), **labels)  # fmt: skip
        else:
            builder.milestone(after, operation=labels["operation"])
    for _ in range(draw(st.integers(0, 3))):
        builder.hold(draw(st.integers(0, 1)), draw(st.sampled_from([1, 10, 100])), draw(st.integers(0, count - 1)),
                     draw(st.integers(0, count - 1)))  # fmt: skip
    return builder.build()


@st.composite
def layered_programs(draw: st.DrawFn, *, has_changes: bool = True) -> Program:
    """One or two jobs of repeated layers, released up to three times."""
    shared = draw(st.lists(fragments(is_first=False), min_size=1, max_size=3))
    jobs = []
    for _ in range(draw(st.integers(1, 2))):
        layers = st.builds(Part, st.sampled_from(shared), st.integers(1, 5))
        jobs.append([Part(draw(fragments(is_first=True))), *draw(st.lists(layers, max_size=4))])
    tasks, job_offsets, occupancies = join(jobs, [0] * len(jobs))
    ticks = sorted(draw(st.lists(st.integers(0, 8).map(lambda n: n * 50 * NS), min_size=1, max_size=3)))
    changes = sorted(draw(st.lists(st.integers(0, 8), max_size=2))) if has_changes else []
    index = np.arange(len(PHASES))
    has_budget = draw(st.integers(0, 1))
    return Program(
        resources=Resources(
            unit_names=("a", "b"), unit_clock_hz=np.array([1e9, 1.3e9]), unit_slots=np.array([1, 2]),
            channel_names=("noc", "dram"), channel_bytes_per_s=np.array([3e9, 2e9]),
            master_names=("npu", "cpu"), master_weight=np.array([1.0, 2.0]),
            share_master=np.array([0]), share_channel=np.array([1]), share_minimum=np.array([0.25]),
            share_maximum=np.array([0.75]), share_is_soft=np.array([draw(st.booleans())]),
            route_offsets=np.array([0, 1, 2, 4]), route_channels=np.array([0, 1, 0, 1]),
            route_usage=np.array([1.0, 1.0, 2.0, draw(st.sampled_from([1.0, 1.25]))]),
            budget_master=np.array([0] * has_budget), budget_channel=np.array([1] * has_budget),
            budget_bytes=np.array([150.0] * has_budget), budget_period_ticks=np.array([200 * NS] * has_budget),
            memory_names=("sram", "l2"), memory_bytes=np.array([10**6, 10**6]),
        ),
        tasks=tasks, job_offsets=job_offsets, occupancies=occupancies,
        streams=Streams(("s",), np.array([0, len(ticks)]), np.array(ticks),
                        np.array([draw(st.integers(0, len(jobs) - 1)) for _ in ticks]), np.array([DropPolicy.FIFO]),
                        np.array([NONE]), np.array([draw(st.integers(1, 3))]), np.array([NONE])),
        changes=CapacityChanges(
            np.array([tick * 40 * NS for tick in changes], dtype=np.int64),
            np.array([NONE, 0][: len(changes)], dtype=np.int64), np.array([1, NONE][: len(changes)], dtype=np.int64),
            np.full(len(changes), 1.7e9),
        ),
        labels=Labels(PHASES, PHASES, index, index + 5, CAUSES, index),
    )  # fmt: skip


ANY_PROGRAM = layered_programs() | programs(max_tasks=8)
CUT_OFF = st.none() | st.integers(0, 40).map(lambda n: n * 25 * NS)


def completed(timeline: Timeline) -> list[int]:
    return np.flatnonzero(timeline.release_status == ReleaseStatus.COMPLETED).tolist()


def predecessors(program: Program, task: int) -> list[int]:
    start, stop = program.tasks.predecessor_offsets[task : task + 2]
    return program.tasks.predecessors[start:stop].tolist()


def phase(program: Program, task: int) -> int:
    operation = int(program.tasks.operation[task])
    return NONE if operation == NONE else int(program.labels.operation_phase[operation])


# the lower bound ----------------------------------------------------------------------------------------------------


class SlowBound:
    """The bound of a job from the sets of all tasks that each task waits for."""

    def __init__(self, program: Program, job: int) -> None:
        self.program, self.tasks = program, list(program.job_tasks(job))
        self.ticks = dict(enumerate(sole_duration_ticks(program)))
        self.before: dict[int, set[int]] = {}
        while len(self.before) < len(self.tasks):
            for task in self.tasks:
                direct = predecessors(program, task)
                if task not in self.before and all(other in self.before for other in direct):
                    self.before[task] = set(direct).union(*(self.before[other] for other in direct))
        self.order = sorted(self.tasks, key=lambda task: len(self.before[task]))  # who waits for another has more

    def chain(self, counted: set[int]) -> int:
        longest: dict[int, int] = {}
        for task in self.order:
            before = max((longest[other] for other in predecessors(self.program, task)), default=0)
            longest[task] = before + (self.ticks[task] if task in counted else 0)
        return max(longest.values())

    def counted(self, number: int) -> set[int]:
        """The tasks of a phase that wait for all earlier ones; not for milestones that make nobody wait."""
        program, earlier = self.program, {task for task in self.tasks if NONE < phase(self.program, task) < number}
        is_milestone = {task: program.tasks.unit[task] == program.tasks.route[task] == NONE for task in self.tasks}
        used = {other for task in self.tasks if not is_milestone[task] for other in self.before[task]}
        idle = {task for task in self.tasks if is_milestone[task] and task not in used}
        needed = {task for task in earlier if task not in idle or not set(predecessors(program, task)) <= earlier}
        return {task for task in self.tasks if phase(program, task) == number and needed <= self.before[task]}

    def resource_ticks(self, counted: set[int]) -> int:
        """The most that a unit or a channel needs, by its definition (floats in the order of the formula)."""
        tasks, resources = self.program.tasks, self.program.resources
        terms = [0]
        for unit, slots in enumerate(resources.unit_slots.tolist()):
            terms.append(-(-sum(self.ticks[task] for task in counted if tasks.unit[task] == unit) // slots))
        for channel in range(len(resources.channel_names)):
            changes = self.program.changes
            mine = [resources.channel_bytes_per_s[channel], *changes.value[changes.channel == channel].tolist()]
            if len(changes) and changes.tick[0] == 0 and changes.channel[0] == channel and len(mine) > 1:
                mine = mine[1:]  # the first value never holds
            share = dict.fromkeys(range(len(resources.master_names)), 1.0)
            for row in np.flatnonzero(resources.share_channel == channel).tolist():
                if not resources.share_is_soft[row]:
                    share[int(resources.share_master[row])] = float(resources.share_maximum[row])
            usage = {route: dict(zip(resources.route(route), map(Fraction, resources.usage(route)), strict=True))
                     for route in range(resources.num_routes)}  # fmt: skip
            moved = [task for task in counted
                     if tasks.size_bytes[task] > 0 and channel in usage[int(tasks.route[task])]]  # fmt: skip
            for masters, fraction in [(set(share), 1.0), *(({master}, share[master]) for master in share)]:
                of_masters = [int(tasks.size_bytes[task]) * usage[int(tasks.route[task])][channel]
                              for task in moved if tasks.master[task] in masters]  # fmt: skip
                exact = sum(of_masters) * 10**12 / Fraction(fraction * max(mine))
                terms.append(math.ceil(exact - Fraction(len(of_masters), 100) - Fraction(1, 10**6)))
                for row in np.flatnonzero(resources.budget_channel == channel).tolist():
                    if masters == {int(resources.budget_master[row])}:
                        rate = Fraction(fraction * max(mine)) / 10**12
                        terms.append(self.budget_ticks(row, sum(of_masters), len(of_masters), rate))
        return max(terms)

    def budget_ticks(self, row: int, taken: Fraction, num_flows: int, rate: Fraction) -> int:
        """The first and the last period in part, at the highest rate (bytes per tick); those between in full."""
        period = int(self.program.resources.budget_period_ticks[row])
        given = Fraction(self.program.resources.budget_bytes[row]) + rate
        left = taken - (1 + num_flows) * rate / 100
        if given >= rate * period or left <= 0:
            return 0
        between = max(math.ceil(left / given) - 2, 0)
        return math.ceil(between * period + (left - between * given) / rate - Fraction(1, 10**6))


@MANY
@given(layered_programs())
def test_every_phase_and_job_has_the_bound_that_its_definition_gives(program: Program) -> None:
    for job in range(program.num_jobs):
        slow, quick = SlowBound(program, job), lower_bound(program, job)
        total = 0
        assert [part.phase for part in quick.phases] == sorted({phase(program, task) for task in slow.tasks} - {NONE})
        for part in quick.phases:
            counted = slow.counted(part.phase)
            assert part.ticks == max(slow.chain(counted), slow.resource_ticks(counted))
            total += part.ticks
        everything = set(slow.tasks)
        assert quick.ticks == max(slow.chain(everything), slow.resource_ticks(everything), total)


def fragment(*tasks: tuple[str | None, list[int], bool]) -> Fragment:
    """Tasks by phase and predecessors: a computation of 1 ns, or a milestone."""
    builder = FragmentBuilder()
    for name, after, is_milestone in tasks:
        operation = NONE if name is None else PHASES.index(name)
        if is_milestone:
            builder.milestone(after, operation=operation)
        else:
            builder.compute(0, 1.0, after, operation=operation, cause=NONE)
    return builder.build()


def decode_ticks(*parts: Fragment) -> int:
    """The bound of decode in a job of some fragments, one after the other, on a unit of 1 GHz with many slots."""
    tasks, job_offsets, _ = join([[Part(part) for part in parts]], [0])
    index = np.arange(len(PHASES))
    program = Program(
        resources=Resources(unit_names=("npu",), unit_clock_hz=np.array([1e9]), unit_slots=np.array([99])),
        tasks=tasks, job_offsets=job_offsets, streams=Streams(), labels=Labels(PHASES, PHASES, index, index),
    )  # fmt: skip
    return next(part.ticks for part in lower_bound(program, 0).phases if part.phase == PHASES.index("decode"))


def test_what_one_instance_has_waited_for_another_has_not() -> None:
    # Nobody in vision waits for the first a, so decode must. The last task waits for b, but for that of the second
    # instance, which waits for the second a only.
    begin, free = fragment((None, [], True)), fragment((None, [], True))
    a_and_b = fragment(("vision", [], False), ("decode", [0], False))
    last = fragment(("vision", [-2], False), ("decode", [0, -1], False))
    assert decode_ticks(begin, a_and_b, free, a_and_b, last) == 0


def test_a_task_is_awaited_by_what_follows_its_own_instance() -> None:
    # The second a is awaited by z, which the decode task waits for; the first a is not, so decode waits too little.
    free, a = fragment((None, [], True)), fragment(("vision", [-1], False))
    z, decode = fragment(("vision", [-1], False)), fragment(("decode", [-1], False))
    assert decode_ticks(free, a, free, a, z, decode) == 0
    assert decode_ticks(free, a, z, decode) == 1_000


def test_a_milestone_that_nobody_waits_for_counts_where_it_waits_for_another_phase() -> None:
    # After `other`, which has no phase, the milestone is something to wait for, and decode does not; after v it is not.
    other, v, decode = fragment((None, [], False)), fragment(("vision", [-1], False)), fragment(("decode", [-1], False))
    idle, step = fragment(("vision", [-1], True), (None, [-1], True)), fragment((None, [-1], True))
    assert decode_ticks(other, idle, step, v, idle, step, decode) == 0
    assert decode_ticks(other, step, v, idle, step, decode) == 1_000


@pytest.mark.parametrize("count", [1, WORD_BITS, WORD_BITS + 1, 3 * WORD_BITS])
def test_a_phase_waits_for_every_loose_end_however_many_there_are(count: int) -> None:
    # The joiner of all tiles (1 ns each) works 5 ns; another task of its phase, which misses the last tile, 7 ns.
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=count + 2)
    builder.phase("prefill")
    tiles = [builder.compute("npu", work_cycles=1) for _ in range(count)]
    builder.phase("decode")
    builder.compute("npu", work_cycles=7, after=tiles[:-1])
    builder.compute("npu", work_cycles=5, after=tiles)
    assert [part.ticks for part in lower_bound(builder.build(), 0).phases] == [1_000, 5_000]


def test_with_too_many_loose_ends_a_phase_has_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound_module, "MAX_LOOSE_ENDS", 2)
    for count, ticks in ((2, 5_000), (3, 0)):
        builder = ProgramBuilder()
        builder.unit("npu", clock_hz=1e9, slots=9)
        builder.phase("prefill")
        tiles = [builder.compute("npu", work_cycles=1) for _ in range(count)]
        builder.phase("decode")
        builder.compute("npu", work_cycles=5, after=tiles)
        assert lower_bound(builder.build(), 0).phases[1].ticks == ticks


@given(ANY_PROGRAM)
def test_a_template_task_takes_as_long_as_each_of_its_tasks(program: Program) -> None:
    folded = program.folded_tasks
    assert sole_ticks_of_templates(program)[folded.template_task].tolist() == sole_duration_ticks(program)


# the critical path --------------------------------------------------------------------------------------------------


def slow_path(timeline: Timeline, release: int) -> list[tuple[int, int]]:
    """The tasks on the critical path and where their parts begin, from the last to the first."""
    program, row_of = timeline.program, {}
    for row in range(len(timeline)):
        if timeline.release[row] == release:
            row_of[int(timeline.task[row])] = row
    start = {task: int(timeline.start_tick[row]) for task, row in row_of.items()}
    ready = {task: int(timeline.ready_tick[row]) for task, row in row_of.items()}
    end = {task: int(timeline.end_tick[row]) for task, row in row_of.items()}
    task = max(task for task in end if end[task] == max(end.values()))
    path = []
    while True:
        unit = program.tasks.unit[task]
        left = [other for other in end if unit == program.tasks.unit[other] != NONE
                and start[other] < end[other] == start[task] and start[task] > ready[task]]  # fmt: skip
        path.append((row_of[task], start[task] if left else ready[task]))
        before = left or [other for other in predecessors(program, task) if end[other] == ready[task]]
        if not before:
            return path
        task = max(before)


@MANY
@given(ANY_PROGRAM)
def test_the_critical_path_goes_from_each_task_to_the_one_that_held_it_up(program: Program) -> None:
    timeline = ReferenceEngine().run(program)
    for release in completed(timeline):
        path, expected = critical_path(timeline, release), slow_path(timeline, release)[::-1]
        assert list(zip(path.rows.tolist(), path.begin_tick.tolist(), strict=True)) == expected


def slow_causes(timeline: Timeline, release: int, start_tick: int, stop_tick: int) -> Counter[str]:
    """The ticks of each cause between two ticks."""
    program, ticks = timeline.program, Counter[str]()
    tasks, resources = program.tasks, program.resources

    def add(name: str, begin: int, end: int) -> None:
        ticks[name] += max(min(end, stop_tick) - max(begin, start_tick), 0)

    add("wait", int(program.streams.release_tick[release]), int(timeline.release_start_tick[release]))
    for row, begin in slow_path(timeline, release):
        task, start, end = int(timeline.task[row]), int(timeline.start_tick[row]), int(timeline.end_tick[row])
        alone, name = end, resources.unit_names[tasks.unit[task]] if tasks.unit[task] != NONE else ""
        if tasks.route[task] != NONE:
            sole = sole_transfer_ticks(program, task, start) if len(program.changes) else None
            alone = min(end, start + (sole_duration_ticks(program)[task] if sole is None else sole))
            route = int(tasks.route[task])
            ways = zip(resources.route(route), resources.usage(route), strict=True)
            _, narrowest = min((resources.channel_bytes_per_s[each] / usage, each) for each, usage in ways)
            name = resources.channel_names[narrowest]
        if tasks.cause[task] != NONE:
            name = program.labels.causes[tasks.cause[task]]
        add("queue", begin, start)
        add(name, start, alone)
        add("contention", alone, end)
    return +ticks


@MANY
@given(ANY_PROGRAM)
def test_every_phase_is_attributed_task_by_task(program: Program) -> None:
    timeline = ReferenceEngine().run(program)
    for release in completed(timeline):
        latency = release_latency(timeline, release)
        attribution = attribute(timeline, release)
        assert attribution == attribute(timeline, release, latency)
        assert attribution.cause_ticks == slow_causes(timeline, release, latency.release_tick, latency.end_tick)
        for part in latency.phases:
            expected = slow_causes(timeline, release, part.start_tick, part.end_tick)
            assert attribution.phase_cause_ticks[part.name] == expected
            assert sorted(expected.values(), reverse=True) == list(attribution.phase_cause_ticks[part.name].values())


# phases, units, channels, memories ----------------------------------------------------------------------------------


@MANY
@given(layered_programs())
def test_a_phase_ends_with_its_last_task_and_counts_each_of_its_bytes(program: Program) -> None:
    timeline = ReferenceEngine().run(program)
    for release in completed(timeline):
        latency, rows = release_latency(timeline, release), np.flatnonzero(timeline.release == release).tolist()
        ends, moved = defaultdict(list), Counter()
        for row in rows:
            task = int(timeline.task[row])
            ends[phase(program, task)].append(int(timeline.end_tick[row]))
            for channel in (
                program.resources.route(int(program.tasks.route[task])) if program.tasks.route[task] != NONE else ()
            ):
                moved[phase(program, task), channel] += int(program.tasks.size_bytes[task])
        border, last = int(timeline.release_start_tick[release]), int(timeline.release_end_tick[release])
        assert [part.phase for part in latency.phases] == sorted(ends.keys() - {NONE})
        for part in latency.phases:
            assert part.start_tick == border
            border = last if part is latency.phases[-1] else max(border, *ends[part.phase])
            assert part.end_tick == border
            assert part.channel_bytes == (moved[part.phase, 0], moved[part.phase, 1])
            assert part.flop == part.phase + 5


@MANY
@given(ANY_PROGRAM, CUT_OFF)
def test_units_and_channels_are_used_row_by_row(program: Program, until_tick: int | None) -> None:
    timeline = ReferenceEngine().run(program, until_tick=until_tick)
    resources, horizon = program.resources, timeline.horizon_tick
    for start, stop in ((0, horizon), (horizon // 3, horizon // 2)):
        busy, moved = Counter(), defaultdict(float)
        for row in range(len(timeline)):
            task = int(timeline.task[row])
            end = int(timeline.end_tick[row]) if timeline.end_tick[row] != NONE else horizon
            busy[int(program.tasks.unit[task])] += max(min(end, stop) - max(int(timeline.start_tick[row]), start), 0)
            if program.tasks.route[task] != NONE:
                moved[int(program.tasks.route[task])] += float(timeline.served_bytes[row])
        assert [use.busy_s for use in unit_use(timeline, start, stop)] == [
            busy[unit] / 10**12 for unit in range(len(resources.unit_names))
        ]
    for flow, route in enumerate(program.background.route.tolist()):
        moved[route] += float(timeline.background_bytes[flow])
    for channel, use in enumerate(channel_use(timeline)):
        crossing = [moved[route] for route in range(resources.num_routes) if channel in resources.route(route)]
        assert use.moved_bytes == pytest.approx(sum(crossing), rel=1e-12)


@MANY
@given(layered_programs(), CUT_OFF)
def test_memories_hold_what_each_release_holds(program: Program, until_tick: int | None) -> None:
    timeline = ReferenceEngine().run(program, until_tick=until_tick)
    table, horizon = program.occupancies, timeline.horizon_tick
    rows = {(int(timeline.task[row]), int(timeline.release[row])): row for row in range(len(timeline))}
    spaces = defaultdict(list)
    for index in range(len(table)):
        for release in range(len(timeline.release_status)):
            row, last = (rows.get((int(column[index]), release)) for column in (table.first_task, table.last_task))
            if row is not None:
                has_end = last is not None and timeline.end_tick[last] != NONE
                end = int(timeline.end_tick[last]) if has_end else horizon
                if timeline.start_tick[row] < end:
                    spaces[int(table.memory[index])].append(
                        (int(table.size_bytes[index]), int(timeline.start_tick[row]), end)
                    )
    uses = memory_use(timeline)
    for memory, steps in enumerate(occupancy_steps(timeline)):
        ticks = sorted({0} | {tick for _, *span in spaces[memory] for tick in span})
        held = [sum(size for size, start, end in spaces[memory] if start <= tick < end) for tick in ticks]
        assert (steps.tick.tolist(), steps.value.tolist()) == (ticks, held)
        assert uses[memory].peak_bytes == max((held[n] for n in range(len(ticks)) if ticks[n] < horizon), default=0)
        area = sum(size * (end - start) for size, start, end in spaces[memory])
        assert uses[memory].average_bytes == pytest.approx(area / horizon if horizon else 0.0, rel=1e-12)
