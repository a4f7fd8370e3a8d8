"""Settings that a recipe ships for the tiny backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from rushes.config.tables import (
    BackboneSettings,
    CaptionSettings,
    FootageSettings,
    GenerateSettings,
    LabelSettings,
    Settings,
    TrainSettings,
    toy_note,
)
from rushes.footage.split import share_held_out
from rushes.formats.answers import MeaningTable
from rushes.formats.archives import TAR_SUFFIX
from rushes.formats.clip_tables import TABLE_SUFFIXES
from rushes.formats.layouts import folder_files, is_video
from rushes.formats.pair_files import form_of, holds_tables
from rushes.formats.pair_folders import swapped_folders
from rushes.project.defaults import with_values
from rushes.project.settings_checks import unknown
from rushes.stats import LEAST_PROMPTS, detectable_difference, detectable_win_rate
from rushes.text_reader import counted
from rushes.training.recipe import Recipe, load_recipe, recipe_names

HELD_OUT = 0.2  # share of a folder's clips that evaluation gets
FOOTAGE_FRAMES = 17  # of clips of footage on the tiny backbone, as many clips of people's are short
MEDIUM = 0.5  # standard deviations of a change that is called medium (Cohen, 1988)
# Noise of guided takes on the tiny backbone: within what `rushes tune eta` proposes, about the level at which test A1
# of `rushes bench world` holds.
TINY_ETA = (0.88, 0.92)


Source = Path | FootageSettings | None
"""Clips in a folder, tar or table; pairs as `pairs_of` reads what was typed; None = the embedded world."""


def preset(name: str, footage: Source = None) -> Settings:
    """Settings of a project that runs recipe `name` on the tiny backbone.

    Its clips are those of the folder `footage`, or without one of the embedded world. People label takes of footage:
    the world's verifier knows the world alone, and no metric sees which of two takes is better (docs/metrics.md).

    Raises:
        ValueError: no such recipe, or no such folder.
    """
    return tiny_settings(name, checked_recipe(name, footage), footage)


def tiny_settings(name: str, recipe: Recipe, footage: Source) -> Settings:
    """The same, for a recipe and footage that were looked at."""
    settings = with_stages(name, recipe, footage, tiny_train(name, recipe))
    if footage:
        settings = with_values(settings, {"backbone.frames": FOOTAGE_FRAMES})
    return with_values(settings, {"generate.eta": TINY_ETA}) if settings.generate.kind == "guided" else settings


def checked_recipe(name: str, footage: Source) -> Recipe:
    """The recipe that `--recipe` names, after `--footage` was looked at.

    Raises:
        ValueError: no such recipe, or no such folder.
    """
    if "." not in name and name not in recipe_names():
        raise ValueError(f"--recipe: {unknown('recipe', name, recipe_names())}, or the dotted path of a module")
    if isinstance(footage, Path) and not footage.exists():
        raise ValueError(f"--footage: {footage} is not a folder, tar or table; name the one with your videos")
    recipe = load_recipe(name)
    if isinstance(footage, FootageSettings) and set(recipe.NEEDS) != {"labels"}:
        raise ValueError(f"--recipe: {name} does not train on pairs alone; use --recipe dpo, or leave --pairs out")
    return recipe


def check_clips(project: Path | None, footage: Path | None) -> None:
    """Refuse a project among the user's own videos, and footage that holds none.

    Raises:
        ValueError: with the command, or with what the footage may be.
    """
    if project is not None and project.is_dir() and any(map(is_video, project.iterdir())):
        place = quote(str(project))
        raise ValueError(
            f"{project} holds videos, and a project needs a folder of its own; run `rushes init NAME --footage "
            f"{place}`, where NAME is a new folder"
        )
    if footage is not None and footage.is_file() and is_video(footage):
        raise ValueError(f"--footage: {footage} is one video; name the folder that holds your videos")
    if footage is not None and footage.is_dir():
        files = folder_files(footage)
        if not files.videos and not any(path.suffix.lower() in (TAR_SUFFIX, *TABLE_SUFFIXES) for path in files.others):
            raise ValueError(f"--footage: {footage} holds no videos (.mp4, .mov, .mkv, ...); name the folder that does")


def pairs_of(
    paths: Sequence[Path],
    prompts: Path | None,
    footage: Path | None = None,
    columns: str = "",
    answers: Sequence[str] = (),
    *,
    project: Path | None = None,
) -> FootageSettings:
    """What `--pairs`, `--prompts`, `--columns` and `--answers` name, looked at.

    Raises:
        ValueError: more than two, no such folder or file, one folder twice, two whose names say that the worse one
            comes first, a table of a form that its fields do not tell, or `--footage` beside them.
    """
    if footage is not None:
        raise ValueError("--footage and --pairs cannot be combined; leave one of them out")
    if len(paths) > 2:
        raise ValueError(f"--pairs: name two folders, one folder or one table, not {len(paths)}")
    for path in (*paths, *([prompts] if prompts else ())):
        if not path.exists():
            raise ValueError(f"{'--prompts' if path == prompts else '--pairs'}: {path}: no such folder or file")
    chosen, *rejected = paths
    if rejected and chosen.resolve() == rejected[0].resolve():
        raise ValueError(
            f"--pairs: {chosen} is given as both the better and the worse folder; name two different folders"
        )
    if rejected and swapped_folders(chosen, rejected[0]):
        order = f"rushes init {project or 'PROJECT'} --pairs {quote(str(rejected[0]))} {quote(str(chosen))}"
        more = f" --prompts {quote(str(prompts))}" if prompts else ""
        raise ValueError(
            f"--pairs: the better folder comes first, but {chosen} seems by its name to be the worse one; run "
            f"`{order}{more}`, or rename the folders"
        )
    MeaningTable(answers)
    if chosen.is_file() or (not rejected and holds_tables(chosen, columns)):
        if rejected or prompts:
            raise ValueError(
                f"--pairs: {chosen} is a table, which already has this column; leave {(*rejected, prompts)[0]} out"
            )
        form_of(chosen, columns)
    elif columns or answers:
        raise ValueError(f"--columns, --answers: {chosen} is not a table; leave them out")
    source = _pairs(
        *(str(path.resolve()) if path else "" for path in (chosen, rejected[0] if rejected else None, prompts))
    )
    return source.model_copy(update={"columns": columns, "answers": tuple(answers)})


def source_of(footage: FootageSettings) -> Source:
    """Which footage settings name, without whatever else they say of it."""
    if footage.kind == "pairs":
        return _pairs(footage.path, footage.rejected, footage.prompts)
    return Path(footage.path or ".") if footage.kind == "folder" else None


def _pairs(path: str, rejected: str, prompts: str) -> FootageSettings:
    return FootageSettings(kind="pairs", path=path, rejected=rejected, prompts=prompts, eval_fraction=HELD_OUT)


def with_stages(name: str, recipe: Recipe, footage: Source, train: TrainSettings) -> Settings:
    """Settings whose stages make what a recipe needs, from footage, pairs or the embedded world."""
    label, scored = LabelSettings(), "scores" in recipe.NEEDS
    # the two of a pair, and more where the recipe chooses among them or compares all of them
    takes = 4 if scored else 3 if "likeness" in recipe.NEEDS else 2
    if ("labels" in recipe.NEEDS and not isinstance(footage, FootageSettings)) or scored:  # pairs have their labels
        label = LabelSettings(by="human", segment_s=1.0) if footage else LabelSettings(by="world")
    if scored:
        label = label.model_copy(update={"form": "scores", "scores": label.by == "human"})
        train = train.model_copy(update={"options": {**train.options, "metric": scores_of(label)}})
    if isinstance(footage, FootageSettings):  # with labels; their prompts are given alone where a model allows that
        return Settings(backbone=BackboneSettings(first_frame=False), footage=footage, train=train)
    return Settings(
        caption=CaptionSettings(by="rules" if footage else "world")
        if "wrong captions" in recipe.NEEDS
        else CaptionSettings(),
        footage=FootageSettings(kind="folder", path=str(footage.resolve()), eval_fraction=HELD_OUT)
        if footage
        else FootageSettings(),
        generate=GenerateSettings(kind="guided" if "guided" in recipe.NEEDS else "take", takes=takes),
        label=label,
        train=train,
    )


def people_note(settings: Settings) -> list[str]:
    """That people label the takes, for which a run stops; nothing where they do not."""
    if settings.label.by != "human":
        return []
    return [
        "label.by: people label the takes; `rushes run` makes takes and stops until you have labelled with `rushes "
        "label` (or set vlm: a vision-language model labels)"
    ]


def notes_on(settings: Settings) -> tuple[str, ...]:
    """What to know of a new project on the tiny backbone."""
    toy = toy_note(settings.backbone.name, settings.footage.kind)
    return (*([toy] if toy else []), *people_note(settings), *held_out_note(settings))


def held_out_note(settings: Settings) -> list[str]:
    """What evaluation can show on the share of a folder's videos that is held out; nothing of other footage.

    Videos that are cut into clips are not counted here, nor footage whose prompts are named apart.
    """
    footage = settings.footage
    folder = Path(footage.path)
    if footage.kind != "folder" or not footage.path or not folder.is_dir() or footage.cut != "none" or footage.bench:
        return []
    videos = len(folder_files(folder).videos)
    held_out = min(share_held_out(footage.eval_fraction, videos), settings.evaluate.prompts)
    if not held_out:
        return []
    what = f"{held_out} of {counted(videos, 'video')} held out"
    if held_out < LEAST_PROMPTS:
        return [f"{what}: too few for a verdict, which takes {LEAST_PROMPTS}; add footage, or see `rushes sample-size`"]
    change, rate = detectable_difference(1.0, held_out), detectable_win_rate(held_out)
    enough = "enough for large changes only" if change >= MEDIUM else "enough for medium and large changes"
    wins = "" if rate is None else f", or a win rate of {100 * rate:.0f} %"
    return [f"{what}: {enough} (from {change:.2f} standard deviations{wins}, 4 times in 5)"]


def scores_of(label: LabelSettings) -> str:
    """The name that scores by these settings go by."""
    return f"metric:{label.metric}" if label.by == "metric" else label.by


def tiny_train(name: str, recipe: Recipe) -> TrainSettings:
    """The `[train]` table that suits the tiny backbone."""
    return TrainSettings.model_validate({"recipe": name, **recipe.TINY})
