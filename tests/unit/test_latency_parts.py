"""The parts of a latency, on runs small enough to follow by hand and on every scenario of the catalogue."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import simulator
from simulator.catalog import Catalog
from simulator.engine.compiled import CompiledEngine
from simulator.engine.reference import ReferenceEngine
from simulator.explanation.parts import LatencyParts, latency_parts
from simulator.program import NONE, Labels, Program, ProgramBuilder

SCENARIOS = Catalog().names("scenario")


def parts_of(program: Program, release: int = 0) -> LatencyParts:
    engine = ReferenceEngine()
    return latency_parts(engine.run(program), release, engine)


def machine() -> ProgramBuilder:
    """A unit of 1 GHz (1 cycle is 1000 ticks) and a channel of 1 GB/s (1 B is 1000 ticks)."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    return builder


def named(program: Program, causes: dict[int, str]) -> Program:
    """A program whose tasks have causes, by task."""
    names = tuple(dict.fromkeys(causes.values()))
    cause = np.full(len(program.tasks), NONE)
    for task, name in causes.items():
        cause[task] = names.index(name)
    return replace(program, labels=replace(program.labels, causes=names), tasks=replace(program.tasks, cause=cause))


def test_a_load_slowed_by_another_release_waits_for_it_and_so_does_a_unit():
    # Two jobs at 0 load 10 B and 5 B at half speed each until 10 ns; the first ends at 15 ns, alone it would at 10.
    # The other computes from 10 to 30 ns, so the first, ready at 15 ns, computes from 30 to 34 ns.
    builder = machine()
    for size_bytes, work_cycles in ((10, 4), (5, 20)):
        builder.job()
        load = builder.transfer(["dram"], size_bytes=size_bytes)
        builder.compute("npu", work_cycles=work_cycles, after=[load])
    parts = parts_of(named(builder.build(), {0: "weights", 1: "matrix", 2: "weights", 3: "matrix"}))
    assert parts.latency_ticks == 34_000
    assert parts.part_ticks == {"waiting for other releases": 15_000, "DRAM": 10_000,
                                "waiting for other masters": 5_000, "compute": 4_000}  # fmt: skip
    assert list(parts.part_ticks)[:2] == ["waiting for other releases", "DRAM"]  # largest first


def test_a_job_that_competes_with_itself_only_is_limited_by_the_channel():
    # Two loads of 10 B at half speed each: 20 ns, all of them the channel's.
    builder = machine()
    builder.transfer(["dram"], size_bytes=10)
    builder.transfer(["dram"], size_bytes=10)
    assert parts_of(named(builder.build(), {0: "weights", 1: "kv cache"})).part_ticks == {"DRAM": 20_000}


def test_of_contention_with_both_only_what_goes_away_alone_is_the_fault_of_others():
    # Two loads of 10 B and an endless flow share 1 GB/s in three: 30 ns. Alone the two take 20 ns.
    builder = machine()
    builder.master("isp")
    builder.background("camera", ["dram"], master="isp", bytes_per_s=1e9)
    builder.transfer(["dram"], size_bytes=10)
    builder.transfer(["dram"], size_bytes=10)
    assert parts_of(builder.build()).part_ticks == {"DRAM": 20_000, "waiting for other masters": 10_000}


def test_background_that_takes_nothing_leaves_contention_to_the_channel():
    builder = machine()
    builder.master("isp")
    builder.channel("link", bytes_per_s=1e9)
    builder.background("camera", ["link"], master="isp", bytes_per_s=1e9)
    builder.transfer(["dram"], size_bytes=10)
    builder.transfer(["dram"], size_bytes=10)
    assert parts_of(builder.build()).part_ticks == {"DRAM": 20_000}


def test_time_before_admission_is_waiting_for_other_releases():
    # Two releases, 5 ns apart, of a job of 10 ns: the second waits for 5 ns.
    builder = machine()
    builder.compute("npu", work_cycles=10)
    builder.stream("frames", period_ticks=5_000, releases=2)
    parts = parts_of(named(builder.build(), {0: "vector"}), release=1)
    assert parts.part_ticks == {"vector": 10_000, "waiting for other releases": 5_000}


def test_what_is_moved_counts_under_the_narrowest_channel_of_its_route():
    builder = machine()
    builder.channel("noc", bytes_per_s=0.5e9)
    first = builder.transfer(["noc", "dram"], size_bytes=3)  # 6 ns through the NoC
    builder.transfer(["dram"], size_bytes=4, after=[first])  # 4 ns past it
    parts = parts_of(named(builder.build(), {0: "experts", 1: "activations"}))
    assert parts.part_ticks == {"NoC": 6_000, "DRAM": 4_000}


@pytest.mark.parametrize(
    ("cause", "part"),
    [("matrix", "compute"), ("vector", "vector"), ("conversion", "conversion"), ("launch", "launch"),
     ("host", "launch"), ("routing", "routing"), ("switch", "switch"), ("thinking", "thinking")],
)  # fmt: skip
def test_work_counts_under_its_part_and_unknown_work_under_its_own_name(cause: str, part: str):
    builder = machine()
    builder.compute("npu", work_cycles=7)
    assert parts_of(named(builder.build(), {0: cause})).part_ticks == {part: 7_000}


@pytest.mark.parametrize(("cause", "part"), [("sram", "SRAM"), ("link", "link"), ("spilling", "spilling")])
def test_a_transfer_whose_cause_names_its_place_counts_there(cause: str, part: str):
    builder = machine()
    builder.transfer(["dram"], size_bytes=7)
    assert parts_of(named(builder.build(), {0: cause})).part_ticks == {part: 7_000}


def test_what_has_no_cause_counts_under_its_unit_or_channel():
    builder = machine()
    builder.channel("port", bytes_per_s=1e9)
    first = builder.transfer(["port"], size_bytes=2)
    builder.compute("npu", work_cycles=3, after=[first])
    assert parts_of(builder.build()).part_ticks == {"npu": 3_000, "port": 2_000}


def test_a_slower_channel_is_not_waiting_for_others():
    # Halved after 5 of 10 B: 5 + 10 ns, all of them the transfer's own.
    builder = machine()
    builder.transfer(["dram"], size_bytes=10)
    builder.change(5_000, channel="dram", value=0.5e9)
    assert parts_of(builder.build()).part_ticks == {"DRAM": 15_000}


def test_the_path_is_gathered_by_operation_and_phase():
    # Two loads, one after the other, for one operation of the first phase; then work of the second.
    builder = machine()
    first = builder.transfer(["dram"], size_bytes=2)
    second = builder.transfer(["dram"], size_bytes=3, after=[first])
    builder.compute("npu", work_cycles=9, after=[second])
    program = builder.build()
    labels = Labels(phases=("read", "think"), operations=("read.load", "think.work"),
                    operation_phase=np.array([0, 1]), operation_flop=np.zeros(2, dtype=np.int64),
                    phase_tokens=np.ones(2, dtype=np.int64))  # fmt: skip
    tasks = replace(program.tasks, operation=np.array([0, 0, 1]))
    parts = parts_of(replace(program, labels=labels, tasks=tasks))
    assert [(item.phase, item.operation, item.num_tasks, item.ticks) for item in parts.items] == [
        ("think", "think.work", 1, 9_000), ("read", "read.load", 2, 5_000)
    ]  # fmt: skip
    assert parts.phase_part_ticks == {"read": {"DRAM": 5_000}, "think": {"npu": 9_000}}
    assert list(parts.phase_part_ticks) == ["read", "think"]  # in the order of the phases


@pytest.mark.parametrize("name", SCENARIOS)
def test_on_the_catalogue_parts_sum_to_the_tick_and_agree_with_the_attribution(name: str):
    result = simulator.run_scenario(name)
    parts = latency_parts(result.timeline, result.frame.release, CompiledEngine())
    assert parts.latency_ticks == result.frame.latency_ticks
    assert sum(parts.part_ticks.values()) == parts.latency_ticks
    assert sum(item.ticks for item in parts.items) == parts.latency_ticks
    by_phase: Counter[str] = Counter()
    for ticks in parts.phase_part_ticks.values():
        by_phase.update(ticks)
    assert by_phase == parts.part_ticks
    causes = Counter(result.attribution.cause_ticks)
    found = Counter(parts.part_ticks)
    assert found["compute"] == causes["matrix"]
    assert found["launch"] == causes["launch"] + causes["host"]
    assert found["waiting for other releases"] == causes["queue"] + causes["wait"]
    moved = sum(causes[name] for name in ("weights", "kv cache", "activations", "experts", "contention"))
    assert found["DRAM"] + found["NoC"] + found["waiting for other masters"] == moved
    assert found["waiting for other masters"] <= causes["contention"]


def test_alone_on_a_chip_nothing_waits_for_others():
    result = simulator.run("orin-x", "qwen3-0.6b", prompt_tokens=16, decode_tokens=2)
    parts = latency_parts(result.timeline, result.frame.release, CompiledEngine())
    assert not any(part.startswith("waiting") for part in parts.part_ticks)
