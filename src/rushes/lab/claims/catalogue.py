"""All claims, by name."""

from __future__ import annotations

from collections.abc import Sequence

from rushes.lab.claims import densedpo, dfdpo, explanations, huvidpo, ours, physhpo, realdpo
from rushes.lab.claims.base import Arm, Claim

CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        realdpo.CLAIM,
        densedpo.CLAIM,
        huvidpo.CLAIM,
        physhpo.CLAIM,
        dfdpo.CLAIM,
        ours.CLAIM,
        explanations.CLAIM,
    )
}


def find_claims(names: Sequence[str]) -> tuple[Claim, ...]:
    """Claims by name; all of them where none is named.

    Raises:
        ValueError: an unknown name.
    """
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        raise ValueError(f"no claim {unknown[0]!r}: there are {', '.join(CLAIMS)}")
    return tuple(CLAIMS[name] for name in names or CLAIMS)


def arms_of(claims: Sequence[Claim]) -> tuple[Arm, ...]:
    """Arms of all claims, each once, in an order in which every arm comes after the one it starts from."""
    arms: dict[str, Arm] = {}
    for claim in claims:
        for arm in claim.arms:
            assert arms.setdefault(arm.name, arm) == arm, f"two claims have different arms of the name {arm.name}"
    return tuple(arms.values())
