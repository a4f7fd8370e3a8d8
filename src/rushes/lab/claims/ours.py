"""What this program claims of itself: the bank of reference errors costs nothing, guards hold the winner."""

from __future__ import annotations

from typing import Any

from rushes.lab.claims.base import Arm, Claim, Hypothesis, Sighting
from rushes.lab.claims.data import Takes

ONE = (Takes(1),)
SHARE = 0.02  # of the reference's error
BANKS = (1, 2, 4, 8, 16)
FEW = 3 / 16  # of the budget's clips, so that every comparison is visited more often than the largest bank has draws


def _arm(name: str, clips: float = 1.0, **train: Any) -> Arm:
    return Arm(name, "realdpo", {"options": {"losers": 1}, **train}, ONE, clips=clips)


# Runs with one fault each; preference alone, at a rate that stays, unless something else makes the fault.
BARE: dict[str, Any] = {"lr_scheduler": "constant", "learning_rate": 1e-5, "objective": {"sft_weight": 0.0}}


def _faulty(name: str, **train: Any) -> Arm:
    watched = {"checkpoint_every": 5, "steps": 40, "warmup_steps": 8}
    options = {"losers": 1, **train.pop("options", {})}
    return Arm(name, "realdpo", {**BARE, **watched, "options": options, **train}, ONE, evaluate=False)


def _misled(name: str, footage: str) -> Arm:
    """Fine-tuning on clips that lack something, looked at through samples."""
    train = {"lr_scheduler": "constant", "learning_rate": 1e-3, "steps": 80, "sample_every": 20}
    return Arm(name, "sft", train, footage=footage, evaluate=False)


# What is to hold the winner at a rate that is too high for the preference loss alone.
GUARDS = {
    "supervised-anchor": ("the winner's own error beside it", "realdpo"),
    "winner-clamp": ("a clamp on the winner", "winner-clamp"),
    "safe-loser": ("scaling the losers' gradient", "safe-loser"),
}


def _guard(name: str, what: str, arm: str) -> Hypothesis:
    says = f"At a rate that is too high for the preference loss alone, {what} helps."
    return Hypothesis(name, says, arm, "unanchored")


def _held(name: str, what: str, arm: str) -> Hypothesis:
    says = f"There, {what} keeps the error on real clips down."
    return Hypothesis(
        f"{name}-holds", says, arm, against="unanchored", metric="winner_error", expects="lower", margin=SHARE
    )


CLAIM = Claim(
    "ours",
    "Rushes",
    arms=(
        _arm("realdpo"),
        _arm("view-by-view", gradients="stash"),
        _arm("fresh", FEW),
        *(_arm(f"bank-{m}", FEW, reference_cache=m) for m in BANKS),
        _arm("unanchored", objective={"sft_weight": 0.0}),
        _faulty("sick-moving-reference", options={"beta": 100.0}, reference="ema", learning_rate=2e-5),
        _faulty("sick-shortcut"),
        _faulty("sick-idle", learning_rate=1e-9),
        _faulty("sick-small-beta", options={"beta": 1.0}),
        _faulty("sick-large-beta", options={"beta": 1e7}),
        _faulty("sick-rate", learning_rate=3e-2),
        _misled("sick-still", "still"),
        _misled("sick-washed", "washed"),
        _arm("winner-clamp", objective={"sft_weight": 0.0, "dpop_weight": 1000.0}),
        _arm("safe-loser", objective={"sft_weight": 0.0, "safe_dpo": True}),
    ),
    hypotheses=(
        Hypothesis(
            "view-by-view",
            "Gradients taken view by view give the same model.",
            "view-by-view",
            "realdpo",
            expects="equal",
        ),
        *(
            Hypothesis(
                f"bank-{m}",
                f"A bank of {m} draws is as good as fresh noise.",
                f"bank-{m}",
                "fresh",
                expects="equal",
            )
            for m in BANKS
        ),
        *(_guard(name, *guard) for name, guard in GUARDS.items()),
        *(_held(name, *guard) for name, guard in GUARDS.items()),
    ),
    sightings=(
        Sighting("realdpo", ""),
        Sighting("sick-moving-reference", "winner_rising"),
        Sighting("sick-shortcut", "shortcut"),
        Sighting("sick-idle", "nothing_learned"),
        Sighting("sick-small-beta", "beta_too_small"),
        Sighting("sick-large-beta", "beta_too_large"),
        Sighting("sick-rate", "diverged"),
        Sighting("sick-still", "motion_loss"),
        Sighting("sick-washed", "colour_drift"),
    ),
)
