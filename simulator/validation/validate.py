"""Simulates measured rows and states the error of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from simulator.catalog import Catalog
from simulator.simulation.setup import single_run
from simulator.simulation.simulate import simulate
from simulator.units import ticks_to_seconds
from simulator.validation.rows import MeasuredRow

SCHEMA: Final = "roadline.validate/1"


@dataclass(frozen=True)
class ValidatedRow:
    """A measured row with the simulation beside it, both in seconds."""

    row: MeasuredRow
    simulated_s: float
    limited_by: str
    """What most of the phase's time on the critical path went to."""

    @property
    def error(self) -> float:
        """Signed fraction of the measured value; positive: the simulation is too slow."""
        return self.simulated_s / self.row.measured_s - 1


def validate(
    rows: Sequence[MeasuredRow], catalog: Catalog, *, on_row: Callable[[int], None] | None = None
) -> list[ValidatedRow]:
    """Every row simulated.

    A decode row is simulated as one token after a prompt of as many tokens as its context.

    Args:
        rows: measured rows.
        catalog: where chips, runtimes and workloads are looked up.
        on_row: called with the number of rows done.
    Raises:
        SpecError: when a row names what the catalogue does not have.
    """
    validated = []
    for number, row in enumerate(rows, start=1):
        setup = single_run(
            catalog.load_chip(row.chip), catalog.load_workload(row.workload), catalog.load_runtime(row.runtime),
            precision=row.precision, prompt_tokens=row.prompt_tokens, decode_tokens=1,
        )  # fmt: skip
        result = simulate(setup)
        phase = next(phase for phase in result.phases if phase.name == row.phase)
        simulated_s = ticks_to_seconds(phase.latency_ticks)
        validated.append(ValidatedRow(row, simulated_s, result.phase_limit(phase)))
        if on_row is not None:
            on_row(number)
    return validated


def summary(validated: Sequence[ValidatedRow]) -> list[dict[str, Any]]:
    """Mean absolute error, signed bias and the worst row: of all rows, and of those that no constant was fitted on."""
    sets = []
    for name, members in (
        ("all", list(validated)),
        ("not fitted", [item for item in validated if not item.row.is_fitted]),
    ):
        errors = [item.error for item in members]
        sets.append(
            {
                "name": name,
                "rows": len(members),
                "fitted": sum(item.row.is_fitted for item in members),
                "mape": sum(map(abs, errors)) / len(errors) if errors else None,
                "bias": sum(errors) / len(errors) if errors else None,
                "worst": max(errors, key=abs) if errors else None,
            }
        )
    return sets


def to_dict(validated: Sequence[ValidatedRow]) -> dict[str, Any]:
    """Everything as plain values for JSON."""
    return {
        "schema": SCHEMA,
        "sets": summary(validated),
        "rows": [
            {
                "chip": item.row.chip, "runtime": item.row.runtime, "workload": item.row.workload,
                "precision": item.row.precision, "phase": item.row.phase, "tokens": item.row.prompt_tokens,
                "measured_s": item.row.measured_s, "simulated_s": item.simulated_s, "error": item.error,
                "limited_by": item.limited_by, "fitted": item.row.is_fitted, "source": item.row.source,
                "note": item.row.note,
            }
            for item in validated
        ],
    }  # fmt: skip
