"""What the KV store keeps: newest tokens, sinks, and what leaves for DRAM, by hand."""

from __future__ import annotations

import numpy as np
import pytest

import simulator
from simulator.catalog import load_chip, load_runtime
from simulator.chip import Chip, Split
from simulator.errors import SpecError
from simulator.graph import Attention, CacheWrite
from simulator.lowering import Platform
from simulator.lowering.kernel import kernel_work
from simulator.lowering.kernel_work import Kept, KernelWork
from simulator.precision import precision
from simulator.units import TICKS_PER_SECOND

KEY_BYTES = 2 * 2 * 8 * 2  # key and value of 2 heads of 8 elements of 2 bytes


def work(operator: Attention | CacheWrite, kept: Kept) -> KernelWork:
    platform = Platform(load_chip("hypo-decode"), load_runtime("ideal"))
    return kernel_work([operator], platform=platform, body=precision("fp16"), kept=kept)


def attention(seen: object, window: int | None) -> Attention:
    return Attention("a", (), queries=1, cached_keys=seen, own_keys=0, heads=4, kv_heads=2, head_dim=8,
                     is_causal=False, window=window)  # type: ignore[arg-type]  # fmt: skip


def write(context: object, window: int | None, tokens: int = 1) -> CacheWrite:
    return CacheWrite("c", (), tokens=tokens, kv_heads=2, head_dim=8, context=context, window=window)  # type: ignore[arg-type]


def test_what_is_seen_and_kept_comes_from_sram_and_the_rest_from_dram() -> None:
    read = work(attention(np.array([5, 10, 15]), None), Kept(kv_tokens=10, kv_sinks=3, far_kv=1.0))
    assert list(read.cache_read_bytes) == [0, 0, 5 * KEY_BYTES]
    assert list(read.sram_bytes) == [5 * KEY_BYTES, 10 * KEY_BYTES, 10 * KEY_BYTES]


def test_what_lies_beside_the_multipliers_passes_no_port() -> None:
    read = work(attention(8, None), Kept(kv_tokens=10, far_kv=0.25))
    assert read.sram_bytes == 2 * KEY_BYTES
    assert read.cache_read_bytes == 0


@pytest.mark.parametrize(("sinks", "missing"), [(0, 2), (3, 5), (10, 12), (20, 12)])
def test_a_full_window_does_not_see_the_sinks(sinks: int, missing: int) -> None:
    # a window of 12 and a store of 10: without sinks 2 of the 12 come from DRAM, and every sink displaces one more
    read = work(attention(12, 12), Kept(kv_tokens=10, kv_sinks=sinks))
    assert read.cache_read_bytes == missing * KEY_BYTES


def test_a_window_that_is_not_full_sees_the_sinks() -> None:
    assert work(attention(9, 12), Kept(kv_tokens=10, kv_sinks=3)).cache_read_bytes == 0


def test_a_token_leaves_for_dram_with_every_new_one_once_the_store_is_full() -> None:
    leaving = work(write(np.array([9, 10, 11, 12]), None), Kept(kv_tokens=10)).cache_write_bytes
    assert list(leaving) == [0, 0, KEY_BYTES, KEY_BYTES]


def test_a_prefill_keeps_its_newest_tokens_and_writes_the_others() -> None:
    assert work(write(30, None, tokens=30), Kept(kv_tokens=10)).cache_write_bytes == 20 * KEY_BYTES
    assert work(write(8, None, tokens=8), Kept(kv_tokens=10)).cache_write_bytes == 0


def test_what_the_store_takes_in_passes_its_port_as_far_as_it_lies_behind_it() -> None:
    """What adds to the store: new tokens that displace none, and of a prompt those that stay."""
    each = work(write(np.array([9, 10, 11, 12]), None), Kept(kv_tokens=10, far_kv=1.0)).sram_written_bytes
    assert list(each) == [KEY_BYTES, KEY_BYTES, 0, 0]
    assert work(write(30, None, tokens=30), Kept(kv_tokens=10, far_kv=1.0)).sram_written_bytes == 10 * KEY_BYTES
    assert work(write(8, None, tokens=8), Kept(kv_tokens=10, far_kv=0.25)).sram_written_bytes == 2 * KEY_BYTES
    assert work(write(8, None, tokens=8), Kept(kv_tokens=10)).sram_written_bytes == 0
    assert work(write(8, None, tokens=8), Kept()).sram_written_bytes == 0


def test_a_prompt_that_stays_in_a_shared_store_takes_as_long_as_its_port_does() -> None:
    """28 layers of 2 * 8 * 128 elements of 2 bytes, 64 tokens: 7,340,032 bytes at 1 MB/s."""
    slow = {"capacity": "256 MiB", "bandwidth": {"value": "1 MB/s", "source": "test", "status": "assumed"}}
    chip = load_chip("hypo-decode").with_values(
        {"sram.shared.kv_store": "100 MiB", **{f"sram.shared.{name}": value for name, value in slow.items()}}
    )
    result = simulator.run(chip, "qwen3-0.6b", prompt_tokens=64, decode_tokens=1)
    cache_bytes = 28 * 2 * 8 * 128 * 2 * 64
    assert result.phases[0].latency_ticks / TICKS_PER_SECOND == pytest.approx(cache_bytes / 1e6, rel=0.01)


def test_what_a_window_no_longer_sees_is_never_written() -> None:
    assert work(write(10, 10), Kept(kv_tokens=10)).cache_write_bytes == 0
    assert work(write(10, 10), Kept(kv_tokens=10, kv_sinks=1)).cache_write_bytes == KEY_BYTES  # it is still seen


def with_sram(**values: object) -> Chip:
    return load_chip("hypo-phase").with_values({f"sram.shared.{name}": value for name, value in values.items()})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": {"kv": 0.7, "weights": 0.4}}, "shares must sum to at most 1, got 1.1"),
        ({"split": {"kv": 1.2}}, "sram.shared.split.kv"),
        ({"kv_store": "97 MiB"}, "kv_store: must be at most the capacity"),
        ({"kv_store": "40 MiB", "split": {"weights": 0.6}}, "what the split leaves of"),
        ({"kv_store": "4 MiB", "split": {"kv": 0.1}}, "must not be given beside split.kv"),
        ({"kv_store": "4"}, "kv_store"),
        ({"kv_sinks": -1}, "kv_sinks"),
    ],
)
def test_a_plan_that_is_more_than_the_sram_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        with_sram(**values)


def test_shares_whose_sum_is_rounded_up_are_not_more_than_everything() -> None:
    assert 0.05 + 0.55 + 0.3 + 0.1 > 1
    Split(activations=0.05, weights=0.55, kv=0.3, experts=0.1)
    with pytest.raises(ValueError, match="shares must sum to at most 1"):
        Split(activations=0.05, weights=0.55, kv=0.3, experts=0.100001)


def in_modes(**modes: dict[str, object]) -> Chip:
    return load_chip("hypo-phase").with_values({f"reconfiguration.modes.{name}": mode for name, mode in modes.items()})


def test_a_kv_store_beside_the_share_of_a_mode_is_refused() -> None:
    # the decode mode of the chip gives 0.4 of the level to KV, its prefill mode all of it to activations
    changes = {"reconfiguration.modes.prefill.split.shared.activations": 0.2, "sram.shared.kv_store": "8 MiB"}
    with pytest.raises(SpecError, match=r"modes.decode.split.shared: kv_store: must not be given beside split.kv"):
        load_chip("hypo-phase").with_values(changes)


def test_a_kv_store_that_does_not_fit_the_split_of_a_mode_is_refused() -> None:
    with pytest.raises(SpecError, match=r"modes.prefill.split.shared: kv_store: must be at most what the split leaves"):
        with_sram(kv_store="64 MiB")


def test_modes_may_keep_things_in_one_shared_level_only() -> None:
    chip = load_chip("hypo-phase").model_dump()
    chip["sram"]["other"] = {"capacity": {"value": "8 MiB", "source": "test", "status": "assumed"}}
    chip["reconfiguration"]["modes"]["prefill"]["split"]["other"] = {"weights": 1.0}
    with pytest.raises(ValueError, match="only one shared level may keep weights, kv or experts, got other, shared"):
        Chip.model_validate(chip)


def test_a_mode_needs_a_native_path() -> None:
    path = load_chip("hypo-phase").cluster.matrix["native"].model_dump()
    with pytest.raises(SpecError, match='must have a path named "native", got legacy'):
        in_modes(decode={"matrix": {"legacy": path}})


def test_sinks_need_a_store() -> None:
    with pytest.raises(SpecError, match="kv_sinks: must be 0 on a level without a KV store"):
        load_chip("hypo-decode").with_values({"sram.shared.kv_sinks": 4})
