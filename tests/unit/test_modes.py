"""Modes: how they are chosen, what a switch costs to the tick, what it moves, and what the chip gains by it.

On the chip of these tests a byte of DRAM and a cycle take 1 ns each. The model of two layers has 3,192 matrix weights
(two layers of 192 + 2 * 96 + 192 + 3 * 240, a head of 600), 6,384 bytes in FP16, and a KV cache of 64 bytes per token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from simulator import load_runtime
from simulator.chip import Chip, IntensityRule
from simulator.engine.compiled import CompiledEngine
from simulator.engine.reference import ReferenceEngine
from simulator.errors import SpecError
from simulator.explanation.parts import latency_parts
from simulator.graph import build_graph
from simulator.lowering import Demand, lower
from simulator.lowering.modes import by_order, by_rule
from simulator.report.run_sheet import run_sheet
from simulator.simulation.modes import MOST_TASKS, mode_gains
from simulator.simulation.result import Result
from simulator.simulation.setup import Setup, single_run
from simulator.simulation.simulate import simulate
from simulator.simulation.to_program import to_program
from simulator.workload import Workload
from tests.property.test_lowering_laws import ONCE, Case, cases
from tests.unit.test_emit import NS, chip, number

WEIGHTS_BYTES = 2 * (2 * (192 + 2 * 96 + 192 + 3 * 240) + 600)
TOKEN_BYTES = 2 * (2 * 2 * 2 * 4)
PROMPT = 5
LATENCY_NS = 3000

EMPTY = {"l2": {"activations": 1.0}}
KEEPING = {"l2": {"activations": 0.1, "weights": 0.5, "kv": 0.4}}


def path(macs: int, rows: int) -> dict[str, Any]:
    """A matrix path of so many MAC per cycle that pads to so many rows."""
    return {"native": {"macs_per_cycle": {"fp16": number(macs)}, "tile_m": number(rows), "tile_n": number(1),
                       "tile_k": number(1)}}  # fmt: skip


def modal(
    modes: dict[str, Any], *, order: dict[str, str] | None = None, latency: str = f"{LATENCY_NS} ns",
    shared: str = "20 kB", **changes: Any,
) -> Chip:  # fmt: skip
    """The tiny chip with modes; the prefill has the first of them and decoding the last."""
    names = list(modes)
    reconfiguration = {
        "cluster": "npu", "modes": modes, "latency": number(latency),
        "order": order or {"prefill": names[0], "decode": names[-1]},
    }  # fmt: skip
    return chip(shared=shared, reconfiguration=reconfiguration, **changes)


def tiny(prompt: int = PROMPT, decode: int = 2) -> Workload:
    decoder = {"layers": 2, "hidden": 12, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn_width": 20, "ffn": "swiglu",
               "vocabulary": 50, "tied_head": False, "source": "test", "status": "assumed"}  # fmt: skip
    pipeline = [
        {"phase": "prefill", "tokens": prompt, "precision": "fp16"},
        {"phase": "decode", "tokens": decode, "precision": "fp16"},
    ]
    return Workload.model_validate({"name": "tiny", "title": "Tiny", "decoder": decoder, "pipeline": pipeline,
                                    "pipeline_source": "test", "pipeline_status": "assumed"})  # fmt: skip


def setup_of(hardware: Chip, workload: Workload | None = None) -> Setup:
    return single_run(hardware, workload or tiny(), load_runtime("ideal"))


def run(hardware: Chip, workload: Workload | None = None) -> Result:
    return simulate(setup_of(hardware, workload), engine="reference", checks=True)


def phase_ns(result: Result) -> dict[str, float]:
    return {phase.name: phase.latency_ticks / NS for phase in result.phases}


# the choice ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intensities", "expected"),
    [
        # 100 with a band of a quarter: from "wide" below 75, from "narrow" at 125 and above; the first by 100 alone
        ([100, 80, 75, 74.9, 110, 124.9, 125, 99], "wwwnnnww"),
        ([99.9, 124.9, 125, 75], "nnww"),
    ],
)
def test_a_rule_keeps_the_mode_before_within_its_band(intensities: list[float], expected: str) -> None:
    rule = IntensityRule(above="wide", below="narrow", flop_per_byte=100, hysteresis=0.25)
    assert "".join(mode[0] for mode in by_rule(rule, intensities)) == expected


def test_without_a_band_a_rule_is_a_threshold() -> None:
    rule = IntensityRule(above="wide", below="narrow", flop_per_byte=100)
    assert list(by_rule(rule, [99, 100, 99, 101])) == ["narrow", "wide", "narrow", "wide"]


def test_a_phase_that_an_order_does_not_name_has_the_mode_of_the_one_before_and_the_first_that_of_the_first_named() -> (
    None
):
    hardware = modal({"a": {}, "b": {}}, order={"prefill": "a", "action": "b"})
    assert by_order(hardware, ("vision", "prefill", "decode", "action")) == ["a", "a", "a", "b"]


def test_an_order_that_names_no_phase_of_the_workload_is_refused() -> None:
    hardware = modal({"a": {}}, order={"vision": "a"})
    with pytest.raises(SpecError, match=r"chip tiny: reconfiguration.order: must name a phase of the workload") as told:
        run(hardware)
    assert told.value.message.endswith("(prefill, decode), got vision")


def test_a_rule_sends_the_prefill_to_one_mode_and_decoding_to_the_other() -> None:
    """A prompt of 64 tokens has about 64 operations for a byte of weights, a decoded token one."""
    rule = {"above": "a", "below": "b", "flop_per_byte": 8}
    ordered = modal({"a": {}, "b": {}})
    hardware = ordered.model_copy(
        update={"reconfiguration": ordered.reconfiguration.model_copy(  # type: ignore[union-attr]
            update={"order": None, "rule": IntensityRule.model_validate(rule)})}
    )  # fmt: skip
    modes = run(hardware, tiny(prompt=64)).modes
    assert modes is not None
    assert [(phase.phase, phase.mode) for phase in modes.phases] == [("prefill", "a"), ("decode", "b")]
    prefill, decode = (phase.flop_per_byte for phase in modes.phases)
    assert prefill > 8
    assert decode < 1.5


def test_what_a_rule_looks_at_is_the_operations_over_the_bytes_that_a_frame_moves() -> None:
    """Loaded and stored, on a chip that keeps nothing: as the run counts them."""
    result = run(modal({"a": {}, "b": {}}), tiny(prompt=64, decode=3))
    assert result.modes is not None
    expected = [phase.flop / result.dram_bytes(phase.channel_bytes) for phase in result.phases]
    assert [phase.flop_per_byte for phase in result.modes.phases] == pytest.approx(expected, rel=1e-12)


# the cost ------------------------------------------------------------------------------------------------------------


def test_equal_modes_that_cost_nothing_are_no_modes() -> None:
    for split in (EMPTY, KEEPING):
        hardware = modal({"a": {"split": split}, "b": {"split": split}}, latency="0 s")
        changing, fixed = run(hardware), run(hardware.in_mode("a"))
        assert phase_ns(changing) == phase_ns(fixed)
        assert [phase.channel_bytes for phase in changing.phases] == [phase.channel_bytes for phase in fixed.phases]
        assert np.array_equal(changing.timeline.end_tick, fixed.timeline.end_tick)


@settings(max_examples=10, deadline=None)
@given(cases())
def test_equal_modes_that_cost_nothing_are_no_modes_whatever_the_sizes_are(case: Case) -> None:
    fixed = case.platform
    ways = {
        "cluster": "npu",
        "modes": {"a": {}, "b": {}},
        "latency": number("0 s"),
        "order": {"prefill": "a", "decode": "b"},
    }
    hardware = Chip.model_validate({**fixed.chip.model_dump(), "reconfiguration": ways})
    ends = [
        ReferenceEngine().run(lower([Demand(build_graph(case.workload))], platform, ONCE)).end_tick
        for platform in (fixed, replace(fixed, chip=hardware))
    ]
    assert np.array_equal(*ends)


def test_a_switch_takes_its_latency_and_the_time_of_what_is_kept_from_then_on() -> None:
    """Weights, half of which fit (3,192 of 6,384 bytes), and the prompt's KV come from DRAM at a byte per ns."""
    hardware = modal({"a": {"split": EMPTY}, "b": {"split": KEEPING}}, shared=f"{WEIGHTS_BYTES} B")
    changing = run(hardware)
    first, last = phase_ns(run(hardware.in_mode("a"))), phase_ns(run(hardware.in_mode("b")))
    moved = WEIGHTS_BYTES // 2 + PROMPT * TOKEN_BYTES
    assert phase_ns(changing) == {
        "prefill": first["prefill"] + LATENCY_NS,
        "decode": last["decode"] + LATENCY_NS + moved,
    }
    in_switch = {name: causes.get("switch", 0) / NS for name, causes in changing.attribution.phase_cause_ticks.items()}
    assert in_switch == {"prefill": LATENCY_NS, "decode": LATENCY_NS + moved}
    items = latency_parts(changing.timeline, changing.frame.release, ReferenceEngine()).items
    switches = {item.operation: dict(item.part_ticks) for item in items if "switch" in item.part_ticks}
    assert switches == {
        "prefill.switch": {"switch": LATENCY_NS * NS},
        "decode.switch": {"switch": (LATENCY_NS + moved) * NS},
    }


def test_kv_that_the_new_mode_does_not_keep_is_stored_before_the_switch() -> None:
    """All weights are loaded for the prefill, which finds no KV; five tokens of the prompt leave before decoding."""
    hardware = modal({"b": {"split": KEEPING}, "a": {"split": EMPTY}})
    first, last = phase_ns(run(hardware.in_mode("b"))), phase_ns(run(hardware.in_mode("a")))
    assert phase_ns(run(hardware)) == {
        "prefill": first["prefill"] + LATENCY_NS + WEIGHTS_BYTES,
        "decode": last["decode"] + LATENCY_NS + PROMPT * TOKEN_BYTES,
    }


def test_the_traffic_of_a_switch_is_on_the_dram() -> None:
    hardware = modal({"a": {"split": EMPTY}, "b": {"split": KEEPING}})
    changing, first, last = run(hardware), run(hardware.in_mode("a")), run(hardware.in_mode("b"))
    assert changing.dram_bytes(changing.phases[0].channel_bytes) == first.dram_bytes(first.phases[0].channel_bytes)
    assert changing.dram_bytes(changing.phases[1].channel_bytes) == (
        last.dram_bytes(last.phases[1].channel_bytes) + WEIGHTS_BYTES + PROMPT * TOKEN_BYTES
    )


def test_every_frame_finds_the_mode_that_the_one_before_has_left() -> None:
    """So the first frame begins with a switch like all others, and frames that do not overlap take equally long."""
    setup = setup_of(modal({"a": {"split": EMPTY}, "b": {"split": KEEPING}}))
    once = simulate(setup, engine="reference").timeline
    period = 2 * int(once.release_end_tick[0])
    stream = replace(setup.streams[0], release_ticks=(0, period, 2 * period))
    timeline = simulate(replace(setup, streams=(stream,)), engine="reference", checks=True).timeline
    assert (timeline.release_end_tick - timeline.release_start_tick).tolist() == once.release_end_tick.tolist() * 3


def test_a_frame_in_a_single_mode_never_switches() -> None:
    hardware = modal({"a": {}, "b": {"clock": number("2 GHz")}}, order={"prefill": "a", "action": "b"})
    result = run(hardware)
    assert phase_ns(result) == phase_ns(run(hardware.in_mode("a")))
    assert result.modes is not None
    assert (result.modes.num_switches, result.modes.switch_s) == (0, 0)


def test_cycles_of_a_mode_last_as_its_clock_says() -> None:
    """In a mode of 500 MHz all takes what it takes on a chip of that clock, and longer than at 1 GHz."""
    hardware = modal({"slow": {"clock": number("500 MHz")}, "usual": {}}, order={"prefill": "slow", "action": "usual"})
    slow = hardware.in_mode("usual").with_values({"clusters.npu.clock": "500 MHz"})
    assert phase_ns(run(hardware)) == phase_ns(run(slow))
    assert run(hardware).latency_s > 1.5 * run(hardware.in_mode("usual")).latency_s


def test_frames_that_overlap_on_a_chip_with_modes_are_refused() -> None:
    setup = setup_of(modal({"a": {}, "b": {}}))
    twice = replace(setup, streams=(replace(setup.streams[0], in_flight=2),))
    with pytest.raises(SpecError, match="chip tiny: must run one frame at a time to change its mode, got 2"):
        to_program(twice)


# the gain ------------------------------------------------------------------------------------------------------------

FAST_DRAM = {"type": "test", "width_bits": number(8), "rate": number("200 GT/s"), "capacity": number("1 GB"),
             "sustained_fraction": number(0.5)}  # fmt: skip


def shapes(latency: str) -> Chip:
    """A mode of 8 MAC per cycle for 64 rows at a time, and one of a single MAC that pads nothing."""
    return modal({"deep": {"matrix": path(8, 64)}, "flat": {"matrix": path(1, 1)}}, latency=latency, dram=FAST_DRAM)


def test_at_its_break_even_length_a_phase_takes_as_long_as_without_switches() -> None:
    """The switches take what the prefill saves: then the chip that changes and the best fixed one are equally quick."""
    workload = tiny(prompt=16, decode=32)
    flat, deep = (run(shapes("0 s").in_mode(mode), workload) for mode in ("flat", "deep"))
    assert flat.latency_s < deep.latency_s  # 32 tokens of 64 rows are worse than 16 rows without padding
    saved_ns = phase_ns(flat)["prefill"] - phase_ns(deep)["prefill"]
    assert saved_ns > 1000
    changing = run(shapes(f"{saved_ns / 2} ns"), workload)
    assert changing.latency_s == pytest.approx(flat.latency_s, abs=1e-11)
    assert changing.modes is not None
    prefill, decode = changing.modes.phases
    assert prefill.break_even_s == pytest.approx(phase_ns(flat)["prefill"] * 1e-9, rel=1e-6)
    assert decode.break_even_s is None
    assert changing.modes.num_switches == 2
    assert changing.modes.switch_s == pytest.approx(saved_ns * 1e-9, rel=1e-6)


def test_gains_are_against_the_chip_in_each_mode() -> None:
    workload = tiny(prompt=16, decode=32)
    result = run(shapes("10 ns"), workload)
    fixed = {mode: run(shapes("0 s").in_mode(mode), workload).latency_s for mode in ("deep", "flat")}
    told = result.to_dict()["modes"]
    assert told["fixed_s"] == fixed
    assert told["gain"] == {mode: latency_s / result.latency_s for mode, latency_s in fixed.items()}
    assert told["switches"] == 2
    assert told["switch_s"] == pytest.approx(20e-9)
    assert [phase["mode"] for phase in told["phases"]] == ["deep", "flat"]


def test_a_mode_that_cannot_run_the_model_has_no_latency() -> None:
    int8 = {"native": {**path(8, 64)["native"], "macs_per_cycle": {"int8": number(8)}}}
    hardware = modal(
        {"a": {}, "b": {}, "integers": {"matrix": int8}}, order={"prefill": "a", "decode": "b", "action": "integers"}
    )
    modes = run(hardware).modes
    assert modes is not None
    assert modes.fixed_s is not None
    assert modes.fixed_s["integers"] is None
    assert modes.gain["integers"] is None


def test_a_long_run_is_not_repeated_in_every_mode() -> None:
    result = run(shapes("10 ns"))
    modes = mode_gains(result.setup, result.frame, result.attribution, MOST_TASKS + 1)
    assert modes is not None
    assert modes.fixed_s is None
    assert modes.gain == {}
    assert modes.num_switches == 2


def test_the_sheet_shows_modes_switches_and_fixed_chips() -> None:
    result = run(shapes("10 ns"), tiny(prompt=16, decode=32))
    lines = run_sheet(result).splitlines()
    head = next(number for number, line in enumerate(lines) if line == "Modes")
    assert lines[head + 1].split() == ["phase", "mode", "FLOP/B", "switch", "break-even"]
    assert lines[head + 3].split()[:2] == ["prefill", "deep"]
    text = " ".join(lines)
    assert "The chip changes its mode 2 times per frame and loses 20 ns by it. Fixed in mode deep it takes" in text
    unchanged = modal({"a": {}, "b": {}}, order={"prefill": "a", "action": "b"})
    assert "The chip does not change its mode." in run_sheet(run(unchanged))
    assert "Modes" not in run_sheet(run(chip()))


def test_the_sheet_says_that_switching_does_not_pay_where_a_fixed_mode_is_quicker() -> None:
    """A switch of 1 ms is far longer than all that the prefill saves."""
    result = run(shapes("1 ms"), tiny(prompt=16, decode=32))
    text = " ".join(run_sheet(result).split())
    assert result.modes is not None
    assert result.modes.fixed_s is not None
    flat_s = result.modes.fixed_s["flat"]
    assert flat_s is not None
    assert flat_s < result.latency_s
    less = f"{100 - 100 * flat_s / result.latency_s:.2g} % less. Switching does not pay."
    assert text.partition("in mode flat it takes")[2].partition(", ")[2].startswith(less)
    assert "Switching does not pay." not in run_sheet(run(shapes("10 ns"), tiny(prompt=16, decode=32)))


def test_a_phase_without_a_break_even_length_says_why() -> None:
    lines = [" ".join(line.split()) for line in run_sheet(run(shapes("10 ns"), tiny(prompt=16, decode=32))).split("\n")]
    assert any(line.startswith("decode flat ") and line.endswith(" in best fixed mode") for line in lines)
    same = modal({"a": {}, "b": {}})
    lines = [" ".join(line.split()) for line in run_sheet(run(same)).split("\n")]
    assert any(line.startswith("decode b ") and line.endswith(" never, no quicker") for line in lines)


def test_no_fixed_mode_takes_1_times_as_long() -> None:
    """Modes that are alike and cost nothing: the fixed chip is as quick, not so many times as long."""
    text = " ".join(run_sheet(run(modal({"a": {}, "b": {}}, latency="0 s"))).split())
    assert ", just as long, in mode b it takes" in text
    assert "1 times as long" not in text


def test_a_chip_without_modes_says_so() -> None:
    result = run(chip())
    assert result.modes is None
    assert result.to_dict()["modes"] is None


# engines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [EMPTY, KEEPING])
def test_both_engines_find_the_same_times_for_a_chip_with_modes(first: dict[str, Any]) -> None:
    last = KEEPING if first is EMPTY else EMPTY
    program = to_program(setup_of(modal({"a": {"split": first}, "b": {"split": last}})))
    expected, found = ReferenceEngine().run(program), CompiledEngine().run(program)
    assert np.array_equal(expected.task, found.task)
    assert np.array_equal(expected.end_tick, found.end_tick)
