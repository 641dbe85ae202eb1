"""What a frame finds on the chip from step to step: the newest tokens of its KV cache, pinned weights and experts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.graph import ExpertMatMul
from simulator.lowering import Stage, context_tokens, stages_of
from simulator.simulation.setup import Setup
from simulator.simulation.to_program import demands_of
from simulator.terms import PhaseName


@dataclass(frozen=True)
class KeptOnChip:
    """What the last phase of the decoder keeps, at the end of the phase."""

    phase: PhaseName
    kv_tokens: int
    """Tokens of the KV cache in the KV store."""
    cache_tokens: int
    """Tokens of the KV cache."""
    weight_share: float
    """Share of every matrix that is pinned."""
    experts_found: float
    """Share of the experts used in the phase that were on the chip."""
    experts_fetched_early: float
    """Share of the experts used in the phase that a predictor has rightly fetched."""

    @property
    def kv_share(self) -> float:
        """Share of the KV cache that is in the KV store."""
        return self.kv_tokens / max(self.cache_tokens, 1)


def kept_on_chip(setup: Setup) -> KeptOnChip | None:
    """What a frame of the first stream keeps on the chip; None if that is nothing.

    Raises:
        SpecError: when the parts of the setup do not go together.
    """
    demand = demands_of(setup)[0]
    phases = demand.graph.phases
    stages = stages_of(demand.graph, demand.platforms[phases[0].name], demand.platforms)
    last = max((number for number, phase in enumerate(phases) if phase.component == "decoder"),
               default=None)  # fmt: skip
    if last is None:
        return None
    stage, cache_tokens = stages[last], int(context_tokens(phases)[last][-1])
    found, early = _experts(stage)
    kept = KeptOnChip(
        stage.phase.name, min(cache_tokens, int(stage.kept.kv_tokens)), cache_tokens, float(stage.kept.weight_share),
        found, early,
    )  # fmt: skip
    return kept if kept.kv_tokens or kept.weight_share or found or early else None


def _experts(stage: Stage) -> tuple[float, float]:
    """Shares of the experts of a phase that are found on the chip, and that are rightly fetched early.

    Formula:  early = hit rate * min(touched - found, top_k), as `lowering.experts` takes it
    """
    matrix = next((operator for operator, _ in stage.phase.operators() if isinstance(operator, ExpertMatMul)), None)
    if matrix is None:
        return 0.0, 0.0
    touched, found = np.asarray(matrix.touched), np.zeros(1, dtype=np.int64)
    if stage.experts is not None:
        kind = stage.experts.kind
        touched, found = stage.experts.touched[kind, 0], stage.experts.cached[kind, 0]
    unit = stage.platform.chip.routing
    hit_rate = unit.prefetch.hit_rate.value if unit and unit.prefetch else 0.0
    early = hit_rate * np.minimum(touched - found, matrix.top_k)
    uses = float(np.sum(touched))
    return float(np.sum(found)) / uses, float(np.sum(early)) / uses
