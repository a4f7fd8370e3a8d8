"""What a run trained, for use elsewhere: written, read back, and seen to do what the trained model does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rushes.backbones.adapters import LORA_FILE, adapter_is_idle, lora_config, merge_lora
from rushes.backbones.base import Backbone
from rushes.backbones.folders import whole_folder
from rushes.backbones.loading import load_model
from rushes.backbones.pipeline import DiffusersBackbone, Experts
from rushes.export.comfyui import comfy_layers, from_comfy, to_comfy
from rushes.noise.draws import seeded
from rushes.project.networks import base_in, load_network, run_network
from rushes.project.project import OpenProject
from rushes.tensor_files import save_tensors

WeightsFormat = Literal["diffusers", "comfyui"]
LEVELS = (0.95, 0.3)  # noise levels that are looked at; of two experts each answers one
ALIKE = 0.05  # of the adapter's own effect, that the file's may be off
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.02}  # of the prediction, that two ways to add an adapter may differ
READ_BACK = "exported"


@dataclass(frozen=True)
class Exported:
    """What was written, and how it was checked."""

    path: Path  # file or folder
    kind: str  # "model", or "adapter" in the form that was asked for
    # size of the adapter's effect on a prediction from fixed noise, over the prediction's; None for a model, whose
    # weights were compared
    change: float | None = None
    difference: float = 0.0  # of the file's effect from the trained model's, over the prediction's size
    load: str = ""  # Python that puts it to use; "" where `backbone.path` or ComfyUI does


def export_weights(project: OpenProject, name: str, folder: Path, form: WeightsFormat = "diffusers") -> Exported:
    """Write what a run trained, and check it: what is read back must do what the trained model does.

    A diffusers model that was trained with an adapter gives the adapter alone, in the form that its pipeline's
    `load_lora_weights` or ComfyUI reads. Any other run gives the whole model, adapters merged, as a file or folder that
    `backbone.path` of another project reads.

    Raises ValueError: no such finished run; its output is the base's; a form that there is not for it; what was written
    does not do what the run does.
    """
    network = run_network(project, name)
    backbone = load_network(project, network)
    unchanged = ValueError(f"run {name!r} changed no weight, so its export would equal the base model; train it longer")
    # An inflated model is none that diffusers knows, and an adapter on top of another run's weights needs those too.
    if isinstance(backbone, DiffusersBackbone) and backbone.as_it_is and network.adapter_alone:
        if adapter_is_idle(backbone.network):
            raise unchanged
        return _export_adapter(backbone, folder / (name if form == "diffusers" else f"{name}-{form}"), form)
    if form == "comfyui":
        raise ValueError(
            f"run {name!r} is not an adapter on a diffusers model's base weights, and ComfyUI's form supports only "
            "these; leave --weights out to export the whole model"
        )
    merge_lora(backbone.network)
    if backbone.fingerprint == base_in(project, network.dtype).fingerprint:
        raise unchanged
    path = folder / (name if isinstance(backbone, DiffusersBackbone) else f"{name}.safetensors")
    backbone.save(path)
    again = load_model(network.size.model_copy(update={"path": str(path)}), dtype=network.dtype)
    if again.fingerprint != backbone.fingerprint:
        raise ValueError(
            f"{path}: the file reads back differently from what was written; check the disk, then export again"
        )
    return Exported(path, "model")


def _export_adapter(backbone: DiffusersBackbone, path: Path, form: WeightsFormat) -> Exported:
    trained = _predictions(backbone)
    with _answering(backbone.network, None):
        base = _predictions(backbone)
    size, changes = base.norm(dim=1), (trained - base).norm(dim=1) / base.norm(dim=1)
    # One of two experts may have been trained alone; the other one's adapter does nothing, and is not written.
    silent = [not change and adapter_is_idle(part) for change, part in zip(changes, _answers(backbone), strict=True)]
    effects = changes[~torch.tensor(silent)]
    if not effects.all():
        level = LEVELS[[bool(quiet or change) for quiet, change in zip(silent, changes, strict=True)].index(False)]
        raise ValueError(
            f"the adapter does not change the prediction at noise level {level:g}, so its export would act like the "
            "base model; train it longer"
        )
    _save(backbone, path, form)
    with warnings.catch_warnings(), _answering(backbone.network, READ_BACK, lambda: _read_back(backbone, path, form)):
        again = _predictions(backbone)
    differences = (again - trained).norm(dim=1) / size
    rounding = ROUNDING[torch.bfloat16 if backbone.options.dtype == "mixed" else backbone.dtype]
    if (differences > ALIKE * changes + rounding).any():
        raise ValueError(
            f"{path}: the exported weights' prediction differs from the trained model's by "
            f"{float(differences.max()):.3g}, while the adapter itself changes {float(changes.max()):.3g}; do not use "
            "the file, and report this"
        )
    load = load_lines(backbone, path) if form == "diffusers" else ""
    return Exported(path, f"adapter for {form}", float(effects.min()), float(differences.max()), load)


def load_lines(backbone: DiffusersBackbone, path: Path) -> str:
    """Python that adds an exported adapter to `pipeline`, diffusers' own of the released model.

    A few pipelines have no `load_lora_weights`; their networks load an adapter all the same.
    """
    import diffusers

    if isinstance(backbone.network, Experts):
        lines = {
            "high_noise": f"pipeline.load_lora_weights({str(path / 'high_noise')!r})",
            "low_noise": f"pipeline.load_lora_weights({str(path / 'low_noise')!r}, load_into_transformer_2=True)",
        }
        return "\n".join(line for name, line in lines.items() if (path / name).is_dir())  # one may not be trained
    if hasattr(getattr(diffusers, backbone.folder.pipeline), "load_lora_weights"):
        return f"pipeline.load_lora_weights({str(path)!r})"
    (part,) = (name for name in backbone.family.networks if backbone.folder.has(name))
    return f"pipeline.{part}.load_lora_adapter({str(path / LORA_FILE)!r}, prefix={part!r})"


@torch.no_grad()
def _predictions(backbone: Backbone) -> Tensor:
    """What the model makes of fixed noise, a flat row for each of `LEVELS`."""
    spec, rows = backbone.spec, len(LEVELS)
    side = 4 * max(spec.multiple_px, spec.spatial_ratio)
    height, width = spec.only_px or (side, side)
    frames = spec.only_frames or 1 + spec.temporal_ratio * (1 + spec.lead)
    shape = (rows, spec.channels, spec.latent_frames(frames), height // spec.spatial_ratio, width // spec.spatial_ratio)
    noise = torch.randn(shape, generator=seeded("export"))
    times = torch.tensor(LEVELS)[:, None].repeat(1, shape[2])
    captions = ["a red ball falls and bounces"] * rows
    if "text" in spec.modes:
        return backbone.predict(noise, times, backbone.condition(captions)).flatten(1)
    stills = np.random.default_rng(0).integers(0, 256, (rows, height, width, 3), np.uint8)
    first = backbone.encode(stills[:, None])[:, :, 0]
    condition = backbone.condition(captions, first, **backbone.still(stills, frames))
    if condition.first_frame is not None:
        times[:, 0] = 0.0
    return backbone.predict(noise, times, condition).flatten(1)


@contextmanager
def _answering(network: nn.Module, adapter: str | None, load: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within it the network answers with another adapter, or with none."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    before = {layer: list(layer.active_adapters) for layer in network.modules() if isinstance(layer, BaseTunerLayer)}
    try:
        load()
        for layer in before:
            layer.enable_adapters(adapter is not None)
            if adapter is not None:
                layer.set_adapter([adapter])
        yield
    finally:
        for layer, names in before.items():
            layer.enable_adapters(True)
            layer.set_adapter(names)
            if adapter is not None:
                layer.delete_adapter(adapter)
        network.requires_grad_(False)


def _parts(backbone: DiffusersBackbone) -> dict[str, Any]:
    """Networks with a trained adapter by the subfolders that it gets; a single one has none."""
    network = backbone.network
    if not isinstance(network, Experts):
        return {".": network}
    experts = {"high_noise": network.high, "low_noise": network.low}
    return {place: expert for place, expert in experts.items() if not adapter_is_idle(expert)}


def _answers(backbone: DiffusersBackbone) -> tuple[nn.Module, ...]:
    """The network that answers at each of `LEVELS`."""
    network = backbone.network
    return (network.high, network.low) if isinstance(network, Experts) else (network,) * len(LEVELS)


def _save(backbone: DiffusersBackbone, path: Path, form: WeightsFormat) -> None:
    if form == "diffusers":
        return backbone.save_lora(path)
    config = lora_config(backbone.network)
    with whole_folder(path) as partial:
        for place, part in _parts(backbone).items():
            factors = _factors(part)
            layers = comfy_layers(backbone.family, part, list(factors))
            (partial / place).mkdir(exist_ok=True)
            save_tensors(to_comfy(factors, layers, config["lora_alpha"]), partial / place / LORA_FILE, {"format": "pt"})


def _factors(part: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """First and second factors of the trained adapter by the paths of their layers, on the CPU."""
    weights = {name: p.detach().cpu() for name, p in part.named_parameters() if ".lora_" in name}
    firsts = {name.partition(".lora_A.")[0]: p for name, p in weights.items() if ".lora_A." in name}
    seconds = {name.partition(".lora_B.")[0]: p for name, p in weights.items() if ".lora_B." in name}
    return {path: (p, seconds[path]) for path, p in firsts.items()}


def _read_back(backbone: DiffusersBackbone, path: Path, form: WeightsFormat) -> None:
    """Add what was written to the networks, beside what the run trained, by the loader of diffusers."""
    warnings.filterwarnings("ignore", "Already found a `peft_config` attribute", UserWarning)
    for place, part in _parts(backbone).items():
        if form == "comfyui":
            layers = comfy_layers(backbone.family, part, list(_factors(part)))
            part.load_lora_adapter(
                from_comfy(load_file(path / place / LORA_FILE), layers), prefix=None, adapter_name=READ_BACK
            )
        else:
            prefix = "unet" if backbone.family.networks == ("unet",) else "transformer"
            part.load_lora_adapter(path / place / LORA_FILE, prefix=prefix, adapter_name=READ_BACK)
