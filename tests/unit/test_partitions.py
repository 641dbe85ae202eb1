"""Partitions: parts of a chip that models have to themselves, and what they still share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import simulator
from simulator.catalog import Catalog
from simulator.engine.compiled import CompiledEngine
from simulator.engine.reference import ReferenceEngine
from simulator.metrics.attribution import CONTENTION, QUEUE
from simulator.scenario.spec import Scenario
from simulator.simulation.result import Result
from simulator.simulation.setup import resolve
from simulator.simulation.to_program import to_program

MIB = 2**20
WIDE = {"dram.width_bits": 2_560_000, "noc.bandwidth": "2560 TB/s"}
"""A DRAM and a port of 10,000 times the width, which nobody has to wait for."""


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return simulator.load_scenario("driving-and-cockpit-m100").with_values(
        {
            "duration": "300 ms",
            "streams.assistant.decode_tokens": 4,
            "streams.assistant.rate": "4 Hz",
            "streams.assistant.offset": "10 ms",
        }
    )


def streams(scenario: Scenario, *names: str, whole: bool = False) -> Scenario:
    """The scenario with some streams only, in their partitions or on all clusters."""
    changes = {"partition": None} if whole else {}
    return scenario.model_copy(
        update={"streams": {name: scenario.streams[name].model_copy(update=changes) for name in names}}
    )


def run(scenario: Scenario, **changes: Any) -> Result:
    return simulator.run_scenario(scenario, checks=True, overrides=changes)


def test_a_partition_has_its_clusters_and_as_large_a_part_of_the_shared_sram(scenario: Scenario) -> None:
    """Of 56 clusters with 2 MiB each and 32 MiB that they share."""
    sizes = {memory.name: memory.size_bytes for memory in run(streams(scenario, "driving", "assistant")).memories}
    assert sizes == {
        "npu.driving.sram": 32 * 2 * MIB,
        "ccb.driving": 32 * MIB * 32 // 56,
        "npu.cockpit.sram": 24 * 2 * MIB,
        "ccb.cockpit": 32 * MIB * 24 // 56,
    }


def test_a_partition_has_its_part_of_a_kv_store_and_no_partitions() -> None:
    """Of 28 MiB 32 of 56 parts are 16 MiB."""
    chip = simulator.load_chip("mach-m100").with_values(
        {"clusters.npu.count": 56, "sram.ccb.kv_store": "28 MiB",
         "partitions": {"driving": {"clusters": 32}, "cockpit": {"clusters": 24}}}
    )  # fmt: skip
    part = chip.in_partition("driving")
    assert part.sram["ccb"].kept_bytes("kv") == 16 * MIB
    assert part.sram["ccb"].activation_bytes == 32 * MIB * 32 // 56 - 16 * MIB
    assert part.partitions == {}


def test_a_model_alone_in_a_partition_runs_as_on_a_chip_of_that_size(scenario: Scenario) -> None:
    small = {"clusters.npu.count": 24, "sram.ccb.capacity": f"{32 * MIB * 24 // 56} B", "partitions": {}}
    in_partition = run(streams(scenario, "assistant"))
    alone = run(streams(scenario, "assistant", whole=True), **small)
    assert in_partition.frame.latency_ticks == alone.frame.latency_ticks


@pytest.mark.parametrize("name", ["driving", "assistant"])
def test_another_partition_slows_a_model_by_contention_for_the_dram_and_by_nothing_else(
    scenario: Scenario, name: str
) -> None:
    other = {"driving": "assistant", "assistant": "driving"}[name]
    alone, beside = run(streams(scenario, name)), run(streams(scenario, name, other))
    causes = [dict(result.attribution.cause_ticks) for result in (alone, beside)]
    waits = [each.pop(CONTENTION, 0) for each in causes]
    assert causes[0] == causes[1]
    assert beside.frame.latency_ticks - alone.frame.latency_ticks == waits[1] - waits[0] > 1e9


def test_partitions_with_a_dram_that_nobody_waits_for_do_not_feel_each_other(scenario: Scenario) -> None:
    alone = run(streams(scenario, "assistant"), **WIDE)
    beside = run(streams(scenario, "assistant", "driving"), **WIDE)
    assert alone.frame.latency_ticks == beside.frame.latency_ticks
    in_time = run(streams(scenario, "assistant", "driving", whole=True), **WIDE)
    assert in_time.attribution.cause_ticks[QUEUE] > 0


def test_partitions_cost_speed_alone_and_save_waiting_beside_each_other(scenario: Scenario) -> None:
    """Sharing all clusters in time, driving is quicker alone, waits for units, and depends more on the other model."""
    in_space = [run(streams(scenario, *names)) for names in (("driving",), ("driving", "assistant"))]
    in_time = [run(streams(scenario, *names, whole=True)) for names in (("driving",), ("driving", "assistant"))]
    assert in_time[0].latency_s < in_space[0].latency_s
    assert in_time[1].attribution.cause_ticks[QUEUE] > 0
    assert QUEUE not in in_space[1].attribution.cause_ticks
    assert in_space[1].latency_s - in_space[0].latency_s < in_time[1].latency_s - in_time[0].latency_s


def test_a_partition_that_is_a_master_of_its_own_has_the_port_of_that_master(scenario: Scenario) -> None:
    """A port of 1 GB/s slows the partition as it slows the whole accelerator, whose own port is not the partition's."""
    capped = {"rate_cap": {"value": "1 GB/s", "source": "assumption", "status": "assumed"}}
    alone = streams(scenario, "assistant")
    latencies = [
        run(alone, masters={"npu": whole, "cockpit": part, "cpu": {}, "isp": {}, "display": {}}).latency_s
        for whole, part in (({}, {}), (capped, {}), ({}, capped))
    ]
    assert latencies[0] == latencies[1]
    everywhere = run(alone, masters={"npu": capped, "cpu": {}, "isp": {}, "display": {}}).latency_s
    assert latencies[2] == everywhere > 10 * latencies[0]


def test_both_engines_find_the_same_times_in_partitions(scenario: Scenario) -> None:
    small = scenario.with_values(
        {"streams.driving.workload": "qwen3-0.6b", "streams.driving.precision": "w8a8",
         "streams.driving.prompt_tokens": 16, "streams.driving.decode_tokens": 1, "streams.assistant.decode_tokens": 1,
         "streams.assistant.workload": "qwen3-0.6b", "streams.assistant.prompt_tokens": 8, "duration": "50 ms"}
    )  # fmt: skip
    program = to_program(resolve(small, Catalog()))
    expected, found = ReferenceEngine().run(program), CompiledEngine().run(program)
    assert np.array_equal(expected.task, found.task)
    assert np.array_equal(expected.end_tick, found.end_tick)
