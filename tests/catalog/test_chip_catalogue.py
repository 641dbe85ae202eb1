"""Chips beside the figures that their makers and the press publish, typed here once more."""

import re
from pathlib import Path

import pytest

import simulator
from simulator.catalog import Catalog, load_chip
from simulator.precision import Dtype
from simulator.sourced import sourced_numbers

CHIPS = sorted(path.stem for path in (Path(__file__).parents[2] / "chips").glob("*.yaml"))

# Published peak of the external memory in GB/s.
DRAM_PEAKS = {
    "orin-nano-8gb": 102.4,
    "orin-nano-8gb-15w": 68,
    "orin-nx-16gb": 102.4,
    "orin-agx-32gb": 204.8,
    "orin-agx-64gb": 204.8,
    "orin-x": 204.8,
    "thor-t4000": 273,
    "thor-t5000": 273,
    "thor-u": 273,
    "thor-x": 273,
    "mach-m100": 273,
    "xpeng-turing": 273,
    "nio-nx9031": 546,
    "tesla-hw3": 68,
    "tesla-hw4": 384,
    "journey-6p": 205,
    "starry-6p": 273,
    "ascend-310": 51.2,
    "ascend-610": 308,
    "ascend-910": 1200,
    "ascend-910b": 1600,
    "tda4vh": 68,
    "gb10": 273,
    "rtx-4090": 1008,
    "rtx-a6000": 768,
    "rtx-6000-ada": 960,
    "rtx-pro-6000": 1792,
    "rtx-pro-6000-server": 1792,
    "l4": 300,
    "l40s": 864,
    "a40": 696,
    "a100-80gb": 2039,
    "a800-80gb": 2039,
    "h100-sxm": 3350,
    "h800": 3350,
    "h200": 4800,
    "b200-sxm": 7700,
    "dual-orin-x": 204.8,  # each die
    "dual-thor": 273,
    "dual-m100": 273,
    "hypo-decode": 512 / 8 * 8.533,
    "hypo-phase": 256 / 8 * 8.533,
    "hypo-moe": 273,
    "hypo-int8": 204.8,
}

# Published dense rate in TOPS or TFLOPS, 2 operations per MAC; what was published sparse is halved here.
DENSE_TOPS: dict[str, dict[Dtype, float]] = {
    "orin-nano-8gb": {"int8": 67 / 2, "fp16": 16.7},
    "orin-nano-8gb-15w": {"int8": 40 / 2 * 1.024},  # the headline of 40 sparse TOPS is rounded down
    "orin-nx-16gb": {"int8": 60.2 / 2, "fp16": 15.0},
    "orin-agx-32gb": {"int8": 53.3, "fp16": 26.7, "int4": 106.7},
    "orin-agx-64gb": {"int8": 85.2, "fp16": 42.6, "int4": 170.4},
    "orin-x": {"int8": 83.6, "fp16": 41.8, "int4": 167.1},
    "thor-t4000": {"nvfp4": 1200 / 2, "fp8": 301, "fp16": 150.4},
    "thor-t5000": {"nvfp4": 1035, "fp8": 517, "fp16": 258},
    "thor-u": {"nvfp4": 1400 / 2, "int8": 700 / 2, "fp16": 175.5},
    "thor-x": {"nvfp4": 2000 / 2, "int8": 1000 / 2, "fp16": 250},
    "xpeng-turing": {"int8": 700},
    "nio-nx9031": {"int8": 4 * 254 / 2},
    "tesla-hw3": {"int8": 73.7},
    "tesla-hw4": {"int8": 121.7},
    "journey-6p": {"int8": 560 / 2},
    "starry-6p": {"int8": 650 / 2},
    "ascend-310": {"int8": 16, "fp16": 8},
    "ascend-610": {"int8": 200},
    "ascend-910": {"int8": 512, "fp16": 256},
    "tda4vh": {"int8": 32 * 1.024},  # 4 * 8.192, quoted as 32
    "gb10": {"fp16": 118.8},  # at 2.418 GHz; the headline of 125 needs 2.54
    "rtx-4090": {"fp16": 165, "fp8": 330, "int8": 660, "int4": 1321},
    "rtx-a6000": {"fp16": 155, "int8": 310, "int4": 619},
    "rtx-6000-ada": {"fp16": 364, "fp8": 728, "int8": 728, "int4": 1457},
    "rtx-pro-6000": {"fp16": 500, "fp8": 1000, "nvfp4": 4000 / 2},
    "rtx-pro-6000-server": {"fp16": 467.8, "fp8": 935.6, "nvfp4": 1871},
    "l4": {"fp16": 121},
    "l40s": {"fp16": 362, "fp8": 733},
    "a40": {"fp16": 149.7},
    "a100-80gb": {"fp16": 312, "int8": 624, "int4": 1248},
    "a800-80gb": {"fp16": 312, "int8": 624, "int4": 1248},
    "h100-sxm": {"fp16": 989, "fp8": 1979, "int8": 1979},
    "h800": {"fp16": 989, "fp8": 1979, "int8": 1979},
    "h200": {"fp16": 989, "fp8": 1979, "int8": 1979},
    "b200-sxm": {"fp16": 2250, "fp8": 4500, "nvfp4": 9000},
}

# FP32 multiply-adds of the vector engine in TFLOPS, published for GPUs only.
VECTOR_TFLOPS = {
    "orin-nano-8gb": 2.09,
    "orin-nx-16gb": 1.88,
    "orin-agx-32gb": 3.33,
    "thor-t4000": 4.7,
    "thor-x": 7.81,
    "rtx-4090": 82.6,
    "rtx-a6000": 38.7,
    "rtx-6000-ada": 91.1,
    "rtx-pro-6000": 125,
    "a100-80gb": 19.5,
}

INT8_ONLY = {"tesla-hw3", "tesla-hw4", "tda4vh"}


def test_every_chip_of_the_catalogue_is_checked_against_a_published_memory_peak() -> None:
    assert set(DRAM_PEAKS) == set(CHIPS) == set(Catalog().names("chip"))


@pytest.mark.parametrize("name", CHIPS)
def test_dram_width_times_rate_is_within_one_percent_of_the_published_peak(name: str) -> None:
    dram = load_chip(name).dram
    assert dram.width_bits.value / 8 * dram.rate.value == pytest.approx(DRAM_PEAKS[name] * 1e9, rel=0.01)


@pytest.mark.parametrize("name", sorted(DENSE_TOPS))
def test_macs_times_clusters_times_clock_is_within_two_percent_of_the_published_dense_rate(name: str) -> None:
    cluster = load_chip(name).cluster
    macs_per_cycle = cluster.matrix["native"].macs_per_cycle
    simulated = {
        dtype: 2 * macs_per_cycle[dtype].value * cluster.count.value * cluster.clock.value / 1e12
        for dtype in DENSE_TOPS[name]
    }
    assert simulated == pytest.approx(DENSE_TOPS[name], rel=0.02)


@pytest.mark.parametrize("name", sorted(VECTOR_TFLOPS))
def test_lanes_times_clusters_times_clock_is_within_two_percent_of_the_published_fp32_rate(name: str) -> None:
    cluster = load_chip(name).cluster
    flop_per_s = 2 * cluster.vector.lanes.value * cluster.count.value * cluster.clock.value
    assert flop_per_s == pytest.approx(VECTOR_TFLOPS[name] * 1e12, rel=0.02)


def test_ascend_910b_lies_between_the_bins_that_the_press_reports() -> None:
    cluster = load_chip("ascend-910b").cluster
    rate = {
        dtype: 2 * macs.value * cluster.count.value * cluster.clock.value / 1e12
        for dtype, macs in cluster.matrix["native"].macs_per_cycle.items()
    }
    assert 280 <= rate["fp16"] <= 376
    assert 560 <= rate["int8"] <= 750


@pytest.mark.parametrize("name", CHIPS)
def test_every_assumed_number_of_a_chip_says_in_its_note_in_which_range_it_is_guessed(name: str) -> None:
    for path, number in sourced_numbers(load_chip(name)):
        if number.status == "assumed":
            assert number.note, f"{path} has no note"
            assert re.search(r"\(range .*\bto\b.*\)", number.note), f"{path}: {number.note}"


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_runs_the_smallest_language_model_on_its_usual_runtime_above_the_memory_bound(name: str) -> None:
    """One decoded token reads the 0.44e9 parameters of the layers at least once."""
    chip = load_chip(name)
    precision = "w8a8" if name in INT8_ONLY else "bf16"
    result = simulator.run(chip, "qwen3-0.6b", precision=precision, prompt_tokens=16, decode_tokens=2)
    element_bytes = 1 if name in INT8_ONLY else 2
    weights_s = 0.44e9 * element_bytes / (DRAM_PEAKS[name] * 1e9)
    assert result.tpot_s is not None
    assert weights_s < result.tpot_s < 4 * weights_s + 2e-3


@pytest.mark.parametrize(
    ("pair", "single"), [("dual-orin-x", "orin-x"), ("dual-thor", "thor-x"), ("dual-m100", "mach-m100")]
)
def test_two_chips_with_a_link_are_each_the_single_chip(pair: str, single: str) -> None:
    """One stream on die 0 does not see the other die: the same time to the picosecond."""
    dies = load_chip(pair).dies
    assert dies is not None
    assert dies.count == 2
    ticks = {
        name: simulator.run(
            name, "qwen3-0.6b", precision="w4a16", prompt_tokens=64, decode_tokens=2
        ).frame.latency_ticks
        for name in (pair, single)
    }
    assert ticks[pair] == ticks[single]


def test_the_chip_of_two_modes_loads_less_in_decode_than_the_same_chip_that_stays_as_in_prefill() -> None:
    """Of 96 MiB half keep weights and 0.4 keep KV: loaded once with the switch, not for each of 4 tokens."""
    decoded = {}
    for mode, threshold in (("decode", 100), ("prefill", 1e-9)):  # no phase has fewer operations per byte than that
        result = simulator.run(
            "hypo-phase", "qwen3-0.6b", precision="w4a16", prompt_tokens=512, decode_tokens=4,
            overrides={"reconfiguration.rule.flop_per_byte": threshold},
        )  # fmt: skip
        decode = result.phase("decode")
        assert decode is not None
        assert (result.attribution.cause_ticks.get("switch", 0) > 0) == (mode == "decode")
        decoded[mode] = result.dram_bytes(decode.channel_bytes)
    saved_bytes = (4 - 1) * (0.5 + 0.4) * 96 * 2**20
    assert decoded["prefill"] - decoded["decode"] == pytest.approx(saved_bytes, rel=0.01)
