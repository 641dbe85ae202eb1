"""Sizes of transformers: decoder, vision tower and action expert.

Sizes are counts of elements, exact integers. One `source` and `status` stands for all sizes of a component, because
they are read from one place (a public configuration file).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.sourced import Status
from simulator.spec import Spec
from simulator.terms import RouterPreset

Size = int


class _Component(Spec):
    source: str = Field(min_length=1)
    """Where the sizes were read: an id of docs/sources.md."""
    status: Status
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""
    parameters_published: int | None = Field(default=None, gt=0)
    """Published parameter count of this component, to compare with the exact count of the sizes below."""


class _DecoderLayers(_Component):
    """Layers of attention and gated FFN."""

    layers: Size = Field(gt=0)
    """How many; a layer of an action expert reads the KV cache of the decoder's layer with the same number."""
    hidden: Size = Field(gt=0)
    """Width of the residual stream."""
    heads: Size = Field(gt=0)
    """Query heads."""
    kv_heads: Size = Field(gt=0)
    """Key and value heads; fewer than `heads` is grouped-query attention."""
    head_dim: Size = Field(gt=0)
    """Width of one head."""
    ffn_width: Size = Field(gt=0)
    """Inner width of the FFN."""
    ffn: Literal["swiglu", "geglu"]
    """Gated FFN with SiLU or GELU: three matrices."""
    head_norm: bool = False
    """Whether queries and keys are normalised per head (QK-norm)."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: must divide heads ({self.heads}), got {self.kv_heads}")
        return self


class Routing(Spec):
    """Which experts the tokens of a run pick: a trace that is drawn from parameters, or read from a file."""

    preset: RouterPreset | None = None
    """A router that is known by name."""
    skew: tuple[float, ...] | None = Field(default=None, min_length=1)
    """Zipf exponents of the experts' popularity, one for all layers or one per layer; 0 is uniform."""
    keep: tuple[float, ...] | None = Field(default=None, min_length=1)
    """Probabilities with which a token keeps an expert of the token before, one for all layers or one per layer."""
    file: str | None = None
    """A .npy or .npz file with expert numbers (shape: layers, tokens, top_k), prompt first."""
    source: str | None = Field(default=None, min_length=1)
    """Where skew and keep were read, or who recorded the trace: an id of docs/sources.md."""
    status: Status | None = None
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""

    @model_validator(mode="after")
    def _is_one_router(self) -> Self:
        ways = {"preset": self.preset, "skew": self.skew, "file": self.file}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"must have one of preset, skew (with keep) and file, got {', '.join(given) or 'none'}")
        if (self.skew is None) != (self.keep is None):
            raise ValueError("skew and keep: must be given together")
        if self.preset is None and (self.source is None or self.status is None):
            raise ValueError(f"{given[0]}: must have a source and a status beside it")
        return self

    @model_validator(mode="after")
    def _is_in_range(self) -> Self:
        for exponent in self.skew or ():
            if exponent < 0:
                raise ValueError(f"skew: must be zero or more, got {exponent:g}")
        for share in self.keep or ():
            if not 0 <= share <= 1:
                raise ValueError(f"keep: must be from 0 to 1, got {share:g}")
        return self


class Decoder(_DecoderLayers):
    """A decoder-only transformer: embedding, layers of attention and gated FFN, final norm, LM head."""

    vocabulary: Size = Field(gt=0)
    """Rows of the embedding and of the LM head."""
    tied_head: bool
    """Whether the LM head is the embedding matrix."""
    has_head: bool = True
    """Whether there is an LM head at all (a VLA backbone that only fills a KV cache has none)."""
    qkv_bias: bool = False
    """Whether the projections before attention have a bias."""
    experts: Size = Field(gt=0, default=1)
    """Experts of the FFN, each of `ffn_width`; 1 is a dense FFN without a router."""
    top_k: Size = Field(gt=0, default=1)
    """Experts that the router picks for a token."""
    shared_experts: Size = Field(ge=0, default=0)
    """Experts of the same width through which every token goes, beside those that the router picks."""
    routing: Routing | None = None
    """Which experts the tokens pick; None if all are alike and only their expected number counts."""
    attention_window: Size | None = Field(default=None, gt=0)
    """The most tokens that a token sees, itself among them (sliding window); None for all before it."""

    @property
    def is_sparse(self) -> bool:
        """Whether the FFN is a mixture of experts with a router."""
        return self.experts > 1

    @model_validator(mode="after")
    def _experts_fit(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"top_k: must be at most experts ({self.experts}), got {self.top_k}")
        if self.shared_experts and not self.is_sparse:
            raise ValueError(
                f"shared_experts: must be 0 without experts, got {self.shared_experts}; make ffn_width larger instead"
            )
        if self.routing is not None:
            if not self.is_sparse:
                raise ValueError("routing: must not be given without experts")
            for name in ("skew", "keep"):
                values = getattr(self.routing, name)
                if values is not None and len(values) not in {1, self.layers}:
                    raise ValueError(
                        f"routing.{name}: must have one value, or one per layer ({self.layers}), got {len(values)}"
                    )
        return self


class VisionTower(_Component):
    """A vision transformer over patches of an image, with an optional merger into the decoder's width."""

    layers: Size = Field(gt=0)
    """Encoder layers."""
    width: Size = Field(gt=0)
    """Width of the residual stream."""
    heads: Size = Field(gt=0)
    """Attention heads."""
    ffn_width: Size = Field(gt=0)
    """Inner width of the FFN (two matrices, GELU)."""
    patch_elements: Size = Field(gt=0)
    """Input elements of one patch: channels * height * width * frames."""
    position_embeddings: Size = Field(ge=0)
    """Rows of a learned position embedding; 0 if there is none."""
    has_bias: bool = True
    """Whether matrices have biases."""
    has_final_norm: bool = True
    """Whether a norm follows the last layer (before the merger)."""
    merge: Size = Field(gt=0)
    """Patches that become one token (2x2 merging: 4; none: 1)."""
    merger_width: Size = Field(ge=0)
    """Inner width of the merger's two-layer MLP; 0 for a single projection."""
    output_width: Size = Field(gt=0)
    """Width of the tokens handed to the decoder."""
    extra_mergers: Size = Field(ge=0, default=0)
    """Further mergers of the same shape, fed from inner layers (DeepStack)."""


class ActionExpert(_DecoderLayers):
    """A flow-matching or diffusion expert: a decoder that reads the backbone's KV cache, run for several steps.

    Its layers, KV heads and head width are those of the backbone.
    """

    action_width: Size = Field(gt=0)
    """Numbers per action token: input and output of the expert."""
    input_width: Size = Field(gt=0)
    """Elements per token at the input projection (features of action and time)."""
    input_hidden: Size = Field(ge=0)
    """Inner width of a two-layer input projection; 0 for a single matrix."""
    adaptive_norm: bool = False
    """Whether norms take scale, shift and gate from the time embedding through a matrix of their own."""
