"""How a model runs on a chip: placement, tiling, fusion, residency and every cost formula with its source.

Reads from: `chip`, `runtime`, `graph`. Gives to: `program` (and so to the engines). It never sees an event.
"""

from simulator.lowering.capacity import dram_needs, stored_weight_bytes
from simulator.lowering.demand import Demand, Family
from simulator.lowering.experts import expert_counts
from simulator.lowering.kept import context_tokens
from simulator.lowering.lower import lower, lower_family, one_after_another
from simulator.lowering.modes import Stage, flop_per_byte, modes_of, stages_of
from simulator.lowering.platform import Platform
from simulator.lowering.resources import Place, seen_from, sites

__all__ = [
    "Demand",
    "Family",
    "Place",
    "Platform",
    "Stage",
    "context_tokens",
    "dram_needs",
    "expert_counts",
    "flop_per_byte",
    "lower",
    "lower_family",
    "modes_of",
    "one_after_another",
    "seen_from",
    "sites",
    "stages_of",
    "stored_weight_bytes",
]
