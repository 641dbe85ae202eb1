"""What does INT8 buy over FP16 on chips that multiply it, that also convert to it, and that do neither?

Run it with `python examples/what_int8_buys.py [PICTURE.png]`; what it prints is in what_int8_buys.out.
"""

from __future__ import annotations

import sys

import simulator

RUNTIMES = ("vllm", "ideal")


def milliseconds(chip: simulator.Chip, precision: str, runtime: str) -> tuple[float, float]:
    """Prefill of 512 tokens of Qwen3-4B, and one decoded token."""
    result = simulator.run(chip, "qwen3-4b", runtime=runtime, precision=precision, prompt_tokens=512, decode_tokens=1)
    prefill, decode = result.phase("prefill"), result.phase("decode")
    assert prefill is not None
    assert decode is not None
    return prefill.latency_ticks / 1e9, decode.latency_ticks / 1e9


orin = simulator.load_chip("orin-agx-64gb")
without = orin.model_dump()
del without["clusters"]["gpu"]["matrix"]["native"]["macs_per_cycle"]["int8"]
chips = {
    "multiplies FP16 only": simulator.Chip.model_validate(without),
    "lanes convert INT8": orin,
    "path converts INT8": simulator.load_chip("hypo-int8"),
}
gains: dict[str, list[tuple[float, float]]] = {runtime: [] for runtime in RUNTIMES}
print("chip                  software   prefill              decode")
for name, chip in chips.items():
    for runtime in RUNTIMES:
        (prefill, decode), (prefill_8, decode_8) = (
            milliseconds(chip, precision, runtime) for precision in ("fp16", "w8a8")
        )
        gains[runtime].append((prefill / prefill_8, decode / decode_8))
        print(
            f"{name:20}  {runtime:8}  {prefill:5.1f} ms / {prefill / prefill_8:4.2f}  {decode:5.1f} ms / "
            f"{decode / decode_8:4.2f}"
        )

if len(sys.argv) > 1:
    from simulator.report.style import COLOURS, FAINT, MUTED, new_figure, save, settle, styled

    with styled():
        figure = new_figure(
            "INT8 doubles neither prefill nor decode unless chip and software both convert for nothing",
            "Qwen3-4B on AGX Orin and two variants of it, 512 prompt tokens: how many times as quick as FP16",
        )
        for axes, phase in zip(figure.subplots(1, 2, sharey=True), ("prefill", "decode"), strict=True):
            for place, (runtime, colour) in enumerate(zip(RUNTIMES, COLOURS, strict=False)):
                values = [gain[phase == "decode"] for gain in gains[runtime]]
                at = [number + 0.4 * (place - 0.5) for number in range(len(chips))]
                label = "software that costs nothing" if runtime == "ideal" else runtime
                axes.bar_label(axes.bar(at, values, width=0.38, color=colour, label=label), fmt="%.2f")
            axes.axhline(2, color=MUTED, linewidth=0.8, linestyle=":")
            axes.set_xticks(range(len(chips)), list(chips))
            axes.set_title(phase)
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
        figure.axes[0].set_ylabel("FP16 time over INT8 time")
        figure.axes[0].set_ylim(0, 2.4)
        figure.axes[0].legend(loc="upper left", ncols=2)
        settle(figure)
        save(figure, sys.argv[1])
