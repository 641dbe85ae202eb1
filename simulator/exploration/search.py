"""The search in one function: study, space, bounds, simulations, front.

Study ─► Space ─► loss and lower bounds of all points ─► exact search, which simulates few of them ─► SearchResult
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, get_args

from simulator.catalog import Catalog
from simulator.errors import Infeasible, SpecError, nearest
from simulator.exploration.evaluator import Evaluator
from simulator.exploration.exact import Indices, Progress, exact_search
from simulator.exploration.law import LossLaw, total_loss
from simulator.exploration.outcome import Outcome
from simulator.exploration.reference import Reference
from simulator.exploration.result import SearchResult
from simulator.exploration.runner import Runner
from simulator.exploration.sampled import Places, sampled_search
from simulator.exploration.space import Space
from simulator.study import OBJECTIVES, Study

SamplerName = Literal["exact", "nsga2", "tpe"]
SAMPLERS: Final[tuple[SamplerName, ...]] = get_args(SamplerName)


def search_study(
    study: Study,
    catalog: Catalog,
    *,
    jobs: int = 1,
    folder: Path | str | None = None,
    resume: bool = False,
    sampler: SamplerName = "exact",
    budget: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> SearchResult:
    """The Pareto front of a study: the exact one, or that of the points that a sampler chooses.

    Args:
        study: the question.
        catalog: where chip, runtime and reference are looked up.
        jobs: processes that simulate; the result does not depend on it.
        folder: where simulated points are kept; None for memory only.
        resume: whether the folder may hold points already, which are then not simulated again.
        sampler: "exact" for the exact search, or how points are chosen where there are too many for it.
        budget: points that a sampler may simulate.
        seed: of a sampler; None takes that of the study.
        progress: called after every point with the numbers of points simulated, discarded, left, and of these surely
            to be simulated.
        tell: called with what the folder held, one sentence each.
    Raises:
        SpecError: when the study cannot be searched.
        Infeasible: when no point keeps the limits.
        OutputError: when the folder cannot be used.
        MissingExtraError: when a sampler is asked for and the extra `search` is not installed.
        EngineError: when a simulation is quicker than its lower bound.
    """
    _check_sampler(sampler, budget)
    timings_s: dict[str, float] = {}
    with _timed(timings_s, "bounds"):
        law = LossLaw.load(study.law)
        space = Space.of(study)
        evaluator = Evaluator.of(study, catalog)
        loss_terms = law.loss_terms(space.columns)
        bounds = {"loss": total_loss(loss_terms), **evaluator.bounds(space.columns)}
    with _timed(timings_s, "reference"):
        reference = _reference(study, catalog, evaluator, law)
    steps = _Steps(progress)
    with (
        _timed(timings_s, "simulations"),
        Runner(
            evaluator, jobs=jobs, folder=folder, resume=resume, belongs_to={"study": study.name},
            progress=steps.after_point,
        ) as runner,
    ):  # fmt: skip
        if tell is not None:
            for remark in runner.remarks:
                tell(remark)

        def simulate_batch(indices: Indices) -> Sequence[Outcome]:
            return runner.simulate([space.point(index) for index in indices.tolist()])

        objectives = [OBJECTIVES[name].key for name in study.objectives]
        limits = {OBJECTIVES[name].key: limit for name, limit in study.limits.by_objective().items()}
        sampler_warnings: list[str] = []
        if sampler == "exact":
            exploration = exact_search(bounds, objectives, simulate_batch, limits=limits, progress=steps.after_batch)
        else:
            exploration, sampler_warnings = sampled_search(
                Places(study, space), bounds, objectives, simulate_batch, limits=limits, method=sampler,
                budget=budget or 0, seed=study.seed if seed is None else seed, progress=steps.after_batch,
            )  # fmt: skip
    return SearchResult(
        study=study,
        space=space,
        bounds=bounds,
        loss_terms=loss_terms,
        exploration=exploration,
        timings_s=timings_s,
        evaluator=evaluator,
        sampler=sampler,
        warnings=(*_warnings(law, space), *sampler_warnings),
        num_reused=runner.num_reused,
        reference=reference,
    )


class _Steps:
    """Tells how far a search is, after every point too."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._counts = (0, 0, 0, 0)

    def after_batch(self, num_simulated: int, num_discarded: int, num_left: int, num_in_wave: int) -> None:
        self._counts = (num_simulated, num_discarded, num_left, num_in_wave)
        self._tell()

    def after_point(self, _: int) -> None:
        num_simulated, num_discarded, num_left, num_in_wave = self._counts
        self._counts = (num_simulated + 1, num_discarded, max(0, num_left - 1), max(0, num_in_wave - 1))
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(*self._counts)


def _check_sampler(sampler: str, budget: int | None) -> None:
    if sampler not in SAMPLERS:
        known = ", ".join(SAMPLERS)
        raise SpecError(f'sampler: must be one of {known}, got "{sampler}"', hint=nearest(sampler, SAMPLERS))
    if sampler != "exact" and budget is None:
        raise SpecError(f"budget: must be given for the sampler {sampler}: points to simulate at most")


def _warnings(law: LossLaw, space: Space) -> tuple[str, ...]:
    """What the loss of these points should not be trusted for."""
    warnings = law.range_warnings(space.columns)
    unseen = law.unseen(space.dimensions)
    if unseen:
        warnings.append(
            f"the loss law does not see {', '.join(unseen)}: points that differ in nothing else have the same loss"
        )
    return tuple(warnings)


def _reference(study: Study, catalog: Catalog, evaluator: Evaluator, law: LossLaw) -> Reference | None:
    if study.reference is None:
        return None
    workload = catalog.load_workload(study.reference)
    precision = study.precision or workload.pipeline[0].precision
    try:
        return Reference.of(workload, precision, evaluator, law)
    except Infeasible as error:  # keeps its demand and bound
        error.message = f"study {study.name}: reference: {error.message}"
        raise
    except SpecError as error:
        raise SpecError(f"study {study.name}: reference: {error.message}", hint=error.hint) from None


@contextmanager
def _timed(timings_s: dict[str, float], part: str) -> Iterator[None]:
    begin_s = time.perf_counter()
    yield
    timings_s[part] = time.perf_counter() - begin_s
