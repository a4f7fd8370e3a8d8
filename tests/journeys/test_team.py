"""The first hour of a lead with five labellers, typed and clicked: a campaign, its key, disputes, training, the vote.

python -m pytest --all tests/journeys/test_team.py -s; with RUSHES_SHOTS=FOLDER it leaves a picture of each page there.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .labellers import Eyes, Judgement, Requests, Seat, mostly
from .terminal import Served, Terminal, clips, line_after, shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.whole, pytest.mark.timeout(7200)]

PEOPLE, PAIRS, KEY, PRACTICE = ("ada", "bob", "cleo", "dan", "eve"), 300, 15, 5
HOST = "127.0.0.2"  # this machine under a name of its own, which a page for this machine alone does not answer to
CLIPS = 40  # of which 16 are held out, and the others have 15 pairs of takes each
SHORT = "--set footage.eval_fraction=0.4 --set generate.takes=6 --set generate.steps=6 --set train.steps=30"
SLIPS = {"ada": 0.05, "bob": 0.1, "cleo": 0.1, "dan": 0.15, "eve": 0.1}  # share of pairs that they see wrongly


def test_a_lead_with_five_labellers(tmp_path: Path, browser: Browser) -> None:
    lead = Terminal(tmp_path)
    clips(tmp_path / "clips", CLIPS)
    lead.type(f"rushes init team --recipe densedpo --footage clips {SHORT}")
    lead.type("rushes import team")
    lead.type("rushes generate team")
    project = tmp_path / "team"
    eyes = Eyes.on(project)
    campaign = f"rushes campaign team --people {','.join(PEOPLE)} --pairs {PAIRS} --host {HOST}"
    with lead.serving(campaign) as page:
        check_plan(page)
        owner = page.addresses[-1]
        make_the_key(lead, browser, owner, eyes)
        judgements = {name: mostly(eyes.nearer, name, slips) for name, slips in SLIPS.items()}
        judgements["eve"] = leaning(judgements["eve"])
        people = {name: begin(browser, page.link_of(name), name, eyes, judgements[name]) for name in PEOPLE}
        lead.say("five people have practised on five pairs each, and labelled five")
        tab = dashboard(browser, owner)
        shot(tab, "c-campaign-begun")
        assert re.search(r"\d+ more pairs to label", tab.inner_text("#target"))
        rounds(people, judgements)
        lead.say(f"{PAIRS} pairs have a label")
        lead.type("rushes label team --by metric --set label.metric=motion_speed")
        look_at_people(lead, tab)
        settle(lead, tab, 3)
    assert "agrees with people" in lead.type("rushes judges team")
    train_on_people(lead)
    blind_vote(lead, browser, project)


def check_plan(page: Served) -> None:
    """Pairs each, overlap, hours, five links on the host that was chosen, and that the key comes first."""
    text = "\n".join(page.lines)
    assert (
        f"5 people: {PAIRS} pairs with a label, " in text and " each; 10% of a person's pairs are labelled by 2" in text
    )
    assert re.search(r"about [\d.]+ (h|min) each, [\d.]+ h in all \(20 s per pair, an assumption\)", text)
    assert "enter the name lead on the page and label about 15 pairs, with reasons" in text
    assert all(page.link_of(name).startswith(f"http://{HOST}:") for name in PEOPLE)


def make_the_key(lead: Terminal, browser: Browser, owner: str, eyes: Eyes) -> None:
    """The lead labels fifteen pairs, and says what is wrong with the worse take."""
    seat = Seat.at(browser, owner, "lead")
    shot(seat.tab, "c-welcome")
    seat.say_name()
    for _ in range(KEY):
        seat.answer(eyes.nearer, ("3", "m"))
    shot(seat.tab, "c-lead-labels")
    seat.tab.context.close()
    lead.say(f"the lead has labelled {KEY} pairs as the key")


def begin(browser: Browser, link: str, name: str, eyes: Eyes, judgement: Judgement) -> Requests:
    """Come by the link, practise on five pairs that explain themselves, and label five that count."""
    seat = Seat.at(browser, link, name)
    lessons = []
    for number in range(PRACTICE):
        assert seat.pair()["practice"]["size"] == PRACTICE and seat.tab.locator("#practice").is_visible()
        seat.answer((lambda item: -eyes.nearer(item)) if number == 1 else eyes.nearer)
        lessons.append(seat.lesson())
    assert "Same as the key" in lessons[0] and "The key differs" in lessons[1]
    assert all("flicker" in lesson and "much" in lesson for lesson in lessons)  # what the lead said
    assert "4 of 5 right: passed. From now on your labels count." in lessons[-1]
    for _ in range(5):
        seat.answer(judgement)
    assert re.fullmatch(r"pairs: 5 of your \d+", seat.tab.inner_text("#count"))
    shot(seat.tab, f"c-labels-{name}")
    return seat.requests("label")


def leaning(judgement: Judgement) -> Judgement:
    """Somebody who says A in most pairs."""
    luck = random.Random("eve leans")
    return lambda item: 1 if luck.random() < 0.8 else judgement(item)


def rounds(people: dict[str, Requests], judgements: dict[str, Judgement]) -> None:
    """All answer in turn, until nobody has a pair left."""
    busy = list(people)
    while busy:
        busy = [name for name in busy if people[name].answer(judgements[name])]


def dashboard(browser: Browser, owner: str) -> Page:
    """The campaign, as the owner sees it without saying a name."""
    tab = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    tab.goto(owner.replace("/label#", "/campaign#"))
    tab.wait_for_selector("#people tbody tr")
    return tab


def look_at_people(lead: Terminal, tab: Page) -> None:
    """How fast, how well and how even-handed each of them is, and a judge beside them."""
    tab.reload()
    tab.wait_for_selector("#judges:visible")
    shot(tab, "c-campaign")
    assert "enough to train" in tab.inner_text("#target")
    heads = tab.locator("#people thead th").all_inner_texts()
    rows = [row.locator("th, td").all_inner_texts() for row in tab.locator("#people tbody tr").all()]
    table = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert {*PEOPLE, "lead"} == set(table)
    for name in PEOPLE:
        of = table[name]
        assert 200 < int(of["pairs per hour"]) < 700 and of["time left"] == "done", of
        assert of["practice"] == "passed, 4 of 5" and "overall: " in of["agreement: raw, alpha"], of
        assert all("% of" in of[column] for column in ("same on repeats", "same as the key", "chose A")), of
        assert (f"{name} leans to A" in of["chose A"]) is (name == "eve"), of
    assert "metric:motion_speed agrees with people on" in tab.inner_text("#judges")
    lead.say("the campaign says who is fast, who agrees and that eve leans to A; a judge stands beside them")


def settle(lead: Terminal, tab: Page, pairs: int) -> None:
    """Pairs that people see differently, side by side with who said what."""
    tab.click("a[href='/disputes']")
    tab.wait_for_selector("#work:visible")
    left = int(tab.inner_text("#count").split()[0])
    assert left >= pairs
    for number in range(pairs):
        tab.wait_for_function("() => document.querySelectorAll('#panes video').length === 2")
        answers = tab.inner_text("#said tbody")
        assert len(answers.splitlines()) >= 2 and "(program)" in answers, answers
        if not number:
            tab.wait_for_timeout(800)
            shot(tab, "c-disputes")
        tab.keyboard.press("Shift+A")
        tab.keyboard.press("Enter")
        tab.wait_for_function(
            "n => parseInt(document.querySelector('#count').textContent) === n", arg=left - number - 1
        )
    tab.context.close()
    lead.say(f"{pairs} of {left} pairs that people see differently are settled")


def train_on_people(lead: Terminal) -> None:
    """Labels of people and of a program are not pooled unasked; those of people are trained on."""
    assert "next: rushes train team" in lead.type("rushes status team")
    refused = lead.type("rushes train team", expect=2)
    assert "train.options.judge" in refused and "human (" in refused, refused
    lead.type("rushes set team train.options.judge=human")
    assert "next: rushes evaluate team" in lead.type("rushes train team")
    shown = lead.type("rushes evaluate team --set evaluate.steps=6")
    assert line_after(shown, "next") == f"rushes vote team --annotators {','.join(PEOPLE)}"


def blind_vote(lead: Terminal, browser: Browser, project: Path) -> None:
    """The same five choose between base and trained on held-out prompts, until it is enough."""
    eyes = Eyes.on(project, "votes.db")
    judgements = {name: mostly(eyes.trained, name, 0.0) for name in PEOPLE}
    with lead.serving(f"rushes vote team --annotators {','.join(PEOPLE)} --host {HOST}") as page:
        people = {}
        for name in PEOPLE:
            seat = Seat.at(browser, page.link_of(name), name)
            seat.answer(judgements[name])
            words = seat.tab.inner_text("body")
            assert not any(system in words for system in ("base", "densedpo")), words
            shot(seat.tab, f"c-votes-{name}")
            people[name] = seat.requests("vote")
        rounds(people, judgements)
        tab = dashboard(browser, page.addresses[-1].replace("/vote#", "/label#"))
        tab.wait_for_selector("#vote:visible")
        assert "densedpo is better" in tab.inner_text("#vote-words")
        assert "Enough: the vote may stop." in tab.inner_text("#vote-words")
        tab.locator("#vote").scroll_into_view_if_needed()
        shot(tab, "c-vote-stands")
        tab.context.close()
    assert "densedpo is better" in lead.type("rushes vote team --standing")
    report = line_after(lead.type("rushes report team"), "report")
    table = line_after(lead.type("rushes compare team densedpo"), "report")
    tab = browser.new_page()
    for address, name in ((report, "c-report"), (table, "c-compare")):
        tab.goto((project.parent / address).as_uri())
        words = "5 people, blind, chose between base and densedpo: densedpo won 16, tied 0, lost 0."
        assert words in tab.inner_text("header")
        shot(tab, name)
    lead.say("five people have voted; report and comparison read the votes")
