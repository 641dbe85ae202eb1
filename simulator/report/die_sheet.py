"""Sheets of silicon: the rest of a die and its power states, its area and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simulator.chip import Chip
from simulator.errors import Infeasible
from simulator.ppa.area import Area, area_of
from simulator.ppa.cost import Cost, cost_of
from simulator.report.sheet_parts import WIDTH, Number, new_table, number_table, part_labels, rendered
from simulator.technology import Technology


def rest_of_die_tables(chip: Chip, numbers: Mapping[str, Number]) -> list[Table]:
    """What the die has beside what runs models, and the states in which it can be."""
    tables = []
    for field, heading in (("physical", "Rest of the die"), *((f"power_states.{name}", f"Power state {name}")
                                                             for name in chip.power_states or ())):  # fmt: skip
        labels = part_labels(numbers, field)
        if labels:
            tables.append(number_table(heading, numbers, labels))
    return tables


def die_sheet(chip: Chip, technology: Technology | None, width: int = WIDTH) -> str:
    """Area and cost of a chip, or why there are none."""
    if technology is None:
        return rendered([Text(f"Area and cost: none, since chip {chip.name} names no technology.")], width)
    parts: list[RenderableType] = [_area_table(area_of(chip, technology))]
    try:
        parts.append(_cost_table(cost_of(chip, technology)))
    except Infeasible as error:
        parts.append(Text(f"Cost: none. {error.message}; {error.hint}."))
    return rendered(parts, width)


def die_figures(chip: Chip, technology: Technology | None) -> dict[str, Any]:
    """The same as plain values for JSON."""
    if technology is None:
        return {"area": None, "cost": None, "reason": f"chip {chip.name} names no technology"}
    area = area_of(chip, technology)
    figures: dict[str, Any] = {
        "area": {
            "blocks_mm2": dict(area.blocks_mm2), "total_mm2": area.total_mm2, "published_mm2": area.published_mm2,
            "error": area.error,
        },
        "cost": None,
        "reason": None,
    }  # fmt: skip
    try:
        cost = cost_of(chip, technology)
    except Infeasible as error:
        return {**figures, "reason": error.message}
    return {
        **figures,
        "cost": {
            "num_dies": cost.num_dies, "dies_per_wafer": cost.dies_per_wafer, "die_yield": cost.die_yield,
            "die_usd": cost.die_usd, "test_usd": cost.test_usd, "package_usd": cost.package_usd,
            "dram_usd": cost.dram_usd, "total_usd": cost.total_usd,
        },
    }  # fmt: skip


def _area_table(area: Area) -> Table:
    table = new_table("Area of the die, modelled", "block", "area >", "share >")
    for block, block_mm2 in area.blocks_mm2.items():
        if block_mm2 > 0:
            table.add_row(block, f"{block_mm2:.1f} mm2", f"{100 * block_mm2 / area.total_mm2:.1f} %")
    table.add_section()
    table.add_row("die", f"{area.total_mm2:.1f} mm2", "")
    if area.published_mm2 is not None and area.error is not None:
        table.add_row("published", f"{area.published_mm2:.1f} mm2", "")
        table.add_row("error", f"{area.total_mm2 - area.published_mm2:+.1f} mm2", f"{100 * area.error:+.1f} %")
    return table


def _cost_table(cost: Cost) -> Table:
    table = new_table("Cost of that die and its memory", "what", "USD >", "")
    yielded = f"{cost.dies_per_wafer} dies on a wafer, {100 * cost.die_yield:.0f} % of them good"
    for what, usd, note in (("silicon", cost.die_usd, yielded), ("test", cost.test_usd, ""),
                            ("package", cost.package_usd, ""), ("DRAM", cost.dram_usd, "")):  # fmt: skip
        table.add_row(what, f"{usd:,.0f}", note)
    table.add_section()
    table.add_row("all", f"{cost.total_usd:,.0f}", "" if cost.num_dies == 1 else f"{cost.num_dies} dies of this kind")
    return table
