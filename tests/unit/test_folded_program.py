"""A folded Program says the same as the flat one, keeps every fragment once, and is refused for the same reasons."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from simulator import SpecError
from simulator.program import (
    NONE,
    FoldedOccupancies,
    FoldedTasks,
    Instances,
    Occupancies,
    Program,
    ProgramBuilder,
    Resources,
    Streams,
    Tasks,
    Templates,
)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def templates(**changed: Any) -> Templates:
    """Fragment 0: a milestone. Fragment 1: a load after the task before; a computation after it and two before."""
    columns: dict[str, Any] = {
        "unit": ints(NONE, NONE, 0), "work_cycles": np.array([0.0, 0.0, 7.0]), "route": ints(NONE, 0, NONE),
        "size_bytes": ints(0, 10, 0), "master": ints(NONE, 0, NONE),
        "rate_cap_bytes_per_s": np.array([np.inf, 5.0, np.inf]), "priority": ints(0, 0, 3),
        "operation": ints(NONE, NONE, NONE), "cause": ints(NONE, NONE, NONE),
        "predecessor_offsets": ints(0, 0, 1, 3), "predecessors": ints(-1, 0, -1), "fragment_offsets": ints(0, 1, 3),
        "held_offsets": ints(0, 0, 1), "memory": ints(0), "held_bytes": ints(4), "first_task": ints(0),
        "last_task": ints(1),
    }  # fmt: skip
    return Templates(**{**columns, **changed})


def instances(**changed: Any) -> Instances:
    """Two jobs: a milestone and two layers; a milestone and one layer."""
    columns = {"fragment": ints(0, 1, 1, 0, 1), "layer": ints(NONE, 0, 1, NONE, 0),
               "step": ints(NONE, NONE, NONE, 5, 6), "job_offsets": ints(0, 3, 5)}  # fmt: skip
    return Instances(**{**columns, **changed})


def program(tasks: FoldedTasks | None = None, **changed: Any) -> Program:
    tasks = FoldedTasks(templates(), instances()) if tasks is None else tasks
    return Program(**{
        "resources": Resources(
            unit_names=("npu",), unit_clock_hz=np.array([1e9]), unit_slots=ints(1), channel_names=("dram",),
            channel_bytes_per_s=np.array([1e9]), master_names=("npu",), master_weight=np.array([1.0]),
            route_offsets=ints(0, 1), route_channels=ints(0), memory_names=("sram",), memory_bytes=ints(100),
        ),
        "tasks": tasks, "job_offsets": None if "job_offsets" in changed else tasks.job_offsets,
        "streams": Streams(("s",), ints(0, 2), ints(0, 0), ints(0, 1), ints(2), ints(NONE), ints(1), ints(NONE)),
        "occupancies": FoldedOccupancies(tasks), **changed,
    })  # fmt: skip


FLAT = {
    # Tasks 0 to 4 are job 0, tasks 5 to 7 job 1; every layer waits for the task before it, whatever that is.
    "unit": [NONE, NONE, 0, NONE, 0, NONE, NONE, 0],
    "work_cycles": [0, 0, 7, 0, 7, 0, 0, 7],
    "route": [NONE, 0, NONE, 0, NONE, NONE, 0, NONE],
    "size_bytes": [0, 10, 0, 10, 0, 0, 10, 0],
    "master": [NONE, 0, NONE, 0, NONE, NONE, 0, NONE],
    "rate_cap_bytes_per_s": [np.inf, 5, np.inf, 5, np.inf, np.inf, 5, np.inf],
    "priority": [0, 0, 3, 0, 3, 0, 0, 3],
    "operation": [NONE] * 8,
    "cause": [NONE] * 8,
    "predecessor_offsets": [0, 0, 1, 3, 4, 6, 6, 7, 9],
    "predecessors": [0, 1, 0, 2, 3, 2, 5, 6, 5],
    "layer": [NONE, 0, 0, 1, 1, NONE, 0, 0],
    "step": [NONE, NONE, NONE, NONE, NONE, 5, 6, 6],
}


def test_every_column_expands_to_that_of_the_flat_tasks() -> None:
    tasks = program().tasks
    assert len(tasks) == 8
    assert set(FLAT) == {column.name for column in fields(Tasks)}
    for name, expected in FLAT.items():
        assert getattr(tasks, name).tolist() == expected, name
        assert getattr(tasks, name).dtype == getattr(templates(), name, ints()).dtype, name
    assert program().job_offsets.tolist() == [0, 5, 8]


def test_successors_are_the_edges_turned_round() -> None:
    offsets, successors = program().tasks.successors
    assert offsets.tolist() == [0, 2, 3, 5, 6, 6, 8, 9, 9]
    assert successors.tolist() == [1, 2, 2, 3, 4, 4, 6, 7, 7]


def test_space_is_held_by_the_tasks_of_every_instance() -> None:
    table = program().occupancies
    assert isinstance(table, FoldedOccupancies)
    assert len(table) == 3
    columns = [getattr(table, name).tolist() for name in ("memory", "size_bytes", "first_task", "last_task")]
    assert columns == [[0, 0, 0], [4, 4, 4], [1, 3, 6], [2, 4, 7]]


def test_flat_tasks_fold_to_one_fragment_per_job() -> None:
    flat = Tasks(**{name: getattr(program().tasks, name) for name in FLAT})
    folded = program(tasks=None).folded_tasks
    again = replace(program(), tasks=flat, occupancies=Occupancies()).folded_tasks
    assert folded.templates.num_fragments == 2
    assert again.templates.num_fragments == 2
    assert again.templates.lengths.tolist() == [5, 3]
    for name in FLAT:
        if name not in ("layer", "step"):
            assert getattr(again, name).tolist() == getattr(flat, name).tolist(), name


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"predecessors": ints(-2, 0, -1)}, "an edge leaves its job"),  # two before, but the first has one task
        ({"predecessors": ints(-1, 2, -1)}, "an edge leaves its job"),  # beyond its own end
        ({"predecessors": ints(-1, 1, -1)}, "the tasks form a cycle through task 2"),
        ({"predecessor_offsets": ints(0, 1, 1, 3)}, "an edge leaves its job"),  # the first of a job has none before
        ({"predecessor_offsets": ints(0, 0, 2, 1)}, "predecessor offsets are not a CSR index"),
        ({"fragment_offsets": ints(0, 0, 3)}, "a fragment needs at least one task"),
        ({"unit": ints(NONE, 0, 0)}, "a task is both a compute task and a transfer"),
        ({"size_bytes": ints(0, -1, 0)}, "sizes must not be negative"),
        ({"cause": ints(0, NONE, NONE)}, "unknown cause"),
        ({"last_task": ints(2)}, "space is held by a task outside its fragment"),
        ({"memory": ints(1)}, "an occupancy names an unknown memory"),
        ({"priority": ints(0, 0)}, "task column priority has the wrong length"),
    ],
)
def test_templates_that_no_engine_could_run_are_refused(columns: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=f"program: {complaint}"):
        program(FoldedTasks(templates(**columns), instances()))


@pytest.mark.parametrize(
    ("columns", "job_offsets", "complaint"),
    [
        ({"fragment": ints(0, 1, 2, 0, 1)}, [0, 5, 8], "an instance names an unknown fragment"),
        ({"fragment": ints(1, 1, 1, 0, 1)}, [0, 6, 9], "an edge leaves its job"),  # a layer with nothing before it
        ({"layer": ints(NONE)}, [0, 5, 8], "instance columns differ in length"),
        ({"job_offsets": ints(0, 3, 4)}, [0, 5, 6], "job offsets are not a CSR index"),
        ({"job_offsets": ints(0, 0, 5)}, [0, 0, 8], "every job needs at least one task"),
    ],
)
def test_instances_that_no_engine_could_run_are_refused(
    columns: dict[str, Any], job_offsets: list[int], complaint: str
) -> None:
    tasks = FoldedTasks(templates(), instances(**columns))
    with pytest.raises(SpecError, match=f"program: {complaint}"):
        program(tasks, job_offsets=ints(*job_offsets))


def test_the_jobs_of_a_program_are_those_of_its_instances() -> None:
    with pytest.raises(SpecError, match="the jobs are not those of the instances"):
        program(job_offsets=ints(0, 3, 8))


def test_every_number_of_templates_and_instances_counts_in_the_fingerprint() -> None:
    assert program().fingerprint == program().fingerprint
    others = [FoldedTasks(templates(size_bytes=ints(0, 11, 0)), instances()),
              FoldedTasks(templates(held_bytes=ints(5)), instances()),
              FoldedTasks(templates(), instances(layer=ints(NONE, 0, 2, NONE, 0)))]  # fmt: skip
    assert len({program().fingerprint, *(program(other).fingerprint for other in others)}) == 4


def test_a_program_of_many_repetitions_expands_nothing_by_itself() -> None:
    # Checks and fingerprint look at two fragments and 1000 instances, never at 1999 tasks.
    nothing = np.full(1000, NONE, dtype=np.int64)
    fragment = np.array([0] + [1] * 999, dtype=np.int64)
    tasks = FoldedTasks(templates(), Instances(fragment, nothing, nothing, ints(0, 1000)))
    once = Streams(("s",), ints(0, 1), ints(0), ints(0), ints(2), ints(NONE), ints(1), ints(NONE))
    built = program(tasks, streams=once)
    assert built.fingerprint
    assert not {name for name in FLAT if name in vars(tasks)}


def test_the_builder_makes_flat_tasks() -> None:
    builder = ProgramBuilder()
    builder.milestone()
    assert isinstance(builder.build().tasks, Tasks)
