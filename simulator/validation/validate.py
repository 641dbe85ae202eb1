"""Simulates measured rows and states the error of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scipy.stats import kendalltau

from simulator.catalog import Catalog, parse_assignments
from simulator.errors import SpecError
from simulator.precision import precision_choice
from simulator.simulation.setup import single_run
from simulator.simulation.simulate import simulate
from simulator.units import ticks_to_seconds
from simulator.validation.rows import MeasuredRow

SCHEMA: Final = "roadline.validate/1"

TOTAL: Final = "total"
"""The phase of a row that is a whole frame."""


@dataclass(frozen=True)
class ValidatedRow:
    """A measured row with the simulation beside it, both in seconds."""

    row: MeasuredRow
    simulated_s: float
    limited_by: str
    """What most of the phase's time on the critical path went to."""

    @property
    def error(self) -> float:
        """Signed fraction of the measured time; positive: the simulation is too slow."""
        return self.simulated_s / self.row.measured_s - 1


def validate(
    rows: Sequence[MeasuredRow], catalog: Catalog, *, on_row: Callable[[int], None] | None = None
) -> list[ValidatedRow]:
    """Every row simulated.

    A decode row with a context is simulated as one token after a prompt of as many tokens.

    Args:
        rows: measured rows.
        catalog: where chips, runtimes and workloads are looked up.
        on_row: called with the number of rows done.
    Raises:
        SpecError: when a row names what the catalogue does not have.
    """
    validated = []
    for number, row in enumerate(rows, start=1):
        try:
            validated.append(_validated(row, catalog))
        except SpecError as error:
            raise SpecError(f"{row.place}  {error.message}", hint=error.hint) from None
        if on_row is not None:
            on_row(number)
    return validated


def _validated(row: MeasuredRow, catalog: Catalog) -> ValidatedRow:
    changes = parse_assignments([change.strip() for change in row.changes.split(";") if change.strip()])
    setup = single_run(
        catalog.load_chip(row.chip, changes), catalog.load_workload(row.workload), catalog.load_runtime(row.runtime),
        precision=precision_choice(row.precision), prompt_tokens=row.tokens,
        decode_tokens=None if row.tokens is None else 1,
    )  # fmt: skip
    result = simulate(setup)
    if row.phase == TOTAL:
        return ValidatedRow(row, result.latency_s, "")
    phase = result.phase(row.phase)
    if phase is None:
        names = ", ".join(found.name for found in result.phases)
        raise SpecError(f'phase: must be {TOTAL} or one of those of {row.workload} ({names}), got "{row.phase}"')
    return ValidatedRow(row, ticks_to_seconds(phase.latency_ticks), result.phase_limit(phase))


def summary(validated: Sequence[ValidatedRow]) -> list[dict[str, Any]]:
    """Errors of all rows, and of those that no constant was chosen on.

    `mape` is the mean absolute error, `bias` the mean signed error, `p90` the absolute error that nine rows of ten do
    not exceed (nearest rank), `worst` the largest, all as fractions; `kendall_tau` compares the order of measured and
    simulated times. None where there are too few rows.
    """
    not_fitted = [item for item in validated if not item.row.is_fitted]
    return [_set("all", list(validated)), _set("not fitted", not_fitted)]


def _set(name: str, members: list[ValidatedRow]) -> dict[str, Any]:
    errors = [item.error for item in members]
    absolute = sorted(map(abs, errors))
    tau = None
    if len(members) > 1:
        measured, simulated = ([value(item) for item in members] for value in (_measured_s, _simulated_s))
        tau = float(kendalltau(measured, simulated).statistic)
    return {
        "name": name,
        "rows": len(members),
        "fitted": sum(item.row.is_fitted for item in members),
        "constants": None,
        "mape": sum(absolute) / len(absolute) if absolute else None,
        "bias": sum(errors) / len(errors) if errors else None,
        "p90": absolute[-(-9 * len(absolute) // 10) - 1] if absolute else None,
        "worst": max(errors, key=abs) if errors else None,
        "kendall_tau": tau,
    }


def _measured_s(item: ValidatedRow) -> float:
    return item.row.measured_s


def _simulated_s(item: ValidatedRow) -> float:
    return item.simulated_s


def to_dict(validated: Sequence[ValidatedRow]) -> dict[str, Any]:
    """Everything as plain values for JSON: the columns of each row, and beside them what was simulated."""
    return {
        "schema": SCHEMA,
        "sets": summary(validated),
        "rows": [
            {
                **item.row.cells,
                "value": float(item.row.cells["value"]),
                "simulated": item.row.in_unit(item.simulated_s),
                "error": item.error,
                "fitted": item.row.is_fitted,
                "limited_by": item.limited_by,
            }
            for item in validated
        ],
    }
