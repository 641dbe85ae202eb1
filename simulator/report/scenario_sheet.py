"""The sheet of a scenario: what runs where, what it changes in the chip, and what else loads the DRAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simulator.report.sheet_parts import (
    DIGITS,
    WIDTH,
    heading_line,
    new_table,
    numbers_of,
    pairs,
    rendered,
    uncertain_list,
)
from simulator.scenario.spec import BackgroundSpec, Scenario, StreamSpec
from simulator.units import format_quantity


def scenario_sheet(scenario: Scenario, width: int = WIDTH) -> str:
    """What a scenario runs: chip, runtime, streams and background traffic."""
    numbers = numbers_of(scenario)
    chosen = (
        ("power state", scenario.power_state),
        ("KV cache", scenario.kv_precision),
        ("LM head", scenario.head_precision),
    )
    facts = [
        ("chip", scenario.chip),
        ("runtime", scenario.runtime),
        *((what, name) for what, name in chosen if name is not None),
        ("frames arrive for", format_quantity(scenario.duration, "s", DIGITS)),
        ("seed", str(scenario.seed)),
    ]
    parts: list[RenderableType] = [heading_line(scenario.name, scenario.title), pairs(facts)]
    if scenario.set:
        changes = new_table("Changes to the chip", "field", "value >")
        for path, text in _changes(scenario.set):
            changes.add_row(path, text)
        parts.append(changes)
    parts.append(_stream_table(scenario.streams))
    if scenario.background:
        background = new_table("Background traffic", "name", "master", "bandwidth >", "how", "status", "source")
        for name, traffic in scenario.background.items():
            number = numbers[f"background.{name}.bandwidth"]
            background.add_row(name, traffic.master, number.text, _how(traffic), number.status, number.source)
        parts.append(background)
    if numbers or not scenario.set:
        parts.append(uncertain_list(numbers))
    if scenario.set:
        parts.append(Text("A changed number of the chip counts as assumed, unless it is given with a source."))
    return rendered(parts, width)


def _changes(tree: Mapping[str, object], start: str = "") -> Iterator[tuple[str, str]]:
    """Dotted path and value of every change, one that is given with its source in one line."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value and "value" not in value:
            yield from _changes(value, f"{start}{name}.")
        elif isinstance(value, Mapping):
            yield f"{start}{name}", ", ".join(str(word) for word in value.values()) or "none"
        else:
            yield f"{start}{name}", "none" if value is None else str(value)


def _stream_table(streams: Mapping[str, StreamSpec]) -> Table:
    """One column per stream: there are few streams and many facts. Facts of which no stream has any are left out."""
    table = new_table("Streams", "", *(f"{name} >" for name in streams))
    facts: dict[str, Callable[[StreamSpec], str]] = {
        "workload": lambda stream: stream.workload,
        "precision": _precision,
        "rate": lambda stream: f"{stream.rate:g} Hz",
        "first frame at": lambda stream: format_quantity(stream.offset, "s", DIGITS) if stream.offset else "",
        "deadline": lambda stream: "none" if stream.deadline is None else format_quantity(stream.deadline, "s", DIGITS),
        "policy": lambda stream: stream.policy,
        "frames that may wait": lambda stream: _count(stream.queue_depth, ""),
        "frames in flight": lambda stream: str(stream.in_flight),
        "priority": lambda stream: str(stream.priority),
        "partition": lambda stream: stream.partition or "",
        "die": _die,
        "prompt": lambda stream: _count(stream.prompt_tokens, "own"),
        "decode": lambda stream: _count(stream.decode_tokens, "own"),
    }
    for what, fact in facts.items():
        cells = [fact(stream) for stream in streams.values()]
        if any(cells):
            table.add_row(what, *cells)
    return table


def _precision(stream: StreamSpec) -> str:
    if stream.precision is None:
        return "own"
    if isinstance(stream.precision, str):
        return stream.precision
    return ", ".join(f"{phase} {name}" for phase, name in stream.precision.items())


def _die(stream: StreamSpec) -> str:
    """The die, or that of each phase that is named; empty for the only or first one."""
    if isinstance(stream.die, int):
        return str(stream.die) if stream.die else ""
    return ", ".join(f"{phase} {die}" for phase, die in stream.die.items())


def _count(value: int | None, absent: str) -> str:
    return absent if value is None else f"{value:,}"


def _how(traffic: BackgroundSpec) -> str:
    """Pattern, piece, written share and time of some traffic, as far as they are not the usual ones."""
    parts = [traffic.pattern if traffic.piece is None else f"{traffic.pattern} {traffic.piece:g} B"]
    if traffic.write_share > 0:
        parts.append(f"{100 * traffic.write_share:g} % written")
    if traffic.start > 0:
        parts.append(f"from {format_quantity(traffic.start, 's')}")
    if traffic.stop is not None:
        parts.append(f"to {format_quantity(traffic.stop, 's')}")
    return ", ".join(parts)
