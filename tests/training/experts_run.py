"""Runs of a model with two experts, one for each case, in several processes: experts_run.py FOLDER MODEL."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

from rushes.backbones import wan
from rushes.backbones.adapters import add_lora
from rushes.backbones.base import LoadOptions, Precision
from rushes.backbones.pipeline import load_model
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw, seeded
from rushes.objectives.terms import Term
from rushes.project.jobs import whole_weights
from rushes.store.latents import LatentStore
from rushes.training.batches import NoiseSampler
from rushes.training.comparison import Comparison, View
from rushes.training.loop import TrainingData, train
from rushes.training.memory import GradientMode, GradientStrategy
from rushes.training.parallel import Ranks, joined
from rushes.training.reference_cache import fill, open_cache

BOUNDARY = 0.6  # so that both experts are asked in a few steps, and each is idle in some
STEPS = 4


@dataclass(frozen=True)
class Case:
    """How a run is trained; `alone` is how one process trains it for comparison."""

    parallel: Literal["replicate", "shard"] = "shard"
    gradients: GradientMode = "joint"
    batch: int = 3
    dtype: Precision = "float32"
    tune: str = "lora"
    cache: int = 0


CASES = {
    "copies, idle experts": Case("replicate", batch=1),
    "one graph for each expert": Case(),
    "one graph for each expert, bfloat16": Case(dtype="bfloat16"),
    "rows": Case(gradients="two_pass"),
    "a cache, a process without a comparison": Case(gradients="two_pass", batch=1, cache=2),
    "all weights": Case(tune="full"),
    "all weights, mixed": Case(dtype="mixed", tune="full"),
}


def data_in(folder: Path) -> TrainingData:
    """Pairs, and comparisons of three views, of random latents; the last is held out."""
    latents = LatentStore(folder / "latents", "experts")
    if not len(latents):
        draw = seeded("experts")
        latents.put({f"{side}{i}": torch.randn(4, 3, 4, 4, generator=draw) for i in range(8) for side in "ab"})
    found = []
    for i in range(8):
        views = tuple(View(f"{side}{i}", f"ball {i % 3}") for side in "ab")
        terms: tuple[Term, ...] = (Term("clip", (1.0, -1.0), (1, 1, 1), 5.0),)
        if i % 2:
            views = (*views, View("b0", "dog"))
            terms = (Term("clip", (1.0, -1.0, 0.0), (1, 1, 0), 5.0), Term("clip", (1.0, 0.0, -1.0), (1, 1, 1), 5.0))
        found.append(Comparison(f"c{i}", f"g{i}", views, terms))
    return TrainingData(found[:7], found[7:], latents, TimeDraw("uniform"))


def run(folder: Path, model: str, case: Case, ranks: Ranks) -> None:
    backbone = load_model(model, wan.FAMILY, LoadOptions(dtype=case.dtype))
    backbone.spec = replace(backbone.spec, boundary=BOUNDARY)
    data = data_in(folder)
    backbone.prepare([view.caption for c in (*data.comparisons, *data.held_out) for view in c.views])
    torch.manual_seed(0)
    if case.tune == "lora":
        add_lora(backbone.network, backbone.spec.lora_targets, 4, 8)
    else:
        backbone.network.requires_grad_(True)
    backbone.network.eval()
    if case.cache:
        draws, strategy = NoiseSampler(2, data.times), GradientStrategy("two_pass")
        cache = open_cache(
            folder / "bank", case.cache, weights="", latents=data.latents, backbone=backbone, draws=draws
        )
        fill(cache, ranks.share(data.comparisons), backbone, data.latents, draws=draws, strategy=strategy)
        ranks.wait()
        cache.entries.look_again()
        data = replace(data, reference_cache=cache)
    settings = TrainSettings(
        steps=STEPS, batch=case.batch, learning_rate=1e-3, checkpoint_every=STEPS, warmup_steps=0,
        lr_scheduler="constant", parallel=case.parallel, gradients=case.gradients, reference_cache=case.cache,
    )  # fmt: skip
    train(backbone, data, settings, folder, seed=2, identity="experts", ranks=ranks)
    weights = dict(whole_weights(backbone))
    if ranks.first:
        save_file(weights, folder / "weights.safetensors")


def main(folder: Path, model: str) -> None:
    torch.set_num_threads(1)
    with joined() as ranks:
        frozen = torch.nn.Linear(2, 2).requires_grad_(False)
        torch.nn.init.constant_(frozen.weight, 1.0 + ranks.rank)
        ranks.match(frozen)
        kept = float(frozen.weight.sum())
        ranks.match(frozen, frozen=True)
        (folder / f"matched-{ranks.rank}").write_text(f"{kept:g} {float(frozen.weight.sum()):g}")
        for name, case in CASES.items():
            (folder / name).mkdir(exist_ok=True)
            if ranks.first:
                data_in(folder / name)
            ranks.wait()
            run(folder / name, model, case, ranks)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
