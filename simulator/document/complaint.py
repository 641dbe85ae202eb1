"""Complaints: what is wrong with a file, where, and how to repair it. All complaints about a file become one error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.errors import SpecError

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the root of a file to a value."""

_MAX_LISTED: Final = 50


@dataclass(frozen=True)
class Complaint:
    """One rule that a value breaks.

    `place` is `<file>:<line>`, or words for a value that stands in no file. `rule` reads "must be ..., got ...".
    """

    place: str
    path: KeyPath
    rule: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.fact}\n  Hint: {self.hint}" if self.hint else self.fact

    @property
    def fact(self) -> str:
        """The complaint without its hint."""
        return f"{self.place}  {dotted(self.path)}: {self.rule}" if self.path else f"{self.place}  {self.rule}"


def dotted(path: KeyPath) -> str:
    """A key path as people write it.

    >>> dotted(("pipeline", 0, "tokens"))
    'pipeline.0.tokens'
    """
    return ".".join(str(key) for key in path)


def spec_error(complaints: Sequence[Complaint]) -> SpecError:
    """One error that lists the complaints in their order: all of them, unless they are very many."""
    if len(complaints) == 1:
        return SpecError(complaints[0].fact, hint=complaints[0].hint)
    lines = [f"{len(complaints)} things are wrong:", *(str(complaint) for complaint in complaints[:_MAX_LISTED])]
    if len(complaints) > _MAX_LISTED:
        lines.append(f"and {len(complaints) - _MAX_LISTED} more")
    return SpecError("\n".join(lines))


def shown(path: Path) -> str:
    """A file name for people: relative to the working folder where it lies below it."""
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute) if absolute.startswith(os.getcwd() + os.sep) else absolute
    return str(relative)
