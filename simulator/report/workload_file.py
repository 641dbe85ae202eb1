"""A workload as a YAML file that the catalogue reads back to an equal one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from simulator.report.files import file_kind, new_file
from simulator.workload import Workload


def write_workload(workload: Workload, path: str | os.PathLike[str], *, remarks: tuple[str, ...] = ()) -> None:
    """Writes a workload; remarks become comments above it.

    Raises:
        SpecError: when the name does not end in .yaml or .yml.
        OutputError: when the file cannot be written; then there is no file.
    """
    file_kind(path, (".yaml", ".yml"), what="a workload")
    with new_file(path) as file:
        file.write(workload_text(workload, remarks=remarks).encode("utf-8"))


def workload_text(workload: Workload, *, remarks: tuple[str, ...] = ()) -> str:
    """The text of the file: one line per size, one per phase."""
    comments = [f"# {remark}\n" for remark in remarks]
    tree = workload.model_dump(exclude_none=True, exclude_defaults=True)
    return "".join([*comments, *_lines(tree)])


def _lines(tree: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from ("\n" * (not indent), f"{indent}{key}:\n")
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            yield from ("\n" * (not indent), f"{indent}{key}:\n")
            for item in value:
                yield from _item(item, indent + "  ")
        else:
            yield f"{indent}{key}: {_flow(value, is_nested=False)}\n"


def _item(item: object, indent: str) -> Iterator[str]:
    """An entry of a list: one line, or more for one that has entries itself, such as a block of a network."""
    if isinstance(item, Mapping) and any(isinstance(each, list | tuple) and each and isinstance(each[0], Mapping)
                                         for each in item.values()):  # fmt: skip
        lines = "".join(_lines(item, indent + "  "))
        yield f"{indent}- {lines[len(indent) + 2 :]}"
    else:
        yield f"{indent}- {_flow(item)}\n"


def _flow(value: object, *, is_nested: bool = True) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        first = [key for key in _FIRST if key in value]
        fields = (f"{key}: {_flow(value[key])}" for key in [*first, *(key for key in value if key not in first)])
        return f"{{{', '.join(fields)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, str) and (_PLAIN_NESTED if is_nested else _PLAIN).fullmatch(value) and value not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML, too


_FIRST: Final = ("phase", "name", "op")
"""What the rest of a mapping is about."""

_PLAIN_NESTED: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*")
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*(?:[,;]? [(]?[A-Za-z0-9_./+-]+[)]?)*")
"""Text that means itself without quotes: inside braces a comma would end it."""

_WORDS: Final = {word for each in ("null", "true", "false") for word in (each, each.capitalize(), each.upper())}
"""Text that would not be text."""
