"""Pictures: what is drawn is what happened. Data is compared, not pixels."""

import itertools
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.text import Annotation, Text

from simulator.catalog import load_chip
from simulator.engine.reference import ReferenceEngine
from simulator.errors import OutputError, SpecError
from simulator.program import DropPolicy, ProgramBuilder
from simulator.program.capacity import Steps
from simulator.report.block_diagram import block_diagram_figure, draw_block_diagram
from simulator.report.frame_row import FrameRow
from simulator.report.roofline_plot import Roof, RooflinePoint, draw_roofline, roofline_figure
from simulator.report.timeline_bins import bin_edges, busy_fraction, max_value, mean_value
from simulator.report.timeline_plot import draw_timeline, timeline_figure

CHIPS = sorted(path.stem for path in (Path(__file__).parents[2] / "chips").glob("*.yaml"))


def run_frames(num_frames=3):
    """Frames of 25 ms every 10 ms, deadline 25 ms, latest wins: of three, #0 is in time, #1 dropped, #2 late.

    A frame loads 10 MB in 10 ms at full rate (1 GB/s), then computes 15 ms.
    """
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.unit("idle", clock_hz=1e9, slots=2)
    builder.channel("dram", bytes_per_s=1e9)
    builder.memory("sram", size_bytes=16 * 2**20)
    builder.phase("load")
    load = builder.transfer(["dram"], size_bytes=10_000_000)
    builder.phase("compute")
    compute = builder.compute("npu", work_cycles=15e6, after=[load])
    builder.occupy("sram", 4 * 2**20, first_task=load, last_task=compute)
    builder.stream("driving", period_ticks=10**10, releases=num_frames, policy=DropPolicy.LATEST,
                   deadline_ticks=25 * 10**9)  # fmt: skip
    return ReferenceEngine().run(builder.build())


def boxes_ms(axes):
    """The rectangles of a row of frames, as (start ms, end ms) per collection."""
    return [
        [(round(path.vertices[:, 0].min(), 9), round(path.vertices[:, 0].max(), 9)) for path in collection.get_paths()]
        for collection in axes.collections
        if isinstance(collection, PolyCollection)
    ]


def test_busy_fraction_is_the_share_of_each_slice():
    """The unit works from 10 to 25 ms and from 35 to 50 ms; slices of 20 ms hold 10, 10 and 10 ms of that."""
    timeline = run_frames()
    edges = np.array([0, 20, 40, 60], dtype=np.int64) * 10**9
    assert busy_fraction(timeline, edges).tolist() == [[0.5, 0.5, 0.5], [0, 0, 0]]


def test_busy_fraction_counts_the_slots_of_a_unit():
    """One task of 10 ns on a unit with two slots keeps half of it busy."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=2)
    builder.compute("npu", work_cycles=10)
    timeline = ReferenceEngine().run(builder.build())
    assert busy_fraction(timeline, np.array([0, 10_000])).tolist() == [[0.5]]


def test_mean_and_maximum_of_a_step_function():
    """4 until 10, then 8 until 15, then 0: over [0, 10) 4, over [10, 20) 8 for half of the time."""
    steps = Steps(np.array([0, 10, 15]), np.array([4.0, 8.0, 0.0]))
    edges = np.array([0, 10, 20])
    assert mean_value(steps, edges).tolist() == [4.0, 4.0]
    assert max_value(steps, edges).tolist() == [4.0, 8.0]


def test_slices_are_never_empty():
    """Three ticks give three slices, however many are asked for."""
    assert bin_edges(5, 8, 400).tolist() == [5, 6, 7, 8]


def test_frames_are_drawn_with_their_phases_waits_deadlines_and_drops():
    row = FrameRow.of(run_frames())
    ms = 10**9
    assert row.bar_names == ("driving", "")
    segments = zip(row.segment_bar, row.segment_kind, row.segment_start // ms, row.segment_end // ms, strict=True)
    # frame #2 is released at 20 while #0 runs until 25, so it waits 5 ms on a second bar; -1 is the wait
    assert [tuple(map(int, segment)) for segment in segments] == [
        (0, 0, 0, 10), (0, 1, 10, 25), (1, -1, 20, 25), (1, 0, 25, 35), (1, 1, 35, 50)]  # fmt: skip
    assert (row.deadline_tick // ms).tolist() == [25, 45]
    assert row.late_until.tolist() == [-1, 50 * ms]
    assert (row.drop_tick // ms).tolist() == [10]
    names = [handle.get_label() for handle in row.legend()]
    assert names == ["load", "compute", "waiting", "deadline", "late", "dropped"]


def test_picture_of_many_frames_shows_the_run_and_the_first_complete_frame():
    figure = timeline_figure(run_frames(), title="One of three frames is late", subtitle="by hand")
    whole, detail = figure.axes[0], figure.axes[1]
    assert [axes.get_title(loc="left") for axes in (whole, detail)] == [
        "Whole run: 3 frames, 50 ms", "First complete frame: driving #0, 25 ms"]  # fmt: skip
    assert [(20.0, 25.0)] in boxes_ms(whole)
    assert [(0.0, 10.0), (25.0, 35.0)] in boxes_ms(whole)
    assert [(45.0, 50.0)] in boxes_ms(whole)  # what is late
    assert "One of three frames is late" in [text.get_text() for text in figure.texts]


def test_picture_of_one_frame_has_one_column():
    figure = timeline_figure(run_frames(1), title="One frame")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Whole run: 25 ms", "", "", ""]


def test_rates_of_the_picture_are_those_granted():
    """1 GB/s while loading (0-10 and 25-35 ms of 50 ms), else nothing."""
    figure = timeline_figure(run_frames(), title="rates")
    (rates,) = [axes for axes in figure.axes if axes.get_ylabel() == "dram\n(GB/s)"]
    granted = {patch.get_label(): patch.get_data() for patch in rates.patches}["granted"]
    middle_ms = (granted.edges[1:] + granted.edges[:-1]) / 2
    is_loading = (middle_ms < 10) | ((middle_ms > 25) & (middle_ms < 35))
    assert np.allclose(granted.values, np.where(is_loading, 1.0, 0.0))


def test_of_several_dies_the_picture_shows_the_dram_that_moves_most():
    """Nothing moves in the first DRAM, and the NoC is no DRAM, busy as it is."""
    builder = ProgramBuilder()
    for name, bytes_per_s in (("die0.dram", 1e9), ("die1.dram", 1e9), ("die1.noc", 0.5e9)):
        builder.channel(name, bytes_per_s=bytes_per_s)
    builder.transfer(["die1.noc", "die1.dram"], size_bytes=1_000_000)
    figure = timeline_figure(ReferenceEngine().run(builder.build()), title="dies")
    assert [axes.get_ylabel() for axes in figure.axes if "GB/s" in axes.get_ylabel()] == ["die1.dram\n(GB/s)"]


def test_memory_of_the_picture_is_the_share_that_is_occupied():
    """4 of 16 MiB from the start of each load to the end of its compute: without a break."""
    figure = timeline_figure(run_frames(), title="memory")
    (memory,) = [axes for axes in figure.axes if axes.get_ylabel() == "memory\n(% full)"]
    (drawn,) = [patch.get_data() for patch in memory.patches]
    assert np.allclose(drawn.values, 25.0)


POINTS = [
    RooflinePoint("gate_up", "prefill", flop=4e12, dram_bytes=1e9, seconds=0.08),
    RooflinePoint("down", "prefill", flop=2e12, dram_bytes=1e9, seconds=0.04),
    RooflinePoint("gate_up", "decode", flop=4e9, dram_bytes=1e9, seconds=0.01),
    RooflinePoint("rope", "decode", flop=1e6, dram_bytes=0, seconds=0.01),
]
ROOFS = [
    Roof("matrix fp16", flop_per_s=1e14),
    Roof("vector", flop_per_s=5e12),
    Roof("DRAM peak", bytes_per_s=2e11),
    Roof("DRAM sustained", bytes_per_s=1.5e11),
]


def test_operators_lie_at_their_intensity_and_rate():
    axes = roofline_figure(POINTS, ROOFS, title="roofline").axes[0]
    (discs,) = axes.collections
    # 4e12 flop / 1e9 B = 4000 flop/B in 80 ms = 50 Tflop/s; and so on; rope has no DRAM traffic and no place
    assert discs.get_offsets().tolist() == [[4000, 5e13], [2000, 5e13], [4, 4e11]]
    small = discs.get_sizes()[2]
    assert discs.get_sizes()[0] - small == pytest.approx((0.08 - 0.01) / (0.04 - 0.01) * (discs.get_sizes()[1] - small))


def test_roofs_meet_at_the_ridge():
    """Peak DRAM reaches 1e14 flop/s at 500 flop/B, sustained at 666.7; the vector roof begins at 25 flop/B."""
    axes = roofline_figure(POINTS, ROOFS, title="roofline").axes[0]
    vector, matrix, sustained, peak = [line.get_xydata() for line in axes.lines[:4]]
    assert matrix[0].tolist() == [500, 1e14]
    assert vector[0].tolist() == [25, 5e12]
    assert peak[1].tolist() == [500, 1e14]
    assert sustained[1].tolist() == pytest.approx([1e14 / 1.5e11, 1e14])
    assert peak[0][1] / peak[0][0] == pytest.approx(2e11)


def test_what_has_no_place_on_the_roofline_is_told():
    """One of four operators, 10 of 140 ms."""
    figure = roofline_figure(POINTS, ROOFS, title="roofline")
    expected = "not shown: 1 without flop or without DRAM traffic (7.1 % of the time)"
    assert expected in [text.get_text() for text in figure.texts]


def test_names_of_operators_do_not_overlap():
    """Forty operators at one place: as many are named as there is room for, and none twice at one spot."""
    crowd = [RooflinePoint(f"operator {n}", "decode", 4e9 + n, 1e9, 0.01 - n * 1e-5) for n in range(40)]
    figure = roofline_figure(crowd, ROOFS, title="crowd")
    names = [text for text in figure.axes[0].texts if text.get_text().startswith("operator")]
    extents = [Text.get_window_extent(name) for name in names]
    assert len(names) > 3
    assert all(isinstance(name, Annotation) for name in names)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(extents, 2))


def test_roof_is_a_rate_or_a_bandwidth():
    with pytest.raises(SpecError, match='roof "both": must have either flop_per_s or bytes_per_s'):
        Roof("both", flop_per_s=1.0, bytes_per_s=1.0)
    with pytest.raises(SpecError, match="at least one compute roof and one bandwidth roof"):
        roofline_figure(POINTS, ROOFS[:2], title="no DRAM")


def texts_of(figure):
    return [text.get_text() for text in (*figure.axes[0].texts, *figure.texts)]


def test_block_diagram_shows_the_rates_of_the_chip():
    """Thor: 20 SM x 4096 MAC x 2 x 1.575 GHz = 258 Top/s; 256 bit x 8533 MT/s = 273 GB/s, of which 95.1 %."""
    texts = texts_of(block_diagram_figure(load_chip("thor-t5000")))
    assert "gpu: 20 clusters at 1.575 GHz" in texts
    assert "fp16 bf16\n258 Top/s" in texts
    assert "LPDDR5X, 256 bit, 128 GiB: 273 GB/s peak, 260 GB/s sustained" in texts
    assert "l2: 32 MiB, shared" in texts


def test_block_diagram_marks_what_is_not_published():
    chip = load_chip("thor-t5000")
    path = chip.cluster.matrix["legacy"].macs_per_cycle["fp16"]
    assert path.is_uncertain  # else choose another number for this test
    assert "fp16 bf16\n~64.5 Top/s" in texts_of(block_diagram_figure(chip))


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_has_a_block_diagram_whose_texts_fit(name):
    figure = block_diagram_figure(load_chip(name))
    frame = figure.axes[0].get_window_extent()
    extents = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(frame.x0 <= extent.x0 and extent.x1 <= frame.x1 for extent in extents)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(extents, 2))


def test_block_diagram_shows_every_group_and_every_share():
    chip = load_chip("thor-t5000")
    gpu = chip.clusters["gpu"]
    masters = {**chip.masters, "isp": chip.masters["isp"].model_copy(update={"maximum_share": 0.3})}
    two = chip.model_copy(update={"clusters": {"gpu": gpu, "dla": gpu}, "masters": masters})
    texts = texts_of(block_diagram_figure(two))
    assert [text for text in texts if "clusters at" in text] == [
        "gpu: 20 clusters at 1.575 GHz", "dla: 20 clusters at 1.575 GHz"]  # fmt: skip
    assert "isp\nat most 30 %" in texts


def test_block_diagram_shows_routing_unit_modes_dies_partitions_and_what_sram_keeps():
    texts = texts_of(block_diagram_figure(load_chip("hypo-moe")))
    assert {"routing unit\nkeeps experts: static", "experts: ~192 MiB, shared\nkeeps experts 192 MiB"} <= set(texts)
    assert "npu: ~24 clusters at ~1.4 GHz; modes prefill, decode" in texts_of(
        block_diagram_figure(load_chip("hypo-phase"))
    )
    pair = load_chip("dual-m100").with_values({
        "partitions": {"driving": {"clusters": 32}, "cabin": {"clusters": 12}}, "sram.ccb.kv_store": "8 MiB"
    })  # fmt: skip
    texts = texts_of(block_diagram_figure(pair))
    assert any("one of 2 dies" in text for text in texts)
    assert "npu: 48 clusters at ~1.6 GHz; partitions driving (32), cabin (12)" in texts
    assert "ccb: 32 MiB, shared\nkeeps KV 8 MiB" in texts


DRAWERS = {
    "timeline": lambda path: draw_timeline(run_frames(), path, title="frames", subtitle="by hand"),
    "roofline": lambda path: draw_roofline(POINTS, ROOFS, path, title="roofline"),
    "block": lambda path: draw_block_diagram(load_chip("thor-t5000"), path),
}


@pytest.mark.parametrize(
    ("draw", "suffix"),
    [*((draw, ".svg") for draw in DRAWERS.values()), (DRAWERS["roofline"], ".png"), (DRAWERS["roofline"], ".pdf")],
    ids=[*(f"{name}.svg" for name in DRAWERS), "roofline.png", "roofline.pdf"],
)
def test_one_input_gives_the_same_bytes_twice(tmp_path, draw, suffix):
    for name in ("first", "second"):
        draw(tmp_path / f"{name}{suffix}")
    content = (tmp_path / f"first{suffix}").read_bytes()
    assert content == (tmp_path / f"second{suffix}").read_bytes()
    if suffix == ".svg":
        assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
    else:
        assert content.startswith({".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix])


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_unknown_suffix_is_refused_before_anything_is_drawn(tmp_path, draw):
    with pytest.raises(SpecError, match=r"a picture must end in \.png, \.svg, \.pdf, got \"\.jpg\""):
        draw(tmp_path / "picture.jpg")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_target_leaves_no_file(tmp_path):
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(OutputError, match=r"folder\.svg"):
        DRAWERS["block"](tmp_path / "folder.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    before = dict(mpl.rcParams)
    DRAWERS["roofline"](tmp_path / "run.svg")
    assert dict(mpl.rcParams) == before
