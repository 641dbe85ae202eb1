"""Memories of a chip: SRAM levels and DRAM."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from simulator.sourced import Bandwidth, BytesPerCycle, Capacity, ChosenRoom
from simulator.spec import Spec

Share = Annotated[float, Field(ge=0, le=1)]
"""A share of an SRAM level, 0 to 1: a policy that software chooses, so it needs no source."""

Lasting = Literal["weights", "kv", "experts"]
"""What stays in an SRAM level from step to step."""
LASTING: Final[tuple[Lasting, ...]] = ("weights", "kv", "experts")


class Split(Spec):
    """How software shares out an SRAM level. What is not given away stays empty."""

    activations: Share = 0.0
    """For what passes between kernels."""
    weights: Share = 0.0
    """For pinned weights: an equal part of every matrix, loaded once and kept."""
    kv: Share = 0.0
    """For the newest tokens of the KV cache, an equal share for every layer."""
    experts: Share = 0.0
    """For experts' weights that were used before or are expected."""

    @property
    def total(self) -> float:
        """All shares together."""
        return self.activations + self.weights + self.kv + self.experts

    @model_validator(mode="after")
    def _at_most_all(self) -> Split:
        if self.total > 1 + SHARE_ROUNDING:
            shares = ", ".join(f"{name} {share:g}" for name, share in self if share)
            raise ValueError(f"shares must sum to at most 1, got {self.total:g} ({shares})")
        return self


SHARE_ROUNDING = 1e-9
"""So that shares such as 0.05, 0.55, 0.3 and 0.1 are not more than everything."""


class Sram(Spec):
    """One SRAM level shared by all clusters."""

    capacity: Capacity
    """Bytes that software can use."""
    bandwidth: Bandwidth | None = None
    """Bytes per second that it delivers to all clusters together; None where no figure is known: then it never limits.
    """
    split: Split | None = None
    """How it is shared out; None leaves all of it to activations that do not fit into the local SRAM."""
    kv_store: ChosenRoom | None = None
    """Bytes reserved for the KV cache, instead of a share of the split; 0 for none."""
    kv_sinks: Annotated[int, Field(ge=0)] = 0
    """First tokens that the KV store never gives up; a sliding window that has passed them does not read them."""

    @model_validator(mode="after")
    def _kv_store_fits(self) -> Sram:
        self.check_kv_store()
        return self

    def check_kv_store(self) -> None:
        """Refuses a KV store beside a share for KV, or one that is larger than what the split leaves.

        Raises:
            ValueError: saying so.
        """
        if self.kv_store is None:
            return
        if self.split is not None and self.split.kv > 0:
            raise ValueError("kv_store: must not be given beside split.kv, which says the same as a share")
        others = 0.0 if self.split is None else self.split.total
        room = (1 - others) * self.capacity.value
        if self.kv_store > room * (1 + SHARE_ROUNDING):
            left = f"what the split leaves of {_mib(self.capacity.value)}" if others else "the capacity"
            raise ValueError(f"kv_store: must be at most {left}, {_mib(room)}, got {_mib(self.kv_store)}")

    def part(self, fraction: float) -> Sram:
        """A part of the level with the same split and the same port."""
        capacity = self.capacity.model_copy(update={"value": self.capacity.value * fraction})
        kv_store = None if self.kv_store is None else self.kv_store * fraction
        return self.model_copy(update={"capacity": capacity, "kv_store": kv_store})

    def kept_bytes(self, what: Lasting) -> int:
        """Bytes for something that stays from step to step."""
        if what == "kv" and self.kv_store is not None:
            return int(self.kv_store)
        return 0 if self.split is None else int(getattr(self.split, what) * self.capacity.value)

    @property
    def keeps_something(self) -> bool:
        """Whether anything stays in it from step to step."""
        return any(self.kept_bytes(what) for what in LASTING)

    @property
    def activation_bytes(self) -> int:
        """Bytes for what passes between kernels."""
        if self.split is not None:
            return int(self.split.activations * self.capacity.value)
        return int(self.capacity.value - (self.kv_store or 0))


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:g} MiB"


class LocalSplit(Split):
    """How software shares out the local SRAM of a cluster."""

    streams: Annotated[float, Field(gt=0, le=1)]
    """For the buffers through which weights and KV stream."""

    @property
    def total(self) -> float:
        """All shares together."""
        return super().total + self.streams


EVEN_SPLIT = LocalSplit(streams=0.5, activations=0.5)
"""A policy, not a measurement: half for streams and half for activations, as double-buffered kernels commonly use."""


class LocalSram(Sram):
    """The local store of one cluster."""

    port: BytesPerCycle | None = None
    """Bytes per cycle that the vector engine reads and writes; None where no figure is known: then it never limits."""
    split: LocalSplit = EVEN_SPLIT
    """How it is shared out."""
