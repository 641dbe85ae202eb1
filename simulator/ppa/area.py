"""Area of a die: blocks counted from the chip, each with the area that the technology gives it.

The constants are those of the technology; nothing is fitted to a chip, so the error against a published die is a
finding. What it costs is in `ppa.cost`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from simulator.chip import Chip, Cluster, Physical
from simulator.chip.physical import with_spares
from simulator.errors import SpecError, nearest
from simulator.precision import Dtype
from simulator.sourced import Sourced
from simulator.technology import Technology

BITS_PER_BYTE: Final = 8
Key = TypeVar("Key", bound=str)


@dataclass(frozen=True)
class Area:
    """A die by its blocks."""

    blocks_mm2: Mapping[str, float]
    """By name of the block, in the order of reports; the last is what the top level adds."""
    published_mm2: float | None

    @property
    def total_mm2(self) -> float:
        """The die."""
        return sum(self.blocks_mm2.values())

    @property
    def error(self) -> float | None:
        """By how much the die is larger than the published one, as a fraction of that; None without one."""
        return None if self.published_mm2 is None else self.total_mm2 / self.published_mm2 - 1


def area_of(chip: Chip, technology: Technology) -> Area:
    """The area of the whole die, spares included.

    Formula:  (sum over blocks) * top level; logic scales with the transistors per mm2, SRAM with its bit cell
    Status:   assumed constants, see the technology

    Raises:
        SpecError: when the technology lacks a dtype, a memory or a class of cores that the chip has.
    """
    return _area(chip, technology, is_powered=False)


def powered_mm2(chip: Chip, technology: Technology) -> float:
    """The part of the die that is powered: without spare clusters and without cores that are off."""
    return _area(chip, technology, is_powered=True).total_mm2


def sram_mm2(size_bytes: float, technology: Technology) -> float:
    """The area of an SRAM.

    Formula:  bits * bit cell / share of the bit cells
    """
    return size_bytes * BITS_PER_BYTE * technology.sram_bitcell.value / technology.area.array_efficiency.value


def named(numbers: Mapping[Key, Sourced], key: Key, technology: Technology, field: str) -> float:
    """The number of a table of the technology.

    Raises:
        SpecError: when the table has none under that key.
    """
    if key not in numbers:
        raise SpecError(
            f'technology {technology.name}: {field} must have what the chip has, got no "{key}"',
            hint=nearest(key, numbers) or f"it has {', '.join(numbers)}",
        )
    return numbers[key].value


def _area(chip: Chip, technology: Technology, *, is_powered: bool) -> Area:
    physical, table = chip.physical or Physical(), technology.area
    logic = technology.logic_area.value
    counts = {
        name: (cluster.count if is_powered else with_spares(cluster.count, physical.clusters_on_die.get(name))).value
        for name, cluster in chip.clusters.items()
    }
    shapes = {name: [cluster] for name, cluster in chip.clusters.items()}
    # of modes what the largest needs is on the die
    shapes[chip.accelerator] = [seen.cluster for seen in chip.in_modes.values()]
    macs_mm2 = sum(counts[name] * max(_macs_mm2(shape, technology) for shape in shapes[name]) for name in shapes)
    lanes = sum(counts[name] * max(shape.vector.lanes.value for shape in shapes[name]) for name in shapes)
    local_bytes = sum(counts[name] * cluster.sram.capacity.value for name, cluster in chip.clusters.items())
    shared_bytes = sum(level.capacity.value for level in chip.sram.values())
    other_lanes_mm2 = _value(physical.other_lanes) * table.lane["simt"].value
    pins = chip.dram.width_bits if is_powered else with_spares(chip.dram.width_bits, physical.dram_pins_on_die)
    pin_mm2 = named(table.dram_pin, chip.dram.type, technology, "area.dram_pin")
    blocks = {
        "matrix engines": logic * macs_mm2,
        "vector lanes": logic * lanes * table.lane[physical.lanes].value,
        "routing unit": logic * _routing_mm2(chip, technology),
        "local SRAM": sram_mm2(local_bytes, technology),
        "shared SRAM": sram_mm2(shared_bytes, technology),
        "other engines": logic * (_widest_mm2(physical.other_macs, technology) + other_lanes_mm2),
        "other SRAM": sram_mm2(_value(physical.cpu_cache) + _value(physical.other_sram), technology),
        "CPU cores": logic * _cores_mm2(physical, technology, is_powered=is_powered),
        "DRAM interface": pins.value * pin_mm2,
        "fixed logic": logic * table.fixed_logic[physical.surroundings].value,
        "fixed I/O": table.fixed_io[physical.surroundings].value,
    }
    blocks["top level"] = sum(blocks.values()) * (table.top_level.value - 1)
    return Area(blocks, None if chip.die_area is None else chip.die_area.value)


def _macs_mm2(cluster: Cluster, technology: Technology) -> float:
    """The matrix engine of one cluster at N7: its widest path, since narrower types use the same multipliers."""
    return max(_widest_mm2(path.macs_per_cycle, technology) for path in cluster.matrix.values())


def _routing_mm2(chip: Chip, technology: Technology) -> float:
    """The routing unit at N7, by its rates; the SRAM that keeps experts is a level of its own."""
    unit, areas = chip.routing, technology.area.routing
    if unit is None:
        return 0.0
    return unit.scores_per_cycle.value * areas["score"].value + areas["byte"].value * (
        unit.gather.value + unit.scatter.value
    )


def _widest_mm2(macs_per_cycle: Mapping[Dtype, Sourced], technology: Technology) -> float:
    """The largest area that the rate of one dtype asks for, at N7."""
    areas = technology.area.mac
    return max(
        (rate.value * named(areas, dtype, technology, "area.mac") for dtype, rate in macs_per_cycle.items()),
        default=0.0,
    )


def _cores_mm2(physical: Physical, technology: Technology, *, is_powered: bool) -> float:
    """The CPU cores at N7, or those that are on, the largest first."""
    left = math.inf if physical.cpu_cores_on is None or not is_powered else physical.cpu_cores_on.value
    sizes = sorted(
        ((named(technology.area.cpu_core, kind, technology, "area.cpu_core"), count.value)
         for kind, count in physical.cpu_cores.items()), reverse=True,
    )  # fmt: skip
    total_mm2 = 0.0
    for core_mm2, count in sizes:
        total_mm2 += min(count, left) * core_mm2
        left -= min(count, left)
    return total_mm2


def _value(number: Sourced | None) -> float:
    return 0.0 if number is None else number.value
