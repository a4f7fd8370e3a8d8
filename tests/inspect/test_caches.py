"""Stored latents: what they depend on, and that one made otherwise is never used."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rushes.inspect.caches import explain, verify
from rushes.project.generation import encode_missing
from rushes.project.project import OpenProject, open_project
from rushes.store.latents import LatentKey, _checksum

from ..projects import Command, SmallProject, changed


@pytest.fixture
def opened(finished: Path, tmp_path: Path, small: SmallProject) -> OpenProject:
    """A copy of the finished project."""
    return open_project(Path(shutil.copytree(finished, tmp_path / "project")), small.settings)


def alter(project: OpenProject, key: str) -> None:
    """Another latent under the same key, with a checksum that fits: no reading finds it."""
    for path in project.latents.folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as shard:
            about = dict(shard.metadata())
        tensors = load_file(path)
        if key in tensors:
            tensors[key] = 1.1 * tensors[key]
            about["sha256"] = json.dumps({name: _checksum(tensor) for name, tensor in tensors.items()})
            save_file(tensors, path, about)


def test_a_sound_cache_is_found_sound(opened: OpenProject) -> None:
    facts = verify(opened, share=1.0)
    assert facts.problems == () and facts.compared == facts.entries == len(opened.latents) > 10
    assert 1 <= verify(opened, share=0.05).compared < facts.compared
    with pytest.raises(ValueError, match=r"--share must be above 0 and at most 1, got 0"):
        verify(opened, share=0.0)


@pytest.mark.parametrize("first", [True, False])
def test_an_entry_that_is_not_what_its_key_says_is_found(first: bool, opened: OpenProject) -> None:
    key = min(key for key in opened.latents if key.endswith("/first") == first)
    alter(opened, key)
    again = OpenProject(opened.store, opened.settings)
    assert again.latents.verify() == ()  # it reads well
    (problem,) = verify(again, share=1.0).problems
    assert problem.startswith(f"latent of {key!r}: has a relative error of 0.1 against what the codec now gives; ")


def test_entries_whose_media_is_gone_are_counted(opened: OpenProject) -> None:
    key = min(opened.latents)
    opened.store.media_path(key.partition("/")[0]).unlink()
    facts = verify(opened, share=1.0)
    assert facts.without_media >= 1 and facts.compared + facts.without_media == facts.entries


@pytest.mark.parametrize(
    ("table", "change"), [("footage", {"fit": "stretch"}), ("backbone", {"fps": 12.0}), ("backbone", {"frames": 9})]
)
def test_a_stale_entry_is_rebuilt_and_never_used(table: str, change: dict[str, Any], opened: OpenProject) -> None:
    clip = opened.store.clips("train")[0]
    before = explain(opened, clip.id)
    assert before.entries and set(before.entries.values()) == {"current"} and before.stale == {}
    other = changed(opened, table, **change)
    facts = explain(other, clip.id)
    assert facts.depends_on == replace(before.depends_on, **change)
    assert facts.current == 0 and facts.stale == {opened.latents.fingerprint: before.current}
    words = f"stale (from {opened.latents.fingerprint}); encoded again when it is needed"
    assert facts.entries == dict.fromkeys(before.entries, words)
    assert other.latents.get(clip.media) is None
    encode_missing(other, [LatentKey(clip.media)], [], "encode")
    assert (explain(other, clip.id).entries or {})[clip.media] == "current"
    made, old = other.latents.get(clip.media), opened.latents.get(clip.media)
    assert made is not None and old is not None
    if change != {"fit": "stretch"}:  # on square clips of the world's size all fits are one
        assert made.shape != old.shape or not torch.equal(made, old)


def test_other_weights_of_the_codec_make_all_stale(opened: OpenProject, monkeypatch: pytest.MonkeyPatch) -> None:
    here = opened.latents.fingerprint
    monkeypatch.setattr(type(opened.base), "codec_fingerprint", "of other weights")
    other = OpenProject(opened.store, opened.settings)
    assert list(explain(other).stale) == [here] and len(other.latents) == 0


def test_subjects(opened: OpenProject) -> None:
    clip, take = opened.store.clips("eval")[0], opened.store.candidates()[0]
    assert (explain(opened, take.id).entries or {})[take.media] in ("current", "missing")
    assert explain(opened, f"{clip.first_frame or clip.media}/first").entries != {}
    with pytest.raises(ValueError, match="nobody: not a clip, take or latent of this project"):
        explain(opened, "nobody")


def test_commands(opened: OpenProject, command: Command) -> None:
    folder = opened.store.project
    sound = command("verify", folder, "--again", "0.2", "--json")
    result = json.loads(sound.out.splitlines()[-1])
    assert sound.code == 0 and result["faults"] == [] and result["compared"] > 0
    told = command("cache", "explain", folder, opened.store.clips("train")[0].id)
    assert told.code == 0 and "entries are made from: codec tiny" in told.out and ": current" in told.out
    alter(opened, min(opened.latents))
    broken = command("verify", folder, "--all")
    assert broken.code == 1 and "against what the codec now gives" in broken.out


def test_released_latents_are_told_apart(real_data: Path, command: Command) -> None:
    """RealDPO's released losers were encoded without normalising their pixels."""
    told = command("cache", "check-folder", real_data / "realaction" / "train" / "latents", "--json")
    facts = json.loads(told.out.splitlines()[-1])
    assert told.code == 1 and facts["losers"] > 0 and len(facts["problems"]) == facts["losers"]
    assert "correlate at" in facts["problems"][0]
