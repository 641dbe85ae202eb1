"""Many models at once: arrays as sizes give, variant by variant, exactly the numbers of plain sizes.

The search rests on this law: it lowers a whole design space in one pass and trusts it as if every point were lowered
alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.graph import Block, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.graph.decoder import decoder_graphs
from simulator.lowering import Demand, Family, Platform, lower, lower_family
from simulator.lowering.block import BlockTable, LoweredBlock, block_table, lower_block
from simulator.lowering.emit import block_fragments
from simulator.lowering.fragments import Fragments
from simulator.lowering.kernel_work import KernelWork
from simulator.precision import precision
from simulator.program import Program
from simulator.variants import Ints, Size, choose, largest, same, smallest, whole
from tests.property.test_lowering_laws import ONCE, Case, cases

SOME = settings(max_examples=40, deadline=None)


@dataclass(frozen=True)
class Sizes:
    """Sizes of several kinds of decoders, each one number for all or an array of the shape (kinds, 1)."""

    hidden: Size
    heads: Size
    kv_heads: Size
    head_dim: Size
    ffn_width: Size
    vocabulary: Size
    experts: Size
    top_k: Size
    shared_experts: Size
    attention_window: Size | None
    is_sparse: bool
    tied_head: bool
    has_head: bool
    qkv_bias: bool
    head_norm: bool

    def at(self, kind: int) -> Sizes:
        """One of the decoders, with plain numbers."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: int(value[kind, 0]) for name, value in values.items() if isinstance(value, np.ndarray)}
        )


@dataclass(frozen=True)
class Space:
    """Decoders that differ in sizes, and what goes through them: a prefill, or steps of one token."""

    sizes: Sizes
    num_kinds: int
    rows: int
    contexts: Ints | None
    """Of every step; None for a prefill."""

    @property
    def shape(self) -> tuple[int, int]:
        """(kinds, steps)."""
        return self.num_kinds, 1 if self.contexts is None else len(self.contexts)

    def variants(self) -> Iterator[tuple[int, int]]:
        """(kind, step) of every variant, in order."""
        return itertools.product(*(range(count) for count in self.shape))

    def graphs(self) -> tuple[OperatorGraph, ...]:
        """The graphs of all variants together."""
        return decoder_graphs(self.sizes, rows=self.rows, contexts=self.contexts)

    def graphs_at(self, kind: int, step: int) -> tuple[OperatorGraph, ...]:
        """The graphs of one variant."""
        contexts = None if self.contexts is None else self.contexts[step : step + 1]
        return decoder_graphs(self.sizes.at(kind), rows=self.rows, contexts=contexts)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Two to four kinds; about half of their sizes differ. What operators a layer has is the same for all."""
    num_kinds = draw(st.integers(2, 4))

    def size(least: int, most: int, factor: int = 1) -> Size:
        if draw(st.booleans()):
            return factor * draw(st.integers(least, most))
        values = draw(st.lists(st.integers(least, most), min_size=num_kinds, max_size=num_kinds))
        return factor * np.array(values)[:, None]

    is_sparse, is_decode = draw(st.booleans()), draw(st.booleans())
    kv_heads, top_k = size(1, 3), size(1, 4) if is_sparse else 1
    sizes = Sizes(
        hidden=size(1, 12, 16), heads=kv_heads * size(1, 3), kv_heads=kv_heads, head_dim=size(1, 4, 8),
        ffn_width=size(1, 20, 16), vocabulary=size(2, 400), experts=top_k + size(1, 12) if is_sparse else 1,
        top_k=top_k, shared_experts=size(1, 2) if is_sparse and draw(st.booleans()) else 0,
        attention_window=size(1, 90) if draw(st.booleans()) else None, is_sparse=is_sparse,
        tied_head=draw(st.booleans()), has_head=draw(st.booleans()), qkv_bias=draw(st.booleans()),
        head_norm=draw(st.booleans()),
    )  # fmt: skip
    contexts = np.array(draw(st.lists(st.integers(1, 100), min_size=1, max_size=3)))
    return Space(sizes, num_kinds, 1 if is_decode else draw(st.integers(1, 80)), contexts if is_decode else None)


# the law -------------------------------------------------------------------------------------------------------------


def plain(value: Any, shape: tuple[int, int], variant: tuple[int, int]) -> Any:
    """What a number, or an array that broadcasts to (kinds, steps), is in one variant."""
    return np.broadcast_to(value, shape)[variant].item()


ALONE = (1, 1), (0, 0)
"""The shape of a single variant, and the only place in it."""


def counts(graph: OperatorGraph, shape: tuple[int, int], variant: tuple[int, int]) -> list[tuple[Any, ...]]:
    """Name and counts of every operator, and the sums over the graph."""
    listed: list[tuple[Any, ...]] = [
        (operator.name, operator.flop, operator.parameters, operator.input_elements, operator.output_elements)
        for operator in graph.operators
    ]
    listed.append((graph.name, graph.flop, graph.parameters))
    return [(name, *(plain(value, shape, variant) for value in values)) for name, *values in listed]


def numbers(block: LoweredBlock, shape: tuple[int, int], variant: tuple[int, int]) -> list[dict[str, Any]]:
    """Every number of every kernel, and of every tensor between them."""
    amounts = [field.name for field in fields(KernelWork) if field.name != "name"]
    kernels = [
        {"name": work.name, **{name: plain(getattr(work, name), shape, variant) for name in amounts}}
        for work in block.works
    ]
    tensors = [
        {"producer": tensor.producer, "consumers": tensor.consumers, "is_block_output": tensor.is_block_output,
         "size_bytes": plain(tensor.size_bytes, shape, variant), "resident_bytes": plain(kept, shape, variant)}
        for tensor, kept in zip(block.tensors, block.resident_bytes, strict=True)
    ]  # fmt: skip
    return kernels + tensors


def row(table: BlockTable, kind: int, step: int) -> dict[str, Any]:
    """One variant of a table, which has a single kind or step if its kernels are the same in all."""
    columns = {field.name: np.asarray(getattr(table, field.name)) for field in fields(BlockTable)}
    place = min(kind, table.num_kinds - 1) * table.num_steps + min(step, table.num_steps - 1)
    return {
        name: (column[place] if column.ndim == 2 else column).tolist()
        for name, column in columns.items()
        if name not in ("num_kinds", "num_steps")
    }


def fragments_of(table: BlockTable, platform: Platform, *, replays_graph: bool) -> Fragments:
    """The fragments of a table; its kernels have the rows 1, 2, ... of `Labels`."""
    rows = np.arange(1, len(table.names) + 1)
    return block_fragments(table, platform, replays_graph=replays_graph, operation=rows, host_operation=0)


@SOME
@given(spaces())
def test_operators_of_many_decoders_count_as_those_of_each(space: Space) -> None:
    together = space.graphs()
    for variant in space.variants():
        for graph, alone in zip(together, space.graphs_at(*variant), strict=True):
            assert counts(graph, space.shape, variant) == counts(alone, *ALONE)
            assert list(graph.dag.edges) == list(alone.dag.edges)


@SOME
@given(spaces(), cases())
def test_kernels_and_activations_of_many_decoders_are_those_of_each(space: Space, case: Case) -> None:
    platform, body = case.platform, precision(case.precision)
    together = [lower_block(graph, platform, body) for graph in space.graphs()]
    for variant in space.variants():
        for block, graph in zip(together, space.graphs_at(*variant), strict=True):
            assert numbers(block, space.shape, variant) == numbers(lower_block(graph, platform, body), *ALONE)


@SOME
@given(spaces(), cases(), st.booleans())
def test_tables_and_tasks_of_many_decoders_are_those_of_each_end_to_end(
    space: Space, case: Case, replays_graph: bool
) -> None:
    platform, body = case.platform, precision(case.precision)
    graphs_alone = {variant: space.graphs_at(*variant) for variant in space.variants()}
    for place, graph in enumerate(space.graphs()):
        table = block_table(lower_block(graph, platform, body), platform)
        alone = {
            variant: block_table(lower_block(graphs[place], platform, body), platform)
            for variant, graphs in graphs_alone.items()
        }
        for variant, one in alone.items():
            assert row(table, *variant) == row(one, 0, 0)
        fragments = fragments_of(table, platform, replays_graph=replays_graph)
        each = [
            fragments_of(alone[variant], platform, replays_graph=replays_graph)
            for variant in itertools.product(range(table.num_kinds), range(table.num_steps))
        ]
        for field in fields(Fragments):
            joined = np.concatenate([getattr(one, field.name) for one in each])
            assert getattr(fragments, field.name).tolist() == joined.tolist(), field.name


# families ------------------------------------------------------------------------------------------------------------


def phases(graphs: list[tuple[OperatorGraph, ...]], space: Space, layers: Any, body: str) -> tuple[PhaseGraph, ...]:
    """A prefill of the rows, and steps of decoded tokens after it."""
    blocks = [tuple(Block(graph, count) for graph, count in zip(one, (1, layers, 1), strict=True)) for one in graphs]
    num_steps = space.shape[1]
    return (
        PhaseGraph("prefill", body, space.rows, blocks[0]),
        PhaseGraph("decode", body, num_steps, blocks[1], num_steps),
    )


def tasks_of_job(program: Program, job: int) -> dict[str, list[Any]]:
    """Every column of the tasks of a job and of the spaces that they hold; tasks are counted from its first."""
    tasks, held = program.tasks, program.occupancies
    first, end = (int(offset) for offset in program.job_offsets[job : job + 2])
    edges = slice(int(tasks.predecessor_offsets[first]), int(tasks.predecessor_offsets[end]))
    mine = (held.first_task >= first) & (held.first_task < end)
    columns = {
        name: getattr(tasks, name)[first:end]
        for name in ("unit", "work_cycles", "route", "size_bytes", "master", "rate_cap_bytes_per_s", "priority",
                     "operation", "cause", "layer", "step")
    } | {
        "predecessor_counts": np.diff(tasks.predecessor_offsets[first : end + 1]),
        "predecessors": tasks.predecessors[edges] - first,
        "memory": held.memory[mine], "held_bytes": held.size_bytes[mine],
        "first_task": held.first_task[mine] - first, "last_task": held.last_task[mine] - first,
    }  # fmt: skip
    return {name: column.tolist() for name, column in columns.items()}


@SOME
@given(spaces(), cases(), st.data())
def test_every_model_of_a_family_has_the_tasks_that_it_has_alone(space: Space, case: Case, data: st.DataObject) -> None:
    """Models of one kind may differ in layers; several models may be of one kind, and in any order."""
    models = data.draw(
        st.lists(st.tuples(st.integers(0, space.num_kinds - 1), st.integers(1, 3)), min_size=1, max_size=4)
    )
    kind, layers = (np.array(column) for column in zip(*models, strict=True))
    prefill = replace(space, contexts=None)
    decode = replace(space, rows=1, contexts=np.arange(1, 4) if space.contexts is None else space.contexts)
    family = Family(phases([prefill.graphs(), decode.graphs()], decode, layers, case.precision), kind)
    together = lower_family(family, case.platform)
    for job, (own_kind, own_layers) in enumerate(models):
        sizes = space.sizes.at(own_kind)
        graphs = [decoder_graphs(sizes, rows=one.rows, contexts=one.contexts) for one in (prefill, decode)]
        graph = WorkloadGraph("alone", phases(graphs, decode, own_layers, case.precision), {}, kv_elements=0)
        assert tasks_of_job(together, job) == tasks_of_job(lower([Demand(graph)], case.platform, ONCE), 0)


# arithmetic on sizes -------------------------------------------------------------------------------------------------


@SOME
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=4), st.integers(-9, 9))
def test_arithmetic_on_arrays_is_that_on_their_numbers(pairs: list[tuple[int, int]], number: int) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    assert largest(first, number, second).tolist() == [max(one, number, other) for one, other in pairs]
    assert smallest(first, second).tolist() == [min(pair) for pair in pairs]
    assert smallest(number, second).tolist() == [min(number, other) for _, other in pairs]
    assert choose(first < second, first, number).tolist() == [one if one < other else number for one, other in pairs]
    assert whole(abs(first) / 4).tolist() == [abs(one) // 4 for one, _ in pairs]
    assert same(first, second) == all(one == other for one, other in pairs)
    for one, other in pairs:
        assert (largest(one, number, other), smallest(one, other)) == (max(one, number, other), min(one, other))
        assert (choose(one < other, one, number), whole(abs(one) / 4)) == (
            one if one < other else number,
            abs(one) // 4,
        )
        assert same(one, other) == (one == other)
