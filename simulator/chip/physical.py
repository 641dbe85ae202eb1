"""What a die has beside what runs models, and the states between which its power is traded for speed.

Area, energy and cost follow from these and a technology in `simulator.ppa`; nothing here changes a latency.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from simulator.precision import Dtype
from simulator.sourced import Capacity, Count, Frequency, Power, Sourced, TransferRate, Voltage, Whole
from simulator.spec import Spec
from simulator.terms import LaneKind, Surroundings


class Physical(Spec):
    """The rest of the die."""

    surroundings: Surroundings = "car"
    """What stands around the compute."""
    lanes: LaneKind = "simd"
    """Kind of vector lanes: those of a GPU with registers, schedulers and textures, or bare ones of an NPU."""
    clusters_on_die: dict[str, Whole] = Field(default_factory=dict)
    """Clusters that are on the die, spares included, by group; if more are used, or none are named, those."""
    dram_pins_on_die: Whole | None = None
    """Data pins of the DRAM interfaces on the die, spares included; if more are used, or for None, those."""
    cpu_cores: dict[str, Whole] = Field(default_factory=dict)
    """CPU cores by class, a key of `area.cpu_core` of the technology."""
    cpu_cores_on: Whole | None = None
    """How many of them are powered, the largest first; None for all."""
    cpu_cache: Capacity | None = None
    """Caches of the CPU beyond the first level."""
    other_macs: dict[Dtype, Count] = Field(default_factory=dict)
    """Multiply-accumulates per cycle of engines that run no transformer (DLA), by dtype."""
    other_lanes: Count | None = None
    """Vector lanes of engines that run no transformer, such as a GPU beside the NPU."""
    other_sram: Capacity | None = None
    """SRAM that the rest of the chip file does not name: spare cache of the die, buffers of other engines."""
    voltage: Voltage | None = None
    """Supply of the die; None for the voltage at which the technology states its energies."""


def with_spares(used: Sourced, on_die: Sourced | None) -> Sourced:
    """What is used, or what is on the die if that is more: spares of a die do not take in what exceeds it."""
    return used if on_die is None or on_die.value < used.value else on_die


class PowerState(Spec):
    """Cores, clocks and voltage that replace those of the chip; what is not named stays."""

    clusters_on: Whole | None = None
    """Clusters of the accelerator that are powered."""
    cluster_clock: Frequency | None = None
    """Their clock."""
    dram_rate: TransferRate | None = None
    """Transfers per second and pin of the DRAM."""
    cpu_cores_on: Whole | None = None
    """CPU cores that are powered."""
    host_clock: Frequency | None = None
    """Their clock."""
    voltage: Voltage | None = None
    """Supply of the die."""
    power: Power | None = None
    """What the state promises to stay below; not used, shown beside what comes out."""

    @model_validator(mode="after")
    def _changes_something(self) -> PowerState:
        if not any(getattr(self, name) for name in type(self).model_fields if name != "power"):
            raise ValueError("must change a clock, a voltage or what is powered, got none of them")
        return self
