"""What is asked of a chip: model sizes, inputs and phases, and nothing about hardware.

Reads from: YAML through `simulator.catalog`. Gives to: `graph`, `scenario`.
"""

from simulator.workload.spec import ActionPhase, DecodePhase, PrefillPhase, VisionPhase, Workload
from simulator.workload.transformer import ActionExpert, Decoder, Routing, VisionTower

__all__ = [
    "ActionExpert",
    "ActionPhase",
    "DecodePhase",
    "Decoder",
    "PrefillPhase",
    "Routing",
    "VisionPhase",
    "VisionTower",
    "Workload",
]
