"""Every family takes training steps, and what is given of a first frame reaches it through the store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rushes.backbones.adapters import add_lora
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.store.latents import LatentStore, first_frame_key, still_key
from rushes.training.batches import NoiseSampler, make_batch
from rushes.training.comparison import Comparison, LatentGrid, View
from rushes.training.gradients import backward, plain_errors
from rushes.training.reference import Reference

from .references import CASES
from .test_pipelines import CAPTIONS, Models, clips_for, frames_of, noise_for

FIRST = {"first_frame": "real"}


def stored(model: DiffusersBackbone, folder: Path) -> LatentStore:
    """Latents of a clip and of a take, and all that is given of the clip's first frame."""
    latents = LatentStore(folder, "x")
    clips = clips_for(model)
    stills = model.still(clips[:1, 0], frames_of(model))
    latents.put({still_key("real", name): many[0] for name, many in stills.items()})
    latents.put({first_frame_key("real"): model.encode(clips[:1, :1])[0]})
    latents.put({"real": model.encode(clips)[0], "take": noise_for(model, 1, seed=3)[0]})
    return latents


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_three_steps_lower_the_loss(name: str, mode: str, tiny_model: Models, tmp_path: Path) -> None:
    model = tiny_model(name)
    latents, spec, given = stored(model, tmp_path), model.spec, mode == "first_frame"
    frames = noise_for(model).shape[2]
    grid = LatentGrid(frames, spec.temporal_ratio, 8.0, given, clean=spec.first_frame == "clean", lead=spec.lead)
    labels = grid.labels((1,))
    assert (labels[0] == 0) is (given and spec.first_frame == "clean")
    views = tuple(View(media, CAPTIONS[0], "real" if given else "") for media in ("real", "take"))
    terms = (Term("clip", (1.0, -1.0), labels, beta=20.0), Term("supervised", (1.0, 0.0), labels, loss_type="error"))
    batch = make_batch(
        [(Comparison("c", "g", views, terms), 0)], latents, model, NoiseSampler(0, TimeDraw("uniform", 0.5, 0.9))
    )
    assert bool((batch.t_RF[:, 0] == 0).all()) is (given and spec.first_frame == "clean")
    torch.manual_seed(0)
    add_lora(model.network, spec.lora_targets, rank=4, alpha=4)
    trained = [p for p in model.network.parameters() if p.requires_grad]
    optimiser, reference, losses = torch.optim.AdamW(trained, lr=3e-3), Reference(model.network), []
    with reference.applied():
        known = plain_errors(model, batch)
    for _ in range(4):
        optimiser.zero_grad()
        value, _ = backward(model, batch, known)
        losses.append(float(value))
        optimiser.step()
    assert losses[3] < losses[0], losses


def test_an_exception_leaves_the_adapter_as_it_was(tiny_model: Models) -> None:
    model = tiny_model("wan")
    add_lora(model.network, model.spec.lora_targets, rank=2, alpha=2)
    reference = Reference(model.network)
    for p in model.network.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p)
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    with pytest.raises(RuntimeError, match="stop"), reference.applied():
        raise RuntimeError("stop")
    assert all(torch.equal(p, before[name]) for name, p in model.network.named_parameters())
