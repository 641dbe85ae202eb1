"""Ceilings: what the timing of a DRAM device allows of its peak, by access pattern, write share, refresh and ECC.

A ceiling is a fraction of the peak that no controller passes. How near a chip comes to it is a number of the chip, in
`simulator.chip.dram`. All times are in seconds and belong to one channel; channels work side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from simulator.chip.dram_device import InlineEcc, Memory
from simulator.terms import AccessPattern, Refresh

ACTIVATIONS_PER_WINDOW: Final = 4
"""By the definition of the four-activate window."""

ECC_PIECE_BYTES: Final = 64
"""The access for which the cost of inline ECC on random traffic is known."""


@dataclass(frozen=True)
class Access:
    """How some traffic asks for its bytes."""

    pattern: AccessPattern = "streaming"
    piece_bytes: int | None = None
    """Bytes that lie together on one channel; None for whole rows."""
    write_share: float = 0.0
    """Fraction of the bytes that is written."""


READ_STREAM: Final = Access()
"""What a peak is measured with, and what loads of weights and KV cache do."""


def burst_s(memory: Memory, rate_t_per_s: float) -> float:
    """Time for which a burst holds the data pins.

    Formula:  t = burst length / rate
    """
    return memory.burst_length / rate_t_per_s


def activation_s(memory: Memory) -> float:
    """Least time between two rows opened on a channel, over many.

    Formula:  t = max(t_rrd, t_faw / 4)
    Source:   [gem5-dram]
    """
    return max(memory.t_rrd, memory.t_faw / ACTIVATIONS_PER_WINDOW)


def row_cycle_s(memory: Memory, rate_t_per_s: float, bursts: int, *, is_write: bool) -> float:
    """Time for which some bursts of one row hold their bank.

    Formula:  t = max(t_ras, t_rcd + (bursts - 1) t_ccd_l + burst [+ t_wr]) + t_rp
    Source:   [gem5-dram]
    Valid:    as a ceiling: the times from a command to its data are left out, but for t_wr
    """
    data_s = memory.t_rcd + (bursts - 1) * _spacing_s(memory, rate_t_per_s, groups=1) + burst_s(memory, rate_t_per_s)
    return max(memory.t_ras, data_s + (memory.t_wr if is_write else 0.0)) + memory.t_rp


def piece_s(
    memory: Memory, rate_t_per_s: float, access: Access, *, is_write: bool = False, bank_refresh_fraction: float = 0.0
) -> float:
    """Time that a channel needs for one piece among many of the same pattern.

    Formula:  t = max(bursts * spacing, rows * activation, rows * row cycle / (banks * (1 - bank refresh)))
              spacing = max(burst, t_ccd_l / groups in use)
    Source:   [gem5-dram]

    Args:
        memory: the device.
        rate_t_per_s: transfers per second and pin.
        access: pattern and piece.
        is_write: whether the piece is written.
        bank_refresh_fraction: fraction of the time for which a bank is refreshed while others work.
    """
    piece_bytes = access.piece_bytes or int(memory.row)
    bursts = -(-piece_bytes // memory.burst_bytes)
    bursts_per_row = min(bursts, int(memory.row) // memory.burst_bytes)
    rows = -(-bursts // bursts_per_row)
    groups = memory.bank_groups if access.pattern in {"streaming", "random"} else 1
    banks = 1 if access.pattern == "one-bank" else memory.banks // memory.bank_groups * groups
    spacing_s = _spacing_s(memory, rate_t_per_s, groups)
    cycle_s = row_cycle_s(memory, rate_t_per_s, bursts_per_row, is_write=is_write)
    return max(
        bursts * spacing_s,
        rows * activation_s(memory),
        rows * cycle_s / (banks * (1 - bank_refresh_fraction)),
    )


def turn_s(memory: Memory) -> float:
    """Time for which the data pins stand still to turn from reads to writes and back.

    Formula:  t = t_rtw + t_wtr + t_cl
    Source:   [gem5-dram]
    """
    return memory.t_rtw + memory.t_wtr + memory.t_cl


def refresh_multiplier(memory: Memory, temperature_c: float) -> float:
    """How often the device has to be refreshed at a temperature, of its table.

    Raises:
        ValueError: when it is hotter than the last step of the table.
    """
    for step in memory.refresh_steps:
        if temperature_c <= step.up_to_c:
            return step.multiplier
    hottest = memory.refresh_steps[-1].up_to_c
    raise ValueError(f"temperature_c: must be at most {hottest:g}, the last step of the device, got {temperature_c:g}")


def refresh_fraction(t_rfc_s: float, t_refi_s: float, multiplier: float) -> float:
    """Fraction of the time that goes into refresh.

    Formula:  f = m t_rfc / t_refi
    Source:   [gem5-dram]
    Valid:    of the channel with t_rfc of all banks, of each bank with t_rfc of one bank
    """
    return multiplier * t_rfc_s / t_refi_s


def ecc_fraction(costs: InlineEcc, piece_bytes: float) -> float:
    """What inline ECC leaves of the bandwidth.

    The check bits of a piece are fetched at least once, whatever its size; of a stream they come with its neighbours.

    Formula:  f = 1 / (1 + max(1/streaming - 1, (1/random - 1) * 64 B / piece))
    Source:   [drive-ecc] streams on Xavier, [wp570] random reads on Versal
    Valid:    reads, and writes of whole check groups; smaller writes also read before they write
    """
    of_stream = 1 / costs.streaming - 1
    of_piece = (1 / costs.random - 1) * ECC_PIECE_BYTES / piece_bytes
    return 1 / (1 + max(of_stream, of_piece))


@dataclass(frozen=True)
class Overheads:
    """What takes time on the pins beside the data."""

    refresh: Refresh = "off"
    refresh_multiplier: float = 1.0
    inline_ecc: InlineEcc | None = None
    """Costs of ECC in the same memory; None without ECC or with pins of its own for it."""
    drain_bursts: float = math.inf
    """Bursts in one direction before the controller turns round; infinity: turning costs nothing."""


def ceiling(
    memory: Memory, rate_t_per_s: float, access: Access, overheads: Overheads, *, turning_share: float | None = None
) -> float:
    """What is left of the peak.

    Formula:  c = (burst / burst bytes) / (seconds per byte) * (1 - all-bank refresh) * ECC
              seconds per byte = (1 - w) read piece / n + w written piece / n + turning * turn / (drain * burst bytes)
              turning = min(w, 1 - w): the controller turns once for every drain of the rarer direction
    Source:   derived from the timing of [gem5-dram]

    Args:
        memory: the device.
        rate_t_per_s: transfers per second and pin.
        access: pattern, piece and write share w.
        overheads: refresh, ECC, and bursts per drain.
        turning_share: `turning`, where other traffic on the channel has a say in it.
    """
    is_per_bank = overheads.refresh == "per-bank"
    t_rfc_s = {"off": 0.0, "per-bank": memory.t_rfc_bank, "all-bank": memory.t_rfc_all}[overheads.refresh]
    refreshing = refresh_fraction(t_rfc_s, memory.t_refi, overheads.refresh_multiplier)
    of_banks, of_channel = (refreshing, 0.0) if is_per_bank else (0.0, refreshing)
    reading, writing = (
        piece_s(memory, rate_t_per_s, access, is_write=is_write, bank_refresh_fraction=of_banks)
        for is_write in (False, True)
    )
    share, piece_bytes = access.write_share, access.piece_bytes or int(memory.row)
    turning = min(share, 1 - share) if turning_share is None else turning_share
    drain_bytes = overheads.drain_bursts * memory.burst_bytes
    seconds_per_byte = ((1 - share) * reading + share * writing) / piece_bytes + turning * turn_s(memory) / drain_bytes
    of_peak = burst_s(memory, rate_t_per_s) / memory.burst_bytes / seconds_per_byte
    ecc = 1.0 if overheads.inline_ecc is None else ecc_fraction(overheads.inline_ecc, piece_bytes)
    return of_peak * (1 - of_channel) * ecc


def _spacing_s(memory: Memory, rate_t_per_s: float, groups: int) -> float:
    """Time between bursts that take some bank groups in turn, which is never less than a burst."""
    return max(memory.t_ccd_l / groups, burst_s(memory, rate_t_per_s))
