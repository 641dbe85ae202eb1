"""Overrides: values set by the user, by path, checked as strictly as those of a file."""

from typing import Any

import pytest

from simulator.catalog import parse_assignments
from simulator.document.validate import with_values
from simulator.errors import SpecError
from simulator.sourced import Sourced


def test_a_plain_override_of_a_sourced_number_is_marked_as_assumed(tiny_catalogue: Any) -> None:
    chip = tiny_catalogue.catalog().load_chip("tiny", {"dram.rate": "9600 MT/s", "masters.cpu.weight": 2.0})
    assert chip.dram.rate == Sourced(value=9.6e9, source="set by the user", status="assumed")
    assert chip.masters["cpu"].weight == 2.0
    assert chip.dram.width_bits.source == "me"


@pytest.mark.parametrize(
    ("path", "value", "read"),
    [
        ("dram.rate.value", "9600 MT/s", lambda chip: (chip.dram.rate.value, chip.dram.rate.status)),
        (
            "dram.rate",
            {"value": "9600 MT/s", "source": "s", "status": "assumed"},
            lambda chip: (chip.dram.rate.value, chip.dram.rate.status),
        ),
        (
            "dram",
            {
                "type": "x",
                **{
                    key: {"value": value, "source": "s", "status": "assumed"}
                    for key, value in {
                        "width_bits": 8,
                        "rate": "9600 MT/s",
                        "capacity": "1 B",
                        "sustained_fraction": 1,
                    }.items()
                },
            },
            lambda chip: (chip.dram.rate.value, chip.dram.rate.status),
        ),
    ],
)
def test_an_override_may_name_the_value_or_replace_a_whole_part(
    tiny_catalogue: Any, path: str, value: object, read: Any
) -> None:
    assert read(tiny_catalogue.catalog().load_chip("tiny", {path: value})) == (9.6e9, "assumed")


def test_overrides_reach_into_mappings_by_key_and_into_lists_by_position(tiny_catalogue: Any) -> None:
    catalog = tiny_catalogue.catalog()
    chip = catalog.load_chip("tiny", {"clusters.npu.matrix.native.macs_per_cycle.fp8": 2048})
    assert chip.cluster.matrix["native"].macs_per_cycle["fp8"].value == 2048
    workload = catalog.load_workload("words", {"pipeline.1.tokens": 99, "deadline": "50 ms"})
    assert [phase.tokens for phase in workload.pipeline if phase.phase != "vision"] == [32, 99]
    assert workload.deadline == 0.05


def test_an_override_may_fill_a_part_that_the_file_leaves_out(tiny_catalogue: Any) -> None:
    catalog = tiny_catalogue.catalog()
    assert catalog.load_chip("tiny").noc is None
    chip = catalog.load_chip("tiny", {"noc.bandwidth": "50 GB/s", "noc.sustained_fraction": 0.5})
    assert chip.noc is not None
    assert chip.noc.sustained_bytes_per_s == 25e9


def test_a_name_with_dots_is_found_in_a_path(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", "  cpu: {weight: 0.5}", "  cpu: {weight: 0.5}\n  isp1.5: {}")
    chip = tiny_catalogue.catalog().load_chip("tiny", {"masters.isp1.5.weight": 3.0})
    assert chip.masters["isp1.5"].weight == 3.0


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "dram.rat",
            "1 MT/s",
            (
                "override  dram.rat: must be the path of a field, got one that does not exist\n"
                '  Hint: did you mean "dram.rate"?'
            ),
        ),
        (
            "rate",
            "1 MT/s",
            (
                "override  rate: must be the path of a field, got one that does not exist\n"
                '  Hint: did you mean "dram.rate"?'
            ),
        ),
        (
            "dram.bandwidth",
            "1 GB/s",
            (
                "override  dram.bandwidth: must be the path of a field, got one that does not exist\n"
                "  Hint: known below dram: type, width_bits, rate, capacity, sustained_fraction, "
                "controller_fraction, device, drain_bursts, condition, measured_condition"
            ),
        ),
        (
            "masters.gpu.weight",
            1.0,
            (
                "override  masters.gpu.weight: must be the path of a field, got one that does not exist\n"
                "  Hint: known below masters: npu, cpu"
            ),
        ),
        (
            "title.short",
            "x",
            (
                "override  title.short: must be the path of a field, got one that does not exist\n"
                "  Hint: title has no fields of its own"
            ),
        ),
        (
            "dram.rate",
            9600,
            (
                "override  dram.rate: must be a quantity in T/s, got 9600 (no unit)\n"
                '  Hint: write a number and a unit, such as "6400 MT/s"'
            ),
        ),
        ("masters.cpu.weight", 0.0, "override  masters.cpu.weight: must be above 0, got 0.0"),
    ],
)
def test_a_wrong_override_is_told_with_the_nearest_path(
    tiny_catalogue: Any, path: str, value: object, message: str
) -> None:
    assert tiny_catalogue.message("chip", "tiny", {path: value}) == message
    with pytest.raises(SpecError) as caught:
        with_values(tiny_catalogue.catalog().load_chip("tiny"), {path: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("dram.rate", 'override  must be path=value, got "dram.rate"'),
        ("=5", 'override  must be path=value, got "=5"'),
        ("a={b", "override  a: must be valid YAML: did not find expected ',' or '}'"),
        ("a=007", "override  a: must be a number without a leading zero, got 007"),
    ],
)
def test_an_assignment_is_a_path_and_a_yaml_value(assignment: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_assignments([assignment])
    assert caught.value.message == message


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="override  a: must be given once, got it twice"):
        parse_assignments(["a=1", " a =2"])


@pytest.mark.parametrize(
    ("kind", "name"), [("chip", "tiny"), ("runtime", "plain"), ("workload", "words"), ("scenario", "drive")]
)
def test_with_no_values_a_spec_stays_what_it_is(tiny_catalogue: Any, kind: str, name: str) -> None:
    spec = getattr(tiny_catalogue.catalog(), f"load_{kind}")(name)
    assert with_values(spec, {}) == spec
    assert with_values(spec, {"title": "Other"}) == spec.model_copy(update={"title": "Other"})


def test_with_values_leaves_the_original_alone_and_checks_all_rules_again(tiny_catalogue: Any) -> None:
    chip = tiny_catalogue.catalog().load_chip("tiny")
    faster = with_values(chip, {"host.clock": "3 GHz"})
    assert (chip.host.clock.value, faster.host.clock.value) == (2e9, 3e9)
    with pytest.raises(SpecError, match=r"tiny  accelerator|override  accelerator"):
        with_values(chip, {"accelerator": "gpu"})
