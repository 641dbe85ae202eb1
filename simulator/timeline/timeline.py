"""Timeline: columns of what happened, in a canonical order that no engine can influence.

Two Timelines of one Program are equal exactly if every array is equal: `equals` is the differential test.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields

import numpy as np

from simulator.program.program import Floats, Ints, Program


class ReleaseStatus(enum.IntEnum):
    """What became of a release."""

    PENDING = 0
    """Its time had not come when the run stopped."""
    WAITING = 1
    """It waits behind other jobs of its stream."""
    IN_FLIGHT = 2
    """It runs."""
    COMPLETED = 3
    """All its tasks ended."""
    DROPPED = 4
    """The drop policy of its stream refused it."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """The record of one run.

    Task rows hold every task that started, sorted by (release, task), so the rows of a release are a slice; a task that
    the end of the run cut off has end NONE. Release rows are those of `program.streams`. Rate rows
    are step functions per channel: from `rate_tick` on, the channel grants and is asked for so much; rows are sorted
    by (tick, channel) and there is at most one row per tick and channel, the last round's.
    """

    program: Program
    engine: str
    horizon_tick: int
    """The tick at which the run ended: the last completion, or `until_tick`."""

    task: Ints
    release: Ints
    """Release that the task ran for: an index into `program.streams.release_tick`."""
    ready_tick: Ints
    start_tick: Ints
    end_tick: Ints
    served_bytes: Floats
    """Bytes that a transfer had moved by the end of the run; 0 for other kinds."""

    release_status: Ints
    """A `ReleaseStatus` per release."""
    release_start_tick: Ints
    """When the job was admitted (its tasks could start), NONE if it was not."""
    release_end_tick: Ints
    """When its last task ended, NONE if it has not."""

    rate_tick: Ints
    rate_channel: Ints
    rate_granted_bytes_per_s: Floats
    """Sum over the flows on the channel of rate times usage: what they take of its capacity."""
    rate_asked_bytes_per_s: Floats
    """The same sum of what each would get alone: min(its cap, the capacities on its route / its usage of them)."""

    background_bytes: Floats
    """Bytes that each background flow moved by the end of the run."""

    def __len__(self) -> int:
        return len(self.task)

    def rows_of(self, release: int) -> slice:
        """The rows of one release, in the order of its tasks."""
        first, stop = np.searchsorted(self.release, (release, release + 1)).tolist()
        return slice(first, stop)

    def equals(self, other: Timeline) -> bool:
        """Whether the two runs did the same at the same ticks (rates and bytes to 1 part in 10^9)."""
        for column in fields(self):
            mine, theirs = getattr(self, column.name), getattr(other, column.name)
            if not isinstance(mine, np.ndarray):
                continue
            if mine.shape != theirs.shape:
                return False
            if mine.dtype == np.float64:
                if not np.allclose(mine, theirs, rtol=1e-9, atol=1e-6):
                    return False
            elif not np.array_equal(mine, theirs):
                return False
        return self.horizon_tick == other.horizon_tick
