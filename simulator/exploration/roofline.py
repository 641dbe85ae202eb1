"""The roofline of two numbers, peak compute and bandwidth: what the co-design paper takes for the latency of a model.

It has no launch cost, no efficiency, no LM head, no routing and no memory limit. The search does not use it; it is
here to be compared with the front of the event-level model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.chip import Chip
from simulator.errors import SpecError
from simulator.exploration.pareto import non_dominated
from simulator.precision import precision
from simulator.runtime import Runtime

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[np.generic]]
"""Columns of a `Space`: layers, hidden, ffn_ratio, kv_width, top_k, experts."""


@dataclass(frozen=True)
class Roofline:
    """A chip as two numbers, with the bytes of the elements that it moves."""

    peak_flop_per_s: float
    bandwidth_bytes_per_s: float
    weight_bytes: float
    """Bytes of one weight."""
    kv_bytes: float
    """Bytes of one element of the KV cache."""

    @classmethod
    def of(cls, chip: Chip, runtime: Runtime, precision_name: str) -> Roofline:
        """The peak of a precision on a chip, and its sustained bandwidth.

        Raises:
            SpecError: when the runtime has no kernel for the precision, or the chip no rate for the kernel.
        """
        if precision_name not in runtime.kernels:
            known = ", ".join(runtime.kernels)
            raise SpecError(f'precision: must be one that {runtime.name} runs ({known}), got "{precision_name}"')
        kernel = runtime.kernels[precision_name]
        macs_per_s = chip.cluster.macs_per_second(kernel.path, kernel.dtype)
        if macs_per_s is None:
            raise SpecError(f"precision: {precision_name} multiplies in {kernel.dtype}, which {chip.name} does not")
        stored, kept = precision(precision_name), precision(runtime.kv_precision)
        return cls(2 * macs_per_s, chip.dram.sustained_bytes_per_s, stored.weight_bits / 8, kept.element_bytes)

    def prefill_s(self, columns: Columns, prompt_tokens: int) -> Floats:
        """Seconds of the prefill of each model.

        Formula:  layers * (max(flop_a / peak, bytes_a / bandwidth) + max(flop_f / peak, bytes_f / bandwidth))
                  flop_a  = 2 * tokens * (2 + 2 / gqa) * hidden^2,   bytes_a = (2 + 2 / gqa) * hidden^2 * weight_bytes
                  flop_f  = 6 * tokens * ratio * hidden^2
                  bytes_f = 3 * ratio / top_k * hidden^2 * weight_bytes * distinct,   gqa = hidden / kv_width
                  distinct = experts * (1 - (1 - top_k / experts)^tokens)
        Source:   [codesign] equations 3, 4 and 16; that the experts that any token chooses are loaded is its section
                  4.3.4, and their expected number is that of independent choices
        Valid:    as the paper: attention scores and activations cost nothing
        """
        hidden, ratio, top_k, experts = (_floats(columns, name) for name in ("hidden", "ffn_ratio", "top_k", "experts"))
        projections = self._projections(columns)
        distinct = experts * (1 - (1 - top_k / experts) ** prompt_tokens)
        attention_s = self._slower(2 * prompt_tokens * projections, projections * self.weight_bytes)
        ffn_s = self._slower(
            6 * prompt_tokens * ratio * hidden**2, 3 * ratio / top_k * hidden**2 * self.weight_bytes * distinct
        )
        return _floats(columns, "layers") * (attention_s + ffn_s)

    def decode_s(self, columns: Columns, prompt_tokens: int, decode_tokens: int) -> Floats:
        """Seconds of all decoded tokens of each model: the bandwidth alone limits them.

        Formula:  layers * decode / bandwidth * (weights * weight_bytes + 2 * context * kv_width * kv_bytes)
                  weights = (2 + 2 / gqa + 3 * ratio) * hidden^2,   context = prompt + (decode + 1) / 2
        Source:   [codesign] equations 27 to 39
        Valid:    batch 1, where a decode step does two operations per weight
        """
        weights = self._projections(columns) + 3 * _floats(columns, "ffn_ratio") * _floats(columns, "hidden") ** 2
        context = prompt_tokens + (decode_tokens + 1) / 2
        moved_bytes = weights * self.weight_bytes + 2 * context * _floats(columns, "kv_width") * self.kv_bytes
        return _floats(columns, "layers") * decode_tokens / self.bandwidth_bytes_per_s * moved_bytes

    def total_s(self, columns: Columns, prompt_tokens: int, decode_tokens: int) -> Floats:
        """Seconds of prefill and decode of each model."""
        return self.prefill_s(columns, prompt_tokens) + self.decode_s(columns, prompt_tokens, decode_tokens)

    def _projections(self, columns: Columns) -> Floats:
        """Weights of the four projections of attention: (2 + 2 / gqa) * hidden^2, for as many heads as fill hidden."""
        hidden = _floats(columns, "hidden")
        return 2 * hidden**2 + 2 * hidden * _floats(columns, "kv_width")

    def _slower(self, flop: Floats, moved_bytes: Floats) -> Floats:
        return np.maximum(flop / self.peak_flop_per_s, moved_bytes / self.bandwidth_bytes_per_s)


def roofline_latencies(
    chip: Chip, runtime: Runtime, columns: Columns, *, prompt_tokens: int, decode_tokens: int
) -> dict[str, Floats]:
    """Latencies of each model by key of the objective, each in its precision.

    Raises:
        SpecError: as `Roofline.of`.
    """
    precisions = columns["precision"]
    latencies = {key: np.empty(len(precisions)) for key in ("prefill_s", "decode_s", "total_s")}
    for name in np.unique(precisions).tolist():
        rows = np.flatnonzero(precisions == name)
        alike = {column: values[rows] for column, values in columns.items()}
        roofline = Roofline.of(chip, runtime, name)
        latencies["prefill_s"][rows] = roofline.prefill_s(alike, prompt_tokens)
        latencies["decode_s"][rows] = roofline.decode_s(alike, prompt_tokens, decode_tokens)
        latencies["total_s"][rows] = roofline.total_s(alike, prompt_tokens, decode_tokens)
    return latencies


def roofline_front(loss: Floats, latency_s: Floats) -> npt.NDArray[np.int64]:
    """The points that no other one beats in both loss and latency, ascending in latency; equal ones stay."""
    front = np.flatnonzero(non_dominated(np.stack([latency_s, loss], axis=1)))
    return front[np.argsort(latency_s[front], kind="stable")]


def _floats(columns: Columns, name: str) -> Floats:
    return np.asarray(columns[name], dtype=np.float64)
