"""Imported programs of torch.export: counts by hand, the same as through an ONNX file, and messages."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from simulator.cli import main  # noqa: E402
from simulator.errors import SpecError  # noqa: E402
from simulator.graph import build_graph  # noqa: E402
from simulator.importers import ImportedNetwork, import_onnx, import_torch  # noqa: E402
from simulator.report.layer_table import workload_counts  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"),
              pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # fmt: skip
"""PyTorch deprecates what it uses itself."""

TOKENS, VOCABULARY, WIDTH, HEADS, KV_HEADS, HEAD, FFN = 32, 100, 64, 4, 2, 16, 128


class Convolutions(nn.Module):
    """Two convolutions, the first with a batch norm, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.classifier = nn.Linear(32, 10)

    def forward(self, image: Any) -> Any:
        each = functional.relu(self.norm(self.first(image)))
        return self.classifier(functional.relu(self.second(each)).mean((2, 3)))


class Layer(nn.Module):
    """A layer of a Llama: RMS norms, rotary embeddings, grouped keys, a gated network."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ParameterList(nn.Parameter(torch.ones(WIDTH)) for _ in range(2))
        self.q, self.k, self.v, self.o, self.gate, self.up, self.down = (
            nn.Linear(inputs, outputs, bias=False)
            for inputs, outputs in ((WIDTH, HEADS * HEAD), (WIDTH, KV_HEADS * HEAD), (WIDTH, KV_HEADS * HEAD),
                                    (HEADS * HEAD, WIDTH), (WIDTH, FFN), (WIDTH, FFN), (FFN, WIDTH))
        )  # fmt: skip

    def forward(self, each: Any, cos: Any, sin: Any) -> Any:
        batch, tokens, _ = each.shape
        rows = normed(each, self.norms[0])
        q, k, v = (matrix(rows).view(batch, tokens, -1, HEAD).transpose(1, 2) for matrix in (self.q, self.k, self.v))
        q, k = turned(q, cos, sin), turned(k, cos, sin)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        each = each + self.o(mixed.transpose(1, 2).reshape(batch, tokens, -1))
        rows = normed(each, self.norms[1])
        return each + self.down(functional.silu(self.gate(rows)) * self.up(rows))


class Decoder(nn.Module):
    """Two layers with embedding, norm and head, whose norms are as before training: all ones."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.norm = nn.Parameter(torch.ones(WIDTH))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Any) -> Any:
        each = self.embedding(ids)
        angles = torch.arange(ids.shape[1])[:, None] * 1e4 ** (-torch.arange(0, HEAD, 2) / HEAD)
        angles = torch.cat((angles, angles), -1)
        cos, sin = angles.cos().to(each.dtype), angles.sin().to(each.dtype)
        for layer in self.layers:
            each = layer(each, cos, sin)
        return self.head(normed(each[:, -1:], self.norm))


def normed(each: Any, gains: Any) -> Any:
    """RMS norm."""
    return gains * (each * torch.rsqrt(each.pow(2).mean(-1, keepdim=True) + 1e-6))


def turned(each: Any, cos: Any, sin: Any) -> Any:
    """Rotary embedding."""
    low, high = each.chunk(2, -1)
    return each * cos + torch.cat((-high, low), -1) * sin


def saved(model: Any, inputs: tuple[Any, ...], path: Path, **options: Any) -> Path:
    """The file of an exported model."""
    torch.export.save(torch.export.export(model.eval(), inputs, **options), path)
    return path


def ids() -> Any:
    """Tokens of a prompt."""
    return torch.zeros(1, TOKENS, dtype=torch.long)


def image() -> Any:
    """One image."""
    return torch.zeros(1, 3, 32, 32)


def counts(imported: ImportedNetwork) -> tuple[int, int, int]:
    """Operations of matrices, parameters and bytes of weights."""
    graph = build_graph(imported.workload)
    found = workload_counts(imported.workload, graph)
    return found["flops"], found["parameters"], found["weight_bytes"]


CONVOLUTION_WEIGHTS = 3 * 9 * 16 + 16 * 9 * 32 + 32 * 10
"""Numbers of the matrices; on 16 x 16 positions for the convolutions, on one for the classifier."""


def test_convolutions_by_hand(tmp_path: Path) -> None:
    imported = import_torch(saved(Convolutions(), (image(),), tmp_path / "it.pt2"))
    flop = 2 * (256 * (3 * 9 * 16 + 16 * 9 * 32) + 32 * 10)
    parameters = CONVOLUTION_WEIGHTS + 16 + 32 + 10  # two numbers of a batch norm become one bias
    assert counts(imported) == (flop, parameters, 2 * parameters)
    # of the file: the batch norm has a scale, a shift, a mean and a variance
    assert imported.stored == {"float": CONVOLUTION_WEIGHTS + 4 * 16 + 32 + 10}


LAYER_WEIGHTS = WIDTH * HEAD * (2 * HEADS + 2 * KV_HEADS) + 3 * WIDTH * FFN
DECODER_FLOP = (
    2 * TOKENS * 2 * LAYER_WEIGHTS
    + 2 * 2 * 2 * HEADS * HEAD * TOKENS * (TOKENS + 1) // 2  # scores and values of the causal pairs, in two layers
    + 2 * WIDTH * VOCABULARY  # of the last row
)
DECODER_PARAMETERS = 2 * (LAYER_WEIGHTS + 2 * WIDTH) + WIDTH + VOCABULARY * WIDTH


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_decoder_by_hand_whose_equal_norms_stay_apart(tied: bool, tmp_path: Path) -> None:
    imported = import_torch(saved(Decoder(tied=tied), (ids(),), tmp_path / "it.pt2"))
    parameters = DECODER_PARAMETERS + (0 if tied else VOCABULARY * WIDTH)
    assert counts(imported) == (DECODER_FLOP, parameters, 2 * parameters)
    assert imported.stored == {"float": parameters}
    assert imported.fused == {"RMS norm": 5, "rope": 4, "gate": 2}
    assert imported.not_fused == ()


def test_half_precision_is_that_of_the_weights(tmp_path: Path) -> None:
    model = Decoder(tied=True).to(torch.bfloat16)
    imported = import_torch(saved(model, (ids(),), tmp_path / "it.pt2"))
    assert imported.workload.pipeline[0].precision == "bf16"
    assert imported.stored == {"bfloat16": DECODER_PARAMETERS}


@pytest.mark.parametrize(
    ("make", "inputs"), [(Convolutions, image), (lambda: Decoder(tied=False), ids)], ids=["convolutions", "decoder"]
)
def test_an_onnx_file_of_the_same_model_counts_the_same(make: Any, inputs: Any, tmp_path: Path) -> None:
    model = make()
    with torch.no_grad():
        for each in model.parameters():
            nn.init.uniform_(each)  # the optimizer of PyTorch merges weights that are equal
    program = torch.export.export(model.eval(), (inputs(),))
    torch.export.save(program, tmp_path / "it.pt2")
    torch.onnx.export(program, (), tmp_path / "it.onnx", dynamo=True, opset_version=23, verbose=False)
    assert counts(import_torch(tmp_path / "it.pt2")) == counts(import_onnx(tmp_path / "it.onnx"))


def test_the_account_says_that_it_went_through_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(Convolutions(), (image(),), tmp_path / "it.pt2")
    out = tmp_path / "mine.yaml"
    assert main(["import", "torch", str(file), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    words = f"through ONNX opset 23 of torch {torch.__version__}"
    assert words in " ".join(printed.out.split())
    assert words in " ".join(out.read_text(encoding="utf-8").replace("#", "").split())
    assert printed.err == f"wrote {out}\n"  # PyTorch says nothing


# what cannot be ------------------------------------------------------------------------------------------------------


def free_batch(path: Path) -> Path:
    """A program for two images or more, of free height."""
    dimensions = ({0: torch.export.Dim("batch", min=2, max=16), 2: torch.export.Dim("height", min=8)},)
    return saved(Convolutions(), (torch.zeros(4, 3, 32, 32),), path, dynamic_shapes=dimensions)


def test_free_dimensions_must_be_given(tmp_path: Path) -> None:
    file = free_batch(tmp_path / "it.pt2")
    with pytest.raises(SpecError, match=r"must have sizes for all dimensions of its inputs, got image \[s\d+, 3, s\d+"):
        import_torch(file)
    flop = 2 * (4 * 512 * (3 * 9 * 16 + 16 * 9 * 32) + 4 * 32 * 10)  # four images of 64 x 32, halved by the stride
    assert counts(import_torch(file, {"image": (4, 3, 64, 32)}))[0] == flop


@pytest.mark.parametrize(("shape", "rule"), [((1, 3, 32, 32), "2 to 16, .* got 1"), ((4, 3, 4, 32), "8 or more, .* 4")])
def test_sizes_must_be_in_the_range_of_the_program(shape: tuple[int, ...], rule: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"--shape image: s\d+ must be {rule}"):
        import_torch(free_batch(tmp_path / "it.pt2"), {"image": shape})


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    file = saved(Convolutions(), (image(),), tmp_path / "it.pt2")
    whole = file.read_bytes()
    for size in (len(whole) // 2, len(whole) - 1000):  # the latter leaves the end of an archive in the archive
        file.write_bytes(whole[:size])
        with pytest.raises(SpecError, match=r"must be a program saved by torch\.export\.save, .* cut off"):
            import_torch(file)


@pytest.mark.parametrize(
    ("was", "becomes", "reason"),
    [
        (
            b'"schema_version": {"major": ',
            b'"schema_version": {"major": 9',
            "does not match our current schema version",
        ),
        (b"aten.relu.default", b"mine.relu.default", r"failed to resolve torch\.ops\.mine\.relu\.default"),
    ],
    ids=["version", "operator"],
)
def test_what_pytorch_cannot_load_is_refused_with_its_reason(
    was: bytes, becomes: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(Convolutions(), (image(),), tmp_path / "whole.pt2")
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(tmp_path / "it.pt2", "w", zipfile.ZIP_STORED) as changed:
        for member in whole.namelist():
            changed.writestr(member, whole.read(member).replace(was, becomes))
    with pytest.raises(SpecError, match=rf"it\.pt2  cannot be loaded by torch .*{reason}") as caught:
        import_torch(tmp_path / "it.pt2")
    assert len(caught.value.message) < len(str(tmp_path)) + 300
    assert capsys.readouterr().err == ""


def test_what_onnx_cannot_say_is_refused_with_its_name(tmp_path: Path) -> None:
    class Singular(nn.Module):
        def forward(self, rows: Any) -> Any:
            return torch.linalg.svd(rows)[1]

    with pytest.raises(SpecError, match=r"cannot be written as ONNX by torch .*aten\._linalg_svd"):
        import_torch(saved(Singular(), (torch.zeros(4, 4),), tmp_path / "it.pt2"))
