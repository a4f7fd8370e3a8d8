"""All claims, by name: the hypotheses of `hypotheses.toml` over the arms of `arms.py`."""

from __future__ import annotations

from collections.abc import Sequence

from rushes.lab.claims.arms import ARMS
from rushes.lab.claims.base import Arm, Claim, Hypothesis, Sighting
from rushes.plugins import toml_table

CLAIMS: dict[str, Claim] = {
    name: Claim(
        name,
        claim["paper"],
        ARMS[name],
        tuple(Hypothesis(**row) for row in claim["hypotheses"]),
        sightings=tuple(Sighting(*row) for row in claim.get("sightings", {}).items()),
        seeds=claim.get("seeds"),
    )
    for name, claim in toml_table("lab/claims", "hypotheses.toml").items()
}
PRIMARY = sum(hypothesis.primary for claim in CLAIMS.values() for hypothesis in claim.hypotheses)


def find_claims(names: Sequence[str]) -> tuple[Claim, ...]:
    """Claims by name; all of them where none is named. Raises ValueError: an unknown name."""
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        raise ValueError(f"no claim {unknown[0]!r}: there are {', '.join(CLAIMS)}")
    return tuple(CLAIMS[name] for name in names or CLAIMS)


def arms_of(claims: Sequence[Claim]) -> tuple[Arm, ...]:
    """Arms of all claims, each once, in an order in which every arm comes after the one it starts from."""
    arms: dict[str, Arm] = {}
    for claim in claims:
        for arm in claim.arms:
            assert arms.setdefault(arm.name, arm) == arm, f"two claims have different arms named {arm.name}"
    return tuple(arms.values())
