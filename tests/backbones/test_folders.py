from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rushes.backbones.folders import Folder, _from_hub
from rushes.backbones.inflated_sd import InflatedSD
from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.stills import StillMaker

from .. import tiny_sd
from .test_pipelines import Models, condition_for
from .tiny_pipelines import BACKBONE


@pytest.fixture
def copy(tmp_path: Path, tiny_folder: Callable[[str], Path]) -> Path:
    """A whole Wan model, to be damaged."""
    return Path(shutil.copytree(tiny_folder("wan"), tmp_path / "model"))


def refused(path: Path | str, name: str = "wan") -> str:
    with pytest.raises(ValueError) as caught:
        load_backbone(name, str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    assert refused("").startswith(
        "backbone.path is empty and 'wan' ships no weights; name a folder in diffusers' layout"
    )
    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'}: no such folder")


def test_a_folder_that_is_no_pipeline(tmp_path: Path, copy: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "not a model in diffusers' layout, as it has no model_index.json" in refused(tmp_path / "empty")
    (copy / "model_index.json").write_text("[")
    assert "not the index of a model" in refused(copy)
    (copy / "model_index.json").write_text("[1]")
    assert "not the index of a model" in refused(copy)
    (copy / "model_index.json").write_text("{}")
    assert "not the index of a model ('_class_name')" in refused(copy)


def test_a_model_of_another_family(tiny_folder: Callable[[str], Path]) -> None:
    message = refused(tiny_folder("ltx"))
    assert "holds a LTXPipeline, but backbone 'wan' reads WanPipeline, WanImageToVideoPipeline" in message
    assert "set backbone.name to the family of that model" in message


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_part_that_is_missing(part: str, copy: Path) -> None:
    shutil.rmtree(copy / part)
    assert f"{copy / part}: missing, though model_index.json names it; download the model again" in refused(copy)


@pytest.mark.parametrize("part", ["transformer", "vae", "scheduler"])
@pytest.mark.parametrize("entry", [None, ["diffusers"]])
def test_a_part_that_the_index_does_not_name(part: str, entry: list[str] | None, copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, part: entry}))
    assert f"{copy / 'model_index.json'}: names no {part}, so the model is incomplete; download" in refused(copy)


def test_weights_that_are_missing(copy: Path) -> None:
    (weights,) = (copy / "vae").glob("*.safetensors")
    weights.rename(copy / "vae" / "weights.bin")
    assert f"{copy / 'vae'}: has no weights in safetensors, the only format" in refused(copy)


def test_weights_that_are_torn(copy: Path) -> None:
    (weights,) = (copy / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    assert f"{weights}: incomplete (" in refused(copy)


def test_a_download_that_stopped_half_way(copy: Path) -> None:
    (weights,) = (copy / "transformer").glob("*.safetensors")
    weights.rename(copy / "transformer" / "part-1.safetensors")
    shards = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors", "c": "part-3.safetensors"}}
    (copy / "transformer" / "weights.safetensors.index.json").write_text(json.dumps(shards))
    message = refused(copy)
    assert "incomplete, 2 of its 3 files are missing, the first is part-2.safetensors" in message


def test_a_download_that_stopped_before_its_index(copy: Path) -> None:
    (weights,) = (copy / "text_encoder").glob("*.safetensors")
    weights.rename(copy / "text_encoder" / "model-00002-of-00003.safetensors")
    message = refused(copy)
    assert f"{copy / 'text_encoder'}: incomplete, 3 of its 4 files are missing, the first is model-00001-of-" in message
    (copy / "text_encoder" / "model.safetensors.index.json").write_text('{"weight')
    assert "model.safetensors.index.json: not the index of weights (" in refused(copy)


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder"])
def test_a_part_that_is_empty(part: str, copy: Path) -> None:
    for file in (copy / part).iterdir():
        file.unlink()
    assert f"{copy / part}: empty, though model_index.json names it; download the model again" in refused(copy)


@pytest.mark.parametrize("part", ["text_encoder", "transformer"])
def test_a_configuration_of_any_part(part: str, copy: Path) -> None:
    config = copy / part / "config.json"
    config.write_text(config.read_text()[:-10])
    assert f"{config}: not JSON (" in refused(copy)
    config.unlink()
    assert f"{copy / part}: has no config.json, so the model is incomplete; download" in refused(copy)


def test_a_class_that_is_not_installed(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    index["transformer"] = ["diffusers", "WanTransformer9DModel"]
    (copy / "model_index.json").write_text(json.dumps(index))
    message = refused(copy)
    assert "transformer is a diffusers.WanTransformer9DModel, which the installed version" in message


def test_a_configuration_that_is_missing_or_torn(copy: Path) -> None:
    config = copy / "vae" / "config.json"
    whole = config.read_text()
    config.write_text(whole[:-10])
    assert f"{config}: not JSON (" in refused(copy)
    config.unlink()
    assert f"{copy / 'vae'}: has no config.json, so the model is incomplete" in refused(copy)


def test_a_schedule_that_we_cannot_follow(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    (copy / "model_index.json").write_text(json.dumps(index))
    assert "DDIMScheduler is not a known schedule of a flow model; put a scheduler_config.json of" in refused(copy)


def test_a_name_on_the_hub_without_a_network() -> None:
    message = refused("hub:nobody/nothing-of-the-sort")
    assert "hub:nobody/nothing-of-the-sort is not on this machine and cannot be fetched" in message
    assert "`hf download nobody/nothing-of-the-sort --local-dir FOLDER --include model_index.json '*/*'`" in message


def in_variant(folder: Path, name: str = "fp16") -> None:
    """All weights of a folder under the names of a variant."""
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_name(path.name.replace(".safetensors", f".{name}.safetensors")))


@pytest.mark.parametrize("name", ["wan_i2v", "hunyuan_i2v"])
def test_weights_in_a_variant_alone(
    name: str, tiny_folder: Callable[[str], Path], tiny_model: Models, tmp_path: Path
) -> None:
    """Of network, codec and all that reads; what is saved from there is loaded again."""
    folder = Path(shutil.copytree(tiny_folder(name), tmp_path / "model"))
    in_variant(folder)
    model, plain = load_backbone(BACKBONE[name], str(folder)), tiny_model(name)
    assert isinstance(model, DiffusersBackbone) and model.fingerprint == plain.fingerprint
    ours, theirs = (condition_for(each, "first_frame") for each in (model, plain))
    assert torch.equal(ours.text, theirs.text) and ours.more.keys() == theirs.more.keys()
    model.save(tmp_path / "saved")
    assert load_backbone(BACKBONE[name], str(tmp_path / "saved")).fingerprint == plain.fingerprint


def test_an_image_model_in_a_variant_alone(tmp_path: Path) -> None:
    folder = tiny_sd.write(tmp_path / "model")
    before = load_backbone("inflated_sd", str(folder)).condition(["a ball"]).text
    still = StillMaker(folder).make("a ball", 32, 32, steps=1, guidance=1.0, seed=0)
    in_variant(folder)
    model = load_backbone("inflated_sd", str(folder))
    assert isinstance(model, InflatedSD) and torch.equal(model.condition(["a ball"]).text, before)
    assert (StillMaker(folder).make("a ball", 32, 32, steps=1, guidance=1.0, seed=0) == still).all()


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        ((), None),
        (("model.safetensors",), None),
        (("model.safetensors", "model.fp16.safetensors"), None),
        (("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"), None),
        (("model.bf16.safetensors", "model.fp16.safetensors"), "fp16"),
        (("diffusion_pytorch_model.fp16-00001-of-00002.safetensors",), "fp16"),
        (("model-00001-of-00002.fp16.safetensors",), "fp16"),
    ],
)
def test_the_variant_of_weights(names: tuple[str, ...], variant: str | None, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / "part").mkdir(exist_ok=True)
        (tmp_path / "part" / name).touch()
    assert Folder(tmp_path, {}).variant("part") == variant


def test_a_variant_that_stopped_half_way(copy: Path) -> None:
    (weights,) = (copy / "transformer").glob("*.safetensors")
    weights.rename(copy / "transformer" / "diffusion_pytorch_model.fp16-00001-of-00002.safetensors")
    message = refused(copy)
    assert "incomplete, 2 of its 3 files are missing" in message
    assert "diffusion_pytorch_model.fp16-00002-of-00002.safetensors" in message


class Fetched(Exception):
    """What would have been asked of the hub."""


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_single_files_beside_the_folders_are_not_fetched(
    variant: str | None, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the repository of LTX-Video, which has many of them; and weights that are there in a variant alone are."""
    from diffusers.pipelines import pipeline_utils
    from huggingface_hub import HfApi

    folder = tiny_folder("ltx")
    named = f".{variant}.safetensors" if variant else ".safetensors"
    inside = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    files = [*(name.replace(".safetensors", named) for name in inside), "ltxv-13b-0.9.7-dev.safetensors"]
    asked: dict[str, Any] = {}

    def snapshot(name: str, **more: Any) -> str:
        asked.update(more)
        raise Fetched

    monkeypatch.setattr(HfApi, "list_repo_files", lambda self, name, revision: files)
    listed = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in files])
    monkeypatch.setattr(pipeline_utils, "model_info", lambda *_, **__: listed)
    monkeypatch.setattr(pipeline_utils, "hf_hub_download", lambda *_, **__: str(folder / "model_index.json"))
    monkeypatch.setattr(pipeline_utils, "snapshot_download", snapshot)
    # What is asked for is not in the cache.
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    with pytest.raises(ValueError, match="cannot be fetched"):
        _from_hub("someone/ltx")
    wanted = {
        name
        for name in files
        if any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])
        and not any(fnmatch(name, pattern) for pattern in asked["ignore_patterns"])
    }
    assert {f"transformer/diffusion_pytorch_model{named}", f"text_encoder/model{named}"} <= wanted
    assert "ltxv-13b-0.9.7-dev.safetensors" not in wanted
