"""The tables of families say what the configuration classes of `transformers` say."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.importers.config import Config
from simulator.importers.decoders import DECODERS
from simulator.importers.ignored import ANY, TOWER
from simulator.importers.model import read_model
from simulator.importers.towers import TOWERS

transformers = pytest.importorskip("transformers")

OF_THEIR_OWN = {"minicpm", "internlm2", "intern_vit_6b"}  # their classes come with the weights


def class_values(model_type: str) -> dict[str, Any]:
    """What a configuration class fills in."""
    values: dict[str, Any] = transformers.AutoConfig.for_model(model_type).to_dict()
    return values


@pytest.mark.parametrize("family", sorted(DECODERS.keys() - OF_THEIR_OWN))
def test_what_a_family_fills_in_is_what_its_class_fills_in(family: str) -> None:
    values = class_values(family)
    names = {"hidden_act": "hidden_activation", "sliding_window_pattern": "_sliding_window_pattern"}
    for key, value in DECODERS[family].defaults.items():
        known = key if key in values else names.get(key, key)
        if known in values:
            assert values[known] == value, key


@pytest.mark.parametrize("family", sorted(TOWERS.keys() - OF_THEIR_OWN))
def test_what_a_tower_fills_in_is_what_its_class_fills_in(family: str) -> None:
    values = class_values(family)
    for key, value in TOWERS[family][1].items():
        found = values[key]
        assert (list(found) if isinstance(found, tuple) else found) == value, key


@pytest.mark.parametrize("family", sorted(DECODERS.keys() - OF_THEIR_OWN))
def test_every_key_of_a_class_is_read_or_known_to_be_free(family: str) -> None:
    values = class_values(family) | ({"num_experts_per_tok": 2} if family == "deepseek_v2" else {})
    model = read_model(Config(values, "config.json"))
    assert model.unknown() == ()


@pytest.mark.parametrize("family", sorted(TOWERS.keys() - OF_THEIR_OWN))
def test_every_key_of_a_towers_class_is_read_or_known_to_be_free(family: str) -> None:
    values = class_values(family)
    if family == "internvl_vision":
        values["attention_bias"] = True
    model = read_model(Config(values, "config.json"))
    assert model.unknown() == ()
    assert TOWER >= ANY
