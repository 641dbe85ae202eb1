"""Runs each job several times, each time in a fresh process, and prints medians as a Markdown table.

Seconds depend on the machine and its load; compare ratios within one run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.job import JOBS, Figures

REPEATS = 3


def machine() -> str:
    """The processor and the interpreter."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def measure(job: str) -> Figures:
    """Runs one job in a process of its own."""
    run = subprocess.run([sys.executable, "-m", "benchmarks.job", job], capture_output=True, text=True, check=True)
    figures: Figures = json.loads(run.stdout)
    return figures


def shown(value: float) -> str:
    """Three digits, or whole thousands."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main() -> None:
    """Prints the table."""
    print(f"Machine: {machine()}. Medians of {REPEATS} processes; least to most in brackets.\n")
    print("| job | figure | value |")
    print("| --- | --- | --- |")
    for job in JOBS:
        runs = [measure(job.__name__) for _ in range(REPEATS)]
        about = (job.__doc__ or job.__name__).splitlines()[0].rstrip(".")
        for name in runs[0]:
            values = sorted(run[name] for run in runs)
            middle = shown(statistics.median(values))
            print(f"| {about} | {name} | {middle} ({shown(values[0])} to {shown(values[-1])}) |", flush=True)
            about = ""


if __name__ == "__main__":
    main()
