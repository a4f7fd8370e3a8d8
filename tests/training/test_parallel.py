"""Two processes, told of each other as torchrun tells them, against one. `tests/project/test_jobs.py` has torchrun."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rushes.backbones.base import blocks
from rushes.backbones.loading import load_backbone
from rushes.training.parallel import Ranks, called, joined

from .. import forked, tiny_sd
from ..backbones.tiny_pipelines import BACKBONE, write
from ..forked import run_ranks

SCRIPT = Path(__file__).with_name("ranks_run.py")
STEPS = 4


def run(
    folder: Path,
    processes: int,
    parallel: str = "replicate",
    gradients: str = "joint",
    steps: int = STEPS,
    data: str = "uneven_data",
) -> Path:
    folder.mkdir(exist_ok=True)
    arguments = [str(SCRIPT), str(folder), str(steps), parallel, gradients, data]
    run_ranks(processes, folder, forked.SCRIPT, arguments=arguments)
    return folder


def rows(folder: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if isinstance(v, float) and k not in ("seconds", "memory_gib")} for row in found
    ]


def same(one: Path, other: Path, ties: str = "") -> None:
    """`ties`: ending of figures that a margin of 1e-7 in place of zero would turn."""
    for row, its in zip(rows(one), rows(other), strict=True):
        ours, theirs = ({k: v for k, v in r.items() if not (ties and k.endswith(ties))} for r in (row, its))
        assert theirs == pytest.approx(ours, rel=2e-4, abs=2e-5)
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
def test_processes_may_hold_clips_of_different_shapes(tmp_path: Path) -> None:
    """In a step one may have two shapes and the other three, or another one."""
    alone = run(tmp_path / "alone", 1, data="mixed_data", steps=2)
    same(alone, run(tmp_path / "sharded", 2, "shard", "stash", data="mixed_data", steps=2))
    same(alone, run(tmp_path / "two", 2, "replicate", "stash", data="mixed_data", steps=2))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [((2, "shard"), (1, "shard")), ((1, "replicate"), (2, "shard"))])
def test_a_run_goes_on_with_another_number_of_processes(
    before: tuple[int, str], after: tuple[int, str], alone: Path, tmp_path: Path
) -> None:
    run(tmp_path / "run", *before, steps=STEPS // 2)
    sharded = (tmp_path / "run" / "checkpoints" / f"step-{STEPS // 2:08}").is_dir()
    assert sharded == (before == (2, "shard"))
    same(alone, run(tmp_path / "run", *after))


def test_shares_are_all_there_is_and_differ_by_one_at_most() -> None:
    items = list(range(7))
    shares = [list(Ranks(rank, 3).share(items)) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items and {len(share) for share in shares} == {2, 3}


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined() as ranks:
        assert (ranks.rank, ranks.size, ranks.first) == (0, 1, True)
        errors = torch.rand(2, 3, 4)
        assert ranks.gather(errors, 2, 3) is errors and ranks.most(5) == 5 and ranks.send("job") == "job"


@pytest.fixture(scope="module")
def tiny_networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, nn.Module]:
    """A network of each architecture."""
    names = ("wan_experts", "skyreels_df", "cogvideox", "ltx", "ltx2", "mochi", "hunyuan", "hunyuan15", "animatediff")
    with torch.random.fork_rng():
        folders = {name: write(name, tmp_path_factory.mktemp("models") / name) for name in names}
        image = tiny_sd.write(tmp_path_factory.mktemp("models") / "inflated_sd")
    found = {name: load_backbone(BACKBONE[name], str(folder)).network for name, folder in folders.items()}
    return found | {"inflated_sd": load_backbone("inflated_sd", str(image)).network}


@dataclass(frozen=True)
class Runs:
    """Folders of the same runs by one process and by two."""

    one: Path
    two: Path


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Every case of `experts_run.py` by one process and by two."""
    folder = tmp_path_factory.mktemp("experts")
    with torch.random.fork_rng():
        model = write("wan_experts", folder / "model")
    runs = Runs(folder / "one", folder / "two")
    for processes, into in ((1, runs.one), (2, runs.two)):
        into.mkdir()
        script = str(SCRIPT.with_name("experts_run.py"))
        run_ranks(processes, into, forked.SCRIPT, arguments=[script, str(into), str(model)])
    return runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "taken"),
    [
        ("copies, idle experts", "joint"),
        ("one graph for each expert", "joint"),
        ("rows", "rows"),
        ("a cache, a process without a comparison", "rows"),
        ("all weights", "joint"),
    ],
)
def test_two_processes_train_two_experts_as_one_does(case: str, taken: str, experts: Runs) -> None:
    """In some steps the draws of the processes go to different experts, in others one expert is asked by nobody."""
    # Errors in the cache are of weights that were not sharded yet, which lie elsewhere in memory: they round otherwise.
    same(experts.one / case, experts.two / case, "accuracy" if "cache" in case else "")
    asked = [{key.split("/")[1] for key in row if key.startswith("expert/")} for row in rows(experts.two / case)]
    assert {"low_noise"} in asked and any("high_noise" in each for each in asked)
    first = json.loads((experts.two / case / "metrics.jsonl").read_text().splitlines()[0])
    assert (first["gradients"], first["processes"]) == (taken, 2)
    ours, its = (load_file(folder / case / "weights.safetensors") for folder in (experts.one, experts.two))
    assert len({name.partition(".")[0] for name in ours}) == 2
    for name, weight in ours.items():  # in units of the learning rate, which is what AdamW moves a weight by
        torch.testing.assert_close(its[name], weight, rtol=0, atol=0.02e-3, msg=name)


@pytest.mark.slow
def test_frozen_weights_of_a_run_reach_all_processes(experts: Runs) -> None:
    """Those of the base are there already; an adapter that was merged into them is not."""
    assert [(experts.two / f"matched-{rank}").read_text() for rank in range(2)] == ["4 4", "8 4"]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["all weights, mixed", "one graph for each expert, bfloat16"])
def test_two_processes_train_in_half_precision(case: str, experts: Runs) -> None:
    """Rows round in bfloat16 by what is beside them, so figures are near and not equal."""
    losses = [[row["loss"] for row in rows(f / case)[1:]] for f in (experts.one, experts.two)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
    weights = load_file(experts.two / case / "weights.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float32}


def test_experts_are_called_by_themselves_and_blocks_are_found(tiny_networks: dict[str, nn.Module]) -> None:
    for name, network in tiny_networks.items():
        parts = called(network)
        assert len(parts) == (2 if name == "wan_experts" else 1)
        for part in parts:
            units = list(blocks(part))
            inside = [p for unit in units for p in unit.parameters()]
            assert len(inside) == len(set(inside)), f"{name}: a weight in two blocks"
            lists = {path for path, module in part.named_modules() if isinstance(module, nn.ModuleList)}
            inner = {path for path in lists for outer in lists if path.startswith(f"{outer}.")}
            found = {path for path in lists - inner if path.endswith("blocks")}
            assert found and all(block in units for path in found for block in part.get_submodule(path).children()), (
                name
            )


def test_weights_of_two_precisions_are_not_sharded() -> None:
    network = nn.Sequential(nn.Linear(2, 2).bfloat16(), nn.LayerNorm(2))
    with pytest.raises(
        ValueError, match=r"train\.parallel: weights in bfloat16 and float32 cannot be both trained and sharded"
    ):
        Ranks(0, 2).shard(network)


@pytest.mark.parametrize("missing", [None, torch.zeros(2)])
def test_one_process_has_the_gradients_that_it_has(missing: torch.Tensor | None) -> None:
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = missing
    Ranks().add_up([weight])
    assert weight.grad is missing
