"""Reference: a known model under the conditions of a study, to compare the points with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.errors import SpecError
from simulator.exploration.evaluator import Evaluator
from simulator.exploration.law import LossLaw
from simulator.workload import Workload


@dataclass(frozen=True)
class Reference:
    """A model of the catalogue with its loss by the law and its simulated values."""

    name: str
    workload: Workload
    """With the tokens of the study, and its precision unless that is a dimension."""
    loss_terms: Mapping[str, float]
    """Nats, by name of the term."""
    values: Mapping[str, float]
    """By key of the objective, in base units, the loss too."""

    @classmethod
    def of(cls, workload: Workload, precision: str, evaluator: Evaluator, law: LossLaw) -> Reference:
        """Simulates a workload as the study would.

        Raises:
            SpecError: when it has no decoder.
            Infeasible: when it does not fit the chip.
        """
        if workload.decoder is None:
            raise SpecError(f"must be a workload with a decoder, got {workload.name}")
        alike = evaluator.like_the_study(workload, precision)
        sizes = sizes_for_the_law(workload)
        terms = {name: float(term[0]) for name, term in law.loss_terms(sizes).items()}
        values = {"loss": float(law.loss(sizes)[0]), **evaluator.simulate_workload(alike)}
        return cls(workload.name, alike, terms, values)


def sizes_for_the_law(workload: Workload) -> dict[str, Any]:
    """What a loss law sees of a decoder, as columns of one row."""
    decoder = workload.decoder
    assert decoder is not None  # checked by the caller
    return {
        "layers": [decoder.layers],
        "hidden": [decoder.hidden],
        "ffn_ratio": [decoder.top_k * decoder.ffn_width / decoder.hidden],
        "activation_rate": [decoder.top_k / decoder.experts],
        "kv_width": [decoder.kv_heads * decoder.head_dim],
    }
