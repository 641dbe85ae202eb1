"""The runner of a search: the same answers for any number of processes, each point once, errors as they were."""

import multiprocessing
import os
from collections import Counter
from pathlib import Path

import pytest

from simulator.errors import EngineError, SpecError
from simulator.exploration.outcome import Outcome
from simulator.exploration.runner import Runner
from tests.kill.fake_evaluator import FakeEvaluator, FakeManyEvaluator, values_of

JOBS = [1, 2]


def points(*numbers: int) -> list[dict[str, int]]:
    return [{"number": number} for number in numbers]


def answers(*numbers: int) -> list[Outcome]:
    return [Outcome(values_of({"number": number})) for number in numbers]


@pytest.fixture
def evaluator(tmp_path: Path) -> FakeEvaluator:
    return FakeEvaluator(tmp_path)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_outcomes_are_exact_and_in_the_order_of_the_points_for_any_number_of_processes(
    evaluator: FakeEvaluator, jobs: int
) -> None:
    numbers = [7, 3, 11, 0, 5, 2, 9, 1]
    with Runner(evaluator, jobs=jobs) as runner:
        assert runner.simulate(points(*numbers)) == answers(*numbers)
        assert runner.simulate([]) == []
        assert runner.simulate(points(4)) == answers(4)
        assert runner.num_simulated == 9
    assert multiprocessing.active_children() == []


def test_a_point_is_simulated_once_however_often_it_is_asked_for(evaluator: FakeEvaluator) -> None:
    with Runner(evaluator) as runner:
        assert runner.simulate(points(1, 2, 1)) == answers(1, 2, 1)
        assert runner.simulate([{"number": 2.0}, {"number": 3}]) == answers(2, 3)
    assert evaluator.calls() == [1, 2, 3]


def test_what_a_folder_holds_is_not_simulated_again(evaluator: FakeEvaluator, tmp_path: Path) -> None:
    with Runner(evaluator, folder=tmp_path / "results") as runner:
        runner.simulate(points(1, 2, 3))
        assert runner.remarks == ()
    with Runner(evaluator, folder=tmp_path / "results", resume=True) as runner:
        assert runner.simulate(points(4, 3, 2)) == answers(4, 3, 2)
        assert (runner.num_simulated, runner.num_reused) == (1, 2)
        assert "3 can be used again" in runner.remarks[0]
    assert evaluator.calls() == [1, 2, 3, 4]
    with Runner(FakeEvaluator(tmp_path, chip="another"), folder=tmp_path / "results", resume=True) as runner:
        runner.simulate(points(1))
        assert (runner.num_simulated, runner.num_reused) == (1, 0)


@pytest.mark.parametrize("jobs", JOBS)
def test_a_point_that_does_not_fit_is_an_outcome_with_its_reason(evaluator: FakeEvaluator, jobs: int) -> None:
    asked = [{"number": 1}, {"number": 2, "word": "infeasible"}, {"number": 3, "word": "too large"}]
    with Runner(evaluator, jobs=jobs) as runner:
        assert runner.simulate(asked) == [
            *answers(1),
            Outcome(None, "point 3 does not fit the DRAM"),
            Outcome(None, "its simulation needs more memory than there is", has_failed=True),
        ]


@pytest.mark.parametrize("jobs", JOBS)
def test_a_wrong_input_reaches_the_caller_as_it_was_and_what_came_before_is_stored(
    evaluator: FakeEvaluator, tmp_path: Path, jobs: int
) -> None:
    with Runner(evaluator, jobs=jobs, folder=tmp_path / "results") as runner:
        runner.simulate(points(1))
        with pytest.raises(SpecError) as caught:
            runner.simulate([{"number": 2, "word": "wrong"}])
        assert str(caught.value) == "the chip has no fp4\n  Hint: take fp8"
        assert multiprocessing.active_children() == []
        assert runner.simulate(points(1, 3)) == answers(1, 3)  # it can be used further


def test_a_bug_in_a_worker_names_the_point_and_carries_the_traceback(evaluator: FakeEvaluator) -> None:
    with Runner(evaluator, jobs=2) as runner, pytest.raises(EngineError) as caught:
        runner.simulate([{"number": 2, "word": "bug"}])
    assert str(caught.value) == (
        "this is a bug in Roadline: ZeroDivisionError for {'number': 2, 'word': 'bug'}: no such luck"
    )
    assert "fake_evaluator.py" in caught.value.__notes__[0]


@pytest.mark.parametrize("jobs", JOBS)
def test_a_value_that_is_not_finite_is_a_bug(evaluator: FakeEvaluator, jobs: int) -> None:
    with Runner(evaluator, jobs=jobs) as runner, pytest.raises(EngineError) as caught:
        runner.simulate([{"number": 2, "word": "infinite"}])
    assert str(caught.value) == (
        "this is a bug in Roadline: the simulation of {'number': 2, 'word': 'infinite'} gave {'total_s': inf}, "
        "which are not all finite"
    )


def test_a_point_that_ends_two_workers_is_given_up_alone_and_tried_again_by_the_next_run(tmp_path: Path) -> None:
    evaluator = FakeEvaluator(tmp_path, always_fatal=frozenset({3}))
    given_up = Outcome(
        None, "2 worker processes ended while they simulated it, the last: one was ended by SIGKILL", has_failed=True
    )
    with Runner(evaluator, jobs=2, folder=tmp_path / "results") as runner:
        assert runner.simulate(points(*range(8))) == [*answers(0, 1, 2), given_up, *answers(4, 5, 6, 7)]
        assert runner.simulate(points(3)) == [given_up]
    assert Counter(evaluator.calls()) == Counter([0, 1, 2, 3, 3, 4, 5, 6, 7])
    with Runner(FakeEvaluator(tmp_path), folder=tmp_path / "results", resume=True) as runner:
        assert runner.simulate(points(*range(8))) == answers(*range(8))
        assert runner.num_simulated == 1


def test_points_simulated_together_that_end_a_worker_are_simulated_alone_so_that_only_one_is_given_up(
    tmp_path: Path,
) -> None:
    evaluator = FakeManyEvaluator(tmp_path, always_fatal=frozenset({3}))
    with Runner(evaluator, jobs=2) as runner:
        outcomes = runner.simulate(points(*range(8)))
    assert [outcomes[number] for number in (0, 1, 2, 4, 5, 6, 7)] == answers(0, 1, 2, 4, 5, 6, 7)
    assert outcomes[3].has_failed
    # two groups of four; the group of 3 is taken apart, and 3 alone ends two workers more
    assert Counter((tmp_path / "together").read_text().split()) == Counter({"4": 2, "1": 5})


@pytest.mark.parametrize("jobs", JOBS)
def test_whatever_ends_a_batch_early_stops_the_workers_and_keeps_what_arrived(
    evaluator: FakeEvaluator, tmp_path: Path, jobs: int
) -> None:
    def interrupt(num_simulated: int) -> None:
        if num_simulated == 5:
            raise KeyboardInterrupt

    with Runner(evaluator, jobs=jobs, folder=tmp_path / "results", progress=interrupt) as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.simulate(points(*range(20)))
        assert multiprocessing.active_children() == []
    with Runner(evaluator, folder=tmp_path / "results", resume=True) as runner:
        assert runner.simulate(points(*range(20))) == answers(*range(20))
        assert (runner.num_reused, runner.num_simulated) == (5, 15)


def test_workers_compute_with_one_thread_each_and_this_process_as_before(
    evaluator: FakeEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with Runner(evaluator, jobs=2) as runner:
        assert runner.simulate([{"number": 1, "word": "threads"}]) == [Outcome({"threads": 1.0})]
    assert dict(os.environ) == before


class NotForWorkers(FakeEvaluator):
    """An evaluator on which a worker ends as soon as it is handed over."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (7,)


def test_workers_that_cannot_start_are_an_error_and_not_an_endless_loop(tmp_path: Path) -> None:
    with Runner(NotForWorkers(tmp_path), jobs=2) as runner, pytest.raises(SpecError) as caught:
        runner.simulate(points(1))
    assert str(caught.value).startswith(
        "worker processes cannot start: one ended with exit code 7\n  Hint: use one job"
    )


def test_fewer_jobs_than_one_are_refused(evaluator: FakeEvaluator) -> None:
    with pytest.raises(SpecError, match="jobs: must be a whole number of at least 1, got 0"):
        Runner(evaluator, jobs=0)
