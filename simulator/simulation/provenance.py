"""Provenance: the sourced numbers that a simulation can have read, so that a result names the guesses it rests on.

Left out is what no simulation reads (links to other chips, area, power of the module) and what the setup does not
touch: other cluster groups, kernels of other precisions, matrix paths that no kernel takes. Which of the rest mattered
is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator

from simulator.simulation.setup import Setup
from simulator.sourced import Sourced, units_of

_UNREAD = ("die_area", "power", "physical.", "power_states.")
"""Beginnings of paths in a chip that are for readers and for other chips."""


def numbers_read(setup: Setup) -> Iterator[tuple[str, Sourced, str | None]]:
    """Numbers of chip, runtime and background traffic: dotted path, number, and its unit (None for a pure number)."""
    for path, number, unit in units_of(setup.chip):
        if not _is_unread_of_chip(setup, path):
            yield f"chip.{path}", number, unit
    precisions = _precisions(setup)
    for path, number, unit in units_of(setup.runtime):
        kernel = path.removeprefix("kernels.").rpartition(".")[0] if path.startswith("kernels.") else None
        if kernel is None or kernel in precisions:
            yield f"runtime.{path}", number, unit
    for name, flow in setup.background.items():
        for path, number, unit in units_of(flow):
            yield f"background.{name}.{path}", number, unit


def _is_unread_of_chip(setup: Setup, path: str) -> bool:
    if path.startswith(_UNREAD):
        return True
    dies = setup.chip.dies
    if path.startswith("links."):
        return dies is None or not path.startswith(f"links.{dies.link}.")
    group = f"clusters.{setup.chip.accelerator}."
    if path.startswith("clusters.") and not path.startswith(group):
        return True
    matrix = f"{group}matrix."
    return path.startswith(matrix) and path.removeprefix(matrix).partition(".")[0] not in _paths(setup)


def _precisions(setup: Setup) -> set[str]:
    """Precisions of all phases of all streams, and that of the LM head."""
    named = {phase.precision for stream in setup.streams for phase in stream.workload.pipeline}
    head = setup.runtime.head_precision
    return named if head == "body" else named | {head}


def _paths(setup: Setup) -> set[str]:
    """Matrix paths of the chip that the kernels take."""
    runtime, chip_paths = setup.runtime, setup.chip.cluster.matrix
    wanted: set[str] = {runtime.causal_attention.path, runtime.full_attention.path}
    wanted |= {kernel.path for name, kernel in runtime.kernels.items() if name in _precisions(setup)}
    return {name if name in chip_paths else "native" for name in wanted}
