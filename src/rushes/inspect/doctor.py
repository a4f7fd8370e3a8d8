"""`rushes doctor`: what of this machine and its installation would break a run, before one is begun.

Libraries are imported in another process: one that is broken may bring the process down, and says so here. Nothing is
imported in this one, so the command works where torch does not.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rushes.devices import cores

GIB = 2**30
LEAST_MEMORY, LEAST_DISK, LITTLE_DISK = 4 * GIB, 1 * GIB, 20 * GIB
# Modules that a run of the tiny model needs, then those that models out of diffusers need beside it.
CORE = (
    "numpy", "av", "cv2", "safetensors", "scipy", "pyarrow", "pydantic", "fastapi", "uvicorn", "torch", "peft",
)  # fmt: skip
MODELS = ("transformers", "diffusers", "sentencepiece", "ftfy")
PACKAGES = {"cv2": "opencv-python-headless", "pipelines": "diffusers"}  # of modules that have another name
# An import of diffusers alone is lazy; that of a pipeline brings transformers in, and with it torchvision.
DEEP = "from diffusers import WanPipeline"
DECODERS = ("h264", "hevc", "vp9", "av1")
ENCODER = "libx264"  # the one that videos are written with
MOUNTS = Path("/proc/self/mountinfo")  # of Linux; elsewhere no drive is looked at
# How the kinds of file systems over a network begin, behind "fuse."
NETWORK = (
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gcsfuse", "gluster", "gpfs", "lustre", "nfs", "rclone", "s3fs",
    "smb", "sshfs",
)  # fmt: skip

_PROBE = """
import importlib, json, sys
def tell(name, error=None, **facts):
    print(json.dumps({"name": name, "error": error, **facts}), flush=True)
for name in sys.argv[1].split(","):
    print(json.dumps({"begins": name}), flush=True)
    try:
        if name == "pipelines":
            exec(sys.argv[2])
        else:
            importlib.import_module(name)
    except BaseException as error:
        tell(name, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        continue
    facts = {}
    if name == "av":
        import av
        facts["codecs"] = sorted(av.codecs_available)
    if name == "torch":
        import torch
        found = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        about = [torch.cuda.get_device_properties(i) for i in found]
        facts["gpus"] = [{"name": p.name, "memory_gb": round(p.total_memory / 2**30, 1)} for p in about]
        facts["cuda"] = torch.version.cuda
        facts["bfloat16"] = bool(found) and torch.cuda.is_bf16_supported()
    tell(name, **facts)
"""


@dataclass(frozen=True)
class MachineFinding:
    """What is wrong, with its remedy in the same sentence."""

    severity: Literal["error", "warning"]  # an error would break a run
    name: str  # package or part of the machine
    words: str  # for people


@dataclass(frozen=True)
class GpuFacts:
    """A GPU that torch sees."""

    name: str
    memory_gb: float  # 2^30 bytes


@dataclass(frozen=True)
class MachineFacts:
    """What a machine has; sizes in 2^30 bytes."""

    system: str
    python: str  # its version
    cores: int  # cores that this process may use
    memory_gb: float
    disk_free_gb: float
    gpus: tuple[GpuFacts, ...]


@dataclass(frozen=True)
class DoctorResult:
    """A machine and its installation."""

    machine: MachineFacts
    versions: Mapping[str, str]  # versions of the installed packages
    findings: tuple[MachineFinding, ...]


def examine(folder: Path) -> DoctorResult:
    """Machine, versions and findings; `folder` is where a project is or will be, whose disk is looked at."""
    versions = {name: _version(name) for name in (*(PACKAGES.get(each, each) for each in CORE + MODELS), "torchvision")}
    wanted_models = versions["diffusers"] is not None
    modules = [*CORE, *(MODELS if wanted_models else ()), *(["pipelines"] if wanted_models else ())]
    probed = probe(modules)
    machine = _machine(folder, probed)
    findings = [
        *_imports(probed, versions),
        *_codecs(probed.get("av", {})),
        *_gpus(probed.get("torch", {}), versions, has_driver()),
        *_room(machine),
        *_drive(folder),
        *_modes(folder),
        *_need(folder, machine.disk_free_gb),
        *_conflicts(versions),
    ]
    if not wanted_models:
        words = (
            "diffusers is not installed, so only the tiny model runs; for other models run `make install "
            "EXTRAS=diffusers`"
        )
        findings.append(MachineFinding("warning", "diffusers", words))
    there = {name: version for name, version in versions.items() if version}
    return DoctorResult(machine, there, tuple(findings))


def probe(modules: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each module said of itself when it was imported, in a process of its own; its error, where it has one.

    A module that brought the process down is named, and those after it are imported in a further one.
    """
    packages: dict[str, dict[str, Any]] = {}
    left = list(modules)
    while left:
        ran = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-c", _PROBE, ",".join(left), DEEP],
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        packages |= {row["name"]: row for row in rows if "name" in row}
        begun = [row["begins"] for row in rows if "begins" in row]
        if not begun:
            raise ValueError(f"{sys.executable} cannot start a process ({ran.stderr.strip()[-200:]}); reinstall Python")
        for name in begun:
            packages.setdefault(name, {"name": name, "error": f"the process died with code {ran.returncode}"})
        left = left[len(begun) :]
    return packages


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _machine(folder: Path, probed: Mapping[str, Mapping[str, Any]]) -> MachineFacts:
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    return MachineFacts(
        system=platform.platform(),
        python=platform.python_version(),
        cores=cores(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        disk_free_gb=round(shutil.disk_usage(there).free / GIB, 1),
        gpus=tuple(GpuFacts(**row) for row in probed.get("torch", {}).get("gpus", [])),
    )


def _imports(probed: Mapping[str, Mapping[str, Any]], versions: Mapping[str, str | None]) -> Iterator[MachineFinding]:
    failed = {name: row["error"] for name, row in probed.items() if row["error"]}
    if versions["torchvision"] and {"transformers", "diffusers", "pipelines"} & failed.keys():
        # The error of those that import it may name no more than the class that was asked for.
        error = probe(["torchvision"])["torchvision"]["error"]
        if error:
            for name in ("transformers", "diffusers", "pipelines"):
                failed.pop(name, None)
            words = (
                f"torchvision {versions['torchvision']} does not fit torch {versions['torch']} ({error}) and breaks "
            )
            remedy = "the models of diffusers; run `pip uninstall torchvision`, which Rushes does not need"
            yield MachineFinding("error", "torchvision", words + remedy)
    for name, error in failed.items():
        package = PACKAGES.get(name, name)
        if versions[package] is None:
            yield MachineFinding("error", package, f"{package} is missing; run `pip install {package}`")
        else:
            part = " (its pipelines)" if name == "pipelines" else ""
            words = (
                f"{package} {versions[package]}{part} cannot be imported ({error}); run `pip install --force-reinstall "
            )
            yield MachineFinding("error", package, f"{words}{package}`, in the version of constraints.txt")


def _codecs(av: Mapping[str, Any]) -> Iterator[MachineFinding]:
    there = set(av.get("codecs", (*DECODERS, ENCODER)))  # a broken av is a finding of its own
    missing = [name for name in DECODERS if name not in there and not (name == "av1" and "libdav1d" in there)]
    if missing:
        words = f"this build of PyAV cannot decode {', '.join(missing)}; run `pip install --force-reinstall av`, whose "
        yield MachineFinding("error", "codecs", f"{words}wheels can")
    if ENCODER not in there:
        words = f"this build of PyAV has no {ENCODER}, which writes videos; run "
        yield MachineFinding("error", "codecs", f"{words}`pip install --force-reinstall av`")


def has_driver() -> bool:
    """Whether the machine has an NVIDIA driver, whatever torch makes of it."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _gpus(torch: Mapping[str, Any], versions: Mapping[str, str | None], driver: bool) -> Iterator[MachineFinding]:
    if torch.get("error") or "gpus" not in torch:
        return
    if driver and not torch["gpus"]:
        why = "is built without CUDA" if not torch["cuda"] else f"needs a driver for CUDA {torch['cuda']}"
        words = (
            f"there is an NVIDIA driver, but torch {versions['torch']} sees no GPU because it {why}; install torch's "
        )
        yield MachineFinding("error", "gpu", f"{words}build for your driver, see pytorch.org/get-started")
    elif not torch["gpus"]:
        words = (
            "torch sees no GPU, so models with more than a few million weights are too slow; use a machine with a GPU"
        )
        yield MachineFinding("warning", "gpu", words)
    elif not torch["bfloat16"]:
        words = "this GPU has no bfloat16; set backbone.dtype to float32, which uses twice the memory"
        yield MachineFinding("warning", "gpu", words)


def _room(machine: MachineFacts) -> Iterator[MachineFinding]:
    disk, memory = machine.disk_free_gb * GIB, machine.memory_gb * GIB
    if disk < LITTLE_DISK:
        words = f"{machine.disk_free_gb} GB of disk are free; a run stops when the disk is full, so free some space"
        yield MachineFinding("error" if disk < LEAST_DISK else "warning", "disk", words)
    if memory < LEAST_MEMORY:
        words = f"the machine has {machine.memory_gb} GB of memory, and imports alone use 2 GB; use a machine with more"
        yield MachineFinding("warning", "memory", words)


def _need(folder: Path, free_gb: float) -> Iterator[MachineFinding]:
    """Whether what a project will store fits on the disk."""
    if not (folder / "rushes.toml").is_file():
        return
    planned = _planned_gb(folder)
    if isinstance(planned, str):
        words = f"the disk that this project needs has no forecast ({planned:.300}); see `rushes plan`"
        yield MachineFinding("warning", "disk", words)
        return
    needed = planned - sum(_bytes_below(folder / name) for name in ("latents", "runs")) / GIB
    if needed > free_gb:
        words = (
            f"{folder} needs about {needed:.1f} GB more for latents and checkpoints (`rushes plan`), and {free_gb} GB "
            "are free; free some space, or set train.trainable to lora, whose checkpoints are small"
        )
        yield MachineFinding("error", "disk", words)


def _planned_gb(folder: Path) -> float | str:
    """What `rushes plan` says of the disk, in a process of its own, as it imports torch; or why it says nothing."""
    words = [sys.executable, "-P", "-m", "rushes", "plan", str(folder), "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.stdout.startswith("{"):
        return float(sum(json.loads(ran.stdout)["disk_gb"].values()))
    return (ran.stderr.strip().splitlines() or [f"code {ran.returncode}"])[-1].removeprefix("rushes: ")


def _bytes_below(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _modes(folder: Path) -> Iterator[MachineFinding]:
    """Files of a project that this user may not read, or must write and may not."""
    if not (folder / "rushes.toml").is_file():
        return
    paths = [folder, *sorted(folder.rglob("*"))]
    written = {path for path in paths if path.is_dir() or path.suffix in (".db", ".toml", ".jsonl")}
    closed = [path for path in paths if not os.access(path, os.R_OK | (os.W_OK if path in written else 0))]
    if closed:
        words = (
            f"{closed[0]} cannot be read or written by you ({len(closed)} of {len(paths)} files and folders); ask the "
            "owner for `chmod -R g+rwX`, if you share a group; `health` and `verify` only need to read"
        )
        yield MachineFinding("warning", "modes", words)


def _drive(folder: Path) -> Iterator[MachineFinding]:
    kind = _file_system(folder.resolve())
    if kind.removeprefix("fuse.").startswith(NETWORK):
        words = (
            f"{folder} is on a network drive ({kind}), where the log of the project's database does not work and rows "
            "may be lost; keep the project on a disk of this machine, and a copy of it there (`rushes backup`)"
        )
        yield MachineFinding("warning", "drive", words)


def _file_system(folder: Path) -> str:
    """The kind of what is mounted where a folder is or will be, such as ext4; empty where this cannot be seen."""
    kinds = dict[Path, str]()
    for line in MOUNTS.read_text(errors="replace").splitlines() if MOUNTS.exists() else ():
        about, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), about.split()[4])  # a blank is \040
        kinds[Path(point)] = source.split()[0]
    return next((kinds[path] for path in (folder, *folder.parents) if path in kinds), "")


def _conflicts(versions: Mapping[str, str | None]) -> Iterator[MachineFinding]:
    others = [name for name in ("opencv-python", "opencv-contrib-python") if _version(name)]
    if others and versions["opencv-python-headless"]:
        words = f"{others[0]} and opencv-python-headless install the same files; run `pip uninstall {others[0]}`, then "
        yield MachineFinding("warning", "opencv", f"{words}`pip install --force-reinstall opencv-python-headless`")
