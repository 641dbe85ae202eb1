"""Precisions: bytes of weights, caches and activations in each format, and which of them a run may choose."""

from __future__ import annotations

import pytest

import simulator
from simulator.catalog import Catalog
from simulator.errors import SpecError
from simulator.precision import PRECISIONS, precision, precision_choice
from simulator.simulation.setup import resolve


@pytest.mark.parametrize(
    ("name", "expected"),
    # 256 elements: bits / 8 each, and a scale for each group of 16, 32 or 128
    [
        ("fp32", 1024), ("bf16", 512), ("fp8", 256), ("w8a8", 256), ("w8a16", 256), ("mxfp8", 256 + 8),
        ("int8", 256 + 2 * 2), ("int4", 128 + 2 * 2), ("w4a16", 128 + 2 * 2), ("w4a8", 128 + 2 * 2),
        ("nvfp4", 128 + 16), ("mxfp4", 128 + 8), ("q8_0", 256 + 8 * 2), ("q4_0", 128 + 8 * 2),
    ],
)  # fmt: skip
def test_a_tensor_takes_its_elements_and_the_scales_of_its_groups(name: str, expected: int) -> None:
    assert precision(name).tensor_bytes(256) == expected
    assert precision(name).element_bytes == expected / 256


def test_a_group_that_is_not_full_has_a_scale_too() -> None:
    assert precision("mxfp4").tensor_bytes(33) == 17 + 2  # 16.5 bytes rounded up, two groups


def test_every_format_that_users_name_is_there() -> None:
    assert {"fp32", "fp16", "bf16", "fp8", "w8a8", "w8a16", "w4a16", "nvfp4", "mxfp4", "mxfp8"} <= PRECISIONS.keys()


def dram_bytes(chip: str, phase_name: str, prompt_tokens: int, **choice: str | None) -> int:
    """Bytes that a phase of Qwen3-0.6B moves over the DRAM."""
    result = simulator.run(
        chip,
        "qwen3-0.6b",
        prompt_tokens=prompt_tokens,
        decode_tokens=1,
        **choice,  # type: ignore[arg-type]
    )
    phase = result.phase(phase_name)  # type: ignore[arg-type]
    assert phase is not None
    return phase.channel_bytes[0]


@pytest.mark.parametrize(("name", "per_element"), [(None, 2.0), ("fp8", 1.0), ("int8", 130 / 128), ("mxfp4", 17 / 32)])
def test_a_run_reads_its_cache_in_the_precision_that_was_chosen(name: str | None, per_element: float) -> None:
    short, long = (
        dram_bytes("orin-agx-64gb", "decode", tokens, precision="fp16", kv_precision=name) for tokens in (128, 256)
    )
    # 28 layers, keys and values of 8 heads of 128
    assert long - short == 128 * 28 * 2 * 8 * 128 * per_element


def test_the_head_may_have_the_precision_of_the_body() -> None:
    own, of_body = (
        dram_bytes("thor-t5000", "prefill", 64, precision="nvfp4", head_precision=head) for head in (None, "body")
    )
    # 151,936 x 1,024 weights in 16 bits, or in 4 with a byte for each 16
    assert own - of_body == 151_936 * 1024 * (2 - 9 / 16)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"kv_precision": "fp9"}, 'kv_precision: must be one of fp32, .*, got "fp9"'),
        ({"head_precision": "q4_0"}, 'head_precision: runtime tensorrt-edge-llm must have a kernel for it, got "q4_0"'),
    ],
)
def test_a_precision_that_cannot_be_is_refused(choice: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        simulator.run("thor-t5000", "qwen3-0.6b", precision="nvfp4", **choice)  # type: ignore[arg-type]


def test_a_scenario_may_choose_the_precisions_of_cache_and_head() -> None:
    scenario = simulator.load_scenario("int8-native")
    assert scenario.kv_precision == "int8"
    chosen = scenario.model_copy(update={"head_precision": "body"})
    kept = resolve(scenario, Catalog()).runtime
    assert (kept.kv_precision, kept.head_precision) == ("int8", "fp16")
    assert resolve(chosen, Catalog()).runtime.head_precision == "body"


@pytest.mark.parametrize("text", ["decode=fp16,decode=w4a16", "decode=fp16, decode = fp16"])
def test_a_phase_has_one_precision(text: str) -> None:
    with pytest.raises(SpecError, match="precision: must name each phase once"):
        precision_choice(text)


def test_a_cache_is_kept_in_a_format_of_numbers() -> None:
    """`w4a16` says what weights are beside 16-bit activations; a cache has neither."""
    with pytest.raises(SpecError, match=r'kv_precision: must be a format of numbers \(fp32, .*\), got "w4a16"'):
        simulator.load_runtime("vllm").with_values({"kv_precision": "w4a16"})
    with pytest.raises(SpecError, match=r'kv_precision: must be a format of numbers \(fp32, .*\), got "w4a16"'):
        simulator.run("orin-agx-64gb", "qwen3-0.6b", kv_precision="w4a16")
