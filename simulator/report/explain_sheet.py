"""The sheet of an explanation: parts of the latency, critical path, what each number changes, and advice in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simulator.explanation.advice import is_near, longer
from simulator.explanation.explain import Explanation
from simulator.explanation.levers import Change
from simulator.explanation.parts import PathItem
from simulator.explanation.sensitivity import STEP, Sensitivity
from simulator.report.sheet_parts import WIDTH, new_table, percent_text, rendered
from simulator.report.verdict import deadline_sentence
from simulator.units import format_ticks

SMALL_FRACTION: Final = 0.005
"""Numbers that change the latency by less have no row."""
MOST_ITEMS: Final = 8
"""Rows of the critical path."""
SMALL_SHARE: Final = 0.1
"""Parts of an operation below this share of it are not named."""
MOST_FOR_SILICON: Final = 3
"""Numbers of which a remark says what a square millimetre buys."""
LEAST_MM2: Final = 0.05
"""Numbers that make the die larger by less are no matter of silicon."""
_SMALL: Final = f"{100 * SMALL_FRACTION:g} %"


def explain_sheet(explanation: Explanation, width: int = WIDTH) -> str:
    """An explanation as text, in at most `width` columns."""
    result = explanation.result
    setup = result.setup
    head = Text(
        f"{setup.name}: {setup.streams[0].workload.title} on {setup.chip.title}\n"
        f"runtime {setup.runtime.name}, engine {result.timeline.engine}, "
        f"{explanation.num_simulated + 1:,} simulations\n\n{deadline_sentence(result)}"
    )
    large, small = _split(explanation.tornado)
    tables = [_part_table(explanation), _path_table(explanation), _tornado_table(large, width)]
    of_ranges, small_ranges = _split(explanation.ranges)
    if of_ranges:
        tables.append(_range_table(of_ranges, width))
    for table in tables if width < WIDTH else ():
        table.padding = 0
    remarks = Text("\n".join(_remarks(explanation, large, small)))
    parts: list[RenderableType] = [head, *tables[:3], remarks, *tables[3:]]
    parts.extend(Text(line) for line in _reasons(explanation.ranges))
    if small_ranges:
        parts.append(Text(f"Ranges that change less than {_SMALL}: {_listed(small_ranges)}."))
    return rendered([*parts, Text(_advice_text(explanation))], width)


def _part_table(explanation: Explanation) -> Table:
    parts, phases = explanation.parts, explanation.parts.phase_part_ticks
    named = [phase for phase in phases if phase]
    table = new_table("Where the time went", "part", "time >", "share >", *(f"{phase} >" for phase in named))
    for part, ticks in parts.part_ticks.items():
        table.add_row(
            part, format_ticks(ticks), percent_text(ticks / parts.latency_ticks),
            *(format_ticks(phases[phase][part]) if part in phases[phase] else "" for phase in named),
        )  # fmt: skip
    table.add_section()
    totals = (format_ticks(sum(phases[phase].values())) for phase in named)
    table.add_row("latency", format_ticks(parts.latency_ticks), "", *totals)
    return table


def _path_table(explanation: Explanation) -> Table:
    items, latency_ticks = explanation.parts.items, explanation.parts.latency_ticks
    shown, rest = items[:MOST_ITEMS], items[MOST_ITEMS:]
    table = new_table(
        "Critical path, the longest operations first", "operation", "tasks >", "time >", "share >", "of it"
    )
    for item in shown:
        table.add_row(
            item.operation or "(none)", f"{item.num_tasks:,}", format_ticks(item.ticks),
            percent_text(item.ticks / latency_ticks), _spent_on(item),
        )  # fmt: skip
    if rest:
        ticks = sum(item.ticks for item in rest)
        table.add_row(
            f"{len(rest)} others", f"{sum(item.num_tasks for item in rest):,}", format_ticks(ticks),
            percent_text(ticks / latency_ticks), "",
        )  # fmt: skip
    return table


def _spent_on(item: PathItem) -> str:
    """The large parts of an operation, such as "DRAM 88 %, launch 10 %"."""
    shares = {part: ticks / item.ticks for part, ticks in item.part_ticks.items()}
    return ", ".join(f"{part} {100 * share:.0f} %" for part, share in shares.items() if share >= SMALL_SHARE)


def _split(found: Iterable[Sensitivity]) -> tuple[list[Sensitivity], list[Sensitivity]]:
    """The numbers with a row, and those whose effect is too small for one."""
    large: list[Sensitivity] = []
    small: list[Sensitivity] = []
    for item in found:
        is_large = item.cannot_run or item.swing_ticks >= SMALL_FRACTION * item.base_ticks
        (large if is_large else small).append(item)
    return large, small


def _tornado_table(large: Iterable[Sensitivity], width: int) -> Table:
    percent = f"{100 * STEP:.0f} %"
    table = new_table(
        f"The latency with each number {percent} smaller and larger, the largest gain per {percent} first",
        "number",
        "now >",
        f"-{percent} >",
        f"+{percent} >",
    )
    for item in large:
        low, high = (_effect(item, change, factor) for change, factor in ((item.low, 1 - STEP), (item.high, 1 + STEP)))
        present = item.lever.text(item.lever.value)
        table.add_row(_in_lines(item.lever.name, width - 53), present, low, high)
    return table


def _in_lines(path: str, columns: int) -> str:
    """A dotted path in lines of at most so many columns, broken at its dots where it has some."""
    lines = [""]
    for step in path.split("."):
        joined = f"{lines[-1]}.{step}" if lines[-1] else step
        if lines[-1] and len(joined) > columns:
            lines[-1] += "."
            lines.append(f"  {step}")
        else:
            lines[-1] = joined
    return "\n".join(lines)


def _effect(item: Sensitivity, change: Change, factor: float) -> str:
    """By how much a change makes the latency longer, with the value that was set if that is not the one meant."""
    present = item.lever.value
    if change.value == present:
        return "at its limit"
    effect = longer(change, item.base_ticks)
    return effect if is_near(change.value, factor * present) else f"at {item.lever.text(change.value)}: {effect}"


def _remarks(explanation: Explanation, large: Sequence[Sensitivity], small: Sequence[Sensitivity]) -> Iterable[str]:
    """What the table of numbers leaves out."""
    if small:
        yield f"Less than {_SMALL}: {_listed(small)}."
    beyond = [
        f"{item.lever.name} at {item.lever.text(change.value)} ({item.lever.range_text})"
        for item in large for change in (item.low, item.high) if item.lever.is_beyond(change.value)
    ]  # fmt: skip
    if beyond:
        yield f"Beyond the range of its note: {', '.join(beyond)}."
    others = {item.lever.name for item in explanation.tornado} | {lever.name for lever in explanation.no_effect}
    if explanation.no_effect:
        kept = {item.lever.name for item in explanation.tornado} | {lever.name for lever in explanation.not_varied}
        yield f"No effect: {', '.join(_folded([lever.name for lever in explanation.no_effect], kept))}."
    yield from _for_silicon(explanation)
    if explanation.not_varied:
        zeros = _folded([lever.name for lever in explanation.not_varied], others)
        yield f"Zero, and so not varied: {', '.join(zeros)}."
    if any(item.lever.giver and item.high.value > item.lever.giver.most for item in explanation.tornado):
        yield "What a share of a split or a partition takes beyond what is free, the largest beside it gives."
    if explanation.fixed:
        yield f"Cannot be changed by so little: {', '.join(lever.name for lever in explanation.fixed)}."
    yield from _reasons(explanation.tornado)
    base_ticks = explanation.parts.latency_ticks
    both = [item for item in explanation.tornado if _is_quicker_both_ways(item)]
    if both:
        largest = max(1 - item.better_ticks / base_ticks for item in both)
        if largest >= SMALL_FRACTION:
            yield (
                f"{len(both)} of these numbers make the slowest frame quicker when smaller and when larger, by up to "
                f"{100 * largest:.1f} %: frames then meet in other places. Smaller differences say little."
            )


def _for_silicon(explanation: Explanation) -> Iterable[str]:
    """What the die area buys, the most time for a square millimetre first."""
    bought = [
        (item.saved_ticks / item.better.more_mm2, item)
        for item in explanation.tornado
        if item.better.more_mm2 >= LEAST_MM2 and item.saved_ticks > item.rounding_ticks
    ]
    bought.sort(key=lambda each: -each[0])
    if bought:
        texts = [
            f"{format_ticks(round(per_mm2))} per mm2 with {item.lever.name} at {item.lever.text(item.better.value)} "
            f"({item.better.more_mm2:+.1f} mm2)"
            for per_mm2, item in bought[:MOST_FOR_SILICON]
        ]
        yield f"What a square millimetre buys: {', '.join(texts)}."


def _reasons(found: Iterable[Sensitivity]) -> Iterable[str]:
    """Why values cannot run."""
    for item in found:
        for change in (item.low, item.high):
            if change.latency_ticks is None:
                yield f"{item.lever.name} at {item.lever.text(change.value)} cannot run: {change.short_reason}."


def _listed(found: Iterable[Sensitivity]) -> str:
    return ", ".join(item.lever.name for item in found)


def _is_quicker_both_ways(item: Sensitivity) -> bool:
    ends = (item.low.latency_ticks, item.high.latency_ticks)
    return all(ticks is not None and ticks < item.base_ticks for ticks in ends)


def _folded(names: Sequence[str], kept: set[str]) -> list[str]:
    """Names, with `a.*` for all below `a` where every number below it is among them."""
    folded: list[str] = []
    for name in names:
        steps = name.split(".")
        prefixes = [".".join(steps[:count]) + "." for count in range(1, len(steps))]
        whole = next(
            (prefix for prefix in prefixes
             if not any(other.startswith(prefix) for other in kept)
             and sum(other.startswith(prefix) for other in names) > 1), None,
        )  # fmt: skip
        short = name if whole is None else f"{whole}*"
        if short not in folded:
            folded.append(short)
    return folded


def _range_table(large: Iterable[Sensitivity], width: int) -> Table:
    table = new_table("The latency over the ranges of guesses", "number", "now >", "range >", "low >", "high >")
    for item in large:
        lever = item.lever
        table.add_row(
            _in_lines(lever.name, width - 65), lever.text(lever.value),
            lever.span_text(item.low.value, item.high.value),
            longer(item.low, item.base_ticks), longer(item.high, item.base_ticks),
        )  # fmt: skip
    return table


def _advice_text(explanation: Explanation) -> str:
    if explanation.advice is None:
        return f"No number makes the frame quicker by being changed by {100 * STEP:.0f} %."
    return explanation.advice.text
