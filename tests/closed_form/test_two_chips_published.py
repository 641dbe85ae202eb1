"""Mach M100 beside Thor-U: the rows that the makers of M100 publish, as ratios of two simulations.

The rows are from the ISCA 2026 paper of M100 (arXiv 2604.17862) [m100], at one power budget: LLaMA2-7B, a prefill of
1,024 tokens in W8A8 and a decoded token at a context of 1,024 in W4A16. What differs between the chips are arrays,
clocks and software; both have 273 GB/s.

Of the other rows no workload says enough. The modules of UniAD (RegNet, FPN, BEVFormer, TempFusion, TrackFormer,
MapFormer) are convolutions and deformable attention, of which there are no operators. The language part of MindVLA has
no published sizes but 431 M parameters and 8 experts, and its decode of 0.1 ms is less than one pass over them would
take.
"""

from __future__ import annotations

import pytest

from simulator import run

PREFILL_MS = {"mach-m100": 79.0, "thor-u": 154.0}
DECODE_MS = {"mach-m100": 21.34, "thor-u": 20.0}
BANDWIDTH_GB_PER_S = 273.0


def simulated_ms(chip: str, phase: str) -> float:
    weights = {"prefill": "w8a8", "decode": "w4a16"}[phase]
    result = run(chip, "llama2-7b", precision=weights, prompt_tokens=1024, decode_tokens=1)
    found = result.phase(phase)  # type: ignore[arg-type]
    assert found is not None
    return found.latency_ticks / 1e9


@pytest.mark.parametrize(("phase", "measured"), [("prefill", PREFILL_MS), ("decode", DECODE_MS)])
def test_the_ratio_of_the_chips_is_within_10_percent_of_the_measured_one(
    phase: str, measured: dict[str, float]
) -> None:
    # 154 / 79 = 1.95 in prefill, where arrays and orchestration count; 20 / 21.34 = 0.94 in decode, a tie
    simulated = simulated_ms("thor-u", phase) / simulated_ms("mach-m100", phase)
    assert simulated == pytest.approx(measured["thor-u"] / measured["mach-m100"], rel=0.10)


@pytest.mark.parametrize("chip", ["mach-m100", "thor-u"])
def test_each_time_is_within_15_percent_of_the_measured_one(chip: str) -> None:
    """A ratio alone would also be right if both chips were wrong by the same factor."""
    assert simulated_ms(chip, "prefill") == pytest.approx(PREFILL_MS[chip], rel=0.15)
    assert simulated_ms(chip, "decode") == pytest.approx(DECODE_MS[chip], rel=0.15)


@pytest.mark.parametrize("chip", ["mach-m100", "thor-u"])
def test_no_chip_decodes_below_the_floor_of_its_bytes(chip: str) -> None:
    # 32 * (4 * 4096^2 + 3 * 4096 * 11008) weights in 4 bits with 2 B of scale for 128; 1,024 keys and values of
    # 32 layers in FP16; the head in 16 bits on M100, on Thor-U at least in 4. At 273 GB/s: 14.4 ms at least.
    layers = 32 * (4 * 4096**2 + 3 * 4096 * 11008) * (4 / 8 + 2 / 128)
    cache = 1024 * 32 * 2 * 4096 * 2
    head = 4096 * 32000 * 0.5
    floor_ms = (layers + cache + head) / BANDWIDTH_GB_PER_S / 1e6
    assert floor_ms == pytest.approx(14.4, rel=0.02)
    assert floor_ms < simulated_ms(chip, "decode")
    assert floor_ms < DECODE_MS[chip]
