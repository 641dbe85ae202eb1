"""LossLaw: the training loss of a transformer from its sizes, term by term.

The form and the published coefficients are here, and for which sizes they hold. Coefficients of one's own come from
`simulator.exploration.fit_law`; what a latency or a memory budget makes of the law is in
`simulator.exploration.theorems`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from simulator.document.document import read_document
from simulator.document.validate import validated
from simulator.errors import SpecError
from simulator.sourced import Frozen, Status

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, npt.ArrayLike]
"""Sizes of many models: an array, or one number for all, by the name of the size."""

_SEEN_THROUGH: Final = {
    "layers": "layers",
    "hidden": "hidden",
    "ffn_ratio": "ffn_ratio",
    "ffn_width": "ffn_ratio",
    "activation_rate": "activation_rate",
    "experts": "activation_rate",
    "top_k": "activation_rate",
    "kv_width": "kv_width",
    "kv_heads": "kv_width",
    "head_dim": "kv_width",
    "tokens": "tokens",
}
"""Dimension of a model -> the column through which a law can see it."""


class ValidRange(Frozen):
    """The sizes for which a law was fitted, both ends included."""

    low: float = Field(gt=0)
    """Smallest size."""
    high: float = Field(gt=0)
    """Largest size."""
    status: Status
    """How the range is known."""
    note: str | None = None
    """What it rests on."""

    @model_validator(mode="after")
    def _has_an_inside(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low: must be at most high, got {self.low:g} above {self.high:g}")
        return self


class LossLaw(Frozen):
    """Training loss in nats per token as a sum of powers of the sizes.

    A term whose scale is 0 is absent, and then its column is not needed.

    Formula:  loss = depth_scale / layers^depth_exponent
                   + sparsity_scale * rate^sparsity_exponent / (ratio^ffn_exponent * hidden^sparsity_width_exponent)
                   + capacity_scale / (ratio^ffn_exponent * hidden^capacity_width_exponent)
                   + kv_scale / kv_width^kv_exponent
                   + token_scale / tokens^token_exponent
                   + floor
              with rate = activation_rate, ratio = ffn_ratio
    Source:   [codesign] equation 2; the term of the tokens is ours, for fits to runs of different length
    Valid:    one data mixture and recipe, and the sizes of `ranges`; says nothing of what `unseen` lists
    """

    name: str
    """What the law is called in reports."""
    source: str = Field(min_length=1)
    """Where the coefficients come from: an id of docs/sources.md, or words."""
    note: str | None = None
    """Cautions, and what was fitted on what."""
    depth_scale: float = Field(ge=0)
    """k_l: what a single layer would lose to depth, nats."""
    depth_exponent: float = Field(ge=0)
    """a_l: how fast layers help."""
    sparsity_scale: float = Field(ge=0)
    """k_rho: the penalty of using all experts all the time, nats."""
    sparsity_exponent: float = Field(ge=0)
    """a_rho: how fast the penalty falls with the activation rate."""
    sparsity_width_exponent: float
    """b1: how the penalty changes with the hidden width; negative: it grows."""
    capacity_scale: float = Field(ge=0)
    """k_d: what width and FFN together can win, nats."""
    capacity_width_exponent: float = Field(ge=0)
    """b2: how fast the hidden width helps."""
    ffn_exponent: float = Field(ge=0)
    """a_r: how fast the activated FFN expansion helps; shared by the sparsity and the capacity term."""
    kv_scale: float = Field(ge=0)
    """k_m: what a KV width of one would lose, nats."""
    kv_exponent: float = Field(ge=0)
    """a_m: how fast the KV width helps."""
    floor: float = Field(ge=0)
    """L_inf: what no size removes, nats."""
    token_scale: float = Field(default=0.0, ge=0)
    """k_t: what training on few tokens loses, nats; 0 for a law of one fixed number of tokens."""
    token_exponent: float = Field(default=0.0, ge=0)
    """a_t: how fast training tokens help."""
    ranges: dict[str, ValidRange] = Field(default_factory=dict)
    """Range of validity by column."""

    @classmethod
    def load(cls, name_or_path: str | Path) -> LossLaw:
        """The published law for the word "plas", else the law of a YAML file.

        Raises:
            SpecError: when the file cannot be read or a value breaks a rule.
        """
        if str(name_or_path) == "plas":
            return PLAS_LAW
        path = Path(name_or_path)
        if path.suffix not in {".yaml", ".yml"}:
            hint = 'the published law is "plas"; a fit writes a file of your own'
            raise SpecError(f'law: must be "plas" or a path to a .yaml file, got "{name_or_path}"', hint=hint)
        return validated(cls, read_document(path), [])

    def to_yaml(self) -> str:
        """The text of a file that `load` reads back to an equal law."""
        return "".join(_yaml_lines(self.model_dump(exclude_none=True)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the law needs, in the order of its terms."""
        used = {
            "layers": self.depth_scale,
            "hidden": self.sparsity_scale or self.capacity_scale,
            "ffn_ratio": self.sparsity_scale or self.capacity_scale,
            "activation_rate": self.sparsity_scale,
            "kv_width": self.kv_scale,
            "tokens": self.token_scale,
        }
        return tuple(column for column, scale in used.items() if scale)

    def loss_terms(self, columns: Columns) -> dict[str, Floats]:
        """The terms of the loss in nats: depth, sparsity, capacity, kv, floor, and tokens if the law has that term.

        Args:
            columns: layers, hidden, ffn_ratio (the total activated expansion: top_k * width of one expert / hidden),
                activation_rate (top_k / experts), kv_width (head_dim * kv_heads), tokens; the arrays must broadcast.
        Returns:
            arrays of the common shape of the columns.
        Raises:
            SpecError: when a column that the law needs is missing or not above zero.
        """
        column = self._checked(columns)
        shape = np.broadcast_shapes(*(column[name].shape for name in self.columns))
        terms = {name: np.zeros(shape) for name in ("depth", "sparsity", "capacity", "kv", "floor")}
        terms["floor"] += self.floor
        if self.depth_scale:
            terms["depth"] += self.depth_scale / column["layers"] ** self.depth_exponent
        if self.sparsity_scale:
            rate = column["activation_rate"] ** self.sparsity_exponent
            ffn_and_width = column["ffn_ratio"] ** self.ffn_exponent * column["hidden"] ** self.sparsity_width_exponent
            terms["sparsity"] += self.sparsity_scale * rate / ffn_and_width
        if self.capacity_scale:
            ffn_and_width = column["ffn_ratio"] ** self.ffn_exponent * column["hidden"] ** self.capacity_width_exponent
            terms["capacity"] += self.capacity_scale / ffn_and_width
        if self.kv_scale:
            terms["kv"] += self.kv_scale / column["kv_width"] ** self.kv_exponent
        if self.token_scale:
            terms["tokens"] = self.token_scale / column["tokens"] ** self.token_exponent + np.zeros(shape)
        return terms

    def loss(self, columns: Columns) -> Floats:
        """The loss in nats; arguments and errors as of `loss_terms`."""
        return total_loss(self.loss_terms(columns))

    def outside_range(self, columns: Columns) -> dict[str, int]:
        """How many points lie outside the range of each column; a column without such points is left out."""
        counts = {}
        for name, valid in self.ranges.items():
            if name in columns:
                values = np.asarray(columns[name], dtype=np.float64)
                # a rate such as 1/16 may stand in a file with few digits
                is_outside = (values < valid.low * (1 - 1e-6)) | (values > valid.high * (1 + 1e-6))
                counts[name] = int(np.count_nonzero(is_outside))
        return {name: count for name, count in counts.items() if count}

    def range_warnings(self, columns: Columns) -> list[str]:
        """One sentence per column that leaves the range of validity."""
        return [
            f"{name}: {count} of {np.size(columns[name])} points lie outside {_shown(self.ranges[name])}, "
            f"the range of the law {self.name} ({self.ranges[name].status}); its loss is a guess there"
            for name, count in self.outside_range(columns).items()
        ]

    def unseen(self, dimensions: Iterable[str]) -> list[str]:
        """Which of some dimensions the law is silent about: it gives the same loss whatever their value is."""
        return [name for name in dimensions if _SEEN_THROUGH.get(name) not in self.columns]

    def _checked(self, columns: Columns) -> dict[str, Floats]:
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise SpecError(
                f"law {self.name}: needs the columns {', '.join(self.columns)}; missing: {', '.join(missing)}"
            )
        arrays = {name: np.asarray(columns[name], dtype=np.float64) for name in self.columns}
        for name, values in arrays.items():
            if not np.all(values > 0):
                raise SpecError(f"law {self.name}: {name} must be above zero, got {values[~(values > 0)].flat[0]:g}")
        return arrays


def total_loss(terms: Mapping[str, Floats]) -> Floats:
    """The sum of the terms of a loss, always added up in the same order."""
    total: Floats = np.sum(list(terms.values()), axis=0)
    return total


def perplexity_ratio(loss: npt.ArrayLike, reference_loss: npt.ArrayLike) -> Floats:
    """The perplexity of a model over that of a reference, from their losses in nats.

    The law is of the training mixture; on another text the ratio may be another.

    Formula:  ratio = exp(loss - reference_loss)

    >>> round(float(perplexity_ratio(3.0, 3.2159)), 4)
    0.8058
    """
    ratio: Floats = np.exp(np.subtract(loss, reference_loss, dtype=np.float64))
    return ratio


PLAS_LAW: Final = LossLaw(
    name="plas",
    source="codesign",
    note=(
        "table 6: 170 models, 10 billion tokens each of an unnamed mixture; R2 0.975 on the fitted models and 0.952 "
        "on others; neither the losses nor the error of a single model are published"
    ),
    depth_scale=9.96,
    depth_exponent=1.63,
    sparsity_scale=0.031,
    sparsity_exponent=1.09,
    sparsity_width_exponent=-0.33,
    capacity_scale=500.0,
    capacity_width_exponent=0.97,
    ffn_exponent=0.17,
    kv_scale=0.20,
    kv_exponent=0.05,
    floor=2.53,
    ranges={
        "layers": ValidRange(low=4, high=32, status="datasheet", note="table 5, from which the 170 were chosen"),
        "hidden": ValidRange(low=768, high=3072, status="datasheet", note="table 5"),
        "activation_rate": ValidRange(
            low=1 / 16, high=1, status="datasheet", note="table 5: 1, 8 or 16 experts, of which 1 or 2 are used"
        ),
        "kv_width": ValidRange(
            low=64, high=3072, status="inferred", note="table 5 has 1 KV head to all; heads of 64 are our reading"
        ),
        "ffn_ratio": ValidRange(
            low=0.5, high=5.5, status="assumed",
            note="not published; below 1 is on the front of the paper, and the model it compares with has 5.43",
        ),
    },
)  # fmt: skip
"""The published law.

Source:  [codesign] tables 5 and 6
"""


def _shown(valid: ValidRange) -> str:
    return f"{valid.low:g} to {valid.high:g}"


def _yaml_lines(tree: Mapping[str, Any], indent: str = "") -> Iterable[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            if value:
                yield f"{indent}{key}:\n"
                yield from _yaml_lines(value, indent + "  ")
        else:
            # a JSON string is a YAML string, and repr keeps every bit of a float
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
            yield f"{indent}{key}: {text}\n"
