"""What each number changes and what would buy most, on a chip so lopsided that the answer is a closed form."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

import simulator
from simulator import Explanation, Result
from simulator.catalog import Catalog
from simulator.explanation.levers import Change, Lever, levers_of
from simulator.explanation.sensitivity import Sensitivity
from simulator.sourced import noted_range, sourced_numbers, units_of

ENDLESS = {
    "clusters.npu.matrix.native.macs_per_cycle.fp16": 1e18,
    "clusters.npu.vector.lanes": 1e18,
    "clusters.npu.vector.special_per_cycle": 1e18,
}
"""An accelerator whose work takes no tick."""
ENDLESS_DRAM = {"dram.rate": "1e24 T/s"}
"""Transfers that take no tick."""
MACS = "clusters.npu.matrix.native.macs_per_cycle.fp16"


def result_of(tiny_catalogue: Any, changes: dict[str, Any], *, deadline: str | None = None, runtime: Any = "ideal",
              **workload_changes: Any) -> Result:  # fmt: skip
    catalog = tiny_catalogue.catalog()
    workload = catalog.load_workload("words", {"deadline": deadline or "100 ms", **workload_changes})
    if deadline is None:
        workload = workload.model_copy(update={"deadline": None})
    return simulator.run(
        catalog.load_chip("tiny", changes), workload, runtime=runtime, catalogue=[tiny_catalogue.folder]
    )


def bars(explanation: Explanation) -> dict[str, Sensitivity]:
    return {item.lever.name: item for item in explanation.tornado}


def idle(explanation: Explanation) -> set[str]:
    return {lever.name for lever in explanation.no_effect}


def rounding_ticks(result: Result) -> int:
    """Each task rounds its duration up to a tick, in the run and in the one beside it."""
    return 2 * len(result.timeline)


def test_what_only_loads_takes_as_long_as_the_dram_is_slow_and_nothing_else_matters(tiny_catalogue: Any) -> None:
    """The latency is bytes over rate, so a rate of 1.2 gives it divided by 1.2, and 0.8 divided by 0.8."""
    result = result_of(tiny_catalogue, ENDLESS)
    explanation = simulator.explain(result)
    base, room = result.frame.latency_ticks, rounding_ticks(result)
    for name in ("dram.rate", "dram.sustained_fraction"):
        bar = bars(explanation)[name]
        assert bar.high.latency_ticks == pytest.approx(base / 1.2, abs=room)
        assert bar.low.latency_ticks == pytest.approx(base / 0.8, abs=room)
    width = bars(explanation)["dram.width_bits"]
    assert (width.low.value, width.high.value) == (51, 77)  # 64 less and more a fifth, whole
    assert width.high.latency_ticks == pytest.approx(base * 64 / 77, abs=room)
    by_dram = {"dram.rate", "dram.sustained_fraction", "dram.width_bits", "masters.npu.maximum_share"}
    assert set(bars(explanation)) == by_dram
    assert {MACS, "clusters.npu.clock", "clusters.npu.count", "host.clock", "runtime.launch"} <= idle(explanation)
    assert set(explanation.parts.part_ticks) == {"DRAM"}


def test_what_only_multiplies_takes_as_long_as_the_multipliers_are_slow(tiny_catalogue: Any) -> None:
    """All is cycles, so the clock divides the latency exactly; of a wide model 99 % is MACs: their rate nearly does."""
    prefill = [{"phase": "prefill", "tokens": 512, "precision": "fp16"}]
    wide = {"decoder.hidden": 1024, "decoder.ffn_width": 16384, "pipeline": prefill}
    narrow_lanes = {"clusters.npu.vector.lanes": 400, "clusters.npu.vector.special_per_cycle": 400}
    result = result_of(tiny_catalogue, {**ENDLESS_DRAM, **narrow_lanes}, **wide)
    explanation = simulator.explain(result)
    base, room = result.frame.latency_ticks, rounding_ticks(result)
    assert explanation.parts.part_ticks["compute"] > 0.99 * base
    for name, tolerance in ((MACS, 0.01 * base), ("clusters.npu.clock", room)):
        assert bars(explanation)[name].high.latency_ticks == pytest.approx(base / 1.2, abs=tolerance)
        assert bars(explanation)[name].low.latency_ticks == pytest.approx(base / 0.8, abs=tolerance)
    assert {"dram.rate", "dram.width_bits", "dram.sustained_fraction"} <= idle(explanation)


def test_every_number_of_chip_and_runtime_is_either_in_the_tornado_or_without_effect(tiny_catalogue: Any) -> None:
    result = result_of(tiny_catalogue, {}, runtime="plain")
    explanation = simulator.explain(result)
    setup = result.setup
    numbers = [path for path, _ in sourced_numbers(setup.chip)]
    numbers += [f"runtime.{path}" for path, _ in sourced_numbers(setup.runtime)]
    named = {*bars(explanation), *idle(explanation), *(lever.name for lever in explanation.not_varied)}
    assert set(numbers) <= named
    shares = {f"masters.{name}.{share}" for name in setup.chip.masters
              for share in ("weight", "minimum_share", "maximum_share")}  # fmt: skip
    chosen = {lever.name for lever in levers_of(setup) if lever.source is None}
    assert shares <= chosen == named - set(numbers)
    assert {f"masters.{name}.minimum_share" for name in setup.chip.masters} <= {
        lever.name for lever in explanation.not_varied
    }
    assert "clusters.npu.matrix.native.macs_per_cycle.int8" in idle(explanation)  # the model runs in fp16
    assert all(item.has_effect for item in explanation.tornado)
    gains = [item.gain_fraction for item in explanation.tornado]
    assert gains[1:] == sorted(gains[1:], reverse=True)
    assert gains[0] > gains[1] - 5e-4  # of equal gains the one that the advice names is first


def test_traffic_of_others_is_a_number_too(tiny_catalogue: Any) -> None:
    explanation = simulator.explain(simulator.run_scenario("drive", catalogue=[tiny_catalogue.folder]))
    assert "background.cameras.bandwidth" in {lever.name for lever in levers_of(explanation.result.setup)}
    cameras = bars(explanation)["background.cameras.bandwidth"]
    assert (cameras.low.value, cameras.high.value) == (1.6e9, 2.4e9)
    assert cameras.low.latency_ticks is not None
    assert cameras.high.latency_ticks is not None
    assert cameras.low.latency_ticks < explanation.parts.latency_ticks < cameras.high.latency_ticks


# What is really changed


def test_a_whole_number_changes_by_at_least_one_and_never_to_zero(tiny_catalogue: Any) -> None:
    """Of 2 clusters 1.6 and 2.4 are 2 again, so 1 and 3 are taken; of 1 cluster there are no fewer."""
    changed = bars(simulator.explain(result_of(tiny_catalogue, ENDLESS_DRAM)))["clusters.npu.count"]
    assert (changed.low.value, changed.high.value) == (1, 3)
    alone = bars(simulator.explain(result_of(tiny_catalogue, {**ENDLESS_DRAM, "clusters.npu.count": 1})))
    only = alone["clusters.npu.count"]
    assert (only.low.value, only.high.value) == (1, 2)
    assert only.low.reason == "override  clusters.npu.count: must be a whole number above zero, got 0.8"
    base = only.base_ticks
    assert only.low.latency_ticks == base
    assert only.high.latency_ticks is not None
    saved = only.high.latency_ticks / base  # by a doubling; a fifth more is its power log 1.2 / log 2
    assert only.gain_fraction == pytest.approx(1 - saved**0.26303, rel=1e-3)


def test_what_counts_stays_whole(tiny_catalogue: Any) -> None:
    """A fifth fewer than 64 multipliers is 51.2 of them, a fifth more 76.8."""
    count = bars(simulator.explain(result_of(tiny_catalogue, {**ENDLESS_DRAM, MACS: 64})))[MACS]
    assert (count.low.value, count.high.value) == (51, 77)


def test_a_changed_capacity_is_written_as_the_capacity_is(tiny_catalogue: Any) -> None:
    levers = {lever.name: lever for lever in levers_of(result_of(tiny_catalogue, {"dram.capacity": "96 MiB"}).setup)}
    assert levers["dram.capacity"].text(0.8 * 96 * 2**20) == "76.8 MiB"
    decimal = {lever.name: lever for lever in levers_of(result_of(tiny_catalogue, {"dram.capacity": "64 GB"}).setup)}
    assert decimal["dram.capacity"].text(0.8 * 64e9) == "51.2 GB"


def test_a_fraction_ends_at_one(tiny_catalogue: Any) -> None:
    result = result_of(tiny_catalogue, {**ENDLESS, "dram.sustained_fraction": 0.9})
    bar = bars(simulator.explain(result))["dram.sustained_fraction"]
    assert (bar.low.value, bar.high.value) == (pytest.approx(0.72), 1)
    assert bar.gain_fraction == pytest.approx(1 - 0.9, rel=1e-3)  # no more than it can really save


def test_pins_that_come_in_channels_are_halved_and_doubled() -> None:
    """The DRAM of Orin has 16 channels of 16 pins, and no rule of it allows 205 or 307 pins."""
    result = simulator.run("orin-agx-64gb", "qwen3-0.6b", prompt_tokens=8, decode_tokens=1)
    explanation = simulator.explain(result)
    width = bars(explanation)["dram.width_bits"]
    assert (width.low.value, width.high.value) == (128, 512)
    assert 0 < width.gain_fraction <= bars(explanation)["dram.rate"].gain_fraction + 0.01
    assert explanation.fixed == ()


def test_a_change_with_which_nothing_fits_is_an_effect_and_says_why(tiny_catalogue: Any) -> None:
    with pytest.raises(simulator.Infeasible) as caught:
        result_of(tiny_catalogue, {"dram.capacity": "1 B"})
    enough = f"{1.1 * caught.value.demand} B"  # and four fifths of it are not
    explanation = simulator.explain(result_of(tiny_catalogue, {**ENDLESS, "dram.capacity": enough}))
    capacity = bars(explanation)["dram.capacity"]
    assert capacity.low.latency_ticks is None
    assert str(capacity.low.reason).startswith("chip tiny: does not fit its DRAM: needs ")
    assert capacity.high.latency_ticks == capacity.base_ticks
    assert capacity.gain_fraction == 0


def test_a_number_at_zero_has_no_effect(tiny_catalogue: Any) -> None:
    """A fifth of no launch cost is no launch cost."""
    explanation = simulator.explain(result_of(tiny_catalogue, ENDLESS))
    assert {"runtime.launch", "runtime.enqueue"} <= idle(explanation)


# What somebody chooses


def test_a_share_of_the_dram_is_varied_like_its_rate(tiny_catalogue: Any) -> None:
    """The accelerator may take half: latency is bytes over that, so 0.6 gives it divided by 1.2, 0.4 by 0.8."""
    result = result_of(tiny_catalogue, {**ENDLESS, "masters.npu.maximum_share": 0.5})
    share = bars(simulator.explain(result))["masters.npu.maximum_share"]
    base, room = result.frame.latency_ticks, rounding_ticks(result)
    assert (share.low.value, share.high.value) == (0.4, 0.6)
    assert share.high.latency_ticks == pytest.approx(base / 1.2, abs=room)
    assert share.low.latency_ticks == pytest.approx(base / 0.8, abs=room)


def test_a_share_of_a_full_split_takes_from_the_largest_other(tiny_catalogue: Any) -> None:
    """0.5 + 0.3 + 0.2 is all: a fifth more of 0.3 is 0.36, and the half gives 0.06; a fifth less leaves it free."""
    level = {"capacity": {"value": "4 MiB", "source": "me", "status": "datasheet"},
             "split": {"activations": 0.5, "weights": 0.3, "kv": 0.2}}  # fmt: skip
    setup = result_of(tiny_catalogue, {"sram": {"shared": level}}).setup
    weights = next(lever for lever in levers_of(setup) if lever.name == "sram.shared.split.weights")
    more, less = (weights.moved(setup, value).chip.sram["shared"].split for value in (0.36, 0.24))
    assert more is not None
    assert less is not None
    assert (more.activations, more.weights, more.kv) == pytest.approx((0.44, 0.36, 0.2))
    assert (less.activations, less.weights, less.kv) == pytest.approx((0.5, 0.24, 0.2))


def test_what_an_architect_chooses_on_the_chips_of_the_catalogue_is_a_number_too() -> None:
    """Clusters of a partition stay whole and come from the other one; a KV store is in bytes, modes have splits."""
    partitioned = simulator.run_scenario("driving-and-cockpit-m100").setup
    clusters = {lever.name: lever for lever in levers_of(partitioned)}["partitions.driving.clusters"]
    parts = clusters.moved(partitioned, 38).chip.partitions
    assert {name: part.clusters for name, part in parts.items()} == {"driving": 38, "cockpit": 18}
    store = {lever.name: lever for lever in levers_of(simulator.run_scenario("kv-store").setup)}["sram.shared.kv_store"]
    assert (store.value, store.unit, store.status) == (64 * 2**20, "B", "chosen")
    modes = {lever.name for lever in levers_of(simulator.run_scenario("mode-switching").setup)}
    assert {"reconfiguration.modes.decode.split.shared.weights", "reconfiguration.rule.flop_per_byte"} <= modes
    assert not any(name.startswith("dram.device.") for name in modes)


# What would buy most


@pytest.mark.parametrize(
    ("changes", "runtime", "best", "gain_fraction"),
    [
        (ENDLESS, "ideal", "dram.rate", 1 - 1 / 1.2),
        (ENDLESS_DRAM, "ideal", "clusters.npu.clock", 1 - 1 / 1.2),
    ],
)
def test_the_advice_is_the_change_with_the_largest_gain(
    tiny_catalogue: Any, changes: dict[str, Any], runtime: str, best: str, gain_fraction: float
) -> None:
    explanation = simulator.explain(result_of(tiny_catalogue, changes, runtime=runtime))
    advice = explanation.advice
    assert advice is not None
    assert best in {advice.best.lever.name, *advice.equals}
    assert advice.best.gain_fraction == pytest.approx(gain_fraction, rel=1e-3)
    assert advice.best.gain_fraction == pytest.approx(max(item.gain_fraction for item in explanation.tornado), abs=5e-4)
    assert advice.best_of_chip is None
    assert advice.is_in_time is None
    assert advice.reaches == ()


def test_where_software_buys_most_the_best_of_the_hardware_is_named_too(tiny_catalogue: Any) -> None:
    """Launches of a million cycles are nearly all the time: a fifth fewer cycles saves a fifth, a clock a fifth
    higher saves 1 - 1/1.2."""
    runtime = tiny_catalogue.catalog().load_runtime("plain", {"launch": "1000000 cycles"})
    advice = simulator.explain(result_of(tiny_catalogue, {}, runtime=runtime)).advice
    assert advice is not None
    assert advice.best.lever.name == "runtime.launch"
    assert advice.best.gain_fraction == pytest.approx(0.2, rel=0.01)
    assert advice.best_of_chip is not None
    assert advice.best_of_chip.lever.name == "clusters.npu.clock"
    assert advice.limited_by == "launch"


def test_the_value_that_meets_a_deadline_is_the_factor_by_which_it_is_missed(tiny_catalogue: Any) -> None:
    """Where latency is bytes over rate, three times the rate takes a third of the time; found within half a percent."""
    latency_s = result_of(tiny_catalogue, ENDLESS).latency_s
    advice = simulator.explain(result_of(tiny_catalogue, ENDLESS, deadline=f"{latency_s / 3} s")).advice
    assert advice is not None
    assert advice.is_in_time is False
    (reach,) = advice.reaches
    assert reach.is_in_time
    factor = reach.change.value / advice.best.lever.value
    assert 3 <= factor * (1 + 1e-6) <= 3 * 1.0051


def test_a_deadline_that_no_value_meets_is_said_with_the_farthest_tried(tiny_catalogue: Any) -> None:
    latency_s = result_of(tiny_catalogue, ENDLESS).latency_s
    advice = simulator.explain(result_of(tiny_catalogue, ENDLESS, deadline=f"{latency_s / 20} s")).advice
    assert advice is not None
    (reach,) = advice.reaches  # nothing else saves anything but what saves as much
    assert not reach.is_in_time
    assert reach.change.value == pytest.approx(8 * advice.best.lever.value)
    assert reach.change.latency_ticks == pytest.approx(latency_s * 1e12 / 8, rel=1e-3)


def test_where_the_best_number_cannot_meet_a_deadline_the_next_ones_are_tried(tiny_catalogue: Any) -> None:
    """Half of launches and half of DRAM: whichever vanishes, the other is later than half of itself."""
    runtime = tiny_catalogue.catalog().load_runtime("ideal", {"launch": "500 cycles"})
    found = result_of(tiny_catalogue, ENDLESS, runtime=runtime)
    shares = simulator.explain(found).parts.part_ticks
    assert shares.keys() == {"launch", "DRAM"}
    deadline = f"{min(shares.values()) / 2e12} s"
    advice = simulator.explain(result_of(tiny_catalogue, ENDLESS, runtime=runtime, deadline=deadline)).advice
    assert advice is not None
    assert len(advice.reaches) > 1
    assert not any(reach.is_in_time for reach in advice.reaches)
    assert len({reach.lever.name for reach in advice.reaches}) == len(advice.reaches)


@pytest.mark.parametrize("times", [1.1, 1 / 1.1])
def test_a_deadline_that_the_change_meets_needs_no_further_search(tiny_catalogue: Any, times: float) -> None:
    latency_s = result_of(tiny_catalogue, ENDLESS).latency_s
    advice = simulator.explain(result_of(tiny_catalogue, ENDLESS, deadline=f"{latency_s * times} s")).advice
    assert advice is not None
    assert (advice.is_in_time, advice.reaches) == (True, ())


def test_what_comes_in_larger_steps_and_saves_more_at_once_is_named_beside_the_best() -> None:
    """Where nearly all is DRAM, a doubling of the pins of Orin saves nearly half, a rate a fifth higher a sixth."""
    result = simulator.run("orin-agx-64gb", "qwen3-0.6b", prompt_tokens=8, decode_tokens=2)
    explanation = simulator.explain(result)
    advice = explanation.advice
    assert advice is not None
    assert explanation.tornado[0] is advice.best
    assert advice.best.lever.name == "dram.rate"
    (stepped,) = advice.larger_steps
    assert (stepped.lever.name, stepped.better.value) == ("dram.width_bits", 512)
    assert stepped.better.latency_ticks is not None
    saved = 1 - stepped.better.latency_ticks / stepped.base_ticks
    assert f"dram.width_bits comes in larger steps: 512 takes {100 * saved:.1f} % off." in advice.text


def test_a_value_beyond_the_range_of_its_own_note_is_marked(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", "    value: 0.75\n    source: me\n",
                        "    value: 0.5\n    source: me\n    note: by feeling (range 0.3 to 0.55)\n")  # fmt: skip
    explanation = simulator.explain(result_of(tiny_catalogue, {**ENDLESS}))
    lever = bars(explanation)["dram.sustained_fraction"].lever
    assert [lever.is_beyond(value) for value in (0.29, 0.3, 0.5, 0.55, 0.6)] == [True, False, False, False, True]
    assert lever.range_text == "0.3 to 0.55"
    assert explanation.advice is not None
    only = replace(explanation.advice, best=bars(explanation)["dram.sustained_fraction"])
    assert "dram.sustained_fraction: 0.6 (beyond its range 0.3 to 0.55) instead of 0.5" in only.text


def test_what_could_be_a_fifth_smaller_in_time_is_named(tiny_catalogue: Any) -> None:
    """A rate a fifth lower takes 1.25 times as long: in time at 1.3 times the latency, late at 1.2 times."""
    latency_s = result_of(tiny_catalogue, ENDLESS).latency_s
    for times, is_spare in ((1.3, True), (1.2, False)):
        advice = simulator.explain(result_of(tiny_catalogue, ENDLESS, deadline=f"{latency_s * times} s")).advice
        assert advice is not None
        assert ("dram.rate" in {item.lever.name for item in advice.spares}) == is_spare
        assert ("could be 20 % smaller: " in advice.text) == is_spare


def test_a_scenario_is_run_and_explained_and_anything_else_is_refused(tiny_catalogue: Any) -> None:
    folder = [tiny_catalogue.folder]
    result = simulator.run_scenario("drive", catalogue=folder)
    found = simulator.explain(result).to_dict()
    for question in (
        "drive",
        tiny_catalogue.folder / "scenarios/drive.yaml",
        tiny_catalogue.catalog().load_scenario("drive"),
    ):
        assert simulator.explain(question, catalogue=folder).to_dict() == found
    with pytest.raises(simulator.SpecError, match="must be given a result or a scenario, got Explanation"):
        simulator.explain(simulator.explain(result))  # type: ignore[arg-type]


def test_results_and_explanations_are_one_line_in_a_notebook(tiny_catalogue: Any) -> None:
    result = simulator.run_scenario("drive", catalogue=[tiny_catalogue.folder])
    assert re.fullmatch(r"<Result drive: [0-9.]+ \w+, meets its deadline of 100 ms>", repr(result))
    explanation = simulator.explain(result)
    assert re.fullmatch(rf"<Explanation of {re.escape(repr(result))}: \S+ buys most>", repr(explanation))
    assert str(explanation.advice) == explanation.to_dict()["advice"]["text"]


# Ranges of guesses


def test_a_guess_with_a_range_is_simulated_at_both_ends(tiny_catalogue: Any) -> None:
    """Latency is bytes over rate times fraction: at half and at the double of it the double and the half."""
    tiny_catalogue.edit("chips/tiny.yaml", "    value: 0.75\n    source: me\n",
                        "    value: 0.4\n    source: me\n    note: by feeling (range 0.2 to 0.8)\n")  # fmt: skip
    tiny_catalogue.edit("chips/tiny.yaml", "1 MiB, source: me, status: datasheet",
                        '1 MiB, source: me, status: assumed, note: "a guess (range 1 to 2)"')  # fmt: skip
    result = result_of(tiny_catalogue, ENDLESS)
    (bar,) = simulator.explain(result).ranges  # the other changes nothing
    base, room = result.frame.latency_ticks, rounding_ticks(result)
    assert bar.lever.name == "dram.sustained_fraction"
    assert (bar.low.value, bar.high.value) == (0.2, 0.8)
    assert bar.low.latency_ticks == pytest.approx(2 * base, abs=room)
    assert bar.high.latency_ticks == pytest.approx(base / 2, abs=room)


@pytest.mark.parametrize(("present", "to", "gain"), [(10.0, 0.0, 0.1), (0.0, 10.0, 0.0)])
def test_a_number_that_goes_to_zero_saves_a_fifth_of_all_that_it_costs(present: float, to: float, gain: float) -> None:
    """100 ticks become 50, so a fifth of the number is worth 10 of 100; a fifth of a zero is worth nothing."""
    bar = Sensitivity(Lever("chip", "latency", present, "s"), Change(to, 50), Change(2 * present, 100), 100, 0)
    assert bar.gain_fraction == pytest.approx(gain)


def test_an_end_of_a_range_that_is_refused_cannot_run_and_says_why(tiny_catalogue: Any) -> None:
    """No traffic at all is no bandwidth: the spec refuses it, and what it would do is not known."""
    tiny_catalogue.edit("scenarios/drive.yaml", "2 GB/s, source: me, status: assumed",
                        '2 GB/s, source: me, status: assumed, note: "a guess (range 0 to 3)"')  # fmt: skip
    explanation = simulator.explain(simulator.run_scenario("drive", catalogue=[tiny_catalogue.folder]))
    (bar,) = explanation.ranges
    assert (bar.low.value, bar.low.latency_ticks) == (0, None)
    assert bar.low.short_reason == 'must be above zero, got "0.0 B/s"'
    assert bar.high.latency_ticks is not None


def test_every_range_of_the_catalogue_is_read() -> None:
    """But those of links, which are in lanes: their numbers are in bytes per second, and nothing depends on them."""
    catalog = Catalog()
    specs = [catalog.load_chip(name) for name in catalog.names("chip")]
    specs += [catalog.load_runtime(name) for name in catalog.names("runtime")]
    stated = [
        (path, number, unit)
        for spec in specs
        for path, number, unit in units_of(spec)
        if number.guessed_range is not None and not path.startswith("links.")
    ]
    assert len(stated) > 50
    for path, number, unit in stated:
        ends = noted_range(number, unit)
        assert ends is not None, (path, number)
        assert 0.99 * ends[0] <= number.value <= 1.01 * ends[1]


# What scripts read


def test_the_dictionary_has_the_promised_keys_and_its_parts_sum_up(tiny_catalogue: Any) -> None:
    explanation = simulator.explain(simulator.run_scenario("drive", catalogue=[tiny_catalogue.folder]))
    tree = json.loads(json.dumps(explanation.to_dict()))
    assert tree["schema"] == "roadline.explain/1"
    assert tree.keys() == {"schema", "name", "chip", "workload", "runtime", "precision", "engine", "latency_s",
                           "deadline_s", "simulations", "attribution", "phases", "critical_path", "step_fraction",
                           "tornado", "no_effect", "fixed", "not_varied", "ranges", "advice"}  # fmt: skip
    # Seconds are whole picoseconds, so they sum up exactly when counted so.
    ticks = [round(seconds * 1e12) for seconds in tree["attribution"].values()]
    assert sum(ticks) == round(tree["latency_s"] * 1e12) == explanation.result.frame.latency_ticks
    assert sum(round(item["time_s"] * 1e12) for item in tree["critical_path"]) == sum(ticks)
    first = tree["tornado"][0]
    assert first.keys() == {"number", "owner", "unit", "value", "status", "range", "low", "high",
                            "gain_fraction"}  # fmt: skip
    assert first["low"].keys() == {"value", "latency_s", "reason", "more_mm2"}
    assert tree["advice"].keys() == {"text", "number", "owner", "value", "latency_s", "reason", "more_mm2",
                                     "gain_fraction", "equals", "best_of_chip", "limited_by", "limited_fraction",
                                     "meets_deadline", "reaches", "larger_steps", "spares"}  # fmt: skip
    assert tree["advice"]["meets_deadline"] is True


def test_both_engines_explain_alike(tiny_catalogue: Any) -> None:
    result = simulator.run_scenario("drive", catalogue=[tiny_catalogue.folder])
    one, other = (simulator.explain(result, engine=engine).to_dict() for engine in ("compiled", "reference"))
    assert one == other


def test_progress_counts_every_number_once(tiny_catalogue: Any) -> None:
    seen: list[tuple[int, int]] = []
    result = result_of(tiny_catalogue, {})
    simulator.explain(result, progress=lambda done, total: seen.append((done, total)))
    count = sum(lever.source is not None or lever.value > 0 for lever in levers_of(result.setup))
    assert seen == [(done, count) for done in range(count + 1)]  # no note of this chip gives a range
