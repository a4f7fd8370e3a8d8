"""Every recipe on every family of diffusers, from files to files: train, export, load in diffusers, sample.

Models are tiny and random, but read from folders; clips and what recipes need of them lie in one store, of which each
model gets a copy. `tiny`, which ships, goes through the same in tests/recipes/test_contract.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.sampling import sample
from rushes.backbones.table import backbone_names
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import BackboneSettings, Settings, TrainSettings
from rushes.export.weights import export_weights
from rushes.media.resize import resize_frame
from rushes.media.write import encode_bytes
from rushes.objectives.losses import ViewErrors, loss
from rushes.project.networks import load_run
from rushes.project.project import OpenProject, open_project, run_folder
from rushes.project.recipe_data import recipe_comparisons
from rushes.project.recipe_table import recipe_table
from rushes.project.times import training_times
from rushes.project.training import train_run
from rushes.records import Candidate, CandidateKind, CaptionRow, Clip, Preference, Score
from rushes.store.database import Store
from rushes.training import comparison_checks as checks
from rushes.training.batches import NoiseSampler, make_batch
from rushes.training.gradients import plain_errors
from rushes.training.history import read_history
from rushes.training.recipe import load_recipe, recipe_names

from .. import tiny_sd
from ..backbones.references import ask, load_lora, load_pipeline, unload_lora
from ..backbones.test_pipelines import clips_for, frames_of, noise_for, size_of
from ..backbones.tiny_pipelines import write

# Of each family the models that recipes run on, by whether they are given a first frame; the slow ones one way.
MODELS = {
    "animatediff": {False: "animatediff"},
    "cogvideox": {False: "cogvideox", True: "cogvideox_i2v"},
    "hunyuan": {False: "hunyuan", True: "hunyuan_i2v"},
    "hunyuan15": {True: "hunyuan15_i2v"},
    "inflated_sd": {True: "inflated_sd"},
    "ltx": {False: "ltx", True: "ltx"},
    "ltx2": {True: "ltx2"},
    "mochi": {False: "mochi"},
    "skyreels": {True: "skyreels_df"},
    "wan": {False: "wan", True: "wan_ti2v"},
}
# In the suite each family runs the recipe with the most kinds of views, with a first frame where it knows one, and one
# model runs every recipe.
RICHEST, EVERY = "physhpo", ("wan", True)
CASES = [
    pytest.param(
        row.name,
        backbone,
        first_frame,
        id=f"{row.name}-{backbone}-{'first_frame' if first_frame else 'text'}",
        marks=[]
        if (row.name == RICHEST and first_frame == max(MODELS[backbone])) or (backbone, first_frame) == EVERY
        else pytest.mark.whole,
    )
    for row in recipe_table()
    for backbone in row.backbones
    if backbone != "tiny"
    for first_frame in MODELS[backbone]
    if first_frame or "first_frame" not in row.needs
]
FPS, FRAMES, HEIGHT, WIDTH = 8.0, 9, 64, 96
CAPTION = "a red ball falls"
SEGMENT_S = 0.25
STEPS = 3


def waves() -> NDArray[np.uint8]:
    """A clip [T, H, W, 3] that is smooth in space and time."""
    t, y, x = np.meshgrid(np.arange(FRAMES), np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    wave = np.sin((0.05 * x + 0.025 * y + 0.3 * t)[..., None] + np.arange(3))
    frames: NDArray[np.uint8] = ((wave + 1) * 127.5).round().astype(np.uint8)
    return frames


def take(clip: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """The clip with noise on all frames but the first."""
    noise = np.random.default_rng(seed).normal(0, 40, clip.shape)
    noise[0] = 0
    return np.clip(clip + noise, 0, 255).astype(np.uint8)


def stored(clip: NDArray[np.uint8], shape: ClipShape, seed: int) -> NDArray[np.uint8]:
    """A take as a model of this shape stores it: small ones are enlarged by a whole factor."""
    size_px = (shape.height_px, shape.width_px)
    small = np.stack([resize_frame(frame, size_px, "crop") for frame in clip[: shape.frames]])
    return take(small, seed).repeat(shape.stored_scale, 1).repeat(shape.stored_scale, 2)


def furnish(store: Store, shape: ClipShape) -> None:
    """A clip, and what any recipe needs of it, by a model of this shape."""
    clip, scale = waves(), shape.stored_scale

    def keep(frames: NDArray[np.uint8]) -> str:
        return store.put_media_bytes(encode_bytes(frames, FPS), ".mp4")

    def candidate(kind: CandidateKind, seed: int) -> Candidate:
        words = CAPTION if kind != "gap" else CAPTION.rsplit(" ", 1)[0]
        eta = 0.7 if kind == "guided" else None
        size = (shape.width_px * scale, shape.height_px * scale, shape.frames, FPS)
        return Candidate(
            f"{kind} {seed}", keep(stored(clip, shape, seed)), words, kind, "clip", "clip", "base", "weights", seed,
            *size, eta,
        )  # fmt: skip

    store.add([Clip("clip", keep(clip), CAPTION, WIDTH, HEIGHT, FRAMES, FPS, "waves")])
    store.add([candidate("take", 0), candidate("take", 1), candidate("gap", 2)])
    store.add([candidate("guided", 3), candidate("guided", 4)])
    store.add([CaptionRow("wrong", "clip", f"no {CAPTION}", "wrong")])
    scores = {"clip": 9.0, "take 0": 2.0}
    store.add(Score(f"score of {id}", id, "human", value, measured_by="human") for id, value in scores.items())


def label(store: Store, frames: int) -> None:
    """A label of the guided pair for each segment that a clip of so many frames has, and one of the pair of takes."""
    labels = (1, -1, 1, 1)[: int(frames / FPS // SEGMENT_S)]
    store.add([Preference("label", "guided 3", "guided 4", labels, "metric", SEGMENT_S)])
    store.add([Preference("label of takes", "take 0", "take 1", (1,), "metric")])


@dataclass(frozen=True)
class Ground:
    """A model's project, and the pipeline of diffusers that reads the same folder."""

    project: OpenProject
    pipeline: Any
    first_frame: bool
    frames: NDArray[np.uint8]  # [T, H, W, 3] at the model's size
    noise: Tensor  # [1, C, F, H, W]


Grounds = Callable[[str, bool], Ground]


def settings_for(recipe: str) -> TrainSettings:
    """Every step is the same comparison at one draw of time and noise, the cache's (`sft` needs none)."""
    fields = load_recipe(recipe).Options.model_fields
    strong = {"beta": 20.0} if "beta" in fields else {}
    few = {"swapped": 1} if "swapped" in fields else {}  # frames: some clips have three
    steps: dict[str, Any] = {
        "steps": STEPS,
        "batch": 1,
        "reference_cache": 1,
        "learning_rate": 3e-3,
        "warmup_steps": 0,
        "lr_scheduler": "constant",
    }
    adapter: dict[str, Any] = {"trainable": "lora", "lora_rank": 4, "lora_alpha": 10.0}
    return TrainSettings(recipe=recipe, options={**strong, **few}, held_out=0, shortcut_probe=0, **steps, **adapter)


def loss_at_first_draw(project: OpenProject, model: DiffusersBackbone) -> float:
    """The training loss of a model against the base, on the comparison and at the draw of the first step."""
    train = project.settings.train
    comparisons = recipe_comparisons(project, train).comparisons
    times = training_times(project.settings, model.spec)
    batch = make_batch([(c, 0) for c in comparisons], project.latents, model, NoiseSampler(0, times))
    errors = ViewErrors(plain_errors(model, batch), plain_errors(project.base, batch))
    return float(loss(errors, batch.terms))


def sampled(model: DiffusersBackbone, at: Ground) -> Tensor:
    """What a model makes of fixed noise, of the first clip's caption and of its first frame where it takes one."""
    if not at.first_frame:
        return sample(model, model.condition([CAPTION]), at.noise, steps=2)
    still = at.frames[None, 0]
    first = model.encode(still[:, None])[:, :, 0]
    condition = model.condition([CAPTION], first, **model.still(still, len(at.frames)))
    return sample(model, condition, at.noise, steps=2)


def diffusers_backbone(backbone: Backbone) -> DiffusersBackbone:
    assert isinstance(backbone, DiffusersBackbone)
    return backbone


def sampled_elsewhere(at: Ground, exported: Path) -> Tensor:
    """The same by the pipeline of diffusers that has loaded the adapter; an inflated image model is none of its own."""
    if at.pipeline is None:
        base = diffusers_backbone(at.project.base)
        return sampled(diffusers_backbone(load_backbone("inflated_sd", str(exported), base.options)), at)
    load_lora(at.pipeline, exported)
    try:
        mode = "first_frame" if at.first_frame else "text"
        return ask(at.pipeline, mode, at.noise, CAPTION, "", at.frames, 2, 1.0, FPS)
    finally:
        unload_lora(at.pipeline)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    """A model's project and pipeline, made once; runs of all recipes go into that project."""
    known: dict[tuple[str, bool], Ground] = {}
    folders: dict[str, Path] = {}

    def make(backbone: str, first_frame: bool) -> Ground:
        name = MODELS[backbone][first_frame]
        if name not in folders:
            place = tmp_path_factory.mktemp("model") / name
            with torch.random.fork_rng():
                folders[name] = tiny_sd.write(place) if backbone == "inflated_sd" else write(name, place)
        model: Any = load_backbone(backbone, str(folders[name]))
        (height, width), frames = size_of(model), frames_of(model)
        settings = Settings(
            backbone=BackboneSettings(
                name=backbone, path=str(folders[name]), gradient_checkpointing=False, height_px=height, width_px=width,
                frames=frames, fps=FPS, first_frame=first_frame,
            )
        )  # fmt: skip
        project = open_project(tmp_path_factory.mktemp(backbone) / "project", settings)
        furnish(project.store, ClipShape(height, width, frames))
        label(project.store, frames)
        pipeline = None if backbone == "inflated_sd" else load_pipeline(folders[name])
        return Ground(project, pipeline, first_frame, clips_for(model, 1)[0], noise_for(model, 1))

    return lambda *which: known[which] if which in known else known.setdefault(which, make(*which))


def test_every_family_and_every_recipe_is_among_those_that_always_run() -> None:
    assert set(MODELS) == set(backbone_names()) - {"tiny"}
    recipes, backbones = zip(*(case.values[:2] for case in CASES if not case.marks), strict=True)
    assert set(recipes) == set(recipe_names()) and set(backbones) == set(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "backbone", "first_frame"), CASES)
def test_three_steps_lower_the_loss_and_the_export_acts_as_the_run(
    recipe: str, backbone: str, first_frame: bool, ground: Grounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backbone == "hunyuan":  # its codec normalises over time, which a random one lets the first frame feel
        monkeypatch.setattr(checks, "LEAST_CORRELATION", 0.5)
    at = ground(backbone, first_frame)
    project = at.project
    project.settings = project.settings.model_copy(update={"train": settings_for(recipe)})
    result = train_run(project)
    assert (result.steps_now, result.comparisons) == (STEPS, 1)
    trained: Any = load_run(project, recipe)
    before = read_history(run_folder(project, recipe) / "metrics.jsonl")[1]["loss"]
    assert loss_at_first_draw(project, trained) < before
    exported = export_weights(project, recipe, tmp_path)
    made = sampled(trained, at)
    assert (made - sampled(diffusers_backbone(project.base), at)).abs().max() > 1e-3
    again = sampled_elsewhere(at, exported.path)
    torch.testing.assert_close(again, made, rtol=1e-3, atol=1e-4 * float(made.abs().max()))
