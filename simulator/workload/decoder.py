"""Sizes of a decoder: its layers, which may be of several kinds, and what every kind is made of.

docs/decoders.md maps these fields to the configuration files of public models, and gives the formulas.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.sourced import Status
from simulator.spec import Spec
from simulator.workload.component import AttentionLayers, Size
from simulator.workload.routing import Routing

LayerKind = Literal["full", "window", "linear"]
"""How a layer mixes tokens.

    full     attention to all tokens before
    window   attention to the newest `attention_window` tokens
    linear   linear attention: a state of constant size instead of a KV cache
"""

NormKind = Literal["rms", "layer"]
"""A norm with a gain per element, or with a gain and a bias."""


class LatentAttention(Spec):
    """Multi-head latent attention: a token keeps one latent vector and one rotated key for all heads."""

    kv_rank: Size = Field(gt=0)
    """Width of the latent vector from which keys and values of all heads are made."""
    nope_dim: Size = Field(gt=0)
    """Width of the part of a head's query and key without rotary embedding."""
    rope_dim: Size = Field(gt=0)
    """Width of the part with it; all heads share this part of the key."""
    value_dim: Size = Field(gt=0)
    """Width of one head's value."""
    query_rank: Size | None = Field(default=None, gt=0)
    """Width of the latent vector from which queries are made; None if they are made from the hidden row at once."""


class LinearAttention(Spec):
    """A gated delta net: a short convolution over keys, queries and values, and a state per head."""

    key_heads: Size = Field(gt=0)
    """Heads of queries and keys; each serves the same number of value heads."""
    value_heads: Size = Field(gt=0)
    """Heads of values, each with a state of its own."""
    key_dim: Size = Field(gt=0)
    """Width of a key: rows of a state."""
    value_dim: Size = Field(gt=0)
    """Width of a value: columns of a state."""
    convolution: Size = Field(gt=0)
    """Tokens that the short convolution sees, the newest among them."""
    state_format: Literal["fp32", "bf16", "fp16"]
    """The format in which states are kept from token to token."""
    chunk: Size = Field(gt=0)
    """Tokens of a prompt that are worked on together, a choice of the kernel."""
    source: str = Field(min_length=1)
    """Where format and chunk were read: an id of docs/sources.md."""
    status: Status
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.value_heads % self.key_heads:
            raise ValueError(f"key_heads: must divide value_heads ({self.value_heads}), got {self.key_heads}")
        return self


class Decoder(AttentionLayers):
    """A decoder-only transformer: embedding, layers of attention and FFN, final norm, LM head."""

    vocabulary: Size = Field(gt=0)
    """Rows of the embedding and of the LM head."""
    tied_head: bool
    """Whether the LM head is the embedding matrix."""
    has_head: bool = True
    """Whether there is an LM head at all (a VLA backbone that only fills a KV cache has none)."""
    pattern: tuple[LayerKind, ...] = ()
    """Kinds of the first layers, again and again up to the last; without it all layers are alike: `window` if there is
    an `attention_window`, else `full`."""
    attention_window: Size | None = Field(default=None, gt=0)
    """The most tokens that a token sees, itself among them (sliding window); None for all before it."""
    latent: LatentAttention | None = None
    """Latent attention in place of keys and values per head. `head_dim` is then the width of a query."""
    linear: LinearAttention | None = None
    """What the linear layers are made of."""
    qkv_bias: bool = False
    """Whether the projections before attention have a bias."""
    o_bias: bool = False
    """Whether the projection after attention has a bias."""
    head_norm_width: Literal["head", "all heads"] = "head"
    """Over what a head norm runs: each head by itself, with one gain for all, or all heads together."""
    rope_dim: Size | None = Field(default=None, ge=0)
    """Elements of a head with rotary embedding; None for all of them."""
    output_gate: bool = False
    """Whether the query projection also makes a gate for the result of attention (twice as wide)."""
    attention_sinks: bool = False
    """Whether every head has a learned logit that takes part in the softmax and has no value."""
    norm: NormKind = "rms"
    """The norms of layers and the final one."""
    output_norms: bool = False
    """Whether attention and FFN each have a norm behind them, too, before the residual addition (sandwich norms)."""
    ffn: Literal["swiglu", "geglu", "gelu", "relu2"]
    """FFN with a gate (SiLU or GELU: three matrices), or without (GELU or squared ReLU: two matrices)."""
    ffn_bias: bool = False
    """Whether the matrices of the FFN have a bias, the router's among them."""
    dense_layers: Size = Field(ge=0, default=0)
    """The first layers of a mixture of experts that have a dense FFN."""
    dense_width: Size | None = Field(default=None, gt=0)
    """Inner width of that FFN."""
    experts: Size = Field(gt=0, default=1)
    """Experts of the FFN, each of `ffn_width`; 1 is a dense FFN without a router."""
    top_k: Size = Field(gt=0, default=1)
    """Experts that the router picks for a token."""
    shared_experts: Size = Field(ge=0, default=0)
    """Experts through which every token goes, beside those that the router picks."""
    shared_width: Size | None = Field(default=None, gt=0)
    """Inner width of a shared expert; None for that of the others."""
    shared_gate: bool = False
    """Whether a gate of one output weighs the result of the shared experts."""
    routing: Routing | None = None
    """Which experts the tokens pick; None if all are alike and only their expected number counts."""

    @property
    def is_sparse(self) -> bool:
        """Whether the FFN is a mixture of experts with a router."""
        return self.experts > 1

    @property
    def sparse_layers(self) -> int:
        """Layers with a router."""
        return self.layers - self.dense_layers if self.is_sparse else 0

    @property
    def period(self) -> tuple[LayerKind, ...]:
        """The kinds that repeat."""
        return self.pattern or ("full" if self.attention_window is None else "window",)

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer."""
        return tuple(self.period[layer % len(self.period)] for layer in range(self.layers))

    @model_validator(mode="after")
    def _kinds_have_sizes(self) -> Self:
        for kind, field in (("window", "attention_window"), ("linear", "linear")):
            is_given, is_used = getattr(self, field) is not None, kind in self.period
            if is_used and not is_given:
                raise ValueError(f'pattern: a layer "{kind}" needs {field}')
            if is_given and not is_used:
                raise ValueError(f'{field}: needs a layer "{kind}" in pattern, got {", ".join(self.period)}')
        return self

    @model_validator(mode="after")
    def _latent_fits(self) -> Self:
        if self.latent is None:
            return self
        width = self.latent.nope_dim + self.latent.rope_dim
        if self.head_dim != width:
            raise ValueError(f"head_dim: must be nope_dim + rope_dim ({width}) of latent, got {self.head_dim}")
        if self.kv_heads != self.heads:
            raise ValueError(f"kv_heads: must be heads ({self.heads}) with latent attention, got {self.kv_heads}")
        beside = {
            "attention_window": self.attention_window is not None, "head_norm": self.head_norm,
            "output_gate": self.output_gate, "attention_sinks": self.attention_sinks, "qkv_bias": self.qkv_bias,
            "rope_dim": self.rope_dim is not None,
        }  # fmt: skip
        wrong = [name for name, is_given in beside.items() if is_given]
        if wrong:
            raise ValueError(f"latent: must not be given beside {', '.join(wrong)}")
        return self

    @model_validator(mode="after")
    def _attention_fits(self) -> Self:
        if self.head_norm_width != "head" and not self.head_norm:
            raise ValueError("head_norm_width: must not be given without head_norm")
        if self.rope_dim is not None and self.rope_dim > self.head_dim:
            raise ValueError(f"rope_dim: must be at most head_dim ({self.head_dim}), got {self.rope_dim}")
        return self

    @model_validator(mode="after")
    def _experts_fit(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"top_k: must be at most experts ({self.experts}), got {self.top_k}")
        if self.shared_experts and not self.is_sparse:
            raise ValueError(
                f"shared_experts: must be 0 without experts, got {self.shared_experts}; make ffn_width larger instead"
            )
        if not self.shared_experts and (self.shared_width is not None or self.shared_gate):
            raise ValueError("shared_width and shared_gate: must not be given without shared_experts")
        return self

    @model_validator(mode="after")
    def _dense_layers_fit(self) -> Self:
        if self.dense_layers and not self.is_sparse:
            raise ValueError("dense_layers: must be 0 without experts, where all layers are dense")
        if self.dense_layers >= self.layers:
            raise ValueError(f"dense_layers: must be less than layers ({self.layers}), got {self.dense_layers}")
        if (self.dense_width is not None) != (self.dense_layers > 0):
            raise ValueError("dense_layers and dense_width: must be given together")
        return self

    @model_validator(mode="after")
    def _routing_fits(self) -> Self:
        if self.routing is None:
            return self
        if not self.is_sparse:
            raise ValueError("routing: must not be given without experts")
        for name in ("skew", "keep"):
            values = getattr(self.routing, name)
            if values is not None and len(values) not in {1, self.sparse_layers}:
                raise ValueError(
                    f"routing.{name}: must have one value, or one per layer ({self.sparse_layers}), got {len(values)}"
                )
        return self
