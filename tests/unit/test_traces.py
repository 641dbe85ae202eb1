"""Traces: the same slices, instants and counters in both formats, exact to the nanosecond, whole files or none."""

import json
import sys
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

from simulator.engine.reference import ReferenceEngine
from simulator.errors import MissingExtraError, OutputError, SpecError
from simulator.program import DropPolicy, ProgramBuilder
from simulator.report.files import new_file
from simulator.report.trace import write_trace
from simulator.report.trace_tracks import trace_tracks
from simulator.report.track import lanes

FORMATS = ["json", "pftrace"]


def run_by_hand():
    """One frame: a load of 1 us, two tasks of 1000.5 ns and 500.7 ns on one unit, and a milestone."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.channel("dram", bytes_per_s=1e9)
    builder.memory("sram", size_bytes=4 * 2**20)
    builder.phase("prefill")
    load = builder.transfer(["dram"], size_bytes=1000)
    first = builder.compute("npu", work_cycles=1000.5, after=[load])
    builder.phase("decode")
    second = builder.compute("npu", work_cycles=500.7, after=[first])
    builder.milestone(after=[second])
    builder.occupy("sram", 2**20, first_task=load, last_task=first)
    builder.stream("driving", deadline_ticks=2_000_000)
    return ReferenceEngine().run(builder.build())


def run_with_contention():
    """Two streams on two slots and one channel; some frames are dropped, some are late, one is cut off."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=2)
    builder.unit("vector", clock_hz=0.7e9)
    builder.channel("noc", bytes_per_s=7e9)
    builder.channel("dram", bytes_per_s=5e9)
    builder.master("camera")
    builder.background("isp", ["dram"], bytes_per_s=1e9, master="camera")
    for cycles in (900.3, 1700.9):
        builder.job()
        builder.phase(f"vision {cycles}")
        loads = [builder.transfer(["noc", "dram"], size_bytes=1003 + 10 * number) for number in range(4)]
        products = [builder.compute("npu", work_cycles=cycles, after=[load]) for load in loads]
        builder.phase(f"decode {cycles}")
        builder.compute("vector", work_cycles=cycles, after=products)
    builder.stream("driving", job=0, period_ticks=2_500_000, releases=6, policy=DropPolicy.LATEST,
                   deadline_ticks=5_000_000)  # fmt: skip
    builder.stream("parking", job=1, period_ticks=1_900_000, releases=6, policy=DropPolicy.DROP_IF_BUSY)
    return ReferenceEngine().run(builder.build(), until_tick=15_000_300)


def read_trace(path):
    """The slices (group, track, category, name, start ns, end ns, arguments) and counter points of a trace file."""
    return read_chrome(path) if path.suffix == ".json" else read_perfetto(path)


def read_chrome(path):
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    groups = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    slices, counters = [], defaultdict(list)
    for event in events:
        start_ns = round(event.get("ts", 0) * 1000)
        if event["ph"] in "Xi":
            end_ns = start_ns + round(event.get("dur", 0) * 1000)
            track = groups[event["pid"]], tracks[event["tid"]]
            slices.append((*track, event["cat"], event["name"], start_ns, end_ns, event["args"]))
        elif event["ph"] == "C":
            counters[groups[event["pid"]], event["name"]].append((start_ns, next(iter(event["args"].values()))))
    return slices, dict(counters)


def read_perfetto(path):
    trace = perfetto_trace_pb2.Trace.FromString(path.read_bytes())
    interned = trace.packet[0].interned_data
    names, keys, categories = (
        {entry.iid: entry.name for entry in entries}
        for entries in (interned.event_names, interned.debug_annotation_names, interned.event_categories)
    )
    texts = {entry.iid: entry.str.decode() for entry in interned.debug_annotation_string_values}
    described = {packet.track_descriptor.uuid: packet.track_descriptor for packet in trace.packet
                 if packet.HasField("track_descriptor")}  # fmt: skip
    slices, counters, open_slice = [], defaultdict(list), {}
    for packet in trace.packet:
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        description = described[event.track_uuid]
        track = described[description.parent_uuid].name, description.name
        if event.type == event.TYPE_COUNTER:
            counters[track].append((packet.timestamp, event.double_counter_value))
        elif event.type == event.TYPE_SLICE_END:
            start = open_slice.pop(track)
            slices.append((*start[:-1], packet.timestamp, start[-1]))
        else:
            arguments = {
                keys[note.name_iid]: texts[note.string_value_iid] if note.HasField("string_value_iid")
                else note.int_value if note.HasField("int_value") else note.double_value
                for note in event.debug_annotations
            }  # fmt: skip
            start = (*track, categories[event.category_iids[0]], names[event.name_iid], packet.timestamp, arguments)
            if event.type == event.TYPE_INSTANT:
                slices.append((*start[:-1], packet.timestamp, arguments))
            else:
                assert track not in open_slice
                open_slice[track] = start
    assert not open_slice
    return slices, dict(counters)


@pytest.mark.parametrize("kind", FORMATS)
def test_hand_program_gives_these_slices_and_no_others(tmp_path, kind):
    """The load ends at 1 us, the tasks at 2000.5 ns and 2501.2 ns; both ends are rounded down to nanoseconds."""
    path = tmp_path / f"run.{kind}"
    write_trace(run_by_hand(), path, title="by hand")
    slices, _ = read_trace(path)
    assert sorted(row[:-1] for row in slices) == [
        ("1 run", "run", "run", "by hand", 0, 2501),
        ("2 frames", "driving", "frame", "driving #0 missed", 0, 2501),
        ("2 frames", "driving deadlines", "deadline", "deadline missed #0", 2000, 2000),
        ("3 phases", "driving", "phase", "decode", 2000, 2501),
        ("3 phases", "driving", "phase", "prefill", 0, 2000),
        ("4 units", "npu", "task", "decode", 2000, 2501),
        ("4 units", "npu", "task", "prefill", 1000, 2000),
        ("5 transfers", "default: dram", "task", "prefill", 0, 1000),
        ("9 milestones", "milestones", "task", "decode", 2501, 2501),
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_arguments_say_what_a_slice_cost(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    write_trace(run_by_hand(), path, title="by hand")
    arguments = {(row[1], row[3]): row[-1] for row in read_trace(path)[0]}
    # 1000 B in 1 us are 1 GB/s; the frame takes 1000 + 1000.5 + 500.7 ns against a deadline of 2 us
    assert arguments["default: dram", "prefill"] == {"bytes": 1000, "GB/s": 1.0}
    assert arguments["npu", "decode"] == {"cycles": 500.7, "waited_ns": 0}
    assert arguments["driving", "driving #0 missed"] == {
        "status": "completed", "latency_ms": 0.0025012, "deadline_ms": 0.002}  # fmt: skip
    assert arguments["driving", "prefill"] == {"tokens": 0, "flop": 0, "dram_bytes": 1000}


@pytest.mark.parametrize("kind", FORMATS)
def test_counters_hold_the_rates_and_the_occupancy(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    write_trace(run_by_hand(), path, title="by hand")
    _, counters = read_trace(path)
    assert counters == {
        ("6 channels", "dram granted"): [(0, 1.0), (1000, 0.0)],
        ("6 channels", "dram asked"): [(0, 1.0), (1000, 0.0)],
        ("7 memories", "sram occupied"): [(0, 1.0), (2000, 0.0)],
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_every_task_row_is_one_slice(tmp_path, kind):
    timeline = run_with_contention()
    path = tmp_path / f"run.{kind}"
    write_trace(timeline, path, title="contention")
    tasks = [row for row in read_trace(path)[0] if row[2] == "task"]
    expected = [
        (start // 1000, (timeline.horizon_tick if end < 0 else end) // 1000)
        for start, end in zip(timeline.start_tick.tolist(), timeline.end_tick.tolist(), strict=True)
    ]
    assert np.any(timeline.end_tick < 0)  # the end of the run cuts a task off
    assert sorted((row[4], row[5]) for row in tasks) == sorted(expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_slices_of_a_track_never_overlap(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    write_trace(run_with_contention(), path, title="contention")
    by_track = defaultdict(list)
    for row in read_trace(path)[0]:
        by_track[row[:2]].append((row[4], row[5]))
    for intervals in by_track.values():
        ordered = sorted(intervals)
        assert all(end <= start for (_, end), (start, _) in pairwise(ordered))
    assert ("4 units", "npu (2)") in by_track
    assert ("4 units", "npu (3)") not in by_track  # the unit has two slots


def test_both_formats_say_the_same(tmp_path):
    timeline = run_with_contention()
    for kind in FORMATS:
        write_trace(timeline, tmp_path / f"run.{kind}", title="contention")
    chrome_slices, chrome_counters = read_trace(tmp_path / "run.json")
    perfetto_slices, perfetto_counters = read_trace(tmp_path / "run.pftrace")

    def order(row):
        return (*row[:6], sorted(row[6].items()))

    assert sorted(map(order, chrome_slices)) == sorted(map(order, perfetto_slices))
    assert chrome_counters == perfetto_counters


def test_counters_follow_every_rate_row(tmp_path):
    """Read as a step function, the counter has the value of each rate row at its time."""
    timeline = run_with_contention()
    write_trace(timeline, tmp_path / "run.json", title="contention")
    _, counters = read_trace(tmp_path / "run.json")
    for channel, name in enumerate(timeline.program.resources.channel_names):
        rows = np.flatnonzero(timeline.rate_channel == channel)
        last_in_ns = {int(timeline.rate_tick[row]) // 1000: row for row in rows}  # later rows win
        for what, column in (
            ("granted", timeline.rate_granted_bytes_per_s),
            ("asked", timeline.rate_asked_bytes_per_s),
        ):
            points = counters["6 channels", f"{name} {what}"]
            for at_ns, row in last_in_ns.items():
                assert [value for tick_ns, value in points if tick_ns <= at_ns][-1] == column[row] / 1e9


def test_frames_that_wait_are_dropped_or_run_late_are_told_apart():
    """Period 10, frame 25, latest wins: #0 runs 0-25, #1 is replaced by #2, which runs 25-50 and is late."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9)
    builder.phase("all")
    builder.compute("npu", work_cycles=25)
    builder.stream("driving", period_ticks=10_000, releases=3, policy=DropPolicy.LATEST, deadline_ticks=25_000)
    tracks = {
        (track.group, track.name): list(zip(track.labels, track.start_ns.tolist(), track.end_ns.tolist(), strict=True))
        for track in trace_tracks(ReferenceEngine().run(builder.build()), title="late").slices
    }
    assert tracks["frames", "driving"] == [("driving #0", 0, 25)]
    assert tracks["frames", "driving (2)"] == [("driving #2 missed", 20, 50)]
    assert tracks["frames", "driving drops"] == [("driving #1 dropped", 10, 10)]
    assert tracks["frames", "driving deadlines"] == [("deadline met #0", 25, 25), ("deadline missed #2", 45, 45)]
    assert tracks["phases", "driving (2)"] == [("waiting", 20, 25), ("all", 25, 50)]


def test_lanes_are_as_few_as_intervals_overlap():
    """Three overlap at 3, so three lanes; the fourth interval takes the lowest lane that is free at 4."""
    start = np.array([0, 1, 2, 4])
    end = np.array([10, 4, 3, 5])
    assert lanes(start, end).tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize("kind", FORMATS)
def test_one_timeline_gives_the_same_bytes_twice(tmp_path, kind):
    for name in ("first", "second"):
        write_trace(run_with_contention(), tmp_path / f"{name}.{kind}", title="contention")
    assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()


def test_unknown_suffix_names_the_valid_ones(tmp_path):
    with pytest.raises(SpecError) as caught:
        write_trace(run_by_hand(), tmp_path / "run.vcd", title="by hand")
    assert 'a trace must end in .json, .perfetto-trace, .pftrace, .pb, got ".vcd"' in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace", None)
    with pytest.raises(MissingExtraError, match=r'roadline\[trace\]"'):
        write_trace(run_by_hand(), tmp_path / "run.pftrace", title="by hand")
    write_trace(run_by_hand(), tmp_path / "run.json", title="by hand")  # needs no package


def test_missing_folder_is_created(tmp_path):
    write_trace(run_by_hand(), tmp_path / "new" / "folder" / "run.json", title="by hand")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["run.json"]


@pytest.mark.parametrize("name", ["folder", "file/run.json"])
def test_unwritable_target_is_an_output_error_and_leaves_nothing(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    with pytest.raises(OutputError, match=str(tmp_path / name)), new_file(tmp_path / name) as file:
        file.write(b"text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "kept"


def test_failure_half_way_keeps_the_older_file(tmp_path):
    target = tmp_path / "run.json"
    target.write_text("older", encoding="utf-8")
    with pytest.raises(TypeError), new_file(target) as file:
        file.writelines([b"half", "not bytes"])
    assert target.read_text(encoding="utf-8") == "older"
    assert list(tmp_path.iterdir()) == [target]
