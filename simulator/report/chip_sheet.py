"""The sheet of a chip: compute rates by dtype, memories, masters, modes, and what is uncertain about them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import RenderableType
from rich.table import Table

from simulator.chip import Chip, Cluster, Dram, Master
from simulator.precision import Dtype
from simulator.report.die_sheet import rest_of_die_tables
from simulator.report.shape_sheet import shape_tables
from simulator.report.sheet_parts import (
    DIGITS,
    WIDTH,
    Number,
    heading_line,
    new_table,
    number_table,
    numbers_of,
    pairs,
    part_labels,
    rendered,
    uncertain_list,
    worst_status,
)
from simulator.units import format_quantity


def chip_sheet(chip: Chip, width: int = WIDTH) -> str:
    """What a chip has: compute rates by dtype, memories, masters, and what is uncertain about them."""
    numbers = numbers_of(chip)
    facts = [
        ("process", chip.process),
        ("technology", chip.technology or "none"),
        ("accelerator", chip.accelerator),
        ("usual runtime", chip.usual_runtime),
    ]
    if chip.dram.device is not None:
        facts.append(("memory", _memory_text(chip.dram)))
    parts: list[RenderableType] = [heading_line(chip.name, chip.title), pairs(facts)]
    overall = {path: number for path, number in numbers.items() if path in {"die_area", "power"}}
    if overall:
        parts.append(number_table("Whole chip", overall, {"die_area": "area of the die", "power": "power"}))
    for name, cluster in chip.clusters.items():
        parts += [_cluster_table(name, numbers), _rate_table(f"of {name}", f"clusters.{name}", cluster, numbers)]
    parts += [_memory_table(chip, numbers), *shape_tables(chip, numbers), *_mode_tables(chip, numbers)]
    parts.append(_master_table(chip, numbers))
    for name in chip.links:
        labels = {f"links.{name}.bandwidth": "bandwidth and direction", f"links.{name}.latency": "latency"}
        parts.append(number_table(f"Link {name}", numbers, labels))
    parts.append(number_table("Host", numbers, {"host.clock": "clock"}))
    parts += rest_of_die_tables(chip, numbers)
    return rendered([*parts, uncertain_list(numbers)], width)


def _cluster_table(name: str, numbers: Mapping[str, Number]) -> Table:
    start = f"clusters.{name}"
    labels = {
        f"{start}.count": "clusters",
        f"{start}.clock": "clock",
        f"{start}.vector.lanes": "vector lanes of one cluster",
        f"{start}.vector.special_per_cycle": "special functions per cycle of one cluster",
        f"{start}.sram.capacity": "local SRAM of one cluster",
        f"{start}.sram.port": "its port",
    }
    return number_table(f"Clusters {name}", numbers, labels)


def _mode_tables(chip: Chip, numbers: Mapping[str, Number]) -> list[Table]:
    """What another mode changes of the clusters."""
    tables = []
    for name, mode in ({} if chip.reconfiguration is None else chip.reconfiguration.modes).items():
        place = f"reconfiguration.modes.{name}"
        labels = {path: label for path, label in part_labels(numbers, place).items() if not label.startswith("matrix")}
        if labels:
            tables.append(number_table(f"Clusters {chip.accelerator} in mode {name}", numbers, labels))
        if mode.matrix is not None or mode.clock is not None:
            seen = chip.in_mode(name).cluster
            of_paths = place if mode.matrix is not None else f"clusters.{chip.accelerator}"
            tables.append(_rate_table(f"in mode {name}", of_paths, seen, numbers))
    return tables


def _rate_table(where: str, place: str, cluster: Cluster, numbers: Mapping[str, Number]) -> Table:
    """The matrix rates of a cluster group, whose paths stand at `place`."""
    table = new_table(
        f"Matrix rates {where}, dense: 2 * MAC * clusters * clock",
        "path", "dtype", "tile m, n, k", "MAC/cycle/cluster >", "status", "source", "rate >",
    )  # fmt: skip
    for path, matrix in cluster.matrix.items():
        tile = ", ".join(f"{size.value:g}" for size in (matrix.tile_m, matrix.tile_n, matrix.tile_k))
        for dtype, rate in dense_rates(cluster, path).items():
            number = numbers[f"{place}.matrix.{path}.macs_per_cycle.{dtype}"]
            table.add_row(path, dtype, tile, number.text, number.status, number.source, rate_text(rate, dtype))
    return table


def _memory_table(chip: Chip, numbers: Mapping[str, Number]) -> Table:
    labels = {
        f"sram.{name}.{field}": f"shared SRAM {name}, {label}"
        for name in chip.sram
        for field, label in (("capacity", "capacity"), ("bandwidth", "port"))
    }
    labels |= {"noc.bandwidth": "NoC, peak", "noc.sustained_fraction": "NoC, sustained of peak"}
    labels |= {
        "dram.width_bits": f"{chip.dram.type}, data pins",
        "dram.rate": f"{chip.dram.type}, rate per pin",
        "dram.capacity": f"{chip.dram.type}, capacity",
        "dram.sustained_fraction": f"{chip.dram.type}, sustained of peak",
        "dram.controller_fraction": f"{chip.dram.type}, sustained of the ceiling of its timing",
        "dram.drain_bursts": f"{chip.dram.type}, bursts written before it reads again",
    }
    table = number_table("Memory", numbers, labels)
    if chip.noc is not None:
        status = worst_status([chip.noc.bandwidth.status, chip.noc.sustained_fraction.status])
        sustained = format_quantity(chip.noc.sustained_bytes_per_s, "B/s", DIGITS)
        table.add_row("NoC, sustained", sustained, status, "peak * sustained of peak")
    dram = chip.dram
    peak_status = worst_status([dram.width_bits.status, dram.rate.status])
    peak = format_quantity(dram.peak_bytes_per_s, "B/s", DIGITS)
    table.add_row("DRAM, peak", peak, peak_status, "pins / 8 * rate")
    sustained = format_quantity(dram.sustained_bytes_per_s, "B/s", DIGITS)
    status = worst_status([peak_status, dram.reached_fraction.status])
    how = "peak * sustained of peak" if dram.controller_fraction is None else "peak * ceiling * sustained of it"
    table.add_row("DRAM, sustained", sustained, status, how)
    return table


def _memory_text(dram: Dram) -> str:
    """The device of a DRAM and the condition in which it runs."""
    assert dram.device is not None
    condition = dram.condition
    ecc = "no ECC" if condition.ecc == "none" else f"{condition.ecc} ECC"
    return f"{dram.device.name}, {condition.refresh} refresh, {ecc}, {condition.temperature_c:g} C"


def _master_table(chip: Chip, numbers: Mapping[str, Number]) -> Table:
    table = new_table(
        "Masters of the DRAM", "name", "weight >", "least share >", "largest share >", "rate cap >", "status"
    )
    for name, master in chip.masters.items():
        cap = numbers.get(f"masters.{name}.rate_cap")
        shares = (f"{master.weight:g}", f"{master.minimum_share:g}", _largest_text(master))
        table.add_row(name, *shares, cap.text if cap else "none", cap.status if cap else "")
    return table


def _largest_text(master: Master) -> str:
    """The largest share of a master, whether it is soft, and its budget."""
    soft = " soft" if master.limit == "soft" and master.maximum_share < 1 else ""
    if master.budget is None:
        return f"{master.maximum_share:g}{soft}"
    size, period = format_quantity(master.budget.size, "B"), format_quantity(master.budget.period, "s")
    return f"{master.maximum_share:g}{soft}, {size} in {period}"


def dense_rates(cluster: Cluster, path: str) -> dict[Dtype, float]:
    """Operations per second of all clusters by dtype; a multiply-accumulate is two operations."""
    rates = {dtype: cluster.macs_per_second(path, dtype) for dtype in cluster.matrix[path].macs_per_cycle}
    return {dtype: 2 * rate for dtype, rate in rates.items() if rate is not None}


def rate_text(operations_per_s: float, dtype: Dtype) -> str:
    """A rate in the unit of its dtype: OPS for integers, else FLOPS."""
    unit = "OPS" if dtype.startswith("int") else "FLOPS"
    return format_quantity(operations_per_s, unit, DIGITS)
