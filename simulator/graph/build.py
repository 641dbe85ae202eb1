"""From a workload to its graphs: decoder, vision tower and action expert, phase by phase.

Only shapes and edges. The order in which operators are listed is the order in which a stack with one queue of kernels
would run them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache

from simulator.graph.graph import Block, OperatorGraph, PhaseGraph, Step, WorkloadGraph
from simulator.graph.operator import Attention, CacheWrite, Elementwise, Embedding, MatMul, Operator
from simulator.terms import Fusion
from simulator.workload.spec import ActionPhase, DecodePhase, Phase, PrefillPhase, VisionPhase, Workload
from simulator.workload.transformer import ActionExpert, Decoder, VisionTower


def build_graph(workload: Workload) -> WorkloadGraph:
    """The operator graphs of one frame of a workload."""
    phases = tuple(_build_phase(workload, phase) for phase in workload.pipeline)
    decoder = workload.decoder
    return WorkloadGraph(
        name=workload.name,
        phases=phases,
        component_parameters=count_parameters(workload),
        kv_elements=0 if decoder is None else _cached_tokens(workload, None) * kv_elements_per_token(decoder),
    )


def kv_elements_per_token(decoder: Decoder) -> int:
    """Elements of the KV cache that one token adds: keys and values of every layer."""
    return 2 * decoder.layers * decoder.kv_heads * decoder.head_dim


def count_parameters(workload: Workload) -> dict[str, int]:
    """Exact parameters of every component, whether or not a phase of this workload runs it."""
    counts: dict[str, int] = {}
    if workload.decoder is not None:
        counts["decoder"] = _decoder_step(workload.decoder, rows=1, cached_keys=0).parameters
        if not workload.decoder.has_head and not workload.decoder.tied_head:
            counts["decoder"] += workload.decoder.vocabulary * workload.decoder.hidden
    if workload.vision is not None:
        counts["vision"] = _vision_step(workload.vision, images=1, patches=workload.vision.merge).parameters
        counts["vision"] += workload.vision.position_embeddings * workload.vision.width
    if workload.action is not None:
        counts["action"] = _action_step(workload.action, tokens=1, samples=1, cached_keys=0).parameters
    return counts


def _build_phase(workload: Workload, phase: Phase) -> PhaseGraph:
    build = _BUILDERS[type(phase)]
    return build(workload, phase)


def _build_vision(workload: Workload, phase: VisionPhase) -> PhaseGraph:
    tower = workload.vision
    assert tower is not None  # Workload refuses a phase without its component
    step = _vision_step(tower, images=phase.images, patches=phase.patches)
    return PhaseGraph("vision", phase.precision, phase.images * phase.patches // tower.merge, (step,))


def _build_prefill(workload: Workload, phase: PrefillPhase) -> PhaseGraph:
    assert workload.decoder is not None
    return PhaseGraph(
        "prefill", phase.precision, phase.tokens, (_decoder_step(workload.decoder, rows=phase.tokens, cached_keys=0),)
    )


def _build_decode(workload: Workload, phase: DecodePhase) -> PhaseGraph:
    assert workload.decoder is not None
    prompt = _cached_tokens(workload, "decode")
    steps = tuple(
        _decoder_step(workload.decoder, rows=1, cached_keys=prompt + token) for token in range(1, phase.tokens + 1)
    )
    return PhaseGraph("decode", phase.precision, phase.tokens, steps)


def _build_action(workload: Workload, phase: ActionPhase) -> PhaseGraph:
    assert workload.action is not None
    step = _action_step(
        workload.action, tokens=phase.tokens, samples=phase.samples, cached_keys=_cached_tokens(workload, "action")
    )
    return PhaseGraph("action", phase.precision, phase.tokens * phase.samples, (step,) * phase.steps)


_BUILDERS: dict[type, Callable[..., PhaseGraph]] = {
    VisionPhase: _build_vision,
    PrefillPhase: _build_prefill,
    DecodePhase: _build_decode,
    ActionPhase: _build_action,
}


def _cached_tokens(workload: Workload, before: str | None) -> int:
    """Tokens in the KV cache when a phase begins, or at the end of the frame."""
    tokens = 0
    for phase in workload.pipeline:
        if phase.phase == before:
            break
        if isinstance(phase, PrefillPhase | DecodePhase):
            tokens += phase.tokens
    return tokens


# decoder -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _decoder_step(decoder: Decoder, *, rows: int, cached_keys: int) -> Step:
    """All rows through the decoder; the final norm and the head see the last row only.

    With `cached_keys` 0 the rows attend causally to each other (prefill). Otherwise they attend to that many keys of
    the cache, their own among them: a decoded token's key is written first and read with the others.
    """
    embedding, output = _decoder_ends(decoder, rows)
    return Step((embedding, Block(_decoder_layer(decoder, rows, cached_keys), decoder.layers), output))


@lru_cache(maxsize=64)
def _decoder_ends(decoder: Decoder, rows: int) -> tuple[Block, Block]:
    """What comes before and after the layers: the same for every context."""
    embedding = Embedding("embedding", (), rows=rows, width=decoder.hidden, vocabulary=decoder.vocabulary)
    final: list[Operator] = [_norm("final_norm", 1, decoder.hidden)]
    edges: list[tuple[str, str]] = []
    if decoder.has_head:
        final.append(
            MatMul(
                "head", (), rows=1, inputs=decoder.hidden, outputs=decoder.vocabulary, role="head",
                shares_weights=decoder.tied_head,
            )
        )  # fmt: skip
        edges.append(("final_norm", "head"))
    return Block(OperatorGraph("embedding", [embedding], []), 1), Block(OperatorGraph("output", final, edges), 1)


def _decoder_layer(decoder: Decoder, rows: int, cached_keys: int) -> OperatorGraph:
    attention = Attention(
        "attention", (), queries=rows, cached_keys=cached_keys, own_keys=0 if cached_keys else rows,
        heads=decoder.heads, kv_heads=decoder.kv_heads, head_dim=decoder.head_dim, is_causal=not cached_keys,
    )  # fmt: skip
    operators, edges = _self_attention(decoder, rows, attention, has_bias=decoder.qkv_bias, writes_cache=True)
    ffn, ffn_edges = _gated_ffn(decoder, rows)
    return OperatorGraph("layer", [*operators, *ffn], [*edges, *ffn_edges])


def _self_attention(
    sizes: Decoder | ActionExpert, rows: int, attention: Attention, *, has_bias: bool, writes_cache: bool
) -> tuple[list[Operator], list[tuple[str, str]]]:
    """Norm, projections, head norm, rope, cache write, attention, output projection and the residual addition."""
    query_width, kv_width = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    rotated = query_width + kv_width
    gains = 0 if _has_adaptive_norm(sizes) else sizes.hidden
    operators: list[Operator] = [_norm("norm_1", rows, sizes.hidden, gains=gains)]
    for name, width in (("q", query_width), ("k", kv_width), ("v", kv_width)):
        operators.append(MatMul(name, ("qkv",), rows=rows, inputs=sizes.hidden, outputs=width, has_bias=has_bias))
    edges = [("norm_1", "q"), ("norm_1", "k"), ("norm_1", "v"), ("v", "attention")]
    before_rope = ["q", "k"]
    if sizes.head_norm:
        operators.append(
            Elementwise(
                "head_norm", ("head_norm_rope_cache",), kind="head_norm", rows=rows, width=rotated,
                gains=2 * sizes.head_dim,
            )
        )  # fmt: skip
        edges += [("q", "head_norm"), ("k", "head_norm")]
        before_rope = ["head_norm"]
    operators.append(Elementwise("rope", ("head_norm_rope_cache",), kind="rope", rows=rows, width=rotated))
    edges += [(name, "rope") for name in before_rope] + [("rope", "attention")]
    if writes_cache:
        operators.append(
            CacheWrite(
                "cache_write", ("head_norm_rope_cache",), tokens=rows, kv_heads=sizes.kv_heads, head_dim=sizes.head_dim
            )
        )
        edges += [("rope", "cache_write"), ("v", "cache_write"), ("cache_write", "attention")]
    operators += [
        attention,
        MatMul("o", (), rows=rows, inputs=query_width, outputs=sizes.hidden),
        Elementwise("add_1", ("norm_residual",), kind="add", rows=rows, width=sizes.hidden, operands=2),
    ]
    return operators, [*edges, ("attention", "o"), ("o", "add_1")]


def _has_adaptive_norm(sizes: Decoder | ActionExpert) -> bool:
    """Whether norms take scale and shift from a matrix instead of gains of their own."""
    return isinstance(sizes, ActionExpert) and sizes.adaptive_norm


def _gated_ffn(sizes: Decoder | ActionExpert, rows: int) -> tuple[list[Operator], list[tuple[str, str]]]:
    hidden, ffn_width = sizes.hidden, sizes.ffn_width
    gains = 0 if _has_adaptive_norm(sizes) else hidden
    operators: list[Operator] = [
        _norm("norm_2", rows, hidden, fusions=("norm_residual",), gains=gains),
        MatMul("gate", ("gate_up",), rows=rows, inputs=hidden, outputs=ffn_width),
        MatMul("up", ("gate_up", "gate_activation"), rows=rows, inputs=hidden, outputs=ffn_width),
        Elementwise(
            "activation", ("gate_activation",), kind="gated_activation", rows=rows, width=ffn_width, operands=2
        ),
        MatMul("down", (), rows=rows, inputs=ffn_width, outputs=hidden),
        Elementwise("add_2", (), kind="add", rows=rows, width=hidden, operands=2),
    ]
    edges = [("add_1", "norm_2"), ("norm_2", "gate"), ("norm_2", "up"), ("gate", "activation"), ("up", "activation"),
             ("activation", "down"), ("down", "add_2"), ("add_1", "add_2")]  # fmt: skip
    return operators, edges


def _norm(
    name: str, rows: int, width: int, *, fusions: tuple[Fusion, ...] = (), gains: int | None = None
) -> Elementwise:
    return Elementwise(
        name, fusions, kind="norm", rows=rows, width=width, gains=width if gains is None else gains
    )  # fmt: skip


# vision tower --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _vision_step(tower: VisionTower, *, images: int, patches: int) -> Step:
    rows = images * patches
    head_dim = tower.width // tower.heads
    patch = OperatorGraph(
        "patch_embedding",
        [MatMul("patches", (), rows=rows, inputs=tower.patch_elements, outputs=tower.width, has_bias=tower.has_bias)],
        [],
    )
    attention = Attention(
        "attention", (), queries=patches, cached_keys=0, own_keys=patches, heads=tower.heads, kv_heads=tower.heads,
        head_dim=head_dim, is_causal=False, batch=images,
    )  # fmt: skip
    layer = _vision_layer(tower, rows, attention)
    blocks = [Block(patch, 1), Block(layer, tower.layers), Block(_merger(tower, rows), 1 + tower.extra_mergers)]
    if tower.has_final_norm and not tower.merger_width:
        # a tower with a single output projection normalises all its rows once; a merger has a norm of its own
        norm = OperatorGraph("final_norm", [_norm("final_norm", rows, tower.width, gains=2 * tower.width)], [])
        blocks.insert(2, Block(norm, 1))
    return Step(tuple(blocks))


def _vision_layer(tower: VisionTower, rows: int, attention: Attention) -> OperatorGraph:
    width, bias = tower.width, tower.has_bias
    operators: list[Operator] = [
        _norm("norm_1", rows, width, gains=2 * width),
        MatMul("qkv", (), rows=rows, inputs=width, outputs=3 * width, has_bias=bias),
        attention,
        MatMul("o", (), rows=rows, inputs=width, outputs=width, has_bias=bias),
        Elementwise("add_1", ("norm_residual",), kind="add", rows=rows, width=width, operands=2),
        _norm("norm_2", rows, width, fusions=("norm_residual",), gains=2 * width),
        MatMul("up", ("gate_activation",), rows=rows, inputs=width, outputs=tower.ffn_width, has_bias=bias),
        Elementwise("activation", ("gate_activation",), kind="activation", rows=rows, width=tower.ffn_width),
        MatMul("down", (), rows=rows, inputs=tower.ffn_width, outputs=width, has_bias=bias),
        Elementwise("add_2", (), kind="add", rows=rows, width=width, operands=2),
    ]
    names = [operator.name for operator in operators]
    return OperatorGraph("layer", operators, [*itertools.pairwise(names), ("add_1", "add_2")])


def _merger(tower: VisionTower, rows: int) -> OperatorGraph:
    """Neighbouring patches become one token in the decoder's width."""
    tokens, inputs = rows // tower.merge, tower.merge * tower.width
    if not tower.merger_width:
        projection = MatMul(
            "projection", (), rows=tokens, inputs=inputs, outputs=tower.output_width, has_bias=tower.has_bias
        )
        return OperatorGraph("merger", [projection], [])
    operators: list[Operator] = [
        _norm("merge_norm", rows, tower.width, gains=2 * tower.width),
        MatMul("merge_1", ("gate_activation",), rows=tokens, inputs=inputs, outputs=tower.merger_width,
               has_bias=tower.has_bias),
        Elementwise("merge_activation", ("gate_activation",), kind="activation", rows=tokens, width=tower.merger_width),
        MatMul("merge_2", (), rows=tokens, inputs=tower.merger_width, outputs=tower.output_width,
               has_bias=tower.has_bias),
    ]  # fmt: skip
    names = [operator.name for operator in operators]
    return OperatorGraph("merger", operators, itertools.pairwise(names))


# action expert -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _action_step(expert: ActionExpert, *, tokens: int, samples: int, cached_keys: int) -> Step:
    """One integration step: input projection, layers that read the backbone's cache, output projection."""
    rows = tokens * samples
    attention = Attention(
        "attention", (), queries=tokens, cached_keys=cached_keys, own_keys=tokens, heads=expert.heads,
        kv_heads=expert.kv_heads, head_dim=expert.head_dim, is_causal=False, batch=samples,
    )  # fmt: skip
    operators, edges = _self_attention(expert, rows, attention, has_bias=False, writes_cache=False)
    ffn, ffn_edges = _gated_ffn(expert, rows)
    operators, edges = [*operators, *ffn], [*edges, *ffn_edges]
    if expert.adaptive_norm:
        for norm in ("norm_2", "norm_1"):
            operators, edges = _with_modulation(norm, operators, edges, expert.hidden)
    layer = OperatorGraph("layer", operators, edges)
    return Step(
        (
            Block(_action_input(expert, rows), 1),
            Block(layer, expert.layers),
            Block(_action_output(expert, rows), 1),
        )
    )


def _with_modulation(
    norm: str, operators: list[Operator], edges: list[tuple[str, str]], hidden: int
) -> tuple[list[Operator], list[tuple[str, str]]]:
    """Puts first the matrix that makes scale, shift and gate of a norm from the time embedding (one row)."""
    modulation = MatMul(f"modulation_{norm}", (), rows=1, inputs=hidden, outputs=3 * hidden, has_bias=True)
    return [modulation, *operators], [(modulation.name, norm), *edges]


def _action_input(expert: ActionExpert, rows: int) -> OperatorGraph:
    if not expert.input_hidden:
        matrix = MatMul("input", (), rows=rows, inputs=expert.input_width, outputs=expert.hidden, has_bias=True)
        return OperatorGraph("input", [matrix], [])
    first = MatMul("input_1", (), rows=rows, inputs=expert.input_width, outputs=expert.input_hidden, has_bias=True)
    second = MatMul("input_2", (), rows=rows, inputs=expert.input_hidden, outputs=expert.hidden, has_bias=True)
    return OperatorGraph("input", [first, second], [("input_1", "input_2")])


def _action_output(expert: ActionExpert, rows: int) -> OperatorGraph:
    operators: list[Operator] = [
        _norm("final_norm", rows, expert.hidden, gains=0 if expert.adaptive_norm else expert.hidden),
        MatMul("output", (), rows=rows, inputs=expert.hidden, outputs=expert.action_width, has_bias=True),
    ]
    edges = [("final_norm", "output")]
    if expert.adaptive_norm:
        operators, edges = _with_modulation("final_norm", operators, edges, expert.hidden)
    return OperatorGraph("output", operators, edges)
