"""The Perfetto UI opens our traces and its SQL counts what the Timeline counts."""

import numpy as np
import pytest

from simulator.engine.reference import ReferenceEngine
from simulator.program import NONE, ProgramBuilder
from simulator.report.trace import write_trace
from tests.browser.perfetto_page import perfetto_ui

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def timeline():
    """Two streams that share a unit with two slots, a vector unit and a DRAM behind a NoC."""
    builder = ProgramBuilder()
    builder.unit("matrix", clock_hz=1.1e9, slots=2)
    builder.unit("vector", clock_hz=0.7e9)
    builder.channel("noc", bytes_per_s=9e9)
    builder.channel("dram", bytes_per_s=5e9)
    builder.memory("sram", size_bytes=2**20)
    for name, num_layers in (("driving", 12), ("parking", 5)):
        builder.job()
        builder.phase(name)
        before = [builder.milestone()]
        for layer in range(num_layers):
            loads = [builder.transfer(["noc", "dram"], size_bytes=4001 + layer, after=before) for _ in range(3)]
            products = [builder.compute("matrix", work_cycles=777.7, after=[load]) for load in loads]
            builder.occupy("sram", 4096, first_task=loads[0], last_task=products[0])
            before = [builder.compute("vector", work_cycles=123, after=products)]
    builder.stream("driving", job=0, period_ticks=40_000_000, releases=3, deadline_ticks=35_000_000)
    builder.stream("parking", job=1, period_ticks=25_000_000, releases=4)
    return ReferenceEngine().run(builder.build())


@pytest.fixture(scope="module")
def open_trace():
    with perfetto_ui() as open_in_browser:
        yield open_in_browser


@pytest.fixture(scope="module", params=["json", "perfetto-trace"])
def sql(request, open_trace, timeline, tmp_path_factory):
    """A function that runs SQL in a UI that has opened the trace, once per file format."""
    path = tmp_path_factory.mktemp("trace") / f"run.{request.param}"
    write_trace(timeline, path, title="browser test")
    return open_trace(path)


def test_number_of_task_slices_is_the_number_of_task_rows(sql, timeline):
    assert sql("select count(*) from slice where category = 'task'") == [[len(timeline)]]


def test_busy_time_of_each_unit_is_the_sum_of_its_slices(sql, timeline):
    """In nanoseconds, both ends of each task rounded down: the slots of a unit are tracks "NAME" and "NAME (2)"."""
    for index, name in enumerate(timeline.program.resources.unit_names):
        rows = timeline.program.tasks.unit[timeline.task] == index
        expected_ns = int(np.sum(timeline.end_tick[rows] // 1000 - timeline.start_tick[rows] // 1000))
        # In JSON a track is a thread, in protobuf a track of its own.
        found = sql(f"""
            select sum(slice.dur), count(*) from slice
            join track on slice.track_id = track.id
            left join thread_track on thread_track.id = track.id
            left join thread using (utid)
            where category = 'task' and coalesce(thread.name, track.name) in ('{name}', '{name} (2)')
        """)
        assert found == [[expected_ns, int(np.sum(rows))]]


def test_slices_of_a_track_never_overlap_in_the_viewer(sql):
    """A slice that overlaps another is nested under it or lost; touching slices are neither."""
    assert sql("select count(*) from slice where depth > 0 and dur > 0") == [[0]]
    assert sql("select name, value from stats where severity in ('error', 'data_loss') and value > 0") == []


def test_counters_are_there_with_the_values_of_the_rate_rows(sql, timeline):
    names = [row[0] for row in sql("select distinct name from counter_track")]
    expected = [f"{channel} {what}" for channel in ("noc", "dram") for what in ("granted", "asked")]
    # The JSON importer appends the name of the value, our unit.
    assert {name.removesuffix(" GB/s").removesuffix(" MiB") for name in names} == {*expected, "sram occupied"}
    dram = timeline.rate_channel == 1
    found = sql("""
        select max(value) from counter join counter_track on counter.track_id = counter_track.id
        where name like 'dram granted%'
    """)
    assert found == [[float(timeline.rate_granted_bytes_per_s[dram].max() / 1e9)]]


def test_frames_and_phases_are_as_many_as_ran(sql, timeline):
    """Three driving and four parking frames, each with one phase; a frame that waits has that as a slice too."""
    waits = int(np.sum(timeline.release_start_tick > timeline.program.streams.release_tick))
    assert NONE not in timeline.release_start_tick
    assert sql("select count(*) from slice where category = 'frame'") == [[7]]
    assert sql("select count(*) from slice where category = 'phase'") == [[7 + waits]]
