"""The roofline of a chip with the operators of a run on it: what limits each, and how much of the limit it gets.

A point lies at (flop per DRAM byte, flop per second). Below a sloped roof DRAM is the limit, below a flat one a
compute path is. Source: [williams2009].
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from simulator.errors import SpecError
from simulator.program.program import Floats
from simulator.report.style import (
    COLOURS,
    FAINT,
    INK,
    MUTED,
    check_picture_name,
    new_figure,
    note,
    save,
    settle,
    styled,
)
from simulator.units import format_quantity

NUM_LABELS: Final = 12
"""Points that are named: those with the largest share of the time, as far as there is room."""

_LARGEST_POINT: Final = 2000.0
_SMALLEST_POINT: Final = 25.0
"""Areas of discs, in square points of typography."""

_CLOSEST_NAMES_FRACTION: Final = 0.03
"""Compute roofs that are closer than this fraction of the height share a line of names."""


@dataclass(frozen=True)
class RooflinePoint:
    """An operator, or all its repetitions in a phase together."""

    name: str
    phase: str
    flop: float
    dram_bytes: float
    seconds: float


@dataclass(frozen=True)
class Roof:
    """A ceiling: either a compute rate or a bandwidth."""

    name: str
    flop_per_s: float | None = None
    bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if (self.flop_per_s is None) == (self.bytes_per_s is None):
            raise SpecError(f'roof "{self.name}": must have either flop_per_s or bytes_per_s')


def draw_roofline(
    points: Sequence[RooflinePoint],
    roofs: Sequence[Roof],
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
) -> None:
    """Writes a roofline as PNG, SVG or PDF.

    Raises:
        SpecError: when the suffix is of another format, or there is no compute roof or no bandwidth roof.
        OutputError: when the file cannot be written; then there is no file.
    """
    check_picture_name(path)
    save(roofline_figure(points, roofs, title=title, subtitle=subtitle), path)


def roofline_figure(
    points: Sequence[RooflinePoint], roofs: Sequence[Roof], *, title: str, subtitle: str = ""
) -> Figure:
    """A roofline. Points without flop or without DRAM traffic have no place on it: they are counted in a note.

    Raises:
        SpecError: when there is no compute roof or no bandwidth roof.
    """
    flat = sorted((roof for roof in roofs if roof.flop_per_s is not None), key=_height)
    sloped = sorted((roof for roof in roofs if roof.bytes_per_s is not None), key=_height)
    if not flat or not sloped:
        raise SpecError("roofline: must have at least one compute roof and one bandwidth roof")
    placed = sorted(
        (point for point in points if point.flop > 0 and point.dram_bytes > 0 and point.seconds > 0),
        key=lambda point: -point.seconds,
    )
    with styled():
        figure = new_figure(title, subtitle)
        axes = figure.subplots()
        _set_range(axes, placed, flat, sloped)
        _draw_roofs(axes, flat, sloped)
        phases = list(dict.fromkeys(point.phase for point in points))
        total_s = sum(point.seconds for point in points)
        areas = np.array([_SMALLEST_POINT + _LARGEST_POINT * point.seconds / total_s for point in placed])
        _draw_points(axes, placed, areas, phases)
        _draw_legend(axes, points, phases, total_s)
        _note_left_out(figure, points, placed, total_s)
        settle(figure)  # where a name finds room is known only after the layout
        _name_slopes(axes, sloped, _height(flat[-1]))
        _name_points(axes, placed, areas)
    return figure


def _height(roof: Roof) -> float:
    return roof.flop_per_s or roof.bytes_per_s or 0.0


def _intensity(point: RooflinePoint) -> float:
    return point.flop / point.dram_bytes


def _rate(point: RooflinePoint) -> float:
    return point.flop / point.seconds


def _set_range(axes: Axes, points: Sequence[RooflinePoint], flat: Sequence[Roof], sloped: Sequence[Roof]) -> None:
    """Whole decades, from the points to the last place where two roofs meet and a little beyond."""
    ridges = [_height(compute) / _height(memory) for compute in flat for memory in sloped]
    intensities = [*ridges, *map(_intensity, points)]
    rates = [_height(flat[-1]), *map(_rate, points)]
    low, high = min(intensities) / 2, max(intensities) * 4
    bottom = min([_height(sloped[0]) * low * 2, *(rate / 2 for rate in rates)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(10 ** math.floor(math.log10(low)), high)
    axes.set_ylim(bottom, max(rates) * 2.2)
    axes.set_xlabel("arithmetic intensity (flop per DRAM byte)")
    axes.set_ylabel("rate (flop/s)")
    axes.yaxis.set_major_formatter(lambda value, _: format_quantity(value, "flop/s"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(which="major", color=FAINT, linewidth=0.6)
    axes.minorticks_off()


def _draw_roofs(axes: Axes, flat: Sequence[Roof], sloped: Sequence[Roof]) -> None:
    """Each roof up to where the highest of the other kind meets it; the names of compute roofs over their right end."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    highest_flop_per_s, highest_bytes_per_s = _height(flat[-1]), _height(sloped[-1])
    names: list[str] = []
    for roof, above in zip_longest(flat, flat[1:]):
        height = _height(roof)
        axes.plot([height / highest_bytes_per_s, right], [height, height], color=INK, linewidth=1.8, zorder=2)
        is_same = above is not None and _height(above) == height
        names.append(roof.name if is_same else f"{roof.name}: {format_quantity(height, 'flop/s')}")
        if above and math.log(_height(above) / height) < _CLOSEST_NAMES_FRACTION * math.log(top / bottom):
            continue  # no room between the two: both names go above the upper one
        axes.annotate(", ".join(names), (right, height), (-4, 3), textcoords="offset points", ha="right", fontsize=10)
        names = []
    for roof in sloped:
        height = _height(roof)
        start, stop = max(left, bottom / height), highest_flop_per_s / height
        axes.plot([start, stop], [start * height, highest_flop_per_s], color=INK, linewidth=1.8,
                  linestyle="-" if roof is sloped[-1] else "--", zorder=2)  # fmt: skip


def _name_slopes(axes: Axes, sloped: Sequence[Roof], highest_flop_per_s: float) -> None:
    """Names the bandwidth roofs over the middle of the highest, which is the solid line."""
    left, _ = axes.get_xlim()
    bottom, _ = axes.get_ylim()
    height = _height(sloped[-1])
    middle = math.sqrt(max(left, bottom / height) * highest_flop_per_s / height)
    (x, y), (next_x, next_y) = axes.transData.transform([(middle, middle * height), (2 * middle, 2 * middle * height)])
    names = [f"{roof.name}: {format_quantity(_height(roof), 'B/s')}" for roof in sloped]
    axes.annotate(
        "\n".join([names[-1], *(f"{name} (dashed)" for name in reversed(names[:-1]))]),
        (middle, middle * height),
        (0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        rotation=math.degrees(math.atan2(next_y - y, next_x - x)),
        rotation_mode="anchor",
        fontsize=10,
    )


def _draw_points(axes: Axes, points: Sequence[RooflinePoint], areas: Floats, phases: Sequence[str]) -> None:
    """A disc per operator, its area the share of the time, its colour the phase; the largest at the back."""
    axes.scatter(
        [_intensity(point) for point in points],
        [_rate(point) for point in points],
        s=areas,
        c=[_colour(phases.index(point.phase)) for point in points],
        edgecolors="white",
        linewidths=0.8,
        alpha=0.85,
        zorder=3,
    )


def _colour(phase: int) -> str:
    return COLOURS[phase % len(COLOURS)]


def _draw_legend(axes: Axes, points: Sequence[RooflinePoint], phases: Sequence[str], total_s: float) -> None:
    if not points:
        return
    handles = []
    for index, phase in enumerate(phases):
        share = sum(point.seconds for point in points if point.phase == phase) / total_s
        handles.append(
            Line2D([], [], linestyle="none", marker="o", markersize=9, color=_colour(index),
                   label=f"{phase}: {100 * share:.0f} % of the time")
        )  # fmt: skip
    axes.legend(handles=handles, loc="lower right", title="area of a disc: share of the time", alignment="left")


def _note_left_out(figure: Figure, points: Sequence[RooflinePoint], placed: Sequence[RooflinePoint],
                   total_s: float) -> None:  # fmt: skip
    left_out = [point for point in points if point not in placed]
    if left_out:
        share = sum(point.seconds for point in left_out) / total_s if total_s else 0.0
        without = f"{len(left_out)} without flop or without DRAM traffic"
        note(figure, f"not shown: {without} ({100 * share:.1f} % of the time)")


def _name_points(axes: Axes, points: Sequence[RooflinePoint], areas: Floats) -> None:
    """Names the largest points, each beside its disc where no other name, disc or roof name is; else not at all."""
    figure = axes.figure
    pixels_per_point = figure.dpi / 72
    centres = axes.transData.transform([(_intensity(point), _rate(point)) for point in points]).reshape(-1, 2)
    radii = np.sqrt(areas / math.pi) * pixels_per_point
    discs = [Bbox([centre - radius, centre + radius]) for centre, radius in zip(centres, radii, strict=True)]
    legend = axes.get_legend()
    taken = [text.get_window_extent() for text in axes.texts]
    taken += [legend.get_window_extent()] if legend else []
    frame = axes.get_window_extent()
    for row, point in enumerate(points[:NUM_LABELS]):
        name = axes.annotate(
            point.name,
            (_intensity(point), _rate(point)),
            (0, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            zorder=5,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkB": radii[row] / pixels_per_point},
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        others = taken + discs[:row] + discs[row + 1 :]
        if _has_found_room(name, radii[row] / pixels_per_point, others, frame):
            taken.append(Text.get_window_extent(name))
        else:
            name.remove()


def _has_found_room(name: Annotation, radius: float, others: Sequence[Bbox], frame: Bbox) -> bool:
    """Moves a name up and down beside its disc until it overlaps nothing; False if it always does.

    `radius` is in points of typography, `others` and `frame` in pixels.
    """
    renderer = cast(Any, name.get_figure(root=True)).canvas.get_renderer()
    for steps in (0, 1, -1, 2, -2, 3, -3, 4, -4):
        for side in (1, -1):
            distance = radius + 4 + 8 * min(abs(steps), 1)
            name.set(position=(side * distance, 14 * steps), horizontalalignment="left" if side > 0 else "right")
            name.update_positions(renderer)
            extent = Text.get_window_extent(name)  # of the text alone, without the line to the disc
            is_inside = (
                frame.x0 <= extent.x0 and extent.x1 <= frame.x1 and frame.y0 <= extent.y0 and extent.y1 <= frame.y1
            )
            if is_inside and not extent.count_overlaps(others):
                return True
    return False
