"""Router traces and expert caches: which experts tokens pick, and which of those a cache holds. Counts, no time.

Reads from: parameters and files. Gives to: `graph` (traces), `lowering` (what has to be loaded).
"""

from simulator.routing.cache import CacheCounts, cache_counts
from simulator.routing.generator import RouterFit, preset_fit, synthetic_trace
from simulator.routing.statistics import mean_distinct, mean_hit_rate, reuse_of_previous
from simulator.routing.trace import RouterTrace
from simulator.routing.trace_file import read_trace

__all__ = [
    "CacheCounts",
    "RouterFit",
    "RouterTrace",
    "cache_counts",
    "mean_distinct",
    "mean_hit_rate",
    "preset_fit",
    "read_trace",
    "reuse_of_previous",
    "synthetic_trace",
]
