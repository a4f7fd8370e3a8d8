"""The model of a run, for use elsewhere."""

from __future__ import annotations

from pathlib import Path

from rushes.backbones.adapters import merge_lora
from rushes.pipeline.project import Project, find_run, load_run


def export_weights(project: Project, name: str, folder: Path) -> Path:
    """Write the run's model, adapters merged, as one file that `backbone.path` of another project takes.

    Raises:
        ValueError: no such finished run, or its weights do not differ from the base's.
    """
    backbone = load_run(project, name)
    merge_lora(backbone.network)
    if backbone.fingerprint == find_run(project, name).base:
        raise ValueError(f"run {name!r} changed no weight, so its export would be the base; train it longer")
    path = folder / f"{name}.safetensors"
    backbone.save(path)
    return path
