"""A workload as a YAML file that the catalogue reads back to an equal one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

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
    tree = workload.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return "".join([*comments, *_lines(tree)])


def _lines(tree: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:\n"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{key}:\n"
            yield from (f"{indent}  - {{{_flow(item)}}}\n" for item in value)
        else:
            yield f"{indent}{key}: {_scalar(value)}\n"


def _flow(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {_scalar(value)}" for key, value in fields.items())


def _scalar(value: object) -> str:
    """JSON, which is YAML too."""
    return json.dumps(value, ensure_ascii=False)
