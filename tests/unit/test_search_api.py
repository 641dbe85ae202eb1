"""Searching from Python: what goes in, what comes out, and that the way there changes nothing."""

from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.errors import Infeasible, MissingExtraError, SpecError
from simulator.exploration import samplers


@pytest.fixture
def search(tiny_catalogue: Any) -> Any:
    """`simulator.search` with the tiny catalogue."""

    def found(study: Any = "shapes", **options: Any) -> simulator.SearchResult:
        return simulator.search(study, catalogue=[tiny_catalogue.folder], **options)

    return found


def front(result: simulator.SearchResult) -> Any:
    return result.to_dict()["front"]


def test_a_study_may_be_an_object_a_name_or_a_path(search: Any, tiny_catalogue: Any) -> None:
    by_name = search("shapes")
    study = simulator.load_study("shapes", catalogue=[tiny_catalogue.folder])
    assert isinstance(study, simulator.Study)
    assert front(search(study)) == front(search(Path("scenarios/shapes.yaml"))) == front(by_name)


def test_objectives_and_overrides_change_the_question(search: Any) -> None:
    result = search(objectives=("loss", "memory"), overrides={"prompt_tokens": 4})
    assert result.study.objectives == ("loss", "memory")
    assert result.study.prompt_tokens == 4
    assert result.study.name == "shapes"


def test_the_front_is_that_of_all_points_simulated(search: Any) -> None:
    """Brute force: simulate every point, keep what nothing beats."""
    result = search()
    values = [result.evaluator.simulate(result.space.point(index)) for index in range(len(result.space))]
    vectors = [(float(result.bounds["loss"][index]), value["total_s"]) for index, value in enumerate(values)]
    best = {
        index
        for index, (loss, total_s) in enumerate(vectors)
        if not any((a <= loss and b < total_s) or (a < loss and b <= total_s) for a, b in vectors)
    }
    assert set(result.front.tolist()) == best
    assert 0 < result.num_discarded < len(vectors)


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(search: Any) -> None:
    alone, together = search().to_dict(), search(jobs=2).to_dict()
    assert {**alone, "timings_s": None} == {**together, "timings_s": None}


def test_progress_counts_every_point_down_to_none(search: Any) -> None:
    told: list[tuple[int, ...]] = []
    result = search(progress=lambda *counts: told.append(counts))
    assert told[0][:3] == (0, 0, 18)
    assert told[-1] == (result.num_simulated, result.num_discarded, 0, 0)
    simulated = [counts[0] for counts in told]
    assert simulated == sorted(simulated)
    assert set(simulated) == set(range(result.num_simulated + 1))
    assert all(sum(counts[:3]) == 18 for counts in told)
    assert all(in_wave <= left for *_, left, in_wave in told)


def test_what_the_folder_held_is_told(search: Any) -> None:
    told: list[str] = []
    first = search(folder="kept", tell=told.append)
    assert told == []
    again = search(folder="kept", resume=True, tell=told.append)
    assert told == ["kept/results.jsonl: of its results, 16 can be used again"]
    assert (first.num_reused, again.num_reused) == (0, 16)
    assert front(first) == front(again)


def test_a_point_is_a_workload_that_python_can_run(search: Any, tiny_catalogue: Any) -> None:
    result = search()
    index = int(result.front[0])
    workload = result.workload(index, "mine", "My model")
    run = simulator.run("tiny", workload, catalogue=[tiny_catalogue.folder])
    assert run.latency_s == result.values(index)["total_s"]


def test_the_share_of_the_exact_front_is_a_fraction(search: Any) -> None:
    pytest.importorskip("moocore")
    exact, sampled = search(), search(sampler="nsga2", budget=4, seed=1)
    assert sampled.num_simulated == 4
    assert 0 < sampled.share_of(exact) < 1
    assert exact.share_of(exact) == 1


def test_a_sampler_uses_the_seed_of_the_study_unless_told(search: Any) -> None:
    pytest.importorskip("optuna")
    of_study = search(sampler="tpe", budget=5, overrides={"seed": 7})
    assert front(of_study) == front(search(sampler="tpe", budget=5, seed=7))


def test_a_sampler_is_not_offered_what_a_limit_rules_out_by_its_bound(search: Any) -> None:
    """Only the points of one layer are that quick: the sampler finds them all and nothing else."""
    pytest.importorskip("optuna")
    result = search(sampler="nsga2", budget=18, overrides={"limits.total": "0.3 ms"})
    simulated = result.exploration.is_simulated
    assert set(result.space.columns["layers"][simulated].tolist()) == {1}
    assert result.num_simulated == int((result.space.columns["layers"] == 1).sum()) == 7


def test_a_sampler_without_a_point_to_choose_blames_the_limit(search: Any) -> None:
    with pytest.raises(Infeasible, match=r"no point keeps its limits; the nearest .* the limit is 1 ns"):
        search(sampler="nsga2", budget=30, overrides={"limits.total": "1 ns"})


def test_a_sampler_that_gives_up_is_a_warning(search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One refusal ends it here; half of the combinations break a rule, so it cannot reach all 18 points."""
    pytest.importorskip("optuna")
    assert not any("gave up" in warning for warning in search(sampler="nsga2", budget=4, seed=1).warnings)
    monkeypatch.setattr(samplers, "_MOST_REFUSALS", 1)
    result = search(sampler="nsga2", budget=18, seed=2)
    num_simulated = result.num_simulated
    assert 0 < num_simulated < 18
    assert (
        f"the sampler nsga2 gave up after {num_simulated} of 18 points: {18 - num_simulated} more could be simulated, "
        "but it found none of them"
    ) in result.warnings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "nsga3"}, 'sampler: must be one of exact, nsga2, tpe, got "nsga3"\n  Hint: did you mean "nsga2"?'),
        ({"sampler": "tpe"}, "budget: must be given for the sampler tpe"),
        ({"sampler": "tpe", "budget": 0}, "budget: must be at least 1 point, got 0"),
        ({"jobs": 0}, "jobs: must be a whole number of at least 1, got 0"),
        ({"objectives": ("loss",)}, "objectives: must be two or more of"),
        (
            {"overrides": {"reference": "nobody"}},
            'must be a name of the catalogue or a path to a .yaml file, got "nobody"',
        ),
    ],
)
def test_wrong_arguments_are_refused(search: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((SpecError, MissingExtraError)) as caught:
        search(**options)
    assert message in str(caught.value)


def test_a_reference_without_a_decoder_is_refused(search: Any, tiny_catalogue: Any) -> None:
    tiny_catalogue.write("workloads/eye.yaml", VISION)
    with pytest.raises(SpecError, match="study shapes: reference: must be a workload with a decoder, got eye"):
        search(overrides={"reference": "eye"})


VISION = """\
name: eye
title: An eye
vision: {source: me, status: assumed, layers: 1, width: 32, heads: 2, ffn_width: 64, patch_elements: 588,
         position_embeddings: 0, merge: 1, merger_width: 0, output_width: 32}
pipeline:
  - {phase: vision, images: 1, patches: 4, precision: fp16}
pipeline_source: me
pipeline_status: assumed
"""
