"""A phase as fragments and segments: each block is lowered once, however often and in however many steps it runs.

A segment is a fragment with its repetitions. The segments of a job in order are its tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.graph import Block, ExpertMatMul, OperatorGraph, PhaseGraph
from simulator.lowering.block import CAUSES, BlockTable, block_table, lower_block
from simulator.lowering.emit import block_fragments
from simulator.lowering.experts import ExpertTraffic
from simulator.lowering.fragments import Fragments, Group, PassageTask, passage, step_start, templates_of
from simulator.lowering.kernel_work import NOTHING_KEPT, Kept
from simulator.lowering.platform import Platform
from simulator.precision import precision
from simulator.program import FoldedTasks, Instances
from simulator.program.columns import offsets_of
from simulator.program.program import NONE, Ints


@dataclass
class Operations:
    """The rows of `Labels`, collected while blocks are lowered."""

    names: list[str] = field(default_factory=list)
    phase: list[int] = field(default_factory=list)
    flop: list[int] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    kept_bytes: list[int] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)

    def add(self, name: str, phase: int, mode: str, dtype: str = "") -> int:
        """Adds a row and returns its number."""
        self.names.append(name)
        self.phase.append(phase)
        self.flop.append(0)
        self.dtypes.append(dtype)
        self.kept_bytes.append(0)
        self.modes.append(mode)
        return len(self.names) - 1


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a phase in several jobs (shape: jobs, segments)."""

    fragment: Ints
    repeats: Ints
    layer: Ints
    """The layer of the first repetition of each segment, NONE if its repetitions are no layers."""
    step: Ints
    """The step of each segment, for labels; NONE if there is one only."""
    is_passage: bool = False
    """Whether it is what happens before a phase."""


@dataclass
class FragmentList:
    """The fragments and segments of a Program, collected phase by phase."""

    groups: list[Group] = field(default_factory=list)
    num_fragments: int = 0
    jobs: list[list[Segments]] = field(default_factory=list)
    """Segments of all phases, for one job or for several alike."""

    def add(self, fragments: Fragments, platform: Platform, priority: int) -> int:
        """Adds fragments; returns the number of the first."""
        first = self.num_fragments
        self.groups.append(Group(fragments, platform, priority))
        self.num_fragments += len(fragments.lengths)
        return first

    def tasks(self) -> FoldedTasks:
        """Everything collected."""
        parts: list[tuple[Ints, ...]] = []
        counts: list[Ints] = []
        for phases in self.jobs:
            columns = [
                np.concatenate(
                    [np.broadcast_to(getattr(phase, name), phase.fragment.shape) for phase in phases], axis=1
                )
                for name in ("fragment", "repeats", "layer", "step")
            ]
            counts.append(columns[1].sum(axis=1))
            parts.append(tuple(column.ravel() for column in columns))
        fragment, repeats, layer, step = (np.concatenate(column) for column in zip(*parts, strict=True))
        ends = np.cumsum(repeats)
        repetition = np.arange(ends[-1]) - np.repeat(ends - repeats, repeats)
        instances = Instances(
            fragment=np.repeat(fragment, repeats),
            layer=np.where(np.repeat(layer, repeats) == NONE, NONE, np.repeat(layer, repeats) + repetition),
            step=np.repeat(step, repeats),
            job_offsets=offsets_of(np.concatenate(counts)),
        )
        return FoldedTasks(templates_of(self.groups), instances)


class PhaseLowering:
    """Lowers one phase for one job, or for all jobs of a family."""

    def __init__(
        self, phase: PhaseGraph, index: int, platform: Platform, operations: Operations, kept: Kept = NOTHING_KEPT,
        *, experts: ExpertTraffic | None = None,
    ) -> None:  # fmt: skip
        self._phase = phase
        self._index = index
        self._platform = platform
        self._operations = operations
        self._kept = kept
        self._experts = experts
        self._replays_graph = phase.kind in platform.runtime.graph_phases
        self._host = operations.add(f"{phase.name}.host", index, platform.mode)
        """Row of what the host does, and of the milestones between fragments."""
        self._rows: dict[str, int] = {}

    def segments(self, fragments: FragmentList, kind: Ints, *, priority: int, is_first: bool) -> Segments:
        """Adds the fragments of the phase; a step is its start and its blocks.

        Args:
            fragments: where they are added.
            kind: the row of the sizes that each job has (shape: jobs).
            priority: of the tasks.
            is_first: whether nothing comes before the phase in its job.
        """
        num_steps, num_jobs = self._phase.num_steps, len(kind)
        starts = np.full(
            (num_jobs, num_steps),
            fragments.add(self._start(is_first=is_first, is_phase=True), self._platform, priority),
        )
        if num_steps > 1:
            starts[:, 1:] = fragments.add(self._start(is_first=False, is_phase=False), self._platform, priority)
        numbers, repeats, layers = [starts], [np.ones(num_jobs, dtype=np.int64)], [np.full(num_jobs, NONE)]
        only_last = [False]
        lowered: dict[OperatorGraph, tuple[BlockTable, int]] = {}
        traffic = iter(self._layers_of_experts())
        for block in self._phase.blocks:
            if block.graph not in lowered:
                table = self._table(block.graph)
                lowered[block.graph] = table, fragments.add(self._fragments(table), self._platform, priority)
            table, first = lowered[block.graph]
            of_block = next(traffic)
            self._count(table, block, of_block)
            steps = np.arange(num_steps) if table.num_steps > 1 else np.zeros(num_steps, dtype=np.int64)
            if of_block is not None and table.num_kinds > 1:  # layers differ, so each is a segment
                for layer, of_layer in enumerate(of_block, block.first_layer or 0):
                    numbers.append(np.broadcast_to(first + of_layer * table.num_steps + steps, (num_jobs, num_steps)))
                    repeats.append(np.ones(num_jobs, dtype=np.int64))
                    layers.append(np.full(num_jobs, layer))
                    only_last.append(block.only_last)
                continue
            of_kind = first + (kind * table.num_steps if table.num_kinds > 1 else np.zeros(num_jobs, dtype=np.int64))
            numbers.append(of_kind[:, None] + steps)
            repeats.append(np.broadcast_to(np.asarray(block.repeats), (num_jobs,)))
            only_last.append(block.only_last)
            layers.append(
                np.where(repeats[-1] > 1, 0, NONE) if block.first_layer is None
                else np.full(num_jobs, block.first_layer)
            )  # fmt: skip
        is_left_out = np.repeat(np.arange(num_steps) < num_steps - 1, len(numbers)) & np.tile(only_last, num_steps)
        return Segments(
            fragment=np.stack(numbers, axis=2).reshape(num_jobs, -1),
            repeats=np.where(is_left_out, 0, np.tile(np.stack(repeats, axis=1), num_steps)),
            layer=np.tile(np.stack(layers, axis=1), num_steps),
            step=np.repeat(np.arange(num_steps), len(numbers)) if num_steps > 1 else np.array([NONE]),
        )

    def passage(
        self,
        fragments: FragmentList,
        platform: Platform,
        chain: Sequence[PassageTask],
        *,
        priority: int,
        is_first: bool,
    ) -> Segments:
        """Adds what has to happen between the phase before and this one, one after the other, on some platform.

        Its operation is called by the cause of its first task.
        """
        operation = self._row(CAUSES[chain[0].cause], "")
        number = fragments.add(passage(platform, chain, operation=operation, is_first=is_first), platform, priority)
        once = np.ones((1, 1), dtype=np.int64)
        return Segments(fragment=number * once, repeats=once, layer=NONE * once, step=np.array([NONE]), is_passage=True)

    def _start(self, *, is_first: bool, is_phase: bool) -> Fragments:
        return step_start(
            self._platform, is_first=is_first, replays_graph=self._replays_graph, operation=self._host,
            is_phase=is_phase,
        )  # fmt: skip

    def _table(self, graph: OperatorGraph) -> BlockTable:
        body = precision(self._phase.precision)
        return block_table(lower_block(graph, self._platform, body, self._kept, self._experts), self._platform)

    def _layers_of_experts(self) -> Iterator[Ints | None]:
        """Of every block the kinds of traffic of its layers (shape: layers, steps); None if it has no experts."""
        layer = 0
        for block in self._phase.blocks:
            if self._experts is None or not any(isinstance(each, ExpertMatMul) for each in block.graph.operators):
                yield None
                continue
            yield self._experts.kind[layer : layer + int(block.repeats)]
            layer += int(block.repeats)

    def _fragments(self, table: BlockTable) -> Fragments:
        return block_fragments(
            table, self._platform, replays_graph=self._replays_graph, operation=np.array(self._rows_of(table)),
            host_operation=self._host,
        )  # fmt: skip

    def _count(self, table: BlockTable, block: Block, traffic: Ints | None) -> None:
        """Tells what the kernels of a block compute and keep in all repetitions and steps.

        In a family this differs from job to job: nothing is told. Flop are those of any experts.
        """
        if not isinstance(block.repeats, int) or (table.num_kinds > 1 and traffic is None):
            return
        for column, row in enumerate(self._rows_of(table)):
            flop = self._phase.over_steps(table.flop[: table.num_steps, column], block)
            self._operations.flop[row] += block.repeats * flop
            self._operations.kept_bytes[row] += self._kept_bytes(table, column, block, traffic)

    def _kept_bytes(self, table: BlockTable, column: int, block: Block, traffic: Ints | None) -> int:
        """What a kernel reads and writes where it stays, in all layers and steps."""
        kept = table.unmoved_bytes[:, column]
        if traffic is None or table.num_kinds == 1:
            return int(block.repeats) * self._phase.over_steps(kept, block)
        step = np.arange(table.num_steps) if table.num_steps > 1 else 0
        return int(np.sum(kept[traffic * table.num_steps + step]))

    def _rows_of(self, table: BlockTable) -> list[int]:
        return [self._row(name, dtype) for name, dtype in zip(table.names, table.dtypes, strict=True)]

    def _row(self, name: str, dtype: str) -> int:
        """The row of an operation; kernels of the same name share it."""
        if name not in self._rows:
            self._rows[name] = self._operations.add(
                f"{self._phase.name}.{name}", self._index, self._platform.mode, dtype
            )
        return self._rows[name]
