"""`python -m rushes`, and under torchrun `torchrun -m rushes`."""

from __future__ import annotations

import os
import sys

from rushes.cli import main


def run() -> None:
    """The command line. A process of torchrun's skips the interpreter's clean-up, which may abort after all is done."""
    code: object = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1 if code else 0)
    sys.exit(code if isinstance(code, int | str) else None)


if __name__ == "__main__":
    run()
