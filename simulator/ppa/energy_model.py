"""Energies of a chip: what a MAC, a cycle, a byte and a second take, from what the chip has and its technology.

Those of logic and SRAM scale with the node and with the square of the voltage; those of DRAM and links do not. What
the tasks of a run take by them is in `ppa.energy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from simulator.chip import LASTING, Chip, Cluster, Physical
from simulator.ppa.area import area_of, named, powered_mm2, sram_mm2
from simulator.sourced import Sourced, units_of
from simulator.technology import Technology

MEAN_WAY: Final = 5 / 6
"""Way of a byte from the rim of a die to a cluster, in sides of the die.

Along a square: half of the side straight in and, between two points of a side, a third of it across.
"""

_SMALL_BANK_BYTES, _LARGE_BANK_BYTES = 32 * 2**10, 2**20


@dataclass(frozen=True)
class EnergyModel:
    """The energies of a chip at its voltage, in joules."""

    mac_j: Mapping[str, float]
    """By dtype."""
    lane_cycle_j: Mapping[str, float]
    """By mode, an empty name for none: a cycle in which all lanes and special functions of one cluster work. A Program
    counts cycles of a mode in the clock of the chip, so it is as many cycles of the mode as pass in one of the chip."""
    num_clusters: Mapping[str, float]
    """Clusters by the name of the place whose units work, such as `npu`, `npu.front` and `die1.npu`."""
    host_cycle_j: float
    """A busy cycle of one CPU core."""
    channel_j_per_byte: Mapping[str, tuple[str, float]]
    """By name of the channel: the part it counts for, and its energy."""
    wire_j_per_byte: float
    """From the rim of the die to a cluster."""
    local_j_per_byte: float
    """Writing a byte to local SRAM and reading it once."""
    kept_j_per_byte: Mapping[str, Mapping[str, float]]
    """By mode, an empty name for none, and by part: a byte that is read or written where it stays on the chip."""
    link_j_per_byte: float
    """Between two dies."""
    link_latency_bytes: float
    """What the link between two dies could have moved in its latency, which counts as its work."""
    static_w: float
    """Powered silicon and DRAM that do nothing, of all dies."""


def energy_model(chip: Chip, technology: Technology) -> EnergyModel:
    """The energies of a chip.

    Formula:  logic and SRAM: energy at N7 * scale of the node * (voltage / nominal)^2
              idle silicon: power * voltage / nominal
    Source:   definition of dynamic energy, C V^2; a leakage current that does not depend on the voltage is assumed

    Raises:
        SpecError: when the technology lacks what the chip has.
    """
    table, cluster = technology.energy, chip.cluster
    nominal_v = technology.nominal_voltage.value
    voltage = chip.physical.voltage if chip.physical is not None else None
    over_nominal = 1.0 if voltage is None else voltage.value / nominal_v
    logic, sram = (scale.value * over_nominal**2 for scale in (technology.logic_energy, technology.sram_energy))
    side_mm = math.sqrt(area_of(chip, technology).total_mm2)
    channels = {"dram": ("dram", named(table.dram, chip.dram.type, technology, "energy.dram")), "noc": ("noc", 0.0)}
    channels |= {"sram": ("sram", sram * sram_j_per_byte(_shared_sram_bytes(chip), technology))} if chip.sram else {}
    wire_j = logic * table.wire.value * MEAN_WAY * side_mm
    local_j = 2 * sram * sram_j_per_byte(cluster.sram.capacity.value, technology)
    far_j = {"sram": channels["sram"][1] + local_j if chip.sram else 0.0, "noc": wire_j}
    far = {mode: _far_share(seen) for mode, seen in chip.in_modes.items()}
    num_dies = 1 if chip.dies is None else chip.dies.count
    leakage_w = table.static.value * powered_mm2(chip, technology) * over_nominal
    return EnergyModel(
        mac_j={dtype: logic * table.mac_overhead.value * energy.value for dtype, energy in table.mac.items()},
        lane_cycle_j={
            mode: logic * _lanes_j(seen.cluster, technology) * seen.cluster.clock.value / cluster.clock.value
            for mode, seen in chip.in_modes.items()
        },
        num_clusters=_clusters_of_places(chip),
        host_cycle_j=logic * table.host_cycle.value,
        channel_j_per_byte=channels,
        wire_j_per_byte=wire_j,
        local_j_per_byte=local_j,
        kept_j_per_byte={
            mode: {"sram": (1 - share) * local_j / 2 + share * far_j["sram"], "noc": share * far_j["noc"]}
            for mode, share in far.items()
        },
        link_j_per_byte=table.link.value,
        link_latency_bytes=0.0 if chip.die_link is None else chip.die_link.latency_bytes,
        static_w=num_dies * (leakage_w + table.dram_standby.value * chip.dram.capacity.value / 2**30),
    )  # fmt: skip


def _clusters_of_places(chip: Chip) -> dict[str, float]:
    """The clusters of the accelerator and of its partitions, named as the units of each place are in a Program."""
    parts = {"": chip.cluster.count.value, **{f".{name}": float(of.clusters) for name, of in chip.partitions.items()}}
    dies = [""] if chip.dies is None else [f"die{number}." for number in range(chip.dies.count)]
    return {f"{die}{chip.accelerator}{part}": clusters for die in dies for part, clusters in parts.items()}


def _far_share(chip: Chip) -> float:
    """The share of what is kept without a transfer that lies in a shared level, taken as that of the room.

    What passes a port with a known figure is a transfer.
    """
    local = sum(chip.cluster.sram.kept_bytes(what) for what in LASTING) * chip.cluster.count.value
    levels = [level for level in chip.sram.values() if level.bandwidth is None]
    shared = sum(level.kept_bytes(what) for level in levels for what in LASTING)
    return shared / max(local + shared, 1.0)


def _lanes_j(cluster: Cluster, technology: Technology) -> float:
    """A cycle in which all lanes and special functions of a cluster work, at N7."""
    vector, table = cluster.vector, technology.energy
    return (
        vector.lanes.value * table.lane_operation.value + vector.special_per_cycle.value * table.special_function.value
    )


def numbers_used(chip: Chip, technology: Technology) -> list[tuple[str, Sourced, str | None]]:
    """The numbers of a technology on which the energy of a chip rests: dotted path, number and unit."""
    physical = chip.physical or Physical()
    paths = [path for seen in chip.in_modes.values() for path in seen.cluster.matrix.values()]
    dtypes = {dtype for path in paths for dtype in path.macs_per_cycle}
    chosen: dict[str, set[str]] = {  # by table; of the others all
        "energy.mac": set(dtypes),
        "energy.dram": {chip.dram.type},
        "area.mac": dtypes | set(physical.other_macs),
        "area.lane": {physical.lanes} | ({"simt"} if physical.other_lanes else set()),
        "area.routing": set() if chip.routing is None else set(technology.area.routing),
        "area.cpu_core": set(physical.cpu_cores),
        "area.dram_pin": {chip.dram.type},
        "area.fixed_logic": {physical.surroundings},
        "area.fixed_io": {physical.surroundings},
    }
    used = []
    for path, number, unit in units_of(technology):
        table, _, name = path.rpartition(".")
        if not path.startswith("cost.") and (table not in chosen or name in chosen[table]):
            used.append((path, number, unit))
    return used


def _shared_sram_bytes(chip: Chip) -> float:
    """The size of the shared level that is read: the first that keeps something, else the first."""
    levels = list(chip.sram.values())
    kept = [level for level in levels if level.keeps_something]
    return (kept or levels)[0].capacity.value


def sram_j_per_byte(size_bytes: float, technology: Technology) -> float:
    """Reading or writing a byte of an SRAM at N7.

    Between the published banks energy follows a power of the size; a larger SRAM is banks of 1 MiB with wires as long
    as its side.

    Formula:  e32 (C / 32 KiB)^p up to 1 MiB, p = log(e1 / e32) / log 32;  e1 + wire * sqrt(area of C) beyond
    Source:   [jou] table 2 for e32 and e1
    """
    table = technology.energy
    small, large = table.sram_32kib.value, table.sram_1mib.value
    if size_bytes > _LARGE_BANK_BYTES:
        return large + table.wire.value * math.sqrt(sram_mm2(size_bytes, technology))
    power = math.log(large / small) / math.log(_LARGE_BANK_BYTES / _SMALL_BANK_BYTES)
    return float(small * (size_bytes / _SMALL_BANK_BYTES) ** power)
