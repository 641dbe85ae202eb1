"""The picture of a fitted loss law: predicted over measured losses, and what is left over."""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.exploration.fit_law import LawFit
from simulator.exploration.law import Floats
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

_MARGIN_FRACTION: Final = 0.05
_POINT_AREA: Final = 42.0
"""In square points of typography."""


def draw_law_fit(fit: LawFit, path: str | os.PathLike[str]) -> None:
    """Writes the picture of a fit as PNG, SVG or PDF.

    Raises:
        SpecError: when the suffix is of another format.
        OutputError: when the file cannot be written; then there is no file.
    """
    check_picture_name(path)
    save(law_fit_figure(fit), path)


def law_fit_figure(fit: LawFit) -> Figure:
    """Predicted over measured loss at the left, residual over predicted loss at the right, in nats per token."""
    held_out = fit.held_out
    judged = fit.fitted if held_out is None else held_out
    seen = f"{fit.fitted.num_runs} runs" if held_out is None else f"{judged.num_runs} runs that the fit did not see"
    title = f"The fitted law is off by {100 * judged.mape:.2g} % on average over {seen}"
    explained = [f"R2 {fit.fitted.r_squared:.4f} of {fit.fitted.num_runs} fitted runs"] if fit.fitted.r_squared else []
    if held_out is not None and held_out.r_squared is not None:
        explained.append(f"{held_out.r_squared:.4f} of {held_out.num_runs} held out")
    with styled():
        figure = new_figure(title, f"{fit.runs.file_name}: " + ", ".join(explained))
        left, right = figure.subplots(1, 2)
        _draw_agreement(left, fit)
        _draw_residuals(right, fit)
        loose = [item.name for item in fit.coefficients if not item.is_identified]
        if loose:
            note(figure, f"not identified: {', '.join(loose)}")
        settle(figure)
    return figure


def _draw_agreement(axes: Axes, fit: LawFit) -> None:
    low = float(min(fit.runs.loss.min(), fit.predicted.min()))
    high = float(max(fit.runs.loss.max(), fit.predicted.max()))
    margin = _MARGIN_FRACTION * max(high - low, 1e-6)
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=INK, linewidth=1.2, zorder=1)
    _scatter(axes, fit, fit.runs.loss, fit.predicted)
    axes.set_xlim(ends)
    axes.set_ylim(ends)
    axes.set_aspect("equal")
    axes.set_xlabel("measured loss (nats per token)")
    axes.set_ylabel("predicted loss (nats per token)")
    axes.grid(color=FAINT, linewidth=0.6)
    if fit.held_out is not None:
        axes.legend(loc="upper left")


def _draw_residuals(axes: Axes, fit: LawFit) -> None:
    """With a band of the root mean square of the fitted runs around zero."""
    axes.axhspan(-fit.fitted.rmse, fit.fitted.rmse, color=FAINT, alpha=0.5, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=1.2, zorder=1)
    _scatter(axes, fit, fit.predicted, fit.residuals)
    reach = 1.15 * float(np.abs(fit.residuals).max()) or 1.0
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("predicted loss (nats per token)")
    axes.set_ylabel("predicted - measured (nats per token)")
    axes.grid(color=FAINT, linewidth=0.6)
    axes.annotate(
        f"band: root mean square of the fitted runs, {fit.fitted.rmse:.2g} nats", (0.99, 0.01),
        xycoords="axes fraction", ha="right", fontsize=10, color=MUTED,
    )  # fmt: skip


def _scatter(axes: Axes, fit: LawFit, across: Floats, up: Floats) -> None:
    for name, is_shown, colour in (("fitted", ~fit.is_held_out, COLOURS[0]), ("held out", fit.is_held_out, COLOURS[1])):
        if is_shown.any():
            axes.scatter(across[is_shown], up[is_shown], s=_POINT_AREA, color=colour, edgecolors="white",
                         linewidths=0.6, alpha=0.85, zorder=3, label=name)  # fmt: skip
