"""Overrides: values that replace those of a file, given as `path=value` or as a mapping of paths to values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import BaseModel

from simulator.document.complaint import Complaint, KeyPath, dotted, spec_error
from simulator.document.document import Document, read_value
from simulator.document.structure import all_paths, children, entry, member_for, plain_type
from simulator.errors import SpecError
from simulator.sourced import Sourced

PLACE = "override"
"""Stands in a message where a value of a file has `<file>:<line>`."""


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Overrides from `path=value` texts; values follow the rules of the YAML files.

    Raises:
        SpecError: when a text has no `=`, a value is not YAML, or a path comes twice.

    >>> parse_assignments(["dram.rate=9600 MT/s", "seed=7"])
    {'dram.rate': '9600 MT/s', 'seed': 7}
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        path = path.strip()
        if not path or not equals:
            raise SpecError(
                f'{PLACE}  must be path=value, got "{assignment}"', hint='write it such as "dram.rate=9600 MT/s"'
            )
        if path in overrides:
            raise SpecError(f"{PLACE}  {path}: must be given once, got it twice")
        overrides[path] = read_value(text, PLACE, (path,))
    return overrides


def overridden(
    document: Document, spec_type: type[BaseModel], overrides: Mapping[str, Any], place: str = PLACE
) -> Document:
    """A document with values replaced; `place` is where the new ones are written, for messages.

    A plain value for a sourced number becomes an assumed one, set by the user. Nothing instead of a mapping of names
    is an empty one.

    Raises:
        SpecError: when a path does not exist in `spec_type`.
    """
    tree: Any = document.tree
    places = dict(document.places)
    complaints = []
    for written, value in overrides.items():
        path, annotation, complaint = _resolve(spec_type, document.tree, written, place)
        if complaint:
            complaints.append(complaint)
            continue
        tree = _replaced(tree, path, _with_source(annotation, value))
        for old in [old for old in places if old[: len(path)] == path]:
            del places[old]
        places[path] = place
    if complaints:
        raise spec_error(complaints)
    return Document(tree=tree, places=places)


def _resolve(spec_type: type[BaseModel], tree: Any, written: str, place: str) -> tuple[KeyPath, Any, Complaint | None]:
    """The key path that a dotted path means, the annotation there, and a complaint if there is no such path."""
    path: KeyPath = ()
    annotation: Any = spec_type
    declared: Any = spec_type
    value: Any = tree
    rest = written.split(".")
    while rest:
        below = children(annotation, value)
        # a name may contain dots itself: the longest that exists wins
        taken = next((count for count in range(len(rest), 0, -1) if ".".join(rest[:count]) in below), 0)
        if not taken:
            return path, annotation, _unknown(spec_type, tree, (*path, ".".join(rest)), below, place)
        name = ".".join(rest[:taken])
        if annotation is Sourced and name == "value":
            break  # to change a number is to change its source, too
        declared, value, rest = below[name], entry(value, name), rest[taken:]
        annotation = member_for(declared, value)
        path = (*path, name)
    return _with_positions(path, tree), declared, None


def _with_positions(path: KeyPath, tree: Any) -> KeyPath:
    """A path whose list positions are numbers."""
    keys: KeyPath = ()
    for name in path:
        keys = (*keys, int(name) if isinstance(tree, list | tuple) else name)
        tree = entry(tree, str(name))
    return keys


def _unknown(
    spec_type: type[BaseModel], tree: Any, written: KeyPath, below: Mapping[str, Any], place: str
) -> Complaint:
    path, name = written[:-1], str(written[-1])
    close = get_close_matches(name, below, n=1)
    elsewhere = [dotted(found) for found in all_paths(spec_type, tree) if found[-1] == name]
    if not below:
        hint = f"{dotted(path)} has no fields of its own"
    elif not path and len(elsewhere) == 1:
        hint = f'did you mean "{elsewhere[0]}"?'
    elif close:
        hint = f'did you mean "{dotted((*path, close[0]))}"?'
    else:
        hint = f"known{f' below {dotted(path)}' if path else ''}: {', '.join(below)}"
    return Complaint(place, written, "must be the path of a field, got one that does not exist", hint)


def _with_source(annotation: Any, value: Any) -> Any:
    if plain_type(annotation) is Sourced and not isinstance(value, Mapping | Sourced):
        return {"value": value, "source": "set by the user", "status": "assumed"}
    return {} if value is None and get_origin(annotation) is dict else value


def _replaced(tree: Any, path: KeyPath, value: Any) -> Any:
    """A copy of the tree with one value replaced; what is not on the path is shared."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(tree, list | tuple):
        return [_replaced(item, rest, value) if index == key else item for index, item in enumerate(tree)]
    mapping = dict(tree or {})
    mapping[str(key)] = _replaced(mapping.get(str(key)), rest, value)
    return mapping
