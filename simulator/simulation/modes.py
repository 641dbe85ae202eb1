"""What a chip gains by changing its mode: time lost switching, the chip fixed in each mode, and break-even lengths.

The frame of a run is compared with the same frame where the chip is in one mode all the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from simulator.engine.select import engine_named
from simulator.errors import SpecError
from simulator.lowering import flop_per_byte, modes_of
from simulator.metrics.attribution import Attribution
from simulator.metrics.latency import ReleaseLatency, release_latency, slowest_frame
from simulator.simulation.setup import Setup
from simulator.simulation.to_program import demands_of, to_program
from simulator.terms import PhaseName
from simulator.units import ticks_to_seconds

MOST_TASKS: Final = 20_000_000
"""Tasks of a run above which it is not repeated in every mode: some seconds each."""


@dataclass(frozen=True)
class PhaseMode:
    """The mode of a phase."""

    phase: str
    mode: str
    flop_per_byte: float
    """Matrix operations per byte of DRAM traffic where nothing is kept: what a rule looks at."""
    switch_s: float
    """Time of the switch before it; 0 if there is none."""
    break_even_s: float | None
    """How long it would have to last in the best fixed mode for the switches around it to pay; None if it is in that
    mode, if its own is no faster, or if there is nothing to compare with."""


@dataclass(frozen=True)
class ModeGains:
    """The modes of a frame, and the same frame on the chip fixed in each."""

    phases: tuple[PhaseMode, ...]
    num_switches: int
    """Of a frame that finds the chip as the frame before has left it."""
    latency_s: float
    """Of the frame, switches included."""
    fixed_s: Mapping[str, float | None] | None
    """Latency in each fixed mode, None where the mode cannot run it; None if the run is too long to be repeated."""

    @property
    def best_fixed(self) -> str | None:
        """The fixed mode in which the frame is quickest; None if none can run it or none was tried."""
        return _quickest(self.fixed_s or {})

    @property
    def switch_s(self) -> float:
        """Time of all switches of a frame."""
        return sum(phase.switch_s for phase in self.phases)

    @property
    def gain(self) -> dict[str, float | None]:
        """How many times longer the frame takes in each fixed mode."""
        return {mode: None if fixed_s is None else fixed_s / self.latency_s
                for mode, fixed_s in (self.fixed_s or {}).items()}  # fmt: skip


def mode_gains(setup: Setup, frame: ReleaseLatency, attribution: Attribution, num_tasks: int) -> ModeGains | None:
    """What a run gains by its modes; None on a chip without modes.

    Formula:  break-even = switches before and after the phase / (1 - 1 / speed-up), speed-up = fixed / own mode
    Source:   derived: from there on the time that the phase saves is what the switches cost

    Args:
        setup: of the run.
        frame: its slowest frame.
        attribution: of that frame.
        num_tasks: of the run; with more than `MOST_TASKS` no mode is simulated by itself.
    """
    demand = demands_of(setup)[0]
    phases = demand.graph.phases
    platform = demand.platforms[phases[0].name]
    if platform.chip.reconfiguration is None:
        return None
    modes = modes_of(phases, platform)
    fixed = _fixed_frames(setup) if num_tasks <= MOST_TASKS else {}
    best = _quickest({mode: None if run is None else run.latency_ticks for mode, run in fixed.items()})
    best_frame = None if best is None else fixed[best]
    switch_ticks = {phase.name: _switch_ticks(attribution, phase.name) for phase in phases}
    follows = _following([(phase.name, demand.platforms[phase.name].die) for phase in phases])
    rows = []
    for phase in phases:
        mode, break_even_s = modes[phase.name], None
        if best_frame is not None and mode != best:
            own_ticks = _phase_ticks(frame, phase.name) - switch_ticks[phase.name]
            saved = 1 - own_ticks / max(_phase_ticks(best_frame, phase.name), 1)
            around = switch_ticks[phase.name] + switch_ticks[follows[phase.name]]
            break_even_s = ticks_to_seconds(round(around / saved)) if saved > 0 else None
        rows.append(
            PhaseMode(
                phase.name, mode, flop_per_byte(phase, platform), ticks_to_seconds(switch_ticks[phase.name]),
                break_even_s,
            )
        )  # fmt: skip
    fixed_s = {mode: None if run is None else ticks_to_seconds(run.latency_ticks) for mode, run in fixed.items()}
    return ModeGains(
        phases=tuple(rows),
        num_switches=sum(modes[before] != modes[after] for before, after in follows.items()),
        latency_s=ticks_to_seconds(frame.latency_ticks),
        fixed_s=fixed_s or None,
    )


def _quickest(latencies: Mapping[str, float | None]) -> str | None:
    """The mode of the smallest latency; None if none has one."""
    found = {mode: latency for mode, latency in latencies.items() if latency is not None}
    return min(found, key=lambda mode: found[mode], default=None)


def _following(die_of_phase: Sequence[tuple[PhaseName, int]]) -> dict[PhaseName, PhaseName]:
    """The phase that comes next on the same die: after the last of a frame the first of the next frame."""
    follows: dict[PhaseName, PhaseName] = {}
    for die in {die for _, die in die_of_phase}:
        here = [phase for phase, on_die in die_of_phase if on_die == die]
        follows |= dict(zip(here, [*here[1:], here[0]], strict=True))
    return follows


def _fixed_frames(setup: Setup) -> dict[str, ReleaseLatency | None]:
    """The slowest frame of the same run in every single mode; None where the mode cannot run it."""
    frames: dict[str, ReleaseLatency | None] = {}
    assert setup.chip.reconfiguration is not None  # who calls has looked
    for mode in setup.chip.reconfiguration.modes:
        try:
            timeline = engine_named("auto").run(to_program(replace(setup, chip=setup.chip.in_mode(mode))))
        except SpecError:
            frames[mode] = None
        else:
            frames[mode] = release_latency(timeline, slowest_frame(timeline))
    return frames


def _phase_ticks(frame: ReleaseLatency, name: str) -> int:
    return next(phase.latency_ticks for phase in frame.phases if phase.name == name)


def _switch_ticks(attribution: Attribution, name: str) -> int:
    """Time of the switch before a phase."""
    return int(attribution.phase_cause_ticks[name].get("switch", 0))
