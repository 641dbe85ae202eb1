"""The space of a study: which points it has, in which order, and what each rule excludes."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from simulator.catalog import load_study
from simulator.errors import SpecError
from simulator.exploration import space as space_module
from simulator.exploration.space import Space


def space_of(tiny_catalogue: Any, **overrides: Any) -> Space:
    return Space.of(tiny_catalogue.catalog().load_study("shapes", {"rules": [], **overrides}))


def test_points_are_the_combinations_that_keep_all_rules_with_the_last_dimension_fastest(tiny_catalogue: Any) -> None:
    space = space_of(tiny_catalogue)
    # 48 / 16 = 3 heads have no 2 KV heads, and 64 * 8 / 3 is no whole width
    expected = [
        (layers, hidden, width, kv_heads)
        for layers, (hidden, heads), ratio, kv in product((1, 2, 4), ((48, 3), (64, 4)), (1, 8 / 3), (1, 2, 0))
        if (kv_heads := kv or heads) and heads % kv_heads == 0 and (width := hidden * ratio) == int(width)
    ]
    columns = [space.columns[name].tolist() for name in ("layers", "hidden", "ffn_width", "kv_heads")]
    assert list(zip(*columns, strict=True)) == expected
    assert len(space) == len(expected) == 21
    assert space.excluded == {"kv_heads divides heads": 3 * 2, "ffn_width is whole": 3 * 3}
    assert space.num_combinations == 36


def test_a_point_has_all_sizes_as_plain_values(tiny_catalogue: Any) -> None:
    space = space_of(tiny_catalogue, **{"fixed.experts": 8, "fixed.top_k": 2})
    # layers 1, hidden 48, ratio 8/3, one KV head: 48 * 8/3 / 2 = 64 wide experts
    index = 2
    assert space.point(index) == {
        "layers": 1, "hidden": 48, "ffn_ratio": 8 / 3, "heads": 3, "head_dim": 16, "kv_heads": 1, "experts": 8,
        "top_k": 2, "shared_experts": 0, "attention_window": None, "vocabulary": 1000, "precision": "fp16",
        "ffn_width": 64, "kv_width": 16, "activation_rate": 0.25,
    }  # fmt: skip
    assert {type(value) for value in space.point(index).values()} == {int, float, str, type(None)}
    assert space.coordinates(index) == {"layers": 1, "hidden": 48, "ffn_ratio": 8 / 3, "kv_heads": 1}
    assert space.described(index) == "layers 1, hidden 48, ffn_ratio 2.66667, kv_heads 1"
    assert space.values("attention_window") == [None] * len(space)


def test_columns_cannot_be_changed(tiny_catalogue: Any) -> None:
    with pytest.raises(ValueError, match="read-only"):
        space_of(tiny_catalogue).columns["layers"][0] = 7


@pytest.mark.parametrize(
    ("overrides", "rule", "count", "points"),
    [
        # four layers and more: 1 of 3 values of layers goes, 36 / 3
        ({"rules": ["layers < 4"]}, "layers < 4", 12, 14),
        # kv_width: 16 or 32 or heads * 16 = 48 or 64; of the six pairs of hidden and kv_heads, four are above 16
        ({"rules": ["kv_width <= 16"]}, "kv_width <= 16", 36 * 4 // 6, 9),
        # 48 / 5 and 64 / 5 are no widths, 48 / 4 and 64 / 4 are; 4 heads may have 1, 2 or 4 KV heads: 3 * (2 + 1) * 3
        ({"fixed.head_dim": None, "space.heads": [4, 5]}, "heads divides hidden", 36, 27),
        # 48 / 32 heads are not whole, 64 / 32 are
        ({"fixed.head_dim": 32}, "head_dim divides hidden", 18, 6),
        # 4 heads of 64 are listed as 4, too: 3 layers * 2 ratios, half of which have no whole width anyway
        ({"space.kv_heads": [1, 4, "heads"]}, 'kv_heads "heads" is none of the numbers listed', 6, 18),
        # of the four pairs (1, 2) goes; 64 * 8/3 / 2 is no width either
        ({"space.experts": [1, 4], "space.top_k": [1, 2]}, "top_k <= experts", 36, 3 * 21),
        ({"space.experts": [1, 4], "space.shared_experts": [0, 1]}, "experts = 1 needs shared_experts = 0", 36, 63),
    ],
)
def test_a_rule_says_how_many_of_all_combinations_it_excludes(
    overrides: dict[str, Any], rule: str, count: int, points: int, tiny_catalogue: Any
) -> None:
    space = space_of(tiny_catalogue, **overrides)
    assert space.excluded[rule] == count
    assert len(space) == points


def test_heads_and_their_width_may_both_be_given(tiny_catalogue: Any) -> None:
    space = space_of(tiny_catalogue, **{"fixed.heads": 2})
    assert set(space.columns["heads"].tolist()) == {2}
    assert set(space.columns["head_dim"].tolist()) == {16}
    assert set(space.columns["kv_width"].tolist()) == {16, 32}


def test_a_window_without_an_end_is_infinite_in_columns(tiny_catalogue: Any) -> None:
    space = space_of(tiny_catalogue, **{"space.attention_window": [512, None]})
    assert set(space.columns["attention_window"].tolist()) == {512.0, np.inf}
    assert space.point(1)["attention_window"] is None
    window = space.point(0)["attention_window"]
    assert (window, type(window)) == (512, int)
    assert "attention_window all" in space.described(1)
    kept = space_of(tiny_catalogue, **{"space.attention_window": [512, None], "rules": ["attention_window > 1000"]})
    assert set(kept.values("attention_window")) == {None}


def test_an_empty_space_says_what_each_rule_excludes_and_which_two_contradict(tiny_catalogue: Any) -> None:
    with pytest.raises(SpecError) as caught:
        space_of(tiny_catalogue, rules=["layers > 2", "hidden < 64", "layers * hidden <= 64"])
    assert str(caught.value) == (
        'study shapes: must have a point left of its 36 combinations; "kv_heads divides heads" excludes 6, '
        '"ffn_width is whole" excludes 9, "layers > 2" excludes 24, "hidden < 64" excludes 18, '
        '"layers * hidden <= 64" excludes 24; "layers > 2" and "layers * hidden <= 64" leave none together\n'
        "  Hint: change one of these rules, or give the sizes that they name other values"
    )


def test_an_empty_space_names_the_one_rule_that_excludes_all(tiny_catalogue: Any) -> None:
    with pytest.raises(SpecError, match='"layers > 9" excludes all\n  Hint: change that rule'):
        space_of(tiny_catalogue, rules=["layers > 9"])


@pytest.mark.parametrize("rule", ["layers / shared_experts < 9", "hidden / shared_experts > 5"])
def test_a_division_by_a_size_of_zero_keeps_no_rule(rule: str, tiny_catalogue: Any) -> None:
    overrides = {"fixed.experts": 4, "space.shared_experts": [0, 1]}
    space = space_of(tiny_catalogue, rules=[rule], **overrides)
    assert set(space.values("shared_experts")) == {1}
    assert space.excluded[rule] == space.num_combinations // 2 == 36


def test_a_division_by_the_number_zero_is_refused(tiny_catalogue: Any) -> None:
    with pytest.raises(SpecError, match=r"rules\.0: must not divide by zero"):
        space_of(tiny_catalogue, rules=["layers < 1 / 0"])


def test_too_many_combinations_are_refused_before_they_are_made(
    tiny_catalogue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_module, "MOST_COMBINATIONS", 35)
    with pytest.raises(SpecError, match="study shapes: must have at most 35 combinations, got 36"):
        space_of(tiny_catalogue)


def test_the_space_of_the_paper_has_its_five_kinds_of_experts_and_whole_heads() -> None:
    space = Space.of(load_study("plas-orin"))
    pairs = set(zip(space.values("experts"), space.values("top_k"), strict=True))
    assert pairs == {(1, 1), (8, 1), (8, 2), (16, 1), (16, 2)}
    # 8 * 9 * 5 * 5 * 8 = 14,400; of 9 widths four have 12, 20, 28 or 36 heads, which 8 does not divide
    assert len(space) == 14_400 - 8 * 4 * 5 * 8 == 13_120


def test_the_fine_space_has_more_than_50_000_points() -> None:
    # 15 depths * 16 ratios * 5 pairs; heads 12, 14 ... 48: 19 numbers, of which 4 divides 10 and 8 divides 5
    assert len(Space.of(load_study("plas-orin-50k"))) == 15 * 16 * 5 * (3 * 19 + 10 + 5) == 86_400
