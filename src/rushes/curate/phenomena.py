"""PhysHPO's 17 phenomena in three groups, what is asked about them, and what the scores add up to.

arXiv 2508.10858, sec. 3.1 and app. (the phenomena are WISA's). A caption is rewritten once for each phenomenon, so
that what it implies is said, and each rewrite gets a whole score from 1 to 5. A group's score is the mean of its
phenomena, the total the product of the groups, so 1 to 125. (The text speaks of seven dynamic phenomena; the list and
the worked examples have six, which make 17 in all.) The wording here is our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, prod
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, create_model


class Rewrite(BaseModel):
    """The caption with one phenomenon brought out, and how well it then shows it."""

    model_config = ConfigDict(extra="forbid")
    caption: str
    reason: str
    score: Literal[1, 2, 3, 4, 5]


Example = tuple[str, str, str, int]  # phenomenon, caption, reason, score


@dataclass(frozen=True)
class Group:
    """Phenomena that are asked about in one question: field name -> words."""

    name: str
    phenomena: Mapping[str, str]
    examples: tuple[Example, Example]

    @property
    def schema(self) -> type[BaseModel]:
        """The form of an answer: one rewrite for each phenomenon."""
        fields: dict[str, Any] = {key: (Rewrite, ...) for key in self.phenomena}
        return create_model(self.name.capitalize(), __config__=ConfigDict(extra="forbid"), **fields)


_EGG = "A woman cracks an egg on the rim of a hot pan, and the egg runs out and whitens."
_STRUCK = (
    "A woman strikes an egg against the rim of a hot pan until its shell gives way, and the egg runs out and whitens."
)
_SET = "A woman cracks an egg on the rim of a hot pan; the egg runs out clear, and its white sets and turns opaque."
_SHINING = "A woman cracks an egg on the shining rim of a hot pan, and the egg runs out and whitens."
GROUPS = (
    Group(
        "dynamic",
        {
            "rigid_body_motion": "rigid bodies that move or turn",
            "collision": "bodies that hit each other",
            "liquid_motion": "liquids that flow, splash or drip",
            "gas_motion": "smoke, steam, wind",
            "elastic_motion": "things that stretch, bounce or swing back",
            "deformation": "things that bend, break, dent or are cut",
        },
        (
            ("collision", _STRUCK, "the blow is named and its effect is seen", 4),
            ("gas_motion", _EGG, "nothing is said of steam or smoke", 1),
        ),
    ),
    Group(
        "thermodynamic",
        {
            "melting": "solid to liquid",
            "solidification": "liquid to solid",
            "vaporization": "liquid to gas",
            "liquefaction": "gas to liquid",
            "combustion": "burning",
            "explosion": "sudden release of pressure or fire",
        },
        (
            ("solidification", _SET, "the setting of the white ends the scene", 4),
            ("explosion", _EGG, "nothing bursts", 1),
        ),
    ),
    Group(
        "optic",
        {
            "reflection": "mirrors, shine, images in water",
            "refraction": "light bent by glass, water or heat",
            "scattering": "haze, light shafts, glow in fog",
            "interference_and_diffraction": "rainbow colours of films, gratings, edges",
            "unnatural_light_source": "lamps, screens, fire, neon",
        },
        (
            ("reflection", _SHINING, "a metal rim shines, which the caption only suggests", 2),
            ("unnatural_light_source", _EGG, "no lamp is spoken of", 1),
        ),
    ),
)


def question(group: Group, caption: str) -> str:
    """What is asked of one caption about all phenomena of a group at once."""
    listed = "\n".join(f"- {key}: {words}" for key, words in group.phenomena.items())
    shown = {key: {"caption": text, "reason": why, "score": score} for key, text, why, score in group.examples}
    return f"""This is the caption of a video clip:
{caption}

For each of these phenomena:
{listed}
1. Rewrite the caption so that it brings the phenomenon out, strictly from what the caption says or plainly implies. Add
no thing and no event. Where the caption has nothing of it, repeat the caption as it is.
2. Give the reason for your score in a few words.
3. Score how well the rewritten caption shows the phenomenon, a whole number: 1 not at all, 2 a trace, 3 in part, 4
well, 5 as a main event with cause and effect. Most captions show most phenomena not at all.

Answer with one JSON object and nothing else, with the keys {", ".join(group.phenomena)}, each an object with caption,
reason and score. For "{_EGG}" two of the entries would be:
{json.dumps(shown)}"""


def group_score(scores: Sequence[int]) -> float:
    """Arithmetic mean of a group's scores, 1..5. (4, 2, 5, 1, 1, 4) gives 2.83, which the paper prints as 2.8."""
    return fsum(scores) / len(scores)


def total(group_scores: Sequence[float]) -> float:
    """Product of the groups' scores, 1..125."""
    return prod(group_scores)


def as_text(group: Group, rewrites: Mapping[str, Rewrite]) -> str:
    """A group's rewrites, one a line: phenomenon, score, caption and reason."""
    return "\n".join(
        f"{group.name}, {key.replace('_', ' ')}, {rewrites[key].score}: {' '.join(rewrites[key].caption.split())} "
        f"({' '.join(rewrites[key].reason.split())})"
        for key in group.phenomena
    )
