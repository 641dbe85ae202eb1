"""The table of docs/networks.md: what is simulated of published rows, as it stands there, misses included."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import load_workload, run

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
ROWS = [
    tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
    for line in PAGE.splitlines()
    if line.startswith("| `") and line.endswith("% |")
]
NAMES = [" ".join(row[:4]) for row in ROWS]


def milliseconds(text: str) -> float:
    return float(text.removesuffix(" ms"))


def choice(workload: str, text: str) -> dict[str, str]:
    """`w8a8-static` for the only phase, or `backbone=fp16, head=fp32`."""
    if "=" in text:
        return dict(part.split("=") for part in text.split(", "))
    return {phase.name: text for phase in load_workload(workload).pipeline}


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_row_of_the_table_is_what_the_tool_gives(row: tuple[str, ...]) -> None:
    workload, chip, runtime, precision, simulated, measured, error = row
    found = run(chip, workload, runtime=runtime, precision=choice(workload, precision)).latency_s * 1e3  # type: ignore[arg-type]
    assert found == pytest.approx(milliseconds(simulated), rel=0.006)  # three digits
    assert 100 * (found / milliseconds(measured) - 1) == pytest.approx(float(error.removesuffix(" %")), abs=0.6)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_measured_row_is_one_that_the_workload_publishes(row: tuple[str, ...]) -> None:
    published = load_workload(row[0]).published
    in_notes = any(f"PyTorch {row[5]}" in (each.note or "") for each in published)
    assert in_notes or any(each.latency * 1e3 == pytest.approx(milliseconds(row[5]), rel=0.002) for each in published)


def test_no_row_is_lost() -> None:
    assert len(ROWS) == 13
