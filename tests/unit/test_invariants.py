"""Every law of a Timeline holds on a run written by hand, and is noticed when one number of that run is changed."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.errors import EngineError
from simulator.program import NONE, Program, ProgramBuilder
from simulator.timeline import ReleaseStatus, Timeline
from simulator.timeline.invariants import (
    check_all,
    check_budgets,
    check_capacity,
    check_causality,
    check_conservation,
    check_occupancy,
    check_units,
)


def program() -> Program:
    """Load 10 B, then two computes of 5 ns that share one slot; released at 0, 5 ns and 30 ns, one at a time."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    builder.memory("sram", size_bytes=20)
    load = builder.transfer(["dram"], size_bytes=10)
    first = builder.compute("npu", work_cycles=5, after=[load])
    builder.compute("npu", work_cycles=5, after=[load])
    builder.occupy("sram", 10, first_task=load, last_task=first)
    builder.stream_at("frames", [0, 5_000, 30_000], [0, 0, 0])
    return builder.build()


def run_by_hand() -> Timeline:
    """The run up to 22 ns: release 0 completes at 20 ns, release 1 waited and has moved 2 B, release 2 is to come."""
    return Timeline(
        program=program(),
        engine="hand",
        horizon_tick=22_000,
        task=np.array([0, 1, 2, 0]),
        release=np.array([0, 0, 0, 1]),
        ready_tick=np.array([0, 10_000, 10_000, 20_000]),
        start_tick=np.array([0, 10_000, 15_000, 20_000]),
        end_tick=np.array([10_000, 15_000, 20_000, NONE]),
        served_bytes=np.array([10.0, 0.0, 0.0, 2.0]),
        release_status=np.array([ReleaseStatus.COMPLETED, ReleaseStatus.IN_FLIGHT, ReleaseStatus.PENDING]),
        release_start_tick=np.array([0, 20_000, NONE]),
        release_end_tick=np.array([20_000, NONE, NONE]),
        rate_tick=np.array([0, 10_000, 20_000]),
        rate_channel=np.array([0, 0, 0]),
        rate_granted_bytes_per_s=np.array([1e9, 0.0, 1e9]),
        rate_asked_bytes_per_s=np.array([1e9, 0.0, 1e9]),
        background_bytes=np.array([]),
    )


def broken(column: str, place: int, value: float) -> Timeline:
    """The run by hand with one number changed."""
    timeline = run_by_hand()
    changed = getattr(timeline, column).copy()
    changed[place] = value
    return replace(timeline, **{column: changed})


def test_a_right_run_obeys_every_law():
    check_all(run_by_hand())


def test_a_run_in_which_nothing_happened_obeys_every_law():
    nothing = {name: getattr(run_by_hand(), name)[:0] for name in (
        "task", "release", "ready_tick", "start_tick", "end_tick", "served_bytes", "rate_tick", "rate_channel",
        "rate_granted_bytes_per_s", "rate_asked_bytes_per_s")}  # fmt: skip
    none = np.full(3, NONE)
    check_all(replace(run_by_hand(), **nothing, horizon_tick=0, release_status=np.zeros(3, dtype=np.int64),
                      release_start_tick=none, release_end_tick=none))  # fmt: skip


@pytest.mark.parametrize(
    ("column", "place", "value", "message"),
    [
        ("end_tick", 1, 9_000, "must not end before it starts: ready 10000, start 10000, end 9000"),
        ("end_tick", 2, 23_000, "must end by the horizon 22000"),
        ("start_tick", 1, 9_999, "must not start before it is ready"),
        ("ready_tick", 1, 9_999, "must be ready when its last predecessor ends"),
        ("ready_tick", 2, 10_001, "must be ready when its last predecessor ends"),
        ("end_tick", 0, 10_001, "must be ready when its last predecessor ends"),
        ("end_tick", 0, NONE, "must not start while a predecessor runs"),
        ("release", 1, 1, "must not start while a predecessor runs"),
        ("task", 3, 1, "must not start before its predecessors have"),
        ("release_start_tick", 0, NONE, "must not run for a release that was not admitted"),
        ("release_start_tick", 1, 19_999, "must be ready when its last predecessor ends or its job starts"),
        ("release_start_tick", 2, 29_999, "release 2 must not start before its time"),
    ],
)
def test_causality_notices_a_task_out_of_time(column, place, value, message):
    with pytest.raises(EngineError, match=message):
        check_causality(broken(column, place, value))


def test_causality_notices_a_release_whose_time_came_and_that_is_pending():
    with pytest.raises(EngineError, match="release 2 cannot be pending"):
        check_causality(replace(run_by_hand(), horizon_tick=30_001))


@pytest.mark.parametrize(
    ("column", "place", "value", "message"),
    [
        ("release_status", 0, ReleaseStatus.DROPPED, "release 0 must be admitted exactly if it completed or runs"),
        ("release_status", 0, ReleaseStatus.IN_FLIGHT, "release 0 must have an end exactly if it completed"),
        ("release_status", 2, 7, "3 releases have a status"),
        ("release_end_tick", 0, 19_999, "release 0 must end when its last task ends"),
        ("end_tick", 2, NONE, "release 0 completed, but not all tasks of its job have ended"),
        ("task", 2, 1, "task 1 of release 0 must not run twice"),
        ("task", 1, 2, "task 2 of release 0 must not run twice"),
        ("release", 2, 2, "release 0 completed, but not all"),
        ("release", 3, 2, "release 2 was never admitted"),
        ("served_bytes", 0, 9.0, "task 0 of release 0 ended, so it must have served all its bytes"),
        ("served_bytes", 3, 11.0, "task 0 of release 1 must serve between 0 and all of its bytes"),
        ("served_bytes", 3, -1.0, "must serve between 0 and all"),
        ("served_bytes", 1, 1.0, "task 1 of release 0 must serve between 0 and all"),
        ("served_bytes", 3, 3.0, "channel dram granted 12.0 B over time and 13.0 B were moved"),
        ("rate_granted_bytes_per_s", 1, 1e9, "channel dram granted 22.0 B"),
        ("rate_tick", 1, 9_000, "channel dram granted 11.0 B"),
    ],
)
def test_conservation_notices_what_is_lost_or_made(column, place, value, message):
    with pytest.raises(EngineError, match=message):
        check_conservation(broken(column, place, value))


def test_conservation_notices_a_release_that_runs_although_it_is_done():
    timeline = broken("release_status", 0, ReleaseStatus.IN_FLIGHT)
    with pytest.raises(EngineError, match="release 0 runs, but all tasks of its job have ended"):
        check_conservation(replace(timeline, release_end_tick=np.array([NONE, NONE, NONE])))


@pytest.mark.parametrize(
    ("size_bytes", "period_ticks", "message"),
    [
        (5.0, 5_000, None),  # 12 B in 22 ns: 25 B were allowed
        (12.0, 22_000, None),
        (4.0, 5_000, "task 0 of release 0 must not take more than 4"),  # 10 B in 2 periods, 8 B and 2 ticks allowed
        (11.0, 22_000, "master default of channel dram: took 12.0 B, its budget allows 11"),
    ],
)
def test_budgets_notice_who_takes_too_much(size_bytes, period_ticks, message):
    timeline = run_by_hand()
    resources = replace(
        timeline.program.resources, budget_master=np.array([0]), budget_channel=np.array([0]),
        budget_bytes=np.array([size_bytes]), budget_period_ticks=np.array([period_ticks]),
    )  # fmt: skip
    timeline = replace(timeline, program=replace(timeline.program, resources=resources))
    if message is None:
        check_budgets(timeline)
        return
    with pytest.raises(EngineError, match=message):
        check_budgets(timeline)


def test_conservation_counts_each_byte_as_often_as_its_route_uses_the_channel():
    # 12 B moved with usage 2 take 24 B, and 12 were granted.
    timeline = run_by_hand()
    resources = replace(timeline.program.resources, route_usage=np.array([2.0]))
    with pytest.raises(EngineError, match=r"channel dram granted 12\.0 B over time and 24\.0 B were moved"):
        check_conservation(replace(timeline, program=replace(timeline.program, resources=resources)))


def test_conservation_notices_a_task_of_another_job():
    with pytest.raises(EngineError, match="must belong to the job of its release"):
        check_conservation(broken("task", 3, 3))


def test_capacity_notices_a_grant_above_the_capacity():
    check_capacity(broken("rate_granted_bytes_per_s", 2, 1e9 * (1 + 1e-10)))
    with pytest.raises(EngineError, match=r"channel dram grants .* B/s at tick 20000 and has 1000000000\.0 B/s"):
        check_capacity(broken("rate_granted_bytes_per_s", 2, 1e9 * (1 + 1e-8)))


def test_capacity_follows_a_change_at_which_the_rates_did_not_change():
    halved = program()
    changes = replace(halved.changes, tick=np.array([21_000]), unit=np.array([NONE]), channel=np.array([0]),
                      value=np.array([0.5e9]))  # fmt: skip
    with pytest.raises(EngineError, match=r"at tick 21000 and has 500000000\.0 B/s"):
        check_capacity(replace(run_by_hand(), program=replace(halved, changes=changes)))


def test_units_notice_two_tasks_in_one_slot():
    # Task 2 would run from 14 to 20 ns and task 1 from 10 to 15 ns.
    with pytest.raises(EngineError, match="unit npu serves 2 tasks at tick 14000 and has 1 slots"):
        check_units(broken("start_tick", 2, 14_000))


def test_units_notice_work_after_the_horizon():
    # Work from 10 to 15 and from 15 to 24 ns is busy for 14 ns, and leaves only the first 10 of the 22 ns idle.
    with pytest.raises(EngineError, match="unit npu: busy 14000 and idle 10000 ticks are not 1 x 22000"):
        check_units(broken("end_tick", 2, 24_000))


def test_occupancy_notices_more_bytes_than_a_memory_has():
    # Release 0 holds its 10 B up to 15 ns, and release 1 from 20 ns on: never both.
    check_occupancy(run_by_hand())
    small = replace(program().resources, memory_bytes=np.array([9]))
    with pytest.raises(EngineError, match="memory sram holds 10 B at tick 0 and has 9 B"):
        check_occupancy(replace(run_by_hand(), program=replace(program(), resources=small)))
