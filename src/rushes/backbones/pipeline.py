"""A video model out of diffusers, whichever its family: parts that are loaded when first needed, and what all share.

A family's module says what is special about it, as a `Family`; this one does the rest. What reads captions is in memory
while it reads and no longer, so that it does not stand beside the network during training.
"""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rushes.backbones.adapters import LORA_FILE, adapter_is_idle, lora_config, save_lora
from rushes.backbones.base import MAIN_MEMORY, BackboneSpec, Condition, LoadOptions, weights_fingerprint
from rushes.backbones.caption_tokens import TokenLimit
from rushes.backbones.decoders import check_decoder
from rushes.backbones.distilled import check_not_distilled
from rushes.backbones.feed_forward import chunk_feed_forward
from rushes.backbones.folders import Folder, open_folder, save_part, whole_folder
from rushes.backbones.offload import (
    check_answers_offloaded,
    codec_at_work,
    offload_blocks,
    offload_idle,
    offload_layers,
)
from rushes.backbones.quantized import bits_of, check_library, quantize
from rushes.backbones.shared_weights import FOLDER, load_shared, many_here
from rushes.backbones.speed import check_attention, check_compiles, compile_blocks, use_attention
from rushes.backbones.texts import CaptionRows, TextCache, files_of, made_by, trimmed, untrimmed
from rushes.backbones.weight_hashes import NAME, remembered
from rushes.devices import default_device

TensorRows = Mapping[str, Tensor]  # of one caption or still, without the batch dimension


@dataclass(frozen=True)
class Family:
    """What is special about a family.

    Args:
        name: of its module.
        pipelines: classes of `model_index.json` that it reads.
        spec: facts of the model, out of the configurations of its parts.
        text: the pipeline with its text encoders, and a caption -> its rows; "text" is one of them.
        predict: a network, noised_BCFHW and condition on its device and in its dtype, t_BF in float32, and the model
            -> prediction.
        normalise: codec, and what it encodes -> latents as the network expects them.
        denormalise: the inverse.
        networks: parts that are trained. Two are experts, the first for high noise.
        still: model, first frames [B, H, W, 3] and number of frames -> tensors by the names in `spec.still`.
        encode: codec and pixels -> its latents.
        decode: codec, its latents and how the model is run -> pixels in [-1, 1].
        reader: model -> what `text` reads with; None = the family's pipeline.
        idle: parts that neither read nor are trained.
        tokens: for each text that the network is given, how many tokens a caption has at most (0 = it is one row), and
            the name of its width in the network's configuration ("" = a mask of tokens that are no padding).
        adjust: changes a network that was just loaded, in place, so that it predicts the same at less cost.
        image_tokens: those of a first frame's embedding, and the name of its width.
        comfy: patterns of layers' names and what ComfyUI has in their place; None = its names are not known.
        longest: model -> tokens of a caption at most, where models of the family differ; None = as `tokens` says.
        tokenizers: what each passes on; empty = there is one, which passes on the longest caption.
        model: the class of the model that a folder holds.
    """

    name: str
    pipelines: tuple[str, ...]
    spec: Callable[[Folder, LoadOptions], BackboneSpec]
    text: Callable[[Any, str], TensorRows]
    predict: Callable[[Any, Tensor, Tensor, Condition, DiffusersBackbone], Tensor]
    tokens: Mapping[str, tuple[int, str]]
    normalise: Callable[[Any, Tensor], Tensor] = lambda codec, latents: latents * codec.config.scaling_factor
    denormalise: Callable[[Any, Tensor], Tensor] = lambda codec, latents: latents / codec.config.scaling_factor
    networks: tuple[str, ...] = ("transformer",)
    still: Callable[[DiffusersBackbone, NDArray[np.uint8], int], dict[str, Tensor]] | None = None
    encode: Callable[[Any, Tensor], Tensor] = lambda codec, pixels: codec.encode(pixels).latent_dist.mode()
    decode: Callable[[Any, Tensor, LoadOptions], Tensor] = lambda codec, latents, _: codec.decode(
        latents, return_dict=False
    )[0]
    reader: Callable[[DiffusersBackbone], Any] | None = None
    idle: tuple[str, ...] = ()
    adjust: Callable[[nn.Module], None] = lambda network: None
    image_tokens: tuple[int, str] = (257, "image_dim")
    comfy: Sequence[tuple[str, str]] | None = None
    longest: Callable[[Folder], int] | None = None
    tokenizers: Mapping[str, TokenLimit] = field(default_factory=dict)
    model: Callable[[Folder], type[DiffusersBackbone]] = lambda folder: DiffusersBackbone

    def longest_caption(self, folder: Folder) -> int:
        """Tokens of a caption that the network is given, marks at its ends included."""
        return self.longest(folder) if self.longest else self.tokens["text"][0]

    def token_limits(self, folder: Folder) -> dict[str, TokenLimit]:
        """What each tokenizer that the model has passes on."""
        limits = self.tokenizers or {"tokenizer": TokenLimit(self.longest_caption(folder))}
        return {part: limit for part, limit in limits.items() if folder.has(part)}


class Experts(nn.Module):
    """Two networks of one model: the first answers from a noise level up, the second below it."""

    def __init__(self, high: nn.Module, low: nn.Module) -> None:
        super().__init__()
        self.high, self.low = high, low
        if bits := bits_of(high):
            setattr(self, f"is_loaded_in_{bits}", True)


class DiffusersBackbone:
    """A model of a family. See `rushes.backbones.base.Backbone` for the meaning of the methods."""

    as_it_is = True  # the network is one that diffusers knows, which an adapter's export can be loaded into

    def __init__(self, folder: Folder, family: Family, options: LoadOptions, device: torch.device | None = None):
        """Nothing is loaded. `device`: where networks work; None = the GPU where there is one."""
        self.folder, self.family, self.options = folder, family, options
        check_decoder(folder.config("vae"), family.name, options)
        self.spec = family.spec(folder, options)
        self.device = device or default_device()
        half = options.dtype == "bfloat16" or (options.dtype == "auto" and self.device.type != "cpu")
        self.dtype = torch.bfloat16 if half else torch.float32
        # Captions are read alike by the base and by a network in mixed precision, and once.
        mixed = options.dtype == "mixed" and self.device.type != "cpu"
        self.reading_dtype = torch.bfloat16 if mixed else self.dtype
        self._rows: dict[str, CaptionRows] = {}
        self.parked = options.parked  # until `unpark`

    @cached_property
    def network(self) -> nn.Module:
        """The transformer or, of a model with two experts, both."""
        parts = [self._network(part) for part in self.family.networks if self.folder.has(part)]
        for part in parts:
            self.family.adjust(part)
            use_attention(part, self.options.attention)
            if self.options.compile:
                compile_blocks(part)
        for part in parts if self.options.checkpointing else ():
            enable: Any = part.enable_gradient_checkpointing
            enable()
        network = parts[0] if len(parts) == 1 else Experts(*parts)
        if self.options.offload == "idle_expert":
            offload_idle(network, parts, self.device)
        return network

    def _network(self, part: str) -> nn.Module:
        """A part that is trained, in the bits and the place that are asked for."""
        stays = self.parked or self.options.quantize != "none" or self.options.offload
        network = self._load(part, self.dtype, MAIN_MEMORY if stays else None, many_here())
        if self.options.feed_forward_chunk:
            chunk_feed_forward(network, self.options.feed_forward_chunk)
        if self.options.offload is True:
            offload_blocks(network, self.device)
        elif self.options.quantize != "none":
            quantize(network, self.options.quantize, self.device)
            network = network.to(self.device)
        return network

    @cached_property
    def codec(self) -> Any:
        """The VAE, in float32: latents are made once. It lies in main memory when it does not work."""
        codec: Any = self._load("vae", torch.float32, MAIN_MEMORY)
        if self.options.tiling and hasattr(codec, "enable_tiling"):
            codec.enable_tiling()
        return codec

    def part(self, name: str) -> Any:
        """A fresh part that reads: an encoder, or a tokenizer or image processor, which have no weights."""
        cls = self.folder.cls(name)
        if isinstance(cls, type) and issubclass(cls, nn.Module):
            return self._placed(name, self.folder.load(name, self.reading_dtype))
        return self.folder.processor(name)

    def _placed(self, name: str, part: nn.Module) -> nn.Module:
        """A part that reads, in the bits and the place that are asked for of text encoders."""
        part.eval().requires_grad_(False)
        encoder = name.startswith("text_encoder")
        if encoder and self.options.text_offload:
            offload_layers(part, self.device)
            return part
        if encoder:
            quantize(part, self.options.text_quantize, self.device)
        return part.to(self.device)

    def _load(self, part: str, dtype: torch.dtype, place: torch.device | None = None, share: bool = False) -> nn.Module:
        copies = self.options.texts.with_name(FOLDER) if share and self.options.texts else None
        loaded = load_shared(self.folder, part, dtype, copies) if copies else self.folder.load(part, dtype)
        return loaded.to(place or self.device).eval().requires_grad_(False)

    def reader(self, without: Sequence[str] = ()) -> Any:
        """A fresh pipeline of what reads captions and stills: no codec, no network, nor the parts named."""
        if self.family.reader:
            return self.family.reader(self)
        idle = ("vae", *self.family.networks, *self.family.idle, *without)
        pipeline = self.folder.open_pipeline(self.reading_dtype, filter(self.folder.has, idle))
        for name, part in pipeline.components.items():
            if isinstance(part, nn.Module):
                self._placed(name, part)
        return pipeline

    def release(self) -> None:
        """Let the network go; it is loaded anew when it is next asked for."""
        if self.__dict__.pop("network", None) is not None:
            gc.collect()  # hooks on a module refer to it in circles
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def unpark(self) -> None:
        """Bring a network that was parked to where it works."""
        if self.parked and self.options.quantize == "none" and not self.options.offload:
            self.network.to(self.device)
        self.parked = False

    def read_with(self, other: DiffusersBackbone) -> None:
        """Share with another copy of this model what captions were read as, from here on."""
        self._rows = other._rows

    @property
    def fingerprint(self) -> str:
        """Hash of codec and network weights as they are now."""
        return weights_fingerprint(self.codec, self.network) if "network" in self.__dict__ else self._at_rest

    @cached_property
    def _at_rest(self) -> str:
        """The fingerprint of a model whose network nobody has asked for; it leaves memory again, as it may be large."""

        def read() -> str:
            fingerprint = weights_fingerprint(self.codec, self.network)
            del self.network
            return fingerprint

        return self._remembered(("vae", *self.family.networks), read)

    @property
    def codec_fingerprint(self) -> str:
        """Hash of the codec's weights and of whether it works in tiles."""

        def read() -> str:
            return weights_fingerprint(self.codec)

        fingerprint = read() if "codec" in self.__dict__ else self._remembered(("vae",), read)
        return fingerprint + ("-tiled" if self.options.tiling else "")

    def _remembered(self, parts: Sequence[str], read: Callable[[], str]) -> str:
        """A fingerprint of parts as their files have them. Bits of quantised ones depend on more than the files."""
        files = [path for part in parts if self.folder.has(part) for path in files_of(self.folder.path / part)]
        read_with = (*parts, str(self.dtype), self.device.type, version("torch"), version("diffusers"))
        return remembered(self._memory if self.options.quantize == "none" else None, files, read_with, read)

    @property
    def _memory(self) -> Path | None:
        return self.options.texts.with_name(NAME) if self.options.texts else None

    @torch.no_grad()
    @codec_at_work
    def encode(self, frames_BTHWC: NDArray[np.uint8]) -> Tensor:
        """uint8 RGB frames -> latents_BCFHW, the mean of the codec's posterior; clip by clip."""
        _, t, h, w, _ = frames_BTHWC.shape
        self.spec.latent_frames(t)
        self.spec.check_size(h, w)
        latents = torch.cat([self.encode_pixels(self.pixels(clip)) for clip in frames_BTHWC]).cpu()
        return torch.cat([*[latents[:, :, :1]] * self.spec.lead, latents], 2)

    def pixels(self, frames_THWC: NDArray[np.uint8]) -> Tensor:
        """[1, 3, T, H, W] in [-1, 1] on the model's device."""
        frames = torch.from_numpy(np.ascontiguousarray(frames_THWC)).to(self.device)
        return frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1

    @codec_at_work
    def encode_pixels(self, pixels_BCTHW: Tensor) -> Tensor:
        """Pixels -> normalised latents, without any in front."""
        return self.family.normalise(self.codec, self.family.encode(self.codec, pixels_BCTHW)).float()

    @torch.no_grad()
    @codec_at_work
    def decode(self, latents_BCFHW: Tensor) -> NDArray[np.uint8]:
        """Latents -> uint8 RGB frames, clip by clip."""
        clips = []
        for latents in torch.split(latents_BCFHW[:, :, self.spec.lead :], 1):
            theirs = self.family.denormalise(self.codec, latents.float().to(self.device))
            pixels = self.family.decode(self.codec, theirs, self.options)
            clips.append(((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu())
        return torch.cat(clips).permute(0, 2, 3, 4, 1).contiguous().numpy()

    def prepare(self, captions: Sequence[str]) -> None:
        """Read captions that are neither known yet nor kept on disk; the encoders leave memory again."""
        unknown = [caption for caption in dict.fromkeys(captions) if caption not in self._rows]
        if self.texts is not None:
            self._rows |= {caption: rows for caption in unknown if (rows := self.texts.get(caption)) is not None}
        for caption, rows in self.read([caption for caption in unknown if caption not in self._rows]):
            if self.texts is not None:
                self.texts.put(caption, rows)
            self._rows[caption] = rows

    def read(self, captions: Sequence[str]) -> Iterator[tuple[str, CaptionRows]]:
        """Captions with what they are read as now, one after the other, by encoders that leave memory again."""
        if not captions:
            return
        reader = self.reader()
        for caption in captions:
            with torch.no_grad():
                # Lone surrogates, which file names can bring in, are no text.
                rows = self.family.text(reader, caption.encode("utf-8", "replace").decode())
            yield caption, {name: trimmed(row) for name, row in rows.items()}
        del reader
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @cached_property
    def texts(self) -> TextCache | None:
        """What captions were read as in earlier starts; None where `options` name no folder for it."""
        return TextCache(self.options.texts, self.reads_with()) if self.options.texts else None

    def reads_with(self) -> dict[str, str]:
        """What embeddings of a caption are made from beside the caption; hashes the files of all parts that read."""
        idle = ("vae", "scheduler", *self.family.networks, *self.family.idle)
        bits = {} if self.options.text_quantize == "none" else {"bits": self.options.text_quantize}
        parts = made_by(self.folder, idle, self.family.text, self.reading_dtype, self._memory)
        return {"family": self.family.name, **bits, **parts}

    def still(self, frames_BHWC: NDArray[np.uint8], frames: int) -> dict[str, Tensor]:
        """What the family makes of a first frame beside its latent."""
        with torch.no_grad():
            return self.family.still(self, frames_BHWC, frames) if self.family.still and self.spec.still else {}

    def condition(self, captions: Sequence[str], first_frame_BCHW: Tensor | None = None, **still: Tensor) -> Condition:
        """Embeddings of the captions, and the first frame in the way of the family."""
        self.prepare(captions)
        shown = None if self.spec.still else first_frame_BCHW  # what `still` made has the first frame in it
        return self._conditioned([self._rows[caption] for caption in captions], shown, still)

    def _conditioned(self, read: Sequence[CaptionRows], first_BCHW: Tensor | None, still: TensorRows) -> Condition:
        more = {name: torch.stack([untrimmed(*rows[name]) for rows in read]) for name in read[0]}
        condition = Condition(more.pop("text"), None, {**more, **still})
        if first_BCHW is None:
            return condition
        if self.spec.first_frame == "clean":
            return replace(condition, first_frame=first_BCHW[:, :, None])
        return condition.with_more(first=first_BCHW[:, :, None])

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        """The network's prediction, in float32 on the device of what it was asked."""
        network = self.network
        at = replace(condition, first_frame=None).each(self._moved)  # families go by what is in `more`
        noised, t = self._moved(noised_BCFHW), t_BF.to(self.device)
        with self._precision():
            if isinstance(network, Experts):
                prediction = self._by_expert(network, noised, t, at)
            else:
                prediction = self.family.predict(network, noised, t, at, self)
        return prediction.float().to(noised_BCFHW.device)

    def _by_expert(self, network: Experts, noised: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        """Each row by the expert of its noise level."""
        assert self.spec.boundary is not None
        high = t_BF.amax(1) >= self.spec.boundary
        parts, rows = [], []
        for expert, mask in ((network.high, high), (network.low, ~high)):
            if mask.any():
                its = mask.nonzero().flatten()
                parts.append(self.family.predict(expert, noised[its], t_BF[its], condition[its], self))
                rows.append(its)
        return torch.cat(parts)[torch.cat(rows).argsort()]

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        if self.options.dtype != "mixed":
            yield
            return
        # No cache: it would keep a bfloat16 copy of every weight until the pass ends.
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False), warnings.catch_warnings():
            # float32 gains of norms beside bfloat16 activations are what mixed precision means
            warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
            yield

    def save(self, path: Path) -> None:
        """Write the model as a folder in diffusers' layout, adapters merged beforehand or not saved.

        Raises:
            ValueError: `path` is there already, or the network is not in its own precision.
        """
        if bits := bits_of(self.network):
            raise ValueError(
                f"{path}: a network in {bits} holds rounded weights, which are not exported; export an adapter"
            )
        with whole_folder(path) as partial:
            shutil.copytree(self.folder.path, partial, dirs_exist_ok=True, ignore=self._trained_in)
            for name, part in zip(self.family.networks, self._networks(), strict=False):
                save_part(part, partial / name)

    def _trained_in(self, folder: str, inside: list[str]) -> set[str]:
        return {*inside} & {*self.family.networks} if Path(folder) == self.folder.path else set()

    def _networks(self) -> list[Any]:
        return list(self.network.children()) if isinstance(self.network, Experts) else [self.network]

    def save_lora(self, folder: Path) -> None:
        """Write the adapter as diffusers' `load_lora_weights` reads it: one folder, or one for each expert that was
        trained.

        Raises:
            ValueError: `folder` is there already.
        """
        prefix = "unet" if self.family.networks == ("unet",) else "transformer"
        parts = self._networks()
        with whole_folder(folder) as partial:
            for place, part in zip(("high_noise", "low_noise") if len(parts) > 1 else (".",), parts, strict=True):
                if len(parts) > 1 and adapter_is_idle(part):
                    continue
                (partial / place).mkdir(exist_ok=True)
                save_lora(part, lora_config(self.network), partial / place / LORA_FILE, prefix)


def load_model(path: str, family: Family, options: LoadOptions) -> DiffusersBackbone:
    """The model of a family at `path`, a folder or `hub:OWNER/NAME`; nothing of it is in memory yet.

    Raises:
        ValueError: see `rushes.backbones.folders.open_folder`; a model that was distilled to few steps.
    """
    import diffusers
    import transformers

    if {options.quantize, options.text_quantize} != {"none"}:
        check_library()
    check_attention(options.attention)
    check_answers_offloaded(options.offload, options.compile)
    if options.compile:
        check_compiles(default_device().type)
    for library in (diffusers, transformers):  # their bars come and go too fast to be read
        library.utils.logging.disable_progress_bar()
    folder = open_folder(path, family.name, family.pipelines)
    check_not_distilled(folder, family.name, path)
    for part in ("vae", *family.networks):
        if folder.has(part):
            folder.cls(part)  # which says what this installation lacks
    return family.model(folder)(folder, family, options)
