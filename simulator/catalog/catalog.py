"""Catalog: from a name or a path to a frozen spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final, TypeVar

from simulator.catalog import files
from simulator.catalog.files import Kind
from simulator.chip import Chip, Memory
from simulator.document.complaint import Complaint, KeyPath, shown, spec_error
from simulator.document.document import Document, read_document
from simulator.document.override import PLACE, overridden
from simulator.document.validate import validated
from simulator.errors import SpecError
from simulator.runtime import Runtime
from simulator.scenario.spec import Scenario
from simulator.spec import Spec
from simulator.study import Study
from simulator.technology import Technology
from simulator.workload import Workload

SpecT = TypeVar("SpecT", bound=Spec)

_SPEC: Final[dict[Kind, type[Spec]]] = {
    "chip": Chip,
    "memory": Memory,
    "runtime": Runtime,
    "technology": Technology,
    "workload": Workload,
    "scenario": Scenario,
    "study": Study,
}

_DEVICE: Final[KeyPath] = ("dram", "device")
"""Where a chip names its memory."""

_REFERRING: Final[tuple[Kind, ...]] = ("chip", "workload", "scenario", "study")
"""Kinds whose files name objects of other kinds, or files."""


class Catalog:
    """The built-in catalogue and the user's own folders, which come first.

    A folder has the sub-folders `chips`, `memories`, `runtimes`, `technologies`, `workloads` and `scenarios` (which has
    the studies, too), or holds YAML files directly.
    Wherever a name is expected, a path to a .yaml file works, too.
    """

    def __init__(self, extra_folders: Sequence[Path | str] = ()) -> None:
        self._roots = files.search_roots(extra_folders)

    def load_chip(self, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Chip:
        """The chip of that name or in that file, with the memory that its DRAM names.

        Raises:
            SpecError: when there is none or it is not valid; lists all that is wrong with file and line.
        """
        return self._load(Chip, "chip", name_or_path, overrides)

    def changed(self, chip: Chip, overrides: Mapping[str, Any], place: str = PLACE) -> Chip:
        """A chip with values replaced, whose DRAM may name another memory of the catalogue.

        Args:
            chip: the chip.
            overrides: values by dotted path.
            place: where they are written, for messages.
        Raises:
            SpecError: when a path does not exist or a value breaks a rule.
        """
        document = Document(tree=chip.model_dump(), places={(): place})
        document = self._with_device(overridden(document, Chip, overrides, place))
        return validated(Chip, document, self._unknown_references(document))

    def load_memory(self, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Memory:
        """The memory of that name or in that file; raises as `load_chip` does."""
        return self._load(Memory, "memory", name_or_path, overrides)

    def load_runtime(self, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Runtime:
        """The runtime of that name or in that file; raises as `load_chip` does."""
        return self._load(Runtime, "runtime", name_or_path, overrides)

    def load_technology(self, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Technology:
        """The technology of that name or in that file; raises as `load_chip` does."""
        return self._load(Technology, "technology", name_or_path, overrides)

    def technology_of(self, chip: Chip) -> Technology | None:
        """The technology of a chip, None if it names none; raises as `load_chip` does."""
        return None if chip.technology is None else self.load_technology(chip.technology)

    def load_workload(self, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Workload:
        """The workload of that name or in that file; raises as `load_chip` does."""
        return self._load(Workload, "workload", name_or_path, overrides)

    def load_scenario(self, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
        """The scenario of that name or in that file; raises as `load_chip` does.

        What it refers to by name must be in the catalogue. A relative path in the file starts at the folder of the
        file; the scenario returned has the full path.
        """
        return self._load(Scenario, "scenario", name_or_path, overrides)

    def load_study(self, name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
        """The study of that name or in that file; raises as `load_chip` does, and treats names as `load_scenario`."""
        return self._load(Study, "study", name_or_path, overrides)

    def names(self, kind: Kind) -> list[str]:
        """Names of all objects of a kind, sorted."""
        return sorted(self._found(kind))

    def path(self, kind: Kind, name_or_path: str | Path) -> Path:
        """The file of an object.

        Raises:
            SpecError: when no folder has that name.
        """
        name = str(name_or_path)
        if files.is_path(name):
            return Path(name)
        found = self._found(kind)
        if name not in found:
            others = [other for other in files.FOLDER if other != kind and name in self._found(other)]
            raise files.unknown_name(kind, name, list(found), self._roots, others)
        return found[name]

    def _found(self, kind: Kind) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in files.candidates(self._roots, kind):
            if path.stem not in found and self._may_be(kind, path):
                found[path.stem] = path
        return found

    def _may_be(self, kind: Kind, path: Path) -> bool:
        """Whether a file is to be listed under a kind: by its folder, or by its fields where that leaves a choice."""
        of_folder = [other for other, folder in files.FOLDER.items() if folder == path.parent.name]
        if of_folder == [kind]:
            return True
        likely = self._likely_kinds(path)
        return kind in ([other for other in likely if other in of_folder] or of_folder or likely)

    def _likely_kinds(self, path: Path) -> list[Kind]:
        """The kinds whose fields a file has, together with what it extends."""
        fields: set[str] = set()
        seen: set[Path] = set()
        base: Path | None = path
        while base is not None and base not in seen:
            seen.add(base)
            try:
                tree = read_document(base).tree
            except SpecError:
                return list(files.FOLDER)  # a broken file is reported when it is loaded
            fields |= tree.keys()
            base = self._base(base.parent, tree.get("extends"))
        return _kinds_with(fields)

    def _base(self, folder: Path, name: object) -> Path | None:
        """The first file that `extends` may mean, whatever its kind."""
        if not isinstance(name, str):
            return None
        if files.is_path(name):
            return folder / name
        folders = [folder, *(root / sub for root in self._roots for sub in dict.fromkeys(files.FOLDER.values()))]
        return next((path for each in folders if (path := each / f"{name}.yaml").is_file()), None)

    def _load(
        self, spec_type: type[SpecT], kind: Kind, name_or_path: str | Path, overrides: Mapping[str, Any] | None
    ) -> SpecT:
        path = self.path(kind, name_or_path)
        document = self._read(kind, path, ())
        _check_kind(kind, path, document)
        complaints = _misnamed(path, document)
        document = self._with_device(document)
        changed = self._with_device(overridden(document, spec_type, overrides)) if overrides else document
        if kind in _REFERRING:
            complaints += self._unknown_references(changed)
        try:
            return validated(spec_type, changed, complaints)
        except SpecError:
            if not overrides or complaints:
                raise
        validated(spec_type, document, [])  # what is wrong with the file comes first; else it is the overrides
        return validated(spec_type, Document(tree=changed.tree, places={(): PLACE}), [])

    def _read(self, kind: Kind, path: Path, below: tuple[Path, ...]) -> Document:
        """The document of a file, merged over what it extends. `below` are the files that extend this one."""
        document = read_document(path)
        if kind in _REFERRING:
            _anchor_paths(document.tree, path.parent)
        if "extends" not in document.tree:
            return document
        place = document.places[("extends",)]
        base_name = document.tree["extends"]
        if not isinstance(base_name, str):
            raise spec_error([Complaint(place, ("extends",), f"must be the name of a {kind}, got {base_name}")])
        chain = (*below, path.resolve())
        try:
            base_path = self._near(kind, path.parent, base_name)
        except SpecError as error:
            raise SpecError(f"{place}  extends: {error.message.removeprefix(f'{kind}: ')}", hint=error.hint) from None
        if base_path.resolve() in chain:
            names = " -> ".join([*(file.stem for file in chain), base_path.stem])
            raise spec_error([Complaint(place, ("extends",), f"must not lead back to itself, got {names}")])
        return _merged(self._read(kind, base_path, chain), document)

    def _with_device(self, document: Document) -> Document:
        """A chip whose DRAM names a memory, with that memory in its place; any other document as it is."""
        dram = document.tree.get("dram")
        if not isinstance(dram, dict) or not isinstance(dram.get("device"), str):
            return document
        place, key_path = document.places.get(_DEVICE, document.places[()]), _DEVICE
        try:
            device = self._read("memory", self.path("memory", dram["device"]), ())
        except SpecError as error:
            if not error.message.startswith("memory: "):
                raise
            rule = error.message.removeprefix("memory: ")
            raise spec_error([Complaint(place, key_path, rule, error.hint)]) from None
        places = {(*key_path, *path): line for path, line in device.places.items() if path}
        tree = {**document.tree, "dram": {**dram, "device": device.tree}}
        return Document(tree=tree, places={**document.places, **places})

    def _near(self, kind: Kind, folder: Path, name: str) -> Path:
        """The file that a name in a file means: a path from its folder, a neighbour, or an object of the catalogue."""
        if files.is_path(name):
            return folder / name
        neighbour = folder / f"{name}.yaml"
        return neighbour if neighbour.is_file() else self.path(kind, name)

    def _unknown_references(self, document: Document) -> list[Complaint]:
        """Complaints about what the document refers to and nothing has."""
        complaints = []
        law = document.tree.get("law")
        if isinstance(law, str) and files.is_path(law) and not Path(law).is_file():
            rule = f"must be a file that exists, got {shown(Path(law))}"
            complaints.append(Complaint(document.places[("law",)], ("law",), rule))
        for kind, key_path, name in _references(document.tree):
            try:
                if not self.path(kind, name).is_file():
                    raise SpecError(f"must be a file that exists, got {shown(Path(name))}")
            except SpecError as error:
                rule = error.message.removeprefix(f"{kind}: ")
                place = document.places.get(key_path, document.places[()])
                complaints.append(Complaint(place, key_path, rule, error.hint))
        return complaints


def load_chip(
    name_or_path: str | Path, *, catalogue: Sequence[Path | str] = (), overrides: Mapping[str, Any] | None = None
) -> Chip:
    """A chip of the catalogue or of a file.

    >>> load_chip("orin-agx-64gb", overrides={"dram.rate": "8533 MT/s"}).dram.rate.status
    'assumed'
    """
    return Catalog(catalogue).load_chip(name_or_path, overrides)


def load_memory(
    name_or_path: str | Path, *, catalogue: Sequence[Path | str] = (), overrides: Mapping[str, Any] | None = None
) -> Memory:
    """A memory of the catalogue or of a file.

    >>> load_memory("lpddr5-6400").banks
    16
    """
    return Catalog(catalogue).load_memory(name_or_path, overrides)


def load_runtime(
    name_or_path: str | Path, *, catalogue: Sequence[Path | str] = (), overrides: Mapping[str, Any] | None = None
) -> Runtime:
    """A runtime of the catalogue or of a file."""
    return Catalog(catalogue).load_runtime(name_or_path, overrides)


def load_technology(
    name_or_path: str | Path, *, catalogue: Sequence[Path | str] = (), overrides: Mapping[str, Any] | None = None
) -> Technology:
    """A technology of the catalogue or of a file."""
    return Catalog(catalogue).load_technology(name_or_path, overrides)


def load_workload(
    name_or_path: str | Path, *, catalogue: Sequence[Path | str] = (), overrides: Mapping[str, Any] | None = None
) -> Workload:
    """A workload of the catalogue or of a file."""
    return Catalog(catalogue).load_workload(name_or_path, overrides)


def load_scenario(
    name_or_path: str | Path, *, catalogue: Sequence[Path | str] = (), overrides: Mapping[str, Any] | None = None
) -> Scenario:
    """A scenario of the catalogue or of a file."""
    return Catalog(catalogue).load_scenario(name_or_path, overrides)


def load_study(
    name_or_path: str | Path, *, catalogue: Sequence[Path | str] = (), overrides: Mapping[str, Any] | None = None
) -> Study:
    """A study of the catalogue or of a file."""
    return Catalog(catalogue).load_study(name_or_path, overrides)


def schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema of the files of a kind, for editors."""
    full = _SPEC[kind].model_json_schema(mode="validation")
    definitions = full.pop("$defs", {})
    extending = {
        "type": "object",
        "description": f"A {kind} that replaces some values of another one.",
        "required": ["name", "extends"],
        "properties": {
            "name": {"type": "string"},
            "extends": {"type": "string", "description": f"The {kind} whose values hold where this file has none."},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Roadline {kind}",
        "anyOf": [full, extending],
        "$defs": definitions,
    }


def _merged(base: Document, top: Document) -> Document:
    """The top document over the base: mappings merge, all else is replaced; `name` stays with its file."""
    places = {path: place for path, place in base.places.items() if path not in {(), ("name",)}}
    tree = {key: value for key, value in base.tree.items() if key != "name"}
    own = {key: value for key, value in top.tree.items() if key != "extends"}
    merged = _merge(tree, own, (), places)
    return Document(tree=merged, places={**places, **top.places})


def _merge(base: dict[str, Any], top: dict[str, Any], path: KeyPath, places: dict[KeyPath, str]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old, here = base.get(key), (*path, key)
        # what is sourced is replaced with its provenance: half of an old one would lie
        if isinstance(value, dict) and isinstance(old, dict) and not {"value", "values"} & (value.keys() | old.keys()):
            merged[key] = _merge(old, value, here, places)
            continue
        merged[key] = value
        for stale in [stale for stale in places if stale[: len(here)] == here]:
            del places[stale]
    return merged


def _misnamed(path: Path, document: Document) -> list[Complaint]:
    name = document.tree.get("name")
    if not isinstance(name, str) or name == path.stem:
        return []
    rule = f'must be the name of the file, "{path.stem}", got "{name}"'
    return [Complaint(document.places[("name",)], ("name",), rule, f"rename the file to {name}.yaml or the object")]


def _kinds_with(fields: Set[str]) -> list[Kind]:
    """The kinds that share most fields with a file."""
    shared = {kind: len(fields & spec_type.model_fields.keys()) for kind, spec_type in _SPEC.items()}
    return [kind for kind, count in shared.items() if count == max(shared.values())]


def _check_kind(kind: Kind, path: Path, document: Document) -> None:
    likely = _kinds_with(document.tree.keys())
    if kind not in likely:
        raise SpecError(f"{shown(path)}:1  must be a {kind}, got the fields of a {likely[0]}")


def _references(tree: Mapping[str, Any]) -> Iterator[tuple[Kind, KeyPath, str]]:
    """What a chip, a scenario or a study refers to by name or path."""
    named: list[tuple[Kind, KeyPath, Any]] = [
        ("chip", ("chip",), tree.get("chip")),
        ("runtime", ("runtime",), tree.get("runtime")),
        ("runtime", ("usual_runtime",), tree.get("usual_runtime")),
        ("technology", ("technology",), tree.get("technology")),
        ("workload", ("reference",), tree.get("reference")),
    ]
    dram = tree.get("dram")
    if isinstance(dram, dict):
        named.append(("memory", _DEVICE, dram.get("device")))
    streams = tree.get("streams")
    if isinstance(streams, dict):
        for name, stream in streams.items():
            if isinstance(stream, dict):
                named.append(("workload", ("streams", name, "workload"), stream.get("workload")))
    return ((kind, path, name) for kind, path, name in named if isinstance(name, str))


def _anchor_paths(tree: dict[str, Any], folder: Path) -> None:
    """Makes the paths in a tree start at the folder of its file."""
    named = [(path, name) for _, path, name in _references(tree) if files.is_path(name)]
    if isinstance(tree.get("law"), str) and files.is_path(tree["law"]):
        named.append((("law",), tree["law"]))
    decoder = tree.get("decoder")
    routing = decoder.get("routing") if isinstance(decoder, dict) else None
    if isinstance(routing, dict) and isinstance(routing.get("file"), str):
        named.append((("decoder", "routing", "file"), routing["file"]))
    for path, name in named:
        mapping = tree
        for key in path[:-1]:
            mapping = mapping[str(key)]
        mapping[str(path[-1])] = str(folder / name)
