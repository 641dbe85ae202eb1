"""Whatever ends a search and its workers: nothing that was stored is lost, nothing is done twice, nothing is left."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.kill.fake_evaluator import FakeEvaluator, values_of

ROOT = Path(__file__).parents[2]
NUM_POINTS = 80
ALL = [values_of({"number": number}) for number in range(NUM_POINTS)]

pytestmark = pytest.mark.slow


class Search:
    """A search in a folder of its own, run in a process of its own as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "results"
        self.evaluator = FakeEvaluator(folder)

    def run(self, *, jobs: int = 2, resume: bool = True, **plan: Any) -> subprocess.CompletedProcess[str]:
        """The finished process. Its pipes end only when its workers have ended too."""
        for note in self.evaluator.notes.glob("ended-at-*"):
            note.unlink()
        plan |= {"folder": str(self.folder), "notes": str(self.evaluator.notes), "points": NUM_POINTS}
        return subprocess.run(
            [sys.executable, "-m", "tests.kill.search_process", json.dumps(plan | {"jobs": jobs, "resume": resume})],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def stored(self) -> list[int]:
        """The points of all whole lines, by number."""
        path = self.folder / "results.jsonl"
        lines = path.read_bytes().split(b"\n")[1:-1] if path.exists() else []
        return [json.loads(line)["point"]["number"] for line in lines]


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_a_search_killed_twenty_times_and_resumed_ends_like_an_undisturbed_one(search: Search) -> None:
    """Each time the process dies while it simulates itself, while its workers do, or within a line of its store."""
    choice = random.Random(1)
    for _ in range(20):
        stored = search.stored()
        next_ones = sorted(set(range(NUM_POINTS)) - set(stored))[:4]
        assert next_ones, "there must be something left to kill"
        num_calls = len(search.evaluator.calls())
        ended = choice.choice(["this process", "the parent", "within a line"])
        at = choice.choice(next_ones)
        if ended == "within a line":
            done = search.run(half_line=1 + next_ones.index(at))
        else:
            done = search.run(jobs=1 if ended == "this process" else 2, ends={at: ended})
        assert done.returncode == -signal.SIGKILL
        assert done.stderr == ""
        assert search.stored()[: len(stored)] == stored  # nothing is lost ...
        assert not set(search.evaluator.calls()[num_calls:]) & set(stored)  # ... and nothing stored is done again
    done = search.run()
    assert json.loads(done.stdout) == ALL
    assert sorted(search.stored()) == list(range(NUM_POINTS))


def test_a_search_whose_workers_are_killed_at_twenty_points_ends_like_an_undisturbed_one(search: Search) -> None:
    fatal = random.Random(2).sample(range(NUM_POINTS), 20)
    done = search.run(resume=False, ends=dict.fromkeys(fatal, "this process"))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ALL
    assert sorted(search.stored()) == list(range(NUM_POINTS))
    # Only the point that a worker was busy with is simulated again.
    assert Counter(search.evaluator.calls()) == Counter([*range(NUM_POINTS), *fatal])


@pytest.mark.parametrize(
    ("plan", "code", "message"),
    [
        ({"ends": {30: "all, by Ctrl-C"}}, 130, "Interrupted.\n"),
        ({"ends": {30: "all, by Ctrl-C"}, "jobs": 1}, 130, "Interrupted.\n"),
        ({"on_arrival": "all, by Ctrl-C"}, 130, "Interrupted.\n"),
        ({"ends": {30: "the parent, politely"}}, -signal.SIGTERM, ""),
    ],
    ids=["Ctrl-C", "Ctrl-C with one job", "Ctrl-C while workers start", "SIGTERM"],
)
def test_an_interrupted_search_keeps_its_results_and_leaves_no_process_and_no_traceback(
    search: Search, plan: dict[str, Any], code: int, message: str
) -> None:
    done = search.run(**plan)
    assert (done.returncode, done.stderr, done.stdout) == (code, message, "")
    stored = search.stored()
    # At 30, all before were handed out, and only the other worker can still have one of them.
    assert stored == [] if "ends" not in plan else len(set(range(30)) - set(stored)) <= 1
    assert len(stored) < NUM_POINTS
    num_calls = len(search.evaluator.calls())
    assert json.loads(search.run().stdout) == ALL
    assert sorted(search.evaluator.calls()[num_calls:]) == sorted(set(range(NUM_POINTS)) - set(stored))


def test_workers_leave_ctrl_c_to_their_parent_from_their_first_moment_on(search: Search) -> None:
    done = search.run(on_arrival="this process, by Ctrl-C", ends={3: "this process, by Ctrl-C"})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ALL


def test_a_full_disk_ends_the_search_with_a_message_and_later_it_goes_on(search: Search) -> None:
    done = search.run(most_bytes=5000)
    assert done.returncode == 2
    assert done.stderr == (
        f"{search.folder}/results.jsonl: cannot be written: File too large\n"
        "  Hint: make room or name another folder; what was written before stays, --resume goes on with it\n"
    )
    stored = search.stored()
    assert 10 < len(stored) < NUM_POINTS
    assert (search.folder / "results.jsonl").read_bytes().endswith(b"}\n")  # the half line is taken back
    num_calls = len(search.evaluator.calls())
    assert json.loads(search.run().stdout) == ALL
    assert not set(search.evaluator.calls()[num_calls:]) & set(stored)


def test_a_script_that_does_not_guard_its_main_part_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from pathlib import Path\n"
        "from simulator.exploration.runner import Runner\n"
        "from tests.kill.fake_evaluator import FakeEvaluator\n"
        f"Runner(FakeEvaluator(Path({str(tmp_path)!r})), jobs=2).simulate([{{'number': 1}}])\n"
    )
    done = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "SpecError: worker processes cannot start: one ended with exit code 1" in done.stderr
    assert '__name__ == "__main__"' in done.stderr
