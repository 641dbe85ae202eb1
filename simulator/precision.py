"""Precisions: how many bytes a tensor takes, exactly, in each number format.

A *precision* is what a user asks for (`w4a16`); a *dtype* is what a matrix engine multiplies (`int8`). Both chips and
workloads speak of them, so they live below both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from simulator.errors import SpecError, nearest

if TYPE_CHECKING:  # numpy is slow to import, and listing a catalogue needs none
    from simulator.variants import Size

Dtype = Literal["fp32", "fp16", "bf16", "fp8", "int8", "int4", "nvfp4"]
"""A number format that a matrix engine multiplies."""

DTYPE_BITS: dict[Dtype, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "nvfp4": 4}


@dataclass(frozen=True)
class Precision:
    """A storage format of weights and activations; what multiplies them is a matter of the runtime's kernel.

    A matrix [n, k] of weights takes `n * k * weight_bits / 8` bytes, and `scale_bytes` for each group of `group`
    elements along k (`group` 0: one scale per row of n, or none if `scale_bytes` is 0).
    """

    name: str
    weight_bits: int
    scale_bytes: int
    group: int
    activation_bytes: int
    """Bytes per activation element as it is kept between kernels; quantising happens inside a kernel."""

    def matrix_bytes(self, rows: Size, columns: Size) -> Size:
        """Bytes of a weight matrix of `rows` outputs and `columns` inputs, exact.

        >>> precision("w4a16").matrix_bytes(4096, 4096) / 4096**2
        0.515625
        """
        elements = rows * columns
        groups = rows * (-(-columns // self.group) if self.group else 1)
        return -(-elements * self.weight_bits // 8) + groups * self.scale_bytes


# Group sizes and scale widths: [edge-llm-v09] and [awq] for w4a16 (g128, FP16 scales), [ridge] for NVFP4 (16 elements,
# one byte) and MXFP8 (32 elements, one byte). FP8 and INT8 keep one scale per tensor, which is not worth a byte count.
PRECISIONS: dict[str, Precision] = {
    entry.name: entry
    for entry in (
        Precision("fp32", 32, 0, 0, 4),
        Precision("fp16", 16, 0, 0, 2),
        Precision("bf16", 16, 0, 0, 2),
        Precision("fp8", 8, 0, 0, 2),
        Precision("w8a8", 8, 0, 0, 2),
        Precision("w8a16", 8, 0, 0, 2),
        Precision("w4a16", 4, 2, 128, 2),
        Precision("nvfp4", 4, 1, 16, 2),
        Precision("mxfp8", 8, 1, 32, 2),
    )
}


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
