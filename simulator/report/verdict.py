"""The verdict of a run in words: does it meet the deadline, what limits it, and what it would take."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.metrics.parts import COMPUTE, CONVERSION, DRAM, LAUNCH, LINK, NOC, ROUTING, SRAM, SWITCH, VECTOR
from simulator.simulation.result import Result
from simulator.units import format_quantity, format_ticks, ticks_to_seconds

_RESOURCE: Final = {
    COMPUTE: "the matrix engine",
    DRAM: "DRAM bandwidth",
    NOC: "the bandwidth of the NoC",
    SRAM: "the bandwidth of shared SRAM",
    VECTOR: "the vector engine",
    LAUNCH: "kernel launches",
    CONVERSION: "conversion between formats",
    ROUTING: "the routing unit",
    SWITCH: "mode switches",
    LINK: "the link between dies",
}
"""The resource behind each part of a latency; other parts keep their names."""


def deadline_sentence(result: Result) -> str:
    """Whether the frame meets its deadline, and by how much."""
    streams, deadline_s = result.setup.streams, result.deadline_s
    frame = f"The slowest frame of {streams[0].name}" if len(streams) > 1 else "The frame"
    if deadline_s is None:
        return f"{frame} takes {format_quantity(result.latency_s, 's')}; it has no deadline."
    latency, deadline = _told_apart(result.latency_s, deadline_s)
    gap = format_quantity(abs(result.latency_s - deadline_s), "s")
    if result.latency_s <= deadline_s:
        return f"{frame} takes {latency} and meets its deadline of {deadline} with {gap} to spare."
    times = result.latency_s / deadline_s
    ratio = f": {times:.1f} times too long" if times >= 1.1 else ""
    return f"{frame} takes {latency} and misses its deadline of {deadline} by {gap}{ratio}."


def loss_sentence(result: Result) -> str:
    """Which frames of which streams were dropped or late; empty if none were."""
    return " ".join(
        f"Of {stream.released} frames of {stream.name}, {stream.dropped} were dropped and {stream.misses} were late."
        for stream in result.streams
        if stream.released > 1 and stream.dropped + stream.misses > 0
    )


def limit_sentence(result: Result) -> str:
    """The resource that most of the frame's critical path went to, and the phase in which it costs most."""
    parts, by_phase = result.attribution.part_ticks, result.attribution.phase_part_ticks
    part = max(parts, key=lambda name: parts[name])
    in_phase = {phase: ticks.get(part, 0) for phase, ticks in by_phase.items()}
    share = parts[part] / max(1, result.frame.latency_ticks)
    words = f"It is limited by {_RESOURCE.get(part, part)}: {100 * share:.0f} % of the frame's critical path"
    worst = max(in_phase, key=lambda name: in_phase[name])
    if len(in_phase) > 1 and 2 * in_phase[worst] > parts[part]:
        words += f", most of it in {worst} ({format_ticks(in_phase[worst])})"
    return words + "."


def reach_sentence(result: Result) -> str | None:
    """What a missed deadline would take; None if it is met or there is none."""
    deadline_s, bound_s = result.deadline_s, ticks_to_seconds(result.bound.ticks)
    if deadline_s is None or result.latency_s <= deadline_s:
        return None
    bound, deadline = format_quantity(bound_s, "s"), format_quantity(deadline_s, "s")
    if bound_s <= deadline_s:
        return (
            f"The lower bound of these kernels is {bound}, which would be in time; what lies between is contention, "
            "queues, and work of the frame that does not overlap."
        )
    words = f"Even without waiting and without other traffic these kernels take at least {bound} on this chip."
    resources = result.program.resources
    for channel, name in enumerate(resources.channel_names):
        moved = sum(phase.channel_bytes[channel] for phase in result.phases)
        rate = float(resources.channel_bytes_per_s[channel])
        if moved / rate > deadline_s:
            words += (
                f" To move their {format_quantity(moved, 'B')} in {deadline} the {name} would have to sustain "
                f"{format_quantity(moved / deadline_s, 'B/s')} instead of {format_quantity(rate, 'B/s')}."
            )
    matrix_s = _matrix_seconds(result)
    if matrix_s > deadline_s:
        words += f" Their matrix work alone takes {format_quantity(matrix_s, 's')}."
    return words


def _matrix_seconds(result: Result) -> float:
    """Seconds of matrix work of the frame if nothing ever waits."""
    program = result.program
    tasks, labels = program.tasks, program.labels
    rows = slice(*program.job_offsets[result.frame.job : result.frame.job + 2].tolist())
    is_matrix = tasks.cause[rows] == labels.causes.index("matrix")
    cycles, units = tasks.work_cycles[rows][is_matrix], tasks.unit[rows][is_matrix]
    return float(np.sum(cycles / program.resources.unit_clock_hz[units]))


def _told_apart(first_s: float, second_s: float) -> tuple[str, str]:
    """Two durations with three digits, or with as many as it takes to see that they differ."""
    for digits in range(3, 13):
        first, second = format_quantity(first_s, "s", digits), format_quantity(second_s, "s", digits)
        if first != second:
            break
    return first, second
