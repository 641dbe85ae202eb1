"""Where objects lie: the user's folders first, then the built-in catalogue of the checkout or of the wheel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from simulator.document.complaint import shown
from simulator.errors import SpecError, nearest

Kind = Literal["chip", "memory", "runtime", "technology", "workload", "scenario", "study"]
"""What a YAML file describes."""

FOLDER: Final[dict[Kind, str]] = {
    "chip": "chips",
    "memory": "memories",
    "runtime": "runtimes",
    "technology": "technologies",
    "workload": "workloads",
    "scenario": "scenarios",
    "study": "scenarios",
}
"""The catalogue folder of each kind; scenarios and studies share one, and their fields tell them apart."""

ENVIRONMENT_VARIABLE: Final = "ROADLINE_CATALOGUE"
"""Further folders, separated as in PATH; they come after those of the caller and before the built-in catalogue."""

_SUFFIXES: Final = (".yaml", ".yml")


def built_in_folder() -> Path:
    """The root of the built-in catalogue: the checkout, else what the wheel carries.

    An editable install has both; its copy goes stale, so the checkout comes first.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    return checkout if (checkout / "pyproject.toml").is_file() else package / "_catalogue"


def search_roots(extra_folders: Sequence[Path | str]) -> list[Path]:
    """The folders to search, in order.

    Raises:
        SpecError: when a folder that the user named does not exist.
    """
    named = [(Path(folder), "catalogue") for folder in extra_folders]
    from_environment = os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)
    named += [(Path(folder), ENVIRONMENT_VARIABLE) for folder in from_environment if folder]
    for folder, origin in named:
        if not folder.is_dir():
            hint = f"it holds YAML files, or folders {', '.join(dict.fromkeys(FOLDER.values()))}"
            raise SpecError(f"{origin}: must be a folder that exists, got {folder}", hint=hint)
    return [*(folder for folder, _ in named), built_in_folder()]


def is_path(name: str) -> bool:
    """Whether a name means a file rather than an object of the catalogue."""
    return name.endswith(_SUFFIXES) or "/" in name or os.sep in name


def candidates(roots: Sequence[Path], kind: Kind) -> list[Path]:
    """Files that may describe an object of a kind, in order; loose files in a user's folder may be of any kind."""
    found: list[Path] = []
    for root in roots:
        folders = [root / FOLDER[kind]] + ([root] if root != built_in_folder() else [])
        for folder in folders:
            if folder.is_dir():
                found += sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    return found


def unknown_name(
    kind: Kind, name: str, known: Sequence[str], roots: Sequence[Path], of_kinds: Sequence[Kind]
) -> SpecError:
    """The error for a name that no folder has; `of_kinds` are the kinds that do have it."""
    searched = ", ".join(shown(root / FOLDER[kind]) for root in roots)
    hint = f'"{name}" is the name of a {of_kinds[0]}' if of_kinds else nearest(name, known)
    return SpecError(
        f'{kind}: must be a name of the catalogue or a path to a .yaml file, got "{name}" (searched {searched})',
        hint=hint,
    )
