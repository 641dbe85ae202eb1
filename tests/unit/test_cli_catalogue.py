"""The command line of the catalogue: clean output, one message for an error, the right exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import simulator
from simulator.cli import entry, main
from simulator.errors import EngineError, Infeasible, MissingExtraError, OutputError, SpecError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tiny_catalogue: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in the folder of the tiny catalogue: exit code, output and messages."""

    def run_command(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--catalogue", str(tiny_catalogue.folder)] if words[0] in {"list", "show"} else words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def test_list_names_every_object_with_its_title_and_a_key_figure(run: Run) -> None:
    code, output, errors = run("list")
    assert (code, errors) == (0, "")
    for heading in ("Chips", "Runtimes", "Workloads", "Scenarios", "Studies"):
        assert heading in output
    lines = [" ".join(line.split()) for line in output.splitlines()]
    # 2 clusters * 1024 MAC * 2 * 1 GHz = 4.096 TOPS; 64 / 8 * 6400 MT/s = 51.2 GB/s
    assert "tiny Tiny chip 4.096 TOPS int8 dense, DRAM 51.2 GB/s" in lines
    assert "plain Plain software launch 1000 cycles, enqueue 10000" in lines
    assert "words A few words prefill > decode" in lines
    assert "drive A short drive tiny" in lines
    assert "shapes Small shapes 36 combinations on tiny" in lines  # 3 * 2 * 2 * 3


def test_list_of_one_kind_as_json_has_only_that_kind(run: Run) -> None:
    code, output, errors = run("list", "chips", "--json")
    assert (code, errors) == (0, "")
    listed = json.loads(output)
    assert list(listed) == ["chips"]
    assert {row["name"]: row["title"] for row in listed["chips"]}["tiny"] == "Tiny chip"


def test_one_file_that_is_not_valid_does_not_hide_the_others(run: Run, tiny_catalogue: Any) -> None:
    tiny_catalogue.write("chips/broken.yaml", "name: broken\n")
    code, output, _ = run("list", "chips")
    assert code == 0
    assert "Tiny chip" in output
    assert 'not valid; "roadline show chip broken" says why' in " ".join(output.split())


@pytest.mark.parametrize(
    ("kind", "name"),
    [("chip", "tiny"), ("runtime", "plain"), ("workload", "words"), ("scenario", "drive"), ("study", "shapes")],
)
def test_show_as_json_is_the_spec_in_base_units(run: Run, kind: str, name: str) -> None:
    code, output, errors = run("show", kind, name, "--json")
    assert (code, errors) == (0, "")
    shown = json.loads(output)
    assert (shown["kind"], shown["name"]) == (kind, name)
    if kind == "chip":
        assert shown["dram"]["rate"] == {
            "value": 6.4e9, "unit": "T/s", "source": "me", "status": "datasheet", "note": None
        }  # fmt: skip
    if kind == "workload":
        assert shown["deadline"] == 0.1
    if kind == "study":
        assert shown["limits"]["memory"] == 2**30
        assert (shown["combinations"], shown["points"]) == (36, 18)


def test_show_with_a_value_set_marks_it_as_assumed(run: Run) -> None:
    code, output, _ = run("show", "chip", "tiny", "--set", "dram.rate=9600 MT/s", "--json")
    assert code == 0
    rate = json.loads(output)["dram"]["rate"]
    assert (rate["value"], rate["status"], rate["source"]) == (9.6e9, "assumed", "set by the user")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("show", "chip", "tine"),
            'Error: chip: must be a name of the catalogue or a path to a .yaml file, got "tine" '
            "(searched chips, BUILT_IN/chips)\n"
            '  Hint: did you mean "tiny"?\n',
        ),
        (
            ("show", "chip", "tiny", "--set", "dram.rate=9600"),
            "Error: override  dram.rate: must be a quantity in T/s, got 9600 (no unit)\n"
            '  Hint: write a number and a unit, such as "6400 MT/s"\n',
        ),
        (
            ("list", "--catalogue", "nowhere"),
            "Error: catalogue: must be a folder that exists, got nowhere\n"
            "  Hint: it holds YAML files, or folders chips, memories, runtimes, technologies, workloads, scenarios\n",
        ),
    ],
)
def test_wrong_input_is_one_message_on_stderr_and_exit_code_2(run: Run, words: tuple[str, ...], message: str) -> None:
    code, output, errors = run(*words)
    root = str(Path(simulator.__file__).parents[1])
    assert (code, output, errors) == (2, "", message.replace("BUILT_IN", root))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "chips", "tiny"), "'chips' is not one of 'chip', 'memory', 'runtime', 'technology', 'workload'"),
        (("show", "runtime", "plain", "--plot", "x.png"), "--plot draws a chip, not a runtime"),
        (("lst",), "No such command 'lst'"),
        (("schema",), "Missing argument"),
    ],
)
def test_a_wrong_command_line_is_explained_with_exit_code_2(run: Run, words: tuple[str, ...], message: str) -> None:
    code, output, errors = run(*words)
    assert (code, output) == (2, "")
    assert message in errors


def test_a_wrong_file_leaves_no_image_behind(run: Run, tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", "value: 6400 MT/s", "value: 0 MT/s")
    before = sorted(tiny_catalogue.folder.rglob("*"))
    code, output, errors = run("show", "chip", "tiny", "--plot", "tiny.svg")
    assert (code, output) == (2, "")
    assert errors == 'Error: chips/tiny.yaml:27  dram.rate: must be above zero, got "0 MT/s"\n'
    assert sorted(tiny_catalogue.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("error", "code", "first_line"),
    [
        (SpecError("no", hint="yes"), 2, "Error: no"),
        (Infeasible("too large", demand=3, bound=2, unit="B"), 2, "Error: too large"),
        (OutputError("cannot write"), 2, "Error: cannot write"),
        (OSError(28, "No space left on device"), 2, "Error: [Errno 28] No space left on device"),
        (MissingExtraError("pyvcd", "trace"), 2, "Error: this needs the package pyvcd, which is not installed."),
        (EngineError("lost a task"), 3, "Error: this is a bug in Roadline: lost a task (test_cli_catalogue.py:LINE)"),
        (ValueError("x\ny"), 3, "Error: this is a bug in Roadline: ValueError: x (test_cli_catalogue.py:LINE)"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (click.Abort(), 130, "Interrupted."),
    ],
)  # fmt: skip
def test_every_error_ends_in_a_message_and_its_exit_code(
    error: BaseException,
    code: int,
    first_line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(context: click.Context) -> None:
        raise error

    monkeypatch.setattr(entry.roadline, "invoke", fail)
    monkeypatch.delenv("ROADLINE_DEBUG", raising=False)
    assert main(["list"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    line = str(fail.__code__.co_firstlineno + 1)
    assert captured.err.splitlines()[0] == first_line.replace("LINE", line)
    assert "Traceback" not in captured.err
    assert ("ROADLINE_DEBUG" in captured.err) == (code == 3)


def test_a_bug_shows_its_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(context: click.Context) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(entry.roadline, "invoke", fail)
    monkeypatch.setenv("ROADLINE_DEBUG", "1")
    assert main(["list"]) == 3
    assert "Traceback" in capsys.readouterr().err


ROOT = Path(simulator.__file__).parents[1]


def command(*words: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_a_reader_that_leaves_early_is_no_error() -> None:
    process = command("schema", "chip")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # before anything is written
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_a_terminal_without_utf_8_gets_question_marks_and_no_traceback(tiny_catalogue: Any) -> None:
    process = command("list", "runtimes", "--catalogue", str(tiny_catalogue.folder), PYTHONIOENCODING="latin-1")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert "launch 1000 cycles, enqueue 10000".encode("latin-1") in output
    assert b"????" in output  # the rule below the heading


def test_json_in_a_terminal_without_utf_8_is_still_json(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", "title: Tiny chip", "title: 小さい")
    process = command(
        "show", "chip", "tiny", "--json", "--catalogue", str(tiny_catalogue.folder), PYTHONIOENCODING="latin-1"
    )
    output, _ = process.communicate()
    assert json.loads(output)["title"] == "小さい"
