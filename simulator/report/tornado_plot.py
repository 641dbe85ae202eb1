"""The picture of a sensitivity: a bar per number from the latency with less of it to that with more."""

from __future__ import annotations

import os
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from simulator.explanation.explain import Explanation
from simulator.explanation.levers import Change
from simulator.explanation.sensitivity import STEP, Sensitivity
from simulator.report.style import (
    COLOURS,
    FAINT,
    INK,
    MISSED,
    MUTED,
    check_picture_name,
    new_figure,
    note,
    save,
    settle,
    styled,
)
from simulator.units import format_quantity, format_ticks, ticks_to_seconds

MOST_BARS: Final = 16
_BAR_HEIGHT: Final = 0.62
_ROOM: Final = 0.14
"""Free room beside the longest bars, as a fraction of their span, for the values at their ends."""
_LESS, _MORE = COLOURS[1], COLOURS[0]


def draw_tornado(explanation: Explanation, path: str | os.PathLike[str]) -> None:
    """Writes the picture of an explanation as PNG, SVG or PDF.

    Raises:
        SpecError: when the suffix is of another format.
        OutputError: when the file cannot be written; then there is no file.
    """
    check_picture_name(path)
    save(tornado_figure(explanation), path)


def tornado_figure(explanation: Explanation) -> Figure:
    """Latency in milliseconds, a row per number, the largest gain per 20 % on top; at the ends the values set."""
    result, bars = explanation.result, explanation.tornado[:MOST_BARS]
    setup = result.setup
    subtitle = f"{setup.streams[0].workload.title} on {setup.chip.title}, runtime {setup.runtime.name}"
    with styled():
        figure = new_figure(_title(explanation), subtitle, reserve_legend=True)
        axes = figure.subplots()
        for row, item in enumerate(bars):
            _draw_bar(axes, row, item)
        base_ms = _milliseconds(explanation.parts.latency_ticks)
        axes.axvline(base_ms, color=INK, linewidth=1.2, zorder=3)
        _dress(axes, bars, base_ms)
        _draw_deadline(axes, result.deadline_s)
        step = f"{100 * STEP:.0f} %"
        handles = [Patch(color=_LESS, label=f"{step} smaller"), Patch(color=_MORE, label=f"{step} larger")]
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.01, 0.895), ncols=2)
        hidden = len(explanation.tornado) - len(bars)
        if hidden:
            note(figure, f"{hidden} more numbers buy less")
        settle(figure)
    return figure


def _title(explanation: Explanation) -> str:
    advice = explanation.advice
    latency = format_quantity(explanation.result.latency_s, "s")
    if advice is None:
        return f"No number alone makes the frame quicker than {latency}"
    better = advice.best.better
    took = format_ticks(advice.best.better_ticks)
    value = advice.best.lever.text(better.value)
    return f"{advice.best.lever.name} buys most per {100 * STEP:.0f} %: {value} brings {latency} to {took}"


def _draw_bar(axes: Axes, row: int, item: Sensitivity) -> None:
    """The two halves of a bar; the shorter is drawn over the longer where both are on one side."""
    base_ms = _milliseconds(item.base_ticks)
    halves = [(item.low, _LESS), (item.high, _MORE)]
    ends = {change.value: _end_ms(change, base_ms) for change, _ in halves}
    halves.sort(key=lambda half: -abs(ends[half[0].value] - base_ms))
    for change, colour in halves:
        end_ms = ends[change.value]
        axes.barh(row, end_ms - base_ms, left=base_ms, height=_BAR_HEIGHT, color=colour, zorder=2)
    is_one_sided = (ends[item.low.value] > base_ms) == (ends[item.high.value] > base_ms)
    for change, _ in halves[:1] if is_one_sided else halves:
        end_ms = ends[change.value]
        if end_ms != base_ms or change.latency_ticks is None:
            text = item.lever.text(change.value)
            text += " cannot run" if change.latency_ticks is None else ""
            is_left = end_ms < base_ms
            axes.annotate(
                text, (end_ms, row), xytext=(-5 if is_left else 5, 0), textcoords="offset points", fontsize=9,
                color=MUTED, va="center", ha="right" if is_left else "left", zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip


def _dress(axes: Axes, bars: tuple[Sensitivity, ...], base_ms: float) -> None:
    ends = [_end_ms(change, base_ms) for item in bars for change in (item.low, item.high)] or [base_ms]
    low, high = min(base_ms, *ends), max(base_ms, *ends)
    room = _ROOM * (high - low) or 0.01 * base_ms
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
    axes.set_yticks(range(len(bars)), [item.lever.name for item in bars])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("latency of the slowest frame (ms)")
    axes.grid(axis="x", color=FAINT, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def _draw_deadline(axes: Axes, deadline_s: float | None) -> None:
    """The deadline as a line, where it lies within the picture."""
    low_ms, high_ms = axes.get_xlim()
    if deadline_s is not None and low_ms < 1e3 * deadline_s < high_ms:
        axes.axvline(1e3 * deadline_s, color=MISSED, linewidth=1.2, linestyle="--", zorder=1)
        axes.annotate("deadline", (1e3 * deadline_s, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                      textcoords="offset points", ha="center", color=MISSED)  # fmt: skip


def _end_ms(change: Change, base_ms: float) -> float:
    return base_ms if change.latency_ticks is None else _milliseconds(change.latency_ticks)


def _milliseconds(ticks: int) -> float:
    return 1e3 * ticks_to_seconds(ticks)
