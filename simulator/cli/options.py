"""Options that several commands have, and how all commands print."""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
FILE: Final = click.Path(path_type=Path)


def catalogue_option(command: Command) -> Command:
    """Adds `--catalogue DIR`."""
    return click.option(
        "--catalogue",
        "folders",
        multiple=True,
        metavar="DIR",
        help="Folder with your own YAML files, searched first; may be repeated. ROADLINE_CATALOGUE names more.",
    )(command)


def set_option(command: Command) -> Command:
    """Adds `--set PATH=VALUE`."""
    return click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="PATH=VALUE",
        help='Replace a value (of the chip in a run), such as --set "dram.rate=9600 MT/s"; may be repeated.',
    )(command)


def json_option(command: Command) -> Command:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, numbers in base units.")(command)


def print_json(tree: object) -> None:
    """Prints a tree of plain values to stdout."""
    from json import dumps

    click.echo(dumps(tree, indent=2))


def page_columns() -> int:
    """Columns of the terminal, at most those of a sheet; a sheet's own where there is no terminal."""
    from shutil import get_terminal_size

    from simulator.report.sheet_parts import WIDTH

    return max(60, min(WIDTH, get_terminal_size((WIDTH, 24)).columns))


@contextmanager
def counter(what: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """Counts on a terminal; silent where stderr is not one."""
    if not is_terminal():
        yield None
        return
    try:
        yield lambda done: print(f"\r{what} {done} of {total} ", end="", file=sys.stderr, flush=True)
    finally:
        clear_line()


def clear_line() -> None:
    """Takes a line of progress away."""
    sys.stderr.write("\r\033[K")
    sys.stderr.flush()


def is_terminal() -> bool:
    """Whether somebody looks at stderr."""
    return sys.stderr is not None and sys.stderr.isatty()  # None where the shell closed it
