"""From a Setup to a Program: where each stream runs, when its frames are released, and what else uses the DRAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.chip import Access
from simulator.errors import SpecError, nearest
from simulator.graph import build_graph
from simulator.lowering import Demand, Place, Platform, lower, seen_from, sites
from simulator.program import NONE, Background, Program, Streams
from simulator.scenario.spec import BackgroundSpec
from simulator.simulation.setup import Setup, Stream
from simulator.units import seconds_to_ticks


def to_program(setup: Setup) -> Program:
    """The Program of a setup.

    Raises:
        Infeasible: when the models do not fit the chip's DRAM.
        SpecError: when the chip or the runtime cannot run a precision, or the chip has no timing for a traffic pattern.
    """
    demands = demands_of(setup)
    some = next(iter(demands[0].platforms.values()))
    return lower(demands, some, _streams(setup), _background(setup, some))


def demands_of(setup: Setup) -> list[Demand]:
    """The frame of every stream, or the variants of it, and where its phases run.

    Raises:
        SpecError: when a stream names a partition or a die that the chip does not have.
    """
    platforms = _platforms(setup)
    demands = []
    for stream in setup.streams:
        where = {phase.name: platforms[stream.place(phase.name)] for phase in stream.workload.pipeline}
        for number, workload in enumerate(stream.variants or (stream.workload,)):
            graph = build_graph(workload, setup.seed)
            demands.append(Demand(graph, stream.priority, stream.in_flight, number > 0, where))
    return demands


def _platforms(setup: Setup) -> dict[Place, Platform]:
    """The places that streams use, each divided among as many frames as may run there at the same time."""
    chip = setup.chip
    tenants: dict[Place, int] = {}
    for stream in setup.streams:
        _check_places(setup, stream)
        for place in dict.fromkeys(stream.place(phase.name) for phase in stream.workload.pipeline):
            tenants[place] = tenants.get(place, 0) + stream.in_flight
    of_whole_die = {place.die for place in tenants if not place.partition}
    for place in tenants:
        if place.partition and place.die in of_whole_die:
            raise SpecError(
                f"chip {chip.name}: must run all streams of a die in partitions or none, "
                f'got partition "{place.partition}" beside a stream that takes all clusters'
            )
    found = sites(chip, list(tenants), tuple(dict.fromkeys(_accesses(setup).values())))
    return {
        place: Platform(seen_from(chip, place), setup.runtime, count, found[place], die=place.die)
        for place, count in tenants.items()
    }


def _check_places(setup: Setup, stream: Stream) -> None:
    """Refuses a stream that names a partition, a die or a phase that is not there."""
    chip, where = setup.chip, f"scenario {setup.name}: streams.{stream.name}"
    names = [phase.name for phase in stream.workload.pipeline]
    if stream.partition and stream.partition not in chip.partitions:
        raise SpecError(
            f"{where}.partition: must name one of the partitions of chip {chip.name} "
            f'({", ".join(chip.partitions) or "none"}), got "{stream.partition}"',
            hint=nearest(stream.partition, chip.partitions) if chip.partitions else None,
        )
    unknown = [phase for phase in (() if isinstance(stream.die, int) else stream.die) if phase not in names]
    if unknown:
        raise SpecError(
            f"{where}.die: must name phases of workload {stream.workload.name} ({', '.join(names)}), got {unknown[0]}"
        )
    num_dies = chip.dies.count if chip.dies else 1
    for phase in names:
        if not 0 <= (die := stream.place(phase).die) < num_dies:
            rule = f"must be from 0 to {num_dies - 1}" if num_dies > 1 else "must be 0"
            raise SpecError(f"{where}.die: {rule} on chip {chip.name}, got {die} for {phase}")


def _release_jobs(streams: Sequence[Stream]) -> list[int]:
    """The job of every release; a stream has one job, or one for each of its variants."""
    jobs: list[int] = []
    first = 0
    for stream in streams:
        jobs += [first + variant for variant in stream.release_variant or (0,) * len(stream.release_ticks)]
        first += max(len(stream.variants), 1)
    return jobs


def _streams(setup: Setup) -> Streams:
    streams = setup.streams
    counts = [len(stream.release_ticks) for stream in streams]
    return Streams(
        names=tuple(stream.name for stream in streams),
        release_offsets=np.cumsum([0, *counts], dtype=np.int64),
        release_tick=np.array([tick for stream in streams for tick in stream.release_ticks], dtype=np.int64),
        release_job=np.array(_release_jobs(streams), dtype=np.int64),
        policy=np.array([stream.policy for stream in streams], dtype=np.int64),
        queue_depth=np.array([stream.queue_depth for stream in streams], dtype=np.int64),
        in_flight=np.array([stream.in_flight for stream in streams], dtype=np.int64),
        deadline_ticks=np.array([stream.deadline_ticks for stream in streams], dtype=np.int64),
    )


def _accesses(setup: Setup) -> dict[str, Access]:
    """How each background flow uses the DRAM.

    Raises:
        SpecError: when a flow has a pattern of which the chip does not know the cost.
    """
    accesses = {
        name: Access(flow.pattern, None if flow.piece is None else int(flow.piece), flow.write_share)
        for name, flow in setup.background.items()
    }
    for name, access in accesses.items():
        if access.pattern != "streaming" and setup.chip.dram.device is None:
            raise SpecError(
                f"scenario {setup.name}: background.{name}.pattern: must be streaming on chip {setup.chip.name}, whose "
                f"DRAM has no timing, got {access.pattern}",
                hint="give the chip a memory of the catalogue in dram.device",
            )
    return accesses


def _background(setup: Setup, platform: Platform) -> Background:
    flows, accesses = setup.background, _accesses(setup)
    master = [_master(setup, platform, name, flow) for name, flow in flows.items()]
    # What a flow asks for beyond the port of its master never reaches the DRAM.
    bytes_per_s = [
        min(flow.bandwidth.value, platform.master_cap_bytes_per_s(number))
        for number, flow in zip(master, flows.values(), strict=True)
    ]
    return Background(
        names=tuple(flows),
        route=np.array([platform.site.traffic[accesses[name]] for name in flows], dtype=np.int64),
        master=np.array(master, dtype=np.int64),
        bytes_per_s=np.array(bytes_per_s, dtype=np.float64),
        start_tick=np.array([seconds_to_ticks(flow.start) for flow in flows.values()], dtype=np.int64),
        stop_tick=np.array(
            [NONE if flow.stop is None else seconds_to_ticks(flow.stop) for flow in flows.values()], dtype=np.int64
        ),
    )


def _master(setup: Setup, platform: Platform, name: str, flow: BackgroundSpec) -> int:
    try:
        return platform.master(flow.master)
    except SpecError as error:
        raise SpecError(f"scenario {setup.name}: background.{name}.master: {error.message}", hint=error.hint) from None
