"""The command line. Stages are imported when they run, so that help, labelling and reports start at once."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

from cyclopts import CycloptsError, UnusedCliTokensError, ValidationError
from safetensors import SafetensorError

from rushes.cli import (
    claims,
    curation,
    evaluation,
    footage,
    health,
    labelling,
    machine,
    people,
    product,
    project,
    settings,
    studio,
    upkeep,
)
from rushes.cli.command_groups import arrange, with_current_command
from rushes.cli.console import PrintableFormatter, app
from rushes.cli.processes import LEFT_ALONE, lost_partners, say_lost
from rushes.files import odd_name
from rushes.text_reader import printable

__all__ = [
    "app",
    "claims",
    "curation",
    "evaluation",
    "footage",
    "health",
    "labelling",
    "machine",
    "main",
    "people",
    "product",
    "project",
    "settings",
    "studio",
    "upkeep",
]


arrange(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: what a user can mend is one sentence on standard error, and Ctrl-C loses nothing."""
    # cuBLAS reads it once, at the first matrix product of a process, and deterministic training needs it; a stage that
    # samples may come before training, so it is set here, before any stage imports torch.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # A thread of OpenMP that waits in a loop takes the core from those that it waits for, where other programs run too.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if logging.lastResort is not None:  # which warnings of all rooms come to
        logging.lastResort.setFormatter(PrintableFormatter())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors != "backslashreplace":
            with suppress(OSError):  # of a pipe that is open for reading, too
                stream.reconfigure(errors="backslashreplace")  # a name that the encoding lacks is shown escaped
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        _refuse_empty(arguments)
        app(with_current_command(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(printable(f"rushes: {_in_a_line(error)}"), file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # who reads, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing is written at the end either
        sys.exit(1)
    except (ValueError, OSError) as error:
        if os.environ.get("RUSHES_TRACEBACK"):
            raise
        print(printable(f"rushes: {_mendable(error)}"), file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:
        lost, full = lost_partners(error), _out_of_memory(error)
        if os.environ.get("RUSHES_TRACEBACK") or not (lost or full or isinstance(error, RecursionError)):
            raise
        if full:
            print(OUT_OF_MEMORY, file=sys.stderr)
            sys.exit(2)
        if lost:
            say_lost()
            sys.exit(LEFT_ALONE)
        print("rushes: a file is nested too deeply to be read; give one that a program of yours wrote", file=sys.stderr)
        sys.exit(2)
    except SafetensorError as error:
        if os.environ.get("RUSHES_TRACEBACK"):
            raise
        text = (
            f"weights or latents cannot be read or written ({error}); free some space, and run `rushes verify PROJECT`"
        )
        print(printable(f"rushes: {text}, which names what is damaged"), file=sys.stderr)
        sys.exit(2)
    except sqlite3.Error as error:
        print(f"rushes: the project's database: {error}; free some space and check the disk", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # of several processes one says so
            print("rushes: stopped; what was stored is safe, run the same command to continue", file=sys.stderr)
        sys.exit(130)


# Libraries that tell their makers how they are used do not, unless the user's environment says so; they read it when
# they are imported, and processes that are started inherit it.
QUIET = {
    **dict.fromkeys(("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK"), "1"),
    "RAY_USAGE_STATS_ENABLED": "0",
    "GRADIO_ANALYTICS_ENABLED": "False",  # of trackio
    "WANDB_ERROR_REPORTING": "false",
}
OUT_OF_MEMORY = (
    "rushes: memory ran out, and what was stored is safe; for training lower train.batch or backbone.frames, or set "
    "train.gradients to two_pass and backbone.gradient_checkpointing to true; for takes lower generate.batch; `rushes "
    "plan PROJECT` says what fits"
)


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory: Python's, or PyTorch's of a GPU or of main memory."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in words)


def _mendable(error: ValueError | OSError) -> str:
    """What a user can mend, in a sentence."""
    if isinstance(error, UnicodeEncodeError):
        form, words = error.encoding, error.object.split()
        odd = next((word for word in words if word.encode(form, "ignore").decode(form) != word), error.object)
        return f"{odd:.200}: {odd_name(odd)}"
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)


def _in_a_line(error: CycloptsError) -> str:
    """What is wrong with a command's words, and where its help is."""
    if isinstance(error, ValidationError) and error.argument is not None:
        given = " ".join(token.value for token in error.argument.tokens)
        words = f"{error.argument.name}: {error.exception_message}, not {given}"
    elif isinstance(error, UnusedCliTokensError):
        words = f"{', '.join(map(repr, error.unused_tokens or ()))}: more than the command takes"
    else:
        words = " ".join(str(error).split()).rstrip(".")
    return f"{words}; see `{' '.join(('rushes', *(error.command_chain or ())))} --help`"


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty path would be the current folder; it comes from a variable that is not set.

    Raises:
        ValueError: an argument without a character.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument.strip():
            place = f"after {before}" if before else "the first"
            raise ValueError(f"an argument is empty ({place}); give it a value, or leave its option out")
