"""Chip: the whole SoC as one frozen value."""

from __future__ import annotations

from pydantic import Field, model_validator

from simulator.chip.compute import Cluster
from simulator.chip.memory import LASTING, Dram, Sram
from simulator.sourced import Area, Bandwidth, Duration, Fraction, Frequency, Power
from simulator.spec import Spec


class Noc(Spec):
    """The way from the accelerator to DRAM: one port for all clusters together."""

    bandwidth: Bandwidth
    """Peak bytes per second."""
    sustained_fraction: Fraction
    """What a stream reaches of that peak."""

    @property
    def sustained_bytes_per_s(self) -> float:
        """Formula: peak * sustained fraction."""
        return self.bandwidth.value * self.sustained_fraction.value


class Master(Spec):
    """A requester on the DRAM: the accelerator, the CPU, the ISP, the display.

    Shares are policies of the memory controller that the user chooses (MPAM and the like), so they need no source.
    """

    weight: float = Field(default=1.0, gt=0)
    """Relative share when the DRAM is contended (weighted max-min)."""
    minimum_share: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the DRAM that the master gets for certain while it asks for it."""
    maximum_share: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the DRAM that the master never exceeds."""
    rate_cap: Bandwidth | None = None
    """The most the master can move by itself (its port, its outstanding requests)."""


class Link(Spec):
    """A link to another chip or to a sensor; not used inside one chip."""

    bandwidth: Bandwidth
    """Bytes per second and direction."""
    latency: Duration | None = None
    """Time of an empty message."""


class Host(Spec):
    """The CPU core that enqueues kernels."""

    clock: Frequency
    """Its clock."""


class Chip(Spec):
    """An automotive SoC, existing or not."""

    name: str
    """The name by which commands find it; the file has the same name."""
    title: str
    """The name for people."""
    process: str
    """Foundry and node."""
    die_area: Area | None = None
    """Area of the die, where known."""
    power: Power | None = None
    """Largest power of the module or die, where known."""
    usual_runtime: str
    """The software stack that a run takes if none is named: a name of the catalogue."""
    accelerator: str
    """The cluster group that runs transformer operators: a key of `clusters`."""
    clusters: dict[str, Cluster] = Field(min_length=1)
    """Cluster groups by name."""
    sram: dict[str, Sram] = Field(default_factory=dict)
    """SRAM levels shared by the clusters, by name, nearest first (last-level cache, scratchpad)."""
    noc: Noc | None = None
    """The port of the accelerator, where it is narrower than the DRAM; None where it never limits."""
    dram: Dram
    """The external memory."""
    masters: dict[str, Master]
    """Requesters on the DRAM by name; one has the name of `accelerator`."""
    links: dict[str, Link] = Field(default_factory=dict)
    """Links by name."""
    host: Host
    """The CPU that enqueues kernels."""

    @model_validator(mode="after")
    def _names_agree(self) -> Chip:
        if self.accelerator not in self.clusters:
            raise ValueError(
                f'accelerator: must name one of the clusters ({", ".join(self.clusters)}), got "{self.accelerator}"'
            )
        if self.accelerator not in self.masters:
            raise ValueError(f'masters: must have an entry "{self.accelerator}" for the accelerator')
        lasting = [name for name, level in self.sram.items() if any(level.kept_bytes(what) for what in LASTING)]
        if len(lasting) > 1:
            raise ValueError(f"sram: only one shared level may keep weights, kv or experts, got {', '.join(lasting)}")
        guaranteed = sum(master.minimum_share for master in self.masters.values())
        if guaranteed > 1:
            raise ValueError(f"masters: minimum shares must sum to at most 1, got {guaranteed:g}")
        return self

    @property
    def cluster(self) -> Cluster:
        """The cluster group that runs transformer operators."""
        return self.clusters[self.accelerator]

    @property
    def cluster_sram_bytes(self) -> int:
        """Bytes of the local SRAM of all clusters of the accelerator."""
        return int(self.cluster.sram.capacity.value * self.cluster.count.value)
