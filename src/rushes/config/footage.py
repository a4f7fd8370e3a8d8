"""Settings of footage: where real clips and pairs are, and how they are read and cut."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from rushes.config.base import FolderPath, SettingsTable
from rushes.config.ranges import Crf, Factor, Few, RowCount, Seconds, Share


def _as_list(value: object) -> object:
    """One text where several may stand: `rushes set P footage.answers=0=right`."""
    return (value,) if isinstance(value, str) else value


class FootageSettings(SettingsTable):
    """The real clips: where they are, and how they are read and cut."""

    kind: Literal["world", "folder", "pairs"] = Field(
        "world", description="embedded world, a folder of videos, or pairs of better and worse videos"
    )
    path: FolderPath = Field(
        "",
        validate_default=True,
        description="folder of the videos (kind folder); folder or table of the pairs (kind pairs)",
    )
    rejected: FolderPath = Field("", description="folder of the worse videos; the better ones are in path (kind pairs)")
    prompts: FolderPath = Field(
        "", description="file with the prompts of the pairs (kind pairs); empty = text files beside the videos"
    )
    columns: str = Field(
        "",
        description="columns of a table of pairs, as chosen=A,rejected=B,prompt=C or left=A,right=B,answer=C "
        "(kind pairs); empty = found by their names",
    )
    answers: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        (),
        strict=False,
        description="meaning of the answers in a table of pairs, such as 0=left and 1=right (kind pairs)",
    )
    windows: Few = Field(
        1, ge=1, description="clips cut from each file, evenly spaced, possibly overlapping (kind folder)"
    )
    window: Literal["", "first", "last", "best-motion"] = Field(
        "",
        description="part of a longer pair that its label applies to (kind pairs); empty = longer pairs are left out",
    )
    layout: Literal["auto", "folder", "realdpo", "webdataset", "videofolder", "table"] = Field(
        "auto", description="layout of the folder; auto = detected"
    )
    video_column: str = Field("", description="table column that holds or names the videos; empty = found by its name")
    caption_column: str = Field(
        "", description="table column, or key of a tar's JSON, with the captions; empty = found by its name"
    )
    scenario_column: str = Field(
        "", description="table column with the scenario of each video; empty = the column scenario, if there is one"
    )
    clips: RowCount = Field(256, gt=0, description="number of clips to render (kind world)")
    scenes: tuple[str, ...] = Field((), strict=False, description="scenes to render (kind world); empty = all")
    eval_prompts: RowCount = Field(64, ge=0, description="number of held-out prompts (kind world)")
    eval_fraction: Share = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the clips, or of the prompts of pairs, that is held out (kinds folder and pairs)",
    )
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="how a frame is fitted to the model's size: crop, pad with black, or stretch"
    )
    bench: FolderPath = Field(
        "", description="folder of held-out prompts with first frames, and videos of other systems"
    )
    allow_empty_captions: bool = Field(False, description="accept clips without a caption instead of refusing them")
    on_refused: Literal["fail", "skip"] = Field(
        "fail", description="unusable clips: fail = the import stops, skip = they are left out and listed"
    )
    cut: Literal["none", "scenes"] = Field(
        "none", description="none = files are used whole, scenes = files are cut at scene changes"
    )
    cut_detector: Literal["adaptive", "content"] = Field(
        "adaptive",
        description="scene change: adaptive = a jump above neighbouring frames, tolerates fast motion; content = "
        "any large change",
    )
    cut_threshold: Factor = Field(
        0.0,
        ge=0,
        description="change above which a frame starts a new scene; 0 = the detector's own: 3 (adaptive), 27 (content)",
    )
    shortest_s: Seconds = Field(
        0.0, ge=0, description="minimum length in seconds of a piece of a scene; 0 = length of the model's clips"
    )
    longest_s: Seconds = Field(
        0.0, ge=0, description="maximum length in seconds of a piece of a scene; 0 = length of the model's clips"
    )
    cut_crf: Crf = Field(
        12, ge=1, le=51, description="x264 CRF of the cut pieces: 1 = best quality, 51 = smallest file"
    )

    @field_validator("path")
    @classmethod
    def _folder_has_path(cls, path: str, info: ValidationInfo) -> str:
        if info.data.get("kind") != "world" and not path:
            raise ValueError(f"footage of kind {info.data.get('kind')!r} needs the path of the folder")
        return path
