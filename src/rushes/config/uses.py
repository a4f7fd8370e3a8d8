"""What a command makes use of: the tables of settings whose modules it runs, and whose hosts it asks.

A file's names in other tables are texts that nothing acts on, so nobody is asked to allow them: a project that labels
by a server is trained on a machine that has no word for that server. Who is in doubt uses `everything`.
"""

from __future__ import annotations

from collections.abc import Callable

from rushes.config.tables import Settings

Uses = Callable[[Settings], tuple[str, ...]]


def everything(settings: Settings) -> tuple[str, ...]:
    """All tables: for what runs any stage, asks several models, or writes the settings into another file."""
    return tuple(type(settings).model_fields)


def nothing(settings: Settings) -> tuple[str, ...]:
    """For what reads rows, curves and numbers; it opens no model, recipe or endpoint."""
    return ()


def code(settings: Settings) -> tuple[str, ...]:
    """For what loads the model or the recipe, which checking settings (`check_settings`) does too."""
    return ("backbone", "train")


def judge(settings: Settings) -> tuple[str, ...]:
    """For what asks the judge of `label.by`, and loads nothing else."""
    return ("endpoint",) if settings.label.by == "vlm" else ()


def code_and_judge(settings: Settings) -> tuple[str, ...]:
    """Both of these."""
    return (*code(settings), *judge(settings))


def labels(settings: Settings) -> tuple[str, ...]:
    """For labels: people's page loads no model."""
    return () if settings.label.by == "human" else code_and_judge(settings)


def captions(settings: Settings) -> tuple[str, ...]:
    """For what has captions written."""
    return (*code(settings), *(("endpoint",) if settings.caption.by == "model" else ()))


def all_stages(settings: Settings) -> tuple[str, ...]:
    """For all stages in order; curation is none of them."""
    return (*captions(settings), *judge(settings))
