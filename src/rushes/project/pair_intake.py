"""The first stage of a project on pairs that one has: clips to compare, and prompts that are held out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from rushes.footage.ingest import Imported, add_prompt, lost_prompts
from rushes.footage.pairs import PairRow, PairsImported, import_pairs
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
        pairs = find_pairs(project.settings.footage, Path(unpacked))
        if most := project.most_files:
            pairs.pairs = pairs.pairs[:: max(1, len(pairs.pairs) // most)][:most]
        ids = {pair.prompt: _prompt_id(pair.prompt) for pair in pairs.pairs}
        out = _held_out_prompts(project, pairs.path, set(ids.values()))
        own = [pair for pair in pairs.pairs if ids[pair.prompt] in out]
        trained = replace(pairs, pairs=[pair for pair in pairs.pairs if ids[pair.prompt] not in out])
        # In this order: a copy of a held-out video is not trained on.
        results = _import_sides(project, {"eval": ForeignPairs(pairs.path, pairs.meanings, own), "train": trained}, ask)
    stills = _hold_out(project, out)
    left_out = sum(sum(result.left_out.values()) for result in results.values())
    return Imported(0, None, pairs=results["train"].pairs, prompts=stills or None, refused=left_out or None)


def _held_out_prompts(project: OpenProject, path: Path, prompts: Collection[str]) -> set[str]:
    """Ids of the prompts that are held out, of those of the pairs in a file or folder."""
    store, table, place = project.store, project.settings.footage, quote(str(project.store.project))
    if table.eval_fraction and len(prompts) == 1:
        more = "add pairs with other prompts"
        if prompts == {_prompt_id("")}:
            more = (
                f"no pair has a prompt: `rushes set {place} footage.prompts=FILE` names them (`--prompts` of "
                "`rushes init`)"
            )
        raise ValueError(
            f"{path}: all pairs have the same prompt, so none can be held out; {more}, or train without a "
            f"verdict: `rushes set {place} footage.eval_fraction=0`, then `rushes train {place}`"
        )
    # No more than are looked at: of a hundred thousand prompts a fifth would be lost to training.
    fraction = min(table.eval_fraction, project.settings.evaluate.prompts / max(1, len(prompts)))
    before = {row.id: _prompt_id(row.caption) for row in pair_videos(store)}
    return held_out(store, {id: id for id in prompts}, fraction, before).intersection(prompts)


def _import_sides(
    project: OpenProject, parts: Mapping[Split, ForeignPairs], ask: PreflightOptions
) -> dict[Split, PairsImported]:
    """What was imported of each side; where no pair of either can be used, the reasons of both together.

    What was left out when the pairs were read is counted with those that are trained on.
    """
    results: dict[Split, PairsImported] = {}
    rows: list[PairRow] = []
    window = project.settings.footage.window or None
    for side, part in parts.items():
        if not part.pairs:
            continue
        say = partial(_say, project, "held out: " if side == "eval" else "")
        try:
            with project.timed("import", len(part.pairs)) as tick:
                results[side] = import_pairs(
                    project.store, part, ask, split=side, window=window, rows=rows, look_alikes=look_alikes, say=say,
                    tick=partial(tick, 1),
                )  # fmt: skip
        except ValueError:
            if part.pairs or side == "train":
                raise
            other = parts["train"]
            with suppress(ValueError):
                import_pairs(project.store, other, ask, window=window, rows=rows, dry_run=True)
            if not other.pairs:
                reasons = [*part.left_out, *other.left_out]
                refused = (*other.refused, *part.refused)  # examples are of those that would be trained on
                part.refused = sorted(refused, key=lambda each: reasons.index(each.reason))
                part.refuse_if_empty()
            raise
    return results


def _say(project: OpenProject, before: str, line: str) -> None:
    project.say(before + line)


def _prompt_id(prompt: str) -> str:
    """The same for prompts that differ in capitals and spaces alone."""
    return stable_hash(["prompt of pairs", " ".join(prompt.casefold().split())])


def _hold_out(project: OpenProject, out: Collection[str]) -> int:
    """A held-out prompt for each of those whose pairs were taken, with the first frame of the better clip; how many."""
    store, fps = project.store, project.settings.backbone.fps
    first: dict[str, Candidate] = {}
    for row in pair_videos(store):
        if row.split == "eval" and (id := _prompt_id(row.caption)) in out:
            first.setdefault(id, row)
    missing = lost_prompts(store, first)
    for id, row in first.items():
        if id in missing:
            image = read_video(store.media_path(row.media), frames=1).frames_FHWC[0]
            add_prompt(store, id, row.caption, image, fps=fps, source=MADE_BY, made_by=MADE_BY)
    return len(first)
