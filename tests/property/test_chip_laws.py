"""Laws of whole runs on chips of the catalogue whose numbers are drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import Result, load_chip, load_runtime, load_technology
from simulator.chip import Chip
from simulator.engine.select import engine_named
from simulator.explanation.parts import latency_parts
from simulator.simulation.setup import single_run
from simulator.simulation.simulate import simulate
from simulator.workload import Workload
from tests.closed_form.limits import decoder
from tests.unit.test_emit import number

SOME = settings(max_examples=60, deadline=None)


@dataclass(frozen=True)
class Case:
    """A chip with other numbers, a decoder with a prompt, and a runtime."""

    name: str
    values: dict[str, Any]
    runtime: str
    weights: str
    prompt: int
    decode: int
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def workload(self) -> Workload:
        return decoder(self.prompt, self.decode, self.weights, **self.sizes)

    @property
    def token_bytes(self) -> int:
        """Keys and values of a token in all layers, FP16."""
        return 2 * 2 * self.sizes["layers"] * self.sizes["kv_heads"] * self.sizes["head_dim"]

    def chip(self, level: dict[str, Any] | None = None) -> Chip:
        """The chip with one shared level, or with none."""
        levels = {} if level is None else {"l2": level}
        return load_chip(self.name).with_values({**self.values, "sram": levels, "physical": {"surroundings": "car"}})

    def run(self, level: dict[str, Any] | None = None, *, checks: bool = True) -> Result:
        """With energies, and all checks of the timeline."""
        chip = self.chip(level)
        technology = None if chip.technology is None else load_technology(chip.technology)
        setup = single_run(chip, self.workload, load_runtime(self.runtime), technology=technology)
        return simulate(setup, checks=checks)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    name, accelerator = draw(
        st.sampled_from([("orin-agx-64gb", "gpu"), ("hypo-decode", "npu"), ("mach-m100", "npu"), ("thor-t5000", "gpu")])
    )
    rate = load_chip(name).dram.rate.value
    return Case(
        name=name,
        values={
            f"clusters.{accelerator}.count": draw(st.integers(1, 12)),
            f"clusters.{accelerator}.vector.lanes": draw(st.sampled_from([4, 32, 128])),
            f"clusters.{accelerator}.sram.capacity": f"{draw(st.sampled_from([16, 128, 2048]))} KiB",
            "dram.rate": f"{rate * draw(st.sampled_from([0.05, 0.3, 1.0]))} T/s",
        },
        runtime=draw(st.sampled_from(["ideal", "dataflow", "tensorrt-edge-llm"])),
        weights=draw(st.sampled_from(["fp16", "w4a16", "w8a8"])),
        prompt=draw(st.sampled_from([1, 30, 700, 3000])),
        decode=draw(st.integers(1, 4)),
        sizes={
            "layers": draw(st.integers(1, 3)), "hidden": draw(st.sampled_from([64, 512])),
            "kv_heads": draw(st.sampled_from([1, 4])), "head_dim": 64, "vocabulary": 500,
        },
    )  # fmt: skip


def level_of(size_bytes: int, **shares: float) -> dict[str, Any]:
    return {"capacity": number(f"{size_bytes} B"), "split": {"activations": 0.0, **shares}}


def latency(result: Result) -> int:
    return result.frame.latency_ticks


@SOME
@given(cases(), st.integers(1, 3100), st.integers(1, 3100))
def test_more_sram_for_the_cache_never_makes_a_model_slower_that_is_alone(case: Case, one: int, other: int) -> None:
    """Where the level has no port that limits; every task may be rounded up by a tick."""
    none = case.run(level_of(case.token_bytes))
    less, more = (case.run({**level_of(2**33), "kv_store": f"{tokens * case.token_bytes} B"})
                  for tokens in sorted((one, other)))  # fmt: skip
    slack = max(len(result.timeline) for result in (none, less, more))
    assert latency(more) <= latency(less) + slack
    assert latency(less) <= latency(none) + slack


@SOME
@given(cases(), st.integers(1, 3100), st.sampled_from([1.0, 1.5, 8.0]))
def test_behind_a_port_at_least_as_quick_as_the_dram_a_store_is_never_slower_than_none(
    case: Case, tokens: int, times: float
) -> None:
    """But a larger one may be slower than a smaller: port and DRAM deliver side by side, and more waits at the port."""
    port = {"bandwidth": number(f"{times * case.chip().dram.sustained_bytes_per_s} B/s")}
    none = case.run(level_of(2**33))
    some = case.run({**level_of(2**33), **port, "kv_store": f"{tokens * case.token_bytes} B"})
    assert latency(some) <= latency(none) + len(none.timeline) + len(some.timeline)


@SOME
@given(cases(), st.floats(0.01, 1), st.floats(0.01, 1))
def test_more_pinned_weights_never_make_a_model_slower_that_is_alone(case: Case, one: float, other: float) -> None:
    none = case.run(level_of(2**20))
    less, more = (case.run(level_of(2**20, weights=share)) for share in sorted((one, other)))
    slack = max(len(result.timeline) for result in (none, less, more))
    assert latency(more) <= latency(less) + slack
    assert latency(less) <= latency(none) + slack


@SOME
@given(cases(), st.floats(0, 0.3), st.floats(0, 0.3), st.sampled_from([None, "1 GB/s", "1 TB/s"]), st.integers(10, 24))
def test_a_level_never_holds_more_than_it_has_whatever_the_split(
    case: Case, weights: float, kv: float, bandwidth: str | None, doublings: int
) -> None:
    """`run` checks the occupancy at every tick, beside conservation and causality."""
    level = level_of(2**doublings, weights=weights, kv=kv, activations=0.4)
    if bandwidth is not None:
        level["bandwidth"] = number(bandwidth)
    result = case.run(level)
    assert all(0 <= use.average_bytes <= use.peak_bytes <= use.size_bytes for use in result.memories)


@SOME
@given(cases(), st.floats(0, 0.5), st.floats(0, 0.5))
def test_energies_of_phases_sum_to_those_of_parts_and_are_the_integral_of_the_power(
    case: Case, weights: float, kv: float
) -> None:
    result = case.run({**level_of(2**20, weights=weights, kv=kv), "bandwidth": number("1 TB/s")})
    assert result.energy is not None
    assert result.meter is not None
    total_j = sum(result.energy.parts_j.values())
    assert sum(result.energy.phases_j.values()) == pytest.approx(total_j, rel=1e-9)
    assert sum(result.meter.run(result.timeline).values()) == pytest.approx(total_j, rel=1e-9)
    edges = np.linspace(0, result.timeline.horizon_tick, 8).astype(np.int64)
    assert result.meter.power(result.timeline, edges).energy_j == pytest.approx(total_j, rel=1e-9)


@SOME
@given(cases(), st.floats(0, 0.5), st.floats(0, 0.5))
def test_parts_of_the_latency_sum_to_it_in_the_frame_and_in_every_phase(case: Case, weights: float, kv: float) -> None:
    result = case.run({**level_of(2**20, weights=weights, kv=kv), "bandwidth": number("20 GB/s")})
    parts = latency_parts(result.timeline, 0, engine_named("auto"))
    assert sum(parts.part_ticks.values()) == sum(item.ticks for item in parts.items) == latency(result)
    for phase in result.phases:
        assert sum(parts.phase_part_ticks[phase.name].values()) == phase.latency_ticks
    assert sum(result.attribution.cause_ticks.values()) == latency(result)
