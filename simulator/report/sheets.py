"""Sheets: runtimes, technologies and workloads as text for people, in at most 100 columns and without colour.

Each sheet is a string. Numbers stand beside their status, and what is uncertain is listed again at the end with its
note. Chips, memories, scenarios, studies, layer tables, results and plots are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from simulator.chip import Chip, Memory
from simulator.report.chip_sheet import dense_rates, rate_text
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
)
from simulator.runtime import Runtime
from simulator.scenario.spec import Scenario
from simulator.spec import Spec
from simulator.study import Study
from simulator.technology import Technology
from simulator.units import format_quantity
from simulator.workload import DecodePhase, Routing, Workload


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
    parts += _component_table(workload)
    for name in ("vision", "decoder", "action"):
        component = getattr(workload, name)
        if component is not None:
            parts.append(provenance(name, component.source, component.status, component.note))
    linear = workload.decoder.linear if workload.decoder else None
    if linear is not None:
        parts.append(provenance("linear", linear.source, linear.status, linear.note))
    parts += _network_table(workload)
    routing = workload.decoder.routing if workload.decoder else None
    if routing is not None and (origin := [text for text in (routing.status, routing.source, routing.note) if text]):
        parts.append(Padding(Text(f"routing: {', '.join(origin)}"), (0, 0, 0, 2)))
    columns = ["images", "patches", "tokens", "steps", "samples"]
    columns += [
        name
        for name in ("kept_tokens", "reused_tokens", "chunk", "expected_steps")
        if any(getattr(phase, name, None) for phase in workload.pipeline)
    ]
    names = (f"{name.replace('_', ' ')} >" for name in columns)
    pipeline = new_table("Pipeline of one frame", "phase", "precision", *names)
    for phase in workload.pipeline:
        pipeline.add_row(phase.name, phase.precision, *(_count(getattr(phase, name, None)) for name in columns))
    parts += [
        pipeline,
        *_decoding(workload),
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
        dtype, rate = max(dense_rates(spec.cluster, "native").items(), key=lambda item: item[1])
        peak = format_quantity(spec.dram.peak_bytes_per_s, "B/s", DIGITS)
        figure = f"{rate_text(rate, dtype)} {dtype} dense, DRAM {peak}"
    elif isinstance(spec, Memory):
        figure = f"{spec.channel_bits} bit at {spec.usual_rate / 1e6:,g} MT/s, {spec.banks} banks"
    elif isinstance(spec, Runtime):
        figure = f"launch {spec.launch.value:g} cycles, enqueue {spec.enqueue.value:g}"
    elif isinstance(spec, Technology):
        figure = f"logic {spec.logic_area.value:g} times N7, bit cell {1e6 * spec.sram_bitcell.value:g} um2"
    elif isinstance(spec, Workload):
        figure = " > ".join(phase.name for phase in spec.pipeline)
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


def _optional(value: float | None, unit: str) -> str:
    return "none" if value is None else format_quantity(value, unit, DIGITS)


def _count(value: int | None, absent: str = "") -> str:
    return absent if value is None else f"{value:,}"


def _joined(numbers: Sequence[Number]) -> str:
    return ", ".join(dict.fromkeys(number.status for number in numbers))


# tables ----------------------------------------------------------------------------------------------------------


def _component_table(workload: Workload) -> list[RenderableType]:
    """Sizes down, components across; a field that a component does not have stays empty. Nothing without components."""
    joined = None if workload.vision is None else workload.vision.joined
    components = {"vision": workload.vision, "joined tower": joined, "decoder": workload.decoder,
                  "action": workload.action}  # fmt: skip
    sizes = {
        name: dict(_flat(component.model_dump(exclude={"routing", "joined"}, exclude_none=True)))
        for name, component in components.items()
        if component is not None
    }
    if workload.decoder is not None and workload.decoder.routing is not None:
        sizes["decoder"]["routing"] = _routing_text(workload.decoder.routing)
    table = new_table("Components", "size", *(f"{name} >" for name in sizes))
    for field in dict.fromkeys(field for fields in sizes.values() for field in fields):
        table.add_row(field.replace("_", " "), *(_cell(fields.get(field)) for fields in sizes.values()))
    return [table] if sizes else []


def _decoding(workload: Workload) -> list[RenderableType]:
    """How tokens are decoded, if not one by one."""
    for phase in workload.pipeline:
        if isinstance(phase, DecodePhase) and phase.speculation is not None:
            drafts = phase.speculation
            words = (
                f"speculation: {drafts.draft_tokens} proposed at a time, {drafts.acceptance:.0%} of them right, "
                f"{drafts.tokens_per_pass:.2f} tokens per pass"
            )  # fmt: skip
            return [Text(f"  {words}"), provenance("speculation", drafts.source, drafts.status, drafts.note)]
        if isinstance(phase, DecodePhase) and phase.tokens_per_pass > 1:
            return [Text(f"  {phase.tokens_per_pass} tokens are decoded together in a pass")]
    return []


def _network_table(workload: Workload) -> list[RenderableType]:
    """What each network reads and makes, and where its sizes come from. Nothing without networks."""
    if not workload.networks:
        return []
    table = new_table(
        "Networks", "network", "reads", "makes", "blocks >", "operators >", "parameters, published >", "GFLOP >"
    )  # fmt: skip
    for name, network in workload.networks.items():
        num_operators = sum(len(block.operators) for block in network.blocks)
        table.add_row(
            name, "\n".join(f"{source} {_shape(shape)}" for source, shape in network.inputs.items()),
            _shape(network.output), str(len(network.blocks)), str(num_operators),
            _count(network.parameters_published),
            "" if network.flop_published is None else f"{network.flop_published / 1e9:,.4g}",
        )  # fmt: skip
    return [
        table,
        *(provenance(name, each.source, each.status, each.note) for name, each in workload.networks.items()),
    ]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The sizes of a component, those of its parts under both names."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name} ")
        elif name not in {"source", "status", "note"}:
            yield prefix + name, value


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
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
