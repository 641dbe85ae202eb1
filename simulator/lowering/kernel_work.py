"""What a kernel moves and computes, and how much of a model stays on the chip: plain numbers, no formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from simulator.variants import Amount, Size


@dataclass(frozen=True)
class KernelWork:
    """What one kernel moves and computes. Numbers may be arrays with one value per variant."""

    name: str
    flop: Size
    weight_bytes: Size
    """Weights read from DRAM."""
    late_bytes: Size
    """Rows of a table and matrices of experts read from DRAM; which ones is known only when the kernel starts."""
    cache_read_bytes: Size
    """KV cache and states read from DRAM."""
    cache_write_bytes: Size
    """KV cache and states written to DRAM."""
    spilled_input_bytes: Size
    """Activations read from DRAM because they did not fit on the chip."""
    spilled_output_bytes: Size
    """Activations written to DRAM because they do not fit on the chip."""
    conversion_cycles: Amount
    """Vector work on weights, activations and cached keys and values before they can be multiplied."""
    matrix_cycles: Amount
    """Work of the matrix engine."""
    vector_cycles: Amount
    """Other vector work: softmax, norms, activations; also multiplications that run better there."""
    routing_cycles: Amount = 0.0
    """Work of the routing unit."""
    sram_bytes: Size = 0
    """Weights, KV cache and experts read from a shared SRAM level through its port."""
    sram_written_bytes: Size = 0
    """KV cache written to a shared SRAM level through its port."""
    unmoved_bytes: Size = 0
    """Weights, KV cache and experts that stay on the chip and are read or written there without a port that limits."""
    dtype: str = ""
    """What its matrices are multiplied in; empty without matrix work."""
    expert_bytes: Size = 0
    """How many of the late bytes are matrices of experts."""
    early_bytes: Size = 0
    """Matrices of experts that are fetched from DRAM some layers before."""
    has_router: bool = False
    """Whether experts are picked when it has ended."""

    @property
    def loaded_bytes(self) -> Size:
        """Bytes from DRAM that pass through the streaming buffers."""
        return self.weight_bytes + self.late_bytes + self.cache_read_bytes + self.spilled_input_bytes

    @property
    def stored_bytes(self) -> Size:
        """Bytes that leave for DRAM."""
        return self.cache_write_bytes + self.spilled_output_bytes


class CacheLayers(NamedTuple):
    """All layers that see as far as each other."""

    window: Size | None
    """Tokens that they see; None for all."""
    token_bytes: Size
    """Keys and values of one token in all of them."""


@dataclass(frozen=True, eq=False)
class Kept:
    """How much of a model stays on the chip. Numbers, or arrays with one value per kind of model (shape: kinds, 1)."""

    kv_tokens: Size = 0
    """Newest tokens of which every layer keeps keys and values."""
    kv_sinks: int = 0
    """Of them the first of all, which stay for ever."""
    kv_layers: tuple[CacheLayers, ...] = ()
    """Layers by how far they see."""
    far_kv: float = 0.0
    """Share of the kept KV that lies in a shared level, behind its port; the rest is beside the multipliers."""
    weight_share: Amount = 0.0
    """Share of every matrix that is pinned."""
    weight_bytes: Size = 0
    """All of the matrices that are pinned in part."""
    far_weights: float = 0.0
    """Share of the pinned weights that lies in a shared level."""


NOTHING_KEPT: Final = Kept()
