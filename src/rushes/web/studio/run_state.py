"""How the runs of a project stand: how far each is, whether it trains now, how it does, and the clips it sampled."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rushes.config.settings_files import load_settings
from rushes.config.tables import run_name
from rushes.config.uses import nothing
from rushes.files import is_locked
from rushes.media.read import probe
from rushes.store.own_files import own_path
from rushes.store.row_queries import reading, runs_of
from rushes.training.health import diagnoses, verdict
from rushes.training.history import CURVES, LOCK, shortcuts_file, with_shortcuts
from rushes.web.studio.run_log import RunLog, last_row

RUNS, SAMPLES = "runs", "samples"
_SAMPLE = re.compile(r"step-(\d{8})-(\d{1,4})\.mp4")
_ASK_S = 3.0  # between two looks at a lock, a database and settings
_REST = 100.0  # times as long as diagnoses took, and at least _ASK_S, nothing is diagnosed


class RunFiles:
    """What one run's folder shows; threads may share it."""

    def __init__(self, project: Path, name: str) -> None:
        self.name = name
        self.project = project
        self.folder = own_path(project, RUNS, name)
        self.log = RunLog(self.folder / CURVES)
        self._health: tuple[tuple[int, int, int | None], dict[str, Any]] = ((0, 0, None), {})
        self._next_health = self._next_lock = 0.0
        self._training = False
        self._video: dict[str, Any] = {}

    def training(self) -> bool:
        """Whether a process trains it now."""
        if time.monotonic() > self._next_lock:
            self._next_lock = time.monotonic() + _ASK_S
            lock = self.folder / LOCK
            self._training = not lock.is_symlink() and is_locked(lock)
        return self._training

    def health(self, steps: int | None) -> dict[str, Any]:
        """As `rushes health` has it, of a run of `steps`: the verdict, and each diagnosis."""
        log = self.log
        key = (log.generation, log.count, steps)
        with log.lock:
            if key == self._health[0] or (self._health[1] and time.monotonic() < self._next_health):
                return self._health[1]
            began = time.monotonic()
            words = self._diagnosed(steps)
            self._next_health = time.monotonic() + max(_ASK_S, _REST * (time.monotonic() - began))
            self._health = (key, words)
            return words

    def _diagnosed(self, steps: int | None) -> dict[str, Any]:
        log = self.log
        if not log.count:
            return {"verdict": "no steps yet", "diagnoses": [], "notes": []}
        notes = []
        if log.not_finite:
            notes.append(f"Values that are not finite in: {', '.join(sorted(log.not_finite))}. The run diverged.")
        if log.unread:
            notes.append(f"{log.unread} lines of {CURVES} could not be read and are missing from the curves.")
        try:
            rows = log.health_rows()
            with suppress(ValueError):  # a shortcuts.json that is none, which `rushes health` says
                own_path(self.project, RUNS, self.name, shortcuts_file(self.folder).name)
                rows = with_shortcuts(rows, self.folder)
            diagnosed = diagnoses(rows, steps)
        except (LookupError, TypeError, ValueError) as error:
            note = f"The figures are not those of this version ({type(error).__name__}: {error})."
            return {"verdict": "cannot be said", "diagnoses": [], "notes": [*notes, note]}
        return {
            "verdict": verdict(log.step, diagnosed),
            "diagnoses": [asdict(each) for each in diagnosed],
            "notes": notes,
        }

    def samples(self) -> dict[str, Any]:
        """Steps at which clips were sampled, how many clips each time, and their rate and size; empty without any."""
        with suppress(ValueError):
            folder = own_path(self.project, RUNS, self.name, SAMPLES)
            names = [match for entry in _files(folder) if (match := _SAMPLE.fullmatch(entry))]
            if names:
                steps = sorted({int(match[1]) for match in names})
                clips = 1 + max(int(match[2]) for match in names)
                if not self._video:
                    self._video = _shape(folder / names[0][0])
                return {"steps": steps, "clips": clips, **self._video}
        return {}

    def sample(self, name: str) -> Path:
        """The file of a sampled clip. Raises ValueError where it is no such file."""
        if not _SAMPLE.fullmatch(f"{name}.mp4"):
            raise ValueError(f"{name!r:.60} is no sampled clip")
        path = own_path(self.project, RUNS, self.name, SAMPLES, f"{name}.mp4")
        if not path.is_file():
            raise ValueError(f"{path} is missing")
        return path


def _shape(path: Path) -> dict[str, Any]:
    facts = probe(path, allow_truncated=True)
    return {"fps": facts.fps, "frames": facts.frames, "width_px": facts.width_px, "height_px": facts.height_px}


def _files(folder: Path) -> list[str]:
    """Names of the files in a folder, links left out."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    return []


class ProjectRuns:
    """All runs of a project, newest last; their files are read once for all who look on."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._lock = threading.Lock()
        self._runs: dict[str, RunFiles] = {}
        self._finished: dict[str, dict[str, Any]] = {}
        self._planned: dict[str, int] = {}
        self._next_look, self._settings_changed = 0.0, 0

    def names(self) -> list[str]:
        """Runs that have a folder, in the order in which they were last at work."""
        folder = own_path(self.project, RUNS)
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            return sorted((name for name in names if not name.startswith(".")), key=self._last_work)
        return []

    def _last_work(self, name: str) -> tuple[float, str]:
        with suppress(OSError):
            facts = os.lstat(self.project / RUNS / name / CURVES)
            return (facts.st_mtime if stat.S_ISREG(facts.st_mode) else 0.0), name
        return 0.0, name

    def run(self, name: str) -> RunFiles:
        """One of them. Raises ValueError where there is none."""
        with self._lock:
            if name not in self._runs:
                if not own_path(self.project, RUNS, name).is_dir():
                    raise ValueError(f"{name!r:.80} is no run of this project")
                self._runs[name] = RunFiles(self.project, name)
            return self._runs[name]

    def summary(self, run: RunFiles, fresh: bool = False) -> dict[str, Any]:
        """How far a run is; of its file the end alone is read, and nothing where its log is `fresh`."""
        self._look()
        row, planned = self._finished.get(run.name, {}), self._planned.get(run.name)
        step, training = run.log.step if fresh else int(last_row(run.log.path).get("step", -1)), run.training()
        ended = bool(row) and step >= row["steps"] and not training
        return {
            "name": run.name,
            "state": "training" if training else "finished" if ended else "stopped" if step >= 0 else "not begun",
            "recipe": row.get("recipe", ""),
            "step": max(0, step),
            "steps": planned if planned is not None and not ended else row.get("steps", planned),
        }

    def state(self, run: RunFiles) -> dict[str, Any]:
        """The same in all figures, of all rows."""
        run.log.catch_up()
        facts, seconds = self.summary(run, fresh=run.log.count > 0), run.log.seconds
        left = None
        if facts["state"] == "training" and seconds is not None and facts["steps"] is not None:
            left = seconds * max(0, facts["steps"] - facts["step"])
        return {
            **facts,
            "seconds": seconds,
            "left_s": left,
            "memory_gib": run.log.last.get("memory_gib"),
            "health": run.health(facts["steps"]),
            "samples": run.samples(),
        }

    def _look(self) -> None:
        """What the database says of finished runs, and the settings of the one to come; both change seldom."""
        with self._lock:
            if time.monotonic() < self._next_look:
                return
            self._next_look = time.monotonic() + _ASK_S
            self._finished = {row["name"]: row for row in self._rows()}
            with suppress(OSError, ValueError):  # of a project without settings, or with wrong ones
                file = own_path(self.project, "rushes.toml")
                if (changed := file.stat().st_mtime_ns) != self._settings_changed:
                    self._settings_changed, self._planned = changed, {}
                    train = load_settings(file, uses=nothing).train
                    self._planned = {run_name(train): train.steps}

    def _rows(self) -> list[dict[str, Any]]:
        with suppress(ValueError, OSError), reading(self.project) as connection:
            if connection is not None:
                return runs_of(connection)
        return []
