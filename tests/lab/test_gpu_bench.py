"""The figures of a GPU, at sizes of seconds on a processor: that every entry runs, goes on and says what it skips."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
# Imports of what is not installed where there is only what the script says that it needs.
BLOCKED = """
import runpy, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pydantic", "cyclopts", "av", "bitsandbytes", "fastapi", "pyarrow"):
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
import importlib.util
real = importlib.util.find_spec
gone = ("pydantic", "cyclopts", "av", "bitsandbytes")
importlib.util.find_spec = lambda name, *rest: None if name in gone else real(name, *rest)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *before, str(SCRIPT), "--device", "cpu", "--tiny", "--rounds", "1", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def figures(folder: Path, entry: str) -> dict[str, object]:
    row: dict[str, object] = json.loads((folder / f"gpu-{entry}.json").read_text())["figures"]
    return row


@pytest.mark.whole
def test_correctness_and_blocks_without_what_rushes_needs_beside(tmp_path: Path) -> None:
    ran = run("--out", tmp_path, "correct", "blocks", "bits", before=("-c", BLOCKED))
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
    assert "bits: skipped, bitsandbytes is not installed" in ran.stdout
    row = figures(tmp_path, "correct")
    assert row["gradient_error"] == row["take_error"] == 0.0 and row["checkpoint_equal"] is True
    assert str(row["run"]).startswith("skipped: pydantic, cyclopts, av")
    large = figures(tmp_path, "blocks")["wan-14b"]
    assert isinstance(large, dict)
    two, four, line = (large[name]["sft_s"] for name in ("two_blocks", "four_blocks", "extrapolated_by_depth"))
    assert line == pytest.approx(two + (four - two) / 2 * 38, abs=2e-3)
    again = run("--out", tmp_path, "correct")
    assert "correct: there already" in again.stdout


@pytest.mark.whole
def test_every_entry_runs(tmp_path: Path) -> None:
    ran = run("--full", "--out", tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
    assert figures(tmp_path, "correct")["run"] == "passed"
    compiled = figures(tmp_path, "compile")["compile_s"]
    assert isinstance(compiled, float) and compiled > 0
    there, streamed = (figures(tmp_path, "offload")[name] for name in ("on_device", "block_by_block"))
    assert isinstance(there, dict) and isinstance(streamed, dict)
    assert there["gradients"] == streamed["gradients"] and streamed["pair_cached_s"] > 0


def test_figures_of_small_sizes_do_not_go_beside_those_of_a_gpu() -> None:
    """The script gets so far without what Rushes needs beside what it says that it needs."""
    ran = run(before=("-c", BLOCKED))
    assert ran.returncode == 2 and "--tiny needs --out" in ran.stderr


def test_shares_are_of_the_card_that_measured() -> None:
    bench = runpy.run_path(str(SCRIPT))
    peaks = {
        "NVIDIA H100 80GB HBM3": 989.0, "NVIDIA H100 PCIe": 0.0, "NVIDIA A100-SXM4-40GB": 312.0, "x86_64": 0.0,
        "NVIDIA GeForce RTX 4090": 165.0, "NVIDIA GeForce RTX 4090 D": 0.0, "NVIDIA GeForce RTX 4060 Ti": 44.0,
        "NVIDIA GeForce RTX 4070 Ti": 0.0, "NVIDIA GeForce RTX 4080 SUPER": 0.0, "NVIDIA L40S": 362.0,
    }  # fmt: skip
    assert {card: bench["peak_of"](card) for card in peaks} == peaks
    table = {"sft_tflops_per_s": 445.0, "dtype": "bfloat16"}
    shares = bench["with_shares"]({"wan-14b": {"two_blocks": table, "line": table | {"dtype": "float32"}}}, 989.0)
    assert shares["wan-14b"]["two_blocks"]["sft_share_of_peak"] == 0.45
    assert "sft_share_of_peak" not in shares["wan-14b"]["line"]


def test_rates_at_full_depth_follow_from_operations_and_seconds() -> None:
    """Two blocks: 2 + 2 * 1 s and 100 + 2 * 50 TFLOP; at forty 42 s and 2,100 TFLOP, which is 50 a second."""
    depths = {
        blocks: {"sft_s": 2.0 + blocks, "sft_tflops_per_s": (100.0 + 50 * blocks) / (2 + blocks), "dtype": "bfloat16"}
        for blocks in (2, 4)
    }
    at_forty = runpy.run_path(str(SCRIPT))["by_depth"](depths[2], depths[4], 40)
    assert at_forty == {"sft_s": 42.0, "sft_tflops_per_s": 50.0, "dtype": "bfloat16"}


def test_attention_without_a_backward_pass_is_not_timed_and_errors_without_words_are_named() -> None:
    bench = runpy.run_path(str(SCRIPT))
    entry = bench["attention"]
    tried: list[str] = []

    def use(network: object, name: str) -> None:
        tried.append(name)
        if name == "flash":
            raise AssertionError

    names = ["flash", "sage", "_sage_qk_int8_pv_fp8_cuda"]
    entry.__globals__.update(attention_names=lambda: names, use_attention=use)
    row = entry(bench["Bench"](torch.device("cpu"), True, 1))
    assert row == {"flash": "skipped: AssertionError"} and tried == ["flash", "native"]


def test_the_whole_run_is_of_this_source_on_the_device_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, seen = runpy.run_path(str(SCRIPT)), []

    def ran(*_: object, env: dict[str, str], **more: object) -> subprocess.CompletedProcess[str]:
        seen.append((env["PYTHONPATH"].split(os.pathsep)[0], env["RUSHES_DEVICE"]))
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", ran)
    assert bench["_whole_run"](torch.device("cuda:1"))["run"] == "passed"
    assert seen == [(str(SCRIPT.parents[1] / "src"), "cuda:1")] * 2
