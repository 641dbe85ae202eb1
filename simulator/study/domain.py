"""Which values a size of a model may take in a study: alone, and in the list of a dimension."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from simulator.precision import PRECISIONS
from simulator.sourced import Status
from simulator.spec import Spec
from simulator.units import written

Value = int | float | str | None
"""One value of a size. A ratio such as "8/3" stays text, because no float is equal to it."""

LARGEST_SIZE: Final = 10**9
"""Of any size, so that the product of two fits 64 bits."""


class Values(Spec):
    """The values of a dimension; without a source of their own they have that of the study."""

    values: tuple[Value, ...]
    """What the size may be, each value once."""
    source: str | None = Field(default=None, min_length=1)
    """Where the values were read."""
    status: Status | None = None
    """How far they can be trusted."""
    note: str | None = None
    """Cautions."""


@dataclass(frozen=True)
class Domain:
    """What a size may be: the rule in words, as a test, and as JSON Schema."""

    rule: str
    accepts: Callable[[Any], bool]
    schema: Mapping[str, Any]

    @property
    def one(self) -> tuple[BeforeValidator, WithJsonSchema]:
        """Checks one value; nothing means that it is not given."""

        def check(raw: object) -> object:
            if raw is not None and not self.accepts(raw):
                raise ValueError(f"must be {self.rule}, got {written(raw)}")
            return raw

        return BeforeValidator(check), WithJsonSchema({"description": self.rule, **self.schema})

    @property
    def many(self) -> tuple[BeforeValidator, WithJsonSchema]:
        """Checks the values of a dimension: a list, or a mapping with the list and its source."""

        def check(raw: object) -> object:
            if raw is None or isinstance(raw, Values):
                return raw
            fields = raw if isinstance(raw, Mapping) else {"values": raw}
            if "values" not in fields:
                return raw
            return {**fields, "values": self._checked(fields["values"])}

        return BeforeValidator(check), WithJsonSchema(self._schema_of_many())

    def _checked(self, values: object) -> tuple[Any, ...]:
        if not isinstance(values, list | tuple):
            raise ValueError(f"must be a list of values, got {written(values)}")
        if not values:
            raise ValueError("must have at least one value, got an empty list")
        for position, value in enumerate(values):
            if not self.accepts(value):
                raise ValueError(f"each value must be {self.rule}, got {written(value)}")
            if _exact(value) in map(_exact, values[:position]):
                raise ValueError(f"must have each value once, got {written(value)} twice")
        return tuple(values)

    def _schema_of_many(self) -> dict[str, Any]:
        values = {"type": "array", "minItems": 1, "items": self.schema, "description": f"Values, each {self.rule}."}
        rest = Values.model_json_schema()["properties"]
        fields = {
            "type": "object",
            "required": ["values"],
            "additionalProperties": False,
            "properties": {**rest, "values": values},
        }
        return {"description": "A list of values, or a mapping with their source.", "anyOf": [values, fields]}


def exact_ratio(value: Value) -> Fraction:
    """A ratio as it is written: 0.1 is a tenth, and "8/3" is not rounded.

    Raises:
        ValueError: when it is no ratio.

    >>> exact_ratio(0.1), exact_ratio("8/3")
    (Fraction(1, 10), Fraction(8, 3))
    """
    try:
        return Fraction(str(value))
    except ZeroDivisionError:
        raise ValueError("a ratio has no zero below its line") from None


def _is_whole(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST_SIZE


def _is_ratio(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        ratio = exact_ratio(value)
    except ValueError:
        return False
    return 0 < ratio <= 1000 and ratio.denominator <= 10**6


def _exact(value: Value) -> Value | Fraction:
    """The value itself, so that 1, 1.0 and "1/1" are the same one."""
    return exact_ratio(value) if _is_ratio(value) else value


_WHOLE: Final = {"type": "integer", "minimum": 1, "maximum": LARGEST_SIZE}
SIZE: Final = Domain("a whole number above zero", _is_whole, _WHOLE)
COUNT: Final = Domain("a whole number, zero or more", lambda value: _is_whole(value, 0), {**_WHOLE, "minimum": 0})
RATIO: Final = Domain(
    'a number above 0 and at most 1000, or a fraction such as "8/3"',
    _is_ratio,
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
            {"type": "string", "pattern": r"^\s*[0-9]+(/[0-9]+|(\.[0-9]*)?)\s*$"},
        ]
    },
)
KV_HEADS: Final = Domain(
    'a whole number above zero, or "heads" for as many as there are query heads',
    lambda value: value == "heads" or _is_whole(value),
    {"anyOf": [_WHOLE, {"const": "heads"}]},
)
WINDOW: Final = Domain(
    "a whole number of tokens above zero, or null for all tokens",
    lambda value: value is None or _is_whole(value),
    {"anyOf": [_WHOLE, {"type": "null"}]},
)
PRECISION: Final = Domain(
    f"one of the precisions {', '.join(PRECISIONS)}",
    lambda value: isinstance(value, str) and value in PRECISIONS,
    {"enum": list(PRECISIONS)},
)
