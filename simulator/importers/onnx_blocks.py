"""A list of operators as blocks: equal stretches in a row become one block that repeats.

A block hands on what its last operator makes, and nothing else. So a stretch repeats only if each time it reads the
same things from afar, or what the time before has made; and what is read from afar ends a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from simulator.importers.onnx_operators import Made, Source
from simulator.workload.network import INPUT

_CANDIDATES: Final = 24
"""Distances to operators of the same kind that are tried as the length of a stretch."""

_LEAST_SAVED: Final = 4
"""Operators that a repetition must spare, to be worth a block."""

_ROTATIONS: Final = 32
"""Beginnings that are tried for a stretch."""

_FOLLOWERS: Final = {"activation", "add", "multiply", "divide", "view", "gate", "rope"}
"""Operators that belong to what is before them, so no block begins with one if it need not."""

_MODULUS: Final = (1 << 61) - 1
_BASE: Final = 1_000_003

Stretch = tuple[int, int, int]
"""First operator, length of one repetition, repetitions."""


def blocks_of(made: Sequence[Made], inputs: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """The blocks of a network."""
    last_use = _last_uses(made)
    stretches = _stretches(made, _Reach(last_use))
    cuts = _cuts(len(made), stretches, last_use)
    ends = {first + length * times - 1: (first, length, times) for first, length, times in stretches}
    names: dict[int, str] = {}
    blocks: list[dict[str, Any]] = []
    begin = 0
    for cut in cuts:
        first, length, times = ends.get(cut, (begin, cut + 1 - begin, 1))
        assert first == begin
        name = f"{'layers' if times > 1 else 'part'}_{len(blocks) + 1}"
        blocks.append(_block(made, (first, length, times), name, names=names, inputs=inputs))
        names[cut] = name
        begin = cut + 1
    return tuple(blocks)


def _last_uses(made: Sequence[Made]) -> list[int]:
    """The last operator that reads each; itself if none does."""
    last = list(range(len(made)))
    for number, each in enumerate(made):
        for source in each.reads:
            if isinstance(source, int):
                last[source] = number
    return last


def _kinds(made: Sequence[Made]) -> list[int]:
    """A number for each operator, equal where all but the names is equal."""
    known: dict[Any, int] = {}
    kinds = []
    for each in made:
        fields = each.operator.model_dump(exclude={"name", "reads"})
        key = (tuple((name, str(value)) for name, value in fields.items()), each.shape, each.read_shapes)
        kinds.append(known.setdefault(key, len(known) + 1))
    return kinds


class _Prefixes:
    """Hashes of all beginnings of a sequence, so that two pieces of it are compared at once."""

    def __init__(self, kinds: Sequence[int]) -> None:
        self.hashes, self.powers = [0], [1]
        for kind in kinds:
            self.hashes.append((self.hashes[-1] * _BASE + kind) % _MODULUS)
            self.powers.append(self.powers[-1] * _BASE % _MODULUS)

    def of(self, first: int, length: int) -> int:
        """The hash of a piece."""
        return (self.hashes[first + length] - self.hashes[first] * self.powers[length]) % _MODULUS

    def common(self, one: int, other: int) -> int:
        """How long the pieces that begin there are equal."""
        low, high = 0, len(self.hashes) - 1 - other
        while low < high:
            middle = (low + high + 1) // 2
            if self.of(one, middle) == self.of(other, middle):
                low = middle
            else:
                high = middle - 1
        return low


def _stretches(made: Sequence[Made], reach: _Reach) -> list[Stretch]:
    """Stretches that repeat, in order, none over another."""
    kinds = _kinds(made)
    prefixes = _Prefixes(kinds)
    places: dict[int, list[int]] = {}
    rank = []
    for number, kind in enumerate(kinds):
        rank.append(len(places.setdefault(kind, [])))
        places[kind].append(number)
    found: list[Stretch] = []
    again: dict[int, int] = {}
    number = 0
    while number < len(made):
        best: Stretch | None = None
        for other in places[kinds[number]][rank[number] + 1 : rank[number] + 1 + _CANDIDATES]:
            length = other - number
            if other + length > len(made):
                break
            if best is not None and length <= best[1] * best[2] // 2 and length % best[1] == 0:
                continue
            if number < again.get(length, 0) or prefixes.of(number, length) != prefixes.of(other, length):
                continue
            span = length + prefixes.common(number, other)
            stretch = _aligned(made, reach, number, length, span)
            if stretch is None:  # every beginning of this length was tried
                again[length] = number + length
            if stretch is not None and (best is None or _saved(stretch) > _saved(best)):
                best = stretch
        if best is not None and _saved(best) >= _LEAST_SAVED:
            found.append(best)
            number = best[0] + best[1] * best[2]
        else:
            number += 1
    return found


def _saved(stretch: Stretch) -> int:
    _, length, times = stretch
    return length * (times - 1)


def _aligned(
    made: Sequence[Made], reach: _Reach, begin: int, length: int, span: int
) -> Stretch | None:  # fmt: skip
    """The stretch within a span that can be a block, with the most repetitions; None if there is none."""
    end = begin + span
    best: Stretch | None = None
    tried = 0
    for first in range(begin, min(begin + length, end - 2 * length + 1)):
        times = 0
        at = first
        # nothing but the last operator of a repetition is read after it
        while at + length <= end and reach.of(at, at + length - 1) <= at + length - 1:
            if times and not _reads_alike(made, first, at, length):
                break
            times += 1
            at += length
        tried += bool(times)
        begins_well = made[first].operator.op not in _FOLLOWERS
        if times >= 2 and (best is None or times > best[2] or (times == best[2] and begins_well)):
            best = first, length, times
        if tried == _ROTATIONS or (best is not None and begins_well and (best[2] + 1) * length > span):
            break
    return best


class _Reach:
    """The farthest use of the operators of any range."""

    def __init__(self, last_use: Sequence[int]) -> None:
        self._levels = [np.array(last_use, dtype=np.int64)]
        while 2 << len(self._levels) <= 2 * len(last_use):
            before, width = self._levels[-1], 1 << (len(self._levels) - 1)
            if len(before) <= width:
                break
            self._levels.append(np.maximum(before[:-width], before[width:]))

    def of(self, first: int, end: int) -> int:
        """Of those from `first` and before `end`; -1 if there are none."""
        if first >= end:
            return -1
        level = (end - first).bit_length() - 1
        table = self._levels[level]
        return int(max(table[first], table[end - (1 << level)]))


def _reads_alike(made: Sequence[Made], first: int, at: int, length: int) -> bool:
    """Whether a repetition reads what the first one does: the same from afar, or the one before it."""
    before: set[Source] = set()
    for place in range(length):
        one, other = made[first + place].reads, made[at + place].reads
        for source, here in zip(one, other, strict=True):
            if isinstance(source, int) and source >= first:
                if not isinstance(here, int) or here - at != source - first:
                    return False
            elif here == at - 1:
                before.add(source)
            elif here != source:
                return False
    if made[at - 1].shape != made[first + length - 1].shape or len(before) > 1:
        return False
    afar = {
        source for place in range(length) for source, here in
        zip(made[first + place].reads, made[at + place].reads, strict=True)
        if not (isinstance(source, int) and source >= first) and here != at - 1
    }  # fmt: skip
    return bool(before) and not (before & afar)


def _cuts(count: int, stretches: Sequence[Stretch], last_use: Sequence[int]) -> list[int]:
    """The last operators of all blocks, in order: what is read from another block ends its own."""
    ends: set[int] = {count - 1}
    inside: set[int] = set()
    for first, length, times in stretches:
        ends.add(first + length * times - 1)
        if first:
            ends.add(first - 1)
        inside.update(range(first, first + length * times - 1))
    cuts = []
    following = count
    for number in reversed(range(count)):
        if number in ends or (number not in inside and following < last_use[number]):
            cuts.append(number)
            following = number
    return cuts[::-1]


def _block(
    made: Sequence[Made], stretch: Stretch, name: str, *, names: dict[int, str], inputs: Sequence[str]
) -> dict[str, Any]:
    first, length, times = stretch
    block: dict[str, Any] = {"name": name}
    incoming: Source | None = None
    if times > 1:
        block["repeats"] = times
        at = first + length
        incoming = next(
            source for place in range(length) for source, here in
            zip(made[first + place].reads, made[at + place].reads, strict=True) if here == at - 1 and source != here
        )  # fmt: skip
    else:
        afar = [source for place in range(length) for source in made[first + place].reads
                if not (isinstance(source, int) and source >= first)]  # fmt: skip
        default = first - 1 if first else (inputs[0] if len(inputs) == 1 else None)
        incoming = default if default in afar else None
    usual: Source | None = first - 1 if first else (inputs[0] if len(inputs) == 1 else None)
    if incoming is not None and incoming != usual:
        block["reads"] = names[incoming] if isinstance(incoming, int) else incoming
    block["operators"] = _operators(made, stretch, incoming, names, {*inputs, *names.values(), name, INPUT})
    return block


def _operators(
    made: Sequence[Made], stretch: Stretch, incoming: Source | None, names: dict[int, str], taken: set[str]
) -> tuple[dict[str, Any], ...]:
    """The operators of a block, each with a name of its own, and what it reads unless that is the one before."""
    first, length, _ = stretch
    used: dict[str, int] = {}
    own: dict[Source, str] = {}
    if incoming is not None:
        own[incoming] = INPUT
    operators = []
    before = INPUT
    for number in range(first, first + length):
        each = made[number]
        reads = tuple(
            own.get(source) or (names[source] if isinstance(source, int) else source) for source in each.reads
        )
        name = each.operator.name
        while name in taken or name in used:
            used[each.operator.name] = used.get(each.operator.name, 1) + 1
            name = f"{each.operator.name}_{used[each.operator.name]}"
        used.setdefault(name, 1)
        own[number] = name
        fields = each.operator.model_dump(exclude_defaults=True, exclude={"name", "reads", "op"})
        operators.append(
            {"name": name, "op": each.operator.op, **({} if reads in {(), (before,)} else {"reads": reads}), **fields}
        )
        before = name
    return tuple(operators)
