"""Expert caches: of the experts that a step touches in a layer, how many are already on the chip.

A slot holds one expert of one layer with all its matrices. The layers of a step come one after the other, the steps
too; within a layer each expert is used once per step, in the order in which it is first picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.compiled import compiled_in_place
from simulator.routing.trace import Ints, RouterTrace
from simulator.terms import CachePolicy

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CacheCounts:
    """What steps ask of a cache. Shape: layers, steps."""

    touched: Ints
    """Different experts that a step uses in a layer."""
    hits: Ints
    """Those of them that the cache holds when they are used."""

    @property
    def misses(self) -> Ints:
        """Those that must come from DRAM."""
        return self.touched - self.hits


def cache_counts(trace: RouterTrace, step_offsets: Ints, slots: int, policy: CachePolicy) -> CacheCounts:
    """Touched experts and hits of every layer and step.

    A cache by last use is empty before the first step. Pinned experts are there from the beginning: the most popular
    of the whole trace, of equally popular ones those of the first layers.

    Args:
        trace: which experts tokens pick.
        step_offsets: the first token of each step, and at the end the number of tokens (shape: steps + 1).
        slots: experts that the cache holds.
        policy: which it keeps.
    """
    layers, experts, num_steps = trace.num_layers, trace.experts, len(step_offsets) - 1
    counts = CacheCounts(*np.zeros((2, layers, num_steps), dtype=np.int64))
    parts = layers if policy == "lru-per-layer" else 1
    slots_of_part = 0 if policy == "static" else slots // parts
    nodes = layers * experts
    links = np.tile(np.arange(nodes + parts), (2, 1))  # each part a ring of its own, closed by a node for no expert
    is_held = pinned(trace, slots) if policy == "static" else np.zeros(nodes, dtype=np.bool_)
    seen = np.full(nodes, -1, dtype=np.int64)
    room = np.full(parts, slots_of_part, dtype=np.int64)
    _use_all(
        trace.picks, np.asarray(step_offsets, dtype=np.int64), experts, slots_of_part, room, links, is_held, seen,
        counts.touched, counts.hits,
    )  # fmt: skip
    return counts


def pinned(trace: RouterTrace, slots: int) -> Bools:
    """Which experts are pinned: the most popular of all layers (shape: layers * experts)."""
    order = np.argsort(-trace.popularity.ravel(), kind="stable")
    is_held = np.zeros(trace.popularity.size, dtype=np.bool_)
    is_held[order[:slots]] = True
    return is_held


_OLDER, _NEWER = 0, 1


@compiled_in_place
def _use_all(  # noqa: PLR0917
    picks: Any, step_offsets: Any, experts: int, slots: int, room: Any, links: Any, is_held: Any, seen: Any,
    touched: Any, hits: Any,
) -> None:  # fmt: skip
    """Uses the experts of all steps in turn. With no slots nothing is taken in, so that held experts stay held."""
    older, newer, nodes = links[_OLDER], links[_NEWER], len(is_held)
    for step in range(len(step_offsets) - 1):
        for layer in range(picks.shape[0]):
            part = layer % len(room)
            ring = nodes + part
            for token in range(step_offsets[step], step_offsets[step + 1]):
                for place in range(picks.shape[2]):
                    expert = layer * experts + picks[layer, token, place]
                    if seen[expert] == step:
                        continue
                    seen[expert] = step
                    touched[layer, step] += 1
                    hits[layer, step] += is_held[expert]
                    if slots == 0:
                        continue
                    if not is_held[expert]:
                        if room[part] > 0:
                            room[part] -= 1
                        else:  # the oldest leaves
                            oldest = newer[ring]
                            is_held[oldest] = False
                            newer[ring], older[newer[oldest]] = newer[oldest], ring
                        is_held[expert] = True
                    else:
                        newer[older[expert]], older[newer[expert]] = newer[expert], older[expert]
                    newest = older[ring]
                    older[expert], newer[expert] = newest, ring
                    newer[newest], older[ring] = expert, expert
