"""How pictures look and how they are saved: one size, one set of colours, the same bytes for the same input.

What is drawn is in the other modules of `report`.
"""

from __future__ import annotations

import os
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from simulator.report.files import PICTURE_SUFFIXES, file_kind, new_file

WIDTH_INCHES: Final = 13.33
HEIGHT_INCHES: Final = 7.5
"""A slide of 16:9."""

TITLE_POINTS: Final = 18
TITLE_LETTERS: Final = 74
"""Letters of the title size that fill the width; a longer title is set smaller."""

COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#8C6D4F", "#999999")
"""Told apart with every kind of colour blindness. Source of the set: M. Okabe and K. Ito, "Color Universal Design"."""

INK: Final = "#222222"
MUTED: Final = "#707070"
FAINT: Final = "#D9D9D9"
MISSED: Final = "#D55E00"
"""What went wrong: missed deadlines and drops. No other thing has this colour."""

_SETTINGS: Final[Any] = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "legend.frameon": False,
    "svg.hashsalt": "roadline",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}

_METADATA: Final[dict[str, dict[str, Any]]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What would make two files of one picture differ: dates and versions."""


def styled() -> Any:
    """A context in which figures are made and saved; settings of matplotlib outside it stay as they were."""
    return mpl.rc_context(_SETTINGS)


def new_figure(title: str, subtitle: str = "", *, reserve_legend: bool = False) -> Figure:
    """An empty slide. The title says what the picture shows in words; the subtitle says of what.

    With `reserve_legend` a line under them stays free.
    """
    layout = ConstrainedLayoutEngine(rect=(0.005, 0.01, 0.985, 0.84 if reserve_legend else 0.88))
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout=layout)
    FigureCanvasAgg(figure)
    size = TITLE_POINTS * min(1, TITLE_LETTERS / max(1, len(title)))
    figure.text(0.015, 0.975, title, fontsize=size, fontweight="bold", va="top")
    figure.text(0.015, 0.918, subtitle, fontsize=12, color=MUTED, va="top")
    return figure


def settle(figure: Figure) -> None:
    """Lays a figure out and fixes the places of its axes, to a tenth of a pixel.

    The solver behind the layout does not repeat the last bits of its answer from one run to the next.
    """
    figure.draw_without_rendering()
    places = [[round(edge, 4) for edge in axes.get_position().bounds] for axes in figure.axes]
    figure.set_layout_engine("none")
    for axes, (left, bottom, width, height) in zip(figure.axes, places, strict=True):
        axes.set_position((left, bottom, width, height))


def note(figure: Figure, text: str) -> None:
    """Writes a remark at the right, on the line of the subtitle."""
    figure.text(0.985, 0.914, text, fontsize=10, color=MUTED, ha="right", va="top")


def check_picture_name(path: str | os.PathLike[str]) -> str:
    """The suffix of a picture file.

    Raises:
        SpecError: when it is not one of `PICTURE_SUFFIXES`.
    """
    return file_kind(path, PICTURE_SUFFIXES, what="a picture")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure in the format that the suffix names.

    Raises:
        SpecError: when the suffix is none of `PICTURE_SUFFIXES`.
        OutputError: when the file cannot be written; then there is no file.
    """
    kind = check_picture_name(path)
    with styled(), new_file(path) as file:
        figure.savefig(file, format=kind[1:], dpi=150, metadata=_METADATA[kind])
