"""Roadline: a discrete-event design-space simulator for automotive AI chips.

The public names of the project; anything else may change without notice. They are loaded when first used, so that
importing `simulator` (and `roadline --help`) stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.api import (
        Chip,
        Explanation,
        Result,
        Runtime,
        Scenario,
        SearchResult,
        Study,
        Technology,
        Workload,
        explain,
        load_chip,
        load_runtime,
        load_scenario,
        load_study,
        load_technology,
        load_workload,
        run,
        run_scenario,
        search,
    )
    from simulator.errors import EngineError, Infeasible, OutputError, RoadlineError, SpecError

__all__ = [
    "Chip",
    "EngineError",
    "Explanation",
    "Infeasible",
    "OutputError",
    "Result",
    "RoadlineError",
    "Runtime",
    "Scenario",
    "SearchResult",
    "SpecError",
    "Study",
    "Technology",
    "Workload",
    "explain",
    "load_chip",
    "load_runtime",
    "load_scenario",
    "load_study",
    "load_technology",
    "load_workload",
    "run",
    "run_scenario",
    "search",
]
__version__ = "0.1.0"

_ERRORS = {"EngineError", "Infeasible", "OutputError", "RoadlineError", "SpecError"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    return getattr(import_module("simulator.errors" if name in _ERRORS else "simulator.api"), name)


def __dir__() -> list[str]:
    return __all__
