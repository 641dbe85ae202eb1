"""Vision towers, action heads and the models that have them: parameters, flop and bytes against closed forms.

Every number is worked out here, from sizes and public parameter counts; nothing calls the code that counts.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

import simulator
from simulator import load_workload
from simulator.graph import Attention, Elementwise, MatMul, PhaseGraph, build_graph
from simulator.workload import ActionExpert, VisionTower, Workload

SOURCED = {"source": "test", "status": "assumed"}
IMAGES, PATCHES = 3, 16
ROWS = IMAGES * PATCHES

TOWER: dict[str, Any] = {
    "layers": 4, "width": 8, "heads": 2, "ffn_width": 12, "patch_elements": 6, "position_embeddings": 9, "merge": 4,
    "merger_width": 10, "output_width": 12, **SOURCED,
}  # fmt: skip
LAYER = 4 * 8 + (8 * 24 + 24) + (8 * 8 + 8) + (8 * 12 + 12) + (12 * 8 + 8)  # norms, qkv, o, up, down
TOWER_PARAMETERS = (6 * 8 + 8) + 4 * LAYER + (16 + 32 * 10 + 10 + 10 * 12 + 12) + 9 * 8
TOWER_FLOP = (
    2 * ROWS * 6 * 8
    + 4 * (2 * ROWS * (8 * 24 + 8 * 8 + 2 * 8 * 12) + 4 * 8 * IMAGES * PATCHES**2)
    + 2 * (ROWS // 4) * (32 * 10 + 10 * 12)
)

DECODER = {"layers": 4, "hidden": 12, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn_width": 20, "ffn": "swiglu",
           "vocabulary": 50, "tied_head": True, **SOURCED}  # fmt: skip
HEAD: dict[str, Any] = {
    "layers": 4, "hidden": 10, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn_width": 14, "ffn": "swiglu",
    "action_width": 3, "input_width": 5, "input_hidden": 0, **SOURCED,
}  # fmt: skip
PROMPT, TOKENS, SAMPLES, STEPS = 6, 3, 2, 2


def with_tower(*, kept_tokens: int | None = None, prompt: int | None = None, **changes: object) -> Workload:
    pipeline: list[dict[str, object]] = [
        {"phase": "vision", "images": IMAGES, "patches": PATCHES, "precision": "fp16", "kept_tokens": kept_tokens}
    ]
    if prompt is not None:
        pipeline.append({"phase": "prefill", "tokens": prompt, "precision": "fp16"})
    return Workload.model_validate(
        {"name": "tiny", "title": "Tiny", "vision": {**TOWER, **changes}, "decoder": DECODER, "pipeline": pipeline,
         "pipeline_source": "test", "pipeline_status": "assumed"}
    )  # fmt: skip


def with_head(*, expected_steps: int | None = None, **changes: object) -> Workload:
    pipeline = [
        {"phase": "prefill", "tokens": PROMPT, "precision": "fp16"},
        {"phase": "action", "steps": STEPS, "tokens": TOKENS, "samples": SAMPLES, "precision": "fp16",
         "expected_steps": expected_steps},
    ]  # fmt: skip
    return Workload.model_validate(
        {"name": "tiny", "title": "Tiny", "decoder": DECODER, "action": {**HEAD, **changes}, "pipeline": pipeline,
         "pipeline_source": "test", "pipeline_status": "assumed"}
    )  # fmt: skip


def phase_of(workload: Workload, name: str) -> PhaseGraph:
    return next(phase for phase in build_graph(workload).phases if phase.name == name)


def vision_counts(**changes: object) -> tuple[int, int]:
    workload = with_tower(**changes)  # type: ignore[arg-type]
    return build_graph(workload).component_parameters["vision"], phase_of(workload, "vision").flop


def dram_bytes(workload: Workload, phase: str) -> int:
    """What a phase moves to and from DRAM on a chip that keeps all activations of so small a model."""
    result = simulator.run("a100-80gb", workload, runtime="ideal")
    channel = result.program.resources.channel_names.index("dram")
    found = result.phase(phase)
    assert found is not None
    return int(found.channel_bytes[channel])


# vision towers -------------------------------------------------------------------------------------------------------

SECOND = {"layers": 2, "width": 6, "heads": 2, "ffn_width": 10, "patch_elements": 6, "position_embeddings": 16,
          "extra_tokens": 1, "has_final_norm": False, **SOURCED}  # fmt: skip
SECOND_LAYER = 4 * 6 + (6 * 18 + 18) + (6 * 6 + 6) + (6 * 10 + 10) + (10 * 6 + 6)
TOKENS_MERGED = ROWS // 4

# what changes, parameters more than those of the plain tower, flop more
TOWER_FIELDS: list[tuple[str, dict[str, object], int, int]] = [
    ("nothing", {}, 0, 0),
    # a third matrix with its bias in each of four layers
    ("gated ffn", {"ffn": "swiglu"}, 4 * (8 * 12 + 12), 4 * 2 * ROWS * 8 * 12),
    # two norms in each of four layers and that of the merger lose a bias per element
    ("rms norm", {"norm": "rms"}, -(4 * 2 + 1) * 8, 0),
    # 21 rows of an image instead of 16, in the layers only
    ("extra tokens", {"extra_tokens": 5}, 5 * 8,
     4 * (2 * IMAGES * 5 * (8 * 24 + 8 * 8 + 2 * 8 * 12) + 4 * 8 * IMAGES * (21**2 - 16**2))),
    ("rope", {"has_rope": True}, 0, 0),
    ("layer scale", {"has_layer_scale": True}, 4 * 2 * 8, 0),
    ("no bias at patches", {"has_patch_bias": False}, -8, 0),
    ("no bias in layers", {"has_bias": False}, -4 * (24 + 8 + 12 + 8), 0),
    # windows of 6, 6 and 4 patches instead of 16, in three of four layers
    ("windows", {"attention_window": 6, "full_attention_layers": [3]}, 0,
     -3 * 4 * 8 * IMAGES * (16**2 - (6**2 + 6**2 + 4**2))),
    ("windows everywhere", {"attention_window": 8}, 0, -4 * 4 * 8 * IMAGES * (16**2 - 2 * 8**2)),
    ("three matrices in the merger", {"merger_layers": 3}, 12 * 12 + 12, 2 * TOKENS_MERGED * 12 * 12),
    # 4 * 8 elements normalised together, and the tower keeps the norm after its last layer
    ("norm of tokens", {"merger_norm": "token"}, 2 * 32 - 2 * 8 + 2 * 8, 0),
    ("norm of tokens alone", {"merger_norm": "token", "has_final_norm": False}, 2 * 32 - 2 * 8, 0),
    ("no norm at all", {"merger_norm": "none", "has_final_norm": False}, -2 * 8, 0),
    ("no bias in the merger", {"has_merger_bias": False}, -(10 + 12), 0),
    ("deepstack with norms of tokens", {"extra_mergers": 2, "extra_merger_norm": "token"},
     2 * (2 * 32 + 32 * 10 + 10 + 10 * 12 + 12), 2 * 2 * TOKENS_MERGED * (32 * 10 + 10 * 12)),
    # the merger reads 4 * 6 elements more per token and normalises 6 more per patch; 17 rows of an image in the layers
    ("two towers", {"joined": SECOND},
     (6 * 6 + 6) + 2 * SECOND_LAYER + 17 * 6 + 4 * 6 * 10 + 2 * 6,
     2 * ROWS * 6 * 6 + 2 * (2 * IMAGES * 17 * (6 * 18 + 6 * 6 + 2 * 6 * 10) + 4 * 6 * IMAGES * 17**2)
     + 2 * TOKENS_MERGED * 4 * 6 * 10),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "parameters", "flop"), [case[1:] for case in TOWER_FIELDS], ids=[case[0] for case in TOWER_FIELDS]
)
def test_a_field_of_a_tower_changes_parameters_and_flop_as_by_hand(
    changes: dict[str, object], parameters: int, flop: int
) -> None:
    assert vision_counts(**changes) == (TOWER_PARAMETERS + parameters, TOWER_FLOP + flop)


def test_a_tower_reads_each_matrix_and_bias_once_and_no_activations_if_they_stay() -> None:
    # gated FFN, no bias in the merger: two bytes for all but norms (four layers and the merger) and positions
    changes: dict[str, object] = {"ffn": "swiglu", "has_merger_bias": False}
    learned = vision_counts(**changes)[0]
    assert dram_bytes(with_tower(**changes), "vision") == 2 * (learned - 4 * 4 * 8 - 2 * 8 - 9 * 8)  # type: ignore[arg-type]


def test_two_towers_read_the_matrices_of_both() -> None:
    learned = vision_counts(joined=SECOND)[0]
    norms = 4 * 4 * 8 + 2 * 4 * 6 + 2 * 14
    assert dram_bytes(with_tower(joined=SECOND), "vision") == 2 * (learned - norms - 9 * 8 - 17 * 6)


def test_rope_of_a_tower_turns_queries_and_keys_and_values_pass_by() -> None:
    layer = phase_of(with_tower(has_rope=True), "vision").blocks[1].graph
    rope = next(operator for operator in layer.operators if operator.name == "rope")
    assert isinstance(rope, Elementwise)
    assert (rope.rows, rope.width) == (ROWS, 2 * 8)
    assert {("qkv", "rope"), ("rope", "attention"), ("qkv", "attention")} <= set(layer.dag.edges)


def test_windows_are_counted_one_by_one() -> None:
    # 14 rows in windows of 5: 5 + 5 + 4
    windows = Attention("a", (), queries=14, cached_keys=0, own_keys=14, heads=3, kv_heads=3, head_dim=4,
                        is_causal=False, batch=2, window=5)  # fmt: skip
    assert windows.pairs == 2 * (25 + 25 + 16)
    assert windows.flop == 4 * 3 * 4 * 2 * 66
    assert windows.input_elements == 2 * 3 * 14 * 3 * 4  # queries, keys and values are read as without windows


QUERIES = {"layers": 2, "queries": 5, "heads": 2, "ffn_width": 7}
PROJECTING = {"merge": 1, "merger_width": 0}
RESAMPLER_LAYER = 4 * (8 * 8 + 8) + 2 * 8 + (8 * 7 + 7) + (7 * 8 + 8)


@pytest.mark.parametrize("joins_images", [False, True])
def test_queries_take_the_place_of_patches(joins_images: bool) -> None:
    sets = 1 if joins_images else IMAGES
    rows, keys = sets * 5, ROWS // sets
    workload = with_tower(**PROJECTING, resampler={**QUERIES, "joins_images": joins_images})
    parameters = (6 * 8 + 8) + 4 * LAYER + 2 * 8 + 9 * 8 + 2 * RESAMPLER_LAYER + 5 * 8 + (8 * 12 + 12)
    assert build_graph(workload).component_parameters["vision"] == parameters
    layers = 4 * (2 * ROWS * (8 * 24 + 8 * 8 + 2 * 8 * 12) + 4 * 8 * IMAGES * PATCHES**2)
    resampler = 2 * (rows * 2 * 64 + ROWS * 2 * 64 + rows * 2 * 56) + 4 * 8 * sets * 5 * keys
    vision = phase_of(workload, "vision")
    assert vision.flop == 2 * ROWS * 48 + layers + 2 * resampler + 2 * rows * 8 * 12
    assert vision.tokens == rows


def test_a_tower_without_output_width_hands_on_what_it_has() -> None:
    alone = with_tower(**PROJECTING, output_width=0)
    projecting = with_tower(**PROJECTING)
    assert build_graph(projecting).parameters - build_graph(alone).parameters == 8 * 12 + 12
    assert [block.graph.name for block in phase_of(alone, "vision").blocks] == [
        "patch_embedding",
        "layer",
        "final_norm",
    ]
    assert phase_of(alone, "vision").tokens == ROWS


def test_pruning_copies_the_kept_tokens_and_computes_the_same() -> None:
    pruned, whole = (phase_of(with_tower(kept_tokens=kept), "vision") for kept in (5, None))
    assert (pruned.tokens, whole.tokens) == (5, TOKENS_MERGED)
    assert pruned.flop == whole.flop
    last = pruned.blocks[-1].graph.operators[-1]
    assert (last.input_elements, last.output_elements) == (5 * 12, 5 * 12)
    assert dram_bytes(with_tower(kept_tokens=5), "vision") == dram_bytes(with_tower(), "vision")


# action heads --------------------------------------------------------------------------------------------------------

ROWS_OF_ACTIONS = TOKENS * SAMPLES
FFN = 3 * 10 * 14
SELF = 10 * 16 + 2 * 10 * 8 + 16 * 10  # q, k and v, o
CROSS = 10 * 16 + 16 * 10  # q and o
CONTEXT = 2 * 7 * 8  # keys and values of a context of 7 elements
ENDS = (5 * 10 + 10) + 10 + (10 * 3 + 3)  # input, final norm, output
ENDS_FLOP = 2 * ROWS_OF_ACTIONS * (5 * 10 + 10 * 3)
JOINT_PAIRS = SAMPLES * TOKENS * (PROMPT + TOKENS)
SELF_PAIRS = SAMPLES * TOKENS * TOKENS
CROSS_PAIRS = SAMPLES * TOKENS * PROMPT

# attention, layers of each kind, elements of the context
HEAD_KINDS = [
    (["joint"], {"joint": 4}),
    (["self"], {"self": 4}),
    (["cross"], {"cross": 4}),
    (["cross", "self"], {"cross": 2, "self": 2}),
    (["joint", "cross"], {"joint": 2, "cross": 2}),
    (["cross", "self", "self"], {"cross": 2, "self": 2}),  # layers 0 and 3, layers 1 and 2
]


def head_with(attention: list[str], **changes: object) -> Workload:
    return with_head(attention=attention, context_width=7 if "cross" in attention else None, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("attention", "counts"), HEAD_KINDS, ids=["-".join(kinds) for kinds, _ in HEAD_KINDS])
def test_layers_of_an_action_head_take_turns(attention: list[str], counts: dict[str, int]) -> None:
    matrices = {"joint": SELF, "self": SELF, "cross": CROSS + CONTEXT}
    pairs = {"joint": JOINT_PAIRS, "self": SELF_PAIRS, "cross": CROSS_PAIRS}
    parameters = ENDS + sum(count * (matrices[kind] + FFN + 2 * 10) for kind, count in counts.items())
    flop = ENDS_FLOP
    for kind, count in counts.items():
        of_actions = 2 * ROWS_OF_ACTIONS * ((CROSS if kind == "cross" else SELF) + FFN)
        of_context = 2 * PROMPT * CONTEXT if kind == "cross" else 0
        flop += count * (of_actions + of_context + 4 * 4 * 4 * pairs[kind])
    workload = head_with(attention)
    assert build_graph(workload).component_parameters["action"] == parameters
    assert phase_of(workload, "action").flop == STEPS * flop


@pytest.mark.parametrize(("attention", "counts"), HEAD_KINDS, ids=["-".join(kinds) for kinds, _ in HEAD_KINDS])
def test_an_action_head_reads_its_matrices_in_every_step_and_the_cache_in_joint_layers(
    attention: list[str], counts: dict[str, int]
) -> None:
    matrices = {"joint": SELF, "self": SELF, "cross": CROSS + CONTEXT}
    weights = ENDS - 10 + sum(count * (matrices[kind] + FFN) for kind, count in counts.items())  # norms stay
    cache = counts.get("joint", 0) * 2 * 2 * 4 * PROMPT  # keys and values of two heads of four
    assert dram_bytes(head_with(attention), "action") == STEPS * 2 * (weights + cache)


# what changes, parameters more than those of the plain head with cross and self attention, flop more of a step
HEAD_FIELDS: list[tuple[str, dict[str, object], int, int]] = [
    ("plain ffn", {"ffn": "gelu"}, -4 * 10 * 14, -4 * 2 * ROWS_OF_ACTIONS * 10 * 14),
    # q, k, v, o, gate, up and down of four layers
    ("biases", {"has_bias": True}, 4 * (16 + 8 + 8 + 10 + 14 + 14 + 10), 0),
    ("no rope", {"has_rope": False}, 0, 0),
    # head norms of queries and keys, in every layer
    ("head norms", {"head_norm": True}, 4 * 2 * 4, 0),
    # 2 norms of 4 layers and the last lose 10 gains and get a matrix of one row
    ("adaptive norms", {"adaptive_norm": True}, 9 * (10 * 30 + 30 - 10), 9 * 2 * 10 * 30),
    # scale and shift only, before attention and at the end; the norm before the FFN learns nothing
    ("adaptive norms before attention", {"adaptive_norm": True, "adaptive_ffn_norm": False, "modulation": 2},
     5 * (10 * 20 + 20 - 10) - 4 * 10, 5 * 2 * 10 * 20),
    ("time", {"time_width": 6}, (6 * 10 + 10) + (10 * 10 + 10), 2 * (6 * 10 + 10 * 10)),
    ("two matrices at the input", {"input_hidden": 9}, (5 * 9 + 9) + (9 * 10 + 10) - (5 * 10 + 10),
     2 * ROWS_OF_ACTIONS * (5 * 9 + 9 * 10 - 5 * 10)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "parameters", "flop"), [case[1:] for case in HEAD_FIELDS], ids=[case[0] for case in HEAD_FIELDS]
)
def test_a_field_of_an_action_head_changes_parameters_and_flop_as_by_hand(
    changes: dict[str, object], parameters: int, flop: int
) -> None:
    plain, changed = head_with(["cross", "self"]), head_with(["cross", "self"], **changes)
    assert build_graph(changed).parameters - build_graph(plain).parameters == parameters
    assert phase_of(changed, "action").flop - phase_of(plain, "action").flop == STEPS * flop


def test_a_head_that_shares_no_cache_may_have_sizes_of_its_own() -> None:
    own = {"layers": 3, "kv_heads": 4, "head_dim": 5}
    assert phase_of(head_with(["cross", "self"], **own), "action").blocks[1].repeats == 2
    with pytest.raises(ValidationError, match="action: reads the decoder's KV cache, so kv_heads, head_dim, layers"):
        head_with(["joint", "cross"], **own)


def test_layers_without_rope_hand_queries_and_keys_to_attention() -> None:
    blocks = phase_of(head_with(["self"], has_rope=False), "action").blocks
    edges = set(blocks[1].graph.dag.edges)
    assert {("q", "attention"), ("k", "attention"), ("v", "attention")} <= edges
    assert not any("rope" in edge for edge in edges)


def test_a_sampler_that_stops_early_runs_its_expected_steps() -> None:
    early, all_steps = (phase_of(with_head(expected_steps=steps), "action") for steps in (1, None))
    assert (early.num_steps, all_steps.num_steps) == (1, STEPS)
    assert early.flop * STEPS == all_steps.flop


# what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"full_attention_layers": [1]}, "full_attention_layers: must not be given without attention_window"),
        ({"attention_window": 4, "full_attention_layers": [4]}, "full_attention_layers: must be from 0 to 3, got 4"),
        ({"attention_window": 4, "full_attention_layers": [1, 1]}, "full_attention_layers: must differ"),
        ({"output_width": 0}, "output_width: must be more than 0 with merge"),
        ({"resampler": QUERIES}, "resampler: must not be given with joined, merge above 1 or extra_mergers"),
        ({**PROJECTING, "resampler": {**QUERIES, "heads": 3}}, r"resampler.heads: must divide width \(8\), got 3"),
        ({"kept_tokens": 13}, "kept_tokens: must be at most the 12 of the tower, got 13"),
        ({"kept_tokens": 5, "prompt": 4}, "tokens: prefill must have the 5 visual tokens, got 4"),
    ],
)
def test_a_tower_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        with_tower(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": ["cross"]}, "context_width: must be given with cross attention, and only then"),
        ({"context_width": 7}, "context_width: must be given with cross attention, and only then"),
        ({"expected_steps": 3}, r"expected_steps: must be at most steps \(2\), got 3"),
    ],
)
def test_a_head_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        with_head(**changes)


# models --------------------------------------------------------------------------------------------------------------

# Parameters of the released files; the sum over the closed forms below gives each exactly.
EXACT = [
    ("qwen3-vl-2b", 2_127_532_032),
    ("qwen3-vl-4b", 4_437_815_808),
    ("qwen3-vl-8b", 8_767_123_696),
    ("qwen2.5-vl-3b", 3_754_622_976),
    ("qwen2.5-vl-7b", 8_292_166_656),
    ("internvl2-1b", 938_193_024),
    ("internvl2-2b", 2_205_754_368),
    ("siglip-so400m", 428_225_600),
]
# name, of which component, published, tolerance, parameters that run nowhere and are left out
NEARLY = [
    ("openvla-7b", None, 7_541_237_184, 0, 15_238_352),  # the pooling head of SigLIP
    ("gr00t-n1.6", "action", 1_091_722_240, 0, -(3072 * 1536 + 1536 + 1536 * 1536 + 1536)),  # counted without its input
    ("smolvla", None, 450e6, 0.005, 0),
    ("pi0", "decoder", 2_508_531_712, 0, 0),
    ("pi0", "vision", 412_442_352 + 1152 * 2048 + 2048, 0, 0),  # SigLIP and the projection
    ("pi0", "action", 311e6, 0.02, 0),  # Gemma 300m; input and output come on top
    ("mindvla-llm-431m", None, 431e6, 0.005, 0),
]


@pytest.mark.parametrize(("name", "published"), EXACT)
def test_sizes_of_an_open_model_give_its_parameter_count_exactly(name: str, published: int) -> None:
    workload = load_workload(name)
    assert build_graph(workload).parameters == published == workload.parameters_published


@pytest.mark.parametrize(("name", "component", "published", "tolerance", "left_out"), NEARLY)
def test_sizes_of_a_model_give_its_parameter_count_but_for_what_is_left_out(
    name: str, component: str | None, published: float, tolerance: float, left_out: int
) -> None:
    graph = build_graph(load_workload(name))
    count = graph.parameters if component is None else graph.component_parameters[component]
    assert count + left_out == pytest.approx(published, rel=tolerance, abs=0)


def test_the_two_towers_of_openvla_by_hand() -> None:
    """SigLIP without its pooling head, DINOv2 with registers and layer scale, and three matrices that join them."""
    siglip = (588 * 1152 + 1152) + 256 * 1152 + 2 * 1152
    siglip += 27 * (4 * (1152**2 + 1152) + 2 * 1152 * 4304 + 4304 + 1152 + 4 * 1152)
    dino = (588 * 1024 + 1024) + (256 + 5) * 1024 + 2 * 1024
    dino += 24 * (4 * (1024**2 + 1024) + 2 * 1024 * 4096 + 4096 + 1024 + 4 * 1024 + 2 * 1024)
    projector = 2176 * 8704 + 8704 + 8704 * 4096 + 4096 + 4096**2 + 4096
    assert build_graph(load_workload("openvla-7b")).component_parameters["vision"] == siglip + dino + projector


def test_flop_of_the_windowed_tower_of_qwen25_vl_by_hand() -> None:
    """1,396 patches: 28 layers with 21 windows of 64 and one of 52, 4 layers over all patches."""
    matrices = 1280 * 3840 + 1280**2 + 3 * 1280 * 3420
    windows, all_patches = 21 * 64**2 + 52**2, 1396**2
    by_hand = 2 * 1396 * (1176 * 1280 + 32 * matrices) + 4 * 1280 * (28 * windows + 4 * all_patches)
    by_hand += 2 * 349 * (5120 * 5120 + 5120 * 3584)
    assert phase_of(load_workload("qwen2.5-vl-7b"), "vision").flop == by_hand


def test_flop_of_the_action_transformer_of_gr00t_by_hand() -> None:
    """A step of 51 tokens and a context of 192: 16 layers of each kind; modulations and time have one row."""
    shared = 2 * 1536 * 6144 + 2 * 1536**2  # FFN, queries and output
    cross = 2 * 51 * shared + 2 * 192 * 2 * 2048 * 1536 + 4 * 1536 * 51 * 192
    own = 2 * 51 * (shared + 2 * 1536**2) + 4 * 1536 * 51 * 51
    ends = 2 * 51 * (3072 * 1536 + 1536**2 + 1536 * 1024) + 2 * (256 * 1536 + 1536**2)
    by_hand = 16 * (cross + own) + ends + 33 * 2 * 1536 * 3072
    assert phase_of(load_workload("gr00t-n1.6"), "action").flop == 4 * by_hand


def test_cross_layers_of_smolvla_read_cached_keys_through_matrices_of_their_own() -> None:
    action = load_workload("smolvla").action
    assert isinstance(action, ActionExpert)
    shapes = {
        (operator.rows, operator.inputs, operator.outputs): repeats
        for operator, repeats in phase_of(load_workload("smolvla"), "action").operators()
        if isinstance(operator, MatMul) and operator.name.startswith("context")
    }
    assert shapes == {(177, 5 * 64, 5 * 64): 8}  # keys and values of the prompt, in every second of 16 layers


VISUAL_TOKENS = [
    ("qwen3-vl-2b", 265),  # 1,060 patches of which four are a token
    ("qwen2.5-vl-7b", 349),
    ("internvl2-2b", 256),  # a tile of 32 * 32 patches
    ("openvla-7b", 256),
    ("gr00t-n1.6", 2 * 81),
    ("smolvla", 2 * 64),
    ("autovla-3b", 840),
    ("siglip-so400m", 1),  # pooled
    ("orion-7b", 512),
    ("xpeng-vla-2.0", 812),  # kept of 3,248
]


@pytest.mark.parametrize(("name", "tokens"), VISUAL_TOKENS)
def test_a_prompt_has_room_for_the_visual_tokens_of_its_tower(name: str, tokens: int) -> None:
    workload = load_workload(name)
    assert isinstance(workload.vision, VisionTower)
    assert phase_of(workload, "vision").tokens == tokens
    assert all(phase.tokens >= tokens for phase in workload.pipeline if phase.phase == "prefill")
