"""What a recipe hands to the loop: views and terms, by name; no tensors yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rushes.objectives.segments import latent_labels
from rushes.objectives.terms import Term
from rushes.store.latents import LatentKey

OWN = "own"  # a view's given first frame is that of its own clip, edit included


@dataclass(frozen=True)
class View:
    """One forward pass: a latent clip and its condition."""

    media: str  # content hash of the clip
    caption: str
    first_frame: str = ""  # content hash of the clip or still whose first frame is given, or OWN; "" = none is
    source: str = ""  # "real", "take", "guided", ...: what leak checks and health reports group by
    edit: str = ""  # what is done to its frames before the codec, in the words of `rushes.edits`; "" = nothing

    @property
    def latent(self) -> LatentKey:
        """What its latent is of."""
        return LatentKey(self.media, self.edit)

    @property
    def key(self) -> str:
        """Name of its latent."""
        return str(self.latent)


@dataclass(frozen=True)
class Comparison:
    """Views and the terms over them. `group` names the prompt: held-out comparisons never share one with the rest."""

    id: str
    group: str
    views: tuple[View, ...]
    terms: tuple[Term, ...]


def hashed_comparisons(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Comparisons as a run's identity has them: with the name that the sigmoid link had first, "logistic"."""
    rows = [asdict(comparison) for comparison in comparisons]
    for term in (term for row in rows for term in row["terms"] if term["link"] == "sigmoid"):
        term["link"] = "logistic"
    return rows


@dataclass(frozen=True)
class LatentGrid:
    """What a recipe knows of the project beside its rows: how clips lie in time, and whose takes are compared."""

    frames: int  # latent frames F
    temporal_ratio: int
    fps: float
    first_frame: bool  # the model is given the first frame
    system: str = "base"  # what training starts from: "base" or the name of a run
    clean: bool = True  # a given first frame is latent frame 0, which is then not scored
    lead: int = 0  # copies of latent frame 0 that stand in front, among `frames`

    @property
    def pixel_frames(self) -> int:
        """Frames of a clip."""
        return 1 + (self.frames - self.lead - 1) * self.temporal_ratio

    def labels(self, labels: tuple[int, ...], segment_s: float | None = None) -> tuple[int, ...]:
        """Segment labels -> one per latent frame, with the given first frame left out (0)."""
        own = self.frames - self.lead
        per_frame = latent_labels(
            labels, segment_s, latent_frames=own, temporal_ratio=self.temporal_ratio, fps=self.fps
        )
        per_frame = (*per_frame[:1] * self.lead, *per_frame)
        return (0, *per_frame[1:]) if self.first_frame and self.clean else per_frame
