"""Laws that every run of every Program obeys, on random Programs."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine.reference import ReferenceEngine
from simulator.program import NONE, Program
from simulator.timeline import ReleaseStatus, Timeline
from tests.property.program_strategies import NS, Plan, plans, programs

FAIR = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNTIL = st.one_of(st.none(), st.integers(0, 20).map(lambda n: n * 200 * NS))
SECOND = 10**12


def run(program: Program, until_tick: int | None = None) -> Timeline:
    return ReferenceEngine().run(program, until_tick=until_tick)


def rows(timeline: Timeline) -> list[tuple[int, int, int, int, int]]:
    """(task, release, ready, start, end) of every task row."""
    columns = (timeline.task, timeline.release, timeline.ready_tick, timeline.start_tick, timeline.end_tick)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def predecessors(program: Program, task: int) -> list[int]:
    first, last = program.tasks.predecessor_offsets[task], program.tasks.predecessor_offsets[task + 1]
    return program.tasks.predecessors[first:last].tolist()


def capacity_steps(program: Program, channel: int) -> list[tuple[int, float]]:
    """(from tick, bytes/s), from tick 0 on; of two changes at a tick the later row."""
    steps = {0: float(program.resources.channel_bytes_per_s[channel])}
    changes = program.changes
    for tick, changed, value in zip(
        changes.tick.tolist(), changes.channel.tolist(), changes.value.tolist(), strict=True
    ):
        if changed == channel:
            steps[tick] = value
    return sorted(steps.items())


def integral(steps: list[tuple[int, float]], start: int, end: int) -> float:
    """The area under a step function between two ticks, in units * s."""
    edges = [*(tick for tick, _ in steps), max(end, steps[-1][0])]
    parts = zip(pairwise(edges), steps, strict=True)
    return sum(value * max(0, min(right, end) - max(left, start)) / SECOND for (left, right), (_, value) in parts)


def granted_steps(timeline: Timeline, channel: int) -> list[tuple[int, float]]:
    here = timeline.rate_channel == channel
    granted = zip(timeline.rate_tick[here].tolist(), timeline.rate_granted_bytes_per_s[here].tolist(), strict=True)
    return [(0, 0.0), *granted]


def usages(program: Program, route: int) -> dict[int, float]:
    first, last = program.resources.route_offsets[route], program.resources.route_offsets[route + 1]
    columns = (program.resources.route_channels[first:last], program.resources.route_usage[first:last])
    return dict(zip(*(column.tolist() for column in columns), strict=True))


def flows(timeline: Timeline) -> list[tuple[int, dict[int, float], int, int, float]]:
    """(master, usage of each channel of the route, start, end, bytes moved) of every transfer and background flow."""
    program, horizon = timeline.program, timeline.horizon_tick
    tasks, background = program.tasks, program.background
    found = [
        (
            int(tasks.master[task]),
            usages(program, tasks.route[task]),
            start,
            horizon if end == NONE else end,
            moved,
        )
        for (task, _, _, start, end), moved in zip(rows(timeline), timeline.served_bytes.tolist(), strict=True)
        if tasks.route[task] != NONE
    ]
    for index, moved in enumerate(timeline.background_bytes.tolist()):
        stop = int(background.stop_tick[index])
        route = usages(program, background.route[index])
        end = horizon if stop == NONE else min(stop, horizon)
        found.append((int(background.master[index]), route, int(background.start_tick[index]), end, moved))
    return found


# conservation and capacity -----------------------------------------------------------------------------------------


@FAIR
@given(programs(), UNTIL)
def test_bytes_served_are_bytes_granted_on_every_channel(program: Program, until_tick: int | None) -> None:
    timeline = run(program, until_tick)
    found = flows(timeline)
    for channel in range(len(program.resources.channel_names)):
        served = sum(moved * route.get(channel, 0.0) for _, route, _, _, moved in found)
        granted = integral(granted_steps(timeline, channel), 0, timeline.horizon_tick)
        # Ends are rounded up to the tick: at most a tick at 8 GB/s too much for each flow, 0.008 B.
        assert granted == pytest.approx(served, rel=1e-9, abs=0.01 * (len(found) + 1))


@FAIR
@given(programs())
def test_a_transfer_that_ended_moved_all_its_bytes(program: Program) -> None:
    timeline = run(program)
    assert np.array_equal(timeline.served_bytes, program.tasks.size_bytes[timeline.task])


@FAIR
@given(programs())
def test_no_channel_grants_more_than_it_has_or_is_asked_for(program: Program) -> None:
    timeline = run(program)
    for channel in range(len(program.resources.channel_names)):
        capacity = capacity_steps(program, channel)
        here = timeline.rate_channel == channel
        for tick, granted, asked in zip(
            timeline.rate_tick[here].tolist(),
            timeline.rate_granted_bytes_per_s[here].tolist(),
            timeline.rate_asked_bytes_per_s[here].tolist(),
            strict=True,
        ):
            present = [value for since, value in capacity if since <= tick][-1]
            assert 0 <= granted <= min(present, asked) * (1 + 1e-9)


@FAIR
@given(programs(), UNTIL)
def test_there_is_one_row_of_rates_per_tick_and_channel_and_only_if_something_changed(
    program: Program, until_tick: int | None
) -> None:
    timeline = run(program, until_tick)
    keys = list(zip(timeline.rate_tick.tolist(), timeline.rate_channel.tolist(), strict=True))
    assert keys == sorted(set(keys))
    last = [(0.0, 0.0)] * len(program.resources.channel_names)
    values = zip(timeline.rate_granted_bytes_per_s.tolist(), timeline.rate_asked_bytes_per_s.tolist(), strict=True)
    for (_, channel), value in zip(keys, values, strict=True):
        assert value != last[channel]
        last[channel] = value


@FAIR
@given(programs())
def test_the_flows_of_a_master_keep_to_its_maximum(program: Program) -> None:
    timeline = run(program)
    found = flows(timeline)
    shares = program.resources
    for master, channel, maximum, is_soft in zip(
        shares.share_master.tolist(), shares.share_channel.tolist(), shares.share_maximum.tolist(),
        shares.share_is_soft.tolist(), strict=True
    ):  # fmt: skip
        mine = [flow for flow in found if flow[0] == master and channel in flow[1] and not is_soft]
        capacity = capacity_steps(program, channel)
        for _, route, start, end, moved in mine:
            assert moved * route[channel] <= maximum * integral(capacity, start, end) * (1 + 1e-9) + 0.01
        total = sum(moved * route[channel] for _, route, _, _, moved in mine)
        assert total <= maximum * integral(capacity, 0, timeline.horizon_tick) * (1 + 1e-9) + 0.01 * (len(mine) + 1)


@FAIR
@given(programs(), UNTIL)
def test_the_flows_of_a_master_keep_to_its_budget_in_every_period(program: Program, until_tick: int | None) -> None:
    # A master alone on a channel: what the channel grants is what the master takes.
    timeline = run(program, until_tick)
    found, r = flows(timeline), program.resources
    for master, channel, budget, period in zip(
        r.budget_master.tolist(), r.budget_channel.tolist(), r.budget_bytes.tolist(), r.budget_period_ticks.tolist(),
        strict=True,
    ):  # fmt: skip
        here = [flow for flow in found if channel in flow[1]]
        most = max(value for _, value in capacity_steps(program, channel)) / SECOND
        for begin in range(0, timeline.horizon_tick, period):
            if all(flow[0] == master for flow in here):
                taken = integral(granted_steps(timeline, channel), begin, min(begin + period, timeline.horizon_tick))
                assert taken <= budget * (1 + 1e-9) + most
            # Flows that began and ended in the period, whoever else was there.
            within = [flow for flow in here if flow[0] == master and begin <= flow[2] and flow[3] <= begin + period]
            moved = sum(moved * route[channel] for _, route, _, _, moved in within)
            assert moved <= budget * (1 + 1e-9) + most * (1 + len(within))


@FAIR
@given(programs(), UNTIL)
def test_a_unit_never_serves_more_tasks_than_it_has_slots_nor_idles_while_one_waits(
    program: Program, until_tick: int | None
) -> None:
    timeline = run(program, until_tick)
    horizon = timeline.horizon_tick
    for unit, slots in enumerate(program.resources.unit_slots.tolist()):
        mine = [row for row in rows(timeline) if program.tasks.unit[row[0]] == unit]
        for instant in {start for *_, start, _ in mine}:
            running = sum(start <= instant < (horizon if end == NONE else end) for *_, start, end in mine)
            waiting = sum(ready <= instant < start for _, _, ready, start, _ in mine)
            assert running <= slots
            # A slot may be free at an instant only if tasks without duration passed through it at that very tick.
            passed = sum(start == end == instant for *_, start, end in mine)
            assert not waiting or running == slots or passed


# causality ---------------------------------------------------------------------------------------------------------


@FAIR
@given(programs(), UNTIL)
def test_nothing_happens_before_its_causes(program: Program, until_tick: int | None) -> None:
    timeline = run(program, until_tick)
    found = {(task, release): (ready, start, end) for task, release, ready, start, end in rows(timeline)}
    for (task, release), (ready, start, end) in found.items():
        admitted = int(timeline.release_start_tick[release])
        assert program.streams.release_tick[release] <= admitted <= ready <= start
        assert end == NONE or start <= end <= timeline.horizon_tick
        before = [found[predecessor, release][2] for predecessor in predecessors(program, task)]
        assert NONE not in before
        assert ready == max(before, default=admitted)
        assert program.tasks.unit[task] != NONE or start == ready
    for release in np.flatnonzero(timeline.release_status == ReleaseStatus.COMPLETED).tolist():
        job = program.job_tasks(int(program.streams.release_job[release]))
        assert timeline.release_end_tick[release] == max(found[task, release][2] for task in job)


@FAIR
@given(programs(), UNTIL)
def test_every_release_is_completed_dropped_waiting_in_flight_or_pending(
    program: Program, until_tick: int | None
) -> None:
    timeline = run(program, until_tick)
    streams, status = program.streams, timeline.release_status
    if until_tick is None:
        assert set(status.tolist()) <= {ReleaseStatus.COMPLETED, ReleaseStatus.DROPPED}
        assert timeline.horizon_tick == max(timeline.release_end_tick.tolist(), default=0) or not len(timeline)
    else:
        assert np.array_equal(status == ReleaseStatus.PENDING, streams.release_tick >= until_tick)
    has_started = timeline.release_start_tick != NONE
    assert np.array_equal(has_started, np.isin(status, [ReleaseStatus.IN_FLIGHT, ReleaseStatus.COMPLETED]))
    assert np.array_equal(timeline.release_end_tick != NONE, status == ReleaseStatus.COMPLETED)
    for stream, limit in enumerate(streams.in_flight.tolist()):
        mine = np.flatnonzero(streams.release_stream == stream)
        started = [
            (int(timeline.release_start_tick[i]), int(timeline.release_end_tick[i])) for i in mine if has_started[i]
        ]
        for instant, _ in started:
            in_flight = sum(start <= instant and (end == NONE or instant < end) for start, end in started)
            assert limit == NONE or in_flight <= limit
    never_ran = np.isin(status, [ReleaseStatus.DROPPED, ReleaseStatus.WAITING, ReleaseStatus.PENDING])
    assert not np.any(never_ran[timeline.release])


@FAIR
@given(programs())
def test_no_job_is_faster_than_its_longest_chain_alone_on_the_best_resources(program: Program) -> None:
    timeline = run(program)
    tasks, resources, changes = program.tasks, program.resources, program.changes
    best_clock = [
        max([hz, *changes.value[changes.unit == unit].tolist()])
        for unit, hz in enumerate(resources.unit_clock_hz.tolist())
    ]
    best_rate = [max(value for _, value in capacity_steps(program, c)) for c in range(len(resources.channel_names))]

    def shortest(task: int) -> int:
        if tasks.unit[task] != NONE:
            return ceil(Fraction(tasks.work_cycles[task]) * SECOND / Fraction(best_clock[tasks.unit[task]]))
        if tasks.route[task] == NONE:
            return 0
        route = usages(program, tasks.route[task])
        rate = min(tasks.rate_cap_bytes_per_s[task], *(best_rate[c] / usage for c, usage in route.items()))
        return int(Fraction(int(tasks.size_bytes[task])) * SECOND / Fraction(rate))

    chain: dict[int, int] = {}
    for task in range(len(tasks)):
        chain[task] = shortest(task) + max((chain[before] for before in predecessors(program, task)), default=0)
    for release in np.flatnonzero(timeline.release_status == ReleaseStatus.COMPLETED).tolist():
        job = program.job_tasks(int(program.streams.release_job[release]))
        lasted = timeline.release_end_tick[release] - timeline.release_start_tick[release]
        assert lasted >= max(chain[task] for task in job) - len(job) * (1 + len(changes))  # the grace of each rounding


# relations between runs --------------------------------------------------------------------------------------------


@FAIR
@given(plans())
def test_a_resource_that_nobody_uses_changes_nothing(plan: Plan) -> None:
    other = replace(
        plan,
        units=[("spare unit", {"clock_hz": 1e9}), *plan.units],
        channels=[("spare channel", {"bytes_per_s": 1e9}), *plan.channels],
        masters=[("spare master", {"weight": 100.0}), *plan.masters],
        shares=[("spare master", "channel0", {"minimum": 0.25}), *plan.shares],
        changes=sorted([(0, {"unit": "spare unit", "value": 0.0}), (NS, {"channel": "spare channel", "value": 0.0}),
                        *plan.changes], key=lambda change: change[0]),
    )  # fmt: skip
    first, second = run(plan.build()), run(other.build())
    assert rows(first) == rows(second)
    assert np.array_equal(first.rate_tick, second.rate_tick)
    assert np.array_equal(first.rate_channel + 1, second.rate_channel)
    assert np.array_equal(first.rate_granted_bytes_per_s, second.rate_granted_bytes_per_s)
    assert np.array_equal(first.background_bytes, second.background_bytes)


@FAIR
@given(plans(), st.integers(0, 10**6))
def test_jobs_without_work_change_nothing_for_others(plan: Plan, tick: int) -> None:
    idle = [("milestone", {"after": []}), ("milestone", {"after": [0]})]
    ticks = sorted([tick, *(release for _, arguments in plan.streams for release in arguments["ticks"])])
    stream = ("idle", {"ticks": ticks, "jobs": [len(plan.jobs)] * len(ticks)})
    other = replace(plan, jobs=[*plan.jobs, idle], streams=[*plan.streams, stream])
    num_tasks = sum(len(job) for job in plan.jobs)
    assert rows(run(plan.build())) == [row for row in rows(run(other.build())) if row[0] < num_tasks]


@FAIR
@given(plans(has_budgets=False), st.sampled_from([1, 999, 10**9, 10**15]))  # periods of budgets begin at tick 0
def test_shifting_every_cause_shifts_every_effect(plan: Plan, delta: int) -> None:
    def later(arguments: dict[str, object]) -> dict[str, object]:
        stop = arguments["stop_tick"]
        return {
            **arguments,
            "start_tick": arguments["start_tick"] + delta,
            "stop_tick": NONE if stop == NONE else stop + delta,
        }

    other = replace(
        plan,
        streams=[
            (name, {**arguments, "ticks": [t + delta for t in arguments["ticks"]]}) for name, arguments in plan.streams
        ],
        background=[(name, later(arguments)) for name, arguments in plan.background],
        changes=[(tick + delta, arguments) for tick, arguments in plan.changes],
    )
    first, second = run(plan.build()), run(other.build())
    shifted = [
        (task, release, ready + delta, start + delta, end + delta) for task, release, ready, start, end in rows(first)
    ]
    assert rows(second) == shifted
    assert np.array_equal(first.rate_tick + delta, second.rate_tick)
    assert np.array_equal(first.release_status, second.release_status)


@FAIR
@given(plans(), plans())
def test_two_systems_without_a_common_resource_run_as_if_alone(left: Plan, right: Plan) -> None:
    def renamed(arguments: dict[str, object]) -> dict[str, object]:
        found = {key: f"other {arguments[key]}" for key in ("unit", "channel", "master") if key in arguments}
        if "channels" in arguments:
            found["channels"] = [f"other {name}" for name in arguments["channels"]]
        return {**arguments, **found}

    def names(listed: list[tuple[str, dict[str, object]]]) -> list[tuple[str, dict[str, object]]]:
        return [(f"other {name}", arguments) for name, arguments in listed]

    both = Plan(
        units=left.units + names(right.units),
        channels=left.channels + names(right.channels),
        masters=left.masters + names(right.masters),
        shares=left.shares
        + [(f"other {master}", f"other {channel}", shares) for master, channel, shares in right.shares],
        budgets=left.budgets
        + [(f"other {master}", f"other {channel}", budgets) for master, channel, budgets in right.budgets],
        jobs=left.jobs + [[(kind, renamed(arguments)) for kind, arguments in job] for job in right.jobs],
        streams=left.streams
        + [
            (f"other {name}", {**arguments, "jobs": [len(left.jobs) + job for job in arguments["jobs"]]})
            for name, arguments in right.streams
        ],
        background=left.background + [(f"other {name}", renamed(arguments)) for name, arguments in right.background],
        changes=sorted(
            left.changes + [(tick, renamed(arguments)) for tick, arguments in right.changes],
            key=lambda change: change[0],
        ),
    )
    num_tasks = sum(len(job) for job in left.jobs)
    num_releases = sum(len(arguments["ticks"]) for _, arguments in left.streams)
    moved = [(task + num_tasks, release + num_releases, *times) for task, release, *times in rows(run(right.build()))]
    assert sorted(rows(run(both.build()))) == sorted(rows(run(left.build())) + moved)


@FAIR
@given(programs(), st.integers(0, 20).map(lambda n: n * 200 * NS))
def test_a_run_cut_off_at_a_tick_is_the_beginning_of_the_whole_run(program: Program, until_tick: int) -> None:
    whole, cut = run(program), run(program, until_tick)
    begun = [(*row[:4], row[4] if row[4] < until_tick else NONE) for row in rows(whole) if row[3] < until_tick]
    assert sorted(rows(cut)) == sorted(begun)
    if len(program.streams.release_tick) == 0:
        return  # the whole run of a Program without releases is empty, background flows or not
    before = whole.rate_tick < until_tick
    until_the_end = cut.rate_tick <= whole.horizon_tick
    assert np.array_equal(whole.rate_tick[before], cut.rate_tick[until_the_end])
    assert np.array_equal(whole.rate_granted_bytes_per_s[before], cut.rate_granted_bytes_per_s[until_the_end])
