"""Sizes of the transformers beside the decoder: vision tower and action expert."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.spec import Spec
from simulator.workload.component import AttentionLayers, Component, Size


class _VisionLayers(Component):
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


class ActionExpert(AttentionLayers):
    """A flow-matching or diffusion head: layers over action tokens that read what the backbone made, for several steps.

    Where it shares the KV cache of the decoder, its layers, KV heads and head width are those of the decoder.
    """

    ffn: Literal["swiglu", "geglu", "gelu"]
    """Gated FFN with SiLU or GELU: three matrices; or two matrices with GELU."""
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
