"""The page of work that goes on: its stages as they come and the curves so far. A browser reads it again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rushes.files import write_text
from rushes.progress import Bar, Tick
from rushes.report import curves, figures
from rushes.report.text import templates

EVERY_S = 2
_PANELS = 4  # the first: loss, error, accuracy and margin, where a run has them


@dataclass
class LiveStage:
    """A bar, as the page shows it."""

    name: str
    total: int
    done: float = 0.0
    facts: str = ""


class LivePage:
    """A page that is written again while its stages go on."""

    def __init__(self, path: Path, title: str, words: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Where the page lies, its heading and what it says below; `clock` gives seconds."""
        self.path, self.title, self.words, self._clock = path, title, words, clock
        self.rows: Path | None = None  # the metrics.jsonl of the run that trains
        self.stages: list[LiveStage] = []
        self._next = 0.0

    def write(self) -> None:
        """Write the page as things are."""
        self._next = self._clock() + EVERY_S
        drawn = curves.curves(self._rows())[:_PANELS]
        text = _TEMPLATE.render(
            title=self.title, words=self.words, stages=self.stages, every_s=EVERY_S, time=time.strftime("%H:%M:%S"),
            panels=[(panel, figures.curve(panel, f"curve{at}")) for at, panel in enumerate(drawn)],
        )  # fmt: skip
        with suppress(OSError):  # a full disk is said by the stage itself
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, text)

    def beside(self, bar: Bar) -> Bar:
        """The same bars, which the page shows too."""

        @contextmanager
        def shown(name: str, total: int) -> Iterator[Tick]:
            stage = LiveStage(name, total)
            self.stages += [stage] if total else []
            self.write()
            with bar(name, total) as advance:

                def tick(count: float, facts: str = "", /) -> None:
                    advance(count, facts)
                    stage.done, stage.facts = stage.done + count, facts or stage.facts
                    if self._clock() >= self._next:
                        self.write()

                yield tick
            self.write()

        return shown

    def _rows(self) -> list[dict[str, object]]:
        with suppress(OSError):
            if self.rows is not None:
                return curves.read_rows(self.rows)[0]
        return []


_TEMPLATE = templates().get_template("live.html")
