"""How a model runs on a chip: placement, tiling, fusion, residency and every cost formula with its source.

Reads from: `chip`, `runtime`, `graph`. Gives to: `program` (and so to the engines). It never sees an event.
"""

from simulator.lowering.lower import Demand, lower
from simulator.lowering.platform import Platform

__all__ = ["Demand", "Platform", "lower"]
