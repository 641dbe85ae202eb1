"""Mach M100 beside Thor-U: the rows that the makers of M100 publish, as ratios of two simulations.

The rows are from the ISCA 2026 paper of M100 (arXiv 2604.17862) [m100], at one power budget: LLaMA2-7B, a prefill of
1,024 tokens in W8A8 and a decoded token at a context of 1,024 in W4A16. What differs between the chips are arrays,
clocks and software; both have 273 GB/s.

The modules of UniAD are published with parameters and operations and without shapes, so the workload is a proxy; what
is simulated of them is recorded here with its error. They ran on 8 of the 14 cluster groups of M100, which are 32 of
its blocks. On Thor-U the precision is not stated: in 16 bits RegNet is within 10 %, in 8 bits it takes less than half.
The four small modules (4 to 17 ms for 50 to 100 Gflop) take far longer than their arithmetic and bytes on both chips:
that is layout, gathering and plugins, of which nothing is published.
"""

from __future__ import annotations

from functools import cache

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


UNIAD_MS = {
    "mach-m100": {"regnet": 13.1, "fpn": 4.23, "bevformer": 7.92, "tempfusion": 4.47, "trackformer": 1.27,
                  "mapformer": 1.46},
    "thor-u": {"regnet": 57.4, "fpn": 5.1, "bevformer": 32.83, "tempfusion": 17.0, "trackformer": 7.95,
               "mapformer": 6.14},
}  # fmt: skip


@cache
def simulated_uniad_ms(chip: str) -> dict[str, float]:
    if chip == "mach-m100":
        result = run(chip, "uniad-m100", overrides={"clusters.npu.count": 32})
    else:
        result = run(chip, "uniad-m100", runtime="tensorrt", precision="fp16")
    return {phase.name: phase.latency_ticks / 1e9 for phase in result.phases}


@pytest.mark.parametrize(
    ("chip", "module", "error"),
    [
        # recorded, not fitted: signed errors of what the mechanisms give
        ("mach-m100", "regnet", 0.35), ("thor-u", "regnet", -0.09),
        ("mach-m100", "bevformer", 0.66), ("thor-u", "bevformer", 0.45),
        ("mach-m100", "trackformer", -0.37), ("thor-u", "trackformer", -0.73),
        ("mach-m100", "mapformer", 0.26), ("thor-u", "mapformer", -0.18),
        ("mach-m100", "fpn", -0.86), ("thor-u", "fpn", -0.80),
        ("mach-m100", "tempfusion", -0.89), ("thor-u", "tempfusion", -0.81),
    ],
)  # fmt: skip
def test_the_error_of_a_module_of_uniad_is_the_recorded_one(chip: str, module: str, error: float) -> None:
    """So that nobody makes it worse, or claims it better, unseen."""
    assert simulated_uniad_ms(chip)[module] / UNIAD_MS[chip][module] - 1 == pytest.approx(error, abs=0.02)


def test_uniad_as_a_whole_and_its_backbone_show_why_the_dataflow_chip_is_quicker() -> None:
    """126.4 / 32.45 ms is 3.9, RegNet 4.4: maps pass the DRAM of one and stay on the other."""
    whole = [sum(simulated_uniad_ms(chip).values()) for chip in ("mach-m100", "thor-u")]
    measured = [sum(UNIAD_MS[chip].values()) for chip in ("mach-m100", "thor-u")]
    assert whole == pytest.approx(measured, rel=0.15)
    assert whole[1] / whole[0] == pytest.approx(measured[1] / measured[0], rel=0.20)
    regnet = simulated_uniad_ms("thor-u")["regnet"] / simulated_uniad_ms("mach-m100")["regnet"]
    assert 2.5 < regnet < 57.4 / 13.1


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
