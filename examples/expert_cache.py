"""What does SRAM for experts buy a sparse model, which experts should it keep, and what does a predictor buy?

OLMoE-1B-7B in NVFP4 on a hypothetical Thor with a routing unit. Run it with
`python examples/expert_cache.py`; what it prints is in expert_cache.out. With the name of a picture it draws it, too.
"""

from __future__ import annotations

import sys

import numpy as np

import simulator
from simulator.graph import build_graph
from simulator.report.style import COLOURS, FAINT, MUTED, new_figure, save, settle, styled
from simulator.routing import cache_counts
from simulator.simulation.setup import configure
from simulator.units import parse_quantity

PROMPT, DECODE = 64, 64
EXPERT_BYTES = 3 * 2048 * 1024 * 4.5 / 8
"""Three matrices of 2048 x 1024 at four bits, and a scale of eight bits for every sixteen of them."""
POLICIES = {"lru": "used last", "lru-per-layer": "used last, by layer", "static": "most popular"}
CAPACITIES = ("64 MiB", "128 MiB", "256 MiB", "384 MiB", "448 MiB", "512 MiB", "1 GiB", "2 GiB", "4 GiB")

with_prefetch = simulator.load_chip("hypo-moe").with_values({"routing.cache": None})
chip = with_prefetch.with_values({"routing.prefetch": None})
workload = configure(
    simulator.load_workload("olmoe-1b-7b"), precision="nvfp4", prompt_tokens=PROMPT, decode_tokens=DECODE
)
trace = build_graph(workload).trace
assert trace is not None
steps = np.array([0, *range(PROMPT, PROMPT + DECODE + 1)])  # the prompt fills the cache before the first token


def hit_rate(slots: int, policy: str) -> float:
    """The share of a decoded token's experts that the cache holds."""
    counts = cache_counts(trace, steps, slots, policy)
    return float(counts.hits[:, 1:].sum() / counts.touched[:, 1:].sum())


def draw(path: str) -> None:
    """Hit rate and time of a token over the capacity."""
    with styled():
        figure = new_figure(
            "Popular experts pay from the first megabyte on, the last used ones from a whole token on",
            f"OLMoE-1B-7B in NVFP4 on hypo-moe without prefetch: {DECODE} decoded tokens after {PROMPT} of prompt",
            reserve_legend=True,
        )
        left, right = figure.subplots(1, 2)
        capacities = [parse_quantity(capacity, "B") / 2**20 for capacity in CAPACITIES]
        token_mib = 16 * 8 * EXPERT_BYTES / 2**20
        panels = ((left, {policy: [100 * rate for rate in row] for policy, row in rates.items()}), (right, times))
        for axes, rows in panels:
            axes.axvline(token_mib, color=FAINT, linewidth=2, zorder=0)
            for (policy, title), colour in zip(POLICIES.items(), COLOURS, strict=False):
                axes.plot(capacities, rows[policy], marker="o", color=colour, label=title, clip_on=False)
            axes.set_xscale("log", base=2)
            axes.set_xticks(capacities[:3] + capacities[5:], [*CAPACITIES[:3], *CAPACITIES[5:]])
            axes.minorticks_off()
            axes.set_xlabel("SRAM for experts")
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
        right.set_ylim(top=1.08 * without_ms)
        left.set_ylabel("experts found in the cache, %")
        right.set_ylabel("time of a decoded token, ms")
        left.text(token_mib * 0.96, 96, "experts of one token", color=MUTED, ha="right")
        right.axhline(without_ms, color=MUTED, linestyle=":", linewidth=1.2)
        right.text(capacities[-1], without_ms * 1.01, "without a cache", color=MUTED, ha="right", va="bottom")
        figure.legend(*left.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.01, 0.9), ncols=3)
        settle(figure)
        save(figure, path)


def token_ms(capacity: str, policy: str | None) -> float:
    """Time of a decoded token."""
    variant = chip.with_values({"sram.experts.capacity": capacity, "routing.cache": policy})
    tpot_s = simulator.run(variant, workload).tpot_s
    assert tpot_s is not None
    return 1e3 * tpot_s


slots = [int(parse_quantity(capacity, "B") / EXPERT_BYTES) for capacity in CAPACITIES]
rates = {policy: [hit_rate(count, policy) for count in slots] for policy in POLICIES}
times = {policy: [token_ms(capacity, policy) for capacity in CAPACITIES] for policy in POLICIES}
without_ms = token_ms(CAPACITIES[0], None)

print(f"without a cache a token takes {without_ms:.2f} ms; it uses {16 * 8} experts of {EXPERT_BYTES / 1e6:.1f} MB")
print(f"{'':22}" + "".join(f"{title:>24}" for title in POLICIES.values()))
for row, capacity in enumerate(CAPACITIES):
    cells = [f"{100 * rates[policy][row]:13.1f} % {times[policy][row]:5.2f} ms" for policy in POLICIES]
    print(f"{capacity:>8} {slots[row]:5} experts" + "".join(f"{cell:>24}" for cell in cells))
print("\nwithout a cache, with the experts of the next layer predicted")
for share in (0.0, 0.25, 0.5, 0.75, 1.0):
    hit = {"value": share, "source": "assumption", "status": "assumed"}
    variant = with_prefetch.with_values({"routing.prefetch.hit_rate": hit})
    print(f"{100 * share:8.0f} % right {1e3 * (simulator.run(variant, workload).tpot_s or 0):14.2f} ms")
if len(sys.argv) > 1:
    draw(sys.argv[1])
