"""The files of a run: trace, timeline picture and roofline picture."""

# ruff: noqa: PLC0415 - matplotlib takes seconds to import, and a run without pictures does not need it

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from simulator.errors import MissingExtraError, OutputError, SpecError
from simulator.report.files import PICTURE_SUFFIXES, file_kind
from simulator.report.trace import TRACE_SUFFIXES, write_trace
from simulator.report.verdict import deadline_sentence, limit_sentence
from simulator.simulation.result import Result

_HINT: Final = "name another {}, or make its folder writable"

_PERFETTO_SUFFIXES: Final = tuple(suffix for suffix in TRACE_SUFFIXES if suffix != ".json")
"""Formats of traces that need the package `perfetto`."""


def check_outputs(*, trace: Path | None, plot: Path | None, roofline: Path | None) -> None:
    """Refuses before a long run what could not be written after it.

    Raises:
        SpecError: when a suffix is of no known format, or two outputs have one name.
        OutputError: when a file cannot be written.
        MissingExtraError: when a package for it is not installed.
    """
    check_files(
        (trace, TRACE_SUFFIXES, "a trace"),
        (plot, PICTURE_SUFFIXES, "a picture"),
        (roofline, PICTURE_SUFFIXES, "a picture"),
    )
    if trace is not None and trace.suffix.lower() in _PERFETTO_SUFFIXES and find_spec("perfetto") is None:
        raise MissingExtraError("perfetto", "trace")


def check_files(*wanted: tuple[Path | None, Sequence[str], str]) -> None:
    """Refuses files that could not be written: for each its path, the suffixes that it may have, and what it holds.

    Raises:
        SpecError: when a suffix is none of these, or two outputs have one name.
        OutputError: when a file cannot be written.
    """
    taken: set[Path] = set()
    for path, suffixes, what in wanted:
        if path is None:
            continue
        file_kind(path, suffixes, what=what)
        if path.absolute() in taken:
            raise SpecError(f"{path}: must be the file of one output, got it twice", hint="give each output a name")
        taken.add(path.absolute())
        if path.exists() and not path.is_file():
            raise OutputError(
                f"{path}: must be a file that can be written, is a folder or a device", hint=_HINT.format("file")
            )
        _check_folder_of(path, "file")


def check_folder(path: Path | None) -> None:
    """Refuses a folder in which no file could be written.

    Raises:
        OutputError: when it is a file, or takes none.
    """
    if path is not None:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: must be a folder, is a file", hint=_HINT.format("folder"))
        _check_folder_of(path / "file", "folder")


def _check_folder_of(path: Path, what: str) -> None:
    shown = path if what == "file" else path.parent
    try:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with TemporaryFile(dir=folder):  # permissions do not tell a file system that takes no files
            pass
    except OSError as error:
        message = f"{shown}: cannot be written: {error.strerror or error}"
        raise OutputError(message, hint=_HINT.format(what)) from None


def write_outputs(result: Result, *, trace: Path | None, plot: Path | None, roofline: Path | None) -> Iterator[Path]:
    """Writes the files that were asked for, and yields the path of each as soon as it is there.

    Raises:
        OutputError: when one cannot be written.
        MissingExtraError: when a package for it is not installed.
    """
    if trace is not None:
        write_trace(result.timeline, trace, title=result.setup.name, meter=result.meter)
        yield trace
    if plot is not None:
        from simulator.report.timeline_plot import draw_timeline

        draw_timeline(
            result.timeline, plot, title=deadline_sentence(result), subtitle=limit_sentence(result), meter=result.meter
        )
        yield plot
    if roofline is not None:
        from simulator.report.run_roofline import draw_run_roofline

        draw_run_roofline(result, roofline, subtitle=limit_sentence(result))
        yield roofline
