"""Frames that decode different numbers of tokens: what they draw, what that costs, and that it needs no more memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from simulator import Workload, load_chip, load_workload, run, run_scenario
from simulator.catalog import Catalog
from simulator.errors import SpecError
from simulator.metrics.latency import release_latency
from simulator.scenario.spec import Scenario
from simulator.simulation.result import Result
from simulator.simulation.setup import Setup, resolve
from simulator.simulation.simulate import simulate
from simulator.workload.phases import TokenCounts

COUNTS = {"median": 8, "p90": 20, "most": 64, "source": "assumption", "status": "assumed"}


def thinking(**counts: Any) -> Workload:
    return load_workload("qwen3-0.6b").with_values({"pipeline.1.tokens": 8, "pipeline.1.counts": {**COUNTS, **counts}})


def setup_of(tmp_path: Path, *, chip: str = "orin-agx-64gb", seed: int = 0, frames: int = 12, **stream: Any) -> Setup:
    """A frame every two seconds, so that none waits."""
    path = tmp_path / "thinking.yaml"
    path.write_text(yaml.safe_dump({**thinking().model_dump(), "name": "thinking"}))
    scenario = {
        "name": "thoughts", "title": "thoughts", "chip": chip, "runtime": "tensorrt-edge-llm", "seed": seed,
        "duration": f"{2 * frames} s",
        "streams": {"only": {"workload": str(path), "rate": "0.5 Hz", "policy": "fifo", "prompt_tokens": 16, **stream}},
    }  # fmt: skip
    return resolve(Scenario.model_validate(scenario), Catalog())


def drive(tmp_path: Path, **asked: Any) -> Result:
    return simulate(setup_of(tmp_path, **asked), checks=True)


def tokens_of(setup: Setup) -> list[int]:
    """Decoded tokens of every frame."""
    (stream,) = setup.streams
    variants = [workload.pipeline[1].tokens for workload in stream.variants or (stream.workload,)]  # type: ignore[union-attr]
    return [variants[variant] for variant in stream.release_variant or (0,) * len(stream.release_ticks)]


def frames_of(result: Result) -> list[tuple[int, int]]:
    """(decoded tokens, latency in ticks) of every frame."""
    return [
        (tokens, release_latency(result.timeline, release).latency_ticks)
        for release, tokens in enumerate(tokens_of(result.setup))
    ]


def test_quantiles_are_those_of_a_log_normal_distribution() -> None:
    counts = TokenCounts.model_validate(COUNTS)
    assert counts.quantile(0.5) == 8
    assert counts.quantile(0.9) == 20
    # z(0.9) = 1.28155; at twice and at minus that the ratio of 2.5 counts twice, and inverted
    assert counts.quantile(0.99481) == 50
    assert counts.quantile(0.1) == 4  # 8 / 2.5 = 3.2, rounded up
    assert counts.quantile(0.9999) == 64  # cut off


@pytest.mark.parametrize("wrong", [{"p90": 7}, {"p90": 65}, {"median": 0}])
def test_quantiles_that_do_not_grow_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"p90|greater than 0"):
        TokenCounts.model_validate({**COUNTS, **wrong})


def test_a_run_alone_decodes_no_more_than_the_longest_frame() -> None:
    with pytest.raises(SpecError, match=r"counts.most: must be at least tokens \(65\), got 64"):
        thinking().with_values({"pipeline.1.tokens": 65})


def test_a_frame_takes_as_long_as_a_run_of_its_number_of_tokens(tmp_path: Path) -> None:
    frames = frames_of(drive(tmp_path))
    assert len({tokens for tokens, _ in frames}) > 3
    workload = load_workload("qwen3-0.6b")
    for tokens, latency_ticks in frames:
        alone = run("orin-agx-64gb", workload, runtime="tensorrt-edge-llm", prompt_tokens=16, decode_tokens=tokens)
        assert latency_ticks == alone.frame.latency_ticks


def test_a_seed_draws_the_same_frames_again_and_another_seed_others(tmp_path: Path) -> None:
    drawn = [tokens_of(setup_of(tmp_path, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_many_frames_have_the_median_and_the_upper_tenth_that_are_asked_for(tmp_path: Path) -> None:
    tokens = tokens_of(setup_of(tmp_path, frames=2000))
    assert np.median(tokens) == pytest.approx(8, abs=1)
    assert np.percentile(tokens, 90) == pytest.approx(20, rel=0.1)
    assert max(tokens) <= 64


def test_a_number_that_is_given_takes_the_place_of_the_drawn_ones(tmp_path: Path) -> None:
    assert set(tokens_of(setup_of(tmp_path, decode_tokens=5))) == {5}


def test_frames_of_different_length_need_the_memory_of_one(tmp_path: Path) -> None:
    """A chip whose DRAM holds the weights once and not twice runs them; what stays on the chip fits, too (checked)."""
    chip = load_chip("hypo-decode").with_values({"dram.capacity": "2 GiB"})  # 1.2 GB of weights in FP16
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**chip.model_dump(), "name": "small"}))
    assert len({tokens for tokens, _ in frames_of(drive(tmp_path, chip=str(path)))}) > 3


def test_weights_that_stay_on_the_chip_are_there_once_for_frames_of_all_lengths(tmp_path: Path) -> None:
    chip = load_chip("hypo-decode").with_values({"sram.shared.split": {"activations": 0.5, "weights": 0.5}})
    path = tmp_path / "pinned.yaml"
    path.write_text(yaml.safe_dump({**chip.model_dump(), "name": "pinned"}))
    result = drive(tmp_path, chip=str(path))
    assert result.timeline.program.num_jobs > 3
    (shared,) = [memory for memory in result.memories if memory.name == "shared"]
    # 8 MiB of pinned weights beside at most 8 MiB of activations
    assert 8 * 2**20 <= shared.peak_bytes <= 16 * 2**20


def test_a_scenario_of_the_catalogue_without_counts_has_one_job_per_stream() -> None:
    result = run_scenario("planner-and-cabin-thor")
    assert result.timeline.program.num_jobs == len(result.setup.streams)
