"""Programs for measuring engines alone."""

from __future__ import annotations

import math

import numpy as np

from simulator.program import NONE, Program, Resources, Streams
from simulator.program.template import Fragment, FragmentBuilder, Part, join

TASKS_PER_LAYER = 100


def layers(*, num_tasks: int, num_distinct: int = 1) -> Program:
    """Equal layers one after the other, like a transformer on an NPU: about `num_tasks` tasks.

    A layer has 30 loads that share two channels with their neighbours, each with a conversion and a multiplication of
    its own after it; every third result is stored. The weights of the next layer are loaded while this one computes.

    Args:
        num_tasks: how many, rounded to whole layers.
        num_distinct: how many fragments there are; with more than one, layers alternate and nothing repeats exactly.
    """
    fragments = [_layer(size_bytes=1_000_000 + 4096 * number) for number in range(num_distinct)]
    count = max(num_tasks // TASKS_PER_LAYER, 1)
    parts = [Part(fragments[number % num_distinct]) for number in range(count)]
    first = FragmentBuilder()
    for _ in range(4):
        first.milestone([])
    tasks, job_offsets, _ = join([[Part(first.build()), *parts]], [0])
    once = np.zeros(1, dtype=np.int64)
    return Program(
        resources=_resources(),
        tasks=tasks,
        job_offsets=job_offsets,
        streams=Streams(("once",), np.array([0, 1]), once, once, np.array([2]), np.array([NONE]), np.array([1]),
                        np.array([NONE])),
    )  # fmt: skip


def _resources() -> Resources:
    return Resources(
        unit_names=("vector", "matrix"),
        unit_clock_hz=np.array([1.5e9, 1.2e9]),
        unit_slots=np.array([1, 1]),
        channel_names=("noc", "dram"),
        channel_bytes_per_s=np.array([256e9, 200e9]),
        master_names=("load", "store"),
        master_weight=np.array([1.0, 2.0]),
        route_offsets=np.array([0, 2]),
        route_channels=np.array([0, 1]),
    )


def _layer(*, size_bytes: int) -> Fragment:
    """30 x (load, convert, multiply), 6 stores, 4 anchors: buffers, last load, exit."""
    builder = FragmentBuilder()
    last_load, buffers, work, stores = -2, [-4, -3], -1, []
    labels = {"operation": NONE, "cause": NONE}
    for piece in range(30):
        last_load = builder.transfer(
            0, size_bytes + 64 * piece, [last_load, buffers[0]], master=0, rate_cap_bytes_per_s=180e9, **labels
        )
        converted = builder.compute(0, 4000.0 + piece, [last_load], **labels)
        work = builder.compute(1, 6000.0 + piece, [converted, work], **labels)
        buffers = [buffers[1], work]
        if piece % 5 == 4:
            stores.append(
                builder.transfer(0, size_bytes // 4, [work], master=1, rate_cap_bytes_per_s=math.inf, **labels)
            )
    for task in (*buffers, last_load):
        builder.milestone([task])
    builder.milestone([work, *stores])
    return builder.build()
