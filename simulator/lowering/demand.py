"""What is to be lowered: jobs with the graphs of one frame, or a family of models that differ in sizes only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.graph import PhaseGraph, WorkloadGraph
from simulator.lowering.platform import Platform
from simulator.terms import PhaseName
from simulator.variants import Ints


@dataclass(frozen=True)
class Demand:
    """One job to lower: the graphs of a frame and the priority of its tasks."""

    graph: WorkloadGraph
    priority: int = 0
    in_flight: int = 1
    """Frames that may be computed at the same time, each with a KV cache of its own."""
    is_alternative: bool = False
    """Whether it runs instead of the demand before it, which needs no less memory: both are never there at once."""
    platforms: Mapping[PhaseName, Platform] = field(default_factory=dict)
    """Where each phase runs and in which mode, by its name; phases that are not named run where all others do."""


@dataclass(frozen=True, eq=False)
class Family:
    """Models with the same operators and different sizes, one job each.

    Layers of a kind have equal sizes; models of a kind differ in the number of layers.
    """

    phases: tuple[PhaseGraph, ...]
    """Sizes are numbers, or arrays of the shape (kinds, 1) or (kinds, steps); repetitions are numbers, or arrays of the
    shape (models,)."""
    kind: Ints
    """The kind of every model."""
