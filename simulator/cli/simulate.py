"""`roadline run` and `validate`: simulations, and their errors beside measured silicon."""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from simulator.cli.options import (
    FILE,
    Command,
    catalogue_option,
    clear_line,
    counter,
    is_terminal,
    json_option,
    page_columns,
    print_json,
    set_option,
)
from simulator.precision import precision_choice

if TYPE_CHECKING:
    from simulator.simulation.result import Result
    from simulator.validation.rows import RowSet


_RUN_OPTIONS: Final = {
    "chip": "chip", "workload": "streams.NAME.workload", "runtime": "runtime", "precision": "streams.NAME.precision",
    "kv_precision": "kv_precision", "head_precision": "head_precision", "prompt_tokens": "streams.NAME.prompt_tokens",
    "decode_tokens": "streams.NAME.decode_tokens",
}  # fmt: skip
"""Options that say what is run where no scenario does, with the field of a scenario that says it there."""


def question_options(command: Command) -> Command:
    """Adds what says which run is meant: a scenario, or a chip, a workload and how to run it."""
    for add in (
        click.option(
            "--engine", type=click.Choice(["auto", "reference", "compiled"]), default="auto", show_default=True,
            help="Engine.",
        ),
        click.option("--power-state", metavar="NAME", help="Power state of the chip, such as 30W."),
        click.option("--decode", "decode_tokens", metavar="N", type=click.IntRange(min=1), help="Decoded tokens."),
        click.option("--prompt", "prompt_tokens", metavar="N", type=click.IntRange(min=1), help="Prompt tokens."),
        click.option(
            "--head-precision", metavar="P", help="Precision of the LM head, or body; without it that of the runtime."
        ),
        click.option("--kv-precision", metavar="P", help="Precision of the KV cache; without it that of the runtime."),
        click.option(
            "--precision", metavar="P",
            help="Precision of the decoder's matrices, such as nvfp4, or of phases, such as vision=fp8,action=fp8.",
        ),
        click.option("--runtime", metavar="NAME", help="Runtime; without it the usual one of the chip."),
        click.option("--workload", metavar="NAME", help="Workload, instead of a scenario."),
        click.option("--chip", metavar="NAME", help="Chip, instead of a scenario."),
        click.argument("scenario", required=False),
    ):  # fmt: skip
        command = add(command)
    return command


@click.command("run")
@question_options
@click.option("--check", "checks", is_flag=True, help="Check conservation, causality and capacity of the whole run.")
@click.option(
    "--trace",
    "trace_path",
    metavar="FILE",
    type=FILE,
    help="Write a trace: .perfetto-trace for ui.perfetto.dev, .json for Chrome.",
)
@click.option("--plot", "plot_path", metavar="FILE", type=FILE, help="Draw the timeline.")
@click.option(
    "--roofline",
    "roofline_path",
    metavar="FILE",
    type=FILE,
    help="Draw the roofline with the operations of the frame.",
)
@catalogue_option
@set_option
@json_option
def run_command(*, checks: bool, as_json: bool, **question: Any) -> None:
    """Simulate a scenario, or one frame of a workload on a chip.

    \b
    roadline run alpamayo-thor-10hz --trace out/run.perfetto-trace
    roadline run --chip orin-agx-64gb --workload qwen3-4b --precision w4a16 --prompt 512 --decode 64
    roadline run --chip thor-t5000 --workload pi0.5 --set "dram.rate=9600 MT/s"
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with a backspace
    outputs = {name: question.pop(f"{name}_path") for name in ("trace", "plot", "roofline")}
    check_question(question)
    from simulator.report.outputs import check_outputs, write_outputs

    check_outputs(**outputs)
    result = simulated(question, checks=checks)
    if as_json:
        print_json(result.to_dict())
    else:
        from simulator.report.run_sheet import run_sheet

        click.echo(run_sheet(result, page_columns()))
    for path in write_outputs(result, **outputs):
        click.echo(f"wrote {path}", err=True)


def check_question(question: Mapping[str, Any]) -> None:
    """Refuses a question that names too little, or a scenario together with parts of a run.

    Args:
        question: what `question_options`, `catalogue_option` and `set_option` gave.
    Raises:
        UsageError: then.
    """
    parts = [name for name in _RUN_OPTIONS if question[name] is not None]
    if question["scenario"] is None and not {"chip", "workload"} <= set(parts):
        raise click.UsageError("name a scenario, or a chip and a workload: --chip NAME --workload NAME")
    if question["scenario"] is not None and parts:
        words = ", ".join(f"--{name.removesuffix('_tokens').replace('_', '-')}" for name in parts)
        fields = ", ".join(_RUN_OPTIONS[name] for name in parts)
        raise click.UsageError(
            f"a scenario names its own chip and streams, so it does not go with {words}: its file says that in {fields}"
        )
    precision_choice(question["precision"] or "")


def simulated(question: Mapping[str, Any], *, checks: bool = False) -> Result:
    """The run that a checked question asks for, with its progress on a terminal."""
    from simulator import api
    from simulator.catalog import parse_assignments

    overrides = parse_assignments(question["assignments"])
    with _progress() as progress:
        common: dict[str, Any] = {
            "catalogue": question["folders"], "overrides": overrides, "engine": question["engine"], "checks": checks,
            "progress": progress, "power_state": question["power_state"],
        }  # fmt: skip
        if question["scenario"] is not None:
            return api.run_scenario(question["scenario"], **common)
        parts = {name: question[name] for name in _RUN_OPTIONS}
        return api.run(**{**parts, "precision": precision_choice(parts["precision"] or "")}, **common)


@click.command("validate")
@click.option("--data", "data_path", metavar="FILE.csv", type=FILE, help="Rows of your own.")
@click.option(
    "--rows", "row_set", type=click.Choice(["language", "driving"]), default="language", show_default=True,
    help="Which of the rows that ship with Roadline.",
)  # fmt: skip
@catalogue_option
@json_option
def validate_command(*, data_path: Path | None, row_set: RowSet, folders: tuple[str, ...], as_json: bool) -> None:
    """Simulate measured rows and print the error of each."""
    from simulator.catalog import Catalog
    from simulator.validation.rows import read_rows, rows_of_set
    from simulator.validation.validate import to_dict, validate

    rows = rows_of_set(row_set) if data_path is None else list(read_rows(data_path))
    with counter("row", len(rows)) as on_row:
        validated = validate(rows, Catalog(folders), on_row=on_row)
    if as_json:
        print_json(to_dict(validated))
    else:
        from simulator.report.validation_sheet import validation_sheet

        click.echo(validation_sheet(validated, page_columns()))


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Shows simulated time on a terminal while a run goes on; silent where stderr is not one."""
    if not is_terminal():
        yield None
        return

    def show_time(ticks: int, tasks: int) -> None:
        sys.stderr.write(f"\rsimulated {ticks / 1e12:.3f} s, {tasks:,} tasks ")
        sys.stderr.flush()

    show_time(0, 0)
    try:
        yield show_time
    finally:
        clear_line()
