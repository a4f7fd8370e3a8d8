"""Released models at released size through every stage, on a GPU that is not there. One model in one process:

    python tests/backbones/released_run.py wan2.1-t2v-1.3b text codec sample lora/pair mixed/supervised

It is the product's own code that runs, over models that are made from the table's configurations and have no weights.
What is written, as JSON on the last line, is what each stage cost; what goes wrong ends it.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

if not __package__:  # run as a program
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from tests.backbones import tiny_pipelines as tiny
from tests.backbones.fake_gpu import NAME, fake_gpu
from tests.backbones.random_weights import RandomWeights

from rushes.backbones import inflated_sd, quantized
from rushes.backbones.base import LoadOptions
from rushes.backbones.model_defaults import Released, all_models, released
from rushes.backbones.offload import is_offloaded
from rushes.backbones.pipeline import DiffusersBackbone, Family
from rushes.backbones.sampling import sample
from rushes.backbones.tiling import tiled
from rushes.config.tables import BackboneSettings, TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.project.networks import make_trainable
from rushes.store.latents import first_frame_key, still_key
from rushes.training import loop
from rushes.training.activations import Where
from rushes.training.comparison import Comparison, View
from rushes.training.memory import GradientMode
from rushes.training.parallel import ALONE

CHUNK = 4096  # tokens that feed-forward layers take at once
CAPTION, NEGATIVE = "a red ball falls", "blurry"
# height, width and frames that the release is made for
SIZES = {
    name: (of["backbone.height_px"].whole, of["backbone.width_px"].whole, of["backbone.frames"].whole)
    for name, of in ((name, row.settings) for name, row in all_models().items())
}
# What a step sees: coefficients of the terms over the views, and how their frames are put together.
SHAPES: dict[str, tuple[list[tuple[float, ...]], str]] = {
    "supervised": ([(1.0,)], "clip"),
    "pair": ([(1.0, -1.0)], "clip"),
    "takes": ([(1.0, -1.0, 0.0, 0.0), (1.0, 0.0, -1.0, 0.0), (1.0, 0.0, 0.0, -1.0)], "clip"),
    "segments": ([(1.0, -1.0)], "segment"),
    # Views: the clip, its ends swapped, a take, the flow of both, a take of half a caption, the clip under another.
    "levels": (
        [
            (1.0, 0.0, -0.7, 0.0, 0.0, -0.3, 0.0),  # instance
            (1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0),  # state
            (0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0),  # motion
            (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0),  # semantic
        ],
        "clip",
    ),
}
# How a model is held in a step, and where its activations wait.
WAYS: dict[str, tuple[LoadOptions, Where]] = {
    "lora": (LoadOptions(), "keep"),
    "full": (LoadOptions(dtype="mixed"), "keep"),
    # On cards that people have: in 4 bits, or in bfloat16 block by block.
    "card": (LoadOptions(quantize="4bit", feed_forward_chunk=CHUNK), "offload"),
    "streamed": (LoadOptions(offload=True, feed_forward_chunk=CHUNK), "offload"),
}
# The shape of each recipe's comparisons.
RECIPES = {
    "sft": "supervised",
    "dfdpo": "pair",
    "dpo": "pair",
    "huvidpo": "pair",
    "realdpo": "takes",
    "densedpo": "segments",
    "physhpo": "levels",
}
# Weights that no loss reaches, by family, all of these and no others.
IDLE = {
    # The last block has a text stream of its own, of which nothing is read after it.
    "hunyuan15": r"transformer_blocks\.{last}\.(attn\.to_add_out|ff_context)\.",
    # Clips have no sound, so the audio stream does not run, nor what the two streams exchange.
    "ltx2": r"audio|^av_cross_attn_|\.video_a2v_cross_attn_scale_shift_table$",
}


# By model, once for all jobs of a process: what is made of a first frame, and what captions were read as.
STILLS: dict[str, dict[str, Tensor]] = {}
ROWS: dict[str, dict[str, Any]] = {}


_LINEAR_4BIT: Any = importlib.import_module("bitsandbytes.nn").Linear4bit


class FourBits(_LINEAR_4BIT):  # type: ignore[misc]
    """A layer in 4 bits as bitsandbytes has it, whose weights are of a class that cannot be without values."""

    def __init__(self, layer: nn.Linear, device: torch.device) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.compute_dtype, self.bias = layer.weight.dtype, layer.bias
        size = quantized.weight_bytes(layer.weight.shape, "4bit")
        weight: Any = nn.Parameter(torch.empty(size, dtype=torch.uint8, device=device), False)
        weight.compress_statistics, weight.quant_type, weight.quant_state = True, "nf4", None
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Unpacked.apply(x, self)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias


class Unpacked(torch.autograd.Function):
    """x W, of a W that is unpacked for the forward pass and again for the backward pass, and let go."""

    @staticmethod
    def weight(layer: FourBits, like: Tensor) -> Tensor:
        scales = torch.empty(layer.out_features * layer.in_features // 64, device=like.device)
        wide = torch.empty(layer.out_features, layer.in_features, dtype=like.dtype, device=like.device)
        del scales
        return wide

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FourBits) -> Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, Unpacked.weight(layer, x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad @ Unpacked.weight(ctx.layer, grad), None


class StandIn(RandomWeights, Released):
    """A released model whose tokenizers and image processors, which are files, are stood in for."""

    def config(self, part: str) -> dict[str, Any]:
        config = super().config(part)
        if "image_token_index" in config and self.family == "hunyuan":
            config["image_token_index"] = tiny.image_tokenizer().convert_tokens_to_ids("<image>")
        return config

    def processor(self, part: str) -> Any:
        from_image = self.family == "hunyuan" and self.has("image_processor")
        made: dict[str, Callable[[], Any]] = {
            "T5Tokenizer": tiny.t5_tokenizer,
            "T5TokenizerFast": tiny.t5_tokenizer,
            "CLIPTokenizer": tiny.clip_tokenizer,
            "LlamaTokenizerFast": tiny.image_tokenizer if from_image else tiny.word_tokenizer,
            "Qwen2TokenizerFast": lambda: tiny.word_tokenizer(tiny.CHAT),
            "GemmaTokenizerFast": tiny.word_tokenizer,
            "ByT5Tokenizer": lambda: self.cls("tokenizer_2")(),
            "CLIPImageProcessor": partial(_clip_images, 336 if from_image else 224),
            "SiglipImageProcessor": _siglip_images,
        }
        if part == "scheduler":
            return self.cls(part).from_config(self.config(part))
        return made[self.index[part][1]]()

    def open_pipeline(self, dtype: torch.dtype, without: Any, **options: Any) -> Any:
        import diffusers

        cls = getattr(diffusers, self.pipeline)
        left_out = {*without}
        parts = {
            name: self._part(name, dtype) if self.has(name) and name not in left_out else None
            for name, given in signature(cls.__init__).parameters.items()
            if name != "self" and (given.default is given.empty or self.has(name))
        }
        more = {name: value for name, value in self.index.items() if not name.startswith("_") and not self.has(name)}
        return cls(**parts, **more, **options)

    def _part(self, name: str, dtype: torch.dtype) -> Any:
        cls = self.cls(name)
        return self.load(name, dtype) if isinstance(cls, type) and issubclass(cls, nn.Module) else self.processor(name)


def _clip_images(side: int) -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(crop_size=side, size={"shortest_edge": side})


def _siglip_images() -> Any:
    from transformers import SiglipImageProcessor

    return SiglipImageProcessor(size={"height": 384, "width": 384})


def opened(name: str, options: LoadOptions, device: torch.device) -> DiffusersBackbone:
    """The backbone of a released model without its folder, as its family's `load` makes it from one."""
    model = StandIn(**vars(released(name)))
    family = _family(model)
    cls = inflated_sd.InflatedSD if model.family == "inflated_sd" else family.model(model)
    return cls(model, family, options, device)


def _family(model: Released) -> Family:
    from importlib import import_module

    return cast(Family, import_module(f"rushes.backbones.{model.family}").FAMILY)


@dataclass
class Latents:
    """What training asks the store for, by key."""

    known: dict[str, Tensor]
    folder: Path = Path()

    def get(self, key: str) -> Tensor | None:
        return self.known.get(key)


class Run:
    """A model on a device, and what is made of it on the way."""

    def __init__(self, name: str, backbone: DiffusersBackbone, size: tuple[int, int, int]) -> None:
        self.name, self.backbone, self.size = name, backbone, size
        self.first = "text" not in backbone.spec.modes
        backbone._rows = ROWS.setdefault(name, {})
        if name not in STILLS:
            STILLS[name] = self._stills()
        self.stills = STILLS[name]

    def _shape(self) -> tuple[int, ...]:
        spec, (height, width, frames) = self.backbone.spec, self.size
        spec.check_size(height, width)
        return spec.channels, spec.latent_frames(frames), height // spec.spatial_ratio, width // spec.spatial_ratio

    def _pixels(self, frames: int) -> np.ndarray:
        return np.zeros((1, frames, *self.size[:2], 3), np.uint8)

    def _stills(self) -> dict[str, Tensor]:
        """What the model takes of a first frame, as `rushes.encode` makes it: once, by parts that leave memory."""
        return self.backbone.still(self._pixels(1)[:, 0], self.size[2]) if self.first else {}

    def condition(self, caption: str, given: bool = False) -> Any:
        """Of one clip, with a first frame where one is given or the model needs one."""
        c, _, h, w = self._shape()
        if not self.first and not given:
            return self.backbone.condition([caption])
        return self.backbone.condition([caption], torch.randn(1, c, h, w), **self.stills)

    def stray(self) -> dict[str, Any]:
        """What is left on the processor beside the device is refused, or the other jobs would show nothing."""
        network = self.backbone.network
        layer = next(module for module in network.modules() if isinstance(module, nn.Linear))
        layer.weight = nn.Parameter(layer.weight.detach().cpu())
        noise, t = torch.randn(1, *self._shape()), torch.full((1, self._shape()[1]), 0.5)
        self.condition(CAPTION)
        try:
            self.backbone.predict(noise, t, self.condition(CAPTION))
        except RuntimeError as error:  # of which FakeTensorDeviceMismatchError is one
            assert "device" in str(error).lower(), error
            return {"refused": type(error).__name__}
        raise AssertionError("a weight on the processor went unseen")

    def text(self) -> dict[str, Any]:
        """Captions are read by encoders of released size, on the device."""
        self.backbone._rows.clear()
        condition = self.condition(CAPTION)
        assert condition.text.device.type == "cpu", "embeddings wait in main memory"
        assert condition.text.dtype == self.backbone.reading_dtype
        return {"tokens": list(condition.text.shape)}

    def codec(self) -> dict[str, Any]:
        """A clip there and back, in tiles where a project would choose them."""
        c, f, h, w = self._shape()
        backbone, frames = self.backbone, self.size[2]
        latents = backbone.encode(self._pixels(frames))
        assert latents.shape == (1, c, f, h, w) and latents.dtype == torch.float32 and latents.device.type == "cpu"
        pixels = backbone.decode(latents)
        assert pixels.shape == (1, frames, *self.size[:2], 3) and pixels.dtype == np.uint8
        assert all(p.device.type == "cpu" for p in backbone.codec.parameters()), "the codec stayed on the device"
        return {"latents": list(latents.shape)}

    def sample(self) -> dict[str, Any]:
        """Two steps with guidance, and a clip with a first frame that starts from a partly noised one."""
        spec, noise = self.backbone.spec, torch.randn(1, *self._shape())
        start: dict[str, Any] = {"start_BCFHW": torch.randn(noise.shape), "eta": 0.7}
        for first, more in ((False, {}), ("first_frame" in spec.modes, start)):
            made = sample(
                self.backbone,
                self.condition(CAPTION, first),
                noise,
                steps=2,
                seeds=[0],
                guidance=5.0,
                unconditional=self.condition(NEGATIVE, first) if spec.guidance == "two_passes" else None,
                **more,
            )
            assert made.shape == noise.shape and made.dtype == torch.float32 and made.device == noise.device
        return {}

    def train(self, way: str, shape: str) -> dict[str, Any]:
        """A step of the trainer's: the reference's errors, losses, gradients, AdamW."""
        tune = "full" if way == "full" else "lora"
        backbone, device = self.backbone, self.backbone.device
        gradients: GradientMode = "two_pass" if shape == "segments" else "stash"
        settings = TrainSettings(
            trainable=tune,
            lora_rank=32,
            batch=1,
            gradients=gradients,
            held_out=0,
            deterministic=False,
            activations=WAYS[way][1],
        )
        network = backbone.network
        make_trainable(backbone, settings)
        data = loop.TrainingData([self._comparison(shape)], [], cast(Any, self._latents(shape)), TimeDraw())
        work = loop._prepare(backbone, data, settings, 0, ALONE)
        seen: dict[str, set[str]] = {}

        def looked(*_: Any) -> None:
            idle = {name for name, p in network.named_parameters() if p.requires_grad and p.grad is None}
            wrong = [name for name, p in network.named_parameters() if p.grad is not None and p.grad.dtype != p.dtype]
            assert not wrong, f"gradients of another dtype: {wrong[:3]}"
            seen["idle"] = idle

        work.optimiser.register_step_pre_hook(looked)
        row = loop._step(work, 0)
        weights = [p for p in network.parameters() if p.requires_grad]
        if not is_offloaded(network):
            assert {p.device.type for p in network.parameters()} == {device.type}
        assert {p.dtype for p in weights} == {torch.float32}, {p.dtype for p in weights}
        frozen = {p.dtype for p in network.parameters() if not p.requires_grad}
        assert torch.bfloat16 in frozen or tune == "full", frozen
        state = work.optimiser.state
        assert all(its["exp_avg"].device.type == device.type for its in state.values())
        assert set(row) >= {"loss", "gradient_norm"}
        names = {name for name, p in network.named_parameters() if p.requires_grad}
        wrong = seen["idle"] ^ self._idle(names, seen["idle"])
        assert not wrong, f"idle and should not be, or the reverse: {_kinds(wrong)}"
        return {"trained": sum(p.numel() for p in weights), "idle": _kinds(seen["idle"]), "loss": row["loss"]}

    def _idle(self, names: set[str], seen: set[str]) -> set[str]:
        """Those of the trained weights that no loss can reach; of two experts the whole of that which was not asked."""
        if self.backbone.spec.boundary is not None:
            asked = {name.partition(".")[0] for name in names - seen}
            assert len(asked) == 1 and asked < {"high", "low"}, asked
            return {name for name in names if name.partition(".")[0] not in asked}
        blocks = [int(found[1]) for name in names if (found := re.match(r"transformer_blocks\.(\d+)\.", name))]
        pattern = IDLE.get(self.backbone.family.name, "$.").replace("{last}", str(max(blocks, default=0)))
        return {name for name in names if re.search(pattern, name)}

    def _comparison(self, shape: str) -> Comparison:
        coefficients, reduction = SHAPES[shape]
        _, f, _, _ = self._shape()
        given = self.first or ("first_frame" in self.backbone.spec.modes and self.backbone.spec.first_frame == "clean")
        labels = [1 if at % 2 else -1 for at in range(f)] if reduction == "segment" else [1] * f
        if given and self.backbone.spec.first_frame == "clean":
            labels[0] = 0
        terms = tuple(
            Term("supervised", one, tuple(labels), loss_type="error")
            if shape == "supervised"
            else Term(f"level{k}", one, tuple(labels), 500.0, reduction=cast(Any, reduction))
            for k, one in enumerate(coefficients)
        )
        captions = [CAPTION] * len(coefficients[0])
        if shape == "levels":
            captions[-1] = NEGATIVE
        views = tuple(View(f"clip{v}", text, "still" if given else "") for v, text in enumerate(captions))
        return Comparison("comparison", "comparison", views, terms)

    def _latents(self, shape: str) -> Latents:
        views = len(SHAPES[shape][0][0])
        latents = {f"clip{v}": torch.randn(self._shape()) for v in range(views)}
        first = torch.randn(self._shape())[:, :1]
        latents |= {first_frame_key("still"): first}
        return Latents(latents | {still_key("still", name): value[0] for name, value in self.stills.items()})


def _kinds(names: Iterable[str]) -> list[str]:
    """Names of weights without the numbers of their blocks, each kind once."""
    return sorted({".".join("*" if part.isdigit() else part for part in name.split(".")) for name in names})


def main(name: str, jobs: Sequence[str]) -> None:
    """Go through the jobs; one line for each, and all as JSON at the end."""
    costs: dict[str, Any] = {}
    vars(quantized)["_replaced"] = lambda layer, bits: FourBits(layer, torch.device(NAME))
    with fake_gpu() as gpu:
        for job in jobs:
            began = time.perf_counter()
            precision, _, shape = job.partition("/")
            options = WAYS[precision][0] if shape else LoadOptions()
            # As projects do by default; what encodes first frames for the other jobs takes hours in tiles, for nothing.
            height_px, width_px, frames, *_ = SIZES[name]
            size = BackboneSettings(name=released(name).family, frames=frames, height_px=height_px, width_px=width_px)
            tiles = job == "codec" and tiled(size)
            options = replace(options, tiling=tiles)
            run = Run(name, opened(name, options, torch.device(NAME)), SIZES[name])
            if shape:
                for caption in (CAPTION, NEGATIVE) if shape == "levels" else (CAPTION,):
                    run.condition(caption)
                run.backbone.network  # noqa: B018
                work: Callable[[], dict[str, Any]] = partial(run.train, precision, shape)
            else:
                if job == "sample":
                    run.backbone.prepare([CAPTION, NEGATIVE])
                    run.backbone.network  # noqa: B018
                work = getattr(run, job)
            built = time.perf_counter() - began
            gpu.begin()
            facts = work()
            flops, peak = gpu.end()
            costs[job] = {
                "tflop": round(flops / 1e12, 1),
                "peak_gib": round(peak / 2**30, 2),
                "main_gib": round(gpu.main_peak / 2**30, 2),
                "build_s": round(built, 1),
                "seconds": round(time.perf_counter() - began - built, 1),
                **facts,
            }
            print(job, costs[job], flush=True)
            del run, work
    print(json.dumps({"model": name, "assumed": dict(gpu.assumed), "jobs": costs}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], sys.argv[2:])
