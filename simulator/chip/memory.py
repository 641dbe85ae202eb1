"""Memories of a chip: SRAM levels and DRAM."""

from __future__ import annotations

from simulator.sourced import BytesPerCycle, Capacity, Fraction, TransferRate, Whole
from simulator.spec import Spec


class Sram(Spec):
    """One SRAM level shared by all clusters."""

    capacity: Capacity
    """Bytes that software can use."""


class LocalSram(Sram):
    """The local store of one cluster."""

    port: BytesPerCycle | None = None
    """Bytes per cycle that the vector engine reads and writes; None where no figure is known: then it never limits."""


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
    sustained_fraction: Fraction
    """What a streaming read reaches of the peak: page misses, refresh, turnaround and ECC in one number."""

    @property
    def peak_bytes_per_s(self) -> float:
        """Formula: width / 8 * rate."""
        return self.width_bits.value / 8 * self.rate.value

    @property
    def sustained_bytes_per_s(self) -> float:
        """Formula: peak * sustained fraction."""
        return self.peak_bytes_per_s * self.sustained_fraction.value
