"""Every reader of what people bring, given files that are wrong at random places; `fuzzing.py` has what must hold."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from pydantic import BaseModel

from rushes.config.model_endpoint import EndpointSettings
from rushes.config.settings_files import load_settings, to_toml
from rushes.config.tables import Settings
from rushes.evaluate.compare import check_gate, read_gate
from rushes.evaluate.external import ExternalScores
from rushes.evaluate.table_file import load_table
from rushes.evaluate.video_folders import Folders, find_folders
from rushes.files import content_hash
from rushes.formats.archives import read_webdataset
from rushes.formats.caption_files import LISTS, ORDERS, TABLES
from rushes.formats.exchange import EXCHANGED, import_project, write_rows
from rushes.formats.layouts import VIDEO_SUFFIXES, Layout, Listing, folder_files
from rushes.formats.listing import detect_layout, find_bench, list_footage
from rushes.formats.pair_files import read_pairs
from rushes.formats.preferences import PreferenceFormat
from rushes.formats.scores import import_scores, read_votes
from rushes.judges import endpoint, messages, reward
from rushes.judges.protocols import read_answers
from rushes.store.database import Store
from rushes.store.rows import KIND_NAMES
from rushes.text_reader import counted, read_rows

from ..store.conftest import RowMaker
from .fuzzing import (
    JUNK,
    WORDS,
    Draw,
    Files,
    Reader,
    changed_bytes,
    changed_tree,
    csv_text,
    fuzz,
    json_lines,
    json_text,
    parquet,
)

VIDEOS: Files = {"a.mp4": b"a", "b.mp4": b"b", "c.mp4": b"c"}
VIDEO_COLUMNS = {"file_name": ["a.mp4", "b.mp4", "c.mp4"], "caption": ["a dog", "two, dogs", "a cat"]}
CAPTIONS = [["file", "caption", "scenario"], ["a.mp4", "a dog, running", "dogs"], ["b.mp4", "a cat", "cats"],
            ["c.mp4", "rain", "weather"]]  # fmt: skip


def pairs(form: PreferenceFormat, name: str, folder: Path) -> Iterator[str]:
    read = read_pairs(folder / name, form)
    assert read.entries == len(read.pairs) + read.left_out.total()
    assert read.left_out.total() == len(read.refused), "two entries of one place"
    assert all(pair.answers.keys() == pair.labels.keys() for pair in read.pairs)
    yield from read.examples.values()


VIDEOREWARD = [
    ["path_A", "path_B", "prompt", "A_model", "B_model", "VQ", "MQ", "Overall"],
    ["a.mp4", "b.mp4", "a dog", "x", "y", "A", "same", "A"],
    ["b.mp4", "c.mp4", "a dog, running", "x", "y", "B", "A", "same"],
]
TRL = [{"prompt": "a dog", "chosen": "a.mp4", "rejected": "b.mp4", "score_chosen": 2, "score_rejected": 1.5},
       {"prompt": [{"role": "user", "content": "a cat"}], "chosen": [{"role": "assistant", "content": "b.mp4"}],
        "rejected": [{"content": [{"type": "video", "video": "c.mp4"}]}]}]  # fmt: skip
VIDEODPO = [{"video1": 0, "video2": 1, "label": 0, "frame_caption": ["a dog"]},
            {"video1": 2, "video2": 1, "label": 1, "frame_caption": "a cat"}]  # fmt: skip
CLIPS = [{"basic": {"clip_path": "a.mp4"}}, {"video": "b.mp4"}, {"video": "c.mp4"}]


def listed(layout: Layout | None, folder: Path) -> Iterator[str]:
    """Lines on what is refused, after each file of a folder was seen to be taken, refused or counted."""
    layout = layout or detect_layout(folder_files(folder))
    if layout == "bench":
        find_bench(folder)
        return
    listing = list_footage(folder_files(folder), layout)
    rows = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".csv", ".jsonl", ".parquet")]
    if layout in ("videofolder", "table"):
        count = sum(map(entries_of, (path for path in rows if tables_read(path, layout, rows))))
        bad = [each for each in listing.refused if each.reason in ("bad row", "no video", "points outside the folder")]
        assert len(listing.footage) + len(bad) == count
    every_file_counts(folder, listing, rows, layout)
    yield from shown_of(listing)


def entries_of(path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        return int(pq.ParquetFile(path).metadata.num_rows)
    return sum(1 for _ in read_rows(path))


def tables_read(path: Path, layout: Layout, rows: list[Path]) -> bool:
    if path.name.startswith("."):
        return False
    if layout == "videofolder":
        return path.name.lower().startswith("metadata.")
    parquets = [each for each in rows if each.suffix.lower() == ".parquet"]
    return path in parquets or (not parquets and path.name.lower() not in TABLES)


def every_file_counts(folder: Path, listing: Listing, rows: list[Path], layout: Layout) -> None:
    files = {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
    taken = {path for item in listing.footage for path in (item.path, item.first_frame, *item.takes) if path}
    named = {Path(source) for source in (*listing.passed_over, *listing.orphans)}
    refused = {path for path in files if any(str(path) in each.source for each in listing.refused)}
    lists = {path for path in files if path.name.lower() in (*LISTS, *ORDERS, *TABLES)}
    beside = {path for path in files if path.suffix.lower() == ".txt" and path.with_suffix("") in
              {video.with_suffix("") for video in files - {path}}}  # fmt: skip
    left = Counter(path.suffix.lower() or path.name for path in files - taken - named - refused - lists - beside)
    left.subtract(listing.others)
    unseen = {suffix for suffix in +left if layout == "folder" or suffix not in (".csv", ".jsonl", ".parquet")}
    assert not unseen, f"nobody says what became of {unseen}"
    assert not {path for path in files if path.suffix.lower() in VIDEO_SUFFIXES} - taken - named - refused


def shown_of(listing: Listing) -> Iterator[str]:
    for each in listing.refused:
        assert each.reason and each.source
        yield f"{each.source}: {each.words}"
    for item in listing.footage:
        assert item.caption.isprintable(), repr(item.caption)
        if item.caption_problem:
            yield f"{item.source}: {item.caption_problem}"


def folder(draw: Draw) -> Files:
    """Videos with captions kept in one of the ways that people have."""
    texts = [row[1] for row in CAPTIONS[1:]]
    how = draw(st.integers(0, 5))
    if how == 0:
        return VIDEOS | {f"{name[0]}.txt": text.encode() for name, text in zip(VIDEOS, texts, strict=True)}
    if how == 1:
        return VIDEOS | {"captions.txt": "\n".join(texts).encode()}
    if how == 2:
        return VIDEOS | {"captions.txt": "\n".join(texts).encode(), "video.txt": b"b.mp4\na.mp4\nc.mp4"}
    if how == 3:
        return VIDEOS | {"captions.csv": csv_text(draw, CAPTIONS)}
    if how == 4:
        rows = [dict(zip(CAPTIONS[0], row, strict=True)) for row in CAPTIONS[1:]]
        return VIDEOS | {"captions.jsonl": json_lines(draw, rows)}
    return VIDEOS | {"metadata.csv": csv_text(draw, [["file_name", *CAPTIONS[0][1:]], *CAPTIONS[1:]])}


def table(draw: Draw) -> Files:
    if draw(st.booleans()):
        rows = [dict(zip(VIDEO_COLUMNS, row, strict=True)) for row in zip(*VIDEO_COLUMNS.values(), strict=True)]
        return VIDEOS | {"table.jsonl": json_lines(draw, rows)}
    return VIDEOS | {
        "table.csv": csv_text(draw, [[*VIDEO_COLUMNS], *map(list, zip(*VIDEO_COLUMNS.values(), strict=True))])
    }


def parquet_table(draw: Draw) -> Files:
    held = [{"bytes": b"\0\0\0\x18ftyp", "path": name} for name in VIDEOS]
    columns = draw(st.sampled_from((VIDEO_COLUMNS, {"video": held, "caption": VIDEO_COLUMNS["caption"]},
                                    {**VIDEO_COLUMNS, "first_frame": ["a.png"] * 3, "scenario": ["x"] * 3})),
                   )  # fmt: skip
    return VIDEOS | {"table.parquet": parquet(draw, columns)}


def realdpo(draw: Draw) -> Files:
    return {
        "prompt.txt": b"a dog\na cat", "videos/1.mp4": b"1", "videos/2.mp4": b"2", "first_frames/videos_1.png": b"",
    }  # fmt: skip


def bench(draw: Draw) -> Files:
    return {
        "prompts.txt": b"a dog\na cat",
        "ours/0.mp4": b"1",
        "ours/1.mp4": b"2",
        "base/0.mp4": b"1",
        "base/1.mp4": b"",
    }


MEMBERS = [("a.mp4", b"video a"), ("a.txt", b"a dog"), ("b.mp4", b"video b"), ("c.left.mp4", b"video c"),
           ("d.wav", b"sound"), ("c.json", b'"rain"'),
           ("b.json", json.dumps({"caption": "a cat", "alternatives": ["cats", 3]}).encode())]  # fmt: skip
MEMBER_NAMES = ("a.mp4", "../out.mp4", "/abs.mp4", "A.MP4", "x/y.mp4", "", ".hidden", "esc\x1b.mp4", "caf\u00e9.mp4",
                "b.txt", "a.b.c.json", "x" * 300 + ".mp4", "no suffix", "d.json")  # fmt: skip


def tar(draw: Draw) -> Files:
    members = list(MEMBERS)
    for _ in range(draw(st.integers(0, 3))):
        at, how = draw(st.integers(0, len(members) - 1)), draw(st.integers(0, 3))
        if how == 0:
            members.append(members[at])
        elif how == 1:
            members[at] = draw(st.sampled_from(MEMBER_NAMES)), members[at][1]
        else:
            members[at] = members[at][0], changed_bytes(draw, members[at][1])
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=draw(st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))
    ) as made:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if draw(st.integers(0, 19)) == 0:
                info.type, info.size = draw(st.sampled_from((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))), 0
            made.addfile(info, io.BytesIO(content))
    return {"a.tar": out.getvalue()}


def webdataset(folder: Path) -> Iterator[str]:
    """Each member of a whole tar is a video, the caption of one, refused, or counted."""
    listing = read_webdataset(folder_files(folder))
    if not any(each.reason in ("unreadable", "cut short") for each in listing.refused):
        with tarfile.open(folder / "a.tar") as archive:
            names = [member.name for member in archive if not member.isdir()]
        videos = {item.part.name for item in listing.footage if item.part}
        captions = sum(Path(name).suffix.lower() in (".txt", ".json") for name in names)
        hidden = sum(Path(name).name.startswith(".") for name in names)
        rest = len(names) - len(videos) - len(listing.refused) - sum(listing.others.values()) - hidden
        assert 0 <= rest <= captions, (names, videos, listing.refused, listing.others)
    yield from shown_of(listing)


@cache
def stored() -> tuple[TemporaryDirectory[str], Store]:
    """A store with a clip and a take, which all examples share."""
    place = TemporaryDirectory()
    store = Store.create(Path(place.name) / "project")
    make = RowMaker()
    store.add([make.clip(media=content_hash(b"a")), make.candidate(media=content_hash(b"b"))])
    return place, store


SCORES = [{"video": "a.mp4", "score": 7}, {"video": "k", "score": "3.5", "rater": "me"}, {"video": "b.mp4", "score": 0}]


def scores(name: str, folder: Path) -> Iterable[str]:
    done = import_scores(stored()[1], folder / name)
    assert done.lines >= 1 and done.scored >= 1
    return ()


def scores_in(name: str, draw: Draw) -> Files:
    if name.endswith(".csv"):
        return VIDEOS | {name: csv_text(draw, [["video", "score", "rater"], ["a.mp4", "7", "me"], ["k", "3.5", ""]])}
    return VIDEOS | {name: json_lines(draw, SCORES) if name.endswith("l") else json_text(changed_tree(draw, SCORES))}


def votes(folder: Path) -> Iterable[str]:
    outcomes = read_votes(folder / "votes.csv")
    assert outcomes and all(0 <= each <= 1 for each in outcomes)
    return ()


def reward_scores(folder: Path) -> Iterable[str]:
    lines, problems = reward._score_lines(folder / "scores.jsonl")
    assert all(line.scores for line in lines.values())
    return problems


REWARD = [{"media": "f" * 64, "scores": {"VQ": 0.3, "MQ": -0.1}}, {"media": "e" * 64, "scores": {"VQ": 1, "MQ": 2},
                                                                  "segments": [0.5, 1]}]  # fmt: skip


def rows(form: str, draw: Draw) -> Files:
    """What `labels export` writes, with changes."""
    make = RowMaker()
    rows: list[Any] = [make.clip(), make.candidate(), make.preference(), make.annotation(), make.score()]
    by_kind = {type(row): row for row in (*rows, make.caption(), make.decision())}
    files = {}
    with TemporaryDirectory() as place:
        for kind in EXCHANGED:
            row = by_kind[kind]
            path = Path(place) / f"{KIND_NAMES[kind]}.{form}"
            write_rows(kind, [row], path)
            if form == "jsonl":
                files[path.name] = json_lines(draw, [json.loads(path.read_text())])
            else:
                content = pq.read_table(path).to_pydict()
                files[path.name] = parquet(draw, content) if draw(st.integers(0, 3)) == 0 else path.read_bytes()
    return files


def project_rows(folder: Path) -> Iterable[str]:
    """All rows are stored, or none."""
    store = stored()[1]
    before = sum(1 for kind in EXCHANGED for _ in store.stream(kind))
    new = 0
    try:
        new = import_project(store, folder)
    finally:
        assert sum(1 for kind in EXCHANGED for _ in store.stream(kind)) == before + new
    return ()


def compared(folder: Path) -> Folders:
    for system in ("ours", "base"):
        (folder / system).mkdir()
        for name in VIDEOS:
            (folder / system / name).write_bytes(b"")
    return find_folders({system: folder / system for system in ("ours", "base")}, None)


VBENCH = {"motion_smoothness": [0.5, [{"video_path": "ours/a.mp4", "video_results": 0.5},
                                      {"video_path": "x/b.mp4", "video_results": 0.25}]],
          "imaging_quality": [70.0, [{"video_path": "ours/c.mp4", "video_results": 70}]]}  # fmt: skip


def vbench(folder: Path) -> Iterable[str]:
    return noted(folder, ExternalScores(vbench={"ours": folder / "eval_results.json"}))


def videophy(folder: Path) -> Iterable[str]:
    return noted(folder, ExternalScores(videophy={"ours": (folder / "sa.csv", folder / "pc.csv")}))


def noted(folder: Path, others: ExternalScores) -> Iterable[str]:
    """Each video of the system has a score, or a note names how many have none."""
    notes: list[str] = []
    for measure in others.measures(compared(folder), notes):
        missing = len(VIDEOS) - len(measure.values["ours"])
        assert not missing or any(
            f"{measure.name} has no score for {counted(missing, 'video')}" in note for note in notes
        )
        assert all(isinstance(value, float) and value - value == 0 for value in measure.values["ours"].values())
    return ()


VIDEOPHY = [["videopath", "caption", "score"], ["ours/a.mp4", "a dog", "1"], ["b.mp4", "a cat, running", "0.5"]]


def prompts(name: str, folder: Path) -> Iterable[str]:
    for system in ("ours", "base"):
        (folder / system).mkdir()
        for number in range(2):
            (folder / system / f"{number}.mp4").write_bytes(b"")
    assert find_folders({system: folder / system for system in ("ours", "base")}, folder / name).captions
    return ()


def settings(draw: Draw) -> Files:
    """The settings that `init` writes, some lines changed."""
    lines = to_toml(Settings()).split("\n")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        name = lines[at].partition("=")[0]
        value = draw(
            st.sampled_from([json.dumps(each) for each in JUNK] + ["inf", "2024-01-01", "{a = 1}", "'''", "0x"])
        )
        lines[at] = draw(st.sampled_from((f"{name}= {value}", f"{value} = 1", f"[{name.strip()}]", "")))
    return {"rushes.toml": "\n".join(lines).encode(errors="surrogatepass")}


def read_settings(folder: Path) -> Iterable[str]:
    load_settings(folder / "rushes.toml")
    return ()


def overrides(draw: Draw) -> Files:
    names = ["train.steps", "train", "backbone.frames", "label.by", "train.options.beta", "", ".", "x.y", "train.lr"]
    values = [json.dumps(each) for each in JUNK] + [*WORDS]
    signs = ("=", "==", "", " = ")
    text = draw(st.sampled_from(names)) + draw(st.sampled_from(signs)) + draw(st.sampled_from(values))
    return {"rushes.toml": to_toml(Settings()).encode(), "override": json.dumps(text).encode()}


def read_override(folder: Path) -> Iterable[str]:
    load_settings(folder / "rushes.toml", [json.loads((folder / "override").read_text())])
    return ()


def gate(draw: Draw) -> Files:
    lines = ['rule = "shown"', "[metrics]", "flicker = 0.2", 'jerk = "5 %"']
    at = draw(st.integers(0, 3))
    lines[at] = draw(
        st.sampled_from((f"jerk = {json.dumps(draw(st.sampled_from(JUNK)))}", "rule = 3", "[a]", "metrics = 1"))
    )
    return {"gate.toml": "\n".join(lines).encode(errors="surrogatepass")}


def read_the_gate(folder: Path) -> Iterable[str]:
    assert read_gate(folder / "gate.toml")
    return ()


TABLE = {"systems": ["a", "b"], "metrics": {"flicker": {"a": {"mean": 1.0}, "b": {"mean": 2.0}}},
         "pairs": {"a|b": {"flicker": {"difference": 1.0, "low": 0.5, "high": 1.5}}}}  # fmt: skip
DETAILS = {"directions": {"flicker": "lower"}}


def comparison(draw: Draw) -> Files:
    which = draw(st.booleans())
    return {
        "table.json": json_text(changed_tree(draw, TABLE) if which else TABLE),
        "details.json": json_text(DETAILS if which else changed_tree(draw, DETAILS)),
        "gate.toml": b"flicker = 0.1",
    }


def read_comparison(folder: Path) -> Iterable[str]:
    found, better = load_table(folder / "table.json")
    check_gate(found, read_gate(folder / "gate.toml"), better)
    return ()


class Verdict(BaseModel):
    winner: int
    why: str = ""


COMPLETION = {"choices": [{"message": {"content": '{"winner": 1}', "refusal": None}, "finish_reason": "stop"}],
              "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}  # fmt: skip
ENDPOINT = EndpointSettings(url="http://localhost/v1", model="m", max_cost=5.0, price_in=1.0, price_out=1.0)


def completion(folder: Path) -> Iterable[str]:
    """What a server sends is an answer of the right form, counted as none, or a failure in words."""
    response = httpx.Response(200, content=(folder / "completion.json").read_bytes())
    try:
        data, reply = endpoint._checked(response, ENDPOINT, messages.reply_of)
        assert endpoint._cost(data, ENDPOINT) >= 0
    except endpoint._Passing as failure:
        return [f"http: {failure}; run again"]
    answer = messages.parse(reply, Verdict)
    assert (answer.parsed is None) == bool(answer.problem)
    return ()


VECTORS = {"data": [{"index": 1, "embedding": [0.5, 1]}, {"index": 0, "embedding": [0, 1.5]}]}


def vectors(folder: Path) -> Iterable[str]:
    response = httpx.Response(200, content=(folder / "vectors.json").read_bytes())
    try:
        _, read = endpoint._checked(response, ENDPOINT, partial(messages.vectors_of, count=2))
    except endpoint._Passing as failure:
        return [f"http: {failure}; run again"]
    assert len(read) == 2 and len(read[0]) == len(read[1])
    return ()


def answer(draw: Draw) -> Files:
    body = json.dumps(changed_tree(draw, {"winner": 1, "why": "less flicker"}))
    around = ("{}", "<think>{}</think>", "<think>x</think>{}", "```json\n{}\n```", "Here: {} {{}}", "Answer 1: 3\n{}")
    return {"answer.txt": draw(st.sampled_from(around)).replace("{}", body).encode(errors="surrogatepass")}


def read_answer(folder: Path) -> Iterable[str]:
    text = (folder / "answer.txt").read_bytes().decode(errors="surrogateescape")
    parsed = messages.parse(messages.Reply(text), Verdict)
    assert (parsed.parsed is None) == bool(parsed.problem)
    numbers = read_answers(text)
    assert numbers is None or len(numbers) == 5
    return ()


def fixed(files: Mapping[str, Any]) -> Any:
    """Files whose JSON alone is changed; bytes and text are as they are."""

    def make(draw: Draw) -> Files:
        return {
            name: content if isinstance(content, bytes) else json_text(changed_tree(draw, content))
            for name, content in files.items()
        }

    return make


READERS = (
    Reader("videoreward.csv", lambda draw: VIDEOS | {"p.csv": csv_text(draw, VIDEOREWARD)},
           partial(pairs, "videoreward", "p.csv"), ("p.csv",)),
    Reader("videodpo", fixed(VIDEOS | {"pair.json": VIDEODPO, "metadata.json": CLIPS}),
           partial(pairs, "videodpo", "pair.json"), ("pair.json", "metadata.json")),
    Reader("trl.json", fixed(VIDEOS | {"p.json": TRL}), partial(pairs, "trl", "p.json"), ("p.json",)),
    Reader("trl.jsonl", lambda draw: VIDEOS | {"p.jsonl": json_lines(draw, TRL)}, partial(pairs, "trl", "p.jsonl"),
           ("p.jsonl",)),
    Reader("folder", folder, partial(listed, None), ("a.txt", "captions.txt", "captions.csv", "captions.jsonl",
                                                     "video.txt", "metadata.csv"), rename=True),
    Reader("table", table, partial(listed, "table"), ("table.csv", "table.jsonl"), rename=True),
    Reader("table.parquet", parquet_table, partial(listed, "table"), ("table.parquet",), rename=True),
    Reader("realdpo", realdpo, partial(listed, "realdpo"), ("prompt.txt",), rename=True),
    Reader("bench", bench, partial(listed, "bench"), ("prompts.txt",), rename=True),
    Reader("webdataset", tar, webdataset, ("a.tar",)),
    *(Reader(name, partial(scores_in, name), partial(scores, name), (name,)) for name in
      ("s.json", "s.jsonl", "s.csv")),
    Reader("votes", lambda draw: {"votes.csv": csv_text(draw, [["prompt", "vote"], ["a", "win"], ["a", "tie"]])}, votes,
           ("votes.csv",)),
    Reader("reward", lambda draw: {"scores.jsonl": json_lines(draw, REWARD)}, reward_scores, ("scores.jsonl",)),
    Reader("rows.jsonl", partial(rows, "jsonl"), project_rows, ("clips.jsonl", "preferences.jsonl")),
    Reader("rows.parquet", partial(rows, "parquet"), project_rows, ("clips.parquet", "scores.parquet")),
    Reader("vbench", fixed({"eval_results.json": VBENCH}), vbench, ("eval_results.json",)),
    Reader("videophy", lambda draw: {"sa.csv": csv_text(draw, VIDEOPHY), "pc.csv": csv_text(draw, VIDEOPHY[1:])},
           videophy, ("sa.csv", "pc.csv")),
    Reader("prompts.txt", fixed({"p.txt": b"a dog\na cat\n"}), partial(prompts, "p.txt"), ("p.txt",)),
    Reader("prompts.json", fixed({"p.json": {"0": "a dog", "1.mp4": "a cat"}}), partial(prompts, "p.json"),
           ("p.json",)),
    Reader("settings", settings, read_settings, ("rushes.toml",)),
    Reader("override", overrides, read_override),
    Reader("gate", gate, read_the_gate, ("gate.toml",)),
    Reader("comparison", comparison, read_comparison, ("table.json", "details.json")),
    Reader("completion", fixed({"completion.json": COMPLETION}), completion, ("completion.json",)),
    Reader("vectors", fixed({"vectors.json": VECTORS}), vectors, ("vectors.json",)),
    Reader("answer", answer, read_answer, ("answer.txt",)),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_a_few_changed_files(reader: Reader) -> None:
    fuzz(reader, 6)


@pytest.mark.whole
@pytest.mark.parametrize("reader", READERS, ids=str)
def test_many_changed_files(reader: Reader) -> None:
    fuzz(reader, 3000)
