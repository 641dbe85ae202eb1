"""Residency: which activations stay on the chip between kernels, and how much of each goes to DRAM.

A tensor lives from the kernel that writes it to the last that reads it. Where the tensors that live at the same time
need more room than there is, each keeps an equal fraction of itself on the chip, as in a cache that replaces at random;
the rest is written to DRAM once and read back by every reader. Within a block and between its repetitions what is read
was written; where one block hands on to a different one, each takes its own fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.graph import Operator, OperatorGraph
from simulator.lowering.quantise import stored_bytes
from simulator.variants import Floats, Size, largest, smallest, whole

OUTSIDE = -1
"""The producer of a tensor that another block made."""


@dataclass(frozen=True)
class Activation:
    """A tensor between kernels of one block."""

    size_bytes: Size
    producer: int
    """Kernel that writes it, or `OUTSIDE`."""
    consumers: tuple[int, ...]
    """Kernels that read it."""
    is_block_output: bool
    """Whether the block after this one reads it."""

    @property
    def is_at_border(self) -> bool:
        """Whether it comes into the block or leaves it."""
        return self.producer == OUTSIDE or self.is_block_output

    def life(self, num_kernels: int) -> range:
        """The kernels during which it is needed."""
        last = num_kernels - 1 if self.is_block_output else max(self.consumers, default=self.producer)
        return range(max(0, self.producer), last + 1)


def activations_of(graph: OperatorGraph, kernels: Sequence[Sequence[Operator]], element_bytes: int) -> list[Activation]:
    """The tensors that pass between the kernels of a block, into it and out of it.

    What stays between the operators of one kernel stays in registers.
    """
    kernel_of = {operator.name: index for index, kernel in enumerate(kernels) for operator in kernel}
    tensors = []
    outside: dict[int, Size] = {}
    for index, kernel in enumerate(kernels):
        for operator in kernel:
            readers = [kernel_of[after.name] for after in graph.successors(operator.name)]
            elsewhere = tuple(sorted({reader for reader in readers if reader != index}))
            if np.any(operator.output_elements) and (elsewhere or not readers):
                size_bytes = stored_bytes(operator, element_bytes)
                tensors.append(Activation(size_bytes, index, elsewhere, is_block_output=not readers))
            made: Size = 0
            for before in graph.predecessors(operator.name):
                made = made + before.output_elements
            missing = operator.input_elements - made
            if np.any(missing > 0):
                outside[index] = largest(outside.get(index, 0), missing)
    if outside:
        size_bytes = largest(*outside.values()) * element_bytes
        tensors.append(Activation(size_bytes, OUTSIDE, tuple(sorted(outside)), is_block_output=False))
    return tensors


def resident_bytes(tensors: Sequence[Activation], num_kernels: int, room_bytes: Size) -> list[Size]:
    """How much of each tensor stays on the chip, in bytes.

    Formula:  live(k) = sum of the tensors that live during kernel k
              resident(t) = size(t) * min over its life of min(1, room / live(k))
    Status:   derived; measured shares lie below what this gives on Thor and above it on GB10 [roadline-e2e-fit]
              section 3.2

    What a block receives and what it hands on are the same stream of rows, so they keep the same fraction.
    """
    return _shared(tensors, [room_bytes] * num_kernels)


def depth_first_bytes(tensors: Sequence[Activation], num_kernels: int, room_bytes: Size) -> list[Size]:
    """How much of each tensor is on the chip, in bytes, while the kernels of a block take turns on pieces.

    What comes into the block and leaves it lies there as far as it fits; pieces of all others take what is left.
    """
    rooms: list[Size] = [room_bytes] * num_kernels
    resident: list[Size] = [0] * len(tensors)
    for at_border in (True, False):
        group = [number for number, tensor in enumerate(tensors) if tensor.is_at_border is at_border]
        for number, size_bytes in zip(group, _shared([tensors[number] for number in group], rooms), strict=True):
            resident[number] = size_bytes
            for kernel in tensors[number].life(num_kernels):
                rooms[kernel] = rooms[kernel] - size_bytes
    return resident


def _shared(tensors: Sequence[Activation], rooms: Sequence[Size]) -> list[Size]:
    """What stays of some tensors where each kernel has so much room for them (shape: kernels)."""
    live: list[Size] = [0] * len(rooms)
    for tensor in tensors:
        for kernel in tensor.life(len(rooms)):
            live[kernel] = live[kernel] + tensor.size_bytes
    fractions: list[float | Floats] = []
    at_border: float | Floats = 1.0
    for tensor in tensors:
        fraction: float | Floats = 1.0
        for kernel in tensor.life(len(rooms)):
            fraction = smallest(fraction, rooms[kernel] / largest(live[kernel], 1))
        fractions.append(fraction)
        if tensor.is_at_border:
            at_border = smallest(at_border, fraction)
    return [
        whole(tensor.size_bytes * (at_border if tensor.is_at_border else fraction))
        for tensor, fraction in zip(tensors, fractions, strict=True)
    ]
