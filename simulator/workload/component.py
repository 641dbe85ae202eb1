"""What every component of a workload says of itself, and the sizes that all stacks of attention layers have.

Sizes are counts of elements, exact integers. One `source` and `status` stands for all sizes of a component, because
they are read from one place (a public configuration file).
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from simulator.sourced import Status
from simulator.spec import Spec

Size = int


class Component(Spec):
    """A part of a model that has weights of its own."""

    source: str = Field(min_length=1)
    """Where the sizes were read: an id of docs/sources.md, or the file that was imported."""
    status: Status
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""
    parameters_published: int | None = Field(default=None, gt=0)
    """Published parameter count of this component, to compare with the exact count of the sizes below."""


class AttentionLayers(Component):
    """Layers of attention and FFN."""

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
    head_norm: bool = False
    """Whether queries and keys are normalised per head (QK-norm)."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: must divide heads ({self.heads}), got {self.kv_heads}")
        return self
