"""One stage run over clips as the funnel does it, and clips of the embedded world as files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.config.tables import Settings
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task
from rushes.media.write import write_video
from rushes.world.mechanics import FPS, FRAMES, SIZE_PX
from rushes.world.render import render
from rushes.world.scenes import Scene

from ..fake_endpoint import Does, FakeEndpoint

ENLARGED = 2


@dataclass(frozen=True)
class Ran:
    """What became of the clips."""

    findings: dict[str, CurationFinding]
    dropped: Dropped

    @property
    def problems(self) -> dict[str, str]:
        return {id: finding.problem for id, finding in self.findings.items() if finding.problem}

    @property
    def kept(self) -> list[str]:
        return [id for id in self.findings if id not in self.dropped and id not in self.problems]


def run(stage: Stage, tasks: Sequence[Task]) -> Ran:
    """Measure, then choose among what had no problem."""
    findings = {task.id: stage.measure(task) if stage.measure else CurationFinding() for task in tasks}
    entries = [entry(task.id, task.caption, findings[task.id]) for task in tasks if not findings[task.id].problem]
    return Ran(findings, stage.choose(entries))


def entry(
    id: str, caption: str, finding: CurationFinding | None = None, person: bool = False, **values: float
) -> CurationEntry:
    finding = finding or CurationFinding(values)
    return CurationEntry(id, finding.captions.get("dense", caption), finding, person)


def settings(fake: FakeEndpoint | None = None, endpoint: Mapping[str, Any] = {}, **curate: Any) -> Settings:
    """Settings of curation, the endpoint being the fake one."""
    named = {"url": fake.url, "model": "one", "timeout_s": 5.0, **endpoint} if fake else dict(endpoint)
    return Settings.model_validate({"endpoint": named, "curate": curate})


def text_tasks(*captions: str) -> list[Task]:
    """Clips of which only the caption is looked at."""
    return [Task(f"clip {at}", Path("none.mp4"), caption, 8.0, FRAMES) for at, caption in enumerate(captions)]


def world_tasks(folder: Path, scenes: Sequence[Scene], captions: Sequence[str] | None = None) -> list[Task]:
    """Scenes as video files, under their own captions or others."""
    tasks = []
    for at, (scene, caption) in enumerate(zip(scenes, captions or [scene.caption for scene in scenes], strict=True)):
        path = folder / f"{at}.mp4"
        write_video(path, render(scene), FPS, scale=ENLARGED)
        tasks.append(Task(f"clip {at}", path, caption, FPS, FRAMES))
    return tasks


def pictures(request: dict[str, Any]) -> NDArray[np.uint8]:
    """The frames [F,64,64,3] RGB that a request shows, at the world's own size."""
    frames = []
    for part in request["messages"][-1]["content"]:
        if part["type"] == "image_url":
            data = np.frombuffer(base64.b64decode(part["image_url"]["url"].partition(",")[2]), np.uint8)
            decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
            assert decoded is not None
            image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
            frames.append(cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA))
    return np.stack(frames).astype(np.uint8)


def says(**fields: Any) -> Does:
    """An answer of these fields."""
    return Does(json.dumps(fields))


BROKEN: dict[str, Does] = {
    "garbage": Does("well, it depends"),
    "refusal": Does(refusal="I cannot look at people."),
    "cut off": Does('{"reason": "it is', finish="length"),
    "other fields": Does('{"answer": "real"}'),
}
