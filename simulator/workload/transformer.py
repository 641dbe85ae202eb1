"""Sizes of the transformers beside the decoder: vision tower and action expert."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.workload.component import AttentionLayers, Component, Size


class VisionTower(Component):
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


class ActionExpert(AttentionLayers):
    """A flow-matching or diffusion expert: a decoder that reads the backbone's KV cache, run for several steps.

    Its layers, KV heads and head width are those of the backbone.
    """

    ffn: Literal["swiglu", "geglu"]
    """Gated FFN with SiLU or GELU: three matrices."""
    action_width: Size = Field(gt=0)
    """Numbers per action token: input and output of the expert."""
    input_width: Size = Field(gt=0)
    """Elements per token at the input projection (features of action and time)."""
    input_hidden: Size = Field(ge=0)
    """Inner width of a two-layer input projection; 0 for a single matrix."""
    adaptive_norm: bool = False
    """Whether norms take scale, shift and gate from the time embedding through a matrix of their own."""
