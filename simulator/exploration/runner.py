"""Simulates batches of points: in this process or in several, each point once, with or without a store.

Which points are worth it is decided by the search that asks. The answer does not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from simulator.errors import SpecError
from simulator.exploration.outcome import Outcome, Point, PointEvaluator, simulate_points
from simulator.exploration.store import Origin, ResultStore, canonical
from simulator.exploration.workers import Workers


class Runner:
    """Answers points: from what it knows, else by simulating them.

    Used as a context, it stops its processes and closes its store at the end.
    """

    def __init__(
        self,
        evaluator: PointEvaluator,
        *,
        jobs: int = 1,
        folder: Path | str | None = None,
        resume: bool = False,
        belongs_to: Mapping[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Opens the store; processes start with the first batch.

        Args:
            evaluator: simulates a point; it is pickled once for each worker process.
            jobs: processes; with 1 this process simulates, and a point that kills it is not survived.
            folder: of the store; None keeps results in memory only.
            resume: whether the folder may hold results already.
            belongs_to: what the reader of the folder is told, such as the name of the study; plain JSON.
            progress: called after every simulated point with how many there are.
        Raises:
            SpecError: when `jobs` is not a positive whole number.
            OutputError: when the folder cannot be used.
        """
        if jobs < 1:
            raise SpecError(f"jobs: must be a whole number of at least 1, got {jobs}")
        self._evaluator = evaluator
        self._origin = Origin.of(evaluator)
        self._workers = Workers(evaluator, jobs) if jobs > 1 else None
        self._progress = progress
        self._store = None
        if folder is not None:
            self._store = ResultStore(folder, origin=self._origin, belongs_to=belongs_to or {}, resume=resume)
        self._known = dict(self._store.known) if self._store else {}
        self._num_stored = len(self._known)
        self._stored_and_unused = set(self._known)
        self.num_simulated = 0
        """Points simulated by this runner, with those that are infeasible or broke off."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the store found in its folder, one sentence each, for the user."""
        return tuple(self._store.remarks) if self._store else ()

    @property
    def num_reused(self) -> int:
        """Points answered from what the folder held when it was opened."""
        return self._num_stored - len(self._stored_and_unused)

    def simulate(self, points: Sequence[Point]) -> list[Outcome]:
        """The outcomes of points, in their order.

        A point that is known or occurs twice is not simulated again. Each result is stored as it arrives. Whatever
        ends this call early, such as Ctrl-C, stops the processes first and then goes on to the caller.

        Raises:
            SpecError: when the input of the search is wrong.
            OutputError: when a result cannot be stored.
            EngineError: when a simulation breaks a law.
        """
        keys = [self._origin.key(point) for point in points]
        new = {key: canonical(point) for key, point in zip(keys, points, strict=True) if key not in self._known}
        self._stored_and_unused.difference_update(keys)
        new_keys, new_points = list(new), list(new.values())
        try:
            for number, outcome in self._outcomes(new_points):
                if self._store:
                    self._store.append(new_points[number], outcome)
                self._known[new_keys[number]] = outcome
                self.num_simulated += 1
                if self._progress:
                    self._progress(self.num_simulated)
        except BaseException:
            self._stop_workers()
            raise
        return [self._known[key] for key in keys]

    def close(self) -> None:
        """Stops the processes and closes the store.

        Raises:
            OutputError: when the last results do not reach the disk.
        """
        self._stop_workers()
        if self._store:
            self._store.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _outcomes(self, points: Sequence[Point]) -> Iterator[tuple[int, Outcome]]:
        if self._workers:
            return self._workers.outcomes(points)
        return enumerate(simulate_points(self._evaluator, points))

    def _stop_workers(self) -> None:
        if self._workers:
            self._workers.stop()
