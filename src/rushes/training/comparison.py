"""What a recipe hands to the loop: views and terms, by name; no tensors yet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rushes.config.clip_shapes import HasVideoShape
from rushes.edits.words import MIRROR, in_mirror, is_mirrored
from rushes.objectives.segments import frame_labels, of_latent_frames, sign_of
from rushes.objectives.terms import Term
from rushes.store.latents import LatentKey

if TYPE_CHECKING:  # benchmarks/gpu.py runs where pydantic is not installed
    from rushes.config.backbone import BackboneSettings

OWN = "own"  # a view's given first frame is that of its own clip, edit included


@dataclass(frozen=True)
class View:
    """One forward pass: a latent clip and its condition."""

    media: str  # content hash of the clip
    caption: str
    first_frame: str = ""  # content hash of the clip or still whose first frame is given, or OWN; "" = none is
    source: str = ""  # "real", "take", "guided", ...: what leak checks and health reports group by
    edit: str = ""  # what is done to its frames before the codec, in the words of `rushes.edits`; "" = nothing
    shape: str = ""  # what its frames are brought to, by name; "" = the project's own size and length

    @property
    def latent(self) -> LatentKey:
        """What its latent is of."""
        return LatentKey(self.media, self.edit, shape=self.shape)

    @property
    def first(self) -> LatentKey | None:
        """What the latent of its given first frame is of; None where none is given, or its own is."""
        if self.first_frame in ("", OWN):
            return None
        return LatentKey(self.first_frame, MIRROR if is_mirrored(self.edit) else "", first=True, shape=self.shape)

    @property
    def key(self) -> str:
        """Name of its latent."""
        return str(self.latent)


@dataclass(frozen=True)
class Comparison:
    """Views and the terms over them. `group` names the prompt.

    `captions` are those of its clip where that has several, its own first: at each visit one is drawn, under which all
    views are seen that have the first.
    """

    id: str
    group: str
    views: tuple[View, ...]
    terms: tuple[Term, ...]
    captions: tuple[str, ...] = ()
    film: str = ""  # that clips of other prompts are pieces of, too

    @property
    def cluster(self) -> str:
        """What it shares with others that are no evidence beside it: held-out ones never share it with the rest."""
        return self.film or self.group

    @property
    def shape(self) -> str:
        """That of all its views."""
        return self.views[0].shape

    @property
    def frames(self) -> int:
        """Latent frames of its views."""
        return len(self.terms[0].labels)

    def every_view(self) -> list[View]:
        """Its views under all captions that they may be seen under."""
        more = [replace(view, caption=text) for text in self.captions[1:] for view in self.views
                if view.caption == self.captions[0]]  # fmt: skip
        return [*self.views, *more]


def with_captions(comparisons: Sequence[Comparison], alternatives: Mapping[str, Sequence[str]]) -> list[Comparison]:
    """Comparisons with the further captions of their clips, by the clip's id, which is their group."""
    return [
        replace(c, captions=(c.views[0].caption, *texts)) if (texts := alternatives.get(c.group)) else c
        for c in comparisons
    ]


# Words for left and right, and for which way round, in the languages that captions come in most.
_SIDES = re.compile(
    r"\b(left|right|clockwise|counterclockwise|anticlockwise|gauche|droite?|links|rechts|linken?|linke[rs]|rechte[nrs]?|"
    r"izquierd[ao]s?|derech[ao]s?|sinistr[aeio]|destr[aeio]|esquerd[ao]s?|direit[ao]s?|lew[aeoy]\w*|praw[aeoy]\w*|"
    r"лев\w+|прав\w+)|[左右]|왼|오른",
    re.IGNORECASE,
)


def mirrored(comparison: Comparison) -> Comparison | None:
    """The comparison with all its clips, and their first frames, in a mirror, as HuViDPO's loaders flip them.

    None where a caption says left or right, or which way round, and where a view shows another clip beside its own.
    """
    edits = [in_mirror(view.edit) for view in comparison.views]
    if None in edits or any(_SIDES.search(view.caption) for view in comparison.every_view()):
        return None
    views = tuple(replace(view, edit=edit or "") for view, edit in zip(comparison.views, edits, strict=True))
    return replace(comparison, id=f"{comparison.id} mirrored", views=views)


def hashed_view(view: Mapping[str, Any]) -> dict[str, Any]:
    """A view's fields as digests have them: those of before there were shapes stay what they were."""
    return {name: value for name, value in view.items() if name != "shape" or value}


def by_shape(comparisons: Sequence[Comparison], at_once: int = 0) -> list[list[int]]:
    """Places of comparisons of equal shape, in their order, at most so many together (0 = all); the shape that comes
    first is the first."""
    places: dict[str, list[int]] = {}
    for at, comparison in enumerate(comparisons):
        places.setdefault(comparison.shape, []).append(at)
    parts = [*places.values()]
    return [part[at : at + at_once] for part in parts for at in range(0, len(part), at_once)] if at_once else parts


def hashed_comparisons(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Comparisons as a run's identity has them: with the names that `loss_type` and its sigmoid had first."""
    rows = [{k: v for k, v in asdict(c).items() if k not in ("captions", "film") or v} for c in comparisons]
    for row in rows:
        row["views"] = tuple(map(hashed_view, row["views"]))
    for term in (term for row in rows for term in row["terms"]):
        loss_type = term.pop("loss_type")
        term["link"] = "logistic" if loss_type == "sigmoid" else loss_type
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
    size: BackboneSettings | None = None  # by which each clip has a shape of its own; None = all have one
    shape: str = ""  # that these frames are of, by name

    def of(self, *videos: HasVideoShape) -> LatentGrid:
        """The grid of a clip, or of those that are compared, in the shape that the settings bring them to."""
        if self.size is None or len(self.size.shapes) == 1:
            return self
        shape = self.size.shape_of(*videos)
        frames = 1 + (shape.frames - 1) // self.temporal_ratio + self.lead
        return replace(self, frames=frames, fps=shape.fps or self.fps, shape=self.size.name_of(shape))

    @property
    def pixel_frames(self) -> int:
        """Frames of a clip."""
        return 1 + (self.frames - self.lead - 1) * self.temporal_ratio

    def labels(self, labels: tuple[int, ...], segment_s: float | None = None) -> tuple[int, ...]:
        """Segment labels -> one per latent frame, with the given first frame left out (0)."""
        return self.voted([self.frame_labels(labels, segment_s)])

    def frame_labels(
        self,
        labels: tuple[int, ...],
        segment_s: float | None,
        spans: Sequence[tuple[float, float, int]] = (),
        from_spans: Sequence[int] = (),
    ) -> tuple[int, ...]:
        """What one answer says of each frame of a clip; see `objectives.segments.frame_labels`."""
        return frame_labels(
            labels, segment_s, frames=self.pixel_frames, fps=self.fps, spans=spans, from_spans=from_spans
        )

    def voted(self, answers: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """Answers of several people, each a label per frame of a clip -> one label per latent frame, as of `labels`: a
        frame's is the side that more of them are for."""
        per_latent = of_latent_frames([sign_of(votes) for votes in zip(*answers, strict=True)], self.temporal_ratio)
        per_latent = (*per_latent[:1] * self.lead, *per_latent)
        return (0, *per_latent[1:]) if self.first_frame and self.clean else per_latent
