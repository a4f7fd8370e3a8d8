"""`rushes curate` from a folder of mixed footage to a data card, and what it says where too little is left."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from rushes.cli import main
from rushes.media.write import write_video
from rushes.records import Clip
from rushes.store.database import Store
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from ..projects import Rushes

STAGES = ("--set", 'curate.stages=["technical", "motion", "duplicates"]')


def clip(seed: int) -> np.ndarray:
    return render(draw_scenes(seed, 1)[0])


def add(folder: Path, name: str, frames: np.ndarray, scale: int = 4) -> None:
    folder.mkdir(exist_ok=True)
    write_video(folder / f"{name}.mp4", frames, FPS, scale=scale)
    (folder / f"{name}.txt").write_text(f"what {name} shows", encoding="utf-8")


def test_mixed_footage_becomes_a_set_with_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, project = tmp_path / "mixed footage", tmp_path / "my project"
    for seed in range(5):
        add(folder, f"ball {seed}", clip(seed))
    add(folder, "it's frozen", clip(7)[:1].repeat(17, 0))
    add(folder, "größer copy", clip(1), scale=3)
    (folder / "cut short.mp4").write_bytes((folder / "ball 0.mp4").read_bytes()[:3000])
    (folder / "cut short.txt").write_text("broken")
    main(["init", str(project), "--footage", str(folder), "--set", "footage.on_refused=skip", "--set",
          "footage.eval_fraction=0.4", "--set", "curate.licence=my own"])  # fmt: skip
    main(["curate", str(project), *STAGES, "--jobs", "1"])
    out, err = capsys.readouterr()
    assert "7 clips went in, 5 stay" in out and "cut short.mp4" in err
    assert re.search(r"motion +7 +1 +6 +share of frames in which nothing moves 1\n", out)
    assert re.search(r"duplicates +6 +1 +5 +copy of 1\n", out)
    assert f"next: rushes run '{project}'" in out
    card = (project / "reports" / "data-card.md").read_text(encoding="utf-8")
    assert "licence: my own" in card and "it's frozen.mp4 1 |" in card
    page = (project / "reports" / "data-card.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") > 4 and "http" not in page.replace("http-equiv", "")
    facts = json.loads((project / "reports" / "curation.json").read_text(encoding="utf-8"))
    with Store.open(project) as store:
        kept = store.clips()
        assert len(kept) == facts["set"]["train"] + facts["set"]["eval"] == 5
    hashes = (project / "reports" / "data-card.sha256").read_text().split()
    assert hashes == sorted({one.media for one in kept})
    main(["card", str(project)])
    assert (project / "reports" / "data-card.md").read_text(encoding="utf-8") == card


def test_one_clip_none_and_all_refused_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def says(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["curate", *arguments])
        assert ended.value.code == 2
        return capsys.readouterr().err

    folder = tmp_path / "footage"
    folder.mkdir()
    assert "no videos" in says(str(tmp_path / "none"), "--footage", str(folder))
    add(folder, "ball", clip(0))
    one = says(str(tmp_path / "one"), "--footage", str(folder), *STAGES)
    assert "1 clip is left to train on but none to evaluate on" in one
    strict = says(str(tmp_path / "one"), *STAGES, "--set", "curate.technical.max_blur=0.01")
    assert "none of 1 clips is left" in strict and "lower the thresholds in [curate]" in strict
    assert "curate.stages is empty" in says(str(tmp_path / "one"), "--set", "curate.stages=[]")
    assert "--jobs: give a number of 0 or more" in " ".join(says(str(tmp_path / "one"), "--jobs", "-1").split())
    main(["card", str(tmp_path / "one")])


def test_a_new_project_keeps_what_was_set_and_says_how_scenarios_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, project = tmp_path / "footage", tmp_path / "project"
    for seed in range(6):
        add(folder, f"{seed}", clip(seed))
    wanted = ['curate.stages=["balance"]', 'curate.balance.topics.numbers=["shows"]', "curate.balance.wanted.numbers=4"]
    settings = [word for each in (*wanted, "footage.eval_fraction=0.34") for word in ("--set", each)]
    main(["curate", str(project), "--footage", str(folder), *settings])
    out, _ = capsys.readouterr()
    assert re.search(r"scenario +wanted +found +in the set +by people +missing\nnumbers +4 +6 +4 +0 +0\n", out)
    main(["curate", str(project), "--json"])
    (scenario,) = json.loads(capsys.readouterr().out)["scenarios"]
    assert (scenario["name"], scenario["in_footage"], scenario["in_set"]) == ("numbers", 6, 4)


def test_scenarios_of_the_caption_table_have_quotas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, project = tmp_path / "footage", tmp_path / "project"
    for seed in range(5):
        add(folder, f"{seed}", clip(seed))
    for sidecar in folder.glob("*.txt"):
        sidecar.unlink()
    rows = [f"{seed}.mp4,clip {seed},{'sea' if seed < 4 else 'pitch'}" for seed in range(5)]
    (folder / "captions.csv").write_text("\n".join(["file,caption,what", *rows]))
    named = ('curate.stages=["balance"]', "curate.balance.by=scenario", "curate.balance.wanted={sea = 3, pitch = 2}",
             "footage.scenario_column=what", "footage.eval_fraction=0.4")  # fmt: skip
    main(
        [
            "curate",
            str(project),
            "--footage",
            str(folder),
            "--json",
            *(word for each in named for word in ("--set", each)),
        ]
    )
    found = json.loads(capsys.readouterr().out)["scenarios"]
    assert [(each["name"], each["in_footage"], each["in_set"], each["missing"]) for each in found][:2] == [
        ("sea", 4, 3, 0), ("pitch", 1, 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "curate.stages=[]"), "curate.stages is empty"),
        (("--set", 'curate.stages=["captions"]', "--set", "curate.when_down=stop"), "endpoint.model is empty"),
        (("--engine", "ray"), "make install EXTRAS=ray"),
    ],
)
def test_what_curation_lacks_is_said_before_footage_is_imported(
    options: tuple[str, ...],
    words: str,
    tmp_path: Path,
    rushes: Rushes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    for seed in range(2):
        add(tmp_path / "footage", f"ball {seed}", clip(seed))
    code, _, err = rushes("curate", tmp_path / "project", "--footage", tmp_path / "footage", *options)
    assert code == 2 and words in err, err
    with Store.open(tmp_path / "project") as store:
        assert store.count(Clip) == 0
