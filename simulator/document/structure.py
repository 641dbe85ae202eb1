"""The structure of a spec: which fields exist at a path and of which type, read from the annotations of the spec.

Used to name the nearest valid field, and to check the path of an override before the value is looked at.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def plain_type(annotation: Any) -> Any:
    """An annotation without its metadata and without None: `Annotated[X, ...] | None` is X."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in {Union, types.UnionType}:
            members = [member for member in get_args(annotation) if member is not types.NoneType]
            if len(members) != 1:
                return annotation
            annotation = members[0]
        else:
            return annotation


def is_model(annotation: Any) -> bool:
    """Whether a plain type is a spec."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def member_for(annotation: Any, value: Any) -> Any:
    """The plain type of a value: for a union of specs, the one that its tag field names."""
    annotation = plain_type(annotation)
    if get_origin(annotation) not in {Union, types.UnionType} or not isinstance(value, Mapping):
        return annotation
    for member in map(plain_type, get_args(annotation)):
        if not is_model(member):
            continue
        for name, field in member.model_fields.items():
            if get_origin(field.annotation) is Literal and get_args(field.annotation) == (value.get(name),):
                return member
    return annotation


def tag_words(annotation: Any) -> dict[str | int, list[str]]:
    """The tag field of a union of specs with its words; empty for anything else."""
    words: dict[str | int, list[str]] = {}
    annotation = plain_type(annotation)
    for member in get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else ():
        for name, field in getattr(plain_type(member), "model_fields", {}).items():
            if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
                words.setdefault(name, []).extend(get_args(field.annotation))
    return words


def children(annotation: Any, value: Any) -> dict[str, Any]:
    """Names that may stand below a value, with their annotations. `value` is what is there now, or None."""
    annotation = member_for(annotation, value)
    if is_model(annotation):
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    if get_origin(annotation) is dict:
        key_type, item_type = get_args(annotation)
        names = list(value) if isinstance(value, Mapping) else []
        return dict.fromkeys([*names, *(get_args(key_type) if get_origin(key_type) is Literal else ())], item_type)
    if get_origin(annotation) is tuple and isinstance(value, Sequence):
        return {str(index): get_args(annotation)[0] for index in range(len(value))}
    return {}


def entry(value: Any, name: str) -> Any:
    """What is at a name below a value, None if nothing is."""
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, Sequence) and not isinstance(value, str) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    return None


def all_paths(annotation: Any, value: Any) -> Iterator[tuple[str, ...]]:
    """Every path that may be set below a value."""
    for name, child in children(annotation, value).items():
        yield (name,)
        for rest in all_paths(child, entry(value, name)):
            yield (name, *rest)
