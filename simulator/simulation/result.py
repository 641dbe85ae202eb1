"""Result: what came out of a simulation, as the numbers that people and scripts ask for.

`Result.to_dict` is exactly what `roadline run --json` prints. SI units, the unit in the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from simulator.engine.bound import Bound
from simulator.errors import Infeasible
from simulator.metrics.attribution import Attribution
from simulator.metrics.latency import PhaseLatency, ReleaseLatency
from simulator.metrics.occupancy import MemoryUse
from simulator.metrics.streams import Percentile, StreamOutcome
from simulator.metrics.utilization import ChannelUse, UnitUse
from simulator.ppa.area import area_of
from simulator.ppa.cost import cost_of
from simulator.ppa.energy_model import numbers_used
from simulator.ppa.power import FrameEnergy, Meter
from simulator.program import NONE, Program, role_of
from simulator.simulation.kept import KeptOnChip, kept_on_chip
from simulator.simulation.modes import ModeGains, mode_gains
from simulator.simulation.provenance import numbers_read
from simulator.simulation.setup import Setup
from simulator.sourced import Sourced, units_of
from simulator.timeline import Timeline
from simulator.units import format_quantity, ticks_to_seconds

SCHEMA: Final = "roadline.run/1"
"""Name and version of the shape of `to_dict`."""


@dataclass(frozen=True)
class Result:
    """One simulation. Single numbers describe `frame`: the slowest completed frame of the first stream."""

    setup: Setup
    timeline: Timeline
    frame: ReleaseLatency
    bound: Bound
    """Lower bound of the frame's job."""
    attribution: Attribution
    """Of the frame."""
    meter: Meter | None
    """What measures the energy of any release and the power over time; None without a technology."""
    energy: FrameEnergy | None
    """Of the frame: its own tasks, and idle silicon over its latency; None without a technology."""
    streams: tuple[StreamOutcome, ...]
    units: tuple[UnitUse, ...]
    channels: tuple[ChannelUse, ...]
    memories: tuple[MemoryUse, ...]
    wall_s: float
    """From specs to metrics."""
    num_laws: int = 0
    """Laws that the whole run was checked for and obeys; 0 if nobody asked."""

    def __repr__(self) -> str:
        latency, deadline_s = format_quantity(self.latency_s, "s"), self.deadline_s
        if deadline_s is None:
            return f"<Result {self.setup.name}: {latency}>"
        verdict = "meets" if self.latency_s <= deadline_s else "misses"
        return f"<Result {self.setup.name}: {latency}, {verdict} its deadline of {format_quantity(deadline_s, 's')}>"

    @property
    def program(self) -> Program:
        """The Program that was run."""
        return self.timeline.program

    @property
    def precision(self) -> str:
        """Precision of the decoder's matrices, or of the first phase of a workload without a decoder."""
        pipeline = self.setup.streams[0].workload.pipeline
        named = {phase.name: phase.precision for phase in pipeline}
        return named.get("prefill", pipeline[0].precision)

    @property
    def latency_s(self) -> float:
        """From the arrival of the frame to its answer."""
        return ticks_to_seconds(self.frame.latency_ticks)

    @property
    def ttft_s(self) -> float | None:
        """Time to first token: from arrival to the end of the prefill; None without one."""
        prefill = self.phase("prefill")
        return None if prefill is None else ticks_to_seconds(prefill.end_tick - self.frame.release_tick)

    @property
    def tpot_s(self) -> float | None:
        """Time per output token: the decode phase divided by its tokens; None without one."""
        decode = self.phase("decode")
        return None if decode is None else ticks_to_seconds(decode.latency_ticks) / decode.tokens

    @property
    def deadline_s(self) -> float | None:
        """Latency allowed for the frame, if any."""
        ticks = self.setup.streams[0].deadline_ticks
        return None if ticks == NONE else ticks_to_seconds(ticks)

    @property
    def phases(self) -> tuple[PhaseLatency, ...]:
        """Phases of the frame, in order."""
        return self.frame.phases

    def phase(self, name: str) -> PhaseLatency | None:
        """The phase of that name, if the frame has it."""
        return next((phase for phase in self.frame.phases if phase.name == name), None)

    def dram_bytes(self, channel_bytes: Sequence[int]) -> int:
        """Of bytes by channel, those that went over the DRAM: that of all dies, where there are several."""
        names = self.program.resources.channel_names
        return sum(int(moved) for name, moved in zip(names, channel_bytes, strict=True) if role_of(name) == "dram")

    @cached_property
    def modes(self) -> ModeGains | None:
        """What the chip gains by its modes, which are simulated one by one when first asked for; None without modes."""
        return mode_gains(self.setup, self.frame, self.attribution, len(self.timeline))

    @cached_property
    def kept(self) -> KeptOnChip | None:
        """What the frame keeps on the chip from step to step, found when first asked for; None if that is nothing."""
        return kept_on_chip(self.setup)

    def phase_limit(self, phase: PhaseLatency) -> str:
        """What most of a phase's time on the critical path went to."""
        causes = self.attribution.phase_cause_ticks[phase.name]
        return max(causes, key=lambda cause: causes[cause])

    @property
    def energy_reason(self) -> str | None:
        """Why there is no energy; None if there is one."""
        if self.energy is not None:
            return None
        chip = self.setup.chip
        if chip.technology is None:
            return f"chip {chip.name} names no technology"
        return f"the run was made without the technology {chip.technology} of chip {chip.name}"

    @property
    def die_mm2(self) -> float | None:
        """Area of a die; None if the chip names no technology."""
        technology = self.setup.technology
        return None if technology is None else area_of(self.setup.chip, technology).total_mm2

    @property
    def parts_usd(self) -> float | None:
        """Cost of all packaged dies with their memory; None without a technology, or if a die cannot be made."""
        technology = self.setup.technology
        if technology is None:
            return None
        try:
            return cost_of(self.setup.chip, technology).total_usd
        except Infeasible:
            return None

    def uncertain_numbers(self) -> list[tuple[str, Sourced, str | None]]:
        """Every guess that the result rests on: dotted path, number and unit, as `numbers_read` gives them."""
        return [row for row in numbers_read(self.setup) if row[1].is_uncertain]

    def uncertain_energies(self) -> list[tuple[str, Sourced, str | None]]:
        """Every further guess that the energy rests on: of the technology, and of the rest of the die."""
        if self.setup.technology is None:
            return []
        chip = self.setup.chip
        rows = [
            (f"technology.{path}", number, unit) for path, number, unit in numbers_used(chip, self.setup.technology)
        ]
        if chip.physical is not None:
            rows += [(f"chip.physical.{path}", number, unit) for path, number, unit in units_of(chip.physical)]
        return [row for row in rows if row[1].is_uncertain]

    @property
    def what_ran(self) -> dict[str, str]:
        """What was simulated, by name: the run, its chip, first workload, runtime and precision, and the engine."""
        setup = self.setup
        return {
            "name": setup.name,
            "chip": setup.chip.name,
            "workload": setup.streams[0].workload.name,
            "runtime": setup.runtime.name,
            "precision": self.precision,
            "engine": self.timeline.engine,
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        tpot_s = self.tpot_s
        return {
            "schema": SCHEMA,
            **self.what_ran,
            "seed": self.setup.seed,
            "latency_s": self.latency_s,
            "lower_bound_s": ticks_to_seconds(self.bound.ticks),
            "deadline_s": self.deadline_s,
            "ttft_s": self.ttft_s,
            "tpot_s": tpot_s,
            "tokens_per_s": None if tpot_s is None else 1 / tpot_s,
            "energy_j": None if self.energy is None else self.energy.total_j,
            "average_power_w": None if self.energy is None else self.energy.average_w,
            "energy_parts_j": None if self.energy is None else dict(self.energy.parts_j),
            "energy_reason": self.energy_reason,
            "power_state": self.setup.power_state,
            "die_mm2": self.die_mm2,
            "parts_usd": self.parts_usd,
            "tasks": len(self.timeline),
            "wall_s": self.wall_s,
            "laws_checked": self.num_laws,
            "phases": [self._phase_dict(phase) for phase in self.phases],
            "units": [
                {"name": unit.name, "busy_s": unit.busy_s, "utilization": unit.utilization} for unit in self.units
            ],
            "channels": [
                {"name": channel.name, "bytes": channel.moved_bytes, "utilization": channel.utilization}
                for channel in self.channels
            ],
            "memories": [
                {"name": memory.name, "bytes": memory.size_bytes, "peak_bytes": memory.peak_bytes,
                 "average_bytes": memory.average_bytes}
                for memory in self.memories
            ],
            "attribution": seconds_by_name(self.attribution.cause_ticks),
            "modes": None if self.modes is None else _modes_dict(self.modes),
            "kept": None if self.kept is None else asdict(self.kept),
            "streams": [_stream_dict(stream) for stream in self.streams],
            "uncertain": [
                {"number": path, "value": number.value, "unit": unit, "range": number.guessed_range,
                 "status": number.status, "source": number.source, "note": number.note}
                for path, number, unit in (*self.uncertain_numbers(), *self.uncertain_energies())
            ],
            "program": self.program.fingerprint,
        }  # fmt: skip

    def _phase_dict(self, phase: PhaseLatency) -> dict[str, Any]:
        return {
            "name": phase.name,
            "tokens": phase.tokens,
            "latency_s": ticks_to_seconds(phase.latency_ticks),
            "lower_bound_s": None if phase.lower_bound_ticks is None else ticks_to_seconds(phase.lower_bound_ticks),
            "bound_by": phase.bound_by,
            "limited_by": self.phase_limit(phase),
            "flops": phase.flop,
            "dram_bytes": self.dram_bytes(phase.channel_bytes),
            "energy_j": None if self.energy is None else self.energy.phases_j[phase.name],
            "attribution": seconds_by_name(self.attribution.phase_cause_ticks[phase.name]),
        }


def seconds_by_name(ticks: Mapping[str, int]) -> dict[str, float]:
    """The same times in seconds."""
    return {name: ticks_to_seconds(count) for name, count in ticks.items()}


def _modes_dict(modes: ModeGains) -> dict[str, Any]:
    return {
        "phases": [
            {"name": phase.phase, "mode": phase.mode, "flop_per_byte": phase.flop_per_byte, "switch_s": phase.switch_s,
             "break_even_s": phase.break_even_s}
            for phase in modes.phases
        ],
        "switches": modes.num_switches,
        "switch_s": modes.switch_s,
        "fixed_s": None if modes.fixed_s is None else dict(modes.fixed_s),
        "gain": modes.gain,
    }  # fmt: skip


def _stream_dict(stream: StreamOutcome) -> dict[str, Any]:
    def seconds(ticks: float | None) -> float | None:
        return None if ticks is None else ticks_to_seconds(ticks)

    def percentile(value: Percentile) -> dict[str, Any]:
        return {"value_s": seconds(value.ticks), "reason": value.reason}

    return {
        "name": stream.name,
        "deadline_s": seconds(stream.deadline_ticks),
        "released": stream.released,
        "completed": stream.completed,
        "dropped": stream.dropped,
        "in_flight": stream.in_flight,
        "misses": stream.misses,
        "longest_run_of_misses": stream.longest_run_of_misses,
        "p50": percentile(stream.p50),
        "p90": percentile(stream.p90),
        "p99": percentile(stream.p99),
        "max_s": seconds(stream.max_ticks),
        "mean_s": seconds(stream.mean_ticks),
        "jitter_s": seconds(stream.jitter_ticks),
    }
