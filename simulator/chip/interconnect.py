"""What joins the parts of a chip: the way to its DRAM, who asks for that DRAM, and links to others of its kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.sourced import Bandwidth, ChosenCapacity, ChosenDuration, Duration, Fraction
from simulator.spec import Spec


class Noc(Spec):
    """The way from the accelerator to DRAM: one port for all clusters together."""

    bandwidth: Bandwidth
    """Peak bytes per second."""
    sustained_fraction: Fraction
    """What a stream reaches of that peak."""

    @property
    def sustained_bytes_per_s(self) -> float:
        """Formula: peak * sustained fraction."""
        return self.bandwidth.value * self.sustained_fraction.value


class MasterBudget(Spec):
    """Bytes that a master may move in every period (MemGuard); then it stands still until the next begins."""

    size: ChosenCapacity
    """Bytes of a period."""
    period: ChosenDuration
    """Length of a period."""


class Master(Spec):
    """A requester on the DRAM: the accelerator, the CPU, the ISP, the display.

    Shares are policies of the memory controller that the user chooses (MPAM and the like), so they need no source.
    """

    weight: float = Field(default=1.0, gt=0)
    """Relative share when the DRAM is contended (weighted max-min)."""
    minimum_share: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the DRAM that the master gets for certain while it asks for it."""
    maximum_share: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the DRAM that the master never exceeds."""
    limit: Literal["hard", "soft"] = "hard"
    """Whether `maximum_share` holds always, or only while another master could use what is left."""
    budget: MasterBudget | None = None
    """Bytes of the DRAM that the master may move in every period; None for no budget."""
    rate_cap: Bandwidth | None = None
    """The most the master can move by itself (its port, its outstanding requests)."""

    @model_validator(mode="after")
    def _shares_agree(self) -> Master:
        if self.minimum_share > self.maximum_share:
            raise ValueError(
                f"minimum_share: must be at most maximum_share ({self.maximum_share:g}), got {self.minimum_share:g}"
            )
        return self


class Link(Spec):
    """A link to another die, to another chip or to a sensor. Only that of `dies` takes part in a run."""

    bandwidth: Bandwidth
    """Bytes per second and direction."""
    latency: Duration | None = None
    """Time of an empty message."""

    @property
    def latency_bytes(self) -> float:
        """Bytes that it could move in its latency, for which a message occupies it besides its own."""
        return 0.0 if self.latency is None else self.latency.value * self.bandwidth.value


class Dies(Spec):
    """Several equal dies, each with all that the chip says, and a link from each to the others."""

    count: Annotated[int, Field(ge=2)]
    """How many."""
    link: str
    """The link between them: a key of `links`."""
