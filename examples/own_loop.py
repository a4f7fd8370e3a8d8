"""DPO of a Wan model in a plain diffusers and peft loop: from Rushes only the loss, and gradients one clip at a time.

    python examples/own_loop.py models/Wan2.1-T2V-1.3B-Diffusers PAIRS --out adapter

PAIRS is a folder with three files for each pair: NAME.win.mp4, NAME.lose.mp4 and NAME.txt, their caption.
`pipeline.load_lora_weights("adapter")` loads the result. Needs `make install EXTRAS=diffusers`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanPipeline
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor

import rushes

Pair = tuple[Tensor, Tensor]  # latents [2, C, F, H, W], the winner first; embeddings of the caption [1, L, D]


def main(arguments: list[str] | None = None) -> list[float]:
    """Train an adapter and write it; the loss of each step."""
    asked = options().parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = WanPipeline.from_pretrained(asked.weights, local_files_only=True).to(device)
    with torch.no_grad():
        pairs = list(read_pairs(pipeline, asked))
    if not pairs:
        raise SystemExit(f"{asked.pairs} has no pair; put NAME.win.mp4, NAME.lose.mp4 and NAME.txt there")
    network = pipeline.transformer.requires_grad_(False)
    torch.manual_seed(asked.seed)
    network.add_adapter(LoraConfig(r=asked.rank, lora_alpha=asked.rank, target_modules=["to_q", "to_k", "to_v"]))
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=asked.lr)
    losses = []
    for step in range(asked.steps):
        losses.append(train_step(network, pairs[step % len(pairs)], asked.beta))
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1}: loss {losses[-1]:.4f}")
    WanPipeline.save_lora_weights(asked.out, transformer_lora_layers=get_peft_model_state_dict(network))
    return losses


def train_step(network: Any, pair: Pair, beta: float) -> float:
    """Add a pair's gradient; both clips share noise and time. The reference is the network without its adapter."""
    latents, text = pair
    noise = torch.randn_like(latents[:1])
    t = rushes.TimeDraw("logit_normal", shift=3.0)(1, torch.Generator().manual_seed(int(torch.randint(2**31, ()))))
    t = t.to(latents)

    def view_errors(view: int) -> Tensor:
        """Mean squared error of the velocity [1, F], per latent frame."""
        clean = latents[view : view + 1]
        velocity = network((1 - t) * clean + t * noise, 1000 * t, text, return_dict=False)[0]
        return ((velocity - (noise - clean)).float() ** 2).mean((1, 3, 4))

    network.disable_adapters()
    with torch.no_grad():
        reference = torch.stack([view_errors(0), view_errors(1)], 1)
    network.enable_adapters()
    loss, _ = rushes.backward_by_view(view_errors, 2, lambda errors: rushes.dpo_loss(errors, reference, beta=beta))
    return loss.item()


def read_pairs(pipeline: Any, asked: argparse.Namespace) -> Iterator[Pair]:
    """Latents and caption of each pair, as the pipeline's own codec and text encoder make them."""
    codec = pipeline.vae
    mean, std = (torch.tensor(x).view(1, -1, 1, 1, 1) for x in (codec.config.latents_mean, codec.config.latents_std))
    for winner in sorted(asked.pairs.glob("*.win.mp4")):
        name = winner.name.removesuffix(".win.mp4")
        clips = [
            rushes.read_video(path, fps=asked.fps, frames=asked.frames, size_px=(asked.height, asked.width)).frames_FHWC
            for path in (winner, winner.with_name(f"{name}.lose.mp4"))
        ]
        pixels = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3) / 127.5 - 1
        latents = codec.encode(pixels.to(codec.device, codec.dtype)).latent_dist.mode()
        caption = winner.with_name(f"{name}.txt").read_text(encoding="utf-8").strip()
        text, _ = pipeline.encode_prompt(caption, do_classifier_free_guidance=False, max_sequence_length=512)
        yield (latents - mean.to(latents)) / std.to(latents), text


def options() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="folder of the model, in diffusers' layout")
    parser.add_argument("pairs", type=Path, help="folder of pairs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--beta", type=float, default=2000.0, help="strength of DPO, per mean squared error")
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--fps", type=float, default=16.0)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
