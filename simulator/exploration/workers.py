"""Worker processes that simulate points: a few points at a time in each, over a pipe of its own.

So it is always known which points a worker was busy with when it ended, and only those are simulated again, now one by
one. A pool of `concurrent.futures` breaks as a whole there, and its workers outlive a killed parent; these see the end
of the pipe. A worker loads all it needs when it starts, which pays only where simulating takes longer than that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from simulator.errors import EngineError, RoadlineError, SpecError
from simulator.exploration.outcome import (
    POINTS_TOGETHER,
    ManyEvaluator,
    Outcome,
    Point,
    PointEvaluator,
    simulate_points,
)

_THREAD_VARIABLES: Final = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
_MOST_ENDS: Final = 2
"""A point with which so many workers have ended is given up."""
_MOST_FAILED_STARTS: Final = 3
"""So many workers that end one after the other before they can work are no accident."""


@dataclass(frozen=True)
class _Raised:
    """An error on its way from a worker: its parts, for not every exception can be pickled."""

    kind: type[RoadlineError]
    message: str
    hint: str | None
    trace: str

    def error(self) -> RoadlineError:
        """The error with the worker's traceback as a note; its message is whole already."""
        error = self.kind.__new__(self.kind)
        RoadlineError.__init__(error, self.message, hint=self.hint)
        error.add_note(self.trace)
        return error


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    can_work: bool = False
    """Whether it has imported all it needs."""
    numbers: tuple[int, ...] = ()
    """The points it is busy with, by their places in the batch."""


class Workers:
    """A fixed number of processes, started when first needed and replaced when they end."""

    def __init__(self, evaluator: PointEvaluator, num_workers: int) -> None:
        self._evaluator = evaluator
        self._num_workers = num_workers
        self._workers: list[_Worker] = []
        self._num_failed_starts = 0

    def outcomes(self, points: Sequence[Point]) -> Iterator[tuple[int, Outcome]]:
        """Simulates points; gives the place of each and its outcome as they arrive.

        A point with which two workers have ended gets an outcome that says so.

        Raises:
            SpecError: when the input of the search is wrong, or workers cannot start.
            EngineError: when a simulation raises anything else.
        """
        waiting = deque(self._together(len(points)))
        num_ends: Counter[int] = Counter()
        num_left = len(points)
        while num_left:
            self._start(min(self._num_workers, num_left) - len(self._workers))
            self._hand_out(points, waiting)
            for worker in self._with_news():
                numbers = worker.numbers
                outcomes = self._received(worker)
                if not numbers:
                    continue
                if outcomes is None and len(numbers) > 1:
                    waiting.extendleft((number,) for number in reversed(numbers))  # one of them is to blame
                    continue
                if outcomes is None:
                    num_ends[numbers[0]] += 1
                    if num_ends[numbers[0]] < _MOST_ENDS:
                        waiting.appendleft(numbers)
                        continue
                    outcomes = [Outcome(None, _last_words(worker), has_failed=True)]
                num_left -= len(numbers)
                yield from zip(numbers, outcomes, strict=True)

    def _together(self, num_points: int) -> list[tuple[int, ...]]:
        """The points in groups that workers simulate together, if the evaluator can do that."""
        size = 1
        if isinstance(self._evaluator, ManyEvaluator):
            size = max(1, min(POINTS_TOGETHER, -(-num_points // self._num_workers)))
        return [tuple(range(start, min(start + size, num_points))) for start in range(0, num_points, size)]

    def stop(self) -> None:
        """Ends all workers at once, whatever they are doing: they hold nothing that could be lost."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            _bury(worker)
        self._workers = []

    def _start(self, num_workers: int) -> None:
        if num_workers <= 0:
            return
        context = multiprocessing.get_context("spawn")
        with _surroundings_of_workers():
            for _ in range(num_workers):
                pipe, far_end = context.Pipe()
                process = context.Process(target=_serve, args=(far_end, self._evaluator), daemon=True)
                try:
                    process.start()
                finally:
                    far_end.close()  # so that the end of the worker is the end of the pipe
                self._workers.append(_Worker(process, pipe))

    def _hand_out(self, points: Sequence[Point], waiting: deque[tuple[int, ...]]) -> None:
        for worker in self._workers:
            if waiting and worker.can_work and not worker.numbers:
                worker.numbers = waiting.popleft()
                try:
                    worker.pipe.send([dict(points[number]) for number in worker.numbers])
                except OSError:  # it has ended before, and shows so when it is asked for news
                    waiting.appendleft(worker.numbers)
                    worker.numbers = ()

    def _with_news(self) -> list[_Worker]:
        """Waits until at least one worker has something to say or has ended."""
        with_news = set(map(id, pipes.wait([worker.pipe for worker in self._workers])))
        return [worker for worker in self._workers if id(worker.pipe) in with_news]

    def _received(self, worker: _Worker) -> list[Outcome] | None:
        """The outcomes that a worker sends; None if it only says that it can work, or has ended."""
        try:
            message: list[Outcome] | _Raised | None = worker.pipe.recv()
        except (EOFError, OSError):
            self._workers.remove(worker)
            _bury(worker)
            if not worker.can_work:
                self._note_failed_start(worker)
            return None
        if isinstance(message, _Raised):
            raise message.error()
        worker.numbers = ()
        worker.can_work = True
        self._num_failed_starts = 0
        return message

    def _note_failed_start(self, worker: _Worker) -> None:
        self._num_failed_starts += 1
        if self._num_failed_starts == _MOST_FAILED_STARTS:
            self._num_failed_starts = 0
            raise SpecError(
                f"worker processes cannot start: {_ending(worker)}",
                hint='use one job; or, in a script, call the search below `if __name__ == "__main__":`',
            )


def _bury(worker: _Worker) -> None:
    worker.process.join()
    worker.pipe.close()


def _ending(worker: _Worker) -> str:
    code = worker.process.exitcode
    if code is not None and code < 0:
        return f"one was ended by {signal.Signals(-code).name}"
    return f"one ended with exit code {code}"


def _last_words(worker: _Worker) -> str:
    return f"{_MOST_ENDS} worker processes ended while they simulated it, the last: {_ending(worker)}"


@contextmanager
def _surroundings_of_workers() -> Iterator[None]:
    """What processes started in this block inherit: one thread each, and Ctrl-C is left to their parent."""
    resource_tracker.ensure_running()  # else it is started in the block, and lets Ctrl-C through again
    added = {name: "1" for name in _THREAD_VARIABLES if name not in os.environ}
    os.environ.update(added)
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
        for name in added:
            del os.environ[name]


def _serve(pipe: Connection, evaluator: PointEvaluator) -> None:
    """The life of a worker: until the other end of its pipe is gone, however the parent has ended."""
    try:
        pipe.send(None)
        while True:
            pipe.send(_attempt(evaluator, pipe.recv()))
    except (EOFError, OSError):
        return


def _attempt(evaluator: PointEvaluator, points: Sequence[Point]) -> list[Outcome] | _Raised:
    try:
        return list(simulate_points(evaluator, points))
    except Exception as caught:
        error = caught
        if not isinstance(error, RoadlineError):
            among = f"{dict(points[0])}" if len(points) == 1 else f"one of {len(points)} points from {dict(points[0])}"
            error = EngineError(f"{type(caught).__name__} for {among}: {caught}")
        return _Raised(type(error), error.message, error.hint, traceback.format_exc())
