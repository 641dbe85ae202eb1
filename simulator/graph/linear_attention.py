"""Linear attention: a gated delta net, whose state per head takes the place of a KV cache.

Source: [gated-deltanet] section 3 and figure 1, [qwen3-next] for the projections. With K key heads of width k, V value
heads of width v and a convolution over w tokens:

    one matrix      queries, keys (K k each), values and output gates (V v each); another the decay and the strength of
                    the correction (V each), with a learned decay and bias per value head
    convolution     over the tokens of queries, keys and values: 2 K k + V v channels, w - 1 tokens as state
    delta rule      V states of [k, v]: prompts in chunks, decoded tokens one by one (`graph.recurrence`)
    result          norm of every head (v gains), times its gate, output projection

States do not grow with the context. They are no part of the KV store of a chip: each step reads and writes them.
"""

from __future__ import annotations

from simulator.graph.layer import Edges, LayerStyle, after_attention, norm
from simulator.graph.operator import Elementwise, MatMul, Operator
from simulator.graph.recurrence import DeltaRule, ShortConvolution
from simulator.variants import Size
from simulator.workload.decoder import LinearAttention


def linear_attention(
    linear: LinearAttention, hidden: Size, rows: int, style: LayerStyle, *, is_prefill: bool
) -> tuple[list[Operator], Edges]:  # fmt: skip
    """Norm, projections, convolution, delta rule, gated norm, output projection and the residual addition.

    Args:
        linear: its sizes.
        hidden: width of the residual stream.
        rows: tokens that go through together.
        style: norms and biases of the layer.
        is_prefill: whether the rows are a prompt without a state, which is worked on in chunks.
    """
    keys, values = linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim
    operators: list[Operator] = [
        norm("norm_1", rows, hidden, style=style),
        MatMul("qkvz", ("qkv",), rows=rows, inputs=hidden, outputs=2 * keys + 2 * values),
        MatMul("decays", ("qkv",), rows=rows, inputs=hidden, outputs=2 * linear.value_heads),
        ShortConvolution(
            "convolution", (), rows=rows, channels=2 * keys + values, width=linear.convolution,
            has_state=not is_prefill,
        ),
        Elementwise("head_norm", (), kind="head_norm", rows=rows, width=2 * keys),
        Elementwise(
            "strengths", (), kind="activation", rows=rows, width=2 * linear.value_heads, gains=2 * linear.value_heads
        ),
        DeltaRule(
            "delta_rule", (), rows=rows, key_heads=linear.key_heads, value_heads=linear.value_heads,
            key_dim=linear.key_dim, value_dim=linear.value_dim, state_format=linear.state_format,
            chunk=linear.chunk if is_prefill else None,
        ),
        Elementwise("state_norm", (), kind="head_norm", rows=rows, width=values, gains=linear.value_dim),
        Elementwise("output_gate", (), kind="gated_activation", rows=rows, width=values, operands=2),
    ]  # fmt: skip
    edges = [("norm_1", "qkvz"), ("norm_1", "decays"), ("qkvz", "convolution"), ("convolution", "head_norm"),
             ("convolution", "delta_rule"), ("head_norm", "delta_rule"), ("decays", "strengths"),
             ("strengths", "delta_rule"), ("delta_rule", "state_norm"), ("state_norm", "output_gate"),
             ("qkvz", "output_gate")]  # fmt: skip
    ending, ending_edges = after_attention("output_gate", hidden, rows, values, style)
    return [*operators, *ending], [*edges, *ending_edges]
