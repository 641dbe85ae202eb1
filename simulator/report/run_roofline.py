"""The roofline picture of a run: its operations against the ceilings of its chip."""

from __future__ import annotations

import os

from simulator.metrics.operations import operation_use
from simulator.report.roofline_plot import Roof, RooflinePoint, draw_roofline
from simulator.simulation.result import Result
from simulator.units import ticks_to_seconds


def draw_run_roofline(result: Result, path: str | os.PathLike[str], *, subtitle: str) -> None:
    """Draws every operation of the frame that multiplies matrices and moves bytes.

    Raises:
        SpecError: when the suffix is of no picture format.
        OutputError: when the file cannot be written.
    """
    workload, chip = result.setup.streams[0].workload.name, result.setup.chip.name
    title = f"{workload} on {chip}: where its operators stand"
    draw_roofline(_points(result), _roofs(result), path, title=title, subtitle=subtitle)


def _points(result: Result) -> list[RooflinePoint]:
    return [
        RooflinePoint(
            name=use.name.partition(".")[2],
            phase=use.phase,
            flop=use.flop,
            dram_bytes=result.dram_bytes(use.channel_bytes),
            seconds=ticks_to_seconds(use.busy_ticks),
        )
        for use in operation_use(result.timeline, result.frame.release)
        if use.flop and result.dram_bytes(use.channel_bytes)
    ]


def _roofs(result: Result) -> list[Roof]:
    """Peak and sustained DRAM, and the peak of every matrix path that the frame's kernels use."""
    chip, runtime = result.setup.chip, result.setup.runtime
    roofs = [
        Roof(f"DRAM {kind}", bytes_per_s=rate)
        for kind, rate in (("peak", chip.dram.peak_bytes_per_s), ("sustained", chip.dram.sustained_bytes_per_s))
    ]
    rates: dict[str, float] = {}
    for stream in result.setup.streams:
        for phase in stream.workload.pipeline:
            kernel = runtime.kernels[phase.precision]
            macs_per_s = chip.cluster.macs_per_second(kernel.path, kernel.dtype)
            if macs_per_s is not None:
                rates[f"{kernel.dtype}, {kernel.path} path"] = 2 * macs_per_s
    return roofs + [Roof(name, flop_per_s=rate) for name, rate in rates.items()]
