"""From a program saved by `torch.export` to a workload: PyTorch writes it as ONNX in memory, the rest is `onnx`.

Weights are loaded once by PyTorch, never copied: the graph that is read here has their sizes only. What its nodes
mean is in `onnx_graph` and `onnx_fusion`.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from simulator.document.complaint import shown
from simulator.errors import MissingExtraError, SpecError
from simulator.importers.onnx import ImportedNetwork, network_of
from simulator.importers.onnx_graph import Shape, elements, graph_of, is_worth_reading
from simulator.precision import precision as known_precision

PACKAGES: Final = ("torch", "onnxscript", "onnx")
"""What the extra `torch` installs."""

OPSET: Final = 23
"""The first with attention as one operator; those before it need two matrix products and a mask."""

MOST_REASON: Final = 200
"""Characters of a reason that PyTorch gives; some print whole nodes."""

_LOGGERS: Final = ("torch.export", "torch._export.serde.serialize", "torch.onnx._internal.exporter._registration")
"""Of PyTorch, with reasons that it logs, and remarks that nobody can act on."""


def import_torch(
    path: Path,
    shapes: Mapping[str, Shape] | None = None,
    *,
    name: str | None = None,
    precision: str | None = None,
    skip_unknown: bool = False,
) -> ImportedNetwork:
    """The workload that a saved program is: one phase that runs one network.

    PyTorch unpickles parts of the file, which can run code that the file brings.

    Args:
        path: a file of `torch.export.save`, as a rule with the ending .pt2.
        shapes: of inputs whose dimensions the program leaves free.
        name: of the workload; None for one made from the name of the file.
        precision: of the phase; None for that of the weights.
        skip_unknown: whether nodes that nobody knows count as copies of their results, instead of being refused.
    Raises:
        SpecError: when the file is no such program, PyTorch cannot load it or write it as ONNX, a shape is outside
            the range of the program, or the graph holds what a network cannot say.
        MissingExtraError: when a package of the extra `torch` is not installed.
    """
    if precision is not None:
        known_precision(precision)
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "torch")
    fingerprint = _fingerprint(path)
    place = shown(path)
    import torch  # noqa: PLC0415 - an extra, and slow

    with _hushed() as reasons:
        try:
            program = torch.export.load(path)
        except Exception as error:  # PyTorch raises many kinds
            raise SpecError(f"{place}  cannot be loaded by torch {torch.__version__}: {reasons.words or _words(error)}",
                            hint="export and save it with this version, on a device that this machine has"
                            ) from None  # fmt: skip
        try:
            written = torch.onnx.export(program, (), opset_version=OPSET, optimize=False, verbose=False)
            stored = _stored(written.model)
            model, opset = _hollow(written.model)
        except Exception as error:  # PyTorch raises many kinds
            raise SpecError(f"{place}  cannot be written as ONNX by torch {torch.__version__}: {_words(error)}",
                            hint='change the model there, or newer packages: pip install --upgrade "roadline[torch]"'
                            ) from None  # fmt: skip
    _check_ranges(program, model, shapes or {})
    del program, written
    graph = replace(graph_of(model, path, fingerprint, shapes, skip_unknown=skip_unknown), stored=stored)
    origin = f"{path.name}, sha256 {fingerprint}, through ONNX opset {opset} of torch {torch.__version__}"
    return network_of(
        graph, path.stem, title=f"{path.stem} (torch.export)", origin=origin, name=name, precision=precision,
        skip_unknown=skip_unknown,
    )  # fmt: skip


def _fingerprint(path: Path) -> str:
    """Of the bytes of a file, which must look like a saved program before PyTorch may unpickle it."""
    place = shown(path)
    try:
        with path.open("rb") as file:
            fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        with zipfile.ZipFile(path) as archive:
            members = {member.partition("/")[2] or member for member in archive.namelist()}
    except OSError as error:
        raise SpecError(f"{place}  cannot be read: {error.strerror}") from None
    except zipfile.BadZipFile:
        raise SpecError(f"{place}  must be a program saved by torch.export.save, got a file that is none or is cut off"
                        ) from None  # fmt: skip
    if not members & {"models/model.json", "serialized_exported_program.json"}:
        raise SpecError(f"{place}  must be a program saved by torch.export.save, got an archive without one, or one "
                        "that is cut off",
                        hint="files of torch.save and torch.jit.save hold no such program; "
                             "torch.export.export makes one from a model")  # fmt: skip
    return fingerprint


def _stored(model: Any) -> dict[str, int]:
    """Elements of the tensors of a model by type."""
    stored: Counter[str] = Counter()
    for value in model.graph.initializers.values():
        stored[_kind(value.const_value)] += value.const_value.size
    return dict(stored)


def _kind(tensor: Any) -> str:
    """The element type as ONNX calls it."""
    from onnx import TensorProto  # noqa: PLC0415

    return str(TensorProto.DataType.Name(tensor.dtype.value)).lower()


def _hollow(model: Any) -> tuple[Any, int]:
    """The model as a ModelProto with sizes in place of weights, and its opset.

    Weights are inputs while onnxscript tidies the graph, so that it neither folds them into copies nor merges those
    that happen to be equal.
    """
    from onnxscript import ir, optimizer  # noqa: PLC0415

    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    for value in list(model.graph.initializers.values()):
        del model.graph.initializers[value.name]
        value.const_value = None
        model.graph.inputs.append(value)
    optimizer.optimize(model)
    proto = ir.to_proto(model)
    inputs = [each for each in proto.graph.input if each.name not in tensors]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    read = {name for node in proto.graph.node for name in node.input}
    for name, tensor in tensors.items():
        if name not in read:
            continue
        shape = tuple(int(size) for size in tensor.shape)
        initializer = proto.graph.initializer.add(name=name, dims=shape, data_type=tensor.dtype.value)
        if is_worth_reading(shape, _kind(tensor), elements(shape)):
            initializer.raw_data = tensor.tobytes()
    return proto, next(each.version for each in proto.opset_import if each.domain in {"", "ai.onnx"})


def _check_ranges(program: Any, model: Any, shapes: Mapping[str, Shape]) -> None:
    """Refuses sizes for which the program was not made."""
    ranges = {str(symbol): (limits.lower, limits.upper) for symbol, limits in program.range_constraints.items()}
    for each in model.graph.input:
        for dim, size in zip(each.type.tensor_type.shape.dim, shapes.get(each.name, ()), strict=False):
            low, high = ranges.get(dim.dim_param, (size, size))
            if not low <= size <= high:
                limits = f"{low} or more" if high > 2**60 else f"{low} to {high}"
                raise SpecError(f"--shape {each.name}: {dim.dim_param} must be {limits}, as the program was made, "
                                f"got {size}")  # fmt: skip


class _Reasons(logging.Filter):
    """Keeps the exceptions that are logged instead of raised, and lets no record pass."""

    def __init__(self) -> None:
        super().__init__()
        self.words = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """False, as nobody is to see the record."""
        if record.exc_info and record.exc_info[1] is not None:
            self.words = _words(record.exc_info[1])
        return False


@contextmanager
def _hushed() -> Iterator[_Reasons]:
    """Holds back what PyTorch says about itself: deprecations, packages that it misses, errors in its log."""
    reasons = _Reasons()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(reasons)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield reasons
    finally:
        for logger in loggers:
            logger.removeFilter(reasons)


def _words(error: BaseException) -> str:
    """The first line of the cause that lies deepest, shortened."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= MOST_REASON else line[:MOST_REASON].rpartition(" ")[0] + " ..."
