"""Modes and partitions: clusters that can be configured anew between phases, or shared out between models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from simulator.chip.compute import MatrixPath, VectorEngine, check_native_path
from simulator.chip.memory import LocalSplit, Split
from simulator.sourced import Duration, Frequency, Sourced
from simulator.spec import Spec
from simulator.terms import PhaseKind


class Mode(Spec):
    """A configuration of a cluster group. What is left out stays as the chip says."""

    clock: Frequency | None = None
    """The clock of the clusters."""
    matrix: dict[str, MatrixPath] | None = None
    """The matrix paths: another array geometry has other tiles and rates."""
    vector: VectorEngine | None = None
    """The vector engine."""
    local_split: LocalSplit | None = None
    """How the local SRAM is shared out."""
    split: dict[str, Split] = Field(default_factory=dict)
    """How shared SRAM levels are shared out, by name."""

    @model_validator(mode="after")
    def _has_native_path(self) -> Mode:
        if self.matrix is not None:
            check_native_path(self.matrix)
        return self


class IntensityRule(Spec):
    """Picks the mode of a phase by its operations per byte of DRAM traffic, with hysteresis."""

    above: str
    """Mode of phases with many operations per byte."""
    below: str
    """Mode of phases with few."""
    flop_per_byte: Annotated[float, Field(gt=0)]
    """The threshold between them."""
    hysteresis: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """A phase leaves the mode of the one before only if it is beyond the threshold by this fraction of it."""


class Reconfiguration(Spec):
    """Modes of a cluster group, how they are chosen and what it costs to change."""

    cluster: str
    """The cluster group that has the modes."""
    modes: dict[str, Mode] = Field(min_length=1)
    """Modes by name."""
    latency: Duration
    """Time to change the configuration once everything before has drained."""
    order: dict[PhaseKind, str] | None = None
    """The mode of each phase; phases that are not named take that of the phase before."""
    rule: IntensityRule | None = None
    """A rule instead of an order."""

    @model_validator(mode="after")
    def _names_agree(self) -> Reconfiguration:
        if (self.order is None) == (self.rule is None):
            raise ValueError(f"must have either an order or a rule, got {'both' if self.rule else 'neither'}")
        chosen = self.order or {}
        named = {f"order.{phase}": mode for phase, mode in chosen.items()}
        if self.rule is not None:
            named = {"rule.above": self.rule.above, "rule.below": self.rule.below}
        for field, mode in named.items():
            if mode not in self.modes:
                raise ValueError(f'{field}: must name one of the modes {", ".join(self.modes)}, got "{mode}"')
        if not named:
            raise ValueError("order: must name the mode of at least one phase")
        for mode in self.modes:
            if mode not in named.values():
                raise ValueError(f"modes.{mode}: no order or rule uses it")
        return self

    def at_most(self, clock: Sourced) -> Reconfiguration:
        """The same with no mode at a higher clock than this."""
        slower = {
            name: mode if mode.clock is None or mode.clock.value <= clock.value
            else mode.model_copy(update={"clock": clock})
            for name, mode in self.modes.items()
        }  # fmt: skip
        return self.model_copy(update={"modes": slower})


class Partition(Spec):
    """Clusters that work for a model of their own, with their part of the shared SRAM."""

    clusters: Annotated[int, Field(gt=0)]
    """How many clusters of the accelerator."""


def sum_of_clusters(partitions: Mapping[str, Partition]) -> int:
    """Clusters of all partitions together."""
    return sum(partition.clusters for partition in partitions.values())
