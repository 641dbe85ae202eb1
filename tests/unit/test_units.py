"""Quantities with units: exact conversion, no silent guess, one rounding of time."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import SpecError
from simulator.units import (
    EXAMPLE,
    TICKS_PER_SECOND,
    ceil_ticks,
    cycles_to_ticks,
    format_quantity,
    parse_quantity,
    quantity_pattern,
    seconds_to_ticks,
    ticks_to_seconds,
    written,
)


@pytest.mark.parametrize(
    ("text", "dimension", "base_units"),
    [
        ("204.8 GB/s", "B/s", 204_800_000_000),  # decimal: GB is 10^9, not 2^30
        ("204.8GiB/s", "B/s", 204.8 * 2**30),
        ("64 Gb/s", "B/s", 8_000_000_000),  # eight bits to a byte
        ("64 Gbit/s", "B/s", 8_000_000_000),
        ("4 MiB", "B", 4 * 2**20),
        ("4 MB", "B", 4_000_000),
        ("8 Kib", "B", 1024),
        ("1.3 GHz", "Hz", 1_300_000_000),
        ("100 ms", "s", 0.1),
        ("1 us", "s", 1e-6),
        ("1 µs", "s", 1e-6),  # micro sign
        ("1 μs", "s", 1e-6),  # Greek letter
        ("2 min", "s", 120),
        ("1 h", "s", 3600),
        ("6400 MT/s", "T/s", 6_400_000_000),
        ("6.4 GT/s", "T/s", 6_400_000_000),
        ("5 pJ/bit", "J/B", 40e-12),  # eight bits to a byte
        ("6.4 kcycles", "cycles", 6400),
        ("1e3 B", "B", 1000),
        (" .5 W ", "W", 0.5),
        ("415 mm2", "mm2", 415),
        ("-3 s", "s", -3),  # the sign is the business of the field
    ],
)
def test_a_quantity_is_converted_exactly(text: str, dimension: str, base_units: float) -> None:
    assert parse_quantity(text, dimension) == base_units


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0 B"])
def test_zero_needs_no_unit(zero: object) -> None:
    assert parse_quantity(zero, "B") == 0.0


@pytest.mark.parametrize(
    ("value", "dimension", "message"),
    [
        (204.8, "B/s", "must be a quantity in B/s, got 204.8 (no unit)"),
        ("204.8", "B/s", 'must be a quantity in B/s, got "204.8" (no unit)'),
        ("4 MiB", "B/s", 'must be a quantity in B/s, got "4 MiB", which is in B'),
        ("4 GHZ", "Hz", 'must be a quantity in Hz, got "4 GHZ" (unknown unit "GHZ")'),
        ("4 mB", "B", 'must be a quantity in B, got "4 mB" (unknown unit "mB")'),  # a slip for MB
        ("4 Kis", "s", 'must be a quantity in s, got "4 Kis" (unknown unit "Kis")'),  # binary seconds
        ("fast", "Hz", 'must be a quantity in Hz, got "fast"'),
        ("1_000 B", "B", 'must be a quantity in B, got "1_000 B"'),
        ("٣ B", "B", 'must be a quantity in B, got "٣ B"'),  # digits of another script
        ("1 GB / s", "B/s", 'must be a quantity in B/s, got "1 GB / s"'),
        (True, "B", "must be a quantity in B, got true"),
        (None, "B", "must be a quantity in B, got nothing"),
        (float("nan"), "B", "must be a quantity in B, got nan"),
        (float("inf"), "B", "must be a quantity in B, got inf"),
        ("1e999 B", "B", 'must be a quantity in B, got "1e999 B" (too large)'),
        ("1e999999999 B", "B", 'must be a quantity in B, got "1e999999999 B"'),  # must not take for ever
        ("9" * 5000 + " B", "B", f'must be a quantity in B, got "{"9" * 59}... (5004 characters) (too large)'),
    ],
)
def test_what_is_no_quantity_is_refused_with_the_rule_and_the_value(
    value: object, dimension: str, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parse_quantity(value, dimension)
    assert caught.value.message == message
    assert caught.value.hint == f'write a number and a unit, such as "{EXAMPLE[dimension]}"'


@pytest.mark.parametrize("dimension", EXAMPLE)
def test_every_example_is_itself_a_valid_quantity_and_fits_its_pattern(dimension: str) -> None:
    assert parse_quantity(EXAMPLE[dimension], dimension) > 0
    assert re.fullmatch(quantity_pattern(dimension), EXAMPLE[dimension])


@given(st.floats(min_value=0, max_value=1e300), st.sampled_from(sorted(EXAMPLE)))
def test_a_float_written_in_its_base_unit_is_read_back_unchanged(value: float, dimension: str) -> None:
    assert parse_quantity(f"{value!r} {dimension}", dimension) == value


@given(
    st.integers(min_value=1, max_value=10**6),
    st.sampled_from(
        ["B", "KB", "kB", "MiB", "mB", "GB/s", "ms", "GHz", "T/s", "cycles", "Mis", "J/bit", "mm2", "kmm2"]
    ),
    st.sampled_from(sorted(EXAMPLE)),
)
def test_the_pattern_of_the_schema_accepts_what_the_parser_accepts(number: int, unit: str, dimension: str) -> None:
    text = f"{number} {unit}"
    try:
        parse_quantity(text, dimension)
    except SpecError:
        is_accepted = False
    else:
        is_accepted = True
    assert bool(re.fullmatch(quantity_pattern(dimension), text)) == is_accepted


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (0.0, 0),
        (1e-12, 1),
        (1.2e-12, 2),  # a fraction of a tick is a tick
        (1.005e-12, 1),  # the hair of a rounding error is not
        (5e9 / 1e11, 50_000_000_000),
        (3600.0, 3600 * 10**12),
    ],
)
def test_a_duration_is_rounded_up_to_whole_ticks_but_not_for_a_rounding_error(seconds: float, ticks: int) -> None:
    assert seconds_to_ticks(seconds) == ticks


@given(st.integers(min_value=0, max_value=10**13))
def test_ticks_survive_the_way_to_seconds_and_back(ticks: int) -> None:
    # up to ten seconds the error of a double is far below the guard
    assert seconds_to_ticks(ticks_to_seconds(ticks)) == ticks


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=10**6, max_value=10**10))
def test_cycles_take_the_next_whole_tick_of_their_exact_duration(cycles: int, clock_hz: int) -> None:
    exact = Fraction(cycles) * TICKS_PER_SECOND / clock_hz
    found = cycles_to_ticks(cycles, clock_hz)
    # exact rounding up, or the tick below it if the rest is within the guard and the error of a double
    slack = Fraction(1, 100) + exact / 2**50
    assert exact - slack <= found < exact + 1 + slack


def test_the_guard_is_a_hundredth_of_a_tick() -> None:
    assert ceil_ticks(7.009) == 7
    assert ceil_ticks(7.011) == 8


@pytest.mark.parametrize(
    ("value", "unit", "digits", "text"),
    [
        (0, "s", 3, "0 s"),
        (204.8e9, "B/s", 4, "204.8 GB/s"),
        (999.96e9, "B/s", 4, "1 TB/s"),  # rounding carries into the next prefix
        (0.0964, "s", 3, "96.4 ms"),
        (1234e15, "OPS", 3, "1230 POPS"),  # no prefix above peta
        (2e-14, "J", 3, "0.02 pJ"),  # none below pico
    ],
)
def test_a_number_is_shown_with_the_prefix_a_person_would_use(value: float, unit: str, digits: int, text: str) -> None:
    assert format_quantity(value, unit, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", '"a"'), (3, "3"), (True, "true"), (None, "nothing"), ({}, "an empty mapping"), ([1], "a list")],
)
def test_messages_show_values_in_the_words_of_yaml(value: object, text: str) -> None:
    assert written(value) == text
