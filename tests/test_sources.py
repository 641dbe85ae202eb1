"""Every source that a YAML file or a docstring names stands in docs/sources.md."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ID = r"[a-z][a-z0-9.]*(?:-[a-z0-9.]+)*"
CITED = re.compile(rf"(?<![\w\])])\[({ID})\]")
# A `Source:` field runs to the next field of the docstring, to an empty line or to the closing quotes.
SOURCE_FIELD = re.compile(r'^ *Source: *(.*?)(?=^ *[A-Z][a-z]+:|^ *$|""")', re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"#(?! type: ignore)(?! noqa)(.*)")


def table_rows() -> list[list[str]]:
    lines = (ROOT / "docs/sources.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return rows[2:]


def known_ids() -> set[str]:
    return {row[0] for row in table_rows()}


def ids_in_yaml(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from ids_in_yaml(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from ids_in_yaml(item, key)
    elif isinstance(value, str):
        if key in {"source", "pipeline_source"}:
            yield value
        else:
            yield from CITED.findall(value)


def ids_in_code(text: str) -> set[str]:
    return {found for part in SOURCE_FIELD.findall(text) + COMMENT.findall(text) for found in CITED.findall(part)}


CATALOGUE = [
    path
    for folder in ("chips", "memories", "runtimes", "workloads", "scenarios")
    for path in (ROOT / folder).glob("*.yaml")
]


@pytest.mark.parametrize("path", sorted(CATALOGUE), ids=lambda path: path.stem)
def test_every_source_of_a_catalogue_file_stands_in_the_table(path: Path) -> None:
    named = set(ids_in_yaml(yaml.safe_load(path.read_text(encoding="utf-8"))))
    assert named <= known_ids()


def test_every_source_of_a_formula_stands_in_the_table() -> None:
    named = {
        (found, path.relative_to(ROOT).as_posix())
        for path in (ROOT / "simulator").rglob("*.py")
        for found in ids_in_code(path.read_text(encoding="utf-8"))
    }
    assert {(found, path) for found, path in named if found not in known_ids()} == set()


def test_every_row_of_the_table_has_its_own_id_and_four_cells() -> None:
    rows = table_rows()
    assert [row for row in rows if len(row) != 4 or not all(row)] == []
    assert len(known_ids()) == len(rows) > 30
    assert [row[0] for row in rows if not re.fullmatch(ID, row[0])] == []


def test_sources_cited_inside_the_table_stand_in_it() -> None:
    assert {found for row in table_rows() for found in CITED.findall(row[1])} <= known_ids()


def test_collecting_finds_what_is_cited_and_nothing_else() -> None:
    code = '''
    """Time of a kernel.

    Formula:  t = work[index] / rate[0]
    Source:   [first-2001] section 2,
              [second] table 1
    Status:   fitted [third]
    """
    rows = bytes[column]  # groups of 128 [fourth-v09]
    kind = table[name]  # type: ignore[arg-type]
    '''
    assert ids_in_code(code) == {"first-2001", "second", "fourth-v09"}
    tree = {"a": {"value": 1, "source": "fifth", "note": "see [sixth]"}, "pipeline_source": "seventh"}
    assert set(ids_in_yaml(tree)) == {"fifth", "sixth", "seventh"}
