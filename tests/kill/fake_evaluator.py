"""An evaluator whose values are known in closed form, that notes every call, and that ends processes where told."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import Infeasible, SpecError

ENDS: dict[str, Callable[[], None]] = {
    "this process": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "the parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "the parent, politely": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "this process, by Ctrl-C": lambda: os.kill(os.getpid(), signal.SIGINT),
    "all, by Ctrl-C": lambda: os.killpg(os.getpgrp(), signal.SIGINT),
}


def values_of(point: Mapping[str, Any]) -> dict[str, float]:
    """Values that no short decimal number is equal to."""
    number = point["number"]
    return {"prefill_s": (number + 1) / 3, "total_s": (number + 2) / 7, "memory_bytes": 1e9 * number}


@dataclass(frozen=True)
class FakeEvaluator:
    """Ends a process at some points, each time once, or always."""

    notes: Path
    """A folder: a line per call in `calls`, and what happened once."""
    ends: Mapping[int, str] | None = None
    """By number of the point, which process ends at its first simulation."""
    always_fatal: frozenset[int] = frozenset()
    """Points that end this process each time."""
    on_arrival: str | None = None
    """Which process is ended while a worker starts, when the evaluator arrives there."""
    chip: str = "paper"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.on_arrival:
            ENDS[self.on_arrival]()

    def simulate(self, point: Mapping[str, Any]) -> dict[str, float]:
        number = point["number"]
        with (self.notes / "calls").open("a") as calls:
            calls.write(f"{number}\n")
        if number in self.always_fatal:
            ENDS["this process"]()
        if self.ends and number in self.ends and self._is_first(number):
            ENDS[self.ends[number]]()
        word = point.get("word")
        if word == "infeasible":
            raise Infeasible("point 3 does not fit the DRAM", demand=9.0, bound=8.0, unit="B")
        if word == "wrong":
            raise SpecError("the chip has no fp4", hint="take fp8")
        if word == "bug":
            raise ZeroDivisionError("no such luck")
        if word == "infinite":
            return {"total_s": float("inf")}
        if word == "threads":
            return {"threads": float(os.environ.get("OMP_NUM_THREADS", "-1"))}
        if word == "too large":
            raise MemoryError
        return values_of(point)

    def fingerprint(self) -> dict[str, Any]:
        return {"chip": self.chip}

    def calls(self) -> list[int]:
        """The numbers of the points simulated so far."""
        path = self.notes / "calls"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def _is_first(self, number: int) -> bool:
        try:
            (self.notes / f"ended-at-{number}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class FakeManyEvaluator(FakeEvaluator):
    """Simulates points together: the same calls and values."""

    def simulate_many(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, float] | Infeasible]:
        with (self.notes / "together").open("a") as together:
            together.write(f"{len(points)}\n")
        return [self.simulate(point) for point in points]
