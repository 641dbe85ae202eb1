"""From the errors of pydantic to complaints in the words of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simulator.document.complaint import Complaint, KeyPath
from simulator.document.document import Document
from simulator.document.structure import children, entry, member_for, tag_words
from simulator.errors import nearest
from simulator.units import written

_HINT: Final = "\n  Hint: "
_NAMED_FIELD: Final = re.compile(r"([a-z_]+)((?:\.[\w-]+)*): (.*)", re.DOTALL)

_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "missing": lambda context: "must be given",
    "extra_forbidden": lambda context: "must be a known field",
    "literal_error": lambda context: f"must be one of {_listed(context['expected'])}",
    "enum": lambda context: f"must be one of {_listed(context['expected'])}",
    "union_tag_invalid": lambda context: f"must be one of {_listed(context['expected_tags'])}",
    "union_tag_not_found": lambda context: "must be given",
    "greater_than": lambda context: f"must be above {context['gt']:g}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']:g}",
    "less_than": lambda context: f"must be below {context['lt']:g}",
    "less_than_equal": lambda context: f"must be at most {context['le']:g}",
    "finite_number": lambda context: "must be a finite number",
    "int_type": lambda context: "must be a whole number",
    "int_parsing": lambda context: "must be a whole number",
    "int_parsing_size": lambda context: "must be a whole number of ordinary size",
    "int_from_float": lambda context: "must be a whole number",
    "float_type": lambda context: "must be a number",
    "float_parsing": lambda context: "must be a number",
    "bool_type": lambda context: "must be true or false",
    "bool_parsing": lambda context: "must be true or false",
    "string_type": lambda context: "must be text",
    "string_too_short": lambda context: "must not be empty",
    "too_short": lambda context: f"must have at least {context['min_length']} entry",
    "tuple_type": lambda context: "must be a list",
    "list_type": lambda context: "must be a list",
    "dict_type": lambda context: "must be a mapping of names to entries",
    "model_type": lambda context: "must be a mapping of fields",
    "model_attributes_type": lambda context: "must be a mapping of fields",
}


def complaints_about(error: ValidationError, document: Document, spec_type: type[BaseModel]) -> list[Complaint]:
    """One complaint per error."""
    return [_complaint(detail, document, spec_type) for detail in error.errors() if not _is_echo(detail)]


def in_order(complaints: Sequence[Complaint], document: Document) -> list[Complaint]:
    """Complaints by line; those about the file itself before those about what it extends."""
    own_file = document.places.get((), "").rpartition(":")[0]

    def position(complaint: Complaint) -> tuple[bool, int]:
        file, _, line = complaint.place.rpartition(":")
        return file != own_file, int(line) if line.isdecimal() else 0

    return sorted(complaints, key=position)


def _is_echo(detail: ErrorDetails) -> bool:
    """Whether pydantic calls a list too short only because its entries have errors of their own."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _complaint(detail: ErrorDetails, document: Document, spec_type: type[BaseModel]) -> Complaint:
    kind, context = detail["type"], detail.get("ctx", {})
    path = _path(detail, document.tree)
    parent = path[:-1]
    if kind == "value_error":
        below, rule, hint = _split(str(context["error"]), document, spec_type, path)
        path = (*path, *below)
        return Complaint(_place(document, path), path, rule, hint)
    if kind in {"missing", "union_tag_not_found"}:
        return Complaint(
            _place(document, parent), path, "must be given, got nothing", _how_to_write(document, spec_type, path)
        )
    rule = _RULES[kind](context) if kind in _RULES else detail["msg"][0].lower() + detail["msg"][1:]
    got = path[-1] if kind == "extra_forbidden" else detail["input"]
    if kind == "union_tag_invalid":
        path, got = (*path, str(context["discriminator"]).strip("'")), context["tag"]
    hint = _hint(kind, context, got, [*_fields(document, spec_type, parent), *([] if parent else ["extends"])])
    return Complaint(_place(document, path), path, f"{rule}, got {written(got)}", hint)


def _path(detail: ErrorDetails, tree: Any) -> KeyPath:
    """The location without the tags of unions and the marks of keys, which are not in the file."""
    path: KeyPath = ()
    location = detail["loc"]
    for position, key in enumerate(location):
        is_there = key in tree if isinstance(tree, Mapping) else isinstance(tree, list) and isinstance(key, int)
        if is_there:
            path, tree = (*path, key), entry(tree, str(key))
        elif position == len(location) - 1 and detail["type"] == "missing":
            path = (*path, key)
    if detail["type"] == "union_tag_not_found":
        path = (*path, str(detail["ctx"]["discriminator"]).strip("'"))
    return path


def _place(document: Document, path: KeyPath) -> str:
    """The place of the value at a path, or of the nearest mapping around it."""
    if isinstance(_value_at(document.tree, path), Mapping) and (*path, "value") in document.places:
        path = (*path, "value")
    while path and path not in document.places:
        path = path[:-1]
    return document.places.get(path, "")


def _value_at(tree: Any, path: KeyPath) -> Any:
    for key in path:
        tree = entry(tree, str(key))
    return tree


def _fields(document: Document, spec_type: type[BaseModel], path: KeyPath) -> dict[str, Any]:
    """Names that may stand at a path, with their annotations."""
    annotation: Any = spec_type
    value: Any = document.tree
    for key in path:
        annotation = children(annotation, value).get(str(key))
        value = entry(value, str(key))
    return children(annotation, value)


def _split(
    message: str, document: Document, spec_type: type[BaseModel], path: KeyPath
) -> tuple[KeyPath, str, str | None]:
    """The path below a mapping that a rule of it begins with (or nothing), the rule, and its hint."""
    fact, _, hint = message.partition(_HINT)
    named = _NAMED_FIELD.fullmatch(fact)
    if named and named[1] in _fields(document, spec_type, path):
        return (named[1], *named[2].split(".")[1:]), named[3], hint or None
    return (), fact, hint or None


def _listed(expected: object) -> str:
    return str(expected).replace("'", "").replace(" or ", ", ")


def _hint(kind: str, context: Mapping[str, Any], got: object, fields: list[str]) -> str | None:
    if kind == "extra_forbidden":
        return nearest(str(got), fields)
    if kind in {"literal_error", "union_tag_invalid"} and isinstance(got, str):
        names = _listed(context.get("expected", context.get("expected_tags"))).split(", ")
        close = get_close_matches(got, names, n=1, cutoff=0.7)  # the rule lists them all: only a slip needs a hint
        return f'did you mean "{close[0]}"?' if close else None
    if kind == "string_type":
        return "put it in quotes"
    return None


def _how_to_write(document: Document, spec_type: type[BaseModel], path: KeyPath) -> str | None:
    """What a missing field is, in the words of its docstring."""
    annotation: Any = spec_type
    value: Any = document.tree
    description = None
    for key in path:
        from_model = getattr(member_for(annotation, value), "model_fields", {}).get(str(key))
        description = from_model.description if from_model else None
        if key in (tags := tag_words(annotation)):
            description = f"one of {', '.join(tags[key])}"
        annotation = children(annotation, value).get(str(key))
        value = entry(value, str(key))
    return description
