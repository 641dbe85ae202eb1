"""Machine code is kept where it can be written, is found again by the next process, and not if a source changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import simulator
from simulator.compiled import _cache_folder, _numba_cache_in, _sources_that_decide

SOURCE = """
from simulator.compiled import compiled, told

@compiled
def twice(number):
    return 2 * number

if __name__ == "__main__":
    with told(lambda: print("compiling")):
        print(twice(21), twice(4))
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "numbers"
    folder.mkdir()
    (folder / "twice.py").write_text(SOURCE)
    return folder


def run(sources: Path, cache: Path) -> list[str]:
    environment = {**os.environ, "ROADLINE_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [
        sys.executable,
        "-c",
        "import runpy, sys; sys.path.insert(0, '.'); runpy.run_module('twice', None, '__main__')",
    ]
    run = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_a_second_process_loads_what_the_first_compiled(sources: Path, tmp_path: Path) -> None:
    assert run(sources, tmp_path / "cache") == ["compiling", "42 8"]
    assert run(sources, tmp_path / "cache") == ["42 8"]


def test_a_change_of_any_source_in_the_folder_compiles_anew(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADLINE_CACHE", str(tmp_path / "cache"))
    before = _cache_folder(sources)
    assert _cache_folder(sources) == before
    (sources / "other.py").write_text("half = 0.5\n")
    assert _cache_folder(sources) != before


def test_a_module_whose_constants_are_in_the_code_counts_too() -> None:
    package = Path(simulator.__file__).parent
    decide = _sources_that_decide(package / "engine" / "kernel")
    for path in ("units.py", "engine/interface.py", "program/columns.py", "engine/kernel/rounds.py"):
        assert package / path in decide, path
    assert package / "report" / "style.py" not in decide


def test_a_cache_that_others_can_write_is_not_used(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADLINE_CACHE", str(tmp_path / "shared"))
    folder = _cache_folder(sources)
    assert folder is not None
    assert folder.parent == tmp_path / "shared"
    folder.chmod(0o777)
    other = _cache_folder(sources)
    assert other is None or other.parent != tmp_path / "shared"


def test_the_first_folder_that_can_be_written_is_taken(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file in the place of a folder cannot be written into, not even by root.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROADLINE_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = _cache_folder(sources)
    assert folder is not None
    assert folder.parent == tmp_path / "home" / "roadline"


def test_without_any_folder_every_process_compiles(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("simulator.compiled._cache_bases", lambda: iter([tmp_path / "file"]))
    assert _cache_folder(sources) is None


def test_the_setting_of_numba_is_put_back(tmp_path: Path) -> None:
    before = numba.config.CACHE_DIR
    with _numba_cache_in(tmp_path):
        assert str(tmp_path) == numba.config.CACHE_DIR
    assert before == numba.config.CACHE_DIR
