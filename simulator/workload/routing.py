"""Routing: which experts the tokens of a run pick."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from simulator.sourced import Status
from simulator.spec import Spec
from simulator.terms import RouterPreset


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
