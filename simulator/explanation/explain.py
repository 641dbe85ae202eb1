"""The explanation of a run: parts of its latency, sensitivity to every number, and advice.

`Explanation.to_dict` is exactly what `roadline explain --json` prints. SI units, the unit in the key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from simulator.engine.select import EngineName, engine_named
from simulator.explanation.advice import Advice, Reach
from simulator.explanation.find_advice import find_advice
from simulator.explanation.levers import Change, Lever, Variants, levers_of
from simulator.explanation.parts import LatencyParts, latency_parts
from simulator.explanation.sensitivity import STEP, Sensitivity, over_ranges, tornado
from simulator.simulation.result import Result, seconds_by_name
from simulator.units import ticks_to_seconds

SCHEMA: Final = "roadline.explain/1"
"""Name and version of the shape of `to_dict`."""

Progress = Callable[[int, int], None]
"""Called with numbers done and numbers in all."""


@dataclass(frozen=True)
class Explanation:
    """Why the slowest frame of a run took as long as it did."""

    result: Result
    parts: LatencyParts
    tornado: tuple[Sensitivity, ...]
    """The numbers that change the latency when 20 % smaller or larger, the largest gain per 20 % first."""
    no_effect: tuple[Lever, ...]
    """The numbers that do not."""
    fixed: tuple[Lever, ...]
    """The numbers that no rule of the specs lets change by so little."""
    not_varied: tuple[Lever, ...]
    """Chosen numbers that are zero: a fifth of them is nothing."""
    ranges: tuple[Sensitivity, ...]
    """Numbers whose notes give a range that changes the latency, at the ends of it, the largest swing first."""
    advice: Advice | None
    """None if no number saves anything."""
    num_simulated: int
    """Simulations beside that of the run."""

    def __repr__(self) -> str:
        advice = "nothing saves" if self.advice is None else f"{self.advice.best.lever.name} buys most"
        return f"<Explanation of {self.result!r}: {advice}>"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        result = self.result
        return {
            "schema": SCHEMA,
            **result.what_ran,
            "latency_s": result.latency_s,
            "deadline_s": result.deadline_s,
            "simulations": self.num_simulated,
            "attribution": seconds_by_name(self.parts.part_ticks),
            "phases": [
                {"name": phase, "attribution": seconds_by_name(ticks)}
                for phase, ticks in self.parts.phase_part_ticks.items()
            ],
            "critical_path": [
                {"phase": item.phase, "operation": item.operation, "tasks": item.num_tasks,
                 "time_s": ticks_to_seconds(item.ticks), "attribution": seconds_by_name(item.part_ticks)}
                for item in self.parts.items
            ],
            "step_fraction": STEP,
            "tornado": [_sensitivity_dict(item) for item in self.tornado],
            "no_effect": [lever.name for lever in self.no_effect],
            "fixed": [lever.name for lever in self.fixed],
            "not_varied": [lever.name for lever in self.not_varied],
            "ranges": [_sensitivity_dict(item) for item in self.ranges],
            "advice": None if self.advice is None else _advice_dict(self.advice),
        }  # fmt: skip


def explain(result: Result, *, engine: EngineName = "auto", progress: Progress | None = None) -> Explanation:
    """Why the slowest frame of a run took as long as it did.

    Every number of the chip, the runtime and the background traffic, sourced or chosen, is changed by 20 % both ways,
    each time in a simulation of its own.

    Args:
        result: a finished run.
        engine: which engine simulates; `auto` takes the quickest there is.
        progress: called at first and after every number with how many are done and how many there are.
    """
    chosen = engine_named(engine)
    variants, found = Variants(result, chosen), levers_of(result.setup)
    not_varied = tuple(lever for lever in found if lever.source is None and lever.value == 0)
    levers = [lever for lever in found if lever not in not_varied]
    total = len(levers) + sum(lever.noted_ends is not None for lever in levers)
    done = -1

    def on_lever() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    on_lever()

    bars = tornado(levers, variants, on_lever)
    ranges = over_ranges(levers, variants, on_lever)
    best = find_advice(result, bars, variants, chosen)
    if best is not None:  # of gains that are nearly equal, the table begins with the one that the advice names
        bars.sort(key=lambda item: item is not best.best)
    fixed = {item.lever.name for item in bars if item.is_fixed}
    idle = {item.lever.name for item in bars if not item.has_effect} - fixed
    return Explanation(
        result=result,
        parts=latency_parts(result.timeline, result.frame.release, chosen),
        tornado=tuple(item for item in bars if item.has_effect),
        no_effect=tuple(lever for lever in levers if lever.name in idle),
        fixed=tuple(lever for lever in levers if lever.name in fixed),
        not_varied=not_varied,
        ranges=tuple(ranges),
        advice=best,
        num_simulated=variants.num_simulated,
    )


def _sensitivity_dict(item: Sensitivity) -> dict[str, Any]:
    lever = item.lever
    return {
        "number": lever.name, "owner": lever.owner, "unit": lever.unit, "value": lever.value,
        "status": lever.status, "range": lever.noted_ends, "low": _change_dict(item.low),
        "high": _change_dict(item.high), "gain_fraction": item.gain_fraction,
    }  # fmt: skip


def _change_dict(change: Change) -> dict[str, Any]:
    ticks = change.latency_ticks
    latency_s = None if ticks is None else ticks_to_seconds(ticks)
    return {"value": change.value, "latency_s": latency_s, "reason": change.reason, "more_mm2": change.more_mm2}


def _advice_dict(advice: Advice) -> dict[str, Any]:
    of_chip = advice.best_of_chip
    return {
        "text": advice.text,
        "number": advice.best.lever.name,
        "owner": advice.best.lever.owner,
        **_change_dict(advice.best.better),
        "gain_fraction": advice.best.gain_fraction,
        "equals": list(advice.equals),
        "best_of_chip": None if of_chip is None else _sensitivity_dict(of_chip),
        "larger_steps": [_sensitivity_dict(item) for item in advice.larger_steps],
        "limited_by": advice.limited_by,
        "limited_fraction": advice.limited_fraction,
        "meets_deadline": advice.is_in_time,
        "reaches": [_reach_dict(reach) for reach in advice.reaches],
        "spares": [_sensitivity_dict(item) for item in advice.spares],
    }


def _reach_dict(reach: Reach) -> dict[str, Any]:
    return {"number": reach.lever.name, "meets_deadline": reach.is_in_time, **_change_dict(reach.change)}
