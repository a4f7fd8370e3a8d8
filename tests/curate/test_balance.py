"""Topics by words and by clusters, and how many of each may stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.curate.balance import NO_TOPIC, by_clusters, by_keywords, make, quotas
from rushes.curate.hashing import embed

from .staged import entry, settings

TOPICS = {"cooking": ["cook*", "chop*", "frying pan"], "sport": ["run*", "ball"], "none": []}


def test_topics_by_words() -> None:
    captions = [
        "A man is COOKING pasta.", "She runs after a ball and cooks later.", "A frying pan on a stove",
        "A pan that is frying", "A rabbit", "A ballroom", "", "a cook with a ball",
    ]  # fmt: skip
    assert by_keywords(captions, TOPICS) == [
        "cooking", "sport", "cooking", "other", "other", "other", "other", "cooking",
    ]  # fmt: skip
    assert by_keywords(["some c++ code", "c+++ code"], {"code": ["c++ code"]}) == ["code", "other"]


def quota(sizes: list[int], most: int, share: float) -> int:
    """The largest number that a topic keeps."""
    return max(quotas(dict(zip("abcdefgh", sizes, strict=False)), most, {}, share).values(), default=0)


def test_what_is_wanted_stands_in_place_of_most() -> None:
    sizes = {"sea": 9, "pitch": 9, "other": 9}
    assert quotas(sizes, 2, {"sea": 5}, 0.0) == {"sea": 5, "pitch": 2, "other": 2}
    assert quotas(sizes, 0, {"sea": 5}, 0.0) == {"sea": 5, "pitch": 9, "other": 9}
    assert quotas(sizes, 2, {"sea": 20}, 0.5) == {"sea": 4, "pitch": 2, "other": 2}


@pytest.mark.parametrize(
    ("sizes", "most", "share", "expected"),
    [
        ([5, 3, 1], 0, 0.0, 5),
        ([5, 3, 1], 2, 0.0, 2),
        ([5, 3, 1], 0, 0.4, 2),
        ([5, 3, 1], 1, 0.4, 1),
        ([100, 100], 0, 0.5, 100),
        ([100, 1], 0, 0.5, 1),
        ([100, 1], 0, 0.9, 9),
        ([7], 0, 1.0, 7),
        ([], 3, 0.5, 0),
    ],
)
def test_quotas(sizes: list[int], most: int, share: float, expected: int) -> None:
    assert quota(sizes, most, share) == expected


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.floats(0.05, 1.0))
def test_the_quota_is_the_largest_that_holds(sizes: list[int], share: float) -> None:
    def holds(q: int) -> bool:
        kept = [min(size, q) for size in sizes]
        return max(kept) <= share * sum(kept) + 1e-9

    fitting = [q for q in range(1, max(sizes) + 1) if holds(q)]
    if fitting:
        assert quota(sizes, 0, share) == max(fitting)
    else:
        with pytest.raises(ValueError, match=r"largest_share .* is too small for"):
            quota(sizes, 0, share)


def test_the_best_of_each_topic_stay(answers: Path) -> None:
    entries = [
        entry("a", "a cook", fidelity=1.0), entry("b", "he cooks", fidelity=3.0), entry("c", "cooking", fidelity=2.0),
        entry("d", "a ball", fidelity=0.1), entry("e", "a cook", person=True),
    ]  # fmt: skip
    stage = make(settings(balance={"topics": TOPICS, "most": 2}), answers)
    assert stage.choose(entries) == {
        "c": "topic cooking: rank 3 of 4, 2 stay",
        "a": "topic cooking: rank 4 of 4, 2 stay",
    }
    assert stage.calls is None and stage.measure is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"topics": TOPICS}, "set one, or remove balance from curate.stages"),
        ({"most": 3}, r"curate\.balance\.topics is empty"),
        ({"wanted": {"sea": 3}, "topics": TOPICS}, "wanted: sea is not in curate.balance.topics"),
        ({"most": 3, "topics": {"cooking": []}}, r"curate\.balance\.topics is empty"),
    ],
)
def test_settings_that_say_nothing(table: dict[str, Any], message: str, answers: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(settings(balance=table), answers)


SCENES = {
    "kitchen": "A cook {} carrots on a wooden board in the kitchen while soup boils on the stove",
    "pitch": "A footballer {} the ball past the goalkeeper on the pitch while the stadium cheers",
    "sea": "A surfer {} a steep wave far out at sea while seagulls circle above the foam",
}
VERBS = ["takes", "meets", "misses", "finds", "watches", "wants", "turns", "lifts", "drops", "holds"]


def drawn() -> tuple[list[str], list[str]]:
    pairs = [(name, text.format(verb)) for verb in VERBS for name, text in SCENES.items()]
    return [name for name, _ in pairs], [text for _, text in pairs]


def test_clusters_are_the_scenes_and_are_named_after_their_words() -> None:
    names, captions = drawn()
    rows = embed(captions, 512)
    found = by_clusters(captions, rows, 3, seed=1)
    assert len(set(found)) == 3 and len(set(zip(names, found, strict=True))) == 3  # one cluster a scene
    assert found == by_clusters(captions, rows, 3, seed=1)
    by_name = dict(zip(names, found, strict=True))
    assert any(word in by_name["sea"] for word in ("surfer", "wave", "seagulls", "foam", "steep", "circle", "above"))


def test_clusters_of_few_captions() -> None:
    assert by_clusters([], np.zeros((0, 4), np.float32), 3, 0) == []
    assert by_clusters(["a", "a"], embed(["a", "a"], 64), 3, 0) == ["all", "all"]
    assert len(set(by_clusters(["cat", "dog", "cat"], embed(["cat", "dog", "cat"], 64), 9, 0))) == 2


def test_balance_by_clusters(answers: Path) -> None:
    names, captions = drawn()
    kept_few = [at for at, name in enumerate(names) if name != "sea" or at < 6]  # two of the sea, ten of the others
    entries = [entry(str(at), captions[at]) for at in kept_few]
    stage = make(settings(balance={"by": "clusters", "clusters": 3, "largest_share": 0.4}), answers)
    dropped = stage.choose(entries)
    left = Counter(names[at] for at in kept_few if str(at) not in dropped)
    assert left["sea"] == 2 and max(left.values()) <= 0.4 * sum(left.values()), left
    assert stage.choose(entries) == dropped


def test_clips_of_no_topic_go_out_where_only_listed_ones_are_wanted(answers: Path) -> None:
    table = {"topics": TOPICS, "wanted": {"cooking": 1}, "others": "drop"}
    entries = [
        entry("a", "she cooks"),
        entry("b", "he cooks"),
        entry("c", "a rabbit"),
        entry("d", "a rabbit", person=True),
        replace(entry("e", ""), source="/run/stock/chopping_1.mp4"),
        replace(entry("f", ""), source="/ball/x/y.mp4"),  # farther up than the folder of the file
    ]
    dropped = make(settings(balance=table), answers).choose(entries)
    assert dropped == {
        "b": "topic cooking: rank 2 of 3, 1 stay",
        "e": "topic cooking: rank 3 of 3, 1 stay",
        "c": NO_TOPIC,
        "f": NO_TOPIC,
    }


def test_topics_that_the_footage_names(tmp_path: Path) -> None:
    names = ["sea", "sea", "", "pitch", "sea", "moon"]
    clips = [replace(entry(str(at), "a cook"), scenario=name) for at, name in enumerate(names)]

    def dropped(**balance: Any) -> list[str]:
        stage = make(settings(balance={"by": "scenario", **balance}), tmp_path / "answers")
        return sorted(stage.choose(clips))

    assert dropped(most=1) == ["1", "4"]
    assert dropped(wanted={"sea": 2, "pitch": 5}) == ["4"]
    assert dropped(wanted={"sea": 2, "pitch": 5}, others="drop") == ["2", "4", "5"]
    assert dropped(others="drop") == ["2"]
    stage = make(settings(balance={"by": "scenario", "most": 1}), tmp_path / "answers")
    assert stage.choose([]) == {}
    with pytest.raises(ValueError, match="set footage"):
        stage.choose([entry("a", "x"), entry("b", "sea")])
