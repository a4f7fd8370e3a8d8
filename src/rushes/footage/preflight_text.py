"""A review in words and as a table of fixed width, for the terminal, and as a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from shlex import quote

from rushes.files import whole_file
from rushes.footage.preflight import NO_CAPTION, NO_FAILURE, CheckedVideo, Preflight, PreflightOptions
from rushes.footage.preflight_costs import LengthChoice, Loss, PreflightSummary, loss, reasons, record
from rushes.formats.caption_files import shown
from rushes.formats.layouts import Listing
from rushes.media.pictures import DEINTERLACE
from rushes.records import plain

FILE = "preflight.json"
MOST_ROWS = 40  # of the table on the terminal, refused ones first
MOST_LINES = 20  # of one reason in an error
_NAME = 44
_FIT = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}


def refusal(done: Preflight, ask: PreflightOptions, project: Path) -> str:
    """What an import into `project` that fails says: each file with its cause, and what to do; "" where none does."""
    if not (done.failed or done.fatal):
        return ""
    lines = ["nothing was imported, because some files cannot be used:", *done.fatal]
    by_reason, counts = dict[str, list[str]](), Counter[str]()
    for refused in done.failures():
        counts[refused.reason] += 1
        if counts[refused.reason] <= MOST_LINES:
            by_reason.setdefault(refused.reason, []).append(f"{refused.source}: {refused.words}")
    for reason, lines_of_reason in by_reason.items():
        lines += lines_of_reason
        if more := counts[reason] - len(lines_of_reason):
            lines.append(f"and {more} more: {reason} ({FILE} in the project names all of them)")
    if not done.fatal:
        lines.append(f"repair or remove {'them' if done.failed > 1 else 'it'}, or skip refused files, with a list of "
            "their names, by setting footage.on_refused = skip")  # fmt: skip
    lines += _too_short(done, ask)
    if any(reason.startswith(NO_CAPTION) for reason in counts):
        lines += ["write the captions beside the videos, or let Rushes write them (by names, vlm or human)"]
        lines += [f"next: rushes captions {quote(str(project))} --by names"]
    return "\n".join(lines)


def import_refusal(done: Preflight, ask: PreflightOptions, project: Path) -> str:
    """What an import into `project` stops for, by footage.on_refused; "" where it goes through."""
    text = refusal(done, ask, project)
    if text and (ask.table.on_refused == "fail" or done.fatal):
        return text
    if not done.clips:
        causes = ", ".join(f"{count} {reason}" for reason, count in reasons(done).items()) or "there are none"
        return (
            f"nothing was imported: none of {len(done.checked)} clips can be used; {causes}; `rushes preflight` says "
            "what to do about each"
        )
    return ""


def _too_short(done: Preflight, ask: PreflightOptions) -> list[str]:
    """What to do about clips that are too short."""
    length = replace(ask.length, frames=round(ask.lengths_s()[0] * ask.length.fps))
    short = (checked.facts for checked in done.checked if checked.reason == "too short")
    least = min((length.available(facts.frames, facts.fps) for facts in short), default=None)
    if least is None or ask.finder is not None:
        return []
    return [
        f"too short for backbone.frames = {length.frames}: leave them out, lower backbone.fps, or set backbone.frames "
        f"to {length.largest(least)}, which fits the shortest of them"
    ]


def write_review(project: Path, done: Preflight, ask: PreflightOptions, facts: object) -> Path:
    """Keep a review as preflight.json in the project: the result given, and a line for each clip.

    `passed_over`, a count in the result, is the list of names here.
    """
    path = project / FILE
    counts = {name: value for name, value in plain(facts).items() if name != "passed_over"}
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        head = json.dumps(counts, ensure_ascii=False, indent=1).removesuffix("\n}")
        file.write(head + ',\n "each": [')
        separator = "\n  "
        for checked in done.checked:
            file.write(separator + json.dumps(record(checked, ask), ensure_ascii=False))
            separator = ",\n  "
        file.write("\n ],\n")
        others = [[each.source, each.reason, each.words] for each in done.refused]
        file.write(f' "other_refused": {json.dumps(others, ensure_ascii=False)},\n')
        file.write(f' "passed_over": {json.dumps(done.listing.passed_over, ensure_ascii=False)}\n}}\n')
    return path


def table(done: Preflight, ask: PreflightOptions) -> list[str]:
    """A row for each clip, those that are refused first."""
    ranked = (_some(done, rank) for rank in ((False, False), (False, True), (True, True)))
    shown = list(chain.from_iterable(ranked))[:MOST_ROWS]
    head = (
        f"{'file':<{_NAME}}",
        f"{'length':>9}",
        f"{'rate':>9}",
        f"{'size':>11}",
        f"{'clips':>5}",
        "what becomes of it",
    )
    lines = ["  ".join(head).rstrip()]
    before = set[str]()  # what was said of a clip above is not said again of the next
    for checked in shown:
        lines.append("  ".join(_cells(checked, ask, checked.words in before)).rstrip())
        before.add(checked.words)
    if more := len(done.checked) - len(shown):
        lines.append(f"... and {more} more, all in {FILE}")
    return lines


def _some(done: Preflight, rank: tuple[bool, bool]) -> Iterator[CheckedVideo]:
    """As many rows as are shown of those that are kept, and duplicates, or not."""
    return islice(
        (checked for checked in done.checked if (checked.usable, checked.reason in NO_FAILURE) == rank), MOST_ROWS
    )


def _cells(checked: CheckedVideo, ask: PreflightOptions, short: bool) -> Iterator[str]:
    facts = checked.facts
    name = checked.item.source.removeprefix(f"{Path(ask.table.path)}/")
    yield f"{name if len(name) <= _NAME else '…' + name[1 - _NAME :]:<{_NAME}}"
    readable = not facts.problem
    yield f"{f'{facts.seconds:.2f} s' if readable else '':>9}"
    yield f"{f'{facts.fps:.4g} fps' if readable else '':>9}"
    yield f"{f'{facts.width_px}x{facts.height_px}' if readable else '':>11}"
    yield f"{checked.clips:>5}"
    if checked.usable:
        yield "; ".join(_fate(checked, ask, loss(checked, ask)))
        return
    state = checked.reason if checked.reason in NO_FAILURE else f"refused, {checked.reason}"
    alone = short or checked.words == checked.reason
    yield state if alone else f"{state}: {checked.words.removeprefix(f'{checked.reason}; ')}"


def _fate(checked: CheckedVideo, ask: PreflightOptions, lost: Loss) -> Iterator[str]:
    """What is done to a clip that is kept."""
    if checked.spans:
        yield f"cut into {len(checked.spans)}, {lost.used_s:.2f} s used"
    elif lost.trimmed:
        yield f"trimmed to {lost.used_s:.2f} s"
    if lost.resampled:
        yield f"resampled to {ask.of(checked.facts).length.fps:g} fps" + (
            "" if checked.facts.steady else " (its own rate varies)"
        )
    if ask.size and len(ask.size.shapes) > 1:
        yield "to " + " and ".join(each.words for each in dict.fromkeys(lost.shapes))
    if lost.share:
        yield f"{_FIT[ask.table.fit]} by {lost.share:.0%}"
    if lost.enlarged:
        yield "enlarged"
    if not checked.facts.moves:
        yield "nothing moves in it"
    yield from checked.facts.treated
    cut = ask.cut_captions(checked.item.caption)
    for each in cut:
        by = f" by {each.tokenizer}" if each.tokenizer else ""
        yield f"caption cut{by} after {each.most} of {each.tokens} tokens: ...{each.seen}|"
    several = ask.size is not None and len(ask.size.shapes) > 1
    if not (several or cut or checked.facts.treated or checked.spans or lost.trimmed or lost.resampled or lost.share):
        yield "as it is"


def shape_lines(result: PreflightSummary) -> list[str]:
    """What goes to which shape and what is lost of it, as a table; nothing where all have one."""
    if len(result.shapes) == 1:
        return []
    rated = len({row.fps for row in result.shapes}) > 1
    rows = [("height x width", "frames", "rate, fps", "clips", "used", _FIT[result.fit], "by", "enlarged")]
    for row in result.shapes:
        if row.clips or not rated:  # of many rates most have none
            size, used = f"{row.height_px} x {row.width_px}", f"{row.used_s:.1f} s"
            counts = (f"{row.fps:g}", f"{row.clips}", used, f"{row.fitted}", f"{row.mean_lost:.0%}", f"{row.enlarged}")
            rows.append((size, f"{row.frames}", *counts))
    columns = [column for column in zip(*rows, strict=True) if rated or column[0] != "rate, fps"]
    widths = [max(map(len, column)) for column in columns]
    table = zip(*columns, strict=True)
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) for cells in table]
    return ["", "clips for each shape (backbone.sizes, lengths and rates):", *lines]


def summary_lines(result: PreflightSummary) -> list[str]:
    """Counts of a review, by `preflight_costs.summary`."""
    fitted = _FIT[result.fit]
    lines = [
        f"{result.usable} of {result.files} files kept, {result.clips} clips: {result.trimmed} trimmed "
        f"({result.used_s:.1f} of {result.seconds:.1f} s used), {result.resampled} resampled, "
        f"{result.fitted} {fitted} (by {result.mean_lost:.0%} on average), {result.enlarged} enlarged, "
        f"{result.unmoving} in which nothing moves"
    ]
    if result.duplicates:
        lines.append(f"{result.duplicates} duplicates are left out: their video and caption are already there")
    if result.alternatives:
        lines.append(f"{result.alternatives} are further captions of videos that are already there: each video is one "
            "clip, trained on with all of its captions")  # fmt: skip
    lines += advice_lines(result)
    if result.refused:
        causes = ", ".join(f"{count} {reason}" for reason, count in result.reasons.items())
        lines.append(f"{result.refused} refused: {causes}" if causes else f"{result.refused} refused")
    return lines


def advice_lines(result: PreflightSummary) -> list[str]:
    """What is taken and could be better: captions that are cut, or could not be measured, and woven fields."""
    lines, count = [], result.captions_cut
    if count:
        by = ", ".join(f"{n} by {name}" for name, n in result.captions_cut_by.items())
        lines.append(
            f"{count} caption{'s are' if count > 1 else ' is'} longer than the model reads{by and f' ({by})'}; {FILE} "
            "shows where each is cut: shorten them, or put what matters first"
        )
    if result.captions_unmeasured:
        lines.append(f"the length of captions was not checked against the model's limit: {result.captions_unmeasured}")
    if result.woven:
        lines.append(
            f"look interlaced, though not marked as interlaced, and are used unchanged: {result.woven}; cure: "
            f"{DEINTERLACE}"
        )
    return lines


def passed_over_lines(listing: Listing) -> list[str]:
    """What lies in the footage and is not taken, though nothing is wrong with it."""
    lines = []
    if listing.others:
        counts = sorted(listing.others.items(), key=lambda pair: (-pair[1], pair[0]))
        lines.append("ignored, neither video nor caption: " + ", ".join(f"{n} {name}" for name, n in counts))
    if names := listing.passed_over:
        lines.append(f"ignored, videos that no row names: {len(names)} ({shown(names)})")
    if names := listing.orphans:
        lines.append(
            f"ignored, captions without a video: {len(names)} ({shown(names)}); give each the name of its video"
        )
    if names := listing.tables:
        lines.append(
            f"ignored, tables of captions, because there are captions of another kind: {len(names)} ({shown(names)}); "
            "keep one kind, or set footage.layout to table"
        )
    return lines


def choice_lines(rows: Sequence[LengthChoice], current: tuple[int, float]) -> list[str]:
    """Clips and comparisons at other lengths and rates, as a table; the settings' own are marked."""
    rates = sorted({row.fps for row in rows})
    cells = {(row.frames, row.fps): row for row in rows}
    lines = ["frames  " + "  ".join(f"{f'{fps:g} fps':>22}" for fps in rates)]
    for frames in sorted({row.frames for row in rows}):
        texts = []
        for fps in rates:
            row = cells[frames, fps]
            mark = "*" if (frames, fps) == current else ""
            text = f"{row.clips} clips, {row.comparisons}{mark}"
            texts.append(f"{text:>22}")
        lines.append(f"{frames:>6}  " + "  ".join(texts))
    return lines
