"""Memory: organisation and timing of a DRAM device, as a catalogue entry that several chips may name.

What the timing allows is in `simulator.chip.dram_ceiling`; how a chip uses the device is in `simulator.chip.dram`.
"""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, model_validator

from simulator.sourced import ChosenCapacity, ChosenDuration, ChosenTransferRate, Status
from simulator.spec import Spec


class RefreshStep(Spec):
    """Up to which temperature the device has to be refreshed how often."""

    up_to_c: float
    """Highest temperature of the step in degrees Celsius."""
    multiplier: float = Field(gt=0)
    """Refresh commands per refresh interval."""


class InlineEcc(Spec):
    """What check bits cost that lie in the same memory as the data."""

    source: str = Field(min_length=1)
    """Where the costs were read: an id of docs/sources.md."""
    status: Status
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""
    capacity: float = Field(gt=0, le=1)
    """What is left of the capacity."""
    streaming: float = Field(gt=0, le=1)
    """What is left of the bandwidth of a stream."""
    random: float = Field(gt=0, le=1)
    """What is left of the bandwidth of single accesses of 64 bytes."""


class Memory(Spec):
    """A DRAM device: one channel, its banks, and the times between commands.

    One `source` and `status` stands for all times, because they are read from one table. Symbols are those of JEDEC.
    """

    name: str
    """The name by which chips find it; the file has the same name."""
    title: str
    """The name for people."""
    source: str = Field(min_length=1)
    """Where organisation and times were read: an id of docs/sources.md."""
    status: Status
    """How far they can be trusted: the status of the least certain of them."""
    note: str | None = None
    """Which of them are less certain than the others, and the range of a guess."""
    channel_bits: int = Field(ge=8)
    """Data pins of one channel, or of one pseudo channel: what a command addresses."""
    burst_length: int = Field(gt=0)
    """Transfers per pin of one read or write command."""
    banks: int = Field(gt=0)
    """Banks of a channel."""
    bank_groups: int = Field(gt=0)
    """Groups of these banks; 1 where the device has none."""
    row: ChosenCapacity
    """Bytes of a row of one channel."""
    usual_rate: ChosenTransferRate
    """Transfers per second and pin of the grade; the rate at which a chip runs it is in the chip."""
    t_rcd: ChosenDuration
    """From activating a row to its first read."""
    t_rp: ChosenDuration
    """From closing a row to activating another one of the bank."""
    t_ras: ChosenDuration
    """From activating a row to closing it."""
    t_cl: ChosenDuration
    """From a read command to its first data."""
    t_ccd_l: ChosenDuration
    """Between bursts of one bank group; bursts of different groups follow each other without a gap."""
    t_rrd: ChosenDuration
    """Between activations of two banks."""
    t_faw: ChosenDuration
    """Window in which at most four rows are activated."""
    t_wr: ChosenDuration
    """From the last data written to closing the row."""
    t_wtr: ChosenDuration
    """From the last data written to a read command, in different bank groups."""
    t_rtw: ChosenDuration
    """From the last data read to the first data written."""
    t_rfc_all: ChosenDuration
    """For which a refresh of all banks blocks the channel."""
    t_rfc_bank: ChosenDuration
    """For which a refresh of one bank blocks that bank."""
    t_refi: ChosenDuration
    """Refresh interval: in it, every bank is refreshed once at a multiplier of 1."""
    refresh_steps: tuple[RefreshStep, ...] = Field(min_length=1)
    """Refresh multiplier by temperature, rising."""
    inline_ecc: InlineEcc | None = None
    """Costs of inline ECC; None where no figure is known: then a chip cannot choose it."""

    @model_validator(mode="after")
    def _times_agree(self) -> Memory:
        if self.channel_bits % 8:
            raise ValueError(f"channel_bits: must be whole bytes, got {self.channel_bits}")
        if self.banks % self.bank_groups:
            raise ValueError(f"bank_groups: must divide banks ({self.banks}), got {self.bank_groups}")
        if self.t_faw < self.t_rrd:
            raise ValueError(f"t_faw: must be at least t_rrd ({_ns(self.t_rrd)}), got {_ns(self.t_faw)}")
        if self.t_ras < self.t_rcd:
            raise ValueError(f"t_ras: must be at least t_rcd ({_ns(self.t_rcd)}), got {_ns(self.t_ras)}")
        if self.t_rfc_bank > self.t_rfc_all:
            raise ValueError(
                f"t_rfc_bank: must be at most t_rfc_all ({_ns(self.t_rfc_all)}), got {_ns(self.t_rfc_bank)}"
            )
        if self.row % self.burst_bytes:
            raise ValueError(f"row: must be a whole number of bursts of {self.burst_bytes} B, got {self.row:g} B")
        temperatures = [step.up_to_c for step in self.refresh_steps]
        if any(one >= other for one, other in pairwise(temperatures)):
            listing = ", ".join(f"{each:g}" for each in temperatures)
            raise ValueError(f"refresh_steps: must rise in up_to_c, got {listing}")
        most = max(step.multiplier for step in self.refresh_steps)
        if most * self.t_rfc_all >= self.t_refi:
            raise ValueError(
                f"t_refi: must be longer than {most:g} refreshes of {_ns(self.t_rfc_all)}, got {_ns(self.t_refi)}"
            )
        return self

    @property
    def burst_bytes(self) -> int:
        """Bytes of one burst."""
        return self.channel_bits // 8 * self.burst_length


def _ns(duration_s: float) -> str:
    return f"{duration_s * 1e9:g} ns"
