"""Every released model at its released size through every stage, on a GPU that is not there (see `fake_gpu`).

The ordinary suite takes one model through what is dearest; `scripts/test --all` takes all. Where there is a GPU, the
smallest does a step on it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.backbones.base import LoadOptions
from rushes.backbones.released import released_names

from . import released_run

PROGRAM = Path(released_run.__file__)
SMALLEST = [
    "wan2.1-t2v-1.3b",
    "wan2.2-ti2v-5b",
    "skyreels-v2-df-1.3b-540p",
    "cogvideox-2b",
    "ltx-video-0.9",
    "ltx-2",
    "hunyuanvideo-i2v",
    "hunyuanvideo-1.5-480p-i2v",
    "animatediff-sd1.5",
    "stable-diffusion-1.5",
]
STAGES = ("text", "codec", "sample")
EACH = ("lora/supervised", "lora/pair", "full/supervised")
MORE = ("lora/takes", "lora/segments", "lora/levels", "full/pair", "full/takes", "full/segments", "full/levels")
# Weights that no loss reaches: what the last block makes of the text is thrown away, and LTX-2's sound is switched off.
TEXT = ("to_add_out", "ff_context", "norm1_context", "norm2_context", "add_q_proj", "norm_added_q")
IDLE = (*TEXT, "audio", "a2v", "v2a", "av_cross")


def went_through(model: str, *jobs: str) -> dict[str, Any]:
    """What each job cost, from a process of its own; what went wrong there fails the test."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), model, *jobs], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["jobs"]
    return found


def test_every_model_has_a_size() -> None:
    assert list(released_run.SIZES) == released_names()


@pytest.mark.slow
def test_a_step_of_wan_at_released_size() -> None:
    """283 TFLOP a forward, hence about 1,150 a step with an adapter: forward, again, and gradients by inputs alone."""
    told = went_through("wan2.1-t2v-1.3b", "stray", "text", "lora/supervised")
    assert told["stray"]["refused"] == "FakeTensorDeviceMismatchError"
    assert told["text"]["tokens"] == [1, 512, 4096]
    step = told["lora/supervised"]
    assert step["tflop"] == pytest.approx(1150, rel=0.03)
    assert 8.9 < step["peak_gib"] < 14 and step["idle"] == []


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("model", released_names())
def test_all_of_a_model_at_released_size(model: str) -> None:
    told = went_through(model, *STAGES, *EACH, *(MORE if model in SMALLEST else ()))
    print(json.dumps({model: told}))
    for job, facts in told.items():
        assert facts["tflop"] > 0 or job == "text", job
        assert not [name for name in facts.get("idle", ()) if not any(part in name for part in IDLE)], job


@pytest.mark.slow
@pytest.mark.cuda
def test_a_step_of_wan_on_a_gpu(cuda: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest model with random weights of released size: a pair's step, and memory as the fake GPU has it."""
    name, size = "wan2.1-t2v-1.3b", (480, 832, 17)
    backbone = released_run.opened(name, LoadOptions(), cuda)
    rows = {released_run.CAPTION: {"text": (torch.randn(512, 4096, dtype=torch.bfloat16), 512)}}
    monkeypatch.setitem(released_run.ROWS, name, rows)
    run = released_run.Run(name, backbone, size)
    torch.cuda.reset_peak_memory_stats()
    facts = run.train("lora", "pair")
    assert facts["idle"] == []
    assert facts["loss"] == pytest.approx(math.log(2), abs=1e-3), "policy and reference are one"
    assert 2.6 < torch.cuda.max_memory_allocated() / 2**30 < 14
