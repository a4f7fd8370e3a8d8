"""A project's data card: Markdown and text, a page, and hashes.

All of it comes from reports/curation.json, which curation writes; the page also shows the clips that it names.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from markupsafe import Markup

from rushes.curate.summary import CurationResult, Example, StageSummary, ThresholdExamples
from rushes.files import write_text
from rushes.media.images import jpeg_of
from rushes.media.read import read_video
from rushes.media.strips import contact_sheet
from rushes.pages import in_html
from rushes.records import Clip
from rushes.report.figures import histogram
from rushes.report.model import typed
from rushes.report.text import compact, templates
from rushes.store.database import Store
from rushes.text_reader import checked_text, parse_json

RESULT = Path("reports", "curation.json")
CARD = Path("reports", "data-card.md")
PAGE = Path("reports", "data-card.html")
HASHES = "data-card.sha256"  # beside the card


def read_result(project: Path) -> CurationResult | None:
    """What the last curation of a project found; None where there was none.

    Raises ValueError: it was altered, or is of another form.
    """
    path = project / RESULT
    if not path.is_file():
        return None
    again = "run `rushes curate`, which writes it again"
    stored = parse_json(checked_text(path, again), f"{path}: not JSON; {again}")
    try:
        return typed(CurationResult, {**stored, "funnel": stored})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not in the form that `rushes curate` writes ({error}); {again}") from error


@dataclass(frozen=True)
class CardResult:
    """The data card of a project."""

    card: Path  # Markdown; the page and the hashes lie beside it
    personal_data: Mapping[str, int]  # how many there are: `file_names` of clips, whose frames the page shows


def write_card(store: Store) -> Path:
    """Write the card as Markdown and as a page, and the hashes of the files of the set; returns the Markdown's path.

    Raises ValueError: the project was not curated.
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
        write_text(store.project / name, text)
    return store.project / CARD


def personal_data(store: Store) -> dict[str, int]:
    """What of a person's files stands in the card: names of those that it shows."""
    result = read_result(store.project)
    clips = result.named.values() if result else ()
    names = {clip.source for clip in clips if not clip.source.startswith("world:")}
    return {"file_names": len(names)} if names else {}


def lines(facts: CurationResult) -> list[str]:
    """The funnel as a table of text, then each threshold that something lies beyond with the clips next to it."""
    head = ("stage", "in", "out", "kept", "why")
    rows = [
        head,
        *((p.stage, str(p.entered), str(p.dropped), str(p.kept), why(p)) for p in facts.funnel.passages),
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    laid_out = (["", row[0].ljust(widths[0]), *map(str.rjust, row[1:4], widths[1:]), row[4]] for row in rows)
    text_lines = [summary(facts), *("  ".join(columns) for columns in laid_out)]
    for stage, edge in _crossed(facts):
        out, inside = (_nearest(facts, examples) for examples in (edge.outside, edge.inside))
        text_lines.append(f"  {stage}: {edge.words}, {edge.side} {edge.threshold:g}: out {out}; inside {inside}")
    return text_lines


def summary(facts: CurationResult) -> str:
    """One sentence: how many clips came in, and how many are left."""
    funnel = facts.funnel
    extra = [
        f"{count} {words}"
        for count, words in (
            (funnel.person_dropped, "dropped by a person"),
            (funnel.person_kept, "kept by a person"),
            (funnel.stills, "prompts without footage, which pass"),
        )
        if count
    ]
    would = "would stay" if funnel.dry_run else "stay"
    return f"{funnel.entered} clips went in, {funnel.kept} {would}" + (f" ({', '.join(extra)})" if extra else "")


def why(passage: StageSummary) -> str:
    """The reasons of one stage with their counts, or why it was skipped."""
    if passage.skipped:
        return f"SKIPPED: {passage.skipped}"
    counts = [f"{reason} {count}" for reason, count in (passage.reasons or {}).items()]
    return ", ".join([*counts, *([f"kept by a person against it {passage.held}"] if passage.held else [])])


def source(facts: CurationResult, clip: str) -> str:
    """What a person knows a clip by."""
    return shown_source(facts.named[clip].source)


def shown_source(text: str) -> str:
    """The name of a clip's file, or what else its source is."""
    return text if "://" in text or text.startswith("world:") else text.rpartition("/")[2]


def markdown(facts: CurationResult, title: str) -> str:
    """The card as a Markdown document."""
    return _TEMPLATES.get_template("card.md").render(title=title, facts=facts, hashes=HASHES) + "\n"


def bar_text(counts: Sequence[int]) -> str:
    """Counts as a row of eight heights; a count above none is never shown as none."""
    highest = max(counts, default=0) or 1
    return "".join(" ▁▂▃▄▅▆▇█"[-(-8 * count // highest)] if count else "·" for count in counts)


def _crossed(facts: CurationResult) -> Iterator[tuple[str, ThresholdExamples]]:
    for passage in facts.funnel.passages:
        yield from ((passage.stage, edge) for edge in passage.edges if edge.outside)


def _nearest(facts: CurationResult, examples: Sequence[Example]) -> str:
    values = [(source(facts, each.clip), nan if each.value is None else each.value) for each in examples[:2]]
    return ", ".join(f"{name} {compact(value)}" for name, value in values) or "none"


_FRAMES, _HIGH_PX = 6, 54
_QUALITY = 72


def card_page(store: Store, facts: CurationResult, title: str) -> str:
    """The whole page; the strips of the clips that it names are in it."""
    return _TEMPLATES.get_template("card_page.html").render(
        title=title, section=card_section(store, facts), facts=facts
    )


def card_section(store: Store, facts: CurationResult) -> Markup:
    """The section on the data, for a page with the report's style."""
    strips = {id: strip(store, id) for id in facts.named}
    histograms = [
        (name, histogram(name, bins.every, bins.kept, (bins.low, bins.high), f"spread{at}"))
        for at, (name, bins) in enumerate(facts.funnel.spreads.items())
    ]
    return Markup(_TEMPLATES.get_template("card.html").render(facts=facts, strips=strips, histograms=histograms))


def strip(store: Store, clip: str) -> Markup:
    """Six frames of a clip in a row as a JPEG in a data URI; a few words where its file cannot be read."""
    row = store.get(clip)
    assert isinstance(row, Clip)
    seconds = row.frames / row.fps
    size = (_HIGH_PX, max(1, round(_HIGH_PX * row.width_px / row.height_px)))
    try:
        path = store.media_path(row.media)
        frames = read_video(path, fps=_FRAMES / seconds, size_px=size, allow_truncated=True).frames_FHWC
    except ValueError:
        return Markup('<span class="faint">no picture: its file cannot be read</span>')
    sheet = contact_sheet([frames], columns=_FRAMES)
    words = in_html(row.caption or shown_source(row.source))
    uri = base64.b64encode(jpeg_of(sheet, _QUALITY)).decode()
    return Markup(
        f'<img src="data:image/jpeg;base64,{uri}" width="{sheet.shape[1]}" height="{sheet.shape[0]}" alt="{words}">'
    )


_TEMPLATES = templates(bars=bar_text)
_TEMPLATES.globals.update(source=source, summary=summary, why=why, nearest=_nearest)
