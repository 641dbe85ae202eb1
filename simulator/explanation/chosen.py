"""Chosen numbers: what somebody decides, such as shares, limits and budgets, and which of them gives way to another.

Sourced numbers are not here: `sourced.units_of` finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.chip import Chip
from simulator.spec import Spec

_GIVEN: Final = ("dram.device.", "dram.condition.", "dram.measured_condition.")
"""What a standard, a place or a measurement says: nobody chooses it for a chip."""


@dataclass(frozen=True)
class Giver:
    """The number from which another one takes what is not free: the largest beside it."""

    path: str
    value: float
    most: float
    """Up to this the other one takes only what is free."""


def chosen_numbers(spec: Spec) -> Iterator[tuple[str, float, str | None]]:
    """Every chosen number of a spec: dotted path, value in base units, and unit; None for a pure number."""
    for path, value, written in _numbers(spec.model_dump(mode="json"), spec.model_dump(), ""):
        if not path.startswith(_GIVEN):
            yield path, value, written.partition(" ")[2] if isinstance(written, str) else None


def _numbers(tree: Any, written: Any, path: str) -> Iterator[tuple[str, float, Any]]:
    """The numbers of a dumped spec, and the same as a file would say them, with their unit."""
    if isinstance(tree, Mapping):
        if tree.keys() >= {"value", "source", "status"}:
            return
        for key, item in tree.items():
            yield from _numbers(item, written[key], f"{path}.{key}" if path else key)
    elif isinstance(tree, list | tuple):
        for index, item in enumerate(tree):
            yield from _numbers(item, written[index], f"{path}.{index}")
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, tree, written


def giver_of(chip: Chip, path: str) -> Giver | None:
    """What gives way for a share of a split, or for the clusters of a partition; None for other numbers.

    Shares of a split sum to 1 at most, clusters of partitions to those of the accelerator.
    """
    steps = path.split(".")
    if steps[0] == "partitions":
        parts = {f"partitions.{name}.clusters": part.clusters for name, part in chip.partitions.items()}
        return _largest_beside(path, parts, chip.cluster.count.value)
    if "split" in steps or "local_split" in steps:
        tree = chip.model_dump(mode="json")
        for step in steps[:-1]:
            tree = tree[step]
        prefix = path.removesuffix(steps[-1])
        return _largest_beside(path, {f"{prefix}{name}": share for name, share in tree.items()}, 1.0)
    return None


def _largest_beside(path: str, values: Mapping[str, float], total: float) -> Giver | None:
    others = {name: value for name, value in values.items() if name != path and value > 0}
    if not others:
        return None
    giver = max(others, key=lambda name: others[name])
    return Giver(giver, others[giver], total - sum(others.values()))
