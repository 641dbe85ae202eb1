"""Ceilings of DRAM from the timing of the device, beside values worked out by hand.

LPDDR5-6400 on one channel of 16 bits: 12.8 GB/s, bursts of 32 B in 2.5 ns, 5 ns between bursts of one bank group, four
rows per 20 ns, a row cycle of 42 + 18 = 60 ns.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.catalog import Catalog, load_chip, load_memory
from simulator.chip import Access, Dram, Memory
from simulator.chip.dram_ceiling import (
    Overheads,
    activation_s,
    burst_s,
    ceiling,
    ecc_fraction,
    piece_s,
    refresh_fraction,
    refresh_multiplier,
    turn_s,
)

RATE = 6.4e9
PEAK = 12.8e9
NS = 1e-9
LPDDR5 = load_memory("lpddr5-6400")
EIGHT_BANKS = LPDDR5.model_copy(
    update={"banks": 8, "bank_groups": 1, "burst_length": 32, "row": 4096.0, "t_rrd": 10e-9, "t_faw": 40e-9}
)
"""The mode of LPDDR5 with eight banks: bursts of 64 B in 5 ns, four rows per 40 ns."""


def bytes_per_s(memory: Memory, access: Access, **overheads: Any) -> float:
    return PEAK * ceiling(memory, RATE, access, Overheads(**overheads))


@pytest.mark.parametrize(
    ("memory", "access", "expected"),
    [
        (LPDDR5, Access(), 12.8e9),
        (LPDDR5, Access("one-bank-group"), 32 / (5 * NS)),  # 6.4
        (LPDDR5, Access("random", 64), 64 / (5 * NS)),  # activations take exactly as long as the data: 12.8
        (LPDDR5, Access("random", 32), 32 / (5 * NS)),  # 6.4
        (EIGHT_BANKS, Access("random", 64), 64 * 4 / (40 * NS)),  # 6.4
        (LPDDR5, Access("one-bank", 64), 64 / (60 * NS)),  # 1.07
        (LPDDR5, Access("one-bank", 32), 32 / (60 * NS)),  # 0.53
        # a long piece of one bank: 18 + 15 * 5 + 2.5 = 95.5 ns open, 18 ns to close
        (LPDDR5, Access("one-bank", 512), 512 / (113.5 * NS)),
        # a written one is closed 34 ns later: 18 + 5 + 2.5 + 34 = 59.5 ns, 18 ns to close
        (LPDDR5, Access("one-bank", 64, 1.0), 64 / (77.5 * NS)),
        # a window of 30 ns opens a row in 7.5 ns, rows 8 ns apart in 8
        (LPDDR5.model_copy(update={"t_faw": 30e-9}), Access("random", 64), 64 / (7.5 * NS)),
        (LPDDR5.model_copy(update={"t_rrd": 8e-9}), Access("random", 64), 64 / (8 * NS)),
        # 4 banks of 60 ns give a row in 15 ns, and their 4 groups a burst in 5 ns
        (LPDDR5.model_copy(update={"banks": 4}), Access("random", 64), 64 / (15 * NS)),
        # half of a burst is thrown away
        (LPDDR5, Access("random", 16), 16 / (5 * NS)),
        # 3 KiB are two rows: 10 ns of activations are nothing beside 240 ns of data, and 300 ns are more
        (LPDDR5, Access("random", 3072), 12.8e9),
        (LPDDR5.model_copy(update={"t_faw": 600e-9}), Access("random", 3072), 3072 / (300 * NS)),
        # in one bank each of them is open for 18 + 63 * 5 + 2.5 = 335.5 ns, and closed in 18 ns
        (LPDDR5, Access("one-bank", 3072), 3072 / (2 * 353.5 * NS)),
        # the 4 banks of a group give a row of 60 ns in 15 ns
        (LPDDR5, Access("one-bank-group", 64), 64 / (15 * NS)),
    ],
)
def test_the_ceiling_of_a_pattern_is_what_its_slowest_resource_allows(
    memory: Memory, access: Access, expected: float
) -> None:
    assert bytes_per_s(memory, access) == pytest.approx(expected, rel=1e-12)


def test_sixteen_channels_in_single_bank_conflict_move_17_of_204_8_gb_per_s() -> None:
    dram = load_chip("orin-agx-64gb", overrides={"dram.condition.refresh": "off"}).dram
    assert dram.num_channels == 16
    assert dram.peak_bytes_per_s * dram.ceiling(Access("one-bank", 64)) == pytest.approx(17.07e9, rel=1e-3)


@pytest.mark.parametrize(
    ("t_rfc_ns", "t_refi_ns", "multiplier", "percent"),
    [
        (210, 3906, 1, 5.38), (210, 3906, 2, 10.75), (210, 3906, 4, 21.5),
        (280, 3906, 1, 7.17), (280, 3906, 2, 14.3), (280, 3906, 4, 28.7),
        (350, 7800, 1, 4.49), (350, 7800, 2, 8.97), (350, 7800, 4, 17.9), (350, 7800, 8, 35.9),
        (550, 7800, 1, 7.05), (550, 7800, 2, 14.1), (550, 7800, 4, 28.2), (550, 7800, 8, 56.4),
        (140, 3906, 1, 3.6),
    ],
)  # fmt: skip
def test_refresh_takes_its_time_in_every_interval(
    t_rfc_ns: float, t_refi_ns: float, multiplier: float, percent: float
) -> None:
    """LPDDR5 of 8 and 16 Gb, automotive DDR4 of 8 and 16 Gb, and one bank of LPDDR5."""
    fraction = refresh_fraction(t_rfc_ns * NS, t_refi_ns * NS, multiplier)
    assert 100 * fraction == pytest.approx(percent, abs=0.06)


def test_refresh_of_all_banks_stretches_a_long_stream() -> None:
    # 16 Gb: 280 of 3906 ns, so the stream takes 1 / (1 - 0.0717) = 1.0772 times as long
    device = LPDDR5.model_copy(update={"t_rfc_all": 280 * NS})
    assert 1 / ceiling(device, RATE, Access(), Overheads(refresh="all-bank")) == pytest.approx(1.0772, abs=5e-5)


def test_refresh_bank_by_bank_costs_a_stream_nothing_and_one_bank_its_own_share() -> None:
    assert bytes_per_s(LPDDR5, Access(), refresh="per-bank") == PEAK
    assert bytes_per_s(LPDDR5, Access("random", 64), refresh="per-bank") == pytest.approx(PEAK, rel=1e-12)
    # 120 of 3906 ns
    lost = 1 - bytes_per_s(LPDDR5, Access("one-bank", 64), refresh="per-bank") / (64 / (60 * NS))
    assert lost == pytest.approx(0.0307, abs=1e-4)


@pytest.mark.parametrize(("temperature_c", "multiplier"), [(-40, 1), (85, 1), (85.1, 2), (95, 2), (105, 4)])
def test_a_hot_memory_is_refreshed_more_often(temperature_c: float, multiplier: float) -> None:
    assert refresh_multiplier(LPDDR5, temperature_c) == multiplier


def test_turning_round_costs_a_gap_for_every_drain() -> None:
    # 1.25 + 6.25 + 21.25 = 28.75 ns; half of the bytes written, 32 bursts of 2.5 ns each way: 160 of 188.75 ns
    assert turn_s(LPDDR5) == pytest.approx(28.75 * NS)
    half = Access(write_share=0.5)
    assert bytes_per_s(LPDDR5, half, drain_bursts=32) == pytest.approx(PEAK * 160 / 188.75, rel=1e-12)
    # a quarter: 32 written for 96 read; and what is all of one kind never turns
    quarter = Access(write_share=0.25)
    assert bytes_per_s(LPDDR5, quarter, drain_bursts=32) == pytest.approx(PEAK * 320 / 348.75, rel=1e-12)
    assert [bytes_per_s(LPDDR5, Access(write_share=share), drain_bursts=32) for share in (0, 1)] == [PEAK, PEAK]
    assert bytes_per_s(LPDDR5, half) == PEAK


def test_inline_ecc_costs_by_locality() -> None:
    costs = LPDDR5.inline_ecc
    assert costs is not None
    # a stream keeps 88 %, single accesses of 64 B 62.5 %; 128 B cost 0.3 of their time, halfway to a stream
    assert ecc_fraction(costs, 2048) == pytest.approx(0.88)
    assert ecc_fraction(costs, 64) == pytest.approx(0.625)
    assert ecc_fraction(costs, 128) == pytest.approx(1 / 1.3)
    assert ecc_fraction(costs, 32) == pytest.approx(1 / 2.2)


def dram(**fields: Any) -> Dram:
    """256 pins of LPDDR5-6400 whose controller reaches 90 % of the ceiling."""

    def sourced(value: object) -> dict[str, object]:
        return {"value": value, "source": "test", "status": "assumed"}

    return Dram.model_validate(
        {"type": "LPDDR5", "width_bits": sourced(256), "rate": sourced("6400 MT/s"), "capacity": sourced("64 GiB"),
         "controller_fraction": sourced(0.9), "device": LPDDR5, **fields}
    )  # fmt: skip


@pytest.mark.parametrize(("temperature_c", "expected_gb_per_s"), [(85, 153.5), (95, 144.8)])
def test_refresh_ecc_and_controller_multiply(temperature_c: float, expected_gb_per_s: float) -> None:
    """204.8 * (1 - 5.38 %) * 0.88 * 0.90 GB/s, and at twice the refresh rate."""
    memory = dram(condition={"refresh": "all-bank", "ecc": "inline", "temperature_c": float(temperature_c)})
    assert memory.sustained_bytes_per_s == pytest.approx(expected_gb_per_s * 1e9, abs=0.05e9)


def test_sideband_ecc_costs_nothing_and_inline_an_eighth_of_the_capacity() -> None:
    plain, sideband, inline = (dram(condition={"ecc": ecc}) for ecc in ("none", "sideband", "inline"))
    assert sideband.sustained_bytes_per_s == plain.sustained_bytes_per_s == pytest.approx(0.9 * 204.8e9)
    assert [each.usable_bytes for each in (plain, sideband, inline)] == [64 * 2**30, 64 * 2**30, 56 * 2**30]


def test_a_measured_fraction_holds_in_its_condition_and_follows_the_ceiling_from_there() -> None:
    measured = {"value": 0.75, "source": "test", "status": "measured"}
    fields: dict[str, Any] = {"sustained_fraction": measured, "controller_fraction": None}
    assert dram(**fields).sustained_bytes_per_s == 0.75 * 204.8e9
    all_banks = dram(**fields, condition={"refresh": "all-bank"})
    assert all_banks.sustained_bytes_per_s == pytest.approx(0.75 * 204.8e9 * (1 - 210 / 3906), rel=1e-12)
    both = dram(**fields, condition={"refresh": "all-bank"}, measured_condition={"refresh": "all-bank"})
    assert both.sustained_bytes_per_s == 0.75 * 204.8e9


def test_what_a_byte_takes_is_the_stream_over_the_pattern() -> None:
    memory = dram(drain_bursts={"value": 32, "source": "test", "status": "assumed"})
    assert memory.usage(Access()) == 1
    assert memory.usage(Access("random", 32)) == pytest.approx(2)
    # 60 ns for 64 B instead of 5 ns; each bank is away for 120 of 3906 ns
    assert memory.usage(Access("one-bank", 64)) == pytest.approx(12 / (1 - 120 / 3906))
    # among reads, every drain of 80 ns costs a turn of 28.75 ns, however much is written
    assert memory.usage(Access(write_share=1.0)) == pytest.approx(1 + 28.75 / 80)
    assert memory.usage(Access(write_share=0.5)) == pytest.approx(1 + 28.75 / 160)


def test_copies_on_thor_are_as_quick_as_measured() -> None:
    """236.1 of 259.7 GB/s on the T5000 [apx2], 240.8 of 257.0 on Thor-U [apx1]: the drains were fitted with these."""
    for name, read_gb_per_s, copy_gb_per_s in (("thor-t5000", 259.7, 236.1), ("thor-u", 257.0, 240.8)):
        memory = load_chip(name).dram
        per_byte = (1 + memory.usage(Access(write_share=1.0))) / 2
        assert 1 / per_byte == pytest.approx(copy_gb_per_s / read_gb_per_s, rel=2e-3)


@pytest.mark.parametrize("name", Catalog().names("memory"))
def test_every_memory_of_the_catalogue_streams_at_its_peak_and_is_consistent(name: str) -> None:
    memory = load_memory(name)
    rate = memory.usual_rate
    assert ceiling(memory, rate, Access(), Overheads(refresh="per-bank")) == pytest.approx(1)
    burst, spacing = burst_s(memory, rate), memory.t_ccd_l
    # parameter invariants: a group is no quicker than the pins, and all groups together are as quick as the pins
    assert spacing >= 0.99 * burst
    assert memory.bank_groups * burst >= spacing
    assert activation_s(memory) < piece_s(memory, rate, Access())
    # a bank gives about the same in every generation: 64 B in 40 to 65 ns
    of_one_bank = ceiling(memory, rate, Access("one-bank", 64), Overheads()) * memory.channel_bits / 8 * rate
    assert 64 / (65 * NS) <= of_one_bank <= 64 / (40 * NS)


def test_a_slower_bus_keeps_the_times_and_a_faster_one_the_ceilings() -> None:
    # at 3.2 GT/s a burst takes 5 ns, as long as an activation: single bursts in new rows reach the peak
    scattered = Access("random", 32)
    rates = {"3200 MT/s": 1.0, "6400 MT/s": 0.5, "12800 MT/s": 0.5}
    for rate, expected in rates.items():
        memory = dram(rate={"value": rate, "source": "test", "status": "assumed"})
        assert memory.ceiling(scattered) == pytest.approx(expected)
        assert memory.sustained_bytes_per_s == pytest.approx(0.9 * memory.peak_bytes_per_s)


@given(
    memory=st.sampled_from([load_memory(name) for name in Catalog().names("memory")]),
    piece_bytes=st.integers(1, 8192), write_share=st.floats(0, 1),
    overheads=st.builds(
        Overheads, st.sampled_from(["off", "per-bank", "all-bank"]), st.sampled_from([0.5, 1.0, 2.0]),
        st.sampled_from([None, LPDDR5.inline_ecc]), st.sampled_from([4.0, 64.0, math.inf]),
    ),
)  # fmt: skip
def test_no_pattern_is_above_the_peak_and_fewer_banks_are_never_quicker(
    memory: Memory, piece_bytes: int, write_share: float, overheads: Overheads
) -> None:
    patterns: tuple[Any, ...] = ("random", "one-bank-group", "one-bank")
    ceilings = [
        ceiling(memory, memory.usual_rate, Access(pattern, piece_bytes, write_share), overheads) for pattern in patterns
    ]
    assert 1 >= ceilings[0] >= ceilings[1] >= ceilings[2] > 0
    whole_rows = ceiling(memory, memory.usual_rate, Access(write_share=write_share), overheads)
    assert whole_rows >= ceilings[0] * (1 - 1e-12)


def test_an_infinite_drain_is_the_limit_of_long_ones() -> None:
    half = Access(write_share=0.5)
    lengths = [8, 64, 512, 4096, math.inf]
    ceilings = [ceiling(LPDDR5, RATE, half, Overheads(drain_bursts=length)) for length in lengths]
    assert ceilings == sorted(ceilings)
    assert ceilings[-1] == 1
