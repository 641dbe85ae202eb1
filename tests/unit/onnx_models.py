"""Tiny ONNX models, made node by node as exporters write them. Weights have sizes and no values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FLOAT = 1


class Graph:
    """An ONNX graph in the making. A method that adds a node returns the name of its first result."""

    def __init__(self, **inputs: list[Any]) -> None:
        from onnx import TensorProto, helper

        self.helper, self.tensor = helper, TensorProto
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        kinds = {"ids": TensorProto.INT64, "positions": TensorProto.INT64}
        self.inputs = [
            helper.make_tensor_value_info(name, kinds.get(name, FLOAT), shape) for name, shape in inputs.items()
        ]

    def node(self, op: str, *inputs: str, domain: str = "", name: str = "", outputs: int = 1, **attributes: Any) -> str:
        """One node."""
        made = [f"t{len(self.nodes)}" if index == 0 else f"t{len(self.nodes)}.{index}" for index in range(outputs)]
        self.nodes.append(self.helper.make_node(op, inputs, made, name=name, domain=domain, **attributes))
        return made[0]

    def weight(self, *shape: int, name: str | None = None) -> str:
        """A learned tensor of zeros."""
        tensor = self.tensor()
        tensor.name = name or f"w{len(self.weights)}"
        tensor.data_type = FLOAT
        tensor.dims.extend(shape)
        tensor.raw_data = bytes(4 * int(np.prod(shape)))
        self.weights.append(tensor)
        return str(tensor.name)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """A tensor of known values, as an initializer."""
        from onnx import numpy_helper

        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, dtype=dtype), name))
        return name

    def number(self, value: float) -> str:
        """One number."""
        return self.constant(value, np.float32)

    def linear(self, source: str, inputs: int, outputs: int, *, bias: bool = True, name: str = "") -> str:
        """A matrix, and a bias in a node of its own."""
        made = self.node("MatMul", source, self.weight(inputs, outputs), name=f"/{name}/MatMul" if name else "")
        return self.node("Add", self.weight(outputs), made) if bias else made

    def layer_norm(self, source: str, width: int) -> str:
        """One node."""
        return self.node("LayerNormalization", source, self.weight(width), self.weight(width))

    def rms_norm(self, source: str, width: int) -> str:
        """Six nodes."""
        square = self.node("Pow", source, self.number(2))
        mean = self.node("ReduceMean", square, axes=[-1])
        root = self.node("Sqrt", self.node("Add", mean, self.number(1e-6)))
        scaled = self.node("Mul", source, self.node("Div", self.number(1), root))
        return self.node("Mul", self.weight(width), scaled)

    def erf_gelu(self, source: str) -> str:
        """Five nodes."""
        inside = self.node("Add", self.node("Erf", self.node("Div", source, self.number(1.414))), self.number(1))
        return self.node("Mul", self.node("Mul", source, inside), self.number(0.5))

    def tanh_gelu(self, source: str) -> str:
        """Eight nodes."""
        cube = self.node("Mul", self.node("Pow", source, self.number(3)), self.number(0.044715))
        inside = self.node("Tanh", self.node("Mul", self.node("Add", source, cube), self.number(0.798)))
        return self.node("Mul", self.node("Mul", source, self.number(0.5)), self.node("Add", inside, self.number(1)))

    def heads(self, source: str, heads: int, width: int) -> str:
        """(1, rows, heads * width) to (1, heads, rows, width)."""
        split = self.node("Reshape", source, self.constant([1, -1, heads, width]))
        return self.node("Transpose", split, perm=[0, 2, 1, 3])

    def rope(self, source: str, width: int, cosine: str, sine: str) -> str:
        """Half of the elements turned round; seven nodes."""
        half, axis = width // 2, self.constant([3])
        first = self.node("Slice", source, self.constant([0]), self.constant([half]), axis)
        second = self.node("Slice", source, self.constant([half]), self.constant([1 << 62]), axis)
        turned = self.node("Concat", self.node("Neg", second), first, axis=-1)
        return self.node("Add", self.node("Mul", source, cosine), self.node("Mul", turned, sine))

    def save(self, path: Path, *outputs: str, opset: int = 17, domains: tuple[str, ...] = (), **options: Any) -> Path:
        """The model in a file."""
        import onnx

        made = [self.helper.make_tensor_value_info(name, FLOAT, None) for name in outputs or self.nodes[-1].output[:1]]
        graph = self.helper.make_graph(self.nodes, "graph", self.inputs, made, self.weights)
        opsets = [self.helper.make_opsetid("", opset), *(self.helper.make_opsetid(each, 1) for each in domains)]
        onnx.save(self.helper.make_model(graph, opset_imports=opsets), str(path), **options)
        return path


def convolution(graph: Graph, source: str, inputs: int, outputs: int, *sizes: int) -> str:
    """A convolution, of a kernel and perhaps a stride, with its batch norm: two nodes."""
    kernel, stride = (*sizes, 1)[:2]
    made = graph.node("Conv", source, graph.weight(outputs, inputs, kernel, kernel), kernel_shape=[kernel, kernel],
                      strides=[stride, stride], pads=[kernel // 2] * 4)  # fmt: skip
    return graph.node("BatchNormalization", made, *(graph.weight(outputs) for _ in range(4)))


def resnet(graph: Graph, blocks: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000) -> None:
    """A ResNet of bottlenecks, with the stride on the 3 x 3 convolution."""
    each = graph.node("Relu", convolution(graph, "image", 3, 64, 7, 2))
    each = graph.node("MaxPool", each, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for stage, count in enumerate(blocks):
        inner = 64 << stage
        for number in range(count):
            stride = 2 if stage and not number else 1
            made = graph.node("Relu", convolution(graph, each, width, inner, 1))
            made = graph.node("Relu", convolution(graph, made, inner, inner, 3, stride))
            if not number:
                each = convolution(graph, each, width, 4 * inner, 1, stride)
            made = convolution(graph, made, inner, 4 * inner, 1)
            each = graph.node("Relu", graph.node("Add", made, each))
            width = 4 * inner
    each = graph.node("Flatten", graph.node("GlobalAveragePool", each))
    graph.node("Gemm", each, graph.weight(classes, width), graph.weight(classes), transB=1)


def vision_layer(graph: Graph, source: str, *, patches: int, width: int, heads: int, ffn: int) -> str:
    """A layer of a vision transformer, with queries, keys and values from one matrix, and GELU by its definition."""
    head = width // heads
    qkv = graph.linear(graph.layer_norm(source, width), width, 3 * width, name="attn/qkv")
    split = graph.node("Reshape", qkv, graph.constant([1, patches, 3, heads, head]))
    turned = graph.node("Transpose", split, perm=[2, 0, 3, 1, 4])
    q, k, v = (graph.node("Gather", turned, graph.constant(each), axis=0) for each in range(3))
    q = graph.node("Mul", q, graph.number(head**-0.5))
    scores = graph.node("MatMul", q, graph.node("Transpose", k, perm=[0, 1, 3, 2]))
    made = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), v)
    made = graph.node("Reshape", graph.node("Transpose", made, perm=[0, 2, 1, 3]), graph.constant([1, patches, width]))
    source = graph.node("Add", source, graph.linear(made, width, width, name="attn/proj"))
    made = graph.linear(graph.layer_norm(source, width), width, ffn, name="mlp/fc1")
    return graph.node("Add", source, graph.linear(graph.erf_gelu(made), ffn, width, name="mlp/fc2"))


def decoder_layer(
    graph: Graph, source: str, *, tokens: int, width: int, heads: int, kv_heads: int, head: int, ffn: int,
    sines: tuple[str, str], mask: str, past: tuple[str, str] | None = None, is_standard: bool = False,
) -> tuple[str, str, str]:  # fmt: skip
    """A layer of a decoder and its keys and values; attention is one node of the standard, or many."""
    made = graph.rms_norm(source, width)
    q, k, v = (graph.heads(graph.linear(made, width, count * head, bias=False, name=f"attn/{name}_proj"), count, head)
               for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)))  # fmt: skip
    q, k = graph.rope(q, head, *sines), graph.rope(k, head, *sines)
    if past:
        k, v = (graph.node("Concat", before, new, axis=2) for before, new in zip(past, (k, v), strict=True))
    present = k, v
    if is_standard:
        attended = graph.node("Attention", q, k, v, is_causal=1)
    else:
        keys = tokens if past is None else tokens + 12
        k, v = (graph.node("Reshape", graph.node("Expand", graph.node("Unsqueeze", each, graph.constant([2])),
                                                 graph.constant([1, kv_heads, heads // kv_heads, keys, head])),
                           graph.constant([1, heads, keys, head])) for each in (k, v))  # fmt: skip
        scores = graph.node("MatMul", q, graph.node("Transpose", k, perm=[0, 1, 3, 2]))
        scores = graph.node("Add", graph.node("Mul", scores, graph.number(head**-0.5)), mask)
        attended = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), v)
    attended = graph.node("Transpose", attended, perm=[0, 2, 1, 3])
    attended = graph.node("Reshape", attended, graph.constant([1, tokens, heads * head]))
    source = graph.node("Add", source, graph.linear(attended, heads * head, width, bias=False, name="attn/o_proj"))
    made = graph.rms_norm(source, width)
    gate, up = (graph.linear(made, width, ffn, bias=False, name=f"mlp/{name}") for name in ("gate_proj", "up_proj"))
    gated = graph.node("Mul", graph.node("Mul", gate, graph.node("Sigmoid", gate)), up)
    return graph.node("Add", source, graph.linear(gated, ffn, width, bias=False, name="mlp/down_proj")), *present
