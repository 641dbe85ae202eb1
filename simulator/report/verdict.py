"""The verdict of a run in words: does it meet the deadline, what limits it, and what no change of software can mend."""

from __future__ import annotations

from simulator.program import Program
from simulator.simulation.result import Result
from simulator.units import format_quantity, ticks_to_seconds

RESOURCE = {
    "weights": "DRAM bandwidth",
    "kv cache": "DRAM bandwidth",
    "activations": "DRAM bandwidth",
    "contention": "DRAM bandwidth",
    "matrix": "the matrix engine",
    "vector": "the vector engine",
    "conversion": "the vector engine",
    "launch": "kernel launches",
    "host": "the host that enqueues kernels",
    "queue": "work of other streams",
    "wait": "earlier frames of the stream",
}
"""The resource behind each cause of time."""


def deadline_sentence(result: Result) -> str:
    """Whether the frame meets its deadline, and by how much."""
    deadline_s = result.deadline_s
    if deadline_s is None:
        return f"The frame takes {format_quantity(result.latency_s, 's')}; it has no deadline."
    latency, deadline = _told_apart(result.latency_s, deadline_s)
    gap = format_quantity(abs(result.latency_s - deadline_s), "s")
    if result.latency_s <= deadline_s:
        return f"The frame takes {latency} and meets its deadline of {deadline} with {gap} to spare."
    times = result.latency_s / deadline_s
    ratio = f": {times:.1f} times too long" if times >= 1.1 else ""
    return f"The frame takes {latency} and misses its deadline of {deadline} by {gap}{ratio}."


def loss_sentence(result: Result) -> str:
    """Which frames of which streams were dropped or late; empty if none were."""
    return " ".join(
        f"Of {stream.released} frames of {stream.name}, {stream.dropped} were dropped and {stream.misses} were late."
        for stream in result.streams
        if stream.released > 1 and stream.dropped + stream.misses > 0
    )


def limit_sentence(result: Result) -> str:
    """What most of the frame's time went to, and in which phase."""
    shares: dict[str, int] = {}
    for cause, ticks in result.attribution.cause_ticks.items():
        resource = RESOURCE.get(cause, cause)
        shares[resource] = shares.get(resource, 0) + int(ticks)
    resource = max(shares, key=lambda name: shares[name])
    longest = max(result.phases, key=lambda phase: phase.latency_ticks)
    share = shares[resource] / max(1, result.frame.latency_ticks)
    words = f"{resource[0].upper()}{resource[1:]} limits it: {100 * share:.0f} % of the frame's critical path"
    if len(result.phases) > 1:
        words += (
            f", most of the time in {longest.name} ({format_quantity(ticks_to_seconds(longest.latency_ticks), 's')})"
        )
    return words + "."


def reach_sentence(result: Result) -> str | None:
    """What the deadline would take at least, if the frame's own work alone is more than it allows; else None.

    The DRAM must move the frame's bytes and the matrix engine must do its cycles, however they are scheduled.
    """
    if result.deadline_s is None or result.latency_s <= result.deadline_s:
        return None
    needs = []
    for name, alone_s in _alone_seconds(result.program, int(result.frame.job)).items():
        if alone_s > result.deadline_s:
            needs.append(f"{name} alone needs {format_quantity(alone_s, 's')} ({alone_s / result.deadline_s:.1f}x)")
    if not needs:
        return "No single resource rules the deadline out: overlap, fewer launches or less contention could reach it."
    return "No schedule of this work meets the deadline on this chip: " + " and ".join(needs) + "."


def _told_apart(first_s: float, second_s: float) -> tuple[str, str]:
    """Two durations with three digits, or with as many as it takes to see that they differ."""
    for digits in range(3, 13):
        first, second = format_quantity(first_s, "s", digits), format_quantity(second_s, "s", digits)
        if first != second:
            break
    return first, second


def _alone_seconds(program: Program, job: int) -> dict[str, float]:
    """Seconds that every channel and unit needs for one job if it never waits."""
    tasks, resources = program.tasks, program.resources
    rows = slice(int(program.job_offsets[job]), int(program.job_offsets[job + 1]))
    alone = {}
    for channel, name in enumerate(resources.channel_names):
        routes = [route for route in range(resources.num_routes) if channel in resources.route(route)]
        moved = sum(int(tasks.size_bytes[rows][tasks.route[rows] == route].sum()) for route in routes)
        alone[name] = moved / float(resources.channel_bytes_per_s[channel])
    for unit, name in enumerate(resources.unit_names):
        cycles = float(tasks.work_cycles[rows][tasks.unit[rows] == unit].sum())
        alone[name] = cycles / float(resources.unit_clock_hz[unit]) / float(resources.unit_slots[unit])
    return alone
