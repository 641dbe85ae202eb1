"""The sheet and the picture of an explanation: what they say, and that they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex

import simulator
from simulator import Explanation
from simulator.report.explain_sheet import explain_sheet
from simulator.report.style import COLOURS, MISSED
from simulator.report.tornado_plot import draw_tornado, tornado_figure


def explanation_of(tiny_catalogue: Any, changes: dict[str, Any] | None = None, deadline: str = "100 ms") -> Explanation:
    catalog = tiny_catalogue.catalog()
    chip, workload = catalog.load_chip("tiny", changes), catalog.load_workload("words", {"deadline": deadline})
    return simulator.explain(simulator.run(chip, workload, catalogue=[tiny_catalogue.folder]))


def advice_of(explanation: Explanation) -> str:
    assert explanation.advice is not None
    return explanation.advice.text


def text_of(explanation: Explanation) -> str:
    return " ".join(explain_sheet(explanation).split())


def test_the_sheet_has_a_row_per_part_that_sum_up_and_a_row_per_large_number(tiny_catalogue: Any) -> None:
    explanation = explanation_of(tiny_catalogue)
    lines = explain_sheet(explanation).splitlines()
    assert lines[0] == "words on tiny: A few words on Tiny chip"
    for part in explanation.parts.part_ticks:
        assert any(line.startswith(f"{part} ") for line in lines)
    large = [item for item in explanation.tornado if item.swing_ticks > 0.01 * item.base_ticks]
    assert large
    for item in large:
        assert any(line.startswith(item.lever.name) and line.endswith(" %") for line in lines)
    assert any(line.startswith("No effect: ") for line in lines)


def test_numbers_without_effect_are_gathered_where_a_whole_spec_has_none(tiny_catalogue: Any) -> None:
    """The model runs in fp16, so nothing of the other kernels of the software matters."""
    catalog = tiny_catalogue.catalog()
    chip = catalog.load_chip("tiny", {"dram.rate": "1e24 T/s"})  # so that its own kernel matters
    result = simulator.run(chip, catalog.load_workload("words"), runtime="ideal")
    text = text_of(simulator.explain(result))
    assert "runtime.kernels.fp16.achieved_fraction 1 +" in text
    for kernel in ("fp32", "nvfp4", "w4a16"):
        assert f"runtime.kernels.{kernel}.*" in text
    assert "runtime.kernels.*" not in text
    assert "dram.*" in text


def test_a_value_that_is_not_a_fifth_away_is_written(tiny_catalogue: Any) -> None:
    """Of two clusters there is one fewer or one more, of a fraction of 0.9 there is no more than 1."""
    text = text_of(explanation_of(tiny_catalogue, {"dram.sustained_fraction": 0.9, "clusters.npu.count": 1}))
    assert "dram.sustained_fraction 0.9 +" in text
    assert "at 1: -" in text
    assert "clusters.npu.count 1 at its limit" in text


def test_what_cannot_run_is_said(tiny_catalogue: Any) -> None:
    with pytest.raises(simulator.Infeasible) as caught:
        explanation_of(tiny_catalogue, {"dram.capacity": "1 B"})
    text = text_of(explanation_of(tiny_catalogue, {"dram.capacity": f"{1.1 * caught.value.demand} B"}))
    assert "cannot run 0.0 %" in text


@pytest.mark.parametrize(
    ("deadline", "words"),
    [
        ("100 ms", "The deadline of 100 ms is met without it, too."),
        ("1 ns", "Alone it cannot meet the deadline of 1 ns: with "),
    ],
)
def test_the_advice_says_whether_the_deadline_is_met(tiny_catalogue: Any, deadline: str, words: str) -> None:
    sentences = advice_of(explanation_of(tiny_catalogue, deadline=deadline))
    assert sentences.startswith("What would buy most per 20 % is ")
    assert words in sentences


def test_a_deadline_within_reach_is_answered_with_a_value(tiny_catalogue: Any) -> None:
    """Where all is DRAM, half the time needs twice the rate."""
    endless = {"clusters.npu.matrix.native.macs_per_cycle.fp16": 1e18, "clusters.npu.vector.lanes": 1e18,
               "clusters.npu.vector.special_per_cycle": 1e18}  # fmt: skip
    catalog = tiny_catalogue.catalog()
    chip = catalog.load_chip("tiny", endless)
    latency_s = simulator.run(chip, catalog.load_workload("words"), runtime="ideal").latency_s
    workload = catalog.load_workload("words", {"deadline": f"{latency_s / 2} s"})
    sentences = advice_of(simulator.explain(simulator.run(chip, workload, runtime="ideal")))
    assert "dram.rate: 7,680 MT/s instead of 6,400 MT/s" in sentences
    assert "As much by dram.sustained_fraction, dram.width_bits." in sentences
    assert "by it alone takes 12," in sentences  # 12,800 MT/s and at most half a percent more
    assert " 2 times what it is." in sentences or " 2.01 times what it is." in sentences


def test_nothing_to_advise_is_said(tiny_catalogue: Any) -> None:
    explanation = explanation_of(tiny_catalogue)
    nothing = Explanation(explanation.result, explanation.parts, (), explanation.no_effect, (), (), (), None, 0)
    assert "No number makes the frame quicker" in text_of(nothing)
    assert "No number alone" in tornado_figure(nothing).texts[0].get_text()


@pytest.mark.parametrize("width", [100, 80])
@pytest.mark.parametrize("name", ["planner-and-cabin-thor", "qwen3-4b-cabin-orin"])
def test_the_sheet_fits_its_width_and_breaks_no_word(name: str, width: int) -> None:
    scenario = simulator.load_scenario(name)
    explanation = simulator.explain(simulator.run_scenario(scenario.model_copy(update={"duration": 0.05})))
    sheet = explain_sheet(explanation, width)
    assert max(map(len, sheet.splitlines())) <= width
    words = set(sheet.replace(".\n  ", ".").split())
    assert {"dram.rate", "clusters.gpu.clock", "share", "latency"} <= words
    steps = {step for item in explanation.tornado for step in item.lever.name.split(".")}
    assert steps <= set(sheet.replace(",", " ").replace(".", " ").split())


# The picture


def test_the_picture_has_a_bar_for_each_half_of_each_number(tiny_catalogue: Any) -> None:
    explanation = explanation_of(tiny_catalogue)
    axes = tornado_figure(explanation).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [item.lever.name for item in explanation.tornado[:16]]
    item = explanation.tornado[0]
    ends_ms = {patch.get_x() + patch.get_width() for patch in axes.patches[:2]}  # type: ignore[attr-defined]
    assert item.low.latency_ticks is not None
    assert item.high.latency_ticks is not None
    assert sorted(ends_ms) == pytest.approx(sorted([item.low.latency_ticks / 1e9, item.high.latency_ticks / 1e9]))
    assert {to_hex(patch.get_facecolor()) for patch in axes.patches} == {colour.lower() for colour in COLOURS[:2]}


def test_a_deadline_within_the_picture_is_drawn(tiny_catalogue: Any) -> None:
    latency_s = explanation_of(tiny_catalogue).result.latency_s

    def has_deadline(deadline_s: float) -> bool:
        axes = tornado_figure(explanation_of(tiny_catalogue, deadline=f"{deadline_s} s")).axes[0]
        return MISSED in {line.get_color() for line in axes.get_lines()}

    assert has_deadline(latency_s * 1.05)
    assert not has_deadline(latency_s * 3)


def test_the_picture_is_the_same_bytes_every_time(tiny_catalogue: Any, tmp_path: Path) -> None:
    explanation = explanation_of(tiny_catalogue)
    for name in ("one.svg", "other.svg"):
        draw_tornado(explanation, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
