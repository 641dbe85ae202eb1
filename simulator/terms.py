"""Words that several packages share, each spelled once."""

from __future__ import annotations

from typing import Final, Literal

PhaseKind = Literal["vision", "prefill", "decode", "action", "network"]
"""What a phase of a driving model does; `network` is any other graph of operators."""

PhaseName = str
"""The kind of a phase, or the name of the network that it runs: each phase of a workload has its own."""

COMPONENT_OF_KIND: Final[dict[PhaseKind, str]] = {
    "vision": "vision",
    "prefill": "decoder",
    "decode": "decoder",
    "action": "action",
}
"""The component, a part of a model with weights of its own, that a phase runs; a network is its own."""

Fusion = Literal["norm_residual", "head_norm_rope_cache", "gate_activation", "qkv", "gate_up", "epilogue"]
"""A group of neighbouring operators that one kernel computes.

    norm_residual          a residual addition and the norm that follows it in the same layer
    head_norm_rope_cache   per-head norms, rotary embedding and the write of the KV cache
    gate_activation        the activation of an FFN, in the epilogue of the matrix before it
    qkv                    the three projections before attention, as one matrix
    gate_up                the two first matrices of a gated FFN, as one matrix
    epilogue               elementwise operators of a network, in the epilogue of the product before them
"""

AccessPattern = Literal["streaming", "random", "one-bank-group", "one-bank"]
"""Where the pieces of some traffic lie on a DRAM channel.

    streaming        whole rows, one after the other
    random           every piece in a row of its own, rows spread over all banks
    one-bank-group   the same within one bank group
    one-bank         the same within one bank: every piece closes the row of the one before
"""

Refresh = Literal["off", "per-bank", "all-bank"]
"""How a DRAM is refreshed: not at all, bank by bank while the others work, or all banks at once."""

Surroundings = Literal["driving", "car", "accelerator"]
"""What stands on a die around its compute and memory interfaces.

    driving       cameras in, one image processor, an encoder, safety and security
    car           the same several times over, with display, audio, vision engines, Ethernet and PCIe
    accelerator   links to a host and to others of its kind
"""

LaneKind = Literal["simt", "simd"]
"""Vector lanes of a GPU, with registers, schedulers and textures, or the bare ones of an NPU."""

RoutingPart = Literal["score", "byte"]
"""What the area of a routing unit grows with: scores, and bytes gathered and scattered, per cycle."""

RouterPreset = Literal["balanced", "typical", "skewed", "domain-locked", "olmoe"]
"""Routers whose synthetic traces are known by name; their parameters are in `simulator.routing.generator`."""

CachePolicy = Literal["lru", "lru-per-layer", "static"]
"""Which experts a cache keeps.

    lru             those used last, of all layers together
    lru-per-layer   those used last in each layer, with an equal part of the slots for every layer
    static          the most popular, pinned once and for all
"""
