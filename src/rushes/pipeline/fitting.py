"""Whether a step of a project's training fits a kind of GPU and, where not, what would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rushes.backbones.base import How
from rushes.backbones.folders import Folder
from rushes.config.tables import Settings
from rushes.pipeline.checks import unknown
from rushes.pipeline.dryrun import Clip
from rushes.pipeline.plan import GPUS, SHARE_OF_PEAK, Ask, forecast, views_of


@dataclass(frozen=True)
class Change:
    """What would be changed to fit: size, length, or bits of the frozen weights."""

    clip: Clip
    quantize: str

    def in_words(self, settings: Settings) -> str:
        """The flags of `rushes init` that make it."""
        size, words = settings.backbone, []
        if (self.clip.height_px, self.clip.width_px) != (size.height_px, size.width_px):
            words.append(f"--size {self.clip.height_px}x{self.clip.width_px}")
        if self.clip.frames != size.frames:
            words.append(f"--frames {self.clip.frames}")
        if self.quantize != size.quantize:
            words.append(f"--set backbone.quantize={self.quantize}")
        return " ".join(words)


def check_fits(folder: Folder, settings: Settings, gpu: str, multiple_px: int, step: int) -> None:
    """Refuse settings of which one step does not fit a kind of GPU, with the least change that does.

    Args:
        folder: configurations of the model.
        gpu: a name that `rushes plan` knows.
        multiple_px: heights and widths are multiples of it.
        step: lengths are 1 plus multiples of it.

    Raises:
        ValueError: no such GPU, a model without a forecast, or a step that does not fit.
    """
    if gpu not in GPUS:
        raise ValueError(f"--gpu: {unknown('GPU', gpu, GPUS)}")
    size = settings.backbone
    asked = Change(Clip(size.height_px, size.width_px, size.frames), size.quantize)
    if (needed := _gib(folder, settings, gpu, asked)) <= 0:
        return
    clip = f"{size.height_px} x {size.width_px} px x {size.frames} frames"
    start = f"--gpu {gpu}: a step of {settings.train.recipe} at {clip} takes {needed:.0f} GiB and does not fit"
    for change in _changes(settings, asked.clip, multiple_px, step):
        if _gib(folder, settings, gpu, change) <= 0:
            raise ValueError(f"{start}; it fits with {change.in_words(settings)}")
    raise ValueError(f"{start}; no smaller clip that was tried does, so take a larger GPU or a smaller model")


def _changes(settings: Settings, clip: Clip, multiple_px: int, step: int) -> Iterator[Change]:
    """From the least to the greatest: fewer bits, then shorter clips, then smaller ones."""
    now = settings.backbone.quantize
    bits = [now]
    if now == "none" and settings.train.tune == "lora" and settings.backbone.name != "inflated_sd":
        yield Change(clip, "4bit")
        bits.append("4bit")
    for share in (1.0, 0.71, 0.5):  # of the side: half and a quarter of the area
        height, width = (
            max(int(side * share) // multiple_px, 1) * multiple_px for side in (clip.height_px, clip.width_px)
        )
        for part in (1.0, 0.6, 0.4, 0.2):
            frames = 1 + int((clip.frames - 1) * part) // step * step
            if (height, width, frames) != (clip.height_px, clip.width_px, clip.frames) and frames > 1:
                for each in bits:
                    yield Change(Clip(height, width, frames), each)


def _gib(folder: Folder, settings: Settings, gpu: str, change: Change) -> float:
    """GiB of the least way to take gradients where none fits; 0 where one does."""
    backbone, train = settings.backbone, settings.train
    precision = "bfloat16" if backbone.dtype == "auto" and train.tune == "lora" else backbone.dtype
    how = How(
        dtype="mixed" if precision == "auto" else precision,
        checkpointing=backbone.checkpointing,
        quantize=change.quantize,  # type: ignore[arg-type]
    )
    memory, peak = GPUS[gpu]
    views = views_of(train.recipe)
    tune = "lora" if train.tune == "lora" else "full"
    ask = Ask(
        change.clip, how, tune, train.rank, views, train.batch, bool(train.bank), memory,
        round(SHARE_OF_PEAK * peak, 1), backbone.first_frame,
    )  # fmt: skip
    facts = forecast(folder, ask)
    return 0.0 if facts["fits"] else float(min(row["memory_gb"] for row in facts["modes"].values()))
