"""From an ONNX file to a workload of one network, with an account of what was recognised, decided and left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.errors import SpecError
from simulator.importers.onnx_blocks import blocks_of
from simulator.importers.onnx_fusion import Fused, fuse
from simulator.importers.onnx_graph import OnnxGraph, Shape, read_onnx
from simulator.importers.onnx_operators import Converter
from simulator.precision import precision as known_precision
from simulator.workload import Workload

_PRECISIONS = {
    "float": ("fp16", "weights are kept in 32 bits, fp16 is taken; --precision chooses another"),
    "double": ("fp16", "weights are kept in 64 bits, fp16 is taken; --precision chooses another"),
    "float16": ("fp16", ""), "bfloat16": ("bf16", ""), "float8e4m3fn": ("fp8", ""), "float8e5m2": ("fp8", ""),
    "int8": ("w8a16", ""), "uint8": ("w8a16", ""), "int4": ("w4a16", ""), "uint4": ("w4a16", ""),
    "float4e2m1": ("nvfp4", ""),
}  # fmt: skip
"""Precision by the type of most weights, with a remark."""


@dataclass(frozen=True)
class ImportedNetwork:
    """A workload with an account of how it came about."""

    workload: Workload
    origin: str
    """The file, with a fingerprint of its bytes."""
    stored: Mapping[str, int]
    """Elements of initializers by type."""
    fused: Mapping[str, int]
    """Parts that were recognised among several nodes."""
    not_fused: tuple[str, ...]
    """Parts that look like one, with why they are not."""
    remarks: tuple[str, ...]
    """What was decided for the reader."""
    skipped: tuple[str, ...]
    """Nodes that nobody knows, each counted as a copy of its results."""

    @property
    def provenance(self) -> tuple[str, ...]:
        """What stands above the workload in its file."""
        lines = [f"Imported from {self.origin}.", *self.remarks]
        if self.fused:
            lines.append("recognised: " + ", ".join(f"{count:,} {kind}" for kind, count in self.fused.items()))
        lines += [f"not recognised: {each}" for each in self.not_fused]
        lines += [f"skipped: {each}" for each in self.skipped]
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "origin": self.origin,
            "stored": dict(self.stored),
            "fused": dict(self.fused),
            "not_fused": list(self.not_fused),
            "remarks": list(self.remarks),
            "skipped": list(self.skipped),
            "workload": self.workload.model_dump(mode="json"),
        }


def import_onnx(
    path: Path,
    shapes: Mapping[str, Shape] | None = None,
    *,
    name: str | None = None,
    precision: str | None = None,
    skip_unknown: bool = False,
) -> ImportedNetwork:
    """The workload that a model is: one phase that runs one network.

    Args:
        path: an ONNX file. Weights are not read, and may be missing.
        shapes: of inputs whose dimensions the file leaves free.
        name: of the workload; None for one made from the name of the file.
        precision: of the phase; None for that of the weights.
        skip_unknown: whether nodes that nobody knows count as copies of their results, instead of being refused.
    Raises:
        SpecError: when the file is no model or holds what a network cannot say; the message names node and type.
        MissingExtraError: when the package onnx is not installed.
    """
    if precision is not None:
        known_precision(precision)
    graph = read_onnx(path, shapes, skip_unknown=skip_unknown)
    is_static = any(node.op == "QuantizeLinear" or node.op.startswith("QLinear") for node in graph.nodes)
    is_dynamic = any(node.op in {"DynamicQuantizeLinear", "MatMulInteger"} for node in graph.nodes)
    bits = {node.attributes.get("bits", 4) for node in graph.nodes if node.op == "MatMulNBits"}
    fused = fuse(graph)
    converter = Converter(graph, skip_unknown=skip_unknown)
    converter.convert()
    if not converter.made:
        raise SpecError(f"{graph.place}  must compute something from its inputs, got constants only")
    used = {source for each in converter.made for source in each.reads if isinstance(source, str)}
    inputs = {key: shape or (1,) for key, shape in graph.inputs.items() if key in used}
    if not inputs:
        raise SpecError(f"{graph.place}  must compute something from its inputs, got constants only")
    chosen, remark = _precision(graph, precision, is_static=is_static, is_dynamic=is_dynamic, bits=bits)
    component = _safe_component(path.stem)
    source = f"{path.name}, sha256 {graph.fingerprint}"
    workload = _validated(
        graph.place,
        {
            "name": name or _safe_name(path.stem),
            "title": f"{path.stem} (ONNX)",
            "networks": {
                component: {
                    "source": source,
                    "status": "datasheet",
                    "inputs": inputs,
                    "blocks": blocks_of(converter.made, list(inputs)),
                }
            },
            "pipeline": ({"phase": "network", "network": component, "precision": chosen},),
            "pipeline_source": source,
            "pipeline_status": "datasheet",
        },
    )
    remarks = [*graph.remarks, *([remark] if remark else []), *_decisions(fused, converter)]
    unused = [key for key in graph.inputs if key not in used]
    if unused:
        remarks.append(f"inputs that cost nothing here: {', '.join(unused)}")
    return ImportedNetwork(
        workload=workload, origin=source, stored=graph.stored,
        fused={kind: count for kind, count in fused.counts.items() if count > 0}, not_fused=tuple(fused.missed),
        remarks=tuple(remarks), skipped=tuple(converter.account.skipped),
    )  # fmt: skip


def _validated(place: str, fields: Mapping[str, Any]) -> Workload:
    """The workload of these fields; what only a network knows becomes a complaint about the file."""
    try:
        return Workload.model_validate(fields)
    except ValidationError as error:
        rules = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise SpecError(f"{place}  makes no valid network: {rules}") from None


def _decisions(fused: Fused, converter: Converter) -> list[str]:
    decided = fused.doubts + converter.account.decided
    lines = [f"{words} ({count:,} times)" for words, count in decided.items()]
    if fused.dropped_nodes:
        lines.append(f"{fused.dropped_nodes:,} nodes that only made masks, sines and the like are left out "
                     f"({fused.dropped_elements:,} elements)")  # fmt: skip
    return lines


def _precision(
    graph: OnnxGraph, asked: str | None, *, is_static: bool, is_dynamic: bool, bits: set[int]
) -> tuple[str, str]:
    """The precision of the phase, and why it is that one where the file does not say so."""
    if asked is not None:
        return asked, ""
    if bits:
        return ("w4a16" if min(bits) <= 4 else "w8a16"), f"precision: matrices of {min(bits)} bits"
    kinds = {kind: count for kind, count in graph.stored.items() if kind in _PRECISIONS}
    if not kinds:
        return "fp16", "precision: there are no weights, fp16 is taken"
    most = max(kinds, key=lambda kind: kinds[kind])
    chosen, remark = _PRECISIONS[most]
    if chosen == "w8a16" and (is_static or is_dynamic):
        chosen = "w8a8-static" if is_static else "w8a8"
    elif is_static and most in {"float", "float16", "bfloat16"}:  # weights quantised when the model is loaded
        chosen, remark = "w8a8-static", f"precision: {most} weights that are quantised to 8 bits with their activations"
    return chosen, remark and (remark if remark.startswith("precision") else f"precision: {remark}")


def _safe_name(title: str) -> str:
    """A name that is a file name, too.

    >>> _safe_name("ViT B/16 (224)")
    'vit-b-16-224'
    """
    return re.sub(r"[^a-z0-9._]+", "-", title.lower()).strip("-._") or "model"


def _safe_component(title: str) -> str:
    """A name of a network, which is no word of the pipeline.

    >>> _safe_component("vision")
    'vision_network'
    """
    name = re.sub(r"[^a-z0-9_]+", "_", title.lower()).strip("_") or "model"
    return f"{name}_network" if name in {"vision", "prefill", "decode", "decoder", "action", "network"} else name
