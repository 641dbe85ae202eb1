"""Cost formulas against numbers worked out by hand."""

from __future__ import annotations

import pytest

from simulator.chip import Cluster
from simulator.graph import Attention
from simulator.lowering import cost


def number(value: float) -> dict[str, object]:
    return {"value": value, "source": "test", "status": "assumed"}


@pytest.fixture
def cluster() -> Cluster:
    """Four clusters of 64 MAC per cycle on tiles of 4 x 8 x 2, 16 lanes, 2 special functions, 32 B per cycle."""
    tile = {"tile_m": number(4), "tile_n": number(8), "tile_k": number(2)}
    return Cluster.model_validate(
        {
            "count": number(4),
            "clock": {"value": "1 GHz", "source": "test", "status": "assumed"},
            "matrix": {"native": {"macs_per_cycle": {"int8": number(64), "fp16": number(32)}, **tile}},
            "vector": {"lanes": number(16), "special_per_cycle": number(2)},
            "sram": {
                "capacity": {"value": "1 KiB", "source": "test", "status": "assumed"},
                "port": {"value": "32 B/cycle", "source": "test", "status": "assumed"},
            },
        }
    )


def matrix(
    cluster: Cluster, rows: int, inputs: int, outputs: int, *, fraction: float = 1.0, tile_rows: int = 1
) -> float:
    return cost.matrix_cycles(
        rows, inputs, outputs, cluster=cluster, path=cluster.path("native"), dtype="int8",
        achieved_fraction=fraction, tile_rows=tile_rows,
    )  # fmt: skip


def test_full_tiles_run_at_the_rate_of_all_clusters(cluster: Cluster) -> None:
    # 8 x 32 outputs are 2 x 4 = 8 tiles, two waves of 4 clusters; a tile of 4 x 8 over depth 16 is 512 MAC, 8 cycles
    assert matrix(cluster, 8, 16, 32) == 16
    # the same from the rate: 8 * 16 * 32 MAC over 4 * 64 MAC per cycle
    assert matrix(cluster, 8, 16, 32) == 8 * 16 * 32 / (4 * 64)


def test_a_wave_that_is_not_full_costs_as_much_as_a_full_one(cluster: Cluster) -> None:
    # 5 tiles on 4 clusters are two waves, as 8 tiles are
    assert matrix(cluster, 4, 16, 40) == matrix(cluster, 4, 16, 64) == 16


def test_rows_are_padded_to_the_kernel_tile(cluster: Cluster) -> None:
    # 3 rows fill a native tile of 4; a kernel tile of 16 rows takes four times as long
    assert matrix(cluster, 3, 16, 32) == matrix(cluster, 4, 16, 32) == 8
    assert matrix(cluster, 3, 16, 32, tile_rows=16) == 32


def test_depth_is_split_where_there_are_fewer_tiles_than_clusters(cluster: Cluster) -> None:
    # one tile of 4 x 8 over depth 64: 32 steps of 2; each of 4 clusters takes 8 of them, 4 * 8 * 16 MAC = 512, 8 cycles
    assert matrix(cluster, 4, 64, 8) == 8
    # with depth 4 there are only two steps of 2, so two clusters work: 4 * 8 * 2 MAC = 64, 1 cycle
    assert matrix(cluster, 4, 4, 8) == 1


def test_a_kernel_that_reaches_half_of_the_peak_takes_twice_as_long(cluster: Cluster) -> None:
    assert matrix(cluster, 8, 16, 32, fraction=0.5) == 32


def test_vector_work_takes_the_slowest_of_operations_specials_and_operands(cluster: Cluster) -> None:
    assert cost.vector_cycles(640, 0, 0, cluster) == 10  # 640 / (16 lanes * 4)
    assert cost.vector_cycles(640, 160, 0, cluster) == 20  # 160 / (2 * 4)
    assert cost.vector_cycles(640, 160, 3840, cluster) == 30  # 3840 B / (32 B * 4)


def test_a_single_row_runs_on_the_lanes_at_one_mac_each(cluster: Cluster) -> None:
    assert cost.vector_matrix_cycles(1, 64, 32, cluster) == 64 * 32 / (16 * 4)


def test_query_heads_of_one_key_head_fill_a_tile_together(cluster: Cluster) -> None:
    # decode: 8 query heads on 2 key heads are 4 rows per key head, a full tile of 4: no padding
    attention = Attention("a", (), queries=1, cached_keys=100, own_keys=0, heads=8, kv_heads=2, head_dim=16,
                          is_causal=False)  # fmt: skip
    macs = 8 * 100 * 2 * 16
    cycles = cost.attention_matrix_cycles(
        attention, cluster=cluster, path=cluster.path("native"), dtype="fp16", achieved_fraction=1.0
    )
    assert cycles == macs / (32 * 4)
    # without sharing, one row per key head is padded to four
    alone = Attention("a", (), queries=1, cached_keys=100, own_keys=0, heads=8, kv_heads=8, head_dim=16,
                      is_causal=False)  # fmt: skip
    padded = cost.attention_matrix_cycles(
        alone, cluster=cluster, path=cluster.path("native"), dtype="fp16", achieved_fraction=1.0
    )
    assert padded == 4 * cycles


def test_softmax_takes_one_exponential_per_score(cluster: Cluster) -> None:
    # causal, 4 rows: 1 + 2 + 3 + 4 = 10 pairs, 8 heads: 80 exponentials at 2 * 4 per cycle; 320 operations at 64
    attention = Attention("a", (), queries=4, cached_keys=0, own_keys=4, heads=8, kv_heads=8, head_dim=16,
                          is_causal=True)  # fmt: skip
    assert cost.softmax_cycles(attention, cluster) == 10
