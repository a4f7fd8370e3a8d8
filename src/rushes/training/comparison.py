"""What a recipe hands to the loop: views and terms, by name; no tensors yet."""

from __future__ import annotations

from dataclasses import dataclass

from rushes.objectives.segments import latent_labels
from rushes.objectives.terms import Term


@dataclass(frozen=True)
class View:
    """One forward pass: a latent clip and its condition."""

    media: str  # content hash of the clip
    caption: str
    first_frame: str = ""  # content hash of the clip or still whose first frame is given; "" = none is
    source: str = ""  # "real", "take", "guided", ...: what leak checks and health reports group by


@dataclass(frozen=True)
class Comparison:
    """Views and the terms over them. `group` names the prompt: held-out comparisons never share one with the rest."""

    id: str
    group: str
    views: tuple[View, ...]
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class LatentGrid:
    """How clips of this project lie in time, for recipes that label parts of them."""

    frames: int  # latent frames F
    temporal_ratio: int
    fps: float
    first_frame: bool  # the model is given the first frame, so latent frame 0 is not scored

    def labels(self, labels: tuple[int, ...], segment_s: float | None = None) -> tuple[int, ...]:
        """Segment labels -> one per latent frame, with the given first frame left out (0)."""
        per_frame = latent_labels(
            labels, segment_s, latent_frames=self.frames, temporal_ratio=self.temporal_ratio, fps=self.fps
        )
        return (0, *per_frame[1:]) if self.first_frame else per_frame
