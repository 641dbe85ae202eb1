"""Metamorphic relations: one thing is changed in a run (chip, workload, runtime), and what must follow, follows.

More bandwidth may make a frame of several models later, as units are not interrupted: the anomaly that Graham found for
schedules. It is shown here in a case built for it and asserted nowhere else; only a model alone must never be later.
There is no thermal model yet, so the relation of an infinite limit is that of power states.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from simulator import Result, load_chip, run
from simulator.catalog import load_memory
from simulator.chip import Chip
from simulator.chip.physical import PowerState
from simulator.engine.reference import ReferenceEngine
from simulator.graph import Block, ExpertMatMul, MatMul, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.lowering import Demand, Platform, lower
from simulator.lowering.kernel import kernel_work
from simulator.precision import precision
from simulator.program import NONE, Streams
from tests.closed_form.limits import (
    HEADS,
    HIDDEN,
    LAYERS,
    MATRIX_ELEMENTS,
    NS,
    TOKEN_ELEMENTS,
    WIDTH,
    answer,
    chip_with,
    decoder,
    dram_bytes,
    one_operator,
    phase_ns,
    software,
)
from tests.unit.test_emit import number

PROMPT, DECODE = 20, 10


def same_timeline(one: Result, other: Result) -> bool:
    """Whether two runs do the same at the same time, task by task."""
    return all(
        np.array_equal(getattr(one.timeline, column), getattr(other.timeline, column))
        for column in ("task", "start_tick", "end_tick", "release_end_tick")
    )


def moved_bytes() -> dict[str, int]:
    """Bytes of the small decoder by phase: matrices, rows of the table, keys and values read and written; FP16."""
    read = sum(PROMPT + step for step in range(1, DECODE + 1))
    return {
        "prefill": 2 * (MATRIX_ELEMENTS + PROMPT * HIDDEN + PROMPT * TOKEN_ELEMENTS),
        "decode": 2 * (DECODE * (MATRIX_ELEMENTS + HIDDEN + TOKEN_ELEMENTS) + read * TOKEN_ELEMENTS),
    }


# the roofline sum (MR-6) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetches", [True, False])
def test_one_master_with_all_else_infinite_takes_its_bytes_over_the_bandwidth(prefetches: bool) -> None:
    result = answer(chip_with(), decoder(PROMPT, DECODE), software(prefetches_weights=prefetches))
    for phase, expected in moved_bytes().items():
        assert dram_bytes(result, phase) == expected
        assert phase_ns(result, phase) == pytest.approx(expected, abs=len(result.timeline) / NS)  # a tick for each task


def test_with_launches_the_sum_has_one_launch_for_every_kernel() -> None:
    # A layer without fusions has 14 kernels: norm, q, k, v, rope, cache write, attention, o, add, norm, gate, up,
    # activation, down, add are 15; embedding before and norm and head after them are 3.
    kernels = LAYERS * 15 + 3
    stack = software(launch="700 cycles", prefetches_weights=False, fusions=[])
    result = answer(chip_with(), decoder(PROMPT, DECODE), stack)
    for phase, passes in (("prefill", 1), ("decode", DECODE)):
        expected_ns = moved_bytes()[phase] + passes * kernels * 700
        assert phase_ns(result, phase) == pytest.approx(expected_ns, abs=len(result.timeline) / NS)


def test_with_free_memory_the_matrix_engine_is_busy_for_all_macs() -> None:
    # Tiles of one: no padding. Every token multiplies every matrix once, and 4 heads of 16 with all keys for scores
    # and for values. Lanes are so few that no product runs there.
    chip = chip_with(macs=1, lanes=1e-6, dram__rate="2000000000 MT/s")
    result = answer(chip, decoder(1, DECODE))
    macs = (1 + DECODE) * MATRIX_ELEMENTS + LAYERS * 2 * HEADS * 16 * sum(range(1, DECODE + 2))
    (matrix,) = [unit for unit in result.units if unit.name == "npu.matrix"]
    assert matrix.busy_s * 1e9 == pytest.approx(macs, rel=1e-9)


# more bandwidth (MR-7, MR-8) -----------------------------------------------------------------------------------------

ALONE = [
    ("orin-agx-64gb", "qwen3-0.6b", "w4a16"), ("thor-t5000", "olmoe-1b-7b", "nvfp4"),
    ("mach-m100", "llama2-7b", "w8a8"), ("hypo-moe", "olmoe-1b-7b", "nvfp4"),
    ("hypo-phase", "qwen3-0.6b", "w8a8"), ("a100-80gb", "qwen3-0.6b", "w4a16"),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "workload", "weights"), ALONE)
def test_more_bandwidth_never_makes_a_model_later_that_is_alone(chip: str, workload: str, weights: str) -> None:
    latency_ticks = []
    fixed = load_chip(chip)
    for factor in (0.25, 0.5, 0.9, 1.0, 1.05, 1.3, 2.0, 3.7, 16.0):
        rate = fixed.dram.rate.value * factor
        quicker = fixed.with_values({"dram.rate": f"{rate} T/s"})
        result = run(quicker, workload, precision=weights, prompt_tokens=24, decode_tokens=3)
        latency_ticks.append(result.frame.latency_ticks)
        slack = len(result.timeline)
    assert all(later <= earlier + slack for earlier, later in pairwise(latency_ticks))
    assert latency_ticks[-1] < latency_ticks[0]


@pytest.mark.parametrize(("gb_per_s", "urgent_ns"), [(1.0, 25_000), (1.25, 55_000)])
def test_an_anomaly_of_two_models_a_quarter_more_bandwidth_makes_the_urgent_one_twice_as_late(
    gb_per_s: float, urgent_ns: int
) -> None:
    """Recorded, not wanted: with quick loads a long kernel is on the unit before the urgent one can be."""
    # The long kernel loads 100,000 B and works for 50,000 ns; the urgent one arrives at 80,000 ns, loads 10,000 B and
    # works for 5,000 ns. At 1 B/ns the long one lacks 20,000 B then; both share the DRAM, the urgent load takes
    # 20,000 ns, and its work comes first: 25,000 ns. At 1.25 B/ns the long work begins at 80,000 ns, and the urgent
    # one waits until 130,000 ns: 55,000 ns.
    chip = chip_with(macs=1, lanes=1e-9, dram__rate=f"{2000 * gb_per_s} MT/s")
    demands = []
    for outputs, priority in ((50, 1), (5, 0)):
        graph = OperatorGraph("one", [MatMul("m", (), rows=1, inputs=1000, outputs=outputs)], [])
        phase = PhaseGraph("decode", "fp16", 1, (Block(graph, 1),))
        demands.append(Demand(WorkloadGraph("one", (phase,), {}, 0), priority))
    streams = Streams(
        names=("long", "urgent"), release_offsets=np.array([0, 1, 2]), release_tick=np.array([0, 80_000 * NS]),
        release_job=np.array([0, 1]), policy=np.array([2, 2]), queue_depth=np.array([NONE, NONE]),
        in_flight=np.array([1, 1]), deadline_ticks=np.array([NONE, NONE]),
    )  # fmt: skip
    stack = software(weight_buffers=1, prefetches_weights=False)
    timeline = ReferenceEngine().run(lower(demands, Platform(chip, stack, tenants=2), streams))
    assert int(timeline.release_end_tick[1]) == (80_000 + urgent_ns) * NS


# half of the bytes (MR-10) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("narrow", ["fp8", "w8a8"])
def test_an_operator_with_half_of_the_bytes_takes_half_of_the_time(narrow: str) -> None:
    """Where the DRAM binds and the path converts by itself."""
    matrix = MatMul("m", (), rows=1, inputs=4000, outputs=1000)
    wide_ns, narrow_ns = (
        one_operator(matrix, chip_with(), software(), precision=name).horizon_tick / NS for name in ("fp16", narrow)
    )
    assert wide_ns == pytest.approx(8_000_000, abs=1)
    assert narrow_ns == pytest.approx(wide_ns / 2, abs=1)


def test_a_decoder_in_half_of_the_bytes_takes_half_of_the_time_but_for_the_rows_of_the_table() -> None:
    # Rows of the embedding stay in 16 bits.
    wide = answer(chip_with(), decoder(PROMPT, DECODE))
    narrow = answer(chip_with(), decoder(PROMPT, DECODE, "fp8"), kv_precision="fp8")
    for phase, rows in (("prefill", PROMPT), ("decode", DECODE)):
        table_ns = rows * 2 * HIDDEN
        assert phase_ns(narrow, phase) - table_ns == pytest.approx(
            (phase_ns(wide, phase) - table_ns) / 2, abs=len(wide.timeline) / NS
        )


# power states (MR-14) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["orin-agx-64gb", "mach-m100", "hypo-moe"])
def test_a_power_state_of_the_chips_own_values_is_no_power_state(name: str) -> None:
    chip = load_chip(name)
    own_values = PowerState(
        clusters_on=chip.cluster.count, cluster_clock=chip.cluster.clock, dram_rate=chip.dram.rate,
        host_clock=chip.host.clock,
    )  # fmt: skip
    with_state = chip.model_copy(update={"power_states": {"own": own_values}})
    options: dict[str, Any] = {"prompt_tokens": 24, "decode_tokens": 2, "precision": "w4a16"}
    if name == "hypo-moe":
        options["precision"] = "nvfp4"
    workload = "olmoe-1b-7b" if name == "hypo-moe" else "qwen3-0.6b"
    none, own = (
        run(hardware, workload, power_state=named, **options) for hardware, named in ((chip, None), (with_state, "own"))
    )
    assert same_timeline(none, own)
    assert (none.energy is None) == (own.energy is None)
    if none.energy is not None and own.energy is not None:
        assert own.energy.parts_j == none.energy.parts_j


# one expert (MR-15) --------------------------------------------------------------------------------------------------


def test_a_mixture_of_one_expert_is_the_dense_model_task_by_task() -> None:
    dense, single = decoder(PROMPT, DECODE), decoder(PROMPT, DECODE, experts=1, top_k=1)
    assert same_timeline(answer(chip_with(macs=64, lanes=8), dense), answer(chip_with(macs=64, lanes=8), single))


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("name", ["thor-t5000", "mach-m100"])
def test_the_matrices_of_one_expert_of_one_are_a_dense_matrix_in_bytes_and_work(name: str, rows: int) -> None:
    """Only that they are read after the router has run differs."""
    chip = load_chip(name)
    platform, body = Platform(chip, software()), precision("w8a8")
    dense = MatMul("m", (), rows=rows, inputs=512, outputs=768)
    expert = ExpertMatMul("m", (), rows=rows, inputs=512, outputs=768, experts=1, top_k=1, touched=1, gathers=True)
    works = [kernel_work([operator], platform=platform, body=body) for operator in (dense, expert)]
    assert works[0].loaded_bytes == works[1].loaded_bytes == works[1].late_bytes
    for cycles in ("matrix_cycles", "vector_cycles", "conversion_cycles", "flop"):
        assert getattr(works[0], cycles) == getattr(works[1], cycles)


@pytest.mark.parametrize("experts", [2, 4])
def test_experts_that_all_rows_pick_move_the_bytes_of_a_dense_ffn_as_wide_as_all_and_a_router(experts: int) -> None:
    # E experts of width w, all picked: 3 E w h elements in a layer, as a dense FFN of E w. Beside them the router has
    # h E, of which a prefill and every step read all. In flop likewise: 2 h E for every token.
    sparse = answer(chip_with(), decoder(PROMPT, DECODE, experts=experts, top_k=experts))
    dense = answer(chip_with(), decoder(PROMPT, DECODE, ffn_width=experts * WIDTH))
    for phase, passes, tokens in (("prefill", 1, PROMPT), ("decode", DECODE, DECODE)):
        router = LAYERS * HIDDEN * experts
        assert dram_bytes(sparse, phase) - dram_bytes(dense, phase) == passes * 2 * router
        found, expected = sparse.phase(phase), dense.phase(phase)  # type: ignore[arg-type]
        assert found is not None
        assert expected is not None
        assert found.flop - expected.flop == tokens * 2 * router


# modes (MR-16) -------------------------------------------------------------------------------------------------------


CHOOSERS: list[dict[str, Any]] = [
    {"order": {"prefill": "one", "decode": "other"}},
    {"rule": {"above": "one", "below": "other", "flop_per_byte": 30.0}},
]


def with_equal_modes(chip: Chip, clock_hz: float, latency: str, chooser: dict[str, Any]) -> Chip:
    """The chip with two modes of one clock between which it changes for every phase."""
    mode = {"clock": number(f"{clock_hz} Hz")}
    modes = {"cluster": chip.accelerator, "modes": {"one": mode, "other": mode}, "latency": number(latency), **chooser}
    return chip.with_values({"reconfiguration": modes})


def short_run(chip: Chip) -> Result:
    return run(chip, "qwen3-0.6b", precision="w8a8", prompt_tokens=64, decode_tokens=3)


@pytest.mark.parametrize("chooser", CHOOSERS, ids=["order", "rule"])
@pytest.mark.parametrize("name", ["tesla-hw3", "hypo-int8"])
def test_a_switch_that_costs_nothing_between_equal_modes_is_no_switch(name: str, chooser: dict[str, Any]) -> None:
    chip = load_chip(name)
    clock_hz = chip.cluster.clock.value
    fixed = short_run(chip)
    assert same_timeline(fixed, short_run(with_equal_modes(chip, clock_hz, "0 s", chooser)))
    # It does switch: from the mode in which the frame before has ended, and once between prefill and decode.
    slow = short_run(with_equal_modes(chip, clock_hz, "1 ms", chooser))
    assert slow.frame.latency_ticks == fixed.frame.latency_ticks + 2 * 10**9


@pytest.mark.parametrize("name", ["tesla-hw3", "hypo-int8"])
def test_equal_modes_of_another_clock_are_the_chip_at_that_clock(name: str) -> None:
    chip = load_chip(name)
    clock_hz = 0.7 * chip.cluster.clock.value
    slower = short_run(chip.with_values({f"clusters.{chip.accelerator}.clock": f"{clock_hz} Hz"}))
    in_modes = short_run(with_equal_modes(chip, clock_hz, "0 s", CHOOSERS[0]))
    # cycles are counted in the clock of the chip: rounded once more for each task
    assert in_modes.frame.latency_ticks == pytest.approx(slower.frame.latency_ticks, abs=len(slower.timeline))


# an ideal memory (MR-17) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["lpddr5x-8533", "lpddr5-6400", "gddr6-14000"])
def test_a_memory_without_ecc_refresh_and_turns_at_fraction_1_is_a_pipe_of_its_peak(device: str) -> None:
    known = load_memory(device)
    channels = 8
    bare = chip_with(dram__width_bits=known.channel_bits * channels, dram__sustained_fraction=1.0,
                     dram__rate=f"{known.usual_rate} T/s")  # fmt: skip
    condition = {"refresh": "off", "ecc": "none"}
    timed = bare.with_values({
        "dram.device": known.model_dump(), "dram.condition": condition, "dram.measured_condition": condition,
    })  # fmt: skip
    ideal, found = (answer(chip, decoder(PROMPT, DECODE)) for chip in (bare, timed))
    assert same_timeline(ideal, found)
    peak = known.channel_bits * channels / 8 * known.usual_rate
    total = sum(moved_bytes().values())
    assert found.frame.latency_ticks == pytest.approx(total / peak * 1e12, abs=len(found.timeline))
