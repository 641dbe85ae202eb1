"""The road in one function: setup, program, engine, timeline, metrics, result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.compiled import loading_s
from simulator.engine.bound import Bound, lower_bound
from simulator.engine.interface import Progress
from simulator.engine.select import EngineName, engine_named
from simulator.errors import EngineError
from simulator.metrics.attribution import attribute
from simulator.metrics.latency import ReleaseLatency, release_latency, slowest_frame
from simulator.metrics.occupancy import memory_use
from simulator.metrics.streams import stream_outcomes
from simulator.metrics.utilization import channel_use, unit_use
from simulator.ppa.energy_model import energy_model
from simulator.ppa.power import FrameEnergy, Meter
from simulator.program import Program
from simulator.simulation.result import Result
from simulator.simulation.setup import Setup
from simulator.simulation.to_program import to_program
from simulator.timeline import ReleaseStatus, Timeline
from simulator.timeline.invariants import check_all


def simulate(
    setup: Setup, *, engine: EngineName = "auto", checks: bool = False, progress: Progress | None = None
) -> Result:
    """Simulates a setup.

    Args:
        setup: what to run.
        engine: which engine; `auto` takes the quickest there is. Compiling it counts as no run.
        checks: check conservation, causality and capacity of the whole timeline.
        progress: called now and then with (ticks simulated, tasks completed).
    Raises:
        SpecError: when the parts of the setup do not go together, or the engine does not exist.
        Infeasible: when the models do not fit the chip.
        EngineError: when a check fails.
    """
    chosen = engine_named(engine)
    begin_s, loaded_s = time.perf_counter(), loading_s()
    program = to_program(setup)
    timeline = chosen.run(program, progress=progress)
    num_laws = check_all(timeline) if checks else 0
    release = slowest_frame(timeline)
    bounds = [lower_bound(program, job) for job in range(program.num_jobs)]
    _check_bounds(timeline, bounds)
    bound = bounds[int(program.streams.release_job[release])]
    frame = release_latency(timeline, release, bound)
    meter = _meter(setup, program)
    result = Result(
        setup=setup,
        timeline=timeline,
        frame=frame,
        meter=meter,
        energy=None if meter is None else _frame_energy(meter, frame),
        bound=bound,
        attribution=attribute(timeline, release, frame),
        streams=stream_outcomes(timeline),
        units=unit_use(timeline),
        channels=channel_use(timeline),
        memories=memory_use(timeline),
        wall_s=0.0,
        num_laws=num_laws,
    )
    return replace(result, wall_s=time.perf_counter() - begin_s - (loading_s() - loaded_s))


def _meter(setup: Setup, program: Program) -> Meter | None:
    """What measures energy, if the technology is known."""
    return None if setup.technology is None else Meter(program, energy_model(setup.chip, setup.technology))


def _frame_energy(meter: Meter, frame: ReleaseLatency) -> FrameEnergy:
    return meter.frame(frame.job, frame.latency_ticks, {phase.phase: phase.latency_ticks for phase in frame.phases})


def _check_bounds(timeline: Timeline, bounds: Sequence[Bound]) -> None:
    """No completed frame of any job may be faster than the lower bound of the job."""
    program = timeline.program
    completed = timeline.release_status == ReleaseStatus.COMPLETED
    for job, bound in enumerate(bounds):
        frames = completed & (program.streams.release_job == job)
        if not np.any(frames):
            continue
        quickest = int(np.min((timeline.release_end_tick - timeline.release_start_tick)[frames]))
        if quickest < bound.ticks:
            raise EngineError(f"a frame of job {job} took {quickest} ticks, less than its lower bound {bound.ticks}")
