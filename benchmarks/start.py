#!/usr/bin/env python3
"""How long commands take that only look something up: python benchmarks/start.py [--rounds N]

Wall seconds of `rushes --help`, `recipes` and `models`, each over importing the command-line library alone, in turn
within each round; medians and ratios as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "library": ["-c", "import cyclopts, rich.console"],
    "help": ["-m", "rushes", "--help"],
    "recipes": ["-m", "rushes", "recipes"],
    "models": ["-m", "rushes", "models"],
}


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, words in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    # the first round warms the files
    medians = {f"{name}_s": round(statistics.median(values[1:]), 3) for name, values in seconds.items()}
    pairs = zip(seconds["help"][1:], seconds["library"][1:], strict=True)
    print(json.dumps({**medians, "help_over_library": round(statistics.median(a / b for a, b in pairs), 2)}))


if __name__ == "__main__":
    main()
