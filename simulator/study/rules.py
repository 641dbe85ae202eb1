"""Rules of a study: conditions on the sizes of a model, written as in Python and evaluated without running any code.

    hidden >= 64 * layers
    ffn_width % 128 == 0 and (experts == 1 or top_k < experts)

A rule has names of sizes, numbers, the operators + - * / // %, comparisons, `and`, `or` and `not`; nothing else.
A point at which a rule divides by zero does not keep it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.errors import SpecError, nearest
from simulator.units import written

MOST_CHARACTERS: Final = 500
"""Of a rule: what is longer is no rule that somebody wrote."""

_EXAMPLE: Final = 'write a condition such as "hidden >= 64 * layers"'

# Plain operators serve numbers and arrays alike, so that a rule needs no numpy to be checked.
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_DIVISIONS: Final = (ast.Div, ast.FloorDiv, ast.Mod)
_COMPARISON: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Rule:
    """A condition that every point of a space meets."""

    text: str
    """As written."""
    _tree: ast.expr

    @classmethod
    def parsed(cls, text: str, names: Collection[str]) -> Rule:
        """The rule that a text means.

        Args:
            text: the rule.
            names: what it may speak of.
        Raises:
            SpecError: when it is not a condition on these names.
        """
        if len(text) > MOST_CHARACTERS:
            raise SpecError(f"must have at most {MOST_CHARACTERS} characters, got {len(text)}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            _check_condition(tree, names)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise SpecError(f"must be a condition on sizes, got {written(text)}", hint=_EXAMPLE) from None
        return cls(text, tree)

    def holds(self, columns: Mapping[str, Any]) -> Any:
        """Whether the condition holds: one truth value for each element of the columns, which must broadcast.

        Where a divisor is zero it does not hold, whatever it says of the quotient.
        """
        zero_divisors: list[Any] = []
        holds = _value(self._tree, columns, zero_divisors)
        for is_zero in zero_divisors:
            holds = holds & (is_zero ^ True)
        return holds


def _check_condition(node: ast.expr, names: Collection[str]) -> None:
    """Refuses what is not a condition."""
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check_condition(part, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_condition(node.operand, names)
    elif isinstance(node, ast.Compare):
        for part in (node.left, *node.comparators):
            _check_number(part, names)
        for comparison in node.ops:
            if type(comparison) not in _COMPARISON:
                raise _refusal(node, "must compare with < <= > >= == or !=")
    elif isinstance(node, ast.Constant | ast.Name | ast.BinOp | ast.UnaryOp):
        _check_number(node, names)
        raise _refusal(node, "must be a comparison, not a number")
    else:
        raise _refusal(node, "must be made of comparisons, and, or, not")


def _check_number(node: ast.expr, names: Collection[str]) -> None:
    """Refuses what is not a number."""
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise SpecError(f'must speak of sizes, got the name "{node.id}"', hint=nearest(node.id, names))
    elif isinstance(node, ast.BinOp):
        if type(node.op) not in _ARITHMETIC:
            raise _refusal(node, "must calculate with + - * / // %")
        if isinstance(node.op, _DIVISIONS) and isinstance(node.right, ast.Constant) and node.right.value == 0:
            raise _refusal(node, "must not divide by zero")
        _check_number(node.left, names)
        _check_number(node.right, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check_number(node.operand, names)
    elif not isinstance(node, ast.Constant) or not _is_number(node.value):
        raise _refusal(node, "must be made of names of sizes and numbers")


def _is_number(value: object) -> bool:
    # larger integers are not exact as a double
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 2**53


def _refusal(node: ast.expr, rule: str) -> SpecError:
    return SpecError(f"{rule}, got {written(ast.unparse(node))}", hint=_EXAMPLE)


def _value(node: ast.expr, columns: Mapping[str, Any], zero_divisors: list[Any]) -> Any:
    """The value of a checked expression; notes where each of its divisors is zero, and divides by one there."""

    def value(part: ast.expr) -> Any:
        return _value(part, columns, zero_divisors)

    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, int | float)  # checked
        return float(node.value)  # as the columns are: a product of integers may be beyond all floats
    if isinstance(node, ast.BinOp):
        left, right = value(node.left), value(node.right)
        if isinstance(node.op, _DIVISIONS):
            is_zero = right == 0
            zero_divisors.append(is_zero)
            right = right + is_zero
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        operand = value(node.operand)
        return operand ^ True if isinstance(node.op, ast.Not) else -operand
    if isinstance(node, ast.Compare):
        numbers = [value(part) for part in (node.left, *node.comparators)]
        parts = [
            _COMPARISON[type(comparison)](left, right)
            for comparison, left, right in zip(node.ops, numbers[:-1], numbers[1:], strict=True)
        ]
        return _joined(parts, operator.and_)
    assert isinstance(node, ast.BoolOp)
    parts = [value(part) for part in node.values]
    return _joined(parts, operator.and_ if isinstance(node.op, ast.And) else operator.or_)


def _joined(parts: list[Any], join: Callable[[Any, Any], Any]) -> Any:
    whole = parts[0]
    for part in parts[1:]:
        whole = join(whole, part)
    return whole
