"""The operators of a network as a file describes them, and the shape of what each makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.spec import Spec

Shape = tuple[int, ...]
"""(images, channels, height, width) of a map; (sequences, rows, width) or (rows, width) of rows."""

Size = Annotated[int, Field(gt=0)]
Pair = Size | tuple[Size, Size]
"""Height and width, or one number for both."""
Padding = Annotated[int, Field(ge=0)] | tuple[int, int, int, int]
"""Rows and columns of zeros around a map: one number, or top, left, bottom and right."""


class _Operator(Spec):
    name: str = Field(min_length=1)
    """Unique within its block."""
    reads: tuple[str, ...] = ()
    """What it reads, in order; empty for the operator before it, or what the block reads."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of what it makes.

        Raises:
            ValueError: when it cannot read those shapes.
        """
        raise NotImplementedError


class _Window(_Operator):
    """An operator that slides a window over a map."""

    kernel: Pair
    """Size of the window."""
    stride: Pair = 1
    """Steps of the window."""
    padding: Padding | None = None
    """Zeros around the map; None for as many as keep its size at a stride of 1, with an odd kernel."""
    dilation: Size = 1
    """Distance of neighbours in the window."""

    @property
    def taps(self) -> int:
        """Positions in the window."""
        return math.prod(_pair(self.kernel))

    def slid(self, height: int, width: int) -> tuple[int, int]:
        """Positions of the window on a map."""
        reach = [self.dilation * (size - 1) + 1 for size in _pair(self.kernel)]
        rows, columns = self._padded(reach)
        steps = _pair(self.stride)
        return (height + rows - reach[0]) // steps[0] + 1, (width + columns - reach[1]) // steps[1] + 1

    def _padded(self, reach: Sequence[int]) -> tuple[int, int]:
        if self.padding is None:
            return 2 * ((reach[0] - 1) // 2), 2 * ((reach[1] - 1) // 2)
        if isinstance(self.padding, int):
            return 2 * self.padding, 2 * self.padding
        top, left, bottom, right = self.padding
        return top + bottom, left + right


class Conv(_Window):
    """A convolution."""

    op: Literal["conv"]
    channels: Size
    """Channels that it makes."""
    groups: Size = 1
    """Groups of channels that do not see each other; as many as channels for a depthwise convolution."""
    bias: bool = False
    """Whether it adds a number per channel. A folded batch norm is one."""
    shares_weights: bool = False
    """Whether its weights are those of another convolution, which then counts them as parameters."""
    transposed: bool = False
    """Whether it makes `stride` times as many positions in each direction (an upsampling convolution)."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """A map of `channels`."""
        images, channels, height, width = _map(inputs)
        for field, count in (("what it reads", channels), ("channels", self.channels)):
            if count % self.groups:
                raise ValueError(f"groups: must divide the channels of {field} ({count}), got {self.groups}")
        if self.transposed:
            rows, columns = _pair(self.stride)
            return images, self.channels, height * rows, width * columns
        return images, self.channels, *self.slid(height, width)


class Pool(_Window):
    """The largest or the mean of each window of a map, channel by channel."""

    op: Literal["pool"]

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """A map of the same channels."""
        images, channels, height, width = _map(inputs)
        return images, channels, *self.slid(height, width)


class Mean(_Operator):
    """The mean of a whole map, channel by channel, or of all rows of a sequence."""

    op: Literal["mean"]

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """One position, or one row."""
        (shape,) = _inputs(inputs, 1)
        return (*shape[:2], 1, 1) if len(shape) == 4 else (*shape[:-2], 1, shape[-1])


class Resize(_Operator):
    """A map in another resolution."""

    op: Literal["resize"]
    height: Size
    """Rows of the new map."""
    width: Size
    """Columns of the new map."""
    taps: Literal[1, 4, 16]
    """Positions that a new one is made of: 1 for the nearest, 4 for bilinear interpolation, 16 for cubic."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """A map of the same channels."""
        images, channels, _, _ = _map(inputs)
        return images, channels, self.height, self.width


class Linear(_Operator):
    """Rows times a matrix."""

    op: Literal["linear"]
    width: Size
    """Columns of the matrix."""
    bias: bool = False
    """Whether it adds a number per column."""
    shares_weights: bool = False
    """Whether the matrix is that of another operator, which then counts it as parameters."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """As many rows of `width`."""
        shape = _rows(inputs)
        return *shape[:-1], self.width


class Product(_Operator):
    """Two activations multiplied: (sequences, rows, depth) times (sequences, depth, columns)."""

    op: Literal["product"]
    transposed: bool = False
    """Whether the second is stored as (sequences, columns, depth)."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """(sequences, rows, columns)."""
        one, other = _inputs(inputs, 2)
        depth, columns = other[-2:][:: -1 if self.transposed else 1]
        if len(one) != 3 or len(other) != 3 or one[0] != other[0] or one[2] != depth:
            raise ValueError(f"must read [s, m, k] and [s, k, n], got {list(one)} and {list(other)}")
        return one[0], one[1], columns


class Attend(_Operator):
    """Attention of queries to keys of their sequence: scores, softmax and values.

    It reads queries, keys and values, or one tensor with the three side by side.
    """

    op: Literal["attention"]
    heads: Size
    """Query heads."""
    kv_heads: Size | None = None
    """Heads of keys and values; None for as many as of queries."""
    causal: bool = False
    """Whether a query sees no keys after its own, of those that it reads."""
    cached: int = Field(ge=0, default=0)
    """Keys of a KV cache that every query sees besides."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """As many rows as there are queries, each as wide as a query."""
        keys = inputs[1][1] if len(inputs) == 3 and len(inputs[1]) == 3 else inputs[0][1]
        if self.causal and len(inputs[0]) == 3 and keys != inputs[0][1]:
            raise ValueError(f"causal: must read as many keys as queries ({inputs[0][1]}), got {keys}")
        for shape in inputs:
            if len(shape) != 3:
                raise ValueError(f"must read (sequences, rows, width), got {list(shape)}")
        sequences, rows, width = inputs[0]
        if len(inputs) == 1:
            if width % 3 or (width // 3) % self.heads:
                raise ValueError(f"must read a width of three times {self.heads} equal heads, got {width}")
            if self.kv_heads not in {None, self.heads}:
                raise ValueError(f"kv_heads: must be heads ({self.heads}) in one packed tensor, got {self.kv_heads}")
            return sequences, rows, width // 3
        if len(inputs) != 3 or inputs[1] != inputs[2] or inputs[1][0] != sequences:
            raise ValueError(
                f"must read queries, and keys and values alike of as many sequences, got {[list(s) for s in inputs]}"
            )
        kv_heads = self.kv_heads or self.heads
        if self.heads % kv_heads or width % self.heads or inputs[1][2] != width // self.heads * kv_heads:
            raise ValueError(
                f"must read keys of {kv_heads} heads as wide as the {self.heads} of queries ({width}), "
                f"got a width of {inputs[1][2]}"
            )
        return inputs[0]


class Cache(_Operator):
    """New keys and values go to the KV cache; it hands on the keys."""

    op: Literal["cache_write"]
    kv_heads: Size
    """Heads of keys and values."""
    cached: int = Field(ge=0, default=0)
    """Tokens that are there already."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The keys."""
        keys, values = _inputs(inputs, 2)
        if len(keys) != 3 or keys != values or keys[2] % self.kv_heads:
            raise ValueError(
                f"must read keys and values (sequences, rows, width) of {self.kv_heads} equal heads, "
                f"got {[list(s) for s in inputs]}"
            )
        return keys


class Sample(_Operator):
    """Weighted samples of maps at places that were computed (deformable and BEV attention, grid sampling).

    It reads the places, one row per query, and the maps or rows that are sampled.
    """

    op: Literal["sample"]
    heads: Size
    """Groups of channels that are sampled at places of their own."""
    points: Size
    """Samples per query and head, in all maps together."""
    taps: Literal[1, 4, 8]
    """Neighbours that a sample is made of: 4 for bilinear interpolation."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """As many rows as there are places, as wide as what is sampled."""
        if len(inputs) < 2:
            raise ValueError("must read places and at least one map, got one input")
        widths = {shape[1] if len(shape) == 4 else shape[-1] for shape in inputs[1:]}
        if len(widths) > 1 or len(inputs[0]) == 4:
            raise ValueError(f"must read rows of places, and maps of one width, got {[list(s) for s in inputs]}")
        return *inputs[0][:-1], widths.pop()


class Norm(_Operator):
    """A norm over the width of rows, or over the channels of a map; a batch norm is the bias of a convolution."""

    op: Literal["norm"]
    gains: Literal["none", "scale", "scale and shift"]
    """What it has learned per element of the width."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The same shape."""
        return _inputs(inputs, 1)[0]


class Activation(_Operator):
    """A function of every element."""

    op: Literal["activation"]
    function: Literal[
        "relu", "clip", "leaky_relu", "abs", "sigmoid", "tanh", "silu", "gelu", "exp", "log", "sqrt", "erf", "sin",
        "cos", "softmax",
    ]  # fmt: skip
    """Softmax is along the width."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The same shape."""
        return _inputs(inputs, 1)[0]


class Gate(_Operator):
    """An activation of one tensor times another: the gated FFN between its matrices. It reads gate and other."""

    op: Literal["gate"]
    function: Literal["silu", "gelu"]
    """Of the first."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of both."""
        one, other = _inputs(inputs, 2)
        if one != other:
            raise ValueError(f"must read two equal shapes, got {list(one)} and {list(other)}")
        return one


class Rope(_Operator):
    """Rotary position embedding of queries or keys, with sines from a table."""

    op: Literal["rope"]

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The same shape."""
        return _inputs(inputs, 1)[0]


class Arithmetic(_Operator):
    """Sum, product or quotient of tensors, element by element; smaller ones are repeated.

    With one tensor the other operand is a number. Differences, comparisons, choices and maxima are sums.
    """

    op: Literal["add", "multiply", "divide"]

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The shape of the largest."""
        largest = max(inputs, key=math.prod)
        for shape in inputs:
            padded = (*(1,) * (len(largest) - len(shape)), *shape)
            if any(size not in {1, full} for size, full in zip(padded, largest, strict=True)):
                raise ValueError(f"must read shapes that can be repeated to {list(largest)}, got {list(shape)}")
        return largest


class Concat(_Operator):
    """Tensors put together along the channels or the width, or along the rows."""

    op: Literal["concat"]
    along: Literal["width", "rows"]
    """The size that adds up; of maps the channels are the width, and image rows the rows."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """One size is the sum, the others are equal."""
        axis = 1 if len(inputs[0]) == 4 and self.along == "width" else -1 if self.along == "width" else -2
        kept = {tuple(size for place, size in enumerate(shape) if place != axis % len(shape)) for shape in inputs}
        if len(kept) > 1:
            raise ValueError(f"must read shapes that differ along one size only, got {[list(s) for s in inputs]}")
        output = list(inputs[0])
        output[axis] = sum(shape[axis] for shape in inputs)
        return tuple(output)


class Select(_Operator):
    """Some rows, which are copied: the best of many, or one frame of a memory."""

    op: Literal["select"]
    rows: Size
    """How many of each sequence."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """So many rows of every sequence."""
        shape = _rows(inputs)
        return *shape[:-2], self.rows, shape[-1]


class Copy(_Operator):
    """A tensor of elements that are copied: slices, gathered or scattered elements, padding, repetition."""

    op: Literal["copy"]
    shape: Annotated[Shape, Field(min_length=1)]
    """What is made."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The shape it says."""
        return self.shape


class Reduce(_Operator):
    """Sums, means or maxima of as many elements each."""

    op: Literal["reduce"]
    shape: Annotated[Shape, Field(min_length=1)]
    """What is left."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The shape it says."""
        (shape,) = _inputs(inputs, 1)
        if math.prod(shape) % math.prod(self.shape):
            raise ValueError(f"shape: must divide the elements of {list(shape)}, got {list(self.shape)}")
        return self.shape


class Lookup(_Operator):
    """Rows of a learned table, one for each number that it reads: the embedding of tokens."""

    op: Literal["embedding"]
    vocabulary: Size
    """Rows of the table."""
    width: Size
    """Elements of a row."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """A row for every number."""
        (shape,) = _inputs(inputs, 1)
        return *shape, self.width


class Learned(_Operator):
    """A tensor that was learned: queries, position embeddings, a map of the ground. It reads nothing."""

    op: Literal["learned"]
    shape: Annotated[Shape, Field(min_length=2)]
    """What is read from memory."""

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The shape it says."""
        return self.shape


class View(_Operator):
    """The same elements in another shape."""

    op: Literal["view"]
    shape: Literal["rows", "map"] | Annotated[Shape, Field(min_length=1)]
    """`rows` makes a sequence of each image's positions; a shape must have as many elements."""
    height: Size | None = None
    """Of the map that rows become."""
    copies: bool = False
    """Whether the elements are moved to another order, which costs a pass over them; else it costs nothing."""

    @model_validator(mode="after")
    def _map_has_height(self) -> View:
        if (self.shape == "map") != (self.height is not None):
            raise ValueError("height: must be given for a map, and only then")
        return self

    def output(self, inputs: Sequence[Shape]) -> Shape:
        """The other shape."""
        (shape,) = _inputs(inputs, 1)
        if self.shape == "rows":
            images, channels, height, width = _map(inputs)
            return images, height * width, channels
        if self.shape == "map":
            assert self.height is not None  # checked above
            sequences, rows, width = (1, *shape)[-3:]
            if rows % self.height:
                raise ValueError(f"height: must divide the rows ({rows}), got {self.height}")
            return sequences, width, self.height, rows // self.height
        assert not isinstance(self.shape, str)
        if math.prod(self.shape) != math.prod(shape):
            raise ValueError(
                f"shape: must have {math.prod(shape)} elements as {list(shape)} has, got {list(self.shape)}"
            )
        return self.shape


NetworkOperator = Annotated[
    Conv | Pool | Mean | Reduce | Resize | Linear | Product | Attend | Cache | Sample | Norm | Activation | Gate | Rope
    | Arithmetic | Concat | Select | Copy | Learned | Lookup | View,
    Field(discriminator="op"),
]  # fmt: skip


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _inputs(inputs: Sequence[Shape], count: int) -> Sequence[Shape]:
    if len(inputs) != count:
        raise ValueError(f"reads: must name {count}, got {len(inputs)}")
    return inputs


def _map(inputs: Sequence[Shape]) -> tuple[int, int, int, int]:
    (shape,) = _inputs(inputs, 1)
    if len(shape) != 4:
        raise ValueError(f"must read a map of (images, channels, height, width), got {list(shape)}")
    return shape[0], shape[1], shape[2], shape[3]


def _rows(inputs: Sequence[Shape]) -> Shape:
    (shape,) = _inputs(inputs, 1)
    if len(shape) == 4 or len(shape) < 2:
        raise ValueError(f"must read rows of (sequences, rows, width), got {list(shape)}; a view as rows makes them")
    return shape
