"""Compilation of numeric loops to machine code: the one place that knows numba.

`compiled` is for functions that Python calls, `called` for the functions that these call. Machine code is kept in a
cache folder, so each installation compiles once. The folder is found when a function is first called: `ROADLINE_CACHE`
if that is set, else the user's cache folder, else one in the folder for temporary files; if none can be written, every
process compiles anew. The name of the subfolder is a hash of all sources in the folder of the function and of all
modules of ours that these import from, because numba notices a change in a function's own file only and machine code
has the constants of other modules in it. Compiled code may call functions of its own folder only.
"""

from __future__ import annotations

import getpass
import hashlib
import inspect
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

import numba
from numba.core import event

P = ParamSpec("P")
R = TypeVar("R")


_IMPORTS: Final = re.compile(r"^from (simulator[.\w]*) import", flags=re.MULTILINE)

_GENERAL: Final[dict[str, Any]] = {"error_model": "numpy"}
_IN_PLACE: Final[dict[str, Any]] = {**_GENERAL, "_nrt": False}


_LOADING_S: Final[ContextVar[float]] = ContextVar("loading_s", default=0.0)


def loading_s() -> float:
    """How long compiling functions, or loading them from the cache, has taken so far.

    It happens once per process and belongs to no run, so whoever measures a run takes the difference off.
    """
    return _LOADING_S.get()


class Compiled(Generic[P, R]):
    """A function that is compiled, or loaded from the cache, when it is first called."""

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        self.python = function
        """The same function, interpreted."""
        self._options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # noqa: D102
        if "_machine_code" not in self.__dict__:
            self._load(args)
        return cast("R", self._machine_code(*args, **kwargs))

    def _load(self, args: tuple[Any, ...]) -> None:
        """Compiles for arguments of these types, or loads from the cache, and notes how long it took."""
        begin_s = time.perf_counter()
        self._machine_code.compile(tuple(map(self._machine_code.typeof_pyval, args)))
        _LOADING_S.set(_LOADING_S.get() + time.perf_counter() - begin_s)

    @cached_property
    def _machine_code(self) -> Any:
        dispatcher = numba.njit(**self._options)(self.python)
        folder = _cache_folder(Path(inspect.getfile(self.python)).parent)
        if folder is not None:
            with _numba_cache_in(folder):
                dispatcher.enable_caching()
        return dispatcher


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """Marks a function of numbers, arrays and named tuples of them for compilation."""
    return Compiled(function, _GENERAL)


def called(function: Callable[P, R]) -> Callable[P, R]:
    """Marks a function that only compiled functions call."""
    return cast("Callable[P, R]", numba.njit(**_GENERAL)(function))


def compiled_in_place(function: Callable[P, R]) -> Compiled[P, R]:
    """Marks a function that makes no arrays, so that references to arrays need not be counted: many times quicker."""
    return Compiled(function, _IN_PLACE)


def called_in_place(function: Callable[P, R]) -> Callable[P, R]:
    """Marks a function that makes no arrays and that only functions compiled in place call."""
    return cast("Callable[P, R]", numba.njit(**_IN_PLACE)(function))


def inlined_in_place(function: Callable[P, R]) -> Callable[P, R]:
    """Marks a function like `called_in_place`; its code becomes part of every function that calls it."""
    return cast("Callable[P, R]", numba.njit(forceinline=True, **_IN_PLACE)(function))


@contextmanager
def told(tell: Callable[[], None]) -> Iterator[None]:
    """Calls `tell` once before the first real compilation inside the block; loading from the cache is none."""
    with event.install_listener("numba:compile", _Teller(tell)):
        yield


class _Teller(event.Listener):
    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._has_told = False

    def on_start(self, event: Any) -> None:
        if not self._has_told:
            self._has_told = True
            self._tell()

    def on_end(self, event: Any) -> None:
        pass


def _cache_folder(sources: Path) -> Path | None:
    """A folder for the machine code of a source folder that can be written, or None."""
    digest = hashlib.sha256()
    for path in _sources_that_decide(sources):
        digest.update(path.read_bytes())
    for base in _cache_bases():
        folder = base / f"{sources.name}-{digest.hexdigest()[:16]}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
            is_ours = status.st_uid == os.getuid() and not status.st_mode & 0o022  # others could put their code there
            with tempfile.TemporaryFile(dir=folder):
                if is_ours:
                    return folder
        except OSError:
            continue
    return None


def _sources_that_decide(sources: Path) -> list[Path]:
    """The sources of a folder, and of the modules and packages of ours that they import names from."""
    root = Path(__file__).parents[1]
    found = set(sources.glob("*.py"))
    for module in {name for path in found for name in _IMPORTS.findall(path.read_text(encoding="utf-8"))}:
        place = root.joinpath(*module.split("."))
        found |= {place.with_suffix(".py")} if place.with_suffix(".py").exists() else set(place.glob("*.py"))
    return sorted(found)


def _cache_bases() -> Iterator[Path]:
    if os.environ.get("ROADLINE_CACHE"):
        yield Path(os.environ["ROADLINE_CACHE"])
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if os.environ.get(name):
            yield Path(os.environ[name]) / "roadline"
    try:
        yield Path.home() / ".cache" / "roadline"
        user = getpass.getuser()
    except (RuntimeError, KeyError, OSError, ImportError):  # a user without a home or a name
        user = "user"
    yield Path(tempfile.gettempdir()) / f"roadline-{user}"


@contextmanager
def _numba_cache_in(folder: Path) -> Iterator[None]:
    """Lets numba choose a cache folder, which it does once per function; its own setting is put back."""
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        settings.CACHE_DIR = before
