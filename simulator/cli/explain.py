"""`roadline explain`: why a latency is what it is, and which change would buy most."""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from simulator.cli.options import (
    FILE,
    catalogue_option,
    clear_line,
    is_terminal,
    json_option,
    page_columns,
    print_json,
    set_option,
)
from simulator.cli.simulate import check_question, question_options, simulated


@click.command("explain")
@question_options
@click.option("--plot", "plot_path", metavar="FILE", type=FILE, help="Draw what each number changes.")
@catalogue_option
@set_option
@json_option
def explain_command(*, plot_path: Path | None, as_json: bool, **question: Any) -> None:
    """Say why a latency is what it is, and which change would buy most.

    Where the slowest frame's time went, its critical path, and the latency with every number of the chip and the
    runtime 20 % smaller and larger, each simulated.

    \b
    roadline explain alpamayo-thor-10hz --plot out/why.png
    roadline explain --chip mach-m100 --workload llama2-7b --precision w4a16 --prompt 512 --decode 64
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with a backspace
    check_question(question)
    from simulator import api
    from simulator.report.files import PICTURE_SUFFIXES
    from simulator.report.outputs import check_files

    check_files((plot_path, PICTURE_SUFFIXES, "a picture"))
    result = simulated(question)
    with _progress() as progress:
        explanation = api.explain(result, engine=question["engine"], progress=progress)
    if as_json:
        print_json(explanation.to_dict())
    else:
        from simulator.report.explain_sheet import explain_sheet

        click.echo(explain_sheet(explanation, page_columns()))
    if plot_path is not None:
        from simulator.report.tornado_plot import draw_tornado

        draw_tornado(explanation, plot_path)
        click.echo(f"wrote {plot_path}", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Counts the numbers that were changed on a terminal; elsewhere says once how many simulations follow."""
    if not is_terminal():

        def announce(done: int, total: int) -> None:
            if done == 0:
                click.echo(f"changing {total} numbers: up to {2 * total} simulations", err=True)

        yield announce
        return

    def show(done: int, total: int) -> None:
        sys.stderr.write(f"\rchanged number {done} of {total} ")
        sys.stderr.flush()

    try:
        yield show
    finally:
        clear_line()
