"""Reading one YAML file: the rules of YAML 1.2, nothing ambiguous, and a line for everything."""

from pathlib import Path

import pytest

from simulator.document.document import read_document, read_value
from simulator.errors import SpecError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e9", 1e9),  # YAML 1.1 reads text
        ("12e3", 12e3),
        (".5", 0.5),
        ("-3", -3),
        ("0x10", 16),
        ("0o17", 15),
        ("0", 0),
        ("0.75", 0.75),
        ("NO", "NO"),  # YAML 1.1 reads false
        ("on", "on"),
        ("1:30", "1:30"),  # YAML 1.1 reads 90
        ("2026-01-02", "2026-01-02"),  # YAML 1.1 reads a date
        ("1_000", "1_000"),  # YAML 1.1 reads 1000
        ("true", True),
        ("~", None),
        ("", None),
        ('"007"', "007"),
        ("6400 MT/s", "6400 MT/s"),
        ("{a: [1, b]}", {"a": [1, "b"]}),
    ],
)
def test_values_follow_the_rules_of_yaml_1_2(text: str, value: object) -> None:
    found = read_value(text, "here")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("012", "here  must be a number without a leading zero, got 012\n  Hint: drop the zero, or put text in quotes"),
        (
            "-00.5",
            ("here  must be a number without a leading zero, got -00.5\n  Hint: drop the zero, or put text in quotes"),
        ),
        (".nan", "here  must be a finite number, got .nan"),
        ("-.inf", "here  must be a finite number, got -.inf"),
        ("1e999", "here  must be a finite number, got 1e999"),
        ("{a: .inf}", "here  a: must be a finite number, got .inf"),
        ("{1: a}", "here  a key must be text, got 1\n  Hint: put the key in quotes"),
        ("{a: 1, a: 2}", "here  a: must be given once, got it again (first at here)"),
        (
            "!!python/name:os.system x",
            ("here  must be plain YAML, got the tag tag:yaml.org,2002:python/name:os.system\n  Hint: remove the tag"),
        ),
        ("[" * 200 + "]" * 200, "here  0.0.0: must be nested at most 50 deep, got more"),
    ],
)
def test_what_could_mean_two_things_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_value(text, "here")
    assert str(caught.value) == message


def test_aliases_are_refused_so_that_no_small_file_is_a_large_one(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SpecError, match=r"bomb\.yaml:2  a1\.0: must be written out, got an alias") as caught:
        read_document(path)
    assert caught.value.message.startswith("118 things are wrong:")  # two in each line but the first
    assert caught.value.message.endswith("\nand 68 more")


def test_every_value_knows_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.yaml"
    path.write_text("# comment\na: 1\nb:\n  c:\n    - 1\n    - {d: 2,\n       e: 3}\n", encoding="utf-8")
    places = read_document(path).places
    assert places == {
        (): "x.yaml:2",
        ("a",): "x.yaml:2",
        ("b",): "x.yaml:3",
        ("b", "c"): "x.yaml:4",
        ("b", "c", 0): "x.yaml:5",
        ("b", "c", 1): "x.yaml:6",
        ("b", "c", 1, "d"): "x.yaml:6",
        ("b", "c", 1, "e"): "x.yaml:7",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", 'x.yaml:1  must be a mapping of fields, got an empty file\n  Hint: the first field is "name: ..."'),
        (b"- a\n", 'x.yaml:1  must be a mapping of fields, got a list\n  Hint: the first field is "name: ..."'),
        (b"a\n", 'x.yaml:1  must be a mapping of fields, got a scalar\n  Hint: the first field is "name: ..."'),
        (b"\xff\xfe\x80", "x.yaml  must be UTF-8 text, got other bytes"),
        (
            b"a: 1\n\tb: 2\n",
            (
                "x.yaml:2  must be valid YAML: found a tab character that violates indentation\n"
                "  Hint: indent with spaces, not tabs"
            ),
        ),
        (
            b"a: b: c\n",
            (
                "x.yaml:1  must be valid YAML: mapping values are not allowed in this context\n"
                '  Hint: put text that contains ": " in quotes, and align the fields'
            ),
        ),
        (
            b"a: 1\n---\nb: 2\n",
            (
                "x.yaml:2  must be valid YAML: but found another document\n"
                "  Hint: one object per file: remove the line ---"
            ),
        ),
        (
            b"a: 1\nb: 2\na: 3\nb: 4\n",
            (
                "2 things are wrong:\n"
                "x.yaml:3  a: must be given once, got it again (first at x.yaml:1)\n"
                "x.yaml:4  b: must be given once, got it again (first at x.yaml:2)"
            ),
        ),
    ],
)
def test_a_file_that_is_not_yaml_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_document(path)
    assert str(caught.value) == message
