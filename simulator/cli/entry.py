"""The command itself: its group, and the one place where errors become messages and exit codes.

0 done, 1 a check failed, 2 wrong input, 3 a bug, 130 interrupted.
"""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from simulator import __version__
from simulator.cli.catalogue import list_command, schema_command, show_command
from simulator.cli.explain import explain_command
from simulator.cli.importing import import_group
from simulator.cli.search import search_group
from simulator.cli.simulate import run_command, validate_command
from simulator.errors import EngineError, RoadlineError


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


for _command in (list_command, show_command, run_command, explain_command, search_group, validate_command,
                 import_group, schema_command):  # fmt: skip
    roadline.add_command(_command)


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
