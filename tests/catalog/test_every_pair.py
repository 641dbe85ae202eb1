"""Every workload of the catalogue runs on every chip that it fits, and where it does not fit the message says why.

Few tokens, one image per tower and two integration steps: what is looked for is a combination that breaks.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from simulator import Chip, Workload, load_chip, load_runtime, load_workload
from simulator.catalog.files import built_in_folder
from simulator.errors import Infeasible, SpecError
from simulator.simulation.setup import single_run
from simulator.simulation.simulate import simulate

CHIPS = sorted(path.stem for path in built_in_folder().glob("chips/*.yaml"))
WORKLOADS = sorted(path.stem for path in built_in_folder().glob("workloads/*.yaml"))
RUNTIMES = ("dataflow", "tensorrt", "vllm", "ideal")
"""Tried after the usual one of a chip, until one has kernels for the workload's precision."""


@cache
def short(name: str) -> Workload:
    """The workload with as little work as it can have."""
    workload = load_workload(name)
    fewer = {"vision": {"images": 1}, "prefill": {"tokens": 32}, "decode": {"tokens": 1}, "action": {"steps": 2}}
    pipeline = [phase.model_copy(update=fewer.get(phase.phase, {})) for phase in workload.pipeline]
    return workload.model_copy(update={"pipeline": tuple(pipeline)})


def complaint(chip: Chip, workload: Workload) -> str | None:
    """Why a chip does not hold a workload; None if the first runtime that has kernels for it has run it."""
    problems = []
    for runtime in dict.fromkeys((chip.usual_runtime, *RUNTIMES)):
        for precision in (None, "w8a8", "w8a8-static", "fp16"):
            named = None if precision is None else {phase.name: precision for phase in workload.pipeline}
            try:
                result = simulate(single_run(chip, workload, load_runtime(runtime), precision=named))
            except Infeasible as error:
                return error.message
            except SpecError as error:
                problems.append(error.message)
            else:
                assert result.latency_s > 0
                return None
    raise AssertionError(f"nothing runs {workload.name} on {chip.name}: {problems}")


@pytest.mark.parametrize("chip_name", CHIPS)
def test_a_chip_runs_every_workload_that_fits_it(chip_name: str) -> None:
    chip = load_chip(chip_name)
    for name in WORKLOADS:
        found = complaint(chip, short(name))
        assert found is None or re.search(r"needs .*B \(.*\), has .*B, short by .*B$", found), found
