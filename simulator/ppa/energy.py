"""Energy of tasks: what each template task of a Program takes, by the energies of its chip in `ppa.energy_model`.

    matrix task       its share of its operation's MACs * energy of a MAC in the dtype of the operation; the share is
                      that of its cycles in the matrix cycles of the operation
    vector task       cycles * what all lanes and special functions take in a cycle: an upper estimate where a task is
                      bound by operand traffic; cycles of a routing unit count the same
    host task         cycles * energy of a cycle of a core
    link task         bytes * energy of a link between dies, none for its latency
    kept bytes        those that an operation reads or writes where they stay, without a transfer, shared out to its
                      work by cycles * energy of the levels that keep something
    transfer          bytes * the sum over what they cross: DRAM, wires to the clusters, writing and reading local SRAM

What idle silicon takes is in `ppa.power`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.errors import EngineError, SpecError, nearest
from simulator.ppa.energy_model import EnergyModel
from simulator.program.columns import NONE, Floats
from simulator.program.program import Labels, Program, role_of
from simulator.program.template_columns import times_of_templates

PARTS: Final = ("matrix", "vector", "conversion", "routing", "host", "dram", "noc", "sram", "link")
"""What energy of tasks goes to, in the order of reports."""

_LANE_ROLES: Final = ("vector", "routing")
_WORK_ROLES: Final = ("matrix", *_LANE_ROLES)
_FREE_ROLES: Final = ("launch", "mode")
"""Units whose work is waiting: it costs what idle silicon costs."""


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
        owner, _, role = name.rpartition(".")
        cycles = np.where(templates.unit == unit, templates.work_cycles, 0.0)
        if role in _WORK_ROLES:
            work_cycles += cycles
        if role == "matrix":
            energy["matrix"] += _matrix_energy(program, model, cycles)
        elif role in _LANE_ROLES and owner in model.num_clusters:
            lanes_j = cycles * lane_cycle_j * model.num_clusters[owner]
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
