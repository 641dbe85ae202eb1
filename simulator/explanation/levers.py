"""Levers: the numbers of a setup that can be changed one by one, and what the latency is with another value.

Every sourced number of the chip, of the runtime (software) and of the background traffic is a lever, and so is every
number of chip and runtime that somebody chooses. They are found by walking the specs, so a number that a spec gains is
a lever without a line here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from simulator.engine.interface import Engine
from simulator.errors import SpecError
from simulator.explanation.chosen import Giver, chosen_numbers, giver_of
from simulator.metrics.latency import release_latency, slowest_frame
from simulator.ppa.area import area_of
from simulator.simulation.result import Result
from simulator.simulation.setup import Setup
from simulator.simulation.to_program import to_program
from simulator.sourced import Sourced, noted_range, units_of
from simulator.units import value_text

Owner = Literal["chip", "runtime", "background"]
"""What a number belongs to: the hardware, the software, or other traffic on the DRAM."""


@dataclass(frozen=True)
class Lever:
    """A number of a setup: a sourced one, or one that somebody chooses."""

    owner: Owner
    path: str
    """Dotted path in the spec of the owner; that of background traffic begins with the name of the flow."""
    value: float
    """What it is now, in the base unit."""
    unit: str | None
    """Base unit of the number; None for a pure number."""
    source: Sourced | None = None
    """Where it is from; None for one that somebody chooses: a share, a limit, a budget."""
    giver: Giver | None = None
    """What gives way where the number would take more than there is."""

    @property
    def status(self) -> str:
        """How far it can be trusted; "chosen" for one that somebody chooses."""
        return "chosen" if self.source is None else self.source.status

    @property
    def name(self) -> str:
        """The path of a number of the chip as `--set` takes it; that of others with its owner in front."""
        return self.path if self.owner == "chip" else f"{self.owner}.{self.path}"

    def text(self, value: float) -> str:
        """A value of it as people write it."""
        return value_text(value, self.unit, self.value)

    @property
    def noted_ends(self) -> tuple[float, float] | None:
        """The ends of the range that its note gives, if any."""
        return None if self.source is None else noted_range(self.source, self.unit)

    @property
    def range_text(self) -> str:
        """Such as "6,400 to 9,600 MT/s"; empty without a range."""
        return "" if self.noted_ends is None else self.span_text(*self.noted_ends)

    def span_text(self, low: float, high: float) -> str:
        """Such as "5 to 20 GB/s": the unit once where both have the same."""
        first, last = self.text(low), self.text(high)
        amount, _, unit = first.partition(" ")
        return f"{amount if last.endswith(f' {unit}') else first} to {last}"

    def is_beyond(self, value: float) -> bool:
        """Whether a value lies outside the range of its note."""
        return self.noted_ends is not None and not self.noted_ends[0] <= value <= self.noted_ends[1]

    def moved(self, setup: Setup, value: float) -> Setup:
        """The setup with another value.

        Raises:
            SpecError: when a rule of the spec refuses it.
        """
        changes = {self.path: self._written(value)}
        if self.giver is not None and value > self.giver.most:
            left = self.giver.value - (value - self.giver.most)
            changes[self.giver.path] = int(left) if isinstance(self.giver.value, int) else left
        if self.owner == "chip":
            return replace(setup, chip=setup.chip.with_values(changes))
        if self.owner == "runtime":
            return replace(setup, runtime=setup.runtime.with_values(changes))
        flow, _, path = self.path.rpartition(".")
        changed = setup.background[flow].with_values({path: self._written(value)})
        return replace(setup, background={**setup.background, flow: changed})

    def _written(self, value: float) -> object:
        if self.unit:
            return f"{value!r} {self.unit}"
        return int(value) if isinstance(self.value, int) and value == int(value) else value


def levers_of(setup: Setup) -> tuple[Lever, ...]:
    """Every lever of a setup, in the order of the specs."""
    return tuple(_levers(setup))


def _levers(setup: Setup) -> Iterator[Lever]:
    for path, number, unit in units_of(setup.chip):
        yield Lever("chip", path, number.value, unit, number)
    for path, value, unit in chosen_numbers(setup.chip):
        yield Lever("chip", path, value, unit, giver=giver_of(setup.chip, path))
    for path, number, unit in units_of(setup.runtime):
        yield Lever("runtime", path, number.value, unit, number)
    for path, value, unit in chosen_numbers(setup.runtime):
        yield Lever("runtime", path, value, unit)
    for flow, spec in setup.background.items():
        for path, number, unit in units_of(spec):
            yield Lever("background", f"{flow}.{path}", number.value, unit, number)


@dataclass(frozen=True)
class Change:
    """A lever at another value, and what that does."""

    value: float
    """The value that was really set; that of the setup if no other near it is allowed, the one asked for if it alone
    was."""
    latency_ticks: int | None
    """Latency of the slowest frame with it; None if it cannot run."""
    reason: str | None = None
    """Why it cannot run, or why no other value is allowed."""
    more_mm2: float = 0.0
    """By how much the die is larger with it; 0 if the chip names no technology."""

    @property
    def short_reason(self) -> str:
        """The first sentence of the reason, without where the value was written."""
        first = (self.reason or "").partition("\n")[0]
        place, gap, rule = first.partition("  ")
        return rule.partition(": ")[2] or rule if gap else place


class Variants:
    """Simulates a setup with one number changed. Variants that lower to one Program are simulated once."""

    def __init__(self, result: Result, engine: Engine) -> None:
        self._setup = result.setup
        self._engine = engine
        self._known_ticks = {result.program.fingerprint: result.frame.latency_ticks}
        self._base_mm2 = _die_mm2(result.setup)
        self.base_ticks = result.frame.latency_ticks
        """The latency of the setup as it is."""
        rows = result.timeline.rows_of(result.frame.release)
        self.rounding_ticks = rows.stop - rows.start
        """What rounding can change: every task of the frame rounds its duration up to a tick."""

    @property
    def num_simulated(self) -> int:
        """Simulations so far."""
        return len(self._known_ticks) - 1

    def change(self, lever: Lever, wanted: float) -> Change:
        """The lever at a value, or at the nearest one that its spec allows: a whole number, or a fraction of 1."""
        found = self._first_allowed(lever, _candidates(lever, wanted))
        return found if isinstance(found, Change) else Change(lever.value, self.base_ticks, found)

    def change_to(self, lever: Lever, value: float) -> Change:
        """The lever at just this value; one that its spec refuses cannot run."""
        found = self._first_allowed(lever, (value,))
        return found if isinstance(found, Change) else Change(value, None, found)

    def _first_allowed(self, lever: Lever, values: Iterable[float]) -> Change | str:
        """The change to the first value that the spec allows, or why it refuses the first."""
        reason = ""
        for value in values:
            try:
                setup = lever.moved(self._setup, value)
            except SpecError as error:
                reason = reason or error.message
                continue
            return self._simulated(setup, value)
        return reason

    def _simulated(self, setup: Setup, value: float) -> Change:
        try:
            program = to_program(setup)
        except SpecError as error:  # such as a model that no longer fits the DRAM
            return Change(value, None, error.message)
        if program.fingerprint not in self._known_ticks:
            timeline = self._engine.run(program)
            frame = release_latency(timeline, slowest_frame(timeline))
            self._known_ticks[program.fingerprint] = frame.latency_ticks
        ticks = self._known_ticks[program.fingerprint]
        return Change(value, ticks, more_mm2=_die_mm2(setup) - self._base_mm2)


def _die_mm2(setup: Setup) -> float:
    """The die of a setup; 0 if the chip names no technology."""
    return 0.0 if setup.technology is None else area_of(setup.chip, setup.technology).total_mm2


def _candidates(lever: Lever, wanted: float) -> Iterator[float]:
    """Values to try in turn; only the spec knows which numbers must be whole or at most 1.

    A whole number above 1 counts something, and stays whole, so that nobody is offered a fraction of a multiplier.
    """
    present = lever.value
    is_count = isinstance(present, int) or (lever.source is not None and present == round(present))
    if lever.unit or present <= 1 or not is_count:
        yield wanted
    if lever.unit:
        return
    step = math.copysign(1, wanted - present)
    nearest = float(round(wanted))
    yield nearest if nearest != present else present + step
    if present < 1 < wanted:
        yield 1.0
    yield present * 2 if wanted > present else present / 2  # such as pins, which come in channels
