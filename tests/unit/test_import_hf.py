"""A public configuration becomes a workload with its published parameter count, or an error that names file and key."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.catalog import load_workload
from simulator.errors import SpecError
from simulator.graph import build_graph
from simulator.importers import Imported, Question, import_hf
from simulator.report.workload_file import workload_text

PUBLIC = Path(__file__).parents[1] / "data" / "hf"

# Published totals of the weight files, but for what the right column says.
TOTALS = [
    ("qwen2.5-0.5b", 494_032_768, 0),
    ("qwen2.5-1.5b", 1_543_714_304, 0),
    ("qwen2.5-3b", 3_085_938_688, 0),
    ("qwen3-8b", 8_190_735_360, 0),
    ("llama3.2-1b", 1_235_814_400, 0),
    ("mistral-7b", 7_241_732_096, 0),
    ("mixtral-8x7b", 46_702_792_704, 0),
    ("gemma-2b", 2_506_172_416, 0),
    ("gemma2-2b", 2_614_341_888, 0),
    ("gemma3-1b", 999_885_952, 0),
    ("phi3-mini-4k", 3_821_079_552, 0),
    ("olmoe-1b-7b", 6_919_161_856, 0),
    ("qwen1.5-moe-a2.7b", 14_315_784_192, 0),
    ("qwen3-30b-a3b", 30_532_122_624, 0),
    ("qwen3-next-80b-a3b", 79_674_391_296, 0),
    # the layer that predicts a second token: full attention with a gate, FFN, the matrix that joins both, five norms
    ("qwen3.5-27b", 27_781_427_952, 5120 * (2 * 6144 + 2 * 1024 + 6144 + 3 * 17408 + 2 * 5120 + 5) + 2 * 256),
    ("deepseek-v2-lite", 15_706_484_224, 0),
    ("deepseek-v3", 671_026_419_200, 58 * 256),  # a bias per expert that steers the router, in 58 sparse layers
    ("gpt-oss-20b", 20_914_757_184, 0),
    ("minicpm-1b", 1_247_442_432 + 73_440 * 1536, 0),  # published without the embedding
    ("minicpm-2b", 2_442_057_984 + 122_753 * 2304, 0),
    ("vit-base", 86_567_656, 1000 * 769),  # the classifier of 1,000 classes
    ("siglip-base-224", 203_155_970, 110_271_744 + 2),  # the tower for texts, scale and bias of the loss
    ("siglip-so400m-384", 428_225_600, 0),
    ("clip-vit-large-336", 303_507_456, 2 * 1024),  # one of the norms before and after the layers
    ("qwen2-vl-2b", 2_208_985_600, 0),
    ("qwen2.5-vl-3b", 3_754_622_976, 0),
    ("qwen3-vl-8b", 8_767_123_696, 0),
    # the last layer of the tower is left out: 4 (w² + w) + 8 w² + 5 w + 4 w with w = 1024, and the norm after it
    ("llava-1.5-7b", 7_063_427_072, 4 * (1024**2 + 1024) + 8 * 1024**2 + 9 * 1024 + 2 * 1024),
    ("internvl2-1b", 938_158_976, 0),
    ("internvl3-1b-hf", 938_193_024, 0),
]


def imported(tree: dict[str, Any] | str, folder: Path, **question: Any) -> Imported:
    """What a configuration in a folder of that name becomes."""
    folder.mkdir(exist_ok=True)
    text = tree if isinstance(tree, str) else json.dumps(tree)
    (folder / "config.json").write_text(text)
    return import_hf(folder, Question(**question))


def public(name: str, **changes: Any) -> dict[str, Any]:
    """A public configuration with other values; None removes a key."""
    tree = {**json.loads((PUBLIC / f"{name}.json").read_text()), **changes}
    return {key: value for key, value in tree.items() if value is not ...}


def message(tree: dict[str, Any] | str, folder: Path) -> str:
    with pytest.raises(SpecError) as error:
        imported(tree, folder)
    return str(error.value)


def test_every_public_configuration_of_the_folder_has_a_published_total() -> None:
    assert {path.stem for path in PUBLIC.glob("*.json")} == {name for name, _, _ in TOTALS}


@pytest.mark.parametrize(("name", "published", "left_out"), TOTALS, ids=[name for name, _, _ in TOTALS])
def test_parameters_of_a_public_configuration_are_the_published_ones(
    name: str, published: int, left_out: int, tmp_path: Path
) -> None:
    found = import_hf(PUBLIC / f"{name}.json")
    assert build_graph(found.workload).parameters == published - left_out
    assert found.unknown == ()


@pytest.mark.parametrize("name", [name for name, _, _ in TOTALS])
def test_the_file_of_an_import_reads_back_to_an_equal_workload(name: str, tmp_path: Path) -> None:
    found = import_hf(PUBLIC / f"{name}.json")
    path = tmp_path / f"{found.workload.name}.yaml"
    path.write_text(workload_text(found.workload, remarks=found.provenance), encoding="utf-8")
    assert load_workload(path) == found.workload


# What does not change the number of parameters, or changes it by chance alone.
SAID = [
    ("mistral-7b", {}, "attention_window", 4096),
    ("mistral-7b", {"sliding_window": None}, "attention_window", None),
    ("qwen2.5-1.5b", {}, "attention_window", None),  # given and not used
    ("qwen2.5-1.5b", {"use_sliding_window": True, "max_window_layers": 0}, "attention_window", 131_072),
    ("qwen2.5-1.5b", {"use_sliding_window": True, "max_window_layers": 27}, "pattern", ("full",) * 27 + ("window",)),
    ("gemma2-2b", {}, "pattern", ("window", "full")),
    ("gemma3-1b", {}, "pattern", ("window",) * 5 + ("full",)),
    ("gemma3-1b", {}, "attention_window", 512),
    ("gpt-oss-20b", {}, "attention_window", 128),
    ("gpt-oss-20b", {}, "attention_sinks", True),
    ("gpt-oss-20b", {"layer_types": ...}, "pattern", ("window", "full")),
    ("phi3-mini-4k", {"partial_rotary_factor": 0.75}, "rope_dim", 72),  # of 96
    ("llama3.2-1b", {"attention_bias": True}, "o_bias", True),
    ("llama3.2-1b", {"mlp_bias": True}, "ffn_bias", True),
    ("gemma-2b", {}, "ffn", "geglu"),
    ("mixtral-8x7b", {}, "top_k", 2),
    ("qwen3-30b-a3b", {"mlp_only_layers": [0, 1]}, "dense_width", 6144),
    ("deepseek-v3", {}, "head_dim", 128 + 64),
    ("qwen3-next-80b-a3b", {}, "pattern", ("linear",) * 3 + ("full",)),
]


@pytest.mark.parametrize(("name", "changes", "field", "value"), SAID)
def test_a_configuration_says_more_than_sizes(
    name: str, changes: dict[str, Any], field: str, value: object, tmp_path: Path
) -> None:
    decoder = imported(public(name, **changes), tmp_path / "model").workload.decoder
    assert getattr(decoder, field) == value


def test_a_tower_has_its_windows_and_the_layers_that_are_used() -> None:
    """Windows of 112 pixels are 8 x 8 patches of 14; LLaVA reads the last layer but one, so 23 of 24 run."""
    windows = import_hf(PUBLIC / "qwen2.5-vl-3b.json").workload.vision
    used = import_hf(PUBLIC / "llava-1.5-7b.json").workload.vision
    assert windows is not None
    assert used is not None
    assert (windows.attention_window, windows.full_attention_layers) == (64, (7, 15, 23, 31))
    assert (used.layers, used.extra_tokens) == (23, 1)


def test_experts_in_some_layers_only_are_refused_by_name(tmp_path: Path) -> None:
    text = message(public("qwen3-30b-a3b", mlp_only_layers=[3]), tmp_path / "model")
    assert "mlp_only_layers: must be the first layers, got a list" in text
    assert "a workload cannot say that other layers than the first are dense yet" in text


def test_a_frame_has_the_tokens_that_were_asked_for() -> None:
    found = import_hf(PUBLIC / "qwen2.5-1.5b.json", Question(prompt=60, decode=24, precision="w4a16"))
    phases = [(phase.phase, phase.precision, getattr(phase, "tokens", None)) for phase in found.workload.pipeline]
    assert phases == [("prefill", "w4a16", 60), ("decode", "w4a16", 24)]
    only_prompt = import_hf(PUBLIC / "qwen2.5-1.5b.json", Question(decode=0)).workload
    assert [phase.phase for phase in only_prompt.pipeline] == ["prefill"]


def test_tokens_of_images_come_on_top_of_the_prompt() -> None:
    """Qwen3-VL: 16-pixel patches, four of them a token: 576 x 320 has 36 x 20 = 720 patches and 180 tokens."""
    question = Question(prompt=100, images=4, image_sides=(320, 576))
    vision, prefill, _ = import_hf(PUBLIC / "qwen3-vl-8b.json", question).workload.pipeline
    assert (vision.phase, prefill.phase) == ("vision", "prefill")
    assert (getattr(vision, "images", 0), getattr(vision, "patches", 0)) == (4, 720)
    assert getattr(prefill, "tokens", 0) == 100 + 4 * 180


def test_images_of_a_fixed_tower_are_those_of_its_configuration() -> None:
    """LLaVA: 336 / 14 = 24 patches a side, each a token, as published: 576."""
    workload = import_hf(PUBLIC / "llava-1.5-7b.json", Question(prompt=10)).workload
    assert [getattr(phase, "tokens", 0) for phase in workload.pipeline] == [0, 576 + 10, 128]
    with pytest.raises(SpecError, match="image_size: must be that of the images, 640x480, got 336x336"):
        import_hf(PUBLIC / "llava-1.5-7b.json", Question(image_sides=(480, 640)))


def test_images_for_a_model_that_does_not_see_are_refused() -> None:
    with pytest.raises(SpecError, match="must be a model that sees where images are asked for, got llama"):
        import_hf(PUBLIC / "llama3.2-1b.json", Question(images=2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": ...}, "hidden_size: must be a whole number from 1 to 100,000,000, got nothing"),
        ({"hidden_size": "2048"}, 'hidden_size: must be a whole number from 1 to 100,000,000, got "2048"'),
        ({"hidden_size": True}, "hidden_size: must be a whole number from 1 to 100,000,000, got true"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: must be a whole number from 1 to 10,000, got 1000000000"),
        ({"vocab_size": 0}, "vocab_size: must be a whole number from 1 to 100,000,000, got 0"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: must divide num_attention_heads (32), got 3"),
        ({"hidden_act": "relu"}, "hidden_act: must be one of silu"),
        ({"tie_word_embeddings": "yes"}, 'tie_word_embeddings: must be true or false, got "yes"'),
        ({"hidden_size": 2000, "head_dim": ...}, "hidden_size: must be a multiple of num_attention_heads (32) where"),
        ({"model_type": "lama"}, 'did you mean "llama"?'),
        ({"model_type": ...}, "model_type: must be text, got nothing"),
        ({"model_type": "gemma3"}, "its text_config can be imported by itself"),
    ],
)
def test_a_wrong_size_names_file_and_key(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    text = message(public("llama3.2-1b", **changes), tmp_path / "model")
    assert words in text
    assert "config.json" in text


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    text = message(public("llama3.2-1b", hidden_size=None, vocab_size=-1), tmp_path / "model")
    assert "2 things are wrong" in text
    assert "hidden_size" in text
    assert "vocab_size" in text


def test_experts_without_their_number_per_token_are_refused(tmp_path: Path) -> None:
    text = message(public("mixtral-8x7b", num_experts_per_tok=...), tmp_path / "model")
    assert "num_experts_per_tok: must be a whole number" in text
    text = message(public("mixtral-8x7b", num_experts_per_tok=9), tmp_path / "model")
    assert "num_experts_per_tok: must be at most the number of experts (8), got 9" in text


def test_kinds_of_layers_must_be_as_many_as_layers(tmp_path: Path) -> None:
    text = message(public("gpt-oss-20b", layer_types=["full_attention"]), tmp_path / "model")
    assert "layer_types: must have one entry per layer (24), got 1" in text
    text = message(public("gpt-oss-20b", layer_types=["mamba"] * 24), tmp_path / "model")
    assert 'layer_types: must have full_attention or sliding_attention, got "mamba"' in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file ends too early"),
        ('{"model_type": "llama", "hidden', "the file ends too early"),
        ("[1, 2]", "must be a JSON object, got a list"),
        ('{"model_type": "llama", "model_type": "qwen2"}', 'the key "model_type" is given twice'),
        ("{'model_type': 'llama'}", "must be valid JSON"),
        ("[" * 100_000, "must be valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(content: str, words: str, tmp_path: Path) -> None:
    assert words in message(content, tmp_path / "model")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(SpecError, match="must be a file of at most 4 MiB, got more"):
        import_hf(path)


def test_a_path_without_a_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SpecError, match=r"must hold a config.json, got a folder without one\n.*tokenizer.json"):
        import_hf(tmp_path)
    with pytest.raises(SpecError, match="got nothing there"):
        import_hf(tmp_path / "nowhere")


def test_a_key_that_nobody_knows_is_listed_and_one_that_costs_nothing_is_not(tmp_path: Path) -> None:
    tree = public("qwen2.5-vl-3b", mamba_layers=3, rms_norm_eps=1e-5)
    tree["vision_config"]["gate"] = True
    found = imported(tree, tmp_path / "model")
    assert set(found.unknown) == {"mamba_layers", "vision_config.gate"}
    assert any(line.startswith("mamba_layers: not known") for line in found.provenance)


def test_sizes_inside_a_larger_model_come_from_its_family_and_are_listed() -> None:
    """Published files of LLaVA leave out what Llama has anyway."""
    found = import_hf(PUBLIC / "llava-1.5-7b.json")
    assert found.filled["text_config.num_hidden_layers"] == "32"
    assert any(line.startswith("text_config.num_hidden_layers: left out there, 32") for line in found.provenance)


def test_a_tied_head_at_the_top_of_a_model_that_sees_is_that_of_its_language_model(tmp_path: Path) -> None:
    tied = imported(public("qwen3-vl-8b", tie_word_embeddings=True), tmp_path / "model").workload
    assert tied.decoder is not None
    assert tied.decoder.tied_head


def test_a_tower_must_hand_on_the_width_of_its_decoder(tmp_path: Path) -> None:
    tree = public("qwen3-vl-8b")
    tree["vision_config"]["out_hidden_size"] = 2048
    assert "vision_config.out_hidden_size: must be the hidden_size of the language model (4096), got 2048" in message(
        tree, tmp_path / "model"
    )


@pytest.mark.parametrize(
    ("quantised", "precision"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "w4a16"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "w8a16"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}, "nvfp4"),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}},
            },
            "w4a16",
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bf16"),
    ],
)
def test_a_quantisation_chooses_the_precision_or_is_reported(
    quantised: dict[str, Any], precision: str, tmp_path: Path
) -> None:
    found = imported(public("llama3.2-1b", quantization_config=quantised), tmp_path / "model")
    assert {phase.precision for phase in found.workload.pipeline} == {precision}
    assert any(remark.startswith(f"quantization_config: {quantised['quant_method']}") for remark in found.remarks)


def test_a_precision_that_was_asked_for_takes_the_place_of_that_of_the_file(tmp_path: Path) -> None:
    tree = public("llama3.2-1b", quantization_config={"quant_method": "fp8"})
    found = imported(tree, tmp_path / "model", precision="nvfp4")
    assert {phase.precision for phase in found.workload.pipeline} == {"nvfp4"}
    assert found.remarks == ("precision: nvfp4 was asked for, the file has fp8",)


def test_other_groups_than_those_of_the_precision_are_reported(tmp_path: Path) -> None:
    tree = public("llama3.2-1b", quantization_config={"quant_method": "awq", "bits": 4, "group_size": 64})
    assert "with groups of 128 instead of 64" in imported(tree, tmp_path / "model").remarks[0]


JUNK = [None, True, 0, -1, 3, 10**30, 1.5, "x", [], [1], {}, {"a": 1}, ["full_attention"]]


def outcome(tree: dict[str, Any], folder: Path) -> str:
    """Where an import came from, or why there is none."""
    try:
        return imported(tree, folder).origin
    except SpecError as error:
        return str(error)


@given(choice=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_changed_configuration_is_a_workload_or_an_error_that_names_the_file(choice: Random) -> None:
    tree = json.loads(choice.choice(sorted(PUBLIC.glob("*.json"))).read_text())
    part = choice.choice([tree, *(value for value in tree.values() if isinstance(value, dict) and value)])
    part[choice.choice(sorted(part))] = choice.choice(JUNK)
    with TemporaryDirectory() as folder:
        assert "config.json" in outcome(tree, Path(folder))


def test_the_name_is_that_of_the_repository_of_a_download(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--Qwen--Qwen2.5-1.5B" / "snapshots" / "8faed761d45a263340a0528343f099c05c9a4323"
    snapshot.mkdir(parents=True)
    workload = imported(public("qwen2.5-1.5b"), snapshot).workload
    assert (workload.name, workload.title) == ("qwen2.5-1.5b", "Qwen2.5-1.5B")
