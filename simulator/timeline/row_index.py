"""Finds the rows of a Timeline by task and release."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.program.program import NONE, Ints
from simulator.timeline.timeline import Timeline


@dataclass(frozen=True, eq=False)
class RowIndex:
    """The rows of a Timeline sorted by (task, release). If a task ran twice for a release, one of its rows is found."""

    rows: Ints
    keys: Ints
    """Task times number of releases plus release, ascending."""
    num_releases: int

    @classmethod
    def of(cls, timeline: Timeline) -> RowIndex:
        """The index of a Timeline."""
        num_releases = len(timeline.release_status)
        keys = timeline.task * num_releases + timeline.release
        rows = np.argsort(keys, kind="stable")
        return cls(rows, keys[rows], num_releases)

    def find(self, task: Ints, release: Ints) -> Ints:
        """The row of each pair, NONE where the task has not started for the release."""
        key = task * self.num_releases + release
        position = np.searchsorted(self.keys, key)
        is_found = np.append(self.keys, NONE)[position] == key
        return np.where(is_found, np.append(self.rows, NONE)[position], NONE)

    def of_tasks(self, task: Ints) -> tuple[Ints, Ints]:
        """All rows of each task: for every row found, the position in `task` and the row."""
        start = np.searchsorted(self.keys, task * self.num_releases)
        count = np.searchsorted(self.keys, (task + 1) * self.num_releases) - start
        position = np.repeat(np.arange(len(task)), count)
        within = np.arange(len(position)) - np.repeat(np.cumsum(count) - count, count)
        return position, self.rows[np.repeat(start, count) + within]
