"""Which network a stage works with, and its weights: the base's, or those of a run and the runs that it comes from.

A `Network` is read from the store once and says all that follows from it: the precision, and whether an adapter is all
in which it differs from the base. Nothing here asks the store a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from safetensors import SafetensorError
from safetensors.torch import load_file

from rushes.backbones.adapters import add_lora, is_adapter, merge_lora
from rushes.backbones.base import Backbone, Precision, trained_precision
from rushes.backbones.loading import load_model
from rushes.backbones.offload import check_trains_offloaded, settle
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.config.settings_files import stored_settings
from rushes.config.tables import BackboneSettings, Settings, TrainSettings
from rushes.devices import default_device
from rushes.evaluate.stored import finished_run
from rushes.project.project import TEXTS, OpenProject, run_folder, without_network
from rushes.records import BASE
from rushes.store.database import Store
from rushes.training.history import WEIGHTS


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, as the networks that come from it see it."""

    name: str
    base: str  # fingerprint of the weights of the base
    made_by: str  # of those that it ended with
    train: TrainSettings


@dataclass(frozen=True)
class Network:
    """A network and its precision; worker processes are sent it."""

    size: BackboneSettings
    dtype: Precision
    chain: tuple[TrainedRun, ...] = ()  # the run whose weights it has, and those it comes from; none = the base's

    @property
    def train(self) -> TrainSettings | None:
        """Settings of the run whose weights it has."""
        return self.chain[0].train if self.chain else None

    @property
    def made_by(self) -> str:
        """Fingerprint of its weights; "" = the base's, which nothing has written down."""
        return self.chain[0].made_by if self.chain else ""

    @property
    def adapter_alone(self) -> bool:
        """Whether an adapter is all in which it differs from the base."""
        return _adapter_alone([run.train for run in self.chain])


def starts_of(store: Store, train: TrainSettings) -> tuple[TrainedRun, ...]:
    """The finished runs that a run with these settings comes from, the newest first; none where it starts at the base.

    Raises:
        ValueError: one of them is not finished.
    """
    return () if train.init_from == BASE else _chain(store, train.init_from)


def _chain(store: Store, name: str) -> tuple[TrainedRun, ...]:
    row = finished_run(store, name)
    train = stored_settings(row.settings).train
    return (TrainedRun(name, row.base, row.made_by, train), *starts_of(store, train))


def network_of(project: OpenProject, system: str, beside: str = "") -> Network:
    """The network of a system: the base's, in the precision of the run `beside` it, if any, or a finished run's.

    Raises:
        ValueError: no such run is finished.
    """
    if system != BASE:
        return run_network(project, system)
    size = project.settings.backbone
    return Network(size, run_network(project, beside).dtype if beside else size.dtype)


def run_network(project: OpenProject, name: str) -> Network:
    """The network of a finished run.

    Raises:
        ValueError: no such run is finished.
    """
    size, chain = project.settings.backbone, _chain(project.store, name)
    return Network(size, _precision(size, [run.train for run in chain]), chain)


def precision_of(project: OpenProject, settings: TrainSettings) -> Precision:
    """The precision of the network that a run with these settings trains."""
    before = starts_of(project.store, settings)
    return _precision(project.settings.backbone, [settings, *(run.train for run in before)])


def _precision(size: BackboneSettings, chain: Sequence[TrainSettings]) -> Precision:
    """The precision of the network that the first of these runs trains, which comes from the others.

    Own weights change where the run, or one that it starts from, tunes them, or where it merges an adapter to begin
    with. The base alone, for takes and its fingerprint, keeps the precision of the settings.
    """
    return trained_precision(size.dtype, not _adapter_alone(chain), default_device().type)


def _adapter_alone(chain: Sequence[TrainSettings]) -> bool:
    """Whether runs that come from each other trained one adapter and nothing else."""
    return len({_tuned(train) for train in chain}) == 1 and chain[0].trainable == "lora"


def _tuned(settings: TrainSettings) -> tuple[object, ...]:
    """What is trained: settings that are equal for runs of which one can go on with what the other wrote.

    Adapters of two experts are written both, whichever was trained; without adapters a run writes its expert's alone.
    """
    return (
        ("lora", settings.lora_rank, settings.lora_alpha)
        if settings.trainable == "lora"
        else (settings.trainable, settings.expert)
    )


def base_in(project: OpenProject, dtype: Precision) -> Backbone:
    """The base in a precision, so that a run of it and the base differ by their weights alone."""
    return project.base if dtype == project.settings.backbone.dtype else _fresh(project, dtype)


def load_run(project: OpenProject, name: str) -> Backbone:
    """A fresh copy of the base with the weights of a finished run.

    Raises:
        ValueError: no such run, another base than it started from, or weights that are not those it ended with.
    """
    return load_network(project, run_network(project, name))


def load_network(project: OpenProject, network: Network) -> Backbone:
    """The same of the network of a finished run."""
    backbone = brought(_trained(project, network.chain))
    backbone.network.requires_grad_(False)
    return backbone


def load_start(project: OpenProject) -> Backbone:
    """What training starts from, its weights that are trained requiring gradients: the base, or a finished run.

    Where the run trained the same weights, an adapter's among them, these go on. Where it trained others, its adapter
    is merged, and an adapter of this run is a new one.

    Raises:
        ValueError: as `load_run` does, or a network that is offloaded and cannot be trained.
    """
    check_offload(project.settings)
    settings = project.settings.train
    before = starts_of(project.store, settings)
    if before and _tuned(settings) == _tuned(before[0].train):
        backbone = _trained(project, before)
        for name, p in backbone.network.named_parameters():  # the run may have trained one of two experts alone
            p.requires_grad_(p.requires_grad or is_adapter(name))
        _train_expert(backbone, settings)
        return backbone
    return _untrained(project, settings, before, precision_of(project, settings))


def _trained(project: OpenProject, chain: tuple[TrainedRun, ...], dtype: Precision | None = None) -> Backbone:
    """A finished run's weights, requiring gradients; in another precision than the run's where `dtype` says so."""
    run, *before = chain
    own = _precision(project.settings.backbone, [each.train for each in chain])
    path = run_folder(project, run.name) / WEIGHTS
    if project.base.fingerprint != run.base:
        raise ValueError(
            f"run {run.name!r} started from weights other than those that [backbone] names now; restore the old "
            "backbone.name and backbone.path"
        )
    backbone = _untrained(project, run.train, tuple(before), dtype or own)
    try:
        backbone.network.load_state_dict(load_file(path), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {_AGAIN}") from error
    if dtype in (None, own) and backbone.fingerprint != run.made_by:  # it is one of the weights as the run had them
        raise ValueError(f"{path}: not the final weights of run {run.name!r}; {_AGAIN}")
    return backbone


_AGAIN = "run `rushes train` again, which writes them from the last checkpoint"


def _untrained(
    project: OpenProject, settings: TrainSettings, before: tuple[TrainedRun, ...], dtype: Precision
) -> Backbone:
    """The model before any run of a chain trained the weights that a run with these settings trains.

    Its network lies in main memory: where weights are sharded, no GPU need ever hold all of them.
    """
    while before and _tuned(before[0].train) == _tuned(settings):
        before = before[1:]
    if before:
        backbone = _trained(project, before, dtype)
        merge_lora(backbone.network)
    else:
        backbone = _fresh(project, dtype, parked=True)
    make_trainable(backbone, settings)
    return backbone


def _fresh(project: OpenProject, dtype: Precision, parked: bool = False) -> Backbone:
    """A copy of the base for weights or a precision of its own, so that there is one network at a time. It shares what
    the base has read."""
    base = without_network(project)
    model = load_model(project.settings.backbone, project.store.project / TEXTS, dtype, parked)
    if isinstance(base, DiffusersBackbone) and isinstance(model, DiffusersBackbone):
        model.read_with(base)
    return model


def brought(backbone: Backbone) -> Backbone:
    """The same, its network where it works."""
    if isinstance(backbone, DiffusersBackbone):
        backbone.unpark()
    return backbone


def make_trainable(backbone: Backbone, settings: TrainSettings) -> None:
    """Let the weights that are trained require gradients, and no others; in place.

    These are a fresh adapter's, all, or a group that the backbone names; of two experts those of both or of one.
    """
    if settings.trainable == "lora":
        add_lora(backbone.network, backbone.spec.lora_targets, settings.lora_rank, settings.lora_alpha)
    else:
        patterns = {"full": ("*",), **backbone.spec.tunable}[settings.trainable]
        for name, p in backbone.network.named_parameters():
            p.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
    _train_expert(backbone, settings)
    settle(backbone.network)


def _train_expert(backbone: Backbone, settings: TrainSettings) -> None:
    """Keep trainable the weights of the expert that `[train]` names alone; in place."""
    for name, p in backbone.network.named_parameters():
        if settings.expert != "both" and not name.startswith(f"{settings.expert}."):
            p.requires_grad_(False)


def check_offload(settings: Settings) -> None:
    """Refuse to train a network whose blocks leave the GPU where that cannot be.

    Raises:
        ValueError: see `rushes.backbones.offload.check_trains_offloaded`.
    """
    size, train = settings.backbone, settings.train
    check_trains_offloaded(size.name, size.offload, size.gradient_checkpointing, train.trainable, train.parallel)
