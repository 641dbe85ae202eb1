"""`roadline import`: the workload goes where it was asked for, what is said about it beside it, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.catalog import load_workload
from simulator.cli import main

PUBLIC = Path(__file__).parents[1] / "data" / "hf"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `import hf` in a folder with a public configuration in `Qwen2.5-1.5B`."""
    monkeypatch.chdir(tmp_path)
    Path("Qwen2.5-1.5B").mkdir()
    shutil.copy(PUBLIC / "qwen2.5-1.5b.json", "Qwen2.5-1.5B/config.json")

    def run_command(*words: str) -> tuple[int, str, str]:
        code = main(["import", "hf", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def test_without_a_file_the_workload_is_on_stdout_and_the_account_beside_it(run: Run, tmp_path: Path) -> None:
    code, output, account = run("Qwen2.5-1.5B")
    assert code == 0
    assert "parameters  1,543,714,304 (decoder 1,543,714,304)" in account
    path = tmp_path / "qwen2.5-1.5b.yaml"
    path.write_text(output)
    assert load_workload(path).title == "Qwen2.5-1.5B"


def test_with_a_file_the_account_is_on_stdout(run: Run) -> None:
    code, output, messages = run(
        "Qwen2.5-1.5B/config.json", "--out", "my/small.yaml", "--prompt", "60", "--decode", "0"
    )
    assert (code, messages) == (0, "wrote my/small.yaml\n")
    # 28 layers * 2 heads * 128 elements * keys and values * 2 bytes
    assert "KV cache    28,672 B per token" in output
    workload = load_workload("my/small.yaml")
    assert (workload.name, workload.title) == ("small", "Qwen2.5-1.5B")
    assert [(phase.phase, getattr(phase, "tokens", None)) for phase in workload.pipeline] == [("prefill", 60)]


def test_json_has_the_workload_and_what_is_said_about_it(run: Run) -> None:
    code, output, _ = run("Qwen2.5-1.5B", "--json")
    tree = json.loads(output)
    assert code == 0
    assert (tree["family"], tree["unknown"], tree["stored"]) == ("qwen2", [], None)
    assert tree["workload"]["decoder"]["layers"] == 28


def test_a_file_that_is_there_is_replaced_only_by_force(run: Run) -> None:
    path = Path("small.yaml")
    path.write_text("mine")
    code, _, messages = run("Qwen2.5-1.5B", "--out", "small.yaml")
    assert (code, path.read_text()) == (2, "mine")
    assert messages == "Error: small.yaml: must be a new file, is there already\n  Hint: --force replaces it\n"
    code, _, _ = run("Qwen2.5-1.5B", "--out", "small.yaml", "--force")
    assert (code, load_workload("small.yaml").name) == (0, "small")


def test_a_name_that_is_not_that_of_the_file_is_refused(run: Run) -> None:
    code, _, messages = run("Qwen2.5-1.5B", "--out", "small.yaml", "--name", "large")
    assert (code, Path("small.yaml").exists()) == (2, False)
    assert messages == 'Error: --name: must be the name of the file, "small", got "large"\n'


def test_keys_that_nobody_knows_are_listed_and_strictly_refused(run: Run) -> None:
    path = Path("Qwen2.5-1.5B/config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "mamba_layers": 3}))
    code, output, account = run("Qwen2.5-1.5B")
    assert code == 0
    assert "# mamba_layers: not known, and left out\n" in output
    assert account.rstrip().endswith("a cost that the workload lacks:\n  mamba_layers")
    code, output, messages = run("Qwen2.5-1.5B", "--strict", "--out", "small.yaml")
    assert (code, output, Path("small.yaml").exists()) == (2, "", False)
    assert "must have known keys only, got mamba_layers" in messages


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere",), 2, "nowhere  must be a config.json or a folder that holds one, got nothing there"),
        (("Qwen2.5-1.5B", "--out", "small.txt"), 2, "small.txt: a workload must end in .yaml, .yml"),
        (("Qwen2.5-1.5B", "--out", "Qwen2.5-1.5B/config.json/x.yaml"), 2, "cannot be written"),
        (("Qwen2.5-1.5B", "--force"), 2, "--force needs --out FILE"),
        (("Qwen2.5-1.5B", "--image-size", "big"), 2, "must be WIDTHxHEIGHT, such as 576x320, got big"),
        (("Qwen2.5-1.5B", "--images", "2"), 2, "must be a model that sees where images are asked for, got qwen2"),
        (("Qwen2.5-1.5B", "--precision", "bf61"), 2, 'did you mean "bf16"?'),
        (("Qwen2.5-1.5B", "--prompt", "0"), 2, "0 is not in the range"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(run: Run, words: tuple[str, ...], code: int, message: str) -> None:
    found, output, messages = run(*words)
    assert (found, output) == (code, "")
    assert message in messages
    assert "Traceback" not in messages
