"""The demo, as it ships: its Perfetto trace opens in the Perfetto UI, and SQL counts in it what the simulation did."""

import pytest

import simulator
from simulator.report.trace import write_trace
from tests.browser.perfetto_page import perfetto_ui

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def result():
    return simulator.run_scenario("alpamayo-thor-10hz")


@pytest.fixture(scope="module")
def open_trace():
    with perfetto_ui() as open_in_browser:
        yield open_in_browser


@pytest.fixture(scope="module")
def sql(open_trace, result, tmp_path_factory):
    """Asks for the browser first, so that nothing is simulated where there is none."""
    path = tmp_path_factory.mktemp("demo") / "alpamayo.perfetto-trace"
    write_trace(result.timeline, path, title=result.setup.name)
    return open_trace(path)


def count(sql, category: str) -> int:
    return sql(f"select count(*) from slice where category = '{category}'")[0][0]


def test_every_task_of_the_demo_is_one_slice(sql, result):
    tasks = count(sql, "task")
    assert tasks == len(result.timeline) == result.to_dict()["tasks"]
    assert tasks > 100_000  # the whole demo, not a sample of it


def test_every_frame_of_the_demo_is_answered_with_its_deadline_or_dropped(sql, result):
    """Ten frames per second for three seconds are 30: each is a slice with a deadline, or a drop."""
    answered = sum(stream.completed for stream in result.streams)
    assert count(sql, "frame") == count(sql, "deadline") == answered > 0
    assert count(sql, "drop") == 30 - answered
    missed = sql("select count(*) from slice where category = 'deadline' and name like 'deadline missed%'")
    assert missed == [[sum(stream.misses for stream in result.streams)]]


def test_the_frame_in_the_viewer_takes_as_long_as_the_result_says(sql, result):
    """To the nanosecond, in which the viewer counts."""
    ((longest_ns,),) = sql("select max(dur) from slice where category = 'frame'")
    assert abs(longest_ns - 1e9 * result.latency_s) <= 1


def test_the_viewer_reads_the_demo_without_loss(sql):
    assert sql("select name, value from stats where severity in ('error', 'data_loss') and value > 0") == []
