"""The commands of docs/recipes/huvidpo.md on tiny folders: motion first, then preferences among what it makes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from rushes.cli import main
from rushes.config.settings_files import load_settings
from rushes.media.write import write_video
from rushes.project.networks import load_run, load_start
from rushes.project.project import open_project
from rushes.project.settings import read_settings, write_settings
from rushes.store.database import Store
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from .. import tiny_sd

PAGE = (Path(__file__).parents[2] / "docs" / "recipes" / "huvidpo.md").read_text(encoding="utf-8")
SMALL = {
    "backbone.height_px": 32, "backbone.width_px": 32, "backbone.frames": 5, "generate.takes": 3, "generate.steps": 2,
    "train.steps": 3, "train.held_out": 2, "evaluate.steps": 2, "evaluate.prompts": 3,
}  # fmt: skip


def block(mark: str, kind: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Eight clips of one action, a Stable Diffusion folder, prompts; the commands run here."""
    place = tmp_path_factory.mktemp("birds")
    (place / "clips").mkdir()
    for number, scene in enumerate(draw_scenes(3, 8, ["swing"], frames=5)):
        write_video(place / "clips" / f"{number}.mp4", render(scene).repeat(2, 1).repeat(2, 2), 8)
    (place / "clips" / "captions.txt").write_text("a ball swings\n" * 8)
    tiny_sd.write(place / "stable-diffusion-v1-4", taught=True)
    tiny_sd.write(place / "dpo-sdxl")
    (place / "prompts.txt").write_text("a ball swings in the rain\na pixel art ball swings\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield place
    torch.use_deterministic_algorithms(False)


def score(project: Path) -> None:
    """What a person types: text, two takes of a clip alike, one of the others best."""
    with Store.open(project) as store:
        takes = store.candidates(split="train")
        given = [{"video": take.id, "score": ("9", "10", "9")[number % 3]} for number, take in enumerate(takes)]
    (project.parent / "scores.json").write_text(json.dumps(given))


@pytest.fixture(scope="module")
def project(folder: Path) -> Path:
    """After all commands of the page."""
    main(shlex.split("init birds --recipe huvidpo --footage clips --full"))
    project = folder / "birds"
    (folder / "page.toml").write_text(block("settings", "toml"))
    page = load_settings(folder / "page.toml").model_dump(exclude_unset=True)
    changes = {
        f"{table}.{name}": value for table, row in page.items() for name, value in row.items() if name != "options"
    }
    changes |= {f"train.options.{name}": value for name, value in page["train"]["options"].items()} | SMALL
    written = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    write_settings(project, load_settings(project / "rushes.toml", written))
    for line in block("commands", "sh").replace("\\\n", " ").splitlines():
        arguments = shlex.split(line)[1:]
        if "--scores" in arguments:
            score(project)
        if arguments[0] == "train":
            arguments += ["--set", "train.steps=3"]
        if arguments[0] == "prompts":
            arguments += ["--steps", "2"]
        main(arguments)
    return project


def trained(project: Path, run: str) -> set[str]:
    with safe_open(project / "runs" / run / "weights.safetensors", "pt") as file:
        return {name.split(".")[-2 if "lora" not in name else -4] for name in file.keys()}  # noqa: SIM118


@pytest.mark.slow
def test_both_stages_train_what_they_should(project: Path) -> None:
    names = trained(project, "motion")
    assert {"gate", "temporal", "to_q", "norm"} <= names and not names & {"ff", "proj_in", "conv1"}
    with safe_open(project / "runs" / "motion" / "weights.safetensors", "pt") as file:
        assert not any("attn2" in name or "attn1.to_k" in name for name in file.keys())  # noqa: SIM118
    assert trained(project, "huvidpo") == {"to_q", "to_k", "to_v", "0"}


@pytest.mark.slow
def test_losses_fall_and_the_second_stage_begins_at_the_first(project: Path) -> None:
    rows = {
        run: [json.loads(line) for line in (project / "runs" / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("motion", "huvidpo")
    }
    assert rows["huvidpo"][1]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert rows["huvidpo"][0]["held_out/clip/margin"] == 0.0
    work = open_project(project, read_settings(project))
    with work.store:
        motion, start, end = load_run(work, "motion"), load_start(work), load_run(work, "huvidpo")
        x, t = torch.randn(1, 4, 5, 4, 4), torch.full((1, 5), 0.5)
        words = motion.condition(["a ball swings"])
        with torch.no_grad():
            before, at, after, base = (b.predict(x, t, words) for b in (motion, start, end, work.base))
        assert torch.equal(before, at)
        assert (before - base).abs().max() > 0 and (after - before).abs().max() > 0


@pytest.mark.slow
def test_another_adapter_is_put_on_the_merged_first_one(project: Path) -> None:
    more = [
        "--set",
        "train.init_from=huvidpo",
        "--set",
        "train.trainable=lora",
        "--set",
        "train.lora_rank=2",
        "--set",
        "train.name=third",
    ]
    main(["train", str(project), "--recipe", "sft", "--set", "train.steps=3", "--set", "train.batch=1", *more])
    work = open_project(project, read_settings(project))
    with work.store:
        first, third = load_run(work, "huvidpo"), load_run(work, "third")  # it checks the fingerprint
        x, t = torch.randn(1, 4, 5, 4, 4), torch.full((1, 5), 0.5)
        for name, p in third.network.named_parameters():
            if "lora_B" in name:
                p.data.zero_()
        words = first.condition(["a ball swings"])
        with torch.no_grad():
            start, end = first.predict(x, t, words), third.predict(x, t, words)
        torch.testing.assert_close(end, start, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_pairs_are_of_the_first_stages_takes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(project) as store:
        takes = store.candidates(split="train")
        assert {take.system for take in takes} == {"motion"}
        clips = len(takes) // 3
        assert len(store.scores(metric="human")) == len(takes)
        stills = [clip for clip in store.clips("eval") if clip.source == "still by dpo-sdxl"]
        assert [clip.caption for clip in stills] == ["a ball swings in the rain", "a pixel art ball swings"]
        assert all((clip.width_px, clip.frames, clip.first_frame) == (32, 1, clip.media) for clip in stills)
    capsys.readouterr()
    main(["train", str(project), "--set", "train.steps=3", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert (facts["steps_now"], facts["pairs"], facts["ties"]) == (0, 2 * clips, clips)
    main(
        ["prompts", "add", str(project), "--pipeline", "dpo-sdxl", "--prompts", "prompts.txt", "--steps", "2", "--json"]
    )
    assert json.loads(capsys.readouterr().out) == {"stills": 2, "new": 0}


@pytest.mark.slow
def test_clips_start_from_the_stills(project: Path) -> None:
    with Store.open(project) as store:
        clips = {clip.id: clip for clip in store.clips("eval")}
        made = store.candidates(split="eval", system="huvidpo")
        assert len(made) == 3 and sum(clips[take.clip_id].source == "still by dpo-sdxl" for take in made) >= 1


@pytest.mark.slow
def test_what_stills_cannot_be_made_of(project: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(["prompts", "add", str(project), *arguments])
        return capsys.readouterr().err

    (folder / "holes.txt").write_text("a ball\n\na ball\n")
    assert "name a file with one prompt per line" in refused("--pipeline", "dpo-sdxl", "--prompts", "none.txt")
    assert "one prompt is empty" in refused("--pipeline", "dpo-sdxl", "--prompts", "holes.txt")
    assert "not an image pipeline" in refused("--pipeline", "clips", "--prompts", "prompts.txt")
    assert "own first frames" in refused(
        "--pipeline", "dpo-sdxl", "--prompts", "prompts.txt", "--set", "footage.kind=world"
    )


@pytest.mark.slow
def test_a_group_that_the_model_does_not_have_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", str(project), "--recipe", "sft", "--set", "train.trainable=motoin", "--set", "train.name=other"])
    told = capsys.readouterr().err
    assert (
        "train.trainable: no group of weights 'motoin'; did you mean motion? choose one of full, lora, motion" in told
    )
