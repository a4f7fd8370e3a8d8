from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rushes.report import page
from rushes.report.model import Judged, Reach, Report, Scatter
from rushes.stats import Interval, WinRate

from .conftest import metric

ATTACK = '<script>alert("x")</script><img src="http://evil.example/x.png">&'


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_nothing_points_outside_the_file(report: Report) -> None:
    html = page.render(report)
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "srcset", "poster", "action", "data", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value[:80])
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in styles and "@import" not in styles
    assert "http:" not in html and "https:" not in html
    assert "default-src 'none'" in html


def test_every_figure_has_words_and_numbers(report: Report) -> None:
    html = page.render(report)
    images = re.findall(r'<svg [^>]*role="img" aria-labelledby="(\S+) (\S+)">(.*?)</svg>', html, re.S)
    assert len(images) == html.count("<svg") == 1 + len(report.curves) + len(report.labels)
    for title, desc, body in images:
        for tag, name in (("title", title), ("desc", desc)):
            assert re.search(rf'<{tag} id="{name}">[^<]+</{tag}>', body), (tag, name)
    for figure in re.findall(r'<figure class="panel">(.*?)</figure>', html, re.S):
        assert "<table" in figure
    ids = [a["id"] for _, a in Page(html).tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(video["aria-label"] for video in Page(html).all("video"))
    assert all(b.get("aria-label") for b in Page(html).all("button"))


def test_what_people_typed_is_escaped(report: Report) -> None:
    case = replace(report.cases[0], caption=ATTACK, videos=(replace(report.cases[0].videos[0], label=ATTACK),))
    hostile = replace(
        report,
        title=ATTACK,
        run=ATTACK,
        settings=ATTACK,
        notes=(ATTACK,),
        metrics=(*report.metrics, metric(ATTACK, 1, 2)),
        labels=(replace(report.labels[0], judge=ATTACK, dimension=ATTACK),),
        curves=(replace(report.curves[0], title=ATTACK, series={ATTACK: ((1.0, 2.0), (2.0, 3.0))}),),
        steps=(replace(report.steps[0], name=ATTACK, did=ATTACK),),
        arms=(replace(report.arms[0], name=ATTACK),),
        hashes={ATTACK: ATTACK},
        cases=(case,),
    )
    parsed = Page(page.render(hostile))
    assert len(parsed.all("script")) == 1 and not parsed.all("img")
    assert "".join(parsed.words).count('alert("x")') >= 10


def test_regressions_come_first(report: Report) -> None:
    html = page.render(report)
    table = html[html.index("<tbody>", html.index('id="results"')) :]
    order = [table.index(f">{words}<") for words in ("What got worse", "No change shown", "What got better")]
    assert order == sorted(order)
    assert table.index("artifacts") < table.index("sharpness") < table.index("lost dots")
    assert "Of 2 other metrics, 1 got worse: artifacts." in html


def test_without_regressions_the_heading_stays_and_says_so(report: Report) -> None:
    html = page.render(replace(report, metrics=report.metrics[:2]))
    assert ">What got worse<" in html and "Nothing: no metric got worse" in html
    assert ">What got better<" in html


def test_videos_are_embedded_as_stored(report: Report) -> None:
    sources = [video["src"] for video in Page(page.render(report)).all("video")]
    assert len(sources) == 18
    head, body = (sources[0] or "").split(",")
    assert head == "data:video/mp4;base64" and base64.b64decode(body) == report.cases[0].videos[0].data


def test_size_limit_drops_cases_evenly_and_says_how_many(report: Report) -> None:
    whole = page.render(report)
    assert "left out to keep" not in whole
    one_case = len(whole.encode()) - len(page.render(replace(report, cases=report.cases[:-1])).encode())
    limit_mb = (len(whole.encode()) - 2.5 * one_case) / 1e6
    smaller = page.render(report, max_mb=limit_mb)
    assert len(smaller.encode()) <= limit_mb * 1e6
    assert "3 of 6 cases are left out" in smaller and "3 of 40 evaluation pairs" in smaller
    for heading in page.KINDS.values():
        assert heading in smaller
    assert len(Page(smaller).all("video")) == 9


def test_a_page_that_cannot_fit_is_refused(report: Report) -> None:
    with pytest.raises(ValueError, match="raise max_mb above"):
        page.render(report, max_mb=0.01)


def test_least_report_renders() -> None:
    html = page.render(Report("t", "r", "x", (metric("x", -1, 1, base=0.0),)))
    assert "No change shown" in html and 'id="cases"' not in html and 'id="labels"' not in html


def test_other_recipes_are_shown_beside_the_run(report: Report) -> None:
    html = page.render(report)
    arms = html[html.index('id="arms"') :]
    assert arms.index("realdpo-1") < arms.index("sft")


def test_rendering_twice_gives_the_same_page(report: Report) -> None:
    assert page.render(report) == page.render(report)


def test_write_leaves_the_old_page_when_it_fails(report: Report, tmp_path: Path) -> None:
    target = page.write(report, tmp_path / "reports" / "report.html")
    before = target.read_text("utf-8")
    with pytest.raises(ValueError, match="max_mb"):
        page.write(report, target, max_mb=0.01)
    assert target.read_text("utf-8") == before
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def of_systems(report: Report) -> Report:
    """The same report as one of two folders of videos, with all that only those have."""
    wins = WinRate(5, 1, 3, Interval(0.61, 0.3, 0.85, 9))
    return replace(
        report,
        headline="",
        systems=("<old>", "new"),
        metrics=tuple(replace(m, p_adjusted=0.2) for m in (*report.metrics, metric("level", 1, 2, "neutral"))),
        scatter=Scatter("motion", "artifacts", {"<old>": ((0.1, 2.0, "a"),), "new": ((0.2, 1.0, "a"),)}),
        judged=(Judged("vlm", "<old>", "new", wins, 2, 1, None),),
        strengths={"new": Interval(0.4, -0.1, 0.9, 9), "<old>": Interval(-0.4, -0.9, 0.1, 9)},
        limits=("9 prompts are few.",),
        reaches=(Reach("artifacts", "px", 1.0, 0.25, 40), Reach("motion", "px", 1.0, 0.5, None)),
        card={"prompts": "9, each with one seed"},
    )


def test_two_systems_are_called_by_their_names(report: Report) -> None:
    html = page.render(of_systems(report))
    words = " ".join(" ".join(Page(html).words).split())
    assert "Each difference is new minus <old>, paired" in words and "trained minus base" not in words
    assert "Differences are new minus <old>" in words and "<old>" not in html.replace("&lt;old&gt;", "")
    assert "May have got worse" not in words and "What may have got worse artifacts" in words
    assert "Neither direction is better level" in words
    assert "new against <old>" in words and "5 1 3 61 % (30 to 85) 2 1 \u2013" in words
    assert "new +0.40 (\u22120.10 to +0.90)" in words
    assert "What this cannot show 9 prompts are few." in words and "0.25 40" in words and "0.5 \u2013" in words
    assert "Holm's correction" in words and "one interval in twenty would still" not in words


def test_every_picture_of_two_systems_has_words(report: Report) -> None:
    html = page.render(of_systems(report))
    for name in re.findall(r'role="img" aria-labelledby="(\S+) ', html):
        assert re.search(rf'<title id="{name}">[^<]+</title>', html)
    assert html.count("<svg") == 2 + len(report.curves) + len(report.labels)
    ids = [a["id"] for _, a in Page(html).tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_with_few_independent_prompts_nothing_is_claimed_and_nothing_is_green(report: Report) -> None:
    """The same intervals from seven prompts and from eight."""
    few, enough = (
        replace(report, arms=(), metrics=tuple(replace(metric, prompts=prompts) for metric in report.metrics))
        for prompts in (7, 8)
    )
    words = "Too few held-out prompts to say: 12 pairs of 7 independent prompts, and a claim takes 8"
    html = page.render(replace(few, pairs=12))
    assert words in html and words not in page.render(enough)
    assert {metric.outcome for metric in few.metrics} == {"undecided"}
    assert "better" in {metric.outcome for metric in enough.metrics}
    coloured = r'(verdict|outcome|<tr class=")\s*(better|worse|suspect)"'
    assert re.search(coloured, page.render(enough)) and not re.search(coloured, html)
    assert "Nothing can be said: 7 independent prompts are too few." in html
