"""The command line. Commands are imported when they run, so that help comes at once."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn

from rushes.cli.overview import overview

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: what a user can correct is one sentence on standard error, and Ctrl-C loses nothing."""
    # cuBLAS reads it once, at the first matrix product of a process, and deterministic training needs it; a stage that
    # samples may come before training, so it is set here, before any stage imports torch.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # A thread of OpenMP that waits in a loop takes the core from those that it waits for, where other programs run too.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if logging.lastResort is not None:  # which warnings of all rooms come to
        logging.lastResort.setFormatter(PrintableFormatter())
    logging.getLogger("transformers.utils.import_utils").addFilter(not_on_torchvision)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors != "backslashreplace":
            with suppress(OSError):  # of a pipe that is open for reading, too
                stream.reconfigure(errors="backslashreplace")  # a name that the encoding lacks is shown escaped
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if [*arguments] in ([], ["-h"], ["--help"]):
            print(overview())
        else:
            _run(arguments)
    except BrokenPipeError:  # who reads, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing is written at the end either
        sys.exit(1)
    except (ValueError, OSError) as error:
        if os.environ.get("RUSHES_TRACEBACK"):
            raise
        _end_with(_mendable(error), arguments)
    except (RuntimeError, MemoryError) as error:
        from rushes.cli.processes import LEFT_ALONE, lost_partners, say_lost

        lost, full = lost_partners(error), _out_of_memory(error)
        if os.environ.get("RUSHES_TRACEBACK") or not (lost or full or isinstance(error, RecursionError)):
            raise
        if full:
            _end_with(OUT_OF_MEMORY, arguments)
        if lost:
            say_lost()
            sys.exit(LEFT_ALONE)
        _end_with("a file is nested too deeply to be read; flatten it, or leave it out", arguments)
    except Exception as error:
        import sqlite3  # which help does without

        from safetensors import SafetensorError

        if isinstance(error, sqlite3.Error):
            _end_with(f"the project's database: {error}; free some space and check the disk", arguments)
        if os.environ.get("RUSHES_TRACEBACK") or not isinstance(error, SafetensorError):
            raise
        words = f"weights or latents cannot be read or written ({error}); free some space, and run `rushes verify"
        _end_with(f"{words}`, which names what is damaged", arguments)
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # of several processes one says so
            print("rushes: stopped; what was stored is safe, run the same command to continue", file=sys.stderr)
        sys.exit(130)


def _run(arguments: Sequence[str]) -> None:
    """Run a command."""
    from cyclopts import CycloptsError

    from rushes.cli.command_groups import app, in_a_line, with_current_command

    _refuse_empty(arguments)
    try:
        app(with_current_command(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _end_with(in_a_line(error), arguments)


def _end_with(words: str, arguments: Sequence[str]) -> NoReturn:
    """A sentence on standard error whose commands can be copied, and the exit code of what a user can correct."""
    from rushes.cli.remedies import project_in, with_project
    from rushes.text_reader import printable

    print(printable(f"rushes: {with_project(words, project_in(arguments))}"), file=sys.stderr)
    sys.exit(2)


class PrintableFormatter(logging.Formatter):
    """Warnings as a terminal may have them."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a warning."""
        from rushes.text_reader import printable

        return printable(super().format(record))


def not_on_torchvision(record: logging.LogRecord) -> bool:
    """Whether a line of transformers is on something else than torchvision, which Rushes does not need."""
    return "requires torchvision" not in record.getMessage()


# Libraries that tell their makers how they are used do not, unless the user's environment says so; they read it when
# they are imported, and processes that are started inherit it.
QUIET = {
    **dict.fromkeys(("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK"), "1"),
    "RAY_USAGE_STATS_ENABLED": "0",
    "GRADIO_ANALYTICS_ENABLED": "False",  # of trackio
    "WANDB_ERROR_REPORTING": "false",
}
OUT_OF_MEMORY = (
    "out of memory; everything stored is safe; for training lower train.batch or backbone.frames, or set "
    "train.gradients to two_pass and backbone.gradient_checkpointing to true; for takes lower generate.batch; `rushes "
    "plan` says what fits"
)


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory: Python's, or PyTorch's of a GPU or of main memory."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in words)


def _mendable(error: ValueError | OSError) -> str:
    """What a user can correct, in a sentence."""
    if isinstance(error, UnicodeEncodeError):
        from rushes.files import odd_name

        form, words = error.encoding, error.object.split()
        odd = next((word for word in words if word.encode(form, "ignore").decode(form) != word), error.object)
        return f"{odd:.200}: {odd_name(odd)}"
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty path would be the current folder; it comes from a variable that is not set.

    Raises:
        ValueError: an argument without a character.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument.strip():
            place = f"after {before}" if before else "the first"
            raise ValueError(f"an argument is empty ({place}); give it a value, or leave its option out")
