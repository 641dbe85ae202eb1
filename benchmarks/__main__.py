"""Measures each job several times, each time in a fresh process, and prints medians as a Markdown table.

Seconds depend on the machine; compare ratios within one run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

REPEATS = 5
JOBS = {
    "engine, chain of loads and computes (100 k tasks)": "chain",
    "engine, the same beside four other flows": "shared",
    "Qwen2.5-0.5B, 512 prompt + 128 decoded, Orin": "qwen",
    "demo: Alpamayo 1.5 on Thor, 3 s at 10 Hz": "demo",
}


def machine() -> str:
    """The processor and the interpreter."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def measure(job: str) -> dict[str, float]:
    """Runs one job in a process of its own."""
    run = subprocess.run([sys.executable, "-m", "benchmarks.job", job], capture_output=True, text=True, check=True)
    values: dict[str, float] = json.loads(run.stdout)
    return values


def main() -> None:
    """Prints the table."""
    print(f"Machine: {machine()}. Medians of {REPEATS} runs; min to max in brackets.\n")
    print("| job | tasks | engine, tasks/s | specs to metrics | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    rates: dict[str, float] = {}
    for name, job in JOBS.items():
        runs = [measure(job) for _ in range(REPEATS)]
        rate = [run["tasks"] / run["engine_s"] for run in runs]
        wall = [run["wall_s"] for run in runs]
        memory = statistics.median(run["peak_bytes"] for run in runs)
        rates[job] = statistics.median(rate)
        print(
            f"| {name} | {runs[0]['tasks']:,.0f} | {statistics.median(rate):,.0f} ({min(rate):,.0f} to "
            f"{max(rate):,.0f}) | {statistics.median(wall):.2f} s ({min(wall):.2f} to {max(wall):.2f}) | "
            f"{memory / 2**20:,.0f} MiB |",
            flush=True,
        )
    print(f"\nRatio: sharing bandwidth with four flows takes {rates['chain'] / rates['shared']:.2f} times as long.")


if __name__ == "__main__":
    main()
