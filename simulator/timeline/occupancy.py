"""How full each memory is over time, from the Occupancies of a Program and the times at which its tasks ran."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from simulator.compiled import compiled_in_place
from simulator.program.capacity import Steps
from simulator.program.folded import FoldedOccupancies
from simulator.program.occupancies import Occupancies
from simulator.program.program import NONE, Floats, Ints, Program
from simulator.timeline.job_rows import JobRows
from simulator.timeline.timeline import Timeline


class _Spans(NamedTuple):
    """The spaces that every release of a job holds, each from the start of one task to the end of another.

    Jobs consist of groups of tasks, groups of the same kind hold the same spaces: instances and their fragments, or
    whole jobs.
    """

    job_groups: Ints
    """CSR: job to groups."""
    group_start: Ints
    """The first task of each group."""
    kind: Ints
    """Per group."""
    offsets: Ints
    """CSR: kind to the spaces below."""
    memory: Ints
    size_bytes: Ints
    first_task: Ints
    """Counted from the first of the group."""
    last_task: Ints


class _Holdings(NamedTuple):
    """Spaces held, memory by memory (shape: holdings)."""

    size_bytes: Ints
    start_tick: Ints
    end_tick: Ints


def occupancy_steps(timeline: Timeline) -> tuple[Steps, ...]:
    """The bytes held in every memory over time (shape: memories).

    Every release that runs both tasks of an occupancy holds its space once, from the start of the first to the end
    of the last, or to the end of the run if that is not reached. An occupancy that lacks one of the two is held once
    for all releases: from the first of the starts to the end of the run, or from 0 to the last of the ends. Space that
    is freed and taken at the same tick is never held twice.
    """
    has_memories = len(timeline.program.resources.memory_names) > 0
    return tuple(_steps(holdings) for holdings in _holdings(timeline)) if has_memories else ()


def _steps(held: _Holdings) -> Steps:
    """The sum of the bytes over time; one step for each tick at which any of it changes."""
    by_start, by_end = np.argsort(held.start_tick, kind="stable"), np.argsort(held.end_tick, kind="stable")
    tick, value = np.empty(2 * len(by_start) + 1, dtype=np.int64), np.empty(2 * len(by_start) + 1)
    tick[0] = value[0] = 0
    count = _sweep(held, by_start, by_end, tick, value)
    return Steps(tick[:count], value[:count])


@compiled_in_place
def _sweep(held: _Holdings, by_start: Ints, by_end: Ints, tick: Ints, value: Floats) -> int:
    """Writes the steps in order of time, the first at 0; returns their number."""
    count, held_bytes, started, ended = 1, 0, 0, 0
    while ended < len(by_end):
        now = held.end_tick[by_end[ended]]
        if started < len(by_start):
            now = min(now, held.start_tick[by_start[started]])
        while ended < len(by_end) and held.end_tick[by_end[ended]] == now:
            held_bytes -= held.size_bytes[by_end[ended]]
            ended += 1
        while started < len(by_start) and held.start_tick[by_start[started]] == now:
            held_bytes += held.size_bytes[by_start[started]]
            started += 1
        if now > 0:
            tick[count] = now
            count += 1
        value[count - 1] = held_bytes
    return count


def _holdings(timeline: Timeline) -> list[_Holdings]:
    """What is held, by memory."""
    program, rows = timeline.program, JobRows.of(timeline)
    tables, num_memories = _spans(program), len(program.resources.memory_names)
    start_tick, end_tick = rows.column(timeline.start_tick), rows.column(timeline.end_tick)
    lasting = _lasting(timeline, rows, start_tick, end_tick)
    most = np.array([len(spaces) for spaces in lasting], dtype=np.int64)
    for spans in tables:
        most += _most_held(spans, num_memories)[rows.job].sum(axis=0)
    stops = np.cumsum(most, dtype=np.int64)
    places = stops - most
    held = _Holdings(*(np.empty(np.sum(most, dtype=np.int64), dtype=np.int64) for _ in range(3)))
    for memory, spaces in enumerate(lasting):
        for space in spaces:
            for column, value in zip(held, space, strict=True):
                column[places[memory]] = value
            places[memory] += 1
    runs = (rows.job, rows.first_row, program.job_offsets, start_tick, end_tick, timeline.horizon_tick)
    for spans in tables:
        _write_holdings(spans, runs, places, held)
    return [
        _Holdings(*(column[start:stop] for column in held))
        for start, stop in zip((stops - most).tolist(), places.tolist(), strict=True)
    ]


def _most_held(spans: _Spans, num_memories: int) -> Ints:
    """How many spaces a release of each job holds in each memory (shape: jobs, memories)."""
    num_kinds = len(spans.offsets) - 1
    of_kinds = np.zeros((num_kinds, num_memories), dtype=np.int64)
    np.add.at(of_kinds, (np.repeat(np.arange(num_kinds), np.diff(spans.offsets)), spans.memory), 1)
    groups = [spans.kind[start:stop] for start, stop in itertools.pairwise(spans.job_groups.tolist())]
    return np.stack([np.bincount(kinds, minlength=num_kinds) @ of_kinds for kinds in groups])


@compiled_in_place
def _write_holdings(
    spans: _Spans, runs: tuple[Ints, Ints, Ints, Ints, Ints, int], places: Ints, held: _Holdings
) -> None:
    """Writes every space that is held for at least a tick to the place of its memory."""
    job, first_row, first_task, start_tick, end_tick, horizon_tick = runs
    for run in range(len(job)):
        for group in range(spans.job_groups[job[run]], spans.job_groups[job[run] + 1]):
            row = first_row[run] + spans.group_start[group] - first_task[job[run]]
            for span in range(spans.offsets[spans.kind[group]], spans.offsets[spans.kind[group] + 1]):
                start, end = start_tick[row + spans.first_task[span]], end_tick[row + spans.last_task[span]]
                end = horizon_tick if end == NONE else end
                if start != NONE and start < end:
                    place = places[spans.memory[span]]
                    places[spans.memory[span]] += 1
                    held.size_bytes[place] = spans.size_bytes[span]
                    held.start_tick[place] = start
                    held.end_tick[place] = end


def _spans(program: Program) -> list[_Spans]:
    """The spaces between two tasks: those of instances, and those of whole jobs."""
    table = program.occupancies
    if not isinstance(table, FoldedOccupancies):
        return [_spans_of_jobs(program, table)]
    templates, instances = table.tasks.templates, table.tasks.instances
    of_instances = _Spans(
        instances.job_offsets, table.tasks.starts[:-1], instances.fragment, templates.held_offsets,
        templates.memory, templates.held_bytes, templates.first_task, templates.last_task,
    )  # fmt: skip
    return [of_instances, _spans_of_jobs(program, table.others)] if len(table.others) else [of_instances]


def _spans_of_jobs(program: Program, table: Occupancies) -> _Spans:
    between = np.flatnonzero((table.first_task != NONE) & (table.last_task != NONE))
    job = np.searchsorted(program.job_offsets, table.first_task[between], side="right") - 1
    order = np.argsort(job, kind="stable")
    between, first_of_job = between[order], program.job_offsets[job[order]]
    jobs = np.arange(program.num_jobs + 1)
    return _Spans(
        jobs, program.job_offsets[:-1], jobs[:-1], np.searchsorted(job[order], jobs),
        table.memory[between], table.size_bytes[between],
        table.first_task[between] - first_of_job, table.last_task[between] - first_of_job,
    )  # fmt: skip


def _lasting(timeline: Timeline, rows: JobRows, start_tick: Ints, end_tick: Ints) -> list[list[tuple[int, int, int]]]:
    """What is held once for all releases, by memory: bytes, start and end tick."""
    program, table, horizon_tick = timeline.program, timeline.program.occupancies, timeline.horizon_tick
    held: list[list[tuple[int, int, int]]] = [[] for _ in program.resources.memory_names]
    if isinstance(table, FoldedOccupancies):
        table = table.others
    for index in np.flatnonzero((table.first_task == NONE) | (table.last_task == NONE)).tolist():
        starts = start_tick[_rows_of_task(program, rows, int(table.first_task[index]))]
        ends = end_tick[_rows_of_task(program, rows, int(table.last_task[index]))]
        start = int(np.min(starts[starts != NONE], initial=horizon_tick)) if table.first_task[index] != NONE else 0
        end = int(np.max(np.where(ends == NONE, horizon_tick, ends))) if len(ends) else horizon_tick
        if start < end:
            held[int(table.memory[index])].append((int(table.size_bytes[index]), start, end))
    return held


def _rows_of_task(program: Program, rows: JobRows, task: int) -> Ints:
    """The job rows of a task, none of NONE."""
    job = int(np.searchsorted(program.job_offsets, task, side="right")) - 1
    task_in_job = task - int(program.job_offsets[job])
    return np.array([first + task_in_job for first in rows.first_row[:-1][rows.job == job].tolist()], dtype=np.int64)
