"""How a frame uses its decoder: reused prefixes, chunks, several tokens per pass, speculation; all counts by hand.

The decoder has 3 layers of width 8 with 2 heads of 4, one of them for keys and values, an FFN of 16 and 10 words. A
layer has 8 * (8 + 4 + 4) + 8 * 8 = 192 weights around attention and 3 * 8 * 16 = 384 in the FFN: 576; the head 80.
"""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Workload, load_chip, load_runtime, load_workload
from simulator.errors import SpecError
from simulator.graph import Attention, CacheWrite, PhaseGraph, build_graph
from simulator.graph.layers import layer_rows
from simulator.simulation.setup import configure, single_run
from simulator.simulation.simulate import simulate

LAYERS, MATRICES, HEAD = 3, 576, 80
FLOP_PER_PAIR = 4 * 2 * 4  # 4 heads-dim flop for each of 2 heads of 4


def workload(prefill: dict[str, Any], decode: dict[str, Any] | None = None, **decoder: Any) -> Workload:
    phases: list[dict[str, Any]] = [{"phase": "prefill", "precision": "fp16", **prefill}]
    if decode is not None:
        phases.append({"phase": "decode", "precision": "fp16", **decode})
    return Workload.model_validate(
        {
            "name": "tiny", "title": "tiny", "pipeline": phases, "pipeline_source": "assumption",
            "pipeline_status": "assumed",
            "decoder": {
                "source": "assumption", "status": "assumed", "layers": LAYERS, "hidden": 8, "heads": 2, "kv_heads": 1,
                "head_dim": 4, "ffn_width": 16, "ffn": "swiglu", "vocabulary": 10, "tied_head": False, **decoder,
            },
        }
    )  # fmt: skip


def phase_of(workload: Workload, name: str) -> PhaseGraph:
    (phase,) = [phase for phase in build_graph(workload).phases if phase.name == name]
    return phase


def attention_of(phase: PhaseGraph) -> Attention:
    (attention,) = [each for each, _ in phase.operators() if isinstance(each, Attention) and each.name == "attention"]
    return attention


def cached_elements_read(phase: PhaseGraph) -> int:
    """Of all layers and steps."""
    return LAYERS * phase.over_steps(attention_of(phase).cache_elements)


# a prefix that the frame before has left -----------------------------------------------------------------------------


def test_a_reused_prefix_is_read_and_not_computed_again() -> None:
    # 20 tokens of which 15 are there: 5 rows, each sees 15 cached keys and its own 1 to 5
    phase = phase_of(workload({"tokens": 20, "reused_tokens": 15}), "prefill")
    pairs = 5 * 15 + 5 * 6 // 2
    assert phase.flop == 2 * 5 * LAYERS * MATRICES + LAYERS * FLOP_PER_PAIR * pairs + 2 * HEAD
    assert cached_elements_read(phase) == LAYERS * 15 * 2 * 4
    (written,) = [each for each, _ in phase.operators() if isinstance(each, CacheWrite)]
    assert written.cache_elements == 5 * 2 * 4
    assert int(written.context[0]) == 20  # type: ignore[index]


def test_the_tokens_after_a_reused_prefix_cost_what_the_rest_of_the_whole_prompt_would() -> None:
    """Work of 20 tokens = work of the first 15 + work of 5 that find them: pairs of a triangle."""
    whole, first, rest = (
        phase_of(workload(prefill), "prefill").flop - 2 * HEAD
        for prefill in ({"tokens": 20}, {"tokens": 15}, {"tokens": 20, "reused_tokens": 15})
    )
    assert whole == first + rest


def test_decoding_does_not_see_whether_its_prompt_was_reused() -> None:
    decode = {"tokens": 4}
    plain, streamed = (
        phase_of(workload(prefill, decode), "decode").flop
        for prefill in ({"tokens": 20}, {"tokens": 20, "reused_tokens": 15})
    )
    assert plain == streamed


# chunks --------------------------------------------------------------------------------------------------------------


def test_chunks_do_the_same_work_as_the_whole_and_one_head() -> None:
    whole, chunked = (phase_of(workload({"tokens": 20, **chunk}), "prefill") for chunk in ({}, {"chunk": 5}))
    assert chunked.num_steps == 4
    assert chunked.flop == whole.flop
    assert chunked.parameters == whole.parameters
    # later chunks read what the earlier have written: 0 + 5 + 10 + 15 tokens
    assert cached_elements_read(chunked) == LAYERS * 30 * 2 * 4


def test_each_chunk_reads_the_weights_again() -> None:
    chip, runtime = load_chip("orin-agx-64gb"), load_runtime("tensorrt-edge-llm")
    model = load_workload("qwen2.5-0.5b")

    def dram_bytes(chunk: int | None) -> int:
        prefill = model.pipeline[0].model_copy(update={"tokens": 64, "chunk": chunk})
        alone = model.model_copy(update={"pipeline": (prefill,)})
        result = simulate(single_run(chip, alone, runtime, precision="fp16"))
        return int(result.to_dict()["phases"][0]["dram_bytes"])

    # 24 layers of 896 (896 + 2 * 128) 2 ... + 3 * 896 * 4864 weights with biases of 896 + 2 * 128, in two bytes
    layers = 24 * 2 * (896 * (896 + 256) + 896 + 256 + 896 * 896 + 3 * 896 * 4864)
    cached = 24 * 2 * 2 * 2 * 64 * (16 + 32 + 48)  # what chunks of 16 read of the cache of those before
    assert dram_bytes(16) - dram_bytes(None) == pytest.approx(3 * layers + cached, rel=1e-3)


def test_a_window_is_seen_through_all_chunks() -> None:
    # a window of 7: row i of the prompt sees min(i, 7) keys, whatever the chunks
    whole, chunked = (
        phase_of(workload({"tokens": 20, **chunk}, attention_window=7), "prefill") for chunk in ({}, {"chunk": 5})
    )
    assert chunked.over_steps(attention_of(chunked).pairs) == sum(min(row, 7) for row in range(1, 21))
    assert chunked.flop == whole.flop


# several tokens per pass ---------------------------------------------------------------------------------------------


def test_tokens_of_a_pass_see_the_context_and_each_other_and_all_have_results() -> None:
    # 6 tokens in passes of 3 after 20: 3 rows see 20 and then 23 cached keys, and all 3 of their own
    phase = phase_of(workload({"tokens": 20}, {"tokens": 6, "tokens_per_pass": 3}), "decode")
    assert phase.num_steps == 2
    pairs = 3 * (20 + 3) + 3 * (23 + 3)
    assert phase.flop == 2 * 6 * (LAYERS * MATRICES + HEAD) + LAYERS * FLOP_PER_PAIR * pairs


# speculation ---------------------------------------------------------------------------------------------------------

DRAFT = {"draft_tokens": 3, "acceptance": 0.5, "source": "assumption", "status": "assumed"}


def test_speculation_takes_as_many_passes_as_tokens_are_accepted() -> None:
    # (1 - 0.5^4) / (1 - 0.5) = 1.875 tokens per pass: 15 tokens in 8 passes, after 20 and floor(1.875 i) more
    phase = phase_of(workload({"tokens": 20}, {"tokens": 15, "speculation": DRAFT}), "decode")
    assert phase.num_steps == 8
    contexts = [20, 21, 23, 25, 27, 29, 31, 33]
    # 4 rows through the decoder, with a result each
    pairs = sum(4 * context + 4 * 5 // 2 for context in contexts)
    checked = 8 * 2 * 4 * (LAYERS * MATRICES + HEAD) + LAYERS * FLOP_PER_PAIR * pairs
    # 3 drafts: 16 x 8 matrix, a layer that reads the cache with its own token, the decoder's head
    drafts = 3 * (8 * 2 * (128 + MATRICES + HEAD) + FLOP_PER_PAIR * sum(context + 1 for context in contexts))
    assert phase.flop == checked + drafts


def test_without_acceptance_a_pass_yields_one_token() -> None:
    spec = workload({"tokens": 20}, {"tokens": 5, "speculation": {**DRAFT, "acceptance": 0}})
    assert phase_of(spec, "decode").num_steps == 5


def test_the_drafter_is_one_set_of_weights_however_many_drafts() -> None:
    plain, three, five = (
        build_graph(workload({"tokens": 20}, {"tokens": 15, **more})).component_parameters["decoder"]
        for more in ({}, {"speculation": DRAFT}, {"speculation": {**DRAFT, "draft_tokens": 5}})
    )
    # the matrix of 16 x 8, a layer with two norms of 8, and a norm before the head, which is the decoder's
    assert three - plain == 128 + MATRICES + 16 + 8
    assert five == three
    with_head = build_graph(
        workload({"tokens": 20}, {"tokens": 15, "speculation": {**DRAFT, "draft_vocabulary": 5, "draft_layers": 2}})
    ).component_parameters["decoder"]
    assert with_head - plain == 128 + 2 * (MATRICES + 16) + 8 + 5 * 8


def test_speculation_with_good_proposals_decodes_quicker_and_with_bad_ones_slower() -> None:
    chip, runtime, model = load_chip("thor-t5000"), load_runtime("tensorrt-edge-llm"), load_workload("qwen3-4b")

    def decode_s(acceptance: float | None) -> float:
        prefill, decode = configure(model, precision="nvfp4", prompt_tokens=64, decode_tokens=24).pipeline
        if acceptance is not None:
            speculation = {**DRAFT, "acceptance": acceptance, "draft_vocabulary": 32_000}
            decode = type(decode).model_validate({**decode.model_dump(), "speculation": speculation})
        return simulate(
            single_run(chip, model.model_copy(update={"pipeline": (prefill, decode)}), runtime)
        ).frame.phases[1].latency_ticks / 1e12  # fmt: skip

    plain = decode_s(None)
    assert decode_s(0.8) < 0.6 * plain  # 2.95 tokens for the bytes of one pass and three small drafts
    assert decode_s(0.0) > plain


# what the table of layers says ---------------------------------------------------------------------------------------


def test_the_rows_of_layers_add_up_to_the_phase() -> None:
    for decode in ({"tokens": 15, "speculation": DRAFT}, {"tokens": 6, "tokens_per_pass": 3}):
        graph = build_graph(workload({"tokens": 20, "chunk": 5}, decode))
        rows = layer_rows(graph)
        assert sum(row.flop for row in rows) == graph.flop
        for phase in graph.phases:
            assert sum(row.parameters for row in rows if row.phase == phase.name) == phase.parameters


# refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefill", "decode", "decoder", "message"),
    [
        ({"tokens": 20, "reused_tokens": 20}, None, {}, r"reused_tokens: must be below tokens \(20\), got 20"),
        ({"tokens": 20, "chunk": 6}, None, {}, r"chunk: must divide the new tokens \(20\), got 6"),
        ({"tokens": 20}, {"tokens": 5, "tokens_per_pass": 2}, {}, r"tokens_per_pass: must divide tokens \(5\), got 2"),
        ({"tokens": 20}, {"tokens": 4, "tokens_per_pass": 2, "speculation": DRAFT}, {}, "must not be combined"),
        (
            {"tokens": 20}, {"tokens": 4, "speculation": {**DRAFT, "draft_vocabulary": 11}}, {},
            "draft_vocabulary: must be at most the decoder's 10, got 11",
        ),
        ({"tokens": 20}, {"tokens": 4, "speculation": DRAFT}, {"experts": 4, "top_k": 2}, "draft_ffn_width"),
        ({"tokens": 20, "chunk": 5}, None, {"experts": 4, "top_k": 2, "routing": {"preset": "typical"}}, "trace"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    prefill: dict[str, Any], decode: dict[str, Any] | None, decoder: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        workload(prefill, decode, **decoder)


def test_a_prompt_that_chunks_no_longer_divide_is_refused_by_its_name() -> None:
    with pytest.raises(SpecError, match=r"token count of prefill: chunk: must divide the new tokens \(21\), got 5"):
        configure(workload({"tokens": 20, "chunk": 5}), precision=None, prompt_tokens=21, decode_tokens=None)
