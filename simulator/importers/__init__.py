"""Models that others publish, as workloads.

Reads from: configuration files and weight files of other projects. Gives to: `cli`, as specs of `workload`.
"""

from simulator.importers.frame import Question
from simulator.importers.hf import Imported, import_hf
from simulator.importers.onnx import ImportedNetwork, import_onnx

__all__ = ["Imported", "ImportedNetwork", "Question", "import_hf", "import_onnx"]
