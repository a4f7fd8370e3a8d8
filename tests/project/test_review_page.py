"""What the review page is given: nearness to thresholds, scenarios, and the example of a set from scratch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rushes.config.curate import CurateSettings
from rushes.config.settings_files import load_settings
from rushes.config.tables import BackboneSettings, Settings
from rushes.curate.balance import OTHER, topics_of
from rushes.curate.base import Threshold
from rushes.project.review_page import (
    margins,
    open_review,
    progress_lines,
    progress_of,
    queue_of,
    quotas_of,
    scenario_lines,
    thresholds,
)
from rushes.records import Clip, Decision, Score
from rushes.store.database import Store
from rushes.web.review.queue import ScenarioProgress

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def clip(id: str, caption: str = "", source: str = "") -> Clip:
    return Clip(id, "0" * 64, caption, 32, 32, 16, 8.0, source)


def test_margins_are_distances_in_spreads_of_the_metric(tmp_path: Path) -> None:
    blur = {"a": 0.0, "b": 0.4, "c": 0.6, "d": 1.0}  # quartiles 0.3 and 0.7: the spread is 0.4
    text = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 9.0}
    with Store.create(tmp_path) as store:
        store.add(Score(f"b{id}", id, "curate/technical/blur", value) for id, value in blur.items())
        store.add(Score(f"t{id}", id, "curate/technical/text", value) for id, value in text.items())
        one = margins(store, {"technical/blur": Threshold("blur", "", high=0.5)})
        assert one == pytest.approx({"a": 1.25, "b": 0.25, "c": 0.25, "d": 1.25})
        both = {"technical/blur": Threshold("blur", "", 0.3, 0.5), "technical/text": Threshold("text", "", high=1.0)}
        found = margins(store, both)
    assert found["a"] == pytest.approx(0.75), "below the lower bound, whatever else it keeps"
    assert found["b"] == pytest.approx(0.25), "the nearest of all bounds"
    assert found["d"] == max(1.25, found["d"]), "out by two bounds: the farther one counts"
    assert margins(store_without(tmp_path / "empty"), both) == {}


def test_a_threshold_on_a_value_that_is_made_of_others_counts_too(tmp_path: Path) -> None:
    settings = Settings(
        backbone=BackboneSettings(width_px=64, height_px=32), curate=CurateSettings(stages=("technical",))
    )
    heights = {"a": 32.0, "b": 64.0, "c": 20.0}  # enlarged 1, 0.5 and 1.6 times, at most 1.25; the spread is 0.55
    with Store.create(tmp_path) as store:
        for side, times in (("height_px", 1.0), ("width_px", 2.0)):
            store.add(Score(f"{side}{id}", id, f"curate/technical/{side}", times * px) for id, px in heights.items())
        assert margins(store, thresholds(settings)) == pytest.approx(
            {"a": 0.25 / 0.55, "b": 0.75 / 0.55, "c": 0.35 / 0.55}
        )


def store_without(folder: Path) -> Store:
    store = Store.create(folder)
    assert not list(store.stream(Score))
    return store


def test_scenarios_come_from_the_caption_that_programs_left_else_from_the_file(tmp_path: Path) -> None:
    settings = load_settings(EXAMPLES / "everyday-actions.toml")
    with Store.create(tmp_path) as store:
        store.add(
            [
                clip("a", "Two friends hug."),
                clip("b", "", "/home/me/snow/cooking_01/chop-chop.mp4"),
                clip("c", "nothing known"),
                clip("d", "x"),
                Decision("1", "d", True, caption="She pours milk and stirs it"),
                Decision("2", "a", True, person=True, caption="A dog on a leash", made_by="ada"),
            ]
        )
        queue = queue_of(store, settings, {"a": 1.0})
    assert [queue.scenario(id) for id in "abcd"] == ["greeting and embracing", "cooking", "", "cooking"]
    assert queue.margin("a") == 1.0 and queue.margin("b") is None
    assert [count.name for count in queue.counts()][:2] == ["greeting and embracing", "water sports"]


def test_what_balance_holds_back_fills_a_gap_and_what_it_refuses_does_not(tmp_path: Path) -> None:
    settings = load_settings(EXAMPLES / "everyday-actions.toml")
    with Store.create(tmp_path) as store:
        store.add(clip(id, "they hug") for id in "abc")
        store.add([clip("x", "x"), Decision("0", "x", False, "balance: its caption matches no listed topic")])
        store.add([Decision("1", "b", False, "balance: topic greeting and embracing: rank 2 of 3, 1 stay")])
        store.add([Decision("2", "c", False, "technical: blur 0.9, at most 0.7")])
        queue = queue_of(store, settings, {})
        queue.add(store.stream(Decision))
    assert queue.after("undecided", None, "", (), 9) == ("a", "b")


def test_the_example_names_ten_scenarios_that_real_prompts_fall_into(real_data: Path) -> None:
    settings = load_settings(EXAMPLES / "everyday-actions.toml")
    table = settings.curate.balance
    assert len(table.topics) == 10 and set(table.wanted) == set(table.topics) == set(quotas_of(settings))
    prompts = (real_data / "realaction" / "bench" / "prompts.txt").read_text(encoding="utf-8").splitlines()
    found = topics_of(prompts, [""] * len(prompts), table.topics)
    assert OTHER not in found and len(Counter(found)) >= 5, found


def test_progress_in_words(tmp_path: Path) -> None:
    assert scenario_lines([ScenarioProgress("", None, 3, 3, 0)]) == []
    lines = scenario_lines([ScenarioProgress("hug", 5, 4, 2, 1), ScenarioProgress("", None, 30, 3, 0)])
    assert lines == [
        "scenario  wanted  found  in the set  by people  missing",
        "hug            5      4           2          1        3",
        "(none)         -     30           3          0        -",
    ]


def test_a_project_without_clips_has_no_review(tmp_path: Path) -> None:
    settings = load_settings(EXAMPLES / "everyday-actions.toml")
    Store.create(tmp_path).close()
    with (
        pytest.raises(ValueError, match="holds no clips to review; run `rushes import"),
        open_review(tmp_path, settings),
    ):
        pass
    with Store.open(tmp_path) as store:
        store.add([clip("a", "They hug"), Decision("1", "a", False, person=True, made_by="ada")])
    with open_review(tmp_path, settings) as review:
        result = progress_of(review)
    assert result.clips == 1 and result.in_set == 0 and result.people == {"ada": 1}
    assert result.scenarios[0].missing == 500 and len(progress_lines(result)) == 12
