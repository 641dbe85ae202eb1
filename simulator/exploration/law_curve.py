"""LawCurve: the loss law as a curve to be fitted: free parameters, residuals with their derivatives, and the solver.

Scales and exponents are positive, so the solver moves their logarithms; only the exponent of the width in the sparsity
term may have either sign. Columns are divided by their geometric means, so that a parameter `scale` is the size of a
term in the middle of the runs, and scales and exponents hardly pull on each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import least_squares, nnls

from simulator.exploration.law import Floats

_SCALE: Final = {
    "depth": "depth_scale",
    "sparsity": "sparsity_scale",
    "capacity": "capacity_scale",
    "kv": "kv_scale",
    "tokens": "token_scale",
    "floor": "floor",
}
"""Term -> its factor in `LossLaw`."""


@dataclass(frozen=True)
class _Exponent:
    """An exponent of `LossLaw`: of which column, in which terms, with which sign."""

    name: str
    column: str
    terms: tuple[str, ...]
    sign: int = -1
    start: float = 0.5
    is_signed: bool = False


_EXPONENTS: Final = (
    _Exponent("depth_exponent", "layers", ("depth",), start=1.5),
    _Exponent("sparsity_exponent", "activation_rate", ("sparsity",), sign=1, start=1.0),
    _Exponent("sparsity_width_exponent", "hidden", ("sparsity",), start=-0.3, is_signed=True),
    _Exponent("capacity_width_exponent", "hidden", ("capacity",), start=1.0),
    _Exponent("ffn_exponent", "ffn_ratio", ("sparsity", "capacity"), start=0.2),
    _Exponent("kv_exponent", "kv_width", ("kv",), start=0.2),
    _Exponent("token_exponent", "tokens", ("tokens",), start=0.3),
)

_NEEDS: Final = {
    "depth": ("layers",),
    "sparsity": ("activation_rate",),
    "capacity": ("hidden", "ffn_ratio"),
    "kv": ("kv_width",),
    "tokens": ("tokens",),
    "floor": (),
}
"""Columns of which one must vary; else the term is a constant, which the floor already is."""

_LEAST_SCALE, _LARGEST_SCALE = 1e-6, 1e3
_LEAST_EXPONENT, _LARGEST_EXPONENT = 1e-3, 10.0
_NUM_STARTS: Final = 8
_MAX_STEPS: Final = 100


@dataclass(frozen=True)
class LawCurve:
    """The law over some runs with the terms that they can tell apart.

    Parameters are one array: logarithms of the scales of `terms`, then the exponents, as logarithms if not signed.
    """

    terms: tuple[str, ...]
    exponents: tuple[_Exponent, ...]
    log_columns: Floats
    """Per exponent and run, the logarithm of its column over the geometric mean of that column."""
    log_means: Floats
    """Per exponent, the logarithm of that geometric mean."""
    powers: Floats
    """Per term and exponent, the sign with which it stands there, or 0."""
    left_out: tuple[str, ...]
    """Sentences on what the runs say nothing about."""

    @classmethod
    def of(cls, columns: dict[str, Floats]) -> LawCurve:
        """The curve for some runs: a term whose columns do not vary is left out."""
        varying = {name for name, values in columns.items() if np.ptp(np.log(values)) > 1e-9}
        terms = tuple(term for term, needs in _NEEDS.items() if not needs or varying & set(needs))
        exponents = tuple(item for item in _EXPONENTS if item.column in varying and set(item.terms) & set(terms))
        logs = np.log([columns[item.column] for item in exponents]).reshape(len(exponents), -1)
        means = logs.mean(axis=1)
        powers = np.array(
            [[item.sign * (term in item.terms) for item in exponents] for term in terms], dtype=np.float64
        )
        left_out = []
        for name in (name for name in columns if name not in varying):
            gone = [term for term, needs in _NEEDS.items() if name in needs and term not in terms]
            what = f"the {gone[0]} term is" if gone else f"the exponents of {name} are"
            left_out.append(f"{name} is the same in all runs: {what} left out, and the law does not see it")
        return cls(terms, exponents, logs - means[:, None], means, powers, tuple(left_out))

    @property
    def coefficient_names(self) -> tuple[str, ...]:
        """Fields of `LossLaw` that are fitted, in the order of the parameters."""
        return (*(_SCALE[term] for term in self.terms), *(item.name for item in self.exponents))

    def coefficients(self, parameters: Floats) -> dict[str, float]:
        """The coefficients of the law: scales for the columns themselves instead of those over their means."""
        values = self._exponent_values(parameters)
        log_scales = parameters[: len(self.terms)] - self.powers @ (values * self.log_means)
        return dict(zip(self.coefficient_names, [*np.exp(log_scales).tolist(), *values.tolist()], strict=True))

    def fit(self, loss: Floats, rng: np.random.Generator) -> Floats:
        """The parameters of least squares: the best of several starts."""
        solutions = [self.solve(loss, self._start(loss, rng, jitter=bool(start))) for start in range(_NUM_STARTS)]
        return min(solutions, key=lambda parameters: float(np.sum(self._residuals(parameters, loss) ** 2)))

    def solve(self, loss: Floats, start: Floats, weights: Floats | None = None) -> Floats:
        """The parameters of least squares next to a start; `weights` say how often each run counts."""
        roots = np.ones(len(loss)) if weights is None else np.sqrt(weights)
        low, high = self._bounds()

        def residuals(parameters: Floats) -> Floats:
            return roots * self._residuals(parameters, loss)

        def derivatives(parameters: Floats) -> Floats:
            return roots[:, None] * self._derivatives(parameters)

        inside = np.clip(start, low + 1e-6, high - 1e-6)
        solution = least_squares(residuals, inside, jac=derivatives, bounds=(low, high), max_nfev=_MAX_STEPS)
        return np.asarray(solution.x, dtype=np.float64)

    def log_errors(self, parameters: Floats, loss: Floats) -> dict[str, float]:
        """Standard errors of the logarithms of the positive coefficients, from the curvature at the best fit.

        Formula:  covariance = s^2 (J^T J)^-1, J by the logarithms of the coefficients
        """
        freedom = max(1, len(loss) - len(parameters))
        variance = float(np.sum(self._residuals(parameters, loss) ** 2)) / freedom
        _, sizes, directions = np.linalg.svd(self._derivatives(parameters), full_matrices=False)
        roots = directions.T / np.maximum(sizes, 1e-12 * sizes[0])
        values = self._exponent_values(parameters)
        steps = [1.0 if item.is_signed else value for item, value in zip(self.exponents, values, strict=True)]
        # log scale = parameter - powers @ (exponent * log mean), and an exponent moves by `step` per parameter
        change = np.eye(len(parameters))
        change[: len(self.terms), len(self.terms) :] = -self.powers * (np.array(steps) * self.log_means)
        errors = np.sqrt(variance) * np.linalg.norm(change @ roots, axis=1)
        signed = {item.name for item in self.exponents if item.is_signed}
        return {
            name: float(error)
            for name, error in zip(self.coefficient_names, errors, strict=True)
            if name not in signed
        }  # fmt: skip

    def _exponent_values(self, parameters: Floats) -> Floats:
        free = parameters[len(self.terms) :]
        return np.array([x if item.is_signed else math.exp(x) for item, x in zip(self.exponents, free, strict=True)])

    def _terms_of(self, parameters: Floats) -> Floats:
        """Per term and run, its share of the loss, nats."""
        exponents = self.powers * self._exponent_values(parameters)
        terms: Floats = np.exp(parameters[: len(self.terms), None] + exponents @ self.log_columns)
        return terms

    def _residuals(self, parameters: Floats, loss: Floats) -> Floats:
        residuals: Floats = self._terms_of(parameters).sum(axis=0) - loss
        return residuals

    def _derivatives(self, parameters: Floats) -> Floats:
        """Derivatives of the residuals, one row per run."""
        terms = self._terms_of(parameters)
        steps = [
            1.0 if item.is_signed else value
            for item, value in zip(self.exponents, self._exponent_values(parameters), strict=True)
        ]
        by_exponent = (self.powers.T @ terms) * self.log_columns * np.array(steps)[:, None]
        return np.concatenate([terms, by_exponent]).T

    def _start(self, loss: Floats, rng: np.random.Generator, *, jitter: bool) -> Floats:
        """Exponents near the usual ones, and the scales that are best for them."""
        spread = rng.normal(scale=0.7, size=len(self.exponents)) if jitter else np.zeros(len(self.exponents))
        free = [
            item.start + shift if item.is_signed else math.log(item.start) + shift
            for item, shift in zip(self.exponents, spread, strict=True)
        ]
        parameters = np.array([*np.zeros(len(self.terms)), *free])
        scales, _ = nnls(self._terms_of(parameters).T, loss)
        parameters[: len(self.terms)] = np.log(np.maximum(scales, 1e-3 * float(loss.mean())))
        return parameters

    def _bounds(self) -> tuple[Floats, Floats]:
        scales = len(self.terms)
        low = [math.log(_LEAST_SCALE)] * scales
        high = [math.log(_LARGEST_SCALE)] * scales
        low += [-_LARGEST_EXPONENT if item.is_signed else math.log(_LEAST_EXPONENT) for item in self.exponents]
        high += [_LARGEST_EXPONENT if item.is_signed else math.log(_LARGEST_EXPONENT) for item in self.exponents]
        return np.array(low), np.array(high)
