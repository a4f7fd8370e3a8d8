"""Which clips are held out."""

from __future__ import annotations

from collections.abc import Mapping

from rushes.records import Candidate, Clip, Split
from rushes.store.database import Store


class SharedContent:
    """What must lie on one side, as it shares something: each thing is named by a key, and keys are joined."""

    def __init__(self) -> None:
        self._over: dict[str, str] = {}

    def group(self, key: str) -> str:
        """The same for all keys that were joined, in whatever steps; a key that never was is its own group."""
        top = key
        while (over := self._over.get(top, top)) != top:
            top = over
        while key != top:
            self._over[key], key = top, self._over[key]
        return top

    def join(self, first: str, second: str) -> None:
        """Put what is joined to either key into one group."""
        self._over[self.group(second)] = self.group(first)


def share_held_out(fraction: float, clips: int) -> int:
    """How many of some clips are held out; above 0 at least one is, and one is not where there are two."""
    return max(0, min(max(1, round(fraction * clips)), clips - 1)) if fraction else 0


def held_out(
    store: Store, groups: Mapping[str, str], fraction: float, stored: Mapping[str, str] | None = None
) -> set[str]:
    """Ids of held-out clips: those that are held out already, and of the new ones those that sort first.

    Ids are hashes, so that their order is a draw, the same in a stage that was stopped and runs again. Clips of one
    group go to one side, also later: new ones of a group follow those that are stored. Groups of several are taken as
    long as no more clips are held out than asked for, one at the least.

    Args:
        store: with what was imported before.
        groups: id of a clip -> its group, all of the footage.
        fraction: of the clips, in [0, 1); above 0 at least one is held out and one is not.
        stored: group of clips that were imported before, also of such as are not in the footage any more, and of the
            videos of labelled pairs, by the ids of their candidates.

    Raises:
        ValueError: more are to be held out than there are new ones, unless some were and left the footage.
    """
    sides = {clip.id: clip.split for clip in store.stream(Clip)}
    out = {id for id, side in sides.items() if side == "eval"}
    side_of: dict[str, Split] = {}
    of_pairs = {row.id: row.split for row in store.stream(Candidate) if row.id in (stored or {})}
    for id, side in (sides | of_pairs).items():
        group = groups.get(id) or (stored or {}).get(id, id)
        if side_of.get(group) != "train":  # where both sides have it already, it may have been trained on
            side_of[group] = side
    fresh: dict[str, list[str]] = {}
    for id in sorted(groups.keys() - sides.keys()):
        if side_of.get(groups[id]) == "eval":
            out.add(id)
        elif groups[id] not in side_of:
            fresh.setdefault(groups[id], []).append(id)
    wanted = share_held_out(fraction, len(groups))
    missing = max(0, wanted - len(out & groups.keys()))
    # Where held-out clips left the footage, fewer may be held out than asked for, but not none.
    if missing > sum(map(len, fresh.values())) and not (out & groups.keys() and out - groups.keys()):
        raise ValueError(
            f"footage.eval_fraction: {wanted} of {len(groups)} clips should be held out, but only "
            f"{len(out & groups.keys())} can be: clips that may have been trained on are never held out later; start a "
            "new project, or add clips"
        )
    left = missing
    for members in fresh.values():
        if len(members) <= left:
            out.update(members)
            left -= len(members)
    if missing and left == missing and fresh:  # every group is larger than what is asked for
        smallest = min(fresh.values(), key=len)
        if len(groups.keys() - out) == len(smallest):
            raise ValueError(
                "footage.eval_fraction: all clips have one origin (pieces of one film, copies, or names in a tar that "
                "are equal up to the first dot), so none can be held out; add footage, or set it to 0 and name "
                "held-out prompts with footage.bench"
            )
        out.update(smallest)
    return out
