"""From the best clip to the worst, one stays if its caption is unlike those that stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.curate.diversity import make
from rushes.judges.endpoint import EndpointError

from ..fake_endpoint import Does, FakeEndpoint
from .staged import entry, settings
from .test_embeddings import vectors

DOG = "A brown dog jumps over a wooden fence in a sunny garden and lands on the grass."
DOG_TOO = "A brown dog jumps over a wooden fence in a sunny garden and lands on grass."
COOK = "A cook chops carrots on a board in a bright kitchen."


def chosen(answers: Path, entries: list[Any], **diversity: Any) -> dict[str, str]:
    return dict(make(settings(diversity=diversity), answers).choose(entries))


def test_the_better_of_two_stays(answers: Path) -> None:
    entries = [entry("a", DOG, fidelity=2.0), entry("b", COOK, fidelity=1.0), entry("c", DOG_TOO, fidelity=9.0)]
    (reason,) = (found := chosen(answers, entries)).values()
    assert list(found) == ["a"] and reason.startswith("caption too similar to another: 0.9")
    assert reason.endswith(" to c; below 0.9 a clip stays (curate.diversity.tau)")
    assert list(chosen(answers, [entry(e.id, e.caption) for e in entries])) == ["c"]  # nothing measured: as given
    assert chosen(answers, entries, tau=0.999) == {}


def test_another_order_can_be_named(answers: Path) -> None:
    entries = [entry("a", DOG, fidelity=2.0, sharp=5.0), entry("b", DOG_TOO, fidelity=9.0, sharp=1.0)]
    assert list(chosen(answers, entries)) == ["a"] and list(chosen(answers, entries, order="sharp")) == ["b"]
    with pytest.raises(ValueError, match=r"diversity\.order: no earlier stage measured 'blur'; they measured fidelity"):
        chosen(answers, entries, order="blur")
    assert chosen(answers, [], order="blur") == {}


def test_clips_of_one_caption(answers: Path) -> None:
    entries = [entry(id, text) for id, text in (("a", DOG), ("b", f" {DOG}\n"), ("c", DOG), ("d", COOK), ("e", ""))]
    assert chosen(answers, entries) == {
        "b": "same caption as others: a, 1 stay (curate.diversity.repeats)",
        "c": "same caption as others: a, 1 stay (curate.diversity.repeats)",
    }
    assert list(chosen(answers, entries, repeats=2)) == ["c"]
    with pytest.raises(ValueError, match="all 3 clips have the same caption"):
        chosen(answers, entries[:3])
    assert chosen(answers, entries[:1]) == {} and chosen(answers, [entry("e", ""), entry("f", " ")]) == {}


def test_a_caption_that_falls_takes_all_its_clips_with_it(answers: Path) -> None:
    entries = [entry("a", DOG), entry("b", DOG_TOO), entry("c", DOG_TOO)]
    assert list(chosen(answers, entries, repeats=5)) == ["b", "c"]


def test_whom_a_person_kept_stays_and_comes_first(answers: Path) -> None:
    entries = [entry("a", DOG, fidelity=9.0), entry("b", DOG_TOO, person=True), entry("c", COOK)]
    assert list(chosen(answers, entries)) == ["a"]


def test_the_same_by_a_model_and_an_outage(fake: FakeEndpoint, answers: Path, quick: None) -> None:
    fake.answer = vectors
    table = {"by": "endpoint", "endpoint": {"model": "e"}, "batch": 2}
    stage = make(settings(fake, embeddings=table), answers)
    entries = [entry("a", DOG), entry("b", COOK), entry("c", DOG_TOO)]
    assert stage.choose(entries) == {} and len(fake.requests) == 2  # drawn vectors are unlike each other
    assert stage.calls is not None and stage.calls(3) == 2 and stage.measure is None
    assert stage.choose(entries) == {} and len(fake.requests) == 2
    fake.answer = lambda request: Does(status=503)
    with pytest.raises(EndpointError):
        stage.choose([*entries, entry("d", "new")])


def test_planted_near_copies_are_found_by_hashing(answers: Path) -> None:
    """Of 150 captions of 60 words, 30 are another's with one word of 15 changed, and 20 with one of four: too many."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnoprstuvwz"))
    vocabulary = np.array(["".join(rng.choice(letters, rng.integers(4, 9))) for _ in range(800)])
    texts = [rng.choice(vocabulary, 60) for _ in range(100)]
    for at, changed in [(at, 4) for at in range(30)] + [(at, 15) for at in range(30, 50)]:
        copy = texts[at].copy()
        copy[rng.choice(60, changed, replace=False)] = rng.choice(vocabulary, changed)
        texts.append(copy)
    entries = [entry(str(at), " ".join(words)) for at, words in enumerate(texts)]
    dropped = chosen(answers, entries)
    assert sorted(map(int, dropped)) == list(range(100, 130))  # precision 1, recall 1
    assert all(f" to {int(id) - 100}; below" in reason for id, reason in dropped.items())
