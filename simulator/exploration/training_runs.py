"""Training runs of a user: sizes and final losses, read strictly from a CSV file.

What is fitted to them is in `simulator.exploration.fit_law`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from simulator.document.complaint import Complaint, shown, spec_error
from simulator.errors import SpecError, nearest
from simulator.exploration.law import Floats

_REQUIRED: Final = ("layers", "hidden", "ffn_ratio", "loss")
_EITHER: Final = (("activation_rate",), ("experts", "top_k")), (("kv_width",), ("head_dim", "kv_heads"))
"""Two ways to say the same: the column itself, or the two it follows from."""

_OPTIONAL: Final = ("tokens",)
_TEXT: Final = ("name", "note")
"""Columns for people, not read."""

_WHOLE: Final = {"layers", "hidden", "experts", "top_k", "kv_width", "head_dim", "kv_heads"}
_NUMBERS: Final = (*_REQUIRED, *(name for ways in _EITHER for way in ways for name in way), *_OPTIONAL)


@dataclass(frozen=True)
class TrainingRuns:
    """Runs as columns, in the order of the file."""

    file_name: str
    sha256: str
    """Of the bytes of the file."""
    columns: dict[str, Floats]
    """layers, hidden, ffn_ratio, activation_rate, kv_width, and tokens if the file has them."""
    loss: Floats
    """Nats per token at the end of each run."""

    def __len__(self) -> int:
        return len(self.loss)


def read_runs(path: Path) -> TrainingRuns:
    """The runs of a CSV file.

    Columns: layers, hidden, ffn_ratio (top_k * width of one expert / hidden), loss (nats per token);
    activation_rate, or experts and top_k; kv_width, or head_dim and kv_heads; tokens, if runs differ in them. The
    columns name and note are for people.

    Raises:
        SpecError: when the file cannot be read, its columns are not these, or a cell breaks a rule; lists all of them.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: must be a CSV file that can be read, got: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: must be a CSV file in UTF-8, got other bytes") from None
    name = shown(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(f"{name}:{reader.line_num}", [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise SpecError(f"{name}:{reader.line_num}  must be CSV, got: {error}") from None
    if not rows:
        raise SpecError(f"{name}:1  must have a line of column names and one line per run, got an empty file")
    _check_header(*rows[0])
    if len(rows) == 1:
        raise SpecError(f"{name}:1  must have one line per run below the column names, got none")
    header = rows[0][1]
    cells = {column: np.empty(len(rows) - 1) for column in header if column in _NUMBERS}
    complaints = [
        complaint
        for index, (place, row) in enumerate(rows[1:])
        for complaint in _read_row(place, header, row, cells, index)
    ]
    if complaints:
        raise spec_error(complaints)
    return TrainingRuns(path.name, hashlib.sha256(content).hexdigest(), _derived(cells), cells["loss"])


def _check_header(place: str, header: list[str]) -> None:
    known = {*_NUMBERS, *_TEXT}
    complaints = [
        Complaint(place, (), f'must have known columns, got "{column}"', nearest(column, known))
        for column in dict.fromkeys(header)
        if column not in known
    ]
    twice = sorted({column for column in header if header.count(column) > 1})
    complaints += [Complaint(place, (column,), "must be the name of one column, got it twice") for column in twice]
    missing = [column for column in _REQUIRED if column not in header]
    for direct, factors in _EITHER:
        has_factors = all(column in header for column in factors)
        words = f"{direct[0]} (or {' and '.join(factors)})"
        if direct[0] not in header and not has_factors:
            missing.append(words)
        elif direct[0] in header and any(column in header for column in factors):
            complaints.append(Complaint(place, (direct[0],), f"must be given one way: {words}, got both"))
    if missing:
        complaints.append(Complaint(place, (), f"must have the column{'s' * (len(missing) > 1)} {', '.join(missing)}"))
    if complaints:
        raise spec_error(complaints)


def _read_row(place: str, header: list[str], row: list[str], cells: dict[str, Floats], index: int) -> list[Complaint]:
    """Writes a row into the columns; returns what is wrong with it."""
    if len(row) != len(header):
        return [Complaint(place, (), f"must have {len(header)} cells as the first line has, got {len(row)}")]
    complaints = []
    for column, text in zip(header, row, strict=True):
        if column not in cells:
            continue
        value = _number(text)
        rule = "a whole number above zero" if column in _WHOLE else "a number above zero"
        if not 0 < value < math.inf or (column in _WHOLE and value != int(value)):
            complaints.append(Complaint(place, (column,), f'must be {rule}, got "{text}"'))
        elif column == "activation_rate" and value > 1:
            complaints.append(Complaint(place, (column,), f'must be at most 1, got "{text}"', "it is top_k / experts"))
        cells[column][index] = value
    if "experts" in cells and cells["top_k"][index] > cells["experts"][index]:
        rule = f"must be at most experts, {cells['experts'][index]:g}, got {cells['top_k'][index]:g}"
        complaints.append(Complaint(place, ("top_k",), rule))
    return complaints


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_000 as a number, a spreadsheet does not
    except ValueError:
        return math.nan


def _derived(cells: dict[str, Floats]) -> dict[str, Floats]:
    """The columns of the law from those of the file."""
    columns = {name: cells[name] for name in ("layers", "hidden", "ffn_ratio")}
    columns["activation_rate"] = (
        cells["activation_rate"] if "activation_rate" in cells else cells["top_k"] / cells["experts"]
    )
    columns["kv_width"] = cells["kv_width"] if "kv_width" in cells else cells["head_dim"] * cells["kv_heads"]
    if "tokens" in cells:
        columns["tokens"] = cells["tokens"]
    return columns
