"""docs/hardware.md: what each released model needs, on six common cards, all of it forecast."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rushes.backbones.base import LoadOptions
from rushes.backbones.released import Released, released, released_names
from rushes.config.tables import Settings
from rushes.files import write_text
from rushes.inspect.dry_run import ClipShape, Cost, dry_run, find_family
from rushes.inspect.job_forecast import JobForecast, Machine, Model, forecast_job, how_of
from rushes.inspect.part_costs import CodecCost, ReaderCost, codec_cost, reader_cost
from rushes.inspect.planning import PlanRequest, numbers_of, settings_of
from rushes.inspect.step_forecast import KINDS, SHARE_OF_PEAK
from rushes.project.defaults import with_values

CARDS = ("rtx4070", "rtx4080", "rtx4090", "rtx5090", "h100", "h200")  # 12, 16, 24, 32, 80 and 141 GB
CLIPS = (60, 400)
SHORT = 0.4  # of the release's length
RECIPE = "realdpo"
RANK = 32  # of every adapter, so that rows can be compared
NO = "no"
Tune = Literal["4 bits", "bfloat16", "full"]
TUNES: tuple[Tune, ...] = ("4 bits", "bfloat16", "full")  # adapters over weights in 4 bits and in bfloat16; all weights


@dataclass(frozen=True)
class CardForecast:
    """A model at one length, with one way to train."""

    clip: ClipShape  # its size
    short: bool  # whether it is shorter than the release's
    tune: Tune  # what is trained
    least_gib: float  # that the largest stage takes with one view at a time
    cards: Mapping[str, tuple[JobForecast, ...]]  # forecasts for each number in `CLIPS`, by card

    def fits(self, card: str) -> bool:
        """Whether all stages fit this card."""
        return not self.cards[card][0].too_large


class Costs:
    """Costs that were found. Releases share networks and codecs, so many are asked for again."""

    def __init__(self) -> None:
        self._networks: dict[str, Cost] = {}
        self._codecs: dict[str, CodecCost] = {}
        self._readers: dict[str, ReaderCost] = {}

    def model(self, folder: Released, settings: Settings, whole: ClipShape) -> Model:
        """Costs of a model. Those of its codec are in proportion to pixels, and measured at the length of `whole`."""
        size, how = settings.backbone, how_of(settings)
        clip = ClipShape(size.height_px, size.width_px, size.frames)
        spec = find_family(folder.pipeline).spec(folder, how)
        part = "unet" if folder.has("unet") else "transformer"
        two = folder.has("transformer_2")
        network = json.dumps([folder.pipeline, folder.config(part), two, str(clip), settings.train.trainable, how.dtype,
                              size.first_frame])  # fmt: skip
        if network not in self._networks:
            own = replace(how, quantize="none")
            self._networks[network] = dry_run(folder, own, clip, settings.train.trainable, RANK, size.first_frame)
        cost = self._networks[network]
        if how.quantize == "4bit":
            cost = replace(cost, weights=cost.weights_4bit)
        codec = json.dumps([folder.family, folder.config("vae"), str(whole)])
        if codec not in self._codecs:
            self._codecs[codec] = codec_cost(folder, how, whole)
        readers = json.dumps([folder.pipeline, {name: folder.config(name) for name in folder.configs if "enc" in name}])
        if readers not in self._readers:
            self._readers[readers] = reader_cost(folder, how)
        share = clip.frames / whole.frames
        at_whole = self._codecs[codec]
        scaled = replace(at_whole, encode=share * at_whole.encode, decode=share * at_whole.decode)
        return Model(spec, cost, scaled, self._readers[readers])


def rows_of(name: str, costs: Costs) -> list[CardForecast]:
    """All rows of a released model."""
    folder = released(name)
    tunes = [tune for tune in TUNES if tune != "4 bits" or folder.family != "inflated_sd"]
    one_length = find_family(folder.pipeline).spec(folder, LoadOptions()).only_frames
    return [_row(folder, name, tune, short, costs) for short in ((False,) if one_length else (False, True))
            for tune in tunes]  # fmt: skip


def _row(folder: Released, name: str, tune: Tune, short: bool, costs: Costs) -> CardForecast:
    asked = PlanRequest(
        name,
        recipe=RECIPE,
        tune="full" if tune == "full" else "lora",
        rank=RANK,
        quantize="4bit" if tune == "4 bits" else "none",
    )
    settings, _ = settings_of(asked, 1)
    size = settings.backbone
    whole = ClipShape(size.height_px, size.width_px, size.frames)
    spec = find_family(folder.pipeline).spec(folder, how_of(settings))
    if short:
        frames = spec.largest(max(2, round(SHORT * size.frames)))
        settings = with_values(settings, {"backbone.frames": frames})
    model = costs.model(folder, settings, whole)
    machines = {card: Machine(KINDS[card].memory_gb, SHARE_OF_PEAK * KINDS[card].tflops) for card in CARDS}
    cards = {
        card: tuple(forecast_job(model, settings, numbers_of(settings, clips), machine) for clips in CLIPS)
        for card, machine in machines.items()
    }
    least = forecast_job(model, settings, numbers_of(settings, CLIPS[0]), Machine(1, 1.0))
    clip = ClipShape(size.height_px, size.width_px, settings.backbone.frames)
    return CardForecast(clip, short, tune, max(least.gib.values()), cards)


@dataclass(frozen=True)
class HardwarePage:
    """Forecasts of all released models."""

    page: Path  # Markdown


def write_page(path: Path, say: Callable[[str], None]) -> HardwarePage:
    """Write the page, which takes minutes; each model is said when it is done."""
    costs, models = Costs(), dict[str, list[CardForecast]]()
    for name in released_names():
        models[name] = rows_of(name, costs)
        say(f"{name}: {len(models[name])} rows")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(page(models)) + "\n")
    return HardwarePage(path)


def page(models: Mapping[str, list[CardForecast]]) -> Iterator[str]:
    """The page's lines."""
    yield HEAD
    heads = [f"{KINDS[card].memory_gb} GB" for card in CARDS]
    yield f"| model | length | {' | '.join(heads)} |"
    yield f"|---|---|{'---|' * len(heads)}"
    for name, rows in models.items():
        for short in dict.fromkeys(row.short for row in rows):
            own = [row for row in rows if row.short == short]
            cells = [_best(own, card) for card in CARDS]
            yield f"| {name if not short else ''} | {own[0].clip.frames} frames | {' | '.join(cells)} |"
    yield "\n## Model by model\n"
    yield LEGEND
    for name, rows in models.items():
        yield from _section(name, rows)


def _best(rows: list[CardForecast], card: str) -> str:
    """What of the three fits a card."""
    there = [row.tune for row in rows if row.fits(card)]
    return ", ".join(there) if there else NO


def _section(name: str, rows: list[CardForecast]) -> Iterator[str]:
    clip = rows[0].clip
    yield f"\n### {name}\n"
    weights = rows[0].cards[CARDS[0]][0].step.parameters / 1e9
    yield f"{clip.height_px} x {clip.width_px} px, {weights:.1f} billion weights.\n"
    heads = [f"{card}, {KINDS[card].memory_gb} GB" for card in CARDS]
    yield f"| frames | trained | GiB | {' | '.join(heads)} |"
    yield f"|---|---|---|{'---|' * len(heads)}"
    for row in rows:
        cells = " | ".join(_cell(row, card) for card in CARDS)
        yield f"| {row.clip.frames} | {row.tune} | {row.least_gib:.1f} | {cells} |"


def _cell(row: CardForecast, card: str) -> str:
    if not row.fits(card):
        return NO
    few, many = row.cards[card]
    return f"{_number(few.step.step_s)} s, {_number(few.total_hours)} / {_number(many.total_hours)} h"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


HEAD = f"""# What fits which card

<!-- Written by `rushes plan --table docs/hardware.md`: change src/rushes/inspect/hardware.py, and run that again. -->

**All numbers on this page are forecasts.** No GPU was used. Memory and operations come from running each model, as it
was released, with tensors that have shapes and no values, by the code that trains ([how far to trust
it](machine.md#will-it-fit)). Seconds are operations over 40 % of what the GPU's data sheet says; on your GPU they may
be half or twice that. `rushes bench step` measures it, and `rushes plan PROJECT --tflops N` forecasts with what you
measured.

A job is `{RECIPE}` with the settings that `rushes init --model` writes, but for the adapter's rank: takes by the base
model, 400 steps of 4 comparisons, one view in memory at a time where more do not fit, probes at each checkpoint, and
takes of held-out prompts by the base and the trained model; a fifth of the clips is held out. All of it runs on one
GPU. Import, labels and metrics are not in it.

## What can be trained

`4 bits` and `bfloat16` are adapters of rank {RANK} over weights held so. Models whose own rank is larger
([models](models.md)) need a little more, which `rushes plan --model` says. `full` is all weights, held in float32 and
computed in bfloat16. What is named fits with every stage of the job. The second line of a model is for clips of two
fifths of the release's length, where it takes more than one length.
"""
LEGEND = """GiB is what the largest stage takes with one view at a time; a card that has room takes several at once.
Cells: seconds a training step, then hours of the whole job for 60 and for 400 clips; "no": the job does not fit."""
