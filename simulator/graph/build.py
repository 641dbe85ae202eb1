"""From a workload to its graphs, phase by phase.

Only shapes and edges. The order in which operators are listed is the order in which a stack with one queue of kernels
would run them. The graphs of the components are in `decoder`, `vision` and `action`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from simulator.errors import SpecError
from simulator.graph.action import action_blocks
from simulator.graph.decoder import Pass, cached_elements, decoder_blocks, pass_blocks, seen_tokens
from simulator.graph.graph import Block, PhaseGraph, WorkloadGraph
from simulator.graph.network import network_blocks
from simulator.graph.operator import CacheWrite
from simulator.graph.speculation import drafter_parameters, speculation_blocks
from simulator.graph.vision import learned_rows, vision_blocks
from simulator.routing import RouterFit, RouterTrace, preset_fit, read_trace, synthetic_trace
from simulator.workload import Decoder
from simulator.workload.network import rows_of
from simulator.workload.phases import ActionPhase, DecodePhase, NetworkPhase, Phase, PrefillPhase, VisionPhase
from simulator.workload.spec import Workload


def build_graph(workload: Workload, seed: int = 0) -> WorkloadGraph:
    """The operator graphs of one frame of a workload.

    Args:
        workload: the workload.
        seed: of the router trace, where the workload has one that is drawn.
    Raises:
        SpecError: when the file of a router trace cannot be read or does not match the model.
    """
    phases = tuple(_build_phase(workload, phase) for phase in workload.pipeline)
    decoder, tokens = workload.decoder, _cached_tokens(workload, None)
    return WorkloadGraph(
        name=workload.name,
        phases=phases,
        component_parameters=count_parameters(workload),
        kv_elements=(0 if decoder is None else cached_elements(decoder, tokens)) + _network_cache(phases),
        trace=None if decoder is None else _router_trace(workload.name, decoder, tokens, seed),
    )


def _network_cache(phases: Iterable[PhaseGraph]) -> int:
    """Elements of the KV cache that networks keep."""
    written = (each for phase in phases if phase.kind == "network" for each in phase.operators())
    return sum(
        int(repeats * operator.context * operator.token_elements)
        for operator, repeats in written if isinstance(operator, CacheWrite)
    )  # fmt: skip


def count_parameters(workload: Workload) -> dict[str, int]:
    """Exact parameters of every component, whether or not a phase of this workload runs it."""
    counts: dict[str, int] = {}
    if workload.decoder is not None:
        counts["decoder"] = _parameters(decoder_blocks(workload.decoder, rows=1, prompt=0, num_steps=1))
        for phase in workload.pipeline:
            if isinstance(phase, DecodePhase) and phase.speculation is not None:
                counts["decoder"] += drafter_parameters(workload.decoder, phase.speculation)
        if not workload.decoder.has_head and not workload.decoder.tied_head:
            counts["decoder"] += workload.decoder.vocabulary * workload.decoder.hidden
    if workload.vision is not None:
        counts["vision"] = _parameters(vision_blocks(workload.vision, images=1, patches=workload.vision.merge))
        counts["vision"] += learned_rows(workload.vision)
    if workload.action is not None:
        counts["action"] = _parameters(action_blocks(workload.action, tokens=1, samples=1, cached_keys=0))
    for name, network in workload.networks.items():
        counts[name] = _parameters(network_blocks(network))
    return counts


def _router_trace(name: str, decoder: Decoder, tokens: int, seed: int) -> RouterTrace | None:
    """The trace of a decoder whose routing is not uniform."""
    routing = decoder.routing
    if routing is None:
        return None
    layers, experts, top_k = decoder.sparse_layers, decoder.experts, decoder.top_k
    if routing.file is not None:
        try:
            return read_trace(routing.file, layers=layers, experts=experts, top_k=top_k, tokens=tokens)
        except SpecError as error:
            raise SpecError(f"workload {name}: decoder.{error.message}", hint=error.hint) from None
    if routing.preset is not None:
        fit = preset_fit(routing.preset)
    else:
        assert routing.skew is not None  # Routing has one of the three
        assert routing.keep is not None
        fit = RouterFit(routing.skew, routing.keep)
    return synthetic_trace(fit, layers=layers, experts=experts, top_k=top_k, tokens=tokens, seed=seed, name=name)


def _parameters(blocks: Iterable[Block]) -> int:
    return sum(int(block.repeats * block.graph.parameters) for block in blocks)


def _build_phase(workload: Workload, phase: Phase) -> PhaseGraph:
    build = _BUILDERS[type(phase)]
    return build(workload, phase)


def _build_vision(workload: Workload, phase: VisionPhase) -> PhaseGraph:
    tower = workload.vision
    assert tower is not None  # Workload refuses a phase without its component
    blocks = vision_blocks(tower, images=phase.images, patches=phase.patches, kept_tokens=phase.kept_tokens)
    tokens = phase.kept_tokens or tower.tokens(phase.images, phase.patches)
    return PhaseGraph("vision", phase.precision, tokens, blocks)


def _build_prefill(workload: Workload, phase: PrefillPhase) -> PhaseGraph:
    assert workload.decoder is not None
    if phase.reused_tokens == 0 and phase.chunk is None:
        blocks = decoder_blocks(workload.decoder, rows=phase.tokens, prompt=0, num_steps=0)
        return PhaseGraph("prefill", phase.precision, phase.tokens, blocks)
    rows = phase.chunk or phase.new_tokens
    contexts = np.arange(phase.reused_tokens, phase.tokens, rows)
    *blocks_of_chunk, output = pass_blocks(workload.decoder, Pass(rows, contexts, "earlier"))
    blocks = (*blocks_of_chunk, replace(output, only_last=True))
    return PhaseGraph("prefill", phase.precision, phase.new_tokens, blocks, len(contexts))


def _build_decode(workload: Workload, phase: DecodePhase) -> PhaseGraph:
    assert workload.decoder is not None
    decoder, prompt, num_steps = workload.decoder, _cached_tokens(workload, "decode"), phase.num_steps
    blocks: tuple[Block, ...]
    if phase.speculation is not None:
        per_pass = phase.speculation.tokens_per_pass
        contexts = prompt + np.floor(per_pass * np.arange(num_steps)).astype(np.int64)
        blocks = speculation_blocks(decoder, phase.speculation, contexts)
    elif phase.tokens_per_pass > 1:
        rows = phase.tokens_per_pass
        blocks = pass_blocks(decoder, Pass(rows, prompt + rows * np.arange(num_steps), "all", num_results=rows))
    else:
        blocks = decoder_blocks(decoder, rows=1, prompt=prompt, num_steps=num_steps)
    return PhaseGraph("decode", phase.precision, phase.tokens, blocks, num_steps)


def _build_action(workload: Workload, phase: ActionPhase) -> PhaseGraph:
    assert workload.action is not None
    cached_keys = _cached_tokens(workload, "action")
    if workload.decoder is not None:
        cached_keys = int(seen_tokens(workload.decoder, cached_keys))
    blocks = action_blocks(workload.action, tokens=phase.tokens, samples=phase.samples, cached_keys=cached_keys)
    num_steps = phase.expected_steps or phase.steps
    return PhaseGraph("action", phase.precision, phase.tokens * phase.samples, blocks, num_steps)


def _build_network(workload: Workload, phase: NetworkPhase) -> PhaseGraph:
    network = workload.networks[phase.network]
    rows = rows_of(network.output)
    return PhaseGraph("network", phase.precision, rows, network_blocks(network), network=phase.network)


_BUILDERS: dict[type, Callable[..., PhaseGraph]] = {
    VisionPhase: _build_vision,
    PrefillPhase: _build_prefill,
    DecodePhase: _build_decode,
    ActionPhase: _build_action,
    NetworkPhase: _build_network,
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
