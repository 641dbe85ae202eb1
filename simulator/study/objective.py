"""The objectives of a search: one table says how each is called, in which unit it is, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from simulator.units import format_quantity


@dataclass(frozen=True)
class Objective:
    """A quantity that a search makes small."""

    name: str
    """In YAML and on the command line."""
    key: str
    """In JSON, in CSV and in code, with the unit where there is one."""
    unit: str
    """The base unit."""
    title: str
    """For people."""
    digits: int
    """Significant digits for people."""
    is_simulated: bool
    """Whether its value comes from the simulation; else the search knows it for every point beforehand."""

    def shown(self, value: float) -> str:
        """A value for people.

        >>> OBJECTIVES["total"].shown(0.0964), OBJECTIVES["loss"].shown(3.14461)
        ('96.4 ms', '3.1446 nats')
        """
        return format_quantity(value, self.unit, self.digits)

    @property
    def is_latency(self) -> bool:
        """Whether it is a time."""
        return self.unit == "s"


OBJECTIVES: Final[dict[str, Objective]] = {
    row.name: row
    for row in (
        Objective("loss", "loss", "nats", "loss", digits=5, is_simulated=False),
        Objective("prefill", "prefill_s", "s", "prefill latency", digits=4, is_simulated=True),
        Objective("decode", "decode_s", "s", "decode latency", digits=4, is_simulated=True),
        Objective("total", "total_s", "s", "total latency", digits=4, is_simulated=True),
        Objective("memory", "memory_bytes", "B", "memory", digits=4, is_simulated=True),
    )
}
"""All objectives by name, in the order in which reports list them."""
