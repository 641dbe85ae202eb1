"""From a public `config.json` to a workload.

What the keys mean is in `decoders` and `towers`; here is what a whole file becomes: its name, its phases, its
precision, and an account of every key that nobody knows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from simulator.document.complaint import shown
from simulator.errors import SpecError, nearest
from simulator.importers.config import Config, read_config
from simulator.importers.decoders import DECODERS, IGNORED, REFUSED, SIZES, Fields, decoder_fields
from simulator.importers.quantisation import matrix_precision, plain_precision
from simulator.importers.safetensors import stored_tensors
from simulator.importers.stored import Comparison, compare
from simulator.precision import precision as known_precision
from simulator.workload import Workload

CONFIG: Final = "config.json"


@dataclass(frozen=True)
class Question:
    """What a configuration does not say: one frame of the workload."""

    prompt: int = 512
    """Text tokens of the prompt."""
    decode: int = 128
    """Decoded tokens; none if 0."""
    images: int = 1
    """Images of one frame."""
    precision: str | None = None
    """Precision of all phases; None for that of the configuration."""


@dataclass(frozen=True)
class Imported:
    """A workload with an account of how it came about."""

    workload: Workload
    family: str
    """The `model_type` of the configuration."""
    origin: str
    """The file, with a fingerprint of its bytes."""
    remarks: tuple[str, ...]
    """What was decided for the reader."""
    filled: Mapping[str, Any]
    """Keys that the file leaves out, with what the family takes instead."""
    unknown: tuple[str, ...]
    """Keys that nobody knows: they may have a cost that the workload lacks."""
    comparison: Comparison | None
    """The stored weights beside the workload; None if there are none."""

    @property
    def provenance(self) -> tuple[str, ...]:
        """What stands above the workload in its file."""
        lines = [f"Imported from {self.origin}.", *self.remarks]
        lines += [f"{key}: left out there, {value} as in all of {self.family}" for key, value in self.filled.items()]
        lines += [f"{key}: not known, and left out" for key in self.unknown]
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "family": self.family,
            "origin": self.origin,
            "remarks": list(self.remarks),
            "left_out": dict(self.filled),
            "unknown": list(self.unknown),
            "stored": None if self.comparison is None else self.comparison.to_dict(),
            "workload": self.workload.model_dump(mode="json"),
        }


def import_hf(path: Path, question: Question | None = None, *, name: str | None = None) -> Imported:
    """The workload that a configuration describes.

    Args:
        path: a `config.json`, or a folder that holds one and perhaps weights.
        question: tokens, images and precision of a frame.
        name: of the workload; None for one made from the name of the folder.
    Raises:
        SpecError: when the file cannot be read, lacks or contradicts itself about a size, or asks for what a workload
            cannot say; the message names file and key.
    """
    question = question or Question()
    file = _config_file(path)
    tree, content = read_config(file)
    config = Config(tree, shown(file))
    family = _family(config)
    title = _title(path, config)
    name = name or _safe_name(title)
    if question.precision is not None:
        known_precision(question.precision)
    fingerprint = hashlib.sha256(content).hexdigest()[:12]
    decoder = _decoder(config, family)
    plain, plain_remark = plain_precision(config)
    chosen, quantised_remark = matrix_precision(config, plain)
    config.check()
    source = f"{CONFIG} of {title}, sha256 {fingerprint}"
    fields = _workload_fields(name, title, source, decoder, question, question.precision or chosen)
    workload = _validated(config, fields)
    tensors = stored_tensors(path) if path.is_dir() else None
    asked = question.precision is not None
    return Imported(
        workload=workload,
        family=family,
        origin=f"{shown(file)}, sha256 {fingerprint}",
        remarks=tuple(remark for remark in (None if asked else plain_remark, quantised_remark) if remark),
        filled=dict(config.filled),
        unknown=tuple(config.unread(IGNORED | DECODERS[family].ignored)),
        comparison=None if tensors is None else compare(workload, tensors),
    )


def _config_file(path: Path) -> Path:
    """The configuration that a path means."""
    if not path.is_dir():
        if not path.exists():
            raise SpecError(f"{shown(path)}  must be a {CONFIG} or a folder that holds one, got nothing there")
        return path
    file = path / CONFIG
    if not file.is_file():
        others = sorted(each.name for each in path.glob("*.json"))[:5]
        hint = f"it holds {', '.join(others)}" if others else "fetch the configuration of the model into it"
        raise SpecError(f"{shown(path)}  must hold a {CONFIG}, got a folder without one", hint=hint)
    return file


def _family(config: Config) -> str:
    """The model type of a configuration.

    Raises:
        SpecError: when it is missing, unknown, or one that a workload cannot say.
    """
    family = config.text("model_type")
    config.check()
    if family in REFUSED:
        raise SpecError(f'{config.place}  model_type: "{family}" cannot be imported, because a workload cannot say '
                        f"{REFUSED[family]} yet")  # fmt: skip
    if family not in DECODERS:
        raise SpecError(f'{config.place}  model_type: must be one of {", ".join(sorted(DECODERS))}, got "{family}"',
                        hint=nearest(family, DECODERS))  # fmt: skip
    return family


def _decoder(config: Config, family: str) -> Fields:
    """The decoder of a language model whose sizes stand at the top of its configuration."""
    row = DECODERS[family]
    config.defaults = {key: value for key, value in row.defaults.items() if key not in SIZES}
    return decoder_fields(config, row)


def _workload_fields(
    name: str, title: str, source: str, decoder: Fields, question: Question, precision: str
) -> dict[str, Any]:
    pipeline = [{"phase": "prefill", "tokens": question.prompt, "precision": precision}]
    if question.decode:
        pipeline.append({"phase": "decode", "tokens": question.decode, "precision": precision})
    return {
        "name": name,
        "title": title,
        "decoder": {"source": source, "status": "datasheet", **decoder},
        "pipeline": pipeline,
        "pipeline_source": "assumption",
        "pipeline_status": "assumed",
        "pipeline_note": "chosen at the import",
    }


def _validated(config: Config, fields: Mapping[str, Any]) -> Workload:
    """The workload of these fields; rules that only a workload knows become complaints about the file."""
    try:
        return Workload.model_validate(fields)
    except ValidationError as error:
        rules = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise SpecError(f"{config.place}  makes no valid workload: {rules}") from None


def _title(path: Path, config: Config) -> str:
    """The name of a model for people: that of its repository, of its folder or of its file."""
    resolved = path.resolve()
    parts = [*resolved.parts]
    repository = next((part for part in reversed(parts) if part.startswith("models--")), None)
    if repository:
        return repository.split("--")[-1]
    if path.is_dir():
        return resolved.name
    if path.is_file():
        return resolved.parent.name if resolved.name == CONFIG else resolved.stem
    return config.text("_name_or_path", default="model").rstrip("/").rpartition("/")[2] or "model"


def _safe_name(title: str) -> str:
    """A name that is a file name, too.

    >>> _safe_name("Qwen2.5-1.5B (chat)")
    'qwen2.5-1.5b-chat'
    """
    return re.sub(r"[^a-z0-9._]+", "-", title.lower()).strip("-._") or "model"
