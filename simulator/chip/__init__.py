"""What the hardware is: frozen specifications with provenance, and no behaviour in time.

Reads from: YAML through `simulator.catalog`. Gives to: `lowering`, `scenario`, `report`.
"""

from simulator.chip.compute import Cluster, MatrixPath, VectorEngine
from simulator.chip.dram import Dram, DramCondition
from simulator.chip.dram_ceiling import READ_STREAM, Access
from simulator.chip.dram_device import Memory
from simulator.chip.memory import LocalSram, Sram
from simulator.chip.spec import Chip, Host, Link, Master, MasterBudget, Noc

__all__ = [
    "READ_STREAM",
    "Access",
    "Chip",
    "Cluster",
    "Dram",
    "DramCondition",
    "Host",
    "Link",
    "LocalSram",
    "Master",
    "MasterBudget",
    "MatrixPath",
    "Memory",
    "Noc",
    "Sram",
    "VectorEngine",
]
