"""Measured rows: what somebody measured on real hardware, with its source.

A row has a phase (`prefill` or `decode`), a value in `ms` or `tok/s`, and says whether a constant of the chip or the
runtime was chosen with this row in view (`fitted`): such a row is no evidence.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from simulator.errors import SpecError

COLUMNS = ("chip", "runtime", "workload", "precision", "phase", "prompt_tokens", "context_tokens", "value", "unit",
           "source", "fitted", "note")  # fmt: skip


@dataclass(frozen=True)
class MeasuredRow:
    """One measurement. `measured_s` is the phase (prefill) or one token (decode), in seconds."""

    chip: str
    runtime: str
    workload: str
    precision: str
    phase: str
    prompt_tokens: int
    """Tokens in the KV cache before the phase (decode) or computed by it (prefill)."""
    measured_s: float
    source: str
    is_fitted: bool
    note: str


def first_contact() -> list[MeasuredRow]:
    """The rows that ship with Roadline."""
    path = resources.files("simulator.validation") / "measured" / "first_contact.csv"
    with resources.as_file(path) as file:
        return list(read_rows(file))


def read_rows(path: Path) -> Iterator[MeasuredRow]:
    """The rows of a CSV file.

    Raises:
        SpecError: when the file cannot be read, a column is missing or a cell breaks a rule.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: must be a CSV file that can be read, got: {error.strerror}") from None
    reader = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise SpecError(f"{path}:1  must have the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    for line, cells in enumerate(reader, start=2):
        yield _row(cells, f"{path}:{line}")


def _row(cells: dict[str, str], where: str) -> MeasuredRow:
    phase, unit = cells["phase"], cells["unit"]
    if phase not in ("prefill", "decode"):
        raise SpecError(f'{where}  phase: must be prefill or decode, got "{phase}"')
    tokens = cells["prompt_tokens" if phase == "prefill" else "context_tokens"]
    try:
        value, prompt_tokens = float(cells["value"]), int(tokens)
    except ValueError:
        raise SpecError(f'{where}  value and tokens: must be numbers, got "{cells["value"]}" and "{tokens}"') from None
    if unit not in ("ms", "tok/s") or value <= 0:
        raise SpecError(f'{where}  value: must be above zero in ms or tok/s, got "{cells["value"]} {unit}"')
    return MeasuredRow(
        cells["chip"], cells["runtime"], cells["workload"], cells["precision"], phase, prompt_tokens,
        value / 1e3 if unit == "ms" else 1 / value, cells["source"], cells["fitted"] == "yes", cells["note"],
    )  # fmt: skip
