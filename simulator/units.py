"""Quantities with units, and the one place where time is rounded.

Inside the code every number is in a base unit: seconds (or ticks), bytes, bytes per second, hertz, joule,
watt. Prefixes and units exist only in YAML strings and in reports, and this module translates between them.

Rules: SI prefixes are decimal (`GB` is 10^9 bytes), `Ki Mi Gi Ti` are binary, `b` is a bit and `B` a byte, and
a number without a unit is refused. A *tick* is one picosecond; an int64 holds 106 days of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from simulator.errors import SpecError

TICKS_PER_SECOND: Final = 10**12
"""One tick is one picosecond."""

ROUNDING_GUARD_TICKS: Final = 0.01
"""A duration less than this above a whole tick is that tick.

Binary floating point puts 5e9 B / 1e11 B/s a hair above or below 50 ms; without a guard the hair would cost a
tick. One hundredth of a picosecond is far above the error of a double (1e-4 ticks at 1 s) and far below a tick.

Valid: single durations up to 64 s; beyond, the last bit of a double is worth more than the guard.
"""

_PREFIX: Final = {
    "": Fraction(1),
    "p": Fraction(1, 10**12),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "\u00b5": Fraction(1, 10**6),  # micro sign
    "\u03bc": Fraction(1, 10**6),  # Greek letter mu
    "m": Fraction(1, 10**3),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
}

# unit symbol -> (dimension, factor to the base unit of that dimension)
_UNIT: Final = {
    "s": ("s", Fraction(1)),
    "min": ("s", Fraction(60)),
    "h": ("s", Fraction(3600)),
    "Hz": ("Hz", Fraction(1)),
    "B": ("B", Fraction(1)),
    "b": ("B", Fraction(1, 8)),
    "bit": ("B", Fraction(1, 8)),
    "B/s": ("B/s", Fraction(1)),
    "b/s": ("B/s", Fraction(1, 8)),
    "bit/s": ("B/s", Fraction(1, 8)),
    "T/s": ("T/s", Fraction(1)),
    "J": ("J", Fraction(1)),
    "J/B": ("J/B", Fraction(1)),
    "J/bit": ("J/B", Fraction(8)),
    "W": ("W", Fraction(1)),
    "W/mm2": ("W/mm2", Fraction(1)),
    "V": ("V", Fraction(1)),
    "mm2": ("mm2", Fraction(1)),
    "um2": ("mm2", Fraction(1, 10**6)),
    "defects/mm2": ("defects/mm2", Fraction(1)),
    "defects/cm2": ("defects/mm2", Fraction(1, 100)),
    "USD": ("USD", Fraction(1)),
    "USD/mm2": ("USD/mm2", Fraction(1)),
    "USD/B": ("USD/B", Fraction(1)),
    "USD/GB": ("USD/B", Fraction(1, 10**9)),
    "cycles": ("cycles", Fraction(1)),
    "B/cycle": ("B/cycle", Fraction(1)),
}
_UNPREFIXED: Final = {"min", "h", "mm2", "um2", "defects/mm2", "defects/cm2", "USD", "USD/mm2", "USD/B", "USD/GB"}
_DIVIDING: Final = {"m", "u", "\u00b5", "\u03bc", "n", "p"}
_BINARY: Final = {"Ki", "Mi", "Gi", "Ti"}
_COUNTED: Final = {"B", "B/s", "T/s", "cycles", "B/cycle"}
"""Dimensions that count whole things: `mB` is a slip for `MB`, never a thousandth of a byte."""

EXAMPLE: Final = {
    "s": "100 ms",
    "Hz": "1.3 GHz",
    "B": "4 MiB",
    "B/s": "204.8 GB/s",
    "T/s": "6400 MT/s",
    "J": "0.5 pJ",
    "J/B": "5 pJ/bit",
    "W": "60 W",
    "W/mm2": "25 mW/mm2",
    "V": "0.75 V",
    "mm2": "415 mm2",
    "defects/mm2": "0.1 defects/cm2",
    "USD": "9000 USD",
    "USD/mm2": "0.05 USD/mm2",
    "USD/B": "4 USD/GB",
    "cycles": "6.4 kcycles",
    "B/cycle": "128 B/cycle",
}
"""One valid spelling per dimension, for messages and for the JSON Schema."""

_PATTERN: Final = re.compile(
    r"\s*(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)"
    r"\s*(?P<unit>[A-Za-z\u00b5\u03bc][A-Za-z\u00b5\u03bc0-9/]*)?\s*"
)


def _split_unit(text: str) -> tuple[str, Fraction] | None:
    """The dimension and the factor to its base unit of a unit with a prefix, or None if there is no such unit."""
    for length in (0, 1, 2):
        prefix, unit = text[:length], text[length:]
        if prefix in _PREFIX and unit in _UNIT and not (prefix and unit in _UNPREFIXED):
            dimension, factor = _UNIT[unit]
            is_slip = dimension in _COUNTED and prefix in _DIVIDING
            is_mixture = prefix in _BINARY and not dimension.startswith("B")
            if not is_slip and not is_mixture:
                return dimension, _PREFIX[prefix] * factor
    return None


def written(value: object) -> str:
    """A value as a YAML file would show it, for messages.

    >>> written("4 MiB"), written(True), written(None), written({"a": 1})
    ('"4 MiB"', 'true', 'nothing', 'a mapping')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def parse_quantity(text: object, dimension: str, example: str | None = None) -> float:
    """The value of a quantity string in the base unit of `dimension`.

    Args:
        text: a string such as `"204.8 GB/s"`; a bare zero is allowed, since zero needs no unit.
        dimension: a key of `EXAMPLE`.
        example: a valid spelling for the message; None takes that of the dimension.
    Raises:
        SpecError: when the unit is missing, unknown, or of another dimension.

    >>> parse_quantity("4 MiB", "B")
    4194304.0
    >>> parse_quantity("100 Gb/s", "B/s")
    12500000000.0
    """
    rule = f"must be a quantity in {dimension}, got {written(text)}"
    hint = f'write a number and a unit, such as "{example or EXAMPLE[dimension]}"'
    match = _PATTERN.fullmatch(str(text)) if isinstance(text, str | int | float) else None
    if match is None:
        raise SpecError(rule, hint=hint)
    unit = match["unit"]
    if unit is None:
        if float(match["number"]) == 0:
            return 0.0
        raise SpecError(f"{rule} (no unit)", hint=hint)
    found = _split_unit(unit)
    if found is None:
        raise SpecError(f'{rule} (unknown unit "{unit}")', hint=hint)
    found_dimension, factor = found
    if found_dimension != dimension:
        raise SpecError(f"{rule}, which is in {found_dimension}", hint=hint)
    try:
        return float(Fraction(match["number"]) * factor)
    except (OverflowError, ValueError):
        raise SpecError(f"{rule} (too large)", hint=hint) from None


def quantity_pattern(dimension: str) -> str:
    """A regular expression of the quantities in a dimension, for the JSON Schema.

    >>> bool(re.fullmatch(quantity_pattern("s"), "100 ms")), bool(re.fullmatch(quantity_pattern("s"), "100 MB"))
    (True, False)
    """
    return rf"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*({'|'.join(unit_names(dimension))})\s*$"


def unit_names(dimension: str) -> list[str]:
    """Every way to write a unit of a dimension, in the order of letters; none for a dimension that is unknown.

    >>> unit_names("mm2")
    ['mm2', 'um2']
    """
    bases = [unit for unit, (found, _) in _UNIT.items() if found == dimension]
    prefixed = sorted({prefix + unit for prefix in _PREFIX for unit in bases})
    return [unit for unit in prefixed if (_split_unit(unit) or ("", 0))[0] == dimension]


def seconds_to_ticks(seconds: float) -> int:
    """A duration in ticks, rounded up: the only rounding of time.

    >>> seconds_to_ticks(1e-3)
    1000000000
    """
    return ceil_ticks(seconds * TICKS_PER_SECOND)


def cycles_to_ticks(cycles: float, clock_hz: float) -> int:
    """The duration of a number of cycles of a clock, in ticks, rounded up.

    >>> cycles_to_ticks(6400, 1.6e9)
    4000000
    """
    return ceil_ticks(cycles * TICKS_PER_SECOND / clock_hz)


def ceil_ticks(ticks: float) -> int:
    """The next whole tick, with `ROUNDING_GUARD_TICKS` of grace for floating point."""
    return math.ceil(ticks - ROUNDING_GUARD_TICKS)


def ticks_to_seconds(ticks: float) -> float:
    """Ticks as seconds."""
    return ticks / TICKS_PER_SECOND


_SCALES: Final = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"),
                  (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))  # fmt: skip


def format_quantity(value: float, unit: str, digits: int = 3) -> str:
    """A number in a base unit as a person writes it, with an SI prefix.

    >>> format_quantity(204.8e9, "B/s")
    '205 GB/s'
    >>> format_quantity(0.0964, "s")
    '96.4 ms'
    """
    if value == 0:
        return f"0 {unit}"
    for scale, prefix in _SCALES:
        rounded = float(f"{value / scale:.{digits}g}")
        if abs(rounded) >= 1 or scale == 1e-12:
            text = f"{rounded:.{digits}g}" if abs(rounded) < 10**digits else f"{rounded:.0f}"
            return f"{text} {prefix}{unit}"
    raise AssertionError("unreachable: the last scale always returns")


def format_ticks(ticks: int) -> str:
    """A time in ticks as a person writes it.

    >>> format_ticks(96_400_000_000)
    '96.4 ms'
    """
    return format_quantity(ticks_to_seconds(ticks), "s")


VALUE_DIGITS: Final = 4
"""Significant digits of a value as text."""

_SMALL_MM2: Final = 0.1
_UNSCALED: Final[dict[str, tuple[float, str]]] = {
    "cycles": (1, "cycles"),
    "B/cycle": (1, "B/cycle"),
    "mm2": (1, "mm2"),
    "um2": (1e6, "um2"),
    "USD": (1, "USD"),
    "USD/mm2": (1, "USD/mm2"),
    "USD/B": (1e9, "USD/GB"),
    "defects/mm2": (100, "defects/cm2"),
    "T/s": (1e-6, "MT/s"),
}
"""Units of numbers that are written without a prefix of their own: the factor to the unit in which they are."""


def value_text(value: float, unit: str | None, like: float | None = None) -> str:
    """A value in the prefix in which people write it.

    Args:
        value: in the base unit.
        unit: the base unit; None for a pure number.
        like: another value of the same number: a capacity is written with a binary prefix where that one is.

    >>> value_text(0.8 * 96 * 2**20, "B", like=96 * 2**20)
    '76.8 MiB'
    """
    if unit is None:
        return f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"
    if unit == "B":
        return _capacity(value, value if like is None else like)
    if unit == "mm2" and value < _SMALL_MM2:
        unit = "um2"
    if unit in _UNSCALED:
        factor, written = _UNSCALED[unit]
        return f"{factor * value:,.6g} {written}"
    return format_quantity(value, unit, VALUE_DIGITS)


def _capacity(value: float, like: float) -> str:
    """Bytes with the prefix in which bytes like them are round: 64 GB, 4 MiB."""
    scale = next((scale for scale in (2**30, 2**20, 2**10) if like >= scale), None)
    is_binary = scale is not None and like % (scale / 8) == 0
    return binary_size(value) if is_binary else format_quantity(value, "B", VALUE_DIGITS)


def binary_size(size_bytes: float) -> str:
    """A size as memories are named, with a binary prefix.

    >>> binary_size(32 * 2**20)
    '32 MiB'
    >>> binary_size(228 * 2**10)
    '228 KiB'
    """
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes >= 1024**power:
            return f"{size_bytes / 1024**power:.4g} {unit}"
    return f"{size_bytes:.0f} B"
