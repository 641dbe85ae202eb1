"""What may it cost to change the mode of a chip between prefill and decode?

A chip that does not exist takes one shape for prompts and another for answers. A frame goes through both, so it pays
for two switches. The example sweeps what a switch costs and compares with the chip fixed in each of its modes.
Run it with `python examples/mode_switching.py [PICTURE.png]`; what it prints is in mode_switching.out.
"""

from __future__ import annotations

import sys

import simulator

COSTS_MS = (0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
SCENARIO = simulator.load_scenario("mode-switching").with_values({"streams.assistant.rate": "1 Hz"})


def run(cost_ms: float) -> simulator.Result:
    """One frame of the scenario with so long a switch."""
    return simulator.run_scenario(SCENARIO, overrides={"reconfiguration.latency": f"{cost_ms} ms"})


results = [run(cost_ms) for cost_ms in COSTS_MS]
latencies_ms = [1e3 * result.latency_s for result in results]
modes = results[0].modes
assert modes is not None
assert modes.fixed_s is not None
fixed_ms = {mode: 1e3 * seconds for mode, seconds in modes.fixed_s.items() if seconds is not None}
# Beside its latency a switch moves what no longer fits into the SRAM, and what is kept from now on.
best = min(fixed_ms, key=lambda mode: fixed_ms[mode])
break_even_ms = (fixed_ms[best] - latencies_ms[0]) / modes.num_switches

print(f"{'one switch takes, ms':32}" + "".join(f"{cost:7.2f}" for cost in COSTS_MS))
print(f"{'re-configured, ms':32}" + "".join(f"{latency:7.1f}" for latency in latencies_ms))
for mode, latency in fixed_ms.items():
    print(f"{f'fixed in mode {mode}, ms':32}" + f"{latency:7.1f}" * len(COSTS_MS))
print(f"Changing the mode pays as long as one switch takes less than {break_even_ms:.2f} ms;")
print(f"{1e3 * modes.switch_s:.2f} ms per frame go to moving weights and KV, however quick a switch itself is.")
for phase in modes.phases:
    if phase.break_even_s is not None:
        print(
            f"For them alone {phase.phase} must last {1e3 * phase.break_even_s:.2f} ms, and longer for slower switches."
        )

if len(sys.argv) > 1:
    from simulator.report.style import COLOURS, FAINT, MUTED, new_figure, save, settle, styled

    with styled():
        figure = new_figure(
            f"Changing the mode pays while a switch takes less than {break_even_ms:.1f} ms",
            "Qwen3-1.7B (W4A16) on hypo-phase, 2,048 prompt and 16 decoded tokens: a frame by the cost of a switch",
        )
        axes = figure.subplots()
        axes.plot(
            COSTS_MS, latencies_ms, color=COLOURS[0], linewidth=2, marker="o", label="re-configured, two switches"
        )
        for (mode, latency), colour in zip(fixed_ms.items(), COLOURS[1:], strict=False):
            axes.axhline(latency, color=colour, linewidth=2, label=f"fixed in mode {mode}")
        axes.axvline(break_even_ms, color=MUTED, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"break-even, {break_even_ms:.1f} ms", (break_even_ms, min(latencies_ms)), xytext=(4, 0),
            textcoords="offset points", color=MUTED,
        )  # fmt: skip
        axes.set_xlabel("what one switch takes (ms)")
        axes.set_ylabel("latency of a frame (ms)")
        axes.set_xlim(0, COSTS_MS[-1])
        axes.grid(color=FAINT, linewidth=0.6)
        axes.legend(loc="upper left")
        settle(figure)
    save(figure, sys.argv[1])
