"""What an import of a graph found: sizes, what was recognised, decided or left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from simulator.graph import build_graph
from simulator.importers import ImportedNetwork
from simulator.report.layer_table import workload_counts
from simulator.report.sheet_parts import WIDTH, heading_line, pairs, rendered
from simulator.units import format_quantity

MOST_LISTED: Final = 20
"""Lines of one kind; a file and JSON have all."""


def network_import_sheet(imported: ImportedNetwork, width: int = WIDTH) -> str:
    """The account of an imported graph as text."""
    workload = imported.workload
    graph = build_graph(workload)
    counts = workload_counts(workload, graph)
    (network,) = workload.networks.values()
    operators = sum(len(block.operators) for block in network.blocks)
    runs = sum(len(block.operators) * block.repeats for block in network.blocks)
    stored = ", ".join(f"{count:,} of {kind}" for kind, count in imported.stored.items())
    inputs = ", ".join(f"{name} {list(shape)}" for name, shape in network.inputs.items())
    facts = [
        ("from", imported.origin),
        ("inputs", inputs),
        ("operators", f"{operators:,} in {len(network.blocks):,} blocks, {runs:,} with repeats"),
        ("operations", f"{format_quantity(counts['flops'], 'FLOP')} of matrices"),
        ("parameters", f"{counts['parameters']:,}; the file holds {stored or 'none'}"),
        ("weights", f"{format_quantity(counts['weight_bytes'], 'B')} in {workload.pipeline[0].precision}"),
    ]
    parts: list[RenderableType] = [heading_line(workload.name, workload.title), pairs(facts)]
    if imported.fused:
        parts.append(_listed("Recognised", (f"{count:,} {kind}" for kind, count in imported.fused.items())))
    for heading, lines in (("Not recognised", imported.not_fused), ("Decided", imported.remarks),
                           ("Skipped, each counted as a copy of its results", imported.skipped)):  # fmt: skip
        if lines:
            more = [f"and {len(lines) - MOST_LISTED:,} more"] if len(lines) > MOST_LISTED else []
            parts.append(_listed(heading, [*lines[:MOST_LISTED], *more]))
    return rendered(parts, width)


def _listed(heading: str, lines: Iterable[str]) -> RenderableType:
    return Group(f"{heading}:", *(Padding(Text(line), (0, 0, 0, 2)) for line in lines))
