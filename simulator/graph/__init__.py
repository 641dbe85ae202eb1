"""What must be computed: typed operators in DAGs, with exact counts of flop, parameters and elements.

Reads from: `workload`. Gives to: `lowering`, and to reports that print a model layer by layer.
"""

from simulator.graph.build import build_graph
from simulator.graph.decoder import cache_elements, decoder_graphs
from simulator.graph.graph import Block, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.graph.maps import Convolution, Product, Resample
from simulator.graph.operator import Attention, CacheWrite, Elementwise, Embedding, ExpertMatMul, MatMul, Operator
from simulator.graph.recurrence import DeltaRule, ShortConvolution

__all__ = [
    "Attention",
    "Block",
    "CacheWrite",
    "Convolution",
    "DeltaRule",
    "Elementwise",
    "Embedding",
    "ExpertMatMul",
    "MatMul",
    "Operator",
    "OperatorGraph",
    "PhaseGraph",
    "Product",
    "Resample",
    "ShortConvolution",
    "WorkloadGraph",
    "build_graph",
    "cache_elements",
    "decoder_graphs",
]
