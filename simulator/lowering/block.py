"""Blocks: what each kernel of a block moves and computes, into how many pieces it is cut, and what stays on the chip.

A block may have variants: the steps of a phase, which differ in their context, or the points of a design space, which
differ in all sizes. As a table it has one row per variant and one column per kernel. Turning a table into tasks is
`simulator.lowering.emit`; bounding its time without them is `simulator.lowering.least_time`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.graph import Convolution, ExpertMatMul, MatMul, OperatorGraph
from simulator.lowering.experts import ExpertTraffic
from simulator.lowering.kernel import group_operators, kernel_work, matrix_bytes
from simulator.lowering.kernel_work import NOTHING_KEPT, Kept, KernelWork
from simulator.lowering.platform import Platform
from simulator.lowering.quantise import with_quantisation
from simulator.lowering.residency import OUTSIDE, Activation, activations_of, depth_first_bytes, resident_bytes
from simulator.lowering.scores import with_scores
from simulator.precision import Precision
from simulator.program.program import NONE, Floats, Ints
from simulator.variants import Size, choose, largest, smallest

Bools = npt.NDArray[np.bool_]

LEAST_PIECES = 4
MOST_PIECES = 16
"""Resolution of the simulation: pieces into which a kernel's stream is cut.

Real kernels pipeline in kilobytes. With n pieces the last piece's work does not overlap, an error of at most
1/n of the smaller of load and work; more pieces than `MOST_PIECES` would only add events.
"""
WHOLE_BYTES = 64 * 1024
"""A kernel with one kind of work and a stream up to this size is one piece. A policy, not a measurement."""

CAUSES = (
    "matrix", "vector", "conversion", "launch", "host", "weights", "kv cache", "activations", "experts", "sram",
    "routing", "switch", "link",
)  # fmt: skip
"""What time is attributed to; `Labels.causes` of every lowered Program.

Weights, KV cache, activations and experts are streams from and to DRAM; sram is what a shared level delivers.
"""
MATRIX, VECTOR, CONVERSION, LAUNCH, HOST, WEIGHTS, KV_CACHE, ACTIVATIONS, EXPERTS, SRAM, ROUTING, SWITCH, LINK = range(
    len(CAUSES)
)


@dataclass(frozen=True, eq=False)
class BlockTable:
    """The kernels of a block. Shape (variants, kernels) where not said otherwise."""

    names: tuple[str, ...]
    """Shape: kernels."""
    dtypes: tuple[str, ...]
    """What the matrices of each kernel are multiplied in (shape: kernels)."""
    flop: Ints
    loaded_bytes: Ints
    stored_bytes: Ints
    sram_bytes: Ints
    """Read from a shared SRAM level."""
    sram_written_bytes: Ints
    early_bytes: Ints
    """Experts that are fetched some layers before."""
    unmoved_bytes: Ints
    """Read or written where it stays on the chip, without a transfer."""
    conversion_cycles: Floats
    matrix_cycles: Floats
    vector_cycles: Floats
    routing_cycles: Floats
    num_pieces: Ints
    """Into how many pieces the stream of each kernel is cut."""
    waits_for_launch: Bools
    """Whether its loads wait until it is launched."""
    load_cause: Ints
    """The cause under which its loads are counted: its largest stream."""
    store_cause: Ints
    router: int
    """The kernel after which experts are picked, NONE if there is none."""
    held_first: Ints
    """The kernel that begins to hold an activation (shape: tensors)."""
    held_last: Ints
    """The last kernel that reads it (shape: tensors)."""
    held_bytes: Ints
    """What stays of it on the chip (shape: variants, tensors)."""

    num_kinds: int
    """Kinds of models among the variants, or of experts' traffic."""
    num_steps: int
    """Steps of each kind; variants are ordered by (kind, step)."""

    @property
    def num_variants(self) -> int:
        """How many variants there are."""
        return self.num_kinds * self.num_steps


@dataclass(frozen=True)
class LoweredBlock:
    """The kernels of a block, and the activations between them."""

    works: tuple[KernelWork, ...]
    tensors: tuple[Activation, ...]
    resident_bytes: tuple[Size, ...]
    """What stays of each tensor on the chip."""


def lower_block(
    graph: OperatorGraph, platform: Platform, body: Precision, kept: Kept = NOTHING_KEPT,
    experts: ExpertTraffic | None = None,
) -> LoweredBlock:  # fmt: skip
    """What the kernels of a block move and compute, in all variants that the sizes of its operators have.

    Raises:
        SpecError: when the platform cannot run the precision.
    """
    graph = with_scores(with_quantisation(graph, platform, body), platform, body)
    kernels = group_operators(graph, platform.runtime.fusions)
    tensors = activations_of(graph, kernels, body.activation_bytes)
    resident, spilled = _placed(tensors, len(kernels), graph, platform, body)
    works = []
    for index, operators in enumerate(kernels):
        read = [(tensor, size) for tensor, size in zip(tensors, spilled, strict=True) if index in tensor.consumers]
        made = [(tensor, size) for tensor, size in zip(tensors, spilled, strict=True) if index == tensor.producer]
        fetched = body.activation_bytes * _sum(operator.fetched_elements for operator in operators)
        delivered = body.activation_bytes * _sum(operator.delivered_elements for operator in operators)
        # what is in DRAM anyway, because it does not fit the chip, is part of what is fetched and delivered
        from_outside = _sum(size for tensor, size in read if tensor.producer == OUTSIDE)
        to_outside = _sum(size for tensor, size in made if tensor.is_block_output)
        works.append(
            kernel_work(
                operators, platform=platform, body=body, kept=kept, experts=experts,
                spilled_input_bytes=_sum(size for _, size in read) + largest(fetched - from_outside, 0),
                spilled_output_bytes=_sum(size for _, size in made) + largest(delivered - to_outside, 0),
            )
        )  # fmt: skip
    return LoweredBlock(tuple(works), tuple(tensors), tuple(resident))


def _placed(
    tensors: Sequence[Activation], num_kernels: int, graph: OperatorGraph, platform: Platform, body: Precision
) -> tuple[list[Size], list[Size]]:
    """How much of each tensor is on the chip, and how much goes to DRAM.

    A block whose kernels take turns on pieces reads its weights once only if all of them stay meanwhile. Where they do
    not fit, it runs kernel by kernel.
    """
    room_bytes = platform.activation_room_bytes
    resident = resident_bytes(tensors, num_kernels, room_bytes)
    spilled = [tensor.size_bytes - kept for tensor, kept in zip(tensors, resident, strict=True)]
    if not platform.runtime.depth_first:
        return resident, spilled
    weight_bytes = _weight_bytes(graph, platform, body)
    fits = weight_bytes <= room_bytes
    in_pieces = depth_first_bytes(tensors, num_kernels, largest(room_bytes - weight_bytes, 0))
    inside = [tensor.size_bytes - kept if tensor.is_at_border else 0
              for tensor, kept in zip(tensors, in_pieces, strict=True)]  # fmt: skip
    return (
        [choose(fits, one, other) for one, other in zip(in_pieces, resident, strict=True)],
        [choose(fits, one, other) for one, other in zip(inside, spilled, strict=True)],
    )


def _weight_bytes(graph: OperatorGraph, platform: Platform, body: Precision) -> Size:
    """All weights of a block, those of every expert too."""
    total: Size = 0
    for operator in graph.operators:
        if isinstance(operator, ExpertMatMul):
            total = total + operator.experts * body.matrix_bytes(operator.outputs, operator.inputs)
        elif isinstance(operator, MatMul | Convolution):
            total = total + matrix_bytes(operator, platform.matrix_precision(operator, body))
    return total


def block_table(block: LoweredBlock, platform: Platform) -> BlockTable:
    """The kernels of a block as a table with one row per variant.

    Raises:
        Infeasible: when the local SRAM holds no buffers.
    """
    works = block.works
    values = {
        name: [getattr(work, name) for work in works]
        for name in ("flop", "loaded_bytes", "stored_bytes", "sram_bytes", "sram_written_bytes", "early_bytes",
                     "unmoved_bytes",
                     "conversion_cycles", "matrix_cycles", "vector_cycles", "routing_cycles")
    }  # fmt: skip
    values["num_pieces"] = [num_pieces(work, platform) for work in works]
    values["waits_for_launch"] = [waits_for_launch(work, platform) for work in works]
    values["load_cause"] = [_load_cause(work) for work in works]
    values["store_cause"] = [
        choose(work.cache_write_bytes > work.spilled_output_bytes, KV_CACHE, ACTIVATIONS) for work in works
    ]  # fmt: skip
    values["held_bytes"] = list(block.resident_bytes)
    shape = np.broadcast_shapes((1, 1), *(np.shape(value) for column in values.values() for value in column))
    lives = [tensor.life(len(works)) for tensor in block.tensors]
    return BlockTable(
        names=tuple(work.name for work in works),
        dtypes=tuple(work.dtype for work in works),
        router=next((index for index, work in enumerate(works) if work.has_router), NONE),
        held_first=np.array([life[0] for life in lives], dtype=np.int64),
        held_last=np.array([life[-1] for life in lives], dtype=np.int64),
        num_kinds=shape[0],
        num_steps=shape[1],
        **{name: _columns(column, shape, _DTYPES.get(name, np.int64)) for name, column in values.items()},
    )


_DTYPES: Final[dict[str, type]] = {
    "conversion_cycles": np.float64,
    "matrix_cycles": np.float64,
    "vector_cycles": np.float64,
    "routing_cycles": np.float64,
    "waits_for_launch": np.bool_,
}


def num_pieces(work: KernelWork, platform: Platform) -> Size:
    """Buffers to fill, within the resolution of the simulation; one piece if there is nothing to pipeline.

    What stays on the chip counts as if it moved: a kernel is not cut more coarsely, and so slower, for having it near.
    """
    near_bytes = work.sram_bytes + work.sram_written_bytes + work.unmoved_bytes
    streamed_bytes = work.loaded_bytes + work.stored_bytes + work.early_bytes + near_bytes
    least = LEAST_PIECES if platform.runtime.weight_buffers > 1 else 1
    fills = smallest(largest(-(-streamed_bytes // platform.stream_buffer_bytes), least), MOST_PIECES)
    has_two_kinds = (work.matrix_cycles > 0) & (work.vector_cycles > 0)
    pieces: Size = choose((streamed_bytes > WHOLE_BYTES) | has_two_kinds, fills, 1)
    return pieces


def waits_for_launch(work: KernelWork, platform: Platform) -> Any:
    """Whether the loads of a kernel wait for its launch, which they need not with prefetch of what is known early.

    Weights can be named before a kernel starts; what other kernels make, and what they pick, cannot.
    """
    return (work.loaded_bytes != work.weight_bytes) | (not platform.runtime.prefetches_weights)


def _load_cause(work: KernelWork) -> Any:
    """The cause under which all loads of a kernel are counted: its largest stream."""
    weights, cache, activations = (
        work.weight_bytes + work.late_bytes, work.cache_read_bytes, work.spilled_input_bytes
    )  # fmt: skip
    is_weights = (weights >= cache) & (weights >= activations)
    of_weights = choose(2 * work.expert_bytes > weights, EXPERTS, WEIGHTS)
    return choose(is_weights, of_weights, choose(cache >= activations, KV_CACHE, ACTIVATIONS))


def _columns(values: Sequence[Any], shape: tuple[int, ...], dtype: type) -> npt.NDArray[Any]:
    """Numbers or arrays that broadcast to (kinds, steps), as the columns of an array with one row per variant."""
    columns: npt.NDArray[Any] = np.empty((*shape, len(values)), dtype=dtype)
    for index, value in enumerate(values):
        columns[..., index] = value
    return columns.reshape(shape[0] * shape[1], len(values))


def _sum(sizes: Iterable[Any]) -> Any:
    """A sum of numbers and arrays."""
    total: Any = 0
    for size in sizes:
        total = total + size
    return total
