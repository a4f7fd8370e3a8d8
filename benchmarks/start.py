#!/usr/bin/env python3
"""How long commands take that only look something up: python benchmarks/start.py [--rounds N]

Seconds of `rushes --help`, `recipes` and `models`, and of importing the command-line library alone (cyclopts), in turn
within each round: of the clock, and of the processor, which other programs disturb less. Medians, and help's ratio to
the library, as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "library": ["-c", "import cyclopts"],
    "help": ["-m", "rushes", "--help"],
    "recipes": ["-m", "rushes", "recipes"],
    "models": ["-m", "rushes", "models"],
}


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, words in COMMANDS.items():
            began = now()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(tuple(end - start for end, start in zip(now(), began, strict=True)))
    result = {}
    for at, kind in enumerate(("", "_cpu")):
        # the first round warms the files
        values = {name: [row[at] for row in rows[1:]] for name, rows in seconds.items()}
        result |= {f"{name}{kind}_s": round(statistics.median(each), 3) for name, each in values.items()}
        ratios = (a / b for a, b in zip(values["help"], values["library"], strict=True))
        result[f"help_over_library{kind}"] = round(statistics.median(ratios), 2)
    print(json.dumps(result))


def now() -> tuple[float, float]:
    """Seconds of the clock, and of the processor that programs which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
