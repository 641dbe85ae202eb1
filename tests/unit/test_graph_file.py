"""The operators of a workload as files: nothing is lost, and sums are those of the graph.

The tiny workload has 2 layers of 64 with 4 heads on 2 of 16 and an FFN of 128, and a tied head of 1,000; a prompt of 32
tokens and 8 decoded ones, in fp16.
"""

import csv
import io
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import pytest
from matplotlib.text import Text

from simulator import load_workload
from simulator.cli import main
from simulator.errors import OutputError, SpecError
from simulator.graph import Block, Elementwise, ExpertMatMul, MatMul, Operator, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.graph import build_graph as build
from simulator.graph.layers import OPS, layer_rows
from simulator.report.graph_file import csv_text, dot_text, json_text, write_graph
from simulator.report.graph_plot import MAX_ROWS, graph_figure
from simulator.report.layer_table import counts_table, phase_counts

WORKLOADS = ["qwen3-4b", "alpamayo-1.5-10b", "resnet-50", "qwen3-next-80b-a3b"]


@pytest.fixture
def words(tiny_catalogue: Any) -> Any:
    return tiny_catalogue.catalog().load_workload("words")


def add(name: str) -> Elementwise:
    return Elementwise(name, (), kind="add", rows=1, width=1)


def one_phase(*graphs: OperatorGraph, steps: int = 1, precision: str = "fp16") -> WorkloadGraph:
    blocks = tuple(Block(graph, 1) for graph in graphs)
    return WorkloadGraph("toy", (PhaseGraph("network", precision, 1, blocks, steps, "net"),), {"net": 0}, 0)


# counts --------------------------------------------------------------------------------------------------------------


def test_the_counts_of_a_phase_are_those_worked_out_by_hand(words: Any) -> None:
    prefill, decode = phase_counts(build(words))
    # a layer: q and o of 64 x 64, k and v of 64 x 32, three of 64 x 128
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128
    for phase in (prefill, decode):
        assert phase["parameters"] == 64 * 1000 + 2 * (layer + 2 * 64) + 64
        assert phase["weight_bytes"] == 2 * (2 * layer + 64 * 1000)
    # a key and a value of two heads of 16 in two layers, two bytes each
    token_bytes = 2 * 2 * 16 * 2 * 2
    assert (prefill["kv_read_bytes"], prefill["kv_written_bytes"]) == (0, 32 * token_bytes)
    # decoded tokens see 33 to 40 tokens, their own among them
    assert (decode["kv_read_bytes"], decode["kv_written_bytes"]) == (sum(range(33, 41)) * token_bytes, 8 * token_bytes)
    assert prefill["flop"] == 2 * 32 * 2 * layer + 2 * (2 * 4 * 32 * (32 * 33 // 2)) + 2 * 64 * 1000
    assert decode["flop"] == 8 * 2 * (2 * layer + 64 * 1000) + 2 * (2 * 4 * 32 * sum(range(33, 41)))


def test_activations_are_what_each_operator_reads_and_writes(words: Any) -> None:
    # per row of a layer: two norms 128 each, q and o 128 each, k and v 96 each, rope 2 * (64 + 32), attention 64 and 64
    # of keys and values and 64, two sums 192 each, gate and up 192 each, product of both 3 * 128, down 192
    row = 2 * 128 + 2 * 128 + 2 * 96 + 192 + 192 + 2 * 192 + 2 * 192 + 384 + 192
    last = 2 * 64 + 64 + 1000  # final norm and head, of one row
    prefill, decode = phase_counts(build(words))
    assert prefill["activation_bytes"] == 2 * (32 * (2 * row + 64) + last)
    # a decoded token finds its key and value in the cache
    assert decode["activation_bytes"] == 2 * 8 * (2 * (row - 64) + 64 + last)


def test_arithmetic_intensity_counts_weights_in_every_step_and_the_cache(words: Any) -> None:
    prefill, decode = phase_counts(build(words))
    # 137,728 weights of two bytes; the bytes of the cache and the flop as above
    assert prefill["flop_per_byte"] == pytest.approx(5_116_928 / (275_456 + 8_192), rel=1e-12)
    assert decode["flop_per_byte"] == pytest.approx(2_353_152 / (8 * 275_456 + 74_752 + 2_048), rel=1e-12)
    assert decode["weight_read_bytes"] == 8 * 275_456


def test_of_experts_those_picked_are_read_and_all_are_held() -> None:
    experts = ExpertMatMul("up", (), rows=1, inputs=8, outputs=4, experts=6, top_k=2, touched=2, gathers=True)
    (row,) = layer_rows(one_phase(OperatorGraph("layer", [experts], []), steps=3))
    assert (row.weight_bytes, row.weight_read_bytes) == (6 * 8 * 4 * 2, 3 * 2 * 8 * 4 * 2)


def test_every_kind_of_operator_has_a_word() -> None:
    assert {kind for kind in get_args(Operator) if kind is not Elementwise} == set(OPS)


def test_what_moves_no_weights_has_no_intensity() -> None:
    graph = one_phase(OperatorGraph("sums", [add("a")], []))
    assert layer_rows(graph)[0].flop_per_byte is None
    assert phase_counts(graph)[0]["flop_per_byte"] is None


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("width", [60, 100])
def test_the_table_of_counts_fits_its_page(name: str, width: int) -> None:
    workload = load_workload(name)
    assert max(map(len, counts_table(workload, build(workload), width).splitlines())) <= width


def test_the_table_of_counts_says_what_is_assumed_of_the_cache(words: Any) -> None:
    lines = [" ".join(line.split()) for line in counts_table(words, build(words)).splitlines()]
    # 2,353,152 flop and 275,456 B of weights, as above
    assert "decode 138,048 2.353e-06 275 kB 74.8 kB 2.05 kB 95.9 kB 1.032" in lines
    assert "KV cache: 256 B per token; 2 B per element are assumed" in " ".join(lines)
    network = load_workload("resnet-50")
    assert "KV cache" not in counts_table(network, build(network))


# DOT -----------------------------------------------------------------------------------------------------------------

STRING = r'"((?:[^"\\]|\\.)*)"'


def read_dot(text: str) -> tuple[dict[str, str], set[tuple[str, str]], set[tuple[str, str]]]:
    """Labels by node, edges, and dashed edges, of the few kinds of lines that are written."""
    nodes: dict[str, str] = {}
    edges, order = set(), set()

    def plain(quoted: str) -> str:
        return re.sub(r"\\([\"\\])", r"\1", quoted)

    opened, *lines, closed = text.splitlines()
    assert re.fullmatch(rf"digraph {STRING} {{", opened)
    assert closed == "}"
    for line in lines:
        if found := re.fullmatch(rf"\s*{STRING} -> {STRING}( \[style=dashed\])?;", line):
            before, after, is_dashed = found.groups()
            (order if is_dashed else edges).add((plain(before), plain(after)))
        elif found := re.fullmatch(rf"\s*{STRING} \[label={STRING}\];", line):
            assert plain(found[1]) not in nodes
            nodes[plain(found[1])] = found[2]
        else:
            assert re.fullmatch(rf"\s*(rankdir=TB;|node \[.*\];|subgraph {STRING} {{|label={STRING};|}})", line), line
    return nodes, edges, order


@pytest.mark.parametrize("name", WORKLOADS)
def test_dot_has_every_operator_and_every_edge_once(name: str) -> None:
    graph = build(load_workload(name))
    nodes, edges, order = read_dot(dot_text(graph))
    rows = layer_rows(graph)
    assert list(nodes) == [f"{row.phase}/{row.block}/{row.name}" for row in rows]
    graphs = [block for phase in graph.phases for block in dict.fromkeys(block.graph for block in phase.blocks)]
    assert len(edges) == sum(len(each.dag.edges) for each in graphs)
    names = sorted((before.split("/")[-1], after.split("/")[-1]) for before, after in edges)
    assert names == sorted(edge for each in graphs for edge in each.dag.edges)
    assert {before.rpartition("/")[0] for before, _ in edges} <= {node.rpartition("/")[0] for node in nodes}
    assert all(before.rpartition("/")[0] == after.rpartition("/")[0] for before, after in edges)
    assert len(order) == len(graphs) - 1  # one after the other


def test_names_with_quotes_and_backslashes_come_through_dot() -> None:
    names = ['say "no"', "back\\slash", "end\\", "a -> b", "größe; [x]"]
    edges = list(pairwise(names))
    nodes, found, _ = read_dot(dot_text(one_phase(OperatorGraph('b"', [add(name) for name in names], edges))))
    assert list(nodes) == [f'net/b"/{name}' for name in names]
    assert found == {(f'net/b"/{before}', f'net/b"/{after}') for before, after in edges}


def test_blocks_of_one_name_are_told_apart() -> None:
    same = OperatorGraph("layer", [add("a")], [])
    graph = one_phase(same, OperatorGraph("layer", [add("a")], []), same)
    assert [(row.block, row.repeats) for row in layer_rows(graph)] == [("layer (1)", 2), ("layer (2)", 1)]
    assert list(read_dot(dot_text(graph))[0]) == ["net/layer (1)/a", "net/layer (2)/a"]


# JSON and CSV --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_rows_of_csv_sum_to_the_graph(name: str) -> None:
    graph = build(load_workload(name))
    rows = list(csv.DictReader(io.StringIO(csv_text(graph))))
    assert sum(int(row["flop"]) for row in rows) == graph.flop
    for phase in graph.phases:
        mine = [row for row in rows if row["phase"] == phase.name]
        assert sum(int(row["parameters"]) for row in mine) == phase.parameters
        assert len(mine) == sum(len(each.operators) for each in {block.graph for block in phase.blocks})


def test_a_row_of_csv_has_shape_and_counts(words: Any) -> None:
    rows = {(row["phase"], row["name"]): row for row in csv.DictReader(io.StringIO(csv_text(build(words))))}
    # 2 layers, 8 steps: 8,192 B are read in each; 2 * 4,096 flop for a row of them
    assert rows["decode", "q"] == {
        "phase": "decode", "block": "layer", "name": "q", "op": "matmul", "shape": "[1, 64] x [64, 64]", "repeats": "2",
        "steps": "8", "parameters": "8192", "weight_bytes": "16384", "flop": "131072", "weight_read_bytes": "131072",
        "kv_read_bytes": "0", "kv_written_bytes": "0", "activation_bytes": "4096", "flop_per_byte": "1.0",
    }  # fmt: skip
    assert rows["prefill", "norm_1"]["op"] == "norm"
    assert rows["prefill", "norm_1"]["flop_per_byte"] == ""


def test_json_has_phases_blocks_nodes_and_edges(words: Any) -> None:
    tree = json.loads(json_text(build(words)))
    assert (tree["workload"], tree["parameters"], tree["kv_element_bytes"]) == ("words", 138_048, 2)
    prefill, decode = tree["phases"]
    assert [(phase["phase"], phase["steps"]) for phase in (prefill, decode)] == [("prefill", 1), ("decode", 8)]
    assert [(block["graph"], block["repeats"], block["first_layer"]) for block in decode["blocks"]] == [
        ("embedding", 1, None), ("layer", 2, 0), ("output", 1, None)]  # fmt: skip
    output = decode["graphs"][2]
    assert [(node["name"], node["op"]) for node in output["nodes"]] == [("final_norm", "norm"), ("head", "matmul")]
    assert output["edges"] == [["final_norm", "head"]]
    assert tree["flop"] == sum(node["flop"] for phase in tree["phases"] for each in phase["graphs"]
                               for node in each["nodes"])  # fmt: skip


def test_json_keeps_the_order_of_blocks_that_take_turns() -> None:
    graph = build(load_workload("qwen3-next-80b-a3b"))
    (phase,) = [phase for phase in json.loads(json_text(graph))["phases"] if phase["phase"] == "decode"]
    # 48 layers: three of linear attention, then one of full attention
    assert [(block["graph"], block["repeats"]) for block in phase["blocks"][1:-1]] == 12 * [
        ("layer (1)", 3), ("layer (2)", 1)]  # fmt: skip
    assert len(phase["graphs"]) == 4


# pictures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*WORKLOADS, "uniad-m100"])
def test_a_drawing_has_a_box_for_every_operator_and_all_texts_are_inside(name: str) -> None:
    graph = build(load_workload(name))
    figure = graph_figure(graph)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    shown = [text.get_text() for text in texts]
    for row in layer_rows(graph):
        assert shown.count(row.name) >= sum(other.name == row.name for other in layer_rows(graph)), row.name
    assert f"{graph.parameters:,} parameters" in " ".join(shown)
    page = axes.get_window_extent()
    for text in texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0, text.get_text()
        assert box.x1 <= page.x1, text.get_text()
        assert page.y0 <= box.y0, text.get_text()
        assert box.y1 <= page.y1, text.get_text()


def test_texts_of_a_drawing_do_not_cover_each_other() -> None:
    block = Block(OperatorGraph("one", [add("a")], []), 1)
    narrow = [PhaseGraph("network", "w8a8-static", 1, (block,), 5, f"phase_{index}") for index in range(9)]
    graphs = [build(load_workload(name)) for name in ("alpamayo-1.5-10b", "uniad-m100")]
    for graph in (*graphs, WorkloadGraph("narrow", tuple(narrow), {"narrow": 0}, 0)):
        figure = graph_figure(graph)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        for index, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:index]), figure.axes[0].texts[index].get_text()


def test_a_drawing_says_how_often_a_block_is_repeated() -> None:
    shown = [text.get_text() for text in graph_figure(build(load_workload("alpamayo-1.5-10b"))).axes[0].texts]
    assert (shown.count("layer x 27"), shown.count("layer x 36"), shown.count("merger x 4")) == (1, 3, 1)
    assert any(text.startswith("action: bf16, 10 steps") for text in shown)


def test_a_phase_that_fills_a_line_goes_on_in_the_next() -> None:
    shown = [text.get_text() for text in graph_figure(build(load_workload("resnet-50"))).axes[0].texts]
    # 2 * 64 * 147 * 12,544 of the first convolution and the others: 8.18 GFLOP
    assert [text for text in shown if text.startswith("resnet")] == [
        "resnet-50", "resnet: w8a8-static, 8.18 GFLOP", "resnet, continued"]  # fmt: skip


def test_a_column_that_no_picture_can_hold_is_refused() -> None:
    names = [f"op_{index}" for index in range(MAX_ROWS + 1)]
    long = OperatorGraph("all", [add(name) for name in names], list(pairwise(names)))
    with pytest.raises(SpecError) as caught:
        graph_figure(one_phase(long))
    assert caught.value.message == (
        "graph net: a drawing takes blocks of up to 400 operators in a row, got 401 in block all"
    )
    assert caught.value.hint == "write a .dot file, and draw it with a graph tool"


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_pictures_are_written_and_are_the_same_each_time(tmp_path: Path, words: Any, suffix: str, start: bytes) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    for path in (first, second):
        write_graph(build(words), path)
    assert first.read_bytes().startswith(start)
    assert first.read_bytes() == second.read_bytes()
    if suffix == ".svg":
        assert ElementTree.parse(first).getroot().tag.endswith("svg")


# command -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def show(tiny_catalogue: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["show", *words, "--catalogue", str(tiny_catalogue.folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("suffix", ["dot", "json", "csv", "svg", "DOT"])
def test_show_writes_the_graph_beside_its_sheet(show: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"words.{suffix}"
    code, output, errors = show("workload", "words", "--graph", str(path))
    assert (code, errors) == (0, f"wrote {path}\n")
    assert "Counts of one frame" in output
    assert path.stat().st_size > 100
    assert list(path.parent.iterdir()) == [path]


def test_show_as_json_has_the_counts_of_phases(show: Any) -> None:
    shown = json.loads(show("workload", "words", "--json")[1])
    assert (shown["kv_bytes_per_token"], shown["kv_element_bytes"]) == (256, 2)
    assert [(phase["phase"], phase["kv_written_bytes"]) for phase in shown["phases"]] == [
        ("prefill", 8_192), ("decode", 2_048)]  # fmt: skip


def test_a_graph_of_anything_but_a_workload_is_a_wrong_command_line(show: Any, tmp_path: Path) -> None:
    code, output, errors = show("chip", "tiny", "--graph", str(tmp_path / "x.dot"))
    assert (code, output) == (2, "")
    assert "--graph writes the operators of a workload, not of a chip" in errors
    assert list(tmp_path.glob("x*")) == []


def test_another_suffix_is_refused_before_anything_is_read(show: Any, tmp_path: Path) -> None:
    code, output, errors = show("workload", "no-such-workload", "--graph", str(tmp_path / "x.txt"))
    assert (code, output) == (2, "")
    assert errors == (
        f"Error: {tmp_path / 'x.txt'}: a graph must end in .dot, .json, .csv, .png, .svg, .pdf, "
        'got ".txt"\n  Hint: such as x.dot\n'
    )


def test_a_folder_and_a_place_that_takes_no_files_are_refused(show: Any, tmp_path: Path) -> None:
    (tmp_path / "folder.dot").mkdir()
    code, _, errors = show("workload", "words", "--graph", str(tmp_path / "folder.dot"))
    assert code == 2
    assert "must be a file that can be written, is a folder or a device" in errors
    code, _, errors = show("workload", "words", "--graph", "/proc/words.csv")
    assert code == 2
    assert "/proc/words.csv: cannot be written" in errors
    with pytest.raises(OutputError):
        write_graph(one_phase(OperatorGraph("b", [MatMul("m", (), rows=1, inputs=1, outputs=1)], [])), "/proc/x.dot")
