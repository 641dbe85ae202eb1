"""Headers of weight files: read without the weights, checked against themselves, and counted beside the workload."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import SpecError
from simulator.importers import import_hf
from simulator.importers.safetensors import read_header, stored_tensors

BYTES = {"BF16": 2, "F32": 4, "I32": 4, "U8": 1, "F8_E4M3": 1}
Shapes = Mapping[str, tuple[str, list[int]]]

TINY = {"model_type": "qwen2", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 10,
        "num_key_value_heads": 1, "intermediate_size": 16, "hidden_act": "silu", "tie_word_embeddings": False,
        "torch_dtype": "bfloat16"}  # fmt: skip


def tiny_tensors(*, packed: int = 0) -> dict[str, tuple[str, list[int]]]:
    """The tensors of that model; weights of the FFN may be packed, so many to an integer, with scales beside them."""
    tensors: dict[str, tuple[str, list[int]]] = {
        "model.embed_tokens.weight": ("BF16", [10, 8]), "model.norm.weight": ("BF16", [8]),
        "lm_head.weight": ("BF16", [10, 8]),
    }  # fmt: skip
    for layer in range(2):
        place = f"model.layers.{layer}"
        for name, rows in (("q", 8), ("k", 4), ("v", 4)):
            tensors[f"{place}.self_attn.{name}_proj.weight"] = ("BF16", [rows, 8])
            tensors[f"{place}.self_attn.{name}_proj.bias"] = ("BF16", [rows])
        tensors[f"{place}.self_attn.o_proj.weight"] = ("BF16", [8, 8])
        tensors |= {f"{place}.{name}_layernorm.weight": ("BF16", [8]) for name in ("input", "post_attention")}
        for name, shape in (("gate", [16, 8]), ("up", [16, 8]), ("down", [8, 16])):
            if packed:
                tensors[f"{place}.mlp.{name}_proj.qweight"] = ("I32", [shape[0], shape[1] // packed])
                tensors[f"{place}.mlp.{name}_proj.scales"] = ("BF16", [1, shape[0]])
                tensors[f"{place}.mlp.{name}_proj.qzeros"] = ("I32", [1, 1])
            else:
                tensors[f"{place}.mlp.{name}_proj.weight"] = ("BF16", shape)
    return tensors


def write(path: Path, tensors: Shapes, *, cut: int = 0) -> None:
    """A weight file of zeros, `cut` bytes too short."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = BYTES[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    content = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + bytes(end - cut))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the configuration of a tiny model."""
    model = tmp_path / "tiny"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(TINY))
    return model


def comparison(folder: Path) -> Any:
    found = import_hf(folder).comparison
    assert found is not None
    return found


# embedding and head 2 * 80; per layer: q, o 64 each, k, v 32 each, biases 16, norms 16, FFN 3 * 128; final norm 8
EXACT = 2 * 80 + 2 * (2 * 64 + 2 * 32 + 16 + 16 + 3 * 128) + 8


def test_weights_of_the_same_model_are_equal(folder: Path) -> None:
    write(folder / "model.safetensors", tiny_tensors())
    found = comparison(folder)
    assert (dict(found.stored), found.differences) == ({"decoder": EXACT}, {})
    assert dict(found.stored_bytes) == {"BF16": 2 * EXACT}


def test_a_folder_without_weights_has_nothing_to_compare(folder: Path) -> None:
    assert import_hf(folder).comparison is None


def test_a_tensor_more_is_a_difference(folder: Path) -> None:
    write(folder / "model.safetensors", {**tiny_tensors(), "model.layers.0.extra.weight": ("BF16", [3, 5])})
    assert comparison(folder).differences == {"decoder": 15}


def test_files_of_an_index_are_counted_together(folder: Path) -> None:
    tensors = tiny_tensors()
    names = sorted(tensors)
    files = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for file in set(files.values()):
        write(folder / file, {name: tensors[name] for name in names if files[name] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert comparison(folder).differences == {}
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SpecError, match=r"1 of its 2 files are not there, such as model-00002-of-00002.safetensors"):
        import_hf(folder)


def test_an_index_must_not_lead_out_of_its_folder(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(SpecError, match=r'must name files of its folder, got "\.\./x\.safetensors"'):
        import_hf(folder)


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_weights_count_as_many_as_they_hold(folder: Path, bits: int) -> None:
    """Scales and zeros are not parameters: per layer 3 scales of 16, 16 and 8 rows, and 3 zeros."""
    quantised = {"quant_method": "gptq", "bits": bits, "group_size": 128}
    (folder / "config.json").write_text(json.dumps({**TINY, "quantization_config": quantised}))
    write(folder / "model.safetensors", tiny_tensors(packed=32 // bits))
    found = comparison(folder)
    assert found.differences == {}
    assert found.remarks == (f"{2 * (16 + 16 + 8 + 3):,} numbers are scales of the quantisation",)


def test_a_copy_of_a_tied_embedding_is_not_counted(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**TINY, "tie_word_embeddings": True}))
    write(folder / "model.safetensors", tiny_tensors())
    found = comparison(folder)
    assert found.differences == {}
    assert found.remarks == ("80 numbers are a copy of the embedding as head",)


def test_layers_that_predict_further_tokens_are_not_counted(folder: Path) -> None:
    write(folder / "model.safetensors", {**tiny_tensors(), "model.layers.2.eh_proj.weight": ("BF16", [8, 16])})
    found = comparison(folder)
    assert found.differences == {}
    assert found.remarks == ("128 numbers are layers beyond the last one, for predicting further tokens",)


def test_parameters_of_a_model_that_sees_are_counted_by_component(folder: Path) -> None:
    tower = {"model_type": "clip_vision_model", "hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 2,
             "intermediate_size": 8, "image_size": 4, "patch_size": 2}  # fmt: skip
    tree = {"model_type": "llava", "text_config": TINY, "vision_config": tower, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(tree))
    write(folder / "model.safetensors", {
        "vision_tower.vision_model.embeddings.class_embedding": ("BF16", [4]),
        "model.multi_modal_projector.linear_1.weight": ("BF16", [8, 4]),
        "language_model.model.norm.weight": ("BF16", [8]),
        "model.language_model.embed_tokens.weight": ("BF16", [10, 8]),
    })  # fmt: skip
    assert comparison(folder).stored == {"vision": 4 + 32, "decoder": 8 + 80}


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    for name in ("model-a.safetensors", "model-b.safetensors"):
        write(folder / name, tiny_tensors())
    with pytest.raises(SpecError, match=r"model.embed_tokens.weight: must be in one file, got it in two"):
        import_hf(folder)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write(path, {"a": ("BF16", [4])}, cut=3)
    with pytest.raises(SpecError, match="a: must end within the file, got 3 bytes beyond it"):
        list(read_header(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not fit its 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1", "does not fit its 42 bytes"),
        (bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"[]", "must be a JSON object, got a list"),
        (bytes([9, 0, 0, 0, 0, 0, 0, 0]) + b'{"a": 1 }', "a: must have dtype, shape and data_offsets"),
    ],
)
def test_what_is_no_weight_file_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=words):
        list(read_header(path))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"dtype": "F7", "shape": [1], "data_offsets": [0, 1]}, "dtype must be one of"),
        ({"dtype": "BF16", "shape": [2], "data_offsets": [0, 2]}, "must have the bytes of 2 elements of BF16, got 2"),
        ({"dtype": "BF16", "shape": [-2], "data_offsets": [0, 4]}, "must have dtype, shape and data_offsets"),
        ({"dtype": "BF16", "shape": [2], "data_offsets": [0]}, "must have dtype, shape and data_offsets"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(entry: dict[str, Any], words: str, tmp_path: Path) -> None:
    content = json.dumps({"a": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content + bytes(4))
    with pytest.raises(SpecError, match=words):
        list(read_header(path))


def test_headers_are_those_that_the_public_package_writes(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    import numpy as np

    path = tmp_path / "model.safetensors"
    numpy_files.save_file({"a": np.zeros((3, 5), np.float16), "b": np.zeros((7,), np.int32)}, path)
    found = {
        tensor.name: (tensor.dtype, tensor.elements, tensor.stored_bytes) for tensor in stored_tensors(tmp_path) or ()
    }
    assert found == {"a": ("F16", 15, 30), "b": ("I32", 7, 28)}
