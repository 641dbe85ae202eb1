"""Every output that the README and the pages of docs show is what the command prints today; every example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import simulator
from simulator.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


PAGES = [ROOT / "README.md", ROOT / "docs" / "workloads.md"]
OUTPUTS = [
    (page, command)
    for page in PAGES
    for command in re.findall(r"<!-- output: roadline (.*?) -->", page.read_text(encoding="utf-8"))
]


def shown(command: str, as_what: str = "output", page: Path = PAGES[0]) -> list[str]:
    """The lines that a page shows as the output of a command."""
    text = page.read_text(encoding="utf-8")
    match = re.search(rf"<!-- {as_what}: {re.escape(command)} -->\n```\n(.*?)```", text, flags=re.DOTALL)
    assert match, f"{page.name} shows no output of {command}"
    return match[1].splitlines()


@pytest.mark.parametrize(("page", "command"), OUTPUTS, ids=[f"{page.stem}: {command}" for page, command in OUTPUTS])
def test_an_output_on_a_page_is_what_the_command_prints(
    page: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(command.split()) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = shown(f"roadline {command}", page=page)

    def without_wall_time(text: list[str]) -> list[str]:
        return [re.sub(r"tasks in .*|^time: .*", "tasks", line) for line in text]

    assert without_wall_time(lines) == without_wall_time(printed)


@pytest.mark.parametrize("command", re.findall(r"<!-- part of the output: roadline (.*?) -->", README))
def test_a_part_of_an_output_in_the_readme_is_in_what_the_command_prints(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 0
    lines = shown(f"roadline {command}", "part of the output")
    assert len(lines) > 1
    assert "\n".join(lines) in capsys.readouterr().out


def test_the_python_example_of_the_readme_runs() -> None:
    code = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert code
    names: dict[str, object] = {}
    exec(code[1].replace("2048", "32").replace("=16)", "=2)"), names)  # the same with fewer tokens
    assert isinstance(names["result"], simulator.Result)


def test_the_chip_of_the_readme_is_valid_and_faster(tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert text
    path = tmp_path / "thor-wide.yaml"
    path.write_text(text[1])
    wide, narrow = (
        simulator.run(chip, "qwen3-0.6b", prompt_tokens=8, decode_tokens=2) for chip in (path, "thor-t5000")
    )
    assert wide.latency_s < narrow.latency_s


def test_the_readme_names_the_whole_catalogue() -> None:
    from simulator.catalog import FOLDER, Catalog

    for kind in FOLDER:
        for name in Catalog().names(kind):
            assert f"`{name}`" in README, f"{kind} {name} is missing in the README"
