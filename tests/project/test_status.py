"""Where a project stands, in a sentence and in the command that comes next, from the first command to the last."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.config.uses import nothing
from rushes.files import locked
from rushes.project import generation, status, training
from rushes.project.project import open_project
from rushes.project.runs import run_all
from rushes.project.settings import read_settings, write_settings
from rushes.project.status import status_of
from rushes.project.studio import home_facts
from rushes.records import VOTE, CandidateKind, Preference
from rushes.store.database import Store
from rushes.web.labeling.campaign import Campaign, write_campaign

from ..projects import SMALL, Rushes
from ..web.conftest import fill


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project of its own that went through all stages."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


def next_of(rushes: Rushes, *arguments: object) -> str:
    code, out, err = rushes("status", *arguments)
    assert code == 0, err
    return out.splitlines()[-1]


def test_each_stage_is_named_as_the_next_until_none_is_left(project: Path, rushes: Rushes) -> None:
    page, result = project / "reports" / "realdpo.html", project / "reports" / "realdpo.json"
    assert next_of(rushes, project) == f"next: rushes sample-size {project}", "too few prompts for a verdict"
    page.unlink()
    assert next_of(rushes, project) == f"next: rushes report {project}"
    result.unlink()
    assert next_of(rushes, project) == f"next: rushes evaluate {project}"
    another = ("--set", "train.name=another")
    assert next_of(rushes, project, *another) == f"next: rushes train {project} {' '.join(another)}"
    more = ("--set", "generate.takes=9")
    assert next_of(rushes, project, *another, *more) == f"next: rushes generate {project}"
    # A run that ended did with the takes of few labelled pairs.
    assert next_of(rushes, project, *more) == f"next: rushes evaluate {project}"
    with Store.open(project) as store:  # a second run, of another length than the file has
        (run,) = store.runs()
        store.add([replace(run, id="second", name="dpo", steps=2)])
    settings = read_settings(project, (), nothing)
    assert status_of(project, settings, "dpo").next == f"rushes evaluate {project} --run dpo"
    dense = ("--set", "train.recipe=densedpo", "--set", "generate.kind=guided", "--set", "train.options={}")
    assert next_of(rushes, project, *dense) == f"next: rushes generate {project}"


def test_after_the_verdict_comes_what_helps(project: Path, rushes: Rushes) -> None:
    """Weights are exported where they are better; else more prompts, or what went wrong in training."""
    page = project / "reports" / "realdpo.json"
    result = json.loads(page.read_text())
    del result["crc"]  # figures are altered here on purpose
    row = result["metrics"][result["headline"]]
    row |= {"base": 0.5, "n": 40, "prompts": 40, "spread": 0.2, "p": 1e-6, "p_adjusted": 1e-5}
    change = {"better": -0.2, "worse": 0.2, "undecided": 0.0}
    shown = {"better": "export", "worse": "health", "undecided": "sample-size"}
    for outcome, difference in change.items():
        row |= {
            "difference": difference,
            "trained": 0.5 + difference,
            "low": difference - 0.1,
            "high": difference + 0.1,
        }
        page.write_text(json.dumps(result))
        assert next_of(rushes, project).startswith(f"next: rushes {shown[outcome]} {project}"), outcome
    code, out, err = rushes("sample-size", project, "--run", "realdpo")
    assert code == 0, err
    following = out.splitlines()[-1]
    prompts = 2 * SMALL.evaluate.prompts
    wanted = f"rushes set {project} evaluate.prompts={prompts} footage.eval_prompts={prompts}"
    assert following == f"next: {wanted} && rushes import {project} && rushes evaluate {project}"
    for command in following.removeprefix("next: ").split(" && "):
        assert rushes(*command.split()[1:])[0] == 0, command
    assert f"{prompts} pairs" in rushes("status", project)[1]
    page.write_text(json.dumps(result | {"diagnoses": ["warning: nothing_learned: it is chance"]}))
    assert next_of(rushes, project) == f"next: rushes health {project}"
    assert f"next: rushes train {project} --set train.name=NEW, with " in rushes("health", project)[1]


def test_what_is_wrong_with_a_run_is_said_once(project: Path, rushes: Rushes) -> None:
    curves = project / "runs" / "realdpo" / "metrics.jsonl"
    *rows, last = (json.loads(line) for line in curves.read_text().splitlines())
    words = {"name": "nothing_learned", "severity": "warning", "evidence": "It is chance.", "remedy": "Train longer."}
    last["diagnoses"] = [{**words, "step": last["step"]}]
    curves.write_text("".join(f"{json.dumps(row)}\n" for row in (*rows, last)))
    code, out, err = rushes("train", project)
    assert code == 0 and "warning: nothing_learned: It is chance.\n  Train longer." in out
    assert f"{out}{err}".count("nothing_learned") == 1


def test_a_run_of_its_own_steps_is_finished_and_its_settings_are_held_on_to(
    project: Path, rushes: Rushes, caplog: pytest.LogCaptureFixture
) -> None:
    """As after `rushes run P --set train.steps=4 --set train.batch=2`, where the file has others."""
    settings = read_settings(project, (), nothing)
    train = settings.train.model_copy(update={"steps": 200, "batch": 16})
    write_settings(project, settings.model_copy(update={"train": train}))
    code, out, _ = rushes("status", project)
    assert code == 0 and "run realdpo: finished, 4 of 4 steps" in out and "\nevaluated: Too few held-out" in out
    code, _, err = rushes("run", project)
    command = f"rushes set {project} train.batch=2 train.steps=4"
    assert code == 2 and command in err and "--set train.name=NEW" in err
    assert rushes(*command.split()[1:])[0] == 0 and read_settings(project, (), nothing) == settings
    rushes("status", project, "--set", "train.batch=3")
    assert f"run `rushes set {project} train.batch=3`" in caplog.text
    caplog.clear()
    rushes("status", project, "--set", "train.batch=3", "--set", "train.name=b")
    assert not caplog.text


def test_videos_of_labelled_pairs_are_no_takes_of_the_clips(
    project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(project) as store:
        take = store.candidates(split="train")[0]
        store.add([replace(take, id=f"foreign {n}", kind="imported", clip_id="", group="pair") for n in range(2)])
    new = ("--set", "generate.takes=3", "--set", "train.name=new")
    assert next_of(rushes, project, *new) == f"next: rushes generate {project}"
    asked: list[object] = []
    monkeypatch.setattr(training, "check_run", lambda work: None)

    def generate(work: object) -> None:
        asked.append(work)
        raise KeyError

    monkeypatch.setattr(generation, "generate_takes", generate)
    settings = read_settings(project, (), nothing)
    with pytest.raises(KeyError), closing((work := open_project(project, settings)).store):
        run_all(work)
    assert asked == [work]


@pytest.mark.parametrize(
    ("log", "why"), [("train: 3 of 4", "killed"), ("rushes: label.by: needs labels", "label.by: needs labels")]
)
def test_a_detached_run_that_broke_off_is_named(project: Path, rushes: Rushes, log: str, why: str) -> None:
    (project / "reports" / "realdpo.json").unlink()
    (project / "run.log").write_text(f"generate\n{log}\n")
    out = rushes("status", project)[1]
    assert f"the detached run failed: {why}" in out.replace("it was ", "")
    assert out.splitlines()[-1] == f"next: rushes run {project} --detach"
    with locked(project / "run.log"):
        code, _, err = rushes("train", project)
        assert code == 2 and "run.log: a detached run is working on this project" in err
    ended = iter([True, True, True, False])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status, "is_locked", lambda path: path.name == "run.log" and next(ended, False))
        code, _, err = rushes("status", project, "--follow")
    assert code == 1 and why in err and err.splitlines()[-1] == f"next: rushes run {project} --detach"


def test_a_campaign_goes_before_training_and_its_vote_before_the_report(project: Path, rushes: Rushes) -> None:
    write_campaign(project, Campaign(("ada", "bob"), 3, 2, overlap=1, overlap_share=0.0))
    assert next_of(rushes, project, "--set", "train.name=another") == f"next: rushes campaign {project}"
    (project / "reports" / "realdpo.html").unlink()
    assert next_of(rushes, project) == f"next: rushes vote {project} --annotators ada,bob"
    with Store.open(project) as store:
        base, run = (store.candidates(split="eval", system=name)[0] for name in ("base", "realdpo"))
        store.add([Preference("v", base.id, run.id, (1,), "human:ada", dimension=VOTE)])
    assert next_of(rushes, project) == f"next: rushes report {project}"


def test_a_project_that_was_only_begun(tmp_path: Path, rushes: Rushes) -> None:
    write_settings(tmp_path, SMALL)
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = rushes("status", tmp_path, "--json")
    facts = json.loads(out)
    assert code == 0 and (facts["clips"], facts["takes"], facts["evaluated"]) == (0, 0, False)
    assert facts["next"] == f"rushes import {tmp_path}"
    assert sorted(tmp_path.rglob("*")) == before, "looking writes nothing"


def test_figures_and_words_are_those_of_the_project(project: Path, rushes: Rushes) -> None:
    code, out, _ = rushes("status", project)
    assert code == 0 and out.splitlines()[:4] == [
        f"project: {project} (realdpo on tiny)",
        "6 clips to train on, 3 held out",
        "12 takes",
        "run realdpo: finished, 4 of 4 steps",
    ]


def test_a_run_that_trains_is_seen_and_followed_until_it_ends(
    project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project / "runs" / "next"
    folder.mkdir()
    rows = [{"step": 0}, *({"step": step, "loss": 0.5, "seconds": 30.0} for step in (1, 2, 3))]

    def write(count: int) -> None:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))

    write(2)
    asked = ("--set", "train.name=next", "--set", "train.steps=11")
    with locked(folder / ".lock"):
        code, out, _ = rushes("status", project, *asked)
        assert code == 0 and "run next: training, 1 of 11 steps, about 5 min left" in out
        assert out.splitlines()[-1] == f"next: rushes status {project} --follow"
    at_work = {folder / ".lock"}  # until the first wait between two looks
    monkeypatch.setattr(status, "is_locked", lambda path: path in at_work)

    def sleep(seconds: float) -> None:
        write(4)
        at_work.clear()

    monkeypatch.setattr("time.sleep", sleep)
    code, _, err = rushes("status", project, *asked, "--follow")
    assert code == 0
    assert err.splitlines()[-2:] == [
        "step 1 of 11: loss 0.5, 30 s a step",
        "step 3 of 11: loss 0.5, 30 s a step",
    ]


def test_a_damaged_line_of_curves_hides_no_state(project: Path, rushes: Rushes) -> None:
    """`health` and `verify` name the line; the studio says as much."""
    with (project / "runs" / "realdpo" / "metrics.jsonl").open("r+") as file:
        file.write("junk")
    code, out, err = rushes("status", project)
    assert code == 0 and "run realdpo: finished, 4 of 4 steps" in out, err
    assert rushes("health", project)[0] == 2


def test_the_run_that_trains_is_shown_else_the_last_at_work_and_the_others_are_named(
    project: Path, rushes: Rushes
) -> None:
    folder = project / "runs" / "my"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "seconds": 30.0}\n')
    with locked(folder / ".lock"):
        _, out, _ = rushes("status", project)
        assert "run my: training, 1 step\n" in out and "other runs: realdpo (finished)\n" in out
        assert out.splitlines()[-1] == f"next: rushes status {project} --follow"
        facts = home_facts(status_of(project, read_settings(project, (), nothing)), SMALL)
        assert facts.running and (facts.running.text, facts.running.done) == ("Training my", 1)
        assert facts.steps[3].state == "running" and "realdpo (finished)" in facts.steps[3].text
    _, out, _ = rushes("status", project)
    assert "run my: stopped, 1 step\n" in out
    assert out.splitlines()[-1] == f"next: rushes train {project} --set train.name=my"
    assert "run realdpo: finished" in rushes("status", project, "--set", "train.name=realdpo")[1], "as it is asked"
    with Store.open(project) as store:
        (run,) = store.runs()
        store.add([replace(run, id="of my", name="my", steps=1)])
    assert next_of(rushes, project) == f"next: rushes evaluate {project} --run my"
    with Store.open(project) as store:
        store.add([replace(run, id="of another recipe", name="my", recipe="dpo", steps=1)])
    assert "run realdpo: finished, 4 of 4 steps\nother runs: my (finished)\n" in rushes("status", project)[1]


def begun(folder: Path, recipe: str, takes: int = 2, by: str = "none", **options: object) -> Path:
    """A project of two clips with so many takes of each, without a label."""
    train = SMALL.train.model_copy(update={"recipe": recipe, "options": options})
    label = SMALL.label.model_copy(update={"by": by})
    generate = SMALL.generate.model_copy(update={"takes": 1})
    with Store.create(folder) as store:
        fill(store, 2, takes=takes, media=False)
    write_settings(folder, SMALL.model_copy(update={"train": train, "label": label, "generate": generate}))
    return folder


def answer(project: Path, *labels: int, judge: str = "human:ada", start: int = 0) -> None:
    """Label the pairs of the first clips, so."""
    with Store.open(project) as store:
        store.add(
            Preference(f"{judge}{k}", f"take{k}-0", f"take{k}-1", (mark,), judge, unjudged=() if mark else (0,))
            for k, mark in enumerate(labels, start)
        )


def test_labels_are_done_once_all_pairs_have_an_answer_and_training_comes_once_it_can_compare(
    tmp_path: Path, rushes: Rushes
) -> None:
    project = begun(tmp_path, "dpo", by="human")
    assert next_of(rushes, project) == f"next: rushes label {project}"
    answer(project, 0)
    assert "1 of 2 labels, 0 decided" in rushes("status", project)[1]
    assert next_of(rushes, project) == f"next: rushes label {project}"
    answer(project, 0, start=1)
    assert "2 labels, 0 decided" in rushes("status", project)[1]
    assert next_of(rushes, project) == f"next: rushes label {project}", "there is nothing to compare"
    with Store.open(project) as store:
        store.add([Preference("better", "take1-0", "take1-1", (1,), "human:ada", supersedes="human:ada1")])
    assert next_of(rushes, project) == f"next: rushes train {project}"
    answer(project, 1, judge="world")
    assert next_of(rushes, project) == f"next: rushes train {project} --set train.options.judge=human"


def test_segments_that_cancel_out_decide_where_the_recipe_compares_segments(tmp_path: Path, rushes: Rushes) -> None:
    for mode, decided in (("dense", 1), ("structural", 0), ("vanilla", 0)):
        project = begun(tmp_path / mode, "densedpo", mode=mode, by="human")
        kind: CandidateKind = "take" if mode == "vanilla" else "guided"
        with Store.open(project) as store:
            take = store.candidates(split="train")[0]
            store.add(replace(take, id=id, kind=kind, seed=k) for k, id in enumerate("ab", 7))
            store.add([Preference("both", "a", "b", (1, -1), "human:ada", segment_s=1.0)])
        shown = status_of(project, read_settings(project))
        assert (shown.labels, shown.labels_decided) == (1, decided), mode


def test_the_next_command_does_not_fail(tmp_path: Path, rushes: Rushes) -> None:
    project = begun(tmp_path / "dpo one", "dpo", takes=1)
    generate = f"next: rushes generate '{project}'"
    assert next_of(rushes, project) == f"{generate} --set generate.takes=2", "pairs are takes, of which one has none"
    assert "2 of 4 takes\n0 of 2 labels\n" in rushes("status", project)[1], "a pair of each clip, once it has two takes"
    with Store.open(project) as store:  # as where generation was stopped: one clip has its pair
        (first, _) = store.candidates(split="train")
        store.add([replace(first, id="another", seed=9)])
    assert "3 of 4 takes\n0 of 2 labels\n" in rushes("status", project)[1]
    assert next_of(rushes, project) == f"{generate} --set generate.takes=2"
    project = begun(tmp_path / "dpo", "dpo")
    assert "\n4 takes\n0 of 2 labels\n" in rushes("status", project, "--set", "generate.takes=2")[1]
    assert next_of(rushes, project) == f"next: rushes label {project} --by human"
    project = begun(tmp_path / "dense", "densedpo")
    assert next_of(rushes, project).endswith("dense --set generate.kind=guided --set generate.takes=2")
    project = begun(tmp_path / "vanilla", "densedpo", mode="vanilla")
    assert next_of(rushes, project) == f"next: rushes label {project} --by human"
    project = begun(tmp_path / "scores", "huvidpo")
    assert next_of(rushes, project) == f"next: rushes label {project} --by human --set label.scores=true"
    project = begun(tmp_path / "physics", "physhpo")
    gaps = "--set generate.kind=gap --set generate.takes=1"
    assert next_of(rushes, project) == f"next: rushes generate {project} {gaps}"
    with Store.open(project) as store:
        take = store.candidates(split="train")[0]
        store.add([replace(take, id="gap", kind="gap", group="of a gap")])
    assert next_of(rushes, project) == f"next: rushes wrong-captions {project} --by rules"
    assert next_of(rushes, project, "--set", "train.options.semantic_weight=0") == f"next: rushes train {project}"
    for recipe in ("sft", "dfdpo", "realdpo"):
        project = begun(tmp_path / recipe, recipe, takes=1)
        assert next_of(rushes, project) == f"next: rushes train {project}"


def test_a_run_goes_on_without_the_terminal(project: Path, rushes: Rushes) -> None:
    command = [sys.executable, "-P", "-m", "rushes", "run", str(project), "--detach"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2))
    assert first.returncode == 0 and first.stdout.splitlines()[-1] == f"next: rushes status {project} --follow"
    assert second.returncode == 2 and "a detached run is already working" in second.stderr
    code, out, err = rushes("status", project, "--follow")
    assert code == 0 and "a detached run is working" in out
    assert err.splitlines()[-1] == f"next: rushes sample-size {project}"
    assert "at work" not in rushes("status", project)[1]
