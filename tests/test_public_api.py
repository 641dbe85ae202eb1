"""The public names, and the example of the README in Python."""

from __future__ import annotations

import json
from typing import Any

import pytest

import simulator


def test_the_public_names_are_these_and_all_exist() -> None:
    assert simulator.__all__ == [
        "Chip", "EngineError", "Explanation", "Infeasible", "OutputError", "Result", "RoadlineError", "Runtime",
        "Scenario", "SearchResult", "SpecError", "Study", "Technology", "Workload", "explain", "load_chip",
        "load_runtime", "load_scenario", "load_study", "load_technology", "load_workload", "run", "run_scenario",
        "search",
    ]  # fmt: skip
    assert all(getattr(simulator, name) is not None for name in simulator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'jump'"):
        _ = simulator.jump


KEYS = {"schema", "chip", "workload", "runtime", "precision", "engine", "seed", "latency_s", "ttft_s", "tpot_s",
        "tokens_per_s", "energy_j", "average_power_w", "tasks", "wall_s", "phases", "units", "channels",
        "attribution"}  # fmt: skip


def test_a_run_from_python_has_the_keys_that_scripts_depend_on() -> None:
    chip = simulator.load_chip("orin-agx-64gb").with_values({"dram.rate": "8533 MT/s"})
    workload = simulator.load_workload("qwen2.5-0.5b")
    result = simulator.run(chip, workload, runtime="tensorrt-edge-llm", precision="w4a16", prompt_tokens=64,
                           decode_tokens=4, checks=True)  # fmt: skip
    tree = json.loads(json.dumps(result.to_dict()))
    assert tree.keys() >= KEYS
    phase_keys = {"name", "tokens", "latency_s", "lower_bound_s", "bound_by", "flops", "dram_bytes", "energy_j"}
    assert all(phase_keys <= phase.keys() for phase in tree["phases"])
    assert all({"name", "busy_s", "utilization"} <= unit.keys() for unit in tree["units"])
    assert all({"name", "bytes", "utilization"} <= channel.keys() for channel in tree["channels"])
    assert sum(tree["attribution"].values()) == pytest.approx(tree["latency_s"], rel=1e-12)
    assert sum(phase["latency_s"] for phase in tree["phases"]) == pytest.approx(tree["latency_s"], rel=1e-12)
    assert tree["ttft_s"] + 4 * tree["tpot_s"] == pytest.approx(tree["latency_s"], rel=1e-12)
    assert tree["latency_s"] >= tree["lower_bound_s"] > 0
    assert sum(tree["energy_parts_j"].values()) == pytest.approx(tree["energy_j"], rel=1e-12)
    assert sum(phase["energy_j"] for phase in tree["phases"]) == pytest.approx(tree["energy_j"], rel=1e-12)
    assert tree["average_power_w"] * tree["latency_s"] == pytest.approx(tree["energy_j"], rel=1e-12)


SEARCH_KEYS = {"schema", "study", "chip", "runtime", "prompt_tokens", "decode_tokens", "seed", "sampler", "objectives",
               "limits", "combinations", "excluded", "points", "simulated", "discarded", "front", "applications",
               "certificate", "reference", "warnings", "timings_s"}  # fmt: skip


def test_a_search_from_python_has_the_keys_that_scripts_depend_on(tiny_catalogue: Any) -> None:
    tree = simulator.search("shapes", catalogue=[tiny_catalogue.folder], overrides={"reference": "words"}).to_dict()
    assert json.loads(json.dumps(tree)).keys() == SEARCH_KEYS
    values = {"loss", "prefill_s", "decode_s", "total_s", "memory_bytes"}
    assert all(entry.keys() == {"index", "point", "loss_terms", *values} for entry in tree["front"])
    assert tree["certificate"].keys() == {
        "simulated", "discarded", "over_limit", "infeasible", "failed", "open", "discarded_points", "dominated_by"
    }  # fmt: skip
    assert tree["applications"][0].keys() == {"name", "limits", "limit", "index", "reason"}
    assert tree["reference"].keys() == {"name", "loss_terms", "comparisons", *values}
    assert tree["reference"]["comparisons"][0].keys() == {"at", "index", "loss_difference", "perplexity_ratio"}


def test_search_is_the_function_whatever_was_imported_before() -> None:
    """A sub-package of the same name would take its place as soon as somebody imports it."""
    import simulator.exploration.result

    assert callable(simulator.search)
    assert simulator.search is simulator.api.search


def test_the_usual_runtime_of_a_chip_is_taken_if_none_is_named() -> None:
    named = simulator.run("mach-m100", "qwen3-0.6b", runtime="dataflow", precision="w4a16", prompt_tokens=8,
                          decode_tokens=1)  # fmt: skip
    usual = simulator.run("mach-m100", "qwen3-0.6b", precision="w4a16", prompt_tokens=8, decode_tokens=1)
    assert usual.timeline.equals(named.timeline)
    assert usual.setup.runtime.name == "dataflow"
