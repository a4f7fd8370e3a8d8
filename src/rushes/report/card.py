"""The files of a project's data card: Markdown, a page, and hashes.

All of it comes from reports/curation.json, which curation writes; the page also shows the clips that it names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.media.files import whole_file
from rushes.report.card_page import card_page
from rushes.report.card_text import HASHES, markdown
from rushes.store.database import Store

RESULT = Path("reports", "curation.json")
CARD = Path("reports", "data-card.md")
PAGE = Path("reports", "data-card.html")


def read_result(project: Path) -> dict[str, Any] | None:
    """What the last curation of a project found; None where there was none.

    Raises:
        ValueError: the file is not JSON.
    """
    path = project / RESULT
    if not path.is_file():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); run `rushes curate`, which writes it again") from error
    return facts


@dataclass(frozen=True)
class CardResult:
    """The data card of a project."""

    card: Path  # Markdown; the page and the hashes lie beside it


def write_card(store: Store) -> Path:
    """Write the card as Markdown and as a page, and the hashes of the files of the set; returns the Markdown's path.

    Raises:
        ValueError: the project was not curated.
    """
    facts = read_result(store.project)
    if facts is None:
        raise ValueError(f"{store.project}: was not curated, so there is no data card; run `rushes curate` first")
    title = store.project.resolve().name
    texts = {
        CARD.with_name(HASHES): "".join(f"{media}\n" for media in sorted({clip.media for clip in store.stream_set()})),
        PAGE: card_page(store, facts, title),
        CARD: markdown(facts, title),
    }
    for name, text in texts.items():
        with whole_file(store.project / name) as part:
            part.write_text(text, encoding="utf-8")
    return store.project / CARD
