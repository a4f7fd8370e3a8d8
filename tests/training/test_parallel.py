"""Two processes, told of each other as torchrun tells them, against one. `tests/pipeline/test_jobs.py` has torchrun."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import Train
from rushes.training import checkpoint
from rushes.training.loop import Data, train
from rushes.training.parallel import Ranks, joined, others_wait

from .. import forked
from ..forked import run_ranks

SCRIPT = Path(__file__).with_name("ranks_run.py")
STEPS = 6


def run(
    folder: Path, processes: int, parallel: str = "replicate", gradients: str = "joint", steps: int = STEPS
) -> Path:
    folder.mkdir(exist_ok=True)
    arguments = [str(SCRIPT), str(folder), str(steps), parallel, gradients]
    run_ranks(processes, folder, forked.SCRIPT, arguments=arguments)
    return folder


def rows(folder: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if isinstance(v, float) and k != "seconds"} for row in found]


def same(one: Path, other: Path) -> None:
    for row, its in zip(rows(one), rows(other), strict=True):
        assert its == pytest.approx(row, rel=2e-4, abs=2e-5)
    averages = [load_file(folder / "weights.safetensors") for folder in (one, other)]
    for name, value in averages[0].items():
        torch.testing.assert_close(averages[1][name], value, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("alone") / "run", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parallel", "gradients", "taken"),
    [("replicate", "stash", "stash"), ("shard", "joint", "joint"), ("shard", "stash", "rows")],
)
def test_two_processes_train_as_one_does(
    parallel: str, gradients: str, taken: str, alone: Path, tmp_path: Path
) -> None:
    """Comparisons are unequal in views, ties and scored frames, and a batch of five does not divide by two."""
    two = run(tmp_path / "two", 2, parallel, gradients)
    same(alone, two)
    first = json.loads((two / "metrics.jsonl").read_text().splitlines()[0])
    assert (first["gradients"], first["processes"]) == (taken, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [((2, "shard"), (1, "shard")), ((1, "replicate"), (2, "shard"))])
def test_a_run_goes_on_with_another_number_of_processes(
    before: tuple[int, str], after: tuple[int, str], alone: Path, tmp_path: Path
) -> None:
    run(tmp_path / "run", *before, steps=STEPS // 2)
    sharded = (tmp_path / "run" / "checkpoints" / "step-00000003").is_dir()
    assert sharded == (before == (2, "shard"))
    same(alone, run(tmp_path / "run", *after))


def test_shares_are_all_there_is_and_differ_by_one_at_most() -> None:
    items = list(range(7))
    shares = [list(Ranks(rank, 3).share(items)) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items and {len(share) for share in shares} == {2, 3}


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert not others_wait()
    with joined() as ranks:
        assert (ranks.rank, ranks.size, ranks.first) == (0, 1, True)
        errors = torch.rand(2, 3, 4)
        assert ranks.gather(errors, 2, 3) is errors and ranks.most(5) == 5 and ranks.send("job") == "job"


def test_a_process_without_a_comparison_is_refused(
    tmp_path: Path, small: Callable[..., TinyBackbone], data_in: Callable[..., Data]
) -> None:
    with pytest.raises(ValueError, match=r"train\.batch is 2; 3 processes need at least one comparison each"):
        train(small(), data_in(tmp_path), Train(batch=2), tmp_path, seed=0, identity="", ranks=Ranks(0, 3))
    assert checkpoint.latest(tmp_path / "checkpoints") is None
