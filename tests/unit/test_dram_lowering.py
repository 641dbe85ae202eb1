"""The DRAM of a chip from its spec to the latency of a run: condition, access patterns, shares and budgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import simulator
from simulator.catalog import load_memory
from simulator.chip import READ_STREAM, Access, Chip
from simulator.engine.reference import ReferenceEngine
from simulator.errors import Infeasible, SpecError
from simulator.lowering import Place, Platform, sites
from simulator.lowering.dram import STORE
from simulator.simulation.setup import resolve
from simulator.simulation.simulate import simulate
from simulator.simulation.to_program import to_program
from tests.unit.test_emit import NS, chip, kernel, number, program, runtime

DEVICE = load_memory("lpddr5-6400")


def dram(**fields: Any) -> dict[str, Any]:
    """16 pins at 500 MT/s, 1 GB/s, of which a stream gets everything."""
    return {
        "type": "LPDDR5", "width_bits": number(16), "rate": number("500 MT/s"), "capacity": number("1 GB"),
        "controller_fraction": number(1), "device": DEVICE, **fields,
    }  # fmt: skip


def ideal(**fields: Any) -> dict[str, Any]:
    """The same without timing."""
    return {**dram(controller_fraction=None, device=None, sustained_fraction=number(1)), **fields}


def loading_ns(memory: dict[str, Any]) -> float:
    """What a kernel takes that loads 100,000 bytes and does nothing else, after 7 us of host and launch."""
    lowered = program(Platform(chip(dram=memory), runtime()), [[kernel(weight_bytes=100_000)]], replays=False)
    return ReferenceEngine().run(lowered).horizon_tick / NS - 7000


# condition ------------------------------------------------------------------------------------------------------------


def test_without_refresh_and_ecc_a_whole_controller_is_the_ideal_memory() -> None:
    """ECC none, refresh off, fraction 1: the same ticks as on a chip that has a bandwidth only."""
    off = {"condition": {"refresh": "off"}}
    assert loading_ns(dram(**off)) == loading_ns(ideal()) == 100_000
    base = simulator.load_chip("orin-agx-64gb").with_values({"dram.condition": {"refresh": "off"}})
    whole = {**base.dram.model_dump(), "sustained_fraction": None, "controller_fraction": number(1)}
    timed, plain = (
        Chip.model_validate({**base.model_dump(), "dram": {**whole, **fields}})
        for fields in ({}, {"device": None, "condition": {}, "controller_fraction": None,
                            "sustained_fraction": number(1)})
    )  # fmt: skip
    latencies = {
        simulator.run(
            hardware, "qwen2.5-0.5b", precision="w4a16", prompt_tokens=32, decode_tokens=2
        ).frame.latency_ticks
        for hardware in (timed, plain)
    }
    assert len(latencies) == 1


def test_a_long_stream_takes_longer_by_the_refresh_of_all_banks() -> None:
    # 280 of 3906 ns: 1 / (1 - 0.0717) = 1.0772 times as long
    device = DEVICE.model_copy(update={"t_rfc_all": 280e-9})
    taken = loading_ns(dram(device=device, condition={"refresh": "all-bank"}))
    assert taken / 100_000 == pytest.approx(1.0772, abs=5e-5)
    assert loading_ns(dram(device=device, condition={"refresh": "per-bank"})) == 100_000


def test_heat_and_inline_ecc_slow_a_stream() -> None:
    # twice the refresh of 210 in 3906 ns, and 88 % with ECC
    hot = loading_ns(dram(condition={"refresh": "all-bank", "temperature_c": 90.0}))
    assert hot == pytest.approx(100_000 / (1 - 420 / 3906), rel=1e-6)
    assert loading_ns(dram(condition={"ecc": "inline"})) == pytest.approx(100_000 / 0.88, rel=1e-6)
    assert loading_ns(dram(condition={"ecc": "sideband"})) == 100_000


def test_inline_ecc_leaves_seven_eighths_of_the_capacity_to_the_model() -> None:
    # 0.99 GB of weights and cache of Qwen2.5-0.5B in FP16 fit 1.1 GB, and not the 0.96 GB that ECC leaves of them
    overrides: dict[str, Any] = {"dram.capacity": "1.1 GB"}
    fits = simulator.run("orin-agx-64gb", "qwen2.5-0.5b", prompt_tokens=8, decode_tokens=1, overrides=overrides)
    assert fits.latency_s > 0
    overrides["dram.condition.ecc"] = "inline"
    with pytest.raises(Infeasible) as refused:
        simulator.run("orin-agx-64gb", "qwen2.5-0.5b", prompt_tokens=8, decode_tokens=1, overrides=overrides)
    assert refused.value.bound == int(1.1e9 * 7 / 8)


# access patterns ------------------------------------------------------------------------------------------------------


def test_a_store_takes_its_turn_and_a_load_does_not() -> None:
    # at 500 MT/s a burst of 32 B takes 32 ns; drains of 2 bursts turn for 28.75 ns: 1.449 ns a byte instead of 1
    platform = Platform(chip(dram=dram(drain_bursts=number(2))), runtime())
    assert platform.site.route[platform.STORE_ROUTE] != platform.site.route[platform.LOAD_ROUTE]
    lowered = program(platform, [[kernel(cache_write_bytes=1000)]], replays=False)
    taken_ns = ReferenceEngine().run(lowered).horizon_tick / NS - 7000
    assert taken_ns == pytest.approx(1000 * (1 + 28.75 / 64), abs=0.01)
    lowered = program(platform, [[kernel(cache_read_bytes=1000)]], replays=False)
    assert ReferenceEngine().run(lowered).horizon_tick / NS - 7000 == 1000


@pytest.mark.parametrize("memory", [ideal(), dram()])
def test_a_store_costs_as_a_load_where_no_drain_is_known(memory: dict[str, Any]) -> None:
    platform = Platform(chip(dram=memory), runtime())
    assert platform.site.route[platform.STORE_ROUTE] == platform.site.route[platform.LOAD_ROUTE]
    assert platform.chip.dram.usage(STORE) == 1


def test_each_kind_of_traffic_has_a_route_of_its_usage() -> None:
    scattered = Access("random", 16)  # half a burst: twice the bytes
    hardware = chip(dram=dram())
    site = sites(hardware, traffic=(READ_STREAM, scattered))[Place()]
    platform = Platform(hardware, runtime(), among=site)
    resources = platform.resources
    starts = resources.route_offsets[[site.traffic[access] for access in (READ_STREAM, scattered)]]
    assert resources.route_usage[starts].tolist() == [1, 2]


# the whole road -------------------------------------------------------------------------------------------------------


SHORT = {
    "streams.assistant.workload": "qwen2.5-0.5b", "streams.assistant.decode_tokens": 1, "duration": "1 s",
    "streams.assistant.prompt_tokens": 32,
}  # fmt: skip
BOTH_MEASURED = {"dram.sustained_fraction": 0.895, "masters.gpu.rate_cap": "153.6 GB/s"}
"""Copies of 183 GB/s and reads of 153.6 GB/s: the memory moves more than the GPU reads alone."""


def decode_s(traffic: dict[str, Any], changes: dict[str, Any] | None = None) -> float:
    """A decoded token of a small model in the interference scenario, with that traffic of the CPU."""
    values = {f"background.stressor.{name}": value for name, value in traffic.items()}
    scenario = simulator.load_scenario("interference-orin").with_values({**SHORT, **values})
    result = simulator.run_scenario(scenario, overrides={**BOTH_MEASURED, **(changes or {})})
    assert result.tpot_s is not None
    return result.tpot_s


def test_the_slow_down_under_external_demand_has_three_regions() -> None:
    # 183.3 GB/s, 15.7 of them for cameras and display: 14.0 are left beside the 153.6 of the GPU; from 83.8 on, half
    # of the rest, the GPU keeps its fair share whatever the CPU asks for
    demands = [0.001, 6, 13, 30, 50, 70, 83, 90, 130, 200]
    taken = np.array([decode_s({"bandwidth": f"{demand} GB/s"}) for demand in demands]) / decode_s(
        {"bandwidth": "1 kB/s"}
    )
    assert taken[:3] == pytest.approx(1, abs=1e-6)
    assert np.all(np.diff(taken[2:7]) > 0.02)
    assert taken[7:] == pytest.approx(taken[7], rel=1e-9)
    # the weights stream at 83.8 instead of 153.6 GB/s, and launches are not slowed
    assert 1.3 < taken[-1] < 153.6 / 83.8


def test_the_flat_region_is_what_the_guarantee_says() -> None:
    flood = {"bandwidth": "300 GB/s"}
    # half of what cameras and display leave is 83.8 GB/s; 70 % of all is 128.3
    fair, sure, alone = (
        decode_s(flood), decode_s(flood, {"masters.gpu.minimum_share": 0.7}), decode_s({"bandwidth": "1 kB/s"})
    )  # fmt: skip
    slowed = (fair - alone) / (sure - alone)
    assert slowed == pytest.approx((1 / 83.8 - 1 / 153.6) / (1 / 128.3 - 1 / 153.6), rel=0.01)


def test_a_hard_limit_holds_the_cpu_down_and_a_soft_one_only_while_others_ask() -> None:
    flood, limit = {"bandwidth": "300 GB/s"}, {"masters.cpu.maximum_share": 0.05}
    hard = decode_s(flood, limit)
    # 0.05 * 183.3 = 9.2 GB/s, less than the room of 14.0
    assert hard == pytest.approx(decode_s({"bandwidth": "1 kB/s"}), rel=1e-6)
    moved = {}
    for kind in ("hard", "soft"):
        scenario = simulator.load_scenario("interference-orin").with_values(
            {**SHORT, "background.stressor.bandwidth": "300 GB/s"}
        )
        result = simulator.run_scenario(scenario, overrides={**BOTH_MEASURED, **limit, "masters.cpu.limit": kind})
        names = list(result.program.background.names)
        moved[kind] = float(result.timeline.background_bytes[names.index("stressor")])
    # with a hard limit the room stays empty; a soft one lets the CPU have it
    assert moved["soft"] > 1.5 * moved["hard"]


def test_a_budget_bounds_what_a_master_moves_in_a_run() -> None:
    scenario = simulator.load_scenario("interference-orin").with_values(
        {**SHORT, "background.stressor.bandwidth": "300 GB/s"}
    )
    budget = {"masters.cpu.budget": {"size": "1 MB", "period": "1 ms"}}
    result = simulator.run_scenario(scenario, overrides=budget, checks=True)
    moved = float(result.timeline.background_bytes[list(result.program.background.names).index("stressor")])
    periods = -(-result.timeline.horizon_tick // 10**9)
    # a period stops at a whole tick, within a byte of the budget
    assert (periods - 1) * 1e6 - periods <= moved <= periods * (1e6 + 1)


def test_a_budget_that_takes_too_many_periods_is_refused() -> None:
    """A run that moves more than 10^8 bytes takes more than 10^8 periods of a byte, and fewer of 1 kB."""
    chip = simulator.load_chip("hypo-decode")
    small, large = (
        chip.with_values({"masters.npu": {"budget": {"size": size, "period": "1 us"}}}) for size in ("1 B", "10 kB")
    )
    with pytest.raises(SpecError, match=r"masters\.npu\.budget\.size: must be at least \d+ B .* periods, got 1 B"):
        simulator.run(small, "qwen3-0.6b", prompt_tokens=8, decode_tokens=1)
    assert simulator.run(large, "qwen3-0.6b", prompt_tokens=8, decode_tokens=1).latency_s > 0


@pytest.mark.parametrize(("port", "moved_bytes"), [(None, 1e6), ("250 MB/s", 0.25e6), ("2 GB/s", 1e6)])
def test_traffic_begins_and_ends_when_the_scenario_says_at_the_port_of_its_master(
    port: str | None, moved_bytes: float
) -> None:
    """A millisecond of 1 GB/s is a megabyte, unless the port of the master lets less through."""
    scenario = simulator.load_scenario("interference-orin").with_values(
        {**SHORT, "background.stressor.start": "1 ms", "background.stressor.stop": "2 ms",
         "background.stressor.bandwidth": "1 GB/s"}
    )  # fmt: skip
    result = simulator.run_scenario(scenario, overrides={"masters.cpu.rate_cap": number(port)} if port else {})
    moved = result.timeline.background_bytes[list(result.program.background.names).index("stressor")]
    assert float(moved) == pytest.approx(moved_bytes, rel=1e-6)


# bad input ------------------------------------------------------------------------------------------------------------

DEVICE_LINE = "  type: LPDDR5\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("chips/tiny.yaml", DEVICE_LINE, "  type: LPDDR5\n  device: cell\n",
         'chips/tiny.yaml:26  dram.device: must be a name of the catalogue or a path to a .yaml file, got "cell" '),
        ("chips/tiny.yaml", DEVICE_LINE, "  type: LPDDR5\n  condition: {refresh: all-bank}\n",
         "dram.device: must be given for a condition other than that of the measurement, got nothing"),
        ("chips/tiny.yaml", DEVICE_LINE, "  type: LPDDR5\n  device: cells\n  condition: {temperature_c: 96}\n",
         "dram.condition: temperature_c: must be at most 95, the last step of the device, got 96"),
        ("chips/tiny.yaml", DEVICE_LINE, "  type: LPDDR5\n  device: cells\n  condition: {ecc: inline}\n",
         "dram.condition: must not have inline ECC, of which cells has no costs, got it"),
        ("chips/tiny.yaml", DEVICE_LINE, "  type: LPDDR5\n  device: cells\n  condition: {ecc: full}\n",
         "dram.condition.ecc: must be one of none, sideband, inline, got \"full\""),
        ("chips/tiny.yaml", "{value: 64, source: me, status: datasheet}\n  rate",
         "{value: 24, source: me, status: datasheet}\n  device: cells\n  rate",
         "dram.width_bits: must be a multiple of the 16 bits of a channel of cells, got 24"),
        ("chips/tiny.yaml", "    value: 0.75\n    source: me\n    status: inferred\n",
         "    value: 0.99\n    source: me\n    status: inferred\n  device: cells\n"
         "  measured_condition: {refresh: all-bank}\n",
         "dram.sustained_fraction: must be at most 0.95, what cells allows with all-bank refresh, got 0.99"),
        ("chips/tiny.yaml", DEVICE_LINE,
         "  type: LPDDR5\n  controller_fraction: {value: 0.9, source: me, status: assumed}\n",
         "dram.sustained_fraction: must be given, or controller_fraction instead, got both"),
        ("chips/tiny.yaml", "  cpu: {weight: 0.5}", "  cpu: {maximum_share: 1.2}",
         "masters.cpu.maximum_share: must be at most 1, got 1.2"),
        ("chips/tiny.yaml", "  cpu: {weight: 0.5}", "  cpu: {minimum_share: 0.6, maximum_share: 0.5}",
         "masters.cpu.minimum_share: must be at most maximum_share (0.5), got 0.6"),
        ("chips/tiny.yaml", "npu: {}\n  cpu: {weight: 0.5}", "npu: {minimum_share: 0.7}\n  cpu: {minimum_share: 0.4}",
         "masters: minimum shares must sum to at most 1, got 1.1"),
        ("chips/tiny.yaml", "  cpu: {weight: 0.5}", "  cpu: {limit: firm}",
         'masters.cpu.limit: must be one of hard, soft, got "firm"'),
        ("chips/tiny.yaml", "  cpu: {weight: 0.5}", "  cpu: {budget: {size: 1 MB}}",
         "masters.cpu.budget.period: must be given, got nothing"),
        ("chips/tiny.yaml", "  cpu: {weight: 0.5}", "  cpu: {budget: {size: 1 MB, period: 0 ms}}",
         'masters.cpu.budget.period: must be above zero, got "0 ms"'),
        ("memories/cells.yaml", "bank_groups: 4", "bank_groups: 3",
         "memories/cells.yaml:8  bank_groups: must divide banks (16), got 3"),
        ("memories/cells.yaml", "t_faw: 20 ns", "t_faw: 4 ns", "t_faw: must be at least t_rrd (5 ns), got 4 ns"),
        ("memories/cells.yaml", "t_refi: 4 us", "t_refi: 400 ns",
         "t_refi: must be longer than 2 refreshes of 200 ns, got 400 ns"),
        ("memories/cells.yaml", "up_to_c: 95", "up_to_c: 80", "refresh_steps: must rise in up_to_c, got 85, 80"),
        ("memories/cells.yaml", "up_to_c: 95", "up_to_c: 85", "refresh_steps: must rise in up_to_c, got 85, 85"),
        ("memories/cells.yaml", "channel_bits: 16", "channel_bits: 12", "channel_bits: must be whole bytes, got 12"),
        ("memories/cells.yaml", "t_ras: 42 ns", "t_ras: 17 ns", "t_ras: must be at least t_rcd (18 ns), got 17 ns"),
        ("memories/cells.yaml", "t_rfc_bank: 100 ns", "t_rfc_bank: 201 ns",
         "t_rfc_bank: must be at most t_rfc_all (200 ns), got 201 ns"),
        ("memories/cells.yaml", "row: 2 KiB", "row: 2000 B",
         "row: must be a whole number of bursts of 32 B, got 2000 B"),
        ("chips/tiny.yaml", DEVICE_LINE, f"{DEVICE_LINE}  drain_bursts: {{value: 32, source: me, status: assumed}}\n",
         "device: must be given where drain_bursts is, got nothing"),
        ("chips/tiny.yaml", "  sustained_fraction:\n", "  controller_fraction:\n",
         "device: must be given where controller_fraction is, got nothing"),
    ],
)  # fmt: skip
def test_a_wrong_memory_or_master_is_told_in_the_words_of_the_file(
    tiny_catalogue: Any, file: str, old: str, new: str, message: str
) -> None:
    tiny_catalogue.edit(file, old, new)
    kind = "chip" if file.startswith("chips") else "memory"
    assert message in tiny_catalogue.message(kind, file.split("/")[1].removesuffix(".yaml"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("pattern: random", "background.cameras.piece: must be given for random, got nothing"),
        ("piece: 64 B", "background.cameras.piece: must be nothing for streaming, got 64 B"),
        (
            "pattern: scattered",
            "background.cameras.pattern: must be one of streaming, random, one-bank-group, one-bank",
        ),
        ("write_share: 1.5", "background.cameras.write_share: must be at most 1, got 1.5"),
        ("start: 1 s, stop: 0.5 s", "background.cameras.stop: must be later than start (1 s), got 0.5 s"),
    ],
)
def test_wrong_background_traffic_is_told_in_the_words_of_the_file(
    tiny_catalogue: Any, fields: str, message: str
) -> None:
    tiny_catalogue.edit("scenarios/drive.yaml", "{master: cpu, bandwidth", f"{{{fields}, master: cpu, bandwidth")
    assert message in tiny_catalogue.message("scenario", "drive")


def test_a_pattern_needs_a_memory_with_timing(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit(
        "scenarios/drive.yaml", "{master: cpu, bandwidth", "{pattern: random, piece: 64 B, master: cpu, bandwidth"
    )
    catalog = tiny_catalogue.catalog()
    scenario = catalog.load_scenario("drive")
    with pytest.raises(SpecError) as refused:
        to_program(resolve(scenario, catalog))
    assert str(refused.value) == (
        "scenario drive: background.cameras.pattern: must be streaming on chip tiny, whose DRAM has no timing, got "
        "random\n  Hint: give the chip a memory of the catalogue in dram.device"
    )
    tiny_catalogue.edit("chips/tiny.yaml", DEVICE_LINE, "  type: LPDDR5\n  device: cells\n")
    assert simulate(resolve(scenario, tiny_catalogue.catalog())).latency_s > 0


def test_the_device_of_a_chip_may_be_changed_by_name_and_by_number(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", DEVICE_LINE, "  type: LPDDR5\n  device: cells\n")
    catalog = tiny_catalogue.catalog()
    assert catalog.load_chip("tiny").dram.device.t_cl == pytest.approx(20e-9)
    assert catalog.load_chip("tiny", {"dram.device": "lpddr5-6400"}).dram.device.name == "lpddr5-6400"
    assert catalog.load_chip("tiny", {"dram.device.t_cl": "25 ns"}).dram.device.t_cl == pytest.approx(25e-9)
