"""Fitting the loss law to the training runs of a user, with intervals and with doubts.

The curve itself (terms, starts, least squares) is in `simulator.exploration.law_curve`; the runs are read by
`simulator.exploration.training_runs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from simulator.errors import SpecError
from simulator.exploration.law import Floats, LossLaw, ValidRange
from simulator.exploration.law_curve import LawCurve
from simulator.exploration.training_runs import TrainingRuns, read_runs

SCHEMA: Final = "roadline.fit-law/1"
Progress = Callable[[int, int], None]
"""Called with (resamples done, resamples in all)."""

_CONFIDENCE: Final = 0.9
_DEVIATIONS: Final = 1.645
"""Standard deviations on either side of the middle 90 % of a normal distribution."""

_LARGEST_SPAN: Final = 10.0
"""A coefficient whose interval spans more than this factor is not identified by the runs."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of the law with its 90 % interval."""

    name: str
    """Field of `LossLaw`."""
    value: float
    low: float
    high: float
    is_identified: bool
    """Whether the runs determine it: its sign, and its size within a factor of 10."""


@dataclass(frozen=True)
class Quality:
    """How far predictions are from the measured losses of some runs."""

    num_runs: int
    r_squared: float | None
    """Share of the variance that is explained; None if the losses do not vary."""
    mape: float
    """Mean absolute error over the measured loss, a fraction."""
    rmse: float
    """Root of the mean squared error, nats."""
    worst: float
    """Signed error of largest size, predicted minus measured, nats."""


@dataclass(frozen=True)
class LawFit:
    """A law fitted to runs, how well it fits, and what it does not know."""

    law: LossLaw
    coefficients: tuple[Coefficient, ...]
    runs: TrainingRuns
    is_held_out: np.ndarray[Any, np.dtype[np.bool_]]
    """Per run, whether the fit did not see it."""
    predicted: Floats
    """Loss of the law for every run, nats."""
    fitted: Quality
    held_out: Quality | None
    resamples: int
    seed: int
    warnings: tuple[str, ...]
    """Terms left out, coefficients that the runs do not identify."""

    @property
    def residuals(self) -> Floats:
        """Predicted minus measured loss per run, nats."""
        return self.predicted - self.runs.loss

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON, losses in nats."""
        return {
            "schema": SCHEMA,
            "file": self.runs.file_name,
            "sha256": self.runs.sha256,
            "runs": len(self.runs),
            "resamples": self.resamples,
            "seed": self.seed,
            "confidence": _CONFIDENCE,
            "law": self.law.model_dump(mode="json"),
            "coefficients": [
                {"name": item.name, "value": item.value, "low": item.low, "high": item.high,
                 "identified": item.is_identified}
                for item in self.coefficients
            ],
            "fitted": vars(self.fitted),
            "held_out": None if self.held_out is None else vars(self.held_out),
            "measured": self.runs.loss.tolist(),
            "predicted": self.predicted.tolist(),
            "is_held_out": self.is_held_out.tolist(),
            "warnings": list(self.warnings),
        }  # fmt: skip


def fit_law(
    path: str | Path,
    *,
    resamples: int = 200,
    seed: int = 0,
    held_out_fraction: float = 0.0,
    progress: Progress | None = None,
) -> LawFit:
    """The loss law fitted to the runs of a CSV file by least squares, in nats.

    Each interval holds the middle 90 % of the fits to as many runs drawn with replacement. Terms whose columns do not
    vary are left out. The same file and seed give the same fit.

    Args:
        path: as `read_runs` reads it.
        resamples: fits behind the intervals.
        seed: of starting points, resamples and held-out runs.
        held_out_fraction: share of the runs that the fit does not see, from 0 to below 1.
        progress: called after each resample.
    Raises:
        SpecError: when the file is not valid, there are too few runs, or an argument is out of range.
    """
    if resamples < 2:
        raise SpecError(f"resamples: must be at least 2, got {resamples}")
    if not 0 <= held_out_fraction < 1:
        raise SpecError(f"held_out_fraction: must be from 0 to below 1, got {held_out_fraction:g}")
    runs = read_runs(Path(path))
    start_seed, resample_seed, split_seed = np.random.SeedSequence(seed).spawn(3)
    is_held_out = _split(len(runs), held_out_fraction, np.random.default_rng(split_seed))
    columns = {name: values[~is_held_out] for name, values in runs.columns.items()}
    loss = runs.loss[~is_held_out]
    curve = LawCurve.of(columns)
    if len(loss) <= len(curve.coefficient_names):
        raise SpecError(
            f"{path}: must have more runs than the law has coefficients here: {len(curve.coefficient_names)} "
            f"({', '.join(curve.coefficient_names)}), got {len(loss)}",
            hint="add runs, or keep a size the same in all runs: then its term is left out",
        )
    best = curve.fit(loss, np.random.default_rng(start_seed))
    rng = np.random.default_rng(resample_seed)
    samples = _resampled(curve, loss, best, rng, resamples=resamples, progress=progress)
    coefficients = _coefficients(curve, loss, best, samples)
    law = _law(runs, columns, coefficients, seed)
    predicted = law.loss(runs.columns)
    held_out = _quality(runs.loss[is_held_out], predicted[is_held_out]) if is_held_out.any() else None
    return LawFit(
        law=law,
        coefficients=coefficients,
        runs=runs,
        is_held_out=is_held_out,
        predicted=predicted,
        fitted=_quality(loss, predicted[~is_held_out]),
        held_out=held_out,
        resamples=resamples,
        seed=seed,
        warnings=(*curve.left_out, *_doubts(columns, coefficients)),
    )


def _split(num_runs: int, fraction: float, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.bool_]]:
    is_held_out = np.zeros(num_runs, dtype=np.bool_)
    is_held_out[rng.permutation(num_runs)[: min(round(fraction * num_runs), num_runs - 1)]] = True
    return is_held_out


def _resampled(
    curve: LawCurve, loss: Floats, best: Floats, rng: np.random.Generator, *, resamples: int, progress: Progress | None
) -> Floats:
    """Parameters of the fits to runs drawn with replacement, one row per resample."""
    samples = np.empty((resamples, len(best)))
    for row in range(resamples):
        weights = np.bincount(rng.integers(len(loss), size=len(loss)), minlength=len(loss)).astype(np.float64)
        # a start beside the best fit: along a flat direction the solver would otherwise stay where it is
        samples[row] = curve.solve(loss, best + rng.normal(scale=0.2, size=len(best)), weights)
        if progress is not None:
            progress(row + 1, resamples)
    return samples


def _coefficients(curve: LawCurve, loss: Floats, best: Floats, samples: Floats) -> tuple[Coefficient, ...]:
    """The best fit with the intervals of the resamples.

    Resampling alone is too sure of itself along a flat direction, so the curvature of the fit is asked, too.
    """
    tails = (50 * (1 - _CONFIDENCE), 50 * (1 + _CONFIDENCE))
    of_samples = [curve.coefficients(sample) for sample in samples]
    log_errors = curve.log_errors(best, loss)
    found = []
    for name, value in curve.coefficients(best).items():
        low, high = (float(end) for end in np.percentile([sample[name] for sample in of_samples], tails))
        low, high = min(low, value), max(high, value)
        is_sharp = 2 * _DEVIATIONS * log_errors.get(name, 0.0) <= math.log(_LARGEST_SPAN)
        has_one_sign = low > 0 or high < 0
        spans_little = max(abs(low), abs(high)) <= _LARGEST_SPAN * min(abs(low), abs(high))
        found.append(Coefficient(name, value, low, high, is_sharp and has_one_sign and spans_little))
    return tuple(found)


def _law(runs: TrainingRuns, columns: dict[str, Floats], coefficients: tuple[Coefficient, ...], seed: int) -> LossLaw:
    absent = {
        name: 0.0 for name, field in LossLaw.model_fields.items() if field.annotation is float and field.is_required()
    }
    ranges = {
        name: ValidRange(low=float(values.min()), high=float(values.max()), status="measured")
        for name, values in columns.items()
    }
    return LossLaw.model_validate(
        {
            "name": Path(runs.file_name).stem,
            "source": "own runs",
            "note": f"fitted to {len(columns['layers'])} runs of {runs.file_name}, sha256 {runs.sha256}, seed {seed}",
            **absent,
            **{item.name: item.value for item in coefficients},
            "ranges": ranges,
        }
    )


def _quality(measured: Floats, predicted: Floats) -> Quality:
    error = predicted - measured
    variance = float(np.sum((measured - measured.mean()) ** 2))
    return Quality(
        num_runs=len(measured),
        r_squared=1 - float(np.sum(error**2)) / variance if variance > 0 else None,
        mape=float(np.mean(np.abs(error) / measured)),
        rmse=float(np.sqrt(np.mean(error**2))),
        worst=float(error[np.argmax(np.abs(error))]),
    )


def _doubts(columns: dict[str, Floats], coefficients: tuple[Coefficient, ...]) -> list[str]:
    doubts = []
    loose = [item.name for item in coefficients if not item.is_identified]
    if loose:
        doubts.append(
            f"the runs do not identify {', '.join(loose)}: values that differ by a factor of {_LARGEST_SPAN:g} or in "
            "sign fit about as well; predictions among sizes like those of the runs may still be good"
        )
    few = [name for name, values in columns.items() if len(np.unique(values)) == 2]
    if few:
        doubts.append(f"{', '.join(few)}: two different values only; a curve needs at least three")
    return doubts
