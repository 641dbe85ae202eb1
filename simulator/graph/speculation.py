"""Speculative decoding as blocks: a drafter that runs several times in a row, and a pass over its proposals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.graph.decoder import Pass, decoder_graphs, pass_blocks
from simulator.graph.graph import Block, OperatorGraph
from simulator.graph.operator import Elementwise, MatMul, Operator
from simulator.variants import Ints
from simulator.workload.decoder import Decoder
from simulator.workload.phases import Speculation


def speculation_blocks(decoder: Decoder, speculation: Speculation, contexts: Ints) -> tuple[Block, ...]:
    """One step: the drafts one by one, then all of them and the token before them through the decoder.

    A draft is the token and the last hidden state through one matrix, the layers of the drafter, and a head [eagle].
    The pass has a result for every row, because each may be the last that is right.

    Args:
        decoder: the model whose tokens are proposed.
        speculation: how.
        contexts: tokens in the cache before each step (shape: steps).
    """
    rows = speculation.draft_tokens + 1
    checked = pass_blocks(decoder, Pass(rows, contexts, "earlier", num_results=rows))
    return *_drafts(decoder, speculation, contexts + 1), *checked


def drafter_parameters(decoder: Decoder, speculation: Speculation) -> int:
    """Parameters of the drafter; its embedding is the decoder's, and so may be its head."""
    blocks = _drafts(decoder, speculation, np.ones(1, dtype=np.int64))
    return sum(int(block.copies * block.graph.parameters) for block in blocks)


def _drafts(decoder: Decoder, speculation: Speculation, contexts: Ints) -> tuple[Block, ...]:
    """The drafts of one step. They differ in their context by a token each, which is left out."""
    hidden, vocabulary = decoder.hidden, speculation.draft_vocabulary
    plain = decoder.model_copy(
        update={
            "experts": 1, "top_k": 1, "shared_experts": 0, "pattern": (), "attention_window": None,
            "ffn_width": speculation.draft_ffn_width or decoder.ffn_width, "has_head": True,
            "vocabulary": vocabulary or decoder.vocabulary, "tied_head": vocabulary is None,
        }
    )  # fmt: skip
    _, layer, output = decoder_graphs(plain, rows=1, contexts=contexts)
    both: list[Operator] = [
        Elementwise("draft_token", (), kind="copy", rows=1, width=hidden),
        MatMul("draft_input", (), rows=1, inputs=2 * hidden, outputs=hidden),
    ]
    before = OperatorGraph("draft_input", both, [("draft_token", "draft_input")])
    # A block repeats one graph, and layers take turns with heads: so many layers of a draft are one graph.
    layers = [_renamed(layer, f"draft_{number}_") for number in range(speculation.draft_layers)]
    return tuple(
        Block(graph, speculation.draft_tokens, shares_weights=True)
        for graph in (before, *layers, _renamed(output, "draft_"))
    )


def _renamed(graph: OperatorGraph, prefix: str) -> OperatorGraph:
    """The same with other names, so that a drafter is told apart from its decoder."""
    operators = [replace(operator, name=f"{prefix}{operator.name}") for operator in graph.operators]
    edges = [(f"{prefix}{before}", f"{prefix}{after}") for before, after in graph.dag.edges]
    return OperatorGraph(f"{prefix}{graph.name}", operators, edges)
