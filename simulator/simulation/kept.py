"""What a frame finds on the chip from step to step: the newest tokens of its KV cache, pinned weights and experts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.graph import ExpertMatMul
from simulator.lowering import Stage, context_tokens, expert_counts, stages_of
from simulator.lowering.experts import ExpertTraffic
from simulator.lowering.kept import cache_bytes
from simulator.simulation.setup import Setup
from simulator.simulation.to_program import demands_of
from simulator.terms import PhaseName


@dataclass(frozen=True)
class KeptOnChip:
    """What the last phase of the decoder keeps, at the end of the phase."""

    phase: PhaseName
    kv_tokens: int
    """Tokens of the KV cache in the KV store, in the layers that see farthest."""
    cache_tokens: int
    """Tokens of the KV cache in these layers."""
    weight_share: float
    """Share of every matrix that is pinned."""
    experts_found: float
    """Share of the experts used in the phase that were on the chip."""
    experts_fetched_early: float
    """Share of the experts used in the phase that a predictor has rightly fetched."""
    kv_share: float
    """Share of the KV cache of all layers that is in the KV store."""


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
    kv_tokens = min(cache_tokens, int(stage.kept.kv_tokens))
    there, all_bytes = (int(cache_bytes(tokens, stage.kept.kv_layers)) for tokens in (kv_tokens, cache_tokens))
    found, early = _experts(stage)
    kept = KeptOnChip(
        stage.phase.name, kv_tokens, cache_tokens, float(stage.kept.weight_share), found, early,
        there / max(all_bytes, 1),
    )  # fmt: skip
    return kept if kept.kv_tokens or kept.weight_share or found or early else None


def _experts(stage: Stage) -> tuple[float, float]:
    """Shares of the experts of a phase that are found on the chip, and that are rightly fetched early."""
    matrix = next((operator for operator, _ in stage.phase.operators() if isinstance(operator, ExpertMatMul)), None)
    if matrix is None:
        return 0.0, 0.0
    counts, kinds = expert_counts(matrix, stage.experts, stage.platform), stage.experts
    uses = _sum(counts.touched, kinds)
    return _sum(counts.cached, kinds) / uses, _sum(counts.hit_rate * counts.named, kinds) / uses


def _sum(count: npt.ArrayLike, kinds: ExpertTraffic | None) -> float:
    """A count of the layers and steps of each kind, summed over all of them."""
    each = np.asarray(count)
    return float(np.sum(each if kinds is None else np.broadcast_to(each, kinds.touched.shape)[kinds.kind, 0]))
