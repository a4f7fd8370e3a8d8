"""The data card as HTML: a section of a run's report, and a page of its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib import resources
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rushes.media.read import read_video
from rushes.media.strips import contact_sheet
from rushes.records import Clip
from rushes.report.text import compact, duration, plain
from rushes.store.database import Store

Facts = Mapping[str, Any]
_FRAMES, _HIGH_PX = 6, 54
_QUALITY = 72
_WIDE, _TALL = 220, 56  # of a histogram, px


def card_page(store: Store, facts: Facts, title: str) -> str:
    """The whole page; the strips of the clips that it names are in it."""
    return _TEMPLATES.get_template("card_page.html").render(
        title=title, section=card_section(store, facts), facts=facts
    )


def card_section(store: Store, facts: Facts) -> Markup:
    """The section on the data, for a page with the report's style."""
    strips = {id: strip(store, id) for id in facts["named"]}
    histograms = [
        (name, histogram(name, found, f"spread{at}")) for at, (name, found) in enumerate(facts["spreads"].items())
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
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    words = escape(row.caption or row.source)
    uri = base64.b64encode(data.tobytes()).decode()
    return Markup(
        f'<img src="data:image/jpeg;base64,{uri}" width="{sheet.shape[1]}" height="{sheet.shape[0]}" alt="{words}">'
    )


def histogram(name: str, found: Facts, key: str) -> Markup:
    """All clips as faint bars, those kept before them, and the ends of the axis."""
    every, kept = found["every"], found["kept"]
    highest, width = max(every) or 1, _WIDE / len(every)
    parts = []
    for counts, kind in ((every, "tie"), (kept, "left")):
        for at, count in enumerate(counts):
            tall = _TALL * count / highest
            if count:
                box = f'x="{at * width:.1f}" y="{_TALL - tall:.1f}" width="{width - 1:.1f}" height="{tall:.1f}"'
                parts.append(f'<rect {box} class="{kind}"/>')
    parts.append(f'<line x1="0" x2="{_WIDE}" y1="{_TALL + 0.5}" y2="{_TALL + 0.5}" class="zero"/>')
    parts.append(f'<text x="0" y="{_TALL + 15}" class="faint">{compact(found["low"])}</text>')
    parts.append(f'<text x="{_WIDE}" y="{_TALL + 15}" class="faint end">{compact(found["high"])}</text>')
    told = f"{sum(every)} clips, {sum(kept)} kept, from {compact(found['low'])} to {compact(found['high'])}"
    head = f'<title id="{key}-title">{escape(plain(name))}</title><desc id="{key}-desc">{told}</desc>'
    label = f'aria-labelledby="{key}-title {key}-desc"'
    return Markup(f'<svg viewBox="0 0 {_WIDE} {_TALL + 20}" role="img" {label}>{head}{"".join(parts)}</svg>')


def source(facts: Facts, clip: str) -> str:
    """What a person knows a clip by."""
    named = facts["named"][clip]["source"]
    return str(named.rpartition("/")[2] if "://" not in named and not named.startswith("world:") else named)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rushes.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup(resources.files("rushes.report").joinpath("page.css").read_text("utf-8"))
    environment.globals.update(css=css, source=source)
    environment.filters.update(plain=plain, compact=compact, duration=duration)
    return environment


_TEMPLATES = _environment()
