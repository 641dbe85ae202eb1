"""The sheet of a run: phases, deadline, streams, utilisation, where the time went, and the verdict in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simulator.metrics.streams import Percentile, StreamOutcome
from simulator.report.sheet_parts import WIDTH, new_table, percent_text, rendered
from simulator.report.verdict import deadline_sentence, limit_sentence, loss_sentence, reach_sentence
from simulator.simulation.modes import MOST_TASKS, ModeGains, PhaseMode
from simulator.simulation.result import Result, seconds_by_name
from simulator.units import binary_size, format_quantity, format_ticks, value_text

SMALL_SHARE = 0.005
"""Causes below this share of the latency, and parts below this of the energy, are summed up in one row."""

BAR = 25
"""Columns of a bar that stands for the whole latency."""


def run_sheet(result: Result, width: int = WIDTH) -> str:
    """A run as text, in at most `width` columns."""
    setup = result.setup
    first = setup.streams[0]
    head = Text(
        f"{setup.name}: {_models(result)} on {setup.chip.title}\n"
        f"runtime {setup.runtime.name}, {_precisions(result)}, engine {result.timeline.engine}, "
        f"{len(result.timeline):,} tasks in {format_quantity(result.wall_s, 's')}"
    )
    phases = _phase_table(result)
    if width < 80:
        phases.padding = 0
    sentences = [deadline_sentence(result), _token_sentence(result), _kept_sentence(result), loss_sentence(result)]
    parts: list[RenderableType] = [head, phases, Text("\n".join(filter(None, sentences)))]
    if result.modes is not None:
        parts += _modes(result.modes)
    if len(setup.streams) > 1 or len(first.release_ticks) > 1:
        parts.append(_stream_table(result))
    parts += [_resource_table(result), _cause_table(result), _energy(result), *_silicon(result)]
    parts.append(Text("\n".join(filter(None, [limit_sentence(result), reach_sentence(result)]))))
    parts += _guesses(result, width)
    if result.num_laws:
        parts.append(Text(f"checked: {result.num_laws} laws hold."))
    return rendered(parts, width)


def _models(result: Result) -> str:
    """The model, or those of all streams with the stream of each."""
    streams = result.setup.streams
    if len(streams) == 1:
        return streams[0].workload.title
    return ", ".join(f"{stream.name} with {stream.workload.title}" for stream in streams)


def _kept_sentence(result: Result) -> str:
    """What the frame finds on the chip; empty if nothing is kept there."""
    kept = result.kept
    if kept is None:
        return ""
    parts = []
    if kept.kv_tokens:
        share = percent_text(kept.kv_share)
        parts.append(f"KV store {kept.kv_tokens:,} of {kept.cache_tokens:,} tokens, {share} of the cache")
    if kept.weight_share:
        parts.append(f"pinned weights {percent_text(kept.weight_share)}")
    if kept.experts_found or kept.experts_fetched_early:
        found, early = percent_text(kept.experts_found), percent_text(kept.experts_fetched_early)
        parts.append(f"experts found {found}, fetched early {early}")
    return f"On the chip at the end of {kept.phase}: {'; '.join(parts)}."


def _token_sentence(result: Result) -> str:
    """Time to the first token, time per token and its inverse, where tokens are decoded after a prefill."""
    if result.ttft_s is None or result.tpot_s is None:
        return ""
    return (
        f"First token after {format_quantity(result.ttft_s, 's')}, then {format_quantity(result.tpot_s, 's')} per "
        f"token: {1 / result.tpot_s:,.3g} tokens/s."
    )


def _precisions(result: Result) -> str:
    """The precision, or that of each phase where they differ."""
    by_phase = {phase.name: phase.precision for phase in result.setup.streams[0].workload.pipeline}
    of_stream = f" of {result.setup.streams[0].name}" if len(result.setup.streams) > 1 else ""
    if len(set(by_phase.values())) == 1:
        return f"precision{of_stream} {result.precision}"
    return ", ".join(f"{phase}{of_stream} {name}" for phase, name in by_phase.items())


def _phase_table(result: Result) -> Table:
    streams, heading = result.setup.streams, "Phases"
    if len(streams) > 1:
        heading = f"Phases of the slowest frame of {streams[0].name}"
    elif len(streams[0].release_ticks) > 1:
        heading = "Phases of the slowest frame"
    table = new_table(
        heading,
        "phase", "tokens >", "latency >", "lower bound >", "limited by", "DRAM >", "TFLOP >",
    )  # fmt: skip
    for phase in result.phases:
        bound, moved = phase.lower_bound_ticks, result.dram_bytes(phase.channel_bytes)
        table.add_row(
            phase.name, f"{phase.tokens:,}", format_ticks(phase.latency_ticks),
            "" if bound is None else format_ticks(bound), result.phase_limit(phase), format_quantity(moved, "B"),
            f"{phase.flop / 1e12:.3g}",
        )  # fmt: skip
    flop = sum(phase.flop for phase in result.phases)
    moved = sum(result.dram_bytes(phase.channel_bytes) for phase in result.phases)
    table.add_section()
    table.add_row(
        "frame", "", format_quantity(result.latency_s, "s"), format_ticks(result.bound.ticks), "",
        format_quantity(moved, "B"), f"{flop / 1e12:.3g}",
    )  # fmt: skip
    return table


def _modes(modes: ModeGains) -> list[RenderableType]:
    """The mode of every phase, what changing it costs, and what the chip would do without changing it."""
    table = new_table("Modes", "phase", "mode", "FLOP/B >", "switch >", "break-even >")
    for phase in modes.phases:
        intensity = f"{phase.flop_per_byte:,.0f}" if phase.flop_per_byte >= 100 else f"{phase.flop_per_byte:.3g}"
        table.add_row(
            phase.phase, phase.mode, intensity, format_quantity(phase.switch_s, "s"), _break_even(phase, modes)
        )
    times = "once" if modes.num_switches == 1 else f"{modes.num_switches} times"
    lost = f"The chip changes its mode {times} per frame and loses {format_quantity(modes.switch_s, 's')} by it."
    if modes.num_switches == 0:
        lost = "The chip does not change its mode."
    if modes.fixed_s is None:
        return [table, Text(f"{lost} With more than {MOST_TASKS:,} tasks the run is not repeated in each fixed mode.")]
    fixed = [
        f"{mode} it cannot run" if fixed_s is None
        else f"{mode} it takes {format_quantity(fixed_s, 's')}, {_against(fixed_s, modes.latency_s)}"
        for mode, fixed_s in modes.fixed_s.items()
    ]  # fmt: skip
    best_s = None if modes.best_fixed is None else modes.fixed_s[modes.best_fixed]
    does_pay = modes.num_switches == 0 or best_s is None or best_s > modes.latency_s
    verdict = "" if does_pay else " Switching does not pay."
    return [table, Text(f"{lost} Fixed in mode {', in mode '.join(fixed)}.{verdict}")]


def _break_even(phase: PhaseMode, modes: ModeGains) -> str:
    """The break-even length of a phase, or why it has none."""
    if phase.break_even_s is not None:
        return format_quantity(phase.break_even_s, "s")
    if modes.best_fixed is None:
        return ""
    return "in best fixed mode" if phase.mode == modes.best_fixed else "never, no quicker"


def _against(fixed_s: float, changing_s: float) -> str:
    """The latency of a fixed chip beside that of one that changes."""
    ratio = fixed_s / changing_s
    if ratio >= 2:
        return f"{ratio:.3g} times as long"
    if fixed_s == changing_s:
        return "just as long"
    return f"{100 * abs(ratio - 1):.2g} % {'more' if ratio > 1 else 'less'}"


def _stream_table(result: Result) -> Table:
    """One column per stream: there are few streams and many facts."""
    table = new_table("Streams", "", *(f"{stream.name} >" for stream in result.streams))
    facts: dict[str, Callable[[StreamOutcome], str]] = {
        "frames released": lambda stream: str(stream.released),
        "completed": lambda stream: str(stream.completed),
        "dropped": lambda stream: str(stream.dropped),
        "late": lambda stream: str(stream.misses),
        "dropped or late in a row": lambda stream: str(stream.longest_run_of_misses),
        "deadline": lambda stream: "none" if stream.deadline_ticks is None else format_ticks(stream.deadline_ticks),
        "latency, p50": lambda stream: _percentile(stream.p50),
        "p90": lambda stream: _percentile(stream.p90),
        "p99": lambda stream: _percentile(stream.p99),
        "max": lambda stream: "" if stream.max_ticks is None else format_ticks(stream.max_ticks),
        "jitter (max - min)": lambda stream: "" if stream.jitter_ticks is None else format_ticks(stream.jitter_ticks),
    }
    for name, fact in facts.items():
        table.add_row(name, *map(fact, result.streams))
    return table


def _percentile(value: Percentile) -> str:
    """The percentile, or "needs 100 frames" where fewer were completed."""
    if value.ticks is not None:
        return format_ticks(value.ticks)
    return (value.reason or "").partition(",")[0].replace("samples", "frames")


def _resource_table(result: Result) -> Table:
    table = new_table("Resources over the whole run", "unit or channel", "busy or moved >", "rate >", "utilisation >")
    for unit in result.units:
        table.add_row(unit.name, format_quantity(unit.busy_s, "s"), "", percent_text(unit.utilization))
    for channel in result.channels:
        table.add_row(
            channel.name, format_quantity(channel.moved_bytes, "B"),
            format_quantity(channel.average_bytes_per_s, "B/s"), percent_text(channel.utilization),
        )  # fmt: skip
    for memory in result.memories:
        table.add_row(
            f"{memory.name}, peak use", binary_size(memory.peak_bytes), "",
            percent_text(memory.peak_bytes / memory.size_bytes),
        )  # fmt: skip
    return table


def _cause_table(result: Result) -> Table:
    table = new_table("Where the frame's time went", "cause", "time >", "share >", "")
    latency_s = result.latency_s or 1.0
    _add_shares(table, seconds_by_name(result.attribution.cause_ticks), latency_s, "s")
    return table


def _add_shares(table: Table, amounts: Mapping[str, float], total: float, unit: str) -> None:
    """Rows of what a total is made of, the largest first with a bar; what is small is summed up in the last."""
    small = 0.0
    for name, amount in sorted(amounts.items(), key=lambda item: -item[1]):
        if amount < SMALL_SHARE * total:
            small += amount
        else:
            bar = "█" * round(BAR * amount / total)
            table.add_row(name, format_quantity(amount, unit), percent_text(amount / total), bar)
    if small:
        table.add_row("others", format_quantity(small, unit), percent_text(small / total), "")


def _silicon(result: Result) -> list[Text]:
    """What the chip takes in silicon and money, if its technology is known."""
    if result.die_mm2 is None or result.setup.technology is None:
        return []
    technology, usd = result.setup.technology.name, result.parts_usd
    cost = "no wafer can carry it" if usd is None else f"{usd:,.0f} USD with package, test and memory"
    name = result.setup.chip.name
    return [Text(f"The die: {result.die_mm2:.0f} mm2 in {technology}, {cost} (roadline show chip {name}).")]


def _energy(result: Result) -> RenderableType:
    """The energy of the frame by part, or why there is none."""
    energy = result.energy
    if energy is None:
        return Text(f"Energy: none, since {result.energy_reason}.")
    table = new_table("Energy of the frame", "part", "energy >", "share >", "")
    _add_shares(table, energy.parts_j, energy.total_j, "J")
    table.add_section()
    table.add_row("all", format_quantity(energy.total_j, "J"), f"{energy.average_w:.1f} W", "on average")
    return table


def _guesses(result: Result, width: int) -> list[RenderableType]:
    """How many numbers are no data, and those that nobody has published with the range in which they may lie."""
    uncertain = result.uncertain_numbers()
    if not uncertain:
        return [Text("Every number of chip and runtime that was used is sourced.")]
    counts = Counter(number.status for _, number, _ in uncertain)
    kinds = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    energies = result.uncertain_energies()
    sheet = f'"roadline show technology {result.setup.chip.technology}"'
    further = f" The energy rests on {len(energies)} more; see {sheet}." if energies else ""
    sentence = Text(
        f"This rests on {len(uncertain)} uncertain numbers ({kinds}); see "
        f'"roadline show chip {result.setup.chip.name}" and "roadline show runtime {result.setup.runtime.name}".'
        f"{further}"
    )
    assumed = [row for row in uncertain if row[1].status == "assumed"]
    if not assumed:
        return [sentence]
    table = new_table("Assumed", "number", "value >", "range")
    table.columns[0].no_wrap = width >= 80  # a path is found again only if it stands in one line
    for path, number, unit in assumed:
        table.add_row(path, value_text(number.value, unit), number.guessed_range or "")
    return [table, sentence]
