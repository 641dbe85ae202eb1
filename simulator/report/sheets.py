"""Sheets: chips, runtimes, technologies and workloads as text for people, in at most 100 columns and without colour.

Each sheet is a string. Numbers stand beside their status, and what is uncertain is listed again at the end with its
note. Scenarios, studies, layer tables, results and plots are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulator.chip import Chip, Cluster, Dram, Master, Memory
from simulator.precision import Dtype
from simulator.report.die_sheet import rest_of_die_tables
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
    provenance,
    rendered,
    uncertain_list,
    worst_status,
)
from simulator.runtime import Runtime
from simulator.scenario.spec import Scenario
from simulator.spec import Spec
from simulator.study import Study
from simulator.technology import Technology
from simulator.units import format_quantity
from simulator.workload import Routing, Workload


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
        parts += [_cluster_table(name, numbers), _rate_table(name, cluster, numbers)]
    parts += [_memory_table(chip, numbers), _master_table(chip, numbers)]
    for name in chip.links:
        labels = {f"links.{name}.bandwidth": "bandwidth and direction", f"links.{name}.latency": "latency"}
        parts.append(number_table(f"Link {name}", numbers, labels))
    parts.append(number_table("Host", numbers, {"host.clock": "clock"}))
    parts += rest_of_die_tables(chip, numbers)
    return rendered([*parts, uncertain_list(numbers)], width)


def runtime_sheet(runtime: Runtime, width: int = WIDTH) -> str:
    """What a software stack costs and which kernels it has."""
    numbers = numbers_of(runtime)
    facts = [
        ("replayed as graphs", ", ".join(runtime.graph_phases) or "no phase"),
        ("prefetches weights", "yes" if runtime.prefetches_weights else "no"),
        ("weight buffers", str(runtime.weight_buffers)),
        ("fused operators", ", ".join(runtime.fusions) or "none"),
        ("LM head", "as the other matrices" if runtime.head_precision == "body" else runtime.head_precision),
        ("KV cache", runtime.kv_precision),
    ]
    launch = {"launch": "launch of a kernel on the accelerator", "enqueue": "enqueue on the host"}
    kernels = new_table("Kernels", "precision", "path", "multiplies in", "of the peak >", "tile rows >", "status")
    for name, kernel in runtime.kernels.items():
        achieved = numbers[f"kernels.{name}.achieved_fraction"]
        rows = numbers[f"kernels.{name}.tile_rows"]
        kernels.add_row(name, kernel.path, kernel.dtype, achieved.text, rows.text, _joined([achieved, rows]))
    for name, attention in (("causal", runtime.causal_attention), ("full", runtime.full_attention)):
        achieved = numbers[f"{name}_attention.achieved_fraction"]
        kernels.add_row(f"attention, {name}", attention.path, "16 bit", achieved.text, "", achieved.status)
    parts: list[RenderableType] = [
        heading_line(runtime.name, runtime.title),
        pairs(facts),
        number_table("Launch", numbers, launch),
        kernels,
        *_tile_table(runtime, numbers),
    ]
    return rendered([*parts, uncertain_list(numbers)], width)


def _tile_table(runtime: Runtime, numbers: Mapping[str, Number]) -> list[RenderableType]:
    """What is particular about the tiles of kernels and about conversion, if anything is."""
    table = new_table(
        "Tiles and conversion", "precision", "least rows >", "columns >", "cost of a tile >", "splits the depth",
        "converts weights", "quantises",
    )  # fmt: skip
    for name, kernel in runtime.kernels.items():
        cells = [
            "" if getattr(kernel, field) is None else numbers[f"kernels.{name}.{field}"].text
            for field in ("least_tile_rows", "tile_columns", "tile_cost")
        ]
        words = ["yes" if kernel.splits_depth else "no", kernel.converts_weights, kernel.quantises]
        if any(cells) or words != ["yes", "per_load", "inside"]:
            table.add_row(name, *cells, *(word.replace("_", " ") for word in words))
    return [table] if table.row_count else []


def workload_sheet(workload: Workload, width: int = WIDTH) -> str:
    """What a workload says of itself: components, pipeline, requirements and published latencies."""
    facts = [
        ("frame rate asked for", "none" if workload.rate is None else f"{workload.rate:g} Hz"),
        ("deadline", _optional(workload.deadline, "s")),
        ("parameters, published", _count(workload.parameters_published)),
    ]
    parts: list[RenderableType] = [heading_line(workload.name, workload.title), pairs(facts)]
    parts.append(_component_table(workload))
    for name in ("vision", "decoder", "action"):
        component = getattr(workload, name)
        if component is not None:
            parts.append(provenance(name, component.source, component.status, component.note))
    routing = workload.decoder.routing if workload.decoder else None
    if routing is not None and (origin := [text for text in (routing.status, routing.source, routing.note) if text]):
        parts.append(Padding(Text(f"routing: {', '.join(origin)}"), (0, 0, 0, 2)))
    columns = ("images", "patches", "tokens", "steps", "samples")
    pipeline = new_table("Pipeline of one frame", "phase", "precision", *(f"{name} >" for name in columns))
    for phase in workload.pipeline:
        pipeline.add_row(phase.phase, phase.precision, *(_count(getattr(phase, name, None)) for name in columns))
    parts += [
        pipeline,
        provenance("pipeline", workload.pipeline_source, workload.pipeline_status, workload.pipeline_note),
    ]
    if workload.published:
        published = new_table(
            "Published latencies", "chip", "precision", "phase", "latency >", "status", "source", "note"
        )
        for row in workload.published:
            latency = format_quantity(row.latency, "s", DIGITS)
            published.add_row(row.chip, row.precision, row.phase, latency, row.status, row.source, row.note or "")
        parts.append(published)
    return rendered(parts, width)


def technology_sheet(technology: Technology, width: int = WIDTH) -> str:
    """What a process node costs in energy, area and money."""
    numbers = numbers_of(technology)
    scale = {path: path.replace("_", " ") for path in numbers if "." not in path}
    parts: list[RenderableType] = [
        heading_line(technology.name, technology.title),
        number_table("Scale", numbers, scale),
        number_table("Energy at N7", numbers, part_labels(numbers, "energy")),
        number_table("Area at N7", numbers, part_labels(numbers, "area")),
        number_table("Cost", numbers, part_labels(numbers, "cost")),
    ]
    return rendered([*parts, uncertain_list(numbers)], width)


def key_figure(spec: Spec) -> str:
    """One figure that says most about an object, for a list."""
    figure = ""
    if isinstance(spec, Chip):
        dtype, rate = max(_dense_rates(spec.cluster, "native").items(), key=lambda item: item[1])
        peak = format_quantity(spec.dram.peak_bytes_per_s, "B/s", DIGITS)
        figure = f"{_rate(rate, dtype)} {dtype} dense, DRAM {peak}"
    elif isinstance(spec, Memory):
        figure = f"{spec.channel_bits} bit at {spec.usual_rate / 1e6:,g} MT/s, {spec.banks} banks"
    elif isinstance(spec, Runtime):
        figure = f"launch {spec.launch.value:g} cycles, enqueue {spec.enqueue.value:g}"
    elif isinstance(spec, Technology):
        figure = f"logic {spec.logic_area.value:g} times N7, bit cell {1e6 * spec.sram_bitcell.value:g} um2"
    elif isinstance(spec, Workload):
        figure = " > ".join(phase.phase for phase in spec.pipeline)
    elif isinstance(spec, Scenario):
        figure = f"{len(spec.streams)} streams on {spec.chip}" if len(spec.streams) > 1 else spec.chip
    elif isinstance(spec, Study):
        figure = f"{spec.num_combinations:,} combinations on {spec.chip}"
    return figure


def list_sheet(heading: str, rows: Iterable[tuple[str, str, str]], width: int = WIDTH) -> str:
    """A list of objects: name, title and key figure of each."""
    table = new_table(heading, "name", "title", "key figure")
    for row in rows:
        table.add_row(*row)
    if not table.row_count:
        table.add_row("(none)", "", "")
    return rendered([table], width)


# numbers ---------------------------------------------------------------------------------------------------------


def _dense_rates(cluster: Cluster, path: str) -> dict[Dtype, float]:
    """Operations per second of all clusters by dtype; a multiply-accumulate is two operations."""
    rates = {dtype: cluster.macs_per_second(path, dtype) for dtype in cluster.matrix[path].macs_per_cycle}
    return {dtype: 2 * rate for dtype, rate in rates.items() if rate is not None}


def _rate(operations_per_s: float, dtype: Dtype) -> str:
    unit = "OPS" if dtype.startswith("int") else "FLOPS"
    return format_quantity(operations_per_s, unit, DIGITS)


def _optional(value: float | None, unit: str) -> str:
    return "none" if value is None else format_quantity(value, unit, DIGITS)


def _count(value: int | None, absent: str = "") -> str:
    return absent if value is None else f"{value:,}"


def _joined(numbers: Sequence[Number]) -> str:
    return ", ".join(dict.fromkeys(number.status for number in numbers))


# tables ----------------------------------------------------------------------------------------------------------


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


def _rate_table(name: str, cluster: Cluster, numbers: Mapping[str, Number]) -> Table:
    table = new_table(
        f"Matrix rates of {name}, dense: 2 * MAC * clusters * clock",
        "path", "dtype", "tile m, n, k", "MAC/cycle/cluster >", "status", "source", "rate >",
    )  # fmt: skip
    for path, matrix in cluster.matrix.items():
        tile = ", ".join(f"{size.value:g}" for size in (matrix.tile_m, matrix.tile_n, matrix.tile_k))
        for dtype, rate in _dense_rates(cluster, path).items():
            number = numbers[f"clusters.{name}.matrix.{path}.macs_per_cycle.{dtype}"]
            table.add_row(path, dtype, tile, number.text, number.status, number.source, _rate(rate, dtype))
    return table


def _memory_table(chip: Chip, numbers: Mapping[str, Number]) -> Table:
    labels = {f"sram.{name}.capacity": f"shared SRAM {name}, capacity" for name in chip.sram}
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


def _component_table(workload: Workload) -> Table:
    """Sizes down, components across; a field that a component does not have stays empty."""
    components = {name: getattr(workload, name) for name in ("vision", "decoder", "action")}
    sizes = {
        name: component.model_dump(exclude={"source", "status", "note", "routing"}, exclude_none=True)
        for name, component in components.items()
        if component is not None
    }
    if workload.decoder is not None and workload.decoder.routing is not None:
        sizes["decoder"]["routing"] = _routing_text(workload.decoder.routing)
    table = new_table("Components", "size", *(f"{name} >" for name in sizes))
    for field in dict.fromkeys(field for fields in sizes.values() for field in fields):
        table.add_row(field.replace("_", " "), *(_cell(fields.get(field)) for fields in sizes.values()))
    return table


def _routing_text(routing: Routing) -> str:
    """Where the experts of the tokens come from."""
    if routing.file is not None:
        return f"trace in {Path(routing.file).name}"
    if routing.preset is not None:
        return f"drawn, {routing.preset}"
    parts = [("skew", routing.skew or ()), ("keep", routing.keep or ())]
    ranges = [f"{name} {min(values):g}" + (f" to {max(values):g}" if len(set(values)) > 1 else "")
              for name, values in parts]  # fmt: skip
    return f"drawn, {', '.join(ranges)}"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
