"""Runtime: launch costs, graph replay, fusion, prefetch, and which kernel runs which precision on which path.

The constants here belong to a software stack. They hold for every chip and every model that it runs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from simulator.precision import CACHE_PRECISIONS, PRECISIONS, Dtype
from simulator.sourced import Cycles, Fraction, Whole
from simulator.spec import Spec
from simulator.terms import Fusion, PhaseKind


class Kernel(Spec):
    """How a runtime multiplies matrices of one precision."""

    path: Literal["native", "legacy", "half"]
    """The matrix path of the chip that the kernel uses; the others fall back to `native` where there is none."""
    dtype: Dtype
    """What the multiplication runs in on a chip that has it; otherwise the chip's 16-bit format."""
    achieved_fraction: Fraction
    """What the kernel reaches of that path's peak on full tiles."""
    tile_rows: Whole
    """Rows of a kernel tile: a multiplication of several rows is padded to a multiple of this."""
    least_tile_rows: Whole | None = None
    """Rows of the smallest kernel tile, if there are several: few rows take the tile of the next power of two."""
    tile_columns: Whole | None = None
    """Output columns of a kernel tile; None for the chip's native tile."""
    least_tile_columns: Whole | None = None
    """Output columns of the narrowest kernel tile, if there are several, each twice the other: the one that pads least
    is taken, the widest of equals."""
    tile_cost: Cycles | None = None
    """Cycles that a tile takes beside its products: it fills the pipeline and writes its results."""
    splits_depth: bool = True
    """Whether a product with fewer tiles than the chip has clusters is cut along its depth, so that all work."""
    converts_weights: Literal["per_load", "per_row_tile"] = "per_load"
    """How often weights are converted to the multiplied format: once, or anew in the main loop of every row tile."""
    quantises: Literal["inside", "before", "before_each"] = "inside"
    """Where 16-bit activations become a narrower multiplied format: `inside` the kernel that multiplies; `before` it in
    a kernel of its own, from which all read that need the same rows, and not for a single row, which is multiplied by
    the vector lanes; or `before_each` multiplication, single rows among them."""


class AttentionKernel(Spec):
    """How a runtime computes attention of many rows: in one kernel, whose scores stay beside the multipliers."""

    path: Literal["native", "legacy"]
    """The matrix path."""
    achieved_fraction: Fraction
    """What the kernel reaches of the path's peak, of 16 bits unless the network is of 32."""
    writes_scores: tuple[str, ...] = ()
    """Precisions of matrices beside which there is no such kernel: networks then write and read all scores, between a
    product, a softmax and another product."""


class Runtime(Spec):
    """A software stack."""

    name: str
    """The name by which commands find it; the file has the same name."""
    title: str
    """The name for people."""
    launch: Cycles
    """Fixed cost of a kernel on the accelerator, in cycles of its clock: start, ramp of the DRAM stream, drain."""
    enqueue: Cycles
    """Cycles of the host's clock that it needs for one kernel, or for one graph of kernels."""
    graph_phases: tuple[PhaseKind, ...]
    """Phases whose kernels are replayed as one graph per step: the host enqueues once. Other phases pay per kernel."""
    prefetches_weights: bool
    """Whether weights of later operators are loaded while earlier ones compute, as far as buffers allow."""
    weight_buffers: int = Field(ge=1, le=8)
    """Buffers that weight tiles pass through: 1 loads and computes in turn, 2 is double buffering."""
    depth_first: bool = False
    """Whether the kernels of a block take turns on pieces of what passes between them, so that it never has to lie on
    the chip as a whole. What a block reads and hands on does, and its weights must."""
    fusions: tuple[Fusion, ...]
    """Groups of operators that are one kernel."""
    kernels: dict[str, Kernel]
    """Matrix kernels by precision."""
    causal_attention: AttentionKernel
    """Attention of a prefill, and of a single row (decode)."""
    full_attention: AttentionKernel
    """Attention in which every row sees every other: vision towers and action experts."""
    head_precision: str
    """Precision of the LM head: a precision, or `body` for that of the other matrices."""
    kv_precision: str
    """Precision of the KV cache."""

    @model_validator(mode="after")
    def _precisions_exist(self) -> Runtime:
        named = {f"kernels.{name}": name for name in self.kernels}
        for field in ("causal_attention", "full_attention"):
            scored = getattr(self, field).writes_scores
            named |= {f"{field}.writes_scores[{number}]": name for number, name in enumerate(scored)}
        named |= {"head_precision": self.head_precision, "kv_precision": self.kv_precision}
        if self.kv_precision in PRECISIONS and self.kv_precision not in CACHE_PRECISIONS:
            formats = ", ".join(CACHE_PRECISIONS)
            raise ValueError(f'kv_precision: must be a format of numbers ({formats}), got "{self.kv_precision}"')
        for field, name in named.items():
            if name not in PRECISIONS and not (field == "head_precision" and name == "body"):
                raise ValueError(f'{field}: must be one of the precisions {", ".join(PRECISIONS)}, got "{name}"')
        return self
