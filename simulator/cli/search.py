"""`roadline search`: the best architectures for a chip, and laws fitted to training runs of one's own."""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from simulator.cli.options import (
    FILE,
    catalogue_option,
    clear_line,
    counter,
    is_terminal,
    json_option,
    page_columns,
    print_json,
    set_option,
)

if TYPE_CHECKING:
    from simulator.exploration.search import SamplerName

_STUDY: Final = ""
"""The name of the command that searches; users do not write it."""

_SECONDS_BETWEEN_LINES: Final = 0.1


class _StudyContext(click.Context):
    """Of the command without a name: it is called as its parent is."""

    @property
    def command_path(self) -> str:
        assert self.parent is not None  # it is a command of a group
        return self.parent.command_path


class _StudyCommand(click.Command):
    context_class = _StudyContext


class _SearchGroup(click.Group):
    """A group whose unknown first word is a study."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in ctx.help_option_names:
            args = args[:1]
        elif args and args[0] not in self.commands:
            args = [_STUDY, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] STUDY")
        formatter.write_usage(ctx.command_path, "fit-law [OPTIONS] DATA.csv", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.commands[_STUDY].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group("search", cls=_SearchGroup)
def search_group() -> None:
    """Find the architectures of lowest loss at each latency.

    STUDY is a name of the catalogue or a path to a YAML file; it says which space, chip and objectives.

    \b
    roadline search plas-orin --objectives loss,total --jobs 4 --plot out/front.png
    roadline search ./my.yaml --limit total=100ms --results out/my --json
    roadline search fit-law runs.csv --output my-law.yaml
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with a backspace


@search_group.command(_STUDY, cls=_StudyCommand, hidden=True)
@click.argument("study")
@click.option("--objectives", metavar="A,B", help="What to make small, such as loss,total; instead of the study's.")
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=AMOUNT",
    help="The most of a quantity, such as total=100ms or memory=8GB; may be repeated.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that simulate.")
@click.option("--results", "folder", metavar="DIR", type=FILE, help="Keep what is simulated in this folder.")
@click.option("--resume", is_flag=True, help="Go on with what the folder of --results holds.")
@click.option(
    "--sampler", type=click.Choice(["exact", "nsga2", "tpe"]), default="exact", show_default=True,
    help="The exact search, or a sampler for spaces that are too large for it.",
)  # fmt: skip
@click.option("--budget", metavar="N", type=click.IntRange(min=1), help="Points that a sampler may simulate.")
@click.option("--seed", metavar="N", type=click.IntRange(min=0), help="Seed of a sampler, instead of the study's.")
@click.option("--compare", is_flag=True, help="Search exactly too, and say how much of its front the sampler found.")
@click.option("--csv", "csv_path", metavar="FILE", type=FILE, help="Write all points.")
@click.option("--plot", "plot_path", metavar="FILE", type=FILE, help="Draw the front.")
@click.option("--roofline", is_flag=True, help="Draw the front of the roofline of two numbers, too.")
@click.option("--export", "export_path", metavar="DIR", type=FILE, help="Write a workload for each point of the front.")
@click.option(
    "--choose", is_flag=True,
    help="Export only the best points for each application and at the latency of the reference.",
)  # fmt: skip
@catalogue_option
@set_option
@json_option
def study_command(
    *,
    study: str,
    objectives: str | None,
    limits: tuple[str, ...],
    folder: Path | None,
    sampler: SamplerName,
    budget: int | None,
    seed: int | None,
    compare: bool,
    roofline: bool,
    choose: bool,
    folders: tuple[str, ...],
    assignments: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Search the space of a study."""
    outputs = {name: options.pop(f"{name}_path") for name in ("csv", "plot", "export")}
    _check_combination(
        {"--budget": budget, "--seed": seed, "--compare": compare}, "--sampler nsga2 or tpe", sampler != "exact"
    )
    _check_combination({"--resume": options["resume"]}, "--results DIR", folder is not None)
    _check_combination({"--roofline": roofline}, "--plot FILE", outputs["plot"] is not None)
    _check_combination({"--choose": choose}, "--export DIR", outputs["export"] is not None)
    if sampler != "exact" and budget is None:
        raise click.UsageError(f"--sampler {sampler} needs --budget N")
    changes = _changes(assignments, objectives, limits)
    from simulator import api
    from simulator.catalog import parse_assignments
    from simulator.report.search_outputs import check_search_outputs, write_search_outputs

    check_search_outputs(**outputs)
    common: dict[str, Any] = {
        **options, "folder": folder, "catalogue": folders, "overrides": parse_assignments(changes),
        "tell": lambda remark: click.echo(remark, err=True),
    }  # fmt: skip
    try:
        with _progress() as progress:
            result = api.search(study, **common, sampler=sampler, budget=budget, seed=seed, progress=progress)
        share = None
        if compare:
            common["resume"] = folder is not None
            with _progress() as progress:
                share = result.share_of(api.search(study, **common, progress=progress))
    except KeyboardInterrupt:
        again = "What was simulated is kept" if folder else "Nothing is kept; with --results DIR it would be"
        click.echo(f"{again}; go on with: --results {folder or 'DIR'} --resume", err=True)
        raise
    if as_json:
        print_json(result.to_dict() if share is None else {**result.to_dict(), "share_of_exact": share})
    else:
        from simulator.report.search_sheet import search_sheet

        click.echo(search_sheet(result, page_columns(), share_of_exact=share))
    for written in write_search_outputs(result, **outputs, roofline=roofline, only_chosen=choose):
        click.echo(f"wrote {written}", err=True)


@search_group.command("fit-law")
@click.argument("runs", metavar="DATA.csv", type=FILE)
@click.option("--output", "law_path", metavar="LAW.yaml", type=FILE, help="Write the law; a study names it by path.")
@click.option("--plot", "plot_path", metavar="FILE", type=FILE, help="Draw predicted over measured losses.")
@click.option(
    "--resamples", metavar="N", type=click.IntRange(min=2), default=200, show_default=True,
    help="Fits behind the intervals of the coefficients.",
)  # fmt: skip
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the fit.")
@click.option(
    "--held-out", metavar="FRACTION", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
    help="Share of the runs that the fit does not see.",
)  # fmt: skip
@json_option
def fit_law_command(
    *,
    runs: Path,
    law_path: Path | None,
    plot_path: Path | None,
    resamples: int,
    seed: int,
    held_out: float,
    as_json: bool,
) -> None:
    """Fit the loss law to training runs of your own.

    Columns of DATA.csv: layers, hidden, ffn_ratio, loss in nats; activation_rate, or experts and top_k; kv_width, or
    head_dim and kv_heads; tokens, if runs differ in them; name and note are not read.
    """
    from simulator.exploration.fit_law import fit_law
    from simulator.report.search_outputs import check_law_outputs, write_law_outputs

    check_law_outputs(law=law_path, plot=plot_path)
    with counter("resample", resamples) as on_resample:
        progress = None if on_resample is None else lambda done, _: on_resample(done)
        fit = fit_law(runs, resamples=resamples, seed=seed, held_out_fraction=held_out, progress=progress)
    if as_json:
        print_json(fit.to_dict())
    else:
        from simulator.report.law_sheet import law_sheet

        click.echo(law_sheet(fit, page_columns()))
    for written in write_law_outputs(fit, law=law_path, plot=plot_path):
        click.echo(f"wrote {written}", err=True)


def _check_combination(given: dict[str, Any], needed: str, is_met: bool) -> None:
    for name, value in given.items():
        if value is not None and value is not False and not is_met:
            raise click.UsageError(f"{name} goes with {needed}")


def _changes(assignments: tuple[str, ...], objectives: str | None, limits: tuple[str, ...]) -> list[str]:
    """All options that change the study, as assignments."""
    changes = list(assignments)
    if objectives is not None:
        changes.append(f"objectives=[{objectives}]")
    for limit in limits:
        name, equals, amount = limit.partition("=")
        if not (name.strip() and equals and amount.strip()):
            raise click.UsageError(f'--limit takes NAME=AMOUNT, such as total=100ms, got "{limit}"')
        changes.append(f"limits.{limit}")
    return changes


@contextmanager
def _progress() -> Iterator[Callable[[int, int, int, int], None] | None]:
    """Shows on a terminal how far a search is; silent where stderr is not one."""
    if not is_terminal():
        yield None
        return
    begin_s = time.monotonic()
    next_line_s = begin_s

    def show(num_simulated: int, num_discarded: int, num_left: int, num_in_wave: int) -> None:
        nonlocal next_line_s
        now_s = time.monotonic()
        if now_s < next_line_s:
            return
        next_line_s = now_s + _SECONDS_BETWEEN_LINES
        rate = num_simulated / max(now_s - begin_s, 1e-9)
        counts = f"simulated {num_simulated:,}, discarded {num_discarded:,}, left {num_left:,}"
        rest = f", {num_in_wave / rate:,.0f} s for the next {num_in_wave:,}" if rate else ""
        sys.stderr.write(f"\r\033[K{counts}; {rate:.3g}/s{rest}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        clear_line()
