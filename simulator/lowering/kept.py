"""What a model keeps on the chip from step to step: pinned weights and the KV store.

Both shorten what has to come from DRAM. The room is a share of an SRAM level (`chip.Split`). Weights are pinned before
the run and stay; the KV store holds the newest tokens, and what they push out is written to DRAM once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from simulator.chip import Lasting
from simulator.graph import CacheWrite, Convolution, MatMul, Operator, PhaseGraph
from simulator.lowering.kernel import matrix_bytes
from simulator.lowering.kernel_work import NOTHING_KEPT, CacheLayers, Kept
from simulator.lowering.platform import Platform
from simulator.precision import precision
from simulator.variants import Ints, Size, largest, same, smallest


def kept_of(
    phases: Sequence[PhaseGraph], platform: Platform, kind: Ints | None = None,
    *, here: Sequence[PhaseGraph] | None = None,
) -> Kept:  # fmt: skip
    """What of a model, or of every kind of model of a family, stays on the chip.

    Formula:  tokens = floor(KV room / bytes of a token in all layers); where layers see less far than others, what
              they do not need is the others': the most tokens T with the sum of min(T, w + sinks) * bytes of a token in
              all layers of a window w <= KV room, and T for those that see farthest
              share of every matrix = min(1, weight room / bytes of all matrices)
    Status:   a policy: every layer has an equal share, so layers stay alike

    Args:
        phases: of one frame.
        platform: chip and runtime.
        kind: of every model of a family, all models of a kind having as many layers; None for one model.
        here: those phases that run on the die, where matrices of others are never pinned; None for all.
    """
    chip = platform.chip
    room = {what: sum(size_bytes for _, size_bytes in platform.kept_room(what)) for what in ("weights", "kv")}
    kept: dict[str, Any] = {}
    if room["kv"] > 0:
        kept["kv_layers"] = cache_layers(phases, platform, kind)
        kept["kv_sinks"] = max(level.kv_sinks for level in (chip.cluster.sram, *chip.sram.values()))
        kept["kv_tokens"] = kept_tokens(room["kv"], kept["kv_layers"], kept["kv_sinks"])
        kept["far_kv"] = platform.far_share("kv")
    if room["weights"] > 0:
        kept["weight_bytes"] = _matrix_bytes(phases if here is None else here, platform, kind)
        kept["weight_share"] = smallest(1.0, room["weights"] / largest(kept["weight_bytes"], 1))
        kept["far_weights"] = platform.far_share("weights")
    return Kept(**kept) if kept else NOTHING_KEPT


def context_tokens(phases: Sequence[PhaseGraph]) -> list[Ints]:
    """Tokens in the KV cache during every step of every phase of a model (shape of each: steps).

    A phase that writes no cache finds what those before it have left.
    """
    contexts: list[Ints] = []
    for phase in phases:
        writes = [operator.context for operator, _ in phase.operators() if isinstance(operator, CacheWrite)]
        before = contexts[-1][-1] if contexts else 0
        tokens = largest(*writes) if writes else before  # those of the layers that see farthest
        contexts.append(np.broadcast_to(np.asarray(tokens), (phase.num_steps,)))
    return contexts


def filled_bytes(tokens: Size, kept: Kept) -> Size:
    """Bytes of the KV store that are filled when the cache has so many tokens."""
    return cache_bytes(smallest(tokens, kept.kv_tokens), kept.kv_layers, kept.kv_sinks)


def cache_bytes(tokens: Size, layers: Sequence[CacheLayers], sinks: int = 0) -> Size:
    """Bytes of so many tokens of a KV cache, of which layers with a window have no more than that, and the sinks."""
    total: Size = 0 * tokens
    for window, token_bytes in layers:
        total = total + (tokens if window is None else smallest(tokens, window + sinks)) * token_bytes
    return total


def kept_tokens(room_bytes: int, layers: Sequence[CacheLayers], sinks: int) -> Size:
    """The most tokens that fit a room, if the layers that see farthest (the last) keep all of them."""
    room: Size = room_bytes
    per_token: Size = sum(token_bytes for _, token_bytes in layers)
    for window, token_bytes in layers[:-1]:
        assert window is not None  # those without one come last
        if not np.all((window + sinks) * per_token < room):
            break
        # it has all that it needs, and leaves the rest to the others
        room, per_token = room - (window + sinks) * token_bytes, per_token - token_bytes
    tokens: Size = room // largest(per_token, 1)
    return tokens


def pinned_bytes(kept: Kept) -> int:
    """Bytes of the pinned weights of a model."""
    return int(kept.weight_share * kept.weight_bytes)


def spread(size_bytes: int, what: Lasting, platform: Platform) -> list[tuple[int, int]]:
    """(memory, bytes) of something that lies in all its rooms, in proportion to them."""
    rooms = platform.kept_room(what)
    total = sum(room_bytes for _, room_bytes in rooms)
    parts = [(memory, size_bytes * room_bytes // total) for memory, room_bytes in rooms]
    return [(memory, part) for memory, part in parts if part > 0]


def cache_layers(
    phases: Sequence[PhaseGraph], platform: Platform, kind: Ints | None = None
) -> tuple[CacheLayers, ...]:  # fmt: skip
    """Layers by how far they see, those that see farthest last; every phase that writes a cache writes the same.

    In a family all layers of a model see as far as each other.
    """
    layers: list[CacheLayers] = []
    for phase in phases:
        found: list[CacheLayers] = []
        for operator, repeats in _operators(phase, kind):
            if isinstance(operator, CacheWrite):
                _add(found, CacheLayers(operator.window, repeats * platform.cache_bytes(operator.token_elements)))
        layers = layers or found
    return tuple(sorted(layers, key=lambda each: np.inf if each.window is None else float(np.max(each.window))))


def _add(layers: list[CacheLayers], more: CacheLayers) -> None:
    for index, (window, token_bytes) in enumerate(layers):
        if window is more.window or (window is not None and more.window is not None and same(window, more.window)):
            layers[index] = CacheLayers(window, token_bytes + more.token_bytes)
            return
    layers.append(more)


def _matrix_bytes(phases: Sequence[PhaseGraph], platform: Platform, kind: Ints | None) -> Size:
    """All matrices of all components; phases of one component share them. Experts are not among them."""
    components: dict[str, Size] = {}
    for phase in phases:
        body = precision(phase.precision)
        in_phase: Size = 0
        for operator, repeats in _operators(phase, kind):
            if isinstance(operator, MatMul | Convolution):
                in_phase = in_phase + repeats * matrix_bytes(operator, platform.matrix_precision(operator, body))
        component = phase.component
        components[component] = largest(components.get(component, 0), in_phase)
    total: Size = 0
    for size_bytes in components.values():
        total = total + size_bytes
    return total


def _operators(phase: PhaseGraph, kind: Ints | None) -> Iterator[tuple[Operator, Size]]:
    """Every operator of a step with the copies of its weights, in a family one per kind (shape: kinds, 1)."""
    for block in phase.blocks:
        repeats = block.copies
        if kind is not None and isinstance(repeats, np.ndarray):
            of_kind = np.zeros(int(kind.max()) + 1, dtype=np.int64)
            of_kind[kind] = repeats
            repeats = of_kind[:, None]
        for operator in block.graph.operators:
            yield operator, repeats
