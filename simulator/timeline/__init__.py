"""What happened: the record of one run, as arrays, and the laws that every record obeys.

Reads from: an engine's output and the Program it ran. Gives to: `metrics`, `report`.
"""

from simulator.timeline.timeline import ReleaseStatus, Timeline

__all__ = ["ReleaseStatus", "Timeline"]
