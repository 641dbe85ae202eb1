"""What the hardware is: frozen specifications with provenance, and no behaviour in time.

Reads from: YAML through `simulator.catalog`. Gives to: `lowering`, `scenario`, `report`.
"""

from simulator.chip.compute import Cluster, MatrixPath, VectorEngine
from simulator.chip.memory import Dram, LocalSram, Sram
from simulator.chip.spec import Chip, Host, Link, Master, Noc

__all__ = [
    "Chip",
    "Cluster",
    "Dram",
    "Host",
    "Link",
    "LocalSram",
    "Master",
    "MatrixPath",
    "Noc",
    "Sram",
    "VectorEngine",
]
