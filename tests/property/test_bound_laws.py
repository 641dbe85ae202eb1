"""On random Programs no run beats its lower bound, obeys every law, and explains each of its ticks.

The Programs of the strategies have no phases, so every task gets one at random: phases that overlap, nest and skip are
harder on the bound than those of a model. Occupancies are random too.
"""

from dataclasses import replace

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.bound import lower_bound
from simulator.engine.reference import ReferenceEngine
from simulator.metrics.attribution import attribute, critical_path
from simulator.metrics.latency import release_latency
from simulator.metrics.streams import stream_outcomes
from simulator.program import NONE, Labels, Occupancies, Program
from simulator.timeline import ReleaseStatus, Timeline
from simulator.timeline.invariants import check_all
from tests.property.program_strategies import Plan, plans, programs

PHASES = ("vision", "prefill", "decode")


@st.composite
def labelled_programs(draw: st.DrawFn) -> Program:
    """Random Programs with a random phase, or none, for every task and random space held by random pairs of tasks.

    All speeds are scaled by one factor, so that durations are often no whole ticks and rounding counts.
    """
    program = draw(programs())
    scale = draw(st.sampled_from([1.0, 1 / 3, 0.7, 333.3, 1e5 / 7]))
    num_tasks = len(program.tasks)
    operation = draw(st.lists(st.integers(NONE, len(PHASES) - 1), min_size=num_tasks, max_size=num_tasks))
    pairs = [
        draw(st.tuples(st.sampled_from([NONE, *tasks]), st.sampled_from([NONE, *tasks])))
        for tasks in map(program.job_tasks, range(program.num_jobs))
    ]
    occupancies = Occupancies(
        memory=np.zeros(len(pairs), dtype=np.int64),
        size_bytes=np.ones(len(pairs), dtype=np.int64),
        first_task=np.array([first for first, _ in pairs]),
        last_task=np.array([last for _, last in pairs]),
        label=("",) * len(pairs),
    )
    index = np.arange(len(PHASES))
    return replace(
        program,
        # More than all releases of all jobs could ever hold.
        resources=replace(
            program.resources,
            memory_names=("sram",),
            memory_bytes=np.array([1000]),
            unit_clock_hz=program.resources.unit_clock_hz * scale,
            channel_bytes_per_s=program.resources.channel_bytes_per_s * scale,
        ),
        changes=replace(program.changes, value=program.changes.value * scale),
        tasks=replace(program.tasks, operation=np.array(operation)),
        labels=Labels(PHASES, PHASES, operation_phase=index, operation_flop=index, phase_tokens=index),
        occupancies=occupancies,
    )


def completed(timeline: Timeline) -> list[int]:
    return np.flatnonzero(timeline.release_status == ReleaseStatus.COMPLETED).tolist()


@given(labelled_programs())
def test_no_release_and_no_phase_is_faster_than_its_bound(program):
    timeline = ReferenceEngine().run(program)
    for release in completed(timeline):
        bound = lower_bound(program, int(program.streams.release_job[release]))
        latency = release_latency(timeline, release, bound)
        assert bound.ticks <= latency.latency_ticks - latency.wait_ticks
        assert sum(phase.ticks for phase in bound.phases) <= bound.ticks
        assert [phase.phase for phase in bound.phases] == [phase.phase for phase in latency.phases]
        for phase in latency.phases:
            assert phase.lower_bound_ticks <= phase.latency_ticks


@given(programs(has_changes=False))
def test_no_bound_is_below_the_longest_chain(program):
    # The numbers of the strategies are whole nanoseconds over powers of two and 3e9, so rounding up is a plain ceiling.
    tasks, resources = program.tasks, program.resources
    share = {
        (int(master), int(channel)): float(maximum)
        for master, channel, maximum, is_soft in zip(
            resources.share_master, resources.share_channel, resources.share_maximum, resources.share_is_soft,
            strict=True,
        )
        if not is_soft
    }  # fmt: skip

    def ticks(task: int) -> float:
        if tasks.unit[task] != NONE:
            return float(tasks.work_cycles[task]) * 1e12 / resources.unit_clock_hz[tasks.unit[task]]
        if tasks.route[task] == NONE:
            return 0.0
        limits = [
            resources.channel_bytes_per_s[channel] * share.get((int(tasks.master[task]), channel), 1.0) / usage
            for channel, usage in zip(
                resources.route(int(tasks.route[task])), resources.usage(int(tasks.route[task])), strict=True
            )
        ]
        return float(tasks.size_bytes[task]) * 1e12 / min(*limits, tasks.rate_cap_bytes_per_s[task])

    for job in range(program.num_jobs):
        graph = nx.DiGraph()
        for task in program.job_tasks(job):
            start, stop = tasks.predecessor_offsets[task : task + 2]
            graph.add_edge("start", task, weight=0)
            graph.add_edge(task, ("end", task), weight=np.ceil(ticks(task) - 1e-3))
            graph.add_edges_from(((("end", int(before)), task) for before in tasks.predecessors[start:stop]), weight=0)
        assert lower_bound(program, job).ticks >= nx.dag_longest_path_length(graph)


@given(plans(has_background=False, has_changes=False, has_budgets=False))
def test_a_job_whose_tasks_are_one_chain_takes_exactly_its_bound_when_it_is_alone(plan):
    chain = [
        (kind, {**arguments, "after": [index - 1] if index else []})
        for index, (kind, arguments) in enumerate(plan.jobs[0])
    ]
    alone = Plan(plan.units, plan.channels, plan.masters, plan.shares, jobs=[chain],
                 streams=[("once", {"ticks": [0], "jobs": [0]})])  # fmt: skip
    program = alone.build()
    assert ReferenceEngine().run(program).horizon_tick == lower_bound(program, 0).ticks


@given(labelled_programs(), st.none() | st.integers(0, 4_000_000))
def test_every_run_obeys_every_law(program, until_tick):
    check_all(ReferenceEngine().run(program, until_tick=until_tick))


@given(labelled_programs())
def test_every_tick_of_a_latency_has_a_cause(program):
    timeline = ReferenceEngine().run(program)
    for release in completed(timeline):
        latency, attribution = release_latency(timeline, release), attribute(timeline, release)
        assert sum(attribution.cause_ticks.values()) == latency.latency_ticks == attribution.latency_ticks
        assert min(attribution.cause_ticks.values(), default=1) > 0
        if latency.phases:
            assert latency.wait_ticks + sum(phase.latency_ticks for phase in latency.phases) == latency.latency_ticks
        for phase in latency.phases:
            assert sum(attribution.phase_cause_ticks[phase.name].values()) == phase.latency_ticks


@given(labelled_programs())
def test_a_critical_path_runs_without_gap_from_admission_to_completion(program):
    timeline = ReferenceEngine().run(program)
    for release in completed(timeline):
        path = critical_path(timeline, release)
        begin, end = path.begin_tick.tolist(), timeline.end_tick[path.rows].tolist()
        assert begin == [timeline.release_start_tick[release], *end[:-1]]
        # a part begins when its task was ready, or when it took over its unit from the task before
        takes_over = begin != timeline.ready_tick[path.rows]
        assert np.all(path.begin_tick[takes_over] == timeline.start_tick[path.rows][takes_over])
        assert end[-1] == timeline.release_end_tick[release]


@given(programs(), st.none() | st.integers(0, 4_000_000))
def test_every_release_of_a_stream_becomes_one_thing(program, until_tick):
    outcomes = stream_outcomes(ReferenceEngine().run(program, until_tick=until_tick))
    for outcome, planned in zip(outcomes, np.diff(program.streams.release_offsets), strict=True):
        assert outcome.released == outcome.completed + outcome.dropped + outcome.in_flight + outcome.waiting
        assert outcome.released <= planned
