"""Random decoders of every kind of layer: no phase beats its least time, and layers that do the same take as long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simulator
from simulator import load_chip, load_runtime, load_workload
from simulator.engine.bound import lower_bound
from simulator.engine.reference import ReferenceEngine
from simulator.graph import build_graph
from simulator.graph.decoder import decoder_blocks
from simulator.lowering import Demand, Platform, lower
from simulator.lowering.kept import cache_bytes, kept_of, kept_tokens
from simulator.lowering.kernel_work import CacheLayers
from simulator.metrics.latency import release_latency
from simulator.program import NONE
from simulator.simulation.setup import configure
from simulator.timeline import Timeline
from simulator.timeline.invariants import check_all
from simulator.workload import Workload
from tests.property.test_least_time_laws import shares_of
from tests.property.test_lowering_laws import ONCE, Case, cases

SOME = settings(max_examples=60, deadline=None)
FEW = settings(max_examples=25, deadline=None)


@st.composite
def workloads(draw: st.DrawFn, case: Case) -> Workload:
    """The decoder of a case with layers of one to three kinds, latent or not, and an FFN of any kind."""
    pattern = draw(st.lists(st.sampled_from(["full", "window", "linear"]), min_size=1, max_size=4))
    is_latent = "window" not in pattern and draw(st.booleans())
    changes: dict[str, Any] = {
        "pattern": pattern, "layers": draw(st.integers(1, 5)), "output_norms": draw(st.booleans()),
        "ffn": draw(st.sampled_from(["swiglu", "gelu", "relu2"])), "norm": draw(st.sampled_from(["rms", "layer"])),
        "o_bias": draw(st.booleans()), "ffn_bias": draw(st.booleans()),
        **_experts(draw), **(_latent(draw, case) if is_latent else _plain(draw, case)),
    }  # fmt: skip
    if "window" in pattern:
        changes["attention_window"] = draw(st.integers(1, 30))
    if "linear" in pattern:
        changes["linear"] = _linear(draw)
    if changes["layers"] <= changes["dense_layers"]:
        changes.update(dense_layers=0, dense_width=None)
    return changed(case.workload, **changes)


def changed(workload: Workload, **changes: Any) -> Workload:
    """A workload with other sizes of its decoder, all rules checked again."""
    values = workload.model_dump()
    values["decoder"].update(changes)
    return Workload.model_validate(values)


def _experts(draw: st.DrawFn) -> dict[str, Any]:
    experts = draw(st.sampled_from([1, 1, 2, 8]))
    if experts == 1:
        return {"experts": 1, "dense_layers": 0, "dense_width": None}
    dense, shared = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    return {
        "experts": experts, "top_k": draw(st.integers(1, experts)), "shared_experts": shared,
        "shared_width": draw(st.sampled_from([None, 24])) if shared else None,
        "shared_gate": bool(shared) and draw(st.booleans()),
        "dense_layers": dense, "dense_width": 40 if dense else None,
        "routing": draw(st.sampled_from([None, {"preset": "typical"}])),
    }  # fmt: skip


def _plain(draw: st.DrawFn, case: Case) -> dict[str, Any]:
    return {
        "rope_dim": draw(st.sampled_from([None, 0, case.head_dim // 2])), "output_gate": draw(st.booleans()),
        "attention_sinks": draw(st.booleans()),
    }  # fmt: skip


def _latent(draw: st.DrawFn, case: Case) -> dict[str, Any]:
    latent = {
        "kv_rank": draw(st.integers(1, 40)), "nope_dim": draw(st.integers(1, 16)), "rope_dim": draw(st.integers(1, 8)),
        "value_dim": draw(st.integers(1, 16)), "query_rank": draw(st.sampled_from([None, 12])),
    }  # fmt: skip
    heads = case.kv_heads * case.group
    return {"latent": latent, "kv_heads": heads, "head_dim": latent["nope_dim"] + latent["rope_dim"],
            "head_norm": False, "qkv_bias": False}  # fmt: skip


def _linear(draw: st.DrawFn) -> dict[str, Any]:
    key_heads = draw(st.integers(1, 3))
    return {
        "key_heads": key_heads, "value_heads": key_heads * draw(st.integers(1, 3)),
        "key_dim": draw(st.integers(1, 32)), "value_dim": draw(st.integers(1, 32)),
        "convolution": draw(st.integers(1, 4)), "chunk": draw(st.integers(1, 70)),
        "state_format": draw(st.sampled_from(["fp32", "bf16"])), "source": "test", "status": "assumed",
    }  # fmt: skip


@SOME
@given(cases(), st.data(), st.sampled_from([None, None, "ideal", "dataflow", "tensorrt-edge-llm"]))
def test_no_phase_of_a_decoder_of_any_kind_is_quicker_than_its_least_time(
    case: Case, data: st.DataObject, software: str | None
) -> None:
    platform = case.platform if software is None else replace(case.platform, runtime=load_runtime(software))
    graph = replace(build_graph(data.draw(workloads(case))), trace=None)  # the least time is of the expected experts
    shares = shares_of(graph, platform)
    assert all(0 < share <= 1 for share in shares.values()), shares


@FEW
@given(cases(), st.data())
def test_a_decoder_of_any_kind_obeys_the_laws_of_engines_and_its_bound(case: Case, data: st.DataObject) -> None:
    """Routed by a trace, too, which makes a segment of every layer."""
    timeline = run(data.draw(workloads(case)), case.platform)
    check_all(timeline)
    assert 0 < lower_bound(timeline.program, 0).ticks <= release_latency(timeline, 0).latency_ticks


def run(workload: Workload, platform: Platform) -> Timeline:
    return ReferenceEngine().run(lower([Demand(build_graph(workload))], platform, ONCE))


@FEW
@given(cases(), st.data())
def test_every_step_goes_through_all_layers_in_order(case: Case, data: st.DataObject) -> None:
    """Whether or not a router trace tells layers apart."""
    workload = data.draw(workloads(case))
    assert workload.decoder is not None
    instances = lower([Demand(build_graph(workload))], case.platform, ONCE).folded_tasks.instances
    layers = instances.layer[instances.layer != NONE]
    assert layers.tolist() == list(range(workload.decoder.layers)) * (1 + case.decode)


@FEW
@given(cases(), st.data())
def test_prefill_and_decode_have_the_same_parameters(case: Case, data: st.DataObject) -> None:
    decoder = data.draw(workloads(case)).decoder
    assert decoder is not None
    prefill = decoder_blocks(decoder, rows=case.prompt, prompt=0, num_steps=0)
    decode = decoder_blocks(decoder, rows=1, prompt=case.prompt, num_steps=case.decode)
    counts = [sum(int(block.repeats * block.graph.parameters) for block in blocks) for blocks in (prefill, decode)]
    assert counts[0] == counts[1]


@FEW
@given(cases())
def test_a_pattern_of_full_layers_changes_nothing(case: Case) -> None:
    ends = [run(changed(case.workload, pattern=pattern), case.platform).end_tick
            for pattern in ([], ["full"], ["full", "full"])]  # fmt: skip
    assert np.array_equal(ends[0], ends[1])
    assert np.array_equal(ends[0], ends[2])


@FEW
@given(cases(), st.lists(st.sampled_from(["full", "window"]), min_size=1, max_size=3))
def test_a_window_that_nobody_leaves_takes_as_long_as_none(case: Case, pattern: list[str]) -> None:
    wide = changed(case.workload, pattern=["window", *pattern], attention_window=case.prompt + case.decode + 1)
    assert np.array_equal(run(wide, case.platform).end_tick, run(case.workload, case.platform).end_tick)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), max_size=3, unique_by=lambda each: each[0]),
    st.integers(1, 9), st.integers(0, 3000), st.integers(0, 5),
)  # fmt: skip
def test_the_kv_store_keeps_as_many_tokens_as_fit_its_room(
    windows: list[tuple[int, int]], widest_bytes: int, room_bytes: int, sinks: int
) -> None:

    layers = (*(CacheLayers(*each) for each in sorted(windows)), CacheLayers(None, widest_bytes))
    tokens = int(kept_tokens(room_bytes, layers, sinks))
    assert cache_bytes(tokens, layers, sinks) <= room_bytes < cache_bytes(tokens + 1, layers, sinks)


def test_layers_with_a_window_leave_room_for_those_without() -> None:
    """gpt-oss-20b, 12 layers of each kind, 2,048 B per token and layer, 64 MiB for all.

    Windows of 128 take 12 * 128 * 2,048 B = 3,145,728; the rest is 63,963,136 / (12 * 2,048) = 2,602 tokens.
    """

    chip = load_chip("hypo-decode").with_values({"sram.shared.capacity": "64 MiB", "sram.shared.kv_store": "64 MiB"})
    workload = configure(load_workload("gpt-oss-20b"), precision="w4a16", prompt_tokens=4000, decode_tokens=1)
    kept = kept_of(build_graph(workload).phases, Platform(chip, load_runtime("dataflow")))
    assert kept.kv_layers == (CacheLayers(128, 12 * 2048), CacheLayers(None, 12 * 2048))
    assert kept.kv_tokens == (64 * 2**20 - 12 * 128 * 2048) // (12 * 2048) == 2602


def test_the_share_of_a_cache_that_is_on_the_chip_counts_layers_by_what_they_see() -> None:
    """2 MiB hold 42 tokens of 24 layers: all of them are 504 tokens in one half of the layers, 128 in the other."""
    chip = load_chip("hypo-decode").with_values({"sram.shared.kv_store": "2 MiB"})
    result = simulator.run(chip, "gpt-oss-20b", precision="w4a16", prompt_tokens=500, decode_tokens=4)
    assert result.kept is not None
    assert (result.kept.kv_tokens, result.kept.cache_tokens) == (42, 504)
    assert result.kept.kv_share == pytest.approx((12 * 42 + 12 * 42) / (12 * 128 + 12 * 504))
