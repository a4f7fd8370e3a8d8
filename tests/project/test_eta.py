"""`rushes tune eta` on a very small world: what it measures, that it goes on where it was stopped, people, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.cli import main
from rushes.config.tables import Settings
from rushes.evaluate import levels
from rushes.evaluate.levels import MEASURES
from rushes.evaluate.suites import general_suite
from rushes.judges.base import Judgement
from rushes.judges.build import world_judge
from rushes.media.images import read_image
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.noise.paths import Flow, VariancePreserving
from rushes.progress import no_bar
from rushes.project import eta, labels, probes
from rushes.project.labeling_page import open_labeling_session
from rushes.project.project import open_project
from rushes.project.settings import read_settings
from rushes.recipes import densedpo
from rushes.records import Candidate
from rushes.store.database import Store
from rushes.training.comparison import LatentGrid
from rushes.training.views import labelled_takes, takes_account
from rushes.web.labeling.label_rows import LabelSubmission
from rushes.world.verify import verify

Tell = Callable[..., dict[str, Any]]
LEVELS = ("0.3", "0.5", "0.7", "0.9", "0.95")
SMALL = (
    *(
        "--recipe",
        "densedpo",
        "--set",
        "footage.clips=4",
        "--set",
        "footage.eval_prompts=0",
        "--set",
        "backbone.frames=9",
    ),
    *("--set", "generate.steps=2", "--set", "generate.batch=16", "--set", "label.segment_s=0.5"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of four clips, three of them measured at five levels. Do not write to it."""
    folder = tmp_path_factory.mktemp("eta") / "world"
    main(["init", str(folder), *SMALL])
    main(["import", str(folder)])
    main(["tune", "eta", str(folder), "--levels", *LEVELS, "--clips", "3"])
    return folder


@pytest.fixture
def project(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world, tmp_path / "project"))


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """The facts that `rushes tune eta` prints."""

    def run(folder: Path, *more: str, clips: int = 3) -> dict[str, Any]:
        capsys.readouterr()
        main(["tune", "eta", str(folder), "--levels", *LEVELS, "--clips", str(clips), "--json", *more])
        return dict(json.loads(capsys.readouterr().out))

    return run


def probe_rows(folder: Path) -> tuple[Candidate, ...]:
    with Store.open(folder) as store:
        return store.candidates(kind="probe")


def test_every_level_has_its_measures_with_intervals(project: Path, tell: Tell) -> None:
    facts = tell(project)
    assert [row["eta"] for row in facts["levels"]] == [0.3, 0.5, 0.7, 0.9, 0.95, 1.0]
    assert [row["free"] for row in facts["levels"]] == [False] * 5 + [True]
    for row in facts["levels"]:
        assert row["judged"] == 3
        for name in MEASURES:
            assert (row[name] is None) == (row[f"{name}_interval"] is None)
            if row[name] is not None:
                low, high = row[f"{name}_interval"]
                assert low <= row[name] <= high
        sheet = read_image(row["sheet"])
        assert sheet.shape[0] > 3 * 3 * 96 and sheet.std() > 10
    motion, tied = ([row[name] for row in facts["levels"]] for name in ("motion_agreement", "tied_pairs"))
    assert motion[0] > 0.8 > motion[-1] and motion[0] == max(motion)
    assert tied[0] > tied[-1]
    assert (facts["by"], facts["faults_by"], facts["clips"]) == ("world", "lost_dots", 3)
    assert facts["proposed"] is None and "3 judged pairs per level are too few" in facts["warnings"][0]


def test_faults_are_lost_dots_beyond_those_of_the_real_clip(world: Path) -> None:
    work = open_project(world, read_settings(world), no_bar)
    made = probes.make_probes(work, eta._clips(work, 3), [float(level) for level in LEVELS])
    facts = probes.measure_probes(work, made, world_judge(0.05), {})

    def lost_dots(row: Candidate) -> float:
        return verify(read_video(work.store.media_path(row.media), size_px=(64, 64)).frames_FHWC, row.caption).lost_dots

    some = [(probe, pair) for probe, pair in zip(made, facts, strict=True) if probe.eta >= 0.95]
    for probe, pair in some:
        took = (lost_dots(probe.left) + lost_dots(probe.right)) / 2
        assert pair.faults == pytest.approx(took - lost_dots(probe.real))
    assert any(pair.faults > 0 for _, pair in some)
    work.store.close()


def test_pairs_start_from_their_level_and_the_same_noise(world: Path) -> None:
    rows = probe_rows(world)
    assert len(rows) == 3 * (1 + 5 * 2 + 2)
    levels = {eta: {row.seed for row in rows if row.eta == eta} for eta in (None, *map(float, LEVELS))}
    assert all(len(seeds) == 6 for seeds in levels.values()) and len({frozenset(s) for s in levels.values()}) == 1
    assert {row.eta for row in rows} == {None, 0.0, *map(float, LEVELS)}


def test_what_is_there_is_not_made_or_measured_again(
    project: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, whole = tell(project), (project / "eta" / probes.MEASURED).read_bytes()
    rows = probe_rows(project)
    # killed while a line was written
    (project / "eta" / probes.MEASURED).write_bytes(whole[: -len(whole) // 5])
    assert tell(project) == before and probe_rows(project) == rows
    again = (project / "eta" / probes.MEASURED).read_bytes()
    assert again == whole

    def never(*_: object) -> float:
        raise AssertionError("measured again")

    monkeypatch.setattr(probes, "motion_agreement", never)
    assert tell(project) == before
    narrower = tell(project, "--set", "generate.eta=[0.5,0.9]", "--set", "generate.takes=5")  # neither concerns probes
    assert narrower == before and probe_rows(project) == rows


def test_a_sweep_that_was_stopped_goes_on(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, add, commits = tmp_path / "fresh", Store.add, list[int]()
    main(["init", str(fresh), *SMALL, "--set", "generate.batch=3"])
    main(["import", str(fresh)])
    arguments = ["tune", "eta", str(fresh), "--levels", *LEVELS, "--clips", "3"]

    def stopped(store: Store, rows: Any) -> int:
        if len(commits) == 4:
            raise KeyboardInterrupt
        commits.append(add(store, rows))
        return commits[-1]

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as code:
        patch.setattr(Store, "add", stopped)
        main(arguments)
    assert code.value.code == 130 and len(probe_rows(fresh)) == sum(commits) == 12
    monkeypatch.setattr(probes, "motion_agreement", lambda first, second: 0.9)  # here it is about the takes
    main(arguments)
    assert [row.id for row in probe_rows(fresh)] == [row.id for row in probe_rows(world)]


def test_no_recipe_and_no_program_sees_probes(project: Path) -> None:
    settings = read_settings(project)
    grid = LatentGrid(3, 4, 8.0, True, "base", clean=True)
    with Store.open(project) as store:
        assert labelled_takes(store, grid, "take") == () and labelled_takes(store, grid, "guided") == ()
        assert takes_account(store, grid, []) == {} and labels.to_compare(store, settings) == ()
        assert densedpo.comparisons(store, densedpo.Options(), grid) == []
    work = open_project(project, settings, no_bar)
    with pytest.raises(ValueError, match="0 takes give no pair"):
        labels.label_takes(work)
    work.store.close()


def test_people_see_the_pairs_and_their_labels_count(
    project: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    human = ("--set", "label.by=human", "--set", "label.repeat_share=0", "--set", "label.overlap_share=0")
    facts = tell(project, *human)
    assert facts["proposed"] is None and "--probes" in facts["warnings"][0]
    assert all(row["tied_pairs"] is None and row["motion_agreement"] is not None for row in facts["levels"])
    settings = read_settings(project, human[1::2])
    eta_of = {row.id: row.eta for row in probe_rows(project)}
    with open_labeling_session(project, settings, probes=True) as session:
        done = 0
        while item := session.next("ada"):
            level = eta_of[item.left]
            assert level == eta_of[item.right] and level
            marks = (1, -1) if level >= 0.7 else (0, 0)  # mixed from 0.7 up, wholly tied below
            session.save("ada", item.id, LabelSubmission(f"event{done}", "", {"overall": marks}, {}))
            done += 1
    assert done == 3 * 5
    monkeypatch.setattr(levels, "LEAST_CLIPS", 3)
    facts = tell(project, *human)
    assert [row["mixed_pairs"] for row in facts["levels"]] == [0.0, 0.0, 1.0, 1.0, 1.0, None]
    assert (
        facts["proposed"] == [0.66, 0.95] and len(facts["warnings"]) == 2 and facts["faults_by"] is None
    )  # a fifth tied at 0.66, straight from 0.5
    with Store.open(project) as store:
        grid = LatentGrid(3, 4, 8.0, True, "base", clean=True)
        assert densedpo.account(store, densedpo.Options(), grid) == {"of_other_takes": 15}


def test_pairs_of_the_page_are_ten_a_level_of_the_newest_settings(tmp_path: Path) -> None:
    def row(clip: int, k: int, level: float | None, settings_hash: str) -> Candidate:
        name = f"{clip}-{k}-{level}-{settings_hash}"
        size = (32, 32, 17, 8.0)
        return Candidate(
            name,
            "0" * 64,
            "a ball",
            "probe",
            f"c{clip}",
            f"c{clip}",
            "base",
            "w",
            k,
            *size,
            level,
            "train",
            settings_hash,
        )

    with Store.create(tmp_path / "project") as store:
        for settings_hash in ("old", "new"):
            store.add(
                row(clip, k, level, settings_hash)
                for level in (0.0, 0.6, 0.9, None)
                for clip in range(12)
                for k in range(1 if level == 0 else 2)
            )
        found = labels.probes_to_compare(store, Settings())
    assert len(found) == 2 * 2 * 10 and {each.settings_hash for each in found} == {"new"}
    assert {each.eta for each in found} == {0.6, 0.9} and len({each.group for each in found}) == 10


class Sides:
    """A judge that gives no scores: it says who wins each segment, by how bright a clip is."""

    name, size_px = "sides", None

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Any:
        gap = float(left.frames_FHWC.mean()) - float(right.frames_FHWC.mean())
        return Judgement(((gap > 0) - (gap < 0), 0, 0), None, unjudged=(2,))


def test_a_judge_without_scores_counts_segments_that_the_real_clip_wins(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = open_project(project, read_settings(project), no_bar)
    monkeypatch.setattr(type(work), "suite", property(lambda self: general_suite()))
    bright = {probe_row.id: value for value, probe_row in zip((9, 4, 6), probe_rows(project)[:3], strict=True)}
    real, left, right = probe_rows(project)[:3]

    def shot(project: Any, row: Candidate, size_px: Any) -> Shot:
        return Shot(torch.full((5, 32, 32, 3), bright[row.id], dtype=torch.uint8).numpy(), 8.0)

    monkeypatch.setattr(probes, "_shot", shot)
    eyes = probes._JudgedTakes(work, Sides())
    assert eyes.look(probes.ProbePair(0.7, left, right, real)) == {"labels": [-1, 0, 0], "faults": 0.5}
    work.store.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "label.by=none"), "label.by is 'none', so nobody judges the pairs; set it to human"),
        (("--set", "label.whole=true"), "label.whole: mixed pairs need several segments"),
        (("--set", "label.segment_s=0.6"), "label.segment_s: clips of 1.12 s have a single segment of 0.6 s"),
        (("--clips", "0"), "--clips: 0 clips make no pair"),
        (("--levels", "0.5", "0.6", "0.7", "0.8"), "--levels: name 5 or more different ones above 0 and below 1"),
        (("--levels", "0.5", "0.5", "0.7", "0.8", "0.9"), "--levels: name 5 or more different ones"),
        (("--levels", "0.5", "0.6", "0.7", "0.8", "1"), "pure noise, 1, is always measured"),
    ],
)
def test_refusals_are_one_sentence(
    world: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["tune", "eta", str(world), *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and says in error


def test_without_clips_or_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path / "empty"), *SMALL])
    for folder, says in (
        ("empty", f"run `rushes import {tmp_path / 'empty'}` first"),
        ("none", "make one with `rushes init"),
    ):
        with pytest.raises(SystemExit):
            main(["tune", "eta", str(tmp_path / folder)])
        assert says in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_nobody_but_a_metric_named(world: Path) -> None:
    work = open_project(world, read_settings(world, ("label.by=none", "label.metric=jerk")), no_bar)
    with eta._judge(work) as judge:
        assert judge is not None and judge.name == "metric:jerk"
    work.store.close()


def test_clips_of_one_segment_make_no_pairs(project: Path) -> None:
    with Store.open(project) as store:
        store.add([replace(store.clips("train")[0], id="short", frames=5)])
    work = open_project(project, read_settings(project, ("backbone.lengths=[5, 9]",)), no_bar)
    assert len(work.store.clips("train")) == 5 and "short" not in {clip.id for clip in eta._clips(work, 5)}
    work.store.close()
    work = open_project(project, read_settings(project, ("backbone.frames=5",)), no_bar)
    with pytest.raises(ValueError, match="no training clip is as long as two segments, 1 s"):
        eta._clips(work, 5)
    work.store.close()


def test_default_levels_end_where_a_schedule_does() -> None:
    abar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0).float()
    assert eta._levels(Flow(), ()) == list(eta.LEVELS)
    assert eta._levels(VariancePreserving(abar), ()) == [0.6, 0.7, 0.8, 0.88, 0.93]
    with pytest.raises(ValueError, match=r"--levels: 0\.97 is outside"):
        eta._levels(VariancePreserving(abar), (0.5, 0.6, 0.7, 0.8, 0.97))
