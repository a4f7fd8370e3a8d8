"""The programs of examples/, at sizes that two cores take."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from runpy import run_path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import rushes

from .backbones.tiny_pipelines import write as write_pipeline

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = ["--frames", "5", "--height", "32", "--width", "48", "--rank", "4", "--lr", "1e-2"]


@pytest.fixture
def main() -> Any:
    return run_path(str(EXAMPLES / "own_loop.py"))["main"]


def test_a_plain_loop_learns_a_pair_and_writes_an_adapter(main: Any, tmp_path: Path) -> None:
    """The loss starts at ln 2 and falls; diffusers loads the adapter, and it acts."""
    from diffusers import WanPipeline

    weights = write_pipeline("wan", tmp_path / "wan")
    rng = np.random.default_rng(0)
    for kind in ("win", "lose"):
        frames = rng.integers(0, 255, (1, 32, 48, 3), np.uint8).repeat(6, 0)
        rushes.write_video(tmp_path / f"a.{kind}.mp4", frames, 16.0)
    (tmp_path / "a.txt").write_text("a red ball falls")
    losses = main(
        [str(weights), str(tmp_path), "--out", str(tmp_path / "out"), "--steps", "6", "--beta", "200", *SMALL]
    )
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[-1] < 0.6 and len(losses) == 6
    pipeline = WanPipeline.from_pretrained(weights, local_files_only=True)
    asked = (torch.ones(1, 4, 3, 4, 6), torch.tensor([700.0]), torch.ones(1, 5, 16))
    with torch.no_grad():
        before = pipeline.transformer(*asked, return_dict=False)[0]
        pipeline.load_lora_weights(tmp_path / "out")
        assert not torch.equal(pipeline.transformer(*asked, return_dict=False)[0], before)


def test_a_folder_without_pairs_is_refused(main: Any, tmp_path: Path) -> None:
    weights = write_pipeline("wan", tmp_path / "wan")
    with pytest.raises(SystemExit, match=r"has no pair; put NAME\.win\.mp4"):
        main([str(weights), str(tmp_path), "--out", str(tmp_path / "out")])


@pytest.mark.whole
def test_real_clips_of_four_shapes_go_from_files_to_a_report(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each take has the shape of its clip, and the report plays portrait clips as such."""
    (tmp_path / "clips").mkdir()
    videos = [path for name in ("media", "realaction/train") for path in (real_data / name).rglob("*.*")]
    for at, path in enumerate(sorted(path for path in videos if path.suffix in (".mp4", ".mkv", ".mov"))):
        (tmp_path / "clips" / f"{at:03d}{path.suffix}").symlink_to(path)
    more = ("footage.eval_fraction=0.5", "evaluate.prompts=16", "report.cases=16")
    sets = [part for each in more for part in ("--set", each)]
    monkeypatch.setattr("sys.argv", ["mixed_sizes.py", str(tmp_path / "clips"), str(tmp_path / "out"), *sets])
    run_path(str(EXAMPLES / "mixed_sizes.py"))["main"]()
    result = json.loads((tmp_path / "out" / "project" / "reports" / "realdpo.json").read_text())
    assert len(result["shapes"]) >= 3
    page = (tmp_path / "out" / "project" / "reports" / "realdpo.html").read_text()
    sizes = {(int(w), int(h)) for w, h in re.findall(r'<video[^>]*width="(\d+)" height="(\d+)"', page)}
    assert any(height > width for width, height in sizes) and any(height < width for width, height in sizes)


# --- the notebook ----------------------------------------------------------------------------------------------------


def cells(kind: str) -> list[dict[str, Any]]:
    notebook = json.loads((EXAMPLES / "plot_run.ipynb").read_text())
    assert notebook["nbformat"] == 4
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_the_notebook_was_run_from_top_to_bottom() -> None:
    code = cells("code")
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    kinds = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert kinds.count("execute_result") == 2 and kinds.count("stream") == 2 and "error" not in kinds
    for text in cells("markdown"):
        links = re.findall(r"\]\(([^)]+)\)", "".join(text["source"]))
        assert all((EXAMPLES / link).exists() for link in links)


def test_the_notebook_plots_any_run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(finished, tmp_path / "my-project")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    plots = []
    for cell in cells("code"):
        source = "".join(cell["source"])
        exec(compile(source, "cell", "exec"), names)
        if any(output["output_type"] == "execute_result" for output in cell["outputs"]):
            plots.append(eval(source, names)._repr_svg_())
    lines = [ElementTree.fromstring(plot).findall("{*}polyline") for plot in plots]
    assert [len(each) for each in lines] == [2, 2]
    assert all(len(line.attrib["points"].split()) >= 2 for each in lines for line in each)
