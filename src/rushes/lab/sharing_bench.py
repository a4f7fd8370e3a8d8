"""How much faster stages are in eight processes where the cores are not what they wait for.

On a machine without eight GPUs a stand-in shows it: a model whose forward passes sleep, as a process that waits for its
GPU does. What is measured is what Rushes adds: rounds that wait for their slowest, rows that are collected, videos that
are read and written. Starts of processes and loading are left out.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rushes import encode, generate
from rushes.backbones.base import Condition
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import BackboneSettings, FootageSettings, GenerateSettings
from rushes.evaluate.stored import measure_each, score
from rushes.evaluate.suites import world_suite
from rushes.footage.world import import_world
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.records import BASE, Clip, stable_hash
from rushes.store.database import Store
from rushes.store.latents import LatentKey, LatentStore
from rushes.store.media import MediaFolder
from rushes.training import probe
from rushes.training.batches import NoiseSampler, make_batch
from rushes.training.comparison import Comparison, View
from rushes.training.parallel import Ranks, joined
from rushes.training.reference import Reference

FORWARD_S = 0.2
CLIPS, STEPS, EVALUATED = 16, 25, 8
SIZE = BackboneSettings()


@dataclass(frozen=True)
class SharingBench:
    """Seconds of stages with a model whose forward passes sleep, by stage."""

    one_process_s: Mapping[str, float]
    eight_processes_s: Mapping[str, float]
    equal: bool  # whether both made the same takes, latents, figures and scores
    forward_s: float  # sleep of a forward pass, and of the codec for each frame


class SleepingBackbone(TinyBackbone):
    """The embedded model, which does next to nothing and takes its time."""

    def __init__(self) -> None:
        bundled = TinyBackbone.load()
        super().__init__(bundled.config)
        self.codec = bundled.codec

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        """A tenth of what is asked, after a while."""
        time.sleep(FORWARD_S)
        return 0.1 * noised_BCFHW

    def encode(self, frames_BTHWC: NDArray[np.uint8]) -> Tensor:
        """Latents, after a while for each frame."""
        time.sleep(FORWARD_S * frames_BTHWC.shape[0] * frames_BTHWC.shape[1])
        return super().encode(frames_BTHWC)


@cache
def _backbone() -> SleepingBackbone:
    return SleepingBackbone()


def bench_sharing(processes: int = 8) -> SharingBench:
    """Generate, encode, probe and evaluate in one process and in several; minutes."""
    with TemporaryDirectory() as folder:
        alone, together = (_measured(Path(folder) / str(count), count) for count in (1, processes))
    equal = all(alone[name][1] == together[name][1] for name in alone)
    ours, its = ({name: round(of[0], 2) for name, of in each.items()} for each in (alone, together))
    return SharingBench(ours, its, equal, FORWARD_S)


StageTimes = dict[str, tuple[float, str]]  # seconds of each stage, and a hash of what it made


def _measured(folder: Path, processes: int) -> StageTimes:
    with Store.create(folder) as store:
        import_world(store, FootageSettings(clips=CLIPS, eval_prompts=0), SIZE, seed=0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # so that pages of libraries are shared
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    receive, send = context.Pipe(duplex=False)
    started = [
        context.Process(target=_work, args=(rank, processes, port, folder, send), daemon=True)
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    send.close()
    try:
        result: StageTimes = receive.recv()
    except EOFError as error:
        raise RuntimeError("a process of the benchmark died; see above") from error
    finally:
        for process in started:
            process.join(10)
            process.terminate()
    return result


def _work(rank: int, size: int, port: int, folder: Path, send: Any) -> None:
    """One of the processes; the first sends what all measured."""
    environment = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in environment.items()} if size > 1 else {})
    torch.set_num_threads(1)
    encode.AT_ONCE = probe.POSITIONS = 1  # at released sizes memory holds one or two clips, and a pass one view
    measured: StageTimes = {}
    _backbone()
    with joined() as ranks:
        for name, stage in STAGES.items():
            ranks.wait()
            began = time.perf_counter()
            digest = stage(folder, ranks)
            measured[name] = time.perf_counter() - began, digest
        if ranks.first:
            send.send(measured)


def _clips(folder: Path, ranks: Ranks) -> tuple[Store | None, Sequence[Clip]]:
    """The store, which the first process alone opens, and the clips."""
    store = Store.open(folder) if ranks.first else None
    return store, ranks.send(store.clips() if store else None)


def _latents(folder: Path) -> LatentStore:
    return LatentStore(folder / "latents", "sleeping")


def _encode(folder: Path, ranks: Ranks) -> str:
    _, clips = _clips(folder, ranks)
    latents, media = _latents(folder), [clip.media for clip in clips]
    wanted = encode.jobs(latents, map(LatentKey, media), ())
    backbone, spread = _backbone(), ranks.in_rounds
    encode.encode(MediaFolder(folder / "media"), latents, backbone, SIZE, "crop", wanted, spread=spread)
    ranks.wait()
    latents.look_again()
    return stable_hash([latents.get(key).numpy().tobytes().hex() for key in sorted(latents)])  # type: ignore[union-attr]


def _takes(folder: Path, ranks: Ranks, system: str, count: int) -> list[Any]:
    store, clips = _clips(folder, ranks)
    ask = GenerateSettings(takes=1, steps=STEPS, batch=1)
    size = SIZE.model_copy(update={"first_frame": False})
    context = generate.TakeContext(_latents(folder), _backbone(), size, ask)
    if store is None:
        wanted: list[generate.Request] = ranks.send(None)
        deque(generate.make_clips(context, wanted, ranks.in_rounds), maxlen=0)
        return []
    own = generate.GenerationContext(**vars(context), store=store, system=system)
    requests = ranks.send(generate.requests(own, clips[:count], seed=0))
    generate.generate(own, requests, spread=ranks.in_rounds)
    return list(store.candidates(system=system))


def _generate(folder: Path, ranks: Ranks) -> str:
    return stable_hash([row.media for row in _takes(folder, ranks, BASE, CLIPS)])


def _evaluate(folder: Path, ranks: Ranks) -> str:
    rows = [r for system in ("one", "other") for r in _takes(folder, ranks, system, EVALUATED)]
    media, suite = MediaFolder(folder / "media"), world_suite()
    if not ranks.first:
        deque(measure_each(media, (), suite, lambda candidate: None, ranks.in_rounds), maxlen=0)
        return ""
    with Store.open(folder) as store:
        score(store, rows, suite, spread=ranks.in_rounds)
        return stable_hash([[row.subject, row.metric, row.value] for row in store.scores()])


def _probes(folder: Path, ranks: Ranks) -> str:
    _, clips = _clips(folder, ranks)
    backbone, latents = _backbone(), _latents(folder)
    term = Term("clip", (1.0, -1.0), (1,) * backbone.spec.latent_frames(SIZE.frames), beta=1.0)
    comparisons = [
        Comparison(a.id, a.id, (View(a.media, a.caption), View(b.media, a.caption)), (term,))
        for a, b in zip(clips, (*clips[1:], clips[0]), strict=True)
    ]
    draws = NoiseSampler(0, TimeDraw())
    probed = probe.measure(
        backbone,
        Reference(backbone.network),
        comparisons,
        lambda chosen: make_batch(chosen, latents, backbone, draws),
        at_once=1,
        ranks=ranks,
    )
    return stable_hash(probed.figures()) if probed else ""


STAGES: Mapping[str, Callable[[Path, Ranks], str]] = {
    "encode": _encode,
    "generate": _generate,
    "probes": _probes,
    "evaluate": _evaluate,
}


def bench_lines(result: SharingBench) -> Iterator[str]:
    """A line for each stage."""
    for name, alone in result.one_process_s.items():
        together = result.eight_processes_s[name]
        yield f"{name}: {alone:.2f} s in one process, {together:.2f} s in eight, {alone / together:.1f} times as fast"
    yield "results: equal" if result.equal else "results: not equal"
