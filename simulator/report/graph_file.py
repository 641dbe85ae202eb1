"""The operators of a workload as a file: DOT for graph tools, JSON, and CSV with one row per operator.

The drawing is in `graph_plot`, the counts in `simulator.graph.layers`.
"""

# ruff: noqa: PLC0415 - matplotlib takes seconds to import, and text needs none

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from typing import Any, Final

from simulator.graph import PhaseGraph, WorkloadGraph
from simulator.graph.layers import KV_ELEMENT_BYTES, LayerRow, layer_rows, named_graphs, phase_rows
from simulator.report.files import PICTURE_SUFFIXES, file_kind, new_file
from simulator.report.layer_table import layer_record, phase_counts

GRAPH_SUFFIXES: Final = (".dot", ".json", ".csv", *PICTURE_SUFFIXES)
"""Formats of a graph."""

_COLUMNS: Final = (*(field.name for field in fields(LayerRow)), "flop_per_byte")


def write_graph(graph: WorkloadGraph, path: str | os.PathLike[str]) -> None:
    """Writes the operators of a workload in the format that the suffix names.

    Raises:
        SpecError: when the suffix is none of `GRAPH_SUFFIXES`, or a block is too long for a drawing.
        OutputError: when the file cannot be written; then there is no file.
    """
    kind = file_kind(path, GRAPH_SUFFIXES, what="a graph")
    if kind in PICTURE_SUFFIXES:
        from simulator.report.graph_plot import draw_graph

        draw_graph(graph, path)
        return
    text = {".dot": dot_text, ".json": json_text, ".csv": csv_text}[kind](graph)
    with new_file(path) as file:
        file.write(text.encode())


# DOT -------------------------------------------------------------------------------------------------------------


def dot_text(graph: WorkloadGraph) -> str:
    """A cluster per block; dashed edges lead from the end of a block to the next one: an order, and no tensor."""
    lines = [f"digraph {_quoted(graph.name)} {{", "  rankdir=TB;", "  node [shape=box, style=rounded];"]
    ends: list[tuple[str, str]] = []
    for phase in graph.phases:
        for cluster, ends_of_block in _clusters(phase, len(ends)):
            lines += cluster
            ends.append(ends_of_block)
    for (_, last), (first, _) in pairwise(ends):
        lines.append(f"  {last} -> {first} [style=dashed];")
    return "\n".join([*lines, "}", ""])


def _clusters(phase: PhaseGraph, first_index: int) -> Iterator[tuple[list[str], tuple[str, str]]]:
    """The lines of every block of a phase, and its first and last operator."""
    shapes = {(row.block, row.name): row.shape for row in phase_rows(phase)}
    for index, (name, (operators, blocks)) in enumerate(named_graphs(phase).items(), first_index):
        repeats = sum(int(block.repeats) for block in blocks)
        ids = {operator.name: _quoted(node_id(phase.name, name, operator.name)) for operator in operators.operators}
        label = _quoted(f"{phase.name}: {block_label(name, repeats)}")
        lines = [f"  subgraph {_quoted(f'cluster_{index}')} {{", f"    label={label};"]
        lines += [f"    {ids[each]} [label={_quoted(each, shapes[name, each])}];" for each in ids]
        lines += [f"    {ids[before]} -> {ids[after]};" for before, after in operators.edges]
        yield [*lines, "  }"], (ids[operators.operators[0].name], ids[operators.operators[-1].name])


def node_id(phase: str, block: str, operator: str) -> str:
    """The name of an operator among all of a workload."""
    return f"{phase}/{block}/{operator}"


def block_label(name: str, repeats: int) -> str:
    """A block with its repetitions."""
    return name if repeats == 1 else f"{name} x {repeats}"


def _quoted(*lines: str) -> str:
    """A string of DOT: quotes and backslashes are escaped, lines are joined with the escape for a new one."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'


# JSON and CSV ----------------------------------------------------------------------------------------------------


def json_text(graph: WorkloadGraph) -> str:
    """Phases with their counts, their blocks in order, and the graphs that blocks repeat: nodes and edges."""
    phases = [
        {
            **counts,
            "kind": phase.kind, "component": phase.component, "tokens": phase.tokens,
            "blocks": _blocks(phase), "graphs": _graphs(phase),
        }
        for phase, counts in zip(graph.phases, phase_counts(graph), strict=True)
    ]  # fmt: skip
    tree = {
        "workload": graph.name, "parameters": graph.parameters, "flop": graph.flop,
        "kv_element_bytes": KV_ELEMENT_BYTES, "phases": phases,
    }  # fmt: skip
    return json.dumps(tree, indent=1) + "\n"


def _blocks(phase: PhaseGraph) -> list[dict[str, Any]]:
    names = {graph: name for name, (graph, _) in named_graphs(phase).items()}
    return [
        {
            "graph": names[block.graph], "repeats": int(block.repeats), "first_layer": block.first_layer,
            "shares_weights": block.shares_weights, "only_last_step": block.only_last,
        }
        for block in phase.blocks
    ]  # fmt: skip


def _graphs(phase: PhaseGraph) -> list[dict[str, Any]]:
    """Counts of a node are those of all repetitions of its graph and of all steps."""
    rows = phase_rows(phase)
    return [
        {
            "name": name,
            "nodes": [layer_record(row) for row in rows if row.block == name],
            "edges": [list(edge) for edge in graph.edges],
        }
        for name, (graph, _) in named_graphs(phase).items()
    ]


def csv_text(graph: WorkloadGraph) -> str:
    """One row per operator of each phase, with the fields of `LayerRow` and its flop per byte."""
    page = io.StringIO()
    writer = csv.DictWriter(page, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(layer_record(row) for row in layer_rows(graph))
    return page.getvalue()
