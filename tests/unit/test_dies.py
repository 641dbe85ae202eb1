"""Several dies: what crosses the link and how long it takes, what is in which DRAM, and what dies do not share.

Where a die and a link of the tiny chip are meant, a byte of DRAM, a byte of the link and a cycle take 1 ns each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import simulator
from simulator import load_runtime
from simulator.chip import Chip
from simulator.engine.compiled import CompiledEngine
from simulator.engine.reference import ReferenceEngine
from simulator.errors import Infeasible
from simulator.explanation.parts import latency_parts
from simulator.lowering.block import SWITCH
from simulator.lowering.modes import passages_of, stages_of
from simulator.program import NONE, DropPolicy
from simulator.simulation.provenance import numbers_read
from simulator.simulation.result import Result
from simulator.simulation.setup import Setup, Stream
from simulator.simulation.simulate import simulate
from simulator.simulation.to_program import demands_of, to_program
from simulator.units import TICKS_PER_SECOND
from tests.unit.test_emit import NS, chip, number
from tests.unit.test_graph import tiny as whole_model
from tests.unit.test_modes import EMPTY, KEEPING, TOKEN_BYTES, WEIGHTS_BYTES, modal, path, tiny

LOGITS_BYTES = 2 * 50
EMBEDDING_BYTES = 2 * 50 * 12
ACROSS = {"prefill": 0, "decode": 1}


def pair(bandwidth: str = "1 GB/s", latency: str = "1 us", capacity: str = "1 GB", **changes: Any) -> Chip:
    """Two dies of the tiny chip."""
    dram = {"type": "test", "width_bits": number(8), "rate": number("2 GT/s"), "capacity": number(capacity),
            "sustained_fraction": number(0.5)}  # fmt: skip
    links = {"c2c": {"bandwidth": number(bandwidth), "latency": number(latency)}}
    return chip(**{"dram": dram, "links": links, "dies": {"count": 2, "link": "c2c"}, **changes})


def stream(name: str, die: int | Mapping[str, int], prompt: int = 5, release_ticks: tuple[int, ...] = (0,)) -> Stream:
    return Stream(name, tiny(prompt), release_ticks, -1, DropPolicy.FIFO, die=die)  # type: ignore[arg-type]


def run(hardware: Chip, *streams: Stream) -> Result:
    return simulate(setup_of(hardware, *streams), engine="reference", checks=True)


def setup_of(hardware: Chip, *streams: Stream) -> Setup:
    return Setup("dies", hardware, load_runtime("ideal"), streams, {})


def link_intervals(result: Result) -> list[tuple[int, int, int]]:
    """(ready, start, end) of every task of the link of the first die, in ticks and in the order of their ends."""
    timeline, resources = result.timeline, result.program.resources
    rows = np.flatnonzero(result.program.tasks.unit[timeline.task] == resources.unit_names.index("die0.link"))
    found = [
        (int(timeline.ready_tick[row]), int(timeline.start_tick[row]), int(timeline.end_tick[row])) for row in rows
    ]
    return sorted(found, key=lambda interval: interval[2])


# the link ------------------------------------------------------------------------------------------------------------


def test_a_message_takes_its_bytes_over_the_bandwidth_and_the_latency() -> None:
    """The logits of the prompt and the KV of its five tokens: 100 + 5 * 64 = 420 bytes and 1 us."""
    result = run(pair(), stream("one", ACROSS))
    ((_, start, end),) = link_intervals(result)
    assert end - start == (LOGITS_BYTES + 5 * TOKEN_BYTES + 1000) * NS
    assert result.attribution.phase_cause_ticks["decode"]["link"] == end - start
    assert "link" not in result.attribution.phase_cause_ticks["prefill"]


def test_a_message_is_an_operation_of_its_own_and_no_part_names_a_die() -> None:
    """Of the link 420 bytes and 1 us, as above; all that is loaded crosses the narrowest channel, the DRAM of a die."""
    result = run(pair(), stream("one", ACROSS))
    parts = latency_parts(result.timeline, result.frame.release, ReferenceEngine())
    (message,) = [item for item in parts.items if "link" in item.part_ticks]
    assert (message.phase, message.operation) == ("decode", "decode.link")
    assert message.part_ticks == {"link": (LOGITS_BYTES + 5 * TOKEN_BYTES + 1000) * NS}
    assert "DRAM" in parts.part_ticks
    assert not any("." in part for part in (*parts.part_ticks, *result.attribution.part_ticks))


def test_phases_on_other_dies_take_what_they_take_on_one_plus_the_message() -> None:
    one, two = run(pair(), stream("one", 0)), run(pair(), stream("one", ACROSS))
    message_ticks = (LOGITS_BYTES + 5 * TOKEN_BYTES + 1000) * NS
    assert two.frame.latency_ticks - one.frame.latency_ticks == message_ticks
    assert two.phases[0].latency_ticks == one.phases[0].latency_ticks


def test_a_small_message_waits_for_a_large_one_that_came_before() -> None:
    """First in, first out: at 4 kB/s, 420 bytes take 105 ms, and 164 bytes (one token) the next 41 ms."""
    result = run(pair("4 kB/s", "0 s"), stream("large", ACROSS), stream("small", ACROSS, prompt=1))
    sizes = [LOGITS_BYTES + tokens * TOKEN_BYTES for tokens in (5, 1)]
    by_size = sorted(link_intervals(result), key=lambda interval: interval[1])
    lengths = [round((end - start) / 1e9, 3) for _, start, end in by_size]
    assert sorted(lengths) == [41.0, 105.0] == sorted(size / 4 for size in sizes)
    assert by_size[1][0] < by_size[0][2] == by_size[1][1]  # ready before the first ends, and starts then


def test_a_small_message_just_behind_50_mb_on_a_link_of_4_gb_per_s_is_over_after_12_525_ms() -> None:
    """The KV of 781,248 tokens is 50 MB, 12.5 ms on the link; that of 1,561 is 0.1 MB, which alone takes 0.025 ms."""
    cluster = chip().model_dump()["clusters"]["npu"]
    cluster |= {"matrix": path(10**9, 1), "vector": {"lanes": number(10**9), "special_per_cycle": number(10**9)}}
    hardware = pair("4 GB/s", "0 s", clusters={"npu": cluster})
    large = stream("large", ACROSS, prompt=781_248)

    def messages(release_tick: int) -> list[tuple[int, int, int]]:
        small = stream("small", ACROSS, prompt=1561, release_ticks=(release_tick,))
        return link_intervals(run(hardware, large, small))

    (_, begin, end), (ready, start, alone) = messages(3 * TICKS_PER_SECOND)  # when the large model is done
    assert (end - begin) / 1e9 == pytest.approx(12.5, rel=1e-5)
    assert ready == start
    assert (alone - start) / 1e9 == pytest.approx(0.025, rel=1e-4)
    first, (ready, _, end) = messages(begin)
    assert first[1] == begin < ready
    assert (end - begin) / 1e9 == pytest.approx(12.525, rel=1e-5)


def test_the_vision_tower_sends_its_last_activations_and_the_language_model_its_kv_cache() -> None:
    """512 rows of 2,048 in FP16; then the last row and 522 tokens of 18 layers, a key and a value of 256 in FP16."""
    result = simulator.run_scenario(simulator.load_scenario("two-orins").with_values({"duration": "1 ms"}), checks=True)
    causes = result.attribution.phase_cause_ticks
    seconds = {name: causes[name]["link"] / TICKS_PER_SECOND for name in ("prefill", "action")}
    assert seconds["prefill"] == pytest.approx(512 * 2048 * 2 / 13e9 + 10e-6, rel=1e-9)
    assert seconds["action"] == pytest.approx((2048 * 2 + 522 * 18 * 2 * 256 * 2) / 13e9 + 10e-6, rel=1e-9)
    assert "link" not in causes["vision"]


def test_two_dies_manage_more_frames_than_one() -> None:
    """Eight frames per second complete on two dies; on one a frame takes too long for that, and some are dropped."""
    scenario = simulator.load_scenario("two-orins").with_values({"duration": "1500 ms"})
    two = simulator.run_scenario(scenario)
    one = simulator.run_scenario(scenario.with_values({"streams.driving.die": 0}))
    assert (two.streams[0].released, two.streams[0].completed, two.streams[0].misses) == (12, 12, 0)
    assert one.streams[0].dropped + one.streams[0].misses > 0


# the dies ------------------------------------------------------------------------------------------------------------


def test_a_model_on_another_die_is_not_felt() -> None:
    alone = run(pair(), stream("one", 0))
    beside = run(pair(), stream("one", 0), stream("other", 1, prompt=9))
    assert beside.frame.latency_ticks == alone.frame.latency_ticks
    together = run(pair(), stream("one", 0), stream("other", 0, prompt=9))
    assert together.frame.latency_ticks > alone.frame.latency_ticks


def test_models_that_fit_a_dram_each_do_not_fit_it_together() -> None:
    """Weights and embedding of the model are 7,584 bytes and the KV of seven tokens 448; the DRAM holds 10 kB."""
    hardware = pair(capacity="10 kB")
    need = WEIGHTS_BYTES + EMBEDDING_BYTES + 7 * TOKEN_BYTES
    assert need == 8032
    assert run(hardware, stream("one", 0), stream("other", 1)).latency_s > 0
    with pytest.raises(Infeasible, match=r"chip tiny: does not fit the DRAM of die 1: needs 16\.1 kB") as told:
        run(hardware, stream("one", 1), stream("other", 1))
    assert (told.value.demand, told.value.bound) == (2 * need, 10_000)


def test_a_model_whose_phases_run_on_two_dies_is_in_the_dram_of_both() -> None:
    with pytest.raises(Infeasible, match="does not fit the DRAM of die 0"):
        run(pair(capacity="8 kB"), stream("one", ACROSS))
    with pytest.raises(Infeasible, match="does not fit the DRAM of die 0"):
        run(pair(capacity="15 kB"), stream("one", 0), stream("other", ACROSS))
    assert run(pair(capacity="9 kB"), stream("one", ACROSS)).latency_s > 0


def test_a_chip_of_one_die_needs_no_number() -> None:
    with pytest.raises(Infeasible, match="chip tiny: does not fit its DRAM: needs"):
        run(pair(capacity="8 kB", dies=None), stream("one", 0))


def test_a_die_where_the_frame_does_not_begin_shows_what_it_keeps_too() -> None:
    """Both phases use all weights, so each die has all of them all the time."""
    hardware = pair(shared="20 kB").with_values({"sram.l2.split": KEEPING["l2"]})
    result = run(hardware, stream("one", ACROSS))
    spaces, names = result.program.occupancies, result.program.resources.memory_names
    always = spaces.first_task == NONE
    for die in ("die0.l2", "die1.l2"):
        assert spaces.size_bytes[always & (spaces.memory == names.index(die))].tolist() == [WEIGHTS_BYTES]


def test_matrices_that_run_on_another_die_take_no_room() -> None:
    """The vision tower alone on a die keeps all of its matrices in a room of as many bytes.

    Patches 6 * 8 + 8, a layer of 8 * (24 + 8 + 16) + 16 * 8 with biases 24 + 8 + 16 + 8, and two mergers of
    32 * 10 + 10 + 10 * 12 + 12.
    """
    tower_bytes = 2 * (56 + 8 * 48 + 128 + 56 + 2 * 462)
    hardware = pair(shared=f"{tower_bytes} B").with_values({"sram.l2.split": {"weights": 1.0}})
    model = whole_model()
    phases = tuple(phase.model_copy(update={"precision": "fp16"}) for phase in model.pipeline)
    frames = replace(stream("one", {"vision": 1}), workload=model.model_copy(update={"pipeline": phases}))
    (demand,) = demands_of(setup_of(hardware, frames))
    stages = stages_of(demand.graph, demand.platforms["vision"], demand.platforms)
    shares = {stage.phase.name: stage.kept.weight_share for stage in stages}
    assert shares["vision"] == 1
    assert shares["prefill"] == shares["decode"] == shares["action"] < 0.5


def test_a_die_that_runs_one_phase_only_stays_in_its_mode() -> None:
    """Each die has a mode of its own: none is ever changed, and so nothing is lost by it."""
    two = pair()
    hardware = modal({"a": {}, "b": {"split": KEEPING}}).model_copy(update={"dies": two.dies, "links": two.links})
    result = run(hardware, stream("one", ACROSS))
    assert "switch" not in result.attribution.cause_ticks
    assert result.modes is not None
    assert [phase.mode for phase in result.modes.phases] == ["a", "b"]
    assert result.modes.num_switches == 0


def test_a_cache_that_comes_over_the_link_lies_where_the_new_mode_keeps_it() -> None:
    """The die of the tower and the action head changes its mode twice and moves no KV: it has none, or just got it."""
    two = pair()
    split = {"a": {"split": EMPTY}, "b": {"split": {"l2": {"kv": 1.0}}}}
    hardware = modal(split, order={"vision": "a", "prefill": "b"}).model_copy(
        update={"dies": two.dies, "links": two.links}
    )
    model = whole_model()
    phases = tuple(phase.model_copy(update={"precision": "fp16"}) for phase in model.pipeline)
    where = {"vision": 1, "prefill": 0, "decode": 0, "action": 1}
    frames = replace(stream("one", where), workload=model.model_copy(update={"pipeline": phases}))
    (demand,) = demands_of(setup_of(hardware, frames))
    passages = passages_of(stages_of(demand.graph, demand.platforms["vision"], demand.platforms))
    switches = [
        [link.size_bytes for _, links in chains for link in links if link.cause == SWITCH] for chains in passages
    ]
    assert switches == [[0], [], [], [0]]  # the time to change, and no bytes


def test_both_engines_find_the_same_times_on_two_dies() -> None:
    setup = setup_of(pair("1 MB/s"), stream("one", ACROSS, 3, (0, 100, 200)), stream("other", 1, 2, (50, 150)))
    setup = replace(setup, streams=tuple(replace(each, in_flight=2) for each in setup.streams))
    program = to_program(setup)
    expected, found = ReferenceEngine().run(program), CompiledEngine().run(program)
    assert np.array_equal(expected.task, found.task)
    assert np.array_equal(expected.end_tick, found.end_tick)


def test_a_result_on_two_dies_names_the_guesses_of_their_link_and_of_no_other() -> None:
    read = {path for path, _, _ in numbers_read(setup_of(pair(), stream("one", 0)))}
    assert {path for path in read if "links" in path} == {"chip.links.c2c.bandwidth", "chip.links.c2c.latency"}
    alone = {path for path, _, _ in numbers_read(setup_of(pair(dies=None), stream("one", 0)))}
    assert not [path for path in alone if "links" in path]


def test_states_of_linear_layers_cross_the_link_beside_the_cache() -> None:
    """Two layers of linear attention: 3 states of [4, 6] in FP32, and 2 tokens of 2 * 4 + 3 * 6 channels in 16 bits."""
    linear = {"key_heads": 1, "value_heads": 3, "key_dim": 4, "value_dim": 6, "convolution": 3, "chunk": 8,
              "state_format": "fp32", "source": "test", "status": "assumed"}  # fmt: skip
    values = tiny(5).model_dump()
    layers = values["decoder"]["layers"]
    values["decoder"] |= {"pattern": ["linear", "linear", "full"], "layers": 3, "linear": linear}
    workload = type(tiny(5)).model_validate(values)
    hybrid = replace(stream("m", 0), workload=workload, die=ACROSS)
    demand = demands_of(setup_of(pair(), hybrid))[0]
    stages = stages_of(demand.graph, demand.platforms["prefill"], demand.platforms)
    ((_, (message,)),) = passages_of(stages)[1]
    of_states = 2 * (3 * 4 * 6 * 4 + 2 * (2 * 4 + 3 * 6) * 2)
    assert message.work_cycles == LOGITS_BYTES + 5 * TOKEN_BYTES // layers + of_states + 1000
