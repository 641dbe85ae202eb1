"""Cost of a chip with its memory: wafer, yield, test, package, DRAM.

What it leaves out: development, masks, margins, dies sold with defective parts switched off, modules and boards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from simulator.chip import Chip
from simulator.errors import Infeasible
from simulator.ppa.area import area_of, named
from simulator.technology import Technology

WAFER_DIAMETER_MM: Final = 300.0
EDGE_MM: Final = 3.0
"""Rim of a wafer that holds no die."""
RETICLE_MM2: Final = 858.0
"""The most that one exposure covers, 26 mm * 33 mm: no larger die can be made."""


@dataclass(frozen=True)
class Cost:
    """Money for the good packaged dies of a chip and their memory, in US dollars; parts are of one die."""

    dies_per_wafer: int
    die_yield: float
    """Share of the dies without a defect."""
    die_usd: float
    """Silicon of one good die."""
    test_usd: float
    package_usd: float
    dram_usd: float
    """Memory of one die."""
    num_dies: int

    @property
    def total_usd(self) -> float:
        """All dies, each tested, packaged and with its memory."""
        return self.num_dies * (self.die_usd + self.test_usd + self.package_usd + self.dram_usd)


def dies_per_wafer(die_mm2: float) -> int:
    """Whole dies on a wafer of 300 mm.

    Formula:  pi (d/2)^2 / A - pi d / sqrt(2 A), d = diameter without its rim: the second term are the dies that the
              edge cuts
    Source:   [hennessy] section 1.6

    >>> dies_per_wafer(400.0)
    137
    """
    diameter_mm = WAFER_DIAMETER_MM - 2 * EDGE_MM
    whole = math.pi * (diameter_mm / 2) ** 2 / die_mm2 - math.pi * diameter_mm / math.sqrt(2 * die_mm2)
    return max(math.floor(whole), 0)


def die_yield(die_mm2: float, defects_per_mm2: float, clustering: float) -> float:
    """The share of dies without a defect, negative binomial.

    Formula:  (1 + A D / a)^-a; it tends to exp(-A D), the yield of Poisson, as the clustering a grows
    Source:   [hennessy] section 1.6
    """
    return math.pow(1 + die_mm2 * defects_per_mm2 / clustering, -clustering)


def cost_of(chip: Chip, technology: Technology) -> Cost:
    """The cost of a chip with the die of `area_of`, so that it answers to every change of the chip.

    Raises:
        Infeasible: when the die is larger than a reticle.
        SpecError: as `area_of`.
    """
    die_mm2 = area_of(chip, technology).total_mm2
    if die_mm2 > RETICLE_MM2:
        raise Infeasible(
            f"chip {chip.name}: a die of {die_mm2:.0f} mm2 is larger than the reticle of {RETICLE_MM2:.0f} mm2",
            demand=round(die_mm2), bound=round(RETICLE_MM2), unit="mm2", hint="make it smaller, or of several dies",
        )  # fmt: skip
    table = technology.cost
    whole, good = dies_per_wafer(die_mm2), die_yield(die_mm2, table.defect_density.value, table.clustering.value)
    return Cost(
        dies_per_wafer=whole,
        die_yield=good,
        die_usd=table.wafer.value / (whole * good),
        test_usd=table.test.value,
        package_usd=table.package.value + table.package_area.value * die_mm2,
        num_dies=1 if chip.dies is None else chip.dies.count,
        dram_usd=chip.dram.capacity.value * named(table.dram, chip.dram.type, technology, "cost.dram"),
    )
