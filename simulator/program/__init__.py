"""The neutral language between lowering and the engines: what to do, on which resources, in which order.

Reads from: nothing of ours but `units` and `errors`. Gives to: `engine`, `timeline`, `metrics`.
"""

from simulator.program.builder import ProgramBuilder
from simulator.program.folded import FoldedOccupancies, FoldedTasks, Instances, Templates
from simulator.program.program import (
    NONE,
    Background,
    CapacityChanges,
    DropPolicy,
    Labels,
    Occupancies,
    Program,
    Resources,
    Streams,
    Tasks,
    role_of,
)

__all__ = [
    "NONE",
    "Background",
    "CapacityChanges",
    "DropPolicy",
    "FoldedOccupancies",
    "FoldedTasks",
    "Instances",
    "Labels",
    "Occupancies",
    "Program",
    "ProgramBuilder",
    "Resources",
    "Streams",
    "Tasks",
    "Templates",
    "role_of",
]
