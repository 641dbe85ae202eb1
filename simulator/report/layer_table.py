"""The layer table of a workload: what every operator computes and holds, phase by phase."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simulator.graph import WorkloadGraph
from simulator.graph.decoder import kv_elements_per_token
from simulator.graph.layers import layer_rows, weight_bytes
from simulator.report.sheet_parts import WIDTH, new_table, rendered
from simulator.units import format_quantity
from simulator.workload import Workload

KV_ELEMENT_BYTES = 2
"""Keys and values in a 16-bit format, as all catalogue runtimes keep them."""


def layer_table(graph: WorkloadGraph, width: int = WIDTH) -> str:
    """The operators as text, one table per phase."""
    rows = layer_rows(graph)
    tables = []
    for phase in graph.phases:
        steps = phase.num_steps
        table = new_table(
            f"{phase.name}: {phase.tokens:,} tokens in {steps} step{'s' if steps > 1 else ''}, {phase.precision}, "
            f"{phase.flop / 1e12:.4g} TFLOP",
            "operator", "shape (of the first step)", "layers >", "parameters >", "weights >", "GFLOP >",
        )  # fmt: skip
        for row in rows:
            if row.phase == phase.name:
                table.add_row(
                    row.name, row.shape, str(row.repeats), f"{row.parameters:,}" if row.parameters else "",
                    format_quantity(row.weight_bytes, "B") if row.weight_bytes else "",
                    _gigaflop(row.flop),
                )  # fmt: skip
        tables.append(table)
    return rendered(tables, width)


def _gigaflop(flop: int) -> str:
    if not flop:
        return ""
    return f"{flop / 1e9:,.0f}" if flop >= 1e12 else f"{flop / 1e9:.4g}"


def workload_counts(workload: Workload, graph: WorkloadGraph) -> dict[str, Any]:
    """The counts as plain values for JSON."""
    decoder = workload.decoder
    return {
        "parameters": graph.parameters,
        "parameters_by_component": graph.component_parameters,
        "flops": graph.flop,
        "weight_bytes": weight_bytes(graph),
        "kv_bytes_per_token": None if decoder is None else KV_ELEMENT_BYTES * kv_elements_per_token(decoder),
        "layers": [asdict(row) for row in layer_rows(graph)],
    }
