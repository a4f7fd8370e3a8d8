"""Captions as vectors: hashed, by a model behind an address, or by a text encoder from a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rushes.arrays import Float32s
from rushes.config.tables import Settings
from rushes.curate import hashing
from rushes.curate.asking import other_model
from rushes.files import content_hash
from rushes.records import stable_hash
from rushes.sidefile import SideFile

T = TypeVar("T")

FILE = "embeddings.db"  # beside the file of answers


@dataclass(frozen=True)
class Embedder:
    """One way to embed texts."""

    name: str  # way, model and version: vectors are kept under it
    embed: Callable[[Sequence[str]], Float32s]  # texts -> rows [N, D], of any length
    batch: int  # texts in one call, each of which is a request where a model is asked
    cached: bool  # whether vectors are expensive enough to be stored in a file
    asks: bool = False  # whether calls go to a model behind an address


def make_embedder(settings: Settings, answers: Path, stage: str) -> Embedder:
    """The way that `[curate.embeddings]` chooses.

    Raises ValueError: no model is named, its key is missing, or the folder is none of a text encoder.
    """
    table = settings.curate.embeddings
    if table.by == "hashing":
        return Embedder(f"{hashing.VERSION}:{table.size}", partial(hashing.embed, size=table.size), 4096, cached=False)
    if table.by == "endpoint":
        model = other_model(settings.endpoint, table.endpoint, answers, "curate.embeddings.endpoint", stage)
        return Embedder(
            f"endpoint:{model.name}",
            lambda texts: np.asarray(model.endpoint().embed(texts), np.float32),
            table.batch,
            cached=True,
            asks=True,
        )
    folder = Path(table.path)
    config = folder / "config.json"
    if not table.path or not config.is_file():
        raise ValueError(
            f"curate.embeddings.path: {table.path or 'empty'}: name a folder with a text encoder as transformers saves "
            "it, with config.json, model.safetensors and its tokenizer"
        )
    digest = stable_hash([content_hash(file) for file in (config, *sorted(folder.glob("*.safetensors")))], 12)
    return Embedder(f"folder:{folder.name}@{digest}", _Encoder(folder), table.batch, cached=True)


def embedded(embedder: Embedder, texts: Sequence[str], answers: Path) -> Float32s:
    """Unit rows [N, D], float32; equal texts are embedded once, and kept vectors not again. A zero row stays zero.

    Raises:
        EndpointError: the model cannot be asked; what it answered before is kept.
        ValueError: vectors of several lengths under one name.
    """
    unique = list(dict.fromkeys(texts))
    rows = _with_file(embedder, unique, answers.with_name(FILE)) if embedder.cached else _computed(embedder, unique)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    if len(unique) == len(texts):
        return rows
    places = {text: at for at, text in enumerate(unique)}
    return rows[[places[text] for text in texts]]


def requests(embedder: Embedder, texts: int) -> int:
    """Most requests that so many texts cost."""
    return -(-texts // embedder.batch) if embedder.asks else 0


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _computed(embedder: Embedder, texts: Sequence[str]) -> Float32s:
    rows, at = np.zeros((0, 1), np.float32), 0
    for part in _parts(texts, embedder.batch):
        vectors = embedder.embed(part)
        rows = rows if at else np.empty((len(texts), vectors.shape[1]), np.float32)  # once: they may be many
        rows[at : at + len(vectors)] = vectors
        at += len(vectors)
    return rows


def _with_file(embedder: Embedder, texts: Sequence[str], file: Path) -> Float32s:
    """The same through a file, written after each call, so that a run that is cut off pays nothing twice."""
    keys = [stable_hash([embedder.name, text], 32) for text in texts]
    table = "CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL)"
    with SideFile(file, [table], paid=True) as db:
        missing = [at for at, key in enumerate(keys) if _find(db, key) is None]
        for part in _parts(missing, embedder.batch):
            rows = embedder.embed([texts[at] for at in part])
            db.run("BEGIN")
            for at, row in zip(part, rows, strict=True):
                db.run("INSERT OR IGNORE INTO vectors VALUES (?, ?)", keys[at], row.astype("<f4").tobytes())
            db.run("COMMIT")
        return _stacked(embedder, [_find(db, key) for key in keys])


def _find(db: SideFile, key: str) -> bytes | None:
    row = db.first("SELECT vector FROM vectors WHERE key = ?", key)
    return row[0] if row else None


def _stacked(embedder: Embedder, vectors: Sequence[bytes | None]) -> Float32s:
    sizes = {len(vector) // 4 for vector in vectors if vector is not None}
    if len(sizes) > 1:
        raise ValueError(
            f"{embedder.name}: its vectors have {sorted(sizes)} numbers, so the model behind this name has changed; "
            f"delete {FILE} in the project, where the old vectors are stored"
        )
    rows = np.empty((len(vectors), *sizes), np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        row[:] = np.frombuffer(vector or b"", "<f4")
    return rows


class _Encoder:
    """A text encoder out of a folder, loaded when it is first needed: the mean of its last states over the words."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, texts: Sequence[str]) -> Float32s:
        import torch

        self._loaded = self._loaded or self._load()
        tokenizer, model = self._loaded
        longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512), 4096)
        words = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.inference_mode():
            inputs = {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}
            states_NLD = model(**inputs).last_hidden_state.float()
        mask_NL1 = words["attention_mask"][..., None].float()
        return np.asarray((states_NLD * mask_NL1).sum(1) / mask_NL1.sum(1).clamp(min=1), np.float32)

    def _load(self) -> tuple[Any, Any]:
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise ValueError(
                "curate.embeddings.by = folder needs transformers: make install EXTRAS=diffusers"
            ) from error
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
            model = AutoModel.from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            ).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{self.folder}: not a text encoder that transformers can load ({error})") from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if model.config.is_encoder_decoder:
            return tokenizer, model.get_encoder()
        return tokenizer, getattr(model, "text_model", model)  # of a model of pictures and texts
