"""A routing unit: hardware that picks experts, moves rows to them and back, and keeps and fetches their weights."""

from __future__ import annotations

from simulator.sourced import BytesPerCycle, Count, Portion, Whole
from simulator.spec import Spec
from simulator.terms import CachePolicy


class ExpertPrefetch(Spec):
    """A predictor that names the experts of a layer some layers before its router does.

    It names as many experts as one token picks, and fetches what is not there. What it names wrongly is fetched in
    vain. For all the layers that it is ahead there must be room where experts are kept.
    """

    hit_rate: Portion
    """Share of what it fetches that is used indeed; with 0 all is in vain."""
    layers_ahead: Whole
    """How many layers before; a token's first layers are predicted when the token begins."""


class RoutingUnit(Spec):
    """A unit at the clock of the clusters, beside their matrix and vector engines.

    The room where it keeps experts is a share of an SRAM level: `experts` of its `split`.
    """

    scores_per_cycle: Count
    """Scores of the router that it turns into picks and weights (softmax, top-k) per cycle."""
    gather: BytesPerCycle
    """Bytes of rows that it hands to experts per cycle."""
    scatter: BytesPerCycle
    """Bytes of the experts' results that it weighs and adds per cycle."""
    cache: CachePolicy | None = None
    """Which experts it keeps; None if all are read from DRAM. Only a router trace tells what comes back: of uniform
    routing nothing is kept."""
    prefetch: ExpertPrefetch | None = None
    """How experts are fetched early; None if they are fetched when the router has picked them."""
