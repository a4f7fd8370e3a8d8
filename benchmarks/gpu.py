#!/usr/bin/env python3
"""Figures of a GPU, most valuable first, each entry written before the next is begun:

    python benchmarks/gpu.py            # ten minutes: correct, wan-1.3b, blocks
    python benchmarks/gpu.py --full     # and compiled blocks, each attention backend, few bits, offload

It needs torch 2.9, numpy, diffusers, peft, safetensors and opencv-python-headless; an entry that needs more says what
it lacks and is left out. An entry that is there is not measured again: delete its file for that. Weights are random,
which costs the same. Files are gpu-ENTRY.json beside this one; `scripts/docs` draws docs/speed.md from them.
`--device cpu --tiny --out FOLDER` runs the same at sizes of seconds, to see that it runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE.parent)]

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from rushes.backbones.adapters import add_lora  # noqa: E402
from rushes.backbones.offload import offload_blocks, settle  # noqa: E402
from rushes.backbones.quantized import quantize  # noqa: E402
from rushes.backbones.sampling import sample  # noqa: E402
from rushes.backbones.speed import QUANTISES, attention_names, use_attention  # noqa: E402
from rushes.lab.shapes import SHAPES, TARGETS, Shape, wan  # noqa: E402
from rushes.lab.step_cost import StepClock, bench_shape  # noqa: E402
from rushes.records import plain  # noqa: E402

RUSHES = ("pydantic", "cyclopts", "av", "transformers")  # what `rushes run` needs beside what this script does
UNITS, RATE = ("_s", "_mib"), "_tflops_per_s"
Row = dict[str, Any]


class Skipped(Exception):
    """Why an entry, or a part of it, is not measured here."""


@dataclass(frozen=True)
class Bench:
    """Where and at which size entries are measured."""

    device: torch.device
    tiny: bool
    rounds: int

    def shape(self, name: str) -> Shape:
        """A size by name, or a small one of the same network."""
        if not self.tiny:
            return SHAPES[name]
        small = "wan-lora-small" if SHAPES[name].lora else "wan-small"
        return replace(SHAPES[small], dtype=torch.float32)

    def blocks(self, depth: int, heads: int, ffn: int, whole: Shape, lora: int) -> Shape:
        """So many blocks of a network at the token count of `whole`."""
        if self.tiny:
            return replace(SHAPES["wan-lora-small"], make=wan(depth, 2, 512, lora and 8), dtype=torch.float32)
        return replace(whole, make=wan(depth, heads, ffn, lora), blocks=(depth, 128 * heads), lora=lora)


def correct(bench: Bench) -> Row:
    """A step, a take and a checkpoint on the device as on the processor, and `rushes run` from end to end."""
    shape = replace(SHAPES["wan-lora-small"], dtype=torch.float32)
    answers = []
    for device in (torch.device("cpu"), bench.device):
        torch.manual_seed(0)
        backbone = shape.make(torch.device("cpu"), shape.dtype)
        backbone.network.to(device)
        clock = StepClock(backbone, shape, device)
        clock.steps()["pair"]()
        gradient = torch.cat([p.grad.flatten().cpu() for p in backbone.network.parameters() if p.grad is not None])
        torch.manual_seed(1)
        condition = backbone.condition(["a"])
        noise = torch.randn(1, 16, shape.frames, shape.height, shape.width)
        moved = replace(condition, text=condition.text.to(device))
        with torch.no_grad():
            take = sample(backbone, moved, noise.to(device), steps=4, shift=3.0, guidance=1.0, unconditional=None)
        answers.append((gradient, take.cpu()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        state = {name: tensor.contiguous() for name, tensor in backbone.network.state_dict().items()}
        save_file(state, path)
        same = all(torch.equal(tensor, state[name].cpu()) for name, tensor in load_file(path).items())
    row: Row = {
        f"{name}_error": float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))
        for name, theirs, ours in zip(("gradient", "take"), *answers, strict=True)
    }
    return row | {"checkpoint_equal": same, **_whole_run(bench.device)}


def _whole_run(device: torch.device) -> Row:
    """`rushes run` on a tiny Wan, or what it lacks."""
    lacking = [name for name in RUSHES if find_spec(name) is None]
    if lacking:
        return {"run": f"skipped: {', '.join(lacking)} not installed"}
    from tests.backbones.tiny_pipelines import write

    with tempfile.TemporaryDirectory() as folder:
        model, project = write("wan", Path(folder) / "model"), str(Path(folder) / "project")
        program = [sys.executable, "-m", "rushes"]  # that beside this script, which need not be installed
        paths = [str(HERE.parent / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        around = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RUSHES_DEVICE": str(device)}
        changes = {
            "backbone.name": "wan", "backbone.path": model, "backbone.first_frame": "false", "backbone.frames": 9,
            "footage.clips": 8, "footage.eval_prompts": 4, "generate.takes": 1, "generate.steps": 2, "train.steps": 4,
            "train.trainable": "lora", "train.lora_rank": 2, "evaluate.prompts": 4, "evaluate.seeds": 1,
            "evaluate.steps": 2, "train.shortcut_probe": 0, "label.by": "none", "train.recipe": "realdpo",
        }  # fmt: skip
        given = [text for name, value in changes.items() for text in ("--set", f"{name}={value}")]
        began = time.perf_counter()
        for arguments in (["init", project, "--recipe", "realdpo"], ["run", project, *given, "--json"]):
            ran = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False, env=around)
            if ran.returncode:
                return {"run": f"failed: {ran.stderr.strip().splitlines()[-1][:300]}"}
        return {"run": "passed", "run_s": round(time.perf_counter() - began, 1)}


def wan_small(bench: Bench) -> Row:
    """Wan 2.1 1.3B whole: supervised, all pairs, three losers both ways, and a step of sampling."""
    shape = bench.shape("wan-1.3b")
    row: Row = plain(bench_shape(shape, bench.rounds, bench.device))
    _free()
    return row | {"sampling_step_s": _sampling_step(shape, bench)}


def _sampling_step(shape: Shape, bench: Bench) -> float:
    clock = StepClock(shape.make(bench.device, shape.dtype), shape, bench.device)
    with torch.no_grad():
        seconds = sorted(clock.seconds(clock.steps()["cache_draw"]) for _ in range(3))
    return round(seconds[1] / 2, 4)  # of two clips


def by_blocks(bench: Bench) -> Row:
    """Wan 2.1 14B and Wan 2.2 5B by two and four of their blocks; seconds and peaks at their depth by a line."""
    row: Row = {}
    large = SHAPES["wan-14b-lora"]
    middle = replace(large, frames=31, height=44, width=80)  # 121 x 704 x 1280 at 16 pixels a latent
    for name, heads, ffn, depth, whole in (
        ("wan-14b", 40, 13824, 40, large),
        ("wan2.2-5b", 24, 14336, 30, middle),
    ):
        two, four = (
            plain(bench_shape(bench.blocks(count, heads, ffn, whole, 32), bench.rounds, bench.device))
            for count in (2, 4)
        )
        _free()
        row[name] = {"two_blocks": two, "four_blocks": four, "extrapolated_by_depth": by_depth(two, four, depth)}
    return row


def by_depth(two: Row, four: Row, depth: int) -> Row:
    """Seconds and MiB of two and of four blocks -> those of `depth`, on a line. A rate lies on none: operations do."""

    def line(at_two: float, at_four: float) -> float:
        return at_two + (at_four - at_two) / 2 * (depth - 2)

    floats = [key for key, value in two.items() if isinstance(value, float) and isinstance(four[key], float)]
    out = {key: round(line(two[key], four[key]), 4) for key in floats if key.endswith(UNITS) and RATE not in key}
    for name in (key.removesuffix(RATE) for key in floats if key.endswith(RATE)):
        work = (each[name + RATE] * each[f"{name}_s"] for each in (two, four))
        out[name + RATE] = round(line(*work) / out[f"{name}_s"], 3)
    return out | {"dtype": two["dtype"]}


def compiled(bench: Bench) -> Row:
    """Wan 2.1 1.3B with compiled blocks."""
    row: Row = plain(bench_shape(bench.shape("wan-1.3b"), bench.rounds, bench.device, compiled=True))
    return row


def attention(bench: Bench) -> Row:
    """The supervised step by each attention backend that is installed and has a backward pass."""
    shape = bench.shape("wan-1.3b")
    row: Row = {}
    for name in (name for name in attention_names() if QUANTISES not in name):
        backbone = shape.make(bench.device, shape.dtype)
        try:
            use_attention(backbone.network, name)
            clock = StepClock(backbone, shape, bench.device)
            clock.seconds(clock.steps()["sft"])
            row[f"{name}_s"] = round(min(clock.seconds(clock.steps()["sft"]) for _ in range(bench.rounds)), 4)
        except Exception as error:  # of kernels, of many kinds
            row[name] = f"skipped: {(str(error) or type(error).__name__).splitlines()[0][:200]}"
        _free()
    use_attention(backbone.network, "native")  # as diffusers keeps the last one for all
    return row


def few_bits(bench: Bench) -> Row:
    """Two blocks of Wan 2.1 14B in 8 and in 4 bits under an adapter."""
    if find_spec("bitsandbytes") is None:
        raise Skipped("bitsandbytes is not installed")
    shape, row = bench.blocks(2, 40, 13824, SHAPES["wan-14b-lora"], 0), {}

    def make(bits: Any, device: torch.device, dtype: torch.dtype) -> Any:
        backbone = shape.make(torch.device("cpu"), dtype)  # 8 bits are made on the way to the device alone
        backbone.network.requires_grad_(False)
        quantize(backbone.network, bits, device)
        backbone.network.to(device)
        add_lora(backbone.network, TARGETS, 32, 32)
        return backbone

    for bits in ("8bit", "4bit"):
        row[bits] = plain(bench_shape(replace(shape, make=partial(make, bits), lora=32), bench.rounds, bench.device))
        _free()
    return row


def block_by_block(bench: Bench) -> Row:
    """Four blocks of Wan 2.1 14B under an adapter: on the device, and from main memory, one by one."""
    shape = bench.blocks(4, 40, 13824, SHAPES["wan-14b-lora"], 0)

    def make(streams: bool, device: torch.device, dtype: torch.dtype) -> Any:
        backbone = shape.make(torch.device("cpu") if streams else device, dtype)
        backbone.network.requires_grad_(False)
        if streams:
            offload_blocks(backbone.network, device)
        add_lora(backbone.network, TARGETS, 32, 32)
        settle(backbone.network)
        return backbone

    row: Row = {}
    for name, streams in (("on_device", False), ("block_by_block", True)):
        row[name] = plain(bench_shape(replace(shape, make=partial(make, streams), lora=32), bench.rounds, bench.device))
        _free()
    return row


def peak_of(card: str) -> float:
    """10^12 dense bfloat16 operations a second by the maker's data sheet; 0 = the card is not in gpus.toml."""
    name = card.lower().replace(" ", "")
    if re.search("h[12]00.*(pcie|nvl)", name):  # slower than the SXM card of that name
        return 0.0
    table = tomllib.loads((HERE.parent / "src" / "rushes" / "inspect" / "gpus.toml").read_text(encoding="utf-8"))
    names = sorted(table, key=len, reverse=True)
    match = next((kind for kind in names if re.search(rf"{kind.partition('-')[0]}(?![a-z]*ti|super|d)", name)), None)
    return float(table[match]["tflops"]) if match else 0.0


def with_shares(row: Row, peak: float) -> Row:
    """The same with each rate in bfloat16 also as a share of the card's peak, tables in it included."""
    row = {key: with_shares(value, peak) if isinstance(value, dict) else value for key, value in row.items()}
    if not peak or row.get("dtype") != "bfloat16":
        return row
    rates = {key.removesuffix(RATE): row[key] for key in row if key.endswith(RATE)}
    return row | {f"{name}_share_of_peak": round(rate / peak, 3) for name, rate in rates.items()}


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


ENTRIES: Mapping[str, Callable[[Bench], Row]] = {"correct": correct, "wan-1.3b": wan_small, "blocks": by_blocks}
FULL: Mapping[str, Callable[[Bench], Row]] = {"compile": compiled, "attention": attention, "bits": few_bits,
    "offload": block_by_block}  # fmt: skip


def main() -> int:
    """Measure what is not there yet; 1 where an entry failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes of seconds, whose figures say nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None, help="folder of the files; default: beside this one")
    parser.add_argument("entries", nargs="*", help="names; default: all")
    asked = parser.parse_args()
    if asked.tiny and asked.out is None:
        parser.error("--tiny needs --out: its figures do not belong beside those of a GPU")
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch sees no GPU; take --device cpu --tiny --out FOLDER to see that this runs")
    entries = {**ENTRIES, **(FULL if asked.full else {})}
    unknown = [name for name in asked.entries if name not in {**ENTRIES, **FULL}]
    if unknown:
        parser.error(f"no entry {unknown[0]!r}; there is {', '.join({**ENTRIES, **FULL})}")
    device = torch.device(asked.device)
    out, bench = asked.out or HERE, Bench(device, asked.tiny, asked.rounds)
    out.mkdir(parents=True, exist_ok=True)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    failed = 0
    for name in asked.entries or entries:
        path = out / f"gpu-{name}.json"
        if path.exists():
            print(f"{name}: there already, {path}", flush=True)
            continue
        began = time.perf_counter()
        try:
            row = {**ENTRIES, **FULL}[name](bench)
        except Skipped as why:
            print(f"{name}: skipped, {why}", flush=True)
            continue
        except Exception as error:
            failed = 1
            print(f"{name}: failed, {type(error).__name__}: {str(error)[:300]}", flush=True)
            _free()
            continue
        about = {"command": "python benchmarks/gpu.py" + " --tiny" * asked.tiny, "machine": where}
        about |= {"torch": torch.__version__, "took_s": f"{time.perf_counter() - began:.0f}"}
        part = path.with_suffix(".part")
        part.write_text(
            json.dumps({**about, "figures": with_shares(row, peak_of(where))}, indent=1) + "\n", encoding="utf-8"
        )
        part.replace(path)
        print(f"{name}: {path}, {about['took_s']} s", flush=True)
        _free()
    return failed


if __name__ == "__main__":
    sys.exit(main())
