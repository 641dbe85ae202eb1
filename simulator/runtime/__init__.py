"""The software stack as a specification of its own: what a kernel costs beside its arithmetic, and which path it takes.

Reads from: YAML through `simulator.catalog`. Gives to: `lowering`.
"""

from simulator.runtime.spec import Kernel, Runtime

__all__ = ["Kernel", "Runtime"]
