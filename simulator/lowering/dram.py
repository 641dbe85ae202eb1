"""Transfers on the DRAM: which of them use the memory worse than a streaming read does, and by how much.

    what                                   how                     usage
    weights, KV cache, spilled inputs      streaming read          1
    embedding rows, matrices of experts    streaming read          1: see below
    spilled outputs, new KV entries        streaming write         1 + turn / drain, where the chip has a drain
    background                             as the scenario says    ceiling(streaming read) / ceiling

A row of an embedding table is spread over all channels. Its piece on one channel lies together and takes longer on the
pins than the bank takes to open the next row (2 KiB over 16 channels: 128 B in 10 ns, one activation in 5 ns), so
that gathers of rows cost no more than a stream. Formulas are in `simulator.chip.dram_ceiling`.
"""

from __future__ import annotations

from typing import Final

from simulator.chip import Access

STORE: Final = Access(write_share=1.0)
"""What the accelerator writes."""
