"""Phases of a frame: what goes through which component, how much of it and in how many steps."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.precision import PRECISIONS
from simulator.sourced import Status
from simulator.spec import Spec
from simulator.terms import COMPONENT_OF_KIND, PhaseKind, PhaseName

MOST_STEPS = 100_000
"""Steps of a phase, each of which is simulated: far above any answer, and far below what fills the memory."""


class _Phase(Spec):
    phase: PhaseKind
    """What it does."""
    precision: str
    """Precision of the matrices of this phase."""

    @property
    def name(self) -> PhaseName:
        """Its name among the phases of the workload."""
        return self.phase

    @property
    def component(self) -> str:
        """The component that it runs."""
        return COMPONENT_OF_KIND[self.phase]

    @model_validator(mode="after")
    def _precision_exists(self) -> _Phase:
        if self.precision not in PRECISIONS:
            raise ValueError(f'precision: must be one of {", ".join(PRECISIONS)}, got "{self.precision}"')
        return self


class VisionPhase(_Phase):
    """Images through the vision tower. Attention stays within one image."""

    phase: Literal["vision"]
    images: int = Field(gt=0)
    """Images of one frame: cameras times frames of history."""
    patches: int = Field(gt=0)
    """Patches of one image."""
    kept_tokens: int | None = Field(default=None, gt=0)
    """Tokens that are handed on after pruning, of all that the tower makes; what picks them is left out."""


class PrefillPhase(_Phase):
    """The prompt through the decoder, all new tokens at once or in chunks."""

    phase: Literal["prefill"]
    tokens: int = Field(gt=0)
    """Prompt tokens, visual tokens included."""
    reused_tokens: int = Field(ge=0, default=0)
    """Tokens at the begin of the prompt whose keys and values are in the cache from the frame before: they are read
    and not computed again (streaming)."""
    chunk: int | None = Field(default=None, gt=0)
    """Tokens that go through together; None for all. Chunks are of equal size, and each reads the cache of those before
    it."""

    @property
    def new_tokens(self) -> int:
        """Tokens that are computed."""
        return self.tokens - self.reused_tokens

    @model_validator(mode="after")
    def _tokens_divide(self) -> PrefillPhase:
        if self.reused_tokens >= self.tokens:
            raise ValueError(f"reused_tokens: must be below tokens ({self.tokens}), got {self.reused_tokens}")
        if self.chunk is not None and self.new_tokens % self.chunk:
            raise ValueError(f"chunk: must divide the new tokens ({self.new_tokens}), got {self.chunk}")
        if self.chunk is not None and self.new_tokens // self.chunk > MOST_STEPS:
            raise ValueError(f"chunk: must make at most {MOST_STEPS:,} chunks, got {self.new_tokens // self.chunk:,}")
        return self


class Speculation(Spec):
    """A small model proposes some tokens, one after the other, and the large one looks at all of them in one pass.

    The drafter is a layer or a few of the decoder's shape that read the decoder's last hidden state beside the token
    (EAGLE). What is wrong in a proposal, and all behind it, is thrown away.
    """

    draft_tokens: int = Field(gt=0)
    """Tokens that are proposed at a time, in a chain."""
    acceptance: float = Field(ge=0, lt=1)
    """Probability that a proposed token is right if those before it are, the same for all."""
    draft_layers: int = Field(gt=0, default=1)
    """Layers of the drafter."""
    draft_ffn_width: int | None = Field(default=None, gt=0)
    """Inner width of their dense FFN; None for that of the decoder, which then must not be one of experts."""
    draft_vocabulary: int | None = Field(default=None, gt=0)
    """Rows of the drafter's own head; None if it uses that of the decoder."""
    source: str = Field(min_length=1)
    """Where acceptance and sizes were read: an id of docs/sources.md."""
    status: Status
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""

    @property
    def tokens_per_pass(self) -> float:
        """Tokens that a pass of the decoder yields on average: the accepted ones and one of its own.

        Formula:  (1 - a^(n + 1)) / (1 - a), for n proposed tokens of acceptance a
        Source:   [leviathan2023] equation 1
        """
        return float((1 - self.acceptance ** (self.draft_tokens + 1)) / (1 - self.acceptance))


class TokenCounts(Spec):
    """How many tokens are decoded, drawn for each frame of a stream: a log-normal distribution (a chain of thought)."""

    median: int = Field(gt=0)
    """Half of the frames decode no more."""
    p90: int = Field(gt=0)
    """Nine of ten decode no more."""
    most: int = Field(gt=0, le=MOST_STEPS)
    """Where a frame is cut off."""
    source: str = Field(min_length=1)
    """Where they were read: an id of docs/sources.md."""
    status: Status
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""

    @model_validator(mode="after")
    def _grow(self) -> TokenCounts:
        if not self.median <= self.p90 <= self.most:
            raise ValueError(f"p90: must be from median ({self.median}) to most ({self.most}), got {self.p90}")
        return self

    def quantile(self, share: float) -> int:
        """The number that so large a share of the frames does not exceed, rounded up.

        Formula:  median (p90 / median)^(z(share) / z(0.9)), z the quantile of the standard normal distribution
        Source:   definition of a log-normal distribution with these two quantiles
        """
        standard = NormalDist()
        growth: float = (self.p90 / self.median) ** (standard.inv_cdf(share) / standard.inv_cdf(0.9))
        return max(1, min(self.most, math.ceil(self.median * growth)))


class DecodePhase(_Phase):
    """Tokens one by one: step t (from 1) attends to the prompt and to t tokens. Or several in each pass."""

    phase: Literal["decode"]
    tokens: int = Field(gt=0, le=MOST_STEPS)
    """Decoded tokens; in a single run also where streams draw their number."""
    counts: TokenCounts | None = None
    """Where the numbers of a stream's frames are drawn from; None if every frame decodes `tokens`."""
    tokens_per_pass: int = Field(gt=0, default=1)
    """Tokens that are decoded together and see each other (parallel decoding of action tokens, block diffusion)."""
    speculation: Speculation | None = None
    """How tokens are proposed; None if they are not."""

    @property
    def num_steps(self) -> int:
        """Passes through the decoder."""
        per_pass = self.tokens_per_pass if self.speculation is None else self.speculation.tokens_per_pass
        return math.ceil(self.tokens / per_pass)

    @model_validator(mode="after")
    def _passes_are_alike(self) -> DecodePhase:
        if self.counts is not None and self.tokens > self.counts.most:
            raise ValueError(f"counts.most: must be at least tokens ({self.tokens}), got {self.counts.most}")
        if self.tokens % self.tokens_per_pass:
            raise ValueError(f"tokens_per_pass: must divide tokens ({self.tokens}), got {self.tokens_per_pass}")
        if self.speculation is not None and self.tokens_per_pass > 1:
            raise ValueError("speculation: must not be combined with tokens_per_pass")
        return self


class ActionPhase(_Phase):
    """The action expert, `steps` times over all its tokens, reading the backbone's KV cache."""

    phase: Literal["action"]
    steps: int = Field(gt=0, le=MOST_STEPS)
    """Integration steps, at most."""
    expected_steps: int | None = Field(default=None, gt=0)
    """Steps after which a sampler that may stop early does so on average: those of a run; None for all."""
    tokens: int = Field(gt=0)
    """Action tokens (waypoints)."""
    samples: int = Field(gt=0, default=1)
    """Trajectories computed as one batch."""

    @model_validator(mode="after")
    def _stops_in_time(self) -> ActionPhase:
        if self.expected_steps is not None and self.expected_steps > self.steps:
            raise ValueError(f"expected_steps: must be at most steps ({self.steps}), got {self.expected_steps}")
        return self


class NetworkPhase(_Phase):
    """A network, once."""

    phase: Literal["network"]
    network: str
    """Which of the workload's networks; the phase has its name."""

    @property
    def name(self) -> PhaseName:
        """Its name among the phases of the workload."""
        return self.network

    @property
    def component(self) -> str:
        """The component that it runs."""
        return self.network


Phase = Annotated[VisionPhase | PrefillPhase | DecodePhase | ActionPhase | NetworkPhase, Field(discriminator="phase")]
