from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.curate import engines
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task, Threshold, within
from rushes.curate.funnel import SkippedStage, run
from rushes.curate.summary import Funnel, group
from rushes.judges.endpoint import EndpointError
from rushes.progress import no_bar
from rushes.records import CaptionKind, Clip, Decision, Score, Split
from rushes.store.database import Store

from ..forked import start

COUNT = 40


def fill(store: Store, count: int = COUNT) -> None:
    media = store.put_media_bytes(b"not looked at", ".mp4")
    for at in range(count):
        split: Split = "eval" if at % 10 == 9 else "train"
        store.add([Clip(f"c{at:03d}", media, f"caption {at}", 64, 64, 10, 8.0, f"clip {at}.mp4", split)])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "project")
    fill(store)
    return store


def by_number(task: Task) -> CurationFinding:
    """The clip's number; clip 3 cannot be measured."""
    number = int(task.id[1:])
    return (
        CurationFinding(problem=f"{task.path.name} is damaged")
        if number == 3
        else CurationFinding({"number": float(number)})
    )


def in_words(task: Task) -> CurationFinding:
    """Words, and a dense caption for even clips."""
    number = int(task.id[1:])
    texts: dict[CaptionKind, str] = {"dense": f"dense {task.caption}"} if number % 2 == 0 else {}
    return CurationFinding({}, {"print": (number / 3, 0.1)}, texts)


def drop_odd(entries: Sequence[CurationEntry]) -> Dropped:
    return {entry.id: f"odd {entry.id[1:]}" for entry in entries if int(entry.id[1:]) % 2}


def stages(most: float = 19) -> list[Stage]:
    limits = (Threshold("number", "number", high=most),)
    return [
        Stage("technical", "technical.1", by_number, within(limits), limits=limits),
        Stage("captions", "captions.1", in_words, drop_odd),
    ]


def curate(store: Store, chosen: Sequence[Stage | SkippedStage] | None = None, dry_run: bool = False) -> Funnel:
    return run(store, chosen or stages(), engines.local(1), no_bar, settings="s", dry_run=dry_run)


def kept(store: Store) -> list[str]:
    return [clip.id for clip in store.clips()]


EVEN = [f"c{at:03d}" for at in range(0, 20, 2)]


def test_the_arithmetic_of_a_funnel(store: Store) -> None:
    done = curate(store)
    first, second = done.passages
    assert (done.clips, done.entered, done.kept) == (40, 40, 10)
    assert (first.entered, first.dropped, first.kept, first.unmeasured) == (40, 21, 19, 1)
    assert first.reasons == {"number": 20, "could not be measured": 1}
    assert (second.entered, second.dropped, second.kept) == (19, 9, 10) and second.reasons == {"odd": 9}
    (edge,) = first.edges
    assert [e.value for e in edge.inside] == [19, 18, 17] and [e.value for e in edge.outside] == [20, 21, 22]
    assert sum(done.spreads["number"].every) == 39 and sum(done.spreads["number"].kept) == 10
    assert kept(store) == EVEN
    reasons = {id: decision.reason for id, decision in store.decisions().items()}
    assert reasons["c003"].startswith("technical: ") and reasons["c003"].endswith("is damaged")
    assert reasons["c025"] == "technical: number 25, at most 19"
    assert reasons["c005"] == "captions: odd 005" and reasons["c004"] == ""
    assert {clip.caption for clip in store.clips()} == {f"dense caption {at}" for at in range(0, 20, 2)}


def test_what_was_measured_is_not_measured_again_and_nothing_is_decided_twice(store: Store) -> None:
    first = curate(store)
    rows = sum(1 for _ in store.stream(Decision))

    def never(task: Task) -> CurationFinding:
        assert task.id == "c003", "only what has a problem is measured again"
        return by_number(task)

    again = curate(store, [replace(stage, measure=never) for stage in stages()])
    assert replace(again, decided=first.decided) == first and again.decided == 0
    assert sum(1 for _ in store.stream(Decision)) == rows == first.decided


def test_another_threshold_takes_clips_back_and_another_signature_measures_anew(store: Store) -> None:
    curate(store)
    curate(store, stages(most=29))
    assert kept(store) == [f"c{at:03d}" for at in range(0, 30, 2)]
    curate(store)
    assert kept(store) == EVEN
    seen = []

    def noted(task: Task) -> CurationFinding:
        seen.append(task.id)
        return by_number(task)

    curate(store, [replace(stages()[0], signature="technical.2", measure=noted)])
    assert len(seen) == COUNT


def test_a_dry_run_measures_but_decides_nothing(store: Store) -> None:
    done = curate(store, dry_run=True)
    assert done.kept == 10 and done.decided == 40 and len(kept(store)) == COUNT
    assert len(list(store.scores_under("curate/technical/"))) == 39
    assert {score.measured_by for score in store.stream(Score)} == {"technical.1", "captions.1"}


def test_a_person_s_word_stands(store: Store) -> None:
    store.add(
        [
            Decision("1", "c002", keep=False, person=True, made_by="anna"),
            Decision("2", "c003", keep=True, person=True, made_by="anna"),
            Decision("3", "c030", keep=True, caption="by hand", person=True, made_by="anna"),
            Decision("4", "c004", keep=True, caption="by hand too", person=True, made_by="anna"),
        ]
    )
    done = curate(store)
    assert kept(store) == sorted([*(id for id in EVEN if id != "c002"), "c003", "c030"])
    captions = {clip.id: clip.caption for clip in store.clips()}
    assert captions["c030"] == "by hand" and captions["c004"] == "by hand too"
    assert (done.person_dropped, done.person_kept, done.entered) == (1, 3, 39)
    assert done.passages[0].entered == 39 and done.passages[0].held == 2 and done.passages[1].held == 1


def test_prompts_without_footage_pass(store: Store) -> None:
    still = store.put_media_bytes(b"a picture", ".png")
    store.add([Clip("c999", still, "a prompt", 64, 64, 1, 8.0, "x.png", "eval", still)])
    done = curate(store)
    assert done.stills == 1 and done.entered == 40 and "c999" in kept(store)


def test_a_missing_file_is_a_problem_of_its_clip(store: Store) -> None:
    store.add([Clip("c007x", "0" * 64, "", 64, 64, 10, 8.0, "gone.mp4")])
    done = curate(store, [stages()[0]])
    assert done.passages[0].unmeasured == 2 and "c007x" not in kept(store)


def down(task: Task) -> CurationFinding:
    if task.id == "c011":
        raise EndpointError("nobody answers")
    return CurationFinding({"number": 1.0})


def test_a_judge_that_is_down_ends_the_run_or_is_skipped_and_said(store: Store) -> None:
    asks = Stage("reality", "reality.1", down, drop_odd)
    with pytest.raises(EndpointError, match="nobody answers"):
        curate(store, [asks])
    assert len(kept(store)) == COUNT
    assert len(list(store.scores_under("curate/reality/"))) == 11  # what was answered before is kept
    done = curate(store, [replace(asks, stop=False), SkippedStage("fidelity", "no model is named"), stages()[1]])
    assert [(p.stage, p.skipped, p.dropped) for p in done.passages] == [
        ("reality", "nobody answers", 0),
        ("fidelity", "no model is named", 0),
        ("captions", "", 20),
    ]


def test_a_stage_that_reads_captions_reads_new_ones(store: Store) -> None:
    seen = []

    def reads(task: Task) -> CurationFinding:
        seen.append(task.caption)
        return CurationFinding({"length": float(len(task.caption))})

    reader = Stage("dynamics", "dynamics.1", reads, lambda entries: {}, reads_caption=True)
    curate(store, [reader])
    curate(store, [reader])
    assert len(seen) == COUNT
    curate(store, [stages()[1], reader])
    assert len(seen) == COUNT + 20 and seen[-1].startswith("dense ")


def test_no_clips_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no clips to curate; run `rushes import` first"):
        curate(Store.create(tmp_path / "empty"))


def test_reasons_are_grouped_by_their_words() -> None:
    assert group("blur 0.81, at most 0.7") == "blur"
    assert group("copy of 4f00a1: difference 0.1") == "copy of"
    assert group("model says: a drawing") == "model says"
    assert group("42 is no answer").startswith("42")


SLOW_RUN = """
import sys, time
sys.path.insert(0, repository)
import tests.curate.test_funnel as t
from rushes.store.database import Store
from dataclasses import replace
import rushes.curate.funnel as funnel
funnel._BATCH = 3
def slow(measure):
    def one(task):
        time.sleep(0.004)
        return measure(task)
    return one
store = Store.open(project)
t.curate(store, [replace(stage, measure=slow(stage.measure)) for stage in t.stages()])
"""


def test_a_run_that_is_killed_at_any_time_ends_the_same(tmp_path: Path) -> None:
    whole = Store.create(tmp_path / "whole")
    fill(whole)
    curate(whole)
    project = tmp_path / "killed"
    fill(Store.create(project))
    repository = str(Path(__file__).parents[2])
    rng, killed = random.Random(0), 0
    for _ in range(3):
        running = start(SLOW_RUN, repository=repository, project=project)
        while Store.open(project).scores(metric="curate/technical/number") == () and running.is_alive():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.12))
        running.kill()
        running.join()
        killed += running.exitcode == -signal.SIGKILL
    again = Store.open(project)
    curate(again)
    assert killed, "it was killed in its course at least once"
    assert again.clips() == whole.clips()
    plain = [replace(decision, created_at="") for decision in whole.stream(Decision)]
    assert [replace(decision, created_at="") for decision in again.stream(Decision)] == plain
    assert sorted(s.id for s in again.stream(Score)) == sorted(s.id for s in whole.stream(Score))
