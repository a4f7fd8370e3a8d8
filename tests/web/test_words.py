"""The table of words of the labelling desk has what its page and scripts ask for, and nothing else."""

from __future__ import annotations

import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader

PAGES = files("rushes.web") / "pages"
SCRIPTS = ("label.js", "grid.js", "views.js", "ranks.js", "mine.js")
# Words that a script makes of a part of their name.
MADE = {"mark.1", "mark.-1", "mark.0", "mark.null", "view.side", "view.wipe.is", "view.blink.is"}
MADE |= {f"mine.{answer}" for answer in ("a", "b", "tie", "cannot tell", "mixed", "much", "slightly")}


def test_every_text_is_in_the_table() -> None:
    table = set(re.findall(r'^  "([^"]+)": ', (PAGES / "words.js").read_text(encoding="utf-8"), re.MULTILINE))
    page = Environment(loader=PackageLoader("rushes.web", "pages")).get_template("label.html")
    html = page.render(warning="", links=[], section=None)
    asked = set(re.findall(r'data-(?:words|label|hint)="([^"]+)"', html))
    scripts = "".join((PAGES / script).read_text(encoding="utf-8") for script in SCRIPTS)
    asked |= set(re.findall(r'\btext\("([^"]+)"', scripts))
    used = asked | MADE | set(re.findall(r'"([^"]*)"', scripts))
    assert sorted(asked - table) == [] and sorted(table - used) == []
