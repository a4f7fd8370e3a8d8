"""One bit of a stored file is flipped: who names it, and what makes the file whole again.

Each kind of file at several places, in a project that has gone through its stages: `rushes verify` looks first, then
the stage that reads the file runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rushes.records import Candidate, Clip
from rushes.store.database import Store

from ..projects import PROGRAM
from .crash_points import Bench

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a file, from its first byte to its last


@dataclass(frozen=True)
class Stored:
    """A kind of file, and the stage that reads it."""

    name: str
    file: Callable[[Path], Path]  # of a project
    stage: Sequence[str]  # words before and after the project's folder
    checked: bool = True  # against a hash; `verify` names what differs


@dataclass(frozen=True)
class Flips:
    """What became of the flips of one kind of file."""

    kind: Stored
    flips: int
    named: int  # by `rushes verify`
    healed: int  # by the stage: it ended well, and `verify` has nothing to name
    refused: int  # by the stage, in a sentence
    bad: tuple[str, ...]  # flips of a checked file that `verify` did not name, and tracebacks

    def row(self, date: str) -> str:
        """A row of the table in docs/crash-points.md."""
        counts = (self.flips, self.named, self.healed, self.refused)
        return f"| {self.kind.name} | {' | '.join(map(str, counts))} | `{self.kind.stage[0]}` | {date} |"


def _media(kind: type[Clip | Candidate], split: str, project: Path) -> Path:
    with Store.open(project) as store:
        return store.media_path(next(row for row in store.stream(kind) if row.split == split).media)


def _largest(pattern: str, project: Path) -> Path:
    return max(project.glob(pattern), key=lambda path: path.stat().st_size)


def _newest(pattern: str, project: Path) -> Path:
    return max(project.glob(pattern), key=lambda path: (path.stat().st_mtime_ns, path.stat().st_size))


CHECKPOINTS = "runs/realdpo/checkpoints/**/*.safetensors"
CACHE = ("cache", "reference", "--set=train.reference_cache=2", "--set=train.name=looked-up")
EXPORT = ("export", "--run=realdpo", "--out=out")
KINDS = (
    Stored("clip", partial(_media, Clip, "train"), ("import",)),
    Stored("take of a training clip", partial(_media, Candidate, "train"), ("generate",)),
    Stored("take of a held-out prompt", partial(_media, Candidate, "eval"), ("evaluate",)),
    Stored("latents", partial(_largest, "latents/*.safetensors"), ("encode",)),
    Stored("reference cache", partial(_largest, "bank/*.safetensors"), CACHE),
    # Much of a small database is free space, where a bit harms nothing.
    Stored("rows", lambda project: project / "rushes.db", ("status",), checked=False),
    Stored("checkpoint", partial(_newest, CHECKPOINTS), ("train", "--set=train.steps=3")),
    Stored("weights of a run", partial(_largest, "runs/realdpo/*.safetensors"), EXPORT),
    Stored("curves of a run", lambda project: project / "runs/realdpo/metrics.jsonl", ("health",)),
    Stored("results of a run", lambda project: project / "reports/realdpo.json", ("report",)),
)


def command(kind: Stored, project: Path) -> list[object]:
    """The stage's command line."""
    groups = 2 if kind.stage[0] == "cache" else 1
    words = [text.replace("--out=", f"--out={project}/") for text in kind.stage]
    return [*words[:groups], project, *words[groups:]]


def finished(bench: Bench) -> Path:
    """A project that went through all stages, with a reference cache."""
    folder = bench.folder / "finished"
    if not folder.exists():
        at = bench.fresh(bench.before(5))
        for words in (("report",), CACHE):
            done = bench.run(PROGRAM, command(Stored("", Path, words), at))
            assert done.code == 0, done.err
        at.rename(folder)
    return folder


def flipped(bench: Bench, kind: Stored, places: Sequence[float] = PLACES) -> Flips:
    """Flip one bit at each of these places of a file, each time in a fresh copy of the project."""
    named, healed, refused, bad = 0, 0, 0, list[str]()
    for at in places:
        project = bench.fresh(finished(bench))
        path = kind.file(project)
        data = bytearray(path.read_bytes())
        data[round(at * (len(data) - 1))] ^= 4
        path.write_bytes(data)
        before = bench.run(PROGRAM, ["verify", project])
        seen = before.code == 1 and path.stem in before.out + before.err
        done = bench.run(PROGRAM, command(kind, project))
        after = bench.run(PROGRAM, ["verify", project])
        named += seen
        refused += done.code != 0
        healed += done.code == 0 and seen and after.code == 0
        for each in (before, done, after):
            if "Traceback" in each.err:
                bad.append(f"{kind.name} at {at:g}: a traceback: {each.err[-500:]}")
        if kind.checked and not seen:
            bad.append(f"{kind.name} at {at:g}: verify ended with {before.code} and did not name {path.stem}")
    return Flips(kind, len(places), named, healed, refused, tuple(bad))
