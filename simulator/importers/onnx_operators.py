"""Nodes of an ONNX graph as operators of a network, each with the shapes that it needs.

Reshapes cost nothing here and are left to whoever reads the result: a view is made only where a shape must be another.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from simulator.errors import SpecError, nearest
from simulator.importers.onnx_fusion import OURS
from simulator.importers.onnx_graph import Node, OnnxGraph, Shape, elements
from simulator.workload import network_operators as described

Source = int | str
"""A made operator by its number, or an input of the network by its name."""


class Value(NamedTuple):
    """Where a tensor is. Its shape there may differ from that in the file, which then is a free view of it."""

    at: Source
    shape: Shape


@dataclass
class Made:
    """An operator with what it reads."""

    operator: Any
    reads: tuple[Source, ...]
    read_shapes: tuple[Shape, ...]
    shape: Shape


@dataclass
class Account:
    """What was decided or left out."""

    skipped: list[str] = field(default_factory=list)
    """Nodes that nobody knows, with their elements."""
    decided: Counter[str] = field(default_factory=Counter)
    """Decisions, with how often."""


_FUNCTIONS: Final = {
    "Relu": "relu", "LeakyRelu": "leaky_relu", "Clip": "clip", "Abs": "abs", "Neg": "abs", "Sign": "abs", "Not": "abs",
    "Floor": "abs", "Ceil": "abs", "Round": "abs", "HardSigmoid": "clip", "ThresholdedRelu": "relu", "IsNaN": "abs",
    "Sigmoid": "sigmoid", "Tanh": "tanh", "silu": "silu", "Swish": "silu", "Mish": "silu", "gelu": "gelu",
    "Gelu": "gelu", "FastGelu": "gelu", "QuickGelu": "gelu", "Exp": "exp", "Log": "log", "Sqrt": "sqrt",
    "Reciprocal": "sqrt", "Erf": "erf", "Sin": "sin", "Cos": "cos", "Elu": "exp", "Selu": "exp", "Celu": "exp",
    "Softplus": "log", "Softsign": "sqrt", "Softmax": "softmax", "LogSoftmax": "softmax",
}  # fmt: skip
"""Functions of one tensor, by the operator that costs as much."""

_ARITHMETIC: Final = {
    "Add": "add", "Sub": "add", "Sum": "add", "Min": "add", "Max": "add", "Where": "add", "Equal": "add", "Less": "add",
    "LessOrEqual": "add", "Greater": "add", "GreaterOrEqual": "add", "And": "add", "Or": "add", "Xor": "add",
    "Mod": "add", "CumSum": "add", "Mul": "multiply", "PRelu": "multiply", "Div": "divide",
}  # fmt: skip

_COPIES: Final = {"Slice", "Gather", "GatherND", "GatherElements", "ScatterND", "ScatterElements", "Scatter", "TopK",
                  "Tile", "Pad", "Expand", "Split", "Trilu", "DepthToSpace", "SpaceToDepth", "OneHot",
                  "NonMaxSuppression"}  # fmt: skip
"""Nodes that move elements."""

_REDUCTIONS: Final = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                      "ReduceSumSquare", "ReduceLogSumExp", "ArgMax", "ArgMin"}  # fmt: skip

_FREE: Final = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"}


class Converter:
    """Makes the operators of a graph, in its order."""

    def __init__(self, graph: OnnxGraph, *, skip_unknown: bool = False) -> None:
        self.graph = graph
        self.account = Account()
        self.made: list[Made] = []
        self.values: dict[str, Value] = {name: Value(name, shape or (1,)) for name, shape in graph.inputs.items()}
        self.consumers = graph.consumers()
        self._skip_unknown = skip_unknown
        self._owned: set[str] = set()
        self._learned: dict[str, Value] = {}
        self._views: dict[tuple[Source, Shape], Value] = {}
        self._outputs = set(graph.outputs)
        self._name = ""

    def convert(self) -> None:
        """Makes all operators.

        Raises:
            SpecError: when a node has no operator; the message names it.
        """
        for node in self.graph.nodes:
            self._name = _label(node)
            rule = self._rule(node)
            if rule is None:
                self._unknown(node)
                continue
            try:
                rule(node)
            except ValueError as error:
                raise SpecError(f"{self.graph.place}  {node.words}: {error}") from None
            except (KeyError, IndexError) as error:
                raise SpecError(f"{self.graph.place}  {node.words}: must have all inputs and attributes of the "
                                f"standard, got none for {error}") from None  # fmt: skip

    def _rule(self, node: Node) -> Callable[[Node], None] | None:
        if node.domain not in {"", "com.microsoft", OURS}:
            return None
        if node.op in _FREE:
            return self._pass
        tables = ((_FUNCTIONS, self._function), (_ARITHMETIC, self._arithmetic), (_COPIES, self._copy),
                  (_REDUCTIONS, self._reduce))  # fmt: skip
        for table, rule in tables:
            if node.op in table:
                return rule
        name = _RULES.get(node.op)
        return None if name is None else getattr(self, name)

    def _unknown(self, node: Node) -> None:
        if not self._skip_unknown:
            known = [*_FREE, *_FUNCTIONS, *_ARITHMETIC, *_COPIES, *_REDUCTIONS, *_RULES]
            raise SpecError(
                f"{self.graph.place}  {node.words}: cannot be imported",
                hint=f"{nearest(node.op, known) if node.domain == '' else 'it is no operator of the standard'}; "
                "--skip-unknown takes it for a copy of its results",
            )  # fmt: skip
        made = sum(elements(self.graph.shapes[name]) for name in node.outputs if name in self.graph.shapes)
        self.account.skipped.append(f"{node.words}: {made:,} elements made")
        self._copy(node)

    # tensors ---------------------------------------------------------------------------------------------------------

    def shape(self, name: str) -> Shape:
        """The shape of a tensor in the file."""
        return self.graph.shapes[name]

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is known beforehand."""
        return name in self.graph.constants

    def value(self, name: str) -> Value:
        """A tensor, whatever its shape; a learned one is read from memory when it is first used."""
        if name in self.values:
            return self.values[name]
        if name not in self._learned:
            shape = self.graph.constants[name].shape or (1,)
            shape = (1, *shape) if len(shape) < 2 else shape
            self._learned[name] = self._emit(described.Learned, (), shape=shape, _label=_safe(name) or "table")
        return self._learned[name]

    def read(self, name: str, shape: Shape | None = None) -> Value:
        """A tensor in this shape, or in that of the file."""
        value, shape = self.value(name), (self.shape(name) or (1,)) if shape is None else shape
        if value.shape == shape:
            return value
        key = (value.at, shape)
        if key not in self._views:
            self._views[key] = self._emit(described.View, [value], shape=shape, _label="view")
        return self._views[key]

    def rows(self, name: str, width: int | None = None) -> Value:
        """A tensor as rows of its last size, or of this width."""
        value, shape = self.value(name), self.shape(name)
        width = width or (shape[-1] if shape else 1)
        if len(value.shape) in {2, 3} and value.shape[-1] == width:
            return value
        total = elements(value.shape)
        lead = shape[0] if len(shape) > 2 and (total // width) % shape[0] == 0 else 1
        wanted = (lead, total // width // lead, width) if len(shape) > 2 else (total // width, width)
        return self.read(name, wanted)

    def is_private(self, name: str) -> bool:
        """Whether one node reads a tensor, and nobody else."""
        return len(self.consumers.get(name, ())) == 1 and name not in self._outputs

    def _emit(
        self, kind: Any, reads: Sequence[Value], _label: str | None = None, _op: str | None = None, **fields: Any
    ) -> Value:
        operator = kind(name=_label or self._name, op=_op or _op_of(kind), **fields)
        shape = operator.output([value.shape for value in reads])
        if min(shape, default=1) < 1:
            raise ValueError(f"must make something, got {list(shape)}")
        read_shapes = tuple(value.shape for value in reads)
        self.made.append(Made(operator, tuple(value.at for value in reads), read_shapes, shape))
        return Value(len(self.made) - 1, shape)

    def _set(self, node: Node, value: Value, output: int = 0) -> None:
        if output < len(node.outputs) and node.outputs[output]:
            self.values[node.outputs[output]] = value

    def _owns(self, name: str) -> bool:
        """Whether an operator is the first to use an initializer."""
        known = self.graph.constants.get(name)
        root = (known.root if known else "") or name
        is_first = root not in self._owned
        self._owned.add(root)
        return is_first

    # views and copies ------------------------------------------------------------------------------------------------

    def _pass(self, node: Node) -> None:
        self._set(node, self.value(node.inputs[0]))

    def _transpose(self, node: Node) -> None:
        name, out = node.inputs[0], node.outputs[0]
        shape, perm = self.shape(name), node.attributes.get("perm") or range(len(self.shape(name)))[::-1]
        value = self.value(name)
        moved = [axis for axis in perm if shape[axis] != 1]
        if node.attributes.get("free") or moved == sorted(moved):
            self._set(node, value)
        elif len(value.shape) == 4 and self._is_map_to_rows(shape, tuple(perm), value.shape):
            self.account.decided["a map becomes rows or rows a map without a copy: maps lie channels last"] += 1
            self._set(node, self._emit(described.View, [value], shape="rows"))
        elif (height := self._height_of_map(out, shape, tuple(perm))) is not None:
            self.account.decided["a map becomes rows or rows a map without a copy: maps lie channels last"] += 1
            value = self.read(name, (shape[0], math.prod(shape[1:-1]), shape[-1]))
            self._set(node, self._emit(described.View, [value], shape="map", height=height))
        else:
            self._set(node, self._emit(described.View, [value], shape=self.shape(out), copies=True))

    def _is_map_to_rows(self, shape: Shape, perm: tuple[int, ...], at: Shape) -> bool:
        images, channels, height, width = at
        flat = shape == (images, channels, height * width) and perm == (0, 2, 1)
        return flat or (shape == at and perm == (0, 2, 3, 1))

    def _height_of_map(self, out: str, shape: Shape, perm: tuple[int, ...]) -> int | None:
        if len(shape) == 4 and perm == (0, 3, 1, 2):
            return shape[1]
        if len(shape) == 3 and perm == (0, 2, 1) and self.is_private(out):
            reader = self.graph.nodes[self.consumers[out][0]]
            made = self.shape(reader.outputs[0])
            if reader.op == "Reshape" and len(made) == 4 and made[:2] == (shape[0], shape[2]):
                return made[2]
        return None

    def _copy(self, node: Node) -> None:
        """Elements that move; nothing where all of them stay as they are."""
        if node.op == "Gather" and self._lookup(node):
            return
        source = node.inputs[0] if node.inputs else ""
        for index, name in enumerate(node.outputs):
            if not name or (name not in self.graph.shapes):
                continue
            shape = self.shape(name) or (1,)
            if index and node.op != "Split" and not self.consumers.get(name):
                continue
            if node.op not in {"ScatterND", "ScatterElements", "Scatter", "DepthToSpace", "SpaceToDepth"} and (
                source in self.values and elements(shape) == elements(self.shape(source)) and node.op in _COPIES
            ):
                self._set(node, self.value(source), index)
                continue
            reads = [each for each in node.inputs if each in self.values or (each and each == source)]
            moved = {value.at: value for value in map(self.value, reads)}
            self._set(node, self._emit(described.Copy, list(moved.values()), shape=shape), index)

    def _lookup(self, node: Node) -> bool:
        """Whether a gather is that of an embedding."""
        table, places = node.inputs
        shape = self.shape(table)
        is_table = self.is_constant(table) and len(shape) == 2 and node.attributes.get("axis", 0) == 0
        if not is_table or not self.graph.constants[table].is_weight:
            return False
        if not self._owns(table):
            return False
        places_at = self.read(places)
        self._set(node, self._emit(described.Lookup, [places_at], vocabulary=shape[0], width=shape[1]))
        return True

    def _concat(self, node: Node) -> None:
        out, axis = node.outputs[0], node.attributes["axis"]
        if node.attributes.get("cache") and not self.consumers.get(out):
            return  # the cache with what is new: attention has written it
        shape = self.shape(out)
        axis %= len(shape)
        names = [name for name in node.inputs if elements(self.shape(name))]
        along = "width" if axis == (1 if len(shape) == 4 else len(shape) - 1) else "rows" if (
            axis == len(shape) - 2 and len(shape) > 1
        ) else None  # fmt: skip
        if along:
            value = self._emit(described.Concat, [self.read(name) for name in names], along=along)
        else:
            value = self._emit(described.Copy, [self.value(name) for name in names], shape=shape)
        self._set(node, value)

    def _reduce(self, node: Node) -> None:
        shape = self.shape(node.outputs[0]) or (1,)
        value = self.value(node.inputs[0])
        if elements(shape) == elements(value.shape):
            self._set(node, value)
            return
        source = self.shape(node.inputs[0])
        kept = shape if len(shape) == len(source) else None
        if value.shape == source and len(source) == 4 and elements(shape) == source[0] * source[1] and (
            kept is None or kept[2:] == (1, 1)
        ) and shape[:2] == source[:2]:  # fmt: skip
            self._set(node, self._emit(described.Mean, [value]))
        else:
            self._set(node, self._emit(described.Reduce, [value], shape=shape))

    # convolutions and maps -------------------------------------------------------------------------------------------

    def _map(self, name: str) -> Value:
        shape = self.shape(name)
        if len(shape) == 3:
            return self.read(name, (shape[0], shape[1], 1, shape[2]))
        if len(shape) != 4:
            raise ValueError(f"must read a map of one or two dimensions, got {list(shape)}")
        return self.read(name)

    def _conv(self, node: Node) -> None:
        weight = node.inputs[3 if node.op == "QLinearConv" else 1]
        bias = node.inputs[8:9] if node.op == "QLinearConv" else node.inputs[2:3]
        if not self.is_constant(weight):
            raise ValueError("must have weights that are learned, got computed ones")
        shape, attributes = self.shape(weight), node.attributes
        groups, is_transposed = attributes.get("group", 1), node.op == "ConvTranspose"
        channels = shape[1] * groups if is_transposed else shape[0]
        made = self.shape(node.outputs[0])
        has_bias = bool(bias and bias[0])
        if len(shape) == 5:
            self._patches(node, shape, channels, has_bias=has_bias)
            return
        value = self._map(node.inputs[0])
        fields: dict[str, Any] = {"channels": channels, "bias": has_bias, "transposed": is_transposed, "groups": groups}
        if not self._owns(weight):
            fields["shares_weights"] = True
        made = (*made[:2], 1, made[2]) if len(made) == 3 else made
        self._slide(node, value, described.Conv, kernel=shape[2:], fields=fields, made=made)

    def _patches(self, node: Node, weight: Shape, channels: int, *, has_bias: bool) -> None:
        """Windows of three dimensions that do not overlap are rows of a matrix."""
        steps = node.attributes.get("strides", [1, 1, 1])
        source = self.shape(node.inputs[0])
        made = self.shape(node.outputs[0])
        depth = math.prod(weight[1:])
        if list(steps) != list(weight[2:]) or elements(source) != math.prod(made[2:]) * source[0] * depth:
            raise ValueError("must have windows of two dimensions, or of three that do not overlap")
        rows = self.read(node.inputs[0], (source[0], math.prod(made[2:]), depth))
        self._set(node, self._emit(described.Linear, [rows], width=channels, bias=has_bias))
        self.account.decided["windows of three dimensions that do not overlap are rows of a matrix"] += 1

    def _slide(
        self, node: Node, value: Value, kind: Any, *, kernel: Sequence[int], fields: dict[str, Any], made: Shape
    ) -> None:
        """A window over a map, with the padding that makes the shape of the file."""
        attributes = node.attributes
        steps = list(attributes.get("strides") or [1] * len(kernel))
        apart = list(attributes.get("dilations") or [1] * len(kernel))
        if len(kernel) == 1:
            kernel, steps, apart = (1, *kernel), [1, *steps], [apart[0], *apart]
        apart = [each for each, size in zip(apart, kernel, strict=True) if size > 1] or [1]
        if len(set(apart)) > 1:
            raise ValueError(f"must have one dilation for both directions, got {apart}")
        window = {"kernel": _one(kernel), "stride": _one(steps), "dilation": apart[0], **fields}
        if fields.get("transposed"):
            value = self._emit(kind, [value], **window)
            if value.shape[2:] != made[2:]:
                self.account.decided["the edges of an upsampling convolution are cut by a copy"] += 1
                value = self._emit(described.Copy, [value], shape=made)
        else:
            value = self._emit(kind, [value], padding=_padding(window, value.shape, made), **window)
        self._set(node, value)

    def _pool(self, node: Node) -> None:
        made = self.shape(node.outputs[0])
        made = (*made[:2], 1, made[2]) if len(made) == 3 else made
        kernel = node.attributes["kernel_shape"]
        self._slide(node, self._map(node.inputs[0]), described.Pool, kernel=kernel, fields={}, made=made)

    def _mean(self, node: Node) -> None:
        self._set(node, self._emit(described.Mean, [self._map(node.inputs[0])]))

    def _resize(self, node: Node) -> None:
        value, made = self._map(node.inputs[0]), self.shape(node.outputs[0])
        made = (*made[:2], 1, made[2]) if len(made) == 3 else made
        if value.shape == made:
            self._set(node, value)
            return
        if value.shape[:2] != made[:2]:
            raise ValueError(f"must keep images and channels, got {list(value.shape)} and {list(made)}")
        taps = {"nearest": 1, "linear": 4, "bilinear": 4, "cubic": 16}[node.attributes.get("mode", "nearest")]
        self._set(node, self._emit(described.Resize, [value], height=made[2], width=made[3], taps=taps))

    def _grid_sample(self, node: Node) -> None:
        values, grid, made = self._map(node.inputs[0]), node.inputs[1], self.shape(node.outputs[0])
        places = self.read(grid, (made[0], made[2] * made[3], 2))
        mode = node.attributes.get("mode", "linear")
        taps = 1 if mode == "nearest" else 4
        sampled = self._emit(described.Sample, [places, values], heads=1, points=16 // 4 if "cubic" in mode else 1,
                             taps=taps)  # fmt: skip
        self._set(node, self._emit(described.View, [sampled], shape="map", height=made[2], _label="view"))

    def _batch_norm(self, node: Node) -> None:
        name = node.inputs[0]
        value = self.value(name)
        producer = self.made[value.at] if isinstance(value.at, int) else None
        if producer and isinstance(producer.operator, described.Conv | described.Linear) and self.is_private(name):
            self._add_bias(value)
            self.account.decided["a batch norm is the bias of the convolution or matrix before it"] += 1
            self._set(node, value)
            return
        self.account.decided["a batch norm with no convolution or matrix before it is a norm"] += 1
        self._set(node, self._emit(described.Norm, [self.read(name)], gains="scale and shift"))

    def _add_bias(self, value: Value) -> None:
        assert isinstance(value.at, int)
        producer = self.made[value.at]
        producer.operator = producer.operator.model_copy(update={"bias": True})

    # matrices --------------------------------------------------------------------------------------------------------

    def _matmul(self, node: Node) -> None:
        one, other = node.inputs[:2]
        if node.op == "QLinearMatMul":
            other = node.inputs[3]
        if self.is_constant(other) and len(self.shape(other)) == 2:
            width = self.shape(other)[0 if node.attributes.get("transB") else 1]
            self._linear(node, one, other, width)
        else:
            self._product(node, one, other)

    def _gemm(self, node: Node) -> None:
        one, other, *rest = node.inputs
        is_fixed = self.is_constant(other) and not node.attributes.get("transA")
        has_bias = bool(rest and rest[0] and self.is_constant(rest[0]))
        if is_fixed and (has_bias or not (rest and rest[0])):
            self._linear(node, one, other, self.shape(node.outputs[0])[-1], has_bias=has_bias)
            return
        if node.attributes.get("transA"):
            raise ValueError("must not turn round what it reads (transA)")
        product = self._emit(described.Product, [self.read(one, (1, *self.shape(one))),
                                                 self.read(other, (1, *self.shape(other)))],
                             transposed=bool(node.attributes.get("transB")))  # fmt: skip
        if rest and rest[0]:
            product = self._emit(described.Arithmetic, [product, self.value(rest[0])], _op="add")
        self._set(node, product)

    def _quantised_linear(self, node: Node) -> None:
        """Rows times a matrix whose numbers lie in groups of a few bits each."""
        self._linear(node, node.inputs[0], node.inputs[1], node.attributes["N"],
                     has_bias=len(node.inputs) > 5 and bool(node.inputs[5]))  # fmt: skip

    def _linear(self, node: Node, source: str, weight: str, width: int, *, has_bias: bool = False) -> None:
        fields: dict[str, Any] = {} if self._owns(weight) else {"shares_weights": True}
        self._set(node, self._emit(described.Linear, [self.rows(source)], width=width, bias=has_bias, **fields))

    def _product(self, node: Node, one: str, other: str) -> None:
        shape = self.shape(node.outputs[0])
        first, second = self.shape(one), self.shape(other)
        if len(first) < 2 or len(second) < 2:
            first = (1, *first) if len(first) < 2 else first
            second = (*second, 1) if len(second) < 2 else second
            shape = (*shape, 1) if len(self.shape(other)) < 2 else (*shape[:-1], 1, shape[-1])
        batch = math.prod(shape[:-2])
        left: Shape
        right: Shape
        if math.prod(second[:-2]) == 1:
            left, right = (1, elements(first) // first[-1], first[-1]), (1, *second[-2:])
        else:
            left, right = (batch, *first[-2:]), (batch, *second[-2:])
        reads = []
        for name, wanted in ((one, left), (other, right)):
            if elements(wanted) == elements(self.shape(name)):
                reads.append(self.read(name, wanted))
            else:
                self.account.decided["an operand of a product is repeated by a copy"] += 1
                reads.append(self._emit(described.Copy, [self.value(name)], shape=wanted))
        self._set(node, self._emit(described.Product, reads))

    # elements --------------------------------------------------------------------------------------------------------

    def _function(self, node: Node) -> None:
        value = self.value(node.inputs[0])
        if node.op == "Softmax" and node.attributes.get("axis", -1) not in {-1, len(self.shape(node.inputs[0])) - 1}:
            self.account.decided["a softmax along another size is one along the width"] += 1
        self._set(node, self._emit(described.Activation, [value], function=_FUNCTIONS[node.op]))

    def _biased_gelu(self, node: Node) -> None:
        self._arithmetic(Node("Add", "", node.name, node.inputs[:2], node.outputs))
        self._set(node, self._emit(described.Activation, [self.values[node.outputs[0]]], function="gelu"))

    def _hard_swish(self, node: Node) -> None:
        value = self.value(node.inputs[0])
        clipped = self._emit(described.Activation, [value], function="clip", _label=f"{self._name}_clip")
        self._set(node, self._emit(described.Arithmetic, [clipped, value], _op="multiply"))

    def _power(self, node: Node) -> None:
        known = self.graph.constants.get(node.inputs[1])
        exponent = None if known is None or known.value is None else float(known.value.ravel()[0])
        value = self.value(node.inputs[0])
        if exponent == 2:
            self._set(node, self._emit(described.Arithmetic, [value], _op="multiply"))
        else:
            function = "sqrt" if exponent in {0.5, -0.5} else "exp"
            self._set(node, self._emit(described.Activation, [value], function=function))

    def _arithmetic(self, node: Node) -> None:
        out, op = node.outputs[0], _ARITHMETIC[node.op]
        names = [name for name in node.inputs if name and not (self.is_constant(name) and self._is_number(name))]
        if node.op in {"Add", "Sum"} and self._is_bias(names):
            self._set(node, self.value(names[0] if not self.is_constant(names[0]) else names[1]))
            return
        if node.op == "Div" and len(node.inputs) == 2 and self.is_constant(node.inputs[1]):
            op = "multiply"
        if not names:
            names = [name for name in node.inputs if name][:1]
        values = [self.value(name) for name in names]
        shapes = {self.shape(name) for name in names}
        if len(values) > 1 and (len({value.shape for value in values}) > 1 or len(shapes) > 1):
            values = self._alike(names)
        if elements(self.shape(out)) > max(elements(value.shape) for value in values):
            values = [*values, self._emit(described.Copy, values[:1], shape=self.shape(out))]
        self._set(node, self._emit(described.Arithmetic, values, _op=op))

    def _alike(self, names: Sequence[str]) -> list[Value]:
        """Operands of different shapes in those of the file, so that the smaller can be repeated."""
        has_rows = any(len(self.shape(name)) > 1 for name in names)
        return [
            self.value(name) if has_rows and self.is_constant(name) and len(self.shape(name)) < 2 else self.read(name)
            for name in names
        ]

    def _is_number(self, name: str) -> bool:
        return elements(self.shape(name)) == 1

    def _is_bias(self, names: Sequence[str]) -> bool:
        """Whether one operand is the bias of the matrix or convolution that makes the other; then it has one."""
        if len(names) != 2 or sum(map(self.is_constant, names)) != 1:
            return False
        learned, other = sorted(names, key=self.is_constant, reverse=True)
        value = self.value(other)
        producer = self.made[value.at] if isinstance(value.at, int) else None
        if producer is None or not self.is_private(other) or elements(value.shape) != elements(self.shape(other)):
            return False
        operator, shape = producer.operator, self.shape(learned)
        if getattr(operator, "bias", True):
            return False
        is_linear = isinstance(operator, described.Linear) and shape[-1:] == (operator.width,)
        is_conv = isinstance(operator, described.Conv) and shape[-3:] == (operator.channels, 1, 1)
        last = self.shape(other)[-1] == elements(shape) if is_linear else True
        if not (is_linear or is_conv) or elements(shape) != value.shape[-1 if is_linear else 1] or not last:
            return False
        self._add_bias(value)
        return True

    def _gate(self, node: Node) -> None:
        values = [self.value(name) for name in node.inputs]
        if values[0].shape != values[1].shape:
            values = [self.read(name) for name in node.inputs]
        self._set(node, self._emit(described.Gate, values, function=node.attributes["function"]))

    def _rope(self, node: Node) -> None:
        self._set(node, self._emit(described.Rope, [self.value(node.inputs[0])]))

    # norms -----------------------------------------------------------------------------------------------------------

    def _norm(self, node: Node) -> None:
        self._set(node, self._emit(described.Norm, [self.rows(node.inputs[0])], gains=node.attributes["gains"]))

    def _layer_norm(self, node: Node) -> None:
        shape, axis = self.shape(node.inputs[0]), node.attributes.get("axis", -1)
        rows = self.rows(node.inputs[0], math.prod(shape[axis:]))
        has_shift = len(node.inputs) > 2 and bool(node.inputs[2])
        self._set(node, self._emit(described.Norm, [rows], gains="scale and shift" if has_shift else "scale"))

    def _skip_norm(self, node: Node) -> None:
        one, other, *rest = node.inputs
        is_rms = node.op == "SkipSimplifiedLayerNormalization"
        total = self._emit(described.Arithmetic, [self.value(one), self.read(other, self.value(one).shape)], _op="add",
                           _label=f"{self._name}_add")  # fmt: skip
        has_shift = not is_rms and len(rest) > 1 and bool(rest[1])
        self._set(node, total, 3)
        self.values[f"{node.outputs[0]}.sum"] = total
        self._set(node, self._emit(described.Norm, [total], gains="scale and shift" if has_shift else "scale"))

    def _map_norm(self, node: Node) -> None:
        """A norm over groups of channels; gains of single groups, which are ones, are none."""
        value = self.value(node.inputs[0])
        gains = elements(self.shape(node.inputs[1]))
        width = value.shape[1] if len(value.shape) == 4 else value.shape[-1]
        self._set(node, self._emit(described.Norm, [value], gains="scale and shift" if gains == width else "none"))

    def _local_norm(self, node: Node) -> None:
        """A norm that has nothing learned."""
        self._set(node, self._emit(described.Norm, [self.value(node.inputs[0])], gains="none"))

    # attention -------------------------------------------------------------------------------------------------------

    def _fused_attention(self, node: Node) -> None:
        sizes = node.attributes
        if len(node.inputs) == 1:
            width = sizes["heads"] * sizes["width"]
            packed = self.read(node.inputs[0], (sizes["batch"], sizes["queries"], 3 * width))
            self._set(node, self._emit(described.Attend, [packed], heads=sizes["heads"], causal=sizes["causal"]))
            return
        self._attend(node, node.inputs, sizes)

    def _attend(self, node: Node, names: Sequence[str], sizes: dict[str, Any]) -> None:
        """Queries, keys and values as rows of all heads side by side."""
        batch, heads, kv_heads, width = (sizes[key] for key in ("batch", "heads", "kv_heads", "width"))
        queries = self.read(names[0], (batch, sizes["queries"], heads * width))
        key, value = (self.read(name, (batch, sizes["keys"], kv_heads * width)) for name in names[1:])
        cached = sizes["cached"]
        if sizes["writes"]:
            key = self._emit(described.Cache, [key, value], kv_heads=kv_heads, cached=cached, _label="cache_write")
        made = self._emit(
            described.Attend, [queries, key, value], heads=heads, kv_heads=None if kv_heads == heads else kv_heads,
            causal=sizes["causal"] and sizes["queries"] > 1, cached=cached,
        )  # fmt: skip
        self._set(node, made)

    def _standard_attention(self, node: Node) -> None:
        if node.domain:
            self._packed_attention(node)
            return
        names = [*node.inputs, *[""] * 6][:6]
        q, k, v = map(self.shape, names[:3])
        heads = q[1] if len(q) == 4 else node.attributes["q_num_heads"]
        kv_heads = k[1] if len(k) == 4 else node.attributes["kv_num_heads"]
        if k != v:
            raise ValueError(f"must have keys and values of one shape, got {list(k)} and {list(v)}")
        self._check_mask(names[3], node, q[-2])
        cached = self.shape(names[4])[2] if names[4] else 0
        sizes = {"batch": q[0], "heads": heads, "kv_heads": kv_heads, "queries": q[-2], "keys": k[-2],
                 "width": q[-1] if len(q) == 4 else q[-1] // heads, "cached": cached,
                 "writes": bool(cached or any(node.outputs[1:3]) or {*names[1:3]} & self._outputs),
                 "causal": bool(node.attributes.get("is_causal"))}  # fmt: skip
        self._attend(node, names[:3], sizes)

    def _check_mask(self, mask: str, node: Node, queries: int) -> None:
        if mask and queries > 1 and not node.attributes.get("is_causal"):
            self.account.decided["attention with a mask: all pairs are counted"] += 1

    def _packed_attention(self, node: Node) -> None:
        """One matrix for queries, keys and values, and attention of equal heads."""
        source, weight, *rest = node.inputs
        fields: dict[str, Any] = {} if self._owns(weight) else {"shares_weights": True}
        width = self.shape(weight)[1]
        packed = self._emit(described.Linear, [self.rows(source)], width=width, bias=bool(rest and rest[0]),
                            _label="qkv", **fields)  # fmt: skip
        self._set(node, self._emit(described.Attend, [packed], heads=node.attributes["num_heads"],
                                   causal=bool(node.attributes.get("unidirectional"))))  # fmt: skip

    def _grouped_attention(self, node: Node) -> None:
        """Attention of com.microsoft with heads that share keys, a cache, and perhaps rope inside."""
        names = [*node.inputs, *[""] * 12]
        heads = node.attributes["num_heads"]
        kv_heads = node.attributes.get("kv_num_heads", heads)
        is_grouped = node.op == "GroupQueryAttention"
        shape = self.shape(names[0])
        if not names[1]:
            width = shape[-1] // (heads + 2 * kv_heads)
            if is_grouped:
                self._split_packed(names, (heads * width, kv_heads * width))
            else:
                self._set(node, self._emit(described.Attend, [self.read(names[0])], heads=heads))
                return
        else:
            width = shape[-1] // heads
        past = names[3] if is_grouped else names[6]
        cached = self.shape(past)[2] if past else 0
        if node.attributes.get("do_rotary"):
            for place in (0, 1):
                turned = f"{names[place]}.turned.{node.outputs[0]}"
                self.graph.shapes[turned] = self.shape(names[place])
                self.values[turned] = self._emit(described.Rope, [self.value(names[place])], _label="rope")
                names[place] = turned
        keys = self.shape(names[1])
        sizes = {"batch": shape[0], "heads": heads, "kv_heads": kv_heads, "width": width, "queries": shape[1],
                 "keys": keys[1] if len(keys) == 3 else keys[2], "cached": cached,
                 "writes": is_grouped or bool(cached or any(node.outputs[1:3])),
                 "causal": is_grouped or bool(node.attributes.get("unidirectional"))}  # fmt: skip
        self._attend(node, names[:3], sizes)

    def _split_packed(self, names: list[str], widths: tuple[int, int]) -> None:
        source, shape = names[0], self.shape(names[0])
        for place, (word, width) in enumerate(zip("qkv", (*widths, widths[1]), strict=True)):
            piece = f"{source}.{word}"
            self.graph.shapes[piece] = (*shape[:-1], width)
            self.values[piece] = self._emit(
                described.Copy, [self.value(source)], shape=(*shape[:-1], width), _label=word
            )
            names[place] = piece

    def _nothing(self, node: Node) -> None:
        for index in range(len(node.outputs)):
            self._set(node, self.value(node.inputs[0]), index)


_RULES: Final[dict[str, str]] = {
    "Transpose": "_transpose", "Concat": "_concat", "Conv": "_conv", "ConvTranspose": "_conv", "QLinearConv": "_conv",
    "MaxPool": "_pool", "AveragePool": "_pool", "LpPool": "_pool", "GlobalAveragePool": "_mean",
    "GlobalMaxPool": "_mean", "Resize": "_resize", "Upsample": "_resize", "GridSample": "_grid_sample",
    "BatchNormalization": "_batch_norm", "MatMul": "_matmul", "FusedMatMul": "_matmul", "MatMulInteger": "_matmul",
    "QLinearMatMul": "_matmul", "Gemm": "_gemm", "MatMulNBits": "_quantised_linear", "BiasGelu": "_biased_gelu",
    "HardSwish": "_hard_swish", "Pow": "_power", "gate": "_gate", "rope": "_rope", "RotaryEmbedding": "_rope",
    "norm": "_norm", "LayerNormalization": "_layer_norm", "RMSNormalization": "_layer_norm",
    "SimplifiedLayerNormalization": "_layer_norm", "SkipLayerNormalization": "_skip_norm",
    "SkipSimplifiedLayerNormalization": "_skip_norm", "GroupNormalization": "_map_norm", "GroupNorm": "_map_norm",
    "InstanceNormalization": "_map_norm", "attention": "_fused_attention", "Attention": "_standard_attention",
    "MultiHeadAttention": "_grouped_attention", "GroupQueryAttention": "_grouped_attention",
    "DynamicQuantizeLinear": "_nothing", "LRN": "_local_norm", "MeanVarianceNormalization": "_local_norm",
    "LpNormalization": "_local_norm",
}  # fmt: skip
"""Methods by operator."""


def _op_of(kind: Any) -> str:
    """The word of an operator."""
    return str(kind.model_fields["op"].annotation.__args__[0])


def _one(pair: Sequence[int]) -> int | tuple[int, ...]:
    return pair[0] if len(set(pair)) == 1 else tuple(pair)


def _padding(window: dict[str, Any], source: Shape, made: Shape) -> Any:
    """The padding with which a window makes these positions: left out or 0 where that does."""
    kernel, steps = (
        (each, each) if isinstance(each, int) else each for each in (window["kernel"], window["stride"])
    )  # fmt: skip
    reach = [window["dilation"] * (size - 1) + 1 for size in kernel]
    for total, padding in (([2 * ((each - 1) // 2) for each in reach], None), ([0, 0], 0)):
        slid = [(size + more - each) // step + 1
                for size, more, each, step in zip(source[2:], total, reach, steps, strict=True)]  # fmt: skip
        if slid == list(made[2:]):
            return padding
    rows, columns = (
        max((count - 1) * step + each - size, 0)
        for count, step, each, size in zip(made[2:], steps, reach, source[2:], strict=True)
    )
    return rows // 2, columns // 2, rows - rows // 2, columns - columns // 2


def _safe(text: str) -> str:
    """A name of small letters, digits and underscores.

    >>> _safe("Encoder.0.q-proj")
    'encoder_0_q_proj'
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _label(node: Node) -> str:
    """A short name: that of the part of the model, or of the operator.

    >>> _label(Node("MatMul", "", "/model/layers.0/self_attn/q_proj/MatMul", [], ["y"]))
    'q_proj'
    >>> _label(Node("Relu", "", "", [], ["y"]))
    'relu'
    """
    own = _safe(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.op))
    parts = [part for part in node.name.split("/") if part]
    if len(parts) < 2 or node.domain == OURS:
        return own
    last = _safe(parts[-2].rpartition(".")[2])
    if (
        not last
        or last.isdigit()
        or node.op not in {"MatMul", "Gemm", "Conv", "ConvTranspose", "MatMulNBits", "Gather"}
    ):
        return own
    return last
