"""What does a KV store buy for its square millimetres?

A decode chip gets more and more SRAM for the newest tokens of the KV cache. Each step reads those from SRAM and the
rest from DRAM, so a token takes shorter by exactly the bytes that stay. A cache in 8 bits streams half as much and
needs half of the store, but every element of it is converted on the vector lanes: once all of it is on the chip, that
is what remains of the attention.
Run it with `python examples/kv_store.py [PICTURE.png]`; what it prints is in kv_store.out.
"""

from __future__ import annotations

import sys

import simulator
from simulator.catalog import Catalog
from simulator.ppa.area import area_of

STORES_MIB = (0, 16, 32, 64, 128, 256)
KV_PRECISIONS = ("fp16", "fp8")
SCENARIO = simulator.load_scenario("kv-store")
CHIP = simulator.load_chip(SCENARIO.chip)


def changes(store_mib: int) -> dict[str, str | None]:
    """The chip with a KV store beside the 16 MiB that it has anyway."""
    return {
        "sram.shared.capacity": f"{16 + store_mib} MiB",
        "sram.shared.kv_store": f"{store_mib} MiB" if store_mib else None,
    }


def area_mm2(store_mib: int) -> float:
    """The die with that store."""
    catalog = Catalog()
    chip = catalog.load_chip(SCENARIO.chip, {**SCENARIO.set, **changes(store_mib)})
    technology = catalog.technology_of(chip)
    assert technology is not None
    return area_of(chip, technology).total_mm2


def token_ms(store_mib: int, kv_precision: str) -> tuple[float, float]:
    """Time of a decoded token in milliseconds, and the megabytes that it moves from and to DRAM."""
    scenario = SCENARIO.with_values({"kv_precision": kv_precision, "duration": "1 ms"})
    result = simulator.run_scenario(scenario, overrides=changes(store_mib))
    decode = result.phase("decode")
    assert decode is not None
    assert result.tpot_s is not None
    return 1e3 * result.tpot_s, result.dram_bytes(decode.channel_bytes) / decode.tokens / 1e6


least_mm2 = area_mm2(0)
areas = [area_mm2(store) - least_mm2 for store in STORES_MIB]
rows = {precision: [token_ms(store, precision) for store in STORES_MIB] for precision in KV_PRECISIONS}
print(f"{'KV store, MiB':28}" + "".join(f"{store:9d}" for store in STORES_MIB))
print(f"{'more die area, mm2':28}" + "".join(f"{area:9.1f}" for area in areas))
for precision, points in rows.items():
    print(f"{f'{precision} cache: ms per token':28}" + "".join(f"{time:9.3f}" for time, _ in points))
    print(f"{'  MB of DRAM per token':28}" + "".join(f"{moved:9.1f}" for _, moved in points))

if len(sys.argv) > 1:
    from simulator.report.style import COLOURS, FAINT, MUTED, new_figure, save, settle, styled

    with styled():
        gain = 1 - rows["fp16"][-1][0] / rows["fp16"][0][0]
        title = f"{STORES_MIB[-1]} MiB of KV store make a token {100 * gain:.0f} % shorter, for {areas[-1]:.0f} mm²"
        figure = new_figure(title, "Qwen3-1.7B (W4A16) on hypo-decode, ideal software, 2,048 prompt tokens")
        axes = figure.subplots()
        for (precision, points), colour in zip(rows.items(), COLOURS, strict=False):
            times = [time for time, _ in points]
            axes.plot(areas, times, color=colour, linewidth=2, marker="o", label=f"KV cache in {precision}")
        for area, store, (time, _) in zip(areas, STORES_MIB, rows["fp16"], strict=True):
            axes.annotate(f"{store} MiB", (area, time), xytext=(5, 6), textcoords="offset points")
        axes.set_xlabel("die area of the KV store, mm²")
        axes.set_ylabel("time of a decoded token, ms")
        weights_ms = 1e3 * 1e6 * rows["fp16"][-1][1] / CHIP.dram.sustained_bytes_per_s
        axes.axhline(weights_ms, color=MUTED, linewidth=0.8, linestyle=":")
        axes.annotate("weights alone, at the speed of the DRAM", (0, weights_ms), xytext=(0, 5),
                      textcoords="offset points", color=MUTED)  # fmt: skip
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="upper right")
        settle(figure)
        save(figure, sys.argv[1])
