"""The database: what is added stays, once, in order, whatever happens to the process."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rushes.records import Clip, Preference, Row
from rushes.store.database import Store
from rushes.store.schema import SCHEMA

from .conftest import RowMaker

Start = Callable[..., "subprocess.Popen[str]"]


def test_create_makes_the_layout_and_keeps_what_is_there(tmp_path: Path, make: RowMaker) -> None:
    for _ in range(2):
        with Store.create(tmp_path / "deep" / "project") as store:
            store.add([make.clip()])
    made = {path.name for path in (tmp_path / "deep" / "project").iterdir()}
    assert made == {".lock", "rushes.db", "media", "latents", "runs", "reports"}
    with Store.open(tmp_path / "deep" / "project") as store:
        assert store.clips() == (make.clip(),)


def test_settings_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the connection that users have: the tests' own does not wait for the disk."""
    monkeypatch.setattr(sqlite3, "connect", sqlite3.connect.func)  # type: ignore[attr-defined]
    with Store.create(tmp_path / "project") as store:
        values = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert values == ["wal", 2]


def test_open_without_a_project_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rushes init"):
        Store.open(tmp_path)
    (tmp_path / "rushes.toml").touch()
    with pytest.raises(ValueError, match="nothing is imported yet; run `rushes import /"):
        Store.open(tmp_path)
    (tmp_path / "rushes.db").touch()
    with pytest.raises(ValueError, match="rushes init"):
        Store.open(tmp_path)
    with Store.create(tmp_path) as store:  # an init that was killed is finished by the next
        assert store.clips() == ()


def test_what_is_not_a_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="a file is in the way"):
        Store.create(tmp_path / "file")
    (tmp_path / "rushes.db").write_bytes(b"no database at all, but long enough to have a header" * 100)
    with pytest.raises(ValueError, match="not a readable database"):
        Store.open(tmp_path)
    (tmp_path / "rushes.db").unlink()
    with sqlite3.connect(tmp_path / "rushes.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(ValueError, match="another program"):
        Store.create(tmp_path)


def test_a_project_from_a_newer_version_is_refused(store: Store) -> None:
    store._connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    for way in (Store.open, Store.create):
        newer = rf"newer Rushes \(schema {SCHEMA + 1}, this one reads up to {SCHEMA}\); upgrade"
        with pytest.raises(ValueError, match=newer):
            way(store.project)


def test_annotations_go_with_the_label_that_they_are_of(store: Store, make: RowMaker) -> None:
    store.add([make.preference("1"), make.annotation("a", subject="1")])
    assert store.annotations() == (make.annotation("a", subject="1"),) == store.annotations(judge="human:ada")
    store.add([make.preference("2", supersedes="1"), make.annotation("b", subject="2")])
    assert [row.id for row in store.annotations()] == ["b"] and store.get("a") == make.annotation("a", subject="1")
    assert store.annotations(subject="1") == ()


def test_a_project_from_an_older_version_is_opened_and_takes_new_kinds(store: Store, make: RowMaker) -> None:
    store.add([make.clip()])
    store._connection.execute("PRAGMA user_version = 1")
    with Store.open(store.project) as newer:
        assert newer.add([make.caption(), make.candidate(kind="gap")]) == 2
        assert newer.clips() == (make.clip(),) and newer._version() == SCHEMA
    with Store.open(store.project) as again:
        assert again.captions() == (make.caption(),)


def test_every_kind_comes_back_equal(store: Store, make: RowMaker) -> None:
    rows: list[Row] = [
        make.clip(),
        make.candidate(eta=0.5),
        make.score(per_segment=(0.1, 1 / 3)),
        make.caption(),
        make.run(),
    ]
    rows.append(make.preference(labels=(1, 0, -1), segment_s=1.0, created_at="2025-01-01T00:00:00Z"))
    assert store.add(rows) == 6
    assert [store.get(row.id) for row in rows] == rows
    found = (*store.clips(), *store.candidates(), *store.scores(), *store.captions(), *store.runs())
    assert (*found, *store.preferences()) == tuple(rows)


def test_captions_are_found_by_kind_and_clip(store: Store, make: RowMaker) -> None:
    wrong, dense = make.caption("1"), make.caption("2", kind="dense", subject="d")
    store.add([wrong, dense])
    assert store.captions() == (wrong, dense)
    assert store.captions("wrong") == store.captions(subject="c") == (wrong,)
    assert store.captions("dense", "c") == ()


def test_a_row_is_kept_once(store: Store, make: RowMaker) -> None:
    assert store.add([make.clip("a"), make.clip("b"), make.clip("a")]) == 2
    assert store.add([make.clip("b"), make.clip("c")]) == 1
    assert store.add([]) == 0
    assert [row.id for row in store.clips()] == ["a", "b", "c"]


def test_the_same_id_with_other_content_is_refused(store: Store, make: RowMaker) -> None:
    store.add([make.clip("a")])
    for other in (make.clip("a", caption="a cat"), make.score("a")):
        with pytest.raises(ValueError, match="'a' is stored with other content already"):
            store.add([make.clip("new"), other])
    assert store.clips() == (make.clip("a"),)  # "new" went with the batch


def test_the_date_does_not_tell_rows_apart(store: Store, make: RowMaker) -> None:
    assert store.add([make.preference(created_at="2025-01-01"), make.run(created_at="2025-01-01")]) == 2
    assert store.add([make.preference(created_at="2025-01-02"), make.run(created_at="2025-01-02")]) == 0
    assert store.preferences()[0].created_at == "2025-01-01"


def test_settings_with_tuples_are_stored_already_the_second_time(store: Store, make: RowMaker) -> None:
    assert [store.add([make.run(settings={"betas": (0.9, 0.99)})]) for _ in range(2)] == [1, 0]
    assert store.runs()[0].settings == {"betas": [0.9, 0.99]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fps": float("nan")}, "NaN or infinite"),
        ({"fps": float("inf")}, "NaN or infinite"),
        ({"frames": 2.5}, "frames: Input should be a valid integer"),
        ({"split": "test"}, "split: Input should be 'train' or 'eval'"),
        ({"source": "\udcff.mp4"}, "surrogates not allowed"),
        ({"media": Path("x")}, "not JSON serializable"),
    ],
)
def test_bad_values_never_get_in(store: Store, make: RowMaker, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=f"clip 'bad' cannot be stored: .*{reason}"):
        store.add([make.clip("good"), make.clip("bad", **changes)])
    assert store.clips() == ()


def test_rows_that_fail_on_the_way_leave_nothing(store: Store, make: RowMaker) -> None:
    def rows() -> Iterator[Clip]:
        yield make.clip("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add(rows())
    assert store.clips() == ()
    assert store.add([make.clip("a")]) == 1


def test_choices(store: Store, make: RowMaker) -> None:
    store.add([make.clip("1", split="eval"), make.clip("2"), make.clip("3", split="eval")])
    store.add([make.candidate("4", group="x"), make.candidate("5", group="y", system="run-1", split="eval")])
    store.add([make.candidate("6", group="y", kind="guided", eta=0.5)])
    store.add(
        [make.score("7", subject="4"), make.score("8", subject="5"), make.score("9", subject="5", metric="drift")]
    )

    def ids(rows: tuple[object, ...]) -> str:
        return "".join(row.id for row in rows)  # type: ignore[attr-defined]

    assert (ids(store.clips()), ids(store.clips("eval")), ids(store.clips("train"))) == ("123", "13", "2")
    assert (ids(store.candidates()), ids(store.candidates("train"))) == ("456", "46")
    assert (ids(store.candidates(kind="guided")), ids(store.candidates(system="run-1"))) == ("6", "5")
    assert (ids(store.candidates(group="y")), ids(store.candidates("train", group="y"))) == ("56", "6")
    assert (ids(store.scores()), ids(store.scores("flicker")), ids(store.scores(system="run-1"))) == ("789", "78", "89")
    assert (ids(store.scores("drift", system="run-1")), ids(store.scores(subject="4"))) == ("9", "7")
    assert store.scores(system="nobody") == ()
    with pytest.raises(ValueError, match="no row has the id 'nothing'"):
        store.get("nothing")


def test_a_chain_of_corrections_leaves_its_last(store: Store, make: RowMaker) -> None:
    events = [
        make.preference("1"),
        make.preference("2", judge="you"),
        make.preference("3", labels=(0,), supersedes="1"),
        make.preference("4", labels=(-1,), supersedes="3"),
    ]
    store.add(events)
    assert [row.id for row in store.preferences()] == ["2", "4"]
    assert [row.id for row in store.preferences(judge="me")] == ["4"]
    assert store.preferences(current=False) == tuple(events)
    assert [row.id for row in store.preferences(judge="me", current=False)] == ["1", "3", "4"]


@pytest.mark.parametrize("target", ["p", "later", "c"])
def test_a_correction_of_what_is_not_stored_is_refused(store: Store, make: RowMaker, target: str) -> None:
    rows: list[Row] = [make.clip("c"), make.preference("p", supersedes=target), make.preference("later")]
    with pytest.raises(ValueError, match="must be stored before it"):
        store.add(rows)
    assert store.preferences() == ()


def test_rows_are_never_edited_or_deleted(store: Store, make: RowMaker) -> None:
    store.add([make.clip()])
    for statement in ("UPDATE rows SET body = ''", "DELETE FROM rows"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            store._connection.execute(statement)


def test_a_row_from_before_a_field_existed_takes_its_default(store: Store, make: RowMaker) -> None:
    body = '{"id":"old","left":"a","right":"b","labels":[1],"judge":"me"}'
    store._connection.execute("INSERT INTO rows (type, id, body) VALUES ('preferences', 'old', ?)", (body,))
    assert store.get("old") == Preference("old", "a", "b", (1,), "me")
    assert store.add([Preference("old", "a", "b", (1,), "me")]) == 0


def test_stream_goes_through_all_pages_and_lets_others_write(store: Store, make: RowMaker) -> None:
    rows = [make.preference(str(number), supersedes="0" if number == 1 else "") for number in range(4500)]
    store.add(rows)
    store.add([make.clip()])
    stream = store.stream(Preference)
    first = next(stream)
    store.add([make.preference("last")])
    assert [first, *stream] == [*rows, make.preference("last")]


def test_every_choice_goes_through_an_index(store: Store) -> None:
    asked: list[str] = []
    store._connection.set_trace_callback(asked.append)
    store.clips("train"), store.candidates(group="g", split="eval"), store.preferences("me"), store.preferences()
    store.scores("flicker", system="base"), store.scores(subject="k"), list(store.stream(Clip))
    store._connection.set_trace_callback(None)
    assert len(asked) == 9  # clips and candidates also ask for decisions
    for query in asked:
        plan = [step[3] for step in store._connection.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert not [step for step in plan if step.startswith("SCAN")], (query, plan)
    assert any("by_group" in step[3] for step in store._connection.execute(f"EXPLAIN QUERY PLAN {asked[2]}"))


def test_threads_share_a_store(store: Store, make: RowMaker) -> None:
    def work(name: int) -> None:
        for number in range(25):
            store.add([make.clip(f"{name}-{number}"), make.clip(f"shared-{number}")])
            assert store.get(f"{name}-{number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.clips()) == 5 * 25


WRITER = """
import sys
from pathlib import Path
from rushes.records import Score
from rushes.store.database import Store
with Store.create(Path(sys.argv[1])) as store:
    for number in range(int(sys.argv[3])):
        media = store.put_media_bytes(f"clip {number} ".encode() * 50_000, ".mp4")
        store.add([Score(f"{sys.argv[2]}-{number}-{part}", media, "m", 1.0) for part in range(3)])
        print(number, media, flush=True)
"""


def test_two_processes_lose_nothing(tmp_path: Path, start: Start) -> None:
    processes = [start(WRITER, tmp_path / "project", name, 60) for name in "ab"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with Store.open(tmp_path / "project") as store:
        assert {row.id for row in store.scores()} == {
            f"{name}-{number}-{part}" for name in "ab" for number in range(60) for part in range(3)
        }
    assert len([path for path in (tmp_path / "project" / "media").rglob("*") if path.is_file()]) == 60


MAKER = """
import sys
from pathlib import Path
from rushes.store.database import Store
for turn in range(40):
    sys.stdin.readline()
    Store.create(Path(sys.argv[1]) / str(turn)).close()
    print(turn, flush=True)
"""


def test_makers_of_one_project_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite does not wait by itself while another process switches the database to its write-ahead log."""
    command = [sys.executable, "-c", MAKER, str(tmp_path)]
    pipe = subprocess.PIPE
    makers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for turn in range(40):
        for maker in makers:
            assert maker.stdin is not None
            maker.stdin.write("go\n")
            maker.stdin.flush()
        for maker in makers:
            assert maker.stdout is not None and maker.stderr is not None
            assert maker.stdout.readline() == f"{turn}\n", maker.stderr.read()
    for maker in makers:
        maker.communicate()


@pytest.mark.parametrize("acknowledged", [1, 40])
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, start: Start, acknowledged: int) -> None:
    process = start(WRITER, tmp_path / "project", "a", 100_000)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(acknowledged)]
    process.send_signal(signal.SIGKILL)
    seen += process.stdout.readlines()
    with Store.open(tmp_path / "project") as store:
        assert store._connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        stored = {row.id for row in store.scores()}
        for line in seen:
            number, media = line.split()
            assert {f"a-{number}-{part}" for part in range(3)} <= stored
            assert store.media_path(media).stat().st_size == len(f"clip {number} ") * 50_000
        assert len(stored) % 3 == 0, "a transaction was torn"
        for path in store.media.folder.rglob("[!.]*.mp4"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert len(stored) - 3 * len(seen) in (0, 3)


FULL_DISK = """
import resource, sys
from pathlib import Path
from rushes.records import Score
from rushes.store.database import Store
with Store.open(Path(sys.argv[1])) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    for action in (
        lambda: store.put_media_bytes(b"x" * 300_000, ".mp4"),
        lambda: store.put_media(Path(sys.argv[2])),
        lambda: store.add([Score(f"new-{n}", "k", "m", 1.0, measured_by="x" * 1000) for n in range(1000)]),
    ):
        try:
            action()
        except OSError as error:
            print(error)
    print(len(store.scores()))
"""


def test_a_full_disk_is_said_plainly_and_costs_nothing(
    store: Store, make: RowMaker, tmp_path: Path, start: Start
) -> None:
    store.add([make.score("before")])
    (tmp_path / "big.mp4").write_bytes(b"y" * 300_000)
    process = start(FULL_DISK, store.project, tmp_path / "big.mp4")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    *messages, count = output.splitlines()
    assert len(messages) == 3 and all("free" in message and "space" in message for message in messages), messages
    assert count == "1"
    assert store.scores() == (make.score("before"),)
    assert store.add([make.score("after")]) == 1
    assert not [path for path in store.media.folder.rglob("*") if path.is_file()]


def test_a_full_database_is_said_plainly(store: Store, make: RowMaker) -> None:
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(OSError, match="disk is full or failing; free some space"):
        store.add([make.score(str(number), measured_by="x" * 1000) for number in range(1000)])
    assert store.scores() == ()
