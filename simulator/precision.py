"""Precisions: how many bytes a tensor takes, exactly, in each number format.

A *precision* is what a user asks for (`w4a16`); a *dtype* is what a matrix engine multiplies (`int8`). Both chips and
workloads speak of them, so they live below both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from simulator.errors import SpecError, nearest

if TYPE_CHECKING:  # numpy is slow to import, and listing a catalogue needs none
    from simulator.variants import Size

Dtype = Literal["fp32", "fp16", "bf16", "fp8", "int8", "int4", "nvfp4", "tf32"]
"""A number format that a matrix engine multiplies; `nvfp4` stands for 4-bit floats with any block scale, `tf32` for 32
bits of which 19 are multiplied."""

DTYPE_BITS: dict[Dtype, int] = {
    "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "nvfp4": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Precision:
    """A storage format of weights, activations or a KV cache; what multiplies them is a matter of the runtime's kernel.

    A matrix [n, k] of weights takes `n * k * weight_bits / 8` bytes, and `scale_bytes` for each group of `group`
    elements along k (`group` 0: one scale per row of n, or none if `scale_bytes` is 0).
    """

    name: str
    weights: Dtype
    """The format of an element."""
    scale_bytes: int = 0
    group: int = 0
    activation_bytes: int = 2
    """Bytes per activation element as it is kept between kernels."""

    @property
    def weight_bits(self) -> int:
        """Bits of an element without its scale."""
        return DTYPE_BITS[self.weights]

    @property
    def element_bytes(self) -> float:
        """Bytes of an element with its part of a group's scale; scales of whole rows are not worth a count."""
        return self.weight_bits / 8 + (self.scale_bytes / self.group if self.group else 0)

    def matrix_bytes(self, rows: Size, columns: Size) -> Size:
        """Bytes of a weight matrix of `rows` outputs and `columns` inputs, exact.

        >>> precision("w4a16").matrix_bytes(4096, 4096) / 4096**2
        0.515625
        """
        elements = rows * columns
        groups = rows * (-(-columns // self.group) if self.group else 1)
        return -(-elements * self.weight_bits // 8) + groups * self.scale_bytes

    def tensor_bytes(self, elements: Size) -> Size:
        """Bytes of so many elements with their scales: a part of a KV cache, or activations that were quantised.

        >>> precision("mxfp8").tensor_bytes(64)
        66
        """
        groups = -(-elements // self.group) if self.group else 0
        return -(-elements * self.weight_bits // 8) + groups * self.scale_bytes


# Group sizes and scale widths: [edge-llm-v09] and [awq] for w4a16 (g128, FP16 scales), [ridge] for NVFP4 (16 elements,
# one byte), MXFP4 and MXFP8 (32 elements, one byte), [qserve] for w4a8, [llama.cpp] for q4_0 and q8_0 (32 elements, one
# FP16 scale). int8 and int4 are for KV caches: one FP16 scale per head and token, taken as 128 elements. FP8 and w8a8
# keep one scale per tensor or row, which is not worth a byte count. In w8a8-static scales are known beforehand, so
# kernels hand on 8 bits, as those of convolutional networks do.
PRECISIONS: dict[str, Precision] = {
    entry.name: entry
    for entry in (
        Precision("fp32", "fp32", activation_bytes=4),
        Precision("fp16", "fp16"),
        Precision("bf16", "bf16"),
        Precision("fp8", "fp8"),
        Precision("w8a8", "int8"),
        Precision("w8a8-static", "int8", activation_bytes=1),
        Precision("w8a16", "int8"),
        Precision("w4a16", "int4", scale_bytes=2, group=128),
        Precision("w4a8", "int4", scale_bytes=2, group=128),
        Precision("nvfp4", "nvfp4", scale_bytes=1, group=16),
        Precision("mxfp4", "nvfp4", scale_bytes=1, group=32),
        Precision("mxfp8", "fp8", scale_bytes=1, group=32),
        Precision("int8", "int8", scale_bytes=2, group=128),
        Precision("int4", "int4", scale_bytes=2, group=128),
        Precision("q8_0", "int8", scale_bytes=2, group=32),
        Precision("q4_0", "int4", scale_bytes=2, group=32),
    )
}


CACHE_PRECISIONS: Final = tuple(name for name in PRECISIONS if not name.startswith("w"))
"""What a KV cache may be kept in: formats of numbers, not those of weights beside activations."""


def precision_choice(text: str) -> str | dict[str, str] | None:
    """A precision, or one by phase from "vision=fp8,action=fp8"; None for no text.

    Raises:
        SpecError: when a phase or a precision is missing.
    """
    if "=" not in text:
        return text or None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(phase.strip() and name.strip() for phase, _, name in pairs):
        raise SpecError(f'precision: must be P or PHASE=P,PHASE=P, got "{text}"')
    phases = [phase.strip() for phase, _, _ in pairs]
    if len(set(phases)) < len(phases):
        raise SpecError(f'precision: must name each phase once, got "{text}"')
    return {phase.strip(): name.strip() for phase, _, name in pairs}


def precision(name: str) -> Precision:
    """The precision of that name.

    Raises:
        SpecError: when there is none.
    """
    if name not in PRECISIONS:
        raise SpecError(
            f'precision: must be one of {", ".join(PRECISIONS)}, got "{name}"', hint=nearest(name, PRECISIONS)
        )
    return PRECISIONS[name]
