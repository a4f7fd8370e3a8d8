"""Both judges must say real: who is asked, what is believed, what is kept; and judges that really look."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rushes.config.tables import Settings
from rushes.curate.base import Task
from rushes.curate.reality import KINDS, make, question
from rushes.judges.endpoint import EndpointError
from rushes.world.plants import plant
from rushes.world.scenes import CAPTIONS, draw_scenes
from rushes.world.verify import verify

from ..fake_endpoint import Does, FakeEndpoint, texts
from .staged import BROKEN, entry, pictures, run, says, settings, world_tasks


def two(fake: FakeEndpoint, **more: Any) -> Settings:
    return settings(fake, reality={"second": {"model": "two"}, "frames": 2, **more})


@pytest.fixture
def clips(tmp_path: Path) -> list[Task]:
    return world_tasks(tmp_path, draw_scenes(0, 4))


def real(footage: str = "real") -> Does:
    return says(reason="grain and blur", footage=footage)


def test_the_second_sees_only_what_passed_the_first(fake: FakeEndpoint, answers: Path, clips: list[Task]) -> None:
    verdicts = {"one": ["real", "game", "real", "real"], "two": ["real", "animation", "unclear"]}
    fake.answer = lambda request: real(verdicts[request["model"]].pop(0))
    ran = run(make(two(fake), answers), clips)
    assert ran.kept == ["clip 0"]
    assert [request["model"] for request in fake.requests] == ["one", "two", "one", "one", "two", "one", "two"]
    assert [finding.values for finding in ran.findings.values()] == [
        {"real_first": 1, "real_second": 1},
        {"real_first": 0},
        {"real_first": 1, "real_second": 0},
        {"real_first": 1, "real_second": 0},
    ]
    assert ran.dropped["clip 1"] == "not real: first judge, one: game: grain and blur"
    assert ran.dropped["clip 2"] == "not real: second judge, two: animation: grain and blur"
    assert ran.findings["clip 2"].captions["verdict"].splitlines()[0] == "first judge, one: real: grain and blur"


def test_a_liking_for_the_first_choice_lets_nothing_through(
    fake: FakeEndpoint, answers: Path, clips: list[Task]
) -> None:
    def first_listed(request: dict[str, Any]) -> Does:
        return real(texts(request).partition("\n- ")[2].partition(":")[0])

    fake.answer = first_listed
    assert run(make(two(fake), answers), clips).kept == []
    assert question(True).index("- unclear") < question(True).index("- real") and len(KINDS) == 6


@pytest.mark.parametrize("judge", ["one", "two"])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_named_and_dropped_or_kept(
    broken: Does, judge: str, fake: FakeEndpoint, answers: Path, clips: list[Task]
) -> None:
    fake.answer = lambda request: broken if request["model"] == judge else real()
    ran = run(make(two(fake), answers), clips[:1])
    assert ran.kept == [] and ran.problems["clip 0"].startswith(f"{judge} ")
    asked = len(fake.requests)
    kept = run(make(two(fake, unreadable="keep"), answers), clips[:1])
    assert kept.kept == ["clip 0"] and kept.findings["clip 0"].values["reality_unread"] == 1
    # The second is asked for the first time, and again is asked what was not read.
    assert len(fake.requests) == asked + (judge == "one") + (not broken.refusal)
    again = make(two(fake), answers).choose([entry("clip 0", "", kept.findings["clip 0"])])
    assert set(again) == {"clip 0"}  # what was kept then is dropped under the other setting


def test_not_real_counts_even_where_the_other_is_unreadable(
    fake: FakeEndpoint, answers: Path, clips: list[Task]
) -> None:
    fake.answer = lambda request: BROKEN["garbage"] if request["model"] == "one" else real("screen")
    assert run(make(two(fake, unreadable="keep"), answers), clips[:1]).kept == []


def test_a_clip_that_cannot_be_decoded_is_named(fake: FakeEndpoint, answers: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    ran = run(make(two(fake), answers), [Task("torn", tmp_path / "torn.mp4", "", 8.0, 17)])
    assert "torn.mp4" in ran.problems["torn"] and not fake.requests


def test_an_outage_ends_the_stage_and_nothing_is_asked_twice(
    fake: FakeEndpoint, answers: Path, clips: list[Task], quick: None
) -> None:
    fake.answer = lambda request: real() if len(fake.requests) <= 5 else Does(status=503)
    with pytest.raises(EndpointError, match=r"503.*run the same command again"):
        run(
            make(
                two(
                    fake,
                ),
                answers,
            ),
            clips,
        )
    fake.answer = lambda request: real()
    before = len(fake.requests)
    assert len(run(make(two(fake), answers), clips).kept) == 4
    assert len(fake.requests) - before == 8 - 5


def test_the_budget_holds_over_both_judges(fake: FakeEndpoint, answers: Path, clips: list[Task]) -> None:
    fake.answer = lambda request: real()
    stage = make(
        two(fake).model_copy(update={"endpoint": two(fake).endpoint.model_copy(update={"max_calls": 5})}), answers
    )
    with pytest.raises(EndpointError, match=r"endpoint.max_calls: all 5 calls"):
        run(stage, clips)
    assert len(fake.requests) == 5 and stage.calls is not None and stage.calls(4) == 8


def test_the_stage_travels_between_processes(fake: FakeEndpoint, answers: Path, clips: list[Task]) -> None:
    fake.answer = lambda request: real()
    measure = pickle.loads(pickle.dumps(make(two(fake), answers).measure))
    assert measure(clips[0]).values == {"real_first": 1, "real_second": 1}


def test_what_is_told_is_in_the_signature(fake: FakeEndpoint, answers: Path) -> None:
    base = make(two(fake), answers).signature
    assert base.startswith("reality.1:one+two@")
    assert make(two(fake, unreadable="keep"), answers).signature == base
    assert make(two(fake, frames=3), answers).signature != base
    assert make(two(fake, double_check=False), answers).signature.startswith("reality.1:one@")


@pytest.mark.parametrize(
    ("reality", "message"),
    [
        ({}, r"curate\.reality\.second\.model is empty; name a second"),
        ({"second": {"model": "one"}}, r"one is the first judge too"),
        ({"second": {"model": "two", "url": "http://127.0.0.1:9/v1", "key_env": "NO_SUCH_KEY"}}, "NO_SUCH_KEY"),
    ],
)
def test_judges_that_cannot_be_two(reality: dict[str, Any], message: str, fake: FakeEndpoint, answers: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(settings(fake, reality=reality), answers)
    with pytest.raises(ValueError, match=r"endpoint\.model is empty"):
        make(settings(reality={"second": {"model": "two"}}), answers)


def test_the_first_key_stays_at_its_address(
    fake: FakeEndpoint, answers: Path, clips: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRST_KEY", "secret")
    fake.answer = lambda request: real()
    second = {"model": "two", "url": fake.url.replace("127.0.0.1", "localhost")}
    run(make(settings(fake, {"key_env": "FIRST_KEY"}, reality={"second": second}), answers), clips[:1])
    assert [headers.get("authorization") for headers in fake.headers] == ["Bearer secret", None]


def test_a_real_clip_is_shown_in_eight_small_frames(fake: FakeEndpoint, answers: Path, real_data: Path) -> None:
    path = next((real_data / "realaction" / "train" / "videos").glob("*.mp4"))
    fake.answer = lambda request: real()
    ran = run(make(two(fake, frames=8), answers), [Task("real", path, "", 8.0, 49)])
    assert ran.kept == ["real"] and pictures(fake.requests[0]).shape == (8, 64, 64, 3)
    urls = [part["image_url"]["url"] for part in fake.requests[0]["messages"][0]["content"] if "image_url" in part]
    images = [cv2.imdecode(np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8), 1) for url in urls]
    sizes = {image is not None and image.shape for image in images}
    assert sizes == {(341, 512, 3)} and len(set(urls)) == 8


# A judge that looks: it finds out what the clip shows and then what is wrong with it, from the frames it was sent.
SEES = {"one": ("dots", "permanence"), "two": ("law",)}


def looks(request: dict[str, Any]) -> Does:
    frames = pictures(request)
    verdict = min((verify(frames, caption) for caption in CAPTIONS), key=lambda each: each.law_error + each.lost_dots)
    over = [name for name in SEES[request["model"]] if name in verdict.broken]
    return says(reason=f"{over} of a {verdict.kind}", footage="generated" if over else "real")


def test_judges_that_look_find_generated_footage(fake: FakeEndpoint, answers: Path, tmp_path: Path) -> None:
    """20 clips of the world, half of them broken. Each judge is blind to what the other sees."""
    laws = ("dots", "permanence", "continuity")
    scenes = draw_scenes([5, 1], 20)
    broken = set(range(0, 20, 2))
    for at in broken:
        ((_, scenes[at]),) = plant(laws[at // 2 % 3], scenes[at].kind, [5, at], 1)
    fake.answer = looks
    table = {"second": {"model": "two"}, "frames": 33}
    ran = run(make(settings(fake, reality=table), answers), world_tasks(tmp_path, scenes))
    dropped = {int(id.split()[1]) for id in ran.dropped}
    recall, precision = len(dropped & broken) / len(broken), len(dropped & broken) / len(dropped)
    assert recall >= 0.95 and precision >= 0.95, (recall, precision, sorted(dropped ^ broken))
    by_first = {int(id.split()[1]) for id, found in ran.findings.items() if found.values["real_first"] == 0}
    assert len(by_first & broken) < 0.8 * len(broken)  # one judge alone would have let a fifth through
