"""What a point of a space needs: alone, among others, and by its lower bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.catalog import Catalog, load_chip, load_runtime
from simulator.chip import Chip
from simulator.errors import Infeasible
from simulator.exploration.evaluator import Evaluator
from simulator.exploration.space import Space

DIMENSIONS: dict[str, Any] = {
    "space.layers": [2, 3], "space.hidden": [128, 192], "space.ffn_ratio": [1, 2], "space.kv_heads": [1, "heads"],
    "space.experts": [1, 4], "space.attention_window": [None, 4], "fixed.vocabulary": 1000, "fixed.head_dim": 64,
    "prompt_tokens": 6, "decode_tokens": 3,
}  # fmt: skip
KEYS = ("prefill_s", "decode_s", "total_s", "memory_bytes")


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator.of(Catalog().load_study("plas-orin", DIMENSIONS), Catalog())


@pytest.fixture(scope="module")
def space() -> Space:
    return Space.of(Catalog().load_study("plas-orin", DIMENSIONS))


def test_points_simulated_together_need_what_each_needs_alone_and_never_less_than_their_bounds(
    evaluator: Evaluator, space: Space
) -> None:
    points = [space.point(index) for index in range(len(space))]
    bounds = evaluator.bounds(space.columns)
    together = evaluator.simulate_many(points)
    for index in range(0, len(space), 5):
        assert together[index] == evaluator.simulate(points[index])
    for index, found in enumerate(together):
        assert isinstance(found, dict)
        assert all(found[key] >= bounds[key][index] for key in KEYS)
        assert found["memory_bytes"] == bounds["memory_bytes"][index]


def keeping() -> Chip:
    """Mach M100 that keeps weights and KV in its shared SRAM, a part of either behind its port."""
    split = {"activations": 0.2, "weights": 0.02, "kv": 0.001}
    return load_chip("mach-m100").with_values({"sram.ccb.split": split, "sram.ccb.bandwidth": "1 TB/s"})


def by_order() -> Chip:
    """The re-configurable chip with an order instead of its rule, and slow switches."""
    order = {"prefill": "prefill", "decode": "decode"}
    return load_chip("hypo-phase").with_values(
        {"reconfiguration.rule": None, "reconfiguration.order": order, "reconfiguration.latency": "1 ms"}
    )


@pytest.mark.parametrize("chip", [keeping(), load_chip("hypo-phase"), by_order()], ids=["keeps", "rule", "order"])
def test_a_chip_that_keeps_something_or_changes_its_mode_is_bounded_and_simulated_alike(
    evaluator: Evaluator, space: Space, chip: Chip
) -> None:
    on_chip = replace(evaluator, chip=chip, runtime=load_runtime("dataflow"))
    rows = range(0, len(space), 3)
    points = [space.point(index) for index in rows]
    bounds = on_chip.bounds(space.columns)
    for index, point, found in zip(rows, points, on_chip.simulate_many(points), strict=True):
        assert found == on_chip.simulate(point)
        assert isinstance(found, dict)
        assert all(found[key] >= bounds[key][index] for key in KEYS)
        assert found["total_s"] < 3 * bounds["total_s"][index]


def test_a_search_counts_the_switches_of_a_chip_with_an_order(evaluator: Evaluator, space: Space) -> None:
    """Two switches of a millisecond are in the latencies and in the bounds."""
    slow = replace(evaluator, chip=by_order(), runtime=load_runtime("dataflow"))
    quick = replace(slow, chip=slow.chip.with_values({"reconfiguration.latency": "0 s"}))
    point = space.point(0)
    for key, seconds in (("prefill_s", 1e-3), ("decode_s", 1e-3), ("total_s", 2e-3)):
        assert slow.simulate(point)[key] - quick.simulate(point)[key] == pytest.approx(seconds, rel=1e-9)
        gap = slow.bounds(space.columns)[key][0] - quick.bounds(space.columns)[key][0]
        assert gap == pytest.approx(seconds, rel=1e-6)


def test_sizes_that_no_whole_number_holds_fit_no_memory(evaluator: Evaluator, space: Space) -> None:
    column = {name: values[:1].copy() for name, values in space.columns.items()}
    for name, size in (("layers", 100_000), ("hidden", 2**22), ("ffn_width", 2**22), ("experts", 64), ("heads", 2**16)):
        column[name] = np.array([size])
    bounds = evaluator.bounds(column)
    assert bounds["memory_bytes"][0] > 1e18
    assert np.isinf(bounds["total_s"][0])


def test_a_point_that_does_not_fit_says_so_alone_and_among_others(evaluator: Evaluator, space: Space) -> None:
    large = {**space.point(0), "layers": 5000, "hidden": 8192, "ffn_width": 32768, "heads": 128}
    with pytest.raises(Infeasible, match="does not fit its DRAM") as alone:
        evaluator.simulate(large)
    small, among = evaluator.simulate_many([space.point(0), large])
    assert small == evaluator.simulate(space.point(0))
    assert isinstance(among, Infeasible)
    assert among.message == alone.value.message


@pytest.mark.parametrize("has_modes", [False, True])
def test_points_whose_experts_have_too_little_room_say_so_alone_among_others_and_by_their_bounds(
    evaluator: Evaluator, space: Space, has_modes: bool
) -> None:
    """The predictor needs room for what a token picks in the layer ahead and in the layer at work.

    One expert of three matrices of 128 by 128 in FP16, or two of half: 2 * 3 * 128 * 128 * 2 = 196,608 bytes.
    """
    latency = {"value": "1 us", "source": "assumption", "status": "assumed"}
    modes = {"reconfiguration": {"cluster": "gpu", "latency": latency, "modes": {"a": {}}, "order": {"prefill": "a"}}}
    chip = load_chip("hypo-moe").with_values({"sram.experts.capacity": "196608 B", **(modes if has_modes else {})})
    on_chip = replace(evaluator, chip=chip, runtime=load_runtime(chip.usual_runtime))
    points = [space.point(index) for index in range(len(space))]
    together, bounds = on_chip.simulate_many(points), on_chip.bounds(space.columns)
    picked = [point["top_k"] * point["hidden"] * point["ffn_width"] for point in points]
    fits = [point["experts"] == 1 or size <= 128 * 128 for point, size in zip(points, picked, strict=True)]
    assert 0 < sum(fits) < len(fits)
    assert [isinstance(found, dict) for found in together] == fits
    for key in ("prefill_s", "decode_s", "total_s"):
        assert np.isfinite(bounds[key]).tolist() == fits
    large = fits.index(False)
    with pytest.raises(Infeasible, match="does not have room for the experts") as alone:
        on_chip.simulate(points[large])
    among = together[large]
    assert isinstance(among, Infeasible)
    assert among.message == alone.value.message
