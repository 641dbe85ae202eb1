"""A routing unit: experts from the cache, from the predictor and late, by hand; what it costs and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from simulator import Infeasible, load_chip, load_runtime
from simulator.chip import Chip
from simulator.engine.reference import ReferenceEngine
from simulator.engine.select import engine_named
from simulator.errors import SpecError
from simulator.graph import build_graph
from simulator.lowering import Demand, Platform, flop_per_byte, lower
from simulator.lowering.block import lower_block
from simulator.lowering.experts import expert_traffic
from simulator.lowering.least_time import block_time, least_phase_ticks
from simulator.metrics.latency import release_latency
from simulator.precision import precision
from simulator.program import Program
from simulator.timeline.invariants import check_all
from simulator.workload import Routing, Workload
from tests.unit.test_emit import number
from tests.unit.test_experts import EXPERT, SOURCED, lowered, tiny
from tests.unit.test_lowering import ONCE, bytes_of_phase

EXPERT_BYTES = 2 * EXPERT
"""One expert of `tiny` in 16 bits: 1,440 bytes."""
FIRST, SECOND = [[0, 1], [0, 2], [0, 1]], [[3, 4], [4, 5], [3, 5]]
"""Picks of two layers for two prompt tokens and a decoded one."""


def traced(folder: Path, *, decode: int = 1, **changes: Any) -> Workload:
    """`tiny` with two layers, two prompt tokens and picks from a file."""
    path = folder / "trace.npy"
    np.save(path, np.array([FIRST, SECOND]))
    routing = {"file": str(path), **SOURCED}
    return tiny(prompt=2, decode=decode, **{"routing": routing, **changes})


def with_unit(
    *, slots: float = 0, cache: str | None = None, hit_rate: float | None = None, ahead: int = 1,
    port: str | None = "1 GB/s", **values: Any,
) -> Platform:  # fmt: skip
    """Thor with a routing unit, and room for so many experts of `tiny` behind a port of its own."""
    unit: dict[str, Any] = {"scores_per_cycle": number(2), "gather": number("8 B/cycle"),
                            "scatter": number("16 B/cycle"), "cache": cache}  # fmt: skip
    if hit_rate is not None:
        unit["prefetch"] = {"hit_rate": number(hit_rate), "layers_ahead": number(ahead)}
    fields = load_chip("thor-t5000").model_dump()
    fields["routing"] = unit
    if slots:
        room = {"capacity": number(f"{int(slots * EXPERT_BYTES)} B"), "split": {"experts": 1.0}}
        fields["sram"]["experts"] = room if port is None else {**room, "bandwidth": number(port)}
    runtime = load_runtime("tensorrt-edge-llm").with_values(values)
    return Platform(Chip.model_validate(fields), runtime)


def bytes_by_cause(program: Program, phase: str, cause: str) -> int:
    index, wanted = program.labels.phases.index(phase), program.labels.causes.index(cause)
    tasks = program.tasks
    in_phase = program.labels.operation_phase[np.maximum(tasks.operation, 0)] == index
    return int(tasks.size_bytes[in_phase & (tasks.cause == wanted)].sum())


# what is touched and cached ------------------------------------------------------------------------------------------


def test_traffic_is_what_the_phases_touch_and_find_in_turn(tmp_path: Path) -> None:
    """The prefill reaches 0 1 2 and 3 4 5, the token 0 1 and 3 5; four slots by last use keep 2 3 4 5 until then.

    The token takes in 0 and 1 for 2 and 3, then finds 5 but not 3.
    """
    graph = build_graph(traced(tmp_path))
    prefill, decode = expert_traffic(graph.phases, [with_unit(slots=4, cache="lru")] * 2, graph.trace)
    assert prefill is not None
    assert decode is not None
    assert (prefill.touched[prefill.kind, 0].tolist(), prefill.cached[prefill.kind, 0].tolist()) == (
        [[3], [3]],
        [[0], [0]],
    )
    assert (decode.touched[decode.kind, 0].tolist(), decode.cached[decode.kind, 0].tolist()) == ([[2], [2]], [[0], [1]])


@pytest.mark.parametrize(("slots", "loaded"), [(4, 4), (20, 12)])
def test_a_switch_to_a_mode_with_room_for_pinned_experts_loads_them(tmp_path: Path, slots: int, loaded: int) -> None:
    """Of the 12 experts of two layers as many as there is room for; without room in the mode before, none was there."""
    fields = with_unit(slots=slots, cache="static").chip.model_dump()
    fields["reconfiguration"] = {
        "cluster": "gpu", "latency": number("0 s"), "order": {"prefill": "all", "decode": "experts"},
        "modes": {"all": {"split": {"experts": {"activations": 1.0}}}, "experts": {}},
    }  # fmt: skip
    platform = Platform(Chip.model_validate(fields), load_runtime("tensorrt-edge-llm"))
    program = lowered(traced(tmp_path), platform)
    assert bytes_by_cause(program, "decode", "switch") == loaded * EXPERT_BYTES
    assert bytes_by_cause(program, "prefill", "switch") == 0


def test_without_a_unit_the_trace_still_says_what_is_touched(tmp_path: Path) -> None:
    platform = Platform(load_chip("thor-t5000"), load_runtime("tensorrt-edge-llm"))
    program = lowered(traced(tmp_path), platform)
    assert bytes_by_cause(program, "prefill", "experts") == (3 + 3) * EXPERT_BYTES
    assert bytes_by_cause(program, "decode", "experts") == (2 + 2) * EXPERT_BYTES


@pytest.mark.parametrize(
    ("cache", "slots", "missed"), [("lru", 4, 3), ("static", 3, 1), ("lru-per-layer", 6, 0), (None, 6, 4)]
)
def test_a_decoded_token_loads_what_the_cache_misses_and_reads_the_rest_through_its_port(
    tmp_path: Path, cache: str | None, slots: int, missed: int
) -> None:
    """Pinned are 0, counted three times, and of those counted twice the first: 1 and 3."""
    program = lowered(traced(tmp_path), with_unit(slots=slots, cache=cache))
    assert bytes_by_cause(program, "decode", "experts") == missed * EXPERT_BYTES
    assert bytes_by_cause(program, "decode", "sram") == (4 - missed) * EXPERT_BYTES
    assert bytes_of_phase(program, "decode") == bytes_of_phase(
        lowered(traced(tmp_path), with_unit()), "decode"
    )  # as many bytes, from elsewhere


def test_phases_of_different_precision_do_not_share_a_cache(tmp_path: Path) -> None:
    """A quantised expert is another one: the token, in 8 bits, finds nothing of what the prefill left."""
    workload = traced(tmp_path)
    phases = [workload.pipeline[0], workload.pipeline[1].model_copy(update={"precision": "w8a8"})]
    graph = build_graph(workload.model_copy(update={"pipeline": tuple(phases)}))
    _, decode = expert_traffic(graph.phases, [with_unit(slots=12, cache="lru")] * 2, graph.trace)
    assert decode is not None
    assert decode.cached.sum() == 0


def test_layers_that_ask_for_different_things_keep_their_labels(tmp_path: Path) -> None:
    workload = traced(tmp_path)
    graph, program = build_graph(workload), lowered(workload, with_unit(slots=4, cache="lru"))
    decode = program.labels.phases.index("decode")
    layers = program.tasks.layer[program.labels.operation_phase[program.tasks.operation] == decode]
    assert sorted(set(layers.tolist())) == [-1, 0, 1]
    for index, phase in enumerate(graph.phases):
        of_phase = program.labels.operation_phase == index
        assert int(program.labels.operation_flop[of_phase].sum()) == phase.flop


# prefetch ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hit_rate", "late"), [(0, 4), (0.5, 2), (1, 0)])
def test_the_predictor_names_what_a_token_picks_and_the_rest_comes_late(
    tmp_path: Path, hit_rate: float, late: int
) -> None:
    """Two experts per layer are named, whatever their worth: four early, beside those that still come late."""
    program = lowered(traced(tmp_path), with_unit(slots=4, hit_rate=hit_rate))
    assert bytes_by_cause(program, "decode", "experts") == (4 + late) * EXPERT_BYTES
    assert (
        bytes_by_cause(program, "decode", "sram") == (4 - late) * EXPERT_BYTES
    )  # what was right, from where it landed


def test_a_prefill_has_no_more_predicted_than_a_token(tmp_path: Path) -> None:
    program = lowered(traced(tmp_path), with_unit(slots=4, hit_rate=1))
    assert bytes_by_cause(program, "prefill", "sram") == 2 * 2 * EXPERT_BYTES
    assert bytes_by_cause(program, "prefill", "experts") == (3 + 3) * EXPERT_BYTES


# time: stall of a layer = max(0, (1 - h) k B / BW - overlap) -------------------------------------------------------

STREAM = {"layers": 12, "hidden": 16, "heads": 2, "kv_heads": 1, "head_dim": 8, "ffn_width": 4096, "experts": 8,
          "top_k": 2, "vocabulary": 50}  # fmt: skip
"""Experts of 393,216 bytes beside attention of 1,500: nearly all bytes are experts'."""
TRANSFER_US = 2 * 3 * 16 * 4096 * 2 / 1e9 * 1e6
"""Both experts of a layer at 1 GB/s: 786 us."""


def decode_us(hit_rate: float | None, launch_us: float, ahead: int = 1) -> float:
    """A decoded token on a DRAM of 1 GB/s with engines that take no time, and a pause before every kernel."""
    fields = with_unit(slots=10**4, port=None, hit_rate=hit_rate, ahead=ahead).chip.model_dump()
    fields["dram"] = {"type": "test", "width_bits": number(8), "rate": number("1 GT/s"), "capacity": number("1 GB"),
                      "sustained_fraction": number(1)}  # fmt: skip
    cluster = fields["clusters"]["gpu"]
    cluster |= {"clock": number("1 GHz")}
    cluster["vector"] = {"lanes": number(1e12), "special_per_cycle": number(1e12)}
    cluster["sram"]["port"] = None
    fields["routing"] |= {"scores_per_cycle": number(1e12), "gather": number("1e12 B/cycle"),
                          "scatter": number("1e12 B/cycle")}  # fmt: skip
    runtime = load_runtime("ideal").with_values({"launch": f"{launch_us} kcycles", "prefetches_weights": False})
    decoder = tiny(prompt=1, **STREAM)
    timeline = engine_named("compiled").run(
        lower([Demand(build_graph(decoder))], Platform(Chip.model_validate(fields), runtime), ONCE)
    )
    check_all(timeline)
    phases = {phase.name: phase for phase in release_latency(timeline, 0).phases}
    return float(phases["decode"].latency_ticks) / 1e6


@pytest.mark.parametrize("hit_rate", [0.0, 0.25, 0.7])
def test_with_time_to_hide_in_a_wrong_prediction_costs_its_share_of_the_transfer(hit_rate: float) -> None:
    """Kernels with a pause of 200 us each hide the early transfer of 786 us, so only what comes late is left."""
    stall_us = decode_us(hit_rate, 200) - decode_us(1.0, 200)
    assert stall_us == pytest.approx(12 * (1 - hit_rate) * TRANSFER_US, rel=0.002)


def test_without_a_predictor_every_layer_waits_for_all_of_its_experts() -> None:
    assert decode_us(None, 200) - decode_us(1.0, 200) == pytest.approx(12 * TRANSFER_US, rel=0.002)


def test_the_operations_per_byte_that_a_rule_looks_at_do_not_depend_on_the_predictor() -> None:
    graph = build_graph(tiny())
    units = [with_unit(slots=20), *(with_unit(slots=20, hit_rate=rate, ahead=1) for rate in (0, 0.5, 1))]
    for phase in graph.phases:
        assert len({flop_per_byte(phase, unit) for unit in units}) == 1


def test_what_does_not_fit_into_the_time_to_hide_in_is_left_as_a_stall() -> None:
    """With free launches all is stall: the token takes its bytes, early or late. With pauses the overlap is what they
    add up to from the router of one layer to the experts of the next."""
    assert decode_us(1.0, 0) == pytest.approx(decode_us(None, 0), rel=0.01)
    gained_us = (decode_us(None, 20) - decode_us(1.0, 20)) / 12
    kernels = (decode_us(1.0, 200) - decode_us(1.0, 200.5)) / -0.5 / 12  # pauses per layer, and a few of the ends
    assert 0.75 * kernels * 20 < gained_us < kernels * 20 < TRANSFER_US


def test_looking_further_ahead_hides_more_and_only_in_the_first_layers_is_there_less_to_look_ahead() -> None:
    near, far = decode_us(1.0, 20), decode_us(1.0, 20, ahead=3)
    assert far <= near
    assert decode_us(1.0, 200, ahead=3) == pytest.approx(decode_us(1.0, 200), rel=0.01)


# the unit's own work -------------------------------------------------------------------------------------------------


def test_the_unit_picks_gathers_and_scatters_instead_of_the_vector_engine() -> None:
    """Five rows: 6 scores each at 2 per cycle; 2 x 12 elements of 2 bytes at 8 B; 2 x 12 x 2 bytes at 16 B."""
    layer = build_graph(tiny()).phases[0].blocks[1].graph
    works = {work.name: work for work in lower_block(layer, with_unit(), precision("fp16")).works}
    assert {name: work.routing_cycles for name, work in works.items() if work.routing_cycles} == {
        "routing": 5 * 6 / 2, "gate+up+activation": 5 * 2 * 12 * 2 / 8, "combine": 5 * 2 * 12 * 2 / 16,
    }  # fmt: skip
    assert works["routing"].vector_cycles == works["combine"].vector_cycles == 0
    names = with_unit().resources.unit_names
    program = lowered(tiny(), with_unit())
    causes = program.labels.causes
    on_unit = program.tasks.unit == names.index("gpu.routing")
    assert set(program.tasks.cause[on_unit].tolist()) == {causes.index("routing")}


def test_room_for_experts_without_a_unit_changes_nothing() -> None:
    plain, roomy = Platform(load_chip("thor-t5000"), load_runtime("tensorrt-edge-llm")), with_unit(slots=12)
    without = Platform(roomy.chip.model_copy(update={"routing": None}), roomy.runtime)
    one, other = (ReferenceEngine().run(lowered(tiny(), platform)) for platform in (plain, without))
    assert one.end_tick.tolist() == other.end_tick.tolist()


def test_of_uniform_routing_nothing_is_kept() -> None:
    caching, forgetting = with_unit(slots=12, cache="lru"), with_unit(slots=12)
    one, other = (ReferenceEngine().run(lowered(tiny(), platform)) for platform in (caching, forgetting))
    assert one.end_tick.tolist() == other.end_tick.tolist()


# engines, bounds, space ----------------------------------------------------------------------------------------------

UNITS = [
    {"slots": 5, "cache": "lru"},
    {"slots": 5.5, "cache": "static", "hit_rate": 0.5},
    {"slots": 6, "cache": "lru-per-layer", "hit_rate": 0.3, "ahead": 2},
    {"slots": 4, "hit_rate": 1.0, "port": None},
    {"slots": 12, "cache": "lru", "hit_rate": 0.0, "weight_buffers": 3, "prefetches_weights": True},
]  # fmt: skip


def small_unit(**options: Any) -> Platform:
    """Slots for the landing of two experts per layer come on top."""
    ahead = (options.get("ahead", 1) + 1) * 2 if "hit_rate" in options else 0
    return with_unit(**{**options, "slots": options["slots"] + ahead})


@pytest.mark.parametrize("options", UNITS)
@pytest.mark.parametrize("preset", ["balanced", "domain-locked"])
def test_both_engines_agree_on_a_routing_unit_and_keep_all_laws(options: dict[str, Any], preset: str) -> None:
    program = lowered(tiny(prompt=4, decode=5, routing={"preset": preset}), small_unit(**options))
    reference, compiled = (engine_named(name).run(program) for name in ("reference", "compiled"))
    check_all(reference)
    assert reference.end_tick.tolist() == compiled.end_tick.tolist()


@pytest.mark.parametrize("options", UNITS)
def test_the_least_time_of_a_phase_with_a_routing_unit_is_a_lower_bound(options: dict[str, Any]) -> None:
    platform = small_unit(**options)
    graph = build_graph(tiny(prompt=4, decode=5))
    timeline = ReferenceEngine().run(lower([Demand(graph)], platform, ONCE))
    found = {phase.name: phase.latency_ticks for phase in release_latency(timeline, 0).phases}
    for phase in graph.phases:
        blocks = [
            (block_time(lower_block(block.graph, platform, precision(phase.precision)), platform), int(block.repeats))
            for block in phase.blocks
        ]
        (least,) = least_phase_ticks(
            blocks, phase.num_steps, platform, replays_graph=phase.name in platform.runtime.graph_phases
        )
        assert 0.5 * found[phase.name] < least <= found[phase.name]


def test_the_room_for_experts_is_taken_as_far_as_whole_experts_fit(tmp_path: Path) -> None:
    """Four and a half experts: two layers of two land, and with a cache nothing is left but the half."""
    platform = with_unit(slots=4.5, cache="lru", hit_rate=1)
    timeline = ReferenceEngine().run(lowered(traced(tmp_path), platform))
    check_all(timeline)
    memory = platform.resources.memory_names.index("experts")
    spaces = timeline.program.occupancies
    assert spaces.size_bytes[spaces.memory == memory].tolist() == [4 * EXPERT_BYTES]


def test_less_room_than_the_predictor_needs_is_infeasible() -> None:
    # 2 layers ahead and the one at work, two experts each: 6 * 1,440 bytes of the 5 * 1,440 that there are
    with pytest.raises(
        Infeasible, match=r"room for the experts that it fetches early: needs 8\.64 kB \(6 experts\)"
    ) as error:
        lowered(tiny(), with_unit(slots=5, hit_rate=1, ahead=2))
    assert error.value.gap == EXPERT_BYTES


# wrong input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hit_rate", "ahead"), [(1.1, 1), (-0.1, 1), (0.5, 0), (0.5, -1)])
def test_a_predictor_has_a_hit_rate_from_0_to_1_and_looks_ahead(hit_rate: float, ahead: int) -> None:
    with pytest.raises(ValidationError, match=r"a fraction from 0 to 1|a whole number above zero"):
        with_unit(slots=9, hit_rate=hit_rate, ahead=ahead)


def test_a_cache_of_negative_size_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be above zero"):
        with_unit(slots=-1)


@pytest.mark.parametrize(
    ("routing", "message"),
    [
        ({}, "must have one of preset, skew .with keep. and file, got none"),
        ({"preset": "olmoe", "file": "a.npy"}, "got preset, file"),
        ({"skew": (0.5,), **SOURCED}, "skew and keep: must be given together"),
        ({"skew": (0.5,), "keep": (0.2,)}, "skew: must have a source and a status beside it"),
        ({"skew": (-0.5,), "keep": (0.2,), **SOURCED}, "skew: must be zero or more, got -0.5"),
        ({"skew": (0.5,), "keep": (1.2,), **SOURCED}, "keep: must be from 0 to 1, got 1.2"),
        ({"preset": "wild"}, "'balanced', 'typical', 'skewed'"),
    ],
)
def test_a_router_is_one_of_three_things_and_in_range(routing: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Routing.model_validate(routing)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experts": 1, "top_k": 1}, "routing: must not be given without experts"),
        ({"routing": {"skew": (0.5, 0.6, 0.7), "keep": (0.1,), **SOURCED}},
         r"routing.skew: must have one value, or one per layer \(2\), got 3"),
        ({"top_k": 7}, r"top_k: must be at most experts \(6\), got 7"),
    ],
)  # fmt: skip
def test_a_router_that_does_not_belong_to_the_model_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny(**{"routing": {"preset": "typical"}, **changes})


def test_a_trace_of_another_model_is_refused_when_the_graph_is_built(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"trace\.npy: must have at least the 4 tokens of the run, got 3"):
        build_graph(traced(tmp_path, decode=2))
    with pytest.raises(SpecError, match=r"trace\.npy: must have expert numbers from 0 to 3, got 0 to 5"):
        build_graph(traced(tmp_path, experts=4))


def test_the_seed_of_the_scenario_draws_another_trace() -> None:
    workload = tiny(routing={"preset": "typical"})
    one, same, other = (build_graph(workload, seed).trace for seed in (0, 0, 1))
    assert one is not None
    assert same is not None
    assert other is not None
    assert (one.picks == same.picks).all()
    assert not (one.picks == other.picks).all()
