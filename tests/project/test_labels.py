"""Labels from every kind of judge, and training on what people said with no further step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rushes.config.model_endpoint import EndpointSettings
from rushes.config.settings_files import SettingsError
from rushes.config.tables import LabelSettings, Settings, TrainSettings
from rushes.formats.scores import media_needed
from rushes.progress import no_bar
from rushes.project import generation, intake, labels, runs, training
from rushes.project.judge_audit import audit_project
from rushes.project.labeling_page import invitations, open_labeling_session, plan_of
from rushes.project.project import OpenProject, open_project
from rushes.project.settings import write_settings
from rushes.records import plain
from rushes.web.labeling.label_rows import LabelSubmission

from ..fake_endpoint import Does, FakeEndpoint, serve
from ..projects import SmallProject

Make = Callable[..., OpenProject]


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory, small: SmallProject) -> Path:
    """A project with pairs of guided takes and no labels. Do not write to it."""
    folder = tmp_path_factory.mktemp("guided") / "project"
    project = open_project(folder, _settings(small.settings))
    intake.import_footage(project)
    generation.generate_takes(project)
    project.store.close()
    return folder


def _settings(base: Settings, endpoint: dict[str, Any] | None = None, **label: Any) -> Settings:
    options = {"beta": 100.0, "least_labelled": 0.0}
    train = TrainSettings(recipe="densedpo", steps=2, batch=2, learning_rate=1e-4, held_out=0, options=options)
    return base.model_copy(
        update={
            "generate": base.generate.model_copy(update={"kind": "guided"}),
            "label": LabelSettings.model_validate({"by": "human", "repeat_share": 0.0, **label}),
            "endpoint": EndpointSettings.model_validate(endpoint or {}),
            "train": train,
        }
    )


@pytest.fixture
def make(guided: Path, tmp_path: Path, small: SmallProject) -> Make:
    def build(endpoint: dict[str, Any] | None = None, **label: Any) -> OpenProject:
        folder = tmp_path / "project"
        if not folder.exists():
            shutil.copytree(guided, folder)
        settings = _settings(small.settings, endpoint, **label)
        write_settings(folder, settings)
        return open_project(folder, settings)

    return build


def label_all(project: OpenProject, who: str, mark: int) -> int:
    """Label every pair that this person is given, all parts alike, as of the true left side."""
    count = 0
    with open_labeling_session(project.store.project, project.settings) as session:
        while (item := session.next(who)) is not None:
            slot = -mark if item.swapped else mark
            marks = {name: (slot,) * session.segments(item) for name in session.plan.dimensions}
            session.save(who, item.id, LabelSubmission(f"{who}-{count:06}", "", marks))
            count += 1
    return count


def test_training_goes_on_from_what_people_labelled(make: Make) -> None:
    project = make()
    with pytest.raises(ValueError, match=r"have not labelled yet; run `rushes label .*`, label pairs on its page"):
        runs.run_all(project)
    assert label_all(project, "ada", 1) == 6
    assert labels.label_takes(project) == labels.LabelResult("human", pairs=6, left=24, tie=0, right=0)
    assert training.train_run(project).steps_now == 2


def test_several_people_and_questions_make_one_comparison_for_each_pair(make: Make) -> None:
    project = make(dimensions=["overall", "motion"], overlap=3, overlap_share=1.0)
    assert [label_all(project, who, mark) for who, mark in (("ada", 1), ("bob", 1), ("cem", -1))] == [6, 6, 6]
    assert len(project.store.preferences()) == 36
    assert labels.label_takes(project).left == 24
    assert training.train_run(project).comparisons == 6


def test_a_clip_can_be_labelled_whole(make: Make) -> None:
    project = make(whole=True)
    label_all(project, "ada", -1)
    assert {(row.labels, row.segment_s) for row in project.store.preferences()} == {((-1,), None)}
    assert plan_of(project.settings).segment_s is None and not plan_of(project.settings).ranks
    assert plan_of(make(form="ranks").settings).ranks and plan_of(project.settings).reasons[0] == "hand"
    whole = make(by="world", whole=True)
    assert labels.label_pairs(whole).pairs == 6
    assert {len(row.labels) for row in project.store.preferences(judge="world")} == {1}


def test_invitations_are_links_with_tokens_that_can_be_renewed(make: Make) -> None:
    project = make()
    with open_labeling_session(project.store.project, project.settings) as session:
        links = invitations(session.assignments, ("ada", "bob"), "http://host:1")
        tokens = {name: link.partition("#invite=")[2] for name, link in links.items()}
        assert [session.assignments.who(token) for token in tokens.values()] == ["ada", "bob"]
        invitations(session.assignments, ("ada",), "http://host:1")
        assert session.assignments.who(tokens["ada"]) is None and session.assignments.who(tokens["bob"]) == "bob"
        with pytest.raises(ValueError, match="given twice"):
            invitations(session.assignments, ("ada", "ada"), "http://host:1")
        with pytest.raises(ValueError, match="is not a name"):
            invitations(session.assignments, ("<b>",), "http://host:1")


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serve(FakeEndpoint(lambda request: Does('{"reason": "r", "choice": "first"}'))) as running:
        yield running


def test_a_biased_model_labels_ties_and_its_figures_show_it(make: Make, fake: FakeEndpoint) -> None:
    project = make({"url": fake.url, "model": "m"}, by="vlm", segment_s=1.0, frames_per_s=2.0)
    label_all(make(segment_s=1.0), "ada", 1)
    project = make({"url": fake.url, "model": "m"}, by="vlm", segment_s=1.0, frames_per_s=2.0)
    result = labels.label_takes(project)
    assert (result.left, result.tie, result.right) == (0, 12, 0) and result.questions["answered"] == 24
    assert result.by.startswith("vlm:m:artefacts.1@")
    asked = len(fake.requests)
    assert labels.label_takes(project).tie == 12 and len(fake.requests) == asked
    facts = audit_project(project.store.project, project.settings, 3, no_bar)
    shares = [(row.first_slot, row.consistent) for row in facts.judges if row.judge == result.by]
    assert all(first and same and (first.value, same.value) == (1.0, 0.0) for first, same in shares) and shares
    assert facts.findings == (), "three clips prove nothing"
    assert facts.static is not None and facts.static.clips == 3
    json.dumps(plain(facts.judges))


def test_scores_of_a_reward_model_label_pairs(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "reward"
    folder.mkdir()
    lines = [{"media": row["media"], "scores": {"VQ": k}} for k, row in enumerate(media_needed(make().store))]
    (folder / "scores.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = labels.label_takes(make(by="reward", reward=str(folder), whole=True, margin=0.5))
    assert result.right == 6 and result.by.startswith("reward:reward@")


def test_settings_that_cannot_label_are_refused_at_once(make: Make) -> None:
    with pytest.raises(SettingsError, match=r"endpoint.model: .* need its name"):
        make(by="vlm")
    with pytest.raises(SettingsError, match=r"label.reward: empty is not a folder"):
        make(by="reward")
