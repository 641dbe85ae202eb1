"""Advice: the change of one number that would buy most, and what is said about it.

How it is found is in `find_advice`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from simulator.explanation.levers import Change, Lever
from simulator.explanation.sensitivity import STEP, Sensitivity
from simulator.units import format_ticks

OWNERS: Final = {"chip": "", "runtime": " (software)", "background": " (other traffic)"}
_STEP: Final = f"{100 * STEP:.0f} %"


@dataclass(frozen=True)
class Reach:
    """What it takes of one number alone to meet the deadline."""

    lever: Lever
    change: Change
    """The value nearest to that of the setup that was found in time, or the farthest tried if that is late."""
    is_in_time: bool


@dataclass(frozen=True)
class Advice:
    """The change that saves most per 20 %."""

    best: Sensitivity
    best_of_chip: Sensitivity | None
    """The best change of the hardware, where `best` is of software or of other traffic."""
    equals: tuple[str, ...]
    """Names of other numbers of the same owner that save as much."""
    larger_steps: tuple[Sensitivity, ...]
    """Numbers that save less per 20 %, but can only change by so much more that they save more at once."""
    limited_by: str
    """The largest part of the latency with the change."""
    limited_fraction: float
    """Its share of that latency."""
    deadline_ticks: int | None
    """Latency allowed for the frame, if any."""
    is_in_time: bool | None
    """Whether the change meets the deadline; None if there is none."""
    reaches: tuple[Reach, ...]
    """What it takes to meet the deadline: numbers that cannot alone, those that save most first, until one can. None
    where the change meets it, or where there is no deadline."""
    spares: tuple[Sensitivity, ...]
    """Numbers of the chip of which less costs time and still meets the deadline, those that cost most first."""

    @property
    def text(self) -> str:
        """Which change would buy most, how much, what limits then, and whether that meets the deadline."""
        return " ".join(_sentences(self))

    def __str__(self) -> str:
        """As `text`."""
        return self.text


def _sentences(advice: Advice) -> Iterable[str]:
    lever = advice.best.lever
    yield (
        f"What would buy most per {_STEP} is {lever.name}{OWNERS[lever.owner]}: {_value(lever, advice.best.better)} "
        f"instead of {lever.text(lever.value)} {_saving(advice.best)}"
    )
    if advice.equals:
        yield f"As much by {', '.join(advice.equals)}."
    for item in advice.larger_steps:
        saved = 100 * (1 - item.better_ticks / item.base_ticks)
        yield f"{item.lever.name} comes in larger steps: {_value(item.lever, item.better)} takes {saved:.1f} % off."
    if advice.best_of_chip is not None:
        chip = advice.best_of_chip
        yield f"Of the hardware it is {chip.lever.name}: {_value(chip.lever, chip.better)} {_saving(chip)}"
    yield f"Then {advice.limited_by} is the largest part, {100 * advice.limited_fraction:.0f} % of the frame."
    if advice.deadline_ticks is not None:
        yield from _deadline_sentences(advice, advice.deadline_ticks)
    if advice.spares:
        yield f"Still in time, one of these could be {_STEP} smaller: {', '.join(map(_spare, advice.spares))}."


def _saving(item: Sensitivity) -> str:
    """Such as "takes 145 ms off (-12.6 %): 1.01 s."."""
    saved, ticks = format_ticks(item.saved_ticks), format_ticks(item.better_ticks)
    return f"takes {saved} off ({longer(item.better, item.base_ticks)}): {ticks}."


def _spare(item: Sensitivity) -> str:
    """Such as "dram.rate (+13.8 %)", with the value where it is not a fifth smaller."""
    lever, effect = item.lever, longer(item.low, item.base_ticks)
    is_as_meant = is_near(item.low.value, (1 - STEP) * lever.value)
    return f"{lever.name} ({effect})" if is_as_meant else f"{lever.name} (at {lever.text(item.low.value)}: {effect})"


def _deadline_sentences(advice: Advice, deadline_ticks: int) -> Iterable[str]:
    deadline = format_ticks(deadline_ticks)
    if not advice.reaches:
        is_met_now = advice.best.base_ticks <= deadline_ticks
        yield f"The deadline of {deadline} is met {'without it, too' if is_met_now else 'with it'}."
        return
    late = [reach for reach in advice.reaches if not reach.is_in_time]
    if late:
        first = late[0]
        ticks = first.change.latency_ticks
        took = "the frame cannot run" if ticks is None else f"it takes {format_ticks(ticks)}"
        yield f"Alone it cannot meet the deadline of {deadline}: with {_reached(first)}, {took}."
        if late[1:]:
            yield f"Nor can {' or '.join(reach.lever.name for reach in late[1:])}."
    for reach in advice.reaches[len(late) :]:
        name = reach.lever.name if late else "it"
        yield f"To meet the deadline of {deadline} by {name} alone takes {_reached(reach)}."


def _reached(reach: Reach) -> str:
    """Such as "12.8 GT/s, 1.5 times what it is"."""
    factor = reach.change.value / reach.lever.value
    return f"{_value(reach.lever, reach.change)}, {factor:.3g} times what it is"


def _value(lever: Lever, change: Change) -> str:
    """The value of a change, with the range of its note if it lies beyond it."""
    text = lever.text(change.value)
    return f"{text} (beyond its range {lever.range_text})" if lever.is_beyond(change.value) else text


def longer(change: Change, base_ticks: int) -> str:
    """By how much a change makes the latency longer, such as "+13.8 %"."""
    if change.latency_ticks is None:
        return "cannot run"
    text = f"{100 * (change.latency_ticks / base_ticks - 1):+.1f} %"
    return "0.0 %" if text in {"+0.0 %", "-0.0 %"} else text


def is_near(value: float, wanted: float) -> bool:
    """Whether a value is the one wanted, made whole: to a thousandth."""
    return abs(value - wanted) <= 1e-3 * abs(wanted)
