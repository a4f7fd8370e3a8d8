"""Label Studio's JSON export: pairs of videos with results of `pairwise`, `choices` or `rating`.

`--left` says which video is left, or a result's `to_name` (the first name of Pairwise's toName is left) where its
names are those of the data, or by keys such as left and right, a and b, video1 and video2. Nothing else is believed: an
order of the alphabet or of the file says nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rushes.files import is_file
from rushes.formats.answers import BetterRating, Meaning
from rushes.formats.layouts import RefusedVideo
from rushes.formats.preferences import ForeignPair, ForeignPairs, ReadEntry, UnusableEntry, clean_prompt, local_video
from rushes.formats.sides import declared, tokens
from rushes.records import stable_hash
from rushes.store.annotators import ANNOTATOR

_VIDEO = re.compile(
    r"\.(mp4|mov|mkv|webm|avi|m4v|gif|mpe?g|m2v|ts|mts|m2ts|wmv|flv|3gp|vob|ogv|mxf|webp)$", re.IGNORECASE
)
_PROMPTS = ("prompt", "text", "caption")
_OVERALL = ("pairwise", "pw", "choice", "preference", "rating", "stars", "score", "")
_NEGATIVE = frozenset({"worse", "worst", "bad", "loser", "rejected", "dislike", "disliked"})  # in a question's name
# Words of which more is worse, by how they begin, and such as turn a question round.
_FAULT = re.compile(
    "(artifact|artefact|blemish|blur|broke|corrupt|defect|deform|degrad|discontinu|distort|drift|error|fault|flaw|flicker"
    "|ghost|glitch|hallucinat|implausib|incoheren|inconsisten|instab|issue|jerk|jitter|mistake|morph|nois|problem|severity"
    "|shak|stutter|tear|toxic|ugl|unnatural|unrealis|unstable|violat|warp).*"
    "|distance|fewer|fewest|free|harms?|harmful|lacks?|least|less|loss|no|non|not|poor|rank|ranking|without"
)
_MIN = ("annotation_id", "annotator", "lead_time")  # columns that JSON-MIN adds to the data's


def labelstudio(path: Path, pairs: ForeignPairs, left: str = "") -> ReadEntry:
    """Tasks of an export, a pair for each person's newest annotation.

    Args:
        path: of the export; its videos lie relative to its folder.
        pairs: has the meanings of answers, and counts results that are passed over.
        left: key of the data under which the left video stands; "" = the file says it.
    """

    def read(place: str, task: Mapping[str, Any]) -> Iterator[ForeignPair | RefusedVideo]:
        data = task.get("data")
        if not isinstance(data, dict):
            _refuse_min(path, task)
            raise UnusableEntry("has no data")
        annotations = task.get("annotations")
        if not isinstance(annotations, list) or not annotations:
            raise UnusableEntry("has no annotation")
        replaced = _replaced(annotations)
        for at, annotation in enumerate(annotations):
            where = place if len(annotations) == 1 else f"{place}, annotation {at + 1}"
            try:
                if at in replaced:
                    raise UnusableEntry("replaced by the person's newer annotation", remedy="")
                yield _pair(path.parent, data, annotation, left, pairs, where)
            except UnusableEntry as error:
                yield error.at(where)

    return read


def _refuse_min(path: Path, task: Mapping[str, Any]) -> None:
    if any(column in task for column in _MIN):
        raise ValueError(
            f"{path}: this is Label Studio's JSON-MIN export, which lacks the videos that answers refer to; export the "
            "project as JSON"
        )


def _replaced(annotations: list[Any]) -> set[int]:
    """Places of annotations that their person gave again later; who is not named replaces nothing."""
    newest: dict[str, int] = {}
    dated = [(_time(a.get("updated_at") or a.get("created_at")), at) for at, a in _answered(annotations)]
    for _, at in sorted(dated):
        if person := _person(annotations[at]):
            newest[person] = at
    return {at for at, annotation in _answered(annotations) if newest.get(_person(annotation), at) != at}


def _time(text: object) -> tuple[float, str]:
    """When an annotation was given, to be sorted by: in seconds; what cannot be read comes before, as it stands."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return -math.inf, str(text or "")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp(), ""


def _answered(annotations: list[Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for at, annotation in enumerate(annotations):
        if isinstance(annotation, dict) and not annotation.get("was_cancelled") and annotation.get("result"):
            yield at, annotation


def _person(annotation: Mapping[str, Any]) -> str:
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    return "" if person is None else str(person)


def _pair(
    folder: Path, data: Mapping[str, Any], annotation: Any, left: str, pairs: ForeignPairs, place: str
) -> ForeignPair:
    results = annotation.get("result") if isinstance(annotation, dict) else None
    results = [r for r in results if isinstance(r, dict)] if isinstance(results, list) else []
    results = [r for r in results if isinstance(r.get("value"), dict)]
    if not results or annotation.get("was_cancelled"):
        raise UnusableEntry("cancelled or empty annotation", remedy="")
    if _is_rejected(annotation):
        raise UnusableEntry("rejected by its reviewer", remedy="")
    videos = {name: text for name, text in data.items() if _is_video(folder, name, text)}
    sides, why = _sides(list(videos), left, results)
    answers = dict(_answers(results, sides, pairs, place))
    if not answers:
        kinds = ", ".join(sorted({str(result.get("type")) for result in results}))
        raise UnusableEntry(
            "no answer of the kinds pairwise, choices or rating", kinds, "label the pair with one of them"
        )
    prompts = {name: data[name] for name in _PROMPTS if isinstance(data.get(name), str)}
    if "prompt" not in prompts and len(set(prompts.values())) > 1:
        raise UnusableEntry("two texts could be the prompt", ", ".join(prompts), "rename the right one to prompt")
    prompt = next(iter(prompts.values()), "")
    files = [local_video(folder, _local(videos[name])) for name in sides]
    return ForeignPair(
        place, files[0], files[1], prompt=clean_prompt(prompt), answers=answers,
        judge=f"{ANNOTATOR}labelstudio-{_written(_person(annotation)) or 'unknown'}", names=sides, why=why,
    )  # fmt: skip


def _is_rejected(annotation: Mapping[str, Any]) -> bool:
    """Whether the last review says that the annotation is wrong, as Label Studio Enterprise exports it."""
    reviews = [each for each in annotation.get("reviews") or () if isinstance(each, dict)]
    last = max(reviews, key=lambda review: _time(review.get("created_at")), default={})
    return annotation.get("last_action") == "rejected" or last.get("accepted") is False


def _written(person: str) -> str:
    """A person as part of a name: other signs become hyphens; a hash keeps names apart that would be alike then."""
    plain = re.sub(r"\W", "-", person)
    return plain if re.fullmatch(r"[\w.@]*", person) else f"{plain}-{stable_hash([person], 4)}"


def _sides(keys: list[str], left: str, results: list[Mapping[str, Any]]) -> tuple[tuple[str, str], str]:
    """The keys of the left and the right video, and what says so."""
    if len(keys) < 2:
        raise UnusableEntry("its data name fewer than two videos", f"{', '.join(keys) or 'none'}")
    targets = [tuple(name.strip() for name in str(result.get("to_name")).split(",")) for result in results]
    by_name = {target for target in targets if len(target) == 2 and set(target) <= set(keys)}
    by_keys = declared(keys)
    if left:
        if left not in keys:
            raise UnusableEntry(f"no video under the key {left!r}", f"its videos are {', '.join(keys)}")
        pairs = {pair for pair in (*by_name, *by_keys) if left in pair} or {(left, key) for key in keys if key != left}
        others = sorted({key for pair in pairs for key in pair if key != left})
        if any(pair[0] != left for pair in by_name if left in pair):
            raise UnusableEntry(
                f"--left {left} contradicts its toName",
                f"toName lists {others[0]} first",
                "leave --left out, or swap the answers with --answers left=right --answers right=left",
            )
        if len(others) == 1:
            return (left, others[0]), "--left"
        raise UnusableEntry(
            "more than two videos: the right one is unknown",
            f"{', '.join(others)} beside {left}",
            "keep two videos in each task",
        )
    elif len(by_name) == 1 and not any(pair[::-1] in by_name for pair in by_keys):
        return by_name.pop(), "toName"
    elif not by_name and len(by_keys) == 1:
        return by_keys[0], "keys"
    elif not by_name and len(keys) == 2 and (rated := _rated(results)) and rated <= set(keys):
        return (min(keys), max(keys)), "each side has its own rating"
    raise UnusableEntry(
        "the left video is unknown",
        f"its videos are {', '.join(sorted(keys))}",
        "name the left one with --left KEY",
    )


def _rated(results: list[Mapping[str, Any]]) -> set[str]:
    """Names that ratings refer to; empty where an answer is no rating, so that a side must be known."""
    if any(_choices(result) for result in results):
        return set()
    return {str(result.get("to_name")) for result in results if _rating(result) is not None}


def _answers(
    results: list[Mapping[str, Any]], sides: tuple[str, str], pairs: ForeignPairs, place: str
) -> Iterator[tuple[str, Meaning]]:
    """Question and meaning of each answer."""
    choices: dict[str, set[str]] = {}
    ratings: dict[str, dict[str, float]] = {}
    lower: dict[str, bool] = {}  # question -> whether less of it is better
    for result in results:
        name = str(result.get("from_name") or "")
        if picked := _choices(result):
            question = _question(tokens(name))
            _refuse_turned(name, pairs.meanings.better(question, name))
            choices.setdefault(question, set()).update(picked)
        elif (stars := _rating(result)) is not None:
            side, question = _rated_side(name, str(result.get("to_name")), sides)
            better = pairs.meanings.better(question, name)
            _refuse_turned(name, better, question)
            lower[question] = better == "lower"
            if ratings.setdefault(question, {}).setdefault(side, stars) != stars:
                raise UnusableEntry(
                    "two answers to one question", f"{name} is {ratings[question][side]:g} and {stars:g}"
                )
        else:
            pairs.passed_over[str(result.get("type"))] += 1
    for question, picks in choices.items():
        if len(picks) > 1 or question in ratings:
            raise UnusableEntry("two answers to one question", f"{question} is {' and '.join(sorted(picks))}")
    for question, by_side in ratings.items():
        if len(by_side) != 2:
            raise UnusableEntry("only one side has a rating", f"{question} of {', '.join(by_side)}")
        gap = (by_side["left"] - by_side["right"]) * (-1 if lower[question] else 1)
        meaning: Meaning = "left" if gap > 0 else "right" if gap < 0 else "tie"
        words = f"{'lower' if lower[question] else 'higher'} rating" if gap else "equal ratings"
        yield question, pairs.meanings.meaning(words, place, by_form=meaning)
    for question, (pick,) in choices.items():
        yield question, pairs.meanings.meaning(pick, place, sides)


def _refuse_turned(name: str, better: BetterRating | None, rated: str = "") -> None:
    """Refuse a question that by its name asks for the worse side, or of which more may be worse.

    Args:
        name: of the question.
        better: what the user says of it.
        rated: the question without its side, where ratings answer it; "" = a side is picked.
    """
    if better == "lower" and not rated:
        raise UnusableEntry(
            "lower is set for a question without ratings", name, "give each of its answers a meaning with --answers"
        )
    words = tokens(rated or name)
    worse, faults = not _NEGATIVE.isdisjoint(words), any(map(_FAULT.fullmatch, words))
    if better is None and (worse or faults):
        reason = "the question asks for the worse side" if worse else "a higher rating may mean more faults"
        ways = f'add --answers "{rated}=lower", or "{rated}=higher" if higher is better'
        picked = f'delete its results; or, if people picked the better side, add --answers "{name}=higher"'
        raise UnusableEntry(reason, name, ways if rated else picked)


def _choices(result: Mapping[str, Any]) -> list[str]:
    value = result["value"]
    picked = value.get("selected") or value.get("choices") or ()
    return [str(pick) for pick in picked] if isinstance(picked, list | tuple) else [str(picked)]


def _rating(result: Mapping[str, Any]) -> float | None:
    value = result["value"].get("rating", result["value"].get("number"))
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None


def _rated_side(name: str, target: str, sides: tuple[str, str]) -> tuple[str, str]:
    """Which side a rating is of, by what it refers to or else by its own name, and its question."""
    words = tokens(name)
    own = {side: tokens(key) for side, key in zip(("left", "right"), sides, strict=True)}
    for side, key in zip(("left", "right"), sides, strict=True):
        others = {word for word in words if word in ("left", "right") or word in own[side]}
        if target == key:
            return side, _question(tuple(word for word in words if word not in others))
    named = [side for side in ("left", "right") if side in words or set(own[side]) <= set(words)]
    if len(named) != 1:
        raise UnusableEntry("a rating's video is unknown", f"{name} refers to {target}")
    return named[0], _question(tuple(word for word in words if word != named[0] and word not in own[named[0]]))


def _question(words: tuple[str, ...]) -> str:
    name = "_".join(words)
    return "overall" if name in _OVERALL else name


def _is_video(folder: Path, name: str, text: object) -> bool:
    """Whether a field names a video: by its suffix, or as there is such a file."""
    if not isinstance(text, str) or name in _PROMPTS:
        return False
    path = _local(text)
    return bool(_VIDEO.search(path)) or (is_file(folder / path) and "." in path)


def _local(text: str) -> str:
    """The path in Label Studio's addresses, /data/local-files/?d=PATH and /data/upload/PATH; others as they are."""
    parts = urlsplit(text) if "/data/" in text else None
    if parts is None or not parts.path.startswith("/data/"):
        return text
    inner = parse_qs(parts.query).get("d")
    return inner[0] if inner else unquote(parts.path.removeprefix("/data/")).lstrip("/")
