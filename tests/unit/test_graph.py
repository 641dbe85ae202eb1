"""Operator graphs: what they refuse, the order they keep, and the counts of every operator, worked out by hand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
import pytest

from simulator import load_workload
from simulator.errors import SpecError
from simulator.graph import (
    Attention,
    Block,
    CacheWrite,
    Elementwise,
    Embedding,
    MatMul,
    Operator,
    OperatorGraph,
    PhaseGraph,
    WorkloadGraph,
    build_graph,
)
from simulator.graph.layers import layer_rows, weight_bytes
from simulator.workload import Workload


def add(name: str) -> Elementwise:
    return Elementwise(name, (), kind="add", rows=1, width=1)


def names(graph: OperatorGraph) -> list[str]:
    return [operator.name for operator in graph.operators]


def refusal(operators: Sequence[Operator], edges: Sequence[tuple[str, str]]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        OperatorGraph("toy", operators, edges)
    return caught.value


# what a graph refuses ------------------------------------------------------------------------------------------------


def test_a_graph_without_operators_is_refused() -> None:
    assert refusal([], []).message == "graph toy: must have at least one operator, got none"


def test_a_doubled_name_is_refused() -> None:
    assert refusal([add("a"), add("b"), add("a")], []).message == (
        'graph toy: operator names must be unique, got "a" twice'
    )


@pytest.mark.parametrize("edge", [("a", "x"), ("x", "a")])
def test_an_edge_to_an_unknown_operator_is_refused_whichever_end_it_is(edge: tuple[str, str]) -> None:
    assert refusal([add("a")], [edge]).message == f'graph toy: edge {edge[0]} -> {edge[1]} names no operator "x"'


def test_a_cycle_is_refused_and_shown() -> None:
    error = refusal([add("a"), add("b"), add("c")], [("a", "b"), ("b", "c"), ("c", "a")])
    assert error.message == "graph toy: must not have a cycle, got a -> b -> c and back"
    assert error.hint == "an operator cannot wait for its own result"


def test_an_operator_that_waits_for_itself_is_a_cycle() -> None:
    assert refusal([add("a")], [("a", "a")]).message == "graph toy: must not have a cycle, got a and back"


# order ---------------------------------------------------------------------------------------------------------------


def test_the_given_order_is_kept_if_it_respects_the_edges() -> None:
    graph = OperatorGraph("toy", [add("z"), add("y"), add("a"), add("b")], [("z", "a")])
    assert names(graph) == ["z", "y", "a", "b"]


def test_an_order_against_the_edges_is_mended_with_the_fewest_moves() -> None:
    # c and d can stay where they are; b must come after a
    graph = OperatorGraph("toy", [add("b"), add("c"), add("a"), add("d")], [("a", "b")])
    assert names(graph) == ["c", "a", "b", "d"]


@pytest.mark.parametrize("listed", list(itertools.permutations("abcd")))
def test_every_order_that_is_given_comes_out_with_predecessors_first(listed: tuple[str, ...]) -> None:
    edges = [("a", "c"), ("b", "c"), ("c", "d")]
    ordered = names(OperatorGraph("toy", [add(name) for name in listed], edges))
    assert sorted(ordered) == list("abcd")
    assert all(ordered.index(before) < ordered.index(after) for before, after in edges)


def test_new_names_never_change_the_order() -> None:
    edges = [("a", "d"), ("b", "d")]
    orders = []
    for alphabet in ("abcd", "dcba", "bdac"):
        renamed = dict(zip("abcd", alphabet, strict=True))
        graph = OperatorGraph(
            "toy",
            [add(renamed[name]) for name in "dcba"],
            [(renamed[before], renamed[after]) for before, after in edges],
        )
        back = {new: old for old, new in renamed.items()}
        orders.append([back[name] for name in names(graph)])
    assert orders == [list("cbad")] * 3
    # guard: an order by name would differ between these alphabets, so the law above can be broken
    by_name = {tuple(sorted("abcd", key=dict(zip("abcd", alphabet, strict=True)).get)) for alphabet in ("abcd", "dcba")}
    assert len(by_name) == 2


def test_neighbours_are_those_of_the_edges() -> None:
    graph = OperatorGraph("toy", [add("a"), add("b"), add("c")], [("a", "c"), ("b", "c")])
    assert {operator.name for operator in graph.predecessors("c")} == {"a", "b"}
    assert [operator.name for operator in graph.successors("a")] == ["c"]
    assert graph.predecessors("a") == graph.successors("c") == ()


# counts of operators -------------------------------------------------------------------------------------------------


def test_a_matrix_counts_two_flop_per_weight_and_row() -> None:
    matrix = MatMul("m", (), rows=3, inputs=5, outputs=7)
    assert (matrix.flop, matrix.parameters) == (2 * 3 * 5 * 7, 35)
    assert (matrix.input_elements, matrix.output_elements) == (15, 21)
    assert MatMul("m", (), rows=3, inputs=5, outputs=7, has_bias=True).parameters == 42


def test_a_tied_head_computes_but_owns_no_weights() -> None:
    head = MatMul("head", (), rows=1, inputs=5, outputs=7, role="head", shares_weights=True)
    assert (head.flop, head.parameters) == (70, 0)
    assert MatMul("head", (), rows=1, inputs=5, outputs=7, has_bias=True, shares_weights=True).parameters == 7


def test_causal_attention_counts_each_row_up_to_its_own_position() -> None:
    # rows 1, 2, 3 and 4 see 1 + 2 + 3 + 4 = 10 keys; 6 heads of 8: 2 * 8 flop for a score, as many for a value
    causal = Attention("a", (), queries=4, cached_keys=0, own_keys=4, heads=6, kv_heads=2, head_dim=8, is_causal=True)
    assert (causal.pairs, causal.flop) == (10, 10 * 6 * (16 + 16))
    assert causal.cache_elements == 0
    assert causal.input_elements == 4 * 6 * 8 + 2 * 4 * 2 * 8  # queries, then own keys and values
    assert causal.output_elements == 4 * 6 * 8
    # behind 5 keys of a cache every row sees these, too
    behind = Attention("a", (), queries=4, cached_keys=5, own_keys=4, heads=6, kv_heads=2, head_dim=8, is_causal=True)
    assert behind.pairs == 4 * 5 + 10


def test_full_attention_of_a_batch_shares_the_cache_and_nothing_else() -> None:
    # 3 samples of 4 rows see 5 cached and 4 own keys each: 3 * 4 * 9 pairs; the cache is read once
    full = Attention("a", (), queries=4, cached_keys=5, own_keys=4, heads=6, kv_heads=2, head_dim=8, is_causal=False,
                     batch=3)  # fmt: skip
    assert (full.pairs, full.flop) == (108, 108 * 6 * 32)
    assert full.cache_elements == 2 * 2 * 8 * 5
    assert full.input_elements == 3 * (4 * 6 * 8 + 2 * 4 * 2 * 8)
    assert full.output_elements == 3 * 4 * 6 * 8


def test_a_decoded_row_reads_its_keys_from_the_cache_only() -> None:
    decode = Attention("a", (), queries=1, cached_keys=9, own_keys=0, heads=6, kv_heads=2, head_dim=8, is_causal=False)
    assert (decode.pairs, decode.cache_elements) == (9, 2 * 2 * 8 * 9)
    assert decode.input_elements == 6 * 8


def test_elementwise_work_reads_all_operands_and_counts_no_flop() -> None:
    activation = Elementwise("e", (), kind="gated_activation", rows=3, width=5, operands=2, gains=4)
    assert (activation.flop, activation.parameters) == (0, 4)
    assert (activation.input_elements, activation.output_elements) == (30, 15)


def test_an_embedding_owns_its_table_and_hands_on_its_rows() -> None:
    embedding = Embedding("e", (), rows=3, width=5, vocabulary=11)
    assert (embedding.flop, embedding.parameters) == (0, 55)
    assert (embedding.input_elements, embedding.output_elements) == (0, 15)


def test_a_cache_write_writes_keys_and_values_of_every_head() -> None:
    write = CacheWrite("c", (), tokens=3, kv_heads=2, head_dim=8, context=3)
    assert write.cache_elements == 2 * 3 * 2 * 8
    assert (write.flop, write.parameters, write.output_elements) == (0, 0, 0)


def test_sums_of_graph_block_and_phase() -> None:
    # a matrix of 2 rows, 3 to 4: 48 flop, 12 parameters; an addition with 5 gains
    graph = OperatorGraph(
        "toy",
        [MatMul("m", (), rows=2, inputs=3, outputs=4), Elementwise("e", (), kind="add", rows=2, width=4, gains=5)],
        [("m", "e")],
    )
    assert (graph.flop, graph.parameters) == (48, 17)
    phase = PhaseGraph("decode", "fp16", 2, (Block(graph, 3), Block(graph, 1)), num_steps=2)
    assert (phase.flop, phase.parameters) == (2 * 4 * 48, 4 * 17)
    other = Block(OperatorGraph("other", [add("o")], []), 5)
    phase = PhaseGraph("decode", "fp16", 2, (Block(graph, 3), other, Block(graph, 1)), num_steps=2)
    assert [(operator.name, repeats) for operator, repeats in phase.operators()] == [("m", 4), ("e", 4), ("o", 5)]
    whole = WorkloadGraph("toy", (phase, phase), {"decoder": 68, "action": 2}, kv_elements=0)
    assert (whole.flop, whole.parameters) == (2 * 2 * 4 * 48, 70)


def test_a_size_that_differs_between_steps_is_an_array_and_counts_every_step() -> None:
    # one query on 5, 6 and 7 cached keys, 2 heads of 4: 4 * 2 * 4 = 32 flop per key
    attention = Attention("a", (), queries=1, cached_keys=np.array([5, 6, 7]), own_keys=0, heads=2, kv_heads=1,
                          head_dim=4, is_causal=False)  # fmt: skip
    phase = PhaseGraph("decode", "fp16", 3, (Block(OperatorGraph("toy", [attention, add("b")], [("a", "b")]), 2),), 3)
    assert list(np.asarray(attention.flop)) == [160, 192, 224]
    assert phase.flop == 2 * (160 + 192 + 224)


# graphs of a workload ------------------------------------------------------------------------------------------------

SOURCED = {"source": "test", "status": "assumed"}


def tiny(**changes: object) -> Workload:
    """Two decoder layers, one vision layer and two action layers, with every optional part."""
    decoder = {"layers": 2, "hidden": 12, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn_width": 20, "ffn": "swiglu",
               "vocabulary": 50, "tied_head": False, "qkv_bias": True, "head_norm": True, **SOURCED}  # fmt: skip
    vision = {"layers": 1, "width": 8, "heads": 2, "ffn_width": 16, "patch_elements": 6, "position_embeddings": 9,
              "merge": 4, "merger_width": 10, "output_width": 12, "extra_mergers": 1, **SOURCED}  # fmt: skip
    action = {"layers": 2, "hidden": 10, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn_width": 14, "ffn": "swiglu",
              "action_width": 3, "input_width": 5, "input_hidden": 7, "adaptive_norm": True, "head_norm": True,
              **SOURCED}  # fmt: skip
    pipeline = [
        {"phase": "vision", "images": 3, "patches": 8, "precision": "fp16"},
        {"phase": "prefill", "tokens": 6, "precision": "w4a16"},
        {"phase": "decode", "tokens": 2, "precision": "w4a16"},
        {"phase": "action", "steps": 2, "tokens": 3, "samples": 2, "precision": "bf16"},
    ]
    return Workload.model_validate(
        {"name": "tiny", "title": "Tiny", "decoder": {**decoder, **changes}, "vision": vision, "action": action,
         "pipeline": pipeline, "pipeline_source": "test", "pipeline_status": "assumed"}
    )  # fmt: skip


def phase_of(workload: Workload, name: str) -> PhaseGraph:
    return next(phase for phase in build_graph(workload).phases if phase.name == name)


def parameters_of(workload: Workload) -> dict[str, int]:
    return build_graph(workload).component_parameters


def test_parameters_of_every_component_by_hand() -> None:
    # decoder layer: norms 2*12, q 12*16+16, k and v 12*8+8 each, head norms 2*4, o 16*12, three FFN matrices 12*20
    layer = 24 + (192 + 16) + 2 * (96 + 8) + 8 + 192 + 3 * 240
    decoder = 2 * layer + 12 + 2 * 50 * 12  # final norm, embedding, head
    # vision: patches 6*8+8; norms 4*8, qkv 8*24+24, o 8*8+8, up 8*16+16, down 16*8+8; two mergers; 9 positions
    merger = 16 + (32 * 10 + 10) + (10 * 12 + 12)
    vision = 56 + (32 + 216 + 72 + 144 + 136) + 2 * merger + 9 * 8
    # action layer: two modulations 10*30+30 for norms without gains, no biases; q 10*16, k and v 10*8, head norms 8
    action_layer = 2 * 330 + 160 + 2 * 80 + 8 + 160 + 3 * 140
    action = 2 * action_layer + (5 * 7 + 7) + (7 * 10 + 10) + 330 + (10 * 3 + 3)
    assert parameters_of(tiny()) == {"decoder": decoder, "vision": vision, "action": action}
    assert parameters_of(tiny(tied_head=True))["decoder"] == decoder - 600
    assert parameters_of(tiny(has_head=False))["decoder"] == decoder  # in memory, although no phase runs it
    assert parameters_of(tiny(has_head=False, tied_head=True))["decoder"] == decoder - 600


def test_a_vision_tower_with_a_single_projection_has_a_final_norm_of_its_own() -> None:
    projecting = tiny().model_copy(update={"vision": tiny().vision.model_copy(update={"merger_width": 0})})  # type: ignore[union-attr]
    projection = 32 * 12 + 12
    assert parameters_of(projecting)["vision"] == 56 + (32 + 216 + 72 + 144 + 136) + 16 + 2 * projection + 72
    assert [block.graph.name for block in phase_of(projecting, "vision").blocks] == [
        "patch_embedding", "layer", "final_norm", "merger",
    ]  # fmt: skip
    plain = projecting.model_copy(update={"vision": projecting.vision.model_copy(update={"has_final_norm": False})})  # type: ignore[union-attr]
    assert "final_norm" not in [block.graph.name for block in phase_of(plain, "vision").blocks]


def test_flop_of_every_phase_by_hand() -> None:
    graph = build_graph(tiny())
    matrices = 12 * 16 + 2 * 12 * 8 + 16 * 12 + 3 * 12 * 20  # of a decoder layer
    rows = 3 * 8  # patches of three images of eight; attention stays within an image
    action_rows = 3 * 2
    action_matrices = 10 * 16 + 2 * 10 * 8 + 16 * 10 + 3 * 10 * 14
    expected = {
        "vision": 2 * rows * (6 * 8) + 2 * rows * (8 * 24 + 8 * 8 + 2 * 8 * 16) + 4 * 8 * 3 * 8 * 8
        + 2 * 2 * (rows // 4) * (32 * 10 + 10 * 12),
        # six rows see 21 keys in all; the head sees the last row only
        "prefill": 2 * (2 * 6 * matrices + 4 * 4 * 4 * 21) + 2 * 12 * 50,
        # tokens 1 and 2 see 7 and 8 keys
        "decode": 2 * (2 * 2 * matrices + 4 * 4 * 4 * (7 + 8)) + 2 * 2 * 12 * 50,
        # two steps; each of 2 samples of 3 rows sees 8 cached and 3 own keys; modulations have one row
        "action": 2 * (
            2 * (2 * action_rows * action_matrices + 2 * 2 * 10 * 30 + 4 * 4 * 4 * 2 * 3 * 11)
            + 2 * action_rows * (5 * 7 + 7 * 10 + 10 * 3) + 2 * 10 * 30
        ),
    }  # fmt: skip
    assert {phase.name: phase.flop for phase in graph.phases} == expected


def test_tokens_of_every_phase() -> None:
    # four patches become one token; an action phase computes all its samples
    assert {phase.name: phase.tokens for phase in build_graph(tiny()).phases} == {
        "vision": 3 * 8 // 4, "prefill": 6, "decode": 2, "action": 6,
    }  # fmt: skip


def test_the_cache_holds_prompt_and_decoded_tokens_and_the_action_expert_writes_none() -> None:
    # keys and values of 8 tokens, 2 layers, 2 heads of 4
    assert build_graph(tiny()).kv_elements == 2 * 8 * 2 * 2 * 4
    written = {
        phase.name: sum(isinstance(operator, CacheWrite) for operator, _ in phase.operators())
        for phase in build_graph(tiny()).phases
    }
    assert written == {"vision": 0, "prefill": 1, "decode": 1, "action": 0}


def test_a_decoder_layer_waits_where_its_results_are_used() -> None:
    block = phase_of(tiny(), "prefill").blocks[1]
    assert block.repeats == 2
    assert set(block.graph.dag.edges) == {
        ("norm_1", "q"), ("norm_1", "k"), ("norm_1", "v"), ("q", "head_norm"), ("k", "head_norm"),
        ("head_norm", "rope"), ("rope", "attention"), ("rope", "cache_write"), ("v", "cache_write"),
        ("cache_write", "attention"), ("v", "attention"), ("attention", "o"), ("o", "add_1"), ("add_1", "norm_2"),
        ("norm_2", "gate"), ("norm_2", "up"), ("gate", "activation"), ("up", "activation"), ("activation", "down"),
        ("down", "add_2"), ("add_1", "add_2"),
    }  # fmt: skip
    # rope and head norm work on queries and keys: 4 + 2 heads of 4
    widths = {operator.name: operator.width for operator in block.graph.operators if isinstance(operator, Elementwise)}
    assert widths == {"norm_1": 12, "head_norm": 24, "rope": 24, "add_1": 12, "norm_2": 12, "activation": 20,
                      "add_2": 12}  # fmt: skip


def test_operators_offer_themselves_for_fusion_with_their_neighbours() -> None:
    offers = {
        phase: {operator.name: set(operator.fusions) for operator in block.graph.operators if operator.fusions}
        for phase, block in (("vision", phase_of(tiny(), "vision").blocks[1]),
                             ("prefill", phase_of(tiny(), "prefill").blocks[1]))
    }  # fmt: skip
    residual, activation = {"norm_residual"}, {"gate_activation"}
    assert offers["vision"] == {"add_1": residual, "norm_2": residual, "up": activation, "activation": activation}
    rope, qkv = {"head_norm_rope_cache"}, {"qkv"}
    assert offers["prefill"] == {
        "q": qkv, "k": qkv, "v": qkv, "head_norm": rope, "rope": rope, "cache_write": rope, "add_1": residual,
        "norm_2": residual, "gate": {"gate_up"}, "up": {"gate_up"} | activation, "activation": activation,
    }  # fmt: skip


def test_an_adaptive_norm_waits_for_its_modulation() -> None:
    blocks = phase_of(tiny(), "action").blocks
    assert [block.repeats for block in blocks] == [1, 2, 1]
    assert {("modulation_norm_1", "norm_1"), ("modulation_norm_2", "norm_2")} <= set(blocks[1].graph.dag.edges)
    assert names(blocks[2].graph) == ["modulation_final_norm", "final_norm", "output"]


def test_only_residual_operators_read_two_operands() -> None:
    two = {"add_1", "add_2", "activation"}
    for name in ("prefill", "decode", "action"):
        for operator, _ in phase_of(tiny(), name).operators():
            if isinstance(operator, Elementwise):
                assert operator.operands == (2 if operator.name in two else 1)
    activations = [operator for operator, _ in phase_of(tiny(), "vision").operators() if operator.name == "activation"]
    assert [operator.operands for operator in activations if isinstance(operator, Elementwise)] == [1]  # not gated


# layer table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", ["tiny", "pi0.5", "alpamayo-1.5-10b", "qwen3-0.6b"])
def test_rows_of_the_layer_table_sum_to_their_phase(workload: str) -> None:
    graph = build_graph(tiny() if workload == "tiny" else load_workload(workload))
    rows = layer_rows(graph)
    assert [row.phase for row in rows] == sorted((row.phase for row in rows), key=[p.name for p in graph.phases].index)
    for phase in graph.phases:
        mine = [row for row in rows if row.phase == phase.name]
        assert sum(row.flop for row in mine) == phase.flop
        assert sum(row.parameters for row in mine) == phase.parameters
        assert {row.steps for row in mine} == {phase.num_steps}
        assert len(mine) == sum(len(block.graph.operators) for block in phase.blocks)


def test_weights_of_the_layer_table_are_in_the_precision_of_the_phase() -> None:
    rows = {(row.phase, row.name): row for row in layer_rows(build_graph(tiny()))}
    # q of 2 layers: 16 rows of 12 at four bits, and a scale of two bytes per row (one group of 128)
    assert rows["prefill", "q"].weight_bytes == 2 * (16 * 12 // 2 + 16 * 2)
    assert rows["vision", "qkv"].weight_bytes == 8 * 24 * 2
    assert rows["prefill", "embedding"].weight_bytes == rows["prefill", "norm_1"].weight_bytes == 0
    assert rows["prefill", "q"].repeats == 2
    assert rows["decode", "q"].steps == 2


def test_a_tied_head_is_read_although_it_owns_nothing() -> None:
    rows = {row.name: row for row in layer_rows(build_graph(tiny(tied_head=True))) if row.phase == "decode"}
    assert rows["head"].parameters == 0
    assert rows["head"].weight_bytes == 50 * 12 // 2 + 50 * 2


def test_weight_bytes_count_every_component_that_runs_once() -> None:
    parameters = parameters_of(tiny())
    four_bit = -(-parameters["decoder"] // 2) + -(-parameters["decoder"] // 128) * 2
    assert weight_bytes(build_graph(tiny())) == four_bit + 2 * parameters["vision"] + 2 * parameters["action"]
    first = tiny().model_copy(update={"pipeline": tiny().pipeline[1:2]})
    assert weight_bytes(build_graph(first)) == four_bit


def test_shapes_are_told_in_words() -> None:
    shapes = {(row.phase, row.name): row.shape for row in layer_rows(build_graph(tiny()))}
    assert shapes["prefill", "q"] == "[6, 12] x [12, 16]"
    assert shapes["prefill", "attention"] == "6 rows, 6 keys, 4/2 heads of 4, causal"
    assert shapes["decode", "attention"] == "1 rows, 7 keys, 4/2 heads of 4, full"
    assert shapes["action", "attention"] == "2 x 3 rows, 11 keys, 4/2 heads of 4, full"
    assert shapes["prefill", "norm_1"] == "norm of [6, 12]"
    assert shapes["prefill", "embedding"] == "6 rows of [50, 12]"
    assert re.fullmatch(r"6 tokens, 2 heads of 4, keys and values", shapes["prefill", "cache_write"])
