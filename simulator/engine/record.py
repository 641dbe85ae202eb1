"""The record that an engine writes while it runs, and its conversion into a Timeline in canonical order."""

from __future__ import annotations

from array import array

import numpy as np

from simulator.engine.state import Started
from simulator.program import NONE, Program
from simulator.program.program import Floats, Ints
from simulator.timeline import ReleaseStatus, Timeline


class Record:
    """Rows of tasks in the order in which they ended, and what became of every release."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._task, self._release = array("q"), array("q")
        self._ready_tick, self._start_tick, self._end_tick = array("q"), array("q"), array("q")
        self._served_bytes = array("d")
        num_releases = len(program.streams.release_tick)
        self.release_status = [int(ReleaseStatus.PENDING)] * num_releases
        self.release_start_tick = [NONE] * num_releases
        self.release_end_tick = [NONE] * num_releases

    def add_task(self, started: Started, end_tick: int, served_bytes: float) -> None:
        """Adds a task that ended, or with end NONE one that the end of the run cut off."""
        self._task.append(started.task)
        self._release.append(started.job.release)
        self._ready_tick.append(started.ready_tick)
        self._start_tick.append(started.start_tick)
        self._end_tick.append(end_tick)
        self._served_bytes.append(served_bytes)

    def timeline(
        self, engine: str, horizon_tick: int, rates: tuple[Ints, Ints, Floats, Floats], background_bytes: Floats
    ) -> Timeline:
        """The Timeline; `rates` are its four columns of rates."""
        columns = (self._task, self._release, self._ready_tick, self._start_tick, self._end_tick)
        task, release, ready_tick, start_tick, end_tick = (np.array(column, dtype=np.int64) for column in columns)
        order = np.lexsort((task, release))
        rate_tick, rate_channel, granted, asked = rates
        return Timeline(
            program=self._program,
            engine=engine,
            horizon_tick=horizon_tick,
            task=task[order],
            release=release[order],
            ready_tick=ready_tick[order],
            start_tick=start_tick[order],
            end_tick=end_tick[order],
            served_bytes=np.array(self._served_bytes, dtype=np.float64)[order],
            release_status=np.array(self.release_status, dtype=np.int64),
            release_start_tick=np.array(self.release_start_tick, dtype=np.int64),
            release_end_tick=np.array(self.release_end_tick, dtype=np.int64),
            rate_tick=rate_tick,
            rate_channel=rate_channel,
            rate_granted_bytes_per_s=granted,
            rate_asked_bytes_per_s=asked,
            background_bytes=background_bytes,
        )
