"""The exception tree: every error that Roadline raises on purpose.

    RoadlineError                 base, never raised itself
    ├── SpecError                 the input is wrong: the user changes a file, an option or an argument
    │   └── Infeasible            the input is well formed but does not fit: carries demand, bound and gap
    ├── OutputError               a result cannot be written where it was asked for
    ├── MissingExtraError         an optional package is needed for this feature
    └── EngineError               a broken invariant: a bug in Roadline, please report it

The command line turns the first four into exit code 2 and `EngineError` into exit code 3.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RoadlineError(Exception):
    """Base of all errors raised on purpose.

    A message has one line of fact and, where it helps, one line of advice (`hint`).
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  Hint: {self.hint}"


class SpecError(RoadlineError):
    """A file, an option or an argument breaks a rule that the message states."""


class Infeasible(SpecError):  # noqa: N818 - it is also a result
    """A well-formed request that does not fit: a result for a search, an error for a single run.

    `demand` and `bound` are in `unit`; the gap is their difference.
    """

    def __init__(self, message: str, *, demand: float, bound: float, unit: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.demand = demand
        self.bound = bound
        self.unit = unit

    @property
    def gap(self) -> float:
        """How much is missing, in `unit`."""
        return self.demand - self.bound


class OutputError(RoadlineError):
    """A file cannot be written where the user asked for it."""


class MissingExtraError(RoadlineError):
    """A feature needs an optional package that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package}, which is not installed.",
            hint=f'pip install "roadline[{extra}]"',
        )


class EngineError(RoadlineError):
    """A broken invariant inside Roadline: a bug, never a user's mistake."""

    def __init__(self, message: str) -> None:
        super().__init__(f"this is a bug in Roadline: {message}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest valid name, or lists the valid names if none is close.

    >>> nearest("thor-t500", ["orin-x", "thor-t5000"])
    'did you mean "thor-t5000"?'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known: " + ", ".join(names) if names else "there is none in the catalogue"
