"""docs/hardware.md: what each released model needs, on six common cards, all of it forecast."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rushes.backbones.base import LoadOptions
from rushes.backbones.model_defaults import Released, all_models, released
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import Settings
from rushes.files import write_text
from rushes.inspect.dry_run import Cost, dry_run, find_family
from rushes.inspect.job_forecast import JobForecast, Machine, ModelCosts, forecast_job, options_of
from rushes.inspect.part_costs import CodecCost, ReaderCost, codec_cost, reader_cost
from rushes.inspect.planning import PlanRequest, numbers_of, settings_of
from rushes.inspect.step_forecast import KINDS, SHARE_OF_PEAK
from rushes.pages import templates
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

    def model(self, folder: Released, settings: Settings, whole: ClipShape) -> ModelCosts:
        """Costs of a model. Those of its codec are in proportion to pixels, and measured at the length of `whole`."""
        size, options = settings.backbone, options_of(settings)
        clip = size.shape
        spec = find_family(folder.pipeline).spec(folder, options)
        part = "unet" if folder.has("unet") else "transformer"
        two = folder.has("transformer_2")
        asked = [str(clip), settings.train.trainable, options.dtype, size.first_frame]
        network = json.dumps([folder.pipeline, folder.config(part), two, *asked])
        if network not in self._networks:
            own = replace(options, quantize="none")
            self._networks[network] = dry_run(folder, own, clip, settings.train.trainable, RANK, size.first_frame)
        cost = self._networks[network]
        if options.quantize == "4bit":
            cost = replace(cost, weights=cost.weights_4bit)
        codec = json.dumps([folder.family, folder.config("vae"), str(whole)])
        if codec not in self._codecs:
            self._codecs[codec] = codec_cost(folder, options, whole)
        readers = json.dumps([folder.pipeline, {name: folder.config(name) for name in folder.configs if "enc" in name}])
        if readers not in self._readers:
            self._readers[readers] = reader_cost(folder, options)
        share = clip.frames / whole.frames
        at_whole = self._codecs[codec]
        scaled = replace(at_whole, encode=share * at_whole.encode, decode=share * at_whole.decode)
        return ModelCosts(spec, cost, scaled, self._readers[readers])


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
        trainable="full" if tune == "full" else "lora",
        lora_rank=RANK,
        quantize="4bit" if tune == "4 bits" else "none",
    )
    settings, _ = settings_of(asked, 1)
    size = settings.backbone
    whole = size.shape
    spec = find_family(folder.pipeline).spec(folder, options_of(settings))
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
    return CardForecast(settings.backbone.shape, short, tune, max(least.gib.values()), cards)


@dataclass(frozen=True)
class HardwarePage:
    """Forecasts of all released models."""

    page: Path  # Markdown


def write_page(path: Path, say: Callable[[str], None]) -> HardwarePage:
    """Write the page, which takes minutes; each model is reported when it is done."""
    costs, models = Costs(), dict[str, list[CardForecast]]()
    for name in list(all_models()):
        models[name] = rows_of(name, costs)
        say(f"{name}: {len(models[name])} rows")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page(models))
    return HardwarePage(path)


def page(models: Mapping[str, list[CardForecast]]) -> str:
    """The page, as Markdown."""
    template = templates("rushes.inspect", best=_best, cell=_cell).get_template("hardware.md")
    return template.render(models=models, cards=CARDS, kinds=KINDS, recipe=RECIPE, rank=RANK)


def _best(rows: list[CardForecast], card: str) -> str:
    """What of the three fits a card."""
    there = [row.tune for row in rows if row.fits(card)]
    return ", ".join(there) if there else NO


def _cell(row: CardForecast, card: str) -> str:
    if not row.fits(card):
        return NO
    few, many = row.cards[card]
    return f"{_number(few.step.step_s)} s, {_number(few.total_hours)} / {_number(many.total_hours)} h"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
