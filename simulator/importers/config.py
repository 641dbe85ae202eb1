"""Reading a JSON configuration: typed, with every complaint at once, and with an account of the keys that were read.

What the keys mean is in `decoders` and `towers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from simulator.document.complaint import Complaint, KeyPath, dotted, shown, spec_error
from simulator.errors import SpecError

MOST_BYTES: Final = 4 * 2**20
"""Of a configuration: real ones have a few thousand."""

MOST: Final = 100_000_000
"""Of a size, far above any model: what is larger is not a size."""


@dataclass
class Config:
    """One object of a configuration. A wrong value becomes a complaint and reads as a stand-in, until `check`."""

    tree: Mapping[str, Any]
    place: str
    """The file, for messages."""
    path: KeyPath = ()
    """Where the object stands in the file."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of keys that the file may leave out."""
    complaints: list[Complaint] = field(default_factory=list)
    read: set[KeyPath] = field(default_factory=set)
    """Keys that were looked at."""
    filled: dict[str, Any] = field(default_factory=dict)
    """Keys that were taken from `defaults`, by dotted path."""

    def has(self, key: str) -> bool:
        """Whether a key is there and not null."""
        self.read.add((*self.path, key))
        return self.tree.get(key) is not None

    def mark(self, *keys: str) -> None:
        """Notes that keys are known, wherever they are not read."""
        self.read.update((*self.path, key) for key in keys)

    def value(self, key: str) -> Any:
        """A value of any kind, None for null; where the key is not there, its default or None."""
        self.read.add((*self.path, key))
        if key in self.tree:
            return self.tree[key]
        default = self.defaults.get(key)
        if default is not None:
            self.filled[dotted((*self.path, key))] = default
        return default

    def whole(self, key: str, default: int | None = None, *, least: int = 1, most: int = MOST) -> int:
        """A whole number; without a default it must be there."""
        value = self.value(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.complain(key, f"must be a whole number from {least} to {most:,}", value)
            return max(least, 1)
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false; without a default it must be there."""
        value = self.value(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, bool):
            self.complain(key, "must be true or false", value)
            return False
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without a default it must be there."""
        value = self.value(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            self.complain(key, "must be text", value)
            return ""
        return value

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers from 0 on; empty if it is not there."""
        value = self.value(key)
        if value is None:
            return ()
        if not isinstance(value, list) or any(isinstance(each, bool) or not isinstance(each, int) for each in value):
            self.complain(key, "must be a list of whole numbers", value)
            return ()
        return tuple(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty if it is not there."""
        value = self.value(key)
        if value is None:
            return ()
        if not isinstance(value, list) or any(not isinstance(each, str) for each in value):
            self.complain(key, "must be a list of words", value)
            return ()
        return tuple(value)

    def pair(self, key: str) -> tuple[int, int]:
        """Height and width: two whole numbers, or one for both."""
        value = self.value(key)
        sides = value if isinstance(value, list) and len(value) == 2 else [value, value]
        if any(isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= MOST for side in sides):
            self.complain(key, "must be a whole number above zero, or two of them", value)
            return 1, 1
        return sides[0], sides[1]

    def part(self, key: str) -> Config:
        """An object inside this one."""
        value = self.value(key)
        if not isinstance(value, Mapping):
            self.complain(key, "must be an object", value)
            value = {}
        return Config(value, self.place, (*self.path, key), {}, self.complaints, self.read, self.filled)

    def complain(self, key: str, rule: str, got: Any, hint: str | None = None) -> None:
        """Notes what is wrong with a value."""
        words = "nothing" if got is None else written(got)
        self.complaints.append(Complaint(self.place, (*self.path, key), f"{rule}, got {words}", hint))

    def check(self) -> None:
        """Refuses the file if anything in it is wrong.

        Raises:
            SpecError: with all complaints.
        """
        if self.complaints:
            raise spec_error(list({str(each): each for each in self.complaints}.values()))

    def unread(self, ignored: Iterable[str]) -> list[str]:
        """Keys that nobody looked at and that are not known to be free of cost, by dotted path."""
        free = frozenset(ignored)
        known = {path[: len(self.path) + 1] for path in self.read}
        return [
            dotted((*self.path, key)) for key in self.tree if key not in free and (*self.path, key) not in known
        ]  # fmt: skip


def read_config(path: Path, most_bytes: int = MOST_BYTES) -> tuple[dict[str, Any], bytes]:
    """The top-level object of a JSON file, and its bytes.

    Raises:
        SpecError: when the file cannot be read, is too large, is not JSON, or is no object.
    """
    name = shown(path)
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise SpecError(f"{name}  cannot be read: {error.strerror or error}") from None
    if len(content) > most_bytes:
        rule = f"must be a file of at most {most_bytes // 2**20} MiB, got more"
        raise SpecError(f"{name}  {rule}", hint="name config.json, or the folder that holds it")
    return parse_object(content, name), content


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """The object that bytes of JSON describe; `name` is the file, for messages.

    Raises:
        SpecError: when the bytes are not JSON, have a key twice, or are no object.
    """
    try:
        tree = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_doubles)
    except UnicodeDecodeError:
        raise SpecError(f"{name}  must be UTF-8 text, got other bytes") from None
    except json.JSONDecodeError as error:
        place = f"{name}:{error.lineno}"
        is_cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        hint = "the file ends too early: is it complete?" if is_cut else None
        raise SpecError(f"{place}  must be valid JSON: {error.msg.lower()}", hint=hint) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{name}  must be valid JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict):
        raise SpecError(f"{name}  must be a JSON object, got {written(tree)}")
    return tree


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f'the key "{next(key for key in names if names.count(key) > 1)}" is given twice')
    return tree


def written(value: object) -> str:
    """A value as the file has it, for a message."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    words = json.dumps(value)
    return words if len(words) <= 40 else f"{words[:36]} ..."
