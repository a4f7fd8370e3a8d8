"""The data card as HTML: a section of a run's report, and a page of its own."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from markupsafe import Markup, escape

from rushes.media.read import read_video
from rushes.media.strips import contact_sheet
from rushes.records import Clip
from rushes.report.card_text import Facts, source, summary, why
from rushes.report.figures import histogram
from rushes.report.templates import templates
from rushes.store.database import Store

_FRAMES, _HIGH_PX = 6, 54
_QUALITY = 72


def card_page(store: Store, facts: Facts, title: str) -> str:
    """The whole page; the strips of the clips that it names are in it."""
    return _TEMPLATES.get_template("card_page.html").render(
        title=title, section=card_section(store, facts), facts=facts
    )


def card_section(store: Store, facts: Facts) -> Markup:
    """The section on the data, for a page with the report's style."""
    strips = {id: strip(store, id) for id in facts["named"]}
    histograms = [
        (name, histogram(name, bins["every"], bins["kept"], (bins["low"], bins["high"]), f"spread{at}"))
        for at, (name, bins) in enumerate(facts["spreads"].items())
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


_TEMPLATES = templates()
_TEMPLATES.globals.update(source=source, summary=summary, why=why)
