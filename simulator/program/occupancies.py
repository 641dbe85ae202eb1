"""Occupancies: which task takes and which frees space in a memory. Read by metrics, never by an engine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulator.program.columns import Ints


def _nothing() -> Ints:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Occupancies:
    """Space held in memories: `size_bytes` of `memory` from the start of one task to the end of another.

    Both tasks are in the same job. `first_task` NONE means from the beginning of the run and `last_task` NONE to
    its end (resident weights). Engines do not read this; `metrics` turns it into occupancy over time.
    """

    memory: Ints = field(default_factory=_nothing)
    size_bytes: Ints = field(default_factory=_nothing)
    first_task: Ints = field(default_factory=_nothing)
    last_task: Ints = field(default_factory=_nothing)
    label: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.memory)
