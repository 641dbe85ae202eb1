"""The sheet of a search: every number that a reader needs, each said once."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from simulator.catalog import Catalog
from simulator.exploration.exact import Exploration, Fate
from simulator.exploration.law import LossLaw
from simulator.exploration.reference import Reference
from simulator.exploration.result import SearchResult
from simulator.exploration.space import Space
from simulator.report.search_sheet import search_sheet
from simulator.study import OBJECTIVES, Study

Result = Callable[..., SearchResult]


@pytest.fixture
def result(tiny_catalogue: Any) -> Result:
    """A search of 40 models whose values are made up: the deeper half is on the front, deeper is slower and better."""

    def made_up(overrides: dict[str, Any] | None = None, *, num_front: int = 40, **fields: Any) -> SearchResult:
        changes = {
            "space.layers": list(range(1, 41)), "space.hidden": [64], "space.ffn_ratio": [1], "space.kv_heads": [2],
            "rules": [], "objectives": ["loss", "decode", "total"], **(overrides or {}),
        }  # fmt: skip
        study: Study = tiny_catalogue.catalog().load_study("shapes", changes)
        space = Space.of(study)
        layers = space.columns["layers"].astype(np.float64)
        bounds = {"loss": 5 - layers / 100, "prefill_s": layers / 1e3, "decode_s": layers / 1e2,
                  "total_s": layers * 0.011, "memory_bytes": layers * 1e6}  # fmt: skip
        fates = np.where(np.arange(len(space)) < len(space) - num_front, Fate.DISCARDED, Fate.FRONT).astype(np.int8)
        values = {
            key: column if key == "loss" else np.where(fates == Fate.FRONT, column, np.nan)
            for key, column in bounds.items()
        }
        dominators = np.where(fates == Fate.DISCARDED, len(space) - 1, -1)
        exploration = Exploration(fates, values, dominators, {})
        known = {
            "study": study, "space": space, "bounds": bounds, "loss_terms": {"all": bounds["loss"]},
            "exploration": exploration, "timings_s": {"bounds": 0.5, "simulations": 2.0}, "evaluator": None,
        }  # fmt: skip
        return SearchResult(**{**known, **fields})

    return made_up


def reference(**values: float) -> Reference:
    """Qwen2.5-0.5B with made-up values."""
    workload = Catalog().load_workload("qwen2.5-0.5b")
    known = {"prefill_s": 1.0, "decode_s": 1.0, "total_s": 1.0, "memory_bytes": 1.0}
    return Reference("qwen2.5-0.5b", workload, {"all": values["loss"]}, known | values)


def lines_of(result: SearchResult, width: int = 100, **options: Any) -> list[str]:
    return search_sheet(result, width, **options).splitlines()


def rows_of(lines: list[str]) -> list[list[str]]:
    """The cells of the rows of the front: what begins with the number of a point."""
    return [line.split() for line in lines if line.endswith(" ms") and line.split()[0].isdecimal()]


def test_the_headline_counts_every_point_once(result: Result) -> None:
    lines = lines_of(result(num_front=10, num_reused=4))
    assert lines[:3] == ["shapes: Small shapes", "", "40 points on tiny, runtime plain, 32 prompt and 8 decoded tokens"]
    assert lines[3] == "simulated 10 (25.0 %), 4 of them before; discarded by their lower bounds 30 (75.0 %)"
    assert lines[4] == "time: bounds 500 ms, simulations 2 s"
    assert lines[5] == "Front in loss, decode latency and total latency: 10 points, exact"


def test_points_that_cannot_run_or_are_over_a_limit_are_counted_where_there_are_some(result: Result) -> None:
    explored = result(num_front=10)
    explored.exploration.fates[:7] = [Fate.INFEASIBLE] * 2 + [Fate.FAILED] + [Fate.OVER_LIMIT] * 4
    headline = " ".join(lines_of(explored)[3:5])
    assert "discarded by their lower bounds 23 (57.5 %); over a limit by their bound 4 (10.0 %); " in headline
    assert "infeasible 2 (5.0 %); failed, so unknown 1 (2.5 %)" in headline


@pytest.mark.parametrize(("num_failed", "words"), [(1, "1 point that failed"), (2, "2 points that failed")])
def test_a_front_is_exact_but_for_the_points_that_failed(result: Result, num_failed: int, words: str) -> None:
    explored = result(num_front=10)
    explored.exploration.fates[:num_failed] = Fate.FAILED
    assert f"10 points, exact but for {words}" in " ".join(lines_of(explored)[3:7])


def test_a_short_front_is_shown_whole(result: Result) -> None:
    lines = lines_of(result(num_front=20))
    # points 20 to 39, the lowest loss first
    assert [int(row[0]) for row in rows_of(lines)] == list(range(39, 19, -1))
    assert not any("more points" in line for line in lines)


def test_of_a_long_front_twenty_evenly_chosen_points_are_shown_and_the_rest_is_counted(result: Result) -> None:
    lines = lines_of(result(num_front=40))
    shown = [int(row[0]) for row in rows_of(lines)]
    assert (len(shown), shown[0], shown[-1]) == (20, 39, 0)
    # 39 steps over 19 gaps: two each, and one of three
    assert {before - after for before, after in pairwise(shown)} == {2, 3}
    assert "20 more points; --csv FILE writes all" in lines


def test_a_row_has_the_sizes_that_vary_and_the_objectives(result: Result) -> None:
    lines = lines_of(result())
    assert "All points of the front have hidden 64, ffn_ratio 1, kv_heads 2." in lines
    heading = next(line for line in lines if "layers" in line and "point" in line).split()
    assert heading == ["point", "layers", "loss", "decode", "total"]
    # 40 layers: 5 - 40 / 100 nats, 40 / 100 s, 40 * 11 ms
    assert rows_of(lines)[0] == ["39", "40", "4.6", "400", "ms", "440", "ms"]


def test_the_reference_stands_below_the_front_with_its_own_sizes(result: Result) -> None:
    """24 layers, 896 wide, 2 KV heads; one FFN of 4864, which is 5.43 times the width."""
    explored = result(
        {"space.hidden": [64, 128]}, num_front=60, reference=reference(loss=4.9, decode_s=0.2, total_s=0.22)
    )
    (row,) = (line.split() for line in lines_of(explored) if line.startswith("reference"))
    assert row == ["reference", "24", "896", "4.9", "200", "ms", "220", "ms"]


def test_what_is_won_over_the_reference_is_said_for_each_latency(result: Result) -> None:
    """As quick as 200 ms of decoding are 20 layers: loss 4.8. As quick as 110 ms in all are 10: loss 4.9."""
    text = "\n".join(lines_of(result(reference=reference(loss=5.0, decode_s=0.2, total_s=0.1101))))
    # exp(-0.2) = 0.8187, exp(-0.1) = 0.9048
    assert "at its decode latency (200 ms) the lowest loss is 0.200 nats lower: perplexity -18.1 % by the law" in text
    assert "    point 19: layers 20, hidden 64, ffn_ratio 1, kv_heads 2" in text
    assert "at its total latency (110.1 ms) the lowest loss is 0.100 nats lower: perplexity -9.5 % by the law" in text
    assert "    point 9: layers 10, " in text


def test_a_reference_quicker_than_the_front_is_said_to_be_so(result: Result) -> None:
    text = "\n".join(lines_of(result(reference=reference(loss=5.0, decode_s=0.001))))
    assert "no point with a known loss has at most its decode latency, 1 ms" in text


def test_a_search_without_a_latency_says_nothing_beside_the_reference(result: Result) -> None:
    explored = result({"objectives": ["loss", "memory"]}, reference=reference(loss=5.0))
    assert not any("Beside" in line for line in lines_of(explored))


def test_the_reference_is_said_to_run_in_its_own_precision_where_precisions_vary(result: Result) -> None:
    changes = {"precision": None, "space.precision": ["w8a8", "w4a16"]}
    beside = reference(loss=5.0)
    pipeline = tuple(phase.model_copy(update={"precision": "w8a8"}) for phase in beside.workload.pipeline)
    beside = replace(beside, workload=beside.workload.model_copy(update={"pipeline": pipeline}))
    lines = lines_of(result(changes, num_front=80, reference=beside))
    assert "Beside qwen2.5-0.5b, with the tokens of the study and in w8a8" in lines


PUBLISHED = {"reference": "qwen2.5-0.5b", "perplexity_ratio": 0.8058, "source": "codesign", "status": "measured",
             "note": "on another text"}  # fmt: skip


def test_a_published_gain_stands_only_beside_its_reference(result: Result) -> None:
    sentence = "  published: perplexity -19.42 % (measured, codesign; on another text)"
    same = result({"published": PUBLISHED}, reference=reference(loss=5.0))
    assert sentence in lines_of(same)
    other = result({"published": {**PUBLISHED, "reference": "qwen3-0.6b"}}, reference=reference(loss=5.0))
    assert not any("published" in line for line in lines_of(other))
    assert not any("published" in line for line in lines_of(result({"published": PUBLISHED})))


def test_an_application_has_its_best_point_or_the_reason_why_there_is_none(result: Result) -> None:
    made_by = {"source": "me", "status": "press"}
    applications = {
        "loose": {"total": "111 ms", **made_by},  # 10 layers
        "tight": {"decode": "5 ms", **made_by},
        "unknown": {"memory": "1 GB", **made_by},
    }
    lines = lines_of(result({"applications": applications}))
    start = lines.index("Lowest loss for each application")
    assert lines[start + 1 : start + 5] == [
        "  loose, total latency at most 111 ms: loss 4.9 nats, decode 100 ms, total 110 ms",
        "    point 9: layers 10, hidden 64, ffn_ratio 1, kv_heads 2",
        "  tight, decode latency at most 5 ms: none; no model keeps 5 ms; the least on the front is 10 ms",
        "  unknown, memory at most 1 GB: none; memory is none of the objectives of this search",
    ]


def test_how_the_front_is_made_up_is_said_beside_all_points(result: Result) -> None:
    """Of 160 models half have 4 experts; the front is the last 60: 20 to 40 layers deep, experts alternate."""
    sizes = {"space.experts": [1, 4], "space.top_k": [1, 2], "space.hidden": [64]}
    explored = result(sizes, num_front=60)
    points = explored.space.columns
    front = explored.front
    assert len(explored.space) == 120  # (1, 1), (4, 1) and (4, 2) for each depth
    rows = [line.split("  ") for line in lines_of(explored)]
    table = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if row[0]}
    # the last 60 rows are 20 depths with all three pairs, from 21 layers
    assert points["layers"][front].min() == 21
    assert table["mixture of experts"] == ["40", "66.7 %", "66.7 %"]
    assert table["one expert per token (top-1)"] == ["40", "66.7 %", "66.7 %"]
    assert table["at most 20 layers"] == ["0", "0.0 %", "50.0 %"]
    assert table["1 expert (dense)"] == ["20", "33.3 %", "33.3 %"]
    assert table["4 experts"] == ["40", "66.7 %", "66.7 %"]
    assert "FFN ratio at most 1" not in table  # it does not vary


def test_what_each_rule_excludes_is_listed(result: Result) -> None:
    lines = lines_of(result({"rules": ["layers > 30", "layers != 40"]}, num_front=5))
    start = lines.index("Of 40 combinations 9 keep the rules; a combination may break several:")
    assert lines[start + 1 : start + 3] == ['  30 break "layers > 30"', '  1 break "layers != 40"']


def test_warnings_of_the_law_end_the_sheet(result: Result) -> None:
    warnings = tuple(LossLaw.load("plas").range_warnings({"layers": [1], "hidden": [900]}))
    lines = lines_of(result(warnings=warnings))
    assert lines[-2].startswith("Caution: layers: 1 of 1 points lie outside 4 to 32")


def test_a_sampled_front_is_not_called_exact(result: Result) -> None:
    explored = replace(result(num_front=10), sampler="nsga2")
    lines = lines_of(explored, share_of_exact=0.98765)
    assert lines[3] == "sampler nsga2: simulated 10 (25.0 %); the rest is unknown"
    assert lines[5] == "Front in loss, decode latency and total latency: 10 points, of the points simulated"
    assert lines[6] == "It dominates 98.77 % of the volume that the exact front dominates"


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_page(result: Result, width: int) -> None:
    explored = result(
        {"space.experts": [1, 8], "space.top_k": [1, 2], "objectives": list(OBJECTIVES), "published": PUBLISHED},
        num_front=60, reference=reference(loss=5.0), warnings=("a " * 80,),
    )  # fmt: skip
    assert max(map(len, lines_of(explored, width))) <= width
