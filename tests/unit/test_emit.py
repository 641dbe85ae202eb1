"""Kernels: their work by hand, and their events, the whole list of what happens when, on a chip with round numbers.

One byte takes 1 ns (DRAM and its port move 1 GB/s), one cycle takes 1 ns (1 GHz), so a kernel is a sum of thousands.
Times in the lists are nanoseconds; `run` checks that all are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from simulator.chip import READ_STREAM, Chip
from simulator.engine.reference import ReferenceEngine
from simulator.errors import SpecError
from simulator.graph import Attention, CacheWrite, Elementwise, Embedding, MatMul, Operator, OperatorGraph
from simulator.graph.operator import ElementwiseKind
from simulator.lowering import Place, Platform, sites
from simulator.lowering.block import CAUSES, LoweredBlock, block_table
from simulator.lowering.emit import block_fragments
from simulator.lowering.fragments import Group, step_start, templates_of
from simulator.lowering.kernel import group_operators, kernel_work
from simulator.lowering.kernel_work import KernelWork
from simulator.lowering.residency import Activation
from simulator.precision import precision
from simulator.program import NONE, FoldedOccupancies, FoldedTasks, Instances, Labels, Program, Streams
from simulator.runtime import Runtime
from simulator.timeline import Timeline
from simulator.timeline.invariants import check_all

Event = tuple[str, int, int]
NS = 1000
"""Ticks of a nanosecond."""
PATHS = {"native": {"fp16": 8, "int8": 16}, "legacy": {"fp16": 2}}
"""MAC per cycle of the paths of `detailed`."""


def number(value: object) -> dict[str, object]:
    return {"value": value, "source": "test", "status": "assumed"}


def chip(*, sram: str = "100 kB", shared: str | None = None, **changes: Any) -> Chip:
    """One cluster at 1 GHz, a DRAM of 1 GB/s, and 50 kB each for streaming and for activations."""
    path = {"macs_per_cycle": {"fp16": number(1)}, "tile_m": number(1), "tile_n": number(1), "tile_k": number(1)}
    cluster = {
        "count": number(1), "clock": number("1 GHz"), "matrix": {"native": path},
        "vector": {"lanes": number(1), "special_per_cycle": number(1)}, "sram": {"capacity": number(sram)},
    }  # fmt: skip
    fields = {
        "name": "tiny", "title": "Tiny", "process": "paper", "usual_runtime": "plain", "accelerator": "npu",
        "clusters": {"npu": cluster},
        "sram": {} if shared is None else {"l2": {"capacity": number(shared)}},
        "dram": {"type": "test", "width_bits": number(8), "rate": number("2 GT/s"), "capacity": number("1 GB"),
                 "sustained_fraction": number(0.5)},
        "masters": {"cpu": {}, "npu": {}}, "host": {"clock": number("2 GHz")},
    }  # fmt: skip
    return Chip.model_validate({**fields, **changes})


def runtime(
    *, launch: str = "5 kcycles", enqueue: str = "4 kcycles", prefetch: bool = False, buffers: int = 2
) -> Runtime:
    attention = {"path": "native", "achieved_fraction": number(1)}
    return Runtime.model_validate(
        {"name": "plain", "title": "Plain", "launch": number(launch), "enqueue": number(enqueue), "graph_phases": (),
         "prefetches_weights": prefetch, "weight_buffers": buffers, "fusions": (), "kernels": {},
         "causal_attention": attention, "full_attention": attention, "head_precision": "body", "kv_precision": "fp16"}
    )  # fmt: skip


def kernel(name: str = "k", **work: float) -> KernelWork:
    nothing = dict.fromkeys(
        ("flop", "weight_bytes", "cache_read_bytes", "late_bytes", "cache_write_bytes", "spilled_input_bytes",
         "spilled_output_bytes", "conversion_cycles", "matrix_cycles", "vector_cycles"), 0
    )  # fmt: skip
    return KernelWork(name=name, **{**nothing, **work})  # type: ignore[arg-type]


def program(platform: Platform, steps: Sequence[Sequence[KernelWork]], *, replays: bool, phases: int = 1) -> Program:
    """One job: the steps in order, the last `phases - 1` of them phases of their own; one operation per kernel."""
    groups, operations = [], ["host"]
    for place, kernels in enumerate(steps):
        is_phase = place == 0 or place > len(steps) - phases
        groups.append(step_start(platform, is_first=place == 0, replays_graph=replays, operation=0, is_phase=is_phase))
        operations += [name for name in dict.fromkeys(work.name for work in kernels) if name not in operations]
        table = block_table(LoweredBlock(tuple(kernels), (), ()), platform)
        rows = np.array([operations.index(work.name) for work in kernels])
        groups.append(block_fragments(table, platform, replays_graph=replays, operation=rows, host_operation=0))
    fragment = np.arange(len(groups))
    nothing = np.full(len(groups), NONE)
    tasks = FoldedTasks(
        templates_of([Group(fragments, platform) for fragments in groups]),
        Instances(fragment, nothing, nothing, np.array([0, len(groups)])),
    )
    once = np.array([0])
    return Program(
        resources=platform.resources, tasks=tasks, job_offsets=tasks.job_offsets, occupancies=FoldedOccupancies(tasks),
        streams=Streams(("once",), np.array([0, 1]), once, once, np.array([2]), np.array([NONE]), np.array([1]),
                        np.array([NONE])),
        labels=Labels(("phase",), tuple(operations), np.zeros(len(operations), dtype=np.int64),
                      np.zeros(len(operations), dtype=np.int64), CAUSES, np.array([1])),
    )  # fmt: skip


def run(
    *kernels: KernelWork, hardware: Chip | None = None, software: Runtime | None = None, replays: bool = False,
    tenants: int = 1,
) -> list[Event]:  # fmt: skip
    """What one step of these kernels does: (kernel and what it is, start, end) in nanoseconds."""
    platform = Platform(hardware or chip(), software or runtime(), tenants)
    return events(timeline_of(program(platform, [kernels], replays=replays)))


def timeline_of(lowered: Program) -> Timeline:
    timeline = ReferenceEngine().run(lowered)
    check_all(timeline)
    return timeline


def events(timeline: Timeline) -> list[Event]:
    """All tasks but milestones, in the order of the Program, and so kernel by kernel and piece by piece."""
    tasks, labels = timeline.program.tasks, timeline.program.labels
    rows = np.argsort(timeline.task)
    listed = []
    for task, start, end in zip(timeline.task[rows], timeline.start_tick[rows], timeline.end_tick[rows], strict=True):
        if tasks.cause[task] == NONE:
            continue
        assert start % NS == end % NS == 0
        owner = labels.operations[int(tasks.operation[task])]
        name = labels.causes[int(tasks.cause[task])]
        listed.append((name if owner == "host" else f"{owner} {name}", int(start) // NS, int(end) // NS))
    return listed


@pytest.mark.parametrize(
    ("total", "pieces"), [(70_003, [17_501, 17_501, 17_501, 17_500]), (65_537, [16_385, 16_384, 16_384, 16_384])]
)
def test_pieces_of_a_stream_sum_to_it_and_differ_by_at_most_one(total: int, pieces: list[int]) -> None:
    platform = Platform(chip(), runtime())
    table = block_table(LoweredBlock((kernel(weight_bytes=total),), (), ()), platform)
    fragment = block_fragments(table, platform, replays_graph=False, operation=np.array([0]), host_operation=0)
    assert fragment.size_bytes[fragment.size_bytes > 0].tolist() == pieces


def starts(listed: Sequence[Event], name: str) -> list[int]:
    return [start for event, start, _ in listed if event == name]


# one kernel ----------------------------------------------------------------------------------------------------------


def test_a_small_kernel_is_enqueued_launched_loaded_worked_and_stored_in_turn() -> None:
    # 2 us on the host, 5,000 cycles to launch, 3,000 bytes in, 700 + 400 + 200 cycles, 1,000 bytes of cache out;
    # all bytes together are less than 64 KiB, but matrix and vector work pipeline, so there are four equal pieces:
    # loads of 750 bytes, 175 + 100 + 50 cycles, stores of 250 bytes
    work = kernel(weight_bytes=3000, conversion_cycles=700, matrix_cycles=400, vector_cycles=200,
                  cache_write_bytes=1000)  # fmt: skip
    assert run(work) == [
        ("host", 0, 2000),
        ("k launch", 2000, 7000),
        ("k weights", 7000, 7750),
        ("k conversion", 7750, 7925),
        ("k matrix", 7925, 8025),
        ("k vector", 8025, 8075),
        # load 1 shares the DRAM with nothing: store 0 begins at 8,075, in its last 425 ns; at half the rate
        # 425 - 250 bytes are left of it when the store has ended at 8,575
        ("k kv cache", 8075, 8575),
        ("k weights", 7750, 8750),
        ("k conversion", 8750, 8925),
        ("k matrix", 8925, 9025),
        ("k vector", 9025, 9075),
        # load 2 waits for buffer 0, free at 8,075, and for load 1; 325 of its bytes are through when store 1 begins
        ("k kv cache", 9075, 9575),
        ("k weights", 8750, 9750),
        ("k conversion", 9750, 9925),
        ("k matrix", 9925, 10025),
        ("k vector", 10025, 10075),
        ("k kv cache", 10075, 10575),
        ("k weights", 9750, 10750),
        ("k conversion", 10750, 10925),
        ("k matrix", 10925, 11025),
        ("k vector", 11025, 11075),
        ("k kv cache", 11075, 11325),
    ]


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        ({"weight_bytes": 1000}, [("k weights", 0, 1000)]),
        ({"cache_read_bytes": 1000}, [("k kv cache", 0, 1000)]),
        ({"matrix_cycles": 300}, [("k matrix", 0, 300)]),
        ({"vector_cycles": 300}, [("k vector", 0, 300)]),
        ({"cache_write_bytes": 1000}, [("k kv cache", 0, 1000)]),
        ({"conversion_cycles": 100, "vector_cycles": 300}, [("k conversion", 0, 100), ("k vector", 100, 400)]),
        ({}, []),
    ],
)
def test_what_costs_nothing_is_no_event(work: dict[str, float], expected: list[Event]) -> None:
    assert run(kernel(**work), software=runtime(launch="0 cycles", enqueue="0 cycles")) == expected


def test_a_load_is_named_after_the_larger_of_its_streams() -> None:
    free = runtime(launch="0 cycles", enqueue="0 cycles")
    assert run(kernel(weight_bytes=400, cache_read_bytes=600), software=free) == [("k kv cache", 0, 1000)]
    assert run(kernel(weight_bytes=600, cache_read_bytes=400), software=free) == [("k weights", 0, 1000)]


# pieces and buffers --------------------------------------------------------------------------------------------------


def test_memory_bound_loads_run_back_to_back() -> None:
    # 100,000 bytes through buffers of 25,000 are four loads of 25 us; works of 10 us hide but for the last
    assert run(kernel(weight_bytes=100_000, matrix_cycles=40_000)) == [
        ("host", 0, 2000),
        ("k launch", 2000, 7000),
        ("k weights", 7000, 32_000),
        ("k matrix", 32_000, 42_000),
        ("k weights", 32_000, 57_000),
        ("k matrix", 57_000, 67_000),
        ("k weights", 57_000, 82_000),
        ("k matrix", 82_000, 92_000),
        ("k weights", 82_000, 107_000),
        ("k matrix", 107_000, 117_000),
    ]


def test_compute_bound_loads_wait_for_the_work_two_pieces_before() -> None:
    # works of 40 us from 32 us on; load 2 starts when work 0 ends (72 us), load 3 when work 1 ends (112 us)
    assert run(kernel(weight_bytes=100_000, matrix_cycles=160_000)) == [
        ("host", 0, 2000),
        ("k launch", 2000, 7000),
        ("k weights", 7000, 32_000),
        ("k matrix", 32_000, 72_000),
        ("k weights", 32_000, 57_000),
        ("k matrix", 72_000, 112_000),
        ("k weights", 72_000, 97_000),
        ("k matrix", 112_000, 152_000),
        ("k weights", 112_000, 137_000),
        ("k matrix", 152_000, 192_000),
    ]


def test_three_buffers_let_loads_run_one_piece_further_ahead() -> None:
    # buffers of 50,000 // 3 bytes: 90,000 bytes are six pieces of 15 us, each worked on for 20 us from 22 us on
    listed = run(kernel(weight_bytes=90_000, matrix_cycles=120_000), software=runtime(buffers=3))
    assert starts(listed, "k matrix") == [22_000 + 20_000 * piece for piece in range(6)]
    # three loads fill the buffers; load 3 then waits for work 0 (42 us), load 4 for work 1, load 5 for work 2
    assert starts(listed, "k weights") == [7000, 22_000, 37_000, 52_000, 67_000, 82_000]
    slow = run(kernel(weight_bytes=90_000, matrix_cycles=240_000), software=runtime(buffers=3))
    assert starts(slow, "k weights") == [7000, 22_000, 37_000, 62_000, 102_000, 142_000]


def test_a_single_buffer_loads_and_works_in_turn() -> None:
    # one buffer of 50,000 bytes: two pieces
    assert run(kernel(weight_bytes=100_000, matrix_cycles=40_000), software=runtime(buffers=1)) == [
        ("host", 0, 2000),
        ("k launch", 2000, 7000),
        ("k weights", 7000, 57_000),
        ("k matrix", 57_000, 77_000),
        ("k weights", 77_000, 127_000),
        ("k matrix", 127_000, 147_000),
    ]


def test_conversion_of_a_piece_runs_beside_the_multiplication_of_the_one_before() -> None:
    # four pieces of 25 us, 10 us of conversion on the vector engine and 30 us of multiplication
    listed = run(kernel(weight_bytes=100_000, conversion_cycles=40_000, matrix_cycles=120_000))
    assert starts(listed, "k conversion") == [32_000, 57_000, 97_000, 127_000]  # loads 2, 3 end at 97, 127
    assert starts(listed, "k matrix") == [42_000, 72_000, 107_000, 137_000]


@pytest.mark.parametrize(
    ("streamed", "buffers", "count"),
    [
        (65_536, 2, 1),  # 64 KiB are still one piece
        (65_537, 2, 4),  # at least four beyond that
        (100_001, 2, 5),  # one buffer of 25,000 bytes per piece
        (25_000 * 16 + 1, 2, 16),  # and never more than 16
        (65_537, 1, 2),  # a single buffer has nothing to overlap: as many pieces as buffers to fill
        (50_000 * 16 + 1, 1, 16),
    ],
)
def test_a_stream_is_cut_into_as_many_pieces_as_buffers_are_filled(streamed: int, buffers: int, count: int) -> None:
    listed = run(kernel(weight_bytes=streamed), software=runtime(buffers=buffers))
    sizes = [end - start for name, start, end in listed if name == "k weights"]
    assert len(sizes) == count
    assert sum(sizes) == streamed
    assert max(sizes) - min(sizes) <= 1


def test_loads_and_stores_together_decide_how_many_pieces_there_are() -> None:
    listed = run(kernel(weight_bytes=40_000, cache_write_bytes=40_000))
    assert len(starts(listed, "k weights")) == len(starts(listed, "k kv cache")) == 4


def test_matrix_and_vector_work_without_a_stream_pipeline_in_four_pieces_and_one_kind_alone_does_not() -> None:
    free = runtime(launch="0 cycles", enqueue="0 cycles")
    assert run(kernel(matrix_cycles=400, vector_cycles=80), software=free) == [
        ("k matrix", 0, 100), ("k vector", 100, 120), ("k matrix", 100, 200), ("k vector", 200, 220),
        ("k matrix", 200, 300), ("k vector", 300, 320), ("k matrix", 300, 400), ("k vector", 400, 420),
    ]  # fmt: skip
    assert len(run(kernel(conversion_cycles=80, matrix_cycles=400), software=free)) == 2


def test_tenants_share_the_buffers_so_pieces_are_smaller() -> None:
    # half of the 25,000 bytes of one tenant
    assert len(starts(run(kernel(weight_bytes=100_000), tenants=2), "k weights")) == 8


# several kernels -----------------------------------------------------------------------------------------------------


def test_kernels_run_one_at_a_time_and_without_prefetch_a_load_waits_for_its_launch() -> None:
    # a: two loads of nothing but bytes; b starts its launch when the work on a has ended
    a, b = kernel("a", weight_bytes=1000, matrix_cycles=500), kernel("b", weight_bytes=1000, matrix_cycles=500)
    assert run(a, b) == [
        ("host", 0, 2000),
        ("a launch", 2000, 7000),
        ("a weights", 7000, 8000),
        ("a matrix", 8000, 8500),
        ("host", 2000, 4000),
        ("b launch", 8500, 13_500),
        ("b weights", 13_500, 14_500),
        ("b matrix", 14_500, 15_000),
    ]


def test_prefetch_fills_free_buffers_while_the_kernel_before_still_works() -> None:
    # a: four pieces of 25 us; nothing to wait for, so load 0 starts at once and works of 40 us run from 25 us on
    a = kernel("a", weight_bytes=100_000, matrix_cycles=160_000)
    b = kernel("b", weight_bytes=40_000, matrix_cycles=10_000)
    listed = run(a, b, software=runtime(prefetch=True))
    assert listed == [
        ("host", 0, 2000),
        ("a launch", 2000, 7000),
        ("a weights", 0, 25_000),
        ("a matrix", 25_000, 65_000),
        ("a weights", 25_000, 50_000),
        ("a matrix", 65_000, 105_000),
        ("a weights", 65_000, 90_000),
        ("a matrix", 105_000, 145_000),
        ("a weights", 105_000, 130_000),
        ("a matrix", 145_000, 185_000),
        ("host", 2000, 4000),
        ("b launch", 185_000, 190_000),
        ("b weights", 145_000, 185_000),  # the buffer of piece 2 of a is free
        ("b matrix", 190_000, 200_000),
    ]
    # without it the load waits for the launch, at 7 us later for a and 192 + 5 us for b
    assert run(a, b)[-2:] == [("b weights", 197_000, 237_000), ("b matrix", 237_000, 247_000)]


def test_prefetch_never_takes_more_buffers_than_there_are() -> None:
    # kernels of one piece each, worked on for 50 us: the load of c waits for the work of a to free its buffer
    kernels = [kernel(name, weight_bytes=1000, matrix_cycles=50_000) for name in "abc"]
    listed = run(*kernels, software=runtime(prefetch=True))
    assert [starts(listed, f"{name} weights") for name in "abc"] == [[0], [1000], [57_000]]
    single = run(*kernels, software=runtime(prefetch=True, buffers=1))
    assert [starts(single, f"{name} weights") for name in "abc"] == [[0], [57_000], [112_000]]


def test_a_kernel_without_loads_leaves_the_buffers_to_the_next() -> None:
    kernels = [kernel("a", vector_cycles=50_000), kernel("b", weight_bytes=1000)]
    assert starts(run(*kernels, software=runtime(prefetch=True)), "b weights") == [0]


def test_the_next_kernel_waits_for_the_last_store() -> None:
    listed = run(kernel("a", vector_cycles=1000, cache_write_bytes=3000), kernel("b", vector_cycles=100))
    assert listed == [
        ("host", 0, 2000),
        ("a launch", 2000, 7000),
        ("a vector", 7000, 8000),
        ("a kv cache", 8000, 11_000),
        ("host", 2000, 4000),
        ("b launch", 11_000, 16_000),
        ("b vector", 16_000, 16_100),
    ]


def test_a_prefetched_load_shares_the_dram_with_a_store_although_it_is_not_urgent() -> None:
    # one buffer: the load of b starts when the work of a ends, with the store of a; each gets half of the DRAM, so the
    # 3,000 bytes of the store take 6 us, and the launch of b has to wait for them
    kernels = (
        kernel("a", weight_bytes=1000, vector_cycles=1000, cache_write_bytes=3000), kernel("b", weight_bytes=4000),
    )  # fmt: skip
    assert run(*kernels, software=runtime(prefetch=True, buffers=1)) == [
        ("host", 0, 2000),
        ("a launch", 2000, 7000),
        ("a weights", 0, 1000),
        ("a vector", 7000, 8000),
        ("a kv cache", 8000, 14_000),
        ("host", 2000, 4000),
        ("b launch", 14_000, 19_000),
        ("b weights", 8000, 15_000),
    ]
    assert run(*kernels, software=runtime(buffers=1))[4:] == [
        ("a kv cache", 9000, 12_000), ("host", 2000, 4000), ("b launch", 12_000, 17_000), ("b weights", 17_000, 21_000),
    ]  # fmt: skip


def test_stores_leave_in_order_one_after_the_other() -> None:
    # four pieces: 10 us of work, 25 us of store; nothing else is on the DRAM
    listed = run(kernel(vector_cycles=40_000, cache_write_bytes=100_000))
    assert starts(listed, "k vector") == [7000, 17_000, 27_000, 37_000]
    assert starts(listed, "k kv cache") == [17_000, 42_000, 67_000, 92_000]


# the host ------------------------------------------------------------------------------------------------------------


def test_an_eager_host_runs_ahead_of_long_kernels() -> None:
    listed = run(*(kernel(name, vector_cycles=20_000) for name in "abc"))
    assert [event for event in listed if event[0] == "host"] == [
        ("host", 0, 2000), ("host", 2000, 4000), ("host", 4000, 6000),
    ]  # fmt: skip
    assert [starts(listed, f"{name} launch") for name in "abc"] == [[2000], [27_000], [52_000]]


def test_kernels_shorter_than_their_enqueueing_are_bound_by_the_host() -> None:
    # 20 us on the host each; launch and work together take 6 us
    listed = run(*(kernel(name, vector_cycles=1000) for name in "abc"), software=runtime(enqueue="40 kcycles"))
    assert [starts(listed, f"{name} launch") for name in "abc"] == [[20_000], [40_000], [60_000]]


def two_steps(*, replays: bool, phases: int = 1, prefetch: bool = False) -> list[Event]:
    step = [kernel("a", vector_cycles=1000), kernel("b", weight_bytes=1000, vector_cycles=1000)]
    platform = Platform(chip(), runtime(prefetch=prefetch))
    return events(timeline_of(program(platform, [step, step], replays=replays, phases=phases)))


def test_a_graph_is_enqueued_once_per_step_after_the_step_before_has_ended() -> None:
    first = [
        ("host", 0, 2000),
        ("a launch", 2000, 7000),
        ("a vector", 7000, 8000),
        ("b launch", 8000, 13_000),
        ("b weights", 13_000, 14_000),
        ("b vector", 14_000, 15_000),
    ]
    later = [(name, start + 15_000, end + 15_000) for name, start, end in first]
    assert two_steps(replays=True) == first + later


def test_an_eager_host_waits_for_the_result_of_a_step_before_it_enqueues_the_next() -> None:
    # the first step ends at 15 us, as above; the host, idle since 4 us, goes on only then
    assert starts(two_steps(replays=False), "host") == [0, 2000, 15_000, 17_000]


def test_a_host_that_is_behind_at_the_end_of_a_step_ends_its_work_first() -> None:
    platform = Platform(chip(), runtime(enqueue="40 kcycles", launch="0 cycles"))
    step = [kernel("a", vector_cycles=1000)]
    listed = events(timeline_of(program(platform, [step, step], replays=False)))
    assert starts(listed, "host") == [0, 21_000]
    assert starts(listed, "a vector") == [20_000, 41_000]


def test_prefetch_reaches_into_the_next_step_but_never_into_the_next_phase() -> None:
    # b loads when the first step has begun, at 2 us; in the second step right after that, into the other buffer
    assert starts(two_steps(replays=True, prefetch=True), "b weights") == [2000, 3000]
    # or when the phase has begun: launches of 5 us at 2 and 8 us and works of 1 us end the first at 14 us
    first_end = 14_000
    assert starts(two_steps(replays=True, prefetch=True, phases=2), "b weights") == [2000, first_end + 2000]
    assert two_steps(replays=True, prefetch=True, phases=2)[6] == ("host", first_end, first_end + 2000)


# activations ---------------------------------------------------------------------------------------------------------


def test_spilled_activations_are_loaded_before_and_stored_after_the_work() -> None:
    # 30,000 bytes come from DRAM and 20,000 go there; prefetch or not, they are results of the kernel before, so the
    # load waits for the launch
    for prefetch in (False, True):
        assert run(
            kernel(spilled_input_bytes=30_000, spilled_output_bytes=20_000, vector_cycles=1000),
            software=runtime(prefetch=prefetch),
        ) == [
            ("host", 0, 2000),
            ("k launch", 2000, 7000),
            ("k activations", 7000, 37_000),
            ("k vector", 37_000, 38_000),
            ("k activations", 38_000, 58_000),
        ]


def test_a_kernel_ends_when_all_its_pieces_have_ended() -> None:
    """One byte to store and four pieces of work: three pieces have no store, and the next kernel waits for them."""
    first = kernel("a", weight_bytes=100_000, vector_cycles=400_000, cache_write_bytes=1)
    listed = run(first, kernel("b", vector_cycles=1000))
    last_work = max(end for name, _, end in listed if name == "a vector")
    (launch,) = (start for name, start, _ in listed if name == "b launch")
    assert launch >= last_work


def test_table_rows_and_the_cache_are_not_known_before_the_kernel_starts() -> None:
    """With prefetch, weights load at once; rows of a table and keys of the cache wait for the launch at 2 + 5 us."""
    for stream, begin in (("weight_bytes", 0), ("late_bytes", 7000), ("cache_read_bytes", 7000)):
        listed = run(kernel(**{stream: 1000}), software=runtime(prefetch=True))
        (load,) = (start for name, start, _ in listed if name in ("k weights", "k kv cache"))
        assert load == begin


def test_a_store_is_named_after_the_larger_of_its_streams() -> None:
    spilling = {"spilled_output_bytes": 10_000, "vector_cycles": 1000}
    assert run(kernel(cache_write_bytes=10_000, **spilling))[-1][0] == "k activations"
    assert run(kernel(cache_write_bytes=10_001, **spilling))[-1][0] == "k kv cache"


def test_streams_hold_their_buffers_while_they_are_used() -> None:
    # 50,000 bytes of the local SRAM stream in two buffers; 100,000 bytes come in four pieces of 25,000
    platform = Platform(chip(shared="30 kB"), runtime())
    held = program(platform, [[kernel(weight_bytes=100_000)]], replays=False).occupancies
    assert list(zip(held.memory.tolist(), held.size_bytes.tolist(), strict=True)) == [(0, 25_000)] * 4


def test_activations_are_held_in_every_memory_in_proportion_to_its_room() -> None:
    # 30,000 shared and 50,000 local: 40,000 bytes are 15,000 and 25,000
    platform = Platform(chip(shared="30 kB"), runtime())
    tensor = Activation(40_000, producer=0, consumers=(), is_block_output=True)
    table = block_table(LoweredBlock((kernel(vector_cycles=1000),), (tensor,), (40_000,)), platform)
    fragment = block_fragments(table, platform, replays_graph=False, operation=np.array([0]), host_operation=0)
    assert list(zip(fragment.memory.tolist(), fragment.held_bytes.tolist(), strict=True)) == [(1, 15_000), (0, 25_000)]


# the way to the DRAM -------------------------------------------------------------------------------------------------


def test_a_transfer_takes_the_narrowest_of_dram_port_and_cap() -> None:
    free = runtime(launch="0 cycles", enqueue="0 cycles")
    # 1 GB/s of DRAM; a port of 1 GB/s used to a half; a master that moves at most a quarter
    port = {"bandwidth": number("1 GB/s"), "sustained_fraction": number(0.5)}
    capped = {"cpu": {}, "npu": {"rate_cap": number("0.25 GB/s")}}
    work = kernel(weight_bytes=1000)
    assert run(work, software=free) == [("k weights", 0, 1000)]
    assert run(work, hardware=chip(noc=port), software=free) == [("k weights", 0, 2000)]
    assert run(work, hardware=chip(noc=port, masters=capped), software=free) == [("k weights", 0, 4000)]


def test_resources_carry_the_chip_in_their_own_terms() -> None:
    shares = {"cpu": {"weight": 2.0, "maximum_share": 0.5}, "isp": {}, "npu": {"minimum_share": 0.25}}
    port = {"bandwidth": number("3 GB/s"), "sustained_fraction": number(0.5)}
    hardware = chip(masters=shares, noc=port, shared="30 kB")
    site = sites(hardware, traffic=(READ_STREAM,))[Place()]
    platform = Platform(hardware, runtime(), among=site)
    resources = platform.resources
    assert resources.unit_names == ("npu.matrix", "npu.vector", "npu.launch", "host")
    assert resources.unit_clock_hz.tolist() == [1e9, 1e9, 1e9, 2e9]
    assert resources.channel_names == ("dram", "noc")
    assert resources.channel_bytes_per_s.tolist() == [1e9, 1.5e9]
    assert {*resources.route(site.route[platform.LOAD_ROUTE])} == {0, 1}
    assert site.route[platform.STORE_ROUTE] == site.route[platform.LOAD_ROUTE]  # a store costs the same
    # other masters do not use the accelerator's port
    assert resources.route(site.traffic[READ_STREAM]) == (0,)
    assert resources.route_usage.tolist() == [1.0] * 5  # without timing every byte costs the same
    assert resources.master_names == ("cpu", "isp", "npu")
    assert platform.accelerator_master == 2
    assert resources.master_weight.tolist() == [2.0, 1.0, 1.0]
    rows = zip(resources.share_master, resources.share_channel, resources.share_minimum, resources.share_maximum,
               strict=True)  # fmt: skip
    assert [tuple(row) for row in rows] == [(0, 0, 0.0, 0.5), (2, 0, 0.25, 1.0)]
    assert resources.memory_names == ("npu.sram", "l2")
    assert resources.memory_bytes.tolist() == [100_000, 30_000]


# the work of a kernel ------------------------------------------------------------------------------------------------


def detailed(
    *, lanes: float = 2, special: float = 1, port: str | None = None, paths: Mapping[str, Mapping[str, float]] = PATHS,
    **software: Any,
) -> Platform:  # fmt: skip
    """One cluster: 8 MAC on native tiles of 4 x 8 x 2, 2 on legacy ones of 2 x 4 x 2; kernels reach the half of it."""
    tiles = {"native": (4, 8, 2), "legacy": (2, 4, 2)}
    matrix = {
        name: {"macs_per_cycle": {dtype: number(rate) for dtype, rate in rates.items()},
               **{f"tile_{side}": number(size) for side, size in zip("mnk", tiles[name], strict=True)}}
        for name, rates in paths.items()
    }  # fmt: skip
    sram = {"capacity": number("100 kB"), **({} if port is None else {"port": number(port)})}
    cluster = {"count": number(1), "clock": number("1 GHz"), "matrix": matrix, "sram": sram,
               "vector": {"lanes": number(lanes), "special_per_cycle": number(special)}}  # fmt: skip
    kernels = {
        name: {"path": path, "dtype": dtype, "achieved_fraction": number(0.5), "tile_rows": number(4)}
        for name, path, dtype in (("fp16", "native", "fp16"), ("w8a8", "native", "int8"), ("w4a16", "legacy", "fp16"))
    }  # fmt: skip
    changed = {
        "kernels": kernels, "causal_attention": {"path": "legacy", "achieved_fraction": number(0.5)},
        "full_attention": {"path": "native", "achieved_fraction": number(0.25)}, "head_precision": "fp16", **software,
    }  # fmt: skip
    return Platform(chip(clusters={"npu": cluster}), Runtime.model_validate({**runtime().model_dump(), **changed}))


def work_of(*operators: Operator, body: str = "fp16", platform: Platform | None = None) -> KernelWork:
    return kernel_work(list(operators), platform=platform or detailed(), body=precision(body))


@pytest.mark.parametrize(
    ("kind", "operations", "specials"),
    [("norm", 4, 0), ("head_norm", 4, 0), ("rope", 3, 0), ("gated_activation", 3, 2), ("activation", 5, 1),
     ("add", 1, 0)],
)  # fmt: skip
def test_elementwise_work_by_kind(kind: ElementwiseKind, operations: int, specials: int) -> None:
    # 6 elements on 2 lanes; then on so many lanes that only special functions count, one per cycle
    operator = Elementwise("e", (), kind=kind, rows=2, width=3)
    assert work_of(operator, platform=detailed(special=1e9)).vector_cycles == operations * 6 / 2
    wide = work_of(operator, platform=detailed(lanes=1e9)).vector_cycles
    assert wide == pytest.approx(specials * 6, abs=1e-6)


def test_operands_and_results_of_elementwise_work_pass_the_port() -> None:
    # 2 x 6 elements in and 6 out, two bytes each, at 4 bytes per cycle
    operator = Elementwise("e", (), kind="add", rows=2, width=3, operands=2)
    assert work_of(operator, platform=detailed(lanes=1e9, port="4 B/cycle")).vector_cycles == 9


def test_bytes_and_cycles_of_a_matrix_with_a_bias() -> None:
    # 8 rows are two tiles of 4, 8 columns one of 8, depth 3 pads to 4: 2 * 4 * 8 * 4 MAC at half of 8 per cycle
    work = work_of(MatMul("m", (), rows=8, inputs=3, outputs=8, has_bias=True), platform=detailed(lanes=1))
    assert work.weight_bytes == 2 * 24 + 2 * 8
    assert (work.matrix_cycles, work.vector_cycles, work.conversion_cycles) == (64, 0, 0)
    assert work.flop == 2 * 8 * 3 * 8


def test_a_single_row_runs_on_the_lanes_where_they_are_quicker() -> None:
    # the tile takes 4 * 8 * 4 MAC at 4 per cycle, 32 cycles; the lanes 24 MAC at 2, 12 cycles, or at 0.5, 48
    row = MatMul("m", (), rows=1, inputs=3, outputs=8)
    on_lanes, on_matrix = work_of(row), work_of(row, platform=detailed(lanes=0.5))
    assert (on_lanes.matrix_cycles, on_lanes.vector_cycles) == (0, 12)
    assert (on_matrix.matrix_cycles, on_matrix.vector_cycles) == (32, 0)


def test_weights_in_another_format_are_converted_once_per_element() -> None:
    # 24 elements on 2 lanes; 8-bit weights that are multiplied as int8 need nothing, at twice the rate,
    # but their 8 x 3 activations are quantised with three operations each
    matrix = MatMul("m", (), rows=8, inputs=3, outputs=8)
    four_bit, native = work_of(matrix, body="w4a16"), work_of(matrix, body="w8a8")
    assert (four_bit.conversion_cycles, four_bit.weight_bytes) == (12, 12 + 8 * 2)
    assert (native.conversion_cycles, native.weight_bytes) == (3 * 24 / 2, 24)
    assert native.matrix_cycles == 2 * 4 * 8 * 4 / 8
    without = detailed(paths={"native": {"fp16": 8}})
    assert work_of(matrix, body="w8a8", platform=without).conversion_cycles == 12
    # legacy falls back to native where there is only that
    assert work_of(matrix, body="w4a16", platform=without).matrix_cycles == 64


def test_the_head_has_the_precision_that_the_runtime_chose() -> None:
    head = MatMul("head", (), rows=1, inputs=4, outputs=6, role="head")
    assert work_of(head, body="w8a8").weight_bytes == 2 * 24
    assert work_of(head, body="w8a8", platform=detailed(head_precision="body")).weight_bytes == 24
    body = MatMul("body", (), rows=1, inputs=4, outputs=6)
    assert work_of(body, body="w8a8").weight_bytes == 24


def test_matrices_that_a_kernel_reads_together_fill_tiles_together() -> None:
    # 4 + 2 + 2 columns fill one tile of 8: 4 * 8 * 2 MAC at 4 per cycle; alone each takes as long
    q, k, v = (
        MatMul(name, ("qkv",), rows=4, inputs=2, outputs=width) for name, width in (("q", 4), ("k", 2), ("v", 2))
    )
    narrow = detailed(lanes=0.01)
    assert work_of(q, k, v, platform=narrow).matrix_cycles == 16
    assert work_of(q, platform=narrow).matrix_cycles == 16
    assert work_of(q, k, v).weight_bytes == 2 * 2 * 8


def test_an_embedding_reads_the_rows_that_it_hands_on() -> None:
    work = work_of(Embedding("e", (), rows=3, width=5, vocabulary=100), body="w4a16")
    assert (work.late_bytes, work.weight_bytes) == (2 * 15, 0)


def test_the_cache_is_read_and_written_in_its_own_precision() -> None:
    attention = Attention("a", (), queries=1, cached_keys=7, own_keys=0, heads=4, kv_heads=2, head_dim=8,
                          is_causal=False)  # fmt: skip
    write = CacheWrite("c", (), tokens=3, kv_heads=2, head_dim=8, context=3)
    for kv_precision, size in (("fp16", 2), ("fp8", 1)):
        platform = detailed(kv_precision=kv_precision)
        read = work_of(attention, platform=platform)
        assert (read.cache_read_bytes, read.loaded_bytes) == (2 * 2 * 8 * 7 * size, 2 * 2 * 8 * 7 * size)
        assert work_of(write, platform=platform).cache_write_bytes == 2 * 3 * 2 * 8 * size


@pytest.mark.parametrize(
    ("queries", "is_causal", "macs_per_cycle", "tile_rows"),
    [(8, True, 1.0, 2), (8, False, 2.0, 4), (1, False, 1.0, 2)],  # half of legacy, quarter of native; one row: decode
)
def test_attention_takes_the_kernel_of_its_mask(
    queries: int, is_causal: bool, macs_per_cycle: float, tile_rows: int
) -> None:
    # 3 heads on one key head; 8 rows see 36 keys if causal and 64 if not, one row sees 8 keys
    attention = Attention("a", (), queries=queries, cached_keys=0, own_keys=8, heads=3, kv_heads=1, head_dim=4,
                          is_causal=is_causal)  # fmt: skip
    pairs = {(8, True): 36, (8, False): 64, (1, False): 8}[queries, is_causal]
    rows = queries * 3
    padded = -(-rows // tile_rows) * tile_rows / rows
    work = work_of(attention, platform=detailed(lanes=0.5, special=4))
    assert work.matrix_cycles == pairs * 3 * 2 * 4 * padded / macs_per_cycle
    # softmax beside it: four operations per score on half a lane
    assert work.vector_cycles == 4 * pairs * 3 / 0.5


def test_attention_runs_on_the_lanes_where_they_are_quicker_and_its_softmax_with_it() -> None:
    # one row: 8 pairs * 2 heads * 8 MAC on 64 lanes are 2 cycles; 16 exponentials at 1 per cycle
    attention = Attention("a", (), queries=1, cached_keys=8, own_keys=0, heads=2, kv_heads=1, head_dim=4,
                          is_causal=False)  # fmt: skip
    work = work_of(attention, platform=detailed(lanes=64))
    assert (work.matrix_cycles, work.vector_cycles) == (0, 2 + 16)


def test_the_work_of_a_kernel_is_that_of_its_operators_together() -> None:
    add_1 = Elementwise("add_1", ("norm_residual",), kind="add", rows=2, width=4, operands=2)
    norm_2 = Elementwise("norm_2", ("norm_residual",), kind="norm", rows=2, width=4)
    both = work_of(add_1, norm_2)
    assert both.name == "add_1+norm_2"
    assert both.vector_cycles == (8 * 1 + 8 * 4) / 2


def test_neighbours_that_share_a_fusion_of_the_runtime_are_one_kernel() -> None:
    graph = OperatorGraph(
        "toy",
        [
            MatMul("gate", ("gate_up",), rows=1, inputs=1, outputs=1),
            MatMul("up", ("gate_up", "gate_activation"), rows=1, inputs=1, outputs=1),
            Elementwise("activation", ("gate_activation",), kind="activation", rows=1, width=1),
            MatMul("down", (), rows=1, inputs=1, outputs=1),
            MatMul("gate_2", ("gate_up",), rows=1, inputs=1, outputs=1),
        ],
        [],
    )
    sizes = {
        (): [1, 1, 1, 1, 1],
        ("gate_up",): [2, 1, 1, 1],
        ("gate_activation",): [1, 2, 1, 1],
        ("gate_up", "gate_activation"): [3, 1, 1],
        ("qkv",): [1, 1, 1, 1, 1],
    }
    for fusions, expected in sizes.items():
        assert [len(group) for group in group_operators(graph, fusions)] == expected  # type: ignore[arg-type]


# what a chip multiplies in -------------------------------------------------------------------------------------------


def test_a_dtype_that_a_path_lacks_becomes_its_first_16_bit_format_or_else_32_bits() -> None:
    for paths, wanted, expected in (
        ({"fp16": 1, "int8": 2}, "int8", "int8"),
        ({"bf16": 1, "fp16": 1}, "int8", "fp16"),
        ({"bf16": 1}, "int8", "bf16"),
        ({"bf16": 1}, "fp16", "bf16"),
        ({"fp32": 1, "fp16": 1}, "fp32", "fp32"),
        ({"tf32": 1, "fp32": 1}, "tf32", "tf32"),
        ({"fp32": 1, "fp16": 2}, "tf32", "fp32"),
        ({"fp32": 1}, "fp16", "fp32"),
    ):
        platform = detailed(paths={"native": paths})
        assert platform.dtype(platform.chip.cluster.path("native"), wanted) == expected  # type: ignore[arg-type]
    for paths, wanted in (({"int8": 2}, "fp16"), ({"fp16": 1}, "fp32"), ({"fp16": 1}, "tf32")):
        platform = detailed(paths={"native": paths})
        with pytest.raises(SpecError, match=f"must multiply {wanted}"):
            platform.dtype(platform.chip.cluster.path("native"), wanted)  # type: ignore[arg-type]


def test_attention_runs_in_16_bits_where_there_are_any() -> None:
    for paths, expected in (({"int8": 2, "fp16": 1}, "fp16"), ({"int8": 2, "bf16": 1}, "bf16"), ({"int8": 2}, "int8"),
                            ({"bf16": 1, "fp16": 1}, "fp16")):  # fmt: skip
        platform = detailed(paths={"native": paths})
        path = platform.chip.cluster.path("native")
        assert platform.attention_dtype(path, platform.kernel("w8a8")) == expected


def test_room_for_activations_is_every_shared_level_and_the_local_half() -> None:
    platform = Platform(chip(sram="101 B", shared="30 kB"), runtime(buffers=3))
    assert platform.activation_room == ((1, 30_000), (0, 50))  # 50 of 101 bytes stream, each share rounded down
    assert platform.stream_buffer_bytes == 16
    assert Platform(chip(sram="101 B", shared="30 kB"), runtime(buffers=3), tenants=2).activation_room == (
        (1, 15_000), (0, 25),
    )  # fmt: skip
