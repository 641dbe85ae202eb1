"""The exact search and its result on small studies, worked by hand."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulator.errors import EngineError, Infeasible
from simulator.exploration.exact import Exploration, Fate, Floats, Indices, exact_search
from simulator.exploration.outcome import Outcome
from simulator.exploration.pareto import NONE
from simulator.exploration.result import SearchResult
from simulator.exploration.space import Space
from simulator.study import OBJECTIVES, Study

KEYS = ("prefill_s", "decode_s", "total_s", "memory_bytes")


class Chip:
    """Gives made-up values and notes which points it was asked for."""

    def __init__(self, total_s: Sequence[float], reasons: dict[int, Outcome] | None = None) -> None:
        self.total_s = total_s
        self.reasons = reasons or {}
        self.asked: list[list[int]] = []

    def simulate(self, indices: Indices) -> list[Outcome]:
        self.asked.append(indices.tolist())
        return [self.reasons.get(index) or Outcome(values_of(self.total_s[index])) for index in indices.tolist()]


def values_of(total_s: float, memory_bytes: float = 8) -> dict[str, float]:
    return {"prefill_s": total_s / 4, "decode_s": total_s * 3 / 4, "total_s": total_s, "memory_bytes": memory_bytes}


def bounds_of(loss: Sequence[float], total_s: Sequence[float]) -> dict[str, Floats]:
    each = [values_of(value) for value in total_s]
    return {"loss": np.array(loss, dtype=float), **{key: np.array([row[key] for row in each]) for key in KEYS}}


def search(loss: Sequence[float], bound_s: Sequence[float], chip: Chip, **options: Any) -> Exploration:
    return exact_search(bounds_of(loss, bound_s), ("loss", "total_s"), chip.simulate, **options)


def test_a_wave_is_simulated_and_discards_what_it_dominates() -> None:
    # point   0    1    2    3    4
    # loss    3    2    1    3    2.5
    # bound   1    2    4    2    1.5
    # value   2    3    5    -    -
    # First wave: 0 (1, 3), 1 (2, 2), 2 (4, 1) and 4 (1.5, 2.5); 3 (2, 3) is dominated by the bounds of 0, 1 and 4.
    # With the values, 0 (2, 3) is equal to the bound of 3 and no dominator, 1 (3, 2) is slower than it, and so is 4 if
    # it takes 2.5. Hence a second wave: 3.
    chip = Chip([2, 3, 5, 2.25, 2.5])
    exploration = search([3, 2, 1, 3, 2.5], [1, 2, 4, 2, 1.5], chip)
    assert chip.asked == [[0, 1, 2, 4], [3]]
    assert [Fate(fate) for fate in exploration.fates] == [
        Fate.FRONT, Fate.FRONT, Fate.FRONT, Fate.DOMINATED, Fate.FRONT
    ]  # fmt: skip
    assert exploration.dominators.tolist() == [NONE, NONE, NONE, 0, NONE]
    # If 4 takes 1.75, it dominates the bound of 3 and the value of 0, and 3 is never simulated.
    chip = Chip([2, 3, 5, 2.25, 1.75])
    exploration = search([3, 2, 1, 3, 2.5], [1, 2, 4, 2, 1.5], chip)
    assert chip.asked == [[0, 1, 2, 4]]
    assert [Fate(fate) for fate in exploration.fates] == [
        Fate.DOMINATED, Fate.FRONT, Fate.FRONT, Fate.DISCARDED, Fate.FRONT
    ]  # fmt: skip
    assert exploration.dominators.tolist() == [4, NONE, NONE, 4, NONE]
    assert exploration.values["total_s"].tolist()[:3] == [2, 3, 5]
    assert np.isnan(exploration.values["total_s"][3])


def test_equal_points_are_all_on_the_front() -> None:
    exploration = search([1, 1, 1], [2, 2, 2], Chip([2, 2, 3]))
    assert [Fate(fate) for fate in exploration.fates] == [Fate.FRONT, Fate.FRONT, Fate.DOMINATED]


def test_waves_are_cut_into_batches_and_progress_is_told() -> None:
    chip = Chip([5, 4, 3, 9])
    told: list[tuple[int, ...]] = []
    search([1, 2, 3, 9], [5, 4, 3, 9], chip, batch_size=2, progress=lambda *counts: told.append(counts))
    assert chip.asked == [[0, 1], [2]]
    # simulated, discarded, left, of these in the wave; the fourth is discarded when its wave is over
    assert told == [(0, 0, 4, 3), (2, 0, 2, 1), (3, 0, 1, 0), (3, 1, 0, 0)]


def test_what_exceeds_a_limit_is_not_on_the_front_and_discards_nothing() -> None:
    # 0 is over by its bound, 1 by its value; 2 would be dominated by 1, and 3 is by 2
    chip = Chip([9, 6, 4, 5])
    exploration = search([1, 1, 2, 3], [6, 1, 4, 5], chip, limits={"total_s": 5})
    assert chip.asked == [[1], [2]]
    assert [Fate(fate) for fate in exploration.fates] == [
        Fate.OVER_LIMIT, Fate.OVER_LIMIT, Fate.FRONT, Fate.DISCARDED
    ]  # fmt: skip


def test_a_point_over_a_limit_that_is_no_objective_discards_nothing() -> None:
    bounds = bounds_of([1, 2], [1, 2])
    outcomes = [Outcome({**values_of(1), "prefill_s": 3.0}), Outcome(values_of(2))]
    exploration = exact_search(
        bounds, ("loss", "total_s"), lambda indices: [outcomes[index] for index in indices], limits={"prefill_s": 2}
    )
    assert [Fate(fate) for fate in exploration.fates] == [Fate.OVER_LIMIT, Fate.FRONT]


def test_points_that_cannot_run_are_results_with_a_reason() -> None:
    outcomes = {1: Outcome(None, "needs 9 GB"), 2: Outcome(None, "out of memory", has_failed=True)}
    exploration = search([2, 1, 1, 1], [3, 2, 2, np.inf], Chip([3, 0, 0, 0], outcomes))
    assert [Fate(fate) for fate in exploration.fates] == [Fate.FRONT, Fate.INFEASIBLE, Fate.FAILED, Fate.INFEASIBLE]
    assert exploration.reasons == {
        1: "needs 9 GB", 2: "out of memory", 3: "it does not fit the chip: its lower bound is infinite"
    }  # fmt: skip


def test_what_an_evaluator_may_not_give_is_an_error_of_ours() -> None:
    with pytest.raises(EngineError, match="a bound is not a number"):
        search([1], [np.nan], Chip([1]))
    with pytest.raises(EngineError, match="2 points were to be simulated, 0 outcomes came back"):
        exact_search(bounds_of([1, 2], [2, 1]), ("loss", "total_s"), lambda indices: [])


# results ----------------------------------------------------------------------------------------------------------


def explored(study: Study, reasons: dict[int, Outcome] | None = None) -> SearchResult:
    """A search of a study with made-up values: work takes time and saves loss and memory, KV heads only take time."""
    space = Space.of(study)
    work = space.columns["layers"] * space.columns["hidden"] * space.columns["ffn_ratio"]
    loss = 1000 / work + space.columns["kv_heads"] / 1000
    total_s = work / 1e4 * (0.8 + 0.2 * space.columns["kv_heads"])
    memory_bytes = 1e6 / work
    bounds = {**bounds_of(loss.tolist(), (total_s * 0.9).tolist()), "memory_bytes": memory_bytes}

    def simulate(indices: Indices) -> list[Outcome]:
        known = reasons or {}
        return [
            known.get(index) or Outcome(values_of(total_s[index], memory_bytes[index])) for index in indices.tolist()
        ]

    keys = [OBJECTIVES[name].key for name in study.objectives]
    limits = {OBJECTIVES[name].key: limit for name, limit in study.limits.by_objective().items()}
    exploration = exact_search(bounds, keys, simulate, limits=limits)
    return SearchResult(study, space, bounds, {"work": 1000 / work}, exploration, {"simulation": 0.5}, evaluator=None)


@pytest.fixture
def shapes(tiny_catalogue: Any) -> Study:
    study: Study = tiny_catalogue.catalog().load_study("shapes")
    return study


def test_a_result_is_plain_json_with_the_keys_that_scripts_depend_on(shapes: Study) -> None:
    tree = json.loads(json.dumps(explored(shapes).to_dict()))
    keys = {"objectives", "points", "simulated", "discarded", "front", "certificate"}
    assert tree.keys() >= keys
    assert tree["objectives"] == ["loss", "total_s"]
    assert tree["limits"] == {"memory_bytes": 2**30}
    assert (tree["combinations"], tree["points"]) == (36, 18)
    certificate = tree["certificate"]
    parts = ("simulated", "discarded", "over_limit", "infeasible", "failed", "open")
    assert sum(certificate[part] for part in parts) == tree["points"]
    assert len(certificate["discarded_points"]) == len(certificate["dominated_by"]) == tree["discarded"] > 0
    # one KV head is best, and each of the work 48, 64, 96, 128, 192 (and 8/3 of 48) has one model at least
    first = tree["front"][0]
    assert first["point"].keys() == {"layers", "hidden", "ffn_ratio", "kv_heads"}
    assert {entry["point"]["kv_heads"] for entry in tree["front"]} == {1}
    assert first["loss_terms"] == {"work": first["loss"] - 0.001}
    losses = [entry["loss"] for entry in tree["front"]]
    assert losses == sorted(losses)


def test_the_counts_of_a_certificate_sum_to_the_points_with_limits_too(shapes: Study) -> None:
    # 9.6 ms is 8.64 ms by its bound: a limit of 9 ms is exceeded by simulations and by bounds
    reasons = {0: Outcome(None, "too large")}
    certificate = explored(shapes.with_values({"limits.total": "9 ms"}), reasons).to_dict()["certificate"]
    counts = {name: count for name, count in certificate.items() if isinstance(count, int)}
    # Bounds with 1, 2 or 4 KV heads are 0.9, 1.08 and 1.44 * work / 10^4 s, with 3 of them 1.26. At most 9 ms are those
    # of work 48 with 1 (4.32) and 3 (6.05), of work 64 with 1 (5.76) and 2 (6.91), and of work 96 with 1 (8.64).
    assert sum(counts.values()) == 18
    assert (counts["infeasible"], counts["over_limit"]) == (1, 18 - 5)


def test_rows_name_every_point_with_its_bound_its_value_and_what_became_of_it(shapes: Study) -> None:
    result = explored(shapes)
    rows = list(result.rows())
    assert [row["index"] for row in rows] == list(range(18))
    for row in rows:
        assert row["bound_total_s"] > 0
        assert (row["total_s"] is None) == (row["status"] in {"discarded"})
        assert (row["by"] is None) == (row["status"] == "front")
    assert {row["index"] for row in rows if row["status"] == "front"} == set(result.front.tolist())
    assert rows[0]["layers"] == 1


@pytest.mark.parametrize("objectives", [["loss", "total"], ["total", "loss"], ["decode", "loss", "total", "memory"]])
def test_an_application_gets_the_best_model_within_its_limit(shapes: Study, objectives: list[str]) -> None:
    # work / 10^4 s: 7 ms is a work of 70, which 1 layer of 48 or of 64 with ratio 1 keeps; the larger has less loss
    study = shapes.with_values({"objectives": objectives, "applications.door.total": "7 ms"})
    result = explored(study)
    (choice,) = result.choices()
    assert choice.index is not None
    assert result.space.coordinates(choice.index) == {"layers": 1, "hidden": 64, "ffn_ratio": 1, "kv_heads": 1}
    none = explored(study.with_values({"applications.door.total": "1 ms"})).choices()[0]
    assert (none.index, none.reason) == (None, "no model keeps 1 ms; the least on the front is 4.8 ms")


def test_an_application_is_not_answered_by_a_search_that_does_not_weigh_its_quantity(shapes: Study) -> None:
    result = explored(shapes.with_values({"objectives": ["loss", "decode"]}))
    assert result.choices()[0].reason == "total is none of the objectives of this search"
    assert result.to_dict()["applications"][0]["index"] is None


def test_where_no_point_keeps_the_limits_the_nearest_one_is_named(shapes: Study) -> None:
    with pytest.raises(Infeasible) as caught:
        explored(shapes.with_values({"limits.total": "4 ms"}))
    # 1 layer of 48 takes 4.8 ms, at least 4.32 ms by its bound: 0.32 ms above the limit
    assert str(caught.value) == (
        "study shapes: no point keeps its limits; the nearest (layers 1, hidden 48, ffn_ratio 1, kv_heads 1) needs "
        "total 4.32 ms, the limit is 4 ms, short by 320 µs\n"
        "  Hint: raise the limit, or give the space smaller models"
    )
    assert (caught.value.demand, caught.value.bound, caught.value.unit) == (pytest.approx(0.00432), 0.004, "s")


def test_the_nearest_point_is_that_of_the_smallest_worst_excess(shapes: Study) -> None:
    # work               48     64     96    128
    # total of 6 ms    -28 %   -4 %  +44 %  +92 %    0.9 * work / 10^4 s
    # memory of 10 kB  +108 %  +56 %  +4 %  -22 %    10^6 / work
    with pytest.raises(Infeasible, match=r"\(layers 2, hidden 48, ffn_ratio 1, kv_heads 1\) needs total 8.64 ms"):
        explored(shapes.with_values({"limits.total": "6 ms", "limits.memory": "10 kB"}))


def test_where_no_point_can_run_the_reason_is_given(shapes: Study) -> None:
    reasons = dict.fromkeys(range(18), Outcome(None, "needs 9 GB of DRAM"))
    with pytest.raises(Infeasible, match=r"none of its 18 points has values: 18 cannot run \(layers 1, .*: needs 9 GB"):
        explored(shapes, reasons=reasons)


def test_a_point_whose_simulation_broke_off_is_not_said_to_be_unable_to_run(shapes: Study) -> None:
    reasons = {index: Outcome(None, "killed", has_failed=True) for index in range(18)}
    with pytest.raises(Infeasible) as caught:
        explored(shapes, reasons=reasons)
    assert "none of its 18 points has values: 18 failed (layers 1, " in str(caught.value)
    assert "cannot run" not in str(caught.value)
    reasons[0] = Outcome(None, "needs 9 GB")
    with pytest.raises(
        Infeasible, match=r"1 cannot run \(layers 1, .*: needs 9 GB\), 17 failed \(layers 1, .*: killed\)"
    ):
        explored(shapes, reasons=reasons)


def test_points_that_a_sampler_did_not_try_are_counted_apart(shapes: Study) -> None:
    result = explored(shapes)
    result.exploration.fates[:] = Fate.OPEN
    result.exploration.fates[3] = Fate.INFEASIBLE
    result.exploration.reasons[3] = "needs 9 GB"  # type: ignore[index]
    with pytest.raises(Infeasible, match=r"1 cannot run \(.*: needs 9 GB\), 17 were not tried"):
        replace(result)


def test_the_counts_of_a_certificate_sum_to_the_points_with_a_sampler_too(shapes: Study) -> None:
    result = explored(shapes)
    discarded = result.exploration.indices(Fate.DISCARDED)
    result.exploration.fates[discarded] = Fate.OPEN
    counts = {name: count for name, count in result.to_dict()["certificate"].items() if isinstance(count, int)}
    assert counts["open"] == len(discarded) > 0
    assert sum(counts.values()) == 18


def test_a_limit_is_said_to_be_kept_by_no_model_only_where_all_are_known(shapes: Study) -> None:
    study = shapes.with_values({"applications.door.total": "1 ms"})
    best = int(explored(study).front[0])  # nothing has a lower loss, so it is simulated in any case
    (choice,) = explored(study, {best: Outcome(None, "killed", has_failed=True)}).choices()
    assert choice.reason == "no simulated model keeps 1 ms; the least on the front is 4.8 ms"
    reasons = {0: Outcome(None, "killed", has_failed=True)}
    with pytest.raises(Infeasible, match="no simulated point keeps its limits"):
        explored(shapes.with_values({"limits.total": "4.5 ms"}), reasons)  # 4.32 ms by its bound
