"""How stages ask models: endpoints opened on first use, what they are shown of a clip, why an answer counts as none."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from rushes.arrays import Frames
from rushes.config.curate import ModelSettings
from rushes.config.model_endpoint import EndpointSettings
from rushes.config.tables import Settings
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task, Threshold
from rushes.curate.frames import read_moments
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.messages import EndpointAnswer, QuestionPart
from rushes.records import stable_hash

S = TypeVar("S", bound=BaseModel)

_open: dict[tuple[int, EndpointSettings, Path], ChatEndpoint] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class ModelClient:
    """A model at an endpoint, and the file of what it answered. Light and picklable: each process opens its own."""

    settings: EndpointSettings
    answers: Path

    @property
    def name(self) -> str:
        """As its server knows it."""
        return self.settings.model

    def ask(self, parts: Sequence[QuestionPart], schema: type[S]) -> EndpointAnswer[S]:
        """See `rushes.judges.endpoint.Endpoint.ask`, whose errors it raises."""
        return self.endpoint().ask(parts, schema)

    def endpoint(self) -> ChatEndpoint:
        """The connection that threads of this process share."""
        with _lock:
            key = (os.getpid(), self.settings, self.answers)  # a forked process must not use its parent's
            if key not in _open:
                _open[key] = ChatEndpoint(self.settings, self.answers)
            return _open[key]


@atexit.register
def hang_up() -> None:
    """Close all connections of this process; they open again when something is asked."""
    with _lock:
        for key in [key for key in _open if key[0] == os.getpid()]:
            _open.pop(key).close()


def first_model(settings: EndpointSettings, answers: Path, stage: str) -> ModelClient:
    """The model of `[endpoint]`. Raises ValueError where none is named or its key is not there."""
    return _checked(ModelClient(settings, answers), "endpoint", stage)


def other_model(settings: EndpointSettings, other: ModelSettings, answers: Path, where: str, stage: str) -> ModelClient:
    """The model that `where` names; what that table leaves out is as in `[endpoint]`, but its key only at its address.

    Raises ValueError: no model is named, or its key is not there.
    """
    changes: dict[str, object] = {"model": other.model}
    if other.url:
        changes |= {"url": other.url, "key_env": other.key_env}
    changes |= {name: getattr(other, name) for name in ("price_in", "price_out") if getattr(other, name)}
    return _checked(ModelClient(settings.model_copy(update=changes), answers), where, stage)


def _checked(model: ModelClient, where: str, stage: str) -> ModelClient:
    key = model.settings.key_env
    if not model.name:
        raise ValueError(f"{where}.model is empty; name the model that the stage {stage} asks")
    if key and not os.environ.get(key):
        raise ValueError(f"{where}.key_env names the environment variable {key}, which is not set; set it to the key")
    return model


def text_model(text: ModelSettings, settings: EndpointSettings, answers: Path, stage: str) -> ModelClient:
    """The model that reads captions: that of `[curate.text]`, without a name there that of `[endpoint]`."""
    if text.model:
        return other_model(settings, text, answers, "curate.text", stage)
    return first_model(settings, answers, stage)


def asking_stage(
    name: str,
    version: int,
    settings: Settings,
    models: Sequence[ModelClient],
    prompt: object,
    measure: Callable[[Task], CurationFinding],
    choose: Callable[[Sequence[CurationEntry]], Dropped],
    *,
    each: int,
    reads_caption: bool = False,
    limits: tuple[Threshold, ...] = (),
) -> Stage:
    """A stage whose findings are what models say.

    Args:
        version: of what `measure` makes of answers.
        settings: say what happens when a model is down, and how many are asked at once.
        models: that are asked; with the `prompt`, and the temperature, they are what findings are kept under.
        prompt: all that answers depend on beside the models: questions, schemas, sizes of pictures.
        each: most requests about one clip.
    """
    heat = [(model.name, model.settings.temperature) for model in models]
    return Stage(
        name,
        f"{name}.{version}:{'+'.join(model.name for model in models)}@{stable_hash([prompt, heat], 8)}",
        measure,
        choose,
        stop=settings.curate.when_down == "stop",
        reads_caption=reads_caption,
        calls=lambda clips: each * clips,
        parallel=settings.endpoint.parallel,
        limits=limits,
    )


def seen(task: Task, count: int) -> list[Frames]:
    """Up to `count` frames [H,W,3] uint8 RGB, evenly spaced over the clip. Raises MediaError, a ValueError."""
    return read_moments(task.path, task.frames / task.fps, min(count, task.frames))


_IN_WORDS = {
    "refused": "refused to answer",
    "empty": "gave an empty answer; raise max_tokens",
    "cut off": "was cut off; raise max_tokens",
    "not JSON": "gave an answer that is not JSON",
    "wrong fields": "gave JSON in another form than the one asked for",
}


def unread(model: ModelClient, problem: str) -> str:
    """Why an answer counts as none, in words."""
    return f"{model.name} {_IN_WORDS.get(problem, problem)}"


def one_line(text: str, most: int = 160) -> str:
    """A model's text on one line, shortened to `most` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 3] + "..."


def last_line(text: str) -> str:
    """What was said last, "" where nothing was."""
    return (text.splitlines() or [""])[-1]
