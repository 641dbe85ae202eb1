"""The version of the code that makes results: one number that changes with any source file of the package."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def code_version() -> str:
    """A hash of the names and contents of all Python files of the package: 16 hexadecimal digits.

    Whole files count, so a result is never taken for one of changed code; an edit of a comment costs a new search.
    """
    return digest_of_sources(Path(__file__).resolve().parents[1])


def digest_of_sources(package: Path) -> str:
    """A hash of the names and contents of all Python files below a folder: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).as_posix()):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()[:16]
