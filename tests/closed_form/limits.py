"""Chips of which a few numbers are finite and all others are as good as infinite, and a decoder to count by hand.

One byte takes 1 ns (DRAM of 1 GB/s), one cycle takes 1 ns (1 GHz).
"""

from __future__ import annotations

from typing import Any

from simulator import Result, Runtime, load_runtime, run
from simulator.chip import Chip
from simulator.engine.reference import ReferenceEngine
from simulator.graph import Block, Operator, OperatorGraph, PhaseGraph, WorkloadGraph
from simulator.lowering import Demand, Platform, lower
from simulator.lowering.lower import one_after_another
from simulator.timeline import Timeline
from simulator.workload import Workload
from tests.unit.test_emit import chip, number

NS = 1000
"""Ticks of a nanosecond."""
ENDLESS = 1e15
"""A rate at which all work of a test is done in less than a tick."""


def chip_with(*, macs: float = ENDLESS, lanes: float = ENDLESS, shared: str | None = None, **values: Any) -> Chip:
    """One cluster at 1 GHz with so many MAC and lanes per cycle, 200 MB of local SRAM, and a DRAM of 1 GB/s.

    Args:
        macs: per cycle, in every dtype that a test asks for.
        lanes: of the vector engine.
        shared: capacity of a shared SRAM level named l2.
        values: changes by dotted path, with two underscores for a dot.
    """
    changes = {
        "clusters.npu.matrix.native.macs_per_cycle": {dtype: number(macs) for dtype in ("fp16", "bf16", "fp8", "int8")},
        "clusters.npu.matrix.native.converts_in_path": ["fp8", "int8"],
        "clusters.npu.vector.lanes": lanes,
        "clusters.npu.vector.special_per_cycle": ENDLESS,
        "dram.capacity": "1 TB",
    }
    named = {path.replace("__", "."): value for path, value in values.items()}
    return chip(sram="200 MB", shared=shared).with_values(changes | named)


def software(**values: Any) -> Runtime:
    """The runtime without costs, with changes."""
    return load_runtime("ideal").with_values(values)


LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, WIDTH, WORDS = 3, 64, 4, 2, 16, 128, 1000
LAYER_ELEMENTS = HIDDEN * (2 * HEADS + 2 * KV_HEADS) * HEAD_DIM + 3 * HIDDEN * WIDTH
"""q and o, k and v, and the three matrices of the FFN."""
MATRIX_ELEMENTS = LAYERS * LAYER_ELEMENTS + HIDDEN * WORDS
"""Of all layers, and the head."""
TOKEN_ELEMENTS = LAYERS * 2 * KV_HEADS * HEAD_DIM
"""Keys and values of a token."""


def decoder(prompt: int = 20, decode: int = 10, precision: str = "fp16", **changes: Any) -> Workload:
    """Three layers of width 64 with a head of 1,000 words."""
    sizes = {
        "layers": LAYERS, "hidden": HIDDEN, "heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "ffn_width": WIDTH, "ffn": "swiglu", "vocabulary": WORDS, "tied_head": True, "source": "test",
        "status": "assumed",
    }  # fmt: skip
    pipeline = [{"phase": "prefill", "tokens": prompt, "precision": precision},
                {"phase": "decode", "tokens": decode, "precision": precision}]  # fmt: skip
    return Workload.model_validate(
        {"name": "small", "title": "Small", "decoder": {**sizes, **changes}, "pipeline": pipeline,
         "pipeline_source": "test", "pipeline_status": "assumed"}
    )  # fmt: skip


def answer(hardware: Chip, workload: Workload, stack: Runtime | None = None, **options: Any) -> Result:
    """A run with all checks, by the reference engine."""
    return run(hardware, workload, runtime=stack or software(), engine="reference", checks=True, **options)


def dram_bytes(result: Result, phase: str) -> int:
    """What a phase moved."""
    found = result.phase(phase)  # type: ignore[arg-type]
    assert found is not None
    return result.dram_bytes(found.channel_bytes)


def phase_ns(result: Result, phase: str) -> float:
    """How long a phase took."""
    found = result.phase(phase)  # type: ignore[arg-type]
    assert found is not None
    return found.latency_ticks / NS


def one_operator(operator: Operator, hardware: Chip, stack: Runtime, precision: str = "fp16") -> Timeline:
    """A graph of one operator on an idle chip."""
    phase = PhaseGraph("decode", precision, 1, (Block(OperatorGraph("one", [operator], []), 1),))
    graph = WorkloadGraph("one", (phase,), {}, 0)
    return ReferenceEngine().run(lower([Demand(graph)], Platform(hardware, stack), one_after_another(1)))
