"""Energy of tasks, frames and runs, and power over time: hand sums and conservation."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import api
from simulator.catalog import load_chip, load_technology
from simulator.chip import Chip
from simulator.engine.reference import ReferenceEngine
from simulator.errors import EngineError, SpecError
from simulator.ppa.area import area_of
from simulator.ppa.energy_model import EnergyModel, energy_model, numbers_used, sram_j_per_byte
from simulator.ppa.power import GROUPS, Meter, in_slices
from simulator.program import Program, ProgramBuilder
from simulator.program.program import Labels
from simulator.report.trace_tracks import trace_tracks
from simulator.simulation.result import Result

# Energies that can be told apart: a MAC 1 J, a vector cycle 10 J, a host cycle 100 J, a byte of DRAM 1000 J.
MODEL = EnergyModel(
    mac_j={"fp16": 1.0, "int8": 0.25},
    lane_cycle_j={"": 5.0, "slow": 2.0},
    num_clusters={"npu": 2.0, "die0.npu.front": 1.0, "die1.npu": 2.0},
    kept_j_per_byte={"": {"sram": 4.0, "noc": 1.0}, "slow": {"sram": 6.0, "noc": 0.0}},
    link_j_per_byte=3.0,
    link_latency_bytes=1.0,
    host_cycle_j=100.0,
    channel_j_per_byte={"dram": ("dram", 1000.0), "noc": ("noc", 0.0), "sram": ("sram", 30.0)},
    wire_j_per_byte=2.0,
    local_j_per_byte=5.0,
    static_w=7.0,
)


def hand_program(dtype: str = "fp16", num_pieces: int = 1) -> Program:
    """One job: 6 B from DRAM in 6 ns, then 400 MACs in 4 + 12 cycles, a conversion of 3 cycles, vector work of 5.

    With more pieces the load and the first multiplication are cut into so many equal parts.
    """
    builder = ProgramBuilder()
    for unit in ("npu.matrix", "npu.vector", "npu.launch", "host"):
        builder.unit(unit, clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    tasks = [("host", builder.compute("host", work_cycles=2)), ("launch", builder.compute("npu.launch", work_cycles=3))]
    for _ in range(num_pieces):
        tasks.append(("load", builder.transfer(["dram"], size_bytes=6 // num_pieces)))
    loads = [task for what, task in tasks if what == "load"]
    for _ in range(num_pieces):
        tasks.append(("multiply", builder.compute("npu.matrix", work_cycles=4 / num_pieces, after=loads)))
    tasks.append(("multiply", builder.compute("npu.matrix", work_cycles=12, after=loads)))
    tasks.append(("convert", builder.compute("npu.vector", work_cycles=3)))
    tasks.append(("soften", builder.compute("npu.vector", work_cycles=5)))
    return labelled(builder.build(), [what for what, _ in tasks], dtype)


def labelled(program: Program, kinds: list[str], dtype: str) -> Program:
    """All work belongs to one operation of 800 flop but that of the host; conversions have their cause."""
    operation = np.array([1 if kind in {"host", "launch"} else 0 for kind in kinds])
    cause = np.array([1 if kind == "convert" else -1 for kind in kinds])
    labels = Labels(
        phases=("prefill",), operations=("product", "waiting"), operation_phase=np.zeros(2, dtype=np.int64),
        operation_flop=np.array([800, 0]), operation_dtypes=(dtype, ""), causes=("matrix", "conversion"),
        phase_tokens=np.array([1]),
    )  # fmt: skip
    return replace(program, tasks=replace(program.tasks, operation=operation, cause=cause), labels=labels)


def test_each_kind_of_task_takes_the_energy_of_a_hand_sum() -> None:
    frame = Meter(hand_program(), MODEL).frame(0, latency_ticks=10**12, phase_ticks={0: 10**12})
    assert frame.parts_j == {
        "matrix": 400.0,  # 800 flop are 400 MACs of 1 J
        "vector": 50.0,  # 5 cycles of 10 J
        "conversion": 30.0,  # 3 cycles
        "host": 200.0,  # 2 cycles of 100 J
        "dram": 6000.0,  # 6 B of 1000 J
        "noc": 12.0,  # 6 B over the wires
        "sram": 30.0,  # 6 B into local SRAM and out again
        "static": 7.0,  # 7 W for a second
    }
    assert frame.total_j == 6729.0
    assert frame.average_w == 6729.0
    assert frame.phases_j == {"prefill": 6729.0}


def test_macs_take_the_energy_of_their_dtype() -> None:
    frame = Meter(hand_program("int8"), MODEL).frame(0, 0, {})
    assert frame.parts_j["matrix"] == 100.0


def test_macs_are_shared_out_by_matrix_cycles() -> None:
    energy = Meter(hand_program(), MODEL).of_templates["matrix"]
    assert energy[energy > 0].tolist() == [100.0, 300.0]  # 4 and 12 of 16 cycles of 400 MACs


@pytest.mark.parametrize("num_pieces", [1, 2, 3, 6])
def test_energy_does_not_depend_on_the_pieces_into_which_work_is_cut(num_pieces: int) -> None:
    program = hand_program(num_pieces=num_pieces)
    frame = Meter(program, MODEL).frame(0, 10**12, {0: 10**12})
    assert frame.total_j == pytest.approx(6729.0)
    run = Meter(program, MODEL).run(ReferenceEngine().run(program))
    assert run["compute"] == pytest.approx(680.0)
    assert run["memory"] == pytest.approx(6042.0)


def test_lanes_take_the_energy_of_the_mode_in_which_their_operation_runs() -> None:
    program = hand_program()
    labels = replace(program.labels, operation_modes=("slow", ""))
    parts = Meter(replace(program, labels=labels), MODEL).frame(0, 0, {}).parts_j
    # 5 and 3 cycles of 2 clusters at 2 J
    assert (parts["vector"], parts["conversion"], parts["matrix"]) == (20.0, 12.0, 400.0)


@pytest.mark.parametrize(("mode", "sram_j", "noc_j"), [("", 4.0, 1.0), ("slow", 6.0, 0.0)])
def test_what_stays_on_the_chip_takes_energy_where_it_is_read(mode: str, sram_j: float, noc_j: float) -> None:
    plain = hand_program()
    labels = replace(plain.labels, operation_kept_bytes=np.array([48, 0]), operation_modes=(mode, ""))
    program = replace(plain, labels=labels)
    frame = Meter(program, MODEL).frame(0, 0, {0: 0})
    # beside the 6 B from DRAM; 48 B in 4 + 12 matrix, 3 conversion and 5 vector cycles are 2 B in each
    assert (frame.parts_j["sram"], frame.parts_j["noc"]) == pytest.approx((30.0 + 48 * sram_j, 12.0 + 48 * noc_j))
    assert sum(frame.phases_j.values()) == pytest.approx(frame.total_j)
    works = program.folded_tasks.templates.work_cycles[-4:]
    assert Meter(program, MODEL).of_templates["sram"][-4:] == pytest.approx(works * 2 * sram_j)
    timeline = ReferenceEngine().run(program)
    run, track = (
        Meter(program, MODEL).run(timeline),
        Meter(program, MODEL).power(timeline, np.array([0, 9_000, 40_000])),
    )
    assert track.energy_j == pytest.approx(sum(run.values()))
    assert run["memory"] == pytest.approx(6042.0 + 48 * (sram_j + noc_j))


def test_an_operation_without_work_takes_the_energy_of_what_it_keeps() -> None:
    plain = hand_program()
    labels = replace(plain.labels, operation_kept_bytes=np.array([0, 8]))
    # to the host and the launch alike
    assert Meter(replace(plain, labels=labels), MODEL).of_templates["sram"][:2].tolist() == [16.0, 16.0]


def test_an_idle_chip_takes_its_static_power_times_the_time() -> None:
    builder = ProgramBuilder()
    builder.unit("npu.launch", clock_hz=1e9)
    builder.compute("npu.launch", work_cycles=3e6)  # waiting is no work
    timeline = ReferenceEngine().run(builder.build())
    meter = Meter(timeline.program, MODEL)
    assert meter.run(timeline) == {"compute": 0.0, "memory": 0.0, "static": pytest.approx(7.0 * 3e-3)}
    assert meter.power(timeline, np.array([0, 10**9, 2 * 10**9])).total_w.tolist() == [7.0, 7.0]


@pytest.mark.parametrize("num_slices", [1, 2, 7, 100])
def test_the_integral_of_the_power_is_the_energy_of_the_run(num_slices: int) -> None:
    timeline = ReferenceEngine().run(hand_program())
    meter = Meter(timeline.program, MODEL)
    edges = np.linspace(0, timeline.horizon_tick, num_slices + 1).astype(np.int64)
    track = meter.power(timeline, edges)
    assert track.energy_j == pytest.approx(sum(meter.run(timeline).values()), rel=1e-12)
    for group in GROUPS:
        assert np.sum(track.watts[group] * np.diff(edges)) / 1e12 == pytest.approx(meter.run(timeline)[group])


def test_a_load_of_six_nanoseconds_has_the_same_power_in_each_of_them() -> None:
    timeline = ReferenceEngine().run(hand_program())
    track = Meter(timeline.program, MODEL).power(timeline, np.arange(0, 9_000, 1_000))
    # 6042 J in 6 ns, and nothing in the two after them
    assert track.watts["memory"].tolist() == pytest.approx([1.007e12] * 6 + [0.0] * 2)


def test_a_run_that_is_cut_off_counts_what_was_done() -> None:
    timeline = ReferenceEngine().run(hand_program(), until_tick=3_000)
    run = Meter(timeline.program, MODEL).run(timeline)
    # 3 of 6 B; 2 cycles of the host, and 3 of vector work, which the two tasks of the vector unit did in turn
    assert run["memory"] == pytest.approx(3 * 1007.0)
    assert run["compute"] == pytest.approx(200.0 + 30.0)
    assert run["static"] == pytest.approx(7.0 * 3e-9)


def test_background_traffic_takes_the_energy_of_its_bytes_in_the_run_and_none_in_a_frame() -> None:
    builder = ProgramBuilder()
    builder.unit("npu.launch", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    builder.compute("npu.launch", work_cycles=10)
    builder.background("camera", ["dram"], bytes_per_s=0.5e9, start_tick=2_000, stop_tick=6_000)
    timeline = ReferenceEngine().run(builder.build())
    meter = Meter(timeline.program, MODEL)
    assert meter.run(timeline)["memory"] == pytest.approx(2 * 1000.0)  # 4 ns at 0.5 GB/s
    assert meter.power(timeline, np.array([0, 4_000, 10_000])).watts["memory"] == pytest.approx(
        [1000 / 4e-9, 1000 / 6e-9]
    )
    assert "dram" not in meter.frame(0, 10_000, {}).parts_j


def test_traffic_beyond_the_end_of_a_run_takes_no_energy() -> None:
    """The run is cut off at 4 ns: of a flow of 0.5 GB/s from 2 to 6 ns 1 B is moved, of one from 5 ns on nothing."""
    builder = ProgramBuilder()
    builder.unit("npu.launch", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    builder.compute("npu.launch", work_cycles=10)
    builder.background("camera", ["dram"], bytes_per_s=0.5e9, start_tick=2_000, stop_tick=6_000)
    builder.background("display", ["dram"], bytes_per_s=0.5e9, start_tick=5_000)
    timeline = ReferenceEngine().run(builder.build(), until_tick=4_000)
    track = Meter(timeline.program, MODEL).power(timeline, np.array([0, 2_000, 4_000]))
    assert track.watts["memory"].tolist() == pytest.approx([0.0, 1000 / 2e-9])
    assert track.energy_j == pytest.approx(sum(Meter(timeline.program, MODEL).run(timeline).values()))


def test_a_routing_unit_takes_the_lanes_and_what_every_unit_takes_is_in_the_energy_of_a_run() -> None:
    builder = ProgramBuilder()
    for unit in ("die1.npu.routing", "die1.npu.vector", "die1.link", "host"):
        builder.unit(unit, clock_hz=1e9)
        builder.compute(unit, work_cycles=3)
    program = builder.build()
    meter, timeline = Meter(program, MODEL), ReferenceEngine().run(program)
    parts = meter.frame(0, 0, {}).parts_j
    # 3 cycles of 2 clusters of 5 J; 2 bytes after the latency of the link of one; 3 cycles of the host
    assert parts == {"vector": 30.0, "routing": 30.0, "host": 300.0, "link": 6.0, "static": 0.0}
    run = meter.run(timeline)
    assert (run["compute"], run["memory"]) == (360.0, 6.0)


def test_matrix_work_is_that_of_the_job_that_has_most_of_it() -> None:
    """The first job multiplies twice as long as the second, whose product is therefore half of the operation."""
    builder = ProgramBuilder()
    builder.unit("npu.matrix", clock_hz=1e9)
    builder.compute("npu.matrix", work_cycles=8)
    builder.job()
    builder.compute("npu.matrix", work_cycles=4)
    program = labelled(builder.build(), ["multiply", "multiply"], "fp16")
    assert [Meter(program, MODEL).frame(job, 0, {}).parts_j["matrix"] for job in (0, 1)] == [400.0, 200.0]


def test_a_frame_that_takes_no_time_takes_no_power() -> None:
    assert Meter(hand_program(), MODEL).frame(0, latency_ticks=0, phase_ticks={}).average_w == 0


def test_reading_a_shared_sram_takes_its_energy_and_none_of_the_dram() -> None:
    builder = ProgramBuilder()
    builder.channel("sram", bytes_per_s=1e9)
    builder.transfer(["sram"], size_bytes=4)
    frame = Meter(builder.build(), MODEL).frame(0, 0, {})
    assert frame.parts_j == {"noc": 8.0, "sram": 4 * 30.0 + 4 * 5.0, "static": 0.0}


def test_a_partition_of_a_die_takes_the_lanes_of_its_clusters_and_a_link_its_bytes() -> None:
    builder = ProgramBuilder()
    builder.unit("die0.npu.front.vector", clock_hz=1e9)
    builder.unit("die1.npu.vector", clock_hz=1e9)
    builder.unit("die1.link", clock_hz=1e9)
    builder.unit("die1.npu.mode", clock_hz=1e9)
    builder.channel("die1.dram", bytes_per_s=1e9)
    builder.compute("die0.npu.front.vector", work_cycles=2)
    builder.compute("die1.npu.vector", work_cycles=3)
    builder.compute("die1.link", work_cycles=4)  # 3 bytes after a latency of 1
    builder.compute("die1.npu.mode", work_cycles=5)  # waiting
    builder.transfer(["die1.dram"], size_bytes=6)
    parts = Meter(builder.build(), MODEL).frame(0, 0, {}).parts_j
    assert (parts["vector"], parts["link"], parts["dram"]) == (2 * 5.0 + 3 * 10.0, 3 * 3.0, 6000.0)


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (
            hand_program("fp8"),
            SpecError,
            'energy.mac: the technology must have what product is multiplied in, got no "fp8"',
        ),
        (hand_program(""), EngineError, "the operation product has matrix work and no dtype"),
    ],
)
def test_matrix_work_without_an_energy_is_an_error(program: Program, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Meter(program, MODEL).frame(0, 0, {})


def test_units_and_channels_that_nobody_knows_are_errors() -> None:
    builder = ProgramBuilder()
    builder.unit("oven", clock_hz=1e9)
    builder.compute("oven", work_cycles=1)
    with pytest.raises(EngineError, match="no rule for the energy of the unit oven"):
        Meter(builder.build(), MODEL).frame(0, 0, {})
    builder = ProgramBuilder()
    builder.channel("tube", bytes_per_s=1e9)
    builder.transfer(["tube"], size_bytes=1)
    with pytest.raises(EngineError, match="no rule for the energy of the channel tube"):
        Meter(builder.build(), MODEL).frame(0, 0, {})


@given(
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(1, 9)), min_size=1, max_size=8),
    edges=st.lists(st.integers(0, 100), min_size=2, max_size=7, unique=True).map(sorted),
)
def test_energy_is_spread_over_slices_as_the_overlap_of_each_span_says(
    spans: list[tuple[int, int, int]], edges: list[int]
) -> None:
    expected = np.zeros(len(edges) - 1)
    for start, length, joules in spans:
        for index, (left, right) in enumerate(itertools.pairwise(edges)):
            if length:
                expected[index] += joules * max(min(start + length, right) - max(start, left), 0) / length
            elif left <= start < right or (start == right == edges[-1]):
                expected[index] += joules
    columns = [np.array(column, dtype=np.int64) for column in zip(*spans, strict=True)]
    found = in_slices(columns[0], columns[0] + columns[1], columns[2].astype(np.float64), np.array(edges))
    assert found == pytest.approx(expected, abs=1e-9)


# energies of a chip ------------------------------------------------------------------------------------------------


@pytest.fixture
def on_n7(tiny_catalogue: Any) -> Any:
    tiny_catalogue.edit(
        "chips/tiny.yaml", "process: paper", "process: paper\ntechnology: tsmc-n7\nphysical: {surroundings: car}"
    )
    return tiny_catalogue


def joules(expected: float, rel: float = 1e-9) -> Any:
    """Within a relative tolerance alone: the usual absolute one is a picojoule, as large as what is compared."""
    return pytest.approx(expected, rel=rel, abs=0.0)


def run_tiny(catalogue: Any, **options: Any) -> Result:
    return api.run("tiny", "words", runtime="plain", catalogue=[catalogue.folder], checks=True, **options)


def test_the_energies_of_a_tiny_chip_at_n7_are_those_of_a_hand_sum(on_n7: Any) -> None:
    model = energy_model(on_n7.catalog().load_chip("tiny"), load_technology("tsmc-n7"))
    assert model.mac_j["fp16"] == joules(2 * 0.72e-12)
    assert model.lane_cycle_j == {"": joules(64 * 5e-12 + 16 * 10e-12)}
    assert model.num_clusters == {"npu": 2.0}
    assert model.channel_j_per_byte["dram"] == ("dram", joules(48e-12))  # 6 pJ/bit
    assert model.local_j_per_byte == joules(2 * 1.75e-12)  # 1 MiB, written and read
    # the die of the hand sum in test_ppa_area: 1.35 (0.2048 + 0.512 + 0.906 + 6.4 + 180) = 253.8 mm2
    die_mm2 = 1.35 * (0.2048 + 0.512 + 2 * 2**20 * 8 * 0.027e-6 / 0.5 + 6.4 + 180)
    assert model.wire_j_per_byte == joules(0.15e-12 * 5 / 6 * die_mm2**0.5)
    assert model.static_w == pytest.approx(0.025 * die_mm2 + 0.03 * 8e9 / 2**30)


def test_what_stays_on_the_chip_takes_the_energy_of_the_levels_in_proportion_to_their_rooms(on_n7: Any) -> None:
    """Of 2 clusters a quarter of 1 MiB each, and a quarter of a shared level of 6 MiB: it has 1.5 of 2 MiB.

    At N5 a byte of SRAM takes 0.9 and a wire 0.7 of what they take at N7.
    """
    tiny, technology = on_n7.catalog().load_chip("tiny"), load_technology("tsmc-n5")
    levels = {"near": {"capacity": {"value": "3 MiB", **ASSUMED}},
              "kept": {"capacity": {"value": "6 MiB", **ASSUMED}, "split": {"kv": 0.25}}}  # fmt: skip
    local = {"clusters.npu.sram.split": {"streams": 0.5, "activations": 0.25, "kv": 0.25}}
    without = tiny.with_values({"sram": levels, **local})
    model = energy_model(without, technology)
    local_j = 0.9 * 1.75e-12
    shared_j = 0.9 * (1.75e-12 + 0.15e-12 * (6 * 2**20 * 8 * 0.021e-6 / 0.5) ** 0.5)
    assert model.channel_j_per_byte["sram"] == ("sram", joules(shared_j))
    assert model.kept_j_per_byte[""]["sram"] == joules(0.25 * local_j + 0.75 * (shared_j + 2 * local_j))
    assert model.kept_j_per_byte[""]["noc"] == joules(0.75 * model.wire_j_per_byte)
    # through a port with a known figure it is a transfer: what stays without one is in the clusters alone
    with_port = without.with_values({"sram.kept.bandwidth": {"value": "2 TB/s", **ASSUMED}})
    assert energy_model(with_port, technology).kept_j_per_byte == {"": {"sram": joules(local_j), "noc": 0.0}}


def test_spare_clusters_and_dies_that_are_not_there_take_no_idle_power() -> None:
    """Of 56 blocks 48 are powered: 8 with 2048 INT8 MACs, 64 lanes and 2 MiB are not. The second die takes as much."""
    chip, technology = load_chip("mach-m100"), load_technology("tsmc-n5")
    spare_mm2 = 8 * (0.663 * (2048 * 100e-6 + 64 * 4000e-6) + 2 * 2**20 * 8 * 0.021e-6 / 0.5)
    powered_mm2 = area_of(chip, technology).total_mm2 - 1.35 * spare_mm2
    one_w = energy_model(chip, technology).static_w
    assert one_w == pytest.approx(0.025 * powered_mm2 + 0.03 * 64)
    links = {"c2c": {"bandwidth": {"value": "10 GB/s", **ASSUMED}}}
    two = chip.with_values({"links": links, "dies": {"count": 2, "link": "c2c"}})
    assert energy_model(two, technology).static_w == pytest.approx(2 * one_w)


@pytest.mark.parametrize("name", ["npu", "front.left"])
def test_a_partition_that_nobody_uses_changes_no_energy_whatever_its_name(on_n7: Any, name: str) -> None:
    plain, parted = (run_tiny(on_n7, overrides={"partitions": parts}).energy for parts in ({}, {name: {"clusters": 1}}))
    assert plain is not None
    assert parted is not None
    assert parted.parts_j == plain.parts_j


def test_the_numbers_that_energy_rests_on_are_those_of_what_the_chip_has(on_n7: Any) -> None:
    def used(chip: Chip, table: str) -> set[str]:
        paths = [path for path, _, _ in numbers_used(chip, load_technology("tsmc-n7"))]
        assert not [path for path in paths if path.startswith("cost.")]
        assert {"energy.link", "logic_energy", "area.top_level"} <= set(paths)
        return {path.rpartition(".")[2] for path in paths if path.rpartition(".")[0] == table}

    tiny = on_n7.catalog().load_chip("tiny")
    assert used(tiny, "energy.mac") == used(tiny, "area.mac") == {"fp16", "int8"}
    assert (used(tiny, "area.lane"), used(tiny, "area.routing")) == ({"simd"}, set())
    others = {"other_lanes": {"value": 64, **ASSUMED}, "other_macs": {"fp32": {"value": 8, **ASSUMED}}}
    more = tiny.with_values({f"physical.{field}": value for field, value in others.items()})
    assert used(more, "area.lane") == {"simd", "simt"}
    assert (used(more, "area.mac"), used(more, "energy.mac")) == ({"fp16", "int8", "fp32"}, {"fp16", "int8"})
    assert used(load_chip("hypo-moe"), "area.routing") == {"score", "byte"}
    # a dtype that one mode alone multiplies
    rates = {"fp8": {"value": 4096, **ASSUMED}}
    modes = load_chip("hypo-phase").with_values({"reconfiguration.modes.decode.matrix.native.macs_per_cycle": rates})
    assert "fp8" in used(modes, "energy.mac")


ASSUMED = {"source": "assumption", "status": "assumed", "note": "(range 0.1 to 10)"}
ONE_MODE = {"reconfiguration.rule": None, "reconfiguration.order": {"prefill": "prefill", "action": "decode"}}
IN_MODE, IN_CHIP = "reconfiguration.modes.prefill", "clusters.npu"
ALONE = {"reconfiguration": None, "sram.shared.split": {"activations": 1.0}}


@pytest.mark.parametrize(
    ("change", "same_change"),
    [
        ({f"{IN_MODE}.clock": {"value": "0.7 GHz", **ASSUMED}}, {f"{IN_CHIP}.clock": "0.7 GHz"}),
        (
            {f"{IN_MODE}.vector": {"lanes": {"value": 16, **ASSUMED}, "special_per_cycle": {"value": 4, **ASSUMED}}},
            {f"{IN_CHIP}.vector.lanes": 16, f"{IN_CHIP}.vector.special_per_cycle": 4},
        ),
    ],
)
def test_a_chip_that_is_always_in_one_mode_takes_the_energy_of_a_chip_that_is_made_so(
    change: dict[str, Any], same_change: dict[str, Any]
) -> None:
    changes = {**ONE_MODE, **change}, {**ALONE, **same_change}
    in_mode, so_made = (run_hypo(load_chip("hypo-phase").with_values(of)) for of in changes)
    parts = in_mode.keys() - ON_THE_DIE
    assert parts >= {"vector", "matrix", "dram"}
    assert {part: in_mode[part] for part in parts} == pytest.approx({part: so_made[part] for part in parts}, rel=1e-9)


ON_THE_DIE = {"static", "noc"}
"""Parts that go with the size of the die, which has the silicon of all modes."""


def run_hypo(chip: Chip, workload: str = "qwen3-0.6b") -> dict[str, float]:
    """The energy of a short frame by part."""
    precision = "nvfp4" if workload.startswith("olmoe") else "w4a16"
    result = api.run(chip, workload, precision=precision, prompt_tokens=16, decode_tokens=2, checks=True)
    assert result.energy is not None
    return dict(result.energy.parts_j)


def test_pinned_weights_take_the_energy_of_reading_the_sram_in_which_they_are(on_n7: Any) -> None:
    splits = ({"streams": 0.25, "activations": 0.25}, {"streams": 0.25, "activations": 0.25, "weights": 0.25})
    streamed, pinned = (run_tiny(on_n7, overrides={"clusters.npu.sram.split": split}).energy for split in splits)
    assert streamed is not None
    assert pinned is not None
    # 2 layers of 64 (64 + 2 32 + 64 + 3 128) and a head of 64 1000, 2 bytes each, in the prefill and 8 steps
    read_bytes = 9 * 2 * (2 * 64 * (64 + 2 * 32 + 64 + 3 * 128) + 64 * 1000)
    saved = {part: streamed.parts_j[part] - pinned.parts_j[part] for part in ("dram", "sram")}
    assert saved["dram"] == pytest.approx(read_bytes * 48e-12)
    assert saved["sram"] == pytest.approx(read_bytes * 1.75e-12)  # writing them to the buffers, not reading them


@pytest.mark.parametrize(
    ("name", "level", "change"),
    [
        ("hypo-decode", "shared", {"sram.shared.split": {"kv": 0.9}}),
        ("hypo-decode", "shared", {"sram.shared.split": {"weights": 0.5, "kv": 0.4}}),
        ("hypo-moe", "experts", {}),
    ],
)
def test_a_shared_level_takes_the_same_energy_whether_or_not_its_port_has_a_figure(
    name: str, level: str, change: dict[str, Any]
) -> None:
    chip = load_chip(name).with_values({f"sram.{level}.bandwidth": {"value": "2 TB/s", **ASSUMED}, **change})
    memory = chip.sram[level].model_copy(update={"bandwidth": None})
    unknown = chip.model_copy(update={"sram": {**chip.sram, level: memory}})
    workload = "olmoe-1b-7b" if name == "hypo-moe" else "qwen3-0.6b"
    with_port, without = (run_hypo(seen, workload) for seen in (chip, unknown))
    for part in ("sram", "noc", "dram", "matrix"):
        assert without[part] == pytest.approx(with_port[part], rel=1e-9)


DUAL = """\
name: pair
title: Prefill on one die and decode on the other
chip: dual-m100
runtime: dataflow
streams:
  car: {{workload: qwen3-0.6b, precision: w8a8, rate: 2 Hz, policy: fifo, prompt_tokens: 8, decode_tokens: 2,
        die: {{prefill: 0, decode: 1}}}}
set: {{links.c2c.latency: {latency}}}
duration: 0.1 s
"""


@pytest.mark.parametrize("latency", ["0 s", "10 ms"])
def test_a_link_takes_the_energy_of_its_bytes_however_long_its_latency(tmp_path: Path, latency: str) -> None:
    (tmp_path / "pair.yaml").write_text(DUAL.format(latency=latency), encoding="utf-8")
    energy = api.run_scenario(tmp_path / "pair.yaml").energy
    assert energy is not None
    # keys and values of 8 tokens in 28 layers of 8 heads of 128, and 151,936 logits, 2 bytes each; 6 pJ/bit
    assert energy.parts_j["link"] == pytest.approx(48e-12 * 2 * (8 * 28 * 2 * 8 * 128 + 151_936), rel=1e-9)


def test_sram_has_the_published_energies_and_wires_as_long_as_its_side() -> None:
    technology = load_technology("tsmc-n7")
    assert sram_j_per_byte(32 * 2**10, technology) == joules(8.5e-12 / 8, rel=3e-3)
    assert sram_j_per_byte(2**20, technology) == joules(14e-12 / 8)
    assert sram_j_per_byte(8 * 2**10, technology) == joules(7.5e-12 / 8, rel=0.08)  # [jou]; not put in
    side_mm = (64 * 2**20 * 8 * 0.027e-6 / 0.5) ** 0.5
    assert sram_j_per_byte(64 * 2**20, technology) == joules(14e-12 / 8 + 0.15e-12 * side_mm)


def test_the_parts_of_a_simulated_frame_sum_to_its_energy_and_dram_is_bytes_times_its_constant(on_n7: Any) -> None:
    result = run_tiny(on_n7)
    assert result.energy is not None
    tree = result.to_dict()
    assert sum(tree["energy_parts_j"].values()) == pytest.approx(tree["energy_j"], rel=1e-12)
    assert sum(phase["energy_j"] for phase in tree["phases"]) == pytest.approx(tree["energy_j"], rel=1e-12)
    moved = sum(phase["dram_bytes"] for phase in tree["phases"])
    assert tree["energy_parts_j"]["dram"] == pytest.approx(moved * 48e-12, rel=1e-12)
    assert tree["energy_reason"] is None
    assert any(entry["number"] == "technology.energy.mac_overhead" for entry in tree["uncertain"])
    assert not any(entry["number"].startswith("technology.energy.dram.HBM") for entry in tree["uncertain"])


def test_both_engines_give_the_same_energy(on_n7: Any) -> None:
    totals = [run_tiny(on_n7, engine=engine).to_dict()["energy_j"] for engine in ("reference", "compiled")]
    assert totals[0] == totals[1]


def test_twice_the_voltage_at_the_same_clock_takes_four_times_the_dynamic_energy_on_the_die(on_n7: Any) -> None:
    nominal, doubled = (run_tiny(on_n7, overrides={"physical.voltage": f"{volts} V"}).energy for volts in (0.75, 1.5))
    assert nominal is not None
    assert doubled is not None
    for part in nominal.parts_j.keys() - {"dram", "static"}:
        assert doubled.parts_j[part] == pytest.approx(4 * nominal.parts_j[part], rel=1e-12)
    assert doubled.parts_j["dram"] == nominal.parts_j["dram"]
    assert doubled.latency_s == nominal.latency_s
    # the die takes twice its power, the DRAM what it took: 0.03 W for each GiB of 8 GB
    standby_j = 0.03 * 8e9 / 2**30 * nominal.latency_s
    assert doubled.parts_j["static"] - standby_j == pytest.approx(2 * (nominal.parts_j["static"] - standby_j))


def test_a_chip_without_a_technology_has_no_energy_and_says_why(tiny_catalogue: Any) -> None:
    tree = run_tiny(tiny_catalogue).to_dict()
    assert (tree["energy_j"], tree["average_power_w"], tree["energy_parts_j"]) == (None, None, None)
    assert tree["energy_reason"] == "chip tiny names no technology"
    assert all(phase["energy_j"] is None for phase in tree["phases"])


def test_an_unknown_technology_is_an_error_of_the_chip_file(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", "process: paper", "process: paper\ntechnology: tsmc-n55\nphysical: {}")
    message = tiny_catalogue.message("chip", "tiny")
    assert (
        'tiny.yaml:5  technology: must be a name of the catalogue or a path to a .yaml file, got "tsmc-n55"' in message
    )
    assert "tsmc-n5" in message


def test_the_power_track_of_a_trace_integrates_to_the_energy_of_the_run(on_n7: Any, tmp_path: Path) -> None:
    result = api.run_scenario("drive", catalogue=[on_n7.folder])
    meter = result.meter
    assert meter is not None
    tracks = trace_tracks(result.timeline, title="drive", meter=meter)
    counters = {track.name: track for track in tracks.counters if track.group == "power"}
    assert list(counters) == ["power, total", "power, compute", "power, memory", "power, static"]
    total = counters["power, total"]
    held_s = np.diff(total.at_ns, append=total.at_ns[-1]) / 1e9
    # times are whole nanoseconds, slices of half a millisecond
    assert np.sum(total.values * held_s) == pytest.approx(sum(meter.run(result.timeline).values()), rel=1e-5)
    assert not [track for track in trace_tracks(result.timeline, title="drive").counters if track.group == "power"]
