"""From kernels to tasks: launch, load, convert, multiply and store, with double buffering as edges.

One kernel becomes (in brackets: only where there is something to do):

    [enqueue] on the host ─► [launch] ─► per piece: load ─► [convert] ─► [multiply] ─► [vector] ─► [store]

Edges that stand for hardware:

    launch waits for the kernel before          one kernel runs at a time
    load i waits for load i-1                   one DMA queue, in order
    load i waits for the last work on piece i-B B buffers: this is what double buffering looks like
    loads wait for launch                       without prefetch, and where anything but weights is loaded
    store i waits for work i and store i-1      results that do not stay on the chip leave in order
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.lowering.cost import split_evenly, stages
from simulator.lowering.kernel import KernelWork
from simulator.lowering.platform import Platform
from simulator.program.template import Fragment, FragmentBuilder

LEAST_STAGES = 4
MOST_STAGES = 16
"""Resolution of the simulation: pieces into which a kernel's stream is cut.

Real kernels pipeline in kilobytes. With n pieces the last piece's work does not overlap, an error of at most
1/n of the smaller of load and work; more pieces than `MOST_STAGES` would only add events.
"""
WHOLE_BYTES = 64 * 1024
"""A kernel with one kind of work and a stream up to this size is one piece. A policy, not a measurement."""

CAUSES = ("matrix", "vector", "conversion", "launch", "host", "weights", "kv cache", "activations")
"""What time is attributed to; `Labels.causes` of every lowered Program."""
MATRIX, VECTOR, CONVERSION, LAUNCH, HOST, WEIGHTS, KV_CACHE, ACTIVATIONS = range(len(CAUSES))

EXIT, HOST_DONE, LAST_LOAD = -1, -2, -3
"""Anchors: the last tasks of every fragment (`simulator.program.template`). Before them, one anchor per buffer."""


@dataclass
class Cursor:
    """The tasks that the next kernel may have to wait for."""

    exit: int
    host: int
    last_load: int
    buffers: list[int]
    """The last work on each buffer, oldest first."""


def anchored_cursor(platform: Platform) -> Cursor:
    """A cursor on the anchors of the fragment before."""
    buffers = platform.runtime.weight_buffers
    return Cursor(EXIT, HOST_DONE, LAST_LOAD, [LAST_LOAD - buffers + index for index in range(buffers)])


def end_fragment(builder: FragmentBuilder, cursor: Cursor, operation: int) -> Fragment:
    """Adds the anchors, as tasks of an operation of their phase, and freezes the fragment."""
    for task in (*cursor.buffers, cursor.last_load, cursor.host, cursor.exit):
        builder.milestone([task], operation=operation)
    return builder.build()


def step_start(platform: Platform, *, is_first: bool, replays_graph: bool, operation: int, is_phase: bool) -> Fragment:
    """The beginning of a step: the host has seen the last result; with a graph it enqueues all kernels at once.

    A phase begins only when everything of the phase before has ended, so nothing is prefetched across phases.
    """
    builder = FragmentBuilder()
    cursor = anchored_cursor(platform)
    before = [] if is_first else [EXIT, HOST_DONE]
    if is_phase and not is_first:
        before += [LAST_LOAD, *cursor.buffers]
    enqueue_cycles = platform.runtime.enqueue.value
    if replays_graph and enqueue_cycles > 0:
        begin = builder.compute(platform.HOST_UNIT, enqueue_cycles, before, operation=operation, cause=HOST)
    else:
        begin = builder.milestone(before, operation=operation)
    cursor.exit = cursor.host = begin
    if is_first or is_phase:
        cursor.last_load = begin
        cursor.buffers = [begin] * len(cursor.buffers)
    return end_fragment(builder, cursor, operation)


class KernelEmitter:
    """Writes kernels into one fragment."""

    def __init__(self, platform: Platform, *, replays_graph: bool, host_operation: int) -> None:
        self._platform = platform
        self._host_operation = host_operation
        self._replays_graph = replays_graph
        self._builder = FragmentBuilder()
        self._cursor = anchored_cursor(platform)

    def build(self) -> Fragment:
        """The fragment with its anchors."""
        return end_fragment(self._builder, self._cursor, self._host_operation)

    def emit(self, kernel: KernelWork, operation: int) -> tuple[int, int]:
        """Adds the tasks of one kernel; returns the task with which it begins and the one with which it ends."""
        begin = self._launch(operation)
        self._cursor.exit = self._pieces(kernel, begin, operation)
        return begin, self._cursor.exit

    def hold(self, size_bytes: int, first_task: int, last_task: int) -> None:
        """Records that activations take space from one task to another, spread over the room for them."""
        platform = self._platform
        for memory, room in platform.activation_room:
            self._builder.hold(memory, size_bytes * room // platform.activation_room_bytes, first_task, last_task)

    def _launch(self, operation: int) -> int:
        """The task after which the kernel may work: its launch, or what it follows if launching is free."""
        platform, cursor, runtime = self._platform, self._cursor, self._platform.runtime
        after = [cursor.exit]
        if not self._replays_graph and runtime.enqueue.value > 0:
            cycles = runtime.enqueue.value
            cursor.host = self._builder.compute(
                platform.HOST_UNIT, cycles, [cursor.host], operation=self._host_operation, cause=HOST
            )
            after.append(cursor.host)
        if runtime.launch.value > 0:
            return self._builder.compute(
                platform.LAUNCH, runtime.launch.value, after, operation=operation, cause=LAUNCH
            )
        return self._builder.milestone(after, operation=operation)

    def _pieces(self, kernel: KernelWork, begin: int, operation: int) -> int:
        """The stream of a kernel, piece by piece; returns the task with which the kernel ends."""
        platform, cursor, builder = self._platform, self._cursor, self._builder
        waits_for_launch = not (platform.runtime.prefetches_weights and kernel.is_known_early)
        load_cause = _largest_stream(kernel)
        store_cause = KV_CACHE if kernel.cache_write_bytes > kernel.spilled_output_bytes else ACTIVATIONS
        count = self._count(kernel)
        ends: list[int] = []
        store = begin
        for load_bytes, store_bytes in zip(
            split_evenly(kernel.loaded_bytes, count), split_evenly(kernel.stored_bytes, count), strict=True
        ):
            after = [begin]
            if load_bytes:
                waits = [cursor.last_load, cursor.buffers[0]] + ([begin] if waits_for_launch else [])
                cursor.last_load = self._transfer(load_bytes, waits, operation, load_cause)
                after.append(cursor.last_load)
            work = self._work(kernel, count, after, operation)
            if load_bytes:
                cursor.buffers = [*cursor.buffers[1:], work]
                builder.hold(platform.LOCAL, min(load_bytes, platform.stream_buffer_bytes), cursor.last_load, work)
            if store_bytes:
                store = self._transfer(store_bytes, [work, store], operation, store_cause)
            ends.append(store if store_bytes else work)
        return ends[0] if count == 1 else builder.milestone(ends, operation=operation)

    def _count(self, kernel: KernelWork) -> int:
        """Into how many pieces a kernel is cut."""
        streamed = kernel.loaded_bytes + kernel.stored_bytes
        is_pipelined = streamed > WHOLE_BYTES or (kernel.matrix_cycles > 0 and kernel.vector_cycles > 0)
        if not is_pipelined:
            return 1
        least = LEAST_STAGES if self._platform.runtime.weight_buffers > 1 else 1
        return stages(streamed, self._platform.stream_buffer_bytes, least, MOST_STAGES)

    def _work(self, kernel: KernelWork, count: int, after: list[int], operation: int) -> int:
        """Convert, multiply and vector work on one piece; returns the last of them, or a join if there is none."""
        platform = self._platform
        last: int | None = None
        for unit, cycles, cause in (
            (platform.VECTOR, kernel.conversion_cycles, CONVERSION),
            (platform.MATRIX, kernel.matrix_cycles, MATRIX),
            (platform.VECTOR, kernel.vector_cycles, VECTOR),
        ):
            if cycles > 0:
                last = self._builder.compute(unit, cycles / count, after, operation=operation, cause=cause)
                after = [last]
        return self._builder.milestone(after, operation=operation) if last is None else last

    def _transfer(self, size_bytes: int, after: list[int], operation: int, cause: int) -> int:
        platform = self._platform
        return self._builder.transfer(
            platform.ACCELERATOR_ROUTE, size_bytes, after, master=platform.accelerator_master,
            rate_cap_bytes_per_s=platform.rate_cap_bytes_per_s, operation=operation, cause=cause,
        )  # fmt: skip


def _largest_stream(kernel: KernelWork) -> int:
    """The cause under which all loads of a kernel are counted: its largest stream."""
    sizes = {
        WEIGHTS: kernel.weight_bytes + kernel.row_bytes,
        KV_CACHE: kernel.cache_read_bytes,
        ACTIVATIONS: kernel.spilled_input_bytes,
    }
    return max(sizes, key=lambda cause: sizes[cause])
