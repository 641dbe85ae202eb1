"""Mixtures of experts and sliding windows: counts, kernels and bytes by hand, and what a user is told."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from simulator import Infeasible, load_chip, load_runtime
from simulator.engine.reference import ReferenceEngine
from simulator.graph import Attention, CacheWrite, Elementwise, ExpertMatMul, PhaseGraph, build_graph
from simulator.graph.experts import touched_experts
from simulator.graph.layers import layer_rows
from simulator.lowering import Demand, Platform, lower
from simulator.lowering.block import block_table, lower_block
from simulator.precision import precision
from simulator.program import Program
from simulator.workload import Workload
from tests.conftest import TinyCatalogue
from tests.unit.test_emit import detailed, work_of
from tests.unit.test_lowering import ONCE, bytes_of_phase

SOURCED = {"source": "test", "status": "assumed"}
LAYER = 12 * 16 + 2 * 12 * 8 + 16 * 12
"""Weights of attention in a layer of `tiny`: q, k and v, o."""
EXPERT = 3 * 12 * 20
"""Weights of one expert of `tiny`: gate, up and down."""
ROUTER = 12 * 6
"""Weights of its router."""
HEAD = 50 * 12


def tiny(*, precision: str = "fp16", prompt: int = 5, decode: int = 1, **changes: Any) -> Workload:
    """Two layers of width 12 with 4 heads of 4 on 2 key heads, and 6 experts of width 20, of which 2 are picked."""
    decoder = {"layers": 2, "hidden": 12, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn_width": 20, "ffn": "swiglu",
               "vocabulary": 50, "tied_head": False, "experts": 6, "top_k": 2, **SOURCED}  # fmt: skip
    pipeline = [
        {"phase": "prefill", "tokens": prompt, "precision": precision},
        {"phase": "decode", "tokens": decode, "precision": precision},
    ]
    return Workload.model_validate(
        {"name": "tiny", "title": "Tiny", "decoder": {**decoder, **changes}, "pipeline": pipeline,
         "pipeline_source": "test", "pipeline_status": "assumed"}
    )  # fmt: skip


def phase_of(workload: Workload, name: str) -> PhaseGraph:
    return next(phase for phase in build_graph(workload).phases if phase.name == name)


def attention_of(workload: Workload, name: str) -> Attention:
    """The attention of a phase."""
    return next(operator for operator, _ in phase_of(workload, name).operators() if isinstance(operator, Attention))


def thor(runtime: str = "tensorrt-edge-llm", **values: str) -> Platform:
    return Platform(load_chip("thor-t5000").with_values(values), load_runtime(runtime))


def lowered(workload: Workload, platform: Platform) -> Program:
    return lower([Demand(build_graph(workload))], platform, ONCE)


def experts(**changes: Any) -> ExpertMatMul:
    """Five rows, each through 2 of 8 experts; together they reach 6 of them."""
    sizes = {"rows": 5, "inputs": 3, "outputs": 7, "experts": 8, "top_k": 2, "touched": 6, "gathers": True}
    return ExpertMatMul("e", (), **{**sizes, **changes})


# counts of the operator ----------------------------------------------------------------------------------------------


def test_experts_compute_for_the_picked_and_own_the_weights_of_all() -> None:
    assert experts().flop == 2 * (5 * 2) * 3 * 7
    assert experts().parameters == 8 * 3 * 7


def test_the_first_matrix_reads_a_row_once_and_the_last_reads_one_per_picked_expert() -> None:
    assert (experts(gathers=True).input_elements, experts(gathers=False).input_elements) == (5 * 3, 5 * 2 * 3)
    assert experts(gathers=True).output_elements == experts(gathers=False).output_elements == 5 * 2 * 7


# touched experts -----------------------------------------------------------------------------------------------------


def test_one_row_touches_exactly_the_experts_that_it_picks() -> None:
    for count in range(1, 130):
        for top_k in range(1, count + 1):
            assert touched_experts(count, top_k, 1) == top_k


@pytest.mark.parametrize(
    ("count", "top_k", "rows", "touched"),
    [
        (16, 1, 1024, 16),  # 16 (1 - (15/16)^1024), all but 3e-28 of them
        (8, 2, 3, 5),  # 8 (1 - 27/64) = 4.625
        (4, 1, 2, 2),  # 4 (1 - 9/16) = 1.75
        (16, 1, 16, 10),  # 16 (1 - 0.3561) = 10.30
        (6, 6, 9, 6),  # every row picks all
    ],
)
def test_touched_experts_by_hand(count: int, top_k: int, rows: int, touched: int) -> None:
    assert touched_experts(count, top_k, rows) == touched


@pytest.mark.parametrize(("count", "top_k", "rows"), [(4, 2, 3), (5, 1, 4), (6, 3, 2), (3, 1, 5)])
def test_touched_experts_are_the_average_over_all_ways_to_pick(count: int, top_k: int, rows: int) -> None:
    """Rounded to a whole number, so within a half of the average over every choice of every row."""
    choices = list(itertools.combinations(range(count), top_k))
    distinct = [len(set().union(*picked)) for picked in itertools.product(choices, repeat=rows)]
    average = Fraction(sum(distinct), len(distinct))
    assert abs(touched_experts(count, top_k, rows) - average) <= Fraction(1, 2)


def test_more_rows_never_touch_fewer_experts_and_never_more_than_there_are_or_were_picked() -> None:
    for count, top_k in ((6, 2), (16, 1), (64, 8), (7, 7)):
        touched = [touched_experts(count, top_k, rows) for rows in range(1, 200)]
        assert touched == sorted(touched)
        assert all(top_k <= value <= min(count, rows * top_k) for rows, value in enumerate(touched, 1))


def test_touched_experts_of_many_models_at_once_are_those_of_each() -> None:
    """Whatever the rounding: of 108 experts with 18 picked, 3 rows touch 45.5."""
    pairs = [(count, top_k) for count in range(1, 129) for top_k in range(1, count + 1)]
    counts, picked = (np.array(column) for column in zip(*pairs, strict=True))
    for rows in (1, 2, 3, 4, 7, 64, 1024):
        assert touched_experts(counts, picked, rows).tolist() == [touched_experts(*pair, rows) for pair in pairs]


# graphs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_parameters_of_a_decoder_count_router_and_three_matrices_of_every_expert(shared: int) -> None:
    by_hand = 2 * (LAYER + 2 * 12 + ROUTER + (6 + shared) * EXPERT) + 12 + 2 * HEAD  # norms, embedding and head
    assert build_graph(tiny(shared_experts=shared)).component_parameters == {"decoder": by_hand}


def test_one_expert_is_a_dense_ffn_without_a_router() -> None:
    graph = build_graph(tiny(experts=1, top_k=1))
    assert graph.component_parameters == {"decoder": 2 * (LAYER + 2 * 12 + EXPERT) + 12 + 2 * HEAD}
    assert not any(isinstance(operator, ExpertMatMul) for operator, _ in graph.phases[0].operators())


@pytest.mark.parametrize("shared", [0, 1])
def test_flop_are_those_of_the_picked_and_shared_experts_and_the_router(shared: int) -> None:
    # a token sees itself and the 5 before it; 4 flop per pair, head and element of a head
    per_row = 2 * (LAYER + ROUTER + (2 + shared) * EXPERT)
    workload = tiny(shared_experts=shared)
    assert phase_of(workload, "decode").flop == 2 * (per_row + 4 * 4 * 4 * 6) + 2 * HEAD
    assert phase_of(workload, "prefill").flop == 2 * (5 * per_row + 4 * 4 * 4 * 15) + 2 * HEAD


def test_every_matrix_of_the_experts_touches_what_the_rows_of_its_phase_reach() -> None:
    # five rows reach 6 (1 - (2/3)^5) = 5.2 experts, one row 2
    for name, rows, touched in (("prefill", 5, 5), ("decode", 1, 2)):
        matrices = {operator.name: operator for operator, _ in phase_of(tiny(), name).operators()
                    if isinstance(operator, ExpertMatMul)}  # fmt: skip
        assert {name: (matrix.inputs, matrix.outputs, matrix.gathers) for name, matrix in matrices.items()} == {
            "gate": (12, 20, True), "up": (12, 20, True), "down": (20, 12, False),
        }  # fmt: skip
        assert {(m.rows, m.experts, m.top_k, m.touched) for m in matrices.values()} == {(rows, 6, 2, touched)}


def test_experts_wait_for_the_routing_and_the_shared_ones_do_not() -> None:
    graph = phase_of(tiny(shared_experts=1), "prefill").blocks[1].graph
    before = {name: set(graph.dag.predecessors(name)) for name in graph.dag}
    assert before["router"] == before["shared_gate"] == before["shared_up"] == {"norm_2"}
    assert before["gate"] == before["up"] == {"norm_2", "routing"}
    assert before["combine"] == {"routing", "down", "shared_down"}
    assert before["add_2"] == {"add_1", "combine"}


@pytest.mark.parametrize(("shared", "operands"), [(0, 2), (1, 3), (3, 3)])
def test_a_row_is_combined_from_its_picked_experts_and_the_shared_ones_as_one(shared: int, operands: int) -> None:
    combine = next(operator for operator, _ in phase_of(tiny(shared_experts=shared), "prefill").operators()
                   if operator.name == "combine")  # fmt: skip
    assert isinstance(combine, Elementwise)
    assert (combine.rows, combine.width, combine.operands) == (5, 12, operands)


def test_the_layer_table_shows_the_picked_and_weighs_all_experts() -> None:
    rows = {(row.phase, row.name): row for row in layer_rows(build_graph(tiny(precision="w4a16")))}
    gate = rows["decode", "gate"]
    assert gate.shape == "2 of 6 x ([1, 12] x [12, 20])"
    # two layers of six experts: 20 rows of 12 at four bits, and a scale of two bytes per row (one group of 128)
    assert (gate.parameters, gate.weight_bytes) == (2 * 6 * 240, 2 * 6 * (240 // 2 + 20 * 2))


# kernels -------------------------------------------------------------------------------------------------------------


def test_a_layer_of_experts_has_these_kernels_under_the_fusions_of_tensorrt_edge_llm() -> None:
    platform, fp16 = thor(), precision("fp16")
    attention = ["norm_1", "q", "k", "v", "rope+cache_write", "attention", "o", "add_1+norm_2"]
    routed = ["router", "routing", "gate+up+activation", "down"]
    shared = ["shared_gate+shared_up+shared_activation", "shared_down"]
    for count, middle in ((0, []), (1, shared)):
        layer = phase_of(tiny(shared_experts=count), "prefill").blocks[1].graph
        names = [work.name for work in lower_block(layer, platform, fp16).works]
        assert names == [*attention, *routed, *middle, "combine", "add_2"]


@pytest.mark.parametrize(
    ("rows", "top_k", "touched", "tiles"),
    [
        (8, 2, 4, 1),  # 16 routed rows on 4 experts: a tile of 4 rows each
        (5, 1, 4, 1),  # 5 on 4: the fullest has 2, padded to a tile
        (9, 2, 4, 2),  # 18 on 4: the fullest has 5
    ],
)
def test_bytes_and_cycles_of_experts_are_those_of_the_touched(rows: int, top_k: int, touched: int, tiles: int) -> None:
    # 8 columns are one tile, depth 3 pads to 4: 4 * 8 * 4 MAC per tile at half of 8 per cycle are 32 cycles
    operator = experts(rows=rows, outputs=8, top_k=top_k, touched=touched)
    work = work_of(operator, platform=detailed(lanes=0.5))
    assert (work.matrix_cycles, work.vector_cycles) == (touched * tiles * 32, 0)
    assert (work.late_bytes, work.weight_bytes, work.loaded_bytes) == (touched * 48, 0, touched * 48)
    four_bit = work_of(operator, body="w4a16", platform=detailed(lanes=0.5))
    assert (four_bit.late_bytes, four_bit.conversion_cycles) == (touched * (12 + 8 * 2), touched * 24 / 0.5)


def test_experts_run_on_the_lanes_where_those_are_quicker() -> None:
    # one row of 24 MAC for each of 2 experts: 48 MAC on 2 lanes, against two tiles of 32 cycles
    work = work_of(experts(rows=1, outputs=8, touched=2), platform=detailed())
    assert (work.matrix_cycles, work.vector_cycles) == (0, 24)


def test_gate_and_up_of_an_expert_fill_tiles_together() -> None:
    # 4 + 4 columns fill one tile of 8 for each of 6 experts: one row of 5 * 2 // 6 padded to 4, depth 3 to 4
    gate, up = experts(outputs=4), experts(outputs=4)
    work = work_of(gate, up, platform=detailed(lanes=0.01))
    assert (work.matrix_cycles, work.late_bytes) == (6 * 32, 2 * 6 * 2 * 12)


def test_routing_and_combining_are_vector_work() -> None:
    # 6 elements on 2 lanes: 6 operations each to route; one per operand to combine. One special function each to route
    routing = Elementwise("r", (), kind="routing", rows=2, width=3)
    combine = Elementwise("c", (), kind="combine", rows=2, width=3, operands=5)
    assert work_of(routing, platform=detailed(special=1e9)).vector_cycles == 6 * 6 / 2
    assert work_of(routing, platform=detailed(lanes=1e9)).vector_cycles == 6
    assert work_of(combine).vector_cycles == 5 * 6 / 2


# what moves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [0, 2])
@pytest.mark.parametrize(("phase", "rows", "touched"), [("decode", 1, 2), ("prefill", 5, 5)])
def test_a_phase_moves_touched_and_shared_experts_router_cache_head_and_embedding_rows(
    shared: int, phase: str, rows: int, touched: int
) -> None:
    """In 16 bits. One decoded token touches what it picks, five rows 6 (1 - (2/3)^5) = 5.2 experts."""
    weights = 2 * (LAYER + ROUTER + (touched + shared) * EXPERT) + HEAD
    key = 2 * 2 * 4  # elements of keys and values of a token and layer
    cache = 2 * key * (rows + (6 if phase == "decode" else 0))  # written; read only by the decoded token
    program = lowered(tiny(shared_experts=shared), thor())
    assert bytes_of_phase(program, phase) == 2 * (weights + cache + rows * 12)


def test_experts_move_in_the_precision_of_the_body() -> None:
    """With one expert more picked, a token moves three matrices more per layer, at four bits with their scales."""
    more, fewer = (bytes_of_phase(lowered(tiny(precision="w4a16", top_k=top_k), thor()), "decode") for top_k in (3, 2))
    # 20 + 20 + 12 rows have one scale of two bytes each
    assert more - fewer == 2 * (EXPERT // 2 + (20 + 20 + 12) * 2)


@pytest.mark.parametrize(("runtime", "prefetches"), [("ideal", True), ("tensorrt-edge-llm", False)])
def test_only_weights_that_are_known_before_the_router_are_loaded_before_their_launch(
    runtime: str, prefetches: bool
) -> None:
    platform = thor(runtime)
    layer = phase_of(tiny(shared_experts=1), "decode").blocks[1].graph
    table = block_table(lower_block(layer, platform, precision("fp16")), platform)
    waits = {name: bool(wait) for name, wait in zip(table.names, table.waits_for_launch[0], strict=True)}
    assert waits["gate+up+activation"]
    assert waits["down"]
    for name in ("router", "o", "shared_gate+shared_up+shared_activation", "shared_down"):
        assert waits[name] is not prefetches


def test_the_weights_of_experts_are_on_their_way_only_after_the_routing_while_others_are_early() -> None:
    program = lowered(tiny(), thor("ideal"))
    timeline = ReferenceEngine().run(program)
    tasks, labels = program.tasks, program.labels
    in_first_layer = (labels.operation_phase[tasks.operation] == 1) & (tasks.layer == 0)

    def span(kernel: str, *, loads: bool) -> tuple[int, int]:
        operation = labels.operations.index(f"decode.{kernel}")
        chosen = in_first_layer & (tasks.operation == operation) & ((tasks.size_bytes > 0) == loads)
        rows = chosen[timeline.task]
        return int(timeline.start_tick[rows].min()), int(timeline.end_tick[rows].max())

    assert span("gate+up+activation", loads=True)[0] >= span("routing", loads=False)[1]
    # guard: what is known early does not wait for the kernel before
    assert span("router", loads=True)[0] < span("add_1+norm_2", loads=False)[1]


# what is kept --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "expert_bytes"), [("fp16", 2 * EXPERT), ("w4a16", EXPERT // 2 + (20 + 20 + 12) * 2)])
def test_the_dram_holds_every_expert_touched_or_not(body: str, expert_bytes: int) -> None:
    demands = []
    for count in (6, 7):
        with pytest.raises(Infeasible) as caught:
            lowered(tiny(precision=body, experts=count, shared_experts=2), thor(**{"dram.capacity": "1 kB"}))
        demands.append(caught.value.demand)
    # an expert more per layer is a column more of the router, too: 12 weights, at four bits with a scale
    router_bytes = 24 if body == "fp16" else 6 + 2
    assert demands[1] - demands[0] == 2 * (expert_bytes + router_bytes)
    if body == "fp16":
        weights = 2 * (LAYER + ROUTER + 8 * EXPERT) + 2 * HEAD  # norms are not counted
        assert demands[0] == 2 * (weights + 2 * 6 * 2 * 2 * 4)  # and six tokens of cache


# sliding window ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [0, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_pairs_of_a_window_are_those_that_one_counts(cached: int, batch: int) -> None:
    """Row i sees the keys of itself and of the w - 1 tokens before it, cached or not."""
    for rows, window in itertools.product(range(1, 9), range(1, 11)):
        counted = sum(0 <= cached + row - key < window for row in range(rows) for key in range(cached + rows))
        attention = Attention("a", (), queries=rows, cached_keys=cached, own_keys=rows, heads=3, kv_heads=1, head_dim=4,
                              is_causal=True, batch=batch, window=window)  # fmt: skip
        assert attention.pairs == batch * counted
        assert attention.flop == 4 * 3 * 4 * batch * counted


def test_windows_of_many_models_at_once_count_as_one_by_one() -> None:
    # three rows: 1 + 1 + 1, 1 + 2 + 2, 1 + 2 + 3 and again all of them
    attention = Attention("a", (), queries=3, cached_keys=0, own_keys=3, heads=1, kv_heads=1, head_dim=1,
                          is_causal=True, window=np.array([1, 2, 3, 9]))  # fmt: skip
    assert np.asarray(attention.pairs).tolist() == [3, 5, 6, 6]


@pytest.mark.parametrize(
    ("window", "seen"), [(None, [7, 8, 9, 10]), (8, [7, 8, 8, 8]), (3, [3] * 4), (99, [7, 8, 9, 10])]
)
def test_a_decoded_token_reads_at_most_the_window(window: int | None, seen: list[int]) -> None:
    workload = tiny(prompt=6, decode=4, attention_window=window)
    attention = attention_of(workload, "decode")
    assert np.broadcast_to(attention.cached_keys, 4).tolist() == seen
    assert np.broadcast_to(attention.pairs, 4).tolist() == seen
    key = 2 * 2 * 4 * 2 * 2  # bytes of keys and values of a token in both layers
    unseen = sum(range(7, 11)) - sum(seen)
    everything = bytes_of_phase(lowered(tiny(prompt=6, decode=4), thor()), "decode")
    assert everything - bytes_of_phase(lowered(workload, thor()), "decode") == unseen * key


def test_a_prompt_sees_at_most_the_window() -> None:
    # rows of 6 with a window of 2: 1 + 5 * 2 pairs
    assert attention_of(tiny(prompt=6, attention_window=2), "prefill").flop == 4 * 4 * 4 * 11


@pytest.mark.parametrize(("window", "written"), [(None, 6), (8, 6), (4, 4)])
def test_a_prompt_writes_only_what_a_window_keeps(window: int | None, written: int) -> None:
    (write,) = [operator for operator, _ in phase_of(tiny(prompt=6, attention_window=window), "prefill").operators()
                if isinstance(operator, CacheWrite)]  # fmt: skip
    assert write.tokens == written


@pytest.mark.parametrize(("window", "kept"), [(None, 10), (8, 8), (3, 3), (99, 10)])
def test_the_cache_keeps_the_newest_tokens_of_a_window(window: int | None, kept: int) -> None:
    workload = tiny(prompt=6, decode=4, attention_window=window)
    assert build_graph(workload).kv_elements == kept * 2 * 2 * 2 * 4
    with pytest.raises(Infeasible) as caught:
        lowered(workload, thor(**{"dram.capacity": "1 kB"}))
    weights = 2 * (LAYER + ROUTER + 6 * EXPERT) + 2 * HEAD
    assert caught.value.demand == 2 * (weights + kept * 2 * 2 * 2 * 4)


def test_an_action_expert_reads_at_most_the_window_of_the_cache() -> None:
    action = {"layers": 2, "hidden": 10, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn_width": 14, "ffn": "swiglu",
              "action_width": 3, "input_width": 5, "input_hidden": 0, **SOURCED}  # fmt: skip
    for window, seen in ((None, 6), (4, 4)):
        described = tiny(attention_window=window).model_dump()
        pipeline = [*described["pipeline"], {"phase": "action", "steps": 1, "tokens": 3, "precision": "fp16"}]
        workload = Workload.model_validate({**described, "action": action, "pipeline": pipeline})
        assert attention_of(workload, "action").cached_keys == seen  # of the five of the prompt and one decoded


# what a user is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("experts: 4\n  top_k: 5", "workloads/words.yaml:13  decoder.top_k: must be at most experts (4), got 5"),
        ("top_k: 2", "workloads/words.yaml:12  decoder.top_k: must be at most experts (1), got 2"),
        (
            "shared_experts: 1",
            "workloads/words.yaml:12  decoder.shared_experts: must be 0 without experts, got 1; "
            "make ffn_width larger instead",
        ),
        ("experts: 0", "workloads/words.yaml:12  decoder.experts: must be above 0, got 0"),
        ("attention_window: 0", "workloads/words.yaml:12  decoder.attention_window: must be above 0, got 0"),
        (
            "experts: 4\n  shared_experts: -1",
            "workloads/words.yaml:13  decoder.shared_experts: must be at least 0, got -1",
        ),
    ],
)
def test_sizes_that_contradict_each_other_are_refused_where_they_stand(
    tiny_catalogue: TinyCatalogue, lines: str, message: str
) -> None:
    tiny_catalogue.edit("workloads/words.yaml", "  ffn_width: 128\n", f"  ffn_width: 128\n  {lines}\n")
    assert tiny_catalogue.message("workload", "words") == message


def test_experts_and_window_are_read_from_a_file(tiny_catalogue: TinyCatalogue) -> None:
    lines = "experts: 4\n  top_k: 4\n  shared_experts: 1\n  attention_window: 16"
    tiny_catalogue.edit("workloads/words.yaml", "  ffn_width: 128\n", f"  ffn_width: 128\n  {lines}\n")
    decoder = tiny_catalogue.catalog().load_workload("words").decoder
    assert decoder is not None
    assert (decoder.experts, decoder.top_k, decoder.shared_experts, decoder.attention_window) == (4, 4, 1, 16)
