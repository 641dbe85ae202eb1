"""Resources: units, channels, masters, shares, routes and memories of a chip, as a Program has them.

A route is what a transfer crosses, and how much of the DRAM each of its bytes takes. Which transfer takes which route
is said in `simulator.lowering.platform`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.chip import Access, Chip
from simulator.program.columns import offsets_of
from simulator.program.program import Resources
from simulator.units import seconds_to_ticks

DRAM, NOC = "dram", "noc"
HOST = "host"


def resources_of(chip: Chip, inside: Sequence[Access], outside: Sequence[Access]) -> Resources:
    """The resources of a chip.

    Args:
        chip: the chip.
        inside: accesses of the accelerator, one route each, which cross its port, if it has one.
        outside: accesses of other masters, one route each.
    """
    accelerator, clock = chip.accelerator, chip.cluster.clock.value
    channels = {DRAM: chip.dram.sustained_bytes_per_s}
    if chip.noc is not None:
        channels[NOC] = chip.noc.sustained_bytes_per_s
    names, masters = list(channels), list(chip.masters)
    port = [NOC] if chip.noc is not None else []
    routes = [([*port, DRAM], access) for access in inside] + [([DRAM], access) for access in outside]
    shared = [name for name, master in chip.masters.items() if master.minimum_share > 0 or master.maximum_share < 1]
    budgets = {name: master.budget for name, master in chip.masters.items() if master.budget is not None}
    return Resources(
        unit_names=(f"{accelerator}.matrix", f"{accelerator}.vector", f"{accelerator}.launch", HOST),
        unit_clock_hz=np.array([clock, clock, clock, chip.host.clock.value]),
        unit_slots=np.ones(4, dtype=np.int64),
        channel_names=tuple(names),
        channel_bytes_per_s=np.array(list(channels.values())),
        master_names=tuple(masters),
        master_weight=np.array([master.weight for master in chip.masters.values()]),
        share_master=np.array([masters.index(name) for name in shared], dtype=np.int64),
        share_channel=np.full(len(shared), names.index(DRAM), dtype=np.int64),
        share_minimum=np.array([chip.masters[name].minimum_share for name in shared], dtype=np.float64),
        share_maximum=np.array([chip.masters[name].maximum_share for name in shared], dtype=np.float64),
        share_is_soft=np.array([chip.masters[name].limit == "soft" for name in shared], dtype=np.bool_),
        budget_master=np.array([masters.index(name) for name in budgets], dtype=np.int64),
        budget_channel=np.full(len(budgets), names.index(DRAM), dtype=np.int64),
        budget_bytes=np.array([budget.size for budget in budgets.values()], dtype=np.float64),
        budget_period_ticks=np.array([seconds_to_ticks(budget.period) for budget in budgets.values()], dtype=np.int64),
        route_offsets=offsets_of(np.array([len(crossed) for crossed, _ in routes], dtype=np.int64)),
        route_channels=np.array([names.index(name) for crossed, _ in routes for name in crossed], dtype=np.int64),
        route_usage=np.array(
            [chip.dram.usage(access) if name == DRAM else 1.0 for crossed, access in routes for name in crossed]
        ),
        memory_names=(f"{accelerator}.sram", *chip.sram),
        memory_bytes=np.array(
            [chip.cluster_sram_bytes, *(int(level.capacity.value) for level in chip.sram.values())], dtype=np.int64
        ),
    )
