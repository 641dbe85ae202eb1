"""What an import found: sizes, stored weights, and what was decided or left out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from simulator.graph import build_graph
from simulator.importers import Imported, ImportedNetwork
from simulator.report.layer_table import workload_counts
from simulator.report.sheet_parts import WIDTH, heading_line, pairs, rendered
from simulator.units import format_quantity


def import_sheet(imported: Imported, width: int = WIDTH) -> str:
    """The account of an import as text."""
    workload = imported.workload
    counts = workload_counts(workload, build_graph(workload))
    components = ", ".join(f"{name} {count:,}" for name, count in counts["parameters_by_component"].items())
    facts = [
        ("from", f"{imported.origin}, {imported.family}"),
        ("parameters", f"{counts['parameters']:,} ({components})"),
        ("weights", f"{format_quantity(counts['weight_bytes'], 'B')} in {_precisions(imported)}"),
    ]
    if counts["kv_bytes_per_token"]:
        facts.append(("KV cache", f"{counts['kv_bytes_per_token']:,} B per token, of 16 bits each"))
    facts += _stored(imported)
    parts: list[RenderableType] = [heading_line(workload.name, workload.title), pairs(facts)]
    if imported.remarks:
        parts.append(_listed("Decided", imported.remarks))
    if imported.filled:
        words = (f"{key}: {value}" for key, value in imported.filled.items())
        parts.append(_listed(f"Left out there, taken as in all of {imported.family}", words))
    if imported.unknown:
        parts.append(_listed("Keys that nobody knows; they may have a cost that the workload lacks", imported.unknown))
    return rendered(parts, width)


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
        ("weights", f"{format_quantity(counts['weight_bytes'], 'B')} in {_precisions(imported)}"),
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


MOST_LISTED = 20
"""Lines of one kind; a file and JSON have all."""


def _precisions(imported: Imported | ImportedNetwork) -> str:
    return ", ".join(dict.fromkeys(phase.precision for phase in imported.workload.pipeline))


def _stored(imported: Imported) -> list[tuple[str, str]]:
    """The stored weights beside those of the workload."""
    comparison = imported.comparison
    if comparison is None:
        return []
    types = ", ".join(f"{format_quantity(count, 'B')} of {dtype}" for dtype, count in comparison.stored_bytes.items())
    return [("stored", "; ".join([comparison.verdict, types, *comparison.remarks]))]


def _listed(heading: str, lines: Iterable[str]) -> RenderableType:
    return Group(f"{heading}:", *(Padding(Text(line), (0, 0, 0, 2)) for line in lines))
