"""Configurations of released models, as far as their cost depends on them, for forecasts without the model at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.backbones.folders import Folder
from rushes.pipeline.checks import unknown

Config = dict[str, Any]


@dataclass(frozen=True)
class Published(Folder):
    """What a released model's folder says, without the folder."""

    configs: Mapping[str, Config]

    def config(self, part: str) -> Config:
        """What a part's configuration says."""
        return dict(self.configs[part])


def _model(pipeline: str, transformer: str, config: Config, vae: Config, scheduler: Config, **index: Any) -> Published:
    parts = {"transformer": ["diffusers", transformer], "scheduler": ["diffusers", scheduler["_class_name"]]}
    more = {name: parts["transformer"] for name in ("transformer_2",) if "boundary_ratio" in index}
    configs = {"transformer": config, "transformer_2": config, "vae": vae, "scheduler": scheduler}
    return Published(Path(), {"_class_name": pipeline, **parts, **more, **index}, configs)


_UNIPC = {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction", "use_flow_sigmas": True}
_EULER = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
_COG_SCHEDULE = {
    "_class_name": "CogVideoXDDIMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def _wan(layers: int, heads: int, ffn: int, first_frame: bool = False, looks: bool = False, **index: Any) -> Published:
    config = {"num_layers": layers, "num_attention_heads": heads, "ffn_dim": ffn, "patch_size": [1, 2, 2]}
    config |= {"in_channels": 36 if first_frame else 16}
    config |= {"image_dim": 1280, "added_kv_proj_dim": heads * 128} if looks else {}
    pipeline = "WanImageToVideoPipeline" if first_frame else "WanPipeline"
    return _model(pipeline, "WanTransformer3DModel", config, {"z_dim": 16}, {**_UNIPC, "flow_shift": 3.0}, **index)


def _wan_5b() -> Published:
    config = {"num_layers": 30, "num_attention_heads": 24, "ffn_dim": 14336, "patch_size": [1, 2, 2]}
    config |= {"in_channels": 48, "out_channels": 48}
    codec = {"z_dim": 48, "scale_factor_spatial": 16}
    schedule = {**_UNIPC, "flow_shift": 5.0}
    return _model("WanPipeline", "WanTransformer3DModel", config, codec, schedule, expand_timesteps=True)


def _cogvideox(layers: int, heads: int, first_frame: bool = False, **changes: Any) -> Published:
    config = {"num_layers": layers, "num_attention_heads": heads, "patch_size": 2, "in_channels": 16, **changes}
    config |= {"in_channels": 32} if first_frame else {}
    codec = {"latent_channels": 16, "block_out_channels": [128, 256, 256, 512], "temporal_compression_ratio": 4}
    pipeline = "CogVideoXImageToVideoPipeline" if first_frame else "CogVideoXPipeline"
    return _model(
        pipeline, "CogVideoXTransformer3DModel", config, {**codec, "scaling_factor": 0.7}, dict(_COG_SCHEDULE)
    )


def _ltx(layers: int, width: int) -> Published:
    config = {"num_layers": layers, "attention_head_dim": width // 32, "cross_attention_dim": width}
    codec = {"latent_channels": 128, "spatio_temporal_scaling": [True, True, True, False], "patch_size": 4}
    return _model("LTXPipeline", "LTXVideoTransformer3DModel", config, codec, dict(_EULER))


_ROTARY: Config = {"use_rotary_positional_embeddings": True, "sample_height": 60, "sample_width": 90}
MODELS = {
    "wan2.1-t2v-1.3b": _wan(30, 12, 8960),
    "wan2.1-t2v-14b": _wan(40, 40, 13824),
    "wan2.1-i2v-14b": _wan(40, 40, 13824, first_frame=True, looks=True),
    "wan2.2-t2v-a14b": _wan(40, 40, 13824, boundary_ratio=0.875),
    "wan2.2-i2v-a14b": _wan(40, 40, 13824, first_frame=True, boundary_ratio=0.9),
    "wan2.2-ti2v-5b": _wan_5b(),
    "cogvideox-2b": _cogvideox(30, 30),
    "cogvideox-5b": _cogvideox(42, 48, **_ROTARY),
    "cogvideox-5b-i2v": _cogvideox(42, 48, first_frame=True, use_learned_positional_embeddings=True, **_ROTARY),
    "cogvideox-1.5-5b": _cogvideox(
        42, 48, **{**_ROTARY, "patch_size_t": 2, "patch_bias": False, "sample_height": 300, "sample_width": 300}
    ),
    "ltx-video-2b": _ltx(28, 2048),
    "ltx-video-13b": _ltx(48, 4096),
    "hunyuanvideo": _model(
        "HunyuanVideoPipeline",
        "HunyuanVideoTransformer3DModel",
        {"patch_size": 2, "guidance_embeds": True},
        {"latent_channels": 16},
        {**_EULER, "shift": 7.0},
    ),
    "hunyuanvideo-i2v": _model(
        "HunyuanVideoImageToVideoPipeline",
        "HunyuanVideoTransformer3DModel",
        {"patch_size": 2, "guidance_embeds": True, "image_condition_type": "token_replace"},
        {"latent_channels": 16},
        {**_EULER, "shift": 7.0},
    ),
}


def published(name: str) -> Published:
    """The configuration of a released model.

    Raises:
        ValueError: none of this name.
    """
    if name not in MODELS:
        raise ValueError(f"--model: {unknown('model', name, MODELS)}, or the folder of a model in diffusers' layout")
    return MODELS[name]
