"""What an import found: sizes, stored weights, and what was decided or left out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from simulator.graph import build_graph
from simulator.importers import Imported
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
        ("weights", f"{format_quantity(counts['weight_bytes'], 'B')} if all are in {_precisions(imported)}"),
    ]
    if counts["kv_bytes_per_token"]:
        facts.append(("KV cache", _cache_words(imported, counts["kv_bytes_per_token"])))
    facts += _stored(imported)
    parts: list[RenderableType] = [heading_line(workload.name, workload.title), pairs(facts)]
    if imported.remarks:
        parts.append(_listed("Decided", imported.remarks))
    if imported.filled:
        words = (f"{key}: {value}" for key, value in imported.filled.items())
        parts.append(_listed("Left out there, and taken as its class has it", words))
    if imported.unknown:
        parts.append(_listed("Keys that nobody knows; they may have a cost that the workload lacks", imported.unknown))
    return rendered(parts, width)


def _cache_words(imported: Imported, token_bytes: int) -> str:
    decoder = imported.workload.decoder
    window = decoder.attention_window if decoder is not None else None
    limit = "" if window is None else f"; layers with a window keep {window:,} tokens"
    return f"{token_bytes:,} B per token, of 16 bits each{limit}"


def _precisions(imported: Imported) -> str:
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
