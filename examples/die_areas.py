"""How far are modelled dies from published ones? First those that constants were chosen with, then those never seen.

Run it with `python examples/die_areas.py`; what it prints is in die_areas.out.
"""

from __future__ import annotations

from simulator.catalog import Catalog
from simulator.ppa.area import area_of
from simulator.ppa.cost import cost_of

CHOSEN_WITH = ("mach-m100", "thor-u", "orin-agx-64gb", "tesla-hw3", "rtx-a6000")
NEVER_SEEN = ("l4", "rtx-6000-ada", "rtx-pro-6000", "a100-80gb", "h100-sxm", "ascend-910")

catalog = Catalog()
print(f"{'chip':<15}{'technology':<15}{'published':>12}{'modelled':>12}{'error':>10}{'silicon':>10}")
for names in (CHOSEN_WITH, NEVER_SEEN):
    print()
    for name in names:
        chip = catalog.load_chip(name)
        technology = catalog.technology_of(chip)
        assert technology is not None
        area, cost = area_of(chip, technology), cost_of(chip, technology)
        assert area.error is not None
        print(
            f"{name:<15}{technology.name:<15}{area.published_mm2:>8.1f} mm2{area.total_mm2:>8.1f} mm2"
            f"{100 * area.error:>+8.1f} %{cost.die_usd:>6.0f} USD"
        )
