"""DenseDPO's filter on captions, by a model and by words."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.curate.dynamics import excluding_words, make, moving_words
from rushes.judges.endpoint import EndpointError

from ..fake_endpoint import Does, FakeEndpoint, texts
from .staged import BROKEN, run, says, settings, text_tasks

# Captions by hand, with the answer that DenseDPO's rules ask for.
LABELLED = (
    ("Two boys wrestle on a mat while their coach watches.", True),
    ("A gymnast somersaults over the vault and lands on both feet.", True),
    ("A man is skateboarding down a ramp and jumps over a rail.", True),
    ("A woman is cutting tomatoes and squeezes a lemon over them.", True),
    ("A dog chases a ball across the lawn.", True),
    ("Children splash in a pool.", True),
    ("A waiter pours milk into a glass.", True),
    ("The dancers twirl across the stage in red dresses.", True),
    ("A portrait of a woman who smiles at the camera.", False),
    ("A lake at dawn, seen from a drone, while birds fly over it.", False),
    ("A runner in slow motion crosses the line.", False),
    ("Time-lapse of clouds rolling over a city.", False),
    ("A cartoon cat jumps over a fence.", False),
    ("A man sits at a table and talks.", False),
    ("Gameplay of a racing car driving through a tunnel.", False),
    ("A bottle of water on a box next to a row of glasses.", False),
)


def test_words_find_motion_and_what_is_left_out(answers: Path) -> None:
    """Right on clear captions; that they know no context is the next test."""
    stage = make(settings(dynamics={"by": "rules"}), answers)
    ran = run(stage, text_tasks(*(text for text, _ in LABELLED)))
    wrong = [text for (text, dynamic), id in zip(LABELLED, ran.findings, strict=True) if (id in ran.kept) != dynamic]
    assert wrong == [] and stage.calls is None
    assert ran.dropped["clip 12"] == "no hard motion: rules: excluded by cartoon"
    assert ran.dropped["clip 13"] == "no hard motion: rules: moving words: none"


def test_words_are_weaker_than_a_model() -> None:
    assert moving_words("the tap is running") and not moving_words("a wrestler and his opponent in a fight")
    assert moving_words("Swimming, hopped, carries; dives, flies and TEARS") == [
        "carries", "dives", "flies", "hopped", "swimming", "tears",
    ]  # fmt: skip
    assert not moving_words("he saw a bit of a fence, a bat and two boxes by the waves of the river")
    assert excluding_words("a slow motion aerial view") == ["aerial", "slow motion"]


def test_the_model_says_yes_or_no_with_a_reason(fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = lambda request: says(reason="sport", dynamic="yes" if "wrestle" in texts(request) else "no")
    stage = make(settings(fake, text={"model": "reader"}), answers)
    ran = run(stage, text_tasks("Two boys wrestle.", "A lake."))
    assert ran.kept == ["clip 0"] and ran.dropped == {"clip 1": "no hard motion: reader: sport"}
    assert {request["model"] for request in fake.requests} == {"reader"}
    assert stage.signature.startswith("dynamics.1:reader@") and stage.reads_caption
    assert stage.calls is not None and stage.calls(7) == 7


def test_without_a_name_it_is_the_model_of_the_endpoint(fake: FakeEndpoint, answers: Path) -> None:
    assert make(settings(fake), answers).signature.startswith("dynamics.1:one@")
    with pytest.raises(ValueError, match=r"endpoint\.model is empty; name the model that the stage dynamics asks"):
        make(settings(), answers)


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_named_and_dropped_or_kept(broken: Does, fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = lambda request: broken
    assert run(make(settings(fake), answers), text_tasks("x")).problems["clip 0"].startswith("one ")
    ran = run(make(settings(fake, dynamics={"unreadable": "keep"}), answers), text_tasks("x"))
    assert ran.kept == ["clip 0"] and len(fake.requests) == 1 + (not broken.refusal)
    assert make(settings(fake), answers).choose([]) == {}


def test_a_clip_without_a_caption_is_named_and_nothing_asked(fake: FakeEndpoint, answers: Path) -> None:
    ran = run(make(settings(fake), answers), text_tasks(" "))
    assert "no caption" in ran.problems["clip 0"] and not fake.requests


def test_an_outage_is_an_endpoint_error(fake: FakeEndpoint, answers: Path, quick: None) -> None:
    fake.answer = lambda request: Does(status=500)
    stage = make(settings(fake, when_down="skip"), answers)
    assert not stage.stop
    with pytest.raises(EndpointError):
        run(stage, text_tasks("x"))


def test_what_answers_are_kept_under_stays(answers: Path) -> None:
    """With another hash all would be asked, and paid for, again: a changed form or question must mean it."""
    chosen = settings(endpoint={"model": "m"}, dynamics={"by": "model"})
    assert make(chosen, answers).signature == "dynamics.1:m@aa5c59aa"
