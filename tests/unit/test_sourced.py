"""Sourced numbers: no number without its source, no value without its unit, and nothing lost on the way out."""

import math
from typing import Any

import pytest
from pydantic import Field, ValidationError

from simulator.sourced import (
    WRITTEN,
    Bandwidth,
    Capacity,
    ChosenDuration,
    ChosenTime,
    Count,
    Duration,
    Fraction,
    Sourced,
    noted_range,
    sourced_numbers,
    units_of,
)
from simulator.spec import Spec


class Memory(Spec):
    bandwidth: Bandwidth
    latency: Duration | None = None
    share: Fraction | None = None
    ports: Count | None = None


class Machine(Spec):
    memories: dict[str, Memory] = Field(default_factory=dict)
    sizes: tuple[Capacity, ...] = ()
    deadline: ChosenDuration = 0.1
    offset: ChosenTime = 0.0
    cores: int = 1
    is_new: bool = False


def number(value: object, **more: object) -> dict[str, Any]:
    return {"value": value, "source": "me", "status": "assumed", **more}


def complaint(spec_type: type[Spec], **fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        spec_type.model_validate(fields, context=WRITTEN)
    return str(caught.value)


def test_a_sourced_number_is_kept_in_base_units_with_its_provenance() -> None:
    memory = Memory.model_validate({"bandwidth": number("204.8 GB/s", note="n")})
    assert memory.bandwidth == Sourced(value=204.8e9, source="me", status="assumed", note="n")
    assert memory.bandwidth.is_uncertain


@pytest.mark.parametrize(
    ("bandwidth", "rule"),
    [
        ("204.8 GB/s", 'must be {value: "204.8 GB/s", source: ..., status: ...}, got "204.8 GB/s" without its source'),
        (204.8, 'must be {value: "204.8 GB/s", source: ..., status: ...}, got 204.8 without its source'),
        (number("0 GB/s"), 'must be above zero, got "0 GB/s"'),
        (number("-1 GB/s"), 'must be above zero, got "-1 GB/s"'),
        (number(5), "must be a quantity in B/s, got 5 (no unit)"),
        (number("5 GB"), 'must be a quantity in B/s, got "5 GB", which is in B'),
    ],
)
def test_a_quantity_without_source_unit_or_sense_is_refused(bandwidth: object, rule: str) -> None:
    assert rule in complaint(Memory, bandwidth=bandwidth)


@pytest.mark.parametrize("left_out", ["value", "source", "status"])
def test_each_part_of_a_sourced_number_is_required(left_out: str) -> None:
    partial = {key: value for key, value in number("1 GB/s").items() if key != left_out}
    message = complaint(Memory, bandwidth=partial)
    assert f"bandwidth.{left_out}" in message
    assert "Field required" in message


def test_zero_is_a_duration_but_not_a_bandwidth() -> None:
    assert Memory.model_validate({"bandwidth": number("1 B/s"), "latency": number(0)}).latency.value == 0  # type: ignore[union-attr]
    assert "must be above zero" in complaint(Memory, bandwidth=number(0))
    assert "must be zero or more" in complaint(Memory, bandwidth=number("1 B/s"), latency=number("-1 ns"))


@pytest.mark.parametrize("value", [0, -0.5, 1.01, math.nan, math.inf, True, "0.5", None])
def test_a_fraction_is_above_zero_and_at_most_one(value: object) -> None:
    assert "must be a fraction above 0 and at most 1" in complaint(
        Memory, bandwidth=number("1 B/s"), share=number(value)
    )


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "7"])
def test_a_count_is_a_finite_number_above_zero(value: object) -> None:
    assert "must be a number above zero" in complaint(Memory, bandwidth=number("1 B/s"), ports=number(value))


@pytest.mark.parametrize("deadline", [0.1, 100, "0 ms", "100", math.nan])
def test_a_file_must_give_a_chosen_duration_with_its_unit_and_above_zero(deadline: object) -> None:
    complaint(Machine, deadline=deadline)


def test_code_may_give_a_chosen_duration_in_seconds_but_not_below_zero() -> None:
    assert Machine(deadline=0.25).deadline == 0.25
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValidationError):
            Machine(deadline=wrong)


@pytest.mark.parametrize(
    ("field", "value"), [("cores", True), ("cores", "4"), ("cores", 4.0), ("is_new", "yes"), ("is_new", 1)]
)
def test_a_value_of_another_type_is_refused_and_not_converted(field: str, value: object) -> None:
    assert "Input should be a valid" in complaint(Machine, **{field: value})


def test_an_unknown_field_is_refused() -> None:
    assert "Extra inputs are not permitted" in complaint(Machine, colour="red")


def test_a_spec_cannot_be_changed_not_even_its_lists() -> None:
    machine = Machine.model_validate({"sizes": [number("1 MiB")]})
    with pytest.raises(ValidationError):
        machine.cores = 2  # type: ignore[misc]
    assert isinstance(machine.sizes, tuple)


def test_what_a_spec_dumps_is_a_file_that_gives_the_same_spec() -> None:
    raw = {
        "memories": {"a": {"bandwidth": number("204.8 GB/s"), "latency": number("7.3 ns"), "share": number(0.3)}},
        "sizes": [number("4 MiB"), number("1.5 kB")],
        "deadline": "33.3 ms",
    }
    machine = Machine.model_validate(raw, context=WRITTEN)
    dumped = machine.model_dump()
    assert dumped["memories"]["a"]["bandwidth"]["value"] == "204800000000.0 B/s"
    assert Machine.model_validate(dumped, context=WRITTEN) == machine


def test_json_has_numbers_in_base_units_and_names_the_unit() -> None:
    machine = Machine.model_validate({"sizes": [number("4 MiB")], "deadline": "100 ms"})
    dumped = machine.model_dump(mode="json")
    assert dumped["sizes"] == [{"value": 4194304.0, "unit": "B", "source": "me", "status": "assumed", "note": None}]
    assert dumped["deadline"] == 0.1


def test_every_sourced_number_is_found_with_its_path() -> None:
    machine = Machine.model_validate(
        {"memories": {"a": {"bandwidth": number("1 B/s"), "share": number(1)}}, "sizes": [number("1 B"), number("2 B")]}
    )
    found = [(path, sourced.value) for path, sourced in sourced_numbers(machine)]
    assert found == [("memories.a.bandwidth", 1), ("memories.a.share", 1), ("sizes.0", 1), ("sizes.1", 2)]


def test_every_sourced_number_is_found_with_its_unit_and_a_pure_number_without_one() -> None:
    machine = Machine.model_validate(
        {"memories": {"a": {"bandwidth": number("1 GB/s"), "share": number(1)}}, "sizes": [number("2 KiB")]}
    )
    found = [(path, sourced.value, unit) for path, sourced, unit in units_of(machine)]
    assert found == [("memories.a.bandwidth", 1e9, "B/s"), ("memories.a.share", 1, None), ("sizes.0", 2048, "B")]


@pytest.mark.parametrize(
    ("note", "stated"),
    [
        (None, None),
        ("a guess", None),
        ("as FP16 (range 512 to 2048)", "512 to 2048"),
        ("unpublished; (one of two) (range 1 to 2 (or 3)); more", "1 to 2 (or 3)"),
    ],
)
def test_the_range_of_a_guess_is_what_its_note_states(note: str | None, stated: str | None) -> None:
    assert Sourced(value=1, source="me", status="assumed", note=note).guessed_range == stated


@pytest.mark.parametrize(
    ("value", "unit", "note", "expected"),
    [
        (1.6e9, "Hz", "unpublished (range 1.4 to 2.0)", (1.4e9, 2.0e9)),
        (64.0, None, "(range 32 to 128)", (32, 128)),
        (512.0, None, "a quarter (range a quarter to a half, 512 to 1024)", (512, 1024)),
        (0.575, None, "as FP16 (range 0.38 to 0.79: two products)", (0.38, 0.79)),
        (0.9, None, "two chips (range 0.72 to 0.96 for 2.0 to 1.5 GHz)", (0.72, 0.96)),
        (54e3, "cycles", "a graph costs as much (assumed, range 10 to 200 kcycles)", (10e3, 200e3)),
        (2000.0, "cycles", "(range 500 to 5000)", (500, 5000)),
        (4 * 2**20, "B", "(range 2 to 8)", (2 * 2**20, 8 * 2**20)),  # 4 MiB is shorter than 4.194304 MB
        (4e6, "B", "(range 2 to 8)", (2e6, 8e6)),
        (6.4e9, "T/s", "(range 5500 to 7500 MT/s)", (5.5e9, 7.5e9)),
        (6.4e9, "T/s", "(range 5500 to 7500)", (5.5e9, 7.5e9)),
        (60e-6, "s", "(range 35-106 us)", (35e-6, 106e-6)),
        (1e-5, "s", "(range 0 s to 10 ms)", (0, 10e-3)),
        (828.75e6, "Hz", "(range 816 MHz to 1.02 GHz)", (816e6, 1.02e9)),
        (15.75e9, "B/s", "lanes assumed (range 4 to 8)", None),  # of lanes: no unit makes 15.75e9 B/s lie in it
        (0.5, None, "(range 0.6 to 0.8)", None),
        (0.5, None, "measured in 3 to 4 runs", None),
        (0.5, None, None, None),
    ],
)
def test_the_range_of_a_note_is_in_the_unit_of_the_number(
    value: float, unit: str | None, note: str | None, expected: tuple[float, float] | None
) -> None:
    found = noted_range(Sourced(value=value, source="me", status="assumed", note=note), unit)
    assert found == (expected if expected is None else pytest.approx(expected))
