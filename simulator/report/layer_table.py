"""The counts of a workload: what every phase and every operator computes, holds and moves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.padding import Padding
from rich.text import Text

from simulator.graph import WorkloadGraph
from simulator.graph.decoder import kv_elements_per_token
from simulator.graph.layers import KV_ELEMENT_BYTES, LayerRow, flop_per_byte, layer_rows, phase_rows, weight_bytes
from simulator.report.sheet_parts import WIDTH, new_table, rendered
from simulator.units import format_quantity
from simulator.workload import Workload


def counts_table(workload: Workload, graph: WorkloadGraph, width: int = WIDTH) -> str:
    """Parameters, work and bytes of every phase as text, and what is counted."""
    table = new_table(
        "Counts of one frame", "phase", "parameters >", "TFLOP >", "weights >", "KV read >", "KV written >",
        "activations >", "FLOP/B >",
    )  # fmt: skip
    for phase in phase_counts(graph):
        sizes = (phase[name] for name in ("weight_bytes", "kv_read_bytes", "kv_written_bytes", "activation_bytes"))
        intensity = phase["flop_per_byte"]
        table.add_row(
            phase["phase"], f"{phase['parameters']:,}", f"{phase['flop'] / 1e12:.4g}",
            *(format_quantity(size, "B") if size else "" for size in sizes),
            "" if intensity is None else f"{intensity:,.0f}" if intensity >= 1000 else f"{intensity:.4g}",
        )  # fmt: skip
    words = [
        "Weights: held, in the precision of the phase. Activations: read and written by each operator alone, unfused. "
        "FLOP/B: per byte of weights, read anew in each step (of experts: those expected to be picked), and of KV."
    ]
    if workload.decoder is not None:
        words.append(
            f"KV cache: {KV_ELEMENT_BYTES * kv_elements_per_token(workload.decoder):,} B per token; "
            f"{KV_ELEMENT_BYTES} B per element are assumed, as its format is a matter of the runtime."
        )
    if workload.decoder is not None and "linear" in workload.decoder.kinds:
        words.append("States of linear attention are not in these bytes.")
    return rendered([table, *(Padding(Text(each), (0, 0, 0, 2)) for each in words)], width)


def phase_counts(graph: WorkloadGraph) -> list[dict[str, Any]]:
    """Sums over the operators of each phase: all repetitions, and all steps of what is computed, read and written."""
    sums = ("parameters", "flop", "weight_bytes", "weight_read_bytes", "kv_read_bytes", "kv_written_bytes",
            "activation_bytes")  # fmt: skip
    counts = []
    for phase in graph.phases:
        rows = phase_rows(phase)
        counts.append({
            "phase": phase.name, "precision": phase.precision, "steps": phase.num_steps,
            **{name: sum(getattr(row, name) for row in rows) for name in sums},
            "flop_per_byte": flop_per_byte(rows),
        })  # fmt: skip
    return counts


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


def layer_record(row: LayerRow) -> dict[str, Any]:
    """A row as plain values."""
    return {**asdict(row), "flop_per_byte": row.flop_per_byte}


def workload_counts(workload: Workload, graph: WorkloadGraph) -> dict[str, Any]:
    """The counts as plain values for JSON."""
    decoder = workload.decoder
    return {
        "parameters": graph.parameters,
        "parameters_by_component": graph.component_parameters,
        "flops": graph.flop,
        "weight_bytes": weight_bytes(graph),
        "kv_bytes_per_token": None if decoder is None else KV_ELEMENT_BYTES * kv_elements_per_token(decoder),
        "kv_element_bytes": KV_ELEMENT_BYTES,
        "phases": phase_counts(graph),
        "layers": [layer_record(row) for row in layer_rows(graph)],
    }
