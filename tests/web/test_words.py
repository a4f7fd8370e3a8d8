"""The table of words has what pages and scripts ask for, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files

from jinja2 import Environment, PackageLoader

from rushes.web.site import SiteSection

PAGES = files("rushes.web") / "pages"
SCRIPTS = [path for path in PAGES.iterdir() if path.name.endswith(".js") and path.name not in ("words.js", "uplot.js")]
TEMPLATES = (
    "label.html", "progress.html", "campaign.html", "disputes.html", "review.html", "sheet.html", "takes.html",
    "compare.html",
)  # fmt: skip
SECTION = SiteSection(
    "label", "Label", {"/label": "label.html", "/progress": "progress.html"}, lambda router, person: None, invited=True
)
# Words that a script makes of a part of their name.
MADE = {"mark.1", "mark.-1", "mark.0", "mark.null", "view.side", "view.wipe.is", "view.blink.is"}
MADE |= {f"mine.{answer}" for answer in ("a", "b", "tie", "cannot tell", "mixed", "much", "slightly")}
MADE |= {f"lesson.{strength}" for strength in ("much", "slightly")}
MADE |= {f"review.reason.{digit}" for digit in range(1, 10)}
MADE |= {f"queue.{name}" for name in ("undecided", "near", "dropped", "in_set", "people", "all")}
MADE |= {f"sheet.{decided}" for decided in ("kept", "dropped", "undecided")}


def test_every_text_is_in_the_table() -> None:
    table = set(re.findall(r'^  "([^"]+)": ', (PAGES / "words.js").read_text(encoding="utf-8"), re.MULTILINE))
    pages = Environment(loader=PackageLoader("rushes.web", "pages"))
    sections = [SECTION, replace(SECTION, name="vote", pages={"/vote": "label.html"})]
    html = "".join(
        pages.get_template(name).render(warning="", sections=sections, section=section, here="")
        for name in TEMPLATES
        for section in sections
    )
    owners = replace(SECTION, name="campaign", invited=False)
    html += pages.get_template("campaign.html").render(warning="", sections=sections, section=owners, here="")
    asked = set(re.findall(r'data-(?:words|label|hint)="([^"]+)"', html))
    scripts = "".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    asked |= set(re.findall(r'\btext\("([^"]+)"', scripts))
    used = asked | MADE | set(re.findall(r'"([^"]*)"', scripts))
    assert sorted(asked - table) == [] and sorted(table - used) == []
