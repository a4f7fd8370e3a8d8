"""Rushes: preference optimization for video diffusion models.

Names are loaded when they are used, so `import rushes` takes no time and needs no torch; docs/python.md shows them.

Losses, of tensors on any device; they need torch and numpy alone
    dpo_loss            Diffusion-DPO of errors: a winner against losers, labels per clip or per latent frame
    Term                one contrast between views of a comparison; every method is a choice of these
    one_against_each    terms of a winner against N losers
    collate             terms of several comparisons -> TermBatch
    TermBatch           the same as tensors
    ViewErrors          errors of policy and reference [B, V, F]
    loss                errors and terms -> loss
    guarded             terms under another objective, or with auxiliary losses that hold the winner
    diagnose            accuracy, margin, gradient weight and saturation of a batch
    backward_by_view    the gradient of a loss with the memory of one clip

Recipes: a paper each, in rushes.recipes; `terms` of each for any training loop
    recipe_names        those that ship
    load_recipe         a recipe by its name
    LatentGrid          how a clip's latent frames lie in time, for labels of seconds
    TimeDraw            distribution of training times

Models
    load_backbone       a video model behind one protocol: `tiny` with its weights, others from a folder
    sample              a clip from noise

Metrics and statistics
    Shot                a clip to measure
    measure             motion, flicker, sharpness, ... of a clip, for the clip and per second
    paired_difference   mean difference over pairs with its interval
    win_rate            how often one beats the other, with its interval
    compare_systems     many systems and metrics beside each other, corrected for their number
    Measure             values of a metric by system and prompt, which it compares

Media
    read_video          frames of a file, at a rate and a size
    write_video         frames -> mp4

Projects: footage to report, as the command line does it
    Project             open a folder; each stage is a method
    Settings            what rushes.toml holds
"""

import importlib

# Nothing else is imported here, as `python -m rushes` comes through before it closes the current folder (`__main__`).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rushes.backbones.loading import load_backbone as load_backbone
    from rushes.backbones.sampling import sample as sample
    from rushes.config.tables import Settings as Settings
    from rushes.media.read import read_video as read_video
    from rushes.media.write import write_video as write_video
    from rushes.metrics.base import Shot as Shot
    from rushes.metrics.catalogue import measure as measure
    from rushes.noise.draws import TimeDraw as TimeDraw
    from rushes.objectives import Term as Term
    from rushes.objectives import TermBatch as TermBatch
    from rushes.objectives import ViewErrors as ViewErrors
    from rushes.objectives import backward_by_view as backward_by_view
    from rushes.objectives import collate as collate
    from rushes.objectives import diagnose as diagnose
    from rushes.objectives import dpo_loss as dpo_loss
    from rushes.objectives import guarded as guarded
    from rushes.objectives import loss as loss
    from rushes.objectives import one_against_each as one_against_each
    from rushes.project.api import Project as Project
    from rushes.stats import Measure as Measure
    from rushes.stats import compare_systems as compare_systems
    from rushes.stats import paired_difference as paired_difference
    from rushes.stats import win_rate as win_rate
    from rushes.training.comparison import LatentGrid as LatentGrid
    from rushes.training.recipe import load_recipe as load_recipe
    from rushes.training.recipe import recipe_names as recipe_names

__version__ = "0.1.0"

_MODULES = {
    "rushes.objectives": (
        *("Term", "TermBatch", "ViewErrors", "backward_by_view", "collate", "diagnose", "dpo_loss", "guarded"),
        *("loss", "one_against_each"),
    ),
    "rushes.training.recipe": ("load_recipe", "recipe_names"),
    "rushes.training.comparison": ("LatentGrid",),
    "rushes.noise.draws": ("TimeDraw",),
    "rushes.backbones.loading": ("load_backbone",),
    "rushes.backbones.sampling": ("sample",),
    "rushes.metrics.base": ("Shot",),
    "rushes.metrics.catalogue": ("measure",),
    "rushes.stats": ("Measure", "compare_systems", "paired_difference", "win_rate"),
    "rushes.media.read": ("read_video",),
    "rushes.media.write": ("write_video",),
    "rushes.project.api": ("Project",),
    "rushes.config.tables": ("Settings",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
_PACKAGES = ("recipes",)  # which the docstring names beside them

__all__ = sorted(_HOME)


def __getattr__(name: str) -> "Any":
    if name in _PACKAGES:
        return importlib.import_module(f"rushes.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'rushes' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, *_PACKAGES, "__version__"]
