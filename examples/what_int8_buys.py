"""What does INT8 buy over FP16 on chips that multiply it, that also convert to it, and that do neither?

Run it with `python examples/what_int8_buys.py`; what it prints is in what_int8_buys.out.
"""

from __future__ import annotations

import simulator


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
print("chip                  software   prefill              decode")
for name, chip in chips.items():
    for runtime in ("vllm", "ideal"):
        (prefill, decode), (prefill_8, decode_8) = (
            milliseconds(chip, precision, runtime) for precision in ("fp16", "w8a8")
        )
        print(
            f"{name:20}  {runtime:8}  {prefill:5.1f} ms / {prefill / prefill_8:4.2f}  {decode:5.1f} ms / "
            f"{decode / decode_8:4.2f}"
        )
