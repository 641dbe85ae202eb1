"""Measured rows: what somebody measured on real hardware, with its source.

A row has a phase of its workload, or `total` for the frame, a value in `ms` or `tok/s`, and says whether a constant of
the chip or the runtime was chosen with this row in view (`fitted`): such a row is no evidence. Tokens of a prefill or a
context of a decoded token may be left empty: then the phase is the one that the workload describes, as a whole.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from simulator.errors import SpecError

COLUMNS = ("chip", "runtime", "workload", "precision", "phase", "prompt_tokens", "context_tokens", "value", "unit",
           "source", "fitted", "note")  # fmt: skip


_TOKENS_OF_PHASE: Final = {"prefill": "prompt_tokens", "decode": "context_tokens"}


@dataclass(frozen=True)
class MeasuredRow:
    """One measurement."""

    place: str
    """File and line."""
    cells: dict[str, str]
    """The row as it was written, by column."""
    chip: str
    runtime: str
    workload: str
    precision: str
    changes: str
    """Changes to the chip, as `--set` takes them, with a semicolon between."""
    phase: str
    tokens: int | None
    """Tokens in the KV cache before the phase (decode) or computed by it (prefill); None for those of the workload."""
    measured_s: float
    """Seconds of the phase, or of one token (decode after a context that is given)."""
    unit: str
    is_fitted: bool

    def in_unit(self, seconds: float) -> float:
        """Seconds in the unit of the row."""
        return seconds * 1e3 if self.unit == "ms" else 1 / seconds


RowSet = Literal["language", "driving"]
"""Rows that ship with Roadline: language models alone, and phases of driving, vision and robot models."""

_FILES: Final[dict[RowSet, str]] = {"language": "first_contact.csv", "driving": "driving.csv"}


def rows_of_set(name: RowSet) -> list[MeasuredRow]:
    """The rows of a set that ships with Roadline."""
    path = resources.files("simulator.validation") / "measured" / _FILES[name]
    with resources.as_file(path) as file:
        return list(read_rows(file))


def read_rows(path: Path) -> Iterator[MeasuredRow]:
    """The rows of a CSV file.

    Raises:
        SpecError: when the file cannot be read, a column is missing or a cell breaks a rule.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: must be a CSV file that can be read, got: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: must be a CSV file in UTF-8, got other bytes") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise SpecError(f"{path}:1  must have the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    try:
        for cells in reader:
            place = f"{path}:{reader.line_num}"
            if None in cells or None in cells.values():
                raise SpecError(f"{place}  must have {len(reader.fieldnames or ())} cells as the first line has")
            yield _row(cells, place)
    except csv.Error as error:
        raise SpecError(f"{path}:{reader.line_num}  must be CSV, got: {error}") from None


def _row(cells: dict[str, str], place: str) -> MeasuredRow:
    for column, allowed in (("unit", ("ms", "tok/s")), ("fitted", ("yes", "no"))):
        if cells[column] not in allowed:
            raise SpecError(f'{place}  {column}: must be {" or ".join(allowed)}, got "{cells[column]}"')
    if not cells["phase"]:
        raise SpecError(f"{place}  phase: must be a phase of the workload or total, got nothing")
    value = _number(cells, "value", place)
    tokens = None
    of_phase = _TOKENS_OF_PHASE.get(cells["phase"])
    if of_phase is not None and cells[of_phase]:
        counted = _number(cells, of_phase, place)
        if counted != int(counted):
            raise SpecError(f'{place}  {of_phase}: must be a whole number, got "{cells[of_phase]}"')
        tokens = int(counted)
    return MeasuredRow(
        place=place,
        cells=cells,
        chip=cells["chip"],
        runtime=cells["runtime"],
        workload=cells["workload"],
        precision=cells["precision"],
        phase=cells["phase"],
        tokens=tokens,
        changes=cells.get("set", ""),
        measured_s=value / 1e3 if cells["unit"] == "ms" else 1 / value,
        unit=cells["unit"],
        is_fitted=cells["fitted"] == "yes",
    )


def _number(cells: dict[str, str], column: str, place: str) -> float:
    try:
        value = float(cells[column])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SpecError(f'{place}  {column}: must be a number above zero, got "{cells[column]}"')
    return value
