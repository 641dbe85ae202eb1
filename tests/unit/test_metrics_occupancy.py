"""How full memories are, on runs small enough to follow by hand."""

from simulator.engine.reference import ReferenceEngine
from simulator.metrics.occupancy import memory_use
from simulator.program import ProgramBuilder
from simulator.timeline import Timeline
from simulator.timeline.occupancy import occupancy_steps


def three_tasks(*, releases: int = 1, in_flight: int = 1, until_tick: int | None = None, **held: bool) -> Timeline:
    """Tasks of 2, 3 and 4 ns in a row, released every 5 ns, and the occupancies asked for by name."""
    builder = ProgramBuilder()
    builder.unit("npu", clock_hz=1e9, slots=8)
    builder.memory("sram", size_bytes=100)
    first = builder.compute("npu", work_cycles=2)
    second = builder.compute("npu", work_cycles=3, after=[first])
    third = builder.compute("npu", work_cycles=4, after=[second])
    if held.get("tile"):
        builder.occupy("sram", 10, first_task=first, last_task=second)
    if held.get("next_tile"):
        builder.occupy("sram", 7, first_task=third, last_task=third)
    if held.get("resident"):
        builder.occupy("sram", 40)
    if held.get("from_first"):
        builder.occupy("sram", 20, first_task=second)
    if held.get("until_last"):
        builder.occupy("sram", 30, last_task=second)
    builder.stream("frames", period_ticks=5_000, releases=releases, in_flight=in_flight)
    return ReferenceEngine().run(builder.build(), until_tick=until_tick)


def steps(timeline: Timeline) -> list[tuple[int, float]]:
    """The changes of the only memory."""
    (sram,) = occupancy_steps(timeline)
    return list(zip(sram.tick.tolist(), sram.value.tolist(), strict=True))


def test_space_is_held_from_the_start_of_one_task_to_the_end_of_another():
    assert steps(three_tasks(tile=True)) == [(0, 10), (5_000, 0)]


def test_space_that_is_freed_and_taken_at_one_tick_is_not_held_twice():
    timeline = three_tasks(tile=True, next_tile=True)
    assert steps(timeline) == [(0, 10), (5_000, 7), (9_000, 0)]
    assert memory_use(timeline)[0].peak_bytes == 10


def test_every_release_holds_its_own_space():
    # Release 1 starts at 5 ns and its third task runs from 10 to 14 ns; release 0's ran from 5 to 9 ns.
    timeline = three_tasks(releases=2, in_flight=2, tile=True, next_tile=True)
    assert steps(timeline) == [(0, 10), (5_000, 17), (9_000, 10), (10_000, 7), (14_000, 0)]


def test_space_that_is_still_held_lasts_to_the_end_of_the_run():
    timeline = three_tasks(tile=True, next_tile=True, until_tick=4_000)
    assert steps(timeline) == [(0, 10), (4_000, 0)]
    assert steps(three_tasks(tile=True, until_tick=1_000)) == [(0, 10), (1_000, 0)]  # the last task has not started


def test_resident_space_is_held_throughout():
    assert steps(three_tasks(resident=True)) == [(0, 40), (9_000, 0)]


def test_space_without_an_end_is_held_once_from_the_first_start():
    # The second task first starts at 2 ns; release 1 (done at 18 ns) uses the same space again.
    assert steps(three_tasks(releases=2, from_first=True)) == [(0, 0), (2_000, 20), (18_000, 0)]
    assert steps(three_tasks(from_first=True, until_tick=1_000)) == [(0, 0)]  # never taken


def test_space_without_a_beginning_is_held_once_to_the_last_end():
    # Release 1 is admitted at 9 ns, so its second task ends at 14 ns.
    assert steps(three_tasks(releases=2, until_last=True)) == [(0, 30), (14_000, 0)]
    assert steps(three_tasks(until_last=True, until_tick=1_000)) == [(0, 30), (1_000, 0)]  # not freed yet


def test_peak_and_average_are_over_the_run():
    # 10 B for 5 of 9 ns, on top of 40 B throughout.
    (sram,) = memory_use(three_tasks(tile=True, resident=True))
    assert (sram.name, sram.size_bytes, sram.peak_bytes) == ("sram", 100, 50)
    assert sram.average_bytes == (50 * 5 + 40 * 4) / 9


def test_a_run_without_length_is_empty():
    (sram,) = memory_use(three_tasks(resident=True, until_tick=0))
    assert (sram.peak_bytes, sram.average_bytes) == (0, 0.0)
