"""A person's terminal and footage, for the journeys: commands are typed into a pseudo-terminal, pages are served."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rushes.media.write import encode_bytes

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOTS = os.environ.get("RUSHES_SHOTS", "")  # folder of pictures of the pages, where somebody wants to look at them


@dataclass
class Terminal:
    """A person's terminal, in a folder."""

    folder: Path
    began: float = field(default_factory=time.monotonic)

    def type(self, command: str, *, expect: int = 0, minutes: float = 30) -> str:
        """Run a command as in a terminal; all that it showed. `rushes` is this checkout's."""
        began, (leader, follower) = time.monotonic(), pty.openpty()
        words = [sys.executable, "-P", "-m", *shlex.split(command)]
        process = subprocess.Popen(
            words, cwd=self.folder, stdin=follower, stdout=follower, stderr=follower, close_fds=True
        )
        os.close(follower)
        shown, first = b"", None
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the terminal is closed at the end
                part = b""
            if not part:
                break
            first = first or time.monotonic() - began
            shown += part
            assert time.monotonic() - began < 60 * minutes, shown[-2000:]
        os.close(leader)
        code, text = process.wait(), shown.decode(errors="replace").replace("\r\n", "\n")
        self.say(f"$ {command}   ({(time.monotonic() - began) / 60:.1f} min, first word after {first or 0:.1f} s)")
        assert code == expect, text[-3000:]
        return text

    def say(self, line: str) -> None:
        print(f"{(time.monotonic() - self.began) / 60:5.1f} min  {line}")

    @contextmanager
    def serving(self, command: str) -> Iterator[Served]:
        """What a command prints, and the addresses in it, while it serves them."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *shlex.split(command), "--port", "0"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        )  # fmt: skip
        assert process.stdout is not None
        served = Served()
        try:
            for line in process.stdout:
                served.lines.append(line.rstrip())
                if "#key=" in line:
                    break
            assert served.addresses, served.lines
            self.say(f"$ {command}")
            yield served
        finally:
            process.terminate()
            process.stdout.close()
            process.wait()


@dataclass
class Served:
    """What a command that serves pages has printed."""

    lines: list[str] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """All addresses, in order; the last is the owner's."""
        return re.findall(r"http://\S+?(?=;|\s|$)", "\n".join(self.lines))

    def link_of(self, name: str) -> str:
        """The link of an invited person."""
        return line_after("\n".join(self.lines), name)


def line_after(text: str, start: str) -> str:
    """What stands behind a word at the beginning of a line."""
    return next(line.partition(": ")[2] for line in text.splitlines() if line.startswith(start + ": "))


def shot(tab: Page, name: str) -> None:
    """A picture of a page, where pictures are wanted."""
    if SHOTS:
        tab.screenshot(path=Path(SHOTS) / f"{name}.png")


def clips(folder: Path, count: int, captions: bool = True) -> None:
    """Footage: waves that roll by, each of its own kind."""
    folder.mkdir()
    t, y, x = np.meshgrid(np.arange(40), np.arange(96), np.arange(128), indexing="ij")
    for k in range(count):
        waves = np.sin((k + 1) * (0.05 * x + 0.03 * y + 0.3 * t)[..., None] + np.arange(3) + k)
        (folder / f"wave_number_{k}_rolls_by.mp4").write_bytes(encode_bytes(((waves + 1) * 127).astype(np.uint8), 16.0))
        if captions:
            (folder / f"wave_number_{k}_rolls_by.txt").write_text(f"wave number {k} rolls by")
