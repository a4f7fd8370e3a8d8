#!/usr/bin/env python3
"""How much slower the demo trains beside other programs: python benchmarks/busy.py [--rounds N]

A step of the demo's (sixteen pairs of the embedded model, errors of the reference looked up) is timed alone and beside
as many busy loops as there are cores, in turn, by one process that waits as the command's does (OMP_WAIT_POLICY); the
ratio is taken within each round. It says something on a machine that is otherwise idle alone: the load before is said.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
STEPS = 3  # of a time
# Times steps whenever a line comes.
STEPPER = """
import sys, torch
from rushes.lab.shapes import SHAPES
from rushes.lab.step_cost import StepClock
device = torch.device("cpu")
clock = StepClock(SHAPES["tiny"].make(device, torch.float32), SHAPES["tiny"], device)
step = clock.steps()["pair_cached"]
clock.seconds(step)
for line in sys.stdin:
    print(min(clock.seconds(step) for _ in range(int(line))), flush=True)
"""


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute without end."""
    loops = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    paths = os.pathsep.join(filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH")]))
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONPATH": paths}
    environment.pop("OMP_NUM_THREADS", None)  # as many as there are cores
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", STEPPER], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None

        def step() -> float:
            child.stdin.write(f"{STEPS}\n")
            child.stdin.flush()
            return float(child.stdout.readline())

        pairs = []
        for _ in range(rounds):
            alone = step()
            with busy(cores):
                pairs.append((alone, step()))
        child.stdin.close()
    row = {
        "alone_s": round(statistics.median(alone for alone, _ in pairs), 3),
        "beside_s": round(statistics.median(beside for _, beside in pairs), 3),
        "ratio": round(statistics.median(beside / alone for alone, beside in pairs), 2),
        "ratios": [round(beside / alone, 2) for alone, beside in pairs],
        "cores": cores,
        "load_before": round(load, 2),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
