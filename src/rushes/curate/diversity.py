"""Captions that are unlike each other: from the best clip to the worst, one stays if it adds something.

PhysHPO (arXiv 2508.10858, sec. 3.1) after Deita: a clip stays if its caption's largest cosine similarity to those that
stay is below tau. What captions do not say is not seen: clips of one short prompt all look the same to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rushes.config.curate import DiversitySettings
from rushes.config.tables import Settings
from rushes.curate.base import CurationEntry, Dropped, Stage, best_first
from rushes.curate.embeddings import Embedder, embedded, make_embedder, requests
from rushes.curate.greedy import unlike

NAME, VERSION = "diversity", 1


def choose(table: DiversitySettings, embedder: Embedder, answers: Path, entries: Sequence[CurationEntry]) -> Dropped:
    """Clips whose captions are too much like that of a better clip. One without a caption stays.

    Raises:
        ValueError: all clips have one caption, so captions cannot distinguish them.
        EndpointError: the embedding model cannot be asked.
    """
    ordered = best_first(entries, table.order, "curate.diversity.order")
    texts = {entry.id: " ".join(entry.caption.split()) for entry in ordered}
    first = {text: id for id, text in reversed(texts.items()) if text}  # text -> the best clip under it
    unique = [text for text in dict.fromkeys(texts.values()) if text]
    if len(unique) == 1 and len(ordered) > 1:
        raise ValueError(
            f"curate.diversity: all {len(ordered)} clips have the same caption, so captions cannot distinguish them; "
            "remove diversity from curate.stages, or write captions before it (stage captions, write = all)"
        )
    blocker, likeness = unlike(embedded(embedder, unique, answers), table.tau)
    below = f"below {table.tau:g} a clip stays (curate.diversity.tau)"
    ruled_out = {
        unique[row]: f"caption too similar to another: {likeness[row]:.2f} to {first[unique[blocker[row]]]}; {below}"
        for row in (blocker >= 0).nonzero()[0]
    }
    dropped, used = {}, Counter[str]()
    for entry in ordered:
        text = texts[entry.id]
        used[text] += 1
        if not text or entry.person:
            continue
        if text in ruled_out:
            dropped[entry.id] = ruled_out[text]
        elif used[text] > table.repeats:
            dropped[entry.id] = (
                f"same caption as others: {first[text]}, {table.repeats} stay (curate.diversity.repeats)"
            )
    return dropped


def make(settings: Settings, answers: Path) -> Stage:
    """The stage. Raises ValueError as `rushes.curate.embeddings.make_embedder` does."""
    table = settings.curate.diversity
    embedder = make_embedder(settings, answers, NAME)
    return Stage(
        NAME,
        f"{NAME}.{VERSION}:{embedder.name}",
        None,
        partial(choose, table, embedder, answers),
        stop=settings.curate.when_down == "stop",
        reads_caption=True,
        calls=partial(requests, embedder) if embedder.asks else None,
    )
