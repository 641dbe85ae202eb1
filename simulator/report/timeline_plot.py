"""The picture of a run over time: frames with their deadlines, how busy each unit is, the DRAM, the memories.

One column for a single frame; two for more: the whole run, and the first frame that completed. Tasks are not drawn one
by one: everything below the frames is a value per slice of time, from `report.timeline_bins`. The row of frames is in
`report.frame_row`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from simulator.metrics.latency import release_latency
from simulator.metrics.utilization import channel_use, unit_use
from simulator.ppa.power import Meter, PowerTrack
from simulator.program.capacity import Steps, channel_steps
from simulator.program.program import Ints, role_of
from simulator.report.frame_row import FrameRow
from simulator.report.style import (
    COLOURS,
    FAINT,
    INK,
    MISSED,
    MUTED,
    check_picture_name,
    new_figure,
    save,
    settle,
    styled,
)
from simulator.report.timeline_bins import bin_edges, busy_fraction, max_value, mean_value
from simulator.timeline.occupancy import occupancy_steps
from simulator.timeline.timeline import ReleaseStatus, Timeline
from simulator.units import TICKS_PER_SECOND, binary_size

NUM_BINS: Final = 400
_TICKS_PER_MS: Final = TICKS_PER_SECOND // 1000
_MOST_UNITS: Final = 12
_MARGIN_FRACTION: Final = 0.02
_BUSY_COLOURS: Final = ("#F4F6F8", "#56B4E9", "#0072B2", "#08306B")


@dataclass(frozen=True)
class _Window:
    """A column of the picture: a span of time."""

    title: str
    start_tick: int
    stop_tick: int
    is_first: bool
    borders: tuple[int, ...]
    """Where the phases of the frame meet that the column shows; empty if it shows many frames."""

    @property
    def edges(self) -> Ints:
        """The slices of the window."""
        return bin_edges(self.start_tick, self.stop_tick, NUM_BINS)


def draw_timeline(
    timeline: Timeline, path: str | os.PathLike[str], *, title: str, subtitle: str = "", meter: Meter | None = None
) -> None:
    """Writes the picture of a run as PNG, SVG or PDF.

    Raises:
        SpecError: when the suffix is of another format.
        OutputError: when the file cannot be written; then there is no file.
    """
    check_picture_name(path)
    save(timeline_figure(timeline, title=title, subtitle=subtitle, meter=meter), path)


def timeline_figure(timeline: Timeline, *, title: str, subtitle: str = "", meter: Meter | None = None) -> Figure:
    """The picture of a run. Times are in ms, rates in GB/s, power in W, memories in percent of their size."""
    resources = timeline.program.resources
    frames = FrameRow.of(timeline)
    units = _busiest_units(timeline)
    rows = [("frames", 0.6 + 0.4 * frames.num_bars)]
    rows += [("units", 0.4 + 0.32 * len(units))] if len(units) else []
    rows += [("rates", 1.9)] if resources.channel_names else []
    rows += [("power", 1.4)] if meter is not None else []
    rows += [("memories", 1.4)] if len(timeline.program.occupancies) else []
    windows = _windows(timeline)
    powers = [] if meter is None else [meter.power(timeline, window.edges) for window in windows]
    most_w = max((float(power.total_w.max()) for power in powers), default=0.0)
    with styled():
        figure = new_figure(title, subtitle, reserve_legend=True)
        grid = figure.subplots(
            len(rows), len(windows), squeeze=False, sharex="col", height_ratios=[height for _, height in rows]
        )
        for column, window in enumerate(windows):
            axes = {name: grid[row][column] for row, (name, _) in enumerate(rows)}
            if powers:
                _draw_power(axes["power"], powers[column], window, most_w)
            _draw_column(axes, timeline, window, frames, units)
        figure.align_ylabels(grid[:, 0])
        figure.legend(handles=frames.legend(), loc="upper left", bbox_to_anchor=(0.007, 0.892), ncols=12, fontsize=10)
        settle(figure)
    return figure


def _windows(timeline: Timeline) -> list[_Window]:
    """The whole run and, if more than one frame was released, the first that completed of the first stream."""
    num_frames = np.count_nonzero(timeline.release_status != ReleaseStatus.PENDING)
    completed = np.flatnonzero(timeline.release_status == ReleaseStatus.COMPLETED)
    stop = max(timeline.horizon_tick, 1)
    if num_frames <= 1 or not len(completed):
        borders = _borders(timeline, int(completed[0])) if len(completed) else ()
        return [_Window(f"Whole run: {_milliseconds(stop)}", 0, stop, is_first=True, borders=borders)]
    whole = _Window(f"Whole run: {num_frames} frames, {_milliseconds(stop)}", 0, stop, is_first=True, borders=())
    return [whole, _detail(timeline, int(completed[0]))]  # releases are sorted by stream, then by time


def _detail(timeline: Timeline, release: int) -> _Window:
    """The window of one frame, with its deadline if that is not far away."""
    streams = timeline.program.streams
    stream = int(streams.release_stream[release])
    start, end = int(streams.release_tick[release]), int(timeline.release_end_tick[release])
    due = start + int(streams.deadline_ticks[stream])
    stop = due if end < due <= end + (end - start) // 4 else end
    margin = max(int((stop - start) * _MARGIN_FRACTION), 1)
    name = f"{streams.names[stream]} #{release - int(streams.release_offsets[stream])}"
    title = f"First complete frame: {name}, {_milliseconds(end - start)}"
    return _Window(title, max(start - margin, 0), stop + margin, is_first=False, borders=_borders(timeline, release))


def _borders(timeline: Timeline, release: int) -> tuple[int, ...]:
    return tuple(phase.end_tick for phase in release_latency(timeline, release).phases)


def _milliseconds(ticks: int) -> str:
    return f"{ticks / _TICKS_PER_MS:.4g} ms"


def _draw_column(axes: dict[str, Axes], timeline: Timeline, window: _Window, frames: FrameRow, units: Ints) -> None:
    frames.draw(axes["frames"], window.start_tick, window.stop_tick, is_detail=bool(window.borders))
    axes["frames"].set_title(window.title, loc="left", fontsize=12, pad=8)
    if "units" in axes:
        _draw_units(axes["units"], timeline, window, units)
    if "rates" in axes:
        _draw_rates(axes["rates"], timeline, window)
    if "memories" in axes:
        _draw_memories(axes["memories"], timeline, window)
    *upper, bottom = axes.values()
    for axis in axes.values():
        axis.tick_params(labelleft=window.is_first)
        if axis is not axes["frames"]:
            axis.vlines(np.array(window.borders) / _TICKS_PER_MS, 0, 1, transform=axis.get_xaxis_transform(),
                        colors=MUTED, linewidth=0.7, linestyles=":")  # fmt: skip
    for axis in upper:
        axis.tick_params(axis="x", length=0)
    bottom.set_xlabel("time (ms)")
    bottom.set_xlim(window.start_tick / _TICKS_PER_MS, window.stop_tick / _TICKS_PER_MS)


def _busiest_units(timeline: Timeline) -> Ints:
    """The units that are drawn, in their order: all, or the busiest if there are many."""
    busy = np.array([use.utilization for use in unit_use(timeline)])
    return np.sort(np.argsort(-busy, kind="stable")[:_MOST_UNITS])


def _draw_units(axes: Axes, timeline: Timeline, window: _Window, units: Ints) -> None:
    """A band per unit, the darker the busier, with its utilization over the window at the right."""
    edges = window.edges
    fractions = busy_fraction(timeline, edges)[units]
    colours = LinearSegmentedColormap.from_list("busy", _BUSY_COLOURS)
    borders = np.arange(len(units) + 1) - 0.5
    axes.pcolormesh(edges / _TICKS_PER_MS, borders, fractions, cmap=colours, vmin=0, vmax=1, rasterized=True)
    axes.hlines(borders[1:-1], edges[0] / _TICKS_PER_MS, edges[-1] / _TICKS_PER_MS, colors="white", linewidth=3)
    use = unit_use(timeline, max(window.start_tick, 0), window.stop_tick)
    for row, unit in enumerate(units.tolist()):
        label = f"{100 * use[unit].utilization:.0f} %"
        axes.annotate(label, (1, row), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=10, color=MUTED)  # fmt: skip
    axes.set_yticks(range(len(units)), [use[unit].name for unit in units.tolist()])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    _name_row(axes, window, "units\n(% busy)")


def _draw_rates(axes: Axes, timeline: Timeline, window: _Window) -> None:
    """What the DRAM (or the busiest channel) grants and is asked for, against what it can."""
    channel = _shown_channel(timeline)
    mine = timeline.rate_channel == channel
    tick, edges = timeline.rate_tick[mine], window.edges
    granted = Steps.of(tick, timeline.rate_granted_bytes_per_s[mine], initial=0.0)
    asked = Steps.of(tick, timeline.rate_asked_bytes_per_s[mine], initial=0.0)
    capacity = channel_steps(timeline.program, channel)
    times = edges / _TICKS_PER_MS
    axes.stairs(mean_value(granted, edges) / 1e9, times, fill=True, color=COLOURS[4], label="granted")
    axes.stairs(mean_value(asked, edges) / 1e9, times, color=COLOURS[0], linewidth=1.0, label="asked")
    axes.stairs(mean_value(capacity, edges) / 1e9, times, color=INK, linewidth=1.5, linestyle="--", label="capacity",
                baseline=None)  # fmt: skip
    top = 1.5 * float(capacity.value.max()) / 1e9
    axes.set_ylim(0, top)
    name = timeline.program.resources.channel_names[channel]
    _name_row(axes, window, f"{name}\n(GB/s)")
    use = channel_use(timeline, max(window.start_tick, 0), window.stop_tick)[channel]
    axes.annotate(f"{100 * use.utilization:.0f} %", (1, 0.5), xycoords="axes fraction", xytext=(4, 0),
                  textcoords="offset points", va="center", fontsize=10, color=MUTED)  # fmt: skip
    if window.is_first:
        _legend_above(axes)


def _draw_power(axes: Axes, power: PowerTrack, window: _Window, most_w: float) -> None:
    """The power in each slice of time: idle silicon below, memory and compute on top of it."""
    below = np.zeros(len(power.edge_ticks) - 1)
    for (name, watts), colour in zip(reversed(list(power.watts.items())), (FAINT, COLOURS[4], COLOURS[0]), strict=True):
        axes.stairs(
            below + watts, power.edge_ticks / _TICKS_PER_MS, baseline=below, fill=True, color=colour, label=name
        )
        below = below + watts
    axes.set_ylim(0, 1.4 * most_w)
    _name_row(axes, window, "power\n(W)")
    if window.is_first:
        _legend_above(axes)


def _shown_channel(timeline: Timeline) -> int:
    """The DRAM, of several dies the busiest; without one the busiest channel."""
    is_dram = [role_of(name) == "dram" for name in timeline.program.resources.channel_names]
    return max(range(len(is_dram)), key=lambda channel: (is_dram[channel], channel_use(timeline)[channel].utilization))


def _draw_memories(axes: Axes, timeline: Timeline, window: _Window) -> None:
    """How full each memory is, the most in each slice of time."""
    resources, edges = timeline.program.resources, window.edges
    for index, steps in enumerate(occupancy_steps(timeline)):
        size_bytes = int(resources.memory_bytes[index])
        name = f"{resources.memory_names[index]} ({binary_size(size_bytes)})"
        axes.stairs(100 * max_value(steps, edges) / size_bytes, edges / _TICKS_PER_MS, baseline=None,
                    color=COLOURS[(index + 1) % len(COLOURS)], linewidth=1.5, label=name)  # fmt: skip
    axes.axhline(100, color=MISSED, linewidth=1, linestyle=":")
    axes.set_ylim(0, 119)
    axes.set_yticks([0, 50, 100])
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    _name_row(axes, window, "memory\n(% full)")
    if window.is_first:
        _legend_above(axes)


def _name_row(axes: Axes, window: _Window, name: str) -> None:
    if window.is_first:
        axes.set_ylabel(name)


_LEGEND_LETTERS = 62
"""Letters of a legend that fit over the narrower of two columns."""


def _legend_above(axes: Axes) -> None:
    longest = max(len(label) for label in axes.get_legend_handles_labels()[1])
    ncols = max(_LEGEND_LETTERS // (longest + 3), 1)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=ncols, fontsize=9, borderpad=0.1, borderaxespad=0.1)
