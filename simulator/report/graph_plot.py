"""A drawing of the operators of a workload: a column per block, from top to bottom what can run at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path

from simulator.errors import SpecError
from simulator.graph import PhaseGraph, WorkloadGraph
from simulator.graph.graph import OperatorGraph
from simulator.graph.layers import LayerRow, named_graphs, phase_rows
from simulator.report.graph_file import block_label
from simulator.report.style import COLOURS, FAINT, INK, MUTED, save, styled
from simulator.units import format_quantity

SLOT_INCHES: Final = 1.2
ROW_INCHES: Final = 0.47
BOX_INCHES: Final = (1.08, 0.3)
GAP_INCHES: Final = 0.3
"""Between columns."""
LANES_INCHES: Final = (0.08, 0.14, 0.2)
"""How far from a box arrows pass it."""
LETTER_INCHES: Final = 0.092
"""A letter of the line of a phase, with room to spare."""
HEAD_INCHES: Final = 0.62
"""Above the boxes of a band: phases and blocks."""
TOP_INCHES: Final = 1.0
"""Title, subtitle and legend."""
BAND_INCHES: Final = 14.0
"""Columns that need more than this begin a new band."""
MARGIN_INCHES: Final = 0.2
MAX_ROWS: Final = 400
"""A longer column gives a picture that no program opens."""
MAX_LETTERS: Final = 19

_COLOURS: Final = {
    "matmul": COLOURS[0], "expert_matmul": COLOURS[0], "product": COLOURS[0], "convolution": COLOURS[4],
    "short_convolution": COLOURS[4], "attention": COLOURS[1], "delta_rule": COLOURS[1], "cache_write": COLOURS[5],
    "embedding": COLOURS[2], "resample": COLOURS[3],
}  # fmt: skip
_LEGEND: Final = {
    COLOURS[0]: "product of matrices", COLOURS[4]: "convolution", COLOURS[1]: "attention", COLOURS[5]: "KV cache",
    COLOURS[2]: "table", COLOURS[3]: "sampling", FAINT: "element by element",
}  # fmt: skip


@dataclass(frozen=True)
class _Column:
    """A block of a phase."""

    phase: PhaseGraph
    label: str
    graph: OperatorGraph
    rows: dict[str, LayerRow]
    generations: tuple[tuple[str, ...], ...]

    @property
    def width(self) -> float:
        """Of the boxes, in inches."""
        return SLOT_INCHES * max(map(len, self.generations))

    @property
    def height(self) -> float:
        """In inches."""
        return ROW_INCHES * len(self.generations)


def draw_graph(graph: WorkloadGraph, path: str | os.PathLike[str]) -> None:
    """Draws the operators of a workload to an image.

    Raises:
        SpecError: when the suffix is of no picture, or a block is too long for one.
        OutputError: when the file cannot be written.
    """
    save(graph_figure(graph), path)


def graph_figure(graph: WorkloadGraph) -> Figure:
    """The drawing: phases in order, a column per block, as many bands as the width asks for.

    Raises:
        SpecError: when a block is too long for a picture.
    """
    bands = list(_bands([column for phase in graph.phases for column in _columns(phase)]))
    width = 2 * MARGIN_INCHES + max(8.0, *(_width(band) for band in bands))
    heights = [HEAD_INCHES + max(column.height for column in band) for band in bands]
    height = TOP_INCHES + sum(heights) + MARGIN_INCHES
    with styled():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        _head(axes, graph)
        top, before = TOP_INCHES, None
        for band, band_height in zip(bands, heights, strict=True):
            _band(axes, band, top, begun=before)
            top, before = top + band_height, band[-1].phase
    return figure


def _columns(phase: PhaseGraph) -> Iterator[_Column]:
    rows = phase_rows(phase)
    for name, (operators, blocks) in named_graphs(phase).items():
        generations = operators.generations()
        if len(generations) > MAX_ROWS:
            raise SpecError(
                f"graph {phase.name}: a drawing takes blocks of up to {MAX_ROWS} operators in a row, "
                f"got {len(generations)} in block {name}",
                hint="write a .dot file, and draw it with a graph tool",
            )
        of_block = {row.name: row for row in rows if row.block == name}
        repeats = sum(int(block.repeats) for block in blocks)
        yield _Column(phase, block_label(name, repeats), operators, of_block, generations)


def _bands(columns: list[_Column]) -> Iterator[list[_Column]]:
    """The columns in lines: a phase begins a new line if it does not fit behind the one before."""
    band: list[_Column] = []
    for index, column in enumerate(columns):
        phase = [other for other in columns[index:] if other.phase is column.phase]
        starts_phase = band and band[-1].phase is not column.phase
        if band and _width([*band, *(phase if starts_phase else [column])]) > BAND_INCHES:
            yield band
            band = []
        band.append(column)
    yield band


def _width(columns: list[_Column]) -> float:
    return max(left + column.width for left, column in _places(columns))


def _places(band: list[_Column]) -> Iterator[tuple[float, _Column]]:
    """Where each column begins: behind the one before, and behind the line of the phase before."""
    left = line_end = 0.0
    for index, column in enumerate(band):
        if index == 0 or band[index - 1].phase is not column.phase:
            left = max(left, line_end)
            line_end = left + LETTER_INCHES * len(_phase_line(column.phase)) + GAP_INCHES
        yield left, column
        left += column.width + GAP_INCHES


def _phase_line(phase: PhaseGraph) -> str:
    steps = f", {phase.num_steps} steps" if phase.num_steps > 1 else ""
    return f"{phase.name}: {phase.precision}{steps}, {format_quantity(phase.flop, 'FLOP')}"


# what is drawn ---------------------------------------------------------------------------------------------------


def _head(axes: Axes, graph: WorkloadGraph) -> None:
    axes.text(MARGIN_INCHES, 0.2, graph.name, fontsize=16, fontweight="bold", va="top")
    words = f"{graph.parameters:,} parameters, {format_quantity(graph.flop, 'FLOP')}; numbers in boxes: GFLOP of all " \
            "repetitions and steps"  # fmt: skip
    axes.text(MARGIN_INCHES, 0.52, words, fontsize=9, color=MUTED, va="top")
    used = {_colour(row) for phase in graph.phases for row in phase_rows(phase)}
    handles = [Patch(facecolor=_pale(colour), edgecolor=colour, label=label)
               for colour, label in _LEGEND.items() if colour in used]  # fmt: skip
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(MARGIN_INCHES, 0.72), bbox_transform=axes.transData,
        ncols=len(handles), fontsize=8, handlelength=1.2, borderaxespad=0, borderpad=0, columnspacing=1.2,
    )  # fmt: skip


def _band(axes: Axes, band: list[_Column], top: float, begun: PhaseGraph | None) -> None:
    shown: PhaseGraph | None = None
    for place, column in _places(band):
        left = MARGIN_INCHES + place
        if column.phase is not shown:
            shown = column.phase
            words = f"{shown.name}, continued" if shown is begun else _phase_line(shown)
            axes.text(left, top + 0.18, words, fontsize=10, fontweight="bold", va="center")
        axes.text(left + column.width / 2, top + 0.44, column.label, fontsize=8.5, color=INK, ha="center", va="center",
                  parse_math=False)  # fmt: skip
        _column(axes, column, left, top + HEAD_INCHES)


def _column(axes: Axes, column: _Column, left: float, top: float) -> None:
    places: dict[str, tuple[float, float]] = {}
    levels: dict[str, int] = {}
    for level, names in enumerate(column.generations):
        for slot, name in enumerate(names):
            x = left + column.width / 2 + (slot - (len(names) - 1) / 2) * SLOT_INCHES
            places[name] = (x, top + (level + 0.5) * ROW_INCHES)
            levels[name] = level
    long = 0
    for before, after in column.graph.edges:
        if levels[after] == levels[before] + 1:
            _arrow(axes, _straight(places[before], places[after]))
            continue
        between = column.generations[levels[before] + 1 : levels[after]]
        edge = max(places[name][0] for names in between for name in names) + BOX_INCHES[0] / 2
        _arrow(axes, _around(places[before], places[after], edge + LANES_INCHES[long % len(LANES_INCHES)]))
        long += 1
    for name, place in places.items():
        _box(axes, column.rows[name], place)


def _straight(start: tuple[float, float], end: tuple[float, float]) -> Path:
    """To the next level."""
    half = BOX_INCHES[1] / 2
    return Path([(start[0], start[1] + half), (end[0], end[1] - half)])


def _around(start: tuple[float, float], end: tuple[float, float], lane: float) -> Path:
    """Down at the right of the boxes between; straight from below a box that is further to the right than they are."""
    (x, y), (end_x, end_y) = start, end
    side, half, bend = BOX_INCHES[0] / 2, BOX_INCHES[1] / 2, 0.12
    finish = [(lane, end_y - bend), (lane, end_y), (end_x + side, end_y)]
    if x > lane:
        points = [(x, y + half), (x, end_y - bend), (x, end_y), (end_x + side, end_y)]
        return Path(points, [Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE3])
    if end_x > lane:
        finish = [(lane, end_y - ROW_INCHES), (lane, end_y - ROW_INCHES + bend), (end_x, end_y - half)]
    points = [(x + side, y), (lane, y), (lane, y + bend), *finish]
    return Path(points, [Path.MOVETO, Path.CURVE3, Path.CURVE3, Path.LINETO, Path.CURVE3, Path.CURVE3])


def _arrow(axes: Axes, path: Path) -> None:
    axes.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle="-|>", mutation_scale=6, linewidth=0.7, color=MUTED, shrinkA=0, shrinkB=0, zorder=1
        )
    )


def _box(axes: Axes, row: LayerRow, place: tuple[float, float]) -> None:
    width, height = BOX_INCHES
    x, y = place
    colour = _colour(row)
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=_pale(colour), edgecolor=colour, linewidth=0.8, zorder=2,
        )
    )  # fmt: skip
    name = row.name if len(row.name) <= MAX_LETTERS else f"{row.name[: MAX_LETTERS - 1]}…"
    if row.flop:
        axes.text(x, y - 0.06, name, fontsize=7, ha="center", va="center", zorder=3, parse_math=False)
        axes.text(x, y + 0.075, f"{row.flop / 1e9:,.3g}" if row.flop < 1e12 else f"{row.flop / 1e9:,.0f}",
                  fontsize=6, color=MUTED, ha="center", va="center", zorder=3)  # fmt: skip
    else:
        axes.text(x, y, name, fontsize=7, ha="center", va="center", zorder=3, parse_math=False)


def _colour(row: LayerRow) -> str:
    return _COLOURS.get(row.op, FAINT)


def _pale(colour: str) -> tuple[float, float, float]:
    """A tint that dark letters can be read on."""
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return (red + 3) / 4, (green + 3) / 4, (blue + 3) / 4
