"""What to run: a chip, a runtime, streams of workloads with rates and deadlines, and other traffic on the DRAM.

Reads from: YAML through `simulator.catalog`. Gives to: `simulation`.
"""

from simulator.scenario.spec import BackgroundSpec, Scenario, StreamSpec

__all__ = ["BackgroundSpec", "Scenario", "StreamSpec"]
