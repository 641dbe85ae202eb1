"""The front of the co-design paper's space under its two-number roofline and its loss law, counted independently.

The counts were first found by an enumeration apart from this code, with the formulas of the paper, heads of 64,
FP16, 204.8 GB/s and 42.5 TFLOP/s. That enumeration took each of equal vectors once; a front here holds all of them.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from simulator.catalog import load_chip, load_runtime
from simulator.exploration.law import PLAS_LAW
from simulator.exploration.roofline import Roofline, roofline_front

Columns = dict[str, npt.NDArray[np.float64]]
ROOFLINE = Roofline(42.5e12, 204.8e9, weight_bytes=2, kv_bytes=2)


@cache
def grid() -> Columns:
    """All 14,400 models of table 5, also those whose KV heads do not divide their heads."""
    layers = [4, 8, 12, 16, 20, 24, 28, 32]
    hidden = [768, 1024, 1280, 1536, 1792, 2048, 2304, 2560, 3072]
    pairs = [(1, 1), (8, 1), (8, 2), (16, 1), (16, 2)]
    ratios = [0.5, 0.75, 1, 1.5, 2, 2.67, 4, 5.33]
    rows = [
        (number, width, ratio, experts, top_k, 64 * (kv_heads or width // 64), top_k / experts)
        for number in layers
        for width in hidden
        for experts, top_k in pairs
        for kv_heads in (1, 2, 4, 8, 0)
        for ratio in ratios
    ]
    names = ("layers", "hidden", "ffn_ratio", "experts", "top_k", "kv_width", "activation_rate")
    return dict(zip(names, np.array(rows, dtype=np.float64).T, strict=True))


def distinct(front: npt.NDArray[np.int64], latency_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """One of each group of points with equal latency and loss; both agree to the last digit on this grid."""
    vectors = np.stack([latency_s, PLAS_LAW.loss(grid())], axis=1)[front]
    return front[np.sort(np.unique(vectors, axis=0, return_index=True)[1])]


def counts(front: npt.NDArray[np.int64]) -> dict[str, int]:
    column = {name: values[front] for name, values in grid().items()}
    return {
        "points": len(front),
        "dense": int(np.sum(column["experts"] == 1)),
        "top-1": int(np.sum(column["top_k"] == 1)),
        "16 experts": int(np.sum(column["experts"] == 16)),
        "at most 20 layers": int(np.sum(column["layers"] <= 20)),
        "ratio at most 1": int(np.sum(column["ffn_ratio"] <= 1)),
    }


def test_the_decode_front_has_the_published_traits() -> None:
    latency_s = ROOFLINE.decode_s(grid(), 1024, 16)
    front = roofline_front(PLAS_LAW.loss(grid()), latency_s)
    expected = {"points": 157, "dense": 0, "top-1": 157, "16 experts": 157, "at most 20 layers": 107}
    assert counts(front) == {**expected, "ratio at most 1": 133}


def test_the_total_front_has_the_published_traits() -> None:
    latency_s = ROOFLINE.total_s(grid(), 1024, 16)
    front = roofline_front(PLAS_LAW.loss(grid()), latency_s)
    expected = {"points": 175, "dense": 0, "top-1": 158, "16 experts": 85, "at most 20 layers": 135}
    assert counts(distinct(front, latency_s)) == {**expected, "ratio at most 1": 159}
    # 73 models of 8 experts and top-1 have a twin of 16 experts and top-2: equal in rate, latency and so in loss
    assert len(front) == 175 + 73


def test_the_best_model_as_quick_as_qwen_is_sparse_wide_and_has_a_small_ffn() -> None:
    # 24 layers of 896, 14 heads of 64 of which 2 hold keys and values, a dense FFN of 4864
    sizes = {"layers": 24, "hidden": 896, "ffn_ratio": 4864 / 896, "experts": 1, "top_k": 1, "kv_width": 128}
    qwen = {name: np.array([value], dtype=np.float64) for name, value in sizes.items()}
    loss = PLAS_LAW.loss(grid())
    best = {}
    for name, ours, theirs in (
        ("decode", ROOFLINE.decode_s(grid(), 1024, 16), ROOFLINE.decode_s(qwen, 1024, 16)),
        ("total", ROOFLINE.total_s(grid(), 1024, 16), ROOFLINE.total_s(qwen, 1024, 16)),
    ):
        quick = np.flatnonzero(ours <= theirs[0])
        index = quick[np.argmin(loss[quick])]
        columns = ("layers", "hidden", "experts", "top_k", "ffn_ratio")
        best[name] = (*(grid()[column][index] for column in columns), round(float(loss[index]), 3))
    assert best == {"decode": (24, 2048, 16, 1, 0.5, 3.115), "total": (16, 2304, 8, 1, 0.5, 3.145)}


def test_the_decode_formula_is_the_sum_of_its_steps() -> None:
    one = {name: values[4321:4322] for name, values in grid().items()}
    layers, hidden, ratio, kv_width = (float(one[name][0]) for name in ("layers", "hidden", "ffn_ratio", "kv_width"))
    weights = (2 + 2 * kv_width / hidden + 3 * ratio) * hidden**2
    steps = [layers * (2 * weights + 2 * (1024 + step) * kv_width * 2) / 204.8e9 for step in range(1, 17)]
    assert ROOFLINE.decode_s(one, 1024, 16)[0] == pytest.approx(sum(steps), rel=1e-12)


def test_a_dense_prefill_of_many_tokens_is_bound_by_compute_and_one_of_few_by_weights() -> None:
    sizes = {"layers": 2, "hidden": 1024, "ffn_ratio": 4, "experts": 1, "top_k": 1, "kv_width": 1024}
    one = {name: np.array([value], dtype=np.float64) for name, value in sizes.items()}
    # xi_F = 4 + 4 + 6 * 4 = 32 operations and 16 weights per element of hidden^2
    assert ROOFLINE.prefill_s(one, 1024)[0] == pytest.approx(2 * 1024 * 1024**2 * 32 / 42.5e12, rel=1e-12)
    assert ROOFLINE.prefill_s(one, 8)[0] == pytest.approx(2 * 16 * 1024**2 * 2 / 204.8e9, rel=1e-12)


def test_the_two_numbers_of_a_chip_are_its_dense_peak_and_its_sustained_bandwidth() -> None:
    roofline = Roofline.of(load_chip("orin-agx-64gb"), load_runtime("tensorrt-edge-llm"), "fp16")
    # 16 SM * 1024 MAC * 2 * 1.3 GHz; 256 bit / 8 * 6400 MT/s * 0.75
    assert roofline == Roofline(16 * 1024 * 2 * 1.3e9, 153.6e9, 2, 2)
