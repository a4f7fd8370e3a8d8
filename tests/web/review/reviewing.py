"""A project with clips to review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rushes.records import CaptionRow, Clip, Decision, Score
from rushes.store.database import Store
from rushes.web.accounts import Accounts
from rushes.web.review.queue import QueueEntry, ReviewQueue
from rushes.web.review.review_session import ReviewAnswer, ReviewSession, ReviewThreshold

from ..conftest import FPS, FRAMES, encoded

LIMITS = {"technical/blur": ReviewThreshold(None, 0.7)}


def fill_clips(store: Store, count: int, media: bool = True) -> list[str]:
    """Clips c0, c1, ...; the third of every four was dropped for its blur; the first has a dense caption as well."""
    rows: list[Clip | Score | Decision | CaptionRow] = []
    for k in range(count):
        digest = store.put_media_bytes(encoded((7 * k) % 255), ".mp4") if media else "0" * 64
        rows.append(Clip(f"c{k}", digest, f"caption {k} <b>&</b>", 32, 32, FRAMES, FPS, f"footage/file {k}.mp4"))
        blur = 0.71 if k % 4 == 2 else 0.1 + k / 100
        rows.append(Score(f"s{k}", f"c{k}", "curate/technical/blur", blur, measured_by="technical.1"))
        reason = "technical: blur 0.71, at most 0.7" if k % 4 == 2 else ""
        rows.append(Decision(f"d{k}", f"c{k}", not reason, reason, made_by="rushes curate"))
    rows.append(CaptionRow("k0", "c0", "a denser one", "dense", made_by="model"))
    store.add(rows)
    return [f"c{k}" for k in range(count)]


def open_at(folder: Path, count: int = 8, media: bool = True, **more: Any) -> ReviewSession:
    """A review of the project in a folder, which is made at the first call."""
    store = Store.create(folder)
    ids = [clip.id for clip in store.clips(dropped=True)] or fill_clips(store, count, media)
    scenarios = ("hug", "pour", "")
    entries = [
        QueueEntry(id, scenarios[k % 3], abs(0.7 - 0.1 - k / 100) if k % 4 != 2 else 0.01) for k, id in enumerate(ids)
    ]
    return ReviewSession(
        store, ReviewQueue(entries, {"hug": 2, "pour": None}), Accounts(folder / "labelling.db"), LIMITS, **more
    )


def say(review: ReviewSession, person: str, clip: str, keep: bool | None, event: str = "", **more: str) -> str:
    """One answer that builds on what counts now; returns its event."""
    last = review.queue.history(clip).person()
    event = (
        event or f"{sum(1 for _ in review.store.stream(Decision)):08d}{person.encode().hex()[:8]}{clip.encode().hex()}"
    )
    review.save(person, ReviewAnswer(clip, event, last.id if last else "", keep, **more))
    return event
