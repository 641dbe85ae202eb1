"""The verdict in words, on runs whose limits are known."""

from __future__ import annotations

import simulator
from simulator.report.verdict import limit_sentence, reach_sentence
from simulator.units import format_quantity


def test_decode_on_a_wide_chip_is_limited_by_its_dram() -> None:
    result = simulator.run("thor-t5000", "llama2-7b", precision="bf16", prompt_tokens=8, decode_tokens=2)
    assert limit_sentence(result).startswith("It is limited by DRAM bandwidth: ")
    assert ", most of it in decode (" in limit_sentence(result)


def test_prefill_of_weights_that_are_converted_is_limited_by_the_matrix_engine() -> None:
    result = simulator.run("orin-agx-64gb", "qwen3-4b", precision="w4a16", prompt_tokens=1024, decode_tokens=1)
    assert limit_sentence(result).startswith("It is limited by the matrix engine: ")
    assert ", most of it in prefill (" in limit_sentence(result)


def test_transfers_through_a_port_narrower_than_the_dram_are_limited_by_the_noc() -> None:
    """The NoC port of Mach M100 sustains less than its DRAM, so it is the narrowest channel of all that is loaded."""
    chip = simulator.load_chip("mach-m100")
    assert chip.noc is not None
    assert chip.noc.sustained_bytes_per_s < chip.dram.sustained_bytes_per_s
    result = simulator.run(chip, "llama2-7b", precision="w4a16", prompt_tokens=8, decode_tokens=2)
    assert limit_sentence(result).startswith("It is limited by the bandwidth of the NoC: ")


def test_experts_are_loaded_from_the_dram() -> None:
    """No single cause of this run but the experts is large; with weights and KV cache they are the time of the DRAM."""
    assert limit_sentence(simulator.run_scenario("olmoe-thor")).startswith("It is limited by DRAM bandwidth: ")


def test_a_deadline_that_is_met_needs_no_advice() -> None:
    assert reach_sentence(simulator.run("thor-t5000", "qwen3-0.6b", prompt_tokens=8, decode_tokens=1)) is None


def test_a_deadline_below_the_bound_says_what_the_dram_would_have_to_sustain() -> None:
    """pi0.5 in BF16 misses 50 ms on Thor; its bytes over 50 ms are the bandwidth that it would need."""
    result = simulator.run("thor-t5000", "pi0.5")
    assert result.deadline_s == 0.05
    moved = sum(phase.channel_bytes[0] for phase in result.phases)
    sentence = reach_sentence(result)
    assert sentence is not None
    assert sentence.startswith("Even without waiting and without other traffic these kernels take at least ")
    assert f"would have to sustain {format_quantity(moved / 0.05, 'B/s')} instead of 260 GB/s." in sentence


def test_a_deadline_above_the_bound_blames_what_the_frame_waits_for() -> None:
    """In FP8 it could make 50 ms alone, but not beside a CPU that takes much of the DRAM."""
    scenario = simulator.load_scenario("pi0.5-thor-20hz")
    slow = scenario.with_values({"background.cpu.bandwidth": "120 GB/s", "duration": "50 ms"})
    result = simulator.run_scenario(slow)
    assert result.latency_s > 0.05
    assert (reach_sentence(result) or "").startswith("The lower bound of these kernels is ")
