"""The results of a search in a folder: what was simulated once is there after a crash, and is never simulated again.

One JSON object per line, only ever appended to:

    {"schema": ..., "belongs_to": {...}}                                                     the first line
    {"key": ..., "code_version": ..., "evaluator": ..., "point": {...}, "values": {...}}     one simulated point
    {"key": ..., "code_version": ..., "evaluator": ..., "point": {...}, "infeasible": "..."} one that does not fit
    {"key": ..., "code_version": ..., "evaluator": ..., "point": {...}, "failed": "..."}     one to be tried again

A key stands for everything that decides a result. Results of other studies, chips or versions of the code may lie in
the same file: their keys differ, and they are skipped. Floats are written so that they are read back exactly.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from simulator.errors import OutputError
from simulator.exploration.code_version import code_version
from simulator.exploration.outcome import Outcome, Point, PointEvaluator

RESULTS_FILE: Final = "results.jsonl"
SCHEMA: Final = "roadline-search-results/1"

_HEADER_START: Final = b'{"schema": "roadline-search-results/'
_LINES_PER_SYNC: Final = 64
"""A crash of the process loses nothing; a crash of the whole machine loses at most so many results."""


@dataclass(frozen=True)
class Origin:
    """All that decides the result of a point besides the point itself."""

    evaluator: str
    """A hash of the evaluator's fingerprint."""
    code_version: str

    @classmethod
    def of(cls, evaluator: PointEvaluator) -> Origin:
        """The origin of what an evaluator and the present code give."""
        return cls(_digest(evaluator.fingerprint()), code_version())

    def key(self, point: Point) -> str:
        """A hash of the point and its origin. Equal numbers have equal keys: 4, 4.0 and numpy's 4."""
        return _digest({"code_version": self.code_version, "evaluator": self.evaluator, "point": point})


def canonical(value: Any) -> Any:
    """A value as plain JSON in which equal numbers are the same number: numpy's scalars and whole floats unpacked."""
    if isinstance(value, Mapping):
        return {str(name): canonical(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(part) for part in value]
    if hasattr(value, "item"):  # a scalar of numpy, without importing it
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class ResultStore:
    """The results file of one folder, locked for one run.

    The lock is one of the kernel's: it ends with the process, however the process ends.
    """

    def __init__(self, folder: Path | str, *, origin: Origin, belongs_to: Mapping[str, Any], resume: bool) -> None:
        """Opens or makes the store of a folder.

        Args:
            folder: made if it does not exist.
            origin: of the results that this run makes and can use again.
            belongs_to: plain JSON for the reader of the file, such as the name of the study.
            resume: whether the folder may hold results already.
        Raises:
            OutputError: when the folder cannot be used, another run uses it, it holds something else, or it holds
                results and `resume` is false.
        """
        self._path = Path(folder) / RESULTS_FILE
        self._origin = origin
        self._num_unsynced_lines = 0
        self.known: dict[str, Outcome] = {}
        """Results that can be used again, by key."""
        self.remarks: list[str] = []
        """What was found in the file, one sentence each, for the user."""
        self._descriptor = _locked(self._path)
        try:
            self._take_in(belongs_to, resume=resume)
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, point: Point, outcome: Outcome) -> None:
        """Writes one result as one line.

        Raises:
            OutputError: when it cannot be written; the results before it stay.
        """
        if outcome.values is not None:
            said: dict[str, Any] = {"values": dict(outcome.values)}
        else:
            said = {"failed" if outcome.has_failed else "infeasible": outcome.reason}
        origin = {"code_version": self._origin.code_version, "evaluator": self._origin.evaluator}
        self._write_line({"key": self._origin.key(point), **origin, "point": canonical(point), **said})
        if self._num_unsynced_lines == _LINES_PER_SYNC:
            self._sync()

    def close(self) -> None:
        """Writes all to the disk and lets go of the folder.

        Raises:
            OutputError: when the disk refuses.
        """
        if self._descriptor < 0:
            return
        try:
            if self._num_unsynced_lines:
                self._sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take_in(self, belongs_to: Mapping[str, Any], *, resume: bool) -> None:
        """Reads the file, cuts off half a line at its end, and writes the first line if there is none."""
        text = self._read()
        whole = text[: text.rfind(b"\n") + 1]
        if not (text.startswith(_HEADER_START) or _HEADER_START.startswith(text)):
            raise OutputError(f"{self._path}: is not a file of search results", hint="name another folder")
        header, *lines = whole.splitlines() or [b""]
        if header and _parsed(header).get("schema") != SCHEMA:
            raise OutputError(
                f"{self._path}: was written by another version of Roadline, this one needs {SCHEMA}",
                hint="name another folder",
            )
        if lines and not resume:
            raise OutputError(
                f"{self._path}: holds {len(lines)} results of an earlier search",
                hint="use --resume to go on with it, or name another folder",
            )
        if len(whole) < len(text):
            self._truncate(len(whole))
            self.remarks.append(f"{self._path}: the last line was half written; it is cut off and simulated again")
        if not header:
            self._write_line({"schema": SCHEMA, "belongs_to": canonical(belongs_to)})
        self._take_in_results(lines)

    def _take_in_results(self, lines: Sequence[bytes]) -> None:
        num_unreadable = num_of_other_code = num_of_others = 0
        failed: set[str] = set()
        for line in lines:
            result = _parsed(line)
            outcome = _outcome(result)
            if outcome is None:
                num_unreadable += 1
            elif result.get("evaluator") != self._origin.evaluator:
                num_of_others += 1
            elif result.get("code_version") != self._origin.code_version:
                num_of_other_code += 1
            elif outcome.has_failed:
                failed.add(result["key"])
            else:
                self.known[result["key"]] = outcome
        for number, what in (
            (len(self.known), "can be used again"),
            (num_of_other_code, "are skipped: another version of Roadline made them"),
            (num_of_others, "are skipped: they belong to other settings or another study"),
            (len(failed - self.known.keys()), "are simulated again: their simulation broke off"),
            (num_unreadable, "are skipped: their lines cannot be read"),
        ):
            if number:
                self.remarks.append(f"{self._path}: of its results, {number} {what}")

    def _read(self) -> bytes:
        try:
            with open(self._descriptor, "rb", closefd=False) as file:
                return file.read()
        except OSError as error:
            raise self._refusal("read", error) from error

    def _truncate(self, size_bytes: int) -> None:
        try:
            os.ftruncate(self._descriptor, size_bytes)
        except OSError as error:
            raise self._refusal("written", error) from error

    def _write_line(self, tree: Mapping[str, Any]) -> None:
        line = json.dumps(tree, allow_nan=False).encode() + b"\n"
        size_bytes = os.fstat(self._descriptor).st_size
        try:
            while line:  # one write, unless the disk is nearly full: then the next one says so
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            self._truncate(size_bytes)
            raise self._refusal("written", error) from error
        self._num_unsynced_lines += 1

    def _sync(self) -> None:
        self._num_unsynced_lines = 0
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._refusal("written", error) from error

    def _refusal(self, done: str, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path}: cannot be {done}: {error.strerror or error}",
            hint="make room or name another folder; what was written before stays, --resume goes on with it",
        )


def _locked(path: Path) -> int:
    """A descriptor of the file, open for reading and appending, that no other run has."""
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: must be a folder for results, is a file", hint="name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        hint = "name another folder, or make it writable"
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}", hint=hint) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise OutputError(
                f"{folder}: another search is running in this folder",
                hint="wait until it has ended, or name another folder",
            ) from error
        raise OutputError(
            f"{path}: cannot be locked: {error.strerror or error}", hint="name a folder on a local disk"
        ) from error
    return descriptor


def _parsed(line: bytes) -> dict[str, Any]:
    """The object of a line; empty if it cannot be read."""
    try:
        tree = json.loads(line)
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _outcome(result: Mapping[str, Any]) -> Outcome | None:
    """What a line says of its point; None if it says nothing."""
    values = result.get("values")
    if not isinstance(result.get("key"), str):
        return None
    if isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values()):
        return Outcome({name: float(value) for name, value in values.items()})
    for word in ("infeasible", "failed"):
        if isinstance(result.get(word), str):
            return Outcome(None, result[word], has_failed=word == "failed")
    return None
