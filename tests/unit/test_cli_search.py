"""`roadline search`: what it prints, what it writes, and how it refuses."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator import api
from simulator.cli import main
from simulator.cli import search as search_module
from simulator.engine.select import engine_named
from simulator.program import ProgramBuilder
from simulator.report import outputs

Search = Callable[..., tuple[int, str, str]]
ROOT = Path(simulator.__file__).parents[1]

RUNS = """\
layers,hidden,ffn_ratio,activation_rate,kv_width,loss,note
4,768,1,1,128,4.2,
8,768,1,1,128,3.6,
12,768,1,1,128,3.4,
16,768,1,1,128,3.3,
24,768,1,1,128,3.2,seen twice
"""


@pytest.fixture(scope="module", autouse=True)
def _compiled_engine() -> None:
    """The engine says when it is compiled; here that is before anything is captured."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.compute("npu", work_cycles=1)
    engine_named("auto").run(builder.build())


@pytest.fixture
def search(tiny_catalogue: Any, capsys: pytest.CaptureFixture[str]) -> Search:
    """Runs `roadline search` in the folder of the tiny catalogue: exit code, output and messages."""

    def run_command(*words: str) -> tuple[int, str, str]:
        takes_folders = words[0] != "fit-law"
        code = main(("search", *words, *(("--catalogue", ".") if takes_folders else ())))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def json_of(search: Search, *words: str) -> dict[str, Any]:
    """What a search that goes well prints as JSON."""
    code, output, errors = search("shapes", "--json", *words)
    assert (code, errors) == (0, "")
    tree: dict[str, Any] = json.loads(output)
    return tree


def totals(tree: dict[str, Any]) -> list[float]:
    return [entry["total_s"] for entry in tree["front"]]


# What is printed


def test_json_has_the_promised_keys_and_every_point_has_one_fate(search: Search) -> None:
    tree = json_of(search)
    assert tree.keys() >= {"schema", "objectives", "points", "simulated", "discarded", "front", "certificate"}
    assert tree["schema"] == "roadline.search/1"
    certificate = tree["certificate"]
    # 18 of 36 combinations keep the rules: found by hand in the tests of the space
    assert tree["points"] == 18
    assert certificate["simulated"] + certificate["discarded"] == 18
    assert len(certificate["dominated_by"]) == len(certificate["discarded_points"]) == tree["discarded"]
    for entry in tree["front"]:
        assert entry.keys() == {
            "index", "point", "loss", "prefill_s", "decode_s", "total_s", "memory_bytes", "loss_terms"
        }  # fmt: skip
        assert entry["point"].keys() == {"layers", "hidden", "ffn_ratio", "kv_heads"}
        assert sum(entry["loss_terms"].values()) == pytest.approx(entry["loss"], rel=1e-15)
        assert entry["prefill_s"] + entry["decode_s"] == pytest.approx(entry["total_s"], rel=1e-12)


def test_down_the_front_the_loss_rises_and_the_latency_falls(search: Search) -> None:
    front = json_of(search)["front"]
    losses = [entry["loss"] for entry in front]
    assert losses == sorted(losses)
    assert totals({"front": front}) == sorted(totals({"front": front}), reverse=True)
    assert len(set(losses)) == len(front) > 5


def test_the_sheet_is_for_people_and_nothing_else_is_printed(search: Search) -> None:
    code, output, errors = search("shapes")
    assert (code, errors) == (0, "")
    assert output.startswith("shapes: Small shapes\n")
    assert max(map(len, output.splitlines())) <= 100


def test_a_path_means_the_same_as_a_name(search: Search) -> None:
    by_name, by_path = (search(study, "--json")[1] for study in ("shapes", "scenarios/shapes.yaml"))
    trees = [json.loads(text) for text in (by_name, by_path)]
    assert trees[0]["front"] == trees[1]["front"]


def test_options_may_come_before_the_study(search: Search) -> None:
    code, output, _ = search("--json", "--objectives", "loss,memory", "shapes")
    assert code == 0
    assert json.loads(output)["objectives"] == ["loss", "memory_bytes"]


def test_a_law_outside_its_range_is_named_in_the_sheet_and_in_json(search: Search) -> None:
    """All 18 points are 48 or 64 wide; the published law begins at 768."""
    words = "hidden: 18 of 18 points lie outside 768 to 3072"
    assert any(warning.startswith(words) for warning in json_of(search)["warnings"])
    assert f"Caution: {words}" in search("shapes")[1]


# What changes the question


def test_a_limit_leaves_the_part_of_the_front_that_keeps_it(search: Search) -> None:
    """Also the point that needs just as much: its latency goes through text to the last digit."""
    free = totals(json_of(search))
    middle = sorted(free)[len(free) // 2]
    tree = json_of(search, "--limit", f"total={middle!r} s")
    assert tree["limits"] == {"memory_bytes": 2**30, "total_s": middle}
    assert totals(tree) == [total_s for total_s in free if total_s <= middle]
    assert max(totals(tree)) == middle


def test_objectives_replace_those_of_the_study(search: Search) -> None:
    tree = json_of(search, "--objectives", "memory,loss,prefill")
    assert tree["objectives"] == ["memory_bytes", "loss", "prefill_s"]
    amounts = [entry["memory_bytes"] for entry in tree["front"]]
    assert amounts == sorted(amounts)  # by the first objective


def test_the_tokens_of_the_study_can_be_set(search: Search) -> None:
    short, usual = json_of(search, "--set", "decode_tokens=1"), json_of(search)
    assert (short["decode_tokens"], usual["decode_tokens"]) == (1, 8)
    assert min(totals(short)) < min(totals(usual))


# How it refuses


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("shaps",), 'study: must be a name of the catalogue or a path to a .yaml file, got "shaps"', "shapes"),
        (("shapes", "--objectives", "loss,totl"), 'objectives.1: must be one of loss, prefill, decode, ', '"total"?'),
        (("shapes", "--objectives", "loss"), "objectives: must be two or more of", ""),
        (("shapes", "--limit", "totl=1ms"), "override  limits.totl: must be the path of a field", "limits.total"),
        (("shapes", "--limit", "total=1"), "override  limits.total: must be a quantity in s, got 1", ""),
        (("shapes", "--limit", "total=1ms", "--set", "limits.total=2ms"), "limits.total: must be given once", ""),
        (("shapes", "--set", "reference=word"), 'reference: must be a name of the catalogue', "words"),
        (("shapes", "--set", "law=nowhere.yaml"), "law: must be a file that exists", ""),
        (("shapes", "--set", "space.hidden=[50]"), '"head_dim divides hidden" excludes all', ""),
        (("shapes", "--set", "rules=[layers > 4]"), "must have a point left of its 36 combinations", "that rule"),
        (
            ("shapes", "--set", "rules=[layers > 2, hidden * layers < 100]"),
            '"layers > 2" and "hidden * layers < 100" leave none together', "change one of these rules",
        ),
        (("shapes", "--limit", "total=1us"), "no point keeps its limits; the nearest (layers 1, hidden 48", "raise"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused_with_what_would_be_right(
    search: Search, words: tuple[str, ...], message: str, hint: str
) -> None:
    code, output, errors = search(*words)
    assert (code, output) == (2, "")
    assert message in errors
    assert hint in errors
    assert errors.startswith("Error: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("shapes", "--limit", "total"), '--limit takes NAME=AMOUNT, such as total=100ms, got "total"'),
        (("shapes", "--resume"), "--resume goes with --results DIR"),
        (("shapes", "--seed", "0"), "--seed goes with --sampler nsga2 or tpe"),
        (("shapes", "--budget", "5"), "--budget goes with --sampler nsga2 or tpe"),
        (("shapes", "--compare"), "--compare goes with --sampler nsga2 or tpe"),
        (("shapes", "--sampler", "tpe"), "--sampler tpe needs --budget N"),
        (("shapes", "--roofline"), "--roofline goes with --plot FILE"),
        (("shapes", "--choose"), "--choose goes with --export DIR"),
        (("shapes", "--jobs", "0"), "Invalid value for '--jobs': 0 is not in the range x>=1."),
    ],
)
def test_options_that_do_not_go_together_are_refused(search: Search, words: tuple[str, ...], message: str) -> None:
    code, output, errors = search(*words)
    assert (code, output) == (2, "")
    assert errors.splitlines()[0] == "Usage: roadline search [OPTIONS] STUDY"
    assert errors.splitlines()[-1] == f"Error: {message}"


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused must be refused before anything is simulated."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the search has begun")

    monkeypatch.setattr(api, "search", fail)


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--plot", "front.gif"), 'front.gif: a picture must end in .png, .svg, .pdf, got ".gif"'),
        (("--csv", "points.txt"), 'points.txt: a table must end in .csv, got ".txt"'),
        (("--csv", "folder.csv"), "folder.csv: must be a file that can be written, is a folder or a device"),
        (("--export", "file"), "file: must be a folder, is a file"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_search(
    search: Search, words: tuple[str, ...], message: str
) -> None:
    Path("folder.csv").mkdir()
    Path("file").touch()
    code, output, errors = search("shapes", *words)
    assert (code, output) == (2, "")
    assert errors.splitlines()[0] == f"Error: {message}"


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize("words", [("--csv", "new/x.csv"), ("--export", "new/models")])
def test_a_folder_that_takes_no_file_is_refused_before_the_search(
    search: Search, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outputs, "TemporaryFile", refuse)  # tests may run as root, who is refused nothing
    code, output, errors = search("shapes", *words)
    assert (code, output) == (2, "")
    assert errors.startswith(f"Error: {words[1]}: cannot be written: Permission denied\n  Hint: name another ")


# What is written


def test_the_table_has_every_point_and_agrees_with_the_front(search: Search) -> None:
    code, output, errors = search("shapes", "--json", "--csv", "out/points.csv")
    assert (code, errors) == (0, "wrote out/points.csv\n")
    with open("out/points.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(18))
    for entry in json.loads(output)["front"]:
        row = rows[entry["index"]]
        assert row["status"] == "front"
        assert float(row["total_s"]) == entry["total_s"]
        assert float(row["bound_total_s"]) <= entry["total_s"]
    discarded = [row for row in rows if row["status"] == "discarded"]
    assert discarded
    assert all(row["total_s"] == "" and int(row["by"]) >= 0 for row in discarded)


def test_an_exported_workload_runs_with_the_latency_that_the_search_found(
    search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the last digit, for every point of the front."""
    code, output, errors = search("shapes", "--json", "--export", "models")
    front = json.loads(output)["front"]
    assert (code, errors) == (0, f"wrote {len(front)} workloads to models\n")
    assert {path.name for path in Path("models").iterdir()} == {f"shapes-{entry['index']}.yaml" for entry in front}
    for entry in front:
        workload = f"models/shapes-{entry['index']}.yaml"
        assert main(["run", "--catalogue", ".", "--chip", "tiny", "--workload", workload, "--json"]) == 0
        run = json.loads(capsys.readouterr().out)
        assert run["latency_s"] == entry["total_s"]
        assert [phase["latency_s"] for phase in run["phases"]] == [entry["prefill_s"], entry["decode_s"]]


def test_chosen_workloads_are_the_best_for_each_application_and_beside_the_reference(search: Search) -> None:
    code, output, _ = search("shapes", "--json", "--set", "reference=words", "--export", "models", "--choose")
    assert code == 0
    tree = json.loads(output)
    (application,), (comparison,) = tree["applications"], tree["reference"]["comparisons"]
    assert {path.name for path in Path("models").iterdir()} == {
        "shapes-door.yaml", "shapes-total-of-words.yaml"
    }  # fmt: skip
    for name, index in (("shapes-door", application["index"]), ("shapes-total-of-words", comparison["index"])):
        workload = simulator.load_workload(f"models/{name}.yaml")
        (entry,) = (entry for entry in tree["front"] if entry["index"] == index)
        assert workload.decoder is not None
        assert workload.decoder.layers == entry["point"]["layers"]
        assert workload.title == f"Point {index} of shapes"


def test_a_picture_is_written(search: Search) -> None:
    code, _, errors = search("shapes", "--plot", "out/front.svg", "--roofline")
    assert (code, errors) == (0, "wrote out/front.svg\n")
    assert Path("out/front.svg").stat().st_size > 10_000


# Results that are kept


def test_kept_results_are_not_simulated_again(search: Search) -> None:
    first = json_of(search, "--results", "kept")
    code, output, errors = search("shapes", "--results", "kept", "--json")
    assert (code, output) == (2, "")
    assert "holds 16 results of an earlier search\n  Hint: use --resume to go on with it" in errors
    code, output, errors = search("shapes", "--results", "kept", "--resume", "--json")
    assert (code, errors) == (0, "kept/results.jsonl: of its results, 16 can be used again\n")
    again = json.loads(output)
    assert {**again, "timings_s": None} == {**first, "timings_s": None}
    assert "16 (88.9 %), 16 of them before" in search("shapes", "--results", "kept", "--resume")[1]


def test_a_results_folder_that_is_a_file_is_refused(search: Search) -> None:
    Path("kept").touch()
    code, output, errors = search("shapes", "--results", "kept")
    assert (code, output) == (2, "")
    assert errors.startswith("Error: kept: must be a folder for results, is a file\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Nothing is kept; with --results DIR it would be; go on with: --results DIR --resume\nInterrupted.\n"),
        (("--results", "kept"), "What was simulated is kept; go on with: --results kept --resume\nInterrupted.\n"),
    ],
)
def test_an_interrupted_search_says_how_to_go_on(
    search: Search, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "search", interrupted)
    assert search("shapes", *words) == (130, "", said)


# Terminal and pipe


def test_progress_goes_to_stderr_and_is_wiped(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "is_terminal", lambda: True)
    monkeypatch.setattr(search_module, "_SECONDS_BETWEEN_LINES", 0)
    code, output, errors = search("shapes", "--json")
    assert code == 0
    json.loads(output)
    lines = errors.split("\r\033[K")
    assert lines[1].startswith("simulated 0, discarded 0, left 18; 0/s")
    assert any(line.startswith("simulated 9, ") for line in lines)  # after a point, not only after a wave
    assert lines[-2].startswith("simulated 16, discarded 2, left 0; ")
    assert lines[-1] == ""


def test_a_reader_that_leaves_does_not_matter(search: Search) -> None:
    command = f"{sys.executable} -m simulator.cli search shapes --catalogue . --json | head -1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_help_shows_the_options_and_the_other_command(search: Search) -> None:
    code, output, errors = search("--help")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "Usage: roadline search [OPTIONS] STUDY"
    assert lines[1] == "       roadline search fit-law [OPTIONS] DATA.csv"
    assert any(line.startswith("  --objectives A,B") for line in lines)
    assert any(line.startswith("  fit-law  Fit the loss law") for line in lines)


# Samplers


def test_a_sampler_with_budget_for_all_finds_the_exact_front(search: Search) -> None:
    pytest.importorskip("optuna")
    exact = json_of(search)
    tree = json_of(search, "--sampler", "nsga2", "--budget", "18", "--compare")
    assert (tree["sampler"], exact["sampler"]) == ("nsga2", "exact")
    assert tree["front"] == exact["front"]
    assert tree["share_of_exact"] == 1


def test_a_sampler_keeps_its_budget_and_repeats_itself(search: Search) -> None:
    pytest.importorskip("optuna")
    first, again, other = (
        json_of(search, "--sampler", "tpe", "--budget", "6", "--seed", seed) for seed in ("3", "3", "4")
    )
    assert first["simulated"] == 6
    assert first["front"] == again["front"]
    assert first["front"] != other["front"]


def test_a_sampler_is_named_in_the_sheet(search: Search) -> None:
    pytest.importorskip("optuna")
    lines = search("shapes", "--sampler", "tpe", "--budget", "6", "--compare")[1].splitlines()
    assert "sampler tpe: simulated 6 (33.3 %); the rest is unknown" in lines
    assert any(line.startswith("It dominates ") and "of the volume that the exact front" in line for line in lines)


# Laws of one's own


def test_a_fitted_law_is_printed_and_can_be_searched_with(search: Search) -> None:
    Path("runs.csv").write_text(RUNS)
    code, output, errors = search(
        "fit-law", "runs.csv", "--output", "own.yaml", "--plot", "own.png", "--resamples", "5"
    )
    assert (code, errors) == (0, "wrote own.yaml\nwrote own.png\n")
    assert output.startswith("runs: loss law fitted to runs.csv\n")
    code, output, errors = search("shapes", "--set", "law=own.yaml", "--json")
    assert code == 0
    # only the layers vary in these runs, so the law sees nothing else
    *_, unseen = json.loads(output)["warnings"]
    assert unseen.startswith("the loss law does not see hidden, ffn_ratio, kv_heads: ")


def test_the_json_of_a_fit_is_all_that_stdout_has(search: Search) -> None:
    Path("runs.csv").write_text(RUNS)
    code, output, errors = search("fit-law", "runs.csv", "--json", "--resamples", "5", "--seed", "1")
    assert (code, errors) == (0, "")
    tree = json.loads(output)
    assert (tree["runs"], tree["resamples"], tree["seed"]) == (5, 5, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.csv",), "Error: nowhere.csv: must be a CSV file that can be read, got: No such file or directory"),
        (("runs.csv", "--output", "law.json"), 'Error: law.json: a law must end in .yaml, .yml, got ".json"'),
        (("runs.csv", "--held-out", "1.0"), "Error: Invalid value for '--held-out': 1.0 is not in the range 0<=x<1."),
        (("runs.csv", "--resamples", "1"), "Error: Invalid value for '--resamples': 1 is not in the range x>=2."),
    ],
)
def test_a_fit_that_cannot_be_is_refused(search: Search, words: tuple[str, ...], message: str) -> None:
    Path("runs.csv").write_text(RUNS)
    code, output, errors = search("fit-law", *words)
    assert (code, output) == (2, "")
    assert message in errors.splitlines()
