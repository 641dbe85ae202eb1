"""Dram: the external memory of a chip, the condition in which it runs, and what it then sustains."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, model_validator

from simulator.chip.dram_ceiling import READ_STREAM, Access, Overheads, ceiling, refresh_multiplier
from simulator.chip.dram_device import Memory
from simulator.sourced import Capacity, Fraction, Sourced, TransferRate, Whole
from simulator.spec import Spec
from simulator.terms import Refresh

_DEVICE_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]}
"""In a file a device is a name; the catalogue puts the memory of that name in its place."""


class DramCondition(Spec):
    """What the user decides about the memory, and how hot it is."""

    refresh: Refresh = "per-bank"
    """How the controller refreshes. Bank by bank is what a measured read of 95 % of the peak leaves: all banks at once
    would cost 5 % at least."""
    ecc: Literal["none", "sideband", "inline"] = "none"
    """Check bits: none, on pins and in cells of their own, or in the same memory as the data."""
    temperature_c: float = Field(default=45.0, ge=-55, le=150)
    """Temperature of the devices in degrees Celsius, which sets the refresh multiplier."""


class Dram(Spec):
    """The external memory, seen as one pool behind one controller."""

    type: str
    """Family, such as LPDDR5X."""
    width_bits: Whole
    """Data pins in all."""
    rate: TransferRate
    """Transfers per second and pin."""
    capacity: Capacity
    """Bytes in all."""
    sustained_fraction: Fraction | None = None
    """What a streaming read reaches of the peak, measured in `measured_condition`: page misses, refresh and controller
    in one number."""
    controller_fraction: Fraction | None = None
    """Where no read was measured: what the controller reaches of the ceiling of its device."""
    device: Annotated[Memory | None, WithJsonSchema(_DEVICE_SCHEMA)] = None
    """Organisation and timing: in a file, the name of a memory of the catalogue. Without it every access costs as a
    streaming read does."""
    drain_bursts: Whole | None = None
    """Bursts that the controller writes before it reads again; None where no figure is known: then turning round costs
    nothing."""
    condition: DramCondition = DramCondition()
    """The condition of a run."""
    measured_condition: DramCondition = DramCondition()
    """The condition in which `sustained_fraction` was measured."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Dram:
        if (self.sustained_fraction is None) == (self.controller_fraction is None):
            given = "neither" if self.sustained_fraction is None else "both"
            raise ValueError(f"sustained_fraction: must be given, or controller_fraction instead, got {given}")
        if self.device is None:
            self._needs_no_timing()
            return self
        if self.width_bits.value % self.device.channel_bits:
            raise ValueError(
                f"width_bits: must be a multiple of the {self.device.channel_bits} bits of a channel of "
                f"{self.device.name}, got {self.width_bits.value:g}"
            )
        for name, condition in (("condition", self.condition), ("measured_condition", self.measured_condition)):
            if condition.ecc == "inline" and self.device.inline_ecc is None:
                raise ValueError(f"{name}: must not have inline ECC, of which {self.device.name} has no costs, got it")
            try:
                self._overheads(condition)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        if self.sustained_fraction is not None:
            most = self.ceiling(READ_STREAM, self.measured_condition)
            if self.sustained_fraction.value > most * (1 + 1e-9):
                raise ValueError(
                    f"sustained_fraction: must be at most {most:.4g}, what {self.device.name} allows with "
                    f"{self.measured_condition.refresh} refresh, got {self.sustained_fraction.value:g}"
                )
        return self

    def _needs_no_timing(self) -> None:
        """Refuses what cannot be computed without a device."""
        if self.controller_fraction is not None:
            raise ValueError("device: must be given where controller_fraction is, got nothing")
        if self.drain_bursts is not None:
            raise ValueError("device: must be given where drain_bursts is, got nothing")
        if self.condition != self.measured_condition:
            raise ValueError("device: must be given for a condition other than that of the measurement, got nothing")

    @property
    def reached_fraction(self) -> Sourced:
        """What is reached of the peak, where it was measured, or of the ceiling of the device."""
        reached = self.sustained_fraction or self.controller_fraction
        assert reached is not None  # checked when the chip was read
        return reached

    @property
    def num_channels(self) -> int:
        """Channels side by side; 1 without a device."""
        return 1 if self.device is None else round(self.width_bits.value) // self.device.channel_bits

    @property
    def peak_bytes_per_s(self) -> float:
        """Formula: width / 8 * rate."""
        return self.width_bits.value / 8 * self.rate.value

    @property
    def sustained_bytes_per_s(self) -> float:
        """What a streaming read gets in the condition of the run.

        Formula:  peak * sustained fraction * ceiling(condition) / ceiling(measured condition)
                  peak * controller fraction * ceiling(condition)       where no read was measured
        """
        if self.sustained_fraction is None:
            return self.peak_bytes_per_s * self.reached_fraction.value * self.ceiling()
        moved = self.ceiling() / self.ceiling(condition=self.measured_condition)
        return self.peak_bytes_per_s * self.reached_fraction.value * moved

    @property
    def usable_bytes(self) -> int:
        """Bytes for data: what inline ECC leaves of the capacity."""
        costs = None if self.device is None else self._overheads(self.condition).inline_ecc
        return int(self.capacity.value * (1.0 if costs is None else costs.capacity))

    def ceiling(self, access: Access = READ_STREAM, condition: DramCondition | None = None) -> float:
        """What the device allows of the peak, by default in the condition of the run; 1 without a device."""
        if self.device is None:
            return 1.0
        return ceiling(self.device, self._device_rate, access, self._overheads(condition or self.condition))

    def usage(self, access: Access) -> float:
        """What a byte of some traffic takes of the memory, in bytes of a streaming read.

        Formula:  u = ceiling(streaming read) / ceiling(access), with a turn for every drain that is written
        Valid:    others read meanwhile; memory that is only written would never turn
        """
        if self.device is None:
            return 1.0
        overheads = self._overheads(self.condition)
        mixed = ceiling(self.device, self._device_rate, access, overheads, turning_share=access.write_share)
        return self.ceiling() / mixed

    @property
    def _device_rate(self) -> float:
        """The rate at which the times of the device are taken.

        A slower bus has a device of the same times. A rate above the grade asks for a device that does not exist yet:
        one whose times are shorter in proportion, so that its ceilings are those of the grade.
        """
        assert self.device is not None
        return min(self.rate.value, self.device.usual_rate)

    def _overheads(self, condition: DramCondition) -> Overheads:
        assert self.device is not None
        return Overheads(
            refresh=condition.refresh,
            refresh_multiplier=refresh_multiplier(self.device, condition.temperature_c),
            inline_ecc=self.device.inline_ecc if condition.ecc == "inline" else None,
            drain_bursts=math.inf if self.drain_bursts is None else self.drain_bursts.value,
        )
