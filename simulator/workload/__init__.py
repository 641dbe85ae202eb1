"""What is asked of a chip: model sizes, inputs and phases, and nothing about hardware.

Reads from: YAML through `simulator.catalog`. Gives to: `graph`, `scenario`.
"""

from simulator.workload.spec import ActionPhase, DecodePhase, PrefillPhase, VisionPhase, Workload
from simulator.workload.transformer import ActionExpert, Decoder, VisionTower

__all__ = [
    "ActionExpert",
    "ActionPhase",
    "DecodePhase",
    "Decoder",
    "PrefillPhase",
    "VisionPhase",
    "VisionTower",
    "Workload",
]
