"""The picture of a search: loss over latency of all points, the front, the reference and the limits of applications."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from simulator.exploration.exact import Fate, Floats, Indices
from simulator.exploration.pareto import non_dominated
from simulator.exploration.result import SearchResult
from simulator.report.style import (
    COLOURS,
    FAINT,
    INK,
    MUTED,
    check_picture_name,
    new_figure,
    save,
    settle,
    styled,
)
from simulator.study import OBJECTIVES, Objective
from simulator.units import format_quantity

_DISCARDED_COLOUR: Final = "#C8C8C8"
_ROOFLINE_COLOUR: Final = COLOURS[6]
_POINT_COLOURS: Final = (*COLOURS[:5], COLOURS[7])
"""Of points on the front; the rest is taken by the roofline or too pale."""
_WIDE: Final = 15.0
"""An axis that spans more than this factor has a label at 1 and 3 only."""


def draw_front(
    result: SearchResult, path: str | os.PathLike[str], *, roofline: Mapping[str, Floats] | None = None
) -> None:
    """Writes the picture of a search as PNG, SVG or PDF; arguments as of `front_figure`.

    Raises:
        SpecError: when the suffix is of another format.
        OutputError: when the file cannot be written; then there is no file.
    """
    check_picture_name(path)
    save(front_figure(result, roofline=roofline), path)


def front_figure(result: SearchResult, *, roofline: Mapping[str, Floats] | None = None) -> Figure:
    """A panel for each objective besides the loss, which is the height of all of them.

    Without the loss among the objectives, the first of them is the height.

    Args:
        result: the answer to a study.
        roofline: latencies of all points by the roofline of two numbers, by key, for a second front.
    """
    height, *across = sorted(result.objectives, key=lambda objective: objective.name != "loss")
    with styled():
        figure = new_figure(_title(result), _subtitle(result))
        panels = figure.subplots(1, len(across), sharey=True, squeeze=False)[0]
        for axes, objective in zip(panels, across, strict=True):
            _draw_panel(axes, result, objective, height)
            if roofline is not None and objective.key in roofline and height.name == "loss":
                _draw_roofline(axes, result, roofline[objective.key])
            _draw_limits(axes, result, objective)
            _set_scale(axes, objective)
        panels[0].set_ylabel(_label(height))
        labelled = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
        for axes in panels[1:]:
            labelled |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(
            labelled.values(), labelled.keys(), loc="outside lower center", ncols=4, fontsize=10, markerscale=1.5
        )
        settle(figure)
    return figure


def _title(result: SearchResult) -> str:
    comparisons = result.comparisons()
    if not comparisons or result.reference is None:
        return f"{len(result.front):,} of {len(result.space):,} models are on the front of {result.study.name}"
    comparison = comparisons[-1]
    change = "lower" if comparison.loss_difference < 0 else "higher"
    at = f"at the {comparison.objective.title} of {result.reference.name}"
    return f"{abs(comparison.loss_difference):.3f} nats {change} loss {at}"


def _subtitle(result: SearchResult) -> str:
    study = result.study
    counts = f"{result.num_simulated:,} of {len(result.space):,} models simulated"
    if result.sampler != "exact":
        counts += f" (sampler {result.sampler})"
    if result.num_infeasible:
        counts += f", {result.num_infeasible:,} cannot run on the chip"
    return f"{study.title}; {study.prompt_tokens:,} prompt, {study.decode_tokens:,} decoded tokens; {counts}"


def _draw_panel(axes: Axes, result: SearchResult, across: Objective, height: Objective) -> None:
    exploration = result.exploration
    known = {objective.key: _best_known(result, objective) for objective in (across, height)}

    def scatter(points: Indices, **look: Any) -> None:
        axes.scatter(known[across.key][points], known[height.key][points], **look)

    discarded = exploration.indices(Fate.DISCARDED)
    if len(discarded):
        scatter(discarded, s=4, color=_DISCARDED_COLOUR, linewidths=0, zorder=1,
                label=f"discarded, drawn at its lower bound ({len(discarded):,})")  # fmt: skip
    over = exploration.indices(Fate.OVER_LIMIT)
    if len(over):
        scatter(over, s=12, color=FAINT, marker="x", linewidths=0.6, zorder=1, label=f"over a limit ({len(over):,})")
    dominated = exploration.indices(Fate.DOMINATED)
    if len(dominated):
        scatter(dominated, s=16, facecolors="none", edgecolors=MUTED, linewidths=0.7, zorder=2,
                label=f"simulated, not on the front ({len(dominated):,})")  # fmt: skip
    _draw_line(axes, known[across.key], known[height.key], result)
    for (words, points), colour in zip(_by_experts(result).items(), _POINT_COLOURS * 8, strict=False):
        scatter(points, s=22, color=colour, edgecolors="white", linewidths=0.3, zorder=4, label=words)
    if result.reference is not None:
        values = result.reference.values
        axes.scatter([values[across.key]], [values[height.key]], s=190, marker="*", color=INK, edgecolors="white",
                     linewidths=0.8, zorder=6, label=result.reference.name)  # fmt: skip


def _draw_line(axes: Axes, across: Floats, height: Floats, result: SearchResult) -> None:
    """A staircase through the points that nothing beats in the two quantities of the panel."""
    front = result.front
    pair = np.stack([across[front], height[front]], axis=1)
    pair = pair[non_dominated(pair)]
    pair = pair[np.lexsort((-pair[:, 1], pair[:, 0]))]
    words = "front" if len(result.objectives) == 2 else "front of the two quantities of a panel"
    axes.plot(pair[:, 0], pair[:, 1], drawstyle="steps-post", color=INK, linewidth=1.2, zorder=3, label=words)


def _draw_roofline(axes: Axes, result: SearchResult, latency_s: Floats) -> None:
    loss = result.bounds["loss"]
    pair = np.stack([latency_s, loss], axis=1)
    pair = pair[non_dominated(pair)]
    pair = pair[np.argsort(pair[:, 0], kind="stable")]
    axes.plot(pair[:, 0], pair[:, 1], drawstyle="steps-post", color=_ROOFLINE_COLOUR, linewidth=1.5, linestyle="--",
              zorder=3, label="front of the roofline of two numbers")  # fmt: skip


def _draw_limits(axes: Axes, result: SearchResult, across: Objective) -> None:
    """Limits of applications and of the study as vertical lines, named along the line."""
    limits = [(name, application.by_objective()) for name, application in result.study.applications.items()]
    limits.append(("limit of the study", result.study.limits.by_objective()))
    for name, by_objective in limits:
        if across.name in by_objective:
            limit = by_objective[across.name]
            axes.axvline(limit, color=MUTED, linewidth=1, linestyle=":", zorder=2)
            axes.annotate(
                f"{name}, {format_quantity(limit, across.unit)}", (limit, 0.985), (-3, 0), rotation=90, fontsize=10,
                xycoords=("data", "axes fraction"), textcoords="offset points", ha="right", va="top", color=INK,
                zorder=5, bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip


def _set_scale(axes: Axes, across: Objective) -> None:
    """A logarithmic scale with as many labels as have room."""
    axes.set_xscale("log")
    axes.set_xlabel(_label(across))
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high > _WIDE * low else (1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_quantity(value, across.unit)))
    axes.minorticks_off()
    axes.grid(color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)


def _by_experts(result: SearchResult) -> dict[str, Indices]:
    """The points of the front in groups, by words for the legend."""
    front = result.front
    if "experts" not in result.space.dimensions:
        return {f"on the front ({len(front):,})": front}
    experts: npt.NDArray[np.int64] = result.space.columns["experts"][front]
    return {
        f"{f'{number} experts' if number > 1 else '1 expert (dense)'} ({np.count_nonzero(experts == number):,})":
            front[experts == number]
        for number in np.unique(experts).tolist()
    }  # fmt: skip


def _best_known(result: SearchResult, objective: Objective) -> Floats:
    """Simulated values, and bounds where there are none."""
    values = result.exploration.values[objective.key]
    return np.where(np.isnan(values), result.bounds[objective.key], values)


def _label(objective: Objective) -> str:
    return "loss (nats per token, by the law)" if objective is OBJECTIVES["loss"] else objective.title
