"""Scenario: a chip, a runtime, streams of workloads with rates and deadlines, and what else loads the DRAM."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from simulator.sourced import Bandwidth, ChosenCapacity, ChosenDuration, ChosenFrequency, ChosenTime
from simulator.spec import Spec
from simulator.terms import AccessPattern, PhaseName


class StreamSpec(Spec):
    """Frames of one workload that arrive at a rate."""

    workload: str
    """Workload: a name of the catalogue or a path."""
    precision: str | dict[PhaseName, str] | None = None
    """Precision of the decoder's matrices, or one per phase; None keeps those of the workload."""
    rate: ChosenFrequency
    """Frames per second."""
    offset: ChosenTime = 0.0
    """Time of the first frame."""
    deadline: ChosenDuration | None = None
    """Latency allowed from the arrival of a frame to its answer; None for no deadline."""
    policy: Literal["drop-if-busy", "latest", "fifo"]
    """What happens to a frame that arrives while `in_flight` frames are being computed."""
    queue_depth: int | None = Field(default=None, ge=0)
    """For `fifo`: frames that may wait; None for no limit."""
    in_flight: int = Field(default=1, ge=1)
    """Frames computed at the same time."""
    priority: int = 0
    """Units serve lower numbers first."""
    partition: str | None = None
    """The partition of the chip that the stream has to itself; None for all clusters."""
    die: int | dict[PhaseName, int] = 0
    """The die that computes it, counted from 0, or one per phase: the others pass results on over the link."""
    prompt_tokens: int | None = Field(default=None, gt=0)
    """Prompt tokens, if not those of the workload."""
    decode_tokens: int | None = Field(default=None, gt=0)
    """Decoded tokens, if not those of the workload."""

    @model_validator(mode="after")
    def _depth_needs_fifo(self) -> StreamSpec:
        if self.queue_depth is not None and self.policy != "fifo":
            raise ValueError(f'queue_depth: only the policy "fifo" has one, got policy "{self.policy}"')
        return self


class BackgroundSpec(Spec):
    """A master that asks for DRAM bandwidth from a time on, or all the time."""

    master: str
    """Master of the chip."""
    bandwidth: Bandwidth
    """Bytes per second that it asks for."""
    pattern: AccessPattern = "streaming"
    """Where its pieces lie: whole rows, or each in a row of its own, over all banks, one bank group or one bank."""
    piece: ChosenCapacity | None = None
    """Bytes that lie together on one channel, for every pattern but streaming."""
    write_share: float = Field(default=0.0, ge=0, le=1)
    """Fraction of its bytes that it writes."""
    start: ChosenTime = 0.0
    """When it begins."""
    stop: ChosenTime | None = None
    """When it ends; None for never."""

    @model_validator(mode="after")
    def _parts_agree(self) -> BackgroundSpec:
        if (self.pattern == "streaming") != (self.piece is None):
            rule = (
                "must be nothing for streaming" if self.pattern == "streaming" else f"must be given for {self.pattern}"
            )
            raise ValueError(f"piece: {rule}, got {'nothing' if self.piece is None else f'{self.piece:g} B'}")
        if self.piece is not None and self.piece < 1:
            raise ValueError(f"piece: must be at least 1 B, got {self.piece:g} B")
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"stop: must be later than start ({self.start:g} s), got {self.stop:g} s")
        return self


class Scenario(Spec):
    """What to simulate."""

    name: str
    """The name by which commands find it; the file has the same name."""
    title: str
    """The name for people."""
    chip: str
    """Chip: a name of the catalogue or a path."""
    set: dict[str, object] = Field(default_factory=dict)
    """Changes to the chip by dotted path, as `--set` takes them."""
    runtime: str
    """Runtime: a name of the catalogue or a path."""
    power_state: str | None = None
    """A power state of the chip; None for the chip as its file says."""
    kv_precision: str | None = None
    """Precision of the KV caches; None keeps that of the runtime."""
    head_precision: str | None = None
    """Precision of the LM heads, or `body` for that of the other matrices; None keeps that of the runtime."""
    streams: dict[str, StreamSpec] = Field(min_length=1)
    """Streams by name."""
    background: dict[str, BackgroundSpec] = Field(default_factory=dict)
    """Other traffic on the DRAM, by name."""
    duration: ChosenDuration
    """Frames arrive from time 0 to this time; every frame that was admitted is computed to its end."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random: the router traces of workloads that draw theirs."""
