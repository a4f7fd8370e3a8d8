"""Pages out of templates that lie beside the modules of a room: HTML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from rushes.text_reader import printable


def templates(package: str, **filters: Callable[..., object]) -> Environment:
    """The templates of a package, with filters of its own. Values are escaped in HTML, and in Markdown by `md`.

    In both, what steers a terminal or turns the direction of text is escaped, as pages are also read by `cat`.
    """
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # but for markup, a kind of str
    )
    environment.filters.update(filters, md=in_markdown)
    return environment


def in_html(text: str) -> Markup:
    """A text that stands in HTML as it is, and in a terminal that shows the page's source."""
    return escape(printable(text))


_MARKS = re.compile(r"[\\`*_\[\]<>|~&]|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE)


def in_markdown(text: object) -> str:
    """A text that stands in Markdown as it is, in one line: no mark, no HTML and no address in it is one."""
    return _MARKS.sub(r"\\\g<0>", printable(" ".join(str(text).split())))
