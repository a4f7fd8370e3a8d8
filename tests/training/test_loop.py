from __future__ import annotations

import json
import os
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.backbones.adapters import add_lora
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import TrainSettings
from rushes.training import checkpoint
from rushes.training.comparison import Comparison
from rushes.training.history import CURVES, read_history
from rushes.training.loop import TrainingData, learning_rate, split, train

from ..forked import SCRIPT, start_into
from ..projects import CLOCKS
from .conftest import DataIn, Small

RUN = {
    "lr_scheduler": "constant",
    "batch": 2,
    "learning_rate": 1e-3,
    "checkpoint_every": 5,
    "warmup_steps": 4,
    "reference": "ema",
    "reference_ema": 0.9,
}


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**{**RUN, **changes})


def run(backbone: TinyBackbone, data: TrainingData, folder: Path, **changes: Any) -> int:
    return train(backbone, data, settings(**changes), folder, seed=0, identity="a run")


def weights(backbone: TinyBackbone) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in backbone.network.named_parameters()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCKS} for line in lines]


def undiagnosed(folder: Path) -> list[dict[str, float]]:
    """A diagnosis knows how long the run is to be, and a part of one is to be shorter."""
    return [{k: v for k, v in row.items() if k != "diagnoses"} for row in rows(folder)]


@pytest.mark.parametrize("reference", ["frozen", "ema", "hard"])
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_ten_steps_and_ten_more_are_twenty(
    tune: str, reference: str, tmp_path: Path, small: Small, data_in: DataIn
) -> None:
    def fresh() -> TinyBackbone:
        backbone = small()
        if tune == "lora":
            torch.manual_seed(0)
            add_lora(backbone.network, backbone.spec.lora_targets, rank=2, alpha=2)
        return backbone

    data = data_in(tmp_path, held_out=2)
    whole, first, second = fresh(), fresh(), fresh()
    changes = {"reference": reference, "reference_sync_steps": 3}
    assert run(whole, data, tmp_path / "whole", steps=20, **changes) == 20
    assert run(first, data, tmp_path / "parts", steps=10, **changes) == 10
    assert run(second, data, tmp_path / "parts", steps=20, **changes) == 10
    assert equal(weights(whole), weights(second)) and not equal(weights(whole), weights(first))
    assert undiagnosed(tmp_path / "whole") == undiagnosed(tmp_path / "parts")
    ends = [checkpoint.latest(tmp_path / name / "checkpoints") for name in ("whole", "parts")]
    assert ends[0] is not None and ends[1] is not None and equal(dict(ends[0].tensors), dict(ends[1].tensors))


def test_a_finished_run_takes_no_more_steps(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data, backbone = data_in(tmp_path), small()
    run(backbone, data, tmp_path, steps=6)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = small()
    assert run(again, data, tmp_path, steps=6) == 0
    assert equal(weights(backbone), weights(again))
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_rows_say_what_happened(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    run(small(), data_in(tmp_path, held_out=2), tmp_path, steps=7, reference="frozen")
    found = rows(tmp_path)
    assert [row["step"] for row in found] == list(range(8))
    assert [row["step"] for row in found if "held_out/clip/accuracy" in row] == [0, 5, 7]
    # at the start policy and reference are one, to the last bit
    start = found[0]
    assert start["held_out/clip/margin"] == start["held_out/clip/spread"] == 0.0
    assert start["held_out/clip/accuracy"] == start["held_out/clip/gradient"] == 0.5
    assert found[1]["loss"] == pytest.approx(0.6931472, abs=1e-7) and found[1]["gradient_norm"] > 0
    assert found[1]["clip/winner_relative_error"] == found[1]["clip/loser_relative_error"] == 0.0
    assert all(row["seconds"] > 0 and 0.01 < row["memory_gib"] < 100 for row in read_history(tmp_path / CURVES)[1:])


def test_training_lowers_the_loss(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    run(small(), data_in(tmp_path), tmp_path, steps=40, reference="frozen", learning_rate=3e-3)
    found = rows(tmp_path)
    assert sum(row["loss"] for row in found[-6:]) / 6 < 0.5
    assert found[-1]["clip/accuracy"] == 1.0


@pytest.mark.parametrize("mode", ["stash", "two_pass"])
def test_other_ways_to_the_gradient_train_alike(mode: str, tmp_path: Path, small: Small, data_in: DataIn) -> None:
    one, other = small(), small()
    data = data_in(tmp_path)
    run(one, data, tmp_path / "joint", steps=4, gradients="joint")
    run(other, data, tmp_path / mode, steps=4, gradients=mode)
    found = rows(tmp_path / mode)
    for row, same in zip(rows(tmp_path / "joint")[1:], found[1:], strict=True):
        assert row == pytest.approx(same, rel=1e-4, abs=1e-5)
    assert found[0]["gradients"] == mode
    # the reference goes the same way as the policy, else rounding alone would make a margin
    assert found[1]["clip/margin"] == found[1]["clip/spread"] == 0.0


@pytest.mark.parametrize(("warmup", "share"), [(4, 0.25), (1, 1.0), (0, 1.0)])
def test_the_rate_rises_from_its_first_share(
    warmup: int, share: float, tmp_path: Path, small: Small, data_in: DataIn
) -> None:
    """AdamW's first step moves a weight by the rate, whatever its gradient."""
    backbone = small()
    before = weights(backbone)
    run(backbone, data_in(tmp_path), tmp_path, steps=1, warmup_steps=warmup, learning_rate=1e-2)
    moved = torch.cat([(p.detach() - before[name]).abs().flatten() for name, p in backbone.network.named_parameters()])
    assert float(moved.max()) == pytest.approx(1e-2 * share, rel=1e-3)


def test_the_rate_rises_then_falls_to_zero_unless_told_to_stay() -> None:
    falling = settings(steps=10, warmup_steps=2, learning_rate=1.0, lr_scheduler="linear")
    rates = [learning_rate(falling, step) for step in range(10)]
    assert rates == [0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    assert learning_rate(settings(steps=10, warmup_steps=2, learning_rate=1.0), 9) == 1.0


def test_the_rate_stays_once_it_has_risen(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    """With no warm-up at all, the steps after it are the same."""
    one, other = small(), small()
    data = data_in(tmp_path)
    run(one, data, tmp_path / "one", steps=6, warmup_steps=0)
    run(other, data, tmp_path / "other", steps=6, warmup_steps=1)
    assert equal(weights(one), weights(other))


def test_held_out_figures_do_not_depend_on_the_batch(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    """Eight draws in batches of 8, 3 (the last one short) or 1: one mean, one spread."""
    data = data_in(tmp_path, held_out=2)
    run(small(), data, tmp_path / "run", steps=5, learning_rate=1e-2, reference="frozen")
    seen = []
    for batch in (8, 3, 1):
        shutil.copytree(tmp_path / "run", tmp_path / str(batch))
        # one step more, at a rate that moves nothing
        assert (
            run(small(), data, tmp_path / str(batch), steps=6, batch=batch, learning_rate=1e-12, reference="frozen")
            == 1
        )
        seen.append({k: v for k, v in rows(tmp_path / str(batch))[-1].items() if k.startswith("held_out/")})
    assert seen[0]["held_out/clip/spread"] > 0.01
    for other in seen[1:]:
        assert other == pytest.approx(seen[0], rel=1e-4)


def test_a_gradient_that_is_not_finite_is_refused(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    backbone, data = small(), data_in(tmp_path)
    with torch.no_grad():
        backbone.network.get_parameter("leave.bias")[0] = float("inf")
    before = weights(backbone)
    with pytest.raises(
        ValueError, match=r"step 1: the gradient is NaN or infinite; lower train\.learning_rate, or look for broken"
    ):
        run(backbone, data, tmp_path, steps=3)
    assert equal(before, weights(backbone))
    assert checkpoint.latest(tmp_path / "checkpoints") is None


def test_a_run_with_other_settings_is_refused(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data = data_in(tmp_path)
    run(small(), data, tmp_path / "run", steps=2)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    with pytest.raises(ValueError, match=r"holds a run with other settings or data; .*--set train\.name=NEW"):
        train(small(), data, settings(steps=2), tmp_path / "run", seed=0, identity="another run")
    assert before == sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))


@pytest.mark.parametrize("before", [False, True])
def test_the_switch_for_deterministic_algorithms_is_put_back(
    before: bool, tmp_path: Path, small: Small, data_in: DataIn
) -> None:
    torch.use_deterministic_algorithms(before)
    seen = []
    data, chosen = data_in(tmp_path), settings(steps=2, deterministic=not before)

    def look(step: int, row: object) -> None:
        seen.append(torch.are_deterministic_algorithms_enabled())

    train(small(), data, chosen, tmp_path / "run", seed=0, identity="a run", progress=look)
    assert seen == [not before] * 2 and torch.are_deterministic_algorithms_enabled() == before
    with pytest.raises(ValueError, match="other settings"):
        train(small(), data, chosen, tmp_path / "run", seed=0, identity="another")
    assert torch.are_deterministic_algorithms_enabled() == before


def test_nothing_to_train_on(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data = data_in(tmp_path)
    with pytest.raises(ValueError, match=r"no comparisons to train on; lower train\.held_out"):
        run(small(), TrainingData([], [], data.latents, data.times), tmp_path, steps=1)


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data = data_in(tmp_path)
    whole, torn = small(), small()
    run(whole, data, tmp_path / "run", steps=10)
    newest = tmp_path / "run" / "checkpoints" / "step-00000010.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert run(torn, data, tmp_path / "run", steps=10) == 5
    assert equal(weights(whole), weights(torn))
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(11))


def comparisons(*groups: str) -> list[Comparison]:
    return [Comparison(f"{i}", group, (), ()) for i, group in enumerate(groups)]


@pytest.mark.parametrize("held_out", [0, 1, 2, 3, 5, 100])
@pytest.mark.parametrize("seed", range(5))
def test_held_out_comparisons_share_no_prompt_with_the_rest(held_out: int, seed: int) -> None:
    draw = random.Random(seed)
    every = comparisons(*(draw.choice("abcdefghij") for _ in range(24)))
    kept, aside = split(every, held_out)
    assert sorted(c.id for c in kept + aside) == sorted(c.id for c in every)
    assert not {c.group for c in kept} & {c.group for c in aside}
    assert len(aside) <= 6 and kept
    if not held_out:
        assert not aside


def test_one_prompt_is_never_held_out_whole() -> None:
    every = comparisons(*"aaaaaaaa")
    assert split(every, 32) == (every, [])


def test_the_last_prompts_that_fit_are_held_out() -> None:
    every = comparisons(*"abbbcddddddd")  # 12: at most 3 aside, so d stays
    kept, aside = split(every, 32)
    assert "".join(c.group for c in aside) == "ac" and len(kept) == 10
    assert [c.group for c in split(comparisons(*"abcdefgh"), 2)[1]] == ["g", "h"]


def killed(folder: Path, at_step: int | None, delay_s: float, steps: int) -> bool:
    """Run until step `at_step` and `delay_s` more, then kill; whether it was killed before its end."""
    script, lines = Path(__file__).with_name("killed_run.py"), folder / "lines"
    lines.unlink(missing_ok=True)
    os.mkfifo(lines)
    process = start_into(lines, Path(os.devnull), SCRIPT, arguments=[str(script), str(folder), str(steps)])
    with lines.open() as printed:
        for line in printed:
            if at_step is not None and int(line) >= at_step:
                process.join(delay_s)
                process.kill()
                break
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.slow
def test_killed_at_any_point_a_run_ends_the_same(tmp_path: Path) -> None:
    """At least twenty kills with SIGKILL, at random steps and moments, on one run: also while it writes."""
    steps, draw = 60, random.Random(7)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert not killed(tmp_path / "whole", None, 0.0, steps)
    kills = 0
    for attempt in range(60):  # a machine may be so quick that some kill comes too late
        if kills == 20:
            break
        found = checkpoint.latest(tmp_path / "killed" / "checkpoints")
        done = found.step if found else 0
        assert done < steps, f"finished after {kills} kills in {attempt} starts"
        kills += killed(tmp_path / "killed", done + draw.randint(1, 4), draw.uniform(0.0, 0.03), steps)
    assert kills == 20
    assert not killed(tmp_path / "killed", None, 0.0, steps)
    ends = [checkpoint.latest(tmp_path / name / "checkpoints") for name in ("whole", "killed")]
    assert ends[0] is not None and ends[1] is not None and ends[0].step == ends[1].step == steps
    assert equal(dict(ends[0].tensors), dict(ends[1].tensors)) and ends[0].facts == ends[1].facts
    assert {name.partition("/")[0] for name in ends[0].tensors} == {"policy", "reference", "optimiser"}
    assert ends[0].facts["beta_scale"] != 1.0
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")


def test_pieces_of_one_film_are_never_on_both_sides() -> None:
    every = [replace(c, film=c.group[0]) for c in comparisons("a1", "b1", "c1", "d1", "a2", "b2", "c2", "d2")]
    kept, aside = split(every, 1)
    assert [c.group for c in aside] == ["d1", "d2"] and len(kept) == 6
