"""The least time of a phase, from its kernels alone: no tasks, no events, whole design spaces at once.

Never above what an engine finds for the same kernels, and close to it, because a kernel waits for the one before: their
times add up. What may overlap inside a kernel counts by the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from simulator.lowering.block import LoweredBlock, num_pieces, waits_for_launch
from simulator.lowering.kernel_work import KernelWork
from simulator.lowering.platform import Platform
from simulator.program.program import Floats, Ints
from simulator.units import ROUNDING_GUARD_TICKS, TICKS_PER_SECOND
from simulator.variants import Size, choose, largest

RELATIVE_GUARD = 1e-9
"""Kept back for the rounding of sums: a nanosecond in a second."""

_TASKS_PER_PIECE, _OTHER_TASKS = 9, 3
"""Most tasks of a piece of a kernel, and of a kernel beside its pieces."""


@dataclass(frozen=True, eq=False)
class BlockTime:
    """The least time of one repetition of a block. Shape of the arrays: (kinds, steps or 1)."""

    ticks: Floats
    kernel_ticks: tuple[Floats, ...]
    """Of each kernel, its launch included."""
    loaded_bytes: Ints
    stored_bytes: Ints
    guard_ticks: Floats
    """What engines may be early by in all its tasks."""

    def at(self, kind: Ints) -> BlockTime:
        """The times of the kinds of some models."""
        return BlockTime(
            self.ticks[kind], tuple(ticks[kind] for ticks in self.kernel_ticks), self.loaded_bytes[kind],
            self.stored_bytes[kind], self.guard_ticks[kind],
        )  # fmt: skip

    def over_steps(self, num_steps: int) -> BlockTime:
        """The times of all steps together. What single kernels take is left out."""
        return BlockTime(
            _over_steps(self.ticks, num_steps), (), _over_steps(self.loaded_bytes, num_steps),
            _over_steps(self.stored_bytes, num_steps), _over_steps(self.guard_ticks, num_steps),
        )  # fmt: skip


def block_time(block: LoweredBlock, platform: Platform, num_kinds: int = 1) -> BlockTime:
    """The least time of one repetition of a block.

    Args:
        block: its kernels; numbers and arrays of the shape (kinds, 1), (steps,) or (kinds, steps).
        platform: chip and runtime.
        num_kinds: how many kinds of models there are.
    """
    launch_ticks = platform.runtime.launch.value * _ticks_per_cycle(platform)
    kernels = [launch_ticks + _kernel_ticks(work, platform) for work in block.works]
    loaded = [work.loaded_bytes + work.early_bytes for work in block.works]
    stored = [work.stored_bytes for work in block.works]
    pieces = [num_pieces(work, platform) for work in block.works]

    def total(values: Sequence[Any]) -> Any:
        added = np.asarray(reduce(lambda one, other: one + other, values))
        return np.broadcast_to(added, (num_kinds, added.shape[-1] if added.ndim else 1))

    num_tasks = _TASKS_PER_PIECE * total(pieces) + _OTHER_TASKS * len(kernels)
    every = tuple(np.broadcast_to(ticks, (num_kinds, np.shape(ticks)[-1] if np.ndim(ticks) else 1))
                  for ticks in kernels)  # fmt: skip
    return BlockTime(total(kernels), every, total(loaded), total(stored), ROUNDING_GUARD_TICKS * num_tasks)


def least_phase_ticks(
    blocks: Sequence[tuple[BlockTime, Size]], num_steps: int, platform: Platform, *, replays_graph: bool,
    kind: Ints | None = None,
) -> Floats:  # fmt: skip
    """The fewest ticks of a phase that has the chip to itself, from its begin to the end of its last task.

    Formula:  step  = max( sum of all kernels, max over j: j enqueues of the host + the kernels from j on )
              phase = max( sum of steps, first enqueue + all bytes / bandwidth of every channel )
              kernel = launch + least time from there on (`_kernel_ticks`)
    Source:   derived, see the proof; [williams2009] for the terms of a kernel

    Proof. A kernel is launched when the one before has ended, so the times of kernels add up; a host that enqueues
    kernel by kernel takes j enqueues before it has enqueued the j-th, and from there on the kernels still add up. All
    steps wait for the step before. A phase begins when everything before it has ended, so its bytes move within it.
    An engine may end a task `ROUNDING_GUARD_TICKS` early; that much is taken off for every task.

    Args:
        blocks: the blocks of a step, each with its repetitions: a number, or an array with one per model.
        num_steps: steps of the phase.
        platform: chip and runtime.
        replays_graph: whether the host enqueues a step at once.
        kind: the kind of every model; None if there is one model of each kind.
    Returns:
        Ticks, shape (models,).
    """
    enqueue_ticks = platform.runtime.enqueue.value * TICKS_PER_SECOND / platform.chip.host.clock.value
    is_eager = enqueue_ticks > 0 and not replays_graph
    models = []
    for time, repeats in blocks:
        # Steps need telling apart only where the host may be late, and they are many.
        of_kind = time if is_eager else time.over_steps(num_steps)
        per_model = repeats if isinstance(repeats, int) else repeats[:, None]
        models.append((of_kind if kind is None else of_kind.at(kind), per_model))
    zero: Any = np.zeros((1, 1))
    ticks, loaded_bytes, stored_bytes, guard_ticks = zero, zero, zero, zero
    for time, repeats in models:
        ticks = ticks + repeats * time.ticks
        loaded_bytes = loaded_bytes + repeats * time.loaded_bytes
        stored_bytes = stored_bytes + repeats * time.stored_bytes
        guard_ticks = guard_ticks + repeats * time.guard_ticks
    first_enqueue_ticks = 0.0
    if is_eager:
        ticks = np.maximum(ticks, _host_ticks(models, ticks, enqueue_ticks))
        ticks, loaded_bytes, stored_bytes, guard_ticks = (
            _over_steps(each, num_steps) for each in (ticks, loaded_bytes, stored_bytes, guard_ticks)
        )
    elif replays_graph:
        first_enqueue_ticks = enqueue_ticks
        ticks = num_steps * enqueue_ticks + ticks
    moving_ticks = first_enqueue_ticks + _moving_ticks(loaded_bytes, stored_bytes, platform)
    least: Floats = np.maximum(ticks, moving_ticks)[:, 0] * (1 - RELATIVE_GUARD) - guard_ticks[:, 0]
    return np.maximum(least, 0.0)


def _ticks_per_cycle(platform: Platform) -> float:
    return TICKS_PER_SECOND / platform.chip.cluster.clock.value


def _kernel_ticks(work: KernelWork, platform: Platform) -> Any:
    """The least time of a kernel after its launch.

    With n pieces, B buffers, loads l in total, stores s to DRAM and a shared SRAM level, conversion c, matrix m, vector
    and routing work v:

        l + (c + m + v)/n + last store             the last piece is worked on when all loads are done
        the same with what the shared SRAM delivers
        first load + c/n + m + v/n + last store    the matrix engine works on all pieces
        first load + c + v + last store            the vector engine, too
        first load + (c + m + v)/n + s             stores leave in order
        l + s without the cap of a transfer        they share the channels, and the cap is on each by itself
        ceil(n/B) (load + work of a piece)         a buffer is free when its last piece has been worked on

    Loads that need not wait for the launch, and experts that are fetched early, may be done by then and count as
    nothing; nor do those of a kernel with
    fewer bytes than pieces, some of which wait for none.
    """
    count = num_pieces(work, platform)
    every_piece_loads = work.loaded_bytes >= count
    loaded_bytes = choose(waits_for_launch(work, platform) & every_piece_loads, work.loaded_bytes, 0)
    ticks_per_load, ticks_per_store = platform.ticks_per_loaded_byte, platform.ticks_per_stored_byte
    ticks_per_cycle = _ticks_per_cycle(platform)
    ticks_per_near = TICKS_PER_SECOND / platform.sram_bytes_per_s
    load = loaded_bytes * ticks_per_load
    stores = work.stored_bytes * ticks_per_store + work.sram_written_bytes * ticks_per_near
    both = _moving_ticks(loaded_bytes, work.stored_bytes, platform)
    first_load = -(-loaded_bytes // count) * ticks_per_load
    piece_load = loaded_bytes // count * ticks_per_load
    last_store = (
        work.stored_bytes // count * ticks_per_store + work.sram_written_bytes // count * ticks_per_near
    )  # fmt: skip
    conversion, matrix, vector, routing = (
        cycles * ticks_per_cycle
        for cycles in (work.conversion_cycles, work.matrix_cycles, work.vector_cycles, work.routing_cycles)
    )
    near = work.sram_bytes * ticks_per_near
    piece_work = (conversion + matrix + vector + routing) / count
    on_engines = largest((conversion + vector + routing) / count + matrix, conversion + vector, routing)
    in_turn = -(-count // platform.runtime.weight_buffers) * (piece_load + piece_work)
    return largest(
        load + piece_work + last_store,
        near + piece_work,
        first_load + on_engines + last_store,
        first_load + piece_work + stores,
        both,
        choose(every_piece_loads, in_turn, 0.0),
    )


def _moving_ticks(loaded_bytes: Any, stored_bytes: Any, platform: Platform) -> Any:
    """The least time in which the channels move some bytes, whatever runs side by side."""
    of_channels = [loaded_bytes * load + stored_bytes * store for load, store in platform.channel_ticks_per_byte]
    return largest(*of_channels)


def _host_ticks(blocks: Sequence[tuple[BlockTime, Any]], step_ticks: Any, enqueue_ticks: float) -> Any:
    """The longest way through a step that follows the host up to a kernel and the accelerator from there on.

    Through the repetitions of a block the gain of staying with the host is the same each time, so the longest way
    changes over in the first or in the last of them.
    """
    longest: Any = 0.0
    passed_ticks: Any = 0.0
    num_enqueued: Any = 0
    for block, repeats in blocks:
        for repetition in (0, repeats - 1):
            enqueued = num_enqueued + repetition * len(block.kernel_ticks)
            passed = passed_ticks + repetition * block.ticks
            for position, ticks in enumerate(block.kernel_ticks, 1):
                longest = np.maximum(longest, (enqueued + position) * enqueue_ticks + step_ticks - passed)
                passed = passed + ticks
        passed_ticks = passed_ticks + repeats * block.ticks
        num_enqueued = num_enqueued + repeats * len(block.kernel_ticks)
    return longest


def _over_steps(per_step: Any, num_steps: int) -> Any:
    """The sum over the steps, of which there is one column for all, or one for each; shape (kinds, 1)."""
    return per_step.sum(axis=1, keepdims=True) * (num_steps // per_step.shape[1])
