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
    ffn: Literal["swiglu", "geglu", "gelu"]
    """Gated FFN with SiLU or GELU: three matrices; or two matrices with GELU, in an action expert only."""
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
    def _ffn_is_gated(self) -> Self:
        if self.ffn == "gelu":
            raise ValueError('ffn: must be swiglu or geglu in a decoder, got "gelu"')
        return self

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


class _VisionLayers(_Component):
    """A vision transformer over patches of an image, up to its last layer."""

    layers: Size = Field(gt=0)
    """Encoder layers."""
    width: Size = Field(gt=0)
    """Width of the residual stream."""
    heads: Size = Field(gt=0)
    """Attention heads."""
    ffn_width: Size = Field(gt=0)
    """Inner width of the FFN."""
    ffn: Literal["gelu", "swiglu", "geglu"] = "gelu"
    """FFN of two matrices with GELU, or gated with SiLU or GELU: three matrices."""
    norm: Literal["layer", "rms"] = "layer"
    """Layer norm (a gain and a bias per element) or RMS norm (a gain)."""
    patch_elements: Size = Field(gt=0)
    """Input elements of one patch: channels * height * width * frames."""
    position_embeddings: Size = Field(ge=0)
    """Rows of a learned position embedding; 0 if there is none."""
    extra_tokens: Size = Field(ge=0, default=0)
    """Class and register tokens of each image: they pass all layers and are not handed on."""
    has_rope: bool = False
    """Whether queries and keys are rotated in every layer."""
    has_layer_scale: bool = False
    """Whether a learned factor per element scales what a layer adds to the stream."""
    has_bias: bool = True
    """Whether matrices of the layers have biases."""
    has_patch_bias: bool = True
    """Whether the patch embedding has a bias."""
    has_final_norm: bool = True
    """Whether a norm follows the last layer; a merger that normalises patches has it instead."""
    attention_window: Size | None = Field(default=None, gt=0)
    """Patches of one window, within which attention stays; None for the whole image."""
    full_attention_layers: tuple[int, ...] = ()
    """Layers, from 0, that attend over the whole image in spite of a window."""

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if self.attention_window is None and self.full_attention_layers:
            raise ValueError("full_attention_layers: must not be given without attention_window")
        if len(set(self.full_attention_layers)) != len(self.full_attention_layers):
            raise ValueError(f"full_attention_layers: must differ, got {list(self.full_attention_layers)}")
        for layer in self.full_attention_layers:
            if not 0 <= layer < self.layers:
                raise ValueError(f"full_attention_layers: must be from 0 to {self.layers - 1}, got {layer}")
        return self


class JoinedTower(_VisionLayers):
    """A second vision transformer over the same images, patch by patch."""


class Resampler(Spec):
    """Learned queries that attend to patches and become the tokens of a tower; with one query, attention pooling.

    Each layer: attention of the queries to the patches, a norm, and an FFN of two matrices with a residual.
    """

    layers: Size = Field(gt=0, default=1)
    """How many."""
    queries: Size = Field(gt=0)
    """Learned queries, each of the width of the tower."""
    heads: Size = Field(gt=0)
    """Attention heads."""
    ffn_width: Size = Field(gt=0)
    """Inner width of the FFN."""
    joins_images: bool = False
    """Whether the queries attend to all images of a frame together, and not to one image each time."""

    def sets(self, images: int) -> int:
        """How often the queries are put: to each image, or once to all."""
        return 1 if self.joins_images else images

    def rows(self, images: int) -> int:
        """Queries of a frame, which are its tokens."""
        return self.sets(images) * self.queries


class VisionTower(_VisionLayers):
    """A vision transformer over patches of an image, with an optional merger into the decoder's width."""

    joined: JoinedTower | None = None
    """Another tower over the same images: its patches are joined with those of this one, and the merger reads both."""
    resampler: Resampler | None = None
    """Queries that take the place of the patches."""
    merge: Size = Field(gt=0)
    """Patches that become one token (2x2 merging or pixel shuffle: 4; none: 1)."""
    merger_width: Size = Field(ge=0)
    """Inner width of the merger's MLP; 0 for a single projection."""
    merger_layers: Size = Field(ge=2, le=3, default=2)
    """Matrices of that MLP; a third has the output width on both sides."""
    merger_norm: Literal["patch", "token", "none"] = "patch"
    """Whether the MLP begins with a norm of each patch, of the patches of a token together, or with none."""
    has_merger_bias: bool = True
    """Whether matrices of the merger have biases."""
    output_width: Size = Field(ge=0)
    """Width of the tokens handed on to the decoder; 0 if they leave as they are, without a merger."""
    extra_mergers: Size = Field(ge=0, default=0)
    """Further mergers of the same shape, fed from inner layers (DeepStack)."""
    extra_merger_norm: Literal["patch", "token", "none"] | None = None
    """Their norm; None for that of the merger."""

    @model_validator(mode="after")
    def _tokens_fit(self) -> Self:
        if not self.output_width and (self.merge, self.merger_width, self.extra_mergers) != (1, 0, 0):
            raise ValueError("output_width: must be more than 0 with merge, merger_width or extra_mergers")
        if self.resampler and (self.joined or self.merge != 1 or self.extra_mergers):
            raise ValueError("resampler: must not be given with joined, merge above 1 or extra_mergers")
        if self.resampler and self.width % self.resampler.heads:
            raise ValueError(f"resampler.heads: must divide width ({self.width}), got {self.resampler.heads}")
        return self

    def tokens(self, images: int, patches: int) -> int:
        """Tokens that the tower makes of so many images of so many patches."""
        return images * patches // self.merge if self.resampler is None else self.resampler.rows(images)


class ActionExpert(_DecoderLayers):
    """A flow-matching or diffusion head: layers over action tokens that read what the backbone made, for several steps.

    Where it shares the KV cache of the decoder, its layers, KV heads and head width are those of the decoder.
    """

    attention: tuple[Literal["joint", "self", "cross"], ...] = Field(default=("joint",), min_length=1)
    """What the layers attend to, in turn.

        joint   the decoder's KV cache of the same layer, and all action tokens
        self    all action tokens
        cross   the tokens of the decoder, whose keys and values a layer computes in every step
    """
    context_width: Size | None = Field(default=None, gt=0)
    """Elements of what a matrix of a cross layer reads per token: the decoder's hidden width, or its cached keys."""
    has_bias: bool = False
    """Whether matrices of the layers have biases."""
    has_rope: bool = True
    """Whether queries and keys of joint and self layers are rotated."""
    action_width: Size = Field(gt=0)
    """Numbers per action token: output of the expert."""
    input_width: Size = Field(gt=0)
    """Elements per token at the input projection (features of action and time)."""
    input_hidden: Size = Field(ge=0)
    """Inner width of a two-layer input projection; 0 for a single matrix."""
    time_width: Size = Field(ge=0, default=0)
    """Features of the time at a two-layer MLP of its own, once per step; 0 if there is none, or it is left out."""
    adaptive_norm: bool = False
    """Whether norms take scale, shift and gate from the time embedding through a matrix of their own."""
    adaptive_ffn_norm: bool = True
    """Whether adaptive norms are before the FFN, too; if not, the norm there has nothing to learn."""
    modulation: Size = Field(ge=2, le=3, default=3)
    """Vectors of an adaptive norm: scale and shift, and a gate."""

    @model_validator(mode="after")
    def _context_fits(self) -> Self:
        if ("cross" in self.attention) != (self.context_width is not None):
            raise ValueError("context_width: must be given with cross attention, and only then")
        return self
