"""The files of a run: trace, timeline picture and roofline picture."""

# ruff: noqa: PLC0415 - matplotlib takes seconds to import, and a run without pictures does not need it

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from simulator.errors import MissingExtraError, OutputError, SpecError
from simulator.report.files import PICTURE_SUFFIXES, file_kind
from simulator.report.trace import TRACE_SUFFIXES, write_trace
from simulator.report.verdict import deadline_sentence, limit_sentence
from simulator.simulation.result import Result

_PERFETTO_SUFFIXES: Final = tuple(suffix for suffix in TRACE_SUFFIXES if suffix != ".json")
"""Formats of traces that need the package `perfetto`."""


def check_outputs(*, trace: Path | None, plot: Path | None, roofline: Path | None) -> None:
    """Refuses before a long run what could not be written after it.

    Raises:
        SpecError: when a suffix is of no known format, or two outputs have one name.
        OutputError: when a file cannot be written.
        MissingExtraError: when a package for it is not installed.
    """
    taken: set[Path] = set()
    for path, suffixes, what in (
        (trace, TRACE_SUFFIXES, "a trace"),
        (plot, PICTURE_SUFFIXES, "a picture"),
        (roofline, PICTURE_SUFFIXES, "a picture"),
    ):
        if path is None:
            continue
        if file_kind(path, suffixes, what=what) in _PERFETTO_SUFFIXES and find_spec("perfetto") is None:
            raise MissingExtraError("perfetto", "trace")
        if path.absolute() in taken:
            raise SpecError(f"{path}: must be the file of one output, got it twice", hint="give each output a name")
        taken.add(path.absolute())
        _check_place(path)


def _check_place(path: Path) -> None:
    hint = "name another file, or make its folder writable"
    try:
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: must be a file that can be written, is a folder or a device", hint=hint)
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with TemporaryFile(dir=folder):  # permissions do not tell a file system that takes no files
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}", hint=hint) from None


def write_outputs(result: Result, *, trace: Path | None, plot: Path | None, roofline: Path | None) -> Iterator[Path]:
    """Writes the files that were asked for, and yields the path of each as soon as it is there.

    Raises:
        OutputError: when one cannot be written.
        MissingExtraError: when a package for it is not installed.
    """
    if trace is not None:
        write_trace(result.timeline, trace, title=result.setup.name)
        yield trace
    if plot is not None:
        from simulator.report.timeline_plot import draw_timeline

        draw_timeline(result.timeline, plot, title=deadline_sentence(result), subtitle=limit_sentence(result))
        yield plot
    if roofline is not None:
        from simulator.report.run_roofline import draw_run_roofline

        draw_run_roofline(result, roofline, subtitle=limit_sentence(result))
        yield roofline
