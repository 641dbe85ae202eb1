"""Lines of a run's sheet: which stream it is of, tokens per second, what stays on the chip, and the laws checked."""

from __future__ import annotations

import pytest

import simulator
from simulator.report.run_sheet import run_sheet
from simulator.simulation.result import Result


def text(result: Result) -> str:
    return " ".join(run_sheet(result).split())


@pytest.fixture(scope="module")
def stored() -> Result:
    """A chip with a KV store, checked."""
    return simulator.run_scenario(
        simulator.load_scenario("kv-store").with_values(
            {"duration": "0.4 s", "streams.assistant.prompt_tokens": 1000, "streams.assistant.decode_tokens": 4}
        ),
        checks=True,
    )


def test_a_run_says_how_much_of_the_cache_its_store_holds(stored: Result) -> None:
    """64 MiB over 28 layers * 8 heads * 128 elements * keys and values * 2 bytes: 585 tokens of 1,004 at the end."""
    held = 64 * 2**20 // (28 * 8 * 128 * 2 * 2)
    assert held == 585
    assert "On the chip at the end of decode: KV store 585 of 1,004 tokens, 58.3 % of the cache." in text(stored)
    kept = stored.to_dict()["kept"]
    assert (kept["phase"], kept["kv_tokens"], kept["cache_tokens"]) == ("decode", 585, 1004)
    assert (kept["kv_share"], kept["weight_share"], kept["experts_found"]) == (585 / 1004, 0, 0)


def test_a_run_says_when_the_first_token_comes_and_how_many_follow_in_a_second(stored: Result) -> None:
    decode = stored.phase("decode")
    assert decode is not None
    assert f"per token: {4e12 / decode.latency_ticks:,.3g} tokens/s." in text(stored)
    assert "First token after" in text(stored)


def test_a_checked_run_says_how_many_laws_hold(stored: Result) -> None:
    """Causality, conservation, capacity, budgets, units and occupancy."""
    assert run_sheet(stored).endswith("checked: 6 laws hold.")
    assert stored.to_dict()["laws_checked"] == 6


def test_a_chip_that_keeps_nothing_says_nothing_of_it() -> None:
    result = simulator.run("orin-agx-64gb", "qwen2.5-0.5b", precision="w4a16", prompt_tokens=4, decode_tokens=1)
    assert result.to_dict()["kept"] is None
    assert "On the chip" not in text(result)
    assert "checked" not in text(result)


def test_with_several_streams_the_sheet_names_that_of_its_phases() -> None:
    scenario = simulator.load_scenario("driving-and-cockpit-m100").with_values({"duration": "0.2 s"})
    result = text(simulator.run_scenario(scenario))
    assert "driving with pi0.5 (openpi), assistant with Qwen3-1.7B on Li Auto Mach M100" in result
    assert "precision of driving w8a8" in result
    assert "Phases of the slowest frame of driving" in result
    assert "The slowest frame of driving takes" in result


def test_experts_found_and_fetched_early_are_shares_of_those_used() -> None:
    """A token of decoding picks 8 experts in each layer: what is missed, at most 8, is what is named."""
    chip = simulator.load_chip("hypo-moe")
    assert chip.routing is not None
    assert chip.routing.prefetch is not None
    result = simulator.run(chip, "qwen3-30b-a3b", precision="nvfp4", prompt_tokens=16, decode_tokens=4)
    kept = result.kept
    assert kept is not None
    assert 0 < kept.experts_found < 1
    hit_rate = chip.routing.prefetch.hit_rate.value
    assert kept.experts_fetched_early == pytest.approx(hit_rate * (1 - kept.experts_found), rel=1e-12)
