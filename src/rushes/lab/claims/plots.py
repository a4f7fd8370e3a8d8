"""What a table looks like: a forest plot per claim, and takes of base and trained model for the eye."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

import cv2

from rushes.arrays import Frames
from rushes.files import whole_file
from rushes.lab.claims.base import Claim
from rushes.lab.claims.run import project_folder
from rushes.lab.claims.verdict_table import ClaimRow
from rushes.media.read import read_video
from rushes.media.strips import contact_sheet
from rushes.records import BASE
from rushes.store.database import Store
from rushes.world.mechanics import SIZE_PX

_NAMES_PX, _PLOT_PX, _ROW_PX, _HEAD_PX = 300, 380, 26, 34
_COLOURS = {"reproduced": "#17705d", "not reproduced": "#b3261e", "not decided": "#636872"}
_STYLE = (
    "<style>svg { background: #fff; font: 13px system-ui, sans-serif; } text { fill: #1c1e23; } "
    ".faint { fill: #636872; font-size: 11px; } .middle { text-anchor: middle; } .grid { stroke: #e3e0d9; } "
    ".zero { stroke: #636872; }</style>"
)
SHOWN = 4  # prompts on a contact sheet


def forest(table: Sequence[ClaimRow], title: str) -> str:
    """An SVG with one line per hypothesis, each in units of its margin: beyond -1 or 1 a difference matters.

    To the right is what the hypothesis expects; where it expects none, to the right is up.
    """
    scaled = [_scaled(row) for row in table]
    ends = [abs(x) for values in scaled for x in values if math.isfinite(x)]
    reach = min(12.0, max([2.0, *ends]) * 1.05)
    bottom = _HEAD_PX + _ROW_PX * len(table)
    width, height = _NAMES_PX + _PLOT_PX + 110, bottom + 34

    def x(value: float) -> float:
        return _NAMES_PX + _PLOT_PX / 2 * (1 + max(-1.0, min(1.0, value / reach)))

    parts = [f'<text x="0" y="16">{escape(title)}</text>']
    step = max(1, round(reach / 4))
    for tick in (step * at for at in range(-int(reach / step), int(reach / step) + 1)):
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_HEAD_PX - 6}" y2="{bottom}" class="{kind}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 14}" class="faint middle">{tick}</text>')
    axis = "difference in margins, to the right as claimed"
    parts.append(f'<text x="{x(0):.1f}" y="{bottom + 29}" class="faint middle">{axis}</text>')
    for at, (row, (value, low, high)) in enumerate(zip(table, scaled, strict=True)):
        y, colour = _HEAD_PX + _ROW_PX * (at + 0.5), _COLOURS[row.outcome]
        parts += [
            f'<text x="0" y="{y + 4:.1f}">{escape(row.hypothesis.name)}</text>',
            f'<path d="M{x(low):.1f} {y:.1f}H{x(high):.1f}" stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>',
            f'<text x="{_NAMES_PX + _PLOT_PX + 10}" y="{y + 4:.1f}" style="fill:{colour}">{row.outcome}</text>',
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{_STYLE}{"".join(parts)}</svg>\n'
    )


def _scaled(row: ClaimRow) -> tuple[float, float, float]:
    """Difference and ends of its interval in margins, turned so that up is as claimed."""
    h, e = row.hypothesis, row.effect
    sign = -1.0 if h.expects == "lower" else 1.0
    value, *ends = (sign * each / h.margin for each in (e.value, e.low, e.high))
    return value, min(ends), max(ends)


def write_plots(folder: Path, claims: Sequence[Claim], table: Sequence[ClaimRow], seed: int) -> None:
    """`forest-CLAIM.svg`, and `takes-CLAIM.webp` where the projects of the runs are still there."""
    for claim in claims:
        with whole_file(folder / f"forest-{claim.name}.svg") as partial:
            drawn = forest([row for row in table if row.claim == claim.name], claim.paper)
            partial.write_text(drawn, encoding="utf-8")
        with suppress(ValueError):  # without the project there is nothing to show
            sheet = contact_sheet(*_takes(folder, claim, seed), columns=9, scale=2)
            done, data = cv2.imencode(".webp", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 90])
            assert done
            with whole_file(folder / f"takes-{claim.name}.webp") as partial:
                partial.write_bytes(data.tobytes())


def _takes(folder: Path, claim: Claim, seed: int) -> list[list[Frames]]:
    """Takes of the first prompts by the base and by the claim's own arm."""
    arm = claim.arm(claim.hypotheses[0].arm)
    systems = (BASE, arm.name)
    with Store.open(project_folder(folder, seed, arm)) as store:
        takes = {system: {c.group: c for c in store.candidates(split="eval", system=system)} for system in systems}
        prompts = list(takes[BASE])[:SHOWN]
        clips = [
            read_video(store.media_path(takes[system][prompt].media), size_px=(SIZE_PX, SIZE_PX)).frames_FHWC
            for prompt in prompts
            for system in systems
            if prompt in takes[system]
        ]
    return [clips]
