"""Arithmetic on constants of an ONNX graph: shapes, masks, positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

FOLDED_ELEMENTS: Final = 1 << 20
"""Constants with more elements are known by their shape only."""

Fold = Callable[[Mapping[str, Any], Sequence[Any]], Any]


def fold(
    op: str, attributes: Mapping[str, Any], values: Sequence[Any], is_known: Sequence[bool], proto: Any
) -> list[Any] | None:
    """The results of a node whose inputs are all constant; None if they are not worth knowing."""
    if not all(is_known) or sum(np.size(value) for value in values if value is not None) > FOLDED_ELEMENTS:
        return None
    rule = _RULES.get(op)
    try:
        result = rule(attributes, values) if rule else _reference(proto, values)
    except Exception:  # a value that cannot be found is a shape that may still be
        return None
    results = result if isinstance(result, list) else [result]
    return [np.asarray(each) for each in results]


def _reference(proto: Any, values: Sequence[Any]) -> list[Any]:
    """What the reference of the standard says, which is slow."""
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

    named = dict(zip(proto.input, values, strict=True))
    return list(ReferenceEvaluator(proto).run(None, {name: value for name, value in named.items() if name}))


def _axes(attributes: Mapping[str, Any], values: Sequence[Any], position: int = 1) -> tuple[int, ...] | None:
    if "axes" in attributes:
        return tuple(attributes["axes"])
    if len(values) > position and values[position] is not None:
        return tuple(int(each) for each in np.ravel(values[position]))
    return None


def _slice(attributes: Mapping[str, Any], values: Sequence[Any]) -> Any:
    array = values[0]
    if "starts" in attributes:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes", range(len(starts))), [1] * len(starts)
    else:
        starts, ends = values[1].tolist(), values[2].tolist()
        axes = values[3].tolist() if len(values) > 3 and values[3] is not None else range(len(starts))
        steps = values[4].tolist() if len(values) > 4 and values[4] is not None else [1] * len(starts)
    index = [slice(None)] * array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        last = None if step < 0 and end < -array.shape[axis] else end
        index[axis] = slice(start, last, step)
    return array[tuple(index)]


def _reshape(attributes: Mapping[str, Any], values: Sequence[Any]) -> Any:
    array = values[0]
    keeps = not attributes.get("allowzero", 0)
    return array.reshape([array.shape[i] if s == 0 and keeps else s for i, s in enumerate(values[1].tolist())])


def _unsqueeze(attributes: Mapping[str, Any], values: Sequence[Any]) -> Any:
    return np.expand_dims(values[0], _axes(attributes, values) or ())


def _divide(_: Mapping[str, Any], values: Sequence[Any]) -> Any:
    one, other = values
    if np.issubdtype(np.asarray(one).dtype, np.integer):
        return (np.sign(one) * np.sign(other) * (np.abs(one) // np.abs(other))).astype(np.asarray(one).dtype)
    return one / other


def _cast(attributes: Mapping[str, Any], values: Sequence[Any]) -> Any:
    from onnx import helper  # noqa: PLC0415

    return np.asarray(values[0]).astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))


def _constant(attributes: Mapping[str, Any], _: Sequence[Any]) -> Any:
    from onnx import numpy_helper  # noqa: PLC0415

    if "value" in attributes:
        return numpy_helper.to_array(attributes["value"])
    for name, dtype in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32),
                        ("value_floats", np.float32)):  # fmt: skip
        if name in attributes:
            return np.array(attributes[name], dtype=dtype)
    raise ValueError(f"a constant of {', '.join(attributes)}")


def _filled(attributes: Mapping[str, Any], values: Sequence[Any]) -> Any:
    from onnx import numpy_helper  # noqa: PLC0415

    shape = values[0].tolist()
    if np.prod(shape, dtype=np.float64) > FOLDED_ELEMENTS:
        raise ValueError("too large")
    value = numpy_helper.to_array(attributes["value"])[0] if "value" in attributes else np.float32(0)
    return np.full(shape, value)


def _expand(_: Mapping[str, Any], values: Sequence[Any]) -> Any:
    shape = np.broadcast_shapes(values[0].shape, tuple(values[1].tolist()))
    if np.prod(shape, dtype=np.float64) > FOLDED_ELEMENTS:
        raise ValueError("too large")
    return np.broadcast_to(values[0], shape)


def _reduced(function: Callable[..., Any]) -> Fold:
    def rule(attributes: Mapping[str, Any], values: Sequence[Any]) -> Any:
        axes = _axes(attributes, values)
        return function(values[0], axis=axes, keepdims=bool(attributes.get("keepdims", 1)))

    return rule


def _elementwise(function: Callable[..., Any]) -> Fold:
    return lambda _, values: function(*values)


_RULES: Final[dict[str, Fold]] = {
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Identity": lambda _, values: values[0],
    "Cast": _cast,
    "Gather": lambda attributes, values: np.take(values[0], values[1], axis=attributes.get("axis", 0)),
    "Concat": lambda attributes, values: np.concatenate(values, axis=attributes["axis"]),
    "Unsqueeze": _unsqueeze,
    "Squeeze": lambda attributes, values: np.squeeze(values[0], _axes(attributes, values)),
    "Slice": _slice,
    "Reshape": _reshape,
    "Transpose": lambda attributes, values: np.transpose(values[0], attributes.get("perm")),
    "Range": lambda _, values: np.arange(*(each.item() for each in values)).astype(values[0].dtype),
    "Expand": _expand,
    "Where": _elementwise(np.where),
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _divide,
    "Equal": _elementwise(np.equal),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "And": _elementwise(np.logical_and),
    "Or": _elementwise(np.logical_or),
    "Not": _elementwise(np.logical_not),
    "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.abs),
    "Sqrt": _elementwise(np.sqrt),
    "Floor": _elementwise(np.floor),
    "Ceil": _elementwise(np.ceil),
    "Cos": _elementwise(np.cos),
    "Sin": _elementwise(np.sin),
    "Exp": _elementwise(np.exp),
    "Pow": lambda _, values: np.power(values[0], values[1]).astype(values[0].dtype),
    "Min": lambda _, values: np.minimum.reduce(values),
    "Max": lambda _, values: np.maximum.reduce(values),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "Trilu": lambda attributes, values: (np.triu if attributes.get("upper", 1) else np.tril)(
        values[0], int(values[1]) if len(values) > 1 and values[1] is not None else 0
    ),
}  # fmt: skip
