"""The picture of a search: what is drawn is what was found. Data is compared, not pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from simulator.catalog import Catalog
from simulator.errors import OutputError, SpecError
from simulator.exploration.exact import Exploration, Fate
from simulator.exploration.reference import Reference
from simulator.exploration.result import SearchResult
from simulator.exploration.space import Space
from simulator.report.front_plot import draw_front, front_figure
from simulator.study import Study

Result = Callable[..., SearchResult]

# Of ten models one is of each fate but the front, which has the rest.
FATES = [Fate.DISCARDED, Fate.DOMINATED, Fate.OVER_LIMIT, Fate.INFEASIBLE, *[Fate.FRONT] * 6]
DECODE_S = [0.9, 0.8, 2.0, np.nan, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
TOTAL_S = [1.9, 1.8, 3.0, np.nan, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1]
LOSS = [4.0, 4.1, 2.0, 1.0, 3.9, 3.8, 3.7, 3.6, 3.5, 3.4]


@pytest.fixture
def result(tiny_catalogue: Any) -> Result:
    """A search of ten models with made-up values; on the front the quicker decoder is the slower one in all."""

    def made_up(objectives: tuple[str, ...] = ("loss", "decode", "total"), **fields: Any) -> SearchResult:
        changes = {
            "space.layers": [1, 2, 3, 4, 5], "space.hidden": [64], "space.ffn_ratio": [1], "space.kv_heads": [2],
            "space.experts": [1, 8], "rules": [], "objectives": list(objectives), "limits.total": "2.5 s",
            "applications": {"door": {"decode": "250 ms", "source": "me", "status": "press"}},
        }  # fmt: skip
        study: Study = tiny_catalogue.catalog().load_study("shapes", changes)
        space = Space.of(study)
        known = {"loss": np.array(LOSS), "decode_s": np.array(DECODE_S), "total_s": np.array(TOTAL_S),
                 "prefill_s": np.ones(10), "memory_bytes": np.ones(10)}  # fmt: skip
        bounds = {key: np.where(np.isnan(column), np.inf, column) for key, column in known.items()}
        fates = np.array(FATES, dtype=np.int8)
        is_simulated = (fates == Fate.FRONT) | (fates == Fate.DOMINATED)
        values = {key: np.where(is_simulated | (key == "loss"), column, np.nan) for key, column in known.items()}
        exploration = Exploration(fates, values, np.full(10, -1), {})
        terms = {"all": known["loss"]}
        return SearchResult(study, space, bounds, terms, exploration, {}, evaluator=None, **fields)

    return made_up


def reference() -> Reference:
    values = {"loss": 3.95, "prefill_s": 1.0, "decode_s": 0.35, "total_s": 1.45, "memory_bytes": 1.0}
    return Reference("qwen2.5-0.5b", Catalog().load_workload("qwen2.5-0.5b"), {}, values)


def marks(axes: Axes, word: str) -> list[tuple[float, float]]:
    """The places of the marks whose label begins with a word, from left to right."""
    return sorted(
        (float(x), float(y))
        for marked in axes.collections
        if isinstance(marked, PathCollection) and str(marked.get_label()).startswith(word)
        for x, y in np.asarray(marked.get_offsets())
    )


def legend(figure: Figure) -> set[str]:
    (found,) = figure.legends
    return {text.get_text() for text in found.get_texts()}


def test_each_point_is_where_its_values_are_and_marked_by_its_fate(result: Result) -> None:
    figure = front_figure(result())
    decode, total = figure.axes
    assert marks(decode, "discarded") == [(0.9, 4.0)]  # at its bound
    assert marks(decode, "simulated, not on the front") == [(0.8, 4.1)]
    assert marks(decode, "over a limit") == [(2.0, 2.0)]
    # of the dimensions that vary, experts run fastest: every second model is dense
    assert marks(decode, "1 expert") == [(0.1, 3.9), (0.3, 3.7), (0.5, 3.5)]
    assert marks(decode, "8 experts") == [(0.2, 3.8), (0.4, 3.6), (0.6, 3.4)]
    assert marks(total, "1 expert") == [(1.2, 3.5), (1.4, 3.7), (1.6, 3.9)]


def test_the_legend_names_every_mark_with_its_number(result: Result) -> None:
    assert legend(front_figure(result(reference=reference()))) == {
        "discarded, drawn at its lower bound (1)", "simulated, not on the front (1)", "over a limit (1)",
        "front of the two quantities of a panel", "1 expert (dense) (3)", "8 experts (3)", "qwen2.5-0.5b",
    }  # fmt: skip


def test_the_line_goes_through_what_nothing_beats_in_the_two_quantities_of_its_panel(result: Result) -> None:
    """In decode latency and loss all six are best; in total latency the last is best in both."""
    decode, total = front_figure(result()).axes
    (line,) = (line for line in decode.lines if str(line.get_label()).startswith("front"))
    assert np.asarray(line.get_xydata()).tolist() == [
        [0.1, 3.9], [0.2, 3.8], [0.3, 3.7], [0.4, 3.6], [0.5, 3.5], [0.6, 3.4]
    ]  # fmt: skip
    (line,) = (line for line in total.lines if str(line.get_label()).startswith("front"))
    assert np.asarray(line.get_xydata()).tolist() == [[1.1, 3.4]]


def test_two_objectives_have_one_panel(result: Result) -> None:
    figure = front_figure(result(("decode", "loss")))
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("decode latency", "loss (nats per token, by the law)")
    assert axes.get_xscale() == "log"
    assert "front" in legend(figure)


def test_without_the_loss_the_first_objective_is_the_height(result: Result) -> None:
    (axes,) = front_figure(result(("total", "decode"))).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("decode latency", "total latency")


def test_limits_are_lines_in_the_panel_of_their_quantity(result: Result) -> None:
    decode, total = front_figure(result()).axes
    assert [text.get_text() for text in decode.texts] == ["door, 250 ms"]
    assert [text.get_text() for text in total.texts] == ["limit of the study, 2.5 s"]
    assert [line.get_xdata()[0] for line in decode.lines if line.get_linestyle() == ":"] == [0.25]


def test_the_title_says_what_is_won_over_the_reference(result: Result) -> None:
    """At most 1.45 s in all take the last four; the best of them loses 3.4, the reference 3.95."""
    figure = front_figure(result(reference=reference()))
    assert figure.texts[0].get_text() == "0.550 nats lower loss at the total latency of qwen2.5-0.5b"
    assert figure.texts[1].get_text() == (
        "Small shapes; 32 prompt, 8 decoded tokens; 7 of 10 models simulated, 1 cannot run on the chip"
    )
    decode, total = figure.axes
    assert marks(decode, "qwen") == [(0.35, 3.95)]
    assert marks(total, "qwen") == [(1.45, 3.95)]


def test_without_a_reference_the_title_counts_the_front(result: Result) -> None:
    assert front_figure(result()).texts[0].get_text() == "6 of 10 models are on the front of shapes"


def test_the_sampler_is_named(result: Result) -> None:
    assert "simulated (sampler tpe)" in front_figure(result(sampler="tpe")).texts[1].get_text()


def test_the_roofline_has_a_front_of_its_own_in_the_panels_it_knows(result: Result) -> None:
    """A roofline that gives every model one second leaves the one of lowest loss."""
    figure = front_figure(result(), roofline={"decode_s": np.ones(10)})
    decode, total = figure.axes
    words = "front of the roofline of two numbers"
    (line,) = (line for line in decode.lines if line.get_label() == words)
    assert np.asarray(line.get_xydata()).tolist() == [[1.0, 1.0]]
    assert words not in {line.get_label() for line in total.lines}
    assert words in legend(figure)


def test_the_legend_covers_no_panel(result: Result) -> None:
    figure = front_figure(result(reference=reference()), roofline={"decode_s": np.ones(10)})
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    labels = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert not any(box.overlaps(label) for label in labels)
    assert box.y0 >= 0


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_search_is_the_same_picture_to_the_last_byte(result: Result, suffix: str) -> None:
    first, second = Path(f"one.{suffix}"), Path(f"two.{suffix}")
    draw_front(result(), first)
    draw_front(result(), second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 5_000


def test_a_picture_that_cannot_be_written_leaves_no_file(result: Result) -> None:
    with pytest.raises(SpecError, match="a picture must end in"):
        draw_front(result(), "front.gif")
    Path("taken.png").mkdir()
    with pytest.raises(OutputError, match=r"taken\.png"):
        draw_front(result(), "taken.png")
