"""The sheet of a validation: measured beside simulated, row by row, and the error of the set."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from simulator.precision import precision_choice
from simulator.report.sheet_parts import WIDTH, new_table, rendered
from simulator.units import format_quantity
from simulator.validation.rows import MeasuredRow
from simulator.validation.validate import ValidatedRow, summary


def validation_sheet(validated: Sequence[ValidatedRow], width: int = WIDTH) -> str:
    """Measured and simulated rows as text, in at most `width` columns; those of one software stack together."""
    runtimes = list(dict.fromkeys(item.row.runtime for item in validated))
    tables = [_table(runtime, [item for item in validated if item.row.runtime == runtime], width)
              for runtime in runtimes]  # fmt: skip
    lines = [
        f"{entry['name']}: {entry['rows']} row{'s' if entry['rows'] > 1 else ''}, "
        f"mean absolute error {100 * entry['mape']:.1f} %, bias {_percent(entry['bias'])}, "
        f"worst {_percent(entry['worst'])}"
        for entry in summary(validated)
        if entry["rows"]
    ]
    if any(item.row.is_fitted for item in validated):
        lines.append("* a constant of the chip or the runtime was fitted with this row among others: no evidence")
    return rendered([*tables, Text("\n".join(lines) or "There is no row.")], width)


def _table(runtime: str, validated: Sequence[ValidatedRow], width: int) -> Table:
    """The rows of one software stack; tokens and the mark of fitted rows only where some row has them."""
    columns = ["chip", "workload", "precision", "phase", "tokens >", "measured >", "simulated >", "error >", ""]
    has_tokens = any(item.row.tokens is not None for item in validated)
    has_fitted = any(item.row.is_fitted for item in validated)
    shown = [column for column in columns if (has_tokens or column != "tokens >") and (has_fitted or column)]
    table = new_table(f"Simulation beside silicon, {runtime}", *shown)
    if width < WIDTH:
        table.padding = 0
    for item in validated:
        row = item.row
        cells = (
            row.chip, row.workload, _precision(row), row.phase, "" if row.tokens is None else str(row.tokens),
            format_quantity(row.measured_s, "s"), format_quantity(item.simulated_s, "s"), _percent(item.error),
            "*" if row.is_fitted else "",
        )  # fmt: skip
        table.add_row(*(cell for column, cell in zip(columns, cells, strict=True) if column in shown))
    return table


def _precision(row: MeasuredRow) -> str:
    """That of the phase of the row, or all of them for a whole frame."""
    choice = precision_choice(row.precision)
    if not isinstance(choice, dict):
        return row.precision
    return choice.get(row.phase) or ", ".join(dict.fromkeys(choice.values()))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:+.1f} %"
