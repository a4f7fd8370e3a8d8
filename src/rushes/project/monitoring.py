"""What looks on while a run trains, composed from the project: sampled clips, the shortcut probe, trackers, words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rushes import encode, generate
from rushes.arrays import Frames
from rushes.backbones.base import Backbone
from rushes.files import write_json
from rushes.progress import Tick
from rushes.project.jobs import TrainingJob
from rushes.project.project import OpenProject
from rushes.project.times import expert_shares
from rushes.records import Diagnosis, diagnoses_in, seed_of, stable_hash
from rushes.text_reader import checked_text, parse_json
from rushes.training import shortcuts
from rushes.training.comparison import Comparison, View, hashed_view
from rushes.training.health import EXPERT
from rushes.training.history import CURVES, MEASURE_AGAIN, read_history, shortcuts_file, step_in_words
from rushes.training.loop import Progress
from rushes.training.memory import most_memory
from rushes.training.monitor import RunMonitor, Sampler
from rushes.training.trackers import open_trackers

_LOG = logging.getLogger(__name__)


def watch_run(project: OpenProject, backbone: Backbone, job: TrainingJob, folder: Path) -> tuple[RunMonitor, ExitStack]:
    """What watches a run, and the trackers that are to be closed at its end.

    Raises:
        ValueError: a tracker that is not installed.
    """
    settings = project.settings.train
    closing = ExitStack()
    trackers = [
        closing.enter_context(each)
        for each in open_trackers(
            settings.trackers, project.store.project.resolve().name, folder, settings.model_dump()
        )
    ]
    telling = probe_shortcuts(project, job.comparisons, folder) if settings.shortcut_probe else ()
    for line in shortcuts.warnings(telling):
        project.say(line)

    def track(rows: Sequence[dict[str, Any]]) -> None:
        for tracker in trackers:
            tracker(rows)

    def tell(diagnosis: Diagnosis) -> None:
        project.say(f"step {diagnosis.step}: {diagnosis.words}")

    constants = shortcuts.figures(telling)
    shares = expert_shares(job.times, project.base.spec)
    constants |= {f"{EXPERT}{name}/share": share for name, share in shares.items()}
    sampler = _sampler(project, backbone, job.held_out, folder) if settings.sample_every else None
    return RunMonitor(sampler, tell, track, constants), closing


def steps_on(tick: Tick, device: torch.device) -> Progress:
    """Moves a bar with the steps of a run, beside what each shows; one that goes on begins where it was stopped."""
    shown = 0

    def show(step: int, row: Mapping[str, float]) -> None:
        nonlocal shown
        memory = most_memory(device) / 2**30 if row else 0
        tick(step - shown, step_in_words(row) + (f", {memory:.1f} GiB" if memory else ""))
        shown = step

    return show


def last_diagnoses(folder: Path) -> tuple[Diagnosis, ...]:
    """What is wrong with a finished run."""
    rows = read_history(folder / CURVES)
    return diagnoses_in(rows[-1]) if rows else ()


def _sampler(project: OpenProject, backbone: Backbone, held_out: Sequence[Comparison], folder: Path) -> Sampler:
    """Takes of the clips that the first held-out comparisons are about, each at a seed of its own that stays."""
    groups = dict.fromkeys(c.group for c in held_out)
    clips = [clip for clip in project.store.clips("train") if clip.id in groups][: project.settings.train.samples]
    if not clips:
        raise ValueError(
            "train.sample_every: no held-out comparison belongs to a clip; raise train.held_out, or set "
            "train.sample_every to 0"
        )
    size = project.settings.backbone
    ask = project.settings.generate.model_copy(update={"kind": "take", "takes": 1})
    context = generate.TakeContext(project.latents, backbone, size, ask)
    seed = project.settings.project.seed
    wanted = [
        generate.Request(
            "", clip, clip.caption, seed=seed_of("sample", seed, clip.id), eta=None, shape=generate.shape_of(size, clip)
        )
        for clip in clips
    ]

    def make() -> list[Frames]:
        parts = (generate.frames_of(context, part) for part in generate.batches(wanted, ask.batch))
        return [frames for part in parts for frames in part]

    rates = [size.at(request.shape).fps for request in wanted]
    return Sampler(make, folder, size.fps, size.shape.stored_scale, rates)


def _hashed(pair: shortcuts.ShortcutPair) -> dict[str, Any]:
    row = asdict(pair)
    return row | {side: hashed_view(row[side]) for side in ("winner", "loser")}


def probe_shortcuts(
    project: OpenProject, comparisons: Sequence[Comparison], folder: Path
) -> tuple[shortcuts.Shortcut, ...]:
    """Shortcuts in `train.shortcut_probe` comparisons, from shortcuts.json of the run where they were measured already.

    At most `shortcuts.CLIPS` clips are looked at, and `shortcuts.PIXELS` of each.
    """
    size, fit = project.settings.backbone, project.settings.footage.fit
    count = min(project.settings.train.shortcut_probe, shortcuts.CLIPS // 2)
    chosen = shortcuts.spread_out(shortcuts.pairs(comparisons), count)
    most = size.largest
    frames = shortcuts.most_frames(most.height_px, most.width_px, most.frames)
    part = [frames] if frames < most.frames else []
    path, made_from = shortcuts_file(folder), stable_hash(["leak 2", [_hashed(pair) for pair in chosen], *part])
    if part:
        project.say(f"shortcuts: only {frames} frames from the middle of each clip are measured, of {most.frames}")
    if (before := _measured_before(path, made_from)) is not None:
        return before

    def read(view: View) -> shortcuts.ShortcutFeatures:
        own = size.at(view.shape)
        frames = encode.edited(
            view.latent, lambda media: encode.read_clip(project.store.media_path(media), own, fit), project.base
        )
        return shortcuts.ShortcutFeatures(
            shortcuts.middle(frames), own.fps, project.store.media_path(view.media), bool(view.edit)
        )

    with project.timed(
        "train: shortcut probe", len({v.key for pair in chosen for v in (pair.winner, pair.loser)})
    ) as tick:
        telling = shortcuts.measure(chosen, read, lambda: tick(1))
    folder.mkdir(parents=True, exist_ok=True)
    written = {"made_from": made_from, "frames": frames, "features": [each.written() for each in telling]}
    write_json(path, written, checksum=True)
    return telling


def _measured_before(path: Path, made_from: str) -> tuple[shortcuts.Shortcut, ...] | None:
    """What was measured of the same pairs; None where nothing was, or the file is torn: it is measured again then."""
    if not path.is_file():
        return None
    try:
        stored = parse_json(checked_text(path, MEASURE_AGAIN), path)
        features = tuple(shortcuts.Shortcut.read(each) for each in stored["features"])
        return features if stored["made_from"] == made_from else None
    except (ValueError, LookupError, TypeError, AttributeError):
        _LOG.warning("%s: incomplete or altered; shortcuts are measured again", path)
        return None
