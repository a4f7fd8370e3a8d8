"""`python -m rushes`, the script `rushes`, and under torchrun `torchrun --no-python rushes`."""

import sys

# `-m` puts the current folder first on Python's path, so that a file there named as a library of ours, or as one that
# ours look for, would run in its place. What `rushes` does not see, `-m rushes` does not see.
if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

import os
import signal

STOPPED = "rushes: stopped; what was stored is safe, run the same command to continue"


def say_stopped() -> None:
    """One of several processes says so."""
    if os.environ.get("RANK", "0") == "0":
        print(STOPPED, file=sys.stderr)


try:
    from rushes.cli import main
except KeyboardInterrupt:  # in the first tenths of a second
    say_stopped()
    sys.exit(130)


def run() -> None:
    """The command line. A process of torchrun's skips the interpreter's clean-up, which may abort after all is done."""
    code: object = 0
    os.environ["PYTHONSAFEPATH"] = "1"  # workers are started by `python -c`, which looks in the current folder first
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    except KeyboardInterrupt:  # a second Ctrl-C, while the first was dealt with
        say_stopped()
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: a late Ctrl-C would only print where it hit
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1 if code else 0)
    sys.exit(code if isinstance(code, int | str) else None)


if __name__ == "__main__":
    run()
