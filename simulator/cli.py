"""The command `roadline`: parses, calls and prints; decides nothing.

Only what `--help` needs is imported here; a command imports its own work. Errors become messages and exit codes in
`main` alone: 0 done, 1 a check failed, 2 wrong input, 3 a bug, 130 interrupted.
"""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from simulator import __version__
from simulator.errors import EngineError, RoadlineError

if TYPE_CHECKING:
    from simulator.catalog import Catalog, Kind
    from simulator.simulation.simulate import EngineName
    from simulator.spec import Spec

_KINDS: Final = ("chip", "runtime", "workload", "scenario")
_PLURALS: Final = {f"{kind}s": kind for kind in _KINDS}
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _print_version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        click.echo(f"roadline {__version__}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def roadline() -> None:
    """Simulate automotive AI chips that run driving models at batch 1.

    Start with "roadline list", then "roadline show chip NAME". A path to a YAML file works wherever a name does.
    """


def catalogue_option(command: _Command) -> _Command:
    """Adds `--catalogue DIR`."""
    return click.option(
        "--catalogue",
        "folders",
        multiple=True,
        metavar="DIR",
        help="Folder with your own YAML files, searched first; may be repeated. ROADLINE_CATALOGUE names more.",
    )(command)


def set_option(command: _Command) -> _Command:
    """Adds `--set PATH=VALUE`."""
    return click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="PATH=VALUE",
        help='Replace a value (of the chip in a run), such as --set "dram.rate=9600 MT/s"; may be repeated.',
    )(command)


def json_option(command: _Command) -> _Command:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, numbers in base units.")(command)


@roadline.command("list")
@click.argument("kinds", required=False, metavar="[chips|runtimes|workloads|scenarios]", type=click.Choice([*_PLURALS]))
@catalogue_option
@json_option
def list_command(*, kinds: str | None, folders: tuple[str, ...], as_json: bool) -> None:
    """List the catalogue."""
    from simulator.catalog import Catalog

    catalog = Catalog(folders)
    listed = {plural: _listed(catalog, kind) for plural, kind in _PLURALS.items() if kinds in {None, plural}}
    if as_json:
        _print_json(listed)
        return
    from simulator.report.sheets import list_sheet

    for plural, rows in listed.items():
        cells = [(row["name"], row["title"], row["key_figure"]) for row in rows]
        click.echo(list_sheet(plural.capitalize(), cells, _columns()) + "\n")


@roadline.command()
@click.argument("kind", type=click.Choice(_KINDS), metavar="chip|runtime|workload|scenario")
@click.argument("name")
@catalogue_option
@set_option
@json_option
@click.option("--plot", "plot_path", metavar="FILE", type=click.Path(path_type=Path), help="Draw a chip to an image.")
def show(
    *,
    kind: Kind,
    name: str,
    folders: tuple[str, ...],
    assignments: tuple[str, ...],
    as_json: bool,
    plot_path: Path | None,
) -> None:
    """Show one object with the source of every number."""
    if plot_path is not None and kind != "chip":
        raise click.UsageError(f"--plot draws a chip, not a {kind}")
    from simulator.catalog import Catalog, parse_assignments

    spec: Any = _load(Catalog(folders), kind, name, parse_assignments(assignments))
    if plot_path is not None:
        from simulator.report.block_diagram import draw_block_diagram

        draw_block_diagram(spec, plot_path)
        click.echo(f"wrote {plot_path}", err=True)
    counts, layers = _layers(spec) if kind == "workload" else ({}, "")
    if as_json:
        _print_json({"kind": kind, **spec.model_dump(mode="json"), **counts})
    else:
        click.echo(_sheet(spec) + layers)


@roadline.command("run")
@click.argument("scenario", required=False)
@click.option("--chip", metavar="NAME", help="Chip, instead of a scenario.")
@click.option("--workload", metavar="NAME", help="Workload, instead of a scenario.")
@click.option("--runtime", metavar="NAME", help="Runtime; without it the usual one of the chip.")
@click.option(
    "--precision",
    metavar="P",
    help="Precision of the decoder's matrices, such as nvfp4, or of phases, such as vision=fp8,action=fp8.",
)
@click.option("--prompt", "prompt_tokens", metavar="N", type=click.IntRange(min=1), help="Prompt tokens.")
@click.option("--decode", "decode_tokens", metavar="N", type=click.IntRange(min=1), help="Decoded tokens.")
@click.option("--engine", type=click.Choice(["auto", "reference"]), default="auto", show_default=True, help="Engine.")
@click.option("--check", "checks", is_flag=True, help="Check conservation, causality and capacity of the whole run.")
@click.option(
    "--trace",
    "trace_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a trace: .perfetto-trace for ui.perfetto.dev, .json for Chrome.",
)
@click.option("--plot", "plot_path", metavar="FILE", type=click.Path(path_type=Path), help="Draw the timeline.")
@click.option(
    "--roofline",
    "roofline_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the roofline with the operations of the frame.",
)
@catalogue_option
@set_option
@json_option
def run_command(
    *,
    scenario: str | None,
    chip: str | None,
    workload: str | None,
    folders: tuple[str, ...],
    assignments: tuple[str, ...],
    checks: bool,
    engine: EngineName,
    as_json: bool,
    **options: Any,
) -> None:
    """Simulate a scenario, or one frame of a workload on a chip.

    \b
    roadline run alpamayo-thor-10hz --trace out/run.perfetto-trace
    roadline run --chip orin-agx-64gb --workload qwen3-4b --precision w4a16 --prompt 512 --decode 64
    roadline run --chip thor-t5000 --workload pi0.5 --set "dram.rate=9600 MT/s"
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with a backspace
    outputs = {name: options.pop(f"{name}_path") for name in ("trace", "plot", "roofline")}
    given = {name: value for name, value in options.items() if value is not None}
    if scenario is None and (chip is None or workload is None):
        raise click.UsageError("name a scenario, or a chip and a workload: --chip NAME --workload NAME")
    if scenario is not None and (chip or workload or given):
        extra = [name for name, value in (("chip", chip), ("workload", workload)) if value] + list(given)
        words = ", ".join(f"--{name.removesuffix('_tokens')}" for name in extra)
        raise click.UsageError(f"a scenario names its own chip and streams, so it does not go with {words}")
    if "=" in given.get("precision", ""):
        given["precision"] = _by_phase(given["precision"])
    from simulator import api
    from simulator.catalog import parse_assignments
    from simulator.report.outputs import check_outputs, write_outputs

    check_outputs(**outputs)
    with _progress() as progress:
        common: dict[str, Any] = {
            "catalogue": folders, "overrides": parse_assignments(assignments), "engine": engine, "checks": checks,
            "progress": progress,
        }  # fmt: skip
        if scenario is not None:
            result = api.run_scenario(scenario, **common)
        else:
            result = api.run(str(chip), str(workload), **common, **given)
    if as_json:
        _print_json(result.to_dict())
    else:
        from simulator.report.run_sheet import run_sheet

        click.echo(run_sheet(result, _columns()))
    for path in write_outputs(result, **outputs):
        click.echo(f"wrote {path}", err=True)


@roadline.command("validate")
@click.option("--data", "data_path", metavar="FILE.csv", type=click.Path(path_type=Path), help="Rows of your own.")
@catalogue_option
@json_option
def validate_command(*, data_path: Path | None, folders: tuple[str, ...], as_json: bool) -> None:
    """Simulate measured rows and print the error of each."""
    from simulator.catalog import Catalog
    from simulator.validation.rows import first_contact, read_rows
    from simulator.validation.validate import to_dict, validate

    rows = first_contact() if data_path is None else list(read_rows(data_path))
    with _counter("row", len(rows)) as on_row:
        validated = validate(rows, Catalog(folders), on_row=on_row)
    if as_json:
        _print_json(to_dict(validated))
    else:
        from simulator.report.validation_sheet import validation_sheet

        click.echo(validation_sheet(validated, _columns()))


@roadline.command("schema")
@click.argument("kind", type=click.Choice(_KINDS), metavar="chip|runtime|workload|scenario")
def schema_command(kind: Kind) -> None:
    """Print the JSON Schema of a kind of file, for editors."""
    from simulator.catalog import schema

    _print_json(schema(kind))


def _by_phase(text: str) -> dict[str, str]:
    """Precision by phase, from "vision=fp8,action=fp8"."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(phase.strip() and precision.strip() for phase, _, precision in pairs):
        raise click.UsageError(f'--precision takes P or PHASE=P,PHASE=P, got "{text}"')
    return {phase.strip(): precision.strip() for phase, _, precision in pairs}


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Shows simulated time on a terminal while a run goes on; silent where stderr is not one."""
    if not _is_terminal():
        yield None
        return

    def show_time(ticks: int, tasks: int) -> None:
        sys.stderr.write(f"\rsimulated {ticks / 1e12:.3f} s, {tasks:,} tasks ")
        sys.stderr.flush()

    show_time(0, 0)
    try:
        yield show_time
    finally:
        sys.stderr.write("\r\033[K")


@contextmanager
def _counter(what: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """Counts on a terminal; silent where stderr is not one."""
    if not _is_terminal():
        yield None
        return
    try:
        yield lambda done: print(f"\r{what} {done} of {total} ", end="", file=sys.stderr, flush=True)
    finally:
        sys.stderr.write("\r\033[K")


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()  # None where the shell closed it


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
    from simulator.report import sheets

    name = type(spec).__name__.lower()
    sheet: Callable[..., str] = getattr(sheets, f"{name}_sheet")
    return sheet(spec, _columns())


def _layers(workload: Any) -> tuple[dict[str, Any], str]:
    """The counts of a workload's operators, and its layer table as text."""
    from simulator.graph import build_graph
    from simulator.report.layer_table import layer_table, workload_counts

    graph = build_graph(workload)
    counts = workload_counts(workload, graph)
    summary = ", ".join(f"{name} {count:,}" for name, count in counts["parameters_by_component"].items())
    return counts, f"\n\nParameters, exact: {counts['parameters']:,} ({summary})\n\n{layer_table(graph, _columns())}"


def _columns() -> int:
    """Columns of the terminal, at most those of a sheet; a sheet's own where there is no terminal."""
    from shutil import get_terminal_size

    from simulator.report.sheet_parts import WIDTH

    return max(60, min(WIDTH, get_terminal_size((WIDTH, 24)).columns))


def _print_json(tree: object) -> None:
    from json import dumps

    click.echo(dumps(tree, indent=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; the one place where errors become messages."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without UTF-8 shows a ? and not a traceback
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = 0
    try:
        with roadline.make_context("roadline", words) as context:
            roadline.invoke(context)
        if sys.stdout is not None:  # None where the shell closed it
            sys.stdout.flush()
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        code = 130
    except BrokenPipeError:
        code = 141  # the reader has left: as if ended by SIGPIPE
    except EngineError as error:
        code = _bug(error, str(error))
    except (RoadlineError, OSError) as error:  # OSError: the output does not fit the disk
        click.echo(f"Error: {error}", err=True)
        code = 2
    except MemoryError:
        click.echo("Error: this needs more memory than there is.", err=True)
        click.echo("  Hint: fewer frames (rate, duration) or fewer tokens", err=True)
        code = 2
    except Exception as error:
        code = _bug(error, f"this is a bug in Roadline: {type(error).__name__}: {error}".splitlines()[0])
    return code


def _bug(error: Exception, message: str) -> int:
    """Says what broke and where."""
    import os
    import traceback

    if os.environ.get("ROADLINE_DEBUG"):
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    click.echo(f"Error: {message}{place}", err=True)
    click.echo("  Please report this line with the command. Set ROADLINE_DEBUG=1 for the traceback.", err=True)
    return 3


if __name__ == "__main__":
    sys.exit(main())
