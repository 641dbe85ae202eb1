"""The sheet of a validation: measured beside simulated, row by row, and the error of the set."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from simulator.report.sheet_parts import WIDTH, new_table, rendered
from simulator.units import format_quantity
from simulator.validation.validate import ValidatedRow, summary


def validation_sheet(validated: Sequence[ValidatedRow], width: int = WIDTH) -> str:
    """Measured and simulated rows as text, in at most `width` columns."""
    table = new_table(
        "Simulation beside silicon", "chip", "workload", "precision", "phase", "tokens >", "measured >",
        "simulated >", "error >", "",
    )  # fmt: skip
    for item in validated:
        row = item.row
        table.add_row(
            row.chip, row.workload, row.precision, row.phase, str(row.prompt_tokens),
            format_quantity(row.measured_s, "s"), format_quantity(item.simulated_s, "s"), f"{item.error:+.1%}",
            "*" if row.is_fitted else "",
        )  # fmt: skip
    lines = [
        f"{entry['name']}: {entry['rows']} rows, mean absolute error {entry['mape']:.1%}, bias {entry['bias']:+.1%}, "
        f"worst {entry['worst']:+.1%}"
        for entry in summary(validated)
        if entry["rows"]
    ]
    lines.append("* a constant of the chip or the runtime was chosen with this row in view: no evidence")
    return rendered([table, Text("\n".join(lines))], width)
