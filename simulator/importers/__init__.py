"""Models that others publish, as workloads.

Reads from: configuration files and weight files of other projects. Gives to: `cli`, as specs of `workload`.
"""

from simulator.importers.frame import Question
from simulator.importers.hf import Imported, import_hf

__all__ = ["Imported", "Question", "import_hf"]
