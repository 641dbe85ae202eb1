"""OperatorGraph: a checked DAG of operators; blocks, steps and phases that repeat it.

A phase is a number of equal steps (one decoded token, one diffusion step, or the whole of a prefill); a step is a
sequence of blocks; a block is one graph that is repeated (36 equal layers are one graph). Nothing here knows hardware.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from simulator.errors import SpecError
from simulator.graph.operator import Operator
from simulator.routing import RouterTrace
from simulator.terms import COMPONENT_OF_KIND, PhaseKind, PhaseName
from simulator.variants import Size


class OperatorGraph:
    """A DAG of operators, in an order that respects the edges.

    The order is the one in which the operators were given, if that respects the edges, and otherwise the closest one
    that does. It never depends on names.
    """

    def __init__(self, name: str, operators: Iterable[Operator], edges: Iterable[tuple[str, str]]) -> None:
        """Checks and freezes a graph.

        Raises:
            SpecError: when the graph is empty, has a cycle, a doubled name, or an edge to an unknown operator.
        """
        self.name = name
        given = list(operators)
        graph = nx.DiGraph()
        for index, operator in enumerate(given):
            if operator.name in graph:
                raise SpecError(f'graph {name}: operator names must be unique, got "{operator.name}" twice')
            graph.add_node(operator.name, operator=operator, index=index)
        if not given:
            raise SpecError(f"graph {name}: must have at least one operator, got none")
        for before, after in edges:
            for end in (before, after):
                if end not in graph:
                    raise SpecError(f'graph {name}: edge {before} -> {after} names no operator "{end}"')
            graph.add_edge(before, after)
        try:
            order = list(nx.lexicographical_topological_sort(graph, key=lambda node: graph.nodes[node]["index"]))
        except nx.NetworkXUnfeasible:
            cycle = " -> ".join(before for before, _ in nx.find_cycle(graph))
            raise SpecError(
                f"graph {name}: must not have a cycle, got {cycle} and back",
                hint="an operator cannot wait for its own result",
            ) from None
        self.dag: nx.DiGraph = nx.freeze(graph)
        self.operators: tuple[Operator, ...] = tuple(graph.nodes[node]["operator"] for node in order)

    def predecessors(self, name: str) -> tuple[Operator, ...]:
        """The operators whose results an operator reads."""
        return tuple(self.dag.nodes[node]["operator"] for node in self.dag.predecessors(name))

    def successors(self, name: str) -> tuple[Operator, ...]:
        """The operators that read an operator's result."""
        return tuple(self.dag.nodes[node]["operator"] for node in self.dag.successors(name))

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Names of makers and readers, in the order of the operators."""
        return tuple((before.name, after) for before in self.operators for after in self.dag.successors(before.name))

    def generations(self) -> tuple[tuple[str, ...], ...]:
        """Names of the operators that could run at the same time, each as soon as all that it reads is there."""
        return tuple(tuple(names) for names in nx.topological_generations(self.dag))

    @cached_property
    def flop(self) -> Size:
        """Flop of all operators."""
        return sum(operator.flop for operator in self.operators)

    @cached_property
    def parameters(self) -> Size:
        """Parameters of all operators."""
        return sum(operator.parameters for operator in self.operators)


@dataclass(frozen=True)
class Block:
    """A graph and how often it is repeated."""

    graph: OperatorGraph
    repeats: Size
    """One number, or for a family of models (`lowering.Family`) an array with one per model."""
    first_layer: int | None = None
    """The layer of the first repetition, if its operations have names that other blocks of the phase use, too."""
    shares_weights: bool = False
    """Whether all repetitions have the same weights (a drafter runs several times in a row)."""
    only_last: bool = False
    """Whether only the last step of the phase runs it (the head of a prompt that comes in chunks)."""

    @property
    def copies(self) -> Size:
        """How many sets of weights it has."""
        return 1 if self.shares_weights else self.repeats


@dataclass(frozen=True)
class PhaseGraph:
    """A phase: equal steps that run one after the other with the same weights; a step is a sequence of blocks.

    Steps differ in sizes only: an operator whose size changes from step to step (the context of a decoded token)
    holds an array with one value per step.
    """

    kind: PhaseKind
    precision: str
    """Precision of the matrices."""
    tokens: int
    """Tokens that the phase handles (for vision: tokens handed on)."""
    blocks: tuple[Block, ...]
    """One step."""
    num_steps: int = 1
    network: str = ""
    """The name of the network, for a phase of that kind."""

    @property
    def name(self) -> PhaseName:
        """Its name among the phases of its workload."""
        return self.network or self.kind

    @property
    def component(self) -> str:
        """The component that it runs."""
        return self.network or COMPONENT_OF_KIND[self.kind]

    @property
    def flop(self) -> int:
        """Flop of all steps."""
        return sum(int(block.repeats) * self.over_steps(block.graph.flop, block) for block in self.blocks)

    @property
    def parameters(self) -> int:
        """Parameters of all blocks."""
        return sum(int(block.copies * block.graph.parameters) for block in self.blocks)

    def over_steps(self, count: Size, block: Block | None = None) -> int:
        """A count of one step, or an array of counts per step, summed over all steps, or those that run a block."""
        of_steps = np.broadcast_to(np.asarray(count), (self.num_steps,))
        return int(of_steps[-1] if block and block.only_last else of_steps.sum())

    def operators(self) -> Iterator[tuple[Operator, int]]:
        """Every operator of a step with the copies of its weights, those of blocks with the same graph together."""
        copies: dict[OperatorGraph, int] = {}
        for block in self.blocks:
            copies[block.graph] = copies.get(block.graph, 0) + int(block.copies)
        for graph, count in copies.items():
            for operator in graph.operators:
                yield operator, count


@dataclass(frozen=True)
class WorkloadGraph:
    """All phases of one frame, and the components whose weights must be in memory."""

    name: str
    phases: tuple[PhaseGraph, ...]
    component_parameters: dict[str, int]
    """Exact parameter count by component (decoder, vision, action, or the name of a network)."""
    kv_elements: int
    """Elements of the KV cache at the end of the frame."""
    trace: RouterTrace | None = None
    """Which experts the tokens of the decoder's phases pick, in their order; None if only expected numbers count."""

    @property
    def flop(self) -> int:
        """Flop of one frame."""
        return sum(phase.flop for phase in self.phases)

    @property
    def parameters(self) -> int:
        """Parameters of all components."""
        return sum(self.component_parameters.values())
