"""The block diagram of a chip: what it is made of and how fast each part is, on one slide.

A number that nobody has published is marked with ~, as `Sourced.is_uncertain` says.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from simulator.chip import Chip, Cluster, Master, MatrixPath, Noc, Sram
from simulator.chip.memory import LASTING
from simulator.report.style import INK, MUTED, check_picture_name, new_figure, note, save, settle, styled
from simulator.sourced import Sourced
from simulator.units import binary_size, format_quantity

_WIDTH: Final = 160.0
_HEIGHT: Final = 80.0
"""The drawing is this many units wide and high; all lengths below are in these units."""

_GAP: Final = 1.5
_SIDE_WIDTH: Final = 34.0
_BAR_HEIGHT: Final = 8.0
_MOST_CELLS: Final = 96
"""Clusters that are drawn; a group of more is drawn as that many and named by its number."""

_KEPT: Final = {"weights": "weights", "kv": "KV", "experts": "experts"}
"""What stays in an SRAM level, as it is written."""

_CHIP: Final = "#F4F6F8"
_GROUP: Final = "#FFFFFF"
_MATRIX: Final = "#0072B2"
_VECTOR: Final = "#8CCFB8"
_SRAM: Final = "#F2C868"
_FABRIC: Final = "#CFD8DC"
_DRAM: Final = "#E3B3D0"
_MASTER: Final = "#B5DCF2"


@dataclass(frozen=True)
class _Box:
    """A rectangle of the drawing, from its lower left corner."""

    x: float
    y: float
    width: float
    height: float

    def inner(self, gap: float = _GAP, *, head: float = 0.0) -> _Box:
        """The box without a margin and without `head` at its top."""
        return _Box(self.x + gap, self.y + gap, self.width - 2 * gap, self.height - 2 * gap - head)

    def columns(self, *weights: float) -> list[_Box]:
        """The box cut into columns from left to right."""
        free = self.width - _GAP * (len(weights) - 1)
        boxes, x = [], self.x
        for weight in weights:
            width = free * weight / sum(weights)
            boxes.append(_Box(x, self.y, width, self.height))
            x += width + _GAP
        return boxes

    def rows(self, *weights: float) -> list[_Box]:
        """The box cut into rows from top to bottom."""
        free = self.height - _GAP * (len(weights) - 1)
        boxes, top = [], self.y + self.height
        for weight in weights:
            height = free * weight / sum(weights)
            boxes.append(_Box(self.x, top - height, self.width, height))
            top -= height + _GAP
        return boxes


def draw_block_diagram(chip: Chip, path: str | os.PathLike[str]) -> None:
    """Writes the block diagram of a chip as PNG, SVG or PDF.

    Raises:
        SpecError: when the suffix is of another format.
        OutputError: when the file cannot be written; then there is no file.
    """
    check_picture_name(path)
    save(block_diagram_figure(chip), path)


def block_diagram_figure(chip: Chip) -> Figure:
    """The block diagram of a chip."""
    with styled():
        figure = new_figure(chip.title, _about(chip))
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(0, _WIDTH)
        axes.set_ylim(0, _HEIGHT)
        settle(figure)  # how much room a text has is known only after the layout
        board = _Box(0, 0, _WIDTH, _HEIGHT)
        chip_row, dram_row = board.rows(_HEIGHT - _BAR_HEIGHT - _GAP, _BAR_HEIGHT)
        _draw_chip(axes, chip, chip_row)
        _draw_dram(axes, chip, dram_row)
        note(figure, "~ not published: inferred, recalled or assumed")
    return figure


def _about(chip: Chip) -> str:
    parts = [chip.name, chip.process]
    if chip.die_area is not None:
        parts.append(_shown(f"{chip.die_area.value:g} mm²", chip.die_area))
    if chip.power is not None:
        parts.append(_shown(f"{chip.power.value:g} W", chip.power))
    if chip.dies is not None:
        parts.append(f"one of {chip.dies.count} dies")
    return " · ".join(parts)


def _shown(text: str, *numbers: Sourced) -> str:
    """A text that rests on some numbers, marked if one of them is uncertain."""
    return f"~{text}" if any(number.is_uncertain for number in numbers) else text


def _draw_chip(axes: Axes, chip: Chip, box: _Box) -> None:
    """The chip itself: cluster groups and shared SRAM at the left, all other masters at the right, the way to DRAM."""
    _draw_box(axes, box, _CHIP, edge=MUTED)
    inside = box.inner()
    upper, fabric = inside.rows(inside.height - _BAR_HEIGHT, _BAR_HEIGHT)
    compute, side = upper.columns(upper.width - _SIDE_WIDTH, _SIDE_WIDTH)
    weights = [compute.height - _BAR_HEIGHT] * len(chip.clusters)
    shared = [(_SRAM, _shared_sram_text(name, level)) for name, level in chip.sram.items()]
    if chip.routing is not None:
        shared.insert(0, (_VECTOR, f"routing unit\nkeeps experts: {chip.routing.cache or 'none'}"))
    places = compute.rows(*weights, *[_BAR_HEIGHT] * bool(shared))
    for (name, cluster), place in zip(chip.clusters.items(), places, strict=False):
        _draw_group(axes, name, cluster, _shapes(chip) if name == chip.accelerator else "", place)
    for (colour, text), place in zip(shared, places[-1].columns(*[1.0] * len(shared)), strict=False):
        _draw_box(axes, place, colour, text)
    _draw_side(axes, chip, side)
    if chip.noc is None:
        _draw_box(axes, fabric, _FABRIC, "fabric: wider than the DRAM")
    else:
        port, rest = fabric.columns(compute.width, side.width)
        _draw_box(axes, port, _FABRIC, _port_text(chip.accelerator, chip.noc))
        _draw_box(axes, rest, _FABRIC, "fabric")


def _shapes(chip: Chip) -> str:
    """The modes and partitions of the accelerator."""
    shapes = []
    if chip.reconfiguration is not None:
        shapes.append(f"modes {', '.join(chip.reconfiguration.modes)}")
    if chip.partitions:
        shapes.append(f"partitions {', '.join(f'{name} ({part.clusters})' for name, part in chip.partitions.items())}")
    return "".join(f"; {shape}" for shape in shapes)


def _shared_sram_text(name: str, level: Sram) -> str:
    text = f"{name}: {_shown(binary_size(level.capacity.value), level.capacity)}, shared"
    kept = {what: level.kept_bytes(what) for what in LASTING}
    words = [f"{_KEPT[what]} {binary_size(kept_bytes)}" for what, kept_bytes in kept.items() if kept_bytes]
    return f"{text}\nkeeps {', '.join(words)}" if words else text


def _draw_group(axes: Axes, name: str, cluster: Cluster, shapes: str, box: _Box) -> None:
    """A group of clusters: all of them as cells, and beside them what is in one."""
    _draw_box(axes, box, _GROUP, edge=MUTED)
    number = f"{cluster.count.value:g}"
    clock = _shown(format_quantity(cluster.clock.value, "Hz", digits=4), cluster.clock)
    head = 5.0
    _write(axes, box.x + _GAP, box.y + box.height - head / 2 - 0.5, f"{name}: {_shown(number, cluster.count)} "
           f"clusters at {clock}{shapes}", weight="bold", size=13, room=box.width - 2 * _GAP)  # fmt: skip
    cells, one = box.inner(head=head).columns(0.42, 0.58)
    _draw_cells(axes, min(int(cluster.count.value), _MOST_CELLS), cells)
    _draw_box(axes, one, _CHIP, edge=MUTED)
    _write(axes, one.x + _GAP, one.y + one.height - 2.6, "in each cluster (op/s: all clusters together, dense)",
           size=10, color=MUTED)  # fmt: skip
    *paths, vector, sram = one.inner(head=3.4).rows(*[1.6] * len(cluster.matrix), 1.0, 1.0)
    for (path_name, path), place in zip(cluster.matrix.items(), paths, strict=True):
        _draw_matrix(axes, path_name, path, cluster, place)
    _draw_box(axes, vector, _VECTOR, _vector_text(cluster))
    _draw_box(axes, sram, _SRAM, _local_sram_text(cluster))


def _draw_cells(axes: Axes, count: int, box: _Box) -> None:
    """Equal cells in rows that fill the box, as square as they can be."""
    columns = max(range(1, count + 1), key=lambda number: min(box.width / number, box.height / -(-count // number)))
    width, height = box.width / columns, box.height / -(-count // columns)
    gap = 0.14 * min(width, height)
    for index in range(count):
        row, column = divmod(index, columns)
        x, y = box.x + column * width, box.y + box.height - (row + 1) * height
        _draw_box(axes, _Box(x + gap / 2, y + gap / 2, width - gap, height - gap), _MATRIX)


def _draw_matrix(axes: Axes, name: str, path: MatrixPath, cluster: Cluster, box: _Box) -> None:
    """A matrix path: its tile, and a cell for every rate with the dtypes that have it."""
    tile = (path.tile_m, path.tile_n, path.tile_k)
    size = _shown("×".join(f"{edge.value:g}" for edge in tile), *tile)
    label, cells = box.rows(0.6, 1.0)
    _write(axes, label.x, label.y + label.height / 2, f"matrix engine, {name} path, tile {size}", size=10)
    rates: dict[float, list[str]] = {}
    for dtype, macs in path.macs_per_cycle.items():
        rates.setdefault(macs.value, []).append(dtype)
    for (macs_per_cycle, dtypes), place in zip(rates.items(), cells.columns(*[1.0] * len(rates)), strict=True):
        sources = [path.macs_per_cycle[dtype] for dtype in path.macs_per_cycle if dtype in dtypes]
        op_per_s = 2 * macs_per_cycle * cluster.count.value * cluster.clock.value
        rate = _shown(format_quantity(op_per_s, "op/s"), *sources, cluster.count, cluster.clock)
        _draw_box(axes, place, _MATRIX, f"{' '.join(dtypes)}\n{rate}", color="white")


def _vector_text(cluster: Cluster) -> str:
    vector = cluster.vector
    lanes = _shown(f"{vector.lanes.value:g} lanes", vector.lanes)
    special = _shown(f"{vector.special_per_cycle.value:g} special functions per cycle", vector.special_per_cycle)
    return f"vector engine: {lanes}, {special}"


def _local_sram_text(cluster: Cluster) -> str:
    sram = cluster.sram
    text = f"SRAM: {_shown(binary_size(sram.capacity.value), sram.capacity)}"
    return text if sram.port is None else f"{text}, {_shown(f'{sram.port.value:g} B/cycle', sram.port)}"


def _draw_side(axes: Axes, chip: Chip, box: _Box) -> None:
    """The other masters of the DRAM, the host clock, and the links."""
    clock = _shown(format_quantity(chip.host.clock.value, "Hz"), chip.host.clock)
    texts = {name: f"{name}{_share_text(master)}" for name, master in chip.masters.items() if name != chip.accelerator}
    texts = {"cpu": "cpu", **texts}
    texts["cpu"] += f"\nhost at {clock}"
    links = [f"{name}: {_shown(format_quantity(link.bandwidth.value, 'B/s'), link.bandwidth)}"
             for name, link in chip.links.items()]  # fmt: skip
    places = box.rows(*[1.0] * (len(texts) + len(links)))
    for text, place in zip(texts.values(), places, strict=False):
        _draw_box(axes, place, _MASTER, text)
    for text, place in zip(links, places[len(texts) :], strict=True):
        _draw_box(axes, place, _FABRIC, text)


def _share_text(master: Master) -> str:
    """What a master may take of the DRAM, where that is not everything."""
    limits = []
    if master.minimum_share > 0:
        limits.append(f"at least {100 * master.minimum_share:g} %")
    if master.maximum_share < 1:
        limits.append(f"at most {100 * master.maximum_share:g} %")
    if master.rate_cap is not None:
        limits.append(f"port {_shown(format_quantity(master.rate_cap.value, 'B/s'), master.rate_cap)}")
    return "".join(f"\n{limit}" for limit in limits)


def _port_text(accelerator: str, noc: Noc) -> str:
    peak = _shown(format_quantity(noc.bandwidth.value, "B/s"), noc.bandwidth)
    sustained = _shown(format_quantity(noc.sustained_bytes_per_s, "B/s"), noc.bandwidth, noc.sustained_fraction)
    return f"NoC port of the {accelerator}: {peak} peak, {sustained} sustained"


def _draw_dram(axes: Axes, chip: Chip, box: _Box) -> None:
    """The external memory, with a connection to the chip above it."""
    dram = chip.dram
    for fraction in (0.2, 0.5, 0.8):
        wires = _Box(box.x + fraction * box.width - 2, box.y + box.height, 4, 2 * _GAP)
        _draw_box(axes, wires, MUTED)
    peak = _shown(format_quantity(dram.peak_bytes_per_s, "B/s"), dram.width_bits, dram.rate)
    sustained = _shown(format_quantity(dram.sustained_bytes_per_s, "B/s"), dram.width_bits, dram.rate,
                       dram.reached_fraction)  # fmt: skip
    width = _shown(f"{dram.width_bits.value:g} bit", dram.width_bits)
    capacity = _shown(binary_size(dram.capacity.value), dram.capacity)
    _draw_box(axes, box, _DRAM, f"{dram.type}, {width}, {capacity}: {peak} peak, {sustained} sustained", size=14)


def _draw_box(
    axes: Axes, box: _Box, face: str, text: str = "", *, edge: str = "none", color: str = INK, size: float = 11
) -> None:
    axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, facecolor=face, edgecolor=edge, linewidth=0.8))
    if text:
        _write(axes, box.x + box.width / 2, box.y + box.height / 2, text, size=size, color=color, align="center",
               room=box.width - 1)  # fmt: skip


def _write(
    axes: Axes, x: float, y: float, text: str, *, size: float, color: str = INK, weight: str = "normal",
    align: Literal["left", "center"] = "left", room: float = math.inf,
) -> None:  # fmt: skip
    """Writes a text, smaller if it would be wider than `room`."""
    written = axes.text(x, y, text, ha=align, va="center", fontsize=size, color=color, fontweight=weight)
    extent = written.get_window_extent().transformed(axes.transData.inverted())
    if extent.width > room:
        written.set_fontsize(size * room / extent.width)
