"""What every operator has: a name, its fusions, and counts that are zero unless it says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.terms import Fusion
from simulator.variants import Size


@dataclass(frozen=True)
class Named:
    """The base of all operators."""

    name: str
    """Unique within its graph."""
    fusions: tuple[Fusion, ...]
    """Groups in which a runtime may compute this operator together with its neighbours."""
    fetched_elements: Size = field(default=0, kw_only=True)
    """Of what it reads: elements that lie in DRAM because no operator has made them (inputs of a network)."""
    delivered_elements: Size = field(default=0, kw_only=True)
    """Of what it makes: elements that go to DRAM because no operator reads them (results of a network)."""

    @property
    def flop(self) -> Size:
        """Floating-point operations of matrix work."""
        return 0

    @property
    def parameters(self) -> Size:
        """Learned numbers that the operator owns."""
        return 0

    @property
    def input_elements(self) -> Size:
        """Activation elements read."""
        return 0

    @property
    def output_elements(self) -> Size:
        """Activation elements written."""
        return 0
