"""Balance of topics: the best clips of each topic stay, up to a number or to a share of what stays.

Topics are listed with their words, found by k-means in the embeddings of the captions, or named by the footage's table.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath

import numpy as np
from scipy.cluster.vq import kmeans2

from rushes.arrays import Float32s
from rushes.config.curate import BalanceSettings
from rushes.config.tables import Settings
from rushes.curate import hashing
from rushes.curate.base import CurationEntry, Dropped, Stage, best_first
from rushes.curate.embeddings import Embedder, embedded, make_embedder, requests

NAME, VERSION = "balance", 1
OTHER = "other"  # topic of a clip of which no listed word tells
NO_TOPIC = "its caption matches no listed topic"
_ROUNDS = 30
_TITLE_WORDS = 3


def by_keywords(captions: Sequence[str], topics: Mapping[str, Sequence[str]]) -> list[str]:
    """The topic of each caption: that of which most words are in it, the first of equals, `other` where none is.

    Words are whole and of any case; a star stands for any ending, so that "cook*" finds "cooking".
    """
    patterns = {
        topic: [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)".replace(r"\*", r"\w*"), re.IGNORECASE) for word in words]
        for topic, words in topics.items()
    }
    assigned = []
    for caption in captions:
        hits = {topic: sum(bool(word.search(caption)) for word in words) for topic, words in patterns.items()}
        best = max(hits, key=lambda topic: hits[topic], default=OTHER)
        assigned.append(best if hits.get(best) else OTHER)
    return assigned


def topics_of(captions: Sequence[str], sources: Sequence[str], topics: Mapping[str, Sequence[str]]) -> list[str]:
    """The topic of each clip by the words of its caption; where none is there, by its file's name and folder."""
    assigned = by_keywords(captions, topics)
    left = [at for at, topic in enumerate(assigned) if topic == OTHER]
    names = [re.sub(r"[\W_]+", " ", " ".join(PurePath(sources[at]).parts[-2:])) for at in left]
    for at, topic in zip(left, by_keywords(names, topics), strict=True):
        assigned[at] = topic
    return assigned


def scenarios_of(named: Sequence[str], wanted: Mapping[str, int]) -> list[str]:
    """The topic of each clip by the name that its footage gives it; `other` without one, or one that is not wanted.

    Raises ValueError: no clip has a name.
    """
    if named and not any(named):
        raise ValueError(
            "curate.balance.by is scenario, but the footage has no scenarios; set footage.scenario_column to the "
            "table's column and run `rushes import` again"
        )
    return [name if name and (not wanted or name in wanted) else OTHER for name in named]


def by_clusters(captions: Sequence[str], rows_ND: Float32s, clusters: int, seed: int) -> list[str]:
    """The topic of each caption: its cluster by k-means on unit rows, named after the words that set it apart.

    The same rows and seed give the same clusters; there are at most as many as different captions.
    """
    count = min(clusters, len(set(captions)))
    if count < 2:
        return ["all"] * len(captions)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        _, labels = kmeans2(rows_ND, count, iter=_ROUNDS, minit="++", rng=np.random.default_rng(seed))
    names = _titles(captions, labels.tolist())
    return [names[label] for label in labels.tolist()]


def _titles(captions: Sequence[str], labels: Sequence[int]) -> dict[int, str]:
    """Cluster -> the words that are more frequent in it than elsewhere, numbered where two have the same."""
    words = [set(re.findall(r"[^\W\d_]{3,}", caption.lower())) - hashing.COMMON_WORDS for caption in captions]
    everywhere = Counter(word for tokens in words for word in tokens)
    titles: dict[int, str] = {}
    for label in sorted(set(labels)):
        members = [tokens for tokens, other in zip(words, labels, strict=True) if other == label]
        here = Counter(word for tokens in members for word in tokens)

        def apart(word: str, here: Counter[str] = here, members: Sequence[set[str]] = members) -> tuple[float, str]:
            return here[word] / len(members) - everywhere[word] / len(words), word

        title = ", ".join(sorted(here, key=apart, reverse=True)[:_TITLE_WORDS]) or "no words"
        titles[label] = title if title not in titles.values() else f"{title} ({label})"
    return titles


def quotas(sizes: Mapping[str, int], most: int, wanted: Mapping[str, int], largest_share: float) -> dict[str, int]:
    """How many clips of each topic may stay, given how many there are.

    At most `wanted` of its name, else `most`, and so few that no topic is above its share of all that stays: where each
    keeps min(size, q) the largest share only grows with q, so the largest q that holds is the best. 0 = no limit.

    Raises ValueError: the share cannot hold with so few topics.
    """
    free = {topic: min(size, wanted.get(topic, most) or size) for topic, size in sizes.items()}
    if not largest_share or not free:
        return free
    tried = range(1, max(free.values()) + 1)
    quota = bisect_right(tried, 0, key=lambda q: q > largest_share * sum(min(n, q) for n in free.values()) + 1e-9)
    if not quota:
        raise ValueError(
            f"curate.balance.largest_share {largest_share:g} is too small for {len(sizes)} topics; set it to "
            f"{1 / len(sizes):.3g} or more, or list more topics"
        )
    return {topic: min(count, quota) for topic, count in free.items()}


def choose(
    table: BalanceSettings,
    embedder: Embedder | None,
    seed: int,
    answers: Path,
    entries: Sequence[CurationEntry],
) -> Dropped:
    """Clips beyond their topic's quota, the best of each staying.

    Raises:
        ValueError: the share cannot hold, or the order names what nobody measured.
        EndpointError: the embedding model cannot be asked.
    """
    ordered = best_first(entries, table.order, "curate.balance.order")
    captions = [" ".join(entry.caption.split()) for entry in ordered]
    if table.by == "scenario":
        topics = scenarios_of([entry.scenario for entry in ordered], table.wanted)
    elif embedder is None:
        topics = topics_of(captions, [entry.source for entry in ordered], table.topics)
    else:
        topics = by_clusters(captions, embedded(embedder, captions, answers), table.clusters, seed)
    unwanted = OTHER if table.others == "drop" and embedder is None else ""
    sizes = Counter(topic for topic in topics if topic != unwanted)
    stay = quotas(sizes, table.most, table.wanted, table.largest_share)
    used = Counter[str]()
    dropped = {}
    for entry, topic in zip(ordered, topics, strict=True):
        used[topic] += 1
        if topic == unwanted:
            if not entry.person:
                dropped[entry.id] = NO_TOPIC
        elif used[topic] > stay[topic] and not entry.person:
            dropped[entry.id] = f"topic {topic}: rank {used[topic]} of {sizes[topic]}, {stay[topic]} stay"
    return dropped


def make(settings: Settings, answers: Path) -> Stage:
    """The stage. Raises ValueError where there is no limit, no topic, or no model to embed with."""
    table = settings.curate.balance
    if not table.most and not table.largest_share and not table.wanted and table.others == "keep":
        raise ValueError(
            "curate.balance: most, largest_share and wanted are all off, so the stage does nothing; set one, or remove "
            "balance from curate.stages"
        )
    if table.by == "keywords" and not any(table.topics.values()):
        raise ValueError(
            'curate.balance.topics is empty; list topics with their words, such as cooking = ["cook*", "chop*"], or '
            'set curate.balance.by to "clusters"'
        )
    if table.by != "scenario" and (unknown := sorted(set(table.wanted) - set(table.topics))):
        raise ValueError(f"curate.balance.wanted: {unknown[0]} is not in curate.balance.topics; list its words there")
    embedder = make_embedder(settings, answers, NAME) if table.by == "clusters" else None
    return Stage(
        NAME,
        f"{NAME}.{VERSION}:{embedder.name if embedder else table.by}",
        None,
        partial(choose, table, embedder, settings.project.seed, answers),
        stop=settings.curate.when_down == "stop",
        reads_caption=True,
        calls=partial(requests, embedder) if embedder and embedder.asks else None,
    )
