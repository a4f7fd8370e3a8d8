"""A Stable Diffusion 1.x folder with a few thousand random weights, as diffusers writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from rushes.world.render import render
from rushes.world.scenes import draw_scenes

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def tokenizer() -> Any:
    """Of single bytes; one of 514 words."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: rank for rank, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=514, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=512, eos_token_id=513,
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def unet(**changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    config = {
        "sample_size": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**config, **changes})


def teach(codec: Any) -> None:
    """Until what it decodes is encoded as before: takes must start from the first frame that they were given."""
    frames = np.concatenate([render(scene)[::4] for scene in draw_scenes(1, 12)])
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    optimiser = torch.optim.Adam(codec.parameters(), 1e-2)
    for step in range(60):
        some = pixels[step % 12 :: 12]
        latents = codec.encode(some).latent_dist.mode()
        back = codec.decode(latents).sample
        again = codec.encode(back).latent_dist.mode()
        loss = (back - some).square().mean() + (again - latents).square().mean() / latents.var().detach()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def write(folder: Path, predicts: str = "epsilon", taught: bool = False, **changes: Any) -> Path:
    """The folder, always with the same weights; `changes` are of the UNet, and a codec that is taught gives back."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline

    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline: Any = StableDiffusionPipeline(
            vae=AutoencoderKL(
                block_out_channels=(4, 4, 8, 8),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                latent_channels=4,
                norm_num_groups=2,
                sample_size=32,
            ),
            text_encoder=text_encoder(),
            tokenizer=tokenizer(),
            unet=unet(**changes),
            scheduler=PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1, prediction_type=predicts),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        with torch.no_grad():
            for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
                for parameter in part.parameters():
                    if parameter.dim() > 1:  # so that captions, times and frames all show in what comes out
                        parameter.normal_(0, parameter[0].numel() ** -0.5)
        if taught:
            teach(pipeline.vae)
        pipeline.save_pretrained(folder)
    return folder
