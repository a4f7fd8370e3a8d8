"""Make the base checkpoint of the embedded backbone: fit the codec, train the transformer, write one safetensors file.

The corpus stands for web video: mostly true clips, a quarter in slow motion under captions that do not say so, some
with a violation. So the base is visibly good and visibly imperfect, and preference training has something to mend.

    python scripts/pretrain_tiny.py --out src/rushes/backbones/weights/tiny.safetensors

Seed, steps, time and hardware of the shipped file are in docs/world.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rushes.backbones.tiny import RATIO, PatchCodec, TinyBackbone, TinyConfig
from rushes.noise.draws import TimeDraw
from rushes.world.render import render
from rushes.world.scenes import FRAMES, SIZE_PX, draw_scenes
from rushes.world.violations import violate

SLOW, BROKEN = 0.25, 0.15  # shares of the corpus
TEXTURES, TEXTURE_WEIGHT = 300, 0.1  # so that the codec also carries ordinary footage


def corpus(seed: int, clips: int) -> tuple[list[str], NDArray[np.uint8]]:
    """Captions and frames [N, T, H, W, 3] of a web-like corpus."""
    rng = np.random.default_rng(seed)
    slow = round(clips * SLOW)
    scenes = draw_scenes([seed, 0], clips - slow) + draw_scenes([seed, 1], slow, slow=0.5)
    scenes = [violate(s, rng)[0] if rng.random() < BROKEN else s for s in scenes]
    frames = np.empty((clips, FRAMES, SIZE_PX, SIZE_PX, 3), np.uint8)
    for row, scene in zip(frames, scenes, strict=True):
        row[:] = render(scene)
    return [s.caption for s in scenes], frames


def textures(rng: np.random.Generator, clips: int) -> NDArray[np.uint8]:
    """Drifting coloured noise with the spectrum of natural images."""
    big = 2 * SIZE_PX
    rate = np.fft.fftfreq(big)
    radius = np.maximum(np.hypot(rate[:, None], rate[None]), 1 / big)
    out = np.empty((clips, FRAMES, SIZE_PX, SIZE_PX, 3), np.uint8)
    for row in out:
        falloff = radius ** -rng.uniform(0.9, 1.4)
        planes = [np.real(np.fft.ifft2(np.fft.fft2(rng.normal(size=(big, big))) * falloff)) for _ in range(4)]
        grey, *tints = (p / p.std() for p in planes)
        still = np.stack([grey + 0.35 * tint for tint in tints], -1) * rng.uniform(20, 60) + rng.uniform(60, 190)
        step = rng.normal(size=2) * rng.choice([0.0, 0.6, 1.5])
        for t in range(FRAMES):
            shift = np.array([[1, 0, step[0] * t - SIZE_PX / 2], [0, 1, step[1] * t - SIZE_PX / 2]], np.float32)
            view = cv2.warpAffine(still.astype(np.float32), shift, (SIZE_PX, SIZE_PX), borderMode=cv2.BORDER_WRAP)
            row[t] = np.clip(view, 0, 255)
    return out


def fit_codec(codec: PatchCodec, frames_NTHWC: NDArray[np.uint8], seed: int) -> None:
    """Principal components of patches; latents keep part of the spectrum: variance falls as the square root."""
    extra = textures(np.random.default_rng([seed, 2]), TEXTURES)
    x = torch.from_numpy(np.concatenate([frames_NTHWC, extra])).float() / 127.5 - 1
    weight = torch.cat([torch.ones(len(frames_NTHWC)), torch.full((len(extra),), TEXTURE_WEIGHT)])
    for name, part, span in (("first", x[:, :1], 1), ("block", x[:, 1:], RATIO)):
        patches = codec.patches(part, span)
        w = weight[:, None, None, None].expand(patches.shape[:-1]).reshape(-1, 1)
        patches = patches.reshape(-1, patches.shape[-1])
        mean = (patches * w).sum(0) / w.sum()
        values, vectors = torch.linalg.eigh((((patches - mean) * w).T @ (patches - mean) / w.sum()).double())
        basis = codec.get_buffer(f"{name}_basis")
        spread = values.flip(0)[: basis.shape[1]].clamp(min=1e-8).sqrt()
        codec.get_buffer(f"{name}_mean").copy_(mean)
        basis.copy_(vectors.flip(1)[:, : basis.shape[1]])
        codec.get_buffer(f"{name}_scale").copy_((spread * spread.mean()).sqrt())


def optimisers(network: torch.nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the rest."""
    inside = {
        id(p) for n, p in network.named_parameters() if n.startswith("blocks.") and p.ndim == 2 and "shifts" not in n
    }
    matrices = [p for p in network.parameters() if id(p) in inside]
    others = [p for p in network.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def train(backbone: TinyBackbone, captions: list[str], latents: torch.Tensor, args: argparse.Namespace) -> None:
    """Flow matching; the first frame is given in 85 % of the draws, the caption in 90 %."""
    network = backbone.network.to(args.device)
    opts = optimisers(network, args.lr)
    warm = min(200, args.steps // 10 + 1)
    schedule = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda s: min((s + 1) / warm, max(0.0, 1 - s / args.steps))) for o in opts
    ]
    words = backbone.condition(captions).text
    generator = torch.Generator().manual_seed(args.seed)
    draw = TimeDraw("logit_normal", mean=0.4, std=1.2)
    forward = torch.compile(network) if args.compile else network
    start, running = time.time(), 0.0
    place = torch.device(args.device)
    for step in range(args.steps):
        rows = torch.randint(len(latents), (args.batch,), generator=generator)
        clean = latents[rows].float()
        noise = torch.randn(clean.shape, generator=generator)
        t = draw(args.batch, generator)[:, None].expand(-1, clean.shape[2]).clone()
        given = bool(torch.rand(1, generator=generator) < 0.85)
        if given:
            t[:, 0] = 0
        said = (torch.rand(args.batch, generator=generator) < 0.9).long()
        noised = backbone.spec.path.mix(clean, noise, t)
        target = backbone.spec.path.target(clean, noise, t)
        first = clean[:, :, 0].to(place) if given else None
        with torch.autocast(place.type, torch.bfloat16):
            out = forward(noised.to(place), t.to(place), (words[rows] * said[:, None]).to(place), first)
        scored = slice(1, None) if given else slice(None)
        loss = ((out.float() - target.to(place))[:, :, scored] ** 2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for o, s in zip(opts, schedule, strict=True):
            o.step()
            s.step()
            o.zero_grad(set_to_none=True)
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            clips = (step + 1) * args.batch / (time.time() - start)
            print(f"step {step + 1} loss {running:.4f} {clips:.0f} clips/s {time.time() - start:.0f} s", flush=True)


def main() -> None:
    """Read the arguments, make the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=48_000)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--device", default="cpu", help="where the transformer is trained, such as cuda")
    parser.add_argument("--compile", action="store_true", help="about 1.2 times as fast; needs a C++ compiler")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    start = time.time()
    captions, frames = corpus(args.seed, args.clips)
    backbone = TinyBackbone(TinyConfig(channels=args.channels))
    fit_codec(backbone.codec, frames[np.random.default_rng(args.seed).permutation(len(frames))[:2000]], args.seed)
    latents = torch.cat([backbone.encode(frames[i : i + 1000]).half() for i in range(0, len(frames), 1000)])
    del frames
    print(
        f"{len(captions)} clips, latents of variance {latents.float().var():.3f}, {time.time() - start:.0f} s",
        flush=True,
    )
    train(backbone, captions, latents, args)
    backbone.network.to("cpu")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    backbone.save(args.out)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB), {time.time() - start:.0f} s in all")


if __name__ == "__main__":
    main()
