"""What is special about HunyuanVideo's image-to-video models: captions are read together with the first frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from rushes.backbones.base import ReadsTogether
from rushes.backbones.hunyuan import HunyuanFromImage
from rushes.backbones.loading import load_backbone
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.training.batches import NoiseSampler, make_batch, read_views
from rushes.training.comparison import Comparison, View

from .references import load_pipeline
from .test_pipelines import CAPTIONS, Models, clips_for, condition_for, noise_for, times_for
from .test_pipelines_train import stored

Folders = Callable[[str], Path]
every_form = pytest.mark.parametrize("name", ["hunyuan_i2v", "hunyuan_i2v_channels"])


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("hunyuan", (("text",), "clean", (), 0.0, "embedded")),
        ("hunyuan_i2v", (("first_frame",), "clean", ("look",), 0.001, "embedded")),
        ("hunyuan_i2v_channels", (("first_frame",), "channels", ("look",), 0.001, "two_passes")),
    ],
)
def test_facts_are_read_from_the_folder(name: str, facts: tuple[Any, ...], tiny_model: Models) -> None:
    spec = tiny_model(name).spec
    assert (spec.modes, spec.first_frame, spec.still, spec.start_share, spec.guidance) == facts


@every_form
def test_a_caption_and_its_first_frame_are_read_as_by_the_pipeline(
    name: str, tiny_model: Models, tiny_folder: Folders
) -> None:
    model, pipeline = tiny_model(name), load_pipeline(tiny_folder(name))
    condition = condition_for(model, "first_frame")
    kept = {"hunyuan_i2v": 4, "hunyuan_i2v_channels": 2}[name]
    for row, caption in enumerate(CAPTIONS):
        image = Image.fromarray(clips_for(model)[row, 0])
        with torch.no_grad():
            text, pooled, mask = pipeline.encode_prompt(image=image, prompt=caption, image_embed_interleave=kept)
        torch.testing.assert_close(condition.text[row], text[0] * mask[0, :, None])
        torch.testing.assert_close(condition.more["pooled"][row], pooled[0])
        assert torch.equal(condition.more["mask"][row].bool(), mask[0].bool())
        assert len(text[0]) > 576 // kept  # the image's tokens, and the caption's


@every_form
def test_what_the_network_is_given_is_the_pipelines(
    name: str, tiny_model: Models, tiny_folder: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pipeline = tiny_model(name), load_pipeline(tiny_folder(name))
    noise, frames = noise_for(model, 1), clips_for(model, 1)[0]
    given: dict[str, list[Tensor]] = {"ours": [], "theirs": []}

    def watch(network: Any, who: str) -> None:
        def forward(x: Tensor | None = None, *_: Any, **named: Any) -> tuple[Tensor]:
            seen = named["hidden_states"] if x is None else x
            given[who].append(seen.clone())
            return (torch.zeros_like(noise),)

        monkeypatch.setattr(network, "forward", forward)

    watch(model.network, "ours")
    watch(pipeline.transformer, "theirs")
    size = {"height": frames.shape[1], "width": frames.shape[2], "num_frames": len(frames)}
    image = Image.fromarray(frames[0])
    pipeline(
        image=image, prompt=CAPTIONS[0], latents=noise.clone(), num_inference_steps=1, output_type="latent", **size
    )
    condition = condition_for(model, "first_frame", CAPTIONS[:1], 1)
    first = condition.more["first"] if condition.first_frame is None else condition.first_frame
    start = 0.999 * noise + 0.001 * first
    if condition.first_frame is not None:
        start[:, :, :1] = first
    model.predict(start, times_for(model, condition, 1.0, 1), condition)
    torch.testing.assert_close(given["ours"][0], given["theirs"][0], rtol=1e-5, atol=1e-5)


@every_form
def test_all_pairs_of_a_run_are_read_by_one_reader(
    name: str, tiny_model: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none while it trains, when the reader would stand beside the network."""
    model = tiny_model(name)
    assert isinstance(model, HunyuanFromImage) and isinstance(model, ReadsTogether)
    latents = stored(model, tmp_path)
    views = tuple(View(media, caption, "real") for media, caption in (("real", CAPTIONS[0]), ("take", CAPTIONS[1])))
    made: list[object] = []
    reader = model.reader

    def counted() -> object:
        made.append(reader())
        return made[-1]

    monkeypatch.setattr(model, "reader", counted)
    model.prepare(CAPTIONS)
    read_views(model, [*views, *views], latents)
    read_views(model, views, latents)
    assert len(made) == 1
    term = Term("clip", (1.0, -1.0), (0,) + (1,) * 2, beta=20.0)
    batch = make_batch(
        [(Comparison("c", "g", views, (term,)), 0)], latents, model, NoiseSampler(0, TimeDraw("uniform"))
    )
    assert len(made) == 1 and not torch.equal(batch.condition.text[0], batch.condition.text[1])


def test_a_way_to_take_a_first_frame_that_is_unknown(tiny_folder: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder("hunyuan_i2v"), tmp_path / "model"))
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_condition_type": None}))
    with pytest.raises(ValueError, match=r"image_condition_type is None, but a model that starts from an image has"):
        load_backbone("hunyuan", str(folder))
