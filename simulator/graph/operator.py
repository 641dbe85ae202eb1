"""Operators: the nodes of a model's graph, with exact integer counts.

Counts follow the field: 1 MAC is 2 flop, and `flop` counts matrix multiplications and attention scores and values.
Elementwise work (norms, rope, activations) is counted in elements, because it runs on another engine.
No bytes here: how many bytes an element takes is a matter of precision, which lowering decides.

Every size may be an array, with one value per variant of the operator: per step of a phase (the context of a decoded
token) or per point of a design space. Counts of such an operator are arrays, too, by the same formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.graph.maps import Convolution, Product, Resample
from simulator.graph.named import Named
from simulator.graph.recurrence import DeltaRule, ShortConvolution
from simulator.variants import Size, largest, smallest

ElementwiseKind = Literal[
    "norm", "head_norm", "rope", "gated_activation", "activation", "squared_relu", "add", "routing", "combine",
    "quantise", "multiply", "divide", "relu", "sigmoid", "silu", "exp", "softmax", "copy",
]  # fmt: skip


@dataclass(frozen=True)
class MatMul(Named):
    """y[rows, outputs] = x[rows, inputs] · W[inputs, outputs] (+ bias), for one matrix or one per group of columns."""

    rows: Size
    inputs: Size
    outputs: Size
    role: Literal["body", "head"] = "body"
    """The LM head may have a precision of its own."""
    has_bias: bool = False
    shares_weights: bool = False
    """Whether W belongs to another operator (a tied head is the embedding): then it has no parameters of its own."""
    groups: Size = 1
    """Independent products of these sizes, each with a matrix of its own (one per head)."""

    @property
    def flop(self) -> Size:
        """2 · rows · inputs · outputs, per group."""
        return 2 * self.rows * self.groups * self.inputs * self.outputs

    @property
    def parameters(self) -> Size:
        """Inputs · outputs, and one bias per output, per group."""
        bias = self.outputs if self.has_bias else 0
        return self.groups * (bias if self.shares_weights else self.inputs * self.outputs + bias)

    @property
    def input_elements(self) -> Size:
        """Rows · inputs, per group."""
        return self.rows * self.groups * self.inputs

    @property
    def output_elements(self) -> Size:
        """Rows · outputs, per group."""
        return self.rows * self.groups * self.outputs


@dataclass(frozen=True)
class ExpertMatMul(Named):
    """Every row times the matrices of `top_k` of `experts` experts; the rows reach `touched` experts together."""

    rows: Size
    inputs: Size
    outputs: Size
    experts: Size
    top_k: Size
    touched: Size
    """Distinct experts whose weights are needed; the routed rows are spread evenly over them. Expected for uniform
    routing: a router trace of the workload takes its place."""
    gathers: bool
    """Whether it reads each row once and hands it to `top_k` experts (the first matrix), or reads a row per expert."""
    has_bias: bool = False

    @property
    def flop(self) -> Size:
        """2 · rows · top_k · inputs · outputs."""
        return 2 * self.rows * self.top_k * self.inputs * self.outputs

    @property
    def parameters(self) -> Size:
        """One matrix per expert, touched or not, and its bias."""
        return self.experts * (self.inputs + (1 if self.has_bias else 0)) * self.outputs

    @property
    def input_elements(self) -> Size:
        """Rows · inputs, times top_k if every expert has rows of its own."""
        return self.rows * self.inputs * (1 if self.gathers else self.top_k)

    @property
    def output_elements(self) -> Size:
        """Rows · top_k · outputs."""
        return self.rows * self.top_k * self.outputs


@dataclass(frozen=True)
class Attention(Named):
    """Scores, softmax and values of `batch` independent sequences.

    Each of the `queries` rows sees `cached_keys` keys of a KV cache, and of the `own_keys` keys that were just
    computed either all or, if causal, those up to its own position.
    """

    queries: Size
    cached_keys: Size
    own_keys: Size
    heads: Size
    kv_heads: Size
    head_dim: Size
    is_causal: bool
    batch: int = 1
    window: Size | None = None
    """If causal: the most keys that a row sees, its own among them. If not: rows see each other in groups of so many.
    None for no limit."""
    value_dim: Size | None = None
    """Width of a value; None for `head_dim`."""
    values_in_keys: bool = False
    """Whether a value is the first part of its key, so that a cache holds and delivers it once (latent attention)."""
    sinks: Size = 0
    """Learned logits."""

    @property
    def parameters(self) -> Size:
        """The sinks."""
        return self.sinks

    @property
    def pairs(self) -> Size:
        """Query-key pairs of one head over the whole batch.

        Causal: row i (from 1) sees c cached keys and its i own, so S rows see S c + S (S + 1) / 2. With a window of w
        keys row i sees min(c + i, w), so with m = min(S, w - c) rows before the window is full all rows see
        m c + m (m + 1) / 2 + (S - m) w.
        """
        pairs: Size
        if self.is_causal and self.window is not None:
            growing: Size = smallest(self.queries, largest(self.window - self.cached_keys, 0))
            seen_growing = growing * self.cached_keys + growing * (growing + 1) // 2
            pairs = seen_growing + (self.queries - growing) * self.window
        elif self.is_causal:
            pairs = self.queries * self.cached_keys + self.queries * (self.queries + 1) // 2
        elif self.window is not None:
            groups, rest = self.own_keys // self.window, self.own_keys % self.window
            pairs = self.queries * self.cached_keys + groups * self.window**2 + rest**2
        else:
            pairs = self.queries * (self.cached_keys + self.own_keys)
        return self.batch * pairs

    @property
    def flop(self) -> Size:
        """2 · head_dim for the score and 2 · value_dim for the value of every pair and head."""
        widths: Size = self.head_dim + _value_dim(self)
        return 2 * self.heads * widths * self.pairs

    @property
    def key_elements(self) -> Size:
        """A key with its value, in all heads that have some."""
        return _key_elements(self)

    @property
    def cache_elements(self) -> Size:
        """Keys and values read from the KV cache; the batch shares it."""
        return self.key_elements * self.cached_keys

    @property
    def input_elements(self) -> Size:
        """Queries, and the keys and values that were just computed."""
        return self.batch * (self.queries * self.heads * self.head_dim + self.own_keys * self.key_elements)

    @property
    def output_elements(self) -> Size:
        """One row of all heads per query."""
        return self.batch * self.queries * self.heads * _value_dim(self)


@dataclass(frozen=True)
class Elementwise(Named):
    """An operation on every element of [rows, width], with `operands` inputs of that shape."""

    kind: ElementwiseKind
    rows: Size
    width: Size
    operands: Size = 1
    gains: Size = 0
    """Learned numbers (the gains and biases of a norm)."""

    @property
    def parameters(self) -> Size:
        """The gains."""
        return self.gains

    @property
    def input_elements(self) -> Size:
        """Rows · width per operand."""
        return self.operands * self.rows * self.width

    @property
    def output_elements(self) -> Size:
        """Rows · width."""
        return self.rows * self.width


@dataclass(frozen=True)
class Embedding(Named):
    """Rows of a table: `rows` of `vocabulary` vectors of `width`."""

    rows: Size
    width: Size
    vocabulary: Size

    @property
    def parameters(self) -> Size:
        """The table."""
        return self.vocabulary * self.width

    @property
    def output_elements(self) -> Size:
        """Rows · width."""
        return self.rows * self.width


@dataclass(frozen=True)
class CacheWrite(Named):
    """New keys and values go to the KV cache."""

    tokens: Size
    kv_heads: Size
    head_dim: Size
    context: Size
    """Tokens in the cache once the new ones are there, at most those of the window."""
    window: Size | None = None
    """The most tokens that the next one sees; None for no limit."""
    value_dim: Size | None = None
    """As in `Attention`."""
    values_in_keys: bool = False

    @property
    def token_elements(self) -> Size:
        """Keys and values of one token."""
        return _key_elements(self)

    @property
    def cache_elements(self) -> Size:
        """Keys and values written."""
        return self.tokens * self.token_elements


def _value_dim(operator: Attention | CacheWrite) -> Size:
    return operator.head_dim if operator.value_dim is None else operator.value_dim


def _key_elements(operator: Attention | CacheWrite) -> Size:
    values: Size = 0 if operator.values_in_keys else _value_dim(operator)
    return operator.kv_heads * (operator.head_dim + values)


Operator = (
    MatMul | ExpertMatMul | Convolution | Product | Resample | Attention | Elementwise | Embedding | CacheWrite
    | ShortConvolution | DeltaRule
)  # fmt: skip
