"""Exact counts of the catalogue's models against published numbers and closed forms written here.

The closed forms use l layers, d width, H query and G key-value heads of h elements, f inner width, V vocabulary; they
do not call the code that counts. Sources: public model cards for parameter counts, [codesign] sections 2.1 and 8.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from simulator import load_workload
from simulator.graph import Attention, CacheWrite, MatMul, PhaseGraph, build_graph
from simulator.graph.decoder import kv_elements_per_token
from simulator.precision import precision
from simulator.simulation.setup import configure
from simulator.workload import Decoder

# name, published parameters, (l, d, H, G, h, f, V, tied, biases, head norms)
LANGUAGE_MODELS = [
    ("llama2-7b", 6_738_415_616, (32, 4096, 32, 32, 128, 11008, 32000, False, False, False)),
    ("qwen2.5-0.5b", 494_032_768, (24, 896, 14, 2, 64, 4864, 151936, True, True, False)),
    ("qwen3-0.6b", 596_049_920, (28, 1024, 16, 8, 128, 3072, 151936, True, False, True)),
    ("qwen3-1.7b", 1_720_574_976, (28, 2048, 16, 8, 128, 6144, 151936, True, False, True)),
    ("qwen3-4b", 4_022_468_096, (36, 2560, 32, 8, 128, 9728, 151936, True, False, True)),
]
IDS = [name for name, _, _ in LANGUAGE_MODELS]


@pytest.mark.parametrize(("name", "published", "shape"), LANGUAGE_MODELS, ids=IDS)
def test_parameters_are_exactly_the_published_ones(name: str, published: int, shape: tuple[int, ...]) -> None:
    layers, width, heads, kv_heads, head_dim, inner, vocabulary, tied, biased, normed = shape
    per_layer = 2 * width * heads * head_dim + 2 * width * kv_heads * head_dim + 3 * width * inner + 2 * width
    per_layer += (heads + 2 * kv_heads) * head_dim * biased + 2 * head_dim * normed
    by_hand = layers * per_layer + width + vocabulary * width * (1 if tied else 2)
    assert by_hand == published
    assert build_graph(load_workload(name)).parameters == published


@pytest.mark.parametrize(
    ("name", "component", "published", "tolerance"),
    [
        ("alpamayo-1.5-10b", "action", 2.28e9, 0.005),  # [alp1-cfg]: sum of the shapes; the card says 2.3 B
        ("alpamayo-1.5-10b", "decoder", 8.2e9, 0.005),  # [alp15-card]: Cosmos-Reason backbone
        ("pi0.5", "decoder", 2.508e9, 0.001),  # Gemma-2B with the PaliGemma vocabulary
        ("pi0.5", "vision", 0.4124e9, 0.01),  # SigLIP so400m, with the projection to the decoder
    ],
)
def test_components_of_driving_models_have_their_published_size(
    name: str, component: str, published: float, tolerance: float
) -> None:
    assert build_graph(load_workload(name)).component_parameters[component] == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(("name", "_published", "shape"), LANGUAGE_MODELS, ids=IDS)
def test_prefill_flop_is_the_closed_form(name: str, _published: int, shape: tuple[int, ...]) -> None:
    layers, width, heads, kv_heads, head_dim, inner, vocabulary, *_ = shape
    tokens = 512
    matrices = 2 * tokens * (2 * width * heads * head_dim + 2 * width * kv_heads * head_dim + 3 * width * inner)
    attention = 2 * 2 * heads * head_dim * tokens * (tokens + 1) // 2  # scores and values, row i sees i keys
    assert _phase(name, "prefill").flop == layers * (matrices + attention) + 2 * width * vocabulary


@pytest.mark.parametrize(("name", "_published", "shape"), LANGUAGE_MODELS, ids=IDS)
def test_decode_flop_is_the_sum_over_growing_contexts(name: str, _published: int, shape: tuple[int, ...]) -> None:
    layers, width, heads, kv_heads, head_dim, inner, vocabulary, *_ = shape
    prompt, tokens = 512, 128
    matrices = 2 * (2 * width * heads * head_dim + 2 * width * kv_heads * head_dim + 3 * width * inner)
    keys = tokens * prompt + tokens * (tokens + 1) // 2  # token t sees prompt + t keys
    by_hand = tokens * (layers * matrices + 2 * width * vocabulary) + layers * 4 * heads * head_dim * keys
    assert _phase(name, "decode").flop == by_hand


@pytest.mark.parametrize(("name", "_published", "shape"), LANGUAGE_MODELS, ids=IDS)
def test_kv_elements_read_by_decode_follow_the_closed_sum_of_the_codesign_paper(
    name: str, _published: int, shape: tuple[int, ...]
) -> None:
    layers, _, _, kv_heads, head_dim, *_ = shape
    prompt, tokens = 512, 128
    mean_context = prompt + Fraction(tokens + 1, 2)  # [codesign] section 2.1: S_in + (S_out + 1) / 2
    decode = _phase(name, "decode")
    read = sum(
        block.repeats * decode.over_steps(operator.cache_elements)
        for block in decode.blocks
        for operator in block.graph.operators
        if isinstance(operator, Attention)
    )
    assert read == layers * tokens * 2 * kv_heads * head_dim * mean_context
    written = sum(
        block.repeats * decode.over_steps(operator.cache_elements)
        for block in decode.blocks
        for operator in block.graph.operators
        if isinstance(operator, CacheWrite)
    )
    assert written == layers * tokens * 2 * kv_heads * head_dim


@pytest.mark.parametrize("name", IDS)
def test_a_layer_computes_two_flop_per_weight_as_the_codesign_identity_says(name: str) -> None:
    """Identity of [codesign] section 8: xi_F = 2 xi_Wdec, per token and in units of the squared width."""
    decoder = load_workload(name).decoder
    assert decoder is not None
    matrices = [operator for operator, _ in _phase(name, "decode").operators() if isinstance(operator, MatMul)]
    body = [operator for operator in matrices if operator.role == "body"]
    squared = Fraction(decoder.hidden**2)
    compute = sum(operator.flop for operator in body) / squared
    weights = sum(operator.inputs * operator.outputs for operator in body) / squared
    assert compute == 2 * weights
    if decoder.heads * decoder.head_dim == decoder.hidden:  # the paper's form takes H h = d
        gqa, ratio = Fraction(decoder.heads, decoder.kv_heads), Fraction(decoder.ffn_width, decoder.hidden)
        assert compute == 4 + 4 / gqa + 6 * ratio
        assert weights == 2 + 2 / gqa + 3 * ratio


@pytest.mark.parametrize(
    ("name", "bits_per_weight"),
    [("bf16", 16), ("w8a8", 8), ("w4a16", 4 + 16 / 128), ("nvfp4", 4 + 8 / 16), ("mxfp8", 8 + 8 / 32)],
)
def test_weight_bytes_count_scales_exactly(name: str, bits_per_weight: float) -> None:
    assert precision(name).matrix_bytes(4096, 11008) * 8 == 4096 * 11008 * bits_per_weight


def test_kv_cache_of_llama_is_half_a_mebibyte_per_token() -> None:
    decoder = load_workload("llama2-7b").decoder
    assert isinstance(decoder, Decoder)
    assert kv_elements_per_token(decoder) * precision("fp16").matrix_bytes(1, 1) == 524_288  # 2 * 32 * 32 * 128 * 2


def test_vision_attention_stays_within_an_image() -> None:
    """Alpamayo: 16 images of 720 patches; 27 layers of width 1152 (heads times head width)."""
    attention = next(
        operator for operator, _ in _phase("alpamayo-1.5-10b", "vision").operators() if isinstance(operator, Attention)
    )
    assert attention.flop == 16 * 4 * 1152 * 720**2


def test_action_steps_read_the_cache_of_prompt_and_reasoning() -> None:
    workload = load_workload("alpamayo-1.5-10b")
    tokens = {phase.phase: getattr(phase, "tokens", 0) for phase in workload.pipeline}
    action = _phase("alpamayo-1.5-10b", "action")
    attention = next(operator for operator, _ in action.operators() if isinstance(operator, Attention))
    assert attention.cached_keys == tokens["prefill"] + tokens["decode"]
    assert attention.cache_elements == 2 * 8 * 128 * attention.cached_keys
    assert action.num_steps == 10


def _phase(name: str, phase: str) -> PhaseGraph:
    workload = load_workload(name)
    if name in IDS:
        workload = configure(workload, precision=None, prompt_tokens=512, decode_tokens=128)
    return next(entry for entry in build_graph(workload).phases if entry.name == phase)
