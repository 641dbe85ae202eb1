"""What is asked of a chip: model sizes, inputs and phases, and nothing about hardware.

Reads from: YAML through `simulator.catalog`. Gives to: `graph`, `scenario`.
"""

from simulator.workload.decoder import Decoder, LatentAttention, LinearAttention
from simulator.workload.network import Network
from simulator.workload.phases import (
    ActionPhase,
    DecodePhase,
    NetworkPhase,
    PrefillPhase,
    Speculation,
    VisionPhase,
)
from simulator.workload.routing import Routing
from simulator.workload.spec import Workload
from simulator.workload.transformer import ActionExpert, VisionTower

__all__ = [
    "ActionExpert",
    "ActionPhase",
    "DecodePhase",
    "Decoder",
    "LatentAttention",
    "LinearAttention",
    "Network",
    "NetworkPhase",
    "PrefillPhase",
    "Routing",
    "Speculation",
    "VisionPhase",
    "VisionTower",
    "Workload",
]
