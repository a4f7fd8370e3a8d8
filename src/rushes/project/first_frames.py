"""Held-out prompts with first frames that an image pipeline makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rushes.backbones.stills import StillMaker
from rushes.media.images import write_image
from rushes.project.project import Project
from rushes.records import Clip, stable_hash


@dataclass(frozen=True)
class StillsResult:
    """First frames of held-out prompts."""

    stills: int  # that were asked for, all of which are there
    new: int  # drawn now


def make_stills(
    project: Project, pipeline: Path, prompts: Sequence[str], *, steps: int, guidance: float
) -> StillsResult:
    """A first frame for each prompt by the image pipeline in a folder, as held-out prompts; what is there stays.

    Raises:
        ValueError: a project of the embedded world, no prompts, or a folder that holds no image pipeline.
    """
    if project.settings.footage.kind == "world":
        raise ValueError("footage.kind: the embedded world draws its own first frames; stills are for footage")
    if not prompts or "" in prompts:
        raise ValueError("every still needs a prompt, and one is empty; write one prompt a line")
    size, seed = project.settings.backbone, project.settings.project.seed
    name = pipeline.resolve().name
    made_from = [name, size.height_px, size.width_px, steps, guidance, seed]
    wanted = {stable_hash(["still", prompt, *made_from]): prompt for prompt in prompts}
    known = {clip.id for clip in project.store.clips(dropped=True)}
    missing = {id: prompt for id, prompt in wanted.items() if id not in known}
    with project.timed("still", len(missing)) as tick:
        maker = StillMaker(pipeline) if missing else None
        for id, prompt in missing.items():
            assert maker is not None
            image = maker.make(prompt, size.height_px, size.width_px, steps=steps, guidance=guidance, seed=seed)
            with TemporaryDirectory() as folder:
                path = Path(folder) / "still.png"
                write_image(path, image)
                media = project.store.put_media(path)
            height, width, _ = image.shape
            row = Clip(
                id,
                media,
                prompt,
                width_px=width,
                height_px=height,
                frames=1,
                fps=size.fps,
                source=f"still by {name}",
                split="eval",
                first_frame=media,
                made_by=name,
                settings_hash=stable_hash(made_from),
            )
            project.store.add([row])
            tick(1)
    return StillsResult(len(wanted), len(missing))
