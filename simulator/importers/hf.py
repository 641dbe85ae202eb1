"""From a public `config.json` to a workload.

What the keys mean is in `decoders` and `towers`; here is what a whole file becomes: its name, its phases, its
precision, and an account of every key that nobody knows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from simulator.document.complaint import shown
from simulator.errors import SpecError
from simulator.importers.config import Config, read_config, written
from simulator.importers.frame import Question, frame_of
from simulator.importers.model import Model, read_model
from simulator.importers.quantisation import packed_bits
from simulator.importers.safetensors import stored_tensors
from simulator.importers.stored import Comparison, compare
from simulator.precision import precision as known_precision
from simulator.workload import Workload

CONFIG: Final = "config.json"


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
    filled: Mapping[str, str]
    """Keys that the file leaves out, with what its class takes instead, as JSON."""
    unknown: tuple[str, ...]
    """Keys that nobody knows: they may have a cost that the workload lacks."""
    comparison: Comparison | None
    """The stored weights beside the workload; None if there are none."""

    @property
    def provenance(self) -> tuple[str, ...]:
        """What stands above the workload in its file."""
        lines = [f"Imported from {self.origin}.", *self.remarks]
        lines += [f"{key}: left out there, {value} as its class has it" for key, value in self.filled.items()]
        lines += [f"{key}: not known, and left out" for key in self.unknown]
        if self.comparison is not None:
            lines.append(f"Stored weights: {self.comparison.verdict}.")
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
    if question.precision is not None:
        known_precision(question.precision)
    file = _config_file(path)
    tree, content = read_config(file)
    config = Config(tree, shown(file))
    title = _title(path, config) or name
    if title is None:
        raise SpecError(
            f"{shown(file)}  has no name of its own to name the workload after", hint="give it one: --name NAME"
        )
    fingerprint = hashlib.sha256(content).hexdigest()[:12]
    model = read_model(config)
    frame = frame_of(model, question)
    provenance = {"source": f"{file.name} of {title}, sha256 {fingerprint}", "status": "datasheet"}
    fields = {
        "name": name or _safe_name(title),
        "title": title,
        **{component: {**provenance, **sizes} for component, sizes in _components(model)},
        **frame.fields,
    }
    workload = _validated(config, fields)
    tensors = stored_tensors(path) if path.is_dir() else None
    return Imported(
        workload=workload,
        family=model.family,
        origin=f"{shown(file)}, sha256 {fingerprint}",
        remarks=frame.remarks,
        filled={key: written(value) for key, value in config.filled.items()},
        unknown=model.unknown(),
        comparison=None if tensors is None else compare(workload, tensors, packed_bits(config)),
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


def _components(model: Model) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The components that a model has."""
    if model.decoder is not None:
        yield "decoder", model.decoder
    if model.tower is not None:
        yield "vision", model.tower.fields


def _validated(config: Config, fields: Mapping[str, Any]) -> Workload:
    """The workload of these fields; rules that only a workload knows become complaints about the file."""
    try:
        return Workload.model_validate(fields)
    except ValidationError as error:
        rules = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise SpecError(f"{config.place}  makes no valid workload: {rules}") from None


def _title(path: Path, config: Config) -> str | None:
    """The name of a model for people: that of its repository, its folder or its file; None where there is none."""
    resolved = path.resolve()
    repository = next((part for part in reversed(resolved.parts) if part.startswith("models--")), None)
    if repository:
        return repository.split("--")[-1]
    if path.is_dir():
        return resolved.name or None
    if path.is_file():
        return (resolved.parent.name or None) if resolved.name == CONFIG else resolved.stem
    return config.text("_name_or_path", default="").rstrip("/").rpartition("/")[2] or None


def _safe_name(title: str) -> str:
    """A name that is a file name, too.

    >>> _safe_name("Qwen2.5-1.5B (chat)")
    'qwen2.5-1.5b-chat'
    """
    return re.sub(r"[^a-z0-9._]+", "-", title.lower()).strip("-._") or "model"
