"""SRAM levels of a chip; its DRAM is in `simulator.chip.dram`."""

from __future__ import annotations

from simulator.sourced import BytesPerCycle, Capacity
from simulator.spec import Spec


class Sram(Spec):
    """One SRAM level shared by all clusters."""

    capacity: Capacity
    """Bytes that software can use."""


class LocalSram(Sram):
    """The local store of one cluster."""

    port: BytesPerCycle | None = None
    """Bytes per cycle that the vector engine reads and writes; None where no figure is known: then it never limits."""
