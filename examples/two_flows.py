"""A Program by hand: two transfers share a channel, and a computation waits for both.

10 GB and 5 GB share 200 GB/s: each gets 100 GB/s, so the smaller ends at 50 ms; the larger then has the channel to
itself, and its last 5 GB take 25 ms. Run it with `python examples/two_flows.py`.
"""

from __future__ import annotations

from simulator.engine.reference import ReferenceEngine
from simulator.program import ProgramBuilder

builder = ProgramBuilder()
builder.channel("dram", bytes_per_s=200e9)
builder.unit("npu", clock_hz=1e9)
large = builder.transfer(["dram"], size_bytes=10_000_000_000)
small = builder.transfer(["dram"], size_bytes=5_000_000_000)
builder.compute("npu", work_cycles=1_000_000, after=[large, small])

timeline = ReferenceEngine().run(builder.build())
for task, start, end in zip(timeline.task, timeline.start_tick, timeline.end_tick, strict=True):
    print(f"task {task}: {start / 1e9:.0f} ms to {end / 1e9:.0f} ms")
