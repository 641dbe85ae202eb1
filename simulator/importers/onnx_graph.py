"""An ONNX file as nodes with shapes: reading, binding of free dimensions, folding of what is constant.

Weights are never read, only their sizes. What the nodes mean is in `onnx_fusion` and `onnx`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from simulator.document.complaint import shown
from simulator.errors import MissingExtraError, SpecError
from simulator.importers.onnx_folding import FOLDED_ELEMENTS, fold

Shape = tuple[int, ...]

CONTROL_FLOW: Final = {"If", "Loop", "Scan"}
"""Whose work depends on values."""

_FLOATS: Final = {1, 10, 11, 16}
"""Numbers of ONNX for float, float16, double and bfloat16."""

_SAME_SHAPE: Final = {
    "SkipLayerNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "RotaryEmbedding",
    "BiasGelu", "FastGelu", "QuickGelu", "EmbedLayerNormalization",
}  # fmt: skip
"""Operators without a schema in `onnx` whose first result has the shape of their first input."""


@dataclass
class Node:
    """A node of the graph. Those with a domain of `roadline` stand for several that were recognised."""

    op: str
    domain: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The node as messages name it."""
        return f"node {self.name or self.outputs[0]} (op_type {self.op}, domain {self.domain or 'ai.onnx'})"


@dataclass(frozen=True)
class Constant:
    """A tensor that is known before the network runs."""

    shape: Shape
    dtype: int
    """Element type, a number of ONNX."""
    value: Any = None
    """A small array; None if it was not read."""
    is_weight: bool = False
    """Whether it is, or comes from, an initializer."""
    root: str = ""
    """The initializer that it comes from; empty if there are several or none."""


@dataclass
class OnnxGraph:
    """The nodes that are left when constants are folded, in order, with the shapes of all tensors."""

    place: str
    """The file as messages name it."""
    fingerprint: str
    nodes: list[Node]
    inputs: dict[str, Shape]
    outputs: tuple[str, ...]
    shapes: dict[str, Shape]
    constants: dict[str, Constant]
    stored: dict[str, int]
    """Elements of initializers by type."""
    float_inputs: frozenset[str] = frozenset()
    """Inputs whose elements are no integers and no truth values."""
    remarks: list[str] = field(default_factory=list)

    def consumers(self) -> dict[str, list[int]]:
        """The positions of the nodes that read each tensor."""
        found: dict[str, list[int]] = {}
        for position, node in enumerate(self.nodes):
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(position)
        return found

    def producers(self) -> dict[str, int]:
        """The position of the node that makes each tensor."""
        return {name: position for position, node in enumerate(self.nodes) for name in node.outputs if name}


def read_onnx(path: Path, shapes: Mapping[str, Shape] | None = None, *, skip_unknown: bool = False) -> OnnxGraph:
    """The graph of a file.

    Args:
        path: an ONNX model; its weights may be in files beside it, which are not needed.
        shapes: of inputs, by name; they bind dimensions that the file leaves free.
        skip_unknown: whether nodes whose shapes nobody knows may pass if the file gives the shapes.
    Raises:
        SpecError: when the file is no model, a dimension stays free, a tensor is missing, nodes wait for each other,
            or the shape of a result cannot be found.
        MissingExtraError: when the package onnx is not installed.
    """
    model, fingerprint = _loaded(path)
    return graph_of(model, path, fingerprint, shapes, skip_unknown=skip_unknown)


def graph_of(
    model: Any, path: Path, fingerprint: str, shapes: Mapping[str, Shape] | None = None, *, skip_unknown: bool = False
) -> OnnxGraph:
    """The graph of a model in memory, which is changed; initializers that are not `is_worth_reading` need no values.

    Args:
        model: a ModelProto of onnx without functions.
        path: the file that it came from, for messages and for files beside it.
        fingerprint: of the bytes of the file.
        shapes: as for `read_onnx`.
        skip_unknown: as for `read_onnx`.
    Raises:
        SpecError: as `read_onnx`.
    """
    place = shown(path)
    reader = _Reader(model, path, place)
    reader.bind(shapes or {})
    reader.infer()
    reader.walk(skip_unknown=skip_unknown)
    return OnnxGraph(
        place=place, fingerprint=fingerprint, nodes=reader.nodes, inputs=reader.inputs,
        outputs=tuple(each.name for each in model.graph.output), shapes=reader.shapes, constants=reader.constants,
        stored=reader.stored, remarks=reader.remarks,
        float_inputs=frozenset(name for name in reader.inputs if reader.dtypes[name] in _FLOATS),
    )  # fmt: skip


def _loaded(path: Path) -> tuple[Any, str]:
    """The model without weights in files beside it, and a fingerprint."""
    try:
        import onnx  # noqa: PLC0415 - an extra
        from google.protobuf.message import DecodeError  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{shown(path)}  cannot be read: {error.strerror}") from None
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        raise SpecError(
            f"{shown(path)}  must be an ONNX model, got a file that is no such model or is cut off"
        ) from None
    if not model.graph.node:
        raise SpecError(f"{shown(path)}  must be an ONNX model with nodes, got none")
    if model.functions:
        import onnx.inliner  # noqa: PLC0415

        model = onnx.inliner.inline_local_functions(model)
    return model, hashlib.sha256(content).hexdigest()[:12]


class _Reader:
    """Reads one model; each step fills more of it."""

    def __init__(self, model: Any, path: Path, place: str) -> None:
        self.model = model
        self.path = path
        self.place = place
        self.opsets: dict[str, int] = {each.domain or "": each.version for each in model.opset_import}
        self.nodes: list[Node] = []
        self.inputs: dict[str, Shape] = {}
        self.shapes: dict[str, Shape] = {"": ()}
        self.dtypes: dict[str, int] = {}
        self.constants: dict[str, Constant] = {}
        self.stored: Counter[str] = Counter()
        self.remarks: list[str] = []
        self._read_initializers()

    def _read_initializers(self) -> None:
        """Sizes of all, values of the small ones; large values are dropped, so that nobody copies them."""
        from onnx import TensorProto  # noqa: PLC0415

        absent: Counter[str] = Counter()
        for tensor in self.model.graph.initializer:
            shape = tuple(tensor.dims)
            if tensor.data_type not in TensorProto.DataType.values():
                raise SpecError(f"{self.place}  initializer {tensor.name}: must have a known type, "
                                f"got {tensor.data_type}")  # fmt: skip
            kind = TensorProto.DataType.Name(tensor.data_type).lower()
            count = elements(shape)
            self.stored[kind] += count
            location = next((each.value for each in tensor.external_data if each.key == "location"), None)
            is_absent = location is not None and not (self.path.parent / location).is_file()
            value = None
            if is_worth_reading(shape, kind, count) and not is_absent:
                value = self._value(tensor)
            elif location is None:
                for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                    tensor.ClearField(name)
            if is_absent:
                absent[str(location)] += 1
            self._set_constant(tensor.name, Constant(shape, tensor.data_type, value, True, tensor.name))
        for location, count in absent.items():
            self.remarks.append(f"{location} is not there: it holds {count:,} tensors, of which the sizes were enough")
        if self.model.graph.sparse_initializer:
            raise SpecError(f"{self.place}  must have dense initializers, got sparse ones")

    def _value(self, tensor: Any) -> Any:
        from onnx import numpy_helper  # noqa: PLC0415

        try:
            return numpy_helper.to_array(tensor, base_dir=str(self.path.parent))
        except Exception as error:  # the library raises many kinds
            raise SpecError(f"{self.place}  initializer {tensor.name}: cannot be read: {error}") from None

    def _set_constant(self, name: str, constant: Constant) -> None:
        self.constants[name] = constant
        self.shapes[name] = constant.shape
        self.dtypes[name] = constant.dtype

    # free dimensions -------------------------------------------------------------------------------------------------

    def bind(self, given: Mapping[str, Shape]) -> None:
        """Gives every input its shape; a name of a dimension means the same number everywhere."""
        inputs = [each for each in self.model.graph.input if each.name not in self.constants]
        names = [each.name for each in inputs]
        for name in given:
            if name not in names:
                raise SpecError(f"--shape {name}: must name an input of {self.place} ({', '.join(names)})")
        bound = self._bound_names(inputs, given)
        free = []
        for each in inputs:
            if each.type.WhichOneof("value") != "tensor_type":
                raise SpecError(f"{self.place}  input {each.name}: must be a tensor, "
                                f"got {each.type.WhichOneof('value') or 'no type'}")  # fmt: skip
            tensor = each.type.tensor_type
            if each.name in given:
                shape: Shape = tuple(given[each.name])
            else:
                dims = [dim.dim_value or bound.get(dim.dim_param, 0) for dim in tensor.shape.dim]
                if 0 in dims or not tensor.HasField("shape"):
                    free.append(_free_words(each))
                shape = tuple(dims)
            self.inputs[each.name] = self.shapes[each.name] = shape
            self.dtypes[each.name] = tensor.elem_type
            tensor.shape.CopyFrom(type(tensor.shape)())
            for size in shape:
                tensor.shape.dim.add().dim_value = size
        if free:
            raise SpecError(f"{self.place}  must have sizes for all dimensions of its inputs, got {', '.join(free)}",
                            hint="--shape INPUT=1,3,224,224 gives them")  # fmt: skip

    def _bound_names(self, inputs: Sequence[Any], given: Mapping[str, Shape]) -> dict[str, int]:
        """Names of dimensions that given shapes bind."""
        bound: dict[str, int] = {}
        for each in inputs:
            if each.name not in given:
                continue
            dims, sizes = list(each.type.tensor_type.shape.dim), given[each.name]
            if dims and len(dims) != len(sizes):
                raise SpecError(f"--shape {each.name}: must have {len(dims)} sizes, got {len(sizes)}")
            for dim, size in zip(dims, sizes, strict=False):
                if dim.dim_value and dim.dim_value != size:
                    raise SpecError(f"--shape {each.name}: must keep the {dim.dim_value} of the file, got {size}")
                if dim.dim_param and bound.setdefault(dim.dim_param, size) != size:
                    raise SpecError(f"--shape {each.name}: {dim.dim_param} must be {bound[dim.dim_param]} "
                                    f"as elsewhere, got {size}")  # fmt: skip
        return bound

    # shapes ----------------------------------------------------------------------------------------------------------

    def infer(self) -> None:
        """What the library finds; the rest is found node by node."""
        from onnx import shape_inference  # noqa: PLC0415

        graph = self.model.graph
        for each in (*graph.value_info, *graph.output):  # symbols there would hide what follows from the inputs
            if any(not dim.dim_value for dim in each.type.tensor_type.shape.dim):
                each.type.tensor_type.ClearField("shape")
        try:
            inferred = shape_inference.infer_shapes(self.model, check_type=False, strict_mode=False, data_prop=True)
        except Exception as error:  # the library raises many kinds
            raise SpecError(f"{self.place}  has shapes that do not go together: {_first_line(error)}") from None
        for each in (*inferred.graph.value_info, *inferred.graph.output):
            tensor = each.type.tensor_type
            dims = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
            self.dtypes.setdefault(each.name, tensor.elem_type)
            if tensor.HasField("shape") and -1 not in dims:
                self.shapes.setdefault(each.name, dims)

    def walk(self, *, skip_unknown: bool) -> None:
        """Folds what is constant, and finds the shapes of what is not."""
        for proto in self._in_order():
            node = _node(proto)
            if not all(isinstance(each, str) for each in (node.op, node.domain, node.name, *node.attributes)):
                raise SpecError(f"{self.place}  must have names in UTF-8, got {node.op!r} of {node.name!r}")
            if node.op in CONTROL_FLOW:
                raise SpecError(f"{self.place}  {node.words}: cannot be imported: what it runs depends on values",
                                hint="export the model for fixed sizes, or simplify it")  # fmt: skip
            for name in node.inputs:
                if name not in self.shapes and name not in self.dtypes:
                    raise SpecError(
                        f'{self.place}  {node.words}: reads "{name}", which no node, input or initializer is'
                    )
            if not self._fold(node, proto):
                self._find_shapes(node, proto, skip_unknown=skip_unknown)
                self.nodes.append(node)

    def _in_order(self) -> Iterator[Any]:
        """The nodes, each after those that make what it reads."""
        protos = list(self.model.graph.node)
        maker = {name: position for position, proto in enumerate(protos) for name in proto.output if name}
        waits = [0] * len(protos)
        waiting: dict[int, list[int]] = {}
        for position, proto in enumerate(protos):
            for before in {maker[name] for name in proto.input if name in maker}:
                waits[position] += 1
                waiting.setdefault(before, []).append(position)
        ready = deque(position for position, count in enumerate(waits) if count == 0)
        order: list[int] = []
        while ready:
            position = ready.popleft()
            order.append(position)
            for after in waiting.get(position, ()):
                waits[after] -= 1
                if waits[after] == 0:
                    ready.append(after)
        if len(order) < len(protos):
            stuck = next(position for position, count in enumerate(waits) if count > 0)
            raise SpecError(f"{self.place}  {_node(protos[stuck]).words}: must not wait for its own result")
        is_sorted = all(maker.get(name, -1) < position for position, proto in enumerate(protos) for name in proto.input)
        yield from protos if is_sorted else (protos[position] for position in order)

    def _fold(self, node: Node, proto: Any) -> bool:
        """Whether the node is a constant, which is then kept as one."""
        if node.op in {"Shape", "Size"} and node.inputs[0] in self.shapes:
            shape = self.shapes[node.inputs[0]]
            start, end = node.attributes.get("start", 0), node.attributes.get("end")
            counted = np.array(shape[start:end] if node.op == "Shape" else elements(shape), dtype=np.int64)
            self._set_constant(node.outputs[0], Constant(counted.shape, 7, counted))
            return True
        if any(name and name not in self.constants for name in node.inputs):
            return False
        if node.op.startswith("Random") or node.op in {"Bernoulli", "Multinomial"}:
            return False
        known = [self.constants[name] if name else None for name in node.inputs]
        values = fold(node.op, node.attributes, [None if each is None else each.value for each in known],
                      [each is None or each.value is not None for each in known], proto)  # fmt: skip
        origins = known[:1] if node.op == "DequantizeLinear" else known
        roots = {each.root for each in origins if each is not None and each.is_weight}
        is_weight = any(each is not None and each.is_weight for each in known)
        if values is None:
            self._find_shapes(node, proto, skip_unknown=True)
        for index, name in enumerate(node.outputs):
            if not name:
                continue
            value = None if values is None else values[index]
            shape = self.shapes[name] if value is None else tuple(value.shape)
            root = next(iter(roots)) if len(roots) == 1 else ""
            dtype = self.dtypes.get(name, 1)
            if value is not None and value.size > FOLDED_ELEMENTS:
                value = None
            self._set_constant(name, Constant(shape, dtype, value, is_weight, root))
        return True

    def _find_shapes(self, node: Node, proto: Any, *, skip_unknown: bool) -> None:
        if all(not name or name in self.shapes for name in node.outputs):
            return
        if not self._infer_node(node, proto):
            self._known_shapes(node)
        for name in node.outputs[:1]:
            if name not in self.shapes:
                advice = "the file does not give the shape of its result, so it cannot be skipped either"
                raise SpecError(f"{self.place}  {node.words}: has a result of unknown shape ({name})",
                                hint=advice if skip_unknown else None)  # fmt: skip

    def _infer_node(self, node: Node, proto: Any) -> bool:
        """Whether the library knows the shapes of the results, given values of all constants."""
        from onnx import TensorProto, defs, helper, numpy_helper, shape_inference  # noqa: PLC0415

        try:
            schema = defs.get_schema(node.op, self.opsets.get(node.domain, 1), node.domain)
        except defs.SchemaError:
            return False
        types = {
            name: helper.make_tensor_type_proto(self.dtypes.get(name, TensorProto.FLOAT), self.shapes[name])
            for name in node.inputs if name in self.shapes and name
        }  # fmt: skip
        values = {
            name: numpy_helper.from_array(np.asarray(self.constants[name].value))
            for name in node.inputs if name in self.constants and self.constants[name].value is not None
        }  # fmt: skip
        try:
            found = shape_inference.infer_node_outputs(schema, proto, types, values, {})
        except Exception as error:  # the library raises many kinds
            raise SpecError(f"{self.place}  {node.words}: {_first_line(error)}") from None
        for name, kind in found.items():
            tensor = kind.tensor_type
            self.dtypes.setdefault(name, tensor.elem_type)
            dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
            if tensor.HasField("shape") and -1 not in dims:
                self.shapes.setdefault(name, tuple(dims))
        return all(not name or name in self.shapes for name in node.outputs)

    def _known_shapes(self, node: Node) -> None:
        """Shapes of operators that are no part of the standard."""
        first = self.shapes.get(node.inputs[0]) if node.inputs else None
        if first is None:
            return
        name = node.outputs[0]
        attributes = node.attributes
        if node.op in _SAME_SHAPE or (node.op == "GroupQueryAttention" and len(node.inputs) > 2 and node.inputs[1]):
            self.shapes.setdefault(name, first)
        elif node.op == "GroupQueryAttention":
            heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
            self.shapes.setdefault(name, (*first[:2], first[2] * heads // (heads + 2 * kv_heads)))
        elif node.op == "MultiHeadAttention" and len(first) == 3:
            values = self.shapes.get(node.inputs[2]) if len(node.inputs) > 2 else None
            self.shapes.setdefault(name, (*first[:2], values[2] if values and len(values) == 3 else first[2]))
        elif node.op == "Attention" and len(first) == 3:
            sizes = attributes.get("qkv_hidden_sizes") or [self.shapes[node.inputs[1]][1] // 3] * 3
            self.shapes.setdefault(name, (*first[:2], sizes[2]))
        elif node.op == "MatMulNBits":
            self.shapes.setdefault(name, (*first[:-1], attributes["N"]))
        elif node.op == "FusedMatMul":
            one, other = list(first), list(self.shapes[node.inputs[1]])
            if attributes.get("transA"):
                one[-2:] = one[:-3:-1]
            if attributes.get("transB"):
                other[-2:] = other[:-3:-1]
            self.shapes.setdefault(name, (*np.broadcast_shapes(tuple(one[:-2]), tuple(other[:-2])), one[-2], other[-1]))
        if node.op == "SkipLayerNormalization" or node.op == "SkipSimplifiedLayerNormalization":  # noqa: PLR1714
            for each in node.outputs[1:]:
                self.shapes.setdefault(each, first)
        self.dtypes.setdefault(name, self.dtypes.get(node.inputs[0], 1))
        for each in node.outputs[1:]:
            self.dtypes.setdefault(each, self.dtypes.get(node.inputs[0], 1))


def _node(proto: Any) -> Node:
    from onnx import helper  # noqa: PLC0415

    attributes = {each.name: helper.get_attribute_value(each) for each in proto.attribute}
    attributes = {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in attributes.items()
        if value is not None
    }
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    return Node(proto.op_type, domain, proto.name, list(proto.input), list(proto.output), attributes)


def is_worth_reading(shape: Shape, kind: str, count: int) -> bool:
    """Whether an initializer may be a shape, a scalar or a mask."""
    if "float" in kind or "double" in kind:
        return count <= 256 or (len(shape) == 4 and shape[:2] == (1, 1) and count <= FOLDED_ELEMENTS)
    return kind in {"bool", "int64", "int32"} and count <= FOLDED_ELEMENTS


def _free_words(each: Any) -> str:
    dims = each.type.tensor_type.shape.dim
    sizes = ", ".join(str(dim.dim_value) if dim.dim_value else dim.dim_param or "?" for dim in dims)
    return f"{each.name} [{sizes}]"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def elements(shape: Iterable[int]) -> int:
    """How many elements a tensor has."""
    total = 1
    for size in shape:
        total *= size
    return total
