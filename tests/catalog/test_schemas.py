"""The JSON Schemas: they accept every file of the catalogue and refuse what the loader refuses."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.catalog import FOLDER, Kind, schema
from simulator.document.document import read_document
from simulator.errors import SpecError

ROOT = Path(__file__).parents[2]
FILES = [
    (kind, path)
    for kind, folder in FOLDER.items()
    for path in sorted((ROOT / folder).glob("*.yaml"))
    if folder != "scenarios" or (kind == "study") == ("\nspace:" in path.read_text(encoding="utf-8"))
]

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
ANNOTATIONS = {"$schema", "$defs", "title", "description", "default", "examples", "discriminator"}


Valid = Callable[[Any, dict[str, Any]], bool]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def others(value: dict[str, Any], rules: dict[str, Any]) -> list[Any]:
    """Values of the keys that `properties` does not name."""
    return [item for key, item in value.items() if key not in rules.get("properties", {})]


# keyword -> whether a value fulfils it, given the rule, its neighbours and a test of inner values; as much of JSON
# Schema as the specs use
KEYWORDS: dict[str, Callable[[Any, Any, dict[str, Any], Valid], bool]] = {
    "anyOf": lambda value, rule, _, valid: any(valid(value, option) for option in rule),
    "oneOf": lambda value, rule, _, valid: sum(valid(value, option) for option in rule) == 1,
    "type": lambda value, rule, *_: isinstance(value, TYPES[rule]) and isinstance(value, bool) == (rule == "boolean"),
    "const": lambda value, rule, *_: value == rule,
    "enum": lambda value, rule, *_: value in rule,
    "pattern": lambda value, rule, *_: not isinstance(value, str) or re.search(rule, value) is not None,
    "minLength": lambda value, rule, *_: not isinstance(value, str) or len(value) >= rule,
    "minimum": lambda value, rule, *_: not is_number(value) or value >= rule,
    "maximum": lambda value, rule, *_: not is_number(value) or value <= rule,
    "exclusiveMinimum": lambda value, rule, *_: not is_number(value) or value > rule,
    "exclusiveMaximum": lambda value, rule, *_: not is_number(value) or value < rule,
    "required": lambda value, rule, *_: not isinstance(value, dict) or value.keys() >= set(rule),
    "properties": lambda value, rule, _, valid: (
        not isinstance(value, dict) or all(valid(value[key], rule[key]) for key in rule if key in value)
    ),
    "additionalProperties": lambda value, rule, rules, valid: (
        not isinstance(value, dict) or all(valid(item, rule) for item in others(value, rules))
    ),
    "propertyNames": lambda value, rule, _, valid: (
        not isinstance(value, dict) or all(valid(key, rule) for key in value)
    ),
    "minProperties": lambda value, rule, *_: not isinstance(value, dict) or len(value) >= rule,
    "items": lambda value, rule, _, valid: not isinstance(value, list) or all(valid(item, rule) for item in value),
    "prefixItems": lambda value, rule, _, valid: not isinstance(value, list) or all(map(valid, value, rule)),
    "minItems": lambda value, rule, *_: not isinstance(value, list) or len(value) >= rule,
    "maxItems": lambda value, rule, *_: not isinstance(value, list) or len(value) <= rule,
}


def accepts(kind: Kind, tree: dict[str, Any]) -> bool:
    """Whether the schema of a kind accepts a file; a keyword that this test does not know is a KeyError."""
    root = json.loads(json.dumps(schema(kind)))

    def valid(value: Any, rules: dict[str, Any] | bool) -> bool:
        if isinstance(rules, bool):
            return rules
        if "$ref" in rules and not valid(value, root["$defs"][rules["$ref"].removeprefix("#/$defs/")]):
            return False
        keywords = rules.keys() - ANNOTATIONS - {"$ref"}
        return all(KEYWORDS[keyword](value, rules[keyword], rules, valid) for keyword in sorted(keywords))

    return valid(tree, root)


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: getattr(value, "stem", None))
def test_the_schema_accepts_every_file_of_the_catalogue(kind: Kind, path: Path) -> None:
    assert accepts(kind, read_document(path).tree)


@pytest.mark.parametrize("kind", FOLDER)
def test_the_schema_accepts_the_files_of_its_kind_and_no_other(kind: Kind, tiny_catalogue: Any) -> None:
    names = {
        "chip": "chips/tiny",
        "memory": "memories/cells",
        "runtime": "runtimes/plain",
        "workload": "workloads/words",
        "scenario": "scenarios/drive",
        "study": "scenarios/shapes",
    }
    accepted = {
        other: accepts(kind, read_document(tiny_catalogue.folder / f"{name}.yaml").tree)
        for other, name in names.items()
    }
    assert accepted == {other: other == kind for other in names}


@pytest.mark.parametrize(
    ("kind", "file", "old", "new"),
    [
        ("chip", "chips/tiny.yaml", "value: 6400 MT/s", "value: 6400"),
        ("chip", "chips/tiny.yaml", "value: 6400 MT/s", "value: 6400 MB/s"),
        ("chip", "chips/tiny.yaml", "{value: 6400 MT/s, source: me, status: datasheet}", "6400 MT/s"),
        ("chip", "chips/tiny.yaml", "{value: 6400 MT/s, source: me,", "{value: 6400 MT/s,"),
        ("chip", "chips/tiny.yaml", "{value: 6400 MT/s, source: me,", '{value: 6400 MT/s, source: "",'),
        ("chip", "chips/tiny.yaml", "    value: 0.75\n", "    value: 1.5\n"),
        ("chip", "chips/tiny.yaml", "    value: 0.75\n", "    value: 0\n"),
        ("chip", "chips/tiny.yaml", "title: Tiny chip", "tittle: Tiny chip"),
        ("chip", "chips/tiny.yaml", "title: Tiny chip", "title: 5"),
        ("chip", "chips/tiny.yaml", "weight: 0.5", "weight: 0"),
        ("chip", "chips/tiny.yaml", "          fp16: {", "          fp61: {"),
        ("memory", "memories/cells.yaml", "t_rcd: 18 ns", "t_rcd: 18"),
        ("memory", "memories/cells.yaml", "banks: 16", "banks: 0"),
        ("runtime", "runtimes/plain.yaml", "weight_buffers: 2", "weight_buffers: 9"),
        ("runtime", "runtimes/plain.yaml", "prefetches_weights: true", "prefetches_weights: yes"),
        ("runtime", "runtimes/plain.yaml", "graph_phases: [decode]", "graph_phases: [decoding]"),
        ("workload", "workloads/words.yaml", "phase: decode", "phase: decod"),
        ("workload", "workloads/words.yaml", "rate: 10 Hz", "rate: 10.0"),
        ("workload", "workloads/words.yaml", "layers: 2", "layers: 2.5"),
        ("scenario", "scenarios/drive.yaml", "policy: latest", "policy: newest"),
        ("study", "scenarios/shapes.yaml", "layers: [1, 2, 4]", "layers: []"),
        ("study", "scenarios/shapes.yaml", "layers: [1, 2, 4]", "layers: [1, 2.5]"),
        ("study", "scenarios/shapes.yaml", "kv_heads: [1, 2, heads]", "kv_heads: [1, 2, head]"),
        ("study", "scenarios/shapes.yaml", "values: [1, 8/3]", "values: [1, 8:3]"),
        ("study", "scenarios/shapes.yaml", "values: [1, 8/3], source", "source"),
        ("study", "scenarios/shapes.yaml", "objectives: [loss, total]", "objectives: [loss, totl]"),
        ("study", "scenarios/shapes.yaml", "memory: 1 GiB", "memory: 1 ms"),
        ("study", "scenarios/shapes.yaml", "precision: fp16", "precision: 16"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(
    kind: Kind, file: str, old: str, new: str, tiny_catalogue: Any
) -> None:
    path = tiny_catalogue.folder / file
    assert accepts(kind, read_document(path).tree)
    tiny_catalogue.edit(file, old, new)
    assert not accepts(kind, read_document(path).tree)
    with pytest.raises(SpecError):
        getattr(tiny_catalogue.catalog(), f"load_{kind}")(path)


@pytest.mark.parametrize("kind", FOLDER)
def test_every_field_is_described(kind: Kind) -> None:
    def undescribed(rules: Any, path: str) -> Iterator[str]:
        if isinstance(rules, dict):
            for name, field in rules.get("properties", {}).items():
                if isinstance(field, dict) and not field.get("description") and name not in {"name", "op", "phase"}:
                    yield f"{path}.{name}"
            for key, inner in rules.items():
                yield from undescribed(inner, f"{path}.{key}")
        elif isinstance(rules, list):
            for inner in rules:
                yield from undescribed(inner, path)

    assert list(undescribed(schema(kind), kind)) == []
