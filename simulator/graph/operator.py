"""Operators: the nodes of a model's graph, with exact integer counts.

Counts follow the field: 1 MAC is 2 flop, and `flop` counts matrix multiplications and attention scores and values.
Elementwise work (norms, rope, activations) is counted in elements, because it runs on another engine.
No bytes here: how many bytes an element takes is a matter of precision, which lowering decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.terms import Fusion

ElementwiseKind = Literal["norm", "head_norm", "rope", "gated_activation", "activation", "add"]


@dataclass(frozen=True)
class _Named:
    name: str
    """Unique within its graph."""
    fusions: tuple[Fusion, ...]
    """Groups in which a runtime may compute this operator together with its neighbours."""

    @property
    def flop(self) -> int:
        """Floating-point operations of matrix work."""
        return 0

    @property
    def parameters(self) -> int:
        """Learned numbers that the operator owns."""
        return 0

    @property
    def input_elements(self) -> int:
        """Activation elements read."""
        return 0

    @property
    def output_elements(self) -> int:
        """Activation elements written."""
        return 0


@dataclass(frozen=True)
class MatMul(_Named):
    """y[rows, outputs] = x[rows, inputs] · W[inputs, outputs] (+ bias)."""

    rows: int
    inputs: int
    outputs: int
    role: Literal["body", "head"] = "body"
    """The LM head may have a precision of its own."""
    has_bias: bool = False
    shares_weights: bool = False
    """Whether W belongs to another operator (a tied head is the embedding): then it has no parameters of its own."""

    @property
    def flop(self) -> int:
        """2 · rows · inputs · outputs."""
        return 2 * self.rows * self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """Inputs · outputs, and one bias per output."""
        bias = self.outputs if self.has_bias else 0
        return bias if self.shares_weights else self.inputs * self.outputs + bias

    @property
    def input_elements(self) -> int:
        """Rows · inputs."""
        return self.rows * self.inputs

    @property
    def output_elements(self) -> int:
        """Rows · outputs."""
        return self.rows * self.outputs


@dataclass(frozen=True)
class Attention(_Named):
    """Scores, softmax and values of `batch` independent sequences.

    Each of the `queries` rows sees `cached_keys` keys of a KV cache, and of the `own_keys` keys that were just
    computed either all or, if causal, those up to its own position.
    """

    queries: int
    cached_keys: int
    own_keys: int
    heads: int
    kv_heads: int
    head_dim: int
    is_causal: bool
    batch: int = 1

    @property
    def pairs(self) -> int:
        """Query-key pairs of one head over the whole batch.

        Causal: row i (from 1) sees its i own keys, so S rows see S (S + 1) / 2.
        """
        own = self.queries * (self.queries + 1) // 2 if self.is_causal else self.queries * self.own_keys
        return self.batch * (self.queries * self.cached_keys + own)

    @property
    def flop(self) -> int:
        """2 · head_dim for the score and 2 · head_dim for the value of every pair and head."""
        return 4 * self.heads * self.head_dim * self.pairs

    @property
    def cache_elements(self) -> int:
        """Keys and values read from the KV cache; the batch shares it."""
        return 2 * self.kv_heads * self.head_dim * self.cached_keys

    @property
    def input_elements(self) -> int:
        """Queries, and the keys and values that were just computed."""
        return self.batch * self.head_dim * (self.queries * self.heads + 2 * self.own_keys * self.kv_heads)

    @property
    def output_elements(self) -> int:
        """One row of all heads per query."""
        return self.batch * self.queries * self.heads * self.head_dim


@dataclass(frozen=True)
class Elementwise(_Named):
    """An operation on every element of [rows, width], with `operands` inputs of that shape."""

    kind: ElementwiseKind
    rows: int
    width: int
    operands: int = 1
    gains: int = 0
    """Learned numbers (the gains and biases of a norm)."""

    @property
    def parameters(self) -> int:
        """The gains."""
        return self.gains

    @property
    def input_elements(self) -> int:
        """Rows · width per operand."""
        return self.operands * self.rows * self.width

    @property
    def output_elements(self) -> int:
        """Rows · width."""
        return self.rows * self.width


@dataclass(frozen=True)
class Embedding(_Named):
    """Rows of a table: `rows` of `vocabulary` vectors of `width`."""

    rows: int
    width: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """The table."""
        return self.vocabulary * self.width

    @property
    def output_elements(self) -> int:
        """Rows · width."""
        return self.rows * self.width


@dataclass(frozen=True)
class CacheWrite(_Named):
    """New keys and values go to the KV cache."""

    tokens: int
    kv_heads: int
    head_dim: int

    @property
    def cache_elements(self) -> int:
        """Keys and values written."""
        return 2 * self.tokens * self.kv_heads * self.head_dim


Operator = MatMul | Attention | Elementwise | Embedding | CacheWrite
