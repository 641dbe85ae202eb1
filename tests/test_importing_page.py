"""Every output that docs/importing.md shows is what the command prints today, and its table names every family."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.importers.decoders import DECODERS
from simulator.importers.joined import JOINED
from simulator.importers.towers import TOWERS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"<!-- output: roadline (.*?) -->\n```\w*\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize(("command", "lines"), SHOWN, ids=[command for command, _ in SHOWN])
def test_an_output_on_the_page_is_what_the_command_prints(
    command: str, lines: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out.splitlines() == lines.splitlines()


def test_the_page_shows_outputs_and_names_every_family() -> None:
    assert len(SHOWN) >= 2
    named = set(re.findall(r"`([a-z0-9_]+)`", PAGE))
    assert {*DECODERS, *JOINED, *TOWERS} - named == set()
