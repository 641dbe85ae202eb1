"""Finds the rows of a Timeline by task and release."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.program.columns import NONE, Ints, ranges
from simulator.timeline.timeline import Timeline


@dataclass(frozen=True, eq=False)
class RowIndex:
    """The rows of a Timeline in the order (release, task). If a task ran twice for a release, one row is found."""

    timeline: Timeline
    rows: Ints
    keys: Ints
    """Release times number of tasks plus task, ascending."""
    starts: Ints
    """The first position of each release, and at the end the number of rows (shape: releases + 1)."""

    @classmethod
    def of(cls, timeline: Timeline) -> RowIndex:
        """The index of a Timeline. Rows in another order, which only a broken Timeline has, are sorted."""
        num_tasks = len(timeline.program.tasks)
        keys = timeline.release * num_tasks + timeline.task
        rows = np.arange(len(keys))
        if np.any(keys[1:] < keys[:-1]):
            rows = np.argsort(keys, kind="stable")
            keys = keys[rows]
        return cls(timeline, rows, keys, np.searchsorted(keys, np.arange(len(timeline.release_status) + 1) * num_tasks))

    def find(self, task: Ints, release: Ints) -> Ints:
        """The row of each pair, NONE where the task has not started for the release."""
        if not len(self.keys):
            return np.full(len(task), NONE, dtype=np.int64)
        program = self.timeline.program
        key = release * len(program.tasks) + task
        # The place that a row has if all tasks of its job have started; search only where this is not so.
        first_task = program.job_offsets[program.streams.release_job[release]]
        position = np.clip(self.starts[release] + task - first_task, 0, len(self.keys) - 1)
        elsewhere = np.flatnonzero(self.keys[position] != key)
        position[elsewhere] = np.minimum(np.searchsorted(self.keys, key[elsewhere]), len(self.keys) - 1)
        return np.where(self.keys[position] == key, self.rows[position], NONE)

    def of_tasks(self, task: Ints) -> tuple[Ints, Ints]:
        """All rows of each task, none of NONE: for every row found, the position in `task` and the row."""
        program = self.timeline.program
        present = np.flatnonzero(np.diff(self.starts))
        job = program.streams.release_job[present]
        by_job = np.argsort(job, kind="stable")
        starts = np.searchsorted(job[by_job], np.arange(program.num_jobs + 1))
        job_of_task = np.searchsorted(program.job_offsets, task, side="right") - 1
        count = np.where(task == NONE, 0, np.diff(starts)[job_of_task])
        position = np.repeat(np.arange(len(task)), count)
        row = self.find(task[position], present[by_job[ranges(starts[job_of_task], count)]])
        return position[row != NONE], row[row != NONE]
