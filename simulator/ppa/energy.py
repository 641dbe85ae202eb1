"""Energy of tasks: what each template task of a Program takes, from its chip and technology.

    matrix task       its share of its operation's MACs * energy of a MAC in the dtype of the operation; the share is
                      that of its cycles in the matrix cycles of the operation
    vector task       cycles * what all lanes and special functions take in a cycle: an upper estimate where a task is
                      bound by operand traffic
    host task         cycles * energy of a cycle of a core
    link task         bytes * energy of a link between dies, none for its latency
    kept bytes        those that an operation reads or writes where they stay, without a transfer, shared out to its
                      work by cycles * energy of the levels that keep something
    transfer          bytes * the sum over what they cross: DRAM, wires to the clusters, writing and reading local SRAM
    idle silicon      power * time, counted in `ppa.power`

Energies of logic and SRAM scale with the node and with the square of the voltage; those of DRAM and links do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.chip import LASTING, Chip, Cluster, Physical
from simulator.errors import EngineError, SpecError, nearest
from simulator.ppa.area import area_of, named, powered_mm2, sram_mm2
from simulator.program.columns import NONE, Floats
from simulator.program.program import Labels, Program, role_of
from simulator.program.template_columns import times_of_templates
from simulator.sourced import Sourced, units_of
from simulator.technology import Technology

PARTS: Final = ("matrix", "vector", "conversion", "routing", "host", "dram", "noc", "sram", "link")
"""What energy of tasks goes to, in the order of reports."""

MEAN_WAY: Final = 5 / 6
"""Way of a byte from the rim of a die to a cluster, in sides of the die.

Along a square: half of the side straight in and, between two points of a side, a third of it across.
"""

_LANE_ROLES: Final = ("vector", "routing")
_WORK_ROLES: Final = ("matrix", *_LANE_ROLES)
_FREE_ROLES: Final = ("launch", "mode")
"""Units whose work is waiting: it costs what idle silicon costs."""

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
    """Clusters by partition; under an empty name all of them."""
    host_cycle_j: float
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
    channels |= {"sram": ("sram", sram * sram_j_per_byte(_kept_sram_bytes(chip), technology))} if chip.sram else {}
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
        num_clusters={"": cluster.count.value}
        | {name: float(partition.clusters) for name, partition in chip.partitions.items()},
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
    chosen: dict[str, set[str]] = {
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
    return [
        (path, number, unit) for path, number, unit in units_of(technology)
        if not path.startswith("cost.")
        and (path.rpartition(".")[0] not in chosen or path.rpartition(".")[2] in chosen[path.rpartition(".")[0]])
    ]  # fmt: skip


def _kept_sram_bytes(chip: Chip) -> float:
    """The shared level that is read through a port: the first that keeps something, else the first."""
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


def template_energy(program: Program, model: EnergyModel) -> dict[str, Floats]:
    """The energy in joules of every template task, by part (shape of each: template tasks).

    Raises:
        EngineError: when a unit or a channel is not known here, or matrix work has no dtype.
        SpecError: when the technology has no energy for a dtype.
    """
    templates, resources = program.folded_tasks.templates, program.resources
    energy = {part: np.zeros(len(templates.unit)) for part in PARTS}
    is_conversion = templates.cause == _index(program.labels.causes, "conversion")
    lane_cycle_j = _lane_cycle_j(program, model)
    work_cycles = np.zeros(len(templates.unit))
    for unit, name in enumerate(resources.unit_names):
        *place, role = name.split(".")
        cycles = np.where(templates.unit == unit, templates.work_cycles, 0.0)
        if role in _WORK_ROLES:
            work_cycles += cycles
        if role == "matrix":
            energy["matrix"] += _matrix_energy(program, model, cycles)
        elif role in _LANE_ROLES:
            partition = place[-1] if place and place[-1] in model.num_clusters else ""
            lanes_j = cycles * lane_cycle_j * model.num_clusters[partition]
            energy["conversion"] += np.where(is_conversion, lanes_j, 0.0)
            energy[role] += np.where(is_conversion, 0.0, lanes_j)
        elif role == "host":
            energy["host"] += cycles * model.host_cycle_j
        elif role == "link":  # its cycles are bytes, of which every message begins with those of the latency
            energy["link"] += np.maximum(cycles - model.link_latency_bytes, 0.0) * model.link_j_per_byte
        elif role not in _FREE_ROLES and np.any(cycles):
            raise EngineError(f"there is no rule for the energy of the unit {name}")
    for part, kept_j in _kept_energy(program, model, work_cycles).items():
        energy[part] += kept_j
    for part, j_per_byte in route_energy(program, model).items():
        energy[part] += templates.size_bytes * j_per_byte[templates.route]
    energy["noc"] += templates.size_bytes * model.wire_j_per_byte
    energy["sram"] += templates.size_bytes * model.local_j_per_byte
    return energy


def route_energy(program: Program, model: EnergyModel) -> dict[str, Floats]:
    """The energy of a byte in the channels of each route, by part (shape of each: routes, and 0 for NONE).

    Raises:
        EngineError: when a channel is not known here.
    """
    resources = program.resources
    energy = {part: np.zeros(resources.num_routes + 1) for part in PARTS}
    for route in range(resources.num_routes):
        for channel in resources.route(route):
            name = role_of(resources.channel_names[channel])
            if name not in model.channel_j_per_byte:
                raise EngineError(f"there is no rule for the energy of the channel {name}")
            part, j_per_byte = model.channel_j_per_byte[name]
            energy[part][route] += j_per_byte
    return energy


def _lane_cycle_j(program: Program, model: EnergyModel) -> Floats:
    """The energy of a cycle of the lanes of one cluster, in the mode of each template task."""
    labels, operation = program.labels, program.folded_tasks.templates.operation
    of_operation = [model.lane_cycle_j[mode] for mode in labels.operation_modes or ("",) * len(labels.operations)]
    return np.array([*of_operation, model.lane_cycle_j[""]])[operation]  # NONE is the last


def _matrix_energy(program: Program, model: EnergyModel, cycles: Floats) -> Floats:
    """The energy of the matrix work of each template task: its share of that of its operation, by cycles."""
    labels, in_operation = program.labels, _of_operations(program, cycles)
    energy = np.zeros(len(in_operation))
    for row in np.flatnonzero(in_operation).tolist():
        energy[row] = int(labels.operation_flop[row]) / 2 * _mac_j(model, labels, row)
    return _shared_out(program, energy, cycles, in_operation)


def _kept_energy(program: Program, model: EnergyModel, work_cycles: Floats) -> dict[str, Floats]:
    """The energy of what stays on the chip for each template task, by part.

    An operation without work that reads or writes there has it shared out to all its tasks alike.
    """
    labels, operation = program.labels, program.folded_tasks.templates.operation
    if not np.any(labels.operation_kept_bytes):
        return {}
    modes = labels.operation_modes or ("",) * len(labels.operations)
    has_work = np.append(_of_operations(program, work_cycles) > 0, False)[operation]  # NONE is the last
    weight = np.where(has_work, work_cycles, operation != NONE)
    in_operation = _of_operations(program, weight)
    return {
        part: _shared_out(
            program,
            labels.operation_kept_bytes * np.array([model.kept_j_per_byte[mode][part] for mode in modes]),
            weight,
            in_operation,
        )
        for part in ("sram", "noc")
    }


def _of_operations(program: Program, weight: Floats) -> Floats:
    """The weight of all tasks of each operation in a job, of the job that has most of it (shape: operations)."""
    operation, most = program.folded_tasks.templates.operation, np.zeros(len(program.labels.operations))
    counts = (weight > 0) & (operation != NONE)
    for job in range(program.num_jobs):
        in_job = np.where(counts, weight * times_of_templates(program, job), 0.0)
        np.maximum(most, np.bincount(operation[counts], in_job[counts], minlength=len(most)), out=most)
    return most


def _shared_out(program: Program, energy: Floats, weight: Floats, in_operation: Floats) -> Floats:
    """The energy of operations shared out to their template tasks by weight (shape: template tasks)."""
    per_weight = np.divide(energy, in_operation, out=np.zeros(len(energy)), where=in_operation > 0)
    shared: Floats = weight * np.append(per_weight, 0.0)[program.folded_tasks.templates.operation]  # NONE is the last
    return shared


def _mac_j(model: EnergyModel, labels: Labels, row: int) -> float:
    """The energy of a MAC of an operation."""
    dtype = labels.operation_dtypes[row] if labels.operation_dtypes else ""
    if not dtype:
        raise EngineError(f"the operation {labels.operations[row]} has matrix work and no dtype")
    if dtype not in model.mac_j:
        raise SpecError(
            f'energy.mac: the technology must have what {labels.operations[row]} is multiplied in, got no "{dtype}"',
            hint=nearest(dtype, model.mac_j),
        )
    return model.mac_j[dtype]


def _index(names: tuple[str, ...], name: str) -> int:
    """The place of a name, and one that no task has if it is not there."""
    return names.index(name) if name in names else NONE - 1
