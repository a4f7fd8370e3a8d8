from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rushes.backbones.tiny import TinyConfig
from rushes.cli import main
from rushes.lab import shapes
from rushes.lab import step_cost as bench
from rushes.lab.step_cost import bench_lines, bench_step
from rushes.training.activations import Where, place_of
from rushes.training.gradients import plain_errors

NARROW = TinyConfig(channels=16, width=48, depth=2, heads=2)
SMALL = shapes.Shape(shapes._transformer(NARROW), 1, 3, 8, 8, torch.float32, blocks=(2, 48))
PROMISED = ("sft_s", "pair_naive_s", "pair_s", "pair_cached_s", "n3_s", "n3_repeated_s", "cache_draw_s", "offload_s")


def test_every_size_has_the_promised_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(shapes.SHAPES["tiny"], comparisons=2)
    monkeypatch.setattr(bench, "SHAPES", {"tiny": few, "mid": SMALL})
    facts = bench_step(2)
    for name in ("tiny", "mid"):
        table = facts.shapes[name]
        assert all(getattr(table, key) > 0 for key in PROMISED)
        assert 0 < table.sft_peak_mib <= table.pair_cached_peak_mib <= table.pair_naive_peak_mib
        assert table.gradients.startswith("joint")
        assert 0 < table.offload_peak_mib <= table.pair_cached_peak_mib, "one view at a time"
    assert facts.shapes["tiny"].rounds == 2 and facts.shapes["mid"].rounds == 1
    assert any(line.startswith("  pair_cached_over_sft: ") for line in bench_lines(facts))


def test_main_memory_of_the_offloaded_step_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run does: to pin it takes longer than to copy to it."""
    made: list[str] = []

    def noted(network: torch.nn.Module, where: Where) -> Callable[[], AbstractContextManager[None]]:
        made.append(where)
        return place_of(network, where)

    monkeypatch.setattr(bench, "place_of", noted)
    steps = bench.StepClock(SMALL.make(torch.device("cpu"), torch.float32), SMALL, torch.device("cpu")).steps()
    steps["offload"](), steps["offload"]()
    assert made == ["offload"]


def test_ours_and_the_repeated_loop_are_the_same_step() -> None:
    """Three backward passes of one loser each, a third of each level's weight: the gradient of ours."""
    cpu = torch.device("cpu")
    clock = bench.StepClock(SMALL.make(cpu, torch.float32), SMALL, cpu)
    network = clock.backbone.network
    for p in network.parameters():
        p.data = 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    clock.reference.values = {name: p.detach() * 1.01 for name, p in network.named_parameters()}
    with clock.reference.applied():
        clock.looked_up[4] = plain_errors(clock.backbone, clock.fours, clock.strategy)
    found = []
    for name in ("n3", "n3_repeated"):
        network.zero_grad(set_to_none=True)
        clock.steps()[name]()
        found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1] / 3, rtol=1e-3, atol=5e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"rounds": 0}, "--rounds must be at least 1, got 0"),
        (
            {"rounds": 1, "names": ["wan"]},
            r"--shape: no shape 'wan'; there is tiny, mid, wan-1\.3b, cogvideox-5b",
        ),
    ],
)
def test_refusals(call: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench_step(**call)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="--device cuda: torch sees no GPU"):
        bench_step(1, "cuda")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "frames"),
    [(shapes.wan(1, 2, 32), 2), (shapes.wan(1, 2, 32, 4), 2), (shapes.cogvideox(1, 2, 2, 8, 8), 2)],
    ids=["wan", "wan-lora", "cogvideox"],
)
def test_real_architectures_take_a_step(make: object, frames: int) -> None:
    """The families of diffusers at one block, on the processor."""
    shape = shapes.Shape(make, 1, frames, 8, 8, torch.float32, patch=2, checkpointing=True)  # type: ignore[arg-type]
    cpu = torch.device("cpu")
    clock = bench.StepClock(shape.make(cpu, shape.dtype), shape, cpu)
    for step in clock.steps().values():
        assert clock.seconds(step) > 0
    assert shape.tokens == frames * 16


def test_work_is_counted() -> None:
    shape = shapes.SHAPES["wan-1.3b"]
    assert shape.tokens == 32_760
    # forward, forward again, and backward: as `rushes plan` has it, but for the text
    assert shape.flops(1_300_000_000) == pytest.approx(8 * 1.3e9 * 32_760 + 18 * 30 * 1536 * 32_760**2)
    assert shape.flops(1_420_000_000) / 1e12 == pytest.approx(1232, rel=0.03)
    assert shape.forward_flops(10**9) == pytest.approx(2e9 * 32_760 + 4 * 30 * 1536 * 32_760**2)
    assert shapes.SHAPES["cogvideox-5b"].tokens == 17_550
    adapter = shapes.SHAPES["wan-14b-lora"]
    # frozen weights get no gradient of their own; attention costs what it did
    assert adapter.flops(10**9) == pytest.approx(6e9 * 32_760 + 18 * 40 * 5120 * 32_760**2)


def test_an_adapter_is_all_that_is_trained() -> None:
    shape = shapes.SHAPES["wan-lora-small"]
    network = shape.make(torch.device("cpu"), torch.float32).network
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 2 * 10 and all(".lora_" in name for name in trained)  # two blocks of ten layers


def test_the_file_says_machine_and_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    main(["bench", "step", "--rounds", "1", "--shape", "wan-lora-small", "--out", str(out)])
    told = json.loads(out.read_text())
    assert told["command"] == "rushes bench step --rounds 1 --device cpu --shape wan-lora-small"
    assert told["machine"].endswith(f"torch {torch.__version__}")
    table = told["wan-lora-small"]
    assert table["lora"] == 8 and table["sft_tflops_per_s"] > 0 and table["pair_tflops_per_s"] > 0
    assert table["sft_peak_mib"] > 0 and table["weights_mib"] > 0
    with pytest.raises(SystemExit):
        main(["bench", "step", "--out", str(tmp_path / "none" / "out.json")])
    assert "there is no folder" in capsys.readouterr().err


PAGE = Path(__file__).resolve().parents[2] / "benchmarks" / "README.md"


def test_every_command_of_the_page_names_sizes_that_there_are() -> None:
    commands = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("rushes bench step")]
    named = {name for line in commands for name in re.findall(r"--shape (\S+)", line)}
    assert {"wan-1.3b", "cogvideox-5b", "wan-14b-lora"} <= named <= set(shapes.SHAPES)
    for line in commands:
        file = re.findall(r"--out (\S+)", line)
        assert "--device cuda" in line or (PAGE.parent.parent / file[0]).is_file(), line
