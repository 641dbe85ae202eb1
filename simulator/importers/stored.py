"""Whether stored weights are those of a workload: exact parameter counts, and bytes by type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.graph.build import count_parameters
from simulator.importers.safetensors import StoredTensor
from simulator.workload import Workload

_SCALES: Final = (".scales", ".qzeros", ".g_idx", "_scales", "_scale", "_scale_inv", "_scale_2", ".zero_point",
                  "_shape", "_zero_point", "absmax", "quant_map", "quant_state.bitsandbytes__nf4")  # fmt: skip
"""Ends of the names of what a quantisation keeps beside its weights."""

_BUFFERS: Final = ("rotary_emb.inv_freq", "position_ids", ".masked_bias")
"""Ends of the names of what some files keep and no model learns."""

_BESIDE: Final = {
    _SCALES: "scales of the quantisation",
    _BUFFERS: "buffers that no model learns",
    ("e_score_correction_bias",): "biases that steer routers",
}
"""What is stored and not counted, by ends of names."""

_TEXTS: Final = ("text_model.", "text_projection.", "logit_")
"""Starts of the names of what a pair of towers has beside that for images."""

_VISION: Final = ("visual.", "vision_tower.", "vision_model.", "multi_modal_projector.", "mlp1.", "embeddings.",
                  "encoder.", "vit.", "post_layernorm.", "pre_layrnorm.")  # fmt: skip
"""Parts of the names of a vision tower's tensors."""


@dataclass(frozen=True)
class Comparison:
    """Parameters that a workload has beside those that are stored, by component."""

    expected: Mapping[str, int]
    stored: Mapping[str, int]
    stored_bytes: Mapping[str, int]
    """Bytes by type, of everything in the files."""
    remarks: tuple[str, ...]

    @property
    def differences(self) -> dict[str, int]:
        """Stored parameters less expected ones, of the components where these differ."""
        names = dict.fromkeys([*self.expected, *self.stored])
        gaps = {name: self.stored.get(name, 0) - self.expected.get(name, 0) for name in names}
        return {name: gap for name, gap in gaps.items() if gap}

    @property
    def verdict(self) -> str:
        """How many parameters are stored, and where that differs."""
        gaps = ", ".join(f"{name} {gap:+,}" for name, gap in self.differences.items())
        return f"{sum(self.stored.values()):,} parameters, {gaps or 'equal'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "parameters": dict(self.expected),
            "parameters_stored": dict(self.stored),
            "differences": self.differences,
            "stored_bytes": dict(self.stored_bytes),
            "remarks": list(self.remarks),
        }


def compare(workload: Workload, tensors: Iterable[StoredTensor], packed_bits: int = 4) -> Comparison:
    """Counts the parameters of the files beside those of the workload; packed weights have so many bits."""
    stored: Counter[str] = Counter()
    stored_bytes: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for tensor in tensors:
        stored_bytes[tensor.dtype] += tensor.stored_bytes
        reason = _no_parameter(workload, tensor)
        if reason:
            left_out[reason] += tensor.elements
        else:
            stored[_component(workload, tensor.name)] += _parameters(tensor, packed_bits)
    remarks = tuple(f"{count:,} numbers are {reason}" for reason, count in left_out.items())
    return Comparison(count_parameters(workload), dict(stored), dict(stored_bytes), remarks)


def _no_parameter(workload: Workload, tensor: StoredTensor) -> str | None:
    """Why a tensor is not counted, None if it is."""
    decoder, name = workload.decoder, tensor.name
    beside = next((reason for ends, reason in _BESIDE.items() if name.endswith(ends)), None)
    if beside is not None:
        return beside
    if decoder is None:
        return "of the tower for texts" if name.startswith(_TEXTS) else None
    if decoder.tied_head and name.endswith("lm_head.weight"):
        return "a copy of the embedding as head"
    layer = name.partition("layers.")[2].partition(".")[0]
    is_beyond = name.startswith("model.layers.") and layer.isdecimal() and int(layer) >= decoder.layers
    if is_beyond or name.startswith("mtp."):
        return "layers beyond the last one, for predicting further tokens"
    return None


def _component(workload: Workload, name: str) -> str:
    if workload.vision is None:
        return "decoder"
    bare = name.removeprefix("model.")
    return "vision" if workload.decoder is None or bare.startswith(_VISION) else "decoder"


def _parameters(tensor: StoredTensor, packed_bits: int) -> int:
    """Parameters that the elements of a tensor hold: packed ones hold several."""
    if tensor.name.endswith((".qweight", ".weight_packed")) and tensor.dtype in {"I32", "U8"}:
        return tensor.stored_bytes * 8 // packed_bits
    if tensor.dtype == "U8" and tensor.name.endswith((".weight", "_blocks")):
        return tensor.stored_bytes * 2
    return tensor.elements
