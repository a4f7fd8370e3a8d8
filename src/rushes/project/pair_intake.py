"""The first stage of a project on pairs that one has: clips to compare, and prompts that are held out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from rushes.config.tables import FootageSettings
from rushes.files import write_json
from rushes.footage.ingest import Imported, add_prompt, prompt_clip
from rushes.footage.pairs import FILE, PairsImported, import_pairs
from rushes.footage.preflight import PreflightOptions
from rushes.footage.split import held_out, pair_videos
from rushes.formats.pair_files import find_pairs
from rushes.formats.pair_folders import swapped_folders
from rushes.formats.preferences import ForeignPairs
from rushes.media.read import read_video
from rushes.project.look_alikes import look_alikes
from rushes.project.project import OpenProject
from rushes.records import Candidate, Split, stable_hash

MADE_BY = "import of pairs"


def import_own_pairs(project: OpenProject, ask: PreflightOptions) -> Imported:
    """Labelled pairs into the store; both clips of each held-out prompt are kept from training.

    What was imported before stays, and so does its side.

    Args:
        project: with `footage.kind = "pairs"`.
        ask: how long and large the clips are that are trained on.

    Raises:
        ValueError: no pair can be used, or all are of one prompt, of which none can be held out.
    """
    table, place = project.settings.footage, quote(str(project.store.project))
    if table.rejected and swapped_folders(Path(table.path), Path(table.rejected)):
        paths = quote(f"footage.path={table.rejected}"), quote(f"footage.rejected={table.path}")
        raise ValueError(
            f"footage.path: {table.path} seems by its name to hold the worse videos, and footage.rejected the better "
            f"ones; run `rushes set {place} {' '.join(paths)}`, or rename the folders"
        )
    with TemporaryDirectory(dir=project.store.project, prefix=".pairs-") as unpacked:
        return _import_from(project, find_pairs(*pair_source(project.settings.footage), Path(unpacked)), ask)


def _import_from(project: OpenProject, pairs: ForeignPairs, ask: PreflightOptions) -> Imported:
    table, store = project.settings.footage, project.store
    if most := project.most_files:
        pairs = replace(pairs, pairs=pairs.pairs[:: max(1, len(pairs.pairs) // most)][:most])
    prompts, place = {_prompt_id(pair.prompt) for pair in pairs.pairs}, quote(str(store.project))
    if table.eval_fraction and len(prompts) == 1:
        more = "add pairs with other prompts"
        if prompts == {_prompt_id("")}:
            more = (
                f"no pair has a prompt: `rushes set {place} footage.prompts=FILE` names them (`--prompts` of "
                "`rushes init`)"
            )
        raise ValueError(
            f"{pairs.path}: all pairs have the same prompt, so none can be held out; {more}, or train without a "
            f"verdict: `rushes set {place} footage.eval_fraction=0`, then `rushes train {place}`"
        )
    # No more than are looked at: of a hundred thousand prompts a fifth would be lost to training.
    fraction = min(table.eval_fraction, project.settings.evaluate.prompts / max(1, len(prompts)))
    before = {row.id: _prompt_id(row.caption) for row in pair_videos(store)}
    out = held_out(store, {id: id for id in prompts}, fraction, before) & prompts
    sides: tuple[Split, Split] = ("eval", "train")  # in this order: a copy of a held-out video is not trained on
    parts = {side: _part(pairs, out, side) for side in sides}
    results = _import_sides(project, parts, ask)
    stills = _hold_out(project, out)
    left_out = sum((Counter(result.left_out) for result in results.values()), Counter[str]())
    return Imported(0, None, pairs=results["train"].pairs, prompts=stills or None, refused=left_out.total() or None)


def _import_sides(
    project: OpenProject, parts: Mapping[Split, ForeignPairs], ask: PreflightOptions
) -> dict[Split, PairsImported]:
    """What was imported of each side; where no pair of either can be used, the reasons of both together."""
    results: dict[Split, PairsImported] = {}
    for side, part in parts.items():
        if not part.pairs:
            continue
        try:
            results[side] = _import(project, part, ask, side)
        except ValueError:
            if part.pairs or side == "train":
                raise
            other = parts["train"]
            with suppress(ValueError):
                import_pairs(project.store, other, ask, window=project.settings.footage.window or None, dry_run=True)
            if not other.pairs:
                part.entries += other.entries
                part.left_out += other.left_out
                part.examples |= other.examples
                part.refuse_if_empty()
            raise
    return results


def pair_source(table: FootageSettings) -> tuple[Path, Path | None, Path | None, str, tuple[str, ...]]:
    """Where the pairs lie: a folder or a file, the folder of the worse ones, the file of prompts; columns, answers."""
    return (
        Path(table.path),
        Path(table.rejected) if table.rejected else None,
        Path(table.prompts) if table.prompts else None,
        table.columns,
        table.answers,
    )


def _prompt_id(prompt: str) -> str:
    """The same for prompts that differ in capitals and spaces alone."""
    return stable_hash(["prompt of pairs", " ".join(prompt.casefold().split())])


def _part(pairs: ForeignPairs, out: Collection[str], side: Split) -> ForeignPairs:
    """The pairs of one side; what was left out when they were read is counted with those that are trained on."""
    own = [pair for pair in pairs.pairs if (_prompt_id(pair.prompt) in out) == (side == "eval")]
    if side == "train":
        return replace(pairs, pairs=own, entries=pairs.entries - (len(pairs.pairs) - len(own)))
    return ForeignPairs(pairs.path, pairs.meanings, len(own), own)


def _import(project: OpenProject, pairs: ForeignPairs, ask: PreflightOptions, side: Split) -> PairsImported:
    file, words = project.store.project / FILE, "held out: " if side == "eval" else ""
    before = json.loads(file.read_text(encoding="utf-8"))["rows"] if side == "train" and file.is_file() else []
    with project.timed("import", len(pairs.pairs)) as tick:
        result = import_pairs(
            project.store, pairs, ask, split=side, window=project.settings.footage.window or None,
            look_alikes=look_alikes, say=lambda line: project.say(f"{words}{line}"), tick=partial(tick, 1),
        )  # fmt: skip
    written = json.loads(file.read_text(encoding="utf-8"))
    rows = [{**row, "held_out": side == "eval"} for row in written["rows"]]
    write_json(file, {**written, "rows": [*(row for row in before if row.get("held_out")), *rows]})
    return result


def _hold_out(project: OpenProject, out: Collection[str]) -> int:
    """A held-out prompt for each of those whose pairs were taken, with the first frame of the better clip; how many."""
    store, fps = project.store, project.settings.backbone.fps
    first: dict[str, Candidate] = {}
    for row in pair_videos(store):
        if row.split == "eval" and (id := _prompt_id(row.caption)) in out:
            first.setdefault(id, row)
    stored = {clip.id: clip for clip in store.clips(dropped=True) if clip.id in first}
    for id, row in first.items():
        if id in stored and store.media.sound(stored[id].media):
            continue
        image = read_video(store.media_path(row.media), frames=1).frames_FHWC[0]
        add_prompt(store, prompt_clip(id, row.caption, image, fps=fps, source=MADE_BY, made_by=MADE_BY), image)
    return len(first)
