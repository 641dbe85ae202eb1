"""The loss law: its published values, its range, what it is silent about, and law files."""

import math
import pickle

import numpy as np
import pytest

from simulator.errors import SpecError
from simulator.exploration.law import PLAS_LAW, LossLaw, perplexity_ratio

QWEN = {"layers": 24, "hidden": 896, "ffn_ratio": 4864 / 896, "activation_rate": 1.0, "kv_width": 128}
"""The sizes of Qwen2.5-0.5B: 2 KV heads of 64."""


def test_the_loss_of_the_shape_of_qwen_is_the_published_one():
    assert PLAS_LAW.loss(QWEN) == pytest.approx(3.4754, abs=0.0005)


def test_the_terms_are_those_of_table_6():
    """By hand: 24^1.63 = 177.7; 896^0.33 = 9.42; 5.43^0.17 = 1.333; 896^0.97 = 730.7; 128^0.05 = 1.275."""
    terms = PLAS_LAW.loss_terms(QWEN)
    assert {name: round(float(value), 3) for name, value in terms.items()} == {
        "depth": 0.056,  # 9.96 / 177.7
        "sparsity": 0.219,  # 0.031 * 9.42 / 1.333
        "capacity": 0.513,  # 500 / (1.333 * 730.7)
        "kv": 0.157,  # 0.20 / 1.275
        "floor": 2.53,
    }


def test_arrays_give_one_loss_per_point_and_numbers_are_repeated():
    columns = {**QWEN, "layers": np.array([4, 24, 32]), "activation_rate": np.array([[1.0], [0.125]])}
    losses = PLAS_LAW.loss(columns)
    assert losses.shape == (2, 3)
    assert losses[0, 1] == pytest.approx(3.4754, abs=0.0005)
    # 0.125^1.09 = 0.1037: all but a tenth of the 0.2191 nats of the sparsity term goes
    assert losses[0, 1] - losses[1, 1] == pytest.approx(0.2191 * (1 - 0.1037), abs=1e-4)
    assert all(term.shape == (2, 3) for term in PLAS_LAW.loss_terms(columns).values())


def test_whole_numbers_of_any_width_give_the_same_loss():
    """Narrow integers must not overflow in the powers."""
    columns = {name: np.array([value]) for name, value in QWEN.items()}
    columns["hidden"], columns["kv_width"] = np.array([896], dtype=np.int16), np.array([128], dtype=np.uint8)
    assert PLAS_LAW.loss(columns)[0] == PLAS_LAW.loss(QWEN)


def test_a_column_that_is_missing_or_not_above_zero_is_named():
    with pytest.raises(SpecError, match=r"law plas: needs the columns layers, .*; missing: hidden, kv_width"):
        PLAS_LAW.loss({name: value for name, value in QWEN.items() if name not in {"hidden", "kv_width"}})
    for bad in (0, -1, math.nan):
        with pytest.raises(SpecError, match=f"law plas: hidden must be above zero, got {bad}"):
            PLAS_LAW.loss({**QWEN, "hidden": np.array([896, bad])})


def test_a_token_term_is_added_and_then_needs_its_column():
    """1e4 / (1e10)^0.4 = 1e4 / 1e4 = 1 nat."""
    law = PLAS_LAW.model_copy(update={"token_scale": 1e4, "token_exponent": 0.4})
    terms = law.loss_terms({**QWEN, "tokens": 1e10})
    assert terms["tokens"] == pytest.approx(1.0)
    assert law.loss({**QWEN, "tokens": 1e10}) == pytest.approx(4.4754, abs=0.0005)
    with pytest.raises(SpecError, match="missing: tokens"):
        law.loss(QWEN)


def test_an_absent_term_needs_no_column():
    law = PLAS_LAW.model_copy(update={"kv_scale": 0.0})
    without = {name: value for name, value in QWEN.items() if name != "kv_width"}
    assert law.loss(without) == pytest.approx(3.4754 - 0.1569, abs=0.0005)
    assert "kv_heads" in law.unseen(["kv_heads", "layers"])


def test_points_outside_the_fitted_sizes_are_counted_by_column():
    """48 layers and 512 wide are outside, the ends of the ranges are inside, also when written with few digits."""
    columns = {**QWEN, "layers": np.array([4, 32, 48]), "hidden": 512, "activation_rate": np.array([1, 1, 0.0625])}
    assert PLAS_LAW.outside_range(columns) == {"layers": 1, "hidden": 1}
    assert PLAS_LAW.range_warnings(columns)[0] == (
        "layers: 1 of 3 points lie outside 4 to 32, the range of the law plas (datasheet); its loss is a guess there"
    )
    assert PLAS_LAW.outside_range(QWEN) == {}


def test_the_range_of_the_ffn_ratio_is_marked_as_assumed():
    assert PLAS_LAW.ranges["ffn_ratio"].status == "assumed"
    assert PLAS_LAW.ranges["kv_width"].status == "inferred"


def test_the_law_says_what_it_is_silent_about():
    dimensions = ["layers", "hidden", "ffn_ratio", "heads", "kv_heads", "head_dim", "experts", "top_k",
                  "shared_experts", "precision", "vocabulary", "attention_window", "tokens"]  # fmt: skip
    assert PLAS_LAW.unseen(dimensions) == [
        "heads", "shared_experts", "precision", "vocabulary", "attention_window", "tokens"
    ]  # fmt: skip


def test_a_lower_loss_is_a_lower_perplexity():
    """The headline of the paper: 50.88 against 63.14, that is 19.42 % less, are 0.2159 nats."""
    assert 1 - perplexity_ratio(3.0, 3.2159) == pytest.approx(0.1942, abs=0.0001)
    assert perplexity_ratio([3.0, 2.0], 2.0).tolist() == [pytest.approx(math.e), 1.0]


def test_a_law_survives_its_file_and_a_pickle(tmp_path):
    path = tmp_path / "mine.yaml"
    law = PLAS_LAW.model_copy(update={"name": "mine", "floor": 0.1 + 0.2, "kv_scale": 1e-7, "note": 'a "b": c\nμ'})
    path.write_text(law.to_yaml(), encoding="utf-8")
    assert LossLaw.load(path) == law
    assert pickle.loads(pickle.dumps(law)) == law


def test_the_published_law_is_loaded_by_its_name():
    assert LossLaw.load("plas") is PLAS_LAW
    with pytest.raises(SpecError, match=r'must be "plas" or a path to a .yaml file, got "chinchilla"'):
        LossLaw.load("chinchilla")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kv_scale: 0.2", "kv_scal: 0.2", "mine.yaml:12  kv_scal: must be a known field"),
        ("floor: 2.53", "floor: -2.53", "mine.yaml:14  floor: must be at least 0, got -2.53"),
        ("floor: 2.53", "floor: much", "mine.yaml:14  floor: must be a number"),
        ("low: 4.0", "low: 40.0", "low: must be at most high, got 40 above 32"),
    ],
)
def test_a_wrong_law_file_says_where_and_what(tmp_path, monkeypatch, old, new, message):
    monkeypatch.chdir(tmp_path)
    text = PLAS_LAW.to_yaml()
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(SpecError) as error:
        LossLaw.load("mine.yaml")
    assert message in str(error.value)
