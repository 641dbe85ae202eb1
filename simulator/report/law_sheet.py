"""The sheet of a fitted loss law: coefficients with their intervals, errors, doubts; and the law as a file."""

from __future__ import annotations

import os
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from simulator.exploration.fit_law import LawFit, Quality
from simulator.exploration.law import LossLaw
from simulator.report.files import file_kind, new_file
from simulator.report.sheet_parts import DIGITS, WIDTH, heading_line, new_table, rendered

_MEANING: Final = {
    "depth_scale": "depth term: scale",
    "depth_exponent": "depth term: exponent of layers",
    "sparsity_scale": "sparsity term: scale",
    "sparsity_exponent": "sparsity term: exponent of activation_rate",
    "sparsity_width_exponent": "sparsity term: exponent of hidden",
    "capacity_scale": "capacity term: scale",
    "capacity_width_exponent": "capacity term: exponent of hidden",
    "ffn_exponent": "sparsity and capacity: exponent of ffn_ratio",
    "kv_scale": "KV term: scale",
    "kv_exponent": "KV term: exponent of kv_width",
    "token_scale": "token term: scale",
    "token_exponent": "token term: exponent of tokens",
    "floor": "floor: what no size removes",
}
"""Coefficient -> what it is, in the order of the sheet."""


def law_sheet(fit: LawFit, width: int = WIDTH) -> str:
    """A fit as text in at most `width` columns; losses in nats per token."""
    known = {item.name: item for item in fit.coefficients}
    table = new_table("Coefficients", "name", "value >", "90 % interval >", "what it is")
    for name, meaning in _MEANING.items():
        if name in known:
            item = known[name]
            interval = f"{_number(item.low)} to {_number(item.high)}" if item.is_identified else "not identified"
            table.add_row(name, _number(item.value), interval, meaning)
    errors = [_quality("fitted", fit.fitted)]
    if fit.held_out is not None:
        errors.append(_quality("held out", fit.held_out))
    errors.append(f"intervals from {fit.resamples} resamples, seed {fit.seed}")
    ranges = new_table("Fitted for", "size", "from >", "to >")
    for name, valid in fit.law.ranges.items():
        ranges.add_row(name, _number(valid.low), _number(valid.high))
    parts: list[RenderableType] = [
        heading_line(fit.law.name, f"loss law fitted to {fit.runs.file_name}"),
        table,
        Text("\n".join(errors)),
        ranges,
    ]
    parts += [Text(f"Caution: {warning}") for warning in fit.warnings]
    return rendered(parts, width)


def write_law(law: LossLaw, path: str | os.PathLike[str]) -> None:
    """Writes a law as a YAML file that `LossLaw.load` reads.

    Raises:
        SpecError: when the name does not end in .yaml or .yml.
        OutputError: when the file cannot be written; then there is no file.
    """
    file_kind(path, (".yaml", ".yml"), what="a law")
    with new_file(path) as file:
        file.write(law.to_yaml().encode("utf-8"))


def _number(value: float) -> str:
    return f"{value:.{DIGITS}g}"


def _quality(name: str, quality: Quality) -> str:
    explained = "R2 unknown" if quality.r_squared is None else f"R2 {quality.r_squared:.4f}"
    return (
        f"{name}: {quality.num_runs} run{'s' if quality.num_runs > 1 else ''}, {explained}, "
        f"mean absolute error {100 * quality.mape:.2f} %, root mean square {quality.rmse:.4f} nats, "
        f"worst {quality.worst:+.4f} nats"
    )
