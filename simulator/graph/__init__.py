"""What must be computed: typed operators in DAGs, with exact counts of flop, parameters and elements.

Reads from: `workload`. Gives to: `lowering`, and to reports that print a model layer by layer.
"""

from simulator.graph.build import build_graph
from simulator.graph.graph import Block, OperatorGraph, PhaseGraph, Step, WorkloadGraph
from simulator.graph.operator import Attention, CacheWrite, Elementwise, Embedding, MatMul, Operator

__all__ = [
    "Attention",
    "Block",
    "CacheWrite",
    "Elementwise",
    "Embedding",
    "MatMul",
    "Operator",
    "OperatorGraph",
    "PhaseGraph",
    "Step",
    "WorkloadGraph",
    "build_graph",
]
