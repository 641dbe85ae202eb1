"""Fitting the law: known laws come back, doubts are stated, wrong files are refused with their place."""

import csv
import json

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from simulator.errors import OutputError, SpecError
from simulator.exploration.fit_law import fit_law
from simulator.exploration.law import LossLaw
from simulator.exploration.law_curve import LawCurve
from simulator.exploration.training_runs import read_runs
from simulator.report.law_plot import draw_law_fit, law_fit_figure
from simulator.report.law_sheet import law_sheet, write_law

NOISE_NATS = 0.003
HEADER = "layers,hidden,ffn_ratio,activation_rate,kv_width,loss"
ROW = "24,896,5.43,1,128,3.47"


def true_terms(columns):
    """Table 6 of the paper, but with a stronger KV term, so that the runs can tell it from the floor."""
    return {
        "depth": 9.96 / columns["layers"] ** 1.63,
        "sparsity": 0.031
        * columns["activation_rate"] ** 1.09
        * columns["hidden"] ** 0.33
        / columns["ffn_ratio"] ** 0.17,
        "capacity": 500 / (columns["ffn_ratio"] ** 0.17 * columns["hidden"] ** 0.97),
        "kv": 8.0 / columns["kv_width"] ** 0.6,
        "floor": np.full(len(columns["layers"]), 2.0),
    }


TRUE_COEFFICIENTS = {
    "depth_scale": 9.96, "depth_exponent": 1.63, "sparsity_scale": 0.031, "sparsity_exponent": 1.09,
    "sparsity_width_exponent": -0.33, "capacity_scale": 500, "capacity_width_exponent": 0.97, "ffn_exponent": 0.17,
    "kv_scale": 8.0, "kv_exponent": 0.6, "floor": 2.0,
}  # fmt: skip


def runs(num_runs=120, seed=3, noise=NOISE_NATS):
    """Sizes drawn from the grid of the paper, losses of the true law with noise."""
    rng = np.random.default_rng(seed)
    columns = {
        "layers": rng.choice([4, 8, 12, 16, 20, 24, 28, 32], num_runs),
        "hidden": rng.choice([768, 1024, 1280, 1536, 1792, 2048, 2304, 2560, 3072], num_runs),
        "ffn_ratio": rng.choice([0.5, 0.75, 1, 1.5, 2, 2.67, 4, 5.33], num_runs),
        "activation_rate": rng.choice([1, 0.125, 0.25, 0.0625], num_runs),
        "kv_width": 64 * rng.choice([1, 2, 4, 8, 16], num_runs),
    }
    loss = sum(true_terms(columns).values()) + rng.normal(scale=noise, size=num_runs)
    return columns, loss


def write(path, columns, loss, **more):
    table = {**columns, **more, "loss": loss}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*(np.asarray(values).tolist() for values in table.values()), strict=True))
    return path


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("runs") / "runs.csv", *runs())
    return fit_law(path, resamples=30, seed=1, held_out_fraction=0.25)


def test_the_true_loss_of_runs_that_the_fit_never_saw_is_predicted_within_the_noise(fit):
    """New sizes, no noise: eleven parameters from ninety runs leave an error well below that of one run."""
    columns, loss = runs(num_runs=200, seed=99, noise=0.0)
    error = fit.law.loss(columns) - loss
    assert np.sqrt(np.mean(error**2)) < 0.7 * NOISE_NATS
    assert np.abs(error).max() < 4 * NOISE_NATS


def test_the_intervals_hold_the_true_coefficients(fit):
    """Eleven 90 % intervals, and not independent ones: at least eight must hold the truth."""
    held = [item.name for item in fit.coefficients if item.low <= TRUE_COEFFICIENTS[item.name] <= item.high]
    assert len(held) >= 8, held
    assert {item.name for item in fit.coefficients} == set(TRUE_COEFFICIENTS)
    assert all(item.low <= item.value <= item.high for item in fit.coefficients)


def test_the_well_determined_coefficients_come_back(fit):
    found = {item.name: item.value for item in fit.coefficients}
    for name in ("depth_scale", "depth_exponent", "sparsity_exponent", "capacity_width_exponent", "ffn_exponent"):
        assert found[name] == pytest.approx(TRUE_COEFFICIENTS[name], rel=0.1), name


def test_errors_are_stated_apart_for_runs_that_the_fit_did_not_see(fit):
    assert fit.is_held_out.sum() == fit.held_out.num_runs == 30
    assert fit.fitted.num_runs == 90
    seen = fit.residuals[~fit.is_held_out]
    assert fit.fitted.rmse == pytest.approx(np.sqrt(np.mean(seen**2)))
    assert fit.fitted.mape == pytest.approx(np.mean(np.abs(seen) / fit.runs.loss[~fit.is_held_out]))
    assert fit.held_out.rmse == pytest.approx(NOISE_NATS, rel=0.5)
    assert fit.fitted.r_squared > 0.999


def test_the_same_seed_gives_the_same_fit_and_another_seed_other_intervals(tmp_path):
    path = write(tmp_path / "runs.csv", *runs(num_runs=60))
    first, again, other = (fit_law(path, resamples=3, seed=seed).to_dict() for seed in (5, 5, 6))
    assert first == again
    assert first["coefficients"] != other["coefficients"]


def test_progress_counts_the_resamples(tmp_path):
    calls = []
    fit_law(write(tmp_path / "runs.csv", *runs(num_runs=30)), resamples=3, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_terms_whose_sizes_do_not_vary_are_left_out_and_named(tmp_path):
    """Dense runs of one KV width and one FFN ratio: depth, width and the floor remain."""
    columns, _ = runs(num_runs=40)
    columns = {**columns, "activation_rate": np.ones(40), "kv_width": np.full(40, 128), "ffn_ratio": np.full(40, 4.0)}
    fit = fit_law(write(tmp_path / "dense.csv", columns, sum(true_terms(columns).values())), resamples=3)
    assert [item.name for item in fit.coefficients] == [
        "depth_scale", "capacity_scale", "floor", "depth_exponent", "capacity_width_exponent"
    ]  # fmt: skip
    assert "activation_rate is the same in all runs: the sparsity term is left out" in fit.warnings[1]
    assert "kv_width is the same in all runs: the kv term is left out" in fit.warnings[2]
    assert "ffn_ratio is the same in all runs: the exponents of ffn_ratio are left out" in fit.warnings[0]
    assert fit.law.columns == ("layers", "hidden", "ffn_ratio")
    assert fit.law.unseen(["experts", "kv_heads", "layers"]) == ["experts", "kv_heads"]


def test_a_token_column_adds_its_term(tmp_path):
    """3e3 / tokens^0.4 is 0.3 nats at 1e10 tokens and 0.754 at 1e9."""
    columns, loss = runs(num_runs=60, noise=1e-4)
    tokens = np.random.default_rng(0).choice([1e9, 3e9, 1e10, 3e10], 60)
    fit = fit_law(write(tmp_path / "runs.csv", columns, loss + 3e3 / tokens**0.4, tokens=tokens), resamples=2)
    found = {item.name: item.value for item in fit.coefficients}
    assert found["token_exponent"] == pytest.approx(0.4, rel=0.05)
    fitted_nats = np.ptp(fit.law.loss_terms({**columns, "tokens": tokens})["tokens"])
    assert fitted_nats == pytest.approx(3e3 / 1e9**0.4 - 3e3 / 3e10**0.4, abs=0.002)


def test_a_law_that_the_runs_cannot_tell_apart_is_doubted(tmp_path):
    """The weak KV term of the paper, 0.20 / width^0.05, hides in the floor; and two depths make no curve."""
    columns, _ = runs(num_runs=60)
    columns["layers"] = np.where(columns["layers"] > 16, 24, 8)
    terms = {**true_terms(columns), "kv": 0.20 / columns["kv_width"] ** 0.05}
    loss = sum(terms.values()) + np.random.default_rng(1).normal(scale=0.01, size=60)
    fit = fit_law(write(tmp_path / "runs.csv", columns, loss), resamples=10)
    loose = {item.name for item in fit.coefficients if not item.is_identified}
    assert {"kv_exponent", "depth_exponent"} <= loose
    assert "capacity_width_exponent" not in loose
    assert any(warning.startswith("the runs do not identify") and "kv_exponent" in warning for warning in fit.warnings)
    assert "layers: two different values only; a curve needs at least three" in fit.warnings


def test_the_result_is_plain_json_and_the_law_a_file_that_loads(fit, tmp_path):
    plain = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
    assert plain["schema"] == "roadline.fit-law/1"
    assert plain["runs"] == 120
    assert len(plain["measured"]) == len(plain["predicted"]) == 120
    write_law(fit.law, tmp_path / "mine.yaml")
    assert LossLaw.load(tmp_path / "mine.yaml") == fit.law
    assert fit.law.ranges["layers"].model_dump() == {"low": 4, "high": 32, "status": "measured", "note": None}
    assert fit.runs.sha256 in fit.law.note
    with pytest.raises(SpecError, match=r"a law must end in .yaml, .yml"):
        write_law(fit.law, tmp_path / "mine.txt")


def test_experts_and_heads_say_the_same_as_rates_and_widths(tmp_path):
    direct = read_runs(csv_file(tmp_path, HEADER, ROW, "8,1024,2,0.25,256,3.9"))
    named = read_runs(csv_file(tmp_path, "layers,hidden,ffn_ratio,experts,top_k,head_dim,kv_heads,loss,name",
                               "24,896,5.43,1,1,64,2,3.47,a", "8,1024,2,8,2,64,4,3.9,b"))  # fmt: skip
    assert {name: values.tolist() for name, values in direct.columns.items()} == {
        name: values.tolist() for name, values in named.columns.items()
    }


def csv_file(folder, *lines, end="\n"):
    path = folder / "runs.csv"
    path.write_bytes(end.join([*lines, ""]).encode("utf-8"))
    return path


def test_a_byte_order_mark_windows_lines_spaces_and_empty_lines_are_read(tmp_path):
    runs = read_runs(csv_file(tmp_path, "\ufeff" + HEADER, ROW.replace(",", " , "), "", ROW, end="\r\n"))
    assert runs.columns["layers"].tolist() == [24, 24]
    assert runs.loss.tolist() == [3.47, 3.47]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "runs.csv:1  must have a line of column names and one line per run, got an empty file"),
        ([HEADER], "runs.csv:1  must have one line per run below the column names, got none"),
        (["layers,loss", "4,3"], "runs.csv:1  must have the columns hidden, ffn_ratio, activation_rate (or experts and "
                                 "top_k), kv_width (or head_dim and kv_heads)"),
        ([HEADER.replace("kv_width,", ""), "24,896,5.43,1,3.47"],
         "runs.csv:1  must have the column kv_width (or head_dim and kv_heads)"),
        ([HEADER + ",hiden,lr", ROW + ",1,1"],
         'runs.csv:1  must have known columns, got "hiden"\n  Hint: did you mean "hidden"?'),
        ([HEADER + ",loss", ROW + ",1"], "runs.csv:1  loss: must be the name of one column, got it twice"),
        ([HEADER + ",experts,top_k", ROW + ",8,1"],
         "runs.csv:1  activation_rate: must be given one way: activation_rate (or experts and top_k), got both"),
        ([HEADER, ROW, ROW.replace("896", "wide")],
         'runs.csv:3  hidden: must be a whole number above zero, got "wide"'),
        ([HEADER, "24.5,896,5.43,1,128,3"], 'runs.csv:2  layers: must be a whole number above zero, got "24.5"'),
        ([HEADER, "24,896,5.43,1,128,-3.47"], 'runs.csv:2  loss: must be a number above zero, got "-3.47"'),
        ([HEADER, "24,896,5.43,1,128,nan"], 'runs.csv:2  loss: must be a number above zero, got "nan"'),
        ([HEADER, "24,1_000,5.43,1,128,3"], 'hidden: must be a whole number above zero, got "1_000"'),
        ([HEADER, "24,896,,1,128,3.47"], 'runs.csv:2  ffn_ratio: must be a number above zero, got ""'),
        ([HEADER, "24,896,4,2,128,3.47"], 'runs.csv:2  activation_rate: must be at most 1, got "2"'),
        ([HEADER, "24,896,4,1,128"], "runs.csv:2  must have 6 cells as the first line has, got 5"),
        (["layers,hidden,ffn_ratio,experts,top_k,kv_width,loss", "24,896,4,8,9,128,3"],
         "runs.csv:2  top_k: must be at most experts, 8, got 9"),
        ([HEADER, '24,"896,4,1,128,3'], "must be CSV, got: unexpected end of data"),
    ],
)  # fmt: skip
def test_a_wrong_file_says_where_and_what(tmp_path, monkeypatch, lines, message):
    csv_file(tmp_path, *lines) if lines else (tmp_path / "runs.csv").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as error:
        read_runs(tmp_path / "runs.csv")
    assert message in str(error.value)


def test_all_wrong_cells_are_listed_at_once(tmp_path):
    with pytest.raises(SpecError) as error:
        read_runs(csv_file(tmp_path, HEADER, "x,896,4,1,128,y", ROW, "24,0,4,1,128,3"))
    assert str(error.value).startswith("3 things are wrong:")


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(SpecError, match="must be a CSV file that can be read, got: No such file"):
        read_runs(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(SpecError, match="must be a CSV file in UTF-8, got other bytes"):
        read_runs(tmp_path / "bytes.csv")


def test_two_runs_are_too_few(tmp_path):
    """Everything but the rate varies: eight coefficients, which two runs cannot give."""
    path = csv_file(tmp_path, HEADER, ROW, "8,1024,2,1,256,3.9")
    with pytest.raises(SpecError, match=r"must have more runs than the law has coefficients here: 8 \(.*\), got 2"):
        fit_law(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"resamples": 1}, "resamples: must be at least 2, got 1"),
     ({"held_out_fraction": 1.0}, "held_out_fraction: must be from 0 to below 1, got 1")],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(tmp_path, arguments, message):
    with pytest.raises(SpecError, match=message):
        fit_law(csv_file(tmp_path, HEADER, ROW), **arguments)


def test_the_sheet_states_intervals_errors_and_doubts(fit):
    sheet = law_sheet(fit)
    assert "runs: loss law fitted to runs.csv" in sheet
    assert "fitted: 90 runs, R2 0.99" in sheet
    assert "held out: 30 runs, R2 0.99" in sheet
    assert "intervals from 30 resamples, seed 1" in sheet
    value = next(item for item in fit.coefficients if item.name == "depth_scale")
    assert f"{value.value:.4g}" in sheet
    assert f"{value.low:.4g} to {value.high:.4g}" in sheet
    assert max(map(len, law_sheet(fit, 80).splitlines())) <= 80


def test_the_picture_shows_every_run_once_in_each_half(fit):
    left, right = law_fit_figure(fit).axes
    for axes, across, up in ((left, fit.runs.loss, fit.predicted), (right, fit.predicted, fit.residuals)):
        points = np.concatenate([
            np.asarray(item.get_offsets()) for item in axes.collections if isinstance(item, PathCollection)
        ])  # fmt: skip
        order = np.concatenate([np.flatnonzero(~fit.is_held_out), np.flatnonzero(fit.is_held_out)])
        assert np.allclose(points, np.column_stack([across, up])[order])


def test_the_picture_is_written_the_same_twice_and_only_where_it_can_be(fit, tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_law_fit(fit, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(SpecError, match="a picture must end in"):
        draw_law_fit(fit, tmp_path / "a.gif")
    with pytest.raises(OutputError):
        draw_law_fit(fit, tmp_path / "a.svg" / "b.svg")


def test_the_curvature_knows_how_far_noise_moves_the_coefficients():
    """Loss 9.96 / layers^1.63 + 2 with noise, fitted 150 times: the scatter of the logarithms is the stated error.

    The scatter of 150 fits is itself known to 6 %; 20 % is more than three times that.
    """
    rng = np.random.default_rng(7)
    layers = rng.choice([4.0, 6.0, 8.0, 12.0, 16.0, 24.0], 60)
    constant = dict.fromkeys(("hidden", "ffn_ratio", "activation_rate", "kv_width"), np.ones(60))
    curve = LawCurve.of({"layers": layers, **constant})
    loss = 9.96 / layers**1.63 + 2
    best = curve.fit(loss, rng)
    noisy = [loss + rng.normal(scale=0.005, size=60) for _ in range(150)]
    fits = [curve.solve(sample, best) for sample in noisy]
    scatter = np.std([np.log([*curve.coefficients(fit).values()]) for fit in fits], axis=0)
    stated = np.mean(
        [[*curve.log_errors(fit, sample).values()] for fit, sample in zip(fits, noisy, strict=True)], axis=0
    )
    assert curve.coefficient_names == ("depth_scale", "floor", "depth_exponent")
    assert stated == pytest.approx(scatter, rel=0.2)
