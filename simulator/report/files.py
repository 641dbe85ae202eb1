"""Writing a result file: all of it or nothing.

What goes into the file is the business of the modules that make traces, pictures and tables.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from simulator.errors import OutputError, SpecError

PICTURE_SUFFIXES: Final = (".png", ".svg", ".pdf")
"""Formats of pictures."""


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name, complete, when the block ends, and not at all if the block fails.

    It is written beside its target and renamed, so a reader never sees half of it and an older file of that name
    stays as it was until then. Missing parent folders are created.

    Raises:
        OutputError: when the target or its folder cannot be written.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "not a regular file"
        raise OutputError(f"{target}: must be a file that can be written, is {kind}", hint="name another file")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            yield file
        partial.replace(target)
    except OSError as error:
        hint = "name another file, or make its folder writable"
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}", hint=hint) from error
    finally:
        _remove(partial)


def _remove(partial: Path) -> None:
    # After the rename there is nothing to remove; where even looking is refused, there is nothing either.
    try:
        partial.unlink(missing_ok=True)
    except OSError:
        return


def file_kind(path: str | os.PathLike[str], kinds: Sequence[str], *, what: str) -> str:
    """The suffix of a file name, lower case, if it is one of `kinds`.

    `what` says in the message what the file shall hold: "a trace", "a picture".

    Raises:
        SpecError: when it is none of them; the message names the valid ones.

    >>> file_kind("out/run.SVG", [".png", ".svg"], what="a picture")
    '.svg'
    """
    suffix = Path(path).suffix.lower()
    if suffix in kinds:
        return suffix
    found = f'"{suffix}"' if suffix else "no suffix"
    raise SpecError(
        f"{Path(path)}: {what} must end in {', '.join(kinds)}, got {found}",
        hint=f"such as {Path(path).with_suffix(kinds[0]).name}" if Path(path).name else f"such as run{kinds[0]}",
    )
