"""Sheets for people: they fit the page, and no number stands without its status."""

from collections.abc import Callable
from typing import Any

import pytest

from simulator.catalog import FOLDER, Catalog, Kind
from simulator.chip import Chip, Memory
from simulator.report import sheets
from simulator.report.chip_sheet import chip_sheet
from simulator.report.memory_sheet import memory_sheet
from simulator.report.scenario_sheet import scenario_sheet
from simulator.report.sheet_parts import numbers_of, worst_status
from simulator.report.study_sheet import study_sheet
from simulator.scenario.spec import Scenario
from simulator.study import Study

BUILT_IN = [(kind, name) for kind in FOLDER for name in Catalog().names(kind)]


def sheet(spec: Any, width: int = 100) -> str:
    if isinstance(spec, Study):
        return study_sheet(spec, width)
    if isinstance(spec, Memory):
        return memory_sheet(spec, width)
    if isinstance(spec, Scenario):
        return scenario_sheet(spec, width)
    if isinstance(spec, Chip):
        return chip_sheet(spec, width)
    draw: Callable[..., str] = getattr(sheets, f"{type(spec).__name__.lower()}_sheet")
    return draw(spec, width)


def rows(text: str) -> list[str]:
    """The lines of a sheet with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_a_sheet_fits_its_width_and_has_no_escape_codes(kind: Kind, name: str, width: int) -> None:
    text = sheet(getattr(Catalog(), f"load_{kind}")(name), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


@pytest.mark.parametrize(("kind", "name"), [entry for entry in BUILT_IN if entry[0] != "workload"])
def test_every_sourced_number_of_an_object_is_on_its_sheet(kind: Kind, name: str) -> None:
    spec = getattr(Catalog(), f"load_{kind}")(name)
    text = " ".join(sheet(spec, 400).split())
    for path, number in numbers_of(spec).items():
        assert number.text in text, path
        if number.status in {"inferred", "recalled", "assumed"}:
            assert f"{path}: {number.text}, {number.status}, {number.source}" in text
            assert " ".join((number.note or "").split()) in text


def test_derived_figures_of_a_chip_are_those_of_its_numbers(tiny_catalogue: Any) -> None:
    found = rows(sheet(tiny_catalogue.catalog().load_chip("tiny")))
    # 2 clusters * 512 or 1024 MAC * 2 operations * 1 GHz
    assert "native fp16 16, 16, 16 512 measured me 2.048 TFLOPS" in found
    assert "native int8 16, 16, 16 1,024 derived me 4.096 TOPS" in found
    # 64 / 8 * 6400 MT/s, and 0.75 of it, which is no better known than the 0.75
    assert "DRAM, peak 51.2 GB/s datasheet pins / 8 * rate" in found
    assert "DRAM, sustained 38.4 GB/s inferred peak * sustained of peak" in found
    assert "LPDDR5, rate per pin 6,400 MT/s datasheet me" in found
    assert "LPDDR5, capacity 8 GB datasheet me" in found
    assert "local SRAM of one cluster 1 MiB datasheet me" in found
    assert "cpu 0.5 0 1 none" in found


def above_the_list(chip: Chip, width: int = 100) -> list[str]:
    """The rows of a chip's sheet without the list of uncertain numbers."""
    return rows(chip_sheet(chip, width).partition("\nUncertain: ")[0])


@pytest.mark.parametrize("name", ["hypo-phase", "dual-m100", "hypo-moe"])
def test_what_a_chip_is_re_configured_with_and_routed_by_is_above_the_list_of_uncertain_numbers(name: str) -> None:
    """Every number of modes, routing unit, links and SRAM ports has its value in a table."""
    chip = Catalog().load_chip(name)
    cells = " ".join(above_the_list(chip))
    for path, number in numbers_of(chip).items():
        if path.startswith(("reconfiguration.", "routing.", "links.", "sram.")) and ".tile_" not in path:
            assert number.text in cells, path


def test_the_sheet_of_a_chip_says_how_modes_are_chosen_and_what_they_change() -> None:
    found = above_the_list(Catalog().load_chip("hypo-phase"))
    assert "time to change the mode 10 µs assumed assumption" in found
    assert (
        "Modes: prefill, decode. A phase with at least 100 FLOP/B of DRAM traffic runs in prefill, others in decode; a"
        in " ".join(found)
    )
    assert "shared in prefill 100 %" in found
    assert "shared in decode 10 % 50 % 40 %" in found
    # 24 clusters * 2048 MAC * 2 operations * 1.4 GHz, as in the other mode
    assert "native fp16 4, 128, 4 2,048 assumed assumption 137.6 TFLOPS" in found


def test_the_sheet_of_a_chip_says_which_phase_an_order_puts_in_which_mode() -> None:
    chip = Catalog().load_chip("hypo-phase", {"reconfiguration.order": {"prefill": "prefill", "decode": "decode"},
                                              "reconfiguration.rule": None})  # fmt: skip
    text = " ".join(above_the_list(chip))
    assert "By phase: prefill in prefill, decode in decode; others as the phase before." in text


def test_the_sheet_of_a_chip_shows_dies_partitions_kv_store_and_the_routing_unit() -> None:
    assert "Dies: 2, each with all of this, joined by the link c2c." in above_the_list(Catalog().load_chip("dual-m100"))
    moe = above_the_list(Catalog().load_chip("hypo-moe"))
    assert {"gather 2,048 B/cycle assumed assumption", "experts that it keeps static"} <= set(moe)
    chip = Catalog().load_chip("mach-m100", {"partitions": {"driving": {"clusters": 32}, "cabin": {"clusters": 12}},
                                             "sram.ccb.kv_store": "8 MiB", "sram.ccb.kv_sinks": 4})  # fmt: skip
    found = above_the_list(chip)
    assert "driving 32 66.7 %" in found  # of 48
    assert "cabin 12 25 %" in found
    assert "ccb rest 8 MiB 4 tokens" in found


def test_brackets_are_text_and_not_markup(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", "process: paper", 'process: "paper [bold]"')
    tiny_catalogue.edit("chips/tiny.yaml", "status: measured, note", "status: inferred, note")
    found = rows(sheet(tiny_catalogue.catalog().load_chip("tiny")))
    assert "process paper [bold]" in found
    assert "read from [a table]" in found


def test_uncertain_numbers_are_counted_and_listed(tiny_catalogue: Any) -> None:
    found = rows(sheet(tiny_catalogue.catalog().load_chip("tiny")))
    # count assumed, tile_m recalled, sustained_fraction inferred
    assert "Uncertain: 3 of 15 numbers are inferred, recalled or assumed" in found
    assert "clusters.npu.count: 2, assumed, me" in found


def test_a_name_with_a_dot_is_no_trouble(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit(
        "chips/tiny.yaml",
        "  cpu: {weight: 0.5}",
        "  cpu: {weight: 0.5}\n  isp1.5: {rate_cap: {value: 3 GB/s, source: me, status: press}}",
    )
    assert "isp1.5 1 0 1 3 GB/s press" in rows(sheet(tiny_catalogue.catalog().load_chip("tiny")))


def test_a_workload_sheet_has_components_pipeline_and_published_latencies(tiny_catalogue: Any) -> None:
    found = rows(sheet(tiny_catalogue.catalog().load_workload("words")))
    assert "frame rate asked for 10 Hz" in found
    assert "deadline 100 ms" in found
    assert "vocabulary 1,000" in found
    assert "decoder: datasheet, me" in found
    assert "prefill fp16 32" in found
    assert "pipeline: assumed, me" in found
    assert "other fp16 total 2 ms press me" in found


def test_a_runtime_sheet_has_launch_costs_and_kernels(tiny_catalogue: Any) -> None:
    found = rows(sheet(tiny_catalogue.catalog().load_runtime("plain")))
    assert "launch of a kernel on the accelerator 1,000 cycles assumed me" in found
    assert "enqueue on the host 10,000 cycles measured me" in found
    assert "fp16 native fp16 0.5 128 derived, assumed" in found


def test_a_runtime_sheet_shows_what_is_particular_about_tiles_and_conversion() -> None:
    """A row for each kernel that differs from the usual one in any of it, and no table where none does."""
    found = rows(sheet(Catalog().load_runtime("vllm"), 120))
    assert "fp16 16 128 3,000 cycles yes per load inside" in found
    assert "w4a16 16 128 3,000 cycles yes per row tile inside" in found
    assert "fp8 16 128 3,000 cycles yes per load before" in found
    assert "Tiles and conversion" not in rows(sheet(Catalog().load_runtime("ideal")))


def test_a_scenario_sheet_has_streams_and_background(tiny_catalogue: Any) -> None:
    found = rows(sheet(tiny_catalogue.catalog().load_scenario("drive")))
    assert {"workload words", "precision own", "rate 10 Hz", "deadline 100 ms", "policy latest", "prompt own"} <= {
        *found
    }
    assert "cameras cpu 2 GB/s streaming assumed me" in found


def test_a_scenario_sheet_has_the_changes_to_the_chip_and_does_not_deny_that_they_are_assumed() -> None:
    found = rows(sheet(Catalog().load_scenario("kv-store")))
    assert {"sram.shared.capacity 80 MiB", "sram.shared.kv_store 64 MiB"} <= {*found}
    assert "A changed number of the chip counts as assumed, unless it is given with a source." in found
    assert not any(row.startswith("No number here") for row in found)


def test_a_scenario_sheet_says_where_streams_run_and_what_is_kept_in_which_precision() -> None:
    assert "die vision 0, prefill 1, action 0" in rows(sheet(Catalog().load_scenario("two-orins")))
    found = rows(sheet(Catalog().load_scenario("driving-and-cockpit-m100")))
    assert {"partitions.driving.clusters 32", "partition driving cockpit"} <= {*found}
    choices = {"power_state": "30W", "kv_precision": "fp8", "head_precision": "body"}
    chosen = rows(sheet(Catalog().load_scenario("two-orins", choices)))
    assert {"power state 30W", "KV cache fp8", "LM head body"} <= {*chosen}


@pytest.mark.parametrize("name", Catalog().names("scenario"))
def test_no_word_of_a_scenario_sheet_is_broken_at_80_columns(name: str) -> None:
    narrow, wide = (set(sheet(Catalog().load_scenario(name), width).split()) for width in (80, 300))
    assert {word for word in narrow ^ wide if "─" not in word} == set()


def test_a_list_tells_streams_and_chip_apart() -> None:
    assert sheets.key_figure(Catalog().load_scenario("planner-and-cabin-thor")) == "2 streams on thor-t5000"


def test_a_workload_sheet_has_its_routing_in_words() -> None:
    found = rows(sheet(Catalog().load_workload("qwen3-30b-a3b")))
    assert "routing drawn, typical" in found
    assert any(row.startswith("routing: no statistics of this router are public") for row in found)


def test_a_study_sheet_has_its_space_and_what_each_constraint_excludes(tiny_catalogue: Any) -> None:
    found = rows(sheet(tiny_catalogue.catalog().load_study("shapes")))
    # 3 layers * 2 widths * 2 ratios * 3 kv_heads. Of 48 / 16 = 3 heads, 2 kv_heads are no divisor: 3 * 2. 64 * 8 / 3 is
    # no width: 3 * 3. 4 layers of 64 are above 192: 2 * 3. Both of the last two hold for 3 points.
    assert "points 18 of 36 combinations" in found
    assert "layers 1, 2, 4 3 assumed me" in found
    assert "ffn_ratio 1, 8/3 2 press other" in found
    assert "ffn_ratio: press, other; read from [a table]" in found
    assert "kv_heads divides heads 6 16.7 %" in found
    assert "ffn_width is whole 9 25.0 %" in found
    assert "layers * hidden <= 192 6 16.7 %" in found
    assert "memory 1.074 GB" in found
    assert "door total latency 5 ms press me" in found
    assert "fixed: datasheet, me" in found


def test_a_derived_number_is_no_better_known_than_its_worst_part() -> None:
    assert worst_status(["datasheet", "assumed", "measured"]) == "assumed"
    assert worst_status(["datasheet", "measured"]) == "measured"
