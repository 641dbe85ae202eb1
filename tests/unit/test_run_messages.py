"""Messages of runs: a mistake is told with the place of its words: a scenario, an override or a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simulator
from simulator.catalog import Catalog
from simulator.cli import main
from simulator.errors import SpecError
from simulator.graph import build_graph
from simulator.routing import read_trace
from simulator.simulation.setup import resolve
from simulator.simulation.to_program import to_program


def message(name: str, changes: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None) -> str:
    """What a scenario with changes, run with overrides, is refused with."""
    catalog = Catalog()
    with pytest.raises(SpecError) as told:
        to_program(resolve(catalog.load_scenario(name, changes or {}), catalog, overrides=overrides))
    return str(told.value)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("kv-store", {"streams.assistant.partition": "left"}, "streams.assistant.partition: must name one"),
        ("kv-store", {"streams.assistant.die": 3}, "streams.assistant.die: must be 0 on chip hypo-decode"),
        ("kv-store", {"streams.assistant.precision": "w9"}, "streams.assistant: precision: "),
        ("kv-store", {"kv_precision": "w9"}, "kv_precision: "),
        ("two-orins", {"background.cameras.master": "ips"}, "background.cameras.master: "),
        ("kv-store", {"set": {"sram.shared.kv_store": "90 GiB"}}, "set:  sram.shared.kv_store: must be at most"),
        ("kv-store", {"set": {"sram.shard.kv_store": "1 MiB"}}, "set:  sram.shard.kv_store: must be the path"),
    ],
)
def test_a_mistake_in_a_scenario_names_the_scenario(name: str, changes: dict[str, Any], expected: str) -> None:
    assert message(name, changes).startswith(f"scenario {name}: {expected}")


@pytest.mark.parametrize(
    "overrides",
    [{"sram.shared.kv_store": "90 MiB"}, {"dram.device": "lpddr5-640"}, {"sram.shared.split": {"kv": 2}},
     {"sram.shared.split": {"weights": 0.7, "kv": 0.7}}],
)  # fmt: skip
def test_a_mistake_in_an_override_names_the_override_and_not_the_file_of_the_chip(overrides: dict[str, Any]) -> None:
    path = next(iter(overrides))
    assert message("kv-store", overrides=overrides).startswith(f"override  {path}")
    with pytest.raises(SpecError) as told:
        Catalog().load_chip("hypo-decode", {"sram.shared.capacity": "80 MiB", **overrides})
    assert str(told.value).startswith(f"override  {path}")


def test_what_is_wrong_with_a_file_is_told_with_its_line_whatever_is_overridden(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", "rate: {value: 6400 MT/s", "rate: {value: 6400 Hz")
    with pytest.raises(SpecError, match=r"tiny.yaml:\d+  dram.rate"):
        tiny_catalogue.catalog().load_chip("tiny", {"clusters.npu.count": 0})


def test_overrides_are_applied_to_what_the_scenario_has_set() -> None:
    """56 clusters, 24 of them of the cockpit: 30 remain possible for driving, and 40 do not fit."""
    catalog = Catalog()
    scenario = catalog.load_scenario("driving-and-cockpit-m100")
    chip = resolve(scenario, catalog, overrides={"partitions.driving.clusters": 30}).chip
    assert {name: part.clusters for name, part in chip.partitions.items()} == {"driving": 30, "cockpit": 24}
    told = message("driving-and-cockpit-m100", overrides={"partitions.driving.clusters": 40})
    assert told == "override  partitions: must have at most the 56 clusters of the accelerator, got 64"


def test_a_store_of_nothing_is_no_store_and_null_is_none_of_a_mapping() -> None:
    catalog = Catalog()
    scenario = catalog.load_scenario("kv-store")
    for nothing in (0, "0 B", None):
        level = resolve(scenario, catalog, overrides={"sram.shared.kv_store": nothing}).chip.sram["shared"]
        assert (level.kept_bytes("kv"), level.activation_bytes) == (0, 80 * 2**20)
    partitioned = catalog.load_scenario("driving-and-cockpit-m100")
    assert resolve(partitioned, catalog, overrides={"partitions": None}).chip.partitions == {}


def test_an_override_may_name_a_memory_in_a_power_state() -> None:
    result = simulator.run("orin-agx-64gb", "qwen2.5-0.5b", precision="w4a16", prompt_tokens=4, decode_tokens=1,
                           power_state="30W", overrides={"dram.device": "lpddr5-6400"})  # fmt: skip
    assert result.setup.chip.dram.device is not None


def test_shares_that_are_too_much_are_listed() -> None:
    told = message("kv-store", overrides={"sram.shared.split": {"weights": 0.7, "kv": 0.7}})
    assert told == "override  sram.shared.split: shares must sum to at most 1, got 1.4 (weights 0.7, kv 0.7)"


def test_an_option_that_does_not_go_with_a_scenario_is_told_with_the_field_of_the_scenario(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "kv-store", "--kv-precision", "fp8", "--prompt", "4"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "does not go with --kv-precision, --prompt: its file says that in kv_precision, streams." in told


def test_a_trace_file_is_told_with_its_workload_and_without_the_words_of_numpy(tmp_path: Path) -> None:
    path = tmp_path / "picks.npy"
    path.write_text("no array")
    with pytest.raises(SpecError) as told:
        read_trace(path, layers=1, experts=4, top_k=1, tokens=1)
    assert told.value.message == f"routing.file {path}: must be a .npy or .npz file of numpy with an array of numbers"
    np.save(path, np.zeros((1, 1, 1), dtype=np.int64))
    workload = simulator.load_workload("qwen3-30b-a3b").with_values(
        {"decoder.routing": {"file": str(path), "source": "me", "status": "measured"}}
    )
    with pytest.raises(SpecError, match=r"^workload qwen3-30b-a3b: decoder.routing.file .*: must have 48 layers"):
        build_graph(workload)
