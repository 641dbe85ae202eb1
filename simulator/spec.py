"""Spec: the base of every object of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from simulator.document.validate import with_values
from simulator.sourced import Frozen


class Spec(Frozen):
    """A chip, a runtime, a workload, a scenario, or a part of one."""

    def with_values(self, overrides: Mapping[str, Any]) -> Self:
        """A copy with values replaced by dotted path and all rules checked again.

        Raises:
            SpecError: when a path does not exist or a value breaks a rule.
        """
        return with_values(self, overrides)
