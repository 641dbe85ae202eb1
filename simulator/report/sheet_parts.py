"""Parts of a sheet: sourced numbers as text, tables, notes, and the page they are printed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulator.sourced import UNCERTAIN, Status, units_of
from simulator.spec import Spec
from simulator.units import VALUE_DIGITS, value_text

WIDTH: Final = 100
"""Columns of a sheet."""

DIGITS: Final = VALUE_DIGITS
"""Significant digits of a number."""

_STATUS_ORDER: Final[tuple[Status, ...]] = (
    "datasheet",
    "measured",
    "derived",
    "press",
    "recalled",
    "inferred",
    "assumed",
)


@dataclass(frozen=True)
class Number:
    """A sourced number as text."""

    text: str
    status: Status
    source: str
    note: str | None


def numbers_of(spec: Spec) -> dict[str, Number]:
    """Every sourced number of a spec by its dotted path, with its value as text."""
    return {
        path: Number(value_text(number.value, unit), number.status, number.source, number.note)
        for path, number, unit in units_of(spec)
    }


def worst_status(statuses: Iterable[Status]) -> Status:
    """The least certain of some statuses: that of a number derived from all of them."""
    return max(statuses, key=_STATUS_ORDER.index)


def uncertain_list(numbers: Mapping[str, Number]) -> RenderableType:
    """The numbers that are no data, each with its note, in two lines: paths and notes are too long for columns."""
    uncertain = {path: number for path, number in numbers.items() if number.status in UNCERTAIN}
    if not uncertain:
        return Text("No number here is inferred, recalled or assumed.")
    lines: list[RenderableType] = [
        f"Uncertain: {len(uncertain)} of {len(numbers)} numbers are inferred, recalled or assumed"
    ]
    for path, number in uncertain.items():
        lines.append(Padding(Text(f"{path}: {number.text}, {number.status}, {number.source}"), (0, 0, 0, 2)))
        if number.note:
            lines.append(Padding(Text(number.note), (0, 0, 0, 6)))
    return Group(*lines)


def number_table(heading: str, numbers: Mapping[str, Number], labels: Mapping[str, str]) -> Table:
    """A table of sourced numbers; `labels` says which paths in which order, and a path without a number is left out."""
    table = new_table(heading, "what", "value >", "status", "source")
    for path, label in labels.items():
        if path in numbers:
            table.add_row(label, numbers[path].text, numbers[path].status, numbers[path].source)
    return table


def part_labels(numbers: Mapping[str, Number], part: str) -> dict[str, str]:
    """Labels for a table of all numbers of one part of an object: their paths as words."""
    start = f"{part}."
    return {
        path: path.removeprefix(start).replace("_", " ").replace(".", ", ")
        for path in numbers
        if path.startswith(start)
    }


def new_table(heading: str, *columns: str) -> Table:
    """An empty table; a column name that ends in `>` is set flush right."""
    table = Table(
        title=heading, title_justify="left", title_style="", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for column in columns:
        table.add_column(
            column.removesuffix(" >"), justify="right" if column.endswith(">") else "left", overflow="fold"
        )
    return table


def heading_line(name: str, title: str) -> Text:
    """The first line of a sheet."""
    return Text(f"{name}: {title}")


def pairs(facts: Iterable[tuple[str, str]]) -> Table:
    """Facts in two columns without a frame."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for fact in facts:
        table.add_row(*fact)
    return table


def provenance(what: str, source: str, status: str, note: str | None) -> RenderableType:
    """Where the sizes of something were read."""
    text = f"{what}: {status}, {source}" + (f"; {note}" if note else "")
    return Padding(Text(text), (0, 0, 0, 2))


def percent_text(fraction: float) -> str:
    """A fraction in percent, such as "12.5 %"."""
    return f"{100 * fraction:.1f} %"


def rendered(parts: Iterable[RenderableType], width: int) -> str:
    """The parts as one text, with an empty line between them."""
    page = StringIO()
    console = Console(file=page, width=width, color_system=None, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)
        console.print()
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()).strip("\n")
