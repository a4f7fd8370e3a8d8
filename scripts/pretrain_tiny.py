"""Make the base of the embedded world: fit the codec, train the transformer, go on from where a run was stopped.

The corpus stands for web video: dots are lost at a rate that grows with tempo, an eighth of the clips breaks a law,
half of the captions do not say how fast, and some clips are renderings of flow. It is drawn anew as training goes on.

    python scripts/pretrain_tiny.py --folder runs/tiny                  # until SIGTERM or SIGINT, which save and end
    python scripts/pretrain_tiny.py --folder runs/tiny --cooldown 2000  # goes on, learning rate falling to 0
    python scripts/pretrain_tiny.py --folder runs/new --start base.safetensors  # from weights, optimizers anew

The folder holds `state.pt` (all that going on needs: the same steps follow as without a stop), `base.safetensors`
(averaged weights in bfloat16), `log.jsonl` and `run.json` (commands, seed, hours, hardware).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from rushes.backbones.tiny import RATIO, PatchCodec, TinyBackbone, TinyConfig
from rushes.edits.renderings import flow
from rushes.files import whole_file, write_json
from rushes.noise.draws import TimeDraw, seeded
from rushes.world.mechanics import FRAMES, SIZE_PX
from rushes.world.plants import corpus_scenes
from rushes.world.render import render

CHUNK, HELD, STEPS_A_CHUNK = 1024, 8, 96  # clips drawn at once, chunks in memory, steps between two of them
RENDERED = 64  # renderings of flow beside the clips of a chunk; each costs as much as forty clips
WORDS = 16  # longest caption
RENDERING_WEIGHT = 0.3  # of patches of flow beside those of clips, when the codec is fitted
FIRST_GIVEN, CAPTIONED = 0.75, 0.9  # shares of the draws
SPREAD = 0.7  # of latents: lost dots are then decided at times of about 0.75 and motion above 0.9, where TIMES draws
TIMES = TimeDraw("logit_normal", mean=1.0, std=1.3)
AVERAGE = 0.9995  # of weights; half of it is from the last 1,400 steps
WARM = 200


def clips(seed: list[int], count: int, rendered: int) -> tuple[list[str], NDArray[np.uint8]]:
    """Captions and frames [N, F, H, W, 3]; the last `rendered` of them are renderings of flow."""
    scenes = corpus_scenes(seed, count)
    frames = np.empty((count, FRAMES, SIZE_PX, SIZE_PX, 3), np.uint8)
    for at, scene in enumerate(scenes):
        frames[at] = drawn = render(scene)
        if at >= count - rendered:
            frames[at] = flow(drawn, drawn)
    return [scene.caption for scene in scenes], frames


def fit_codec(codec: PatchCodec, frames_NTHWC: NDArray[np.uint8], weight_N: Tensor) -> None:
    """Principal components of patches; latents keep part of the spectrum: variance falls as the square root."""
    for name, span, part in (("first", 1, slice(0, 1)), ("block", RATIO, slice(1, None))):
        size = codec.get_buffer(f"{name}_mean").shape[0]
        mean, outer = torch.zeros(size, dtype=torch.double), torch.zeros((size, size), dtype=torch.double)
        total = 0.0
        for at in range(0, len(frames_NTHWC), 50):
            x = torch.from_numpy(frames_NTHWC[at : at + 50, part]).float() / 127.5 - 1
            patches = codec.patches(x, span)
            w = weight_N[at : at + 50, None, None, None].expand(patches.shape[:-1]).reshape(-1, 1)
            patches = patches.reshape(-1, patches.shape[-1])
            mean, total = mean + (patches * w).sum(0).double(), total + float(w.sum())
            outer = outer + ((patches * w).T @ patches).double()
        mean = mean / total
        values, vectors = torch.linalg.eigh(outer / total - mean[:, None] * mean)
        basis = codec.get_buffer(f"{name}_basis")
        spread = values.flip(0)[: basis.shape[1]].clamp(min=1e-8).sqrt()
        codec.get_buffer(f"{name}_mean").copy_(mean)
        basis.copy_(vectors.flip(1)[:, : basis.shape[1]])
        codec.get_buffer(f"{name}_scale").copy_((spread * spread.mean()).sqrt() / SPREAD)
    for buffer in codec.buffers():  # as it is shipped, so that training sees the latents that takes will have
        buffer.copy_(buffer.bfloat16())


class Corpus:
    """Latents of the newest chunks: the same for a step whatever was run before."""

    def __init__(self, backbone: TinyBackbone, seed: int) -> None:
        self.backbone, self.seed = backbone, seed
        latent = backbone.encode(np.zeros((1, FRAMES, SIZE_PX, SIZE_PX, 3), np.uint8)).shape[1:]
        self.latents = torch.zeros((HELD, CHUNK + RENDERED, *latent), dtype=torch.half)
        self.words = torch.zeros((HELD, CHUNK + RENDERED, WORDS), dtype=torch.long)
        self.index = [-1] * HELD

    def draw(self, step: int, count: int, generator: torch.Generator, renderings: float) -> tuple[Tensor, Tensor]:
        """Latents [N, C, F, H, W] and words [N, L] that step `step` sees; so large a share are renderings."""
        last = step // STEPS_A_CHUNK
        for index in range(max(0, last - HELD + 1), last + 1):
            if self.index[index % HELD] != index:
                self._fill(index)
        slots = torch.randint(min(last + 1, HELD), (count,), generator=generator)
        rows = torch.randint(CHUNK, (count,), generator=generator)
        rendering = torch.rand(count, generator=generator) < renderings
        rows = torch.where(rendering, CHUNK + rows % RENDERED, rows)
        return self.latents[slots, rows].float(), self.words[slots, rows]

    def _fill(self, index: int) -> None:
        slot, parts = index % HELD, 8
        for part in range(parts):
            size, rendered = CHUNK // parts, RENDERED if part == parts - 1 else 0
            captions, frames = clips([self.seed, 1, index, part], size + rendered, rendered)
            words = self.backbone.condition(captions).text
            rows = slice(part * size, part * size + len(frames))
            self.latents[slot, rows] = self.backbone.encode(frames).half()
            self.words[slot, rows] = torch.nn.functional.pad(words, (0, WORDS - words.shape[1]))
        self.index[slot] = index


def optimisers(network: torch.nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the rest."""
    inside = [p for n, p in network.named_parameters() if n.startswith("blocks.") and p.ndim == 2 and "shifts" not in n]
    chosen = {id(p) for p in inside}
    others = [p for p in network.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(inside, lr=lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]


@dataclass
class Run:
    """A training run: weights, their average, optimizers, and the step that comes next."""

    backbone: TinyBackbone
    seed: int
    lr: float
    step: int = 0
    cooled_from: int | None = None  # step from which the learning rate falls
    average: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.optimisers = optimisers(self.backbone.network, self.lr)
        self.average = {k: v.detach().clone() for k, v in self.backbone.network.state_dict().items()}

    def save(self, folder: Path) -> None:
        """`state.pt`, and `base.safetensors` with averaged weights in bfloat16."""
        state = {
            "config": vars(self.backbone.config),
            "codec": self.backbone.codec.state_dict(),
            "network": self.backbone.network.state_dict(),
            "average": self.average,
            "optimisers": [each.state_dict() for each in self.optimisers],
            "step": self.step,
            "cooled_from": self.cooled_from,
            "seed": self.seed,
            "lr": self.lr,
        }
        with whole_file(folder / "state.pt") as partial:
            torch.save(state, partial)
        rows = {f"codec.{k}": v for k, v in self.backbone.codec.state_dict().items()}
        rows |= {f"network.{k}": v for k, v in self.average.items()}
        shape = {k: str(v) for k, v in vars(self.backbone.config).items()}
        halved = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in rows.items()}
        with whole_file(folder / "base.safetensors") as partial:
            save_file(halved, partial, metadata=shape)

    @classmethod
    def load(cls, folder: Path) -> Run:
        """What `save` wrote."""
        state = torch.load(folder / "state.pt", weights_only=True)
        backbone = TinyBackbone(TinyConfig(**state["config"]))
        backbone.codec.load_state_dict(state["codec"])
        backbone.network.load_state_dict(state["network"])
        run = cls(backbone, state["seed"], state["lr"], step=state["step"], cooled_from=state["cooled_from"])
        run.average = state["average"]
        for optimiser, saved in zip(run.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        return run

    @classmethod
    def begin(cls, args: argparse.Namespace) -> Run:
        """A new run: from weights, or with a codec fitted to the corpus and random ones."""
        torch.manual_seed(args.seed)
        if args.start:
            return cls(TinyBackbone.load(args.start), args.seed, args.lr)
        shape = TinyConfig(channels=args.channels, width=args.width, depth=args.depth, patch_px=args.patch)
        backbone = TinyBackbone(shape)
        rendered = args.codec_clips // 10
        _, frames = clips([args.seed, 0], args.codec_clips, rendered)
        weight = torch.ones(len(frames))
        weight[-rendered:] = RENDERING_WEIGHT
        fit_codec(backbone.codec, frames, weight)
        return cls(backbone, args.seed, args.lr)


def learning_rate_share(step: int, cooled_from: int | None, cooldown: int) -> float:
    """Of the full rate: warm-up, then constant, then straight to 0 over `cooldown` steps."""
    share = min(1.0, (step + 1) / WARM)
    return share if cooled_from is None else share * max(0.0, 1 - (step - cooled_from) / cooldown)


def train_step(run: Run, forward: Any, corpus: Corpus, args: argparse.Namespace) -> float:
    """One step of flow matching; all draws depend on seed and step alone."""
    generator = seeded("arena", run.seed, run.step)  # the name under which the draws of the base that ships were made
    clean, words = corpus.draw(run.step, args.batch, generator, args.renderings)
    noise = torch.randn(clean.shape, generator=generator)
    t = TIMES(args.batch, generator)[:, None].expand(-1, clean.shape[2]).clone()
    given = bool(torch.rand(1, generator=generator) < FIRST_GIVEN)
    if given:
        t[:, 0] = 0
    captioned = (torch.rand(args.batch, generator=generator) < CAPTIONED).long()
    path = run.backbone.spec.path
    place = torch.device(args.device)
    with torch.autocast(place.type, torch.bfloat16):
        first = clean[:, :, 0].to(place) if given else None
        out = forward(path.mix(clean, noise, t).to(place), t.to(place), (words * captioned[:, None]).to(place), first)
    scored = slice(1, None) if given else slice(None)
    loss = ((out.float() - path.target(clean, noise, t).to(place))[:, :, scored] ** 2).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.backbone.network.parameters(), 1.0)
    share = learning_rate_share(run.step, run.cooled_from, args.cooldown)
    for optimiser in run.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = run.lr * share
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    decay = min(AVERAGE, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        for name, value in run.backbone.network.state_dict().items():
            run.average[name].lerp_(value, 1 - decay)
    run.step += 1
    return float(loss.detach())


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """A list that holds the signal once one asks to stop."""
    asked: list[int] = []
    before = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(run: Run, args: argparse.Namespace) -> None:
    """Until `--steps`, the end of the cooldown or a signal; saves every few minutes and at the end."""
    folder: Path = args.folder
    if args.cooldown and run.cooled_from is None:
        run.cooled_from = run.step
    last = args.steps if run.cooled_from is None else run.cooled_from + args.cooldown
    corpus = Corpus(run.backbone, run.seed)
    network = run.backbone.network.to(args.device)
    run.average = {k: v.to(args.device) for k, v in run.average.items()}
    forward = torch.compile(network) if args.compile else network
    began, used, first = time.time(), time.process_time(), run.step
    saved, losses = time.time(), []
    with stoppable() as asked, (folder / "log.jsonl").open("a") as log:
        while run.step < last and not asked:
            losses.append(train_step(run, forward, corpus, args))
            if run.step % 50 == 0 or run.step == last:
                hours = {"wall_h": (time.time() - began) / 3600, "processor_h": (time.process_time() - used) / 3600}
                row = {"step": run.step, "loss": float(np.mean(losses)), "steps": run.step - first} | hours
                print(json.dumps(row), file=log, flush=True)
                losses = []
            if time.time() - saved > 60 * args.minutes:
                run.save(folder)
                record(run, args, first, began, used)
                saved = time.time()
    run.save(folder)
    record(run, args, first, began, used)


def record(run: Run, args: argparse.Namespace, first: int, began: float, used: float) -> None:
    """`run.json`: an entry for this start, beside those of earlier ones."""
    path = args.folder / "run.json"
    starts = json.loads(path.read_text())["starts"] if path.exists() else []
    entry = {
        "began": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(began)),
        "command": shlex.join(["python", *sys.argv]),
        "from_step": first,
        "to_step": run.step,
        "clips_seen": (run.step - first) * args.batch,
        "wall_h": round((time.time() - began) / 3600, 3),
        "processor_h": round((time.process_time() - used) / 3600, 3),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "device": args.device,
        "torch": torch.__version__,
    }
    starts = [start for start in starts if start["began"] != entry["began"]]
    write_json(path, {"seed": run.seed, "lr": run.lr, "batch": args.batch, "starts": [*starts, entry]})


def main() -> None:
    """Read the arguments; begin or go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="weights to begin from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10**9, help="of the whole run")
    parser.add_argument(
        "--cooldown", type=int, default=0, help="steps in which the learning rate falls to 0; then ends"
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--channels", type=int, default=TinyConfig.channels)
    parser.add_argument("--width", type=int, default=TinyConfig.width)
    parser.add_argument("--depth", type=int, default=TinyConfig.depth)
    parser.add_argument("--patch", type=int, default=TinyConfig.patch_px, help="px")
    parser.add_argument("--renderings", type=float, default=0.15, help="share of the draws that are renderings of flow")
    parser.add_argument("--codec-clips", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=5.0, help="between two checkpoints")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="about 1.2 times as fast; needs a C++ compiler")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    run = Run.load(args.folder) if (args.folder / "state.pt").exists() else Run.begin(args)
    if run.step == 0:
        run.save(args.folder)
    train(run, args)


if __name__ == "__main__":
    main()
