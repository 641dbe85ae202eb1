"""Compute of a chip: clusters, each with matrix paths, a vector engine and a local SRAM; and the CPU."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from simulator.chip.memory import LocalSram
from simulator.precision import Dtype
from simulator.sourced import Count, Frequency, Whole
from simulator.spec import Spec


class MatrixPath(Spec):
    """One way to the multipliers of a cluster, with its rates and its native tile.

    A chip may have several: a Blackwell SM multiplies FP16 at 4,096 MAC per cycle through tensor memory and at a
    quarter of that through the warp-level instructions of older parts. A runtime says which kernel uses which.
    """

    macs_per_cycle: dict[Dtype, Count] = Field(min_length=1)
    """Dense multiply-accumulates per cycle of one cluster, by dtype. What is not listed must be converted first."""
    converts_in_path: tuple[Dtype, ...] = ()
    """Formats that the path converts by itself on the way in and out, at its own rate: it expands weights of these
    formats, quantises activations to them and scales the results. All other conversion is vector work."""
    tile_m: Whole
    """Rows of activations in the smallest tile; fewer rows are padded."""
    tile_n: Whole
    """Output columns in the smallest tile."""
    tile_k: Whole
    """Depth of the smallest tile."""


def check_native_path(matrix: Mapping[str, MatrixPath]) -> None:
    """Refuses matrix paths without the one that kernels take where theirs is not there.

    Raises:
        ValueError: saying so.
    """
    if "native" not in matrix:
        raise ValueError(f'matrix: must have a path named "native", got {", ".join(matrix) or "none"}')


class VectorEngine(Spec):
    """Everything that is not a matrix multiplication: norms, activations, rope, conversion, softmax."""

    lanes: Count
    """Elements per cycle of one cluster for a simple operation (one multiply-add each)."""
    special_per_cycle: Count
    """Special functions (exp, reciprocal square root, sine) per cycle of one cluster."""


class Cluster(Spec):
    """A group of identical compute clusters (SM, NPU core, tensor block) under one clock."""

    count: Whole
    """How many there are and may be used."""
    clock: Frequency
    """The clock at which they run."""
    matrix: dict[str, MatrixPath] = Field(min_length=1)
    """Matrix paths by name. `native` must be there; `legacy` is the older path of a chip that keeps one,
    `half` that with 16-bit accumulators where it has another rate."""
    vector: VectorEngine
    """The vector engine of one cluster."""
    sram: LocalSram
    """The local SRAM of one cluster, which holds the tiles that are being worked on."""

    @model_validator(mode="after")
    def _has_native_path(self) -> Cluster:
        check_native_path(self.matrix)
        return self

    def path(self, name: str) -> MatrixPath:
        """The path of that name, or `native` on a chip that has only that."""
        return self.matrix.get(name, self.matrix["native"])

    def macs_per_second(self, path: str, dtype: Dtype) -> float | None:
        """Dense MAC/s of all clusters on a path, None if the path has no such dtype."""
        rate = self.path(path).macs_per_cycle.get(dtype)
        return None if rate is None else rate.value * self.count.value * self.clock.value


class Host(Spec):
    """The CPU core that enqueues kernels."""

    clock: Frequency
    """Its clock."""
