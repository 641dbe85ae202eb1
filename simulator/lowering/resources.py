"""Resources of a Program: units, channels, masters, routes and memories of the places of a chip where jobs run.

Lowering numbers units, routes and memories as a single place has them; a `Site` says which of the Program's they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.chip import READ_STREAM, Access, Chip
from simulator.lowering.dram import STORE
from simulator.program.program import NONE, Ints, Resources, role_of
from simulator.units import seconds_to_ticks

DRAM, NOC, SRAM, HOST = "dram", "noc", "sram", "host"

NUM_UNITS = 7
MATRIX_UNIT, VECTOR_UNIT, LAUNCH_UNIT, HOST_UNIT, ROUTING_UNIT, MODE_UNIT, LINK_UNIT = range(NUM_UNITS)
"""Units of a place. Not every chip has the last three."""
NUM_ROUTES = 3
LOAD_ROUTE, STORE_ROUTE, SRAM_ROUTE = range(NUM_ROUTES)
"""Routes of a place. The last is there where a shared SRAM level keeps something and its port has a figure."""
LOCAL_MEMORY = 0
"""The local SRAM of all clusters; shared levels follow."""


class Place(NamedTuple):
    """Where a job runs: a die, and a partition of its clusters."""

    die: int = 0
    partition: str = ""
    """Empty for all clusters."""


@dataclass(frozen=True, eq=False)
class Site:
    """A place among the resources of a Program."""

    resources: Resources
    """Of the Program."""
    unit: Ints
    """The unit behind each unit of the place; NONE where it has none."""
    route: Ints
    """The route behind each route of the place; NONE where it has none."""
    memory: Ints
    """The memory behind each memory of the place."""
    traffic: Mapping[Access, int]
    """The route of each kind of access of other masters, on the first die."""
    master: int
    """On whose behalf the place moves bytes."""


def sites(chip: Chip, places: Sequence[Place] = (Place(),), traffic: Sequence[Access] = ()) -> dict[Place, Site]:
    """The places of a chip where jobs run, with the resources of all of them.

    Units and memories are a place's own. The host, the DRAM and the ways to it are those of its die, so partitions of
    a die compete for them.

    Args:
        chip: the chip.
        places: where jobs run.
        traffic: how other masters use the DRAM of the first die, each kind once.
    """
    units, channels, memories, routes = _Rows(), _Rows(), _Rows(), _Rows()
    numbers = {
        place: (_units(chip, place, units), _routes(chip, place, channels, routes), _memories(chip, place, memories))
        for place in places
    }
    outside = {access: _traffic_route(chip, number, access, channels, routes) for number, access in enumerate(traffic)}
    resources, masters = _resources(chip, units, channels, memories, routes), list(chip.masters)
    return {
        place: Site(
            resources=resources,
            unit=np.array(unit),
            route=np.array(route),
            memory=np.array(memory),
            traffic=outside,
            master=masters.index(place.partition if place.partition in masters else chip.accelerator),
        )
        for place, (unit, route, memory) in numbers.items()
    }


def seen_from(chip: Chip, place: Place) -> Chip:
    """The chip as a place shows it: its clusters and its part of the shared SRAM."""
    return chip.in_partition(place.partition) if place.partition else chip


def sram_bytes_per_s(chip: Chip) -> float:
    """What the port of the shared level delivers that keeps something; infinite where no figure is known."""
    for seen in chip.in_modes.values():
        for level in seen.sram.values():
            if level.bandwidth is not None and level.keeps_something:
                return level.bandwidth.value
    return math.inf


Way = tuple[tuple[int, float], ...]
"""Channels with the part of their capacity that a byte takes."""


class _Rows(dict[str, float | Way]):
    """Rows by name, numbered as they come. What partitions of a die share is added once."""

    def number(self, name: str, value: float | Way) -> int:
        self.setdefault(name, value)
        return list(self).index(name)


def _die(chip: Chip, place: Place) -> str:
    return "" if chip.dies is None else f"die{place.die}."


def _own(chip: Chip, place: Place) -> str:
    partition = f".{place.partition}" if place.partition else ""
    return f"{_die(chip, place)}{chip.accelerator}{partition}"


def _units(chip: Chip, place: Place, units: _Rows) -> list[int]:
    clock_hz = chip.cluster.clock.value  # of the chip, not of a mode: cycles of a mode are counted in it
    own, die, number = _own(chip, place), _die(chip, place), [NONE] * NUM_UNITS
    number[MATRIX_UNIT] = units.number(f"{own}.matrix", clock_hz)
    number[VECTOR_UNIT] = units.number(f"{own}.vector", clock_hz)
    number[LAUNCH_UNIT] = units.number(f"{own}.launch", clock_hz)
    number[HOST_UNIT] = units.number(f"{die}{HOST}", chip.host.clock.value)
    if chip.reconfiguration is not None:
        number[MODE_UNIT] = units.number(f"{own}.mode", clock_hz)
    if chip.die_link is not None:  # the work of a link is bytes, and its clock bytes per second
        number[LINK_UNIT] = units.number(f"{die}link", chip.die_link.bandwidth.value)
    if chip.routing is not None:
        number[ROUTING_UNIT] = units.number(f"{own}.routing", clock_hz)
    return number


def _routes(chip: Chip, place: Place, channels: _Rows, routes: _Rows) -> list[int]:
    die, number = _die(chip, place), [NONE] * NUM_ROUTES
    dram = channels.number(die + DRAM, chip.dram.sustained_bytes_per_s)
    port: Way = ()
    if chip.noc is not None:
        port = ((channels.number(die + NOC, chip.noc.sustained_bytes_per_s), 1.0),)
    loads, stores = chip.dram.usage(READ_STREAM), chip.dram.usage(STORE)
    number[LOAD_ROUTE] = routes.number(f"{die}load", (*port, (dram, loads)))
    number[STORE_ROUTE] = routes.number(f"{die}store", (*port, (dram, stores)))
    if stores == loads:
        number[STORE_ROUTE] = number[LOAD_ROUTE]
    if math.isfinite(bytes_per_s := sram_bytes_per_s(chip)):
        number[SRAM_ROUTE] = routes.number(die + SRAM, ((channels.number(die + SRAM, bytes_per_s), 1.0),))
    return number


def _traffic_route(chip: Chip, number: int, access: Access, channels: _Rows, routes: _Rows) -> int:
    dram = channels.number(_die(chip, Place()) + DRAM, chip.dram.sustained_bytes_per_s)
    return routes.number(f"traffic.{number}", ((dram, chip.dram.usage(access)),))


def _memories(chip: Chip, place: Place, memories: _Rows) -> list[int]:
    seen, partition = seen_from(chip, place), f".{place.partition}" if place.partition else ""
    return [memories.number(f"{_own(chip, place)}.sram", seen.cluster_sram_bytes)] + [
        memories.number(f"{_die(chip, place)}{name}{partition}", level.capacity.value)
        for name, level in seen.sram.items()
    ]


def _resources(chip: Chip, units: _Rows, channels: _Rows, memories: _Rows, routes: _Rows) -> Resources:
    names = list(channels)
    masters = list(chip.masters)
    drams = [number for number, name in enumerate(names) if role_of(name) == DRAM]
    limited = [(masters.index(name), channel, master) for channel in drams for name, master in chip.masters.items()]
    shared = [row for row in limited if row[2].minimum_share > 0 or row[2].maximum_share < 1]
    budgets = [(number, channel, master.budget) for number, channel, master in limited if master.budget is not None]
    ways = [way for way in routes.values() if isinstance(way, tuple)]
    return Resources(
        unit_names=tuple(units),
        unit_clock_hz=np.array(list(units.values()), dtype=np.float64),
        unit_slots=np.ones(len(units), dtype=np.int64),
        channel_names=tuple(names),
        channel_bytes_per_s=np.array(list(channels.values()), dtype=np.float64),
        master_names=tuple(masters),
        master_weight=np.array([master.weight for master in chip.masters.values()]),
        share_master=np.array([master for master, _, _ in shared], dtype=np.int64),
        share_channel=np.array([channel for _, channel, _ in shared], dtype=np.int64),
        share_minimum=np.array([master.minimum_share for _, _, master in shared], dtype=np.float64),
        share_maximum=np.array([master.maximum_share for _, _, master in shared], dtype=np.float64),
        share_is_soft=np.array([master.limit == "soft" for _, _, master in shared], dtype=np.bool_),
        budget_master=np.array([master for master, _, _ in budgets], dtype=np.int64),
        budget_channel=np.array([channel for _, channel, _ in budgets], dtype=np.int64),
        budget_bytes=np.array([budget.size for _, _, budget in budgets], dtype=np.float64),
        budget_period_ticks=np.array([seconds_to_ticks(budget.period) for _, _, budget in budgets], dtype=np.int64),
        route_offsets=np.cumsum([0, *map(len, ways)], dtype=np.int64),
        route_channels=np.array([channel for way in ways for channel, _ in way], dtype=np.int64),
        route_usage=np.array([usage for way in ways for _, usage in way], dtype=np.float64),
        memory_names=tuple(memories),
        memory_bytes=np.array(list(memories.values()), dtype=np.int64),
    )
