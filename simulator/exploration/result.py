"""SearchResult: the front of a study, what it rests on, and what it says for each application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from simulator.errors import Infeasible
from simulator.exploration.comparison import Comparison
from simulator.exploration.evaluator import Evaluator
from simulator.exploration.exact import Exploration, Fate, Floats, Indices
from simulator.exploration.law import perplexity_ratio
from simulator.exploration.pareto import NONE
from simulator.exploration.reference import Reference
from simulator.exploration.samplers import hypervolume_share
from simulator.exploration.space import Space
from simulator.study import OBJECTIVES, Objective, Study
from simulator.workload import Workload

SCHEMA: Final = "roadline.search/1"


@dataclass(frozen=True)
class Choice:
    """What a search says for one application."""

    name: str
    """The application."""
    objective: Objective
    """What it limits."""
    limit: float
    """The most of it, in the base unit."""
    index: int | None
    """The point of lowest loss that keeps the limit; None if there is none or the search cannot tell."""
    reason: str
    """Why there is no point; empty if there is one."""


@dataclass(frozen=True)
class SearchResult:
    """The answer to a study."""

    study: Study
    space: Space
    bounds: Mapping[str, Floats]
    """By key of the objective, one value per point: lower bounds, and the loss itself."""
    loss_terms: Mapping[str, Floats]
    """The terms of the loss in nats, by name, one value per point."""
    exploration: Exploration
    timings_s: Mapping[str, float]
    """Wall time by part of the search."""
    evaluator: Evaluator
    """What simulated the points."""
    sampler: str = "exact"
    """How points were chosen: "exact", or the sampler, whose front is that of the points it chose."""
    warnings: tuple[str, ...] = ()
    """What the losses should not be trusted for."""
    reference: Reference | None = None
    """What the front is compared with."""
    num_reused: int = 0
    """Simulated points that an earlier run had left in the folder of results."""

    def __post_init__(self) -> None:
        if not len(self.front):
            raise self._nothing_left()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the front weighs."""
        return tuple(OBJECTIVES[name] for name in self.study.objectives)

    @property
    def front(self) -> Indices:
        """The points of the front, ascending in the first objective, then in the next ones, then by index."""
        front = self.exploration.indices(Fate.FRONT)
        columns = [self.exploration.values[objective.key][front] for objective in self.objectives]
        return front[np.lexsort([front, *reversed(columns)])]

    @property
    def num_simulated(self) -> int:
        """Points with simulated values."""
        return int(np.count_nonzero(self.exploration.is_simulated))

    @property
    def num_discarded(self) -> int:
        """Points that a simulated one dominates by their bound alone."""
        return len(self.exploration.indices(Fate.DISCARDED))

    @property
    def num_over_limit(self) -> int:
        """Points whose bound alone exceeds a limit."""
        over = self.exploration.indices(Fate.OVER_LIMIT)
        return int(np.count_nonzero(~self.exploration.is_simulated[over]))

    @property
    def num_infeasible(self) -> int:
        """Points that do not fit the chip."""
        return len(self.exploration.indices(Fate.INFEASIBLE))

    @property
    def num_failed(self) -> int:
        """Points whose simulation broke off."""
        return len(self.exploration.indices(Fate.FAILED))

    @property
    def num_open(self) -> int:
        """Points that a sampler left undecided."""
        return len(self.exploration.indices(Fate.OPEN))

    @property
    def is_complete(self) -> bool:
        """Whether something is known about every point, so that what no simulated point does no point does."""
        return self.num_open + self.num_failed == 0

    def values(self, index: int) -> dict[str, float]:
        """Loss and simulated values of one point, by key of the objective; NaN if it was not simulated."""
        return {
            objective.key: float(self.exploration.values[objective.key][index]) for objective in OBJECTIVES.values()
        }

    def workload(self, index: int, name: str, title: str) -> Workload:
        """A point as a workload, with the tokens and the precision of the study."""
        return self.evaluator.workload(self.space.point(index), name, title)

    def choices(self) -> list[Choice]:
        """For each application the point of the front with the lowest loss that keeps its limit."""
        choices = []
        for name, application in self.study.applications.items():
            ((limited, limit),) = application.by_objective().items()
            index, reason = self._best_within(OBJECTIVES[limited], limit)
            choices.append(Choice(name, OBJECTIVES[limited], limit, index, reason))
        return choices

    def comparisons(self) -> list[Comparison]:
        """For each latency among the objectives the point of lowest loss that is no slower than the reference.

        A latency at which no point is as quick is left out.
        """
        reference = self.reference
        if reference is None:
            return []
        found = []
        for objective in self.objectives:
            index, _ = self._best_within(objective, reference.values[objective.key])
            if objective.is_latency and index is not None:
                loss, reference_loss = float(self.bounds["loss"][index]), reference.values["loss"]
                ratio = float(perplexity_ratio(loss, reference_loss))
                found.append(Comparison(objective, index, loss - reference_loss, ratio))
        return found

    def share_of(self, exact: SearchResult) -> float:
        """Share of the volume that an exact front dominates and this one dominates too, 0 to 1.

        Raises:
            MissingExtraError: when the extra `search` is not installed.
        """
        return hypervolume_share(self.front_vectors(), exact.front_vectors())

    def front_vectors(self) -> Floats:
        """The objectives of the front, one row per point, one column per objective."""
        values = self.exploration.values
        return np.stack([values[objective.key][self.front] for objective in self.objectives], axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON in SI units, the unit in the key."""
        return {
            "schema": SCHEMA,
            "study": self.study.name,
            "chip": self.study.chip,
            "runtime": self.study.runtime,
            "prompt_tokens": self.study.prompt_tokens,
            "decode_tokens": self.study.decode_tokens,
            "seed": self.study.seed,
            "sampler": self.sampler,
            "objectives": [objective.key for objective in self.objectives],
            "limits": _by_key(self.study.limits.by_objective()),
            "combinations": self.space.num_combinations,
            "excluded": dict(self.space.excluded),
            "points": len(self.space),
            "simulated": self.num_simulated,
            "discarded": self.num_discarded,
            "front": [self._front_entry(index) for index in self.front.tolist()],
            "applications": [self._application_entry(choice) for choice in self.choices()],
            "certificate": self._certificate(),
            "reference": None if self.reference is None else self._reference_entry(self.reference),
            "warnings": list(self.warnings),
            "timings_s": dict(self.timings_s),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per point of the space, in the order of the points; None where a value is not known."""
        exploration = self.exploration
        latencies = [objective.key for objective in OBJECTIVES.values() if objective.is_simulated]
        simulated = exploration.is_simulated.tolist()
        loss = self.bounds["loss"].tolist()
        bounds = {key: self.bounds[key].tolist() for key in latencies}
        values = {key: exploration.values[key].tolist() for key in latencies}
        dominators = exploration.dominators.tolist()
        sizes = {name: self.space.values(name) for name in self.space.dimensions}
        for index, fate in enumerate(exploration.fates.tolist()):
            yield {
                "index": index,
                **{name: values_of_points[index] for name, values_of_points in sizes.items()},
                "loss": loss[index],
                **{f"bound_{key}": bounds[key][index] for key in latencies},
                **{key: values[key][index] if simulated[index] else None for key in latencies},
                "status": Fate(fate).word,
                "by": None if dominators[index] == NONE else dominators[index],
                "reason": exploration.reasons.get(index),
            }

    def _front_entry(self, index: int) -> dict[str, Any]:
        values = self.values(index)
        terms = {name: float(term[index]) for name, term in self.loss_terms.items()}
        return {"index": index, "point": self.space.coordinates(index), **values, "loss_terms": terms}

    def _application_entry(self, choice: Choice) -> dict[str, Any]:
        entry = {"name": choice.name, "limits": choice.objective.key, "limit": choice.limit, "index": choice.index}
        return {**entry, "reason": choice.reason or None}

    def _reference_entry(self, reference: Reference) -> dict[str, Any]:
        comparisons = [
            {
                "at": comparison.objective.key,
                "index": comparison.index,
                "loss_difference": comparison.loss_difference,
                "perplexity_ratio": comparison.perplexity_ratio,
            }
            for comparison in self.comparisons()
        ]
        return {
            "name": reference.name,
            **reference.values,
            "loss_terms": dict(reference.loss_terms),
            "comparisons": comparisons,
        }

    def _certificate(self) -> dict[str, Any]:
        """The counts, and for each discarded point one that dominates its bound.

        The six counts sum to the points; "open" are those that a sampler neither chose nor could rule out.
        """
        discarded = self.exploration.indices(Fate.DISCARDED)
        return {
            "simulated": self.num_simulated,
            "discarded": self.num_discarded,
            "over_limit": self.num_over_limit,
            "infeasible": self.num_infeasible,
            "failed": self.num_failed,
            "open": self.num_open,
            "discarded_points": discarded.tolist(),
            "dominated_by": self.exploration.dominators[discarded].tolist(),
        }

    def _best_within(self, limited: Objective, limit: float) -> tuple[int | None, str]:
        """The point of lowest loss within a limit, or why there is none."""
        for needed in (OBJECTIVES["loss"], limited):
            if needed not in self.objectives:
                return None, f"{needed.name} is none of the objectives of this search"
        front = self.front
        within = front[self.exploration.values[limited.key][front] <= limit]
        if len(within) == 0:
            least = limited.shown(float(np.min(self.exploration.values[limited.key][front])))
            models = "model" if self.is_complete else "simulated model"
            return None, f"no {models} keeps {limited.shown(limit)}; the least on the front is {least}"
        loss, amount = (self.exploration.values[key][within] for key in ("loss", limited.key))
        return int(within[np.lexsort((within, amount, loss))[0]]), ""

    def _nothing_left(self) -> Infeasible:
        """The error of a search without a front: the point nearest to the limits, or what became of all points."""
        over = self.exploration.indices(Fate.OVER_LIMIT)
        if len(over) == 0:
            return Infeasible(
                f"study {self.study.name}: none of its {len(self.space):,} points has values: "
                f"{', '.join(self._without_values())}",
                demand=len(self.space),
                bound=0,
                unit="points",
            )
        limits = self.study.limits.by_objective()
        excesses = np.stack([self._best_known(OBJECTIVES[name])[over] / limit - 1 for name, limit in limits.items()])
        place = int(np.argmin(excesses.max(axis=0)))
        name = list(limits)[int(np.argmax(excesses[:, place]))]
        objective, limit, index = OBJECTIVES[name], limits[name], int(over[place])
        needs = float(self._best_known(objective)[index])
        points = "point" if self.is_complete else "simulated point"
        return Infeasible(
            f"study {self.study.name}: no {points} keeps its limits; the nearest ({self.space.described(index)}) needs "
            f"{name} {objective.shown(needs)}, the limit is {objective.shown(limit)}, "
            f"short by {objective.shown(needs - limit)}",
            demand=needs,
            bound=limit,
            unit=objective.unit,
            hint="raise the limit, or give the space smaller models",
        )

    def _without_values(self) -> Iterator[str]:
        """How many points have no values for each reason, the first of them with its own words."""
        for fate, what in ((Fate.INFEASIBLE, "cannot run"), (Fate.FAILED, "failed")):
            indices = self.exploration.indices(fate)
            if len(indices):
                first = int(indices[0])
                reason = self.exploration.reasons[first]
                yield f"{len(indices):,} {what} ({self.space.described(first)}: {reason})"
        if self.num_open:
            yield f"{self.num_open:,} were not tried"

    def _best_known(self, objective: Objective) -> Floats:
        """Simulated values, and bounds where there are none."""
        values = self.exploration.values[objective.key]
        return np.where(np.isnan(values), self.bounds[objective.key], values)


def _by_key(amounts: Mapping[str, float]) -> dict[str, float]:
    return {OBJECTIVES[name].key: amount for name, amount in amounts.items()}
