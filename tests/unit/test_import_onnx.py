"""Imported ONNX graphs: exact counts, the same answers as from sizes, and messages for what cannot be."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from simulator import Workload, load_workload, run  # noqa: E402
from simulator.catalog import load_workload as load_any  # noqa: E402
from simulator.cli import main  # noqa: E402
from simulator.errors import MissingExtraError, SpecError  # noqa: E402
from simulator.graph import build_graph  # noqa: E402
from simulator.importers import ImportedNetwork, import_onnx  # noqa: E402
from simulator.report.workload_file import workload_text  # noqa: E402

_SPEC = importlib.util.spec_from_file_location("onnx_models", Path(__file__).with_name("onnx_models.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
models = importlib.util.module_from_spec(_SPEC)
sys.modules["onnx_models"] = models
_SPEC.loader.exec_module(models)

ORIN = "orin-agx-64gb"
UNFUSED = "llama.cpp"
"""A runtime that fuses nothing, so that equal operators are equal kernels."""


def of(graph: Any, path: Path, *outputs: str, shapes: dict[str, tuple[int, ...]] | None = None, opset: int = 17,
       skip_unknown: bool = False) -> ImportedNetwork:  # fmt: skip
    """What is imported of a graph."""
    return import_onnx(graph.save(path / "it.onnx", *outputs, opset=opset), shapes, skip_unknown=skip_unknown)


def operators(imported: ImportedNetwork) -> list[str]:
    """The operators of its network, block after block, without repeats."""
    (network,) = imported.workload.networks.values()
    return [operator.op for block in network.blocks for operator in block.operators]


# networks of convolutions --------------------------------------------------------------------------------------------


def test_resnet_50_has_the_published_counts_and_the_time_of_the_catalogue(tmp_path: Path) -> None:
    graph = models.Graph(image=["n", 3, 224, 224])
    models.resnet(graph)
    imported = of(graph, tmp_path, shapes={"image": (1, 3, 224, 224)})
    counts = build_graph(imported.workload)
    assert counts.flop == 2 * 4_089_184_256
    assert counts.parameters == 25_557_032 - 53_120 + 26_560  # batch norms of two numbers become biases
    (network,) = imported.workload.networks.values()
    assert [block.repeats for block in network.blocks if block.repeats > 1] == [2, 3, 5, 2]
    ours = load_workload("resnet-50").model_dump()
    ours["pipeline"][0]["precision"] = "fp16"
    expected = run(ORIN, Workload.model_validate(ours), runtime="tensorrt").latency_s
    assert run(ORIN, imported.workload, runtime="tensorrt").latency_s == pytest.approx(expected, rel=1e-3)


def test_a_small_residual_network_by_hand(tmp_path: Path) -> None:
    graph = models.Graph(image=[1, 3, 32, 32])
    models.resnet(graph, blocks=(1,), classes=10)
    counts = build_graph(of(graph, tmp_path).workload)
    # stem 16 x 16 positions, 147 inputs, 64 outputs; then on 8 x 8 positions 64 to 64, nine times 64 to 64, and twice
    # 64 to 256; then 256 to 10
    multiplications = 256 * 147 * 64 + 64 * (64 * 64 + 9 * 64 * 64 + 2 * 64 * 256) + 256 * 10
    weights = 147 * 64 + 64 * 64 + 9 * 64 * 64 + 2 * 64 * 256 + 256 * 10
    assert counts.flop == 2 * multiplications
    assert counts.parameters == weights + 64 + 64 + 64 + 2 * 256 + 10


def test_windows_make_the_shapes_of_the_file(tmp_path: Path) -> None:
    graph = models.Graph(image=[1, 4, 15, 15])
    each = graph.node("MaxPool", "image", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    each = graph.node("Conv", each, graph.weight(8, 2, 3, 3), kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1],
                      group=2)  # fmt: skip
    each = graph.node("ConvTranspose", each, graph.weight(8, 4, 2, 2), kernel_shape=[2, 2], strides=[2, 2])
    graph.node("Resize", each, "", graph.constant([1, 1, 1.5, 1.5], np.float32), mode="linear")
    (network,) = of(graph, tmp_path).workload.networks.values()
    # 15 to 7 and no window more, as the last begins beyond the map; (7 + 1 - 3) / 2 + 1 = 3; twice as many; 1.5 times
    assert [placed.output for placed in network.placed[0]] == [(1, 4, 7, 7), (1, 8, 3, 3), (1, 4, 6, 6), (1, 4, 9, 9)]


def test_a_convolution_that_is_used_again_has_its_weights_once(tmp_path: Path) -> None:
    graph = models.Graph(image=[1, 4, 8, 8])
    weight = graph.weight(4, 4, 3, 3)
    each = "image"
    for _ in range(3):
        each = graph.node("Conv", each, weight, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    counts = build_graph(of(graph, tmp_path).workload)
    assert counts.parameters == 4 * 4 * 9
    assert counts.flop == 3 * 2 * 64 * 36 * 4


def test_a_stretch_repeats_only_where_it_reads_the_same_shape(tmp_path: Path) -> None:
    graph = models.Graph(image=[1, 4, 8, 8])
    each, width = "image", 4
    for _ in range(5):
        each = graph.node("Conv", each, graph.weight(8, width, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        each, width = graph.node("Relu", each), 8
    (network,) = of(graph, tmp_path).workload.networks.values()
    assert [(len(block.operators), block.repeats) for block in network.blocks] == [(2, 1), (2, 4)]


# transformers --------------------------------------------------------------------------------------------------------


def vision_graph() -> Any:
    """Three layers of ViT-Ti over 196 patches, with a final norm."""
    graph = models.Graph(patches=[1, 196, 768])
    each = graph.linear("patches", 768, 192, name="embed")
    for _ in range(3):
        each = models.vision_layer(graph, each, patches=196, width=192, heads=3, ffn=768)
    graph.layer_norm(each, 192)
    return graph


def test_a_vision_transformer_is_what_its_sizes_say(tmp_path: Path) -> None:
    tower = {"source": "assumption", "status": "assumed", "layers": 3, "width": 192, "heads": 3, "ffn_width": 768,
             "patch_elements": 768, "position_embeddings": 0, "merge": 1, "merger_width": 0,
             "output_width": 0}  # fmt: skip
    expected = workload({"phase": "vision", "images": 1, "patches": 196, "precision": "fp16"}, vision=tower)
    imported = of(vision_graph(), tmp_path)
    assert imported.fused == {"gelu": 3, "attention": 3}
    assert imported.not_fused == ()
    same_counts(imported, expected)
    # the same operators take as long to the tick; a graph also reads its patches from DRAM and writes its result there,
    # 196 rows of 768 and of 192 in two bytes at 154 GB/s or beside other work
    assert 0 < latency(imported.workload) - latency(expected) < 196 * (768 + 192) * 2 / 153e9


def workload(*pipeline: dict[str, Any], **components: dict[str, Any]) -> Workload:
    """A workload of components."""
    return Workload.model_validate({"name": "it", "title": "it", "pipeline": pipeline, "pipeline_source": "assumption",
                                    "pipeline_status": "assumed", **components})  # fmt: skip


def same_counts(imported: ImportedNetwork, expected: Workload) -> None:
    """Equal operations and parameters."""
    ours, others = build_graph(imported.workload), build_graph(expected)
    assert ours.phases[0].flop == others.phases[-1].flop
    assert ours.parameters == others.parameters


def latency(each: Workload) -> float:
    """Seconds of a frame where nothing is fused."""
    return run(ORIN, each, runtime=UNFUSED).latency_s


DECODER = {"source": "assumption", "status": "assumed", "layers": 4, "hidden": 256, "heads": 8, "kv_heads": 2,
           "head_dim": 32, "ffn_width": 512, "ffn": "swiglu", "vocabulary": 1000, "tied_head": True}  # fmt: skip
SIZES = {"width": 256, "heads": 8, "kv_heads": 2, "head": 32, "ffn": 512}


def decoder_graph(tokens: int, *, is_standard: bool = False, past: int = 0) -> tuple[Any, list[str]]:
    """Four layers, embedding, norm and head of the last row; with its outputs."""
    caches = {f"past.{layer}.{name}": [1, 2, past, 32] for layer in range(4) for name in "kv" if past}
    graph = models.Graph(ids=["batch", "tokens"], **caches)
    each = graph.node("Gather", graph.weight(1000, 256, name="embedding"), "ids")
    sines = tuple(graph.constant(np.zeros((1, 1, tokens, 32)), np.float32) for _ in range(2))
    hidden = np.triu(np.full((1, 1, tokens, tokens + past), -1e9), 1 + past)
    mask = graph.constant(hidden, np.float32)
    presents = []
    for layer in range(4):
        caches = (f"past.{layer}.k", f"past.{layer}.v") if past else None
        each, *present = models.decoder_layer(graph, each, tokens=tokens, sines=sines, mask=mask, past=caches,
                                              is_standard=is_standard, **SIZES)  # fmt: skip
        presents += present
    if tokens > 1:
        each = graph.node("Gather", each, graph.constant([tokens - 1]), axis=1)
    each = graph.node("MatMul", graph.rms_norm(each, 256), graph.node("Transpose", "embedding", perm=[1, 0]))
    return graph, [each, *presents]


@pytest.mark.parametrize("is_standard", [False, True], ids=["decomposed", "standard"])
def test_a_prefill_is_what_its_sizes_say(is_standard: bool, tmp_path: Path) -> None:
    graph, outputs = decoder_graph(64, is_standard=is_standard)
    imported = of(graph, tmp_path, *outputs, shapes={"ids": (1, 64)}, opset=23 if is_standard else 17)
    expected = workload({"phase": "prefill", "tokens": 64, "precision": "fp16"}, decoder=DECODER)
    assert imported.fused["RMS norm"] == 9
    assert (imported.fused["rope"], imported.fused["gate"]) == (8, 4)
    same_counts(imported, expected)
    assert build_graph(imported.workload).kv_elements == build_graph(expected).kv_elements == 64 * 4 * 2 * 2 * 32
    # the graph has two ropes in each layer where sizes have one, and a copy of the last row: nine kernels more, each
    # of no work to speak of
    launches = latency(imported.workload) - latency(expected)
    per_kernel = launches / (4 * 1 + 1)
    assert 0 < per_kernel < 10e-6
    first = next(iter(imported.workload.networks.values())).blocks[1]
    assert first.repeats == 4


def test_a_decoded_token_reads_and_extends_its_cache(tmp_path: Path) -> None:
    graph, outputs = decoder_graph(1, past=12)
    imported = of(graph, tmp_path, *outputs, shapes={"ids": (1, 1)})
    expected = workload({"phase": "prefill", "tokens": 12, "precision": "fp16"},
                        {"phase": "decode", "tokens": 1, "precision": "fp16"}, decoder=DECODER)  # fmt: skip
    assert imported.fused["KV cache"] == 4
    same_counts(imported, expected)
    assert build_graph(imported.workload).kv_elements == 13 * 4 * 2 * 2 * 32


def test_a_mask_that_depends_on_inputs_is_said(tmp_path: Path) -> None:
    graph = models.Graph(q=[1, 2, 8, 4], k=[1, 2, 8, 4], v=[1, 2, 8, 4], bias=[1, 1, 8, 8])
    scores = graph.node("MatMul", "q", graph.node("Transpose", "k", perm=[0, 1, 3, 2]))
    graph.node("MatMul", graph.node("Softmax", graph.node("Add", scores, "bias"), axis=-1), "v")
    imported = of(graph, tmp_path)
    assert any("mask that depends on inputs" in remark for remark in imported.remarks)
    assert build_graph(imported.workload).flop == 4 * 2 * 8 * 8 * 4  # all pairs, two heads of four


def test_a_mask_of_the_inputs_hides_nothing_of_a_causal_one(tmp_path: Path) -> None:
    graph = models.Graph(q=[1, 2, 8, 4], k=[1, 2, 8, 4], v=[1, 2, 8, 4], padding_mask=[1, 8])
    hidden = graph.node("Sub", graph.number(1), graph.node("Unsqueeze", "padding_mask", graph.constant([1, 2])))
    causal = graph.constant(np.triu(np.full((8, 8), -1e9), 1), np.float32)
    # a float mask of zeros hides all keys where it is turned round, so this one is turned round twice
    both = graph.node("Add", causal, graph.node("Mul", graph.node("Sub", graph.number(1), hidden), graph.number(-1e9)))
    scores = graph.node("MatMul", "q", graph.node("Transpose", "k", perm=[0, 1, 3, 2]))
    graph.node("MatMul", graph.node("Softmax", graph.node("Add", scores, both), axis=-1), "v")
    imported = of(graph, tmp_path)
    assert any("taken to hide nothing" in remark for remark in imported.remarks)
    assert build_graph(imported.workload).flop == 4 * 2 * 36 * 4  # 8 * 9 / 2 pairs, two heads of four


def test_attention_that_is_none_is_listed(tmp_path: Path) -> None:
    graph = models.Graph(q=[1, 2, 8, 4], k=[1, 2, 4, 8], v=[1, 2, 8, 6])
    graph.node("MatMul", graph.node("Softmax", graph.node("MatMul", "q", "k"), axis=-1), "v")
    imported = of(graph, tmp_path)
    assert len(imported.not_fused) == 1
    assert operators(imported).count("product") == 2


@pytest.mark.parametrize("form", ["erf_gelu", "tanh_gelu"])
def test_gelu_is_one_operator_in_each_form(form: str, tmp_path: Path) -> None:
    graph = models.Graph(rows=[1, 4, 8])
    getattr(graph, form)(graph.linear("rows", 8, 8))
    imported = of(graph, tmp_path)
    assert operators(imported) == ["linear", "activation"]
    assert imported.fused == {"gelu": 1}


def test_a_layer_norm_in_nine_nodes_is_one(tmp_path: Path) -> None:
    graph = models.Graph(rows=[1, 4, 8])
    centred = graph.node("Sub", "rows", graph.node("ReduceMean", "rows", axes=[-1]))
    mean = graph.node("ReduceMean", graph.node("Pow", centred, graph.number(2)), axes=[-1])
    root = graph.node("Sqrt", graph.node("Add", mean, graph.number(1e-5)))
    scaled = graph.node("Mul", graph.node("Div", centred, root), graph.weight(8))
    graph.node("Add", scaled, graph.weight(8))
    imported = of(graph, tmp_path)
    assert imported.fused == {"layer norm": 1}
    assert build_graph(imported.workload).parameters == 16


def test_what_is_read_elsewhere_is_not_recognised(tmp_path: Path) -> None:
    graph = models.Graph(rows=[1, 4, 8])
    sigmoid = graph.node("Sigmoid", "rows")
    graph.node("Add", graph.node("Mul", "rows", sigmoid), sigmoid)
    assert operators(of(graph, tmp_path)) == ["activation", "multiply", "add"]


def test_queries_keys_and_values_may_be_split_from_one_matrix(tmp_path: Path) -> None:
    graph = models.Graph(rows=[1, 16, 64])
    graph.node("Split", graph.linear("rows", 64, 192), graph.constant([64, 64, 64]), axis=-1, outputs=3)
    (q, k, v) = (graph.heads(name, 4, 16) for name in graph.nodes[-1].output)
    scores = graph.node("MatMul", q, graph.node("Transpose", k, perm=[0, 1, 3, 2]))
    graph.node("MatMul", graph.node("Softmax", scores, axis=-1), v)
    imported = of(graph, tmp_path)
    assert operators(imported) == ["linear", "attention"]
    assert build_graph(imported.workload).phases[0].flop == 2 * 16 * 64 * 192 + 4 * 4 * 16 * 16 * 16


def test_attention_of_onnx_runtime_is_attention(tmp_path: Path) -> None:
    graph = models.Graph(rows=[1, 16, 64], q=[1, 1, 64], k=[1, 1, 32], past_k=[1, 2, 7, 16], past_v=[1, 2, 7, 16])
    joined = graph.node("Attention", "rows", graph.weight(64, 192), graph.weight(192), domain="com.microsoft",
                        num_heads=4, unidirectional=1)  # fmt: skip
    crossed = graph.node("MultiHeadAttention", "rows", "rows", "rows", domain="com.microsoft", num_heads=4)
    grouped = graph.node("GroupQueryAttention", "q", "k", "k", "past_k", "past_v", domain="com.microsoft", num_heads=4,
                         kv_num_heads=2, do_rotary=1, outputs=3)  # fmt: skip
    path = graph.save(tmp_path / "it.onnx", joined, crossed, grouped, domains=("com.microsoft",))
    imported = import_onnx(path)
    assert operators(imported) == ["linear", "attention", "attention", "rope", "rope", "cache_write", "attention"]
    # causal: 16 * 17 / 2 pairs; all: 16 * 16; a decoded token sees itself and 7 others; 4 heads of 16 each
    assert build_graph(imported.workload).flop == 2 * 16 * 64 * 192 + 4 * 64 * (16 * 17 // 2 + 16 * 16 + 8)


@pytest.mark.parametrize(
    ("name", "parameters", "multiplications"),
    [
        ("vgg19", 143_667_240, 19_632_062_464),
        ("squeezenet", 1_235_496, None),
        ("bvlc_alexnet", 60_965_224, None),
        ("resnet50", 25_530_472, 4_089_184_256),
    ],
)
def test_models_that_come_with_the_package_have_their_published_counts(
    name: str, parameters: int, multiplications: int | None
) -> None:
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip(f"this version of onnx has no {path.name}")
    imported = import_onnx(path)
    counts = build_graph(imported.workload)
    assert counts.parameters == parameters
    assert multiplications is None or counts.flop == 2 * multiplications
    assert imported.not_fused == ()


# folding, precision, files -------------------------------------------------------------------------------------------


def test_arithmetic_on_shapes_costs_nothing(tmp_path: Path) -> None:
    graph = models.Graph(image=[2, 4, 6, 6])
    batch = graph.node("Gather", graph.node("Shape", "image"), graph.constant([0]))
    rest = graph.node("Div", graph.node("Size", "image"), batch)
    each = graph.node("Reshape", "image", graph.node("Concat", batch, rest, axis=0))
    graph.node("Gemm", each, graph.weight(144, 5))
    imported = of(graph, tmp_path)
    assert operators(imported) == ["view", "linear"]
    assert build_graph(imported.workload).flop == 2 * 2 * 144 * 5


def test_quantised_weights_choose_the_precision(tmp_path: Path) -> None:
    graph = models.Graph(rows=[4, 64])
    weight = graph.constant(np.zeros((64, 8)), np.int8)
    scale, zero = graph.number(0.1), graph.constant(0, np.int8)
    rows = graph.node("QuantizeLinear", "rows", scale, zero)
    graph.node("MatMul", graph.node("DequantizeLinear", rows, scale, zero),
               graph.node("DequantizeLinear", weight, scale, zero))  # fmt: skip
    imported = of(graph, tmp_path)
    assert operators(imported) == ["linear"]
    assert imported.workload.pipeline[0].precision == "w8a8-static"
    assert imported.stored["int8"] == 64 * 8 + 1


@pytest.mark.parametrize("make", [vision_graph, lambda: decoder_graph(16)[0]], ids=["vision", "decoder"])
def test_a_file_reads_back_to_the_same_workload(make: Any, tmp_path: Path) -> None:
    imported = of(make(), tmp_path, shapes={"ids": (1, 16)} if make is not vision_graph else None)
    file = tmp_path / "it.yaml"
    file.write_text(workload_text(imported.workload, remarks=imported.provenance), encoding="utf-8")
    assert load_any(file) == imported.workload


def test_weights_may_be_missing_but_not_their_sizes(tmp_path: Path) -> None:
    path = vision_graph().save(
        tmp_path / "it.onnx", save_as_external_data=True, location="weights.bin", size_threshold=512
    )  # fmt: skip
    whole = import_onnx(path)
    (tmp_path / "weights.bin").unlink()
    without = import_onnx(path)
    assert without.workload == whole.workload
    assert any("weights.bin is not there" in remark for remark in without.remarks)


# what cannot be ------------------------------------------------------------------------------------------------------


def relu_graph() -> Any:
    """One node with free dimensions."""
    graph = models.Graph(image=["batch", 3, "height", 8])
    graph.node("Relu", "image")
    return graph


def test_free_dimensions_are_listed(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"must have sizes for all dimensions.*image \[batch, 3, height, 8\]"):
        of(relu_graph(), tmp_path)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"picture": (1, 3, 8, 8)}, r"--shape picture: must name an input of .*\(image\)"),
        ({"image": (1, 3, 8)}, r"--shape image: must have 4 sizes, got 3"),
        ({"image": (1, 4, 8, 8)}, r"--shape image: must keep the 3 of the file, got 4"),
    ],
    ids=["no input", "rank", "fixed size"],
)
def test_shapes_must_be_those_of_inputs(shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        of(relu_graph(), tmp_path, shapes=shapes)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x07\x12\xff\xff"], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "it.onnx"
    file.write_bytes(content)
    with pytest.raises(SpecError, match="must be an ONNX model"):
        import_onnx(file)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = vision_graph().save(tmp_path / "it.onnx")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SpecError, match="cut off"):
        import_onnx(path)


def test_a_changed_file_is_imported_or_refused(tmp_path: Path) -> None:
    path = models.Graph(rows=[1, 4, 8])
    path.node("Add", path.rms_norm("rows", 8), path.erf_gelu(path.linear("rows", 8, 8)))
    content = path.save(tmp_path / "it.onnx").read_bytes()
    places = [place for place, byte in enumerate(content) if byte]  # weights are zeros, and nobody reads them
    chance = np.random.default_rng(5)
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        changed[chance.choice(places)] = chance.integers(256)
        (tmp_path / "changed.onnx").write_bytes(changed)
        try:
            import_onnx(tmp_path / "changed.onnx")
        except SpecError:
            refused += 1
    assert 0 < refused < 150


def test_an_unknown_operator_is_named_or_counted_as_a_copy(tmp_path: Path) -> None:
    graph = models.Graph(image=[1, 3, 8, 8])
    made = graph.node("Det", graph.node("Relu", "image"), name="odd")
    with pytest.raises(SpecError, match=r"node odd \(op_type Det, domain ai.onnx\): cannot be imported"):
        of(graph, tmp_path, made)
    imported = of(graph, tmp_path, made, skip_unknown=True)
    assert imported.skipped == ("node odd (op_type Det, domain ai.onnx): 3 elements made",)
    assert operators(imported) == ["activation", "copy"]


def test_control_flow_is_refused_by_name(tmp_path: Path) -> None:
    from onnx import helper

    graph = models.Graph(image=[1, 3, 8, 8], condition=[1])
    branch = helper.make_graph([helper.make_node("Relu", ["image"], ["y"])], "branch", [],
                               [helper.make_tensor_value_info("y", 1, None)])  # fmt: skip
    graph.node("If", "condition", then_branch=branch, else_branch=branch, name="choice")
    with pytest.raises(SpecError, match=r"node choice \(op_type If, .*what it runs depends on values"):
        of(graph, tmp_path)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    graph = models.Graph(image=[1, 3, 8, 8])
    graph.node("Add", "image", "t1")
    graph.node("Relu", "t0")
    with pytest.raises(SpecError, match="must not wait for its own result"):
        of(graph, tmp_path)


def test_a_tensor_that_nobody_makes_is_named(tmp_path: Path) -> None:
    graph = models.Graph(rows=[4, 8])
    graph.node("MatMul", "rows", "lost")
    with pytest.raises(SpecError, match=r'node t0 .*reads "lost", which no node, input or initializer is'):
        of(graph, tmp_path)


def test_without_the_package_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = relu_graph().save(tmp_path / "it.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError) as caught:
        import_onnx(path)
    assert caught.value.hint == 'pip install "roadline[onnx]"'


def test_the_command_writes_a_workload_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = relu_graph().save(tmp_path / "it.onnx")
    out = tmp_path / "relu.yaml"
    assert main(["import", "onnx", str(path), "--shape", "image=1,3,16,8", "--out", str(out)]) == 0
    assert "inputs      image [1, 3, 16, 8]" in capsys.readouterr().out
    assert main(["run", "--chip", ORIN, "--workload", str(out)]) == 0
    capsys.readouterr()
    assert main(["import", "onnx", str(path), "--shape", "image=1x3", "--out", str(tmp_path / "b.yaml")]) == 2
    assert "must be INPUT=N,N,... with sizes of 1 or more, got image=1x3" in capsys.readouterr().err


@pytest.mark.slow
def test_a_hundred_thousand_nodes_become_one_block_that_repeats(tmp_path: Path) -> None:
    graph = models.Graph(rows=[1, 4, 8])
    each = "rows"
    for _ in range(33_334):
        each = graph.node("Add", graph.node("Tanh", graph.node("Exp", each)), each)
    imported = of(graph, tmp_path)
    (network,) = imported.workload.networks.values()
    assert [(len(block.operators), block.repeats) for block in network.blocks] == [(3, 33_334)]
    assert operators(imported) == ["activation", "activation", "add"]
    assert run(ORIN, imported.workload, runtime="ideal").latency_s > 0
