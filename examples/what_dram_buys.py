"""How much faster does a decoded token get with more DRAM bandwidth, and what limits it then?

Run it with `python examples/what_dram_buys.py`; what it prints is in what_dram_buys.out.
"""

from __future__ import annotations

import simulator

chip = simulator.load_chip("thor-t5000")
print("DRAM rate     token      largest cause on the critical path")
for rate in ("6400 MT/s", "8533 MT/s", "12800 MT/s", "25600 MT/s", "102400 MT/s"):
    variant = chip.with_values({"dram.rate": rate})
    result = simulator.run(variant, "qwen3-4b", precision="nvfp4", prompt_tokens=512, decode_tokens=2)
    decode = result.phase("decode")
    assert decode is not None
    assert result.tpot_s is not None
    print(f"{rate:12}  {result.tpot_s * 1e3:5.2f} ms   {result.phase_limit(decode)}")
