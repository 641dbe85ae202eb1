"""`roadline list`, `show` and `schema`: the catalogue."""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from simulator.cli.options import FILE, catalogue_option, json_option, page_columns, print_json, set_option
from simulator.errors import RoadlineError

if TYPE_CHECKING:
    from simulator.catalog import Catalog, Kind
    from simulator.spec import Spec

_PLURALS: Final = {"chips": "chip", "memories": "memory", "runtimes": "runtime", "technologies": "technology",
                   "workloads": "workload", "scenarios": "scenario", "studies": "study"}  # fmt: skip
_KINDS: Final = tuple(_PLURALS.values())


@click.command("list")
@click.argument("kinds", required=False, metavar=f"[{'|'.join(_PLURALS)}]", type=click.Choice([*_PLURALS]))
@catalogue_option
@json_option
def list_command(*, kinds: str | None, folders: tuple[str, ...], as_json: bool) -> None:
    """List the catalogue."""
    from simulator.catalog import Catalog

    catalog = Catalog(folders)
    listed = {plural: _listed(catalog, kind) for plural, kind in _PLURALS.items() if kinds in {None, plural}}
    if as_json:
        print_json(listed)
        return
    from simulator.report.sheets import list_sheet

    for plural, rows in listed.items():
        cells = [(row["name"], row["title"], row["key_figure"]) for row in rows]
        click.echo(list_sheet(plural.capitalize(), cells, page_columns()) + "\n")


@click.command("show")
@click.argument("kind", type=click.Choice(_KINDS), metavar="|".join(_KINDS))
@click.argument("name")
@catalogue_option
@set_option
@json_option
@click.option("--plot", "plot_path", metavar="FILE", type=FILE, help="Draw a chip to an image.")
@click.option(
    "--graph",
    "graph_path",
    metavar="FILE",
    type=FILE,
    help="Write the operators of a workload: .dot, .json, .csv, or .svg, .png, .pdf for a drawing.",
)
def show_command(
    *,
    kind: Kind,
    name: str,
    folders: tuple[str, ...],
    assignments: tuple[str, ...],
    as_json: bool,
    plot_path: Path | None,
    graph_path: Path | None,
) -> None:
    """Show one object with the source of every number."""
    if plot_path is not None and kind != "chip":
        raise click.UsageError(f"--plot draws a chip, not a {kind}")
    if graph_path is not None:
        if kind != "workload":
            raise click.UsageError(f"--graph writes the operators of a workload, not of a {kind}")
        from simulator.report.graph_file import GRAPH_SUFFIXES
        from simulator.report.outputs import check_files

        check_files((graph_path, GRAPH_SUFFIXES, "a graph"))
    from simulator.catalog import Catalog, parse_assignments

    catalog = Catalog(folders)
    spec: Any = _load(catalog, kind, name, parse_assignments(assignments))
    if plot_path is not None:
        from simulator.report.block_diagram import draw_block_diagram

        draw_block_diagram(spec, plot_path)
        click.echo(f"wrote {plot_path}", err=True)
    if graph_path is not None:
        from simulator.graph import build_graph
        from simulator.report.graph_file import write_graph

        write_graph(build_graph(spec), graph_path)
        click.echo(f"wrote {graph_path}", err=True)
    figures, further = _further(catalog, kind, spec)
    if as_json:
        print_json({"kind": kind, **spec.model_dump(mode="json"), **figures})
    else:
        click.echo(_sheet(spec) + further)


@click.command("schema")
@click.argument("kind", type=click.Choice(_KINDS), metavar="|".join(_KINDS))
def schema_command(kind: Kind) -> None:
    """Print the JSON Schema of a kind of file, for editors."""
    from simulator.catalog import schema

    print_json(schema(kind))


def _load(catalog: Catalog, kind: str, name: str, overrides: dict[str, Any] | None = None) -> Spec:
    load: Callable[..., Spec] = getattr(catalog, f"load_{kind}")
    return load(name, overrides)


def _listed(catalog: Catalog, kind: Any) -> list[dict[str, str]]:
    """Name, title, key figure and file of every object; one that is not valid says how to learn why."""
    from simulator.report.sheets import key_figure

    rows = []
    for name in catalog.names(kind):
        try:
            spec: Any = _load(catalog, kind, name)
            title, figure = spec.title, key_figure(spec)
        except RoadlineError:
            title, figure = f'not valid; "roadline show {kind} {name}" says why', ""
        rows.append({"name": name, "title": title, "key_figure": figure, "file": str(catalog.path(kind, name))})
    return rows


def _sheet(spec: Any) -> str:
    name = type(spec).__name__.lower()
    module = f"{name}_sheet" if name in {"chip", "memory", "scenario", "study"} else "sheets"
    sheet: Callable[..., str] = getattr(import_module(f"simulator.report.{module}"), f"{name}_sheet")
    return sheet(spec, page_columns())


def _further(catalog: Catalog, kind: Kind, spec: Any) -> tuple[dict[str, Any], str]:
    """What follows from an object beside what its file says: for JSON, and as text."""
    if kind == "workload":
        return _layers(spec)
    if kind == "study":
        return _points(spec), ""
    return _die(catalog, spec) if kind == "chip" else ({}, "")


def _die(catalog: Catalog, chip: Any) -> tuple[dict[str, Any], str]:
    """Area and cost of a chip."""
    from simulator.report.die_sheet import die_figures, die_sheet

    technology = catalog.technology_of(chip)
    return {"die": die_figures(chip, technology)}, f"\n\n{die_sheet(chip, technology, page_columns())}"


def _layers(workload: Any) -> tuple[dict[str, Any], str]:
    """The counts of a workload's operators, and its layer table as text."""
    from simulator.graph import build_graph
    from simulator.report.layer_table import counts_table, layer_table, workload_counts

    graph = build_graph(workload)
    counts = workload_counts(workload, graph)
    summary = ", ".join(f"{name} {count:,}" for name, count in counts["parameters_by_component"].items())
    tables = f"{counts_table(workload, graph, page_columns())}\n\n{layer_table(graph, page_columns())}"
    return counts, f"\n\nParameters, exact: {counts['parameters']:,} ({summary})\n\n{tables}"


def _points(study: Any) -> dict[str, Any]:
    """The counts of a study's space."""
    from simulator.exploration.space import Space

    space = Space.of(study)
    return {"combinations": space.num_combinations, "points": len(space), "excluded": dict(space.excluded)}
