"""Scenarios end to end on a real chip: streams, deadlines, other traffic, and what the result says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import simulator
from simulator import EngineError, SpecError
from simulator.engine.bound import Bound
from simulator.program import DropPolicy
from simulator.units import seconds_to_ticks

SCENARIO = """
name: small
title: A small language model at a rate
chip: thor-t5000
runtime: tensorrt-edge-llm
streams:
  model: {{workload: qwen3-0.6b, precision: nvfp4, rate: {rate}, deadline: {deadline}, policy: {policy},
          prompt_tokens: 32, decode_tokens: 2{more}}}
background: {background}
duration: {duration}
"""


def small(folder: Path, *, rate: str = "10 Hz", deadline: str = "100 ms", policy: str = "drop-if-busy",
          duration: str = "300 ms", background: str = "{}", more: str = "") -> Path:  # fmt: skip
    path = folder / "small.yaml"
    path.write_text(
        SCENARIO.format(
            rate=rate, deadline=deadline, policy=policy, duration=duration, background=background, more=more
        )
    )
    return path


def test_frames_that_never_meet_take_what_one_alone_takes(tmp_path: Path) -> None:
    alone = simulator.run("thor-t5000", "qwen3-0.6b", precision="nvfp4", prompt_tokens=32, decode_tokens=2)
    result = simulator.run_scenario(small(tmp_path), checks=True)
    (stream,) = result.streams
    assert (stream.released, stream.completed, stream.dropped, stream.misses) == (3, 3, 0, 0)
    assert result.latency_s == alone.latency_s
    assert stream.jitter_ticks == 0


def test_releases_are_offset_plus_n_periods_within_the_duration(tmp_path: Path) -> None:
    result = simulator.run_scenario(small(tmp_path, rate="36 Hz", duration="100 ms", more=", offset: 1 ms"))
    period = seconds_to_ticks(1 / 36)
    assert period == 27_777_777_778  # rounded up once
    assert result.setup.streams[0].release_ticks == tuple(10**9 + n * period for n in range(4))


@pytest.mark.parametrize("policy", ["drop-if-busy", "latest", "fifo"])
def test_every_policy_accounts_for_every_frame_of_an_overload(policy: str, tmp_path: Path) -> None:
    result = simulator.run_scenario(small(tmp_path, rate="200 Hz", duration="100 ms", policy=policy), checks=True)
    (stream,) = result.streams
    assert stream.released == 20
    assert stream.released == stream.completed + stream.dropped
    assert (stream.dropped == 0) == (policy == "fifo")
    assert result.setup.streams[0].policy == {"drop-if-busy": DropPolicy.DROP_IF_BUSY, "latest": DropPolicy.LATEST,
                                              "fifo": DropPolicy.FIFO}[policy]  # fmt: skip


def test_other_masters_slow_a_model_by_no_more_than_the_bandwidth_they_take(tmp_path: Path) -> None:
    traffic = "{{cpu: {{master: cpu, bandwidth: {{value: {} GB/s, source: test, status: assumed}}}}}}"
    latencies = [
        simulator.run_scenario(small(tmp_path, background=traffic.format(rate) if rate else "{}")).latency_s
        for rate in (0, 20, 60)
    ]
    assert latencies == sorted(latencies)
    sustained = simulator.load_chip("thor-t5000").dram.sustained_bytes_per_s
    for rate, latency_s in zip((20, 60), latencies[1:], strict=True):
        # all of the frame would have to be DRAM time for it to slow down by capacity / (capacity - traffic)
        assert latencies[0] < latency_s < latencies[0] * sustained / (sustained - rate * 1e9)


def test_a_guaranteed_share_protects_the_accelerator_from_greedy_masters(tmp_path: Path) -> None:
    """Three masters that want everything leave a fair quarter; a minimum share of 0.9 leaves nine tenths."""
    entry = "{name}: {{master: {name}, bandwidth: {{value: 500 GB/s, source: test, status: assumed}}}}"
    greedy = "{" + ", ".join(entry.format(name=name) for name in ("cpu", "isp", "codec")) + "}"
    path = small(tmp_path, background=greedy)
    fair = simulator.run_scenario(path)
    guarded = simulator.run_scenario(path, overrides={"masters.gpu.minimum_share": 0.9}, checks=True)
    alone = simulator.run_scenario(small(tmp_path))
    assert alone.latency_s < guarded.latency_s < 1.12 * alone.latency_s
    assert fair.latency_s > 1.9 * alone.latency_s  # launches wait for nobody


def test_two_streams_share_the_chip_and_each_is_accounted_for(tmp_path: Path) -> None:
    """A second model takes time from the first, on units (queue) or DRAM (contention); on-chip memory is split."""
    path = tmp_path / "small.yaml"
    small(tmp_path, rate="20 Hz", duration="100 ms")
    second = "  other: {workload: qwen3-0.6b, precision: nvfp4, rate: 20 Hz, policy: fifo, prompt_tokens: 16, " \
             "decode_tokens: 4, priority: 1}\nbackground:"  # fmt: skip
    path.write_text(path.read_text().replace("background:", second))
    result = simulator.run_scenario(path, checks=True)
    assert [(stream.name, stream.completed) for stream in result.streams] == [("model", 2), ("other", 2)]
    assert result.frame.stream == "model"
    alone = simulator.run("thor-t5000", "qwen3-0.6b", precision="nvfp4", prompt_tokens=32, decode_tokens=2)
    assert result.latency_s > alone.latency_s
    causes = result.attribution.cause_ticks
    assert causes.get("queue", 0) + causes.get("contention", 0) > 0


def test_the_same_setup_gives_the_same_timeline() -> None:
    first, second = (
        simulator.run("orin-agx-64gb", "qwen3-0.6b", precision="w4a16", prompt_tokens=16, decode_tokens=2)
        for _ in range(2)
    )
    assert first.timeline.equals(second.timeline)
    assert first.program.fingerprint == second.program.fingerprint


def test_a_background_flow_of_an_unknown_master_is_refused_by_name(tmp_path: Path) -> None:
    flow = "{lidar: {master: lidr, bandwidth: {value: 1 GB/s, source: test, status: assumed}}}"
    with pytest.raises(SpecError, match=r'background\.lidar\.master: .* got "lidr"'):
        simulator.run_scenario(small(tmp_path, background=flow))


def test_a_stream_without_a_frame_in_the_duration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"streams\.model: must release a frame before the end of the run"):
        simulator.run_scenario(small(tmp_path, more=", offset: 1 s"))


def test_token_counts_and_precisions_need_their_phase() -> None:
    message = r'workload pi0\.5 must have a "decode" phase, it has vision, prefill, action'
    with pytest.raises(SpecError, match=message):
        simulator.run("thor-t5000", "pi0.5", decode_tokens=4)
    with pytest.raises(SpecError, match=message):
        simulator.run("thor-t5000", "pi0.5", precision={"decode": "fp8"})


def test_each_phase_may_have_a_precision_of_its_own() -> None:
    """The vision tower alone in FP8 moves half of its weight bytes; the other phases move what they moved."""
    plain, mixed = (
        simulator.run("thor-t5000", "pi0.5", precision=precision) for precision in (None, {"vision": "fp8"})
    )
    before, after = ([phase.channel_bytes[0] for phase in result.phases] for result in (plain, mixed))
    assert before[0] - after[0] == pytest.approx(0.412e9, rel=0.01)  # one byte for each weight of SigLIP so400m
    assert before[1:] == after[1:]


def test_a_frame_below_its_lower_bound_is_refused_as_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bound of one second, a frame of milliseconds must be wrong."""
    too_high = Bound(ticks=10**12, bound_by="dram", phases=())
    monkeypatch.setattr("simulator.simulation.simulate.lower_bound", lambda program, job: too_high)
    with pytest.raises(EngineError, match=r"a frame of job 0 took \d+ ticks, less than its lower bound 1000000000000"):
        simulator.run("thor-t5000", "qwen3-0.6b", precision="nvfp4", prompt_tokens=8, decode_tokens=1)


def test_a_result_says_what_the_chip_takes_in_silicon_and_money() -> None:
    # 16 MiB more of a shared level: more area, and more money than the area of the die alone would add in proportion
    chip = simulator.load_chip("hypo-decode")
    small, large, unknown = (
        simulator.run(changed, "qwen3-0.6b", runtime="ideal", prompt_tokens=8, decode_tokens=1)
        for changed in (chip, *(chip.with_values(values) for values in (
            {"sram.shared.capacity": "32 MiB"}, {"technology": None},
        )))
    )  # fmt: skip
    assert small.die_mm2 is not None
    assert large.die_mm2 is not None
    assert 0.3 * 16 < large.die_mm2 - small.die_mm2 < 0.6 * 16  # about 0.45 mm2 per MiB at 5 nm
    assert small.parts_usd is not None
    assert large.parts_usd is not None
    assert large.parts_usd > small.parts_usd
    assert unknown.to_dict()["die_mm2"] is unknown.to_dict()["parts_usd"] is None
