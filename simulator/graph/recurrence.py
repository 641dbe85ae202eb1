"""Operators that carry a state of constant size from token to token: the parts of linear attention.

Counts as in `simulator.graph.operator`. A state is read and written once by whatever goes through together: all tokens
of a prompt, or one decoded token. A prompt begins without a state.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.graph.named import Named
from simulator.precision import Dtype
from simulator.variants import Size


@dataclass(frozen=True)
class ShortConvolution(Named):
    """A causal convolution along the tokens, channel by channel, with an activation behind it."""

    rows: Size
    channels: Size
    width: Size
    """Tokens that it sees, the newest among them."""
    has_state: bool
    """Whether there were tokens before."""

    @property
    def flop(self) -> Size:
        """2 · rows · channels · width."""
        return 2 * self.rows * self.channels * self.width

    @property
    def parameters(self) -> Size:
        """A filter per channel."""
        return self.channels * self.width

    @property
    def state_elements(self) -> Size:
        """The newest tokens but one, which the next token sees; in the format of activations."""
        return self.channels * (self.width - 1)

    @property
    def input_elements(self) -> Size:
        """Rows · channels."""
        return self.rows * self.channels

    @property
    def output_elements(self) -> Size:
        """Rows · channels."""
        return self.rows * self.channels


@dataclass(frozen=True)
class DeltaRule(Named):
    """The gated delta rule: a state S [key_dim, value_dim] per head that decays, is corrected, and is read.

    Formula:  S' = a S;  S = S' + b k (v - S'ᵀ k)ᵀ;  o = Sᵀ q           a token after the other, k and q of one key_dim
    Source:   [gated-deltanet] equation 10
    """

    rows: Size
    key_heads: Size
    value_heads: Size
    """Each with a state of its own; the value heads of a key head share queries and keys."""
    key_dim: Size
    value_dim: Size
    state_format: Dtype
    chunk: Size | None
    """Tokens that are worked on together; None for a token after the other, from a state that is there."""

    @property
    def macs(self) -> Size:
        """Products of matrix work, in the form that `chunk` names.

        Formula:  token by token: 3 dk dv per row and head: the correction Sᵀk, the outer product, the result Sᵀq
                  chunks of C:    C² (3 dk + 2 dv) + 3 C dk dv + C (C - 1) (C - 2) / 6 per chunk and head:
                                  K Kᵀ, Q Kᵀ and T (b a K) of [C, C, dk], T (b V) and (Q Kᵀ) U of [C, C, dv], W S, Q S
                                  and Kᵀ U of [C, dk, dv], and T, the inverse of a unit lower triangle
                  The last chunk has as many rows as are left.
        Source:   [gated-deltanet] section 3.3 (chunks in WY form), [fla] gated_delta_rule (whole squares, a product per
                  value head); the inverse by forward substitution
        """
        if self.chunk is None:
            return 3 * self.rows * self.value_heads * self.key_dim * self.value_dim
        whole_chunks, rest = self.rows // self.chunk, self.rows % self.chunk
        return self.value_heads * (whole_chunks * self._chunk_macs(self.chunk) + self._chunk_macs(rest))

    def _chunk_macs(self, rows: Size) -> Size:
        key_dim, value_dim = self.key_dim, self.value_dim
        squares = rows * rows * (3 * key_dim + 2 * value_dim)
        return squares + 3 * rows * key_dim * value_dim + rows * (rows - 1) * (rows - 2) // 6

    @property
    def flop(self) -> Size:
        """Two per product."""
        return 2 * self.macs

    @property
    def decays(self) -> Size:
        """Elements of states that are multiplied by their decay: once per token, or once per chunk."""
        times = self.rows if self.chunk is None else -(-self.rows // self.chunk)
        return times * self.state_elements

    @property
    def state_elements(self) -> Size:
        """The states of all heads."""
        return self.value_heads * self.key_dim * self.value_dim

    @property
    def input_elements(self) -> Size:
        """Queries, keys and values, and a decay and a gate per value head."""
        heads = 2 * self.key_heads * self.key_dim + self.value_heads * (self.value_dim + 2)
        return self.rows * heads

    @property
    def output_elements(self) -> Size:
        """A row of all value heads."""
        return self.rows * self.value_heads * self.value_dim
