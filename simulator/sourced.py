"""Sourced numbers: a value, where it comes from and how far it can be trusted.

Every physical number of a catalogue is a mapping `{value: ..., source: ..., status: ...}` with an optional `note`.
`Sourced` is its type; the aliases below (`Bandwidth`, `Capacity`, `Count` ...) say which unit it must have. `Frozen`
is the base of everything read from YAML: unknown keys are refused, values are frozen.

This module knows no chip and no model. Reading files is in `simulator.document`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WithJsonSchema,
    WrapSerializer,
    model_validator,
)

from simulator.errors import SpecError
from simulator.units import EXAMPLE, parse_quantity, quantity_pattern, unit_names, written

Status = Literal["datasheet", "measured", "press", "derived", "inferred", "recalled", "assumed"]
"""How a number came to be known.

    datasheet   an official document or a paper by the maker, read at the source
    measured    a third party measured it on real hardware
    press       press, teardown, analyst or community
    derived     arithmetic on other sourced numbers, shown in the note
    inferred    a judgement from other figures; not published
    recalled    an official figure known by heart and not read again: check before quoting
    assumed     a guess, or a value that the user set
"""

UNCERTAIN: tuple[Status, ...] = ("inferred", "recalled", "assumed")
"""Statuses that a report lists, so that nobody mistakes a guess for data."""


WRITTEN: Final = {"is_written": True}
"""Validation context of what a person wrote: there, a quantity needs a unit even if it is no sourced number."""


class Frozen(BaseModel):
    """Base of everything read from YAML: unknown keys refused, frozen, no NaN and no infinity.

    `model_dump()` gives what a YAML file would say, so that it can be validated again; `model_dump(mode="json")` gives
    numbers in base units.
    """

    # strict: pydantic would otherwise read true as 1, "yes" as true and "32" as 32
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _freeze_lists(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        return {key: _frozen(value) for key, value in raw.items()}


def _frozen(value: object) -> object:
    """Lists as tuples, those of a mapping too; a specification inside freezes its own."""
    if isinstance(value, dict):
        return {key: tuple(inner) if isinstance(inner, list) else inner for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


class Sourced(Frozen):
    """A number with its provenance. `value` is in the base unit of its field."""

    value: float
    """The number, in the base unit of its field."""
    source: str = Field(min_length=1)
    """Where it was read: an id of docs/sources.md, or words for a guess."""
    status: Status
    """How far it can be trusted."""
    note: str | None = None
    """The arithmetic behind a derived number, the range of a guess, a caution."""

    @property
    def is_uncertain(self) -> bool:
        """Whether a report should list it as a guess."""
        return self.status in UNCERTAIN

    @property
    def guessed_range(self) -> str | None:
        """The range of a guess, as its note states it: "1.4 to 2.0" of a note with "(range 1.4 to 2.0)"."""
        stated = _RANGE.search(self.note or "")
        return stated[1] if stated else None


_RANGE: Final = re.compile(r"\((?:[^()]*, )?range ((?:[^()]|\([^()]*\))*)\)")


def _in_unit(dimension: str, *, above_zero: bool = True) -> tuple[BeforeValidator, WrapSerializer, WithJsonSchema]:
    """A sourced quantity: reads its value with a unit, and writes it so."""
    shape = f'must be {{value: "{EXAMPLE[dimension]}", source: ..., status: ...}}'

    def parse(raw: object) -> object:
        if isinstance(raw, Sourced):
            return raw
        if not isinstance(raw, Mapping):
            raise ValueError(f"{shape}, got {written(raw)} without its source")
        if "value" not in raw:
            return raw
        return {**raw, "value": _base_units(raw["value"], dimension, EXAMPLE[dimension], above_zero=above_zero)}

    def write(number: Sourced, as_fields: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        fields: dict[str, Any] = as_fields(number)
        if info.mode == "json":
            return {"value": number.value, "unit": dimension, **fields}
        return {**fields, "value": f"{number.value!r} {dimension}"}

    value_schema = _quantity_schema(dimension, EXAMPLE[dimension], above_zero=above_zero)
    return BeforeValidator(parse), WrapSerializer(write), WithJsonSchema(_sourced_schema(value_schema))


def _number(
    limit: float, what: str, *, is_whole: bool = False, above_zero: bool = True
) -> tuple[BeforeValidator, WithJsonSchema]:
    """A sourced pure number above zero, or from zero on, and at most `limit`."""

    def parse(raw: object) -> object:
        if isinstance(raw, Sourced):
            return raw
        if not isinstance(raw, Mapping):
            raise ValueError(f"must be {{value: ..., source: ..., status: ...}}, got {written(raw)} without its source")
        if "value" not in raw:
            return raw
        value = raw["value"]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_in_range = is_number and 0 <= value <= limit and value != math.inf and not (above_zero and value == 0)
        if not is_in_range or (is_whole and value != int(value)):
            raise ValueError(f"must be {what}, got {written(value)}")
        return raw

    kind = "integer" if is_whole else "number"
    least = "exclusiveMinimum" if above_zero else "minimum"
    value_schema: dict[str, Any] = {"type": kind, "description": what, least: 0}
    if math.isfinite(limit):
        value_schema["maximum"] = limit
    return BeforeValidator(parse), WithJsonSchema(_sourced_schema(value_schema))


def _base_units(raw: object, dimension: str, example: str, *, above_zero: bool) -> float:
    try:
        value = parse_quantity(raw, dimension, example)
    except SpecError as error:
        raise ValueError(str(error)) from None
    _require_positive(value, raw, above_zero=above_zero)
    return value


def _require_positive(value: float, raw: object, *, above_zero: bool) -> None:
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        raise ValueError(f"must be {'above zero' if above_zero else 'zero or more'}, got {written(raw)}")


def _quantity_schema(dimension: str, example: str, *, above_zero: bool) -> dict[str, Any]:
    quantity = {
        "type": "string",
        "description": f"quantity in {dimension}",
        "pattern": quantity_pattern(dimension),
        "examples": [example],
    }
    return quantity if above_zero else {"description": quantity.pop("description"), "anyOf": [quantity, {"const": 0}]}


def _sourced_schema(value_schema: dict[str, Any]) -> dict[str, Any]:
    rest = Sourced.model_json_schema()["properties"]
    return {
        "type": "object",
        "required": ["value", "source", "status"],
        "additionalProperties": False,
        "properties": {**rest, "value": value_schema},
    }


Bandwidth = Annotated[Sourced, *_in_unit("B/s")]
"""Bytes per second."""
Capacity = Annotated[Sourced, *_in_unit("B")]
"""Bytes."""
Frequency = Annotated[Sourced, *_in_unit("Hz")]
"""Hertz."""
Duration = Annotated[Sourced, *_in_unit("s", above_zero=False)]
"""Seconds; zero is allowed."""
Cycles = Annotated[Sourced, *_in_unit("cycles", above_zero=False)]
"""Clock cycles; zero is allowed."""
TransferRate = Annotated[Sourced, *_in_unit("T/s")]
"""Transfers per second and pin."""
BytesPerCycle = Annotated[Sourced, *_in_unit("B/cycle")]
"""Bytes per clock cycle."""
Power = Annotated[Sourced, *_in_unit("W")]
"""Watts."""
Area = Annotated[Sourced, *_in_unit("mm2")]
"""Square millimetres."""
Energy = Annotated[Sourced, *_in_unit("J")]
"""Joules."""
EnergyPerByte = Annotated[Sourced, *_in_unit("J/B")]
"""Joules per byte."""
PowerDensity = Annotated[Sourced, *_in_unit("W/mm2")]
"""Watts per square millimetre."""
Voltage = Annotated[Sourced, *_in_unit("V")]
"""Volts."""
DefectDensity = Annotated[Sourced, *_in_unit("defects/mm2")]
"""Defects per square millimetre."""
Money = Annotated[Sourced, *_in_unit("USD", above_zero=False)]
"""US dollars; zero is allowed."""
MoneyPerArea = Annotated[Sourced, *_in_unit("USD/mm2", above_zero=False)]
"""US dollars per square millimetre; zero is allowed."""
MoneyPerByte = Annotated[Sourced, *_in_unit("USD/B", above_zero=False)]
"""US dollars per byte; zero is allowed."""
Count = Annotated[Sourced, *_number(math.inf, "a number above zero")]
"""A pure number above zero."""
Whole = Annotated[Sourced, *_number(math.inf, "a whole number above zero", is_whole=True)]
"""A pure whole number above zero."""
Fraction = Annotated[Sourced, *_number(1, "a fraction above 0 and at most 1")]
"""A share of something, above 0 and at most 1."""
Portion = Annotated[Sourced, *_number(1, "a fraction from 0 to 1", above_zero=False)]
"""A share of something, from nothing to all of it."""


def _chosen(
    dimension: str, example: str, *, above_zero: bool = True
) -> tuple[BeforeValidator, WrapSerializer, WithJsonSchema]:
    """A quantity without provenance; code may give it as a float in the base unit, a file may not."""

    def parse(raw: object, info: ValidationInfo) -> float:
        if isinstance(raw, float) and not info.context:
            _require_positive(raw, raw, above_zero=above_zero)
            return raw
        return _base_units(raw, dimension, example, above_zero=above_zero)

    def write(value: float, as_number: SerializerFunctionWrapHandler, info: SerializationInfo) -> object:
        return as_number(value) if info.mode == "json" else f"{value!r} {dimension}"

    schema = _quantity_schema(dimension, example, above_zero=above_zero)
    return BeforeValidator(parse), WrapSerializer(write), WithJsonSchema(schema)


ChosenDuration = Annotated[float, *_chosen("s", "100 ms")]
"""Seconds that somebody decides (a period, a deadline): a requirement, so it needs no source."""
ChosenTime = Annotated[float, *_chosen("s", "30 ms", above_zero=False)]
"""Like `ChosenDuration`, zero allowed (an offset)."""
ChosenFrequency = Annotated[float, *_chosen("Hz", "10 Hz")]
"""Hertz that somebody decides (a frame rate)."""
ChosenTransferRate = Annotated[float, *_chosen("T/s", "6400 MT/s")]
"""Transfers per second and pin of a grade that somebody names."""
ChosenCapacity = Annotated[float, *_chosen("B", "8 GiB")]
"""Bytes that somebody decides (a memory budget)."""
ChosenRoom = Annotated[float, *_chosen("B", "64 MiB", above_zero=False)]
"""Like `ChosenCapacity`, zero allowed (no room)."""


def sourced_numbers(spec: BaseModel, path: str = "") -> Iterator[tuple[str, Sourced]]:
    """Every sourced number in a spec with its dotted path, in the order of its fields."""
    for name in type(spec).model_fields:
        yield from _sourced_in(getattr(spec, name), f"{path}.{name}" if path else name)


def _sourced_in(value: Any, path: str) -> Iterator[tuple[str, Sourced]]:
    if isinstance(value, Sourced):
        yield path, value
    elif isinstance(value, BaseModel):
        yield from sourced_numbers(value, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _sourced_in(item, f"{path}.{key}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _sourced_in(item, f"{path}.{index}")


def units_of(spec: BaseModel) -> Iterator[tuple[str, Sourced, str | None]]:
    """As `sourced_numbers`, with the unit of each value: None for a pure number."""
    dumped = _dumped_numbers(spec.model_dump(mode="json"))
    for (path, number), fields in zip(sourced_numbers(spec), dumped, strict=True):
        yield path, number, fields.get("unit")


def _dumped_numbers(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, Mapping) and tree.keys() >= {"value", "source", "status"}:
        yield tree
    elif isinstance(tree, Mapping | list | tuple):
        for item in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _dumped_numbers(item)


_ROUNDED: Final = 0.01
"""How far a number may lie outside its range: people round the ends."""

_ENDS: Final = re.compile(
    r"(?P<low>[0-9.]*[0-9])\s*(?P<low_unit>[^\W\d_]+(?:/[a-z]+)?)?\s*(?:to|-)\s*"
    r"(?P<high>[0-9.]*[0-9])\s*(?P<unit>[^\W\d_]+(?:/[a-z]+)?)?"
)


def noted_range(number: Sourced, unit: str | None) -> tuple[float, float] | None:
    """The ends of the guessed range of a number, in the base unit of the number.

    A range without a unit is in that in which the value is written: of all units in which the range holds the value,
    the one that makes the value shortest. None where the note gives no range, or one that does not hold the value to
    1 %.

    Args:
        number: the number.
        unit: its base unit; None for a pure number.

    >>> noted_range(Sourced(value=1.6e9, source="me", status="assumed", note="a guess (range 1.4 to 2.0)"), "Hz")
    (1400000000.0, 2000000000.0)
    """
    match = _ENDS.search(number.guessed_range or "")
    if match is None:
        return None
    names = unit_names(unit) if unit else []
    ranges = []
    for name in [match["unit"]] if match["unit"] in names else names or [""]:
        low_name = match["low_unit"] if match["low_unit"] in names else name
        low, high, one = (
            _base_value(*pair, unit) for pair in ((match["low"], low_name), (match["high"], name), ("1", name))
        )
        if low <= number.value * (1 + _ROUNDED) and high >= number.value * (1 - _ROUNDED):
            ranges.append((len(f"{number.value / one:.12g}"), (low, high)))
    return min(ranges)[1] if ranges else None


def _base_value(text: str, name: str, unit: str | None) -> float:
    return parse_quantity(f"{text} {name}", unit) if unit else float(text)
