"""What a user is told about SRAM shares, modes, partitions and dies that do not go together."""

from __future__ import annotations

from typing import Any

import pytest

import simulator
from simulator.errors import SpecError

OVERFULL = {"activations": 0.5, "weights": 0.4, "kv": 0.2}


@pytest.mark.parametrize(
    ("chip", "changes", "told"),
    [
        (
            "mach-m100",
            {"sram.ccb.split": OVERFULL},
            "sram.ccb.split: shares must sum to at most 1, got 1.1 (activations 0.5, weights 0.4, kv 0.2)",
        ),
        (
            "mach-m100",
            {"clusters.npu.sram.split": {"streams": 0.5, "activations": 0.4, "kv": 0.2}},
            "clusters.npu.sram.split: shares must sum to at most 1, got 1.1 (activations 0.4, kv 0.2, streams 0.5)",
        ),
        (
            "hypo-phase",
            {"reconfiguration.modes.decode.split": {"shared": OVERFULL}},
            "reconfiguration.modes.decode.split.shared: shares must sum to at most 1, got 1.1 "
            "(activations 0.5, weights 0.4, kv 0.2)",
        ),
        (
            "mach-m100",
            {"sram.ccb.kv_store": "33 MiB"},
            "sram.ccb.kv_store: must be at most the capacity, 32 MiB, got 33 MiB",
        ),
        (
            "mach-m100",
            {"sram.ccb.split": {"activations": 0.5}, "sram.ccb.kv_store": "17 MiB"},
            "sram.ccb.kv_store: must be at most what the split leaves of 32 MiB, 16 MiB, got 17 MiB",
        ),
        (
            "hypo-phase",
            {"reconfiguration.cluster": "gpu"},
            'reconfiguration.cluster: must be the accelerator "npu", got "gpu"',
        ),
        (
            "hypo-phase",
            {"reconfiguration.rule.above": "fast"},
            'reconfiguration.rule.above: must name one of the modes prefill, decode, got "fast"',
        ),
        (
            "hypo-phase",
            {"reconfiguration.rule": None, "reconfiguration.order": {"prefill": "fast"}},
            'reconfiguration.order.prefill: must name one of the modes prefill, decode, got "fast"',
        ),
        (
            "hypo-phase",
            {"reconfiguration.rule": None, "reconfiguration.order": {"train": "decode"}},
            'reconfiguration.order.train: must be one of vision, prefill, decode, action, network, got "train"',
        ),
        (
            "hypo-phase",
            {"reconfiguration.order": {"prefill": "decode"}},
            "reconfiguration: must have either an order or a rule, got both",
        ),
        (
            "hypo-phase",
            {"reconfiguration.rule": None},
            "reconfiguration: must have either an order or a rule, got neither",
        ),
        (
            "hypo-phase",
            {"reconfiguration.modes.decode.split": {"l2": {"activations": 0.5}}},
            'reconfiguration.modes.decode.split: must name shared SRAM levels (shared), got "l2"',
        ),
        (
            "hypo-phase",
            {"reconfiguration.rule": None, "reconfiguration.order": {"prefill": "decode"}},
            "reconfiguration.modes.prefill: no order or rule uses it",
        ),
        (
            "hypo-phase",
            {"reconfiguration.rule": None, "reconfiguration.order": {}},
            "reconfiguration.order: must name the mode of at least one phase",
        ),
        (
            "hypo-phase",
            {
                "clusters.npu.sram.split": {"streams": 0.5, "activations": 0.25},
                "clusters.npu.sram.kv_store": "64 KiB",
                "reconfiguration.modes.decode.local_split": {"streams": 0.5, "kv": 0.25},
            },
            "reconfiguration.modes.decode.local_split: kv_store: must not be given beside split.kv, which says the "
            "same as a share",
        ),
        ("mach-m100", {"masters": {"cpu": {}}}, 'masters: must have an entry "npu" for the accelerator'),
        (
            "hypo-phase",
            {"sram.shared.split": {"weights": 0.9}},
            "sram.shared.split: is never used, every mode has its own",
        ),
        (
            "mach-m100",
            {"partitions": {"driving": {"clusters": 32}, "cockpit": {"clusters": 17}}},
            "partitions: must have at most the 48 clusters of the accelerator, got 49",
        ),
        (
            "mach-m100",
            {"partitions": {"driving": {"clusters": 0}}},
            "partitions.driving.clusters: must be above 0, got 0",
        ),
        ("dual-orin-x", {"dies.link": "nvlink"}, 'dies.link: must name one of the links (pcie, c2c), got "nvlink"'),
        ("dual-orin-x", {"dies.count": 1}, "dies.count: must be at least 2, got 1"),
    ],
)
def test_a_chip_whose_places_do_not_go_together_is_refused(chip: str, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as error:
        simulator.load_chip(chip).with_values(changes)
    assert error.value.message.partition("  ")[2] == told


def test_the_shares_of_a_level_are_those_of_every_mode_that_has_none_of_its_own() -> None:
    chip = simulator.load_chip("hypo-phase").with_values(
        {"reconfiguration.modes.decode.split": {}, "sram.shared.split": {"weights": 0.9}}
    )
    splits = {name: chip.in_mode(name).sram["shared"].split for name in ("prefill", "decode")}
    assert {name: split.weights for name, split in splits.items() if split is not None} == {"prefill": 0, "decode": 0.9}


@pytest.mark.parametrize(
    ("scenario", "changes", "told"),
    [
        (
            "driving-and-cockpit-m100",
            {"streams.driving.partition": "drivin"},
            "streams.driving.partition: must name one of the partitions of chip mach-m100 (driving, cockpit), "
            'got "drivin"',
        ),
        (
            "two-orins",
            {"streams.driving.partition": "left"},
            'streams.driving.partition: must name one of the partitions of chip dual-orin-x (none), got "left"',
        ),
        (
            "driving-and-cockpit-m100",
            {"streams.assistant.partition": None},
            'chip mach-m100: must run all streams of a die in partitions or none, got partition "driving" '
            "beside a stream that takes all clusters",
        ),
        (
            "two-orins",
            {"streams.driving.die": 2},
            "streams.driving.die: must be from 0 to 1 on chip dual-orin-x, got 2 for vision",
        ),
        (
            "two-orins",
            {"streams.driving.die": {"prefill": -1}},
            "streams.driving.die: must be from 0 to 1 on chip dual-orin-x, got -1 for prefill",
        ),
        (
            "driving-and-cockpit-m100",
            {"streams.driving.die": 1},
            "streams.driving.die: must be 0 on chip mach-m100, got 1 for vision",
        ),
        (
            "two-orins",
            {"streams.driving.die": {"decode": 1}},
            "streams.driving.die: must name phases of workload pi0.5 (vision, prefill, action), got decode",
        ),
    ],
)
def test_a_stream_in_a_place_that_is_not_there_is_refused(scenario: str, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as error:
        simulator.run_scenario(simulator.load_scenario(scenario).with_values(changes))
    prefix = "" if told.startswith("chip") else f"scenario {scenario}: "
    assert error.value.message == prefix + told


def test_a_slip_in_the_name_of_a_partition_is_put_right() -> None:
    scenario = simulator.load_scenario("driving-and-cockpit-m100").with_values({"streams.driving.partition": "drivin"})
    with pytest.raises(SpecError) as error:
        simulator.run_scenario(scenario)
    assert error.value.hint == 'did you mean "driving"?'
