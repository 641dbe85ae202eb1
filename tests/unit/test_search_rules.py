"""Rules of a study: they mean what Python means, for numbers and arrays, and nothing else can be written."""

import numpy as np
import pytest

from simulator.errors import SpecError
from simulator.study import Rule

NAMES = ("layers", "hidden", "top_k", "experts")
LAYERS = np.array([4.0, 8.0, 12.0])
HIDDEN = np.array([1024.0, 512.0, 700.0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hidden >= 64 * layers", [True, True, False]),
        ("hidden % 128 == 0", [True, True, False]),
        ("hidden // 100 == 7", [False, False, True]),
        ("hidden / layers != 64", [True, False, True]),
        ("4 < layers <= 12", [False, True, True]),
        ("layers == 4 or layers == 12", [True, False, True]),
        ("not layers == 4 and hidden < 600", [False, True, False]),
        ("not (layers == 4 and hidden < 600)", [True, True, True]),
        ("-layers + 10 > 0", [True, True, False]),
        (" layers - 8 >= 0 ", [False, True, True]),
    ],
)
def test_a_rule_means_what_python_means(text: str, expected: list[bool]) -> None:
    rule = Rule.parsed(text, NAMES)
    assert rule.holds({"layers": LAYERS, "hidden": HIDDEN}).tolist() == expected
    values = zip(LAYERS.tolist(), HIDDEN.tolist(), strict=True)
    assert [eval(text.strip(), {"layers": layers, "hidden": hidden}) for layers, hidden in values] == expected
    single = rule.holds({"layers": 4.0, "hidden": 1024.0})
    assert single is expected[0]


def test_columns_broadcast() -> None:
    rule = Rule.parsed("hidden >= 100 * layers", NAMES)
    assert rule.holds({"layers": LAYERS[:, None], "hidden": HIDDEN[None, :]}).shape == (3, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth > 3", 'must speak of sizes, got the name "depth"\n  Hint: known: experts, hidden, layers, top_k'),
        ("layer > 3", 'got the name "layer"\n  Hint: did you mean "layers"?'),
        ("layers + 3", 'must be a comparison, not a number, got "layers + 3"'),
        ("layers", 'not a number, got "layers"'),
        ("True", "must be made of names of sizes and numbers"),
        ("layers and hidden", 'not a number, got "layers"'),
        ("layers ** 2 < 100", 'must calculate with + - * / // %, got "layers ** 2"'),
        ("layers in (1, 2)", 'must be made of names of sizes and numbers, got "(1, 2)"'),
        ("layers is hidden", "must compare with < <= > >= == or !="),
        ("layers < 'a'", "must be made of names of sizes and numbers"),
        ("layers < True", "must be made of names of sizes and numbers"),
        ("layers < 1e400", "must be made of names of sizes and numbers"),
        ("layers < 3j", "must be made of names of sizes and numbers"),
        ("print(layers) < 3", 'must be made of names of sizes and numbers, got "print(layers)"'),
        ("layers.real < 3", "must be made of names of sizes and numbers"),
        ("layers[0] < 3", "must be made of names of sizes and numbers"),
        ("(lambda: 1)() < 3", "must be made of names of sizes and numbers"),
        ("__import__('os').system('x')", "must be made of comparisons, and, or, not"),
        ("layers < 3; hidden", "must be a condition on sizes"),
        ("layers <", 'must be a condition on sizes, got "layers <"\n  Hint: write a condition such as'),
        ("", "must be a condition on sizes"),
        ("layers < 3\x00", "must be a condition on sizes"),
        ("(" * 250 + "layers" + ")" * 240 + " < 3", "must be a condition on sizes"),
        ("layers < 3" + " " * 500, "must have at most 500 characters, got 510"),
    ],
)  # fmt: skip
def test_nothing_but_a_condition_on_sizes_can_be_written(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Rule.parsed(text, NAMES)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["layers < 1 / 0", "layers // 0.0 < 1", "not 1 % 0 == layers"])
def test_no_rule_divides_by_the_number_zero(text: str) -> None:
    with pytest.raises(SpecError, match="must not divide by zero, got"):
        Rule.parsed(text, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "hidden / experts > 5",
        "not hidden / experts < 5",
        "hidden // experts > 5",
        "hidden % experts != 1",
        "experts == 0 or hidden / experts > 5",
        "hidden > 1 / (experts * layers)",
        "hidden / (layers / experts) > 5",
    ],
)
def test_where_a_divisor_is_zero_the_whole_rule_is_false(text: str) -> None:
    """All of these hold for two experts, and quotients by zero that are infinite or no number would keep most."""
    rule = Rule.parsed(text, NAMES)
    columns = {"hidden": np.array([64.0, 64.0, 0.0]), "experts": np.array([2.0, 0.0, 0.0]), "layers": np.ones(3)}
    assert rule.holds(columns).tolist() == [True, False, False]
    assert rule.holds({"hidden": 64.0, "experts": 0.0, "layers": 1.0}) is False


def test_a_product_of_numbers_beyond_all_floats_is_infinite() -> None:
    product = " * ".join(["9007199254740992"] * 22)  # 2^53 each, 2^1166 together
    assert Rule.parsed(f"layers < {product}", NAMES).holds({"layers": LAYERS}).tolist() == [True] * 3
