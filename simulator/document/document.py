"""Reading one YAML file strictly, with the line of every value.

The rules are those of the YAML 1.2 core schema: `true` and `false` are the only booleans, `1e9` is a number, `1:30` and
`2026-01-02` are text. What could mean two things is refused: duplicate keys, numbers with a leading zero, `.nan` and
`.inf`, keys that are not text, aliases and tags. What the values mean is not known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from simulator.document.complaint import Complaint, KeyPath, shown, spec_error
from simulator.errors import SpecError

_CORE: Final = "tag:yaml.org,2002:"
_MAX_DEPTH: Final = 50

# What looks like a number but is not one in every reading of YAML.
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Loader(yaml.CSafeLoader):
    """Composes nodes with the scalars of the YAML 1.2 core schema; construction is done here."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML declares it so; add_implicit_resolver fills it below


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_CORE + _tag, re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(frozen=True)
class Document:
    """The values of a file as plain dicts, lists and scalars, and the place (`<file>:<line>`) of each."""

    tree: dict[str, Any]
    places: Mapping[KeyPath, str]


def read_document(path: Path) -> Document:
    """The content of a YAML file whose top level is a mapping.

    Raises:
        SpecError: when the file cannot be read, is not YAML, or breaks a rule of this module; lists all of them.
    """
    name = shown(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{name}  must be UTF-8 text, got other bytes") from None
    except OSError as error:
        raise SpecError(f"{name}  cannot be read: {error.strerror or error}") from None
    document = _read(text, name)
    if not isinstance(document.tree, dict):
        got = "an empty file" if document.tree is None else "a list" if isinstance(document.tree, list) else "a scalar"
        raise SpecError(f"{name}:1  must be a mapping of fields, got {got}", hint='the first field is "name: ..."')
    return document


def read_value(text: str, place: str, path: KeyPath = ()) -> Any:
    """A value written outside a file, by the same rules; `place` and `path` are for messages.

    >>> read_value("1e9", "option"), read_value("9600 MT/s", "option"), read_value("yes", "option")
    (1000000000.0, '9600 MT/s', 'yes')
    """
    return _read(text, place, path, has_lines=False).tree


def _read(text: str, name: str, path: KeyPath = (), *, has_lines: bool = True) -> Document:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark and has_lines else name
        complaint = Complaint(place, path, f"must be valid YAML: {error.problem}", _syntax_hint(error, text))
        raise spec_error([complaint]) from None
    except yaml.YAMLError as error:
        raise spec_error([Complaint(name, path, f"must be valid YAML: {str(error).splitlines()[0]}")]) from None
    finally:
        loader.dispose()
    if root is None:
        return Document(tree=None, places={})  # type: ignore[arg-type]
    reader = _Reader(name, has_lines=has_lines)
    tree = reader.value(root, path)
    if reader.complaints:
        raise spec_error(reader.complaints)
    return Document(tree=tree, places=reader.places)


def _syntax_hint(error: yaml.MarkedYAMLError, text: str) -> str | None:
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in str(error.problem):
        return 'put text that contains ": " in quotes, and align the fields'
    if "expected a single document" in str(error.context or error.problem):
        return "one object per file: remove the line ---"
    return None


class _Reader:
    """Turns nodes into values, noting places and collecting complaints."""

    def __init__(self, name: str, *, has_lines: bool) -> None:
        self._name = name
        self._has_lines = has_lines
        self._seen: set[int] = set()
        self.places: dict[KeyPath, str] = {}
        self.complaints: list[Complaint] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """The value of a node."""
        if id(node) in self._seen:  # its mark is that of the anchor
            place = self.places.get(path) or self.places[path[:-1]]
            rule = "must be written out, got an alias (*name)"
            return self.complaints.append(Complaint(place, path, rule, "write the value again"))
        self.places.setdefault(path, self._place(node))
        self._seen.add(id(node))
        if len(path) > _MAX_DEPTH:
            return self._refuse(node, path[:3], f"must be nested at most {_MAX_DEPTH} deep, got more", None)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _CORE + "str":
                got = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                self._refuse(key_node, path, f"a key must be text, got {got}", "put the key in quotes")
                continue
            key = key_node.value
            if key in mapping:
                first = self.places[(*path, key)]
                self._refuse(key_node, (*path, key), f"must be given once, got it again (first at {first})", None)
                continue
            self.places[(*path, key)] = self._place(key_node)
            mapping[key] = self.value(value_node, (*path, key))
        return mapping

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        if node.tag == _CORE + "str":
            if not node.style and _LEADING_ZERO.fullmatch(text):
                hint = "drop the zero, or put text in quotes"
                return self._refuse(node, path, f"must be a number without a leading zero, got {text}", hint)
            if not node.style and _NOT_FINITE.fullmatch(text):
                return self._refuse(node, path, f"must be a finite number, got {text}", None)
            return text
        try:
            return _CONVERT[node.tag.removeprefix(_CORE)](text)
        except KeyError:
            return self._refuse(node, path, f"must be plain YAML, got the tag {node.tag}", "remove the tag")
        except (ValueError, OverflowError):
            return self._refuse(node, path, f"must be a finite number, got {text[:40]}", None)

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}" if self._has_lines else self._name

    def _refuse(self, node: yaml.Node, path: KeyPath, rule: str, hint: str | None) -> None:
        self.complaints.append(Complaint(self._place(node), path, rule, hint))


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


_CONVERT: Final = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _integer,
    "float": _finite,
}
