"""How much slower does a cabin assistant on Orin get while the CPU moves more and more data?

The slow-down has three regions (as found on Xavier, PCCS, MICRO 2021): nothing while the memory has room, growth while
the CPU takes what the GPU asks for, and a flat end where each of them gets its fair share, whatever the CPU asks for.
Scattered accesses are charged as a controller that serves in order would have it, which is the worst case.
Run it with `python examples/interference_on_orin.py [PICTURE.png]`; what it prints is in interference_on_orin.out.
"""

from __future__ import annotations

import sys
from typing import Any

import simulator

DEMANDS_GB_PER_S = (0.001, 10, 20, 30, 40, 50, 60, 70, 80, 100, 120)
SCENARIO = simulator.load_scenario("interference-orin").with_values(
    {"streams.assistant.decode_tokens": 2, "duration": "1 s"}
)
# Reads of 153 GB/s were measured on this chip, and copies of 183 GB/s: the memory moves more than the GPU reads alone.
MEASURED = {"dram.sustained_fraction": 0.895, "masters.gpu.rate_cap": "153.6 GB/s"}

# name: (traffic of the CPU, changes to the chip)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "CPU copies": ({}, {}),
    "GPU is sure of 70 %": ({}, {"masters.gpu.minimum_share": 0.7}),
    "CPU may move 20 MB per ms": ({}, {"masters.cpu.budget": {"size": "20 MB", "period": "1 ms"}}),
    "64 B in one bank group": ({"pattern": "one-bank-group"}, {}),
}


def run(demand_gb_per_s: float, traffic: dict[str, Any], changes: dict[str, Any]) -> simulator.Result:
    """One frame of the scenario with so much traffic of the CPU."""
    values = {"bandwidth": f"{demand_gb_per_s} GB/s", **traffic}
    scenario = SCENARIO.with_values({f"background.stressor.{name}": value for name, value in values.items()})
    return simulator.run_scenario(scenario, overrides={**MEASURED, **changes})


def slow_downs(traffic: dict[str, Any], changes: dict[str, Any]) -> dict[str, list[float]]:
    """How many times longer each phase takes than with next to no traffic of the CPU."""
    results = [run(demand, traffic, changes) for demand in DEMANDS_GB_PER_S]
    latencies = {
        name: [phase.latency_ticks for result in results if (phase := result.phase(name)) is not None]
        for name in ("prefill", "decode")
    }
    return {name: [ticks / of_phase[0] for ticks in of_phase] for name, of_phase in latencies.items()}


curves = {case: slow_downs(*changes) for case, changes in CASES.items()}
print(f"{'CPU asks for, GB/s':30}" + "".join(f"{demand:6.0f}" for demand in DEMANDS_GB_PER_S))
for case, of_phase in curves.items():
    for phase, slow_down in of_phase.items():
        if phase == "decode" or case == "CPU copies":
            print(f"{f'{phase}, {case}':30.30}" + "".join(f"{value:6.2f}" for value in slow_down))

if len(sys.argv) > 1:
    from simulator.report.style import COLOURS, FAINT, MUTED, new_figure, save, settle, styled

    with styled():
        flat = max(curves["CPU copies"]["decode"])
        title = f"A busy CPU slows a decoded token by up to {flat:.2f} times, the prefill hardly"
        figure = new_figure(
            title, "Qwen3-4B (W4A16) on AGX Orin with 11 cameras and a display, slow-down by CPU traffic"
        )
        axes = figure.subplots()
        axes.plot(
            DEMANDS_GB_PER_S,
            curves["CPU copies"]["prefill"],
            color=COLOURS[7],
            linewidth=2,
            label="prefill, CPU copies",
        )
        for (case, of_phase), colour in zip(curves.items(), COLOURS, strict=False):
            axes.plot(
                DEMANDS_GB_PER_S, of_phase["decode"], color=colour, linewidth=2, marker="o", label=f"decode, {case}"
            )
        # what is left beside the GPU alone, and half of what the cameras and the display leave
        for demand, region in ((0, "room"), (183.3 - 153.6 - 15.7, "growth"), ((183.3 - 15.7) / 2, "fair share")):
            axes.axvline(demand, color=MUTED, linewidth=0.8, linestyle=":")
            axes.annotate(region, (demand, 0.93), xytext=(4, 0), textcoords="offset points", color=MUTED)
        axes.set_xlabel("what the CPU asks for (GB/s)")
        axes.set_ylabel("latency over that without the CPU")
        axes.set_xlim(0, DEMANDS_GB_PER_S[-1])
        axes.set_ylim(bottom=0.9)
        axes.grid(color=FAINT, linewidth=0.6)
        axes.legend(loc="upper left")
        settle(figure)
    save(figure, sys.argv[1])
