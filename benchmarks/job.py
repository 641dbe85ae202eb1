"""One benchmark job: `python -m benchmarks.job NAME` prints its figures as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

import simulator
from simulator.engine.reference import ReferenceEngine
from simulator.program import Program, ProgramBuilder
from simulator.timeline import Timeline


def chain(*, other_flows: int) -> Program:
    """50 thousand loads over two channels, each followed by its computation, two buffers."""
    builder = ProgramBuilder()
    builder.unit("matrix", clock_hz=1.5e9)
    builder.channel("noc", bytes_per_s=256e9)
    builder.channel("dram", bytes_per_s=200e9)
    for index in range(other_flows):
        builder.master(f"other{index}")
        builder.background(f"other{index}", ["dram"], bytes_per_s=5e9, master=f"other{index}")
    loads: list[int] = []
    works: list[int] = []
    for index in range(50_000):
        after = loads[-1:] + works[index - 2 : index - 1]
        loads.append(builder.transfer(["noc", "dram"], size_bytes=1_000_000 + index, after=after))
        works.append(builder.compute("matrix", work_cycles=3000, after=[loads[-1]]))
    return builder.build()


def engine_only(program: Program) -> tuple[Timeline, float]:
    """A run of the engine alone."""
    begin_s = time.perf_counter()
    timeline = ReferenceEngine().run(program)
    return timeline, time.perf_counter() - begin_s


def whole(run: Callable[[], simulator.Result]) -> dict[str, float]:
    """A run from specs to metrics, and its engine once more alone."""
    result = run()
    _, engine_s = engine_only(result.program)
    return {"tasks": len(result.timeline), "wall_s": result.wall_s, "engine_s": engine_s}


def main(job: str) -> None:
    """Prints the figures of one job."""
    if job in {"chain", "shared"}:
        timeline, engine_s = engine_only(chain(other_flows=4 if job == "shared" else 0))
        figures = {"tasks": len(timeline), "wall_s": engine_s, "engine_s": engine_s}
    elif job == "qwen":
        figures = whole(
            lambda: simulator.run(
                "orin-agx-64gb", "qwen2.5-0.5b", precision="w4a16", prompt_tokens=512, decode_tokens=128
            )
        )
    else:
        figures = whole(lambda: simulator.run_scenario("alpamayo-thor-10hz"))
    figures["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
