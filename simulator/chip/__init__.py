"""What the hardware is: frozen specifications with provenance, and no behaviour in time.

Reads from: YAML through `simulator.catalog`. Gives to: `lowering`, `scenario`, `report`.
"""

from simulator.chip.compute import Cluster, MatrixPath, VectorEngine
from simulator.chip.memory import LASTING, Dram, Lasting, LocalSplit, LocalSram, Split, Sram
from simulator.chip.spec import Chip, Host, Link, Master, Noc

__all__ = [
    "LASTING",
    "Chip",
    "Cluster",
    "Dram",
    "Host",
    "Lasting",
    "Link",
    "LocalSplit",
    "LocalSram",
    "Master",
    "MatrixPath",
    "Noc",
    "Split",
    "Sram",
    "VectorEngine",
]
