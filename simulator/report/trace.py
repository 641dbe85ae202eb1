"""Traces of finished runs for trace viewers: the one function that users call, whatever the format."""

from __future__ import annotations

import os
from typing import Final

from simulator.ppa.power import Meter
from simulator.report.chrome_trace import write_chrome
from simulator.report.files import file_kind
from simulator.report.perfetto_trace import write_perfetto
from simulator.timeline.timeline import Timeline

_WRITERS: Final = {
    ".json": write_chrome,
    ".perfetto-trace": write_perfetto,
    ".pftrace": write_perfetto,
    ".pb": write_perfetto,
}

TRACE_SUFFIXES: Final = tuple(_WRITERS)
"""Formats of traces."""


def write_trace(timeline: Timeline, path: str | os.PathLike[str], *, title: str, meter: Meter | None = None) -> None:
    """Writes a run as a trace; the suffix of the file says in which format.

    Args:
        timeline: the run.
        path: the file.
        title: what the run is called in the first row.
        meter: what measures its power; without it there is no power track.

    Raises:
        SpecError: when the suffix belongs to no trace format.
        MissingExtraError: when a Perfetto trace is asked for and the extra `trace` is not installed.
        OutputError: when the file cannot be written; then there is no file.
    """
    _WRITERS[file_kind(path, TRACE_SUFFIXES, what="a trace")](timeline, path, title=title, meter=meter)
