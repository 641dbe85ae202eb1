"""Studies: what their files may say, and what is said of those that are wrong."""

from fractions import Fraction
from typing import Any

import pytest

from simulator.catalog import load_study
from simulator.study import OBJECTIVES, Limits
from simulator.study.domain import exact_ratio
from simulator.units import EXAMPLE

SHAPES = "scenarios/shapes.yaml"


def test_a_dimension_is_a_list_or_a_mapping_with_its_source(tiny_catalogue: Any) -> None:
    study = tiny_catalogue.catalog().load_study("shapes")
    assert study.space.layers.values == (1, 2, 4)
    assert (study.space.layers.source, study.space.layers.status) == (None, None)
    assert study.space.ffn_ratio.values == (1, "8/3")
    assert (study.space.ffn_ratio.source, study.space.ffn_ratio.status) == ("other", "press")
    assert study.dimensions == ("layers", "hidden", "ffn_ratio", "kv_heads")
    assert study.num_combinations == 3 * 2 * 2 * 3


def test_axes_have_fixed_sizes_and_a_dense_model_where_nothing_is_said(tiny_catalogue: Any) -> None:
    axes = tiny_catalogue.catalog().load_study("shapes").axes()
    assert axes == {
        "layers": (1, 2, 4), "hidden": (48, 64), "ffn_ratio": (1, "8/3"), "head_dim": (16,),
        "kv_heads": (1, 2, "heads"), "experts": (1,), "top_k": (1,), "shared_experts": (0,),
        "attention_window": (None,), "vocabulary": (1000,), "precision": ("fp16",),
    }  # fmt: skip


def test_the_order_of_the_lines_changes_nothing(tiny_catalogue: Any) -> None:
    before = tiny_catalogue.catalog().load_study("shapes").axes()
    tiny_catalogue.edit(
        SHAPES, "  layers: [1, 2, 4]\n  hidden: [48, 64]\n", "  hidden: [48, 64]\n  layers: [1, 2, 4]\n"
    )
    assert list(tiny_catalogue.catalog().load_study("shapes").axes().items()) == list(before.items())


def test_limits_are_in_base_units_by_objective(tiny_catalogue: Any) -> None:
    study = tiny_catalogue.catalog().load_study("shapes")
    assert study.limits.by_objective() == {"memory": 2**30}
    assert study.applications["door"].by_objective() == {"total": 0.005}
    assert study.with_values({"limits.decode": "2 ms"}).limits.by_objective() == {"decode": 0.002, "memory": 2**30}


def test_what_is_simulated_can_be_limited_and_nothing_else() -> None:
    assert set(Limits.model_fields) == {name for name, row in OBJECTIVES.items() if row.is_simulated}
    assert all(row.unit in EXAMPLE for row in OBJECTIVES.values() if row.is_simulated)
    assert [row.key for row in OBJECTIVES.values()] == ["loss", "prefill_s", "decode_s", "total_s", "memory_bytes"]


def test_a_ratio_is_exact_as_written() -> None:
    assert exact_ratio(2.67) == Fraction(267, 100)
    assert exact_ratio("38/7") == Fraction(38, 7)
    assert exact_ratio(1) == 1


def test_an_override_replaces_a_dimension(tiny_catalogue: Any) -> None:
    study = tiny_catalogue.catalog().load_study("shapes", {"space.layers": [3], "fixed.experts": 4, "fixed.top_k": 2})
    assert study.axes()["layers"] == (3,)
    assert (study.axes()["experts"], study.axes()["top_k"]) == ((4,), (2,))


def wrong(tiny_catalogue: Any, old: str, new: str) -> str:
    """The message about the study after a change."""
    tiny_catalogue.edit(SHAPES, old, new)
    message: str = tiny_catalogue.message("study", "shapes")
    return message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "layers: [1, 2, 4]",
            "layers: [1, 2.5]",
            ":11  space.layers: each value must be a whole number above zero, got 2.5",
        ),
        ("layers: [1, 2, 4]", "layers: [1, 2, 1]", ":11  space.layers: must have each value once, got 1 twice"),
        ("layers: [1, 2, 4]", "layers: []", ":11  space.layers: must have at least one value, got an empty list"),
        ("layers: [1, 2, 4]", "layers: 4", ":11  space.layers: must be a list of values, got 4"),
        ("layers: [1, 2, 4]", "layers: [true]", "each value must be a whole number above zero, got true"),
        (
            "values: [1, 8/3]",
            "values: [1.0, 3/3]",
            'space.ffn_ratio: must have each value once, got "3/3" twice',
        ),
        (
            "values: [1, 8/3]",
            "values: [8/0]",
            'each value must be a number above 0 and at most 1000, or a fraction such as "8/3", got "8/0"',
        ),
        (
            "kv_heads: [1, 2, heads]",
            "kv_heads: [1, head]",
            'each value must be a whole number above zero, or "heads" for as many as there are query heads, got "head"',
        ),
        (
            "  layers: [1, 2, 4]",
            "  layrs: [1, 2, 4]",
            'space.layrs: must be a known field, got "layrs"\n  Hint: did you mean "layers"?',
        ),
        (
            "  head_dim: 16",
            "  head_dim: 16\n  layers: 4",
            ":15  fixed: must have no size that is a dimension, got layers",
        ),
        (
            "  vocabulary: 1000\n",
            "",
            ":10  space: must have vocabulary, unless fixed has; got neither",
        ),
        ("  head_dim: 16\n", "", "space: must have heads or head_dim, unless fixed has; got neither"),
        ("  head_dim: 16\n", "  head_dim: 1.5\n", ":18  fixed.head_dim: must be a whole number above zero, got 1.5"),
        (
            "objectives: [loss, total]",
            "objectives: [loss, totl]",
            'objectives.1: must be one of loss, prefill, decode, total, memory, got "totl"\n'
            '  Hint: did you mean "total"?',
        ),
        (
            "objectives: [loss, total]",
            "objectives: [loss]",
            "objectives: must be two or more of loss, prefill, decode, total, memory, each once, got loss",
        ),
        ("objectives: [loss, total]", "objectives: [loss, loss]", "each once, got loss, loss"),
        (
            "rules: [layers * hidden <= 192]",
            "rules: [layers * hiden <= 192]",
            ':22  rules.0: must speak of sizes, got the name "hiden"\n  Hint: did you mean "hidden"?',
        ),
        (
            "memory: 1 GiB",
            "memory: 1 ms",
            'limits.memory: must be a quantity in B, got "1 ms", which is in s\n'
            '  Hint: write a number and a unit, such as "8 GiB"',
        ),
        (
            "{memory: 1 GiB}",
            "{memry: 1 GiB}",
            'limits.memry: must be a known field, got "memry"\n  Hint: did you mean "memory"?',
        ),
        (
            "door: {total: 5 ms,",
            "door: {",
            "applications.door: must have one limit of prefill, decode, total, memory, got none",
        ),
        (
            "door: {total: 5 ms,",
            "door: {total: 5 ms, decode: 1 ms,",
            "must have one limit of prefill, decode, total, memory, got decode, total",
        ),
        (
            "precision: fp16\n",
            "",
            "precision: must be given here or as a dimension of the space, got neither",
        ),
        (
            "precision: fp16",
            "precision: fp61",
            ":7  precision: must be one of fp32, fp16, bf16, fp8, w8a8, w8a8-static, w8a16, w4a16, w4a8, nvfp4, mxfp4, "
            'mxfp8, int8, int4, q8_0, q4_0, got "fp61"',
        ),
        (
            "  kv_heads: [1, 2, heads]",
            "  kv_heads: [1, 2, heads]\n  precision: [fp16, w8a8]",
            "precision: must be given here or as a dimension of the space, got both",
        ),
        ("chip: tiny", "chip: tine", 'chip: must be a name of the catalogue or a path to a .yaml file, got "tine"'),
        ("chip: tiny", "chip: tiny\nreference: word", '  Hint: did you mean "words"?'),
        (
            "chip: tiny",
            "chip: tiny\nlaw: laws/mine.yaml",
            ":4  law: must be a file that exists, got scenarios/laws/mine.yaml",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place_and_its_remedy(
    old: str, new: str, expected: str, tiny_catalogue: Any
) -> None:
    assert expected in wrong(tiny_catalogue, old, new)


def test_a_law_beside_the_study_is_found_from_anywhere(tiny_catalogue: Any) -> None:
    tiny_catalogue.write("scenarios/law.yaml", "name: law\n")
    tiny_catalogue.edit(SHAPES, "chip: tiny", "chip: tiny\nlaw: law.yaml")
    study = tiny_catalogue.catalog().load_study("shapes")
    assert study.law == str(tiny_catalogue.folder / "scenarios" / "law.yaml")


def test_scenarios_and_studies_share_a_folder_and_are_told_apart(tiny_catalogue: Any) -> None:
    tiny_catalogue.write("scenarios/longer.yaml", "name: longer\nextends: drive\nseed: 1\n")
    tiny_catalogue.write("scenarios/deeper.yaml", "name: deeper\nextends: shapes\nseed: 1\n")
    catalog = tiny_catalogue.catalog()
    studies, scenarios = set(catalog.names("study")), set(catalog.names("scenario"))
    assert studies >= {"shapes", "deeper"}
    assert scenarios >= {"drive", "longer"}
    assert not studies & scenarios
    assert catalog.load_study("deeper").seed == 1
    assert "must be a scenario, got the fields of a study" in tiny_catalogue.message("scenario", SHAPES)
    assert 'Hint: "drive" is the name of a scenario' in tiny_catalogue.message("study", "drive")


def test_a_study_that_extends_another_takes_over_no_source_of_the_values_that_it_replaces(tiny_catalogue: Any) -> None:
    text = 'name: other\nextends: shapes\nspace:\n  layers: [8]\n  ffn_ratio: {values: [2], note: "mine"}\n'
    tiny_catalogue.write("scenarios/other.yaml", text)
    study = tiny_catalogue.catalog().load_study("other")
    assert study.axes()["layers"] == (8,)
    assert study.axes()["hidden"] == (48, 64)
    assert (study.space.ffn_ratio.values, study.space.ffn_ratio.source) == ((2,), None)


def test_the_space_of_the_paper_is_that_of_its_table() -> None:
    study = load_study("plas-orin")
    assert study.dimensions == ("layers", "hidden", "ffn_ratio", "kv_heads", "experts", "top_k")
    assert (study.prompt_tokens, study.decode_tokens, study.precision) == (1024, 16, "fp16")
    limits = {name: application.by_objective() for name, application in study.applications.items()}
    assert limits == {
        "embodied-ai": {"decode": 0.02},
        "autonomous-driving": {"total": 0.1},
        "smart-home": {"total": 0.5},
        "private-serving": {"total": 2.0},
    }
