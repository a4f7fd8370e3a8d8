"""What is asked before a run: `rushes tune beta` proposes a strength, `rushes check-shortcuts` looks for shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from rushes.config.settings_files import hashed_form
from rushes.config.tables import ObjectiveSettings, TrainSettings, run_name
from rushes.files import write_json
from rushes.objectives.terms import ALONE
from rushes.project.monitoring import probe_shortcuts, steps_on
from rushes.project.networks import brought, load_start
from rushes.project.project import OpenProject, run_folder, without_network
from rushes.project.recipe_data import recipe_comparisons
from rushes.project.times import training_times
from rushes.records import INLINE, plain, stable_hash
from rushes.training import shortcuts
from rushes.training.batches import read_views
from rushes.training.beta import Proposal, equivalents, propose, trial_comparisons
from rushes.training.comparison import hashed_comparisons
from rushes.training.history import CURVES, read_history
from rushes.training.loop import TrainingData, split, train

PROBES = 10  # of a trial, evenly spread


@dataclass(frozen=True)
class BetaLevel:
    """The strength for the terms of one level."""

    proposal: Proposal = field(metadata=INLINE)
    now: float  # beta of the settings
    conventions: Mapping[str, float]  # the proposed beta as others count it, by convention


@dataclass(frozen=True)
class BetaResult:
    """A trial run, and the beta that it proposes."""

    run: str
    comparisons: int  # looked at
    held_out: int  # comparisons that the trial measures and does not train on
    steps: int  # steps of the trial
    target: float  # mean gradient weight that should be left, below 0.5
    shape: str  # size and length of the clips that sums over elements are of
    levels: Mapping[str, BetaLevel]


def probe_beta(project: OpenProject, comparisons: int, steps: int, target: float) -> BetaResult:
    """Run the trial, or continue it, and read the proposal from its curves; kept in beta.json beside the run.

    Args:
        project: whose settings name the recipe, the rate and the batch.
        comparisons: how many to take, evenly from all; a quarter of them is measured, the rest trained on.
        steps: of the trial. Its rate rises all along, from near zero to the run's own, so that the policy passes every
            distance from the reference between.
        target: mean DPO gradient weight, below one half.

    Raises:
        ValueError: a recipe that compares nothing, or too few comparisons.
    """
    if not 0 < target < 0.5:
        raise ValueError(
            f"--target must be between 0 and 0.5, as the DPO gradient weight begins at 0.5 and falls; got {target}"
        )
    base, seed, name = project.settings.train, project.settings.project.seed, run_name(project.settings.train)
    every = recipe_comparisons(project, base).comparisons
    count = min(comparisons, len(every))
    chosen = trial_comparisons([every[at * len(every) // count] for at in range(count)])
    used, held_out = split(chosen, count // 4)
    if not held_out:
        raise ValueError(
            f"{len(every)} comparisons are too few for a probe, which holds out a quarter; make more takes or labels"
        )
    settings = _trial(base, steps, count // 4)
    folder = run_folder(project, name) / "beta-trial"
    times = training_times(project.settings, project.base.spec)
    made_from = [hashed_form(settings), project.base.fingerprint, repr(times)]
    identity = stable_hash([*made_from, hashed_comparisons(chosen)])
    views = [view for comparison in chosen for view in comparison.views]
    reader = without_network(project)  # captions are read before a network comes
    reader.prepare([view.caption for view in views])
    read_views(reader, views, project.latents)
    torch.manual_seed(seed)
    backbone = brought(load_start(project))
    data = TrainingData(used, held_out, project.latents, times)
    with project.timed("beta: trial", steps) as tick:
        show = steps_on(tick, project.ranks.device)
        train(backbone, data, settings, folder, seed=seed, identity=identity, progress=show)
    ours = {term.level: term.beta for c in every for term in c.terms if term.loss_type not in ALONE}
    proposals = propose(read_history(folder / CURVES), target)
    levels = {each.level: BetaLevel(each, ours[each.level], beta_conventions(project, each.beta)) for each in proposals}
    shape = project.settings.backbone.shape.words
    result = BetaResult(name, count, len(held_out), steps=steps, target=target, shape=shape, levels=levels)
    write_json(folder.parent / "beta.json", plain(result), checksum=True)
    return result


def _trial(train: TrainSettings, steps: int, held_out: int) -> TrainSettings:
    """Settings of the trial of a run: its learning rate rises all along, and whatever else acts on it is off."""
    changes = {
        "warmup_steps": steps,
        "lr_scheduler": "constant",
        "reference": "frozen",
        "checkpoint_every": max(1, steps // PROBES),
    }
    off = {
        "objective": ObjectiveSettings(),
        "sample_every": 0,
        "auto_beta": 0.0,
        "weights_ema": 0.0,
        "caption_dropout": 0.0,
        "trackers": (),
        "reference_cache": 0,
    }
    return train.model_copy(update={"steps": steps, "held_out": held_out, **changes, **off})


def beta_conventions(project: OpenProject, beta: float) -> dict[str, float]:
    """The same strength under other conventions, for the project's model and size."""
    size, spec = project.settings.backbone, project.base.spec
    frames = spec.latent_frames(size.frames)
    cells = spec.channels * (size.height_px // spec.spatial_ratio) * (size.width_px // spec.spatial_ratio)
    given = size.first_frame and spec.first_frame == "clean"
    return equivalents(beta, cells, frames, frames - given)


def beta_in_words(result: BetaResult) -> list[str]:
    """What the probe shows, level by level, and the strengths under other conventions."""
    lines = []
    for level, row in result.levels.items():
        read = row.proposal
        where = "at its lowest" if read.turned else "still falling, so a longer trial may propose a lower beta"
        lines += [
            f"{level}: beta {read.beta:.3g}. Below {read.linear:.2g} pairs never saturate, and beta only scales the "
            f"learning rate; above {read.saturated:.2g} they saturate before anything is learned. These settings have "
            f"{row.now:g}, {_judged(row.now, read)}",
            f"{level}: read at step {read.step} of the trial, where the typical margin is {read.margin:.2g} and the "
            f"winners' error, {read.winner:+.2g}, is {where}",
        ]
        if read.winner >= 0:
            lines.append(
                f"{level}: the winners' error never fell, and no beta changes that; raise train.objective.sft_weight"
            )
    same = ((level, name, beta) for level, row in result.levels.items() for name, beta in row.conventions.items())
    return [*lines, f"sums are over a clip of {result.shape}:"] + [
        f"{level}: {beta:.3g} as a {name}" for level, name, beta in same
    ]


def _judged(now: float, read: Proposal) -> str:
    if now < read.linear:
        return "which is too small"
    if now > read.saturated:
        return "which is too large"
    return "which lies between"


@dataclass(frozen=True)
class ShortcutsResult:
    """How well plain features of clips predict the winner."""

    features: tuple[shortcuts.Shortcut, ...]
    pairs: int  # looked at, at most
    frames: int  # frames measured in each clip, around its middle


def shortcuts_of_project(project: OpenProject) -> ShortcutsResult:
    """Shortcuts in the comparisons that the project's recipe makes."""
    settings = project.settings.train
    comparisons, most = recipe_comparisons(project, settings).comparisons, project.settings.backbone.largest
    return ShortcutsResult(
        probe_shortcuts(project, comparisons, run_folder(project, run_name(settings))),
        pairs=min(settings.shortcut_probe, shortcuts.CLIPS // 2),
        frames=shortcuts.most_frames(most.height_px, most.width_px, most.frames),
    )
