"""From tables of kernels to template tasks: launch, load, convert, multiply and store, with double buffering as edges.

One kernel becomes (in brackets: only where there is something to do):

    [enqueue] on the host ─► [launch] ─► per piece: loads ─► [convert] ─► [multiply] ─► [vector] ─► [route] ─► [store]

Edges that stand for hardware:

    launch waits for the kernel before          one kernel runs at a time
    load i waits for load i-1                   one DMA queue, in order; what comes from SRAM has a queue of its own
    load i waits for the last work on piece i-B B buffers: this is what double buffering looks like
    loads wait for launch                       without prefetch, and where anything but weights is loaded
    early loads wait for a router               so many layers before, and for all that its layer loads: that goes first
    store i waits for work i and store i-1      results leave in order, for a shared SRAM level or for DRAM

Every variant of a block becomes a fragment. Its last tasks are its anchors, for which the next fragment may wait: the
last work on each buffer (oldest first), the last load, the host, and the exit. Where experts are fetched early there
are more before these: the routers of the last layers (oldest first), and the last such fetch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.compiled import called, compiled
from simulator.lowering.block import CONVERSION, EXPERTS, HOST, LAUNCH, MATRIX, ROUTING, SRAM, VECTOR, BlockTable
from simulator.lowering.fragments import (
    EXIT,
    HOST_DONE,
    LAST_LOAD,
    NUM_FIXED_ANCHORS,
    Fragments,
    num_prediction_anchors,
)
from simulator.lowering.platform import Platform
from simulator.program.program import NONE, Ints

_MOST_EDGES = 5
"""Most predecessors of a task other than the join of a kernel's pieces."""


def block_fragments(
    table: BlockTable, platform: Platform, *, replays_graph: bool, operation: Ints, host_operation: int
) -> Fragments:
    """The fragments of a block, one per variant.

    Args:
        table: its kernels.
        platform: chip and runtime.
        replays_graph: whether the host enqueues the whole step at once; otherwise each kernel.
        operation: the row of `Labels` of each kernel (shape: kernels).
        host_operation: the row of what the host does, and of the anchors.
    """
    runtime = platform.runtime
    enqueue_cycles = 0.0 if replays_graph else runtime.enqueue.value
    num_anchors = num_prediction_anchors(platform) + runtime.weight_buffers + NUM_FIXED_ANCHORS
    lengths, most_held = _lengths(table, enqueue_cycles > 0, num_anchors)
    num_tasks = int(lengths.sum())
    rooms = np.array(platform.activation_room, dtype=np.int64)
    num_held = int(most_held.sum()) + table.num_variants * len(table.held_first) * len(rooms)
    ints: Any = np.empty((6, num_tasks), dtype=np.int64)  # unit, size, operation, cause, number of predecessors, route
    work_cycles = np.zeros(num_tasks)
    joins = int(np.where(table.num_pieces > 1, table.num_pieces, 0).sum())
    predecessors = np.empty(_MOST_EDGES * num_tasks + joins, dtype=np.int64)
    held: Any = np.empty((4, num_held), dtype=np.int64)  # memory, bytes, first task, last task
    held_counts = np.zeros(table.num_variants, dtype=np.int64)
    at = np.zeros(_NUM_POSITIONS, dtype=np.int64)
    _write_fragments(
        (table.loaded_bytes, table.stored_bytes, table.sram_bytes, table.sram_written_bytes, table.early_bytes,
         table.num_pieces, table.waits_for_launch, table.load_cause, table.store_cause, table.conversion_cycles,
         table.matrix_cycles, table.vector_cycles, table.routing_cycles, operation),
        (table.held_first, table.held_last, table.held_bytes, rooms),
        (host_operation, runtime.launch.value, enqueue_cycles, runtime.weight_buffers, platform.stream_buffer_bytes,
         platform.layers_ahead, table.router),
        (ints, work_cycles, predecessors, held, held_counts),
        at,
    )  # fmt: skip
    num_edges = int(at[_EDGE])
    total_held = int(held_counts.sum())
    return Fragments(
        unit=ints[0],
        work_cycles=work_cycles,
        size_bytes=ints[1],
        operation=ints[2],
        cause=ints[3],
        predecessor_counts=ints[4],
        route=ints[5],
        predecessors=predecessors[:num_edges],
        lengths=lengths,
        held_counts=held_counts,
        memory=held[0, :total_held],
        held_bytes=held[1, :total_held],
        first_task=held[2, :total_held],
        last_task=held[3, :total_held],
    )


def _lengths(table: BlockTable, has_enqueue: bool, num_anchors: int) -> tuple[Ints, Ints]:
    """Tasks of the fragment of each variant, and how many buffers it fills."""
    loads, stores, from_sram, to_sram, early = (
        np.minimum(table.num_pieces, size_bytes)
        for size_bytes in (
            table.loaded_bytes, table.stored_bytes, table.sram_bytes, table.sram_written_bytes, table.early_bytes
        )
    )  # fmt: skip
    stages = (table.conversion_cycles, table.matrix_cycles, table.vector_cycles, table.routing_cycles)
    works = np.maximum(np.sum([cycles > 0 for cycles in stages], axis=0), 1)
    moves = loads + early + from_sram + stores + to_sram
    tasks = 1 + has_enqueue + table.num_pieces * works + moves + (table.num_pieces > 1)
    return tasks.sum(axis=1) + num_anchors, (loads + from_sram).sum(axis=1)


# compiled: one pass over all kernels, pieces and tasks ---------------------------------------------------------------
#
# What these functions share: `out` holds the arrays that are written, `at` where in them to go on, and the tasks of the
# fragment, counted from its first, for which the next kernel may have to wait.

_UNIT, _SIZE, _OPERATION, _CAUSE, _PREDECESSORS, _ROUTE = range(6)
_MEMORY, _HELD_BYTES, _FIRST_TASK, _LAST_TASK = range(4)
_TASK, _EDGE, _HELD, _FIRST, _EXIT, _HOST, _LOAD, _FETCH, _NUM_POSITIONS = range(9)
_MATRIX_UNIT, _VECTOR_UNIT = Platform.MATRIX, Platform.VECTOR
_LAUNCH_UNIT, _HOST_UNIT, _LOCAL = Platform.LAUNCH, Platform.HOST_UNIT, Platform.LOCAL
_LOAD_ROUTE, _STORE_ROUTE, _SRAM_ROUTE = Platform.LOAD_ROUTE, Platform.STORE_ROUTE, Platform.SRAM_ROUTE
_STAGES = (
    (_VECTOR_UNIT, CONVERSION), (_MATRIX_UNIT, MATRIX), (_VECTOR_UNIT, VECTOR), (Platform.ROUTING_UNIT, ROUTING)
)  # fmt: skip
_SRAM_CAUSE, _EXPERTS_CAUSE = SRAM, EXPERTS


@called
def _add_task(out: Any, at: Any, unit: int, size_bytes: int, operation: int, cause: int) -> int:  # noqa: PLR0917
    """Begins a task without predecessors; returns its number in the fragment."""
    ints, task = out[0], at[_TASK]
    ints[_UNIT, task] = unit
    ints[_SIZE, task] = size_bytes
    ints[_OPERATION, task] = operation
    ints[_CAUSE, task] = cause
    ints[_PREDECESSORS, task] = 0
    ints[_ROUTE, task] = NONE
    at[_TASK] += 1
    number: int = task - at[_FIRST]
    return number


@called
def _add_transfer(out: Any, at: Any, route: int, size_bytes: int, operation: int, cause: int) -> int:  # noqa: PLR0917
    """Begins a transfer without predecessors; returns its number in the fragment."""
    number: int = _add_task(out, at, NONE, size_bytes, operation, cause)
    out[0][_ROUTE, at[_TASK] - 1] = route
    return number


@called
def _wait_for(out: Any, at: Any, predecessor: int) -> None:
    """Lets the task begun last wait for another, if it does not yet."""
    ints, predecessors, task, edge = out[0], out[2], at[_TASK] - 1, at[_EDGE]
    for other in range(edge - ints[_PREDECESSORS, task], edge):
        if predecessors[other] == predecessor:
            return
    predecessors[edge] = predecessor
    ints[_PREDECESSORS, task] += 1
    at[_EDGE] += 1


@called
def _hold(out: Any, at: Any, memory: int, size_bytes: int, first_task: int, last_task: int) -> None:  # noqa: PLR0917
    """Records that space is held from the start of one task to the end of another."""
    held, row = out[3], at[_HELD]
    held[_MEMORY, row] = memory
    held[_HELD_BYTES, row] = size_bytes
    held[_FIRST_TASK, row] = first_task
    held[_LAST_TASK, row] = last_task
    at[_HELD] += 1


@called
def _write_launch(out: Any, at: Any, costs: Any, operation: int) -> int:
    """The task after which a kernel may work: its launch, or a milestone if launching is free."""
    host_operation, launch_cycles, enqueue_cycles = costs[0], costs[1], costs[2]
    if enqueue_cycles > 0:
        enqueue = _add_task(out, at, _HOST_UNIT, 0, host_operation, HOST)
        out[1][at[_TASK] - 1] = enqueue_cycles
        _wait_for(out, at, at[_HOST])
        at[_HOST] = enqueue
    begin = _add_task(
        out, at, _LAUNCH_UNIT if launch_cycles > 0 else NONE, 0, operation, LAUNCH if launch_cycles > 0 else NONE
    )
    out[1][at[_TASK] - 1] = launch_cycles
    _wait_for(out, at, at[_EXIT])
    if enqueue_cycles > 0:
        _wait_for(out, at, at[_HOST])
    return begin


@called
def _write_work(out: Any, at: Any, cycles: Any, waits: tuple[int, int, int, int], operation: int) -> int:
    """Convert, multiply, vector and routing work on one piece; returns the last of them, or a join if there is none."""
    work = NONE
    for stage in range(4):
        if cycles[stage] > 0:
            before = work
            work = _add_task(out, at, _STAGES[stage][0], 0, operation, _STAGES[stage][1])
            out[1][at[_TASK] - 1] = cycles[stage]
            if before == NONE:
                for task in waits:
                    _wait_for(out, at, task)
            else:
                _wait_for(out, at, before)
    if work == NONE:
        work = _add_task(out, at, NONE, 0, operation, NONE)
        for task in waits:
            _wait_for(out, at, task)
    return work


@called
def _write_early_load(out: Any, at: Any, size_bytes: int, operation: int, costs: Any) -> int:
    """What the predictor fetches for one piece, in order, when the router so many layers before has run."""
    num_buffers, layers_ahead = costs[3], costs[5]
    early = _add_transfer(out, at, _LOAD_ROUTE, size_bytes, operation, _EXPERTS_CAUSE)
    _wait_for(out, at, LAST_LOAD - num_buffers - 1 - layers_ahead)
    _wait_for(out, at, at[_FETCH])
    at[_FETCH] = early
    number: int = early
    return number


@called
def _write_store(out: Any, at: Any, what: Any, work: int, before: int) -> int:
    """What leaves of one piece on one route, after its work and after what has left before."""
    route, size_bytes, operation, cause = what
    number: int = _add_transfer(out, at, route, size_bytes, operation, cause)
    _wait_for(out, at, work)
    _wait_for(out, at, before)
    return number


@called
def _write_kernel(out: Any, at: Any, kernels: Any, place: Any, costs: Any, buffers: Any) -> int:  # noqa: PLR0917
    """One kernel, piece by piece; returns the task with which it begins. It ends with the exit."""
    (loaded, stored, from_sram, to_sram, fetched, num_pieces, waits_for_launch, load_cause, store_cause, conversion,
     matrix, vector, routing, operations) = kernels  # fmt: skip
    num_buffers, buffer_bytes = costs[3], costs[4]
    operation, count = operations[place[1]], num_pieces[place]
    cycles = (conversion[place] / count, matrix[place] / count, vector[place] / count, routing[place] / count)
    begin = _write_launch(out, at, costs, operation)
    store = near = begin
    piece_ends = np.empty(count, dtype=np.int64)
    for piece in range(count):
        load_bytes = loaded[place] // count + (piece < loaded[place] % count)
        store_bytes = stored[place] // count + (piece < stored[place] % count)
        near_bytes = from_sram[place] // count + (piece < from_sram[place] % count)
        written_bytes = to_sram[place] // count + (piece < to_sram[place] % count)
        early_bytes = fetched[place] // count + (piece < fetched[place] % count)
        load = begin
        early = _write_early_load(out, at, early_bytes, operation, costs) if early_bytes > 0 else begin
        if load_bytes > 0:
            load = _add_transfer(out, at, _LOAD_ROUTE, load_bytes, operation, load_cause[place])
            _wait_for(out, at, at[_LOAD])
            _wait_for(out, at, buffers[0])
            if waits_for_launch[place]:
                _wait_for(out, at, begin)
            at[_LOAD] = load
        if near_bytes > 0:
            before = near
            near = _add_transfer(out, at, _SRAM_ROUTE, near_bytes, operation, _SRAM_CAUSE)
            _wait_for(out, at, begin)
            _wait_for(out, at, before)
            _wait_for(out, at, buffers[0])
            _wait_for(out, at, early)
        work = _write_work(out, at, cycles, (begin, load, near, early), operation)
        if load_bytes + near_bytes > 0:
            buffers[:-1] = buffers[1:]
            buffers[num_buffers - 1] = work
        if load_bytes > 0:
            _hold(out, at, _LOCAL, min(load_bytes, buffer_bytes), load, work)
        if near_bytes > 0 and buffer_bytes > load_bytes:
            _hold(out, at, _LOCAL, min(near_bytes, buffer_bytes - load_bytes), near, work)
        piece_ends[piece] = work
        if written_bytes > 0:
            store = _write_store(out, at, (_SRAM_ROUTE, written_bytes, operation, _SRAM_CAUSE), work, store)
            piece_ends[piece] = store
        if store_bytes > 0:
            store = _write_store(out, at, (_STORE_ROUTE, store_bytes, operation, store_cause[place]), work, store)
            piece_ends[piece] = store
    at[_EXIT] = piece_ends[0]
    if count > 1:
        at[_EXIT] = _add_task(out, at, NONE, 0, operation, NONE)
        for end in piece_ends:
            _wait_for(out, at, end)
    return begin


@called
def _write_anchors(out: Any, at: Any, buffers: Any, routed: int, costs: Any) -> None:
    """What the next fragment may wait for, as milestones in the order that `EXIT` and the others count."""
    host_operation, num_buffers, layers_ahead = costs[0], costs[3], costs[5]
    for place in range(layers_ahead):
        before = LAST_LOAD - num_buffers - 1 - layers_ahead + place
        _add_task(out, at, NONE, 0, host_operation, NONE)
        if routed == NONE:
            _wait_for(out, at, before)
        elif place < layers_ahead - 1:  # a layer with a router: the oldest is dropped
            _wait_for(out, at, before + 1)
        else:
            _wait_for(out, at, routed)
            _wait_for(out, at, at[_LOAD])
    if layers_ahead > 0:
        _add_task(out, at, NONE, 0, host_operation, NONE)
        _wait_for(out, at, at[_FETCH])
    for before in buffers:
        _add_task(out, at, NONE, 0, host_operation, NONE)
        _wait_for(out, at, before)
    for position in (_LOAD, _HOST, _EXIT):
        _add_task(out, at, NONE, 0, host_operation, NONE)
        _wait_for(out, at, at[position])


@compiled
def _write_fragments(kernels: Any, tensors: Any, costs: Any, out: Any, at: Any) -> None:
    """The fragments of all variants."""
    num_variants, num_kernels = kernels[0].shape
    held_first, held_last, held_bytes, rooms = tensors
    room_bytes = max(rooms[:, 1].sum(), 1)
    begins, ends = np.empty(num_kernels, dtype=np.int64), np.empty(num_kernels, dtype=np.int64)
    buffers = np.empty(costs[3], dtype=np.int64)
    for variant in range(num_variants):
        first_held = at[_HELD]
        at[_FIRST] = at[_TASK]
        at[_EXIT], at[_HOST], at[_LOAD] = EXIT, HOST_DONE, LAST_LOAD
        router = costs[6]
        at[_FETCH] = LAST_LOAD - len(buffers) - 1
        for index in range(len(buffers)):
            buffers[index] = LAST_LOAD - len(buffers) + index
        for kernel in range(num_kernels):
            begins[kernel] = _write_kernel(out, at, kernels, (variant, kernel), costs, buffers)
            ends[kernel] = at[_EXIT]
        for tensor in range(len(held_first)):  # spread over the room for activations
            for room in range(len(rooms)):
                share = held_bytes[variant, tensor] * rooms[room, 1] // room_bytes
                if share > 0:
                    _hold(out, at, rooms[room, 0], share, begins[held_first[tensor]], ends[held_last[tensor]])
        out[4][variant] = at[_HELD] - first_held
        _write_anchors(out, at, buffers, NONE if router == NONE else ends[router], costs)
