"""Technology: what an operation costs in energy, a function in area, and a wafer in money, at one process node.

Constants belong to a technology, never to a chip. The tables `energy` and `area` are stated at TSMC N7 and are the same
in every file; what differs from node to node is in the four numbers that scale them. How they become the energy of a
run, the area of a die and its cost is in `simulator.ppa`.
"""

from __future__ import annotations

from pydantic import Field

from simulator.precision import Dtype
from simulator.sourced import (
    Area,
    Count,
    DefectDensity,
    Energy,
    EnergyPerByte,
    Fraction,
    Money,
    MoneyPerArea,
    MoneyPerByte,
    Power,
    PowerDensity,
    Voltage,
)
from simulator.spec import Spec
from simulator.terms import LaneKind, RoutingPart, Surroundings


class EnergyTable(Spec):
    """Energies at N7 and the nominal voltage."""

    mac: dict[Dtype, Energy] = Field(min_length=1)
    """Arithmetic of one multiply-accumulate: product and wide sum."""
    mac_overhead: Count
    """What a multiply-accumulate takes with its clock, operand registers and control, over its arithmetic."""
    lane_operation: Energy
    """One operation of one vector lane, with its registers and its share of the instruction."""
    special_function: Energy
    """One special function (exponential, root)."""
    host_cycle: Energy
    """One busy cycle of one CPU core."""
    sram_32kib: EnergyPerByte
    """Reading or writing a bank of 32 KiB."""
    sram_1mib: EnergyPerByte
    """Reading or writing a bank of 1 MiB, the largest bank."""
    wire: EnergyPerByte
    """One millimetre of wire."""
    dram: dict[str, EnergyPerByte] = Field(min_length=1)
    """Device and interface by type of DRAM; does not scale with the node."""
    link: EnergyPerByte
    """A link between chips; does not scale with the node."""
    static: PowerDensity
    """Leakage and clocks of powered silicon that does nothing."""
    dram_standby: Power
    """One GiB of DRAM that does nothing."""


class AreaTable(Spec):
    """Areas at N7."""

    mac: dict[Dtype, Area] = Field(min_length=1)
    """One multiply-accumulate of an array, laid out with its registers."""
    lane: dict[LaneKind, Area]
    """One vector lane of each kind, with its registers, special functions and share of control."""
    routing: dict[RoutingPart, Area]
    """A routing unit for each score, and for each byte gathered or scattered, that it handles per cycle."""
    array_efficiency: Fraction
    """Share of an SRAM that is bit cells: the rest is decoders, sense amplifiers, repair, banks and their wires."""
    cpu_core: dict[str, Area]
    """One CPU core with its first-level caches, by class."""
    dram_pin: dict[str, Area]
    """Interface and controller of one data pin, by type of DRAM; does not scale with the node."""
    fixed_logic: dict[Surroundings, Area]
    """Image processors, codecs, display, safety, security, small processors: the same for every chip of its kind."""
    fixed_io: dict[Surroundings, Area]
    """Camera, Ethernet, PCIe and USB interfaces, clocks, sensors; does not scale with the node."""
    top_level: Count
    """Die over the sum of its blocks: network on chip, power grid, pads and white space."""


class CostTable(Spec):
    """Money for a good packaged die and its memory, without development, margin or tax."""

    wafer: Money
    """One processed wafer of 300 mm."""
    defect_density: DefectDensity
    """Defects that kill a die."""
    clustering: Count
    """How defects cluster: large for defects independent of each other, small where they come in groups."""
    test: Money
    """Testing one die on the wafer and one packaged part."""
    package: Money
    """Assembly of one package."""
    package_area: MoneyPerArea
    """Substrate, for each square millimetre of die."""
    dram: dict[str, MoneyPerByte]
    """Memory by type."""


class Technology(Spec):
    """A process node with what is built in it."""

    name: str
    """The name by which chips find it; the file has the same name."""
    title: str
    """The name for people."""
    logic_area: Count
    """Area of the same logic over that at N7."""
    sram_bitcell: Area
    """Area of one high-density bit cell."""
    logic_energy: Count
    """Energy of the same logic, wires included, over that at N7."""
    sram_energy: Count
    """Energy of the same SRAM over that at N7."""
    nominal_voltage: Voltage
    """The voltage for which the energies hold."""
    energy: EnergyTable
    """What operations and bytes take."""
    area: AreaTable
    """What parts of a die take."""
    cost: CostTable
    """What a chip costs."""
