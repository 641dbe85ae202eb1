"""Power states: cores, clocks and voltage that a scenario or a command chooses."""

import re
from typing import Any

import pytest

from simulator import api
from simulator.catalog import load_chip
from simulator.cli import main
from simulator.errors import SpecError

STATES = """\
technology: tsmc-n7
physical: {surroundings: car}
power_states:
  full: {cluster_clock: {value: 1 GHz, source: me, status: measured}}
  low:
    clusters_on: {value: 1, source: me, status: datasheet}
    cluster_clock: {value: 500 MHz, source: me, status: datasheet}
    dram_rate: {value: 3200 MT/s, source: me, status: datasheet}
    host_clock: {value: 1 GHz, source: me, status: datasheet}
    voltage: {value: 0.6 V, source: me, status: assumed, note: "(range 0.5 to 0.7)"}
    power: {value: 5 W, source: me, status: datasheet}
"""


@pytest.fixture
def tiny(tiny_catalogue: Any) -> Any:
    tiny_catalogue.edit("chips/tiny.yaml", "process: paper\n", f"process: paper\n{STATES}")
    return tiny_catalogue


def test_a_state_replaces_what_it_names_with_its_provenance_and_keeps_the_rest(tiny: Any) -> None:
    chip = tiny.catalog().load_chip("tiny")
    low = chip.in_power_state("low")
    assert (low.cluster.count.value, low.cluster.clock.value) == (1, 500e6)
    assert (low.dram.peak_bytes_per_s, low.host.clock.value) == (64 / 8 * 3200e6, 1e9)
    assert (low.physical.voltage.value, low.physical.voltage.status) == (0.6, "assumed")
    assert low.power.value == 5.0
    assert low.cluster.matrix == chip.cluster.matrix
    assert chip.in_power_state("full").cluster.count == chip.cluster.count


def test_a_low_state_is_slower_and_takes_less_power(tiny: Any) -> None:
    full, low = (
        api.run("tiny", "words", runtime="plain", catalogue=[tiny.folder], power_state=state)
        for state in ("full", "low")
    )
    assert low.latency_s > full.latency_s
    assert low.energy is not None
    assert full.energy is not None
    assert low.energy.average_w < full.energy.average_w
    assert low.to_dict()["power_state"] == "low"
    assert low.setup.name == "words on tiny at low"


def test_a_mode_has_the_lower_of_its_clock_and_that_of_the_state() -> None:
    """Of modes at 1.3 GHz, at 100 MHz and without a clock, the last and the first have the 420.75 MHz of 15 W."""
    clock = {"source": "me", "status": "assumed"}
    modes = {"fast": {"clock": {"value": "1.3 GHz", **clock}}, "slow": {"clock": {"value": "100 MHz", **clock}},
             "usual": {}}  # fmt: skip
    latency = {"value": "10 us", "source": "me", "status": "assumed"}
    order = {"vision": "slow", "prefill": "fast", "decode": "usual"}
    chip = load_chip("orin-agx-64gb").with_values(
        {"reconfiguration": {"cluster": "gpu", "modes": modes, "latency": latency, "order": order}}
    )
    clocks = {name: chip.in_power_state("15W").in_mode(name).cluster.clock.value for name in modes}
    assert clocks == {"fast": 420.75e6, "slow": 100e6, "usual": 420.75e6}
    assert chip.in_mode("fast").cluster.clock.value == 1.3e9


def test_a_change_of_the_user_comes_after_the_state(tiny: Any) -> None:
    result = api.run("tiny", "words", runtime="plain", catalogue=[tiny.folder], power_state="low",
                     overrides={"clusters.npu.clock": "2 GHz"})  # fmt: skip
    assert result.setup.chip.cluster.clock.value == 2e9
    assert result.setup.chip.cluster.count.value == 1


def test_a_scenario_names_its_state_and_a_command_may_name_another(
    tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.edit("scenarios/drive.yaml", "chip: tiny\n", "chip: tiny\npower_state: low\n")
    assert api.run_scenario("drive", catalogue=[tiny.folder]).setup.chip.cluster.count.value == 1
    assert main(["run", "drive", "--catalogue", str(tiny.folder), "--power-state", "full", "--json"]) == 0
    assert '"power_state": "full"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "state", "known", "hint"),
    [("orin-agx-64gb", "30", "MAXN, 50W, 30W, 15W", "30W"),
     ("thor-u", "30W", "none", "it has none: set clocks one by one"),
     ("orin-x", "30W", "none", "it has none: set clocks one by one")],
)  # fmt: skip
def test_an_unknown_state_is_an_error_with_the_known_ones_and_a_remedy(
    name: str, state: str, known: str, hint: str
) -> None:
    rule = f'chip {name}: must have the power state that is asked for ({known}), got "{state}"'
    with pytest.raises(SpecError, match=re.escape(rule)) as error:
        load_chip(name).in_power_state(state)
    assert hint in str(error.value.hint)


def test_a_state_must_change_something(tiny: Any) -> None:
    tiny.edit(
        "chips/tiny.yaml", "  full: {cluster_clock: {value: 1 GHz, source: me, status: measured}}\n", "  full: {}\n"
    )
    assert "power_states.full: must change a clock, a voltage or what is powered" in tiny.message("chip", "tiny")


def test_the_modes_of_orin_take_less_power_the_lower_they_are() -> None:
    powers = []
    for state in ("15W", "30W", "50W", "MAXN"):
        result = api.run("orin-agx-64gb", "qwen2.5-0.5b", precision="w4a16", prompt_tokens=64, decode_tokens=2,
                         power_state=state)  # fmt: skip
        assert result.energy is not None
        powers.append(result.energy.average_w)
    assert powers == sorted(powers)
    assert powers[0] < 15
