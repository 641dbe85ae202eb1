"""Chip: the whole SoC as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import Field, model_validator

from simulator.chip.compute import Cluster, Host
from simulator.chip.dram import Dram
from simulator.chip.interconnect import Dies, Link, Master, Noc
from simulator.chip.memory import Sram
from simulator.chip.modes import Partition, Reconfiguration, sum_of_clusters
from simulator.chip.physical import Physical, PowerState, with_spares
from simulator.chip.routing import RoutingUnit
from simulator.errors import SpecError, nearest
from simulator.sourced import (
    Area,
    Power,
    Sourced,
)
from simulator.spec import Spec


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
    dies: Dies | None = None
    """Several dies of this kind; None for one."""
    host: Host
    """The CPU that enqueues kernels."""
    reconfiguration: Reconfiguration | None = None
    """Modes between which the accelerator can change; None for a fixed one."""
    partitions: dict[str, Partition] = Field(default_factory=dict)
    """Parts of the accelerator that streams of a scenario may have to themselves, by name."""
    technology: str | None = None
    """The technology in which the die is made: a name of the catalogue; without it there is no energy, area or cost."""
    physical: Physical | None = None
    """What the die has beside what runs models, for its area and its idle power; must be there with a technology."""
    power_states: dict[str, PowerState] | None = None
    """Settings of cores and clocks by name; without one the chip runs as the rest of this file says."""
    routing: RoutingUnit | None = None
    """The routing unit for mixtures of experts; None if vector engine and DRAM do its work."""

    @model_validator(mode="after")
    def _names_agree(self) -> Chip:
        if self.accelerator not in self.clusters:
            raise ValueError(
                f'accelerator: must name one of the clusters ({", ".join(self.clusters)}), got "{self.accelerator}"'
            )
        if self.accelerator not in self.masters:
            raise ValueError(f'masters: must have an entry "{self.accelerator}" for the accelerator')
        if self.technology is not None and self.physical is None:
            raise ValueError(
                "physical: must say what is around the compute where a technology is named, got nothing "
                "(physical: {surroundings: car} for what a car needs and no CPU cores)"
            )
        self._modes_agree()
        self._places_agree()
        self._levels_agree()
        guaranteed = sum(master.minimum_share for master in self.masters.values())
        if guaranteed > 1:
            raise ValueError(f"masters: minimum shares must sum to at most 1, got {guaranteed:g}")
        return self

    def _modes_agree(self) -> None:
        if self.reconfiguration is not None:
            if self.reconfiguration.cluster != self.accelerator:
                raise ValueError(
                    f'reconfiguration.cluster: must be the accelerator "{self.accelerator}", '
                    f'got "{self.reconfiguration.cluster}"'
                )
            for name, mode in self.reconfiguration.modes.items():
                unknown = [level for level in mode.split if level not in self.sram]
                if unknown:
                    raise ValueError(
                        f"reconfiguration.modes.{name}.split: must name shared SRAM levels "
                        f'({", ".join(self.sram) or "the chip has none"}), got "{unknown[0]}"'
                    )

    def _places_agree(self) -> None:
        """Dies and partitions, where a frame may run."""
        if self.dies is not None and self.dies.link not in self.links:
            raise ValueError(
                f'dies.link: must name one of the links ({", ".join(self.links) or "none"}), got "{self.dies.link}"'
            )
        wanted, there = sum_of_clusters(self.partitions), round(self.cluster.count.value)
        if wanted > there:
            raise ValueError(f"partitions: must have at most the {there} clusters of the accelerator, got {wanted}")

    def _levels_agree(self) -> None:
        """What the SRAM keeps must fit it, and lie in one shared level, in every mode."""
        in_modes = self.in_modes
        for name, chip in in_modes.items():
            shared = {f"split.{at}": level for at, level in chip.sram.items()}
            for field, level in {"local_split": chip.cluster.sram, **shared}.items():
                try:
                    level.check_kv_store()
                except ValueError as error:
                    raise ValueError(f"reconfiguration.modes.{name}.{field}: {error}") from None
        modes = list(self.reconfiguration.modes.values()) if self.reconfiguration else []
        for name in self.sram if modes else ():
            if self.sram[name].split is not None and all(name in mode.split for mode in modes):
                raise ValueError(f"sram.{name}.split: is never used, every mode has its own")
        chips = in_modes.values()
        lasting = dict.fromkeys(name for chip in chips for name, level in chip.sram.items() if level.keeps_something)
        if len(lasting) > 1:
            raise ValueError(f"sram: only one shared level may keep weights, kv or experts, got {', '.join(lasting)}")
        for name in self.sram:
            if self.sram[name].kv_sinks and not any(chip.sram[name].kept_bytes("kv") for chip in chips):
                raise ValueError(f"sram.{name}.kv_sinks: must be 0 on a level without a KV store")

    @property
    def cluster(self) -> Cluster:
        """The cluster group that runs transformer operators."""
        return self.clusters[self.accelerator]

    @property
    def die_link(self) -> Link | None:
        """The link between the dies; None for one die."""
        return None if self.dies is None else self.links[self.dies.link]

    @property
    def in_modes(self) -> dict[str, Chip]:
        """The chip in each of its modes by name, and as it is by the empty name."""
        modes = () if self.reconfiguration is None else self.reconfiguration.modes
        return {"": self} | {name: self.in_mode(name) for name in modes}

    def in_mode(self, name: str) -> Chip:
        """The chip in one of its modes, as a chip that has no other."""
        if self.reconfiguration is None:
            raise KeyError(name)
        mode = self.reconfiguration.modes[name]
        changed: dict[str, object] = {
            field: value
            for field, value in (("clock", mode.clock), ("matrix", mode.matrix), ("vector", mode.vector))
            if value is not None
        }
        if mode.local_split is not None:
            changed["sram"] = self.cluster.sram.model_copy(update={"split": mode.local_split})
        levels = {
            level: memory.model_copy(update={"split": mode.split[level]}) if level in mode.split else memory
            for level, memory in self.sram.items()
        }
        return self._with_cluster(self.cluster.model_copy(update=changed), sram=levels, reconfiguration=None)

    def in_partition(self, name: str) -> Chip:
        """The chip as a partition sees it: its clusters, and as large a part of the shared SRAM.

        Ports, NoC and DRAM are not divided: partitions compete for them.
        """
        clusters = self.partitions[name].clusters
        part = clusters / self.cluster.count.value
        count = self.cluster.count.model_copy(update={"value": float(clusters)})
        levels = {level: memory.part(part) for level, memory in self.sram.items()}
        return self._with_cluster(self.cluster.model_copy(update={"count": count}), sram=levels, partitions={})

    def _with_cluster(self, cluster: Cluster, **others: object) -> Chip:
        """The chip with another accelerator, and with other values of some fields."""
        return self.model_copy(update={"clusters": {**self.clusters, self.accelerator: cluster}, **others})

    @property
    def cluster_sram_bytes(self) -> int:
        """Bytes of the local SRAM of all clusters of the accelerator."""
        return int(self.cluster.sram.capacity.value * self.cluster.count.value)

    def in_power_state(self, name: str) -> Chip:
        """The chip with the cores, clocks and voltage of one of its power states, which no mode's clock exceeds.

        Raises:
            SpecError: when it has no state of that name.
        """
        states = self.power_states or {}
        if name not in states:
            raise SpecError(
                f"chip {self.name}: must have the power state that is asked for "
                f'({", ".join(states) or "none"}), got "{name}"',
                hint=nearest(name, states) if states else "it has none: set clocks one by one",
            )
        state = states[name]
        physical, ways = self.physical or Physical(), self.reconfiguration
        on_die = physical.clusters_on_die  # what a state turns off stays there
        spares = {self.accelerator: with_spares(self.cluster.count, on_die.get(self.accelerator))}
        physical = physical.model_copy(update={"clusters_on_die": {**on_die, **spares}})
        if ways is not None and state.cluster_clock is not None:
            ways = ways.at_most(state.cluster_clock)
        return self._with_cluster(
            _replaced(self.cluster, {"count": state.clusters_on, "clock": state.cluster_clock}),
            reconfiguration=ways,
            dram=_replaced(self.dram, {"rate": state.dram_rate}),
            host=_replaced(self.host, {"clock": state.host_clock}),
            power=state.power or self.power,
            physical=_replaced(physical, {"voltage": state.voltage, "cpu_cores_on": state.cpu_cores_on}),
        )


_SpecT = TypeVar("_SpecT", bound=Spec)


def _replaced(part: _SpecT, numbers: Mapping[str, Sourced | None]) -> _SpecT:
    """A part of a chip with the numbers that are there."""
    return part.model_copy(update={field: number for field, number in numbers.items() if number is not None})
