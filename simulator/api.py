"""The Python interface: load, run, and look at the result. `simulator` exports these names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.catalog import (
    Catalog,
    load_chip,
    load_runtime,
    load_scenario,
    load_study,
    load_technology,
    load_workload,
)
from simulator.chip import Chip
from simulator.engine.interface import Progress
from simulator.engine.select import EngineName
from simulator.errors import SpecError
from simulator.explanation.explain import Explanation
from simulator.explanation.explain import Progress as ExplanationProgress
from simulator.explanation.explain import explain as explain_result
from simulator.exploration.exact import Progress as SearchProgress
from simulator.exploration.result import SearchResult
from simulator.exploration.search import SamplerName, search_study
from simulator.runtime import Runtime
from simulator.scenario.spec import Scenario
from simulator.simulation.result import Result
from simulator.simulation.setup import PrecisionChoice, resolve, single_run
from simulator.simulation.setup import load_chip as load_chip_in_state
from simulator.simulation.simulate import simulate
from simulator.study import Study
from simulator.technology import Technology
from simulator.workload import Workload

__all__ = [
    "Chip",
    "Explanation",
    "Result",
    "Runtime",
    "Scenario",
    "SearchResult",
    "Study",
    "Technology",
    "Workload",
    "explain",
    "load_chip",
    "load_runtime",
    "load_scenario",
    "load_study",
    "load_technology",
    "load_workload",
    "run",
    "run_scenario",
    "search",
]


def run(
    chip: Chip | str | Path,
    workload: Workload | str | Path,
    *,
    runtime: Runtime | str | Path | None = None,
    precision: PrecisionChoice = None,
    kv_precision: str | None = None,
    head_precision: str | None = None,
    prompt_tokens: int | None = None,
    decode_tokens: int | None = None,
    engine: EngineName = "auto",
    seed: int = 0,
    checks: bool = False,
    catalogue: Sequence[Path | str] = (),
    overrides: Mapping[str, Any] | None = None,
    power_state: str | None = None,
    progress: Progress | None = None,
) -> Result:
    """One frame of a workload, alone on a chip.

    Args:
        chip: a chip, a name of the catalogue, or a path.
        workload: a workload, a name, or a path.
        runtime: a runtime, a name, or a path; None takes the usual one of the chip.
        precision: precision of the decoder's matrices, or a mapping from phases to precisions.
        kv_precision: precision of the KV cache; None keeps that of the runtime.
        head_precision: precision of the LM head, or `body` for that of the other matrices; None as above.
        prompt_tokens: tokens of the prefill; None keeps those of the workload.
        decode_tokens: decoded tokens; None keeps those of the workload.
        engine: `reference`, `compiled`, or `auto` for the quickest there is.
        seed: seed of everything random; nothing is random yet.
        checks: check conservation, causality and capacity of the whole timeline.
        catalogue: folders with chips, workloads and runtimes of your own.
        overrides: changes to the chip, by dotted path.
        power_state: a power state of the chip, set before the overrides.
        progress: called now and then with (ticks simulated, tasks completed).
    Raises:
        SpecError: when an input is wrong; `Infeasible` when the model does not fit the chip.
    """
    known = Catalog(catalogue)
    on_chip = load_chip_in_state(known, chip, power_state, overrides)
    stack = on_chip.usual_runtime if runtime is None else runtime
    setup = single_run(
        on_chip,
        workload if isinstance(workload, Workload) else known.load_workload(workload),
        stack if isinstance(stack, Runtime) else known.load_runtime(stack),
        precision=precision,
        kv_precision=kv_precision,
        head_precision=head_precision,
        prompt_tokens=prompt_tokens,
        decode_tokens=decode_tokens,
        seed=seed,
        technology=known.technology_of(on_chip),
        power_state=power_state,
    )
    return simulate(setup, engine=engine, checks=checks, progress=progress)


def run_scenario(
    scenario: Scenario | str | Path,
    *,
    engine: EngineName = "auto",
    checks: bool = False,
    catalogue: Sequence[Path | str] = (),
    overrides: Mapping[str, Any] | None = None,
    power_state: str | None = None,
    progress: Progress | None = None,
) -> Result:
    """A scenario, from its first frame until the last admitted one is answered.

    Args:
        scenario: a scenario, a name of the catalogue, or a path.
        engine: as in `run`.
        checks: as in `run`.
        catalogue: as in `run`.
        overrides: as in `run`.
        power_state: as in `run`; None keeps that of the scenario.
        progress: as in `run`.
    Raises:
        SpecError: as in `run`.
    """
    known = Catalog(catalogue)
    if not isinstance(scenario, Scenario):
        scenario = known.load_scenario(scenario)
    if power_state is not None:
        scenario = scenario.model_copy(update={"power_state": power_state})
    return simulate(resolve(scenario, known, overrides=overrides), engine=engine, checks=checks, progress=progress)


def explain(
    question: Result | Scenario | str | Path,
    *,
    engine: EngineName = "auto",
    catalogue: Sequence[Path | str] = (),
    progress: ExplanationProgress | None = None,
) -> Explanation:
    """Why the slowest frame of a run took as long as it did, and which change of one number would buy most.

    Args:
        question: what `run` or `run_scenario` returned, or a scenario, its name or its path, which is run first.
        engine: as in `run`.
        catalogue: as in `run`.
        progress: called at first and after every number that was changed, with how many are done and how many there
            are.
    Raises:
        SpecError: when the question is none of these, or as in `run`.
    """
    if isinstance(question, Scenario | str | Path):
        question = run_scenario(question, engine=engine, catalogue=catalogue)
    if not isinstance(question, Result):
        raise SpecError(
            f"explain: must be given a result or a scenario, got {type(question).__name__}",
            hint='such as explain(run("orin-agx-64gb", "qwen3-4b")) or explain("mode-switching")',
        )
    return explain_result(question, engine=engine, progress=progress)


def search(
    study: Study | str | Path,
    *,
    objectives: Sequence[str] | None = None,
    jobs: int = 1,
    folder: Path | str | None = None,
    resume: bool = False,
    sampler: SamplerName = "exact",
    budget: int | None = None,
    seed: int | None = None,
    catalogue: Sequence[Path | str] = (),
    overrides: Mapping[str, Any] | None = None,
    progress: SearchProgress | None = None,
    tell: Callable[[str], None] | None = None,
) -> SearchResult:
    """The models of a space that no other one beats in all objectives, each simulated event by event.

    Args:
        study: a study, a name of the catalogue, or a path.
        objectives: what to make small, two or more of loss, prefill, decode, total and memory; None as the study says.
        jobs: processes that simulate; the answer does not depend on it.
        folder: where simulated points are kept; None for memory only.
        resume: go on with what the folder holds.
        sampler: "exact", or "nsga2" or "tpe" for spaces that are too large for the exact search.
        budget: points that a sampler may simulate.
        seed: of a sampler; None takes that of the study.
        catalogue: folders with chips, runtimes, workloads and studies of your own.
        overrides: changes to the study, by dotted path.
        progress: called after every point with the numbers of points simulated, discarded, left, and of the left ones
            those that are sure to be simulated.
        tell: called with what the folder held, one sentence each.
    Raises:
        SpecError: when an input is wrong; `Infeasible` when no point keeps the limits.
        OutputError: when the folder cannot be used.
        MissingExtraError: when a sampler is asked for and the extra `search` is not installed.
        EngineError: when a simulation is quicker than its lower bound.
    """
    known = Catalog(catalogue)
    changes = dict(overrides or {})
    if objectives is not None:
        changes["objectives"] = list(objectives)
    question = study.with_values(changes) if isinstance(study, Study) else known.load_study(study, changes)
    return search_study(
        question, known, jobs=jobs, folder=folder, resume=resume, sampler=sampler, budget=budget, seed=seed,
        progress=progress, tell=tell,
    )  # fmt: skip
