"""A process that simulates points with the fake evaluator, as a command would; its plan comes as JSON."""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from simulator.errors import OutputError
from simulator.exploration import store
from simulator.exploration.runner import Runner
from tests.kill.fake_evaluator import FakeEvaluator


def end_within_line(number: int) -> None:
    """Kills this process when half of the given result line is written."""
    write, num_lines = os.write, 0

    def half(descriptor: int, line: bytes) -> int:
        nonlocal num_lines
        if line.startswith(b'{"key"'):
            num_lines += 1
            if num_lines == number:
                write(descriptor, line[: len(line) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
        return write(descriptor, line)

    os.write = half


def main(plan: dict[str, Any]) -> int:
    store.code_version = lambda: "the same in all runs of a test"  # also if a source file is edited meanwhile
    if plan.get("half_line"):
        end_within_line(plan["half_line"])
    if plan.get("most_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan["most_bytes"], resource.RLIM_INFINITY))
    ends = {int(number): who for number, who in plan.get("ends", {}).items()}
    evaluator = FakeEvaluator(Path(plan["notes"]), ends, on_arrival=plan.get("on_arrival"))
    try:
        with Runner(evaluator, jobs=plan["jobs"], folder=plan["folder"], resume=plan["resume"]) as runner:
            outcomes = runner.simulate([{"number": number} for number in range(plan["points"])])
    except OutputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    print(json.dumps([outcome.values for outcome in outcomes]))
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
