"""The rows of a Timeline job by job: one row per task of every release that began, so that a row can be computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from simulator.program.columns import offsets_of
from simulator.program.program import NONE, Ints, Program
from simulator.timeline.timeline import Timeline


class FoldedJobs(NamedTuple):
    """The tasks of all jobs, folded: what a compiled loop over job rows reads."""

    instance_offsets: Ints
    """CSR: job to instances."""
    starts: Ints
    """The first task of each instance, and at the end the number of tasks."""
    template_starts: Ints
    """The first template task of each instance."""


def folded_jobs(program: Program) -> FoldedJobs:
    """The jobs of a Program."""
    folded = program.folded_tasks
    template_starts = folded.templates.fragment_offsets[folded.instances.fragment]
    return FoldedJobs(folded.instances.job_offsets, folded.starts, template_starts)


@dataclass(frozen=True, eq=False)
class JobRows:
    """Job rows. Task t of the job of `release[k]` has the job row `first_row[k]` + t less the first task of the job."""

    release: Ints
    """The releases of which at least one task started."""
    job: Ints
    first_row: Ints
    """The first job row of each release, and at the end their number."""
    row: Ints | None
    """The job row of each row of the Timeline; None if they are the same, as after a run that nothing cut off."""

    @classmethod
    def of(cls, timeline: Timeline) -> JobRows:
        """The job rows of a Timeline."""
        program = timeline.program
        counts = np.diff(np.searchsorted(timeline.release, np.arange(len(timeline.release_status) + 1)))
        release = np.flatnonzero(counts)
        job = program.streams.release_job[release]
        first_row = offsets_of(np.diff(program.job_offsets)[job])
        if first_row[-1] == len(timeline):
            return cls(release, job, first_row, None)
        to_job_row = np.repeat(first_row[:-1] - program.job_offsets[job], counts[release])
        return cls(release, job, first_row, timeline.task + to_job_row)

    def column(self, values: Any, missing: int = NONE) -> Any:
        """A column of the Timeline by job row; `missing` where a task has not started."""
        if self.row is None:
            return values
        column = np.full(self.first_row[-1], missing, dtype=values.dtype)
        column[self.row] = values
        return column
