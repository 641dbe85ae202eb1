"""Networks: convolution, bird's-eye-view and imported models, as blocks of typed operators.

An operator says what it does; the shape of what it makes follows from what it reads, so the resolution of a camera is
one number. Shapes are (images, channels, height, width) of a map, or (sequences, rows, width) of rows.
"""

from __future__ import annotations

import math
from collections import ChainMap, Counter
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pydantic import Field, model_validator

from simulator.spec import Spec
from simulator.workload.component import Component
from simulator.workload.network_operators import NetworkOperator, Shape

INPUT: Final = "input"
"""In a block, what the block reads."""


class NetworkBlock(Spec):
    """Operators that run once, or several times in a row with weights of their own each time."""

    name: str = Field(min_length=1)
    """By which later blocks read its result, that of its last operator."""
    repeats: int = Field(gt=0, default=1)
    """How often it runs; what it makes must then have the shape of what it reads."""
    reads: str | None = None
    """The block or network input that is its `input`; None for the block before it, or for the only network input."""
    operators: tuple[NetworkOperator, ...] = Field(min_length=1)
    """In the order in which a stack with one queue would run them."""


@dataclass(frozen=True)
class Placed:
    """An operator with the shapes of what it reads and makes."""

    operator: NetworkOperator
    sources: tuple[str, ...]
    """What it reads: operators of its block, `input`, blocks or network inputs."""
    inputs: tuple[Shape, ...]
    output: Shape


class Network(Component):
    """A model, or a part of one, that is no decoder, vision tower or action expert."""

    flop_published: int | None = Field(default=None, gt=0)
    """Published operations of one run, to compare with those of the operators."""
    inputs: dict[str, Shape] = Field(min_length=1)
    """Shapes of what the network reads, by name."""
    blocks: tuple[NetworkBlock, ...] = Field(min_length=1)
    """In order."""

    @model_validator(mode="after")
    def _shapes_agree(self) -> Network:
        for name, shape in self.inputs.items():
            if not shape or min(shape) < 1:
                raise ValueError(f"inputs.{name}: must have sizes of 1 or more, got {_text(shape)}")
        names = Counter([INPUT, *self.inputs, *(block.name for block in self.blocks)])
        for number, block in enumerate(self.blocks):
            own: set[str] = set()
            if names[block.name] > 1:
                raise ValueError(f'blocks[{number}].name: must be unique among inputs and blocks, got "{block.name}"')
            for place, operator in enumerate(block.operators):
                if operator.name in names or operator.name in own:
                    raise ValueError(
                        f"blocks[{number}].operators[{place}].name: must be unique in its block, and not that of an "
                        f'input or a block, got "{operator.name}"'
                    )
                own.add(operator.name)
        self.placed  # noqa: B018 - shapes are found, or refused, where the file can still be named
        return self

    @cached_property
    def placed(self) -> tuple[tuple[Placed, ...], ...]:
        """The operators of each block with their shapes.

        Raises:
            ValueError: when something is read that is not there, or shapes do not go together.
        """
        shapes: dict[str, Shape] = dict(self.inputs)
        blocks = []
        before: str | None = next(iter(self.inputs)) if len(self.inputs) == 1 else None
        for number, block in enumerate(self.blocks):
            reads = block.reads or before
            if reads is not None and reads not in shapes:
                raise ValueError(f'blocks[{number}].reads: must name one of {", ".join(shapes)}, got "{reads}"')
            incoming = None if reads is None else shapes[reads]
            own: dict[str, Shape] = {} if incoming is None else {INPUT: incoming}
            placed = tuple(_placed(block, number, ChainMap(own, shapes)))
            if block.repeats > 1 and placed[-1].output != incoming:
                read = "nothing that it names" if incoming is None else _text(incoming)
                raise ValueError(
                    f"blocks[{number}].repeats: must be 1 where a block makes {_text(placed[-1].output)} of {read}, "
                    f"got {block.repeats}"
                )
            blocks.append(placed)
            shapes[block.name] = placed[-1].output
            before = block.name
        return tuple(blocks)

    @property
    def output(self) -> Shape:
        """The shape of the result of the last block."""
        return self.placed[-1][-1].output


def _placed(block: NetworkBlock, number: int, shapes: MutableMapping[str, Shape]) -> Iterator[Placed]:
    before = INPUT
    for place, operator in enumerate(block.operators):
        sources = operator.reads or (before,)
        for source in sources:
            if source not in shapes:
                raise ValueError(
                    f"blocks[{number}].operators[{place}].reads: must name an operator of the block before it, "
                    f'{INPUT}, an earlier block or a network input, got "{source}"'
                )
        inputs = tuple(shapes[source] for source in sources)
        try:
            output = operator.output(inputs)
        except ValueError as error:
            raise ValueError(f"blocks[{number}].operators[{place}] ({operator.name}): {error}") from None
        if min(output) < 1:
            raise ValueError(
                f"blocks[{number}].operators[{place}] ({operator.name}): must make something of "
                f"{', '.join(map(_text, inputs))}, got {_text(output)}"
            )
        shapes[operator.name] = output
        before = operator.name
        yield Placed(operator, sources, inputs, output)


def rows_of(shape: Shape) -> int:
    """Positions of a map, or rows: everything but the width."""
    return math.prod(shape) // width_of(shape)


def width_of(shape: Shape) -> int:
    """Channels of a map, or the width of rows."""
    return shape[1] if len(shape) == 4 else shape[-1]


def _text(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
