"""What the hardware is: frozen specifications with provenance, and no behaviour in time.

Reads from: YAML through `simulator.catalog`. Gives to: `catalog`, `lowering`, `ppa`, `simulation`, `report`.
"""

from simulator.chip.compute import Cluster, Host, MatrixPath, VectorEngine
from simulator.chip.dram import Dram, DramCondition
from simulator.chip.dram_ceiling import READ_STREAM, Access
from simulator.chip.dram_device import Memory
from simulator.chip.interconnect import Dies, Link, Master, MasterBudget, Noc
from simulator.chip.memory import LASTING, Lasting, LocalSplit, LocalSram, Split, Sram
from simulator.chip.modes import IntensityRule, Mode, Partition, Reconfiguration
from simulator.chip.physical import Physical, PowerState
from simulator.chip.routing import ExpertPrefetch, RoutingUnit
from simulator.chip.spec import Chip

__all__ = [
    "LASTING",
    "READ_STREAM",
    "Access",
    "Chip",
    "Cluster",
    "Dies",
    "Dram",
    "DramCondition",
    "ExpertPrefetch",
    "Host",
    "IntensityRule",
    "Lasting",
    "Link",
    "LocalSplit",
    "LocalSram",
    "Master",
    "MasterBudget",
    "MatrixPath",
    "Memory",
    "Mode",
    "Noc",
    "Partition",
    "Physical",
    "PowerState",
    "Reconfiguration",
    "RoutingUnit",
    "Split",
    "Sram",
    "VectorEngine",
]
