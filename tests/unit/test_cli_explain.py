"""`roadline explain`: what it prints, what it writes, and how it refuses and stops."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.cli import explain, main, simulate
from simulator.explanation import levers

Run = Callable[..., tuple[int, str, str]]

ALONE = ("--chip", "tiny", "--workload", "words")


@pytest.fixture
def run(tiny_catalogue: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `roadline explain` with the tiny catalogue: exit code, output and messages."""

    def run_command(*words: str) -> tuple[int, str, str]:
        code = main(["explain", *words, "--catalogue", str(tiny_catalogue.folder)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def test_json_is_exactly_the_explanation_from_python(run: Run, tiny_catalogue: Any) -> None:
    code, output, errors = run("drive", "--json")
    assert code == 0
    assert re.fullmatch(r"changing \d+ numbers: up to \d+ simulations\n", errors)
    result = simulator.run_scenario("drive", catalogue=[tiny_catalogue.folder])
    assert json.loads(output) == json.loads(json.dumps(simulator.explain(result).to_dict()))


def test_the_options_are_those_of_a_run(run: Run) -> None:
    words = (*ALONE, "--runtime", "ideal", "--precision", "fp16", "--prompt", "4", "--decode", "2", "--engine",
             "reference", "--set", "dram.rate=4000 MT/s", "--json")  # fmt: skip
    code, output, _ = run(*words)
    assert code == 0
    tree = json.loads(output)
    assert (tree["runtime"], tree["engine"]) == ("ideal", "reference")
    rate = next(item for item in tree["tornado"] if item["number"] == "dram.rate")
    assert (rate["value"], rate["low"]["value"], rate["high"]["value"]) == (4e9, 3.2e9, 4.8e9)


def test_the_sheet_ends_with_the_advice_and_the_picture_is_written(run: Run) -> None:
    code, output, errors = run("drive", "--plot", "out/why.svg")
    assert code == 0
    assert errors.endswith(" simulations\nwrote out/why.svg\n")
    assert output.startswith("drive: A few words on Tiny chip\n")
    assert "\nWhat would buy most per 20 % is " in output
    assert "is met without it, too. Still in time, one of these could be 20 % smaller: " in " ".join(output.split())
    assert Path("out/why.svg").read_bytes().startswith(b"<?xml")


def test_progress_goes_to_stderr_and_is_wiped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (simulate, explain):
        monkeypatch.setattr(module, "is_terminal", lambda: True)
    code, output, errors = run("drive", "--json")
    assert code == 0
    json.loads(output)
    assert "\rchanged number 1 of " in errors
    assert errors.endswith("\r\033[K")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Error: name a scenario, or a chip and a workload: --chip NAME --workload NAME\n"),
        (("drive", "--chip", "tiny"), "so it does not go with --chip: its file says that in chip\n"),
        (("driv",), '  Hint: did you mean "drive"?\n'),
        (("--chip", "tin", "--workload", "words"), '  Hint: did you mean "tiny"?\n'),
        ((*ALONE, "--set", "dram.rate=9600"), '  Hint: write a number and a unit, such as "6400 MT/s"\n'),
        ((*ALONE, "--set", "dram.rat=1 MT/s"), '  Hint: did you mean "dram.rate"?\n'),
        ((*ALONE, "--precision", "vision="), 'Error: precision: must be P or PHASE=P,PHASE=P, got "vision="\n'),
        ((*ALONE, "--plot", "why.txt"), "  Hint: such as why.png\n"),
    ],
)
def test_wrong_input_is_one_message_that_ends_in_the_remedy(run: Run, words: tuple[str, ...], message: str) -> None:
    before = set(Path().rglob("*"))
    code, output, errors = run(*words)
    assert (code, output) == (2, "")
    assert errors.endswith(message)
    assert errors.count("Error:") == 1
    assert set(Path().rglob("*")) == before


def test_a_picture_that_cannot_be_written_is_refused_before_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("simulated before the output was checked")

    monkeypatch.setattr("simulator.api.run_scenario", fail)
    Path("folder.png").mkdir()
    code, output, errors = run("drive", "--plot", "folder.png")
    assert (code, output) == (2, "")
    assert errors.startswith("Error: folder.png: must be a file that can be written, is a folder")


def test_an_interrupted_explanation_prints_nothing_and_leaves_no_file(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the third variant."""
    lowered = []
    whole = levers.to_program

    def interrupted(setup: Any) -> Any:
        lowered.append(setup)
        if len(lowered) == 3:
            raise KeyboardInterrupt
        return whole(setup)

    monkeypatch.setattr(levers, "to_program", interrupted)
    before = set(Path().rglob("*"))
    code, output, errors = run("drive", "--plot", "why.png")
    assert (code, output) == (130, "")
    assert errors.endswith(" simulations\nInterrupted.\n")
    assert set(Path().rglob("*")) == before


def test_help_shows_examples_on_lines_of_their_own_and_every_option(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--help"]) == 0
    output = capsys.readouterr().out
    assert "\n  roadline explain alpamayo-thor-10hz --plot out/why.png\n" in output
    for option in ("--chip", "--workload", "--runtime", "--precision", "--prompt", "--decode", "--engine", "--plot",
                   "--catalogue", "--set", "--json"):  # fmt: skip
        assert f"\n  {option} " in output
