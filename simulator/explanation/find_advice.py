"""Finding advice: which change of one number would buy most, and how far one would have to go to meet the deadline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from simulator.engine.interface import Engine
from simulator.explanation.advice import Advice, Reach
from simulator.explanation.levers import Change, Variants
from simulator.explanation.parts import latency_parts
from simulator.explanation.sensitivity import STEP, Sensitivity
from simulator.metrics.latency import slowest_frame
from simulator.program import NONE
from simulator.simulation.result import Result
from simulator.simulation.to_program import to_program

FARTHEST: Final = 8.0
"""The largest factor by which a number is changed to meet a deadline."""
CLOSE_ENOUGH: Final = 1.005
"""The search for a value ends when the last one that is in time and the last one that is late are this close."""
MOST_STEPS: Final = 9
"""Halvings of the search, after the simulation of the farthest value."""
MOST_TRIED: Final = 4
"""Numbers that are tried at their farthest value, those that save most first."""
EQUAL_GAIN: Final = 5e-4
"""Gains that differ by less of the latency are equal."""
LEAST_COST: Final = 0.005
"""A number that costs less of the latency when it is smaller is no room to speak of."""


def find_advice(result: Result, bars: Sequence[Sensitivity], variants: Variants, engine: Engine) -> Advice | None:
    """The change that would buy most; None if no number saves anything.

    Args:
        result: the run as it is.
        bars: the sensitivity of each number.
        variants: simulates changes.
        engine: runs the best change once more, to see what limits it.
    """
    saving = [item for item in bars if item.has_effect and item.gain_fraction > 0]
    if not saving:
        return None
    best, equals = _best(saving)
    others = sorted((item for item in saving if item.lever.name not in equals), key=lambda item: -item.gain_fraction)
    in_turn = [best, *(item for item in others if item is not best)]
    of_chip = [item for item in saving if item.lever.owner == "chip"]
    ticks = best.better_ticks
    parts = _parts_after(result, best, engine)
    limited_by = max(parts, key=lambda part: parts[part])
    deadline = result.setup.streams[0].deadline_ticks
    deadline_ticks = None if deadline == NONE else deadline
    is_in_time = None if deadline_ticks is None else ticks <= deadline_ticks
    return Advice(
        best=best,
        best_of_chip=_best(of_chip)[0] if of_chip and best.lever.owner != "chip" else None,
        equals=equals,
        larger_steps=tuple(item for item in others if item.better_ticks < ticks and _distance_from_step(item) > STEP),
        limited_by=limited_by,
        limited_fraction=parts[limited_by] / sum(parts.values()),
        deadline_ticks=deadline_ticks,
        is_in_time=is_in_time,
        reaches=() if deadline_ticks is None or is_in_time else tuple(_reaches(in_turn, variants, deadline_ticks)),
        spares=() if deadline_ticks is None else tuple(_spares(bars, deadline_ticks)),
    )


def _best(saving: Sequence[Sensitivity]) -> tuple[Sensitivity, tuple[str, ...]]:
    """The largest gain, and the names of others of the same owner that are as large.

    Of equal gains the change nearest to 20 % comes first: it says most plainly what to do.
    """
    most = max(item.gain_fraction for item in saving)
    equal = [item for item in saving if item.gain_fraction > most - EQUAL_GAIN]
    best = min(equal, key=_distance_from_step)
    owner = best.lever.owner
    return best, tuple(item.lever.name for item in equal if item is not best and item.lever.owner == owner)


def _spares(bars: Sequence[Sensitivity], deadline_ticks: int) -> list[Sensitivity]:
    """Numbers of the chip that could be smaller, with what the frame has to spare; those that cost most first."""
    found = [
        (item.low.latency_ticks, item)
        for item in bars
        if item.lever.owner == "chip" and item.low.value < item.lever.value
        and item.low.latency_ticks is not None
        and (1 + LEAST_COST) * item.base_ticks <= item.low.latency_ticks <= deadline_ticks
    ]  # fmt: skip
    return [item for _, item in sorted(found, key=lambda pair: -pair[0])]


def _distance_from_step(item: Sensitivity) -> float:
    ratio = item.better.value / item.lever.value
    return round(abs(abs(ratio - 1) - STEP), 9)  # floating point must not choose between equals


def _parts_after(result: Result, best: Sensitivity, engine: Engine) -> Mapping[str, int]:
    program = to_program(best.lever.moved(result.setup, best.better.value))
    timeline = engine.run(program)
    return latency_parts(timeline, slowest_frame(timeline), engine).part_ticks


def _reaches(in_turn: Sequence[Sensitivity], variants: Variants, deadline_ticks: int) -> Iterator[Reach]:
    for item in in_turn[:MOST_TRIED]:
        reach = _reach(item, variants, deadline_ticks)
        yield reach
        if reach.is_in_time:
            return


def _reach(best: Sensitivity, variants: Variants, deadline_ticks: int) -> Reach:
    """The value of a number that meets a deadline, by bisection of its logarithm.

    The answer was itself simulated. Should the latency rise somewhere on the way, a nearer value may exist.
    """
    lever, present = best.lever, best.lever.value
    late = best.better.value
    farthest = present * (FARTHEST if late > present else 1 / FARTHEST)
    found = variants.change(lever, farthest)
    if not _is_in_time(found, deadline_ticks):
        return Reach(lever, found, is_in_time=False)
    for _ in range(MOST_STEPS):
        if max(found.value / late, late / found.value) <= CLOSE_ENOUGH:
            break
        middle = variants.change(lever, math.sqrt(late * found.value))
        if middle.value in {late, found.value}:
            break  # whole numbers have nothing in between
        if _is_in_time(middle, deadline_ticks):
            found = middle
        else:
            late = middle.value
    return Reach(lever, found, is_in_time=True)


def _is_in_time(change: Change, deadline_ticks: int) -> bool:
    return change.latency_ticks is not None and change.latency_ticks <= deadline_ticks
