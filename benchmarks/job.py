"""One benchmark job: `python -m benchmarks.job NAME` prints its figures as JSON; `benchmarks` runs them all.

A job runs warm: machine code is loaded and everything has run once before the clock starts. What a cold process takes
is measured by starting one.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import simulator
from benchmarks.programs import layers
from simulator.catalog import Catalog
from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.exploration.evaluator import Evaluator
from simulator.exploration.space import Space
from simulator.program import Program

Figures = dict[str, float]
REFERENCE_TASKS = 100_000
ENGINE_TASKS = 1_000_000


def seconds(run: Callable[[], Any], *, repeats: int = 5) -> float:
    """The median time of a call, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        begin_s = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin_s)
    return statistics.median(times)


def tasks_per_s(engine: Engine, program: Program, *, repeats: int = 5) -> float:
    """How many tasks an engine runs per second."""
    return len(program.tasks) / seconds(lambda: engine.run(program), repeats=repeats)


def engines() -> Figures:
    """Both engines on layers that share bandwidth, every task run."""
    compiled = tasks_per_s(CompiledEngine(replays=False), layers(num_tasks=ENGINE_TASKS))
    reference = tasks_per_s(ReferenceEngine(), layers(num_tasks=REFERENCE_TASKS), repeats=1)
    return {"compiled": compiled, "reference": reference, "ratio": compiled / reference}


def distinct() -> Figures:
    """Layers of ten kinds in turn, so that nothing repeats at once; and equal ones, copied where they repeat."""
    return {
        "ten kinds in turn": tasks_per_s(CompiledEngine(), layers(num_tasks=ENGINE_TASKS, num_distinct=10)),
        "equal, with replay": tasks_per_s(CompiledEngine(), layers(num_tasks=ENGINE_TASKS)),
    }


def sizes() -> Figures:
    """Nanoseconds per task from ten thousand to ten million tasks, every task run."""
    engine = CompiledEngine(replays=False)
    return {
        f"{count:,}": 1e9 / tasks_per_s(engine, layers(num_tasks=count), repeats=3)
        for count in (10_000, 100_000, 1_000_000, 10_000_000)
    }


def memory() -> Figures:
    """Bytes of the process per task: Program, engine and Timeline together, in a run of ten million tasks."""
    engine = CompiledEngine(replays=False)
    engine.run(layers(num_tasks=1000))
    before = _peak_bytes()
    program = layers(num_tasks=10_000_000)
    timeline = engine.run(program)
    return {"bytes per task": (_peak_bytes() - before) / len(timeline)}


def qwen() -> Figures:
    """Qwen2.5-0.5B, 512 prompt and 128 decoded tokens, from specs to metrics."""
    chip, workload = simulator.load_chip("orin-agx-64gb"), simulator.load_workload("qwen2.5-0.5b")
    runtime = simulator.load_runtime("tensorrt-edge-llm")

    def run() -> simulator.Result:
        return simulator.run(chip, workload, runtime=runtime, precision="w4a16", prompt_tokens=512, decode_tokens=128)

    return {"ms": 1e3 * seconds(run, repeats=21), "tasks": len(run().program.tasks)}


def alpamayo() -> Figures:
    """One frame of Alpamayo 1.5 on Thor, from specs to metrics."""
    chip, workload = simulator.load_chip("thor-t5000"), simulator.load_workload("alpamayo-1.5-10b")
    runtime = simulator.load_runtime("tensorrt-edge-llm")

    def run() -> simulator.Result:
        return simulator.run(chip, workload, runtime=runtime)

    return {"ms": 1e3 * seconds(run, repeats=11), "tasks": len(run().program.tasks)}


def candidates() -> Figures:
    """Points of the co-design space: bounds of all, and the simulation of some, together and one by one."""
    catalog = Catalog()
    figures: Figures = {}
    for name in ("plas-orin", "plas-orin-50k"):
        study = catalog.load_study(name)
        space, evaluator = Space.of(study), Evaluator.of(study, catalog)
        each_s = seconds(partial(evaluator.bounds, space.columns), repeats=11) / len(space)
        figures[f"bounds per s, {name}"] = 1 / each_s
    study = catalog.load_study("plas-orin")
    space, evaluator = Space.of(study), Evaluator.of(study, catalog)
    points = [space.point(index) for index in range(0, len(space), len(space) // 192)]
    figures["ms per point, together"] = 1e3 * seconds(lambda: evaluator.simulate_many(points)) / len(points)
    fitting = [point for point, found in zip(points, evaluator.simulate_many(points), strict=True)
               if isinstance(found, dict)]  # fmt: skip
    alone_s = seconds(lambda: [evaluator.simulate(point) for point in fitting[:32]], repeats=3) / 32
    figures["ms per point, alone"] = 1e3 * alone_s
    return figures


def searches() -> Figures:
    """Whole searches in cold processes, with machine code in the cache."""
    figures: Figures = {}
    for study in ("plas-orin", "plas-orin-50k"):
        command = [sys.executable, "-m", "simulator.cli", "search", study, "--json"]
        begin_s = time.perf_counter()
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        figures[f"s, {study}"] = time.perf_counter() - begin_s
        found = json.loads(run.stdout)
        figures[f"% discarded, {study}"] = 100 * found["discarded"] / found["points"]
    return figures


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


JOBS = (engines, distinct, sizes, memory, qwen, alpamayo, candidates, searches)


if __name__ == "__main__":
    by_name = {job.__name__: job for job in JOBS}
    print(json.dumps(by_name[sys.argv[1]]()))
