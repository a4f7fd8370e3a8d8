"""The model of a run, for use elsewhere."""

from __future__ import annotations

from pathlib import Path

from rushes.backbones.adapters import merge_lora
from rushes.config.tables import Settings
from rushes.pipeline.project import Project, load_run


def export_weights(project: Project, run: str, folder: Path) -> Path:
    """Write the run's model, adapters merged, as one file that `backbone.path` of another project takes.

    Raises:
        ValueError: no such finished run, or its weights do not differ from the base's.
    """
    known = {row.name: row for row in project.store.runs()}
    if run not in known:
        raise ValueError(f"no finished run {run!r} in {project.store.project}; there is {', '.join(known) or 'none'}")
    backbone = load_run(project, run, Settings.model_validate(known[run].settings).train)
    merge_lora(backbone.network)
    if backbone.fingerprint == known[run].base:
        raise ValueError(f"run {run!r} changed no weight: its export would be the base; train longer or at a higher rate")
    path = folder / f"{run}.safetensors"
    backbone.save(path)
    return path
