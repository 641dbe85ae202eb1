"""Where does the front of the event-level model differ from that of a two-number roofline, and why?

Searches the space of the co-design paper on Orin for the least loss at each total latency. Run it with
`python examples/front_against_roofline.py`; what it prints is in front_against_roofline.out.
"""

from __future__ import annotations

import numpy as np

import simulator
from simulator.exploration.roofline import Roofline, roofline_front

TITLES = ("models", "MoE", "top-1", "r <= 1", "layers <= 20", "16 experts", "8 experts")

study = simulator.load_study("plas-orin")
chip, runtime = simulator.load_chip(study.chip), simulator.load_runtime(study.runtime)
columns = simulator.search(study, objectives=["loss", "total"]).space.columns


def shares(front: np.ndarray) -> list[str]:
    """How a front is made up."""
    of = {name: columns[name][front] for name in ("experts", "top_k", "ffn_ratio", "layers")}
    parts = (of["experts"] > 1, of["top_k"] == 1, of["ffn_ratio"] <= 1, of["layers"] <= 20,
             of["experts"] == 16, of["experts"] == 8)  # fmt: skip
    return [str(len(front)), *(f"{100 * part.mean():.0f} %" for part in parts)]


print(f"{'front':22}" + "".join(f"{title:>14}" for title in TITLES))
roofline = Roofline.of(chip, runtime, "fp16")
tokens = (study.prompt_tokens, study.decode_tokens)
latencies = {
    "prefill": roofline.prefill_s(columns, tokens[0]),
    "decode": roofline.decode_s(columns, *tokens),
    "total": roofline.total_s(columns, *tokens),
}
for objective, latency_s in latencies.items():
    result = simulator.search(study, objectives=["loss", objective])
    loss = result.bounds["loss"]
    by_roofline = roofline_front(loss, latency_s)
    print(f"{objective + ', simulated':22}" + "".join(f"{share:>14}" for share in shares(result.front)))
    print(f"{objective + ', roofline':22}" + "".join(f"{share:>14}" for share in shares(by_roofline)))
    print(f"{'  on both':22}{len(np.intersect1d(result.front, by_roofline)):>14}")

print()
for budget_s in (0.06, 0.1, 0.2, 0.5):
    within = np.flatnonzero(latencies["total"] <= budget_s)
    picked = int(within[np.argmin(loss[within])])
    simulated_s = result.evaluator.simulate(result.space.point(picked))["total_s"]
    front = result.front[result.exploration.values["total_s"][result.front] <= budget_s]
    best = int(front[np.argmin(loss[front])])
    print(f"Within {budget_s * 1e3:.0f} ms the roofline picks {result.space.described(picked)}:")
    print(f"  it takes {simulated_s * 1e3:.0f} ms. What keeps the budget is {result.space.described(best)}.")
