"""A question about many models: a space of sizes, the objectives to weigh, and the limits to keep.

Reads from: YAML through `simulator.catalog`. Gives to: `exploration`, `report`, which answer it and show it.
"""

from simulator.study.domain import Values
from simulator.study.objective import OBJECTIVES, Objective
from simulator.study.rules import Rule
from simulator.study.spec import Application, Limits, Study

__all__ = ["OBJECTIVES", "Application", "Limits", "Objective", "Rule", "Study", "Values"]
