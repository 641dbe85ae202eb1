"""How full each memory is over time, from the Occupancies of a Program and the times at which its tasks ran."""

from __future__ import annotations

import numpy as np

from simulator.program.capacity import Steps
from simulator.program.program import NONE, Ints
from simulator.timeline.row_index import RowIndex
from simulator.timeline.timeline import Timeline


def occupancy_steps(timeline: Timeline) -> tuple[Steps, ...]:
    """The bytes held in every memory over time (shape: memories).

    Every release that runs both tasks of an occupancy holds its space once, from the start of the first to the end
    of the last, or to the end of the run if that is not reached. An occupancy that lacks one of the two is held once
    for all releases: from the first of the starts to the end of the run, or from 0 to the last of the ends. Space that
    is freed and taken at the same tick is never held twice.
    """
    memory, size_bytes, start, end = _holdings(timeline)
    steps = []
    for index in range(len(timeline.program.resources.memory_names)):
        mine = (memory == index) & (start < end)
        tick, where = np.unique(np.concatenate([start[mine], end[mine]]), return_inverse=True)
        change = np.zeros(len(tick), dtype=np.int64)
        np.add.at(change, where, np.concatenate([size_bytes[mine], -size_bytes[mine]]))
        steps.append(Steps.of(tick, np.cumsum(change).astype(np.float64), initial=0.0))
    return tuple(steps)


def _holdings(timeline: Timeline) -> tuple[Ints, Ints, Ints, Ints]:
    """One row per space that is held: memory, bytes, start and end tick."""
    table, index = timeline.program.occupancies, RowIndex.of(timeline)
    has_first, has_last = table.first_task != NONE, table.last_task != NONE
    task_end = np.where(timeline.end_tick == NONE, timeline.horizon_tick, timeline.end_tick)

    in_jobs = np.flatnonzero(has_first & has_last)
    position, row = index.of_tasks(table.first_task[in_jobs])
    per_release = in_jobs[position]
    last = index.find(table.last_task[per_release], timeline.release[row])

    lasting = np.flatnonzero(~(has_first & has_last))
    lasting_start = np.where(has_first[lasting], timeline.horizon_tick, 0)
    position, first_row = index.of_tasks(table.first_task[lasting])
    np.minimum.at(lasting_start, position, timeline.start_tick[first_row])
    position, last_row = index.of_tasks(table.last_task[lasting])
    lasting_end = np.full(len(lasting), timeline.horizon_tick)
    lasting_end[position] = 0
    np.maximum.at(lasting_end, position, task_end[last_row])

    held = np.concatenate([per_release, lasting])
    start = np.concatenate([timeline.start_tick[row], lasting_start])
    end = np.concatenate([np.where(last == NONE, timeline.horizon_tick, task_end[last]), lasting_end])
    return table.memory[held], table.size_bytes[held], start, end
