"""Answers of whole runs (chip, workload, runtime) that a closed form gives: one operator, experts, KV store, pins."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Result, load_chip, load_workload, run
from simulator.chip import Chip
from simulator.graph import MatMul
from simulator.workload import Workload
from tests.closed_form.limits import (
    HIDDEN,
    LAYERS,
    MATRIX_ELEMENTS,
    NS,
    TOKEN_ELEMENTS,
    WORDS,
    answer,
    chip_with,
    decoder,
    dram_bytes,
    one_operator,
    phase_ns,
    software,
)

# one operator --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launch_cycles", [0, 5000])
@pytest.mark.parametrize("macs", [4, 1, 0.25])
def test_one_operator_takes_its_launch_and_the_longer_of_bytes_and_macs(macs: float, launch_cycles: int) -> None:
    # A row times 256 x 512: 262,144 B at 1 B/ns, and 131,072 MAC, which take 32,768, 131,072 or 524,288 ns. In 16
    # pieces of 16,384 B the shorter of the two shows once, in the first piece or in the last.
    load_ns, work_ns, num_pieces = 2 * 256 * 512, int(256 * 512 / macs), 16
    sram_bytes = 16_384 * 4 * 2  # half of it for four buffers
    chip = chip_with(macs=macs, lanes=1e-9, clusters__npu__sram__capacity=f"{sram_bytes} B")
    stack = software(launch=f"{launch_cycles} cycles", prefetches_weights=False)
    timeline = one_operator(MatMul("m", (), rows=1, inputs=256, outputs=512), chip, stack)
    longer, shorter = max(load_ns, work_ns), min(load_ns, work_ns)
    assert timeline.horizon_tick == (launch_cycles + longer + shorter // num_pieces) * NS


def test_where_one_of_the_two_is_free_an_operator_takes_the_other_to_the_nanosecond() -> None:
    matrix = MatMul("m", (), rows=1, inputs=256, outputs=512)
    stack = software(launch="300 cycles", prefetches_weights=False)
    only_bytes = one_operator(matrix, chip_with(), stack).horizon_tick
    assert only_bytes == pytest.approx((300 + 2 * 256 * 512) * NS, abs=100)  # a tick for each piece's work
    no_bytes = chip_with(macs=1, lanes=1e-9, dram__rate="2000000000 MT/s")  # 1e15 B/s
    assert one_operator(matrix, no_bytes, stack).horizon_tick == pytest.approx((300 + 256 * 512) * NS, abs=400)


# a published anchor --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "milliseconds"), [(1.0, 50.5), (0.81, 62.3)])
def test_15_14_gb_take_an_l4_50_5_ms_and_at_81_percent_of_its_bandwidth_62_3(
    fraction: float, milliseconds: float
) -> None:
    # 15.14 GB / 300 GB/s = 50.47 ms; / 0.81 = 62.30 ms (arXiv 2605.30571: decode of Qwen2.5-7B reaches 81 %)
    chip = load_chip("l4", overrides={"dram.sustained_fraction": fraction})
    matrix = MatMul("all weights", (), rows=1, inputs=7_570_000, outputs=1000)
    timeline = one_operator(matrix, chip, software(), precision="bf16")
    assert timeline.horizon_tick / 1e9 == pytest.approx(milliseconds, rel=0.001)


def test_a_token_of_qwen_7b_on_an_l4_takes_its_bytes_which_leave_the_unread_table_out() -> None:
    # A layer: 3584 * (2 * 3584 + 2 * 512) + 3 * 3584 * 18944 matrix elements and 3584 + 2 * 512 biases; the head has
    # 3584 * 152064; the cache 2,048 tokens of 28 * 2 * 512; one row of the table is read, a token is written.
    layer = 3584 * (2 * 3584 + 2 * 512) + 3 * 3584 * 18944 + 3584 + 2 * 512
    token = 28 * 2 * 512
    expected_bytes = 2 * (28 * layer + 3584 * 152064 + 3584 + 2049 * token)
    # What the published anchor counts is 6 % more: it has nearly all parameters, and a token reads one row of a table
    # of 152,064.
    assert expected_bytes / 1e9 == pytest.approx(14.26, abs=0.005)
    result = run("l4", "qwen2.5-7b", runtime="ideal", precision="bf16", prompt_tokens=2047, decode_tokens=1,
                 overrides={"dram.sustained_fraction": 1.0})  # fmt: skip
    assert dram_bytes(result, "decode") == expected_bytes
    assert phase_ns(result, "decode") == pytest.approx(expected_bytes / 300, rel=2e-4)


def test_vllm_decodes_qwen_7b_on_an_l4_within_10_percent_of_the_measured_time() -> None:
    # 50.5 ms / 0.81 = 62.3 ms a token at a context of 2,048 (arXiv 2605.30571)
    result = run("l4", "qwen2.5-7b", runtime="vllm", precision="bf16", prompt_tokens=2047, decode_tokens=1)
    assert phase_ns(result, "decode") / 1e6 == pytest.approx(62.3, rel=0.10)


# mixtures of experts -------------------------------------------------------------------------------------------------


def uniform(name: str) -> Workload:
    """A workload of the catalogue whose tokens pick all experts alike."""
    return load_workload(name).with_values({"decoder.routing": None})


@pytest.mark.parametrize(("prompt", "touched"), [(1, 8), (4, 26), (16, 56), (64, 64)])
def test_a_prefill_loads_the_experts_that_uniform_routing_reaches(prompt: int, touched: int) -> None:
    # 64 (1 - (7/8)^n): 8, 26.48, 56.44, 63.99 experts of 3 * 2048 * 1024 in each of 16 layers, 2 B for an element
    result = run("h200", uniform("olmoe-1b-7b"), runtime="ideal", precision="bf16", prompt_tokens=prompt,
                 decode_tokens=1)  # fmt: skip
    experts = 16 * touched * 3 * 2048 * 1024
    others = 16 * (4 * 2048 * 2048 + 2048 * 64) + 2048 * 50304 + prompt * 2048
    written = prompt * 16 * 2 * 2048
    assert dram_bytes(result, "prefill") == 2 * (experts + others + written)


# the KV store --------------------------------------------------------------------------------------------------------

PROMPT, DECODE = 20, 10
TOKEN_BYTES = 2 * TOKEN_ELEMENTS
KV_READ_TOKENS = [PROMPT + step for step in range(1, DECODE + 1)]
"""Tokens in the cache at every step, the new one among them."""


def with_store(kept_tokens: float, **values: Any) -> Chip:
    """A DRAM of 1 GB/s that is all that is finite, and a store for so many tokens in a shared level of 1 MB."""
    if kept_tokens > 0:
        values["sram__l2__kv_store"] = f"{int(kept_tokens * TOKEN_BYTES)} B"
    return chip_with(shared="1 MB", sram__l2__split={"activations": 0.0}, **values)


def removed_bytes(kept_tokens: int, token_bytes: int = TOKEN_BYTES) -> tuple[int, int]:
    """What a store saves in prefill and decode: reads of what it holds, writes of what is never pushed out."""
    saved_writes = [min(kept_tokens, tokens) - min(kept_tokens, tokens - 1) for tokens in KV_READ_TOKENS]
    saved_reads = [min(kept_tokens, tokens) for tokens in KV_READ_TOKENS]
    return min(kept_tokens, PROMPT) * token_bytes, (sum(saved_reads) + sum(saved_writes)) * token_bytes


STORES = [0, 1, 7, 20, 25, 30, 1000]


@pytest.mark.parametrize("kept", STORES)
def test_a_kv_store_removes_exactly_its_bytes_and_exactly_their_time_where_the_dram_binds(kept: int) -> None:
    none, some = (answer(with_store(tokens), decoder(PROMPT, DECODE)) for tokens in (0, kept))
    for phase, removed in zip(("prefill", "decode"), removed_bytes(kept), strict=True):
        assert dram_bytes(none, phase) - dram_bytes(some, phase) == removed
        # 1 B is 1 ns; every task may be rounded up by a tick
        assert phase_ns(none, phase) - phase_ns(some, phase) == pytest.approx(removed, abs=len(none.timeline) / NS)


def test_half_of_a_store_as_a_share_of_the_split_is_the_same_as_its_bytes() -> None:
    as_bytes = chip_with(shared="1 MB", sram__l2__kv_store=f"{20 * TOKEN_BYTES} B")
    as_share = chip_with(shared=f"{40 * TOKEN_BYTES} B", sram__l2__split={"kv": 0.5})
    one, other = (answer(chip, decoder(PROMPT, DECODE)) for chip in (as_bytes, as_share))
    assert one.timeline.end_tick.tolist() == other.timeline.end_tick.tolist()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_store_of_share_s_of_the_cache_removes_that_share_of_the_traffic_of_a_step(share: float) -> None:
    # 39 tokens are read and one is written in the only step after a prompt of 39: a store of 40 s tokens removes 40 s
    # reads, and the write only if all fit.
    none, some = (answer(with_store(tokens), decoder(39, 1)) for tokens in (0, 40 * share))
    written = TOKEN_BYTES if share == 1.0 else 0
    assert dram_bytes(none, "decode") - dram_bytes(some, "decode") == share * 40 * TOKEN_BYTES + written


@pytest.mark.parametrize("kept", STORES)
def test_a_kv_store_saves_no_time_where_the_host_binds(kept: int) -> None:
    """Each kernel is enqueued long after the one before has ended."""
    stack = software(enqueue="10 Mcycles", graph_phases=[])
    none, some = (answer(with_store(tokens), decoder(PROMPT, DECODE), stack) for tokens in (0, kept))
    assert none.frame.latency_ticks == some.frame.latency_ticks
    removed = sum(dram_bytes(none, phase) - dram_bytes(some, phase) for phase in ("prefill", "decode"))
    assert removed == sum(removed_bytes(kept))


@pytest.mark.parametrize(("prompt", "kept"), [(PROMPT, kept) for kept in STORES] + [(600, 100), (2000, 1000)])
def test_a_kv_store_saves_one_piece_of_each_stream_where_compute_binds(prompt: int, kept: int) -> None:
    """Loads hide behind the work but for the first piece, stores but for the last: the resolution of the simulation."""
    # Matrices take 1,000 ns for a MAC, the lanes ten times that: attention has work for both, so it is cut into 4
    # pieces. Rope and the cache write are one kernel on the lanes: one piece up to 64 KiB, 4 above, and as
    # many whatever stays on the chip.
    slow: dict[str, Any] = {"macs": 1e-3, "lanes": 1e-4}
    none, some = (answer(with_store(tokens, **slow), decoder(prompt, DECODE)) for tokens in (0, kept))
    prompt_writes = min(kept, prompt) * TOKEN_BYTES
    assert dram_bytes(none, "prefill") - dram_bytes(some, "prefill") == prompt_writes
    pieces = 4 if prompt * TOKEN_BYTES // LAYERS > 64 * 1024 else 1
    assert phase_ns(none, "prefill") - phase_ns(some, "prefill") == pytest.approx(prompt_writes / pieces, abs=1)
    tokens = range(prompt + 1, prompt + DECODE + 1)
    reads = sum(min(kept, context) for context in tokens) * TOKEN_BYTES
    writes = sum(kept >= context for context in tokens) * TOKEN_BYTES
    assert dram_bytes(none, "decode") - dram_bytes(some, "decode") == reads + writes
    assert phase_ns(none, "decode") - phase_ns(some, "decode") == pytest.approx(reads / 4 + writes, abs=1)


@pytest.mark.parametrize("port_gb_per_s", [0.25, 0.5])
@pytest.mark.parametrize("kept", [0, 7, 20, 1000])
def test_behind_a_slow_port_the_kept_cache_takes_the_time_of_the_port(kept: int, port_gb_per_s: float) -> None:
    # The DRAM and the port deliver side by side: of every read the longer of the two counts, layer by layer.
    # A new token that displaces none passes the port into the store instead of going to DRAM.
    # No weights are fetched early, or the DRAM would go on with them while the port is at work.
    chip, stack = with_store(kept, sram__l2__bandwidth=f"{port_gb_per_s} GB/s"), software(prefetches_weights=False)
    none, some = (answer(hardware, decoder(PROMPT, DECODE), stack) for hardware in (with_store(0), chip))
    saved_ns = 0.0
    for tokens in KV_READ_TOKENS:
        near = min(kept, tokens)
        from_port, from_dram = near * TOKEN_BYTES / port_gb_per_s, (tokens - near) * TOKEN_BYTES
        written = near - min(kept, tokens - 1)
        into_store = written * TOKEN_BYTES / port_gb_per_s
        saved_ns += tokens * TOKEN_BYTES - max(from_port, from_dram) + written * TOKEN_BYTES - into_store
    assert dram_bytes(none, "decode") - dram_bytes(some, "decode") == removed_bytes(kept)[1]
    assert phase_ns(none, "decode") - phase_ns(some, "decode") == pytest.approx(saved_ns, abs=1)


@pytest.mark.parametrize("kept", [0, 7, 25, 1000])
def test_a_cache_of_half_the_bytes_has_half_the_traffic_and_fills_half_of_the_store(kept: int) -> None:
    """The room of `kept` tokens of FP16 keeps twice as many of FP8."""
    sixteen, eight = (answer(with_store(kept), decoder(PROMPT, DECODE), kv_precision=name) for name in ("fp16", "fp8"))
    reads, writes = sum(KV_READ_TOKENS), PROMPT + DECODE
    weights = 2 * (PROMPT + DECODE) * HIDDEN + (1 + DECODE) * 2 * MATRIX_ELEMENTS
    for result, token_bytes, tokens in ((sixteen, TOKEN_BYTES, kept), (eight, TOKEN_BYTES // 2, 2 * kept)):
        moved = sum(dram_bytes(result, phase) for phase in ("prefill", "decode"))
        cache = (reads + writes) * token_bytes - sum(removed_bytes(tokens, token_bytes))
        assert moved == weights + cache
        assert memory(result, "l2").peak_bytes == min(tokens, PROMPT + DECODE) * token_bytes


def memory(result: Result, name: str) -> Any:
    (found,) = [use for use in result.memories if use.name == name]
    return found


# pinned weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.125, 0.5, 1.0])
def test_pinned_weights_leave_the_traffic_of_every_pass_and_take_their_time_with_them(share: float) -> None:
    # Of every matrix the same share, which here is whole: 1 prefill and 10 steps save it.
    room = int(share * 2 * MATRIX_ELEMENTS)
    none, some = (
        answer(chip_with(shared=f"{room} B", sram__l2__split=split), decoder(PROMPT, DECODE))
        for split in ({"weights": 0.0}, {"weights": 1.0})
    )
    for phase, passes in (("prefill", 1), ("decode", DECODE)):
        assert dram_bytes(none, phase) - dram_bytes(some, phase) == passes * room
        saved = phase_ns(none, phase) - phase_ns(some, phase)
        assert saved == pytest.approx(passes * room, abs=len(none.timeline) / NS)
    assert memory(some, "l2").peak_bytes == room


def test_all_weights_behind_a_port_of_half_the_bandwidth_take_twice_the_time() -> None:
    level = {"sram__l2__split": {"weights": 1.0}, "sram__l2__bandwidth": "0.5 GB/s"}
    none = answer(chip_with(), decoder(PROMPT, DECODE))
    pinned = answer(chip_with(shared="1 MB", **level), decoder(PROMPT, DECODE))
    for phase, passes in (("prefill", 1), ("decode", DECODE)):
        weights = passes * 2 * MATRIX_ELEMENTS
        assert dram_bytes(none, phase) - dram_bytes(pinned, phase) == weights
        added = phase_ns(pinned, phase) - phase_ns(none, phase)
        assert added == pytest.approx(weights * (2 - 1), rel=1e-4)


# occupancy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "weight_share", "pinned_bytes"), [
    (0, 0.5, 300_000), (7, 0.5, 300_000), (25, 0.25, 150_000), (500, 0.6, 2 * MATRIX_ELEMENTS),
])  # fmt: skip
def test_a_level_holds_filled_cache_and_pinned_weights_and_never_more(
    kept: int, weight_share: float, pinned_bytes: int
) -> None:
    """Of a level of 600,000 B; the matrices have 349,184."""
    store = {"sram__l2__kv_store": f"{kept * TOKEN_BYTES} B"} if kept else {}
    chip = chip_with(shared="600 kB", sram__l2__split={"weights": weight_share}, **store)
    result = answer(chip, decoder(PROMPT, DECODE))
    assert memory(result, "l2").peak_bytes == min(kept, PROMPT + DECODE) * TOKEN_BYTES + pinned_bytes
    assert all(use.peak_bytes <= use.size_bytes for use in result.memories)


def test_activations_lie_beside_the_cache_in_proportion_to_the_rooms() -> None:
    # The store leaves 4,000 B of the level, and the local SRAM has 100 MB for activations. Under a prompt of 3,000
    # rows most lives during the activation: gate, up, their product and the residual (128, 128, 128, 64 elements).
    kept = 100
    chip = chip_with(
        macs=64, lanes=64, shared=f"{kept * TOKEN_BYTES + 4000} B", sram__l2__kv_store=f"{kept * TOKEN_BYTES} B"
    )
    result = answer(chip, decoder(3000, 1), software(fusions=[]))
    most_bytes = 2 * 3000 * (3 * 128 + 64)
    in_level = most_bytes * 4000 // 100_004_000
    level = memory(result, "l2")
    # four tensors, each rounded down
    assert level.peak_bytes - kept * TOKEN_BYTES == pytest.approx(in_level, abs=4)
    assert level.peak_bytes <= level.size_bytes


@pytest.mark.parametrize("split", [{"weights": 1.0}, {"weights": 0.3}])
def test_pinned_weights_save_no_time_where_the_host_binds(split: dict[str, float]) -> None:
    """Each kernel is enqueued long after the one before has ended; but the last, which is the head, counts whole."""
    stack = software(enqueue="10 Mcycles", graph_phases=[])
    none, some = (
        answer(chip_with(shared="400 kB", sram__l2__split=split), decoder(PROMPT, DECODE), stack)
        for split in ({"weights": 0.0}, split)
    )
    # head: 128,000 B; of the room of 120,000 B it has the same share as all others
    share = min(1.0, split["weights"] * 400_000 / (2 * MATRIX_ELEMENTS))
    saved_ns = (none.frame.latency_ticks - some.frame.latency_ticks) / NS
    assert saved_ns == pytest.approx(0, abs=share * 2 * HIDDEN * WORDS)
