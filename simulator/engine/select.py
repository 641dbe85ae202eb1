"""Which engine a name means."""

from __future__ import annotations

from typing import Final, Literal, get_args

from simulator.engine.compiled import CompiledEngine
from simulator.engine.interface import Engine
from simulator.engine.reference import ReferenceEngine
from simulator.errors import SpecError, nearest

EngineName = Literal["auto", "reference", "compiled"]
ENGINE_NAMES: Final[tuple[EngineName, ...]] = get_args(EngineName)


def engine_named(name: EngineName) -> Engine:
    """The engine of a name; `auto` is the quickest.

    Raises:
        SpecError: when there is none.
    """
    if name not in ENGINE_NAMES:
        known = ", ".join(ENGINE_NAMES)
        raise SpecError(f'engine: must be one of {known}, got "{name}"', hint=nearest(name, ENGINE_NAMES))
    return ReferenceEngine() if name == "reference" else CompiledEngine()
