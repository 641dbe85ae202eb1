"""A Program refuses what no engine could run, with a word on what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator import SpecError
from simulator.program import NONE, Program, ProgramBuilder, Streams, Tasks


def small() -> Program:
    """Task 0 loads ten bytes, task 1 computes for five cycles after it, task 2 is a milestone."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    load = builder.transfer(["dram"], size_bytes=10)
    work = builder.compute("npu", work_cycles=5, after=[load])
    builder.milestone(after=[work])
    return builder.build()


def with_tasks(**columns: Any) -> Callable[[Program], Program]:
    return lambda program: replace(
        program, tasks=replace(program.tasks, **{name: np.asarray(value) for name, value in columns.items()})
    )


def with_resources(**columns: Any) -> Callable[[Program], Program]:
    return lambda program: replace(
        program, resources=replace(program.resources, **{name: np.asarray(value) for name, value in columns.items()})
    )


def with_budget(master: int = 0, channel: int = 0, size: float = 1e6, period: int = 10**9) -> Callable[..., Program]:
    return with_resources(
        budget_master=[master], budget_channel=[channel], budget_bytes=[size], budget_period_ticks=[period]
    )


def with_streams(**columns: Any) -> Callable[[Program], Program]:
    return lambda program: replace(
        program, streams=replace(program.streams, **{name: np.asarray(value) for name, value in columns.items()})
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (with_tasks(predecessors=[2, 1], predecessor_offsets=[0, 1, 1, 2]), None),  # 0 waits for 2, 2 for 1: no cycle
        (with_tasks(predecessors=[1, 0], predecessor_offsets=[0, 1, 2, 2]), "the tasks form a cycle through task 0"),
        (with_tasks(predecessors=[0, 7]), "a task waits for an unknown task"),
        (with_tasks(unit=[NONE, 3, NONE]), "a task names an unknown unit"),
        (with_tasks(route=[4, NONE, NONE]), "a task names an unknown route"),
        (with_tasks(unit=[0, 0, NONE]), "a task is both a compute task and a transfer"),
        (with_tasks(size_bytes=[-1, 0, 0]), "sizes must not be negative"),
        (with_tasks(size_bytes=[10, 0, 5]), "a task that is no transfer has a size"),
        (with_tasks(work_cycles=[0.0, 5.0, 1.0]), "a task without a unit has work"),
        (with_tasks(work_cycles=[0.0, np.nan, 0.0]), "work must be finite and not negative"),
        (with_tasks(rate_cap_bytes_per_s=[0.0, np.inf, np.inf]), "rate caps must be above 0 B/s"),
        (with_streams(release_tick=[-1]), "releases must not be before time 0"),
        (with_streams(release_job=[1]), "a release names an unknown job"),
        (with_streams(in_flight=[0]), "in_flight must be at least 1"),
        (with_streams(deadline_ticks=[0]), "deadlines must be above 0"),
        (with_budget(), None),
        (with_budget(master=1), "a budget names an unknown master"),
        (with_budget(channel=NONE), "a budget names an unknown channel"),
        (with_budget(size=0.5), "budgets must be at least 1 B"),
        (with_budget(size=np.inf), "budgets must be at least 1 B"),
        (with_budget(period=0), "budget periods must be at least 1 tick"),
        (with_resources(budget_bytes=[1.0]), "budget columns differ in length"),
        (with_resources(route_usage=[0.0]), "the usage of a channel must be above 0"),
        (with_resources(route_usage=[1.0, 1.0]), "route columns differ in length"),
        (with_resources(share_is_soft=[True]), "share columns differ in length"),
    ],
)
def test_a_program_that_no_engine_could_run_is_refused(
    change: Callable[[Program], Program], complaint: str | None
) -> None:
    if complaint is None:
        assert len(change(small()).tasks) == 3
        return
    with pytest.raises(SpecError, match=f"program: {complaint}"):
        change(small())


def test_an_edge_may_not_leave_its_job() -> None:
    builder = ProgramBuilder()
    builder.job()
    first = builder.milestone()
    builder.job()
    builder.milestone(after=[first])
    with pytest.raises(SpecError, match="an edge leaves its job"):
        builder.build()


def test_minimum_shares_of_a_channel_sum_to_at_most_one() -> None:
    builder = ProgramBuilder()
    builder.channel("dram", bytes_per_s=1e9)
    for name in ("npu", "cpu"):
        builder.master(name)
        builder.share(name, "dram", minimum=0.6)
    builder.milestone()
    with pytest.raises(SpecError, match="the minimum shares of a channel sum to more than 1"):
        builder.build()


def test_successors_are_the_edges_turned_round() -> None:
    program = small()
    offsets, successors = program.tasks.successors
    assert offsets.tolist() == [0, 1, 2, 2]
    assert successors.tolist() == [1, 2]


def test_equal_programs_have_equal_fingerprints_and_a_changed_byte_another() -> None:
    assert small().fingerprint == small().fingerprint
    assert small().fingerprint != with_tasks(size_bytes=[11, 0, 0])(small()).fingerprint


def test_every_column_counts_in_the_fingerprint() -> None:
    """No column of tasks or streams can change without the fingerprint."""
    program = small()
    changed = {"priority": [1, 0, 0], "cause": [NONE] * 3, "layer": [5, NONE, NONE], "step": [5, NONE, NONE]}
    for name, value in changed.items():
        same = name == "cause"
        assert (with_tasks(**{name: value})(program).fingerprint == program.fingerprint) == same
    assert isinstance(program.tasks, Tasks)
    assert isinstance(program.streams, Streams)
