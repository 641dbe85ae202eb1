"""Headers of safetensors files: which tensors there are, of which shape and in how many bytes. Weights are not read.

Format: 8 bytes with the length of the header, a JSON object from names to type, shape and place, then the tensors.
Source: [safetensors]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from simulator.document.complaint import shown
from simulator.errors import SpecError
from simulator.importers.config import parse_object, read_config

INDEX: Final = "model.safetensors.index.json"
"""Says in which of several files a tensor is."""

MOST_HEADER_BYTES: Final = 100_000_000
"""The limit of the format itself."""

_BITS: Final = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16,
                "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "F4": 4,
                "F6_E2M3": 6, "F6_E3M2": 6}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a file names it."""

    name: str
    dtype: str
    elements: int
    stored_bytes: int


def stored_tensors(folder: Path) -> tuple[StoredTensor, ...] | None:
    """All tensors of a model's folder in the order of their files; None if it holds no weights in this format.

    Raises:
        SpecError: when a file is cut or is not in this format, a shard is missing, or a tensor is there twice.
    """
    files = _files(folder)
    if not files:
        return None
    tensors = [tensor for file in files for tensor in read_header(file)]
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise SpecError(f"{shown(folder)}  {tensor.name}: must be in one file, got it in two",
                            hint="leave one set of weight files in the folder")  # fmt: skip
        names.add(tensor.name)
    return tuple(tensors)


def _files(folder: Path) -> list[Path]:
    """The weight files of a folder: those of its index, else all."""
    index = folder / INDEX
    if not index.is_file():
        return sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    tree, _ = read_config(index, MOST_HEADER_BYTES)
    places = tree.get("weight_map")
    if not isinstance(places, Mapping) or not all(isinstance(name, str) for name in places.values()):
        raise SpecError(f"{shown(index)}  weight_map: must be an object from tensors to files")
    names = sorted(set(places.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise SpecError(f'{shown(index)}  weight_map: must name files of its folder, got "{outside[0]}"')
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise SpecError(f"{shown(index)}  {len(absent)} of its {len(names)} files are not there, such as {absent[0]}",
                        hint="fetch them all, or name config.json to import without a comparison")  # fmt: skip
    return [folder / name for name in names]


def read_header(path: Path) -> Iterator[StoredTensor]:
    """The tensors that one file names.

    Raises:
        SpecError: when the file is cut or is not in this format.
    """
    name = shown(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8 or length > MOST_HEADER_BYTES:
                raise SpecError(f"{name}  must be a safetensors file: a header of {length:,} bytes does not fit its "
                                f"{size:,} bytes", hint="is the file complete, or a Git LFS pointer?")  # fmt: skip
            content = file.read(length)
    except OSError as error:
        raise SpecError(f"{name}  cannot be read: {error.strerror or error}") from None
    header = parse_object(content, name)
    header.pop("__metadata__", None)
    for tensor, described in header.items():
        yield _tensor(name, tensor, described, size - 8 - length)


def _tensor(place: str, name: str, described: Any, space: int) -> StoredTensor:
    """One entry of a header, checked against itself and the size of the file."""
    fields = described if isinstance(described, Mapping) else {}
    dtype = fields.get("dtype")
    shape, offsets = _counts(fields.get("shape")), _counts(fields.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise SpecError(f"{place}  {name}: must have dtype, shape and data_offsets")
    begin, end = offsets
    elements = prod(shape)
    if dtype not in _BITS:
        raise SpecError(f'{place}  {name}: dtype must be one of {", ".join(_BITS)}, got "{dtype}"')
    if end - begin != -(-elements * _BITS[dtype] // 8):
        raise SpecError(
            f"{place}  {name}: must have the bytes of {elements:,} elements of {dtype}, got {end - begin:,}"
        )
    if end > space:
        raise SpecError(f"{place}  {name}: must end within the file, got {end - space:,} bytes beyond it",
                        hint="the file is cut: fetch it again")  # fmt: skip
    return StoredTensor(name, dtype, elements, end - begin)


def _counts(values: Any) -> list[int] | None:
    """A list of whole numbers from 0 on; None for anything else."""
    is_list = isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
    return values if is_list else None
