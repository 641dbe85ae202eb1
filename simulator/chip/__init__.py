"""What the hardware is: frozen specifications with provenance, and no behaviour in time.

Reads from: YAML through `simulator.catalog`. Gives to: `lowering`, `scenario`, `report`.
"""

from simulator.chip.compute import Cluster, MatrixPath, VectorEngine
from simulator.chip.memory import LASTING, Dram, Lasting, LocalSplit, LocalSram, Split, Sram
from simulator.chip.modes import IntensityRule, Mode, Partition, Reconfiguration
from simulator.chip.spec import Chip, Dies, Host, Link, Master, Noc

__all__ = [
    "LASTING",
    "Chip",
    "Cluster",
    "Dies",
    "Dram",
    "Host",
    "IntensityRule",
    "Lasting",
    "Link",
    "LocalSplit",
    "LocalSram",
    "Master",
    "MatrixPath",
    "Mode",
    "Noc",
    "Partition",
    "Reconfiguration",
    "Split",
    "Sram",
    "VectorEngine",
]
