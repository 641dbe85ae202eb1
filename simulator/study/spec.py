"""Study: a chip, a space of model sizes, the objectives to weigh, and the limits to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from simulator.errors import SpecError, nearest
from simulator.precision import PRECISIONS
from simulator.sourced import ChosenCapacity, ChosenDuration, Status
from simulator.spec import Spec
from simulator.study.domain import COUNT, KV_HEADS, PRECISION, RATIO, SIZE, WINDOW, Value, Values
from simulator.study.objective import OBJECTIVES
from simulator.study.rules import Rule
from simulator.workload.phases import MOST_STEPS

DERIVED_SIZES: Final = ("ffn_width", "kv_width", "activation_rate")
"""What follows from the sizes: the width of one expert, head_dim * kv_heads, and top_k / experts."""

_DENSE: Final[Mapping[str, Value]] = {"experts": 1, "top_k": 1, "shared_experts": 0, "attention_window": None}
"""What holds of a model of which the study does not speak: one FFN, and attention to all tokens."""


class Dimensions(Spec):
    """The sizes that vary. Points are ordered by these fields, the last one running fastest."""

    layers: Annotated[Values | None, *SIZE.many] = None
    """Layers."""
    hidden: Annotated[Values | None, *SIZE.many] = None
    """Width of the residual stream."""
    ffn_ratio: Annotated[Values | None, *RATIO.many] = None
    """Activated expansion of the FFN: top_k * width of one expert / hidden, shared experts not counted."""
    heads: Annotated[Values | None, *SIZE.many] = None
    """Query heads; without them as many as hidden / head_dim."""
    head_dim: Annotated[Values | None, *SIZE.many] = None
    """Width of one head; without it hidden / heads."""
    kv_heads: Annotated[Values | None, *KV_HEADS.many] = None
    """Key and value heads."""
    experts: Annotated[Values | None, *SIZE.many] = None
    """Experts of the FFN; 1 is a dense FFN."""
    top_k: Annotated[Values | None, *SIZE.many] = None
    """Experts that a token goes through, besides the shared ones."""
    shared_experts: Annotated[Values | None, *COUNT.many] = None
    """Experts that every token goes through, of the same width."""
    attention_window: Annotated[Values | None, *WINDOW.many] = None
    """The most tokens that a token sees."""
    vocabulary: Annotated[Values | None, *SIZE.many] = None
    """Rows of the embedding and of the LM head."""
    precision: Annotated[Values | None, *PRECISION.many] = None
    """Precision of the matrices."""


class FixedSizes(Spec):
    """What all models of the study share: the sizes that are no dimensions, and the kind of decoder."""

    source: str = Field(min_length=1)
    """Where this was read: an id of docs/sources.md."""
    status: Status
    """How far it can be trusted."""
    note: str | None = None
    """Cautions."""
    layers: Annotated[int | None, *SIZE.one] = None
    """Layers."""
    hidden: Annotated[int | None, *SIZE.one] = None
    """Width of the residual stream."""
    ffn_ratio: Annotated[int | float | str | None, *RATIO.one] = None
    """Activated expansion of the FFN."""
    heads: Annotated[int | None, *SIZE.one] = None
    """Query heads."""
    head_dim: Annotated[int | None, *SIZE.one] = None
    """Width of one head."""
    kv_heads: Annotated[int | str | None, *KV_HEADS.one] = None
    """Key and value heads."""
    experts: Annotated[int | None, *SIZE.one] = None
    """Experts of the FFN."""
    top_k: Annotated[int | None, *SIZE.one] = None
    """Experts that a token goes through."""
    shared_experts: Annotated[int | None, *COUNT.one] = None
    """Experts that every token goes through."""
    attention_window: Annotated[int | None, *WINDOW.one] = None
    """The most tokens that a token sees."""
    vocabulary: Annotated[int | None, *SIZE.one] = None
    """Rows of the embedding and of the LM head."""
    ffn: Literal["swiglu", "geglu"]
    """Gated FFN with SiLU or GELU: three matrices."""
    tied_head: bool
    """Whether the LM head is the embedding matrix."""
    qkv_bias: bool = False
    """Whether the projections before attention have a bias."""
    head_norm: bool = False
    """Whether queries and keys are normalised per head."""


class Limits(Spec):
    """The most that a point may need; what is not given has no limit."""

    prefill: ChosenDuration | None = None
    """Latency of the prefill."""
    decode: ChosenDuration | None = None
    """Latency of all decoded tokens together."""
    total: ChosenDuration | None = None
    """Latency of prefill and decode."""
    memory: ChosenCapacity | None = None
    """Weights and KV cache in DRAM."""

    def by_objective(self) -> dict[str, float]:
        """The limits that are given, in base units, by the name of the objective."""
        given = {name: getattr(self, name) for name in Limits.model_fields}
        return {name: limit for name, limit in given.items() if limit is not None}


class Application(Limits):
    """A use with one limit; the search names the best model that keeps it."""

    source: str = Field(min_length=1)
    """Where the limit was read: an id of docs/sources.md."""
    status: Status
    """How far it can be trusted."""
    note: str | None = None
    """Cautions."""

    @model_validator(mode="after")
    def _has_one_limit(self) -> Self:
        if len(self.by_objective()) != 1:
            given = ", ".join(self.by_objective()) or "none"
            raise ValueError(f"must have one limit of {', '.join(Limits.model_fields)}, got {given}")
        return self


class PublishedGain(Spec):
    """What others found for the same question: printed beside the answer, used for nothing."""

    reference: str
    """Workload they compared with; the figure is shown only beside a comparison with the same one."""
    perplexity_ratio: float = Field(gt=0)
    """Perplexity of their best model over that of the reference at the same latency."""
    source: str = Field(min_length=1)
    """Where it was read: an id of docs/sources.md."""
    status: Status
    """How far it can be trusted."""
    note: str | None = None
    """Conditions."""


def _known_objective(name: str) -> str:
    if name not in OBJECTIVES:
        hint = nearest(name, OBJECTIVES)
        raise ValueError(f'must be one of {", ".join(OBJECTIVES)}, got "{name}"\n  Hint: {hint}')
    return name


RULE_NAMES: Final = (*(name for name in Dimensions.model_fields if name != "precision"), *DERIVED_SIZES)
"""What a rule may speak of."""


def _well_formed(text: str) -> str:
    try:
        Rule.parsed(text, RULE_NAMES)
    except SpecError as error:
        raise ValueError(str(error)) from None
    return text


ObjectiveName = Annotated[str, AfterValidator(_known_objective), WithJsonSchema({"enum": list(OBJECTIVES)})]
RuleText = Annotated[str, AfterValidator(_well_formed)]


class Study(Spec):
    """A question about a space of models on one chip."""

    name: str
    """The name by which commands find it; the file has the same name."""
    title: str
    """The name for people."""
    chip: str
    """Chip: a name of the catalogue or a path."""
    runtime: str
    """Runtime: a name of the catalogue or a path."""
    prompt_tokens: int = Field(gt=0)
    """Tokens of the prefill."""
    decode_tokens: int = Field(gt=0, le=MOST_STEPS)
    """Decoded tokens."""
    precision: str | None = None
    """Precision of the matrices, where it is no dimension."""
    law: str = "plas"
    """Loss law: a path to a YAML file, or "plas" for the published one."""
    reference: str | None = None
    """Workload to compare with: a name of the catalogue or a path."""
    published: PublishedGain | None = None
    """What others found."""
    source: str = Field(min_length=1)
    """Where the space and the tokens were read: an id of docs/sources.md."""
    status: Status
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""
    space: Dimensions
    """The sizes that vary, each with its values."""
    fixed: FixedSizes
    """What all models share."""
    rules: tuple[RuleText, ...] = ()
    """Conditions that every model meets, such as `hidden >= 64 * layers`."""
    objectives: tuple[ObjectiveName, ...]
    """What to make small: two or more."""
    limits: Limits = Field(default_factory=Limits)
    """What no model may exceed."""
    applications: dict[str, Application] = Field(default_factory=dict)
    """Uses by name, each with the limit that it sets."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random; an exact search has nothing random."""

    @model_validator(mode="after")
    def _precision_is_given_once(self) -> Self:
        if (self.precision is None) == (self.space.precision is None):
            got = "neither" if self.precision is None else "both"
            raise ValueError(f"precision: must be given here or as a dimension of the space, got {got}")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise ValueError(f'precision: must be one of {", ".join(PRECISIONS)}, got "{self.precision}"')
        return self

    @model_validator(mode="after")
    def _sizes_are_given_once(self) -> Self:
        varied = {name for name in Dimensions.model_fields if getattr(self.space, name) is not None}
        fixed = {name for name in varied if getattr(self.fixed, name, None) is not None}
        if fixed:
            raise ValueError(f"fixed: must have no size that is a dimension, got {', '.join(sorted(fixed))}")
        needed = ("layers", "hidden", "ffn_ratio", "kv_heads", "vocabulary")
        missing = [name for name in needed if not self._is_given(name)]
        if not self._is_given("heads") and not self._is_given("head_dim"):
            missing.append("heads or head_dim")
        if missing:
            raise ValueError(f"space: must have {', '.join(missing)}, unless fixed has; got neither")
        if not varied:
            raise ValueError("space: must have at least one dimension, got none")
        return self

    @model_validator(mode="after")
    def _objectives_differ(self) -> Self:
        if len(set(self.objectives)) < max(2, len(self.objectives)):
            got = ", ".join(self.objectives) or "none"
            raise ValueError(f"objectives: must be two or more of {', '.join(OBJECTIVES)}, each once, got {got}")
        return self

    def axes(self) -> dict[str, tuple[Value, ...]]:
        """The values of every size and of the precision, one value if it is no dimension, in the order of the points.

        Of heads and head_dim, one may be absent: it follows from the other.
        """
        axes: dict[str, tuple[Value, ...]] = {}
        for name in Dimensions.model_fields:
            dimension = getattr(self.space, name)
            if dimension is not None:
                axes[name] = dimension.values
            elif self._is_given(name) or name in _DENSE:
                fixed = self.precision if name == "precision" else getattr(self.fixed, name)
                axes[name] = (_DENSE.get(name) if fixed is None else fixed,)
        return axes

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the sizes that vary, in the order of the points."""
        return tuple(name for name in Dimensions.model_fields if getattr(self.space, name) is not None)

    @property
    def num_combinations(self) -> int:
        """How many combinations the dimensions have, before any rule."""
        return math.prod(len(values) for values in self.axes().values())

    def _is_given(self, name: str) -> bool:
        if name == "precision":
            return True
        return getattr(self.space, name) is not None or getattr(self.fixed, name) is not None
