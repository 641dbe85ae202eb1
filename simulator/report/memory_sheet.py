"""The sheet of a memory: its organisation, its times, and the ceilings that follow from them at its own rate."""

from __future__ import annotations

from typing import Final

from rich.console import RenderableType
from rich.table import Table

from simulator.chip import Access, Memory
from simulator.chip.dram_ceiling import Overheads, ceiling, refresh_fraction
from simulator.report.sheet_parts import (
    DIGITS,
    WIDTH,
    heading_line,
    new_table,
    pairs,
    percent_text,
    provenance,
    rendered,
)
from simulator.units import format_quantity

_TIMES: Final = (
    ("t_rcd", "row opened to first read"),
    ("t_ras", "row opened to closed"),
    ("t_rp", "row closed to next opened"),
    ("t_cl", "read command to data"),
    ("t_ccd_l", "bursts of one bank group"),
    ("t_rrd", "rows opened in two banks"),
    ("t_faw", "window of four rows opened"),
    ("t_wr", "data written to row closed"),
    ("t_wtr", "data written to read command"),
    ("t_rtw", "data read to data written"),
    ("t_rfc_all", "refresh of all banks"),
    ("t_rfc_bank", "refresh of one bank"),
    ("t_refi", "refresh interval"),
)

_PATTERNS: Final = (
    ("streaming read", Access()),
    ("random pieces of 64 B, banks spread", Access("random", 64)),
    ("random pieces of 32 B, banks spread", Access("random", 32)),
    ("stream within one bank group", Access("one-bank-group")),
    ("pieces of 64 B in rows of one bank", Access("one-bank", 64)),
)


def memory_sheet(memory: Memory, width: int = WIDTH) -> str:
    """What a memory is and what its timing allows."""
    facts = [
        ("channel", f"{memory.channel_bits} bit, bursts of {memory.burst_length} ({memory.burst_bytes} B)"),
        ("banks", f"{memory.banks} in {memory.bank_groups} group{'s' if memory.bank_groups > 1 else ''}"),
        ("row", format_quantity(memory.row, "B", DIGITS)),
        ("usual rate", f"{memory.usual_rate / 1e6:,g} MT/s"),
    ]
    times = new_table("Times", "symbol", "what", "value >")
    for name, label in _TIMES:
        times.add_row(name, label, format_quantity(getattr(memory, name), "s", DIGITS))
    parts: list[RenderableType] = [
        heading_line(memory.name, memory.title),
        pairs(facts),
        provenance("times", memory.source, memory.status, memory.note),
        times,
        _ceiling_table(memory),
        _refresh_table(memory),
    ]
    return rendered(parts, width)


def _ceiling_table(memory: Memory) -> Table:
    table = new_table("Ceilings of one channel", "pattern", "rate >", "of peak >")
    peak_bytes_per_s = memory.channel_bits / 8 * memory.usual_rate
    for label, access in _PATTERNS:
        share = ceiling(memory, memory.usual_rate, access, Overheads())
        table.add_row(label, format_quantity(share * peak_bytes_per_s, "B/s", DIGITS), percent_text(share))
    return table


def _refresh_table(memory: Memory) -> Table:
    table = new_table("Refresh", "up to >", "multiplier >", "all banks at once >", "each bank >")
    for step in memory.refresh_steps:
        losses = (
            percent_text(refresh_fraction(t_rfc_s, memory.t_refi, step.multiplier))
            for t_rfc_s in (memory.t_rfc_all, memory.t_rfc_bank)
        )
        table.add_row(f"{step.up_to_c:g} C", f"{step.multiplier:g}", *losses)
    return table
