"""What must stay quick imports nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "scipy", "numba", "matplotlib", "networkx", "pydantic", "rich", "yaml", "simpy")
PROBE = """
import sys
from simulator.cli import main
code = main(sys.argv[1:])
print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
sys.exit(code)
"""


def loaded(*words: str) -> tuple[int, set[str]]:
    """The exit code of a command and the packages it loaded, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == ""
    return done.returncode, set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("list", "--help"),
        ("show", "-h"),
        ("schema", "--help"),
        ("import", "--help"),
        ("import", "hf", "--help"),
        ("import", "onnx", "--help"),
        ("search", "--help"),
        ("search", "plas-orin", "--help"),
        ("search", "fit-law", "-h"),
    ],
)
def test_help_and_version_import_nothing_heavy(words: tuple[str, ...]) -> None:
    code, packages = loaded(*words)
    assert code == 0
    assert "click" in packages  # the probe does see what is loaded
    assert not packages & set(HEAVY)


@pytest.mark.parametrize("words", [("list",), ("show", "chip", "orin-x"), ("schema", "chip")])
def test_the_catalogue_needs_no_numerics_and_no_plots(words: tuple[str, ...]) -> None:
    code, packages = loaded(*words)
    assert code == 0
    assert {"pydantic", "yaml"} <= packages
    assert not packages & {"numpy", "scipy", "numba", "matplotlib", "networkx", "simpy"}
