"""The sheet of a run: phases, deadline, streams, utilisation, where the time went, and the verdict in words."""

from __future__ import annotations

from collections import Counter

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simulator.metrics.streams import Percentile
from simulator.report.sheet_parts import WIDTH, new_table, rendered
from simulator.report.verdict import deadline_sentence, limit_sentence, reach_sentence
from simulator.simulation.result import Result
from simulator.units import format_quantity, ticks_to_seconds

SMALL_SHARE = 0.005
"""Causes below this share of the latency are summed up in one row."""


def run_sheet(result: Result, width: int = WIDTH) -> str:
    """A run as text, in at most `width` columns."""
    setup = result.setup
    first = setup.streams[0]
    head = Text(
        f"{setup.name}: {first.workload.title} on {setup.chip.title}\n"
        f"runtime {setup.runtime.name}, precision {result.precision}, engine {result.timeline.engine}, "
        f"{len(result.timeline):,} tasks in {format_quantity(result.wall_s, 's')}"
    )
    parts: list[RenderableType] = [head, _phase_table(result), Text(deadline_sentence(result))]
    if len(setup.streams) > 1 or len(first.release_ticks) > 1:
        parts.append(_stream_table(result))
    parts += [_resource_table(result), _cause_table(result)]
    sentences = [limit_sentence(result), reach_sentence(result)]
    parts.append(Text("\n".join(sentence for sentence in sentences if sentence)))
    parts.append(_guesses(result))
    return rendered(parts, width)


def _phase_table(result: Result) -> Table:
    table = new_table(
        "Phases of the slowest frame" if len(result.setup.streams[0].release_ticks) > 1 else "Phases",
        "phase", "tokens >", "latency >", "lower bound >", "bound by", "most time in", "DRAM >", "TFLOP >",
    )  # fmt: skip
    dram = result.program.resources.channel_names.index("dram")
    for phase in result.phases:
        bound = phase.lower_bound_ticks
        table.add_row(
            phase.name, f"{phase.tokens:,}", _ticks(phase.latency_ticks), "" if bound is None else _ticks(bound),
            phase.bound_by or "", result.phase_limit(phase), format_quantity(phase.channel_bytes[dram], "B"),
            f"{phase.flop / 1e12:.3g}",
        )  # fmt: skip
    flop, moved = sum(phase.flop for phase in result.phases), sum(phase.channel_bytes[dram] for phase in result.phases)
    table.add_section()
    table.add_row(
        "frame", "", format_quantity(result.latency_s, "s"), _ticks(result.bound.ticks), result.bound.bound_by, "",
        format_quantity(moved, "B"), f"{flop / 1e12:.3g}",
    )  # fmt: skip
    return table


def _stream_table(result: Result) -> Table:
    table = new_table(
        "Streams", "stream", "released >", "completed >", "dropped >", "late >", "run of misses >", "p50 >", "p90 >",
        "p99 >", "max >", "jitter >",
    )  # fmt: skip
    for stream in result.streams:
        table.add_row(
            stream.name, str(stream.released), str(stream.completed), str(stream.dropped), str(stream.misses),
            str(stream.longest_run_of_misses), *(_percentile(value) for value in (stream.p50, stream.p90, stream.p99)),
            "" if stream.max_ticks is None else _ticks(stream.max_ticks),
            "" if stream.jitter_ticks is None else _ticks(stream.jitter_ticks),
        )  # fmt: skip
    if any(value.reason for stream in result.streams for value in (stream.p50, stream.p90, stream.p99)):
        table.caption, table.caption_justify, table.caption_style = "n/m: needs m completed frames", "left", ""
    return table


def _percentile(value: Percentile) -> str:
    if value.ticks is not None:
        return _ticks(value.ticks)
    words = (value.reason or "").replace(",", "").split()
    numbers = [word for word in words if word.isdigit()]
    return f"{numbers[1]}/{numbers[0]}" if len(numbers) == 2 else "-"


def _resource_table(result: Result) -> Table:
    table = new_table("Resources over the whole run", "unit or channel", "busy or moved >", "rate >", "utilisation >")
    for unit in result.units:
        table.add_row(unit.name, format_quantity(unit.busy_s, "s"), "", f"{unit.utilization:.1%}")
    for channel in result.channels:
        table.add_row(
            channel.name, format_quantity(channel.moved_bytes, "B"),
            format_quantity(channel.average_bytes_per_s, "B/s"), f"{channel.utilization:.1%}",
        )  # fmt: skip
    for memory in result.memories:
        table.add_row(
            f"{memory.name}, peak use", format_quantity(memory.peak_bytes, "B"), "",
            f"{memory.peak_bytes / memory.size_bytes:.1%}",
        )  # fmt: skip
    return table


def _cause_table(result: Result) -> Table:
    table = new_table("Where the frame's time went (critical path)", "cause", "time >", "share >", "")
    latency = max(1, result.frame.latency_ticks)
    shares = Counter({cause: int(ticks) for cause, ticks in result.attribution.cause_ticks.items()})
    small = 0
    for cause, ticks in shares.most_common():
        if ticks < SMALL_SHARE * latency:
            small += ticks
            continue
        table.add_row(cause, _ticks(ticks), f"{ticks / latency:.1%}", "█" * round(40 * ticks / latency))
    if small:
        table.add_row("others", _ticks(small), f"{small / latency:.1%}", "")
    return table


def _guesses(result: Result) -> Text:
    uncertain = result.uncertain_numbers()
    if not uncertain:
        return Text("Every number of chip and runtime is sourced.")
    counts = Counter(number.status for _, number in uncertain)
    kinds = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return Text(
        f"This rests on {len(uncertain)} uncertain numbers ({kinds}); see "
        f'"roadline show chip {result.setup.chip.name}" and "roadline show runtime {result.setup.runtime.name}".'
    )


def _ticks(ticks: int) -> str:
    return format_quantity(ticks_to_seconds(int(ticks)), "s")
