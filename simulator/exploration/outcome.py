"""What the simulation of one point gives, and the one place where points are simulated.

How many points run at once is the business of `exploration.workers`, what is kept of them that of `exploration.store`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from simulator.errors import EngineError, Infeasible

Point = Mapping[str, Any]
"""One value per dimension: numbers, words or None."""

POINTS_TOGETHER: Final = 64
"""Points that an evaluator simulates together; what an interruption loses at most."""


class PointEvaluator(Protocol):
    """The part of an evaluator that a search needs to simulate points.

    It must be possible to pickle it: it is sent to worker processes.
    """

    def simulate(self, point: Point) -> dict[str, float]:
        """The values of a point by name, in SI units; raises Infeasible when the point cannot run."""

    def fingerprint(self) -> dict[str, Any]:
        """All that a value depends on besides the point and the code, as plain JSON."""


@runtime_checkable
class ManyEvaluator(PointEvaluator, Protocol):
    """An evaluator that simulates many points together in less time than one by one."""

    def simulate_many(self, points: Sequence[Point]) -> list[dict[str, float] | Infeasible]:
        """What `simulate` returns or raises for each point, in their order."""


@dataclass(frozen=True)
class Outcome:
    """The values of a point, or the reason why there are none."""

    values: Mapping[str, float] | None
    """By name, in SI units; None if the point could not be simulated."""
    reason: str = ""
    """Why there are no values, in one line."""
    has_failed: bool = False
    """Whether the simulation broke off, which says nothing about the point; else the point is infeasible."""


def simulate_point(evaluator: PointEvaluator, point: Point) -> Outcome:
    """Simulates one point.

    Raises:
        SpecError: when the input of the search is wrong. A point that does not fit is an outcome, not an error.
        EngineError: when a value is not a finite number.
    """
    try:
        return _outcome(point, evaluator.simulate(point))
    except Infeasible as error:
        return Outcome(None, error.message)
    except MemoryError:
        return Outcome(None, "its simulation needs more memory than there is", has_failed=True)


def simulate_points(evaluator: PointEvaluator, points: Sequence[Point]) -> Iterator[Outcome]:
    """Simulates points, some together if the evaluator can, and yields each outcome as soon as it is known.

    Raises:
        SpecError: as `simulate_point`, and `EngineError` too.
    """
    if not isinstance(evaluator, ManyEvaluator):
        yield from (simulate_point(evaluator, point) for point in points)
        return
    for start in range(0, len(points), POINTS_TOGETHER):
        yield from _simulate_together(evaluator, points[start : start + POINTS_TOGETHER])


def _simulate_together(evaluator: ManyEvaluator, points: Sequence[Point]) -> list[Outcome]:
    try:
        many = evaluator.simulate_many(points)
    except MemoryError:  # one of them alone may fit
        return [simulate_point(evaluator, point) for point in points]
    return [
        Outcome(None, values.message) if isinstance(values, Infeasible) else _outcome(point, values)
        for point, values in zip(points, many, strict=True)
    ]


def _outcome(point: Point, values: Mapping[str, float]) -> Outcome:
    numbers = {name: float(value) for name, value in values.items()}
    if not all(map(math.isfinite, numbers.values())):
        raise EngineError(f"the simulation of {dict(point)} gave {numbers}, which are not all finite")
    return Outcome(numbers)
