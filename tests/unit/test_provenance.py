"""A result lists the guesses it rests on, each with value, unit and range, and none that it cannot have read."""

from typing import Any

import pytest

import simulator
from simulator.catalog import load_scenario
from simulator.report.run_sheet import run_sheet


def uncertain(chip: str, precision: str, **overrides: Any) -> dict[str, dict[str, Any]]:
    result = simulator.run(
        chip, "qwen3-0.6b", precision=precision, prompt_tokens=8, decode_tokens=1, overrides=overrides or None
    )
    return {row["number"]: row for row in result.to_dict()["uncertain"]}


def test_a_guess_stands_in_the_result_with_value_unit_and_range() -> None:
    found = uncertain("mach-m100", "w8a8")
    clock = found["chip.clusters.npu.clock"]
    assert (clock["value"], clock["unit"], clock["range"], clock["status"]) == (1.6e9, "Hz", "1.4 to 2.0", "inferred")
    lanes = found["chip.clusters.npu.vector.lanes"]
    assert (lanes["value"], lanes["unit"], lanes["range"], lanes["status"]) == (64, None, "32 to 128", "assumed")


def test_a_number_that_the_user_sets_becomes_a_guess_of_the_result() -> None:
    assert "chip.dram.width_bits" not in uncertain("thor-u", "nvfp4")
    assert uncertain("thor-u", "nvfp4", **{"dram.width_bits": 512})["chip.dram.width_bits"]["value"] == 512


def test_kernels_of_other_precisions_and_what_no_simulation_reads_are_no_guesses_of_the_result() -> None:
    """Orin: the width of PCIe is inferred and the power recalled. The LM head is FP16 whatever the body is."""
    found = uncertain("orin-agx-64gb", "w8a16")
    kernels = {path.split(".")[2] for path in found if path.startswith("runtime.kernels.")}
    assert kernels == {"w8a16", "fp16"}
    assert not [path for path in found if path.startswith(("chip.links", "chip.power", "chip.die_area"))]


def test_a_matrix_path_counts_only_if_a_kernel_takes_it() -> None:
    """The runtime `ideal` multiplies everything on the native path."""

    def legacy(runtime: str) -> list[str]:
        result = simulator.run("thor-u", "qwen3-0.6b", runtime=runtime, prompt_tokens=8, decode_tokens=1)
        return [row["number"] for row in result.to_dict()["uncertain"] if ".matrix.legacy." in row["number"]]

    assert legacy("ideal") == []
    assert "chip.clusters.gpu.matrix.legacy.macs_per_cycle.fp16" in legacy("tensorrt-edge-llm")


def test_background_traffic_counts_with_the_chip_and_the_runtime() -> None:
    flows = load_scenario("alpamayo-thor-10hz").background
    guessed = {f"background.{name}.bandwidth" for name, flow in flows.items() if flow.bandwidth.is_uncertain}
    listed = {row["number"] for row in simulator.run_scenario("alpamayo-thor-10hz").to_dict()["uncertain"]}
    assert guessed
    assert guessed == {path for path in listed if path.startswith("background.")}


@pytest.mark.parametrize("width", [60, 100])
def test_the_sheet_lists_the_assumed_numbers_and_counts_all_that_is_uncertain(width: int) -> None:
    result = simulator.run("xpeng-turing", "qwen3-0.6b", precision="w8a8", prompt_tokens=8, decode_tokens=1)
    of_energy = ("technology.", "chip.physical.")
    rows = [row for row in result.to_dict()["uncertain"] if not row["number"].startswith(of_energy)]
    assumed = [row for row in rows if row["status"] == "assumed"]
    sheet = run_sheet(result, width)
    assert max(map(len, sheet.splitlines())) <= width
    words = " ".join(sheet.split())
    assert f"This rests on {len(rows)} uncertain numbers ({len(assumed)} assumed" in words
    if width == 100:
        lines = {line.split()[0]: line for line in sheet.splitlines() if line.startswith(("chip.", "runtime."))}
        assert set(lines) == {row["number"] for row in assumed}
        assert lines["chip.clusters.npu.clock"].split("  ")[-1].strip().startswith("0.67 to 1.43")
