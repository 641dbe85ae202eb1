"""Parts of models that exporters write as many nodes, recognised as the operators that they are.

A recognised part becomes one node of the domain `roadline`: norm, rope, silu, gelu, gate or attention. What only fed it
(masks, sines) is then dead and left out, with an account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from simulator.importers.onnx_folding import fold
from simulator.importers.onnx_graph import Node, OnnxGraph, Shape, elements

OURS: Final = "roadline"

_SAME: Final = {"Identity", "Cast", "CastLike", "Dropout", "QuantizeLinear", "DequantizeLinear"}
"""Nodes that hand on what they read."""

_VIEWS: Final = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"}

_UNARY: Final = {"rope", "norm", "Mul", "Div", "RMSNormalization", "LayerNormalization", "RotaryEmbedding",
                 "SimplifiedLayerNormalization"}  # fmt: skip
"""Between a projection and attention, these may stand."""

_MOST_MASK_NODES: Final = 200
"""Nodes that may make a mask."""

_DEEP: Final = 12
"""Nodes in a row that a pattern may have."""


@dataclass
class Fused:
    """What was recognised, what was not, and what became of the rest."""

    counts: Counter[str] = field(default_factory=Counter)
    """Recognised parts by kind."""
    missed: list[str] = field(default_factory=list)
    """Parts that look like one but are imported node by node."""
    doubts: Counter[str] = field(default_factory=Counter)
    """What was taken for granted, with how often."""
    dropped_nodes: int = 0
    """Nodes that only made what recognised parts need no more."""
    dropped_elements: int = 0
    """Elements that they make."""


def fuse(graph: OnnxGraph) -> Fused:
    """Recognises parts; the nodes of the graph change."""
    patterns = _Patterns(graph)
    patterns.hand_on()
    patterns.live()
    patterns = _Patterns(graph)
    for step in (patterns.norms, patterns.ropes, patterns.silus, patterns.gelus, patterns.gates, patterns.attentions):
        step()
    patterns.finish()
    return patterns.fused


class _Patterns:
    """The graph with its edges in both directions; fused nodes leave holes until the end."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.nodes: list[Node | None] = list(graph.nodes)
        self.maker = graph.producers()
        self.users: dict[str, set[int]] = {name: set(users) for name, users in graph.consumers().items()}
        self.outputs = set(graph.outputs)
        self.fused = Fused()

    # what a tensor is ------------------------------------------------------------------------------------------------

    def made_by(self, name: str, *ops: str) -> Node | None:
        """The node that makes a tensor, if it is one of these."""
        position = self.maker.get(name)
        node = None if position is None else self.nodes[position]
        return node if node is not None and (not ops or node.op in ops) else None

    def only_user(self, name: str, *ops: str) -> Node | None:
        """The one node that reads a tensor, if it is one of these."""
        users = self.users.get(name, set())
        if len(users) != 1 or name in self.outputs:
            return None
        node = self.nodes[next(iter(users))]
        return node if node is not None and node.op in ops else None

    def constant(self, name: str) -> bool:
        """Whether a tensor is known beforehand."""
        return name in self.graph.constants

    def scalar(self, name: str) -> bool:
        """Whether a tensor is one number that is known beforehand."""
        return self.constant(name) and elements(self.graph.constants[name].shape) == 1

    def number(self, name: str) -> float | None:
        """That number, where it was read."""
        if not self.scalar(name) or self.graph.constants[name].value is None:
            return None
        return float(np.ravel(self.graph.constants[name].value)[0])

    def other(self, node: Node, name: str) -> str:
        """The other operand of a node with two."""
        return node.inputs[1] if node.inputs[0] == name else node.inputs[0]

    def shape(self, name: str) -> Shape:
        """The shape of a tensor."""
        return self.graph.shapes[name]

    def replace(self, kind: str, members: Iterable[Node], inputs: list[str], attributes: dict[str, Any]) -> None:
        """Puts one node in the place of several; the last of them names the result."""
        positions = sorted({self.maker[node.outputs[0]] for node in members})
        last = positions[-1]
        end = self.nodes[last]
        assert end is not None  # members are nodes
        for position in positions:
            node = self.nodes[position]
            assert node is not None
            for name in node.inputs:
                self.users.get(name, set()).discard(position)
            self.nodes[position] = None
        for name in inputs:
            self.users.setdefault(name, set()).add(last)
        self.nodes[last] = Node(kind, OURS, end.name, inputs, [end.outputs[0]], attributes)
        self.fused.counts[kind] += 1

    def is_closed(self, members: Sequence[Node], result: str) -> bool:
        """Whether nobody else reads what is made on the way."""
        positions = {self.maker[node.outputs[0]] for node in members}
        made = {name for node in members for name in node.outputs if name} - {result}
        return all(self.users.get(name, set()) <= positions and name not in self.outputs for name in made)

    # steps -----------------------------------------------------------------------------------------------------------

    def hand_on(self) -> None:
        """Takes out nodes that hand on what they read."""
        same: dict[str, str] = {}
        kept = []
        for node in self.graph.nodes:
            node.inputs = [same.get(name, name) for name in node.inputs]
            if node.op in _SAME and node.domain in {"", "com.microsoft"}:
                same[node.outputs[0]] = node.inputs[0]
            else:
                kept.append(node)
        self.graph.nodes = kept
        self.graph.outputs = tuple(same.get(name, name) for name in self.graph.outputs)

    def live(self) -> None:
        """Takes out nodes whose results nobody needs."""
        wanted = set(self.graph.outputs)
        kept = []
        for node in reversed(self.graph.nodes):
            if any(name in wanted for name in node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
        self.graph.nodes = kept[::-1]

    def finish(self) -> None:
        """Closes the holes, and says what was left out with them."""
        self.graph.nodes = [node for node in self.nodes if node is not None]
        nodes = {id(node): node for node in self.graph.nodes}
        self.live()
        for node in self.graph.nodes:
            del nodes[id(node)]
        self.fused.dropped_nodes = len(nodes)
        self.fused.dropped_elements = sum(
            elements(self.graph.shapes.get(node.outputs[0], ()))
            for node in nodes.values() if node.op not in _VIEWS
        )  # fmt: skip

    def each(self, *ops: str) -> Iterable[Node]:
        """The nodes of these kinds that are still there."""
        for node in list(self.nodes):
            if node is not None and node.op in ops and self.nodes[self.maker[node.outputs[0]]] is node:
                yield node

    # norms -----------------------------------------------------------------------------------------------------------

    def norms(self) -> None:
        """RMS norm and layer norm by their root of a mean of squares."""
        for root in self.each("Sqrt", "Pow"):
            if root.op == "Pow" and self.number(root.inputs[1]) not in {0.5, -0.5}:
                continue
            found = self._mean_of_squares(root)
            if found is None:
                continue
            members, source = found
            scaled = self._divided(root, source)
            if scaled is None:
                continue
            kind = "RMS norm"
            centred = self.made_by(source, "Sub")
            if centred is not None:
                mean = self.made_by(centred.inputs[1], "ReduceMean")
                if mean is not None and mean.inputs[0] == centred.inputs[0]:
                    members += [centred, mean]
                    source, kind = centred.inputs[0], "layer norm"
            members, gains = self._gains([*members, *scaled])
            if self.is_closed(members, members[-1].outputs[0]):
                self.replace("norm", members, [source], {"gains": gains})
                self.fused.counts["norm"] -= 1
                self.fused.counts[kind] += 1

    def _mean_of_squares(self, root: Node) -> tuple[list[Node], str] | None:
        name, members = root.inputs[0], [root]
        shifted = self.made_by(name, "Add")
        if shifted is not None:
            name = next((each for each in shifted.inputs if not self.constant(each)), "")
            members.append(shifted)
        mean = self.made_by(name, "ReduceMean")
        square = None if mean is None else self.made_by(mean.inputs[0], "Pow", "Mul")
        if mean is None or square is None:
            return None
        is_square = self.number(square.inputs[1]) == 2 if square.op == "Pow" else square.inputs[0] == square.inputs[1]
        if not is_square or self.shape(mean.outputs[0])[-1:] != (1,):
            return None
        return [*members, mean, square], square.inputs[0]

    def _divided(self, root: Node, source: str) -> list[Node] | None:
        """The division of the source by the root, or its product with the inverse."""
        end = self.only_user(root.outputs[0], "Div", "Reciprocal", "Mul")
        if end is None:
            return None
        if end.op == "Div" and end.inputs == [source, root.outputs[0]]:
            return [end]
        if end.op == "Mul" and root.op == "Pow" and source in end.inputs:
            return [end]
        if end.op == "Reciprocal" or (end.op == "Div" and self.number(end.inputs[0]) == 1):
            product = self.only_user(end.outputs[0], "Mul")
            if product is not None and source in product.inputs:
                return [end, product]
        return None

    def _gains(self, members: list[Node]) -> tuple[list[Node], str]:
        gains = "none"
        for op, word in (("Mul", "scale"), ("Add", "scale and shift")):
            end = self.only_user(members[-1].outputs[0], op)
            learned = None if end is None else self.other(end, members[-1].outputs[0])
            if end is None or learned is None or not self.constant(learned):
                break
            width = self.shape(members[-1].outputs[0])[-1]
            if elements(self.graph.constants[learned].shape) != width:
                break
            members.append(end)
            gains = word
        return members, gains

    # rope ------------------------------------------------------------------------------------------------------------

    def ropes(self) -> None:
        """Rotary embedding: a half that is turned round, and two products."""
        for turned in self.each("Concat"):
            if len(turned.inputs) != 2:
                continue
            negated = self.made_by(turned.inputs[0], "Neg")
            first = None if negated is None else self.made_by(negated.inputs[0], "Slice", "Split")
            second = self.made_by(turned.inputs[1], "Slice", "Split")
            if negated is None or first is None or second is None or first.inputs[0] != second.inputs[0]:
                continue
            source = first.inputs[0]
            by_sine = self.only_user(turned.outputs[0], "Mul")
            total = None if by_sine is None else self.only_user(by_sine.outputs[0], "Add")
            by_cosine = (
                None if total is None or by_sine is None
                else self.made_by(self.other(total, by_sine.outputs[0]), "Mul")
            )  # fmt: skip
            if by_sine is None or total is None or by_cosine is None or source not in by_cosine.inputs:
                continue
            members = [first, negated, turned, by_sine, by_cosine, total]
            members += [second] if second is not first else []
            if self.is_closed(members, total.outputs[0]):
                self.replace("rope", members, [source], {})

    # activations -----------------------------------------------------------------------------------------------------

    def silus(self) -> None:
        """A tensor times its sigmoid; with a factor inside, the quick form of GELU."""
        for sigmoid in self.each("Sigmoid"):
            source, members = sigmoid.inputs[0], [sigmoid]
            product = self.only_user(sigmoid.outputs[0], "Mul")
            if product is None:
                continue
            kind = "silu"
            scaled = self.made_by(source, "Mul")
            if source not in product.inputs and scaled is not None and any(map(self.scalar, scaled.inputs)):
                source = next(name for name in scaled.inputs if not self.scalar(name))
                members, kind = [scaled, sigmoid], "gelu"
            if source in product.inputs and self.is_closed([*members, product], product.outputs[0]):
                self.replace(kind, [*members, product], [source], {})

    def gelus(self) -> None:
        """GELU by the error function or by a hyperbolic tangent."""
        for function in self.each("Erf", "Tanh"):
            members, source = self._halved_product(function)
            inside = self._expression(function.inputs[0], source) if source else None
            if inside is None:
                continue
            end = members[-1]
            members = [*inside, *members]
            if self.is_closed(members, end.outputs[0]):
                self.replace("gelu", members, [source], {})

    def _halved_product(self, function: Node) -> tuple[list[Node], str]:
        """One more than a function, times a tensor and a number, in any order; the tensor is empty if it is not so."""
        members, end, source = [function], function, ""
        for _ in range(4):
            following = self.only_user(end.outputs[0], "Add", "Mul")
            if following is None:
                break
            other = self.other(following, end.outputs[0])
            if following.op == "Mul" and not self.scalar(other):
                if source:
                    break
                halved = self.made_by(other, "Mul", "Div")
                source = other
                if halved is not None and any(map(self.scalar, halved.inputs)) and self.only_user(other, "Mul"):
                    members.insert(0, halved)
                    source = next(each for each in halved.inputs if not self.scalar(each))
            elif not self.scalar(other):
                break
            members.append(following)
            end = following
        has_one = any(node.op == "Add" for node in members[1:3])
        return members, source if has_one else ""

    def _expression(self, name: str, source: str) -> list[Node] | None:
        """The nodes between a tensor and an expression of nothing else; None if it is of something else."""
        members: list[Node] = []
        inner = [name]
        while inner:
            each = inner.pop()
            if each == source or self.scalar(each):
                continue
            node = self.made_by(each, "Mul", "Add", "Div", "Pow")
            if node is None or len(members) == _DEEP:
                return None
            if node not in members:
                members.append(node)
                inner += node.inputs
        return members

    def gates(self) -> None:
        """An activation times another tensor."""
        for product in self.each("Mul"):
            for name in product.inputs:
                activation = self.made_by(name, "silu", "gelu", "Gelu", "Swish")
                other = self.other(product, name)
                if activation is None or self.constant(other) or self.shape(other) != self.shape(name):
                    continue
                if other == activation.inputs[0] or other == name or self.only_user(name, "Mul") is None:
                    continue
                function = "gelu" if activation.op.lower() == "gelu" else "silu"
                self.replace("gate", [activation, product], [activation.inputs[0], other], {"function": function})
                if activation.domain == OURS:
                    self.fused.counts[activation.op] -= 1
                break

    # attention -------------------------------------------------------------------------------------------------------

    def attentions(self) -> None:
        """Scores, softmax and values."""
        for softmax in self.each("Softmax"):
            reason = self._attention(softmax)
            if reason:
                self.fused.missed.append(f"{softmax.words}: {reason}")
        for node in self.each("Attention"):
            for name in node.inputs[:3] if not node.domain else ():
                self._free_heads(name)
            self._free_result(node.outputs[0])

    def _attention(self, softmax: Node) -> str:  # noqa: PLR0911 - one reason each
        """Replaces one attention; a reason why not, empty where it is none or was replaced."""
        rank = len(self.shape(softmax.inputs[0]))
        if softmax.attributes.get("axis", -1) not in {-1, rank - 1} or rank not in {3, 4}:
            return ""
        members, masks, scores = self._back_to_scores(softmax.inputs[0])
        if scores is None:
            return ""
        end: Node = softmax
        values = self.only_user(end.outputs[0], "MatMul")
        if values is None:
            guard = self._guard(softmax)
            if guard:
                members += guard
                values = self.only_user(guard[-1].outputs[0], "MatMul")
                end = guard[-1]
        if values is None or values.inputs[0] != end.outputs[0] or self.constant(values.inputs[1]):
            return "attention whose scores are not multiplied by values at once"
        queries, key, value = self._unscaled(scores.inputs[0]), self._keys(scores.inputs[1]), values.inputs[1]
        if key is None:
            return "attention whose keys are not turned round"
        key, value = self._before_repeats(key), self._before_repeats(value)
        attributes = self._sizes(queries, key, value, self.shape(scores.outputs[0]))
        if attributes is None:
            return f"attention of {[list(self.shape(each)) for each in (queries, key, value)]}"
        members += [softmax, scores, values]
        if not self.is_closed(members, values.outputs[0]):
            return "attention whose scores are read elsewhere"
        inputs = [queries, key, value]
        attributes["writes"] = bool({key, value} & self.outputs)
        attributes["causal"] = self._is_causal(masks, attributes)
        packed = self._packed(inputs)
        if packed:
            inputs = [packed]
        else:
            inputs = self._with_cache(inputs, attributes)
            for name in inputs:
                self._free_heads(name)
        self._free_result(values.outputs[0])
        self.replace("attention", members, inputs, attributes)
        return ""

    def _guard(self, softmax: Node) -> list[Node]:
        """Rows without a key become zeros: a test for what is no number, and a choice."""
        users = [self.nodes[each] for each in self.users.get(softmax.outputs[0], set())]
        tests = [each for each in users if each is not None and each.op == "IsNaN"]
        choices = [each for each in users if each is not None and each.op == "Where"]
        return [tests[0], choices[0]] if len(users) == 2 and len(tests) == len(choices) == 1 else []

    def _back_to_scores(self, name: str) -> tuple[list[Node], list[tuple[str, str]], Node | None]:
        """Scaling and masks between the scores and the softmax."""
        members: list[Node] = []
        masks: list[tuple[str, str]] = []
        for _ in range(_DEEP):
            node = self.made_by(name, "MatMul", "Add", "Mul", "Div", "Where", "Reshape", "Sub")
            if node is None:
                return members, masks, None
            if node.op == "MatMul":
                is_product = not any(map(self.constant, node.inputs))
                return members, masks, node if is_product else None
            members.append(node)
            if node.op == "Where":
                inner = next((each for each in node.inputs[1:] if not self.constant(each)), "")
                masks.append(("where" if inner == node.inputs[1] else "where not", node.inputs[0]))
            elif node.op == "Reshape":
                inner = node.inputs[0]
            elif node.op in {"Add", "Sub"}:
                inner = self._inner(node.inputs)
                if not all(map(self.scalar, [self.other(node, inner)])):
                    masks.append(("add", self.other(node, inner)))
            else:
                inner = next((each for each in node.inputs if not self.scalar(each)), "")
                if not self.scalar(self.other(node, inner)):
                    return members, masks, None
            name = inner
        return members, masks, None

    def _inner(self, names: Sequence[str]) -> str:
        """Of two operands the one that comes from a product of activations."""
        for name in names:
            each = name
            for _ in range(_DEEP):
                node = self.made_by(each, "MatMul", "Add", "Mul", "Div", "Where", "Reshape")
                if node is None:
                    break
                if node.op == "MatMul":
                    if any(map(self.constant, node.inputs)):
                        break
                    return name
                inner = [one for one in node.inputs if not self.constant(one)]
                if not inner:
                    break
                each = inner[-1] if node.op == "Where" else inner[0]
        return names[0]

    def _unscaled(self, name: str) -> str:
        """What a tensor was before it was multiplied by one number."""
        node = self.made_by(name, "Mul", "Div")
        if node is not None and any(map(self.scalar, node.inputs)) and self.only_user(name, "MatMul", "Transpose"):
            return next(each for each in node.inputs if not self.scalar(each))
        return name

    def _keys(self, name: str) -> str | None:
        """The keys [.., keys, width] of what the scores multiply; they were turned round."""
        name = self._unscaled(name)
        turn = self.made_by(name, "Transpose")
        if turn is None:
            return None
        perm = list(turn.attributes.get("perm", ()))
        rank = len(perm)
        if perm == [*range(rank - 2), rank - 1, rank - 2]:
            return self._unscaled(turn.inputs[0])
        if perm == [0, 2, 3, 1]:  # heads are split off at the same time: [b, keys, heads, d] to [b, heads, d, keys]
            heads = f"{name}.heads"
            b, keys, count, width = self.shape(turn.inputs[0])
            self.graph.shapes[heads] = (b, count, keys, width)
            position = self.maker[name]
            split = Node("Transpose", "", turn.name, [turn.inputs[0]], [heads], {"perm": [0, 2, 1, 3]})
            self.nodes[position] = split
            self.maker[heads] = position
            self.users[heads] = set()
            return heads
        return None

    def _before_repeats(self, name: str) -> str:
        """Keys or values before their heads were repeated for the heads of the queries."""
        joined = self.made_by(name, "Reshape")
        repeated = None if joined is None else self.made_by(joined.inputs[0], "Expand", "Tile")
        lone = None if repeated is None else self.made_by(repeated.inputs[0], "Unsqueeze", "Reshape")
        if lone is None:
            return name
        source = lone.inputs[0]
        same = len(self.shape(source)) == 4 and self.shape(source)[2:] == self.shape(name)[2:]
        return source if same else name

    def _sizes(self, queries: str, key: str, value: str, scores: Shape) -> dict[str, Any] | None:
        q, k, v = map(self.shape, (queries, key, value))
        if k != v or len(q) not in {3, 4} or len(k) != len(q) or q[-1] != k[-1] or scores[-1] != k[-2]:
            return None
        if len(q) == 3:
            return {"batch": q[0], "heads": 1, "kv_heads": 1, "width": q[2], "queries": q[1], "keys": k[1],
                    "cached": 0} if q[0] == k[0] else None  # fmt: skip
        if q[0] != k[0] or q[1] % k[1]:
            return None
        return {"batch": q[0], "heads": q[1], "kv_heads": k[1], "width": q[3], "queries": q[2], "keys": k[2],
                "cached": 0}  # fmt: skip

    def _is_causal(self, masks: Sequence[tuple[str, str]], sizes: dict[str, Any]) -> bool:
        """Whether a mask hides exactly the keys after a query's own."""
        queries, keys = sizes["queries"], sizes["keys"]
        if not masks or queries == 1:
            return False
        allowed: Any = True
        for kind, name in masks:
            value = self._mask_value(name)
            if value is None:
                self.fused.doubts["attention with a mask that depends on inputs: all pairs are counted"] += 1
                return False
            seen = value > -1e4 if kind == "add" else value.astype(bool) == (kind == "where")
            if kind == "add" and value.dtype == bool:
                seen = value
            allowed = allowed & seen
        try:
            allowed = np.broadcast_to(allowed, np.broadcast_shapes(np.shape(allowed), (queries, keys)))
        except ValueError:
            return False
        if bool(np.all(allowed)):
            return False
        if bool(np.all(allowed == np.tri(queries, keys, keys - queries, dtype=bool))):
            return True
        self.fused.doubts["attention with a mask that is not causal: all pairs are counted"] += 1
        return False

    def _mask_value(self, name: str) -> Any:
        """A mask, where masks among the inputs hide nothing; None if it depends on anything else."""
        values: dict[str, Any] = {}
        order: list[Node] = []
        wanted, seen = [name], set()
        while wanted:
            each = wanted.pop()
            known = self.graph.constants.get(each)
            if not each or each in seen or (known is not None and known.value is not None):
                continue
            seen.add(each)
            node = self.made_by(each)
            if node is not None and len(order) < _MOST_MASK_NODES:
                order.append(node)
                wanted += node.inputs
            elif "mask" in each and each in self.graph.inputs:
                shape = self.graph.inputs[each]
                values[each] = np.zeros(shape) if each in self.graph.float_inputs else np.ones(shape, dtype=np.int64)
            else:
                return None
        if values:
            self.fused.doubts["attention with a mask of the inputs, which is taken to hide nothing"] += 1
        for node in sorted(order, key=lambda node: self.maker[node.outputs[0]]):
            reads = [values[each] if each in values else self._known(each) for each in node.inputs]
            made = fold(node.op, node.attributes, reads, [True] * len(reads), None)
            if made is None:
                return None
            values.update(zip(node.outputs, made, strict=False))
        return values[name] if name in values else self._known(name)

    def _known(self, name: str) -> Any:
        known = self.graph.constants.get(name)
        return None if known is None or known.value is None else np.asarray(known.value)

    def _packed(self, inputs: Sequence[str]) -> str:
        """The one tensor that has queries, keys and values side by side, if there is one."""
        origins = [self._origin(name) for name in inputs]
        if None in origins or len({each[0] for each in origins if each}) != 1 or len(set(origins)) != 3:
            return ""
        assert origins[0] is not None
        root = origins[0][0]
        whole = elements(self.shape(root))
        return root if all(3 * elements(self.shape(name)) == whole for name in inputs) else ""

    def _origin(self, name: str) -> tuple[str, str] | None:
        """The tensor that a tensor is a piece of, and which piece."""
        piece = ""
        for _ in range(_DEEP):
            node = self.made_by(name, *_VIEWS, "Split", "Gather", "Slice")
            if node is None:
                break
            if node.op not in _VIEWS:
                if piece:
                    return None
                piece = f"{node.outputs[0]}/{name}"
                if node.op == "Slice" or node.op == "Gather":  # noqa: PLR1714
                    piece = "/".join(str(self._value(each)) for each in node.inputs[1:])
            name = node.inputs[0]
        return (name, piece) if piece else None

    def _value(self, name: str) -> Any:
        known = self.graph.constants.get(name)
        return None if known is None or known.value is None else np.ravel(known.value).tolist()

    def _with_cache(self, inputs: list[str], sizes: dict[str, Any]) -> list[str]:
        """Keys and values that were there before are a cache; what is new joins it."""
        joined = [self.made_by(name, "Concat") for name in inputs[1:]]
        if any(node is None or len(node.inputs) != 2 or node.inputs[0] not in self.graph.inputs for node in joined):
            return inputs
        fresh = [node.inputs[1] for node in joined if node is not None]
        past = [self.shape(node.inputs[0]) for node in joined if node is not None]
        if past[0] != past[1] or self.shape(fresh[0]) != self.shape(fresh[1]):
            return inputs
        sizes["cached"] = past[0][-2]
        sizes["keys"] -= past[0][-2]
        self.fused.counts["KV cache"] += 1
        for node in joined:
            if node is not None:
                node.attributes["cache"] = True
        sizes["writes"] = True
        return [inputs[0], *fresh]

    def _free_heads(self, name: str) -> None:
        """Heads are split by the kernel of attention, which reads any order."""
        for _ in range(_DEEP):
            node = self.made_by(name, *_VIEWS, *_UNARY)
            if node is None:
                return
            if node.op == "Transpose":
                node.attributes["free"] = True
                return
            if node.op in {"Mul", "Div"} and not any(map(self.scalar, node.inputs)):
                return
            name = next((each for each in node.inputs if not self.constant(each)), "")

    def _free_result(self, name: str) -> None:
        turn = self.only_user(name, "Transpose", "Reshape")
        if turn is not None and turn.op == "Reshape":
            turn = self.only_user(turn.outputs[0], "Transpose")
        if turn is not None:
            turn.attributes["free"] = True
