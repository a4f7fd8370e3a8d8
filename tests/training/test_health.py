"""Each rule on a history written by hand, and real runs that were built to be sick, or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rushes.backbones import tiny
from rushes.backbones.sampling import sample
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw, seeded
from rushes.objectives.terms import Term
from rushes.records import Diagnosis
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.comparison import Comparison, View
from rushes.training.health import diagnoses, verdict
from rushes.training.history import read_history
from rushes.training.loop import TrainingData, train
from rushes.training.monitor import RunMonitor, Sampler
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

STEPS = 40


def history(held: dict[str, Any] | None = None, **last: Any) -> list[dict[str, Any]]:
    """A healthy run of 40 steps, its figures going from the start to `last` in a straight line."""
    end = {"accuracy": 0.8, "winner_relative_error": -0.01, "loser_relative_error": 0.01, "gradient": 0.2, "loss": 0.3}
    end |= {"saturated": 0.1, "beta": 2000.0, **last}
    start = {"accuracy": 0.5, "gradient": 0.5, "loss": 0.693, "beta": 2000.0}
    held_end = {"drift": 0.01, "reference_error": 0.9, "clip/loss": 0.4, "clip/typical": 1.5, "clip/accuracy": 0.75}
    held_end |= {"clip/accuracy_low": 0.65, "clip/winner_relative_error": -0.01, "clip/loser_relative_error": 0.01}
    held_end |= {"clip/winner_relative_error_low": -0.02, **(held or {})}
    rows = []
    for step in range(STEPS + 1):
        share = min(1.0, step / 10)
        row = {f"clip/{k}": (1 - share) * start.get(k, 0.0) + share * v for k, v in end.items()}
        if step % 10 == 0:
            row |= {f"held_out/{k}": v if step else 0.0 for k, v in held_end.items()}
        rows.append({"step": step, "loss": row["clip/loss"], **(row if step else {})})
        if not step:
            rows[0] |= {key: value for key, value in row.items() if key.startswith("held_out")}
    return rows


def names(rows: list[dict[str, Any]], steps: int | None = None) -> list[str]:
    return [each.name for each in diagnoses(rows, steps)]


def test_a_healthy_history_has_no_diagnosis() -> None:
    assert names(history()) == []


LOSERS_ALONE = {"clip/winner_relative_error": -0.002, "clip/accuracy": 0.97, "clip/accuracy_low": 0.8}
CASES: dict[str, list[dict[str, Any]]] = {
    "diverged": history({"drift": 1.0}),
    "winner_rising": history({"clip/winner_relative_error": 0.05, "clip/winner_relative_error_low": 0.01}),
    "shortcut": history({**LOSERS_ALONE, "clip/loser_relative_error": 0.15}),
    "nothing_learned": history({"drift": 8e-5}),
    "beta_too_small": history(gradient=0.47, accuracy=0.9),
    "beta_too_large": history({"clip/loss": 7.0}),
    "saturated": history(gradient=0.02, saturated=0.8),
    "memorised": history({"clip/accuracy_low": 0.45}, accuracy=0.94),
    "unconditional_drift": history({"conditional_drift": 0.02, "unconditional_drift": 0.05}),
}


def test_losers_whose_error_rises_by_little_for_so_much_change_are_no_shortcut() -> None:
    """As in preference-only runs on the embedded world, whose takes get better."""
    assert names(history({**LOSERS_ALONE, "clip/loser_relative_error": 0.02})) == []


def test_held_out_pairs_that_may_be_as_good_are_not_memorised() -> None:
    few = {"clip/accuracy": 1.0, "clip/accuracy_low": 0.01, "clip/accuracy_high": 1.0}
    assert names(history(few, accuracy=0.96)) == []
    assert names(history({**few, "clip/accuracy": 0.5, "clip/accuracy_high": 0.7}, accuracy=0.96)) == ["memorised"]


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_name_and_no_other(name: str) -> None:
    assert names(CASES[name]) == [name]
    (found,) = diagnoses(CASES[name])
    assert found.step == STEPS and any(sign.isdigit() for sign in found.evidence)
    assert found.evidence.endswith(".") and found.remedy.endswith(".")


@pytest.mark.parametrize(
    "near",
    [
        history({"drift": 0.89}),  # less than the reference's own error
        history({"clip/winner_relative_error": 0.017, "clip/winner_relative_error_low": 0.016}),  # of no consequence
        history({"clip/winner_relative_error": 0.05, "clip/winner_relative_error_low": -0.01}),  # not certain
        history(  # a quarter of the margin is the winners'
            {"clip/winner_relative_error": -0.003, "clip/accuracy": 0.97, "clip/accuracy_low": 0.8}
        ),
        history(  # too few held-out pairs to be certain of it
            {"clip/winner_relative_error": -0.002, "clip/accuracy": 0.97, "clip/accuracy_low": 0.75}
        ),
        history({"drift": 1e-4}),
        history(gradient=0.47, accuracy=0.7),  # not told apart, so there is nothing to let go of
        history(gradient=0.44, accuracy=0.9),
        history({"clip/loss": 6.8}),
        history(gradient=0.04, saturated=0.8),
        history({"clip/accuracy_low": 0.51}, accuracy=0.94),
        history({"conditional_drift": 0.02, "unconditional_drift": 0.039}),
        history({"conditional_drift": 0.001, "unconditional_drift": 0.008}),  # of no consequence
    ],
)
def test_what_is_just_not_a_fault(near: list[dict[str, Any]]) -> None:
    assert names(near) == []


SHORTCUTS = {"shortcut/all": 1.0, "shortcut/all_low": 0.94, "shortcut/bytes_per_pixel": 1.0, "shortcut/brightness": 0.6}


def test_plain_features_that_pick_winners_are_said_from_the_first_step() -> None:
    rows = [history()[0] | SHORTCUTS, *history()[1:]]
    for upto in (2, len(rows)):
        (only,) = diagnoses(rows[:upto])
        assert (
            only.name == "plain_features"
            and "picked 100% of the winners (at least 94%; bytes per pixel 100%" in only.evidence
        )
    rows[0]["shortcut/all_low"] = 0.75  # not certain to be beyond the bound
    assert names(rows) == []


def test_one_batch_is_too_little_for_a_shortcut() -> None:
    """A run of 10 steps that went on to 20 would keep what one batch of the shorter run had said."""
    losers_alone = history(winner_relative_error=0.0, accuracy=1.0)
    rows = [{key: value for key, value in row.items() if not key.startswith("held_out")} for row in losers_alone]
    for row in rows[1:]:
        row["clip/accuracy"] = 1.0
    assert names(rows[:11], 10) == [] and names(rows[:25], 24) == ["shortcut"]


def test_what_was_severe_is_not_forgotten() -> None:
    """A step at which the run diverged, and figures that look well again."""
    rows = history()
    early = [asdict(each) | {"step": 20} for each in diagnoses(CASES["diverged"])]
    rows[20]["diagnoses"] = early
    for upto in (30, len(rows)):
        (only,) = diagnoses(rows[:upto])
        assert (only.name, only.severity, only.step) == ("diverged", "severe", 20)
        assert only.evidence.count("That was at step 20; by now the figures hide it.") == 1
        rows[upto - 1]["diagnoses"] = [asdict(only)]
    rows[20]["diagnoses"] = [each | {"severity": "warning"} for each in early]
    rows[29]["diagnoses"] = []
    assert names(rows) == []


def test_after_few_steps_it_is_too_early_to_say() -> None:
    assert verdict(19, ()) == "too early to say" and verdict(20, ()) == "nothing wrong"
    assert verdict(2, diagnoses([history()[0] | SHORTCUTS])) == "warning"
    assert verdict(40, diagnoses(CASES["diverged"])) == "severe"


def test_chance_on_training_pairs_is_nothing_learned() -> None:
    rows = history()
    for row in rows[1:]:
        row |= {"clip/accuracy": 0.5 + 0.1 * (-1) ** row["step"], "clip/gradient": 0.5}
    assert names(rows) == ["nothing_learned"]


def test_what_has_not_happened_yet_is_said_from_half_way_on() -> None:
    rows = history({"drift": 8e-5})
    assert names(rows, 81) == [] and names(rows, 80) == ["nothing_learned"]
    assert names(rows[:7]) == []


def test_an_anchor_goes_on_where_preferences_are_learned() -> None:
    rows = [row | {"supervised/error": 0.3} for row in CASES["saturated"]]
    assert names(rows) == []


def test_without_held_out_comparisons_the_winner_is_read_from_training() -> None:
    rows = [
        {key: value for key, value in row.items() if not key.startswith("held_out")}
        for row in history(winner_relative_error=0.02)
    ]
    assert names(rows) == ["winner_rising"]


def sampled(rows: list[dict[str, Any]], **last: list[float | None]) -> list[dict[str, Any]]:
    first = {name: [0.5, 0.4, 0.6, 0.5] for name in ("motion_speed", "brightness", "contrast", "saturation")}
    rows[0]["samples/each"], rows[-1]["samples/each"] = first, first | last
    return rows


def test_motion_and_colour_of_samples() -> None:
    assert names(sampled(history())) == []
    assert names(sampled(history(), motion_speed=[0.3, 0.25, 0.35, 0.3])) == ["motion_loss"]
    assert names(sampled(history(), motion_speed=[0.4, 0.32, 0.48, 0.4])) == []  # four fifths
    assert names(sampled(history(), motion_speed=[0.0, 0.8, 0.0, 0.5])) == []  # one of four says otherwise
    assert names(sampled(history(), saturation=[0.57, 0.48, 0.67, 0.58])) == ["colour_drift"]
    assert names(sampled(history(), saturation=[None, None, None, 0.9])) == []


# Real runs -----------------------------------------------------------------------------------------------------------

Sick = Callable[..., list[Diagnosis]]
CLIPS, HELD, FRAMES = 40, 16, 17


class Altered:
    """Latents with some of them brighter: what a loader does that forgets to normalise one side."""

    def __init__(self, latents: LatentStore, by: float) -> None:
        self.latents, self.by = latents, by

    def get(self, key: str) -> torch.Tensor | None:
        found = self.latents.get(key)
        return found + self.by if found is not None and key.startswith("take") else found


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> tuple[LatentStore, list[str]]:
    """Latents of real clips, of the same clips standing still, and of one take each by the base."""
    backbone = tiny.load("")
    latents = LatentStore(tmp_path_factory.mktemp("footage"), "tiny")
    scenes = draw_scenes(7, CLIPS, frames=FRAMES)
    frames = np.stack([render(scene) for scene in scenes])
    whole, first = backbone.encode(frames), backbone.encode(frames[:, :1])
    still = backbone.encode(np.repeat(frames[:, :1], FRAMES, 1))
    captions = [scene.caption for scene in scenes]
    noise = torch.randn(whole.shape, generator=seeded("takes"))
    takes = sample(backbone, backbone.condition(captions, first[:, :, 0]), noise, steps=8, shift=4.0)
    for at in range(CLIPS):
        latents.put(
            {
                f"real {at}": whole[at],
                f"still {at}": still[at],
                f"take {at}": takes[at],
                first_frame_key(f"real {at}"): first[at],
            }
        )
    return latents, captions


@pytest.fixture
def sick(footage: tuple[LatentStore, list[str]], tmp_path: Path) -> Sick:
    """Train on the footage, 16 steps of 2 pairs unless told otherwise, and say what is wrong."""
    latents, captions = footage

    def run(
        *,
        beta: float = 0.0,
        sft: float = 0.0,
        winner: str = "real",
        brighter: float = 0.0,
        samples: int = 0,
        **changes: Any,
    ) -> list[Diagnosis]:
        labels = (0, *(1,) * ((FRAMES - 1) // 4))
        terms = [Term("clip", (1.0, -1.0), labels, beta)] if beta else []
        if sft:
            terms.insert(0, Term("supervised", (1.0, 0.0) if beta else (1.0,), labels, weight=sft, loss_type="error"))
        names = [winner, "take"] if beta else [winner]
        every = [
            Comparison(
                f"{at}",
                f"{at}",
                tuple(View(f"{name} {at}", captions[at], f"real {at}", name) for name in names),
                tuple(terms),
            )
            for at in range(CLIPS)
        ]
        backbone = tiny.load("")
        backbone.network.requires_grad_(True)

        def make() -> list[Any]:
            firsts = [latents.get(first_frame_key(f"real {at}")) for at in range(samples)]
            first = torch.stack([f for f in firsts if f is not None])[:, :, 0]
            noise = torch.randn(samples, *first.shape[1:2], len(labels), *first.shape[2:], generator=seeded("samples"))
            condition = backbone.condition(captions[:samples], first)
            return list(backbone.decode(sample(backbone, condition, noise, steps=8, shift=4.0)))

        shown = Altered(latents, brighter) if brighter else latents
        data = TrainingData(every[HELD:], every[:HELD], shown, TimeDraw("uniform"))  # type: ignore[arg-type]
        settings = TrainSettings(
            **{
                "steps": 16,
                "batch": 2,
                "warmup_steps": 4,
                "checkpoint_every": 16,
                "lr_scheduler": "constant",
                "learning_rate": 1e-5,
                **changes,
            }
        )
        told: list[Diagnosis] = []
        watch = RunMonitor(Sampler(make, tmp_path, FPS, 4) if samples else None, told.append)
        train(backbone, data, settings, tmp_path, seed=0, identity="a run", watch=watch)
        rows = read_history(tmp_path / "metrics.jsonl")
        found = diagnoses(rows, settings.steps)
        assert [each["name"] for each in rows[-1].get("diagnoses", [])] == [each.name for each in found]
        before = [each["name"] for row in rows[:-1] for each in row.get("diagnoses", [])]
        assert [each.name for each in told] == list(dict.fromkeys(before))
        return list(found)

    return run


def said(found: list[Diagnosis]) -> set[str]:
    return {each.name for each in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "run"),
    [
        ("nothing_learned", {"beta": 2000.0, "learning_rate": 1e-9}),
        ("beta_too_small", {"beta": 1.0, "learning_rate": 5e-5}),
        ("beta_too_large", {"beta": 1e7}),
        ("winner_rising", {"beta": 100.0, "reference": "ema", "reference_ema": 0.98, "learning_rate": 1e-4}),
        ("shortcut saturated", {"beta": 2000.0, "brighter": 0.5, "steps": 24, "checkpoint_every": 24}),
        ("diverged", {"beta": 1.0, "learning_rate": 3e-4}),
        (
            "motion_loss",
            {
                "sft": 1.0,
                "winner": "still",
                "learning_rate": 2e-3,
                "steps": 60,
                "checkpoint_every": 60,
                "samples": 8,
                "sample_every": 60,
            },
        ),
    ],
)
def test_a_run_with_a_planted_fault_shows_it(sick: Sick, fault: str, run: dict[str, Any]) -> None:
    assert set(fault.split()) <= said(sick(**run))


@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    [
        {"sft": 1.0, "learning_rate": 3e-4},  # as recipes/sft.py for this backbone
        {
            "sft": 1000.0,
            "beta": 2000.0,
            "learning_rate": 3e-4,
            "samples": 6,
            "sample_every": 40,
        },
    ],
)
def test_a_healthy_run_shows_none(sick: Sick, run: dict[str, Any]) -> None:
    assert said(sick(batch=4, lr_scheduler="linear", steps=40, warmup_steps=8, checkpoint_every=40, **run)) == set()
