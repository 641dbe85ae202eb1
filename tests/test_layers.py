"""The structure of the code: who may import whom, and where a library may be used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "simulator"

BASE = {"errors", "units"}
SPECS = {"chip", "runtime", "technology", "workload", "scenario", "study"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "terms": set(),
    "variants": set(),
    "compiled": set(),
    "units": {"errors"},
    "precision": {"errors", "variants"},
    "sourced": BASE,
    "document": BASE | {"sourced"},
    "spec": {"document", "sourced"},
    "chip": {"errors", "precision", "sourced", "spec", "terms"},
    "technology": {"precision", "sourced", "spec", "terms"},
    "runtime": {"precision", "sourced", "spec", "terms"},
    "workload": {"precision", "sourced", "spec", "terms"},
    "scenario": {"sourced", "spec", "terms"},
    "study": BASE | {"precision", "sourced", "spec", "workload"},
    "catalog": BASE | SPECS | {"document", "spec"},
    "routing": {"errors", "terms", "compiled"},
    "graph": {"errors", "terms", "precision", "variants", "workload", "routing"},
    "program": BASE | {"compiled"},
    "lowering": BASE | {"chip", "runtime", "graph", "routing", "program", "precision", "terms", "variants", "compiled"},
    "timeline": BASE | {"program", "compiled"},
    "engine": BASE | {"program", "timeline", "compiled"},
    "metrics": BASE | {"program", "timeline", "compiled"},
    "ppa": BASE | {"chip", "technology", "precision", "sourced", "program", "timeline"},
    "simulation": BASE | SPECS | {"ppa", "catalog", "graph", "lowering", "program", "engine", "timeline", "metrics",
                                  "precision", "sourced", "terms", "compiled"},
    "validation": BASE | {"catalog", "precision", "simulation"},
    "exploration": BASE | SPECS | {"catalog", "document", "sourced", "spec", "terms", "precision", "graph", "lowering",
                                   "program", "engine", "timeline", "metrics", "simulation", "variants"},
    "explanation": BASE | {"chip", "spec", "program", "engine", "timeline", "metrics", "ppa", "simulation", "sourced"},
    "importers": BASE | {"document", "graph", "precision", "workload"},
    "report": BASE | SPECS | {"ppa", "program", "timeline", "metrics", "simulation", "validation", "exploration",
                              "explanation", "importers", "precision", "sourced", "spec", "graph"},
}  # fmt: skip
"""Packages and modules of `simulator` and what they may import of it; `api` and `cli` may import anything."""

LIBRARIES = {"simpy": "engine/reference.py", "matplotlib": "report/", "networkx": "graph/", "yaml": "document/",
             "perfetto": "report/", "rich": "report/", "click": "cli/", "numba": "compiled.py",
             "onnx": "importers/"}  # fmt: skip
"""Where a library may be imported."""


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports must be absolute"
            found.add(str(node.module))
            found |= {f"{node.module}.{name.name}" for name in node.names if node.module == "simulator"}
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_imports_point_left(path: Path) -> None:
    relative = path.relative_to(ROOT)
    package = relative.parts[0].removesuffix(".py")
    if package in {"__init__", "api", "cli"}:
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "simulator" or len(parts) == 1 or parts[1] == package:
            continue
        assert parts[1] in ALLOWED[package], f"{relative} must not import {module}"


def test_the_table_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        free = {package for package in ALLOWED if package not in done and ALLOWED[package] <= done}
        assert free, f"the packages {sorted(set(ALLOWED) - done)} import each other"
        done |= free


@pytest.mark.parametrize(("library", "place"), LIBRARIES.items())
def test_a_library_is_used_in_one_place(library: str, place: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        for module in imports(path)
        if module.split(".")[0] == library
    }
    assert all(user == place or (place.endswith("/") and user.startswith(place)) for user in users), users
    assert users, f"nothing uses {library} any more"


def test_every_package_says_what_it_reads_and_what_it_gives() -> None:
    for path in ROOT.rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.parent != ROOT:
            assert "Reads from:" in text, f"{path.relative_to(ROOT)} must say what it reads from and gives to"
