"""The files of a run: trace, timeline picture and roofline picture."""

# ruff: noqa: PLC0415 - matplotlib takes seconds to import, and a run without pictures does not need it

from __future__ import annotations

import os
from pathlib import Path

from simulator.errors import OutputError
from simulator.report.files import PICTURE_SUFFIXES, file_kind
from simulator.report.trace import TRACE_SUFFIXES, write_trace
from simulator.report.verdict import deadline_sentence, limit_sentence
from simulator.simulation.result import Result


def check_outputs(*, trace: Path | None, plot: Path | None, roofline: Path | None) -> None:
    """Refuses before a long run what could not be written after it.

    Raises:
        SpecError: when a suffix is of no known format.
        OutputError: when a folder cannot be written.
    """
    for path, suffixes, what in (
        (trace, TRACE_SUFFIXES, "a trace"),
        (plot, PICTURE_SUFFIXES, "a picture"),
        (roofline, PICTURE_SUFFIXES, "a picture"),
    ):
        if path is None:
            continue
        file_kind(path, suffixes, what=what)
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise OutputError(
                f"{path}: cannot be written: {folder} is not a folder that you may write to",
                hint="name another file, or make its folder writable",
            )


def write_outputs(result: Result, *, trace: Path | None, plot: Path | None, roofline: Path | None) -> list[Path]:
    """Writes the files that were asked for and returns their paths.

    Raises:
        OutputError: when one cannot be written.
        MissingExtraError: when a package for it is not installed.
    """
    if trace is not None:
        write_trace(result.timeline, trace, title=result.setup.name)
    if plot is not None:
        from simulator.report.timeline_plot import draw_timeline

        draw_timeline(result.timeline, plot, title=deadline_sentence(result), subtitle=limit_sentence(result))
    if roofline is not None:
        from simulator.report.run_roofline import draw_run_roofline

        draw_run_roofline(result, roofline, subtitle=limit_sentence(result))
    return [path for path in (trace, plot, roofline) if path is not None]
