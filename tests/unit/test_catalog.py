"""The catalogue: where objects are found, what `extends` inherits, and what a scenario refers to."""

import os
from pathlib import Path
from typing import Any

import pytest

from simulator.catalog import Catalog, load_chip
from simulator.catalog.files import built_in_folder
from simulator.errors import SpecError
from simulator.sourced import Sourced


def test_an_unknown_name_is_told_with_the_nearest_name_and_the_folders(tiny_catalogue: Any) -> None:
    searched = f"(searched chips, {built_in_folder()}/chips)"
    rule = "chip: must be a name of the catalogue or a path to a .yaml file"
    assert tiny_catalogue.message("chip", "tny") == f'{rule}, got "tny" {searched}\n  Hint: did you mean "tiny"?'
    assert tiny_catalogue.message("chip", "words") == (
        f'{rule}, got "words" {searched}\n  Hint: "words" is the name of a workload'
    )
    assert tiny_catalogue.message("chip", "./x.yaml") == "x.yaml  cannot be read: No such file or directory"
    assert tiny_catalogue.message("chip", "workloads/words.yaml") == (
        "workloads/words.yaml:1  must be a chip, got the fields of a workload"
    )


def test_a_path_works_wherever_a_name_does(tiny_catalogue: Any) -> None:
    catalog = tiny_catalogue.catalog()
    assert (
        catalog.load_chip("chips/tiny.yaml")
        == catalog.load_chip("tiny")
        == load_chip(tiny_catalogue.folder / "chips" / "tiny.yaml", catalogue=[tiny_catalogue.folder])
    )


def test_earlier_folders_win_and_the_built_in_catalogue_comes_last(
    tiny_catalogue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = tiny_catalogue.read("chips/tiny.yaml")
    for folder in ("first", "second", "third"):
        (tiny_catalogue.folder / folder / "chips").mkdir(parents=True)
        tiny_catalogue.write(f"{folder}/chips/tiny.yaml", chip.replace("Tiny chip", folder))
    built_in = Catalog().names("chip")
    monkeypatch.setenv("ROADLINE_CATALOGUE", os.pathsep.join(["second", "third", str(tiny_catalogue.folder)]))
    assert Catalog(["first"]).load_chip("tiny").title == "first"
    assert Catalog().load_chip("tiny").title == "second"
    assert Catalog().names("chip") == sorted([*built_in, "tiny"])


def test_a_folder_may_hold_yaml_files_directly_and_each_is_of_the_kind_its_fields_say(tiny_catalogue: Any) -> None:
    loose = tiny_catalogue.folder / "loose"
    loose.mkdir()
    for name in ("chips/tiny.yaml", "runtimes/plain.yaml", "workloads/words.yaml", "scenarios/drive.yaml"):
        (tiny_catalogue.folder / name).rename(loose / Path(name).name)
    tiny_catalogue.write(
        "loose/tiny-fast.yaml",
        "extends: tiny\nname: tiny-fast\nhost:\n  clock: {value: 3 GHz, source: me, status: assumed}\n",
    )
    catalog = Catalog([loose])
    assert {"tiny", "tiny-fast"} <= set(catalog.names("chip"))
    assert "words" not in catalog.names("chip")
    assert catalog.load_chip("tiny-fast").host.clock.value == 3e9
    assert catalog.load_scenario("drive").chip == "tiny"


@pytest.mark.parametrize("origin", ["catalogue", "ROADLINE_CATALOGUE"])
def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    missing = str(tmp_path / "missing")
    if origin == "ROADLINE_CATALOGUE":
        monkeypatch.setenv(origin, missing)
    with pytest.raises(SpecError) as caught:
        Catalog([missing] if origin == "catalogue" else [])
    assert caught.value.message == f"{origin}: must be a folder that exists, got {missing}"


def test_an_object_that_extends_another_replaces_only_what_it_says(tiny_catalogue: Any) -> None:
    tiny_catalogue.write(
        "chips/tiny-wide.yaml",
        "extends: tiny\nname: tiny-wide\ndram:\n  width_bits: {value: 128, source: me, status: assumed}\n",
    )
    catalog = tiny_catalogue.catalog()
    base, wide = catalog.load_chip("tiny"), catalog.load_chip("tiny-wide")
    assert wide.dram.width_bits == Sourced(value=128, source="me", status="assumed")
    assert wide.model_copy(update={"name": base.name, "dram": base.dram}) == base
    assert wide.dram.model_copy(update={"width_bits": base.dram.width_bits}) == base.dram


def test_a_sourced_number_is_replaced_whole_so_that_its_source_cannot_lie(tiny_catalogue: Any) -> None:
    tiny_catalogue.write("chips/x.yaml", "extends: tiny\nname: x\ndram:\n  rate: {value: 8533 MT/s}\n")
    assert tiny_catalogue.message("chip", "x").splitlines()[1::2] == [
        "chips/x.yaml:4  dram.rate.source: must be given, got nothing",
        "chips/x.yaml:4  dram.rate.status: must be given, got nothing",
    ]


def test_lists_are_replaced_and_not_joined(tiny_catalogue: Any) -> None:
    tiny_catalogue.write(
        "workloads/x.yaml",
        "extends: words\nname: x\npipeline:\n  - {phase: prefill, tokens: 4, precision: fp8}\n",
    )
    pipeline = tiny_catalogue.catalog().load_workload("x").pipeline
    assert [(phase.phase, phase.precision) for phase in pipeline] == [("prefill", "fp8")]


def test_errors_of_the_file_come_before_those_of_what_it_extends_and_each_names_its_file(tiny_catalogue: Any) -> None:
    tiny_catalogue.write("chips/x.yaml", "extends: tiny\nname: x\n\n\n\nhost: 3\n")
    tiny_catalogue.edit("chips/tiny.yaml", "process: paper", "process: 4")
    lines = tiny_catalogue.message("chip", "x").splitlines()
    assert lines == [
        "2 things are wrong:",
        "chips/x.yaml:6  host: must be a mapping of fields, got 3",
        "chips/tiny.yaml:4  process: must be text, got 4",
        "  Hint: put it in quotes",
    ]


def test_an_object_that_extends_another_has_a_name_of_its_own(tiny_catalogue: Any) -> None:
    tiny_catalogue.write("chips/x.yaml", "extends: tiny\n")
    assert tiny_catalogue.message("chip", "x").startswith("chips/x.yaml:1  name: must be given, got nothing")


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("x", "chips/x.yaml:1  extends: must not lead back to itself, got x -> x"),
        ("y", "chips/y.yaml:1  extends: must not lead back to itself, got x -> y -> x"),
        ("3", "chips/x.yaml:1  extends: must be the name of a chip, got 3"),
        (
            "tinny",
            (
                "chips/x.yaml:1  extends: must be a name of the catalogue or a path to a .yaml file, got "
                '"tinny" (searched chips, BUILT_IN/chips)\n'
                '  Hint: did you mean "tiny"?'
            ),
        ),
        ("../none.yaml", "none.yaml  cannot be read: No such file or directory"),
    ],
)
def test_extends_must_lead_to_another_object(tiny_catalogue: Any, extends: str, message: str) -> None:
    tiny_catalogue.write("chips/x.yaml", f"extends: {extends}\nname: x\n")
    tiny_catalogue.write("chips/y.yaml", "extends: x\nname: y\n")
    assert tiny_catalogue.message("chip", "x") == message.replace("BUILT_IN", str(built_in_folder()))


def test_a_path_in_a_scenario_starts_at_the_folder_of_its_file(
    tiny_catalogue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_catalogue.edit("scenarios/drive.yaml", "workload: words", "workload: ../workloads/words.yaml")
    (tiny_catalogue.folder / "elsewhere").mkdir()
    monkeypatch.chdir(tiny_catalogue.folder / "elsewhere")
    catalog = tiny_catalogue.catalog()
    scenario = catalog.load_scenario(tiny_catalogue.folder / "scenarios" / "drive.yaml")
    assert catalog.load_workload(scenario.streams["front"].workload).name == "words"
