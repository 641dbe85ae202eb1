"""Laws that the parts of every latency obey, on random Programs."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine.reference import ReferenceEngine
from simulator.explanation.parts import latency_parts
from simulator.metrics.attribution import attribute
from simulator.program import Program
from simulator.timeline import ReleaseStatus
from tests.property.program_strategies import programs
from tests.property.test_fast_metrics import layered_programs


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(layered_programs(), programs()))
def test_parts_sum_to_the_latency_and_move_nothing_but_contention(program: Program) -> None:
    """Of what an attribution says, parts split contention and rename the rest; nothing else changes place."""
    engine = ReferenceEngine()
    timeline = engine.run(program)
    for release in np.flatnonzero(timeline.release_status == ReleaseStatus.COMPLETED).tolist():
        parts, attribution = latency_parts(timeline, release, engine), attribute(timeline, release)
        assert sum(parts.part_ticks.values()) == parts.latency_ticks == attribution.latency_ticks
        assert sum(item.ticks for item in parts.items) == parts.latency_ticks
        assert all(ticks > 0 for item in parts.items for ticks in item.part_ticks.values())
        found, causes = Counter(parts.part_ticks), Counter(attribution.cause_ticks)
        assert found["waiting for other releases"] == causes["queue"] + causes["wait"]
        assert found["waiting for other masters"] <= causes["contention"]
        for unit in program.resources.unit_names:
            assert found[unit] == causes[unit]
        assert sum(attribution.part_ticks.values()) == parts.latency_ticks
        moved = Counter(attribution.part_ticks)
        moved.subtract({part: ticks for part, ticks in found.items() if part != "waiting for other masters"})
        assert all(ticks >= 0 for ticks in moved.values())
        assert sum(moved.values()) == found["waiting for other masters"]
